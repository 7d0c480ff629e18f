//! One order: from the account to the files.

use anyhow::{Context as _, bail, ensure};
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::challenge::Challenges;
use super::config::AcmeConfig;
use super::files::Folder;

/// Gets a certificate and puts it into the folder.
pub(super) async fn make(
    config: &AcmeConfig,
    folder: &Folder,
    challenges: &Challenges,
) -> anyhow::Result<()> {
    let limit = config.timeout;
    let made = tokio::time::timeout(limit, ordered(config, folder, challenges)).await;
    // What was answered for is over, one way or the other.
    challenges.clear();
    let (chain, key) = made.with_context(|| format!("not done within {limit:?}"))??;
    folder.exchange(&chain, &key).context("the files cannot be written")
}

async fn ordered(
    config: &AcmeConfig,
    folder: &Folder,
    challenges: &Challenges,
) -> anyhow::Result<(String, String)> {
    let account = account(config, folder).await.context("the account")?;
    let names: Vec<_> = config.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.context("the order")?;
    prove(config, challenges, &mut order).await?;
    let policy = RetryPolicy::new().timeout(config.timeout);
    let status = order.poll_ready(&policy).await.context("the order")?;
    if status != OrderStatus::Ready {
        bail!("the order is {status:?}: {}", refusal(&mut order).await);
    }
    let key = order.finalize().await.context("asking for the certificate")?;
    let chain = order.poll_certificate(&policy).await.context("the certificate")?;
    Ok((chain, key))
}

/// Answers a challenge for each name that the authority does not believe us yet.
async fn prove(
    config: &AcmeConfig,
    challenges: &Challenges,
    order: &mut Order,
) -> anyhow::Result<()> {
    let kind = match config.tls {
        Some(_) => ChallengeType::TlsAlpn01,
        None => ChallengeType::Http01,
    };
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut authorization = next.context("an authorization")?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => bail!("an authorization is {status:?}"),
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(kind.clone());
        let mut challenge =
            challenge.with_context(|| format!("the authority offers no {kind:?} for {name}"))?;
        let proof = challenge.key_authorization();
        match kind {
            ChallengeType::TlsAlpn01 => challenges.answer_tls(&name, proof.digest().as_ref())?,
            _ => challenges.answer_http(&challenge.token, proof.as_str()),
        }
        challenge.set_ready().await.with_context(|| format!("the challenge for {name}"))?;
    }
    Ok(())
}

/// What the authority has against a name.
async fn refusal(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
        said.extend(errors.map(|error| format!("{name}: {error}")));
    }
    if said.is_empty() { "no reason was given".to_owned() } else { said.join("; ") }
}

async fn account(config: &AcmeConfig, folder: &Folder) -> anyhow::Result<Account> {
    if let Some(text) = folder.account()? {
        let held: Held = serde_json::from_str(&text).context("account.json")?;
        // An account is known to the authority that it was made at.
        if held.directory == config.directory {
            return Ok(builder(config)?.from_credentials(held.credentials).await?);
        }
    }
    let contact = format!("mailto:{}", config.email);
    let contact: &[&str] = if config.email.is_empty() { &[] } else { &[&contact] };
    let new = NewAccount { contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) =
        builder(config)?.create(&new, config.directory.clone(), None).await?;
    let held = Held { directory: config.directory.clone(), credentials };
    folder.keep_account(&serde_json::to_string(&held)?)?;
    Ok(account)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Held {
    directory: String,
    credentials: AccountCredentials,
}

fn builder(config: &AcmeConfig) -> anyhow::Result<AccountBuilder> {
    ensure!(config.directory.starts_with("https://"), "POSTERN_ACME_DIRECTORY is not https");
    Ok(match &config.ca_file {
        Some(path) => Account::builder_with_root(path).context("POSTERN_ACME_CA_FILE")?,
        None => Account::builder()?,
    })
}
