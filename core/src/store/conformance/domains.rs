//! Sender domains: their keys, how keys take turns, what was found of them.

use postern_proto::ids::DomainId;
use uuid::Uuid;

use super::build::NOW;
use super::promises;
use crate::model::domain::{
    Check, CheckStatus, DkimAlgorithm, DkimKey, Domain, KeyState, Need, Purpose,
};
use crate::store::db::Statement;
use crate::store::{Database, Error, Stores, directory, domains};

promises![
    domains_are_kept_with_their_keys,
    keys_made_before_they_had_states_sign,
    new_keys_wait_and_then_sign_alone,
    of_two_changes_at_once_one_is_made,
    a_retired_key_goes_when_its_time_is_over,
    a_retired_key_may_sign_again,
    checks_are_kept_and_change_nothing,
];

fn key(selector: &str, algorithm: DkimAlgorithm, state: KeyState) -> DkimKey {
    DkimKey {
        selector: selector.to_owned(),
        algorithm,
        private_der: vec![0, 1, 255],
        record: "v=DKIM1".to_owned(),
        create_ms: NOW,
        state,
        overlap_ms: 1000,
        remove_ms: None,
    }
}

fn pair(selector: &str, state: KeyState) -> Vec<DkimKey> {
    vec![
        key(&format!("{selector}e"), DkimAlgorithm::Ed25519, state),
        key(&format!("{selector}r"), DkimAlgorithm::Rsa, state),
    ]
}

fn domain(name: &str) -> Domain {
    Domain {
        id: DomainId::generate(),
        name: name.to_owned(),
        keys: pair("a", KeyState::Active),
        create_ms: NOW,
        change_id: Uuid::now_v7(),
        checks: Vec::new(),
        check_ms: None,
    }
}

async fn created(db: &dyn Database, name: &str) -> Domain {
    let domain = domain(name);
    domains::create(db, &domain).await.unwrap();
    domain
}

async fn now(db: &dyn Database, domain: &Domain) -> Domain {
    domains::find(db, "", Some(domain.id)).await.unwrap().unwrap()
}

/// The selectors of the keys in a state.
fn selectors(domain: &Domain, state: KeyState) -> Vec<String> {
    domain.keys_in(state).map(|key| key.selector.clone()).collect()
}

fn names(pair: &str) -> Vec<String> {
    vec![format!("{pair}e"), format!("{pair}r")]
}

async fn domains_are_kept_with_their_keys(stores: Stores) {
    let db = &*stores.db;
    let (one, other) = (domain("a.example"), domain("b.example"));
    domains::create(db, &other).await.unwrap();
    domains::create(db, &one).await.unwrap();
    let taken = domains::create(db, &domain("a.example")).await;
    assert!(matches!(taken, Err(Error::Conflict(_))));
    assert_eq!(domains::list(db, "", 10).await.unwrap(), [one.clone(), other.clone()]);
    assert_eq!(domains::list(db, "a.example", 10).await.unwrap(), [other]);
    assert_eq!(now(db, &one).await, one);
    domains::delete(db, one.id).await.unwrap();
    assert_eq!(domains::find(db, "a.example", None).await.unwrap(), None);
    assert!(!domains::add_pending(db, &one, &pair("b", KeyState::Pending)).await.unwrap());
}

async fn keys_made_before_they_had_states_sign(stores: Stores) {
    let db = &*stores.db;
    let id = DomainId::generate();
    let sql = "INSERT INTO domains (id, name, create_ms) VALUES ($1, $2, $3)";
    let old = vec![id.uuid().into(), "old.example".into(), NOW.into()];
    let domain = Statement::new(sql, old);
    let sql = "INSERT INTO dkim_keys (domain_id, selector, algorithm, private_der, record, create_ms) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let old = vec![id.uuid().into(), "ar".into(), 1.into(), vec![1].into(), "r".into(), NOW.into()];
    db.write(vec![domain, Statement::new(sql, old)]).await.unwrap();
    let found = domains::find(db, "old.example", None).await.unwrap().unwrap();
    assert_eq!(selectors(&found, KeyState::Active), ["ar"]);
    assert_eq!(found.keys[0].overlap_ms, 7 * 24 * 3600 * 1000);
    assert!(domains::add_pending(db, &found, &pair("b", KeyState::Pending)).await.unwrap());
}

async fn new_keys_wait_and_then_sign_alone(stores: Stores) {
    let db = &*stores.db;
    let first = created(db, "a.example").await;
    let before = directory::version(db).await.unwrap();
    assert!(domains::add_pending(db, &first, &pair("b", KeyState::Pending)).await.unwrap());
    let waiting = now(db, &first).await;
    assert_ne!(waiting.change_id, first.change_id);
    assert_eq!(selectors(&waiting, KeyState::Active), names("a"));
    assert_eq!(selectors(&waiting, KeyState::Pending), names("b"));
    assert_eq!(directory::version(db).await.unwrap(), before, "nobody signs otherwise yet");
    // Another pair takes the place of the one that waits; a selector in use is refused.
    let again = domains::add_pending(db, &waiting, &pair("a", KeyState::Pending)).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    assert_eq!(now(db, &first).await, waiting, "a refused change changes nothing");
    assert!(domains::add_pending(db, &waiting, &pair("c", KeyState::Pending)).await.unwrap());
    let waiting = now(db, &first).await;
    assert_eq!(selectors(&waiting, KeyState::Pending), names("c"));
    assert!(domains::activate(db, &waiting, &names("c"), NOW + 5).await.unwrap());
    let signing = now(db, &first).await;
    assert_eq!(selectors(&signing, KeyState::Active), names("c"));
    assert_eq!(selectors(&signing, KeyState::Retired), names("a"));
    assert!(signing.keys_in(KeyState::Retired).all(|key| key.remove_ms == Some(NOW + 5)));
    assert!(signing.keys_in(KeyState::Active).all(|key| key.remove_ms.is_none()));
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
}

async fn of_two_changes_at_once_one_is_made(stores: Stores) {
    let db = &*stores.db;
    let first = created(db, "a.example").await;
    let (b, c) = (pair("b", KeyState::Pending), pair("c", KeyState::Pending));
    let (one, other) =
        tokio::join!(domains::add_pending(db, &first, &b), domains::add_pending(db, &first, &c),);
    assert_eq!([one.unwrap(), other.unwrap()].iter().filter(|done| **done).count(), 1);
    let waiting = now(db, &first).await;
    assert_eq!(waiting.keys_in(KeyState::Pending).count(), 2, "{waiting:?}");
    let pending = selectors(&waiting, KeyState::Pending);
    let d = pair("d", KeyState::Pending);
    let (activated, replaced) = tokio::join!(
        domains::activate(db, &waiting, &pending, NOW),
        domains::add_pending(db, &waiting, &d),
    );
    assert_ne!(activated.unwrap(), replaced.unwrap());
    let after = now(db, &first).await;
    assert_eq!(after.keys_in(KeyState::Active).count(), 2, "there are always keys: {after:?}");
    assert!(!domains::activate(db, &waiting, &names("z"), NOW).await.unwrap());
    assert_eq!(now(db, &first).await, after);
}

async fn a_retired_key_goes_when_its_time_is_over(stores: Stores) {
    let db = &*stores.db;
    let (first, other) = (created(db, "a.example").await, created(db, "b.example").await);
    domains::add_pending(db, &first, &pair("b", KeyState::Pending)).await.unwrap();
    let waiting = now(db, &first).await;
    domains::activate(db, &waiting, &names("b"), NOW + 5).await.unwrap();
    let retired = now(db, &first).await;
    assert_eq!(domains::remove_retired(db, NOW + 4).await.unwrap(), 0);
    assert_eq!(now(db, &first).await, retired);
    assert_eq!(domains::remove_retired(db, NOW + 5).await.unwrap(), 2);
    let left = now(db, &first).await;
    assert_eq!(left.keys.len(), 2);
    assert_eq!(selectors(&left, KeyState::Active), names("b"));
    // Whoever still saw the keys cannot go back to them.
    assert!(!domains::activate(db, &retired, &names("a"), NOW + 9).await.unwrap());
    assert_eq!(now(db, &first).await, left);
    assert_eq!(now(db, &other).await, other);
}

async fn a_retired_key_may_sign_again(stores: Stores) {
    let db = &*stores.db;
    let first = created(db, "a.example").await;
    domains::add_pending(db, &first, &pair("b", KeyState::Pending)).await.unwrap();
    domains::activate(db, &now(db, &first).await, &names("b"), NOW + 5).await.unwrap();
    assert!(domains::activate(db, &now(db, &first).await, &names("a"), NOW + 7).await.unwrap());
    let back = now(db, &first).await;
    assert_eq!(selectors(&back, KeyState::Active), names("a"));
    assert!(back.keys_in(KeyState::Active).all(|key| key.remove_ms.is_none()));
    assert!(back.keys_in(KeyState::Retired).all(|key| key.remove_ms == Some(NOW + 7)));
    assert_eq!(domains::remove_retired(db, NOW + 6).await.unwrap(), 0);
}

async fn checks_are_kept_and_change_nothing(stores: Stores) {
    let db = &*stores.db;
    let first = created(db, "a.example").await;
    let before = directory::version(db).await.unwrap();
    let check = Check {
        purpose: Purpose::Dkim,
        selector: "ar".to_owned(),
        name: "ar._domainkey.a.example".to_owned(),
        need: Need::Required,
        status: CheckStatus::Wrong,
        expected: "v=DKIM1; p=ö".to_owned(),
        found: "'\"".to_owned(),
        hint: "Replace it.".to_owned(),
        check_ms: NOW,
        error: String::new(),
    };
    domains::keep_checks(db, first.id, std::slice::from_ref(&check), NOW + 3).await.unwrap();
    let checked = now(db, &first).await;
    assert_eq!((&checked.checks, checked.check_ms), (&vec![check], Some(NOW + 3)));
    assert_eq!(checked.change_id, first.change_id);
    assert_eq!(directory::version(db).await.unwrap(), before);
    domains::keep_checks(db, first.id, &[], NOW + 4).await.unwrap();
    assert_eq!(now(db, &first).await.check_ms, Some(NOW + 4));
    domains::keep_checks(db, DomainId::generate(), &[], NOW).await.unwrap();
}
