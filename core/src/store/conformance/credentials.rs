//! Rotation and changes of credentials, when they were used, and notices before they expire.

use std::net::IpAddr;

use postern_proto::ids::{KeyId, SmtpCredentialId};
use uuid::Uuid;

use super::build::{NOW, events};
use super::directory::key;
use super::promises;
use crate::model::content::Wishes;
use crate::model::directory::{
    ApiKey, CredentialField, CredentialKind, LastUse, OldPassword, SmtpCredential,
};
use crate::model::event::{EventFilter, EventType, Subject};
use crate::store::credentials::{self, ExpiryNotice, Use};
use crate::store::smtp_credentials::{self, Named};
use crate::store::{Stores, directory, retention};

promises![
    a_key_gives_way_to_one_successor,
    a_revoked_key_has_no_successor,
    only_the_named_fields_of_a_key_change,
    a_new_password_leaves_the_old_one_for_a_while,
    only_the_named_fields_of_an_smtp_credential_change,
    the_latest_use_stays_and_disturbs_nobody,
    a_notice_is_noted_once_and_forgotten_by_age,
];

fn successor(old: &ApiKey, hash: u8) -> ApiKey {
    let (id, replaces) = (KeyId::generate(), Some(old.id));
    ApiKey { id, hash: [hash; 32], create_ms: NOW + 1, replaces, ..old.clone() }
}

async fn stored(stores: &Stores, id: KeyId) -> ApiKey {
    directory::find_key(&*stores.db, id).await.unwrap().unwrap()
}

async fn a_key_gives_way_to_one_successor(stores: Stores) {
    let db = &*stores.db;
    let old = ApiKey { expire_ms: None, ..key(1) };
    directory::create_key(db, &old).await.unwrap();
    let before = directory::version(db).await.unwrap();
    let (new, late) = (successor(&old, 2), successor(&old, 3));
    assert!(directory::rotate_key(db, &new, NOW + 500).await.unwrap());
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    assert!(!directory::rotate_key(db, &late, NOW + 900).await.unwrap(), "it has one already");
    assert_eq!(stored(&stores, new.id).await, new);
    assert_eq!(directory::find_key(db, late.id).await.unwrap(), None);
    let left = ApiKey { expire_ms: Some(NOW + 500), replaced_by: Some(new.id), ..old };
    assert_eq!(stored(&stores, left.id).await, left);
    // The overlap never makes a key live longer.
    let short = ApiKey { expire_ms: Some(NOW + 10), ..key(4) };
    directory::create_key(db, &short).await.unwrap();
    assert!(directory::rotate_key(db, &successor(&short, 5), NOW + 500).await.unwrap());
    assert_eq!(stored(&stores, short.id).await.expire_ms, Some(NOW + 10));
}

async fn a_revoked_key_has_no_successor(stores: Stores) {
    let db = &*stores.db;
    let old = key(1);
    directory::create_key(db, &old).await.unwrap();
    directory::revoke_key(db, old.id, NOW).await.unwrap();
    let new = successor(&old, 2);
    assert!(!directory::rotate_key(db, &new, NOW + 500).await.unwrap());
    assert_eq!(directory::find_key(db, new.id).await.unwrap(), None);
    assert_eq!(stored(&stores, old.id).await.replaced_by, None);
    let unknown = successor(&key(3), 4);
    assert!(!directory::rotate_key(db, &unknown, NOW + 500).await.unwrap());
}

async fn only_the_named_fields_of_a_key_change(stores: Stores) {
    let db = &*stores.db;
    let before = key(1);
    directory::create_key(db, &before).await.unwrap();
    let version = directory::version(db).await.unwrap();
    let asked = ApiKey {
        display_name: "Other".to_owned(),
        scopes: vec!["stats:read".to_owned()],
        sender_domains: Vec::new(),
        daily_limit: 7,
        expire_ms: None,
        wishes: Wishes::default(),
        ip_allow: vec!["2001:db8::/32".parse().unwrap()],
        ..before.clone()
    };
    let change = async |fields: &[CredentialField]| {
        credentials::update_key(db, &asked, fields).await.unwrap()
    };
    assert!(change(&[CredentialField::DailyLimit, CredentialField::ExpireTime]).await);
    assert_ne!(directory::version(db).await.unwrap(), version, "other nodes must notice");
    let changed = ApiKey { daily_limit: 7, expire_ms: None, ..before };
    assert_eq!(stored(&stores, asked.id).await, changed);
    let rest = [
        CredentialField::DisplayName,
        CredentialField::Scopes,
        CredentialField::SenderDomains,
        CredentialField::IpAllow,
        CredentialField::Wishes,
        CredentialField::Wishes,
    ];
    assert!(change(&rest).await);
    assert_eq!(stored(&stores, asked.id).await, asked);
    directory::revoke_key(db, asked.id, NOW).await.unwrap();
    assert!(!change(&rest).await, "a revoked key stays as it is");
}

fn credential(username: &str) -> SmtpCredential {
    SmtpCredential {
        id: SmtpCredentialId::generate(),
        username: username.to_owned(),
        password_hash: "one".to_owned(),
        display_name: "Printer".to_owned(),
        sender_domains: vec!["example.com".to_owned()],
        rate_limit: 3,
        daily_limit: 5,
        header_aliases: vec![1, 2],
        expire_ms: Some(NOW + 1),
        test: false,
        create_ms: NOW,
        revoke_ms: None,
        wishes: Wishes::default(),
        ip_allow: vec!["192.0.2.7/32".parse().unwrap()],
        old_password: None,
        last_use: None,
    }
}

async fn found(stores: &Stores, id: SmtpCredentialId) -> SmtpCredential {
    smtp_credentials::find(&*stores.db, Named::Id(id)).await.unwrap().unwrap()
}

async fn a_new_password_leaves_the_old_one_for_a_while(stores: Stores) {
    let db = &*stores.db;
    let before = credential("printer");
    smtp_credentials::create(db, &before).await.unwrap();
    assert_eq!(found(&stores, before.id).await, before);
    let version = directory::version(db).await.unwrap();
    assert!(smtp_credentials::rotate(db, &before, "two", NOW + 500).await.unwrap());
    assert_ne!(directory::version(db).await.unwrap(), version, "other nodes must notice");
    let rotated = found(&stores, before.id).await;
    let old_password = Some(OldPassword { hash: "one".to_owned(), until_ms: NOW + 500 });
    assert_eq!(
        rotated,
        SmtpCredential { password_hash: "two".to_owned(), old_password, ..before.clone() }
    );
    let at = |now_ms| rotated.password_hashes(now_ms).cloned().collect::<Vec<_>>();
    assert_eq!(at(NOW + 499), ["two", "one"]);
    assert_eq!(at(NOW + 500), ["two"]);
    let stale = smtp_credentials::rotate(db, &before, "three", NOW + 900).await.unwrap();
    assert!(!stale, "somebody else was quicker");
    assert!(smtp_credentials::rotate(db, &rotated, "three", NOW + 900).await.unwrap());
    let again = found(&stores, before.id).await;
    assert_eq!(again.password_hashes(NOW).collect::<Vec<_>>(), ["three", "two"]);
    smtp_credentials::revoke(db, before.id, NOW).await.unwrap();
    assert!(!smtp_credentials::rotate(db, &again, "four", NOW + 900).await.unwrap());
}

async fn only_the_named_fields_of_an_smtp_credential_change(stores: Stores) {
    let db = &*stores.db;
    let before = credential("printer");
    smtp_credentials::create(db, &before).await.unwrap();
    let asked = SmtpCredential {
        rate_limit: 30,
        header_aliases: Vec::new(),
        daily_limit: 0,
        ip_allow: Vec::new(),
        display_name: "Scanner".to_owned(),
        ..before.clone()
    };
    let first = [CredentialField::RateLimit, CredentialField::IpAllow];
    assert!(credentials::update_smtp(db, &asked, &first).await.unwrap());
    let changed = SmtpCredential { rate_limit: 30, ip_allow: Vec::new(), ..before };
    assert_eq!(found(&stores, asked.id).await, changed);
    let rest =
        [CredentialField::HeaderAliases, CredentialField::DailyLimit, CredentialField::DisplayName];
    assert!(credentials::update_smtp(db, &asked, &rest).await.unwrap());
    assert_eq!(found(&stores, asked.id).await, asked);
}

async fn the_latest_use_stays_and_disturbs_nobody(stores: Stores) {
    let db = &*stores.db;
    let (key, smtp) = (key(1), credential("printer"));
    directory::create_key(db, &key).await.unwrap();
    smtp_credentials::create(db, &smtp).await.unwrap();
    let version = directory::version(db).await.unwrap();
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let of = |kind, id, at_ms, address| Use { kind, id, at_ms, address };
    let key_id = key.id.uuid();
    let noted = [
        of(CredentialKind::ApiKey, key_id, NOW + 9, Some(address)),
        of(CredentialKind::Smtp, smtp.id.uuid(), NOW + 7, None),
        of(CredentialKind::ApiKey, Uuid::now_v7(), NOW, None),
    ];
    credentials::note_uses(db, &noted).await.unwrap();
    // Another node writes later what happened before.
    let earlier = [of(CredentialKind::ApiKey, key_id, NOW + 8, None)];
    credentials::note_uses(db, &earlier).await.unwrap();
    let last = |at_ms, address: &str| Some(LastUse { at_ms, address: address.to_owned() });
    assert_eq!(stored(&stores, key.id).await.last_use, last(NOW + 9, "192.0.2.1"));
    assert_eq!(found(&stores, smtp.id).await.last_use, last(NOW + 7, ""));
    let read = credentials::last_used(db, CredentialKind::ApiKey, key_id).await.unwrap();
    assert_eq!(read, Some(NOW + 9));
    let none = credentials::last_used(db, CredentialKind::Smtp, key_id).await.unwrap();
    assert_eq!(none, None);
    assert_eq!(directory::version(db).await.unwrap(), version, "nothing has to be read again");
}

async fn a_notice_is_noted_once_and_forgotten_by_age(stores: Stores) {
    let db = &*stores.db;
    let notice = ExpiryNotice { credential_id: Uuid::now_v7(), expire_ms: NOW, days: 3 };
    assert!(!credentials::has_notice(db, &notice).await.unwrap());
    let subject = Subject { id: "key_1".to_owned(), ..Subject::default() };
    let noted = |notice| credentials::note_notice(db, notice, &subject, NOW);
    let both = tokio::join!(noted(&notice), noted(&notice));
    assert_ne!(both.0.unwrap(), both.1.unwrap(), "one of two is the first");
    assert!(credentials::has_notice(db, &notice).await.unwrap());
    let later = ExpiryNotice { expire_ms: NOW + 1, ..notice };
    assert!(noted(&later).await.unwrap(), "it was given a later end");
    let told = events(&stores, &EventFilter::default(), 2).await;
    let [first, second] = &told[..] else { panic!("each is told once: {told:?}") };
    assert!(first.sequence < second.sequence);
    assert_eq!((first.event.kind, first.event.reason.as_str()), (EventType::KeyExpiring, "3d"));
    assert_eq!((first.event.create_ms, first.subject.as_ref()), (NOW, Some(&subject)));
    retention::remove_affairs(db, NOW + 1).await.unwrap();
    let left = events(&stores, &EventFilter::default(), 1).await;
    assert_eq!(left, told[1..], "the newest stays, for the feed to count on from");
    credentials::forget_notices(db, NOW + 1).await.unwrap();
    assert!(!credentials::has_notice(db, &notice).await.unwrap());
    assert!(credentials::has_notice(db, &later).await.unwrap());
}
