//! What changes rarely: keys, templates, suppressions, daily use, the inbox.

use postern_proto::ids::{KeyId, MessageId, RecipientId, SinkId, SuppressionId, TemplateId};

use postern_proto::v1::TrackingOptions;

use super::build::NOW;
use super::promises;
use crate::model::content::Wishes;
use crate::model::directory::{
    ApiKey, SinkMail, Suppression, SuppressionReason, Template, Variable,
};
use crate::store::directory::{self, SuppressionFilter};
use crate::store::inbox::{self, InboxFilter};
use crate::store::settings::{self, Expected};
use crate::store::{Error, Stores, templates};

promises![
    keys_are_kept_and_revoked,
    templates_are_kept_under_one_alias,
    a_suppression_is_made_once,
    a_daily_limit_is_never_passed,
    the_inbox_catches_a_delivery_once,
    a_setting_changes_only_from_what_was_expected,
];

pub(super) fn key(hash: u8) -> ApiKey {
    ApiKey {
        id: KeyId::generate(),
        hash: [hash; 32],
        display_name: "Campaigns".to_owned(),
        scopes: vec!["messages:send".to_owned()],
        sender_domains: vec!["example.com".to_owned()],
        daily_limit: 5,
        expire_ms: Some(NOW + 1),
        test: true,
        hint: "pst_test_abcd…".to_owned(),
        create_ms: NOW,
        revoke_ms: None,
        wishes: Wishes {
            tracking: Some(TrackingOptions { opens: Some(true), ..Default::default() }),
            unsubscribe: None,
        },
        operator: None,
        ip_allow: vec!["192.0.2.0/24".parse().unwrap()],
        replaces: None,
        replaced_by: None,
        last_use: None,
    }
}

async fn keys_are_kept_and_revoked(stores: Stores) {
    let db = &*stores.db;
    let before = directory::version(db).await.unwrap();
    let (one, other) = (key(1), key(2));
    directory::create_key(db, &one).await.unwrap();
    directory::create_key(db, &other).await.unwrap();
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    assert!(matches!(directory::create_key(db, &key(1)).await, Err(Error::Conflict(_))));
    assert_eq!(directory::key_by_hash(db, &[1; 32]).await.unwrap().as_ref(), Some(&one));
    assert_eq!(directory::keys(db, None, 10).await.unwrap().len(), 2);
    let revoked = directory::revoke_key(db, one.id, NOW + 5).await.unwrap().unwrap();
    assert_eq!(revoked.revoke_ms, Some(NOW + 5));
    let again = directory::revoke_key(db, one.id, NOW + 9).await.unwrap().unwrap();
    assert_eq!(again.revoke_ms, Some(NOW + 5), "revoked is revoked");
    assert!(directory::revoke_key(db, KeyId::generate(), NOW).await.unwrap().is_none());
}

async fn templates_are_kept_under_one_alias(stores: Stores) {
    let db = &*stores.db;
    let mut template = Template {
        id: TemplateId::generate(),
        alias: "welcome".to_owned(),
        display_name: "Welcome".to_owned(),
        subject: "Hi {{ name }}".to_owned(),
        html: "<p>ö</p>".to_owned(),
        text: String::new(),
        variables: vec![Variable {
            name: "name".to_owned(),
            required: true,
            default: String::new(),
        }],
        create_ms: NOW,
        update_ms: NOW,
    };
    templates::create(db, &template).await.unwrap();
    let twin = Template { id: TemplateId::generate(), ..template.clone() };
    assert!(matches!(templates::create(db, &twin).await, Err(Error::Conflict(_))));
    template.text = "Hi".to_owned();
    assert!(templates::update(db, &template, None).await.unwrap());
    assert!(!templates::update(db, &template, Some(NOW - 1)).await.unwrap(), "it changed since");
    assert!(templates::update(db, &template, Some(NOW)).await.unwrap());
    assert_eq!(templates::find(db, "welcome").await.unwrap().as_ref(), Some(&template));
    let by_id = templates::find(db, &template.id.to_string()).await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&template));
    assert_eq!(templates::list(db, "", 10).await.unwrap(), [template.clone()]);
    let other = Template { id: TemplateId::generate(), alias: "x".to_owned(), ..template.clone() };
    templates::create(db, &other).await.unwrap();
    let (page, size) = templates::page(db, "", 10, 1 << 20).await.unwrap();
    assert_eq!((page.len(), size), (2, 2));
    let (page, size) = templates::page(db, "", 10, 1).await.unwrap();
    assert_eq!((page.len(), size), (2, 1), "one is always shown, and that there is more");
    assert!(!templates::delete(db, template.id, Some(NOW - 1)).await.unwrap());
    assert!(templates::delete(db, template.id, None).await.unwrap());
    assert_eq!(templates::find(db, "welcome").await.unwrap(), None);
}

async fn a_suppression_is_made_once(stores: Stores) {
    let db = &*stores.db;
    let entry = |reason| Suppression {
        id: SuppressionId::generate(),
        email: "ann@example.net".to_owned(),
        reason,
        campaign_id: String::new(),
        note: "asked by phone".to_owned(),
        create_ms: NOW,
    };
    let first = entry(SuppressionReason::Manual);
    assert_eq!(directory::create_suppression(db, &first).await.unwrap(), first);
    let second = directory::create_suppression(db, &entry(SuppressionReason::Complaint)).await;
    assert_eq!(second.unwrap(), first, "the first entry stays");
    let of = |email: &str| SuppressionFilter { email: email.to_owned(), ..Default::default() };
    assert_eq!(directory::suppressions(db, &of("ann@example.net"), 10).await.unwrap().len(), 1);
    assert!(directory::suppressions(db, &of("bob@example.net"), 10).await.unwrap().is_empty());
    assert!(directory::delete_suppression(db, first.id).await.unwrap());
    assert!(!directory::delete_suppression(db, first.id).await.unwrap());
}

async fn a_daily_limit_is_never_passed(stores: Stores) {
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let db = stores.db.clone();
            tokio::spawn(async move { directory::reserve(&*db, 1, "key", 3, 50).await.unwrap() })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap());
    }
    assert_eq!(granted, 16, "16 times 3 is the most that fits into 50");
    assert_eq!(directory::reserved(&*stores.db, 1, "key").await.unwrap(), 48);
    assert_eq!(directory::reserved(&*stores.db, 2, "key").await.unwrap(), 0);
    assert!(directory::reserve(&*stores.db, 2, "key", 3, 50).await.unwrap(), "a new day");
    assert!(directory::reserve(&*stores.db, 1, "total", 3, 50).await.unwrap(), "another limit");
}

async fn the_inbox_catches_a_delivery_once(stores: Stores) {
    let db = &*stores.db;
    let mail = |subject: &str| SinkMail {
        id: SinkId::generate(),
        create_ms: NOW,
        envelope_from: String::new(),
        envelope_to: "ann@example.net".to_owned(),
        subject: subject.to_owned(),
        from: "Shop".to_owned(),
        size: 3,
        message_id: MessageId::generate(),
        raw: vec![1, 2, 3],
    };
    let (delivery, first) = (RecipientId::generate(), mail("100% off_now"));
    inbox::put(db, &[(delivery, first.clone()), (delivery, mail("twice"))]).await.unwrap();
    inbox::put(db, &[(RecipientId::generate(), mail("other"))]).await.unwrap();
    let of = |text: &str| InboxFilter { subject_contains: text.to_owned(), ..Default::default() };
    assert_eq!(inbox::list(db, &of("100% off"), 10).await.unwrap().len(), 1);
    assert_eq!(inbox::list(db, &of("twice"), 10).await.unwrap().len(), 0);
    assert_eq!(inbox::find(db, first.id).await.unwrap().as_ref(), Some(&first));
    inbox::trim(db, 1).await.unwrap();
    assert_eq!(inbox::list(db, &InboxFilter::default(), 10).await.unwrap().len(), 1);
    assert_eq!(inbox::delete(db, None).await.unwrap(), 1);
}

async fn a_setting_changes_only_from_what_was_expected(stores: Stores) {
    let db = &*stores.db;
    let now = async || settings::changed(db).await.unwrap();
    let set = |value: &str| vec![("smtp.x".to_owned(), value.to_owned())];
    let put = async |value, expected| settings::put(db, "smtp.x", value, expected).await.unwrap();
    let reset = async |expected| settings::reset(db, "smtp.x", expected).await.unwrap();
    let default = Some(Expected { value: "1", is_default: true });
    let other = |value| Some(Expected { value, is_default: false });
    assert!(!put("2", other("7")).await, "it has its default");
    assert!(put("2", default).await);
    assert!(!put("3", default).await && !put("3", other("7")).await, "it is 2");
    assert_eq!(now().await, set("2"));
    let before = directory::version(db).await.unwrap();
    assert!(put("3", other("2")).await);
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    assert!(!reset(other("2")).await && reset(other("3")).await);
    assert_eq!(now().await, []);
    assert!(reset(default).await && reset(None).await, "it has its default");
    assert!(put("4", None).await && put("1", None).await, "a row may hold the default, too");
    assert!(put("5", default).await);
    assert_eq!(now().await, set("5"));
}
