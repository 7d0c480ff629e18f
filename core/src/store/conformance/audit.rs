//! The audit log: an entry for each change that was made, and for nothing else.

use postern_proto::ids::{AuditId, SmtpCredentialId};
use uuid::Uuid;

use super::build::NOW;
use super::directory::key;
use super::operators::operator;
use super::promises;
use crate::model::operator::{AuditEntry, Role};
use crate::store::audit::{self, Audited, Filter};
use crate::store::db::first_id;
use crate::store::destinations::{self, Pause};
use crate::store::settings::{self, Expected};
use crate::store::{Database, Error, Stores, directory, operators, smtp_credentials, templates};

promises![
    an_entry_is_written_with_its_change,
    only_the_first_change_has_the_entry,
    a_change_without_effect_leaves_no_entry,
    a_change_that_fails_leaves_no_entry,
    entries_are_found_by_who_what_and_when,
    old_entries_are_purged,
];

/// An entry of a moment `at` ms after the beginning.
fn entry(at: u8, actor: &str, action: &str, target: &str) -> AuditEntry {
    let create_ms = NOW + i64::from(at);
    AuditEntry {
        id: AuditId::from_uuid(Uuid::from_u128(first_id(create_ms).as_u128() + 1)),
        create_ms,
        actor: actor.to_owned(),
        actor_name: "Ann".to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail: "a → b".to_owned(),
        client_ip: "192.0.2.7".to_owned(),
        request_id: "req_1".to_owned(),
    }
}

fn audited(db: &dyn Database) -> Audited<'_> {
    Audited::new(db, entry(0, "key_1", "api_key.create", "key_2"))
}

async fn log(db: &dyn Database) -> Vec<AuditEntry> {
    audit::list(db, &Filter::default(), 100).await.unwrap()
}

async fn an_entry_is_written_with_its_change(stores: Stores) {
    let db = &*stores.db;
    directory::create_key(&audited(db), &key(1)).await.unwrap();
    assert_eq!(log(db).await, [entry(0, "key_1", "api_key.create", "key_2")]);
    let second = entry(1, "opr_1", "sink.delete", "");
    audit::write(db, second.clone()).await.unwrap();
    assert_eq!(log(db).await[0], second, "the newest comes first");
}

async fn only_the_first_change_has_the_entry(stores: Stores) {
    let db = &*stores.db;
    let through = audited(db);
    directory::create_key(&through, &key(1)).await.unwrap();
    directory::create_key(&through, &key(2)).await.unwrap();
    assert_eq!(log(db).await.len(), 1);
    assert_eq!(directory::keys(db, None, 10).await.unwrap().len(), 2);
}

async fn a_change_without_effect_leaves_no_entry(stores: Stores) {
    let db = &*stores.db;
    let (gone, admin) = (key(1), operator("ann", Role::Admin));
    directory::create_key(db, &gone).await.unwrap();
    directory::revoke_key(db, gone.id, NOW).await.unwrap();
    operators::create(db, &admin).await.unwrap();
    let through = audited(db);
    let again = directory::revoke_key(&through, gone.id, NOW + 9).await.unwrap().unwrap();
    assert_eq!(again.revoke_ms, Some(NOW), "it was revoked before");
    assert!(!operators::delete(&through, admin.id).await.unwrap());
    assert!(!operators::set_role(&through, admin.id, Role::Viewer).await.unwrap());
    let nobody = SmtpCredentialId::generate();
    smtp_credentials::revoke(&through, nobody, NOW).await.unwrap();
    destinations::resume(&through, "example.net", NOW).await.unwrap();
    let unlike = Some(Expected { value: "7", is_default: false });
    assert!(!settings::put(&through, "smtp.recipients_max", "8", unlike).await.unwrap());
    assert!(
        !templates::delete(&through, postern_proto::ids::TemplateId::generate(), None)
            .await
            .unwrap()
    );
    assert!(log(db).await.is_empty(), "{:?}", log(db).await);
    // The first that has an effect is what the entry is about.
    let pause = Pause { domain: "example.net".to_owned(), note: String::new(), change_ms: NOW };
    destinations::pause(&through, &pause).await.unwrap();
    destinations::resume(&through, "example.net", NOW).await.unwrap();
    assert_eq!(log(db).await.len(), 1);
}

async fn a_change_that_fails_leaves_no_entry(stores: Stores) {
    let db = &*stores.db;
    directory::create_key(db, &key(1)).await.unwrap();
    let through = audited(db);
    let taken = directory::create_key(&through, &key(1)).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    assert!(log(db).await.is_empty());
    directory::create_key(&through, &key(2)).await.unwrap();
    assert_eq!(log(db).await.len(), 1);
    // An entry that cannot be written takes its change back.
    let refused = directory::create_key(&audited(db), &key(3)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "the entry's id is taken: {refused:?}");
    assert_eq!(directory::key_by_hash(db, &[3; 32]).await.unwrap(), None);
}

async fn entries_are_found_by_who_what_and_when(stores: Stores) {
    let db = &*stores.db;
    let all = [
        entry(1, "key_1", "api_key.create", "key_2"),
        entry(2, "key_1", "api_key.revoke", "key_2"),
        entry(3, "opr_1", "apiXkey.create", "key_3"),
        entry(4, "opr_1", "setting.update", "key_2"),
    ];
    for one in &all {
        audit::write(db, one.clone()).await.unwrap();
    }
    let found = async |filter: Filter, limit| {
        let found = audit::list(db, &filter, limit).await.unwrap();
        found.iter().map(|one| one.create_ms - NOW).collect::<Vec<_>>()
    };
    let text = |text: &str| text.to_owned();
    let of = |actor: &str| Filter { actor: text(actor), ..Filter::default() };
    assert_eq!(found(of("key_1"), 9).await, [2, 1]);
    assert_eq!(found(Filter { target: text("key_2"), ..of("opr_1") }, 9).await, [4]);
    assert_eq!(found(Filter { target: text("key_2"), ..of("") }, 9).await, [4, 2, 1]);
    assert_eq!(found(Filter { action: text("api_key."), ..of("") }, 9).await, [2, 1]);
    for pattern in ["%", "_pi", "\\"] {
        assert_eq!(found(Filter { action: text(pattern), ..of("") }, 9).await, [0i64; 0]);
    }
    let time = Filter { since_ms: Some(NOW + 2), until_ms: Some(NOW + 4), ..of("") };
    assert_eq!(found(time, 9).await, [3, 2]);
    assert_eq!(found(of(""), 2).await, [4, 3]);
    assert_eq!(found(Filter { before: Some(all[2].id), ..of("") }, 9).await, [2, 1]);
    assert_eq!(found(Filter { before: Some(all[1].id), ..of("key_1") }, 9).await, [1]);
    assert_eq!(found(of("nobody"), 9).await, [0i64; 0]);
}

async fn old_entries_are_purged(stores: Stores) {
    let db = &*stores.db;
    for at in 1..=5 {
        audit::write(db, entry(at, "key_1", "api_key.create", "key_2")).await.unwrap();
    }
    assert_eq!(audit::purge(db, NOW + 1, 10).await.unwrap(), 0);
    assert_eq!(audit::purge(db, NOW + 4, 2).await.unwrap(), 2, "the oldest go first");
    let left: Vec<_> = log(db).await.iter().map(|one| one.create_ms - NOW).collect();
    assert_eq!(left, [5, 4, 3]);
    assert_eq!(audit::purge(db, NOW + 4, 2).await.unwrap(), 1);
    assert_eq!(log(db).await.len(), 2, "what is not older than that stays");
}
