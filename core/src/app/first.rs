//! What an installation needs before anybody can use it: an API key and an operator.
//!
//! Each is made once, by whichever core is the first; a crash in between leaves the second to the next
//! start. Their secrets are told to the caller and are nowhere else.

use postern_proto::ids::KeyId;

use super::Core;
use crate::model::directory::ApiKey;
use crate::model::operator::{Operator, Role};
use crate::rpc::auth;
use crate::{credential, operator, store};

/// The operator that was made at the first start.
#[derive(Debug)]
pub struct FirstOperator {
    /// The user name.
    pub username: String,
    /// The password, where nobody had chosen one.
    pub password: Option<String>,
}

/// The first operator could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The password.
    #[error(transparent)]
    Hash(#[from] operator::HashError),
}

impl Core {
    /// Makes an API key that may do everything and never expires, if there is no key yet. Returns
    /// its secret, which is nowhere else.
    pub async fn first_key(&self) -> Result<Option<String>, store::Error> {
        let context = &self.context;
        if !store::directory::keys(&*context.db, None, 1).await?.is_empty() {
            return Ok(None);
        }
        let secret = credential::generate(false);
        let key = ApiKey {
            hash: auth::hash(&secret),
            hint: credential::hint(&secret),
            create_ms: context.clock.now_ms(),
            ..ApiKey::unbound(KeyId::generate(), "first key", &["*"])
        };
        store::directory::create_key(&*context.db, &key).await?;
        context.directory.refresh().await?;
        Ok(Some(secret))
    }

    /// Makes an operator who may do everything, if there is no operator yet. Returns the password,
    /// which is nowhere else; none when it was given.
    pub async fn first_operator(&self) -> Result<Option<FirstOperator>, FirstError> {
        let (db, first) = (&*self.context.db, &self.config.first_operator);
        if !store::operators::list(db, "", 1).await?.is_empty() {
            return Ok(None);
        }
        let made = first.password.is_none().then(operator::made_password);
        let password = made.clone().or_else(|| first.password.clone()).unwrap_or_default();
        let (hash, now_ms) = (operator::hash(&password)?, self.context.clock.now_ms());
        let operator = Operator::new(first.username.clone(), hash, Role::Admin, now_ms);
        match store::operators::create(db, &operator).await {
            // Another core was faster.
            Err(store::Error::Conflict(_)) => return Ok(None),
            made => made?,
        }
        Ok(Some(FirstOperator { username: operator.username, password: made }))
    }
}
