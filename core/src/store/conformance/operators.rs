//! Operators: one of a name, always an admin, sessions that end, codes that count once.

use postern_proto::ids::OperatorId;

use super::build::NOW;
use super::promises;
use crate::model::operator::{Operator, Role};
use crate::store::db::Statement;
use crate::store::{Database, Error, Stores, directory, operators};

promises![
    an_operator_has_a_name_of_its_own,
    operators_are_listed_by_name,
    the_last_admin_stays_one,
    of_two_admins_who_leave_at_once_one_stays,
    a_session_lasts_until_it_ends,
    a_new_password_ends_the_other_sessions,
    a_reset_ends_all_sessions_and_asks_for_no_code,
    a_code_counts_once,
];

pub(super) fn operator(username: &str, role: Role) -> Operator {
    Operator {
        id: OperatorId::generate(),
        username: username.to_owned(),
        password_hash: "$argon2id$one".to_owned(),
        role,
        totp_secret: Vec::new(),
        totp_pending: Vec::new(),
        create_ms: NOW,
        login_ms: None,
    }
}

async fn created(db: &dyn Database, username: &str, role: Role) -> Operator {
    let made = operator(username, role);
    operators::create(db, &made).await.unwrap();
    made
}

async fn now(db: &dyn Database, operator: &Operator) -> Option<Operator> {
    operators::find(db, "", Some(operator.id)).await.unwrap()
}

/// Whose the sessions with these hashes are; none for one that is over.
async fn holders<const N: usize>(db: &dyn Database, hashes: [u8; N]) -> [Option<OperatorId>; N] {
    let sessions = operators::sessions(db).await.unwrap();
    hashes.map(|hash| sessions.get(&[hash; 32]).map(|session| session.operator.id))
}

async fn begin(db: &dyn Database, hash: u8, who: &Operator, now_ms: i64) {
    operators::begin_session(db, [hash; 32], who.id, now_ms + 100, now_ms).await.unwrap();
}

async fn an_operator_has_a_name_of_its_own(stores: Stores) {
    let db = &*stores.db;
    let ann = created(db, "ann", Role::Viewer).await;
    let taken = operators::create(db, &operator("ann", Role::Admin)).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    assert_eq!(operators::find(db, "ann", None).await.unwrap(), Some(ann.clone()));
    assert_eq!(now(db, &ann).await, Some(ann));
    assert_eq!(operators::find(db, "Ann", None).await.unwrap(), None);
}

async fn operators_are_listed_by_name(stores: Stores) {
    let db = &*stores.db;
    let mut made = Vec::new();
    for name in ["cid", "ann", "bob"] {
        made.push(created(db, name, Role::Viewer).await);
    }
    made.sort_by(|one, other| one.username.cmp(&other.username));
    assert_eq!(operators::list(db, "", 10).await.unwrap(), made);
    assert_eq!(operators::list(db, "ann", 1).await.unwrap(), made[1..2]);
    assert!(operators::list(db, "cid", 10).await.unwrap().is_empty());
}

async fn the_last_admin_stays_one(stores: Stores) {
    let db = &*stores.db;
    let ann = created(db, "ann", Role::Admin).await;
    let bob = created(db, "bob", Role::Viewer).await;
    assert!(!operators::set_role(db, ann.id, Role::Viewer).await.unwrap());
    assert!(!operators::delete(db, ann.id).await.unwrap());
    assert!(operators::set_role(db, ann.id, Role::Admin).await.unwrap(), "that is no change");
    assert_eq!(now(db, &ann).await, Some(ann.clone()));
    let before = directory::version(db).await.unwrap();
    assert!(operators::set_role(db, bob.id, Role::Admin).await.unwrap());
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    assert!(operators::set_role(db, ann.id, Role::Viewer).await.unwrap());
    assert!(!operators::delete(db, bob.id).await.unwrap());
    assert!(operators::delete(db, ann.id).await.unwrap());
    assert!(!operators::delete(db, ann.id).await.unwrap(), "there is none any more");
    assert!(!operators::set_role(db, ann.id, Role::Admin).await.unwrap());
    assert_eq!(operators::list(db, "", 10).await.unwrap().len(), 1);
}

async fn of_two_admins_who_leave_at_once_one_stays(stores: Stores) {
    let db = &*stores.db;
    for _ in 0..5 {
        let one = created(db, "ann", Role::Admin).await;
        let other = created(db, "bob", Role::Admin).await;
        let (left, demoted) = tokio::join!(
            operators::delete(db, one.id),
            operators::set_role(db, other.id, Role::Viewer)
        );
        assert_ne!(left.unwrap(), demoted.unwrap());
        let admins = operators::list(db, "", 10).await.unwrap();
        assert_eq!(admins.iter().filter(|one| one.role == Role::Admin).count(), 1, "{admins:?}");
        // The next round begins with nobody, which no operation of the store allows.
        let all = Statement::new("DELETE FROM operators", Vec::new());
        db.write(vec![all]).await.unwrap();
    }
}

async fn a_session_lasts_until_it_ends(stores: Stores) {
    let db = &*stores.db;
    let (ann, bob) =
        (created(db, "ann", Role::Admin).await, created(db, "bob", Role::Viewer).await);
    let before = directory::version(db).await.unwrap();
    begin(db, 1, &ann, NOW).await;
    assert_ne!(directory::version(db).await.unwrap(), before, "other nodes must notice");
    begin(db, 2, &bob, NOW + 50).await;
    assert_eq!(holders(db, [1, 2, 3]).await, [Some(ann.id), Some(bob.id), None]);
    let sessions = operators::sessions(db).await.unwrap();
    assert_eq!(sessions[&[1; 32]].expire_ms, NOW + 100);
    assert_eq!(now(db, &ann).await.unwrap().login_ms, Some(NOW));
    // Whoever logs in next finds those forgotten that are over.
    begin(db, 3, &bob, NOW + 100).await;
    assert_eq!(holders(db, [1, 2, 3]).await, [None, Some(bob.id), Some(bob.id)]);
    operators::end_session(db, [2; 32]).await.unwrap();
    assert_eq!(holders(db, [2, 3]).await, [None, Some(bob.id)]);
    assert!(operators::delete(db, bob.id).await.unwrap());
    assert_eq!(holders(db, [3]).await, [None]);
}

async fn a_new_password_ends_the_other_sessions(stores: Stores) {
    let db = &*stores.db;
    let (ann, bob) =
        (created(db, "ann", Role::Admin).await, created(db, "bob", Role::Viewer).await);
    for (hash, who) in [(1, &ann), (2, &ann), (3, &bob)] {
        begin(db, hash, who, NOW).await;
    }
    operators::set_password(db, ann.id, "$argon2id$two", [2; 32]).await.unwrap();
    assert_eq!(now(db, &ann).await.unwrap().password_hash, "$argon2id$two");
    assert_eq!(holders(db, [1, 2, 3]).await, [None, Some(ann.id), Some(bob.id)]);
}

async fn a_reset_ends_all_sessions_and_asks_for_no_code(stores: Stores) {
    let db = &*stores.db;
    let (ann, bob) =
        (created(db, "ann", Role::Admin).await, created(db, "bob", Role::Viewer).await);
    for (hash, who) in [(1, &ann), (2, &ann), (3, &bob)] {
        begin(db, hash, who, NOW).await;
    }
    operators::set_totp(db, ann.id, &[1, 2], &[3]).await.unwrap();
    let with_code = now(db, &ann).await.unwrap();
    assert_eq!((with_code.totp_secret, with_code.totp_pending), (vec![1, 2], vec![3]));
    operators::reset(db, ann.id, "$argon2id$two").await.unwrap();
    let reset = now(db, &ann).await.unwrap();
    assert!(reset.totp_secret.is_empty() && reset.totp_pending.is_empty());
    assert_eq!(reset.password_hash, "$argon2id$two");
    assert_eq!(holders(db, [1, 2, 3]).await, [None, None, Some(bob.id)]);
}

async fn a_code_counts_once(stores: Stores) {
    let db = &*stores.db;
    let ann = created(db, "ann", Role::Admin).await;
    let (one, other) = tokio::join!(
        operators::use_totp_step(db, ann.id, 7),
        operators::use_totp_step(db, ann.id, 7)
    );
    assert_ne!(one.unwrap(), other.unwrap(), "of two at once one is the first");
    assert!(!operators::use_totp_step(db, ann.id, 6).await.unwrap(), "nor an older one");
    assert!(operators::use_totp_step(db, ann.id, 8).await.unwrap());
}
