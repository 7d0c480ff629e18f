//! `DomainService`.

use postern_proto::ids::DomainId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::duration_millis;
use postern_proto::v1;
use postern_proto::v1::domain_service_server::DomainService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::keys;
use crate::intake::address;
use crate::model::domain::{Check, DkimKey, Domain, KeyState};
use crate::store::audit::Audited;
use crate::store::{Error, domains};

use super::act::By;
use super::domain_shown::{shown, tag};
use super::{Context, etag};

/// Characters of the client's part of a selector.
const SELECTOR_MAX: usize = 32;
/// The longest that replaced keys stay published.
const OVERLAP_MS_MAX: u64 = 90 * 24 * 3600 * 1000;

/// The service.
pub struct Domains(pub Context);

#[tonic::async_trait]
impl DomainService for Domains {
    async fn create_domain(
        &self,
        request: Request<v1::CreateDomainRequest>,
    ) -> Result<Response<v1::CreateDomainResponse>, Status> {
        let by = self.0.admit(request.metadata(), "domains:write")?;
        let domain = self.create(&by, request.into_inner()).await?;
        Ok(Response::new(v1::CreateDomainResponse { domain: Some(self.shown(domain)) }))
    }

    async fn get_domain(
        &self,
        request: Request<v1::GetDomainRequest>,
    ) -> Result<Response<v1::GetDomainResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:read")?;
        let domain = self.find(&request.get_ref().id).await?;
        Ok(Response::new(v1::GetDomainResponse { domain: Some(self.shown(domain)) }))
    }

    async fn list_domains(
        &self,
        request: Request<v1::ListDomainsRequest>,
    ) -> Result<Response<v1::ListDomainsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let after = pages.cursor("page_token", b"domains", &request.page_token)?;
        let list = domains::list(&*self.0.db, &after.unwrap_or_default(), size + 1).await;
        let mut list = list.map_err(Failure::from)?;
        let next_page_token = pages.cut(&mut list, size, b"domains", |last| last.name.clone());
        let domains = list.into_iter().map(|domain| self.shown(domain)).collect();
        Ok(Response::new(v1::ListDomainsResponse { domains, next_page_token }))
    }

    async fn delete_domain(
        &self,
        request: Request<v1::DeleteDomainRequest>,
    ) -> Result<Response<v1::DeleteDomainResponse>, Status> {
        let by = self.0.admit(request.metadata(), "domains:write")?;
        let request = request.into_inner();
        match self.find(&request.id).await {
            Ok(domain) => {
                etag::check(&request.etag, &tag(&domain))?;
                if request.validate_only {
                    return Ok(Response::new(v1::DeleteDomainResponse {}));
                }
                let db = self.audited(&by, "domain.delete", &domain, "");
                domains::delete(&db, domain.id).await.map_err(Failure::from)?;
                self.0.directory.refresh().await.map_err(Failure::from)?;
            }
            Err(failure) if failure.reason == Reason::DomainNotFound && request.allow_missing => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(Response::new(v1::DeleteDomainResponse {}))
    }

    async fn check_domain(
        &self,
        request: Request<v1::CheckDomainRequest>,
    ) -> Result<Response<v1::CheckDomainResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:read")?;
        let mut domain = self.find(&request.get_ref().id).await?;
        let now_ms = self.0.clock.now_ms();
        domain.checks = self.0.domain_checker.check(&domain, now_ms).await;
        domain.check_ms = Some(now_ms);
        let kept = domains::keep_checks(&*self.0.db, domain.id, &domain.checks, now_ms).await;
        kept.map_err(Failure::from)?;
        Ok(Response::new(v1::CheckDomainResponse { domain: Some(self.shown(domain)) }))
    }

    async fn rotate_dkim_keys(
        &self,
        request: Request<v1::RotateDkimKeysRequest>,
    ) -> Result<Response<v1::RotateDkimKeysResponse>, Status> {
        let by = self.0.admit(request.metadata(), "domains:write")?;
        let domain = self.rotate(&by, request.into_inner()).await?;
        Ok(Response::new(v1::RotateDkimKeysResponse { domain: Some(self.shown(domain)) }))
    }

    async fn activate_dkim_keys(
        &self,
        request: Request<v1::ActivateDkimKeysRequest>,
    ) -> Result<Response<v1::ActivateDkimKeysResponse>, Status> {
        let by = self.0.admit(request.metadata(), "domains:write")?;
        let domain = self.activate(&by, request.into_inner()).await?;
        Ok(Response::new(v1::ActivateDkimKeysResponse { domain: Some(self.shown(domain)) }))
    }
}

impl Domains {
    async fn find(&self, text: &str) -> Result<Domain, Failure> {
        let id = text.parse::<DomainId>().ok();
        let name = address::parse_domain(text).unwrap_or_default();
        let found = domains::find(&*self.0.db, &name, id).await?;
        let text: String = text.chars().take(253).collect();
        found.ok_or_else(|| {
            let message = format!("there is no domain '{text}'");
            Failure::new(Reason::DomainNotFound, message).with("name", text)
        })
    }

    /// The database, for an act on a domain.
    fn audited(&self, by: &By, action: &str, domain: &Domain, more: &str) -> Audited<'_> {
        let detail = format!("{} {more}", domain.name);
        self.0.audited(by, action, &domain.id.to_string(), detail.trim_end())
    }

    fn shown(&self, domain: Domain) -> v1::Domain {
        shown(domain, self.0.domain_checker.setup())
    }

    async fn create(&self, by: &By, request: v1::CreateDomainRequest) -> Result<Domain, Failure> {
        let name = address::parse_domain(&request.name)
            .map_err(|text| Failure::field(Reason::InvalidValue, "name", text))?;
        let now_ms = self.0.clock.now_ms();
        let selector = selector(request.selector, || keys::free_selector(now_ms, None))?;
        // It signs at once: there is nothing else that could.
        let keys = made(selector, KeyState::Active, keys::OVERLAP_MS, now_ms).await?;
        let domain = Domain {
            id: DomainId::generate(),
            name,
            keys,
            create_ms: now_ms,
            change_id: Uuid::now_v7(),
            checks: Vec::new(),
            check_ms: None,
        };
        if request.validate_only {
            let found = domains::find(&*self.0.db, &domain.name, None).await?;
            return if found.is_some() { Err(exists(&domain.name)) } else { Ok(domain) };
        }
        let db = self.audited(by, "domain.create", &domain, "");
        domains::create(&db, &domain).await.map_err(|error| match error {
            Error::Conflict(_) => exists(&domain.name),
            other => other.into(),
        })?;
        self.0.directory.refresh().await?;
        Ok(domain)
    }

    async fn rotate(&self, by: &By, request: v1::RotateDkimKeysRequest) -> Result<Domain, Failure> {
        let mut domain = self.find(&request.id).await?;
        etag::check(&request.etag, &tag(&domain))?;
        let overlap_ms = match &request.overlap {
            None => keys::OVERLAP_MS,
            Some(overlap) => {
                let fits = duration_millis(overlap).filter(|ms| *ms <= OVERLAP_MS_MAX);
                let text = "is not between 0 and 90 days";
                fits.ok_or_else(|| Failure::field(Reason::ValueOutOfRange, "overlap", text))? as i64
            }
        };
        if let Some(waiting) = domain.keys_in(KeyState::Pending).next()
            && !request.replace_pending
        {
            return Err(pending(&domain.name, waiting.pair()));
        }
        let now_ms = self.0.clock.now_ms();
        let free = || keys::free_selector(now_ms, Some(&domain));
        let selector = selector(request.selector, free)?;
        domain.keys.retain(|key| key.state != KeyState::Pending);
        if domain.keys.iter().any(|key| key.pair() == selector) {
            return Err(taken(&domain.name, &selector));
        }
        let new = made(selector, KeyState::Pending, overlap_ms, now_ms).await?;
        if domain.keys.len() + new.len() > keys::KEYS_MAX {
            let text = "the domain has as many DKIM keys as one may have: retired keys go when their \
                        time is over";
            return Err(Failure::new(Reason::DkimKeysTooMany, text).with("name", domain.name));
        }
        if request.validate_only {
            domain.keys.extend(new);
            domain.keys.sort_by(|one, other| one.selector.cmp(&other.selector));
            return Ok(domain);
        }
        let detail = format!("new keys {}", new[0].pair());
        let db = self.audited(by, "domain.rotate", &domain, &detail);
        if !domains::add_pending(&db, &domain, &new).await? {
            return Err(etag::mismatch());
        }
        self.find(&domain.id.to_string()).await
    }

    async fn activate(
        &self,
        by: &By,
        request: v1::ActivateDkimKeysRequest,
    ) -> Result<Domain, Failure> {
        let mut domain = self.find(&request.id).await?;
        etag::check(&request.etag, &tag(&domain))?;
        let wanted = wanted(&domain, &request.selector)?;
        let selector = wanted[0].pair().to_owned();
        if wanted.iter().all(|key| key.state == KeyState::Active) {
            return Ok(domain);
        }
        let remove_ms = self.0.clock.now_ms() + wanted[0].overlap_ms;
        let selectors: Vec<String> = wanted.iter().map(|key| key.selector.clone()).collect();
        if !request.force {
            let missing = self.0.domain_checker.unpublished(&domain, &selector).await;
            if !missing.is_empty() {
                return Err(not_published(&domain.name, &missing));
            }
        }
        if request.validate_only {
            for key in &mut domain.keys {
                if selectors.contains(&key.selector) {
                    (key.state, key.remove_ms) = (KeyState::Active, None);
                } else if key.state == KeyState::Active {
                    (key.state, key.remove_ms) = (KeyState::Retired, Some(remove_ms));
                }
            }
            return Ok(domain);
        }
        let detail =
            format!("keys {selector}{}", if request.force { ", unpublished or not" } else { "" });
        let db = self.audited(by, "domain.activate", &domain, &detail);
        if !domains::activate(&db, &domain, &selectors, remove_ms).await? {
            return Err(etag::mismatch());
        }
        self.0.directory.refresh().await?;
        self.find(&domain.id.to_string()).await
    }
}

/// The pair with this selector, or the one that is pending.
fn wanted<'a>(domain: &'a Domain, selector: &str) -> Result<Vec<&'a DkimKey>, Failure> {
    let fits = |key: &&DkimKey| match selector {
        "" => key.state == KeyState::Pending,
        selector => key.pair() == selector,
    };
    let keys: Vec<&DkimKey> = domain.keys.iter().filter(fits).collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let message = if selector.is_empty() {
        format!("{} has no keys that wait to be activated: rotate them first", domain.name)
    } else {
        let selector: String = selector.chars().take(SELECTOR_MAX).collect();
        format!("{} has no DKIM keys '{selector}'", domain.name)
    };
    Err(Failure::new(Reason::DkimKeysNotFound, message).with("name", &*domain.name))
}

fn selector(asked: String, free: impl FnOnce() -> String) -> Result<String, Failure> {
    if asked.is_empty() {
        return Ok(free());
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if asked.len() > SELECTOR_MAX || !asked.chars().all(fits) {
        let text = "needs 1 to 32 lower-case letters and digits";
        return Err(Failure::field(Reason::InvalidValue, "selector", text));
    }
    Ok(asked)
}

/// Finding RSA primes takes a while.
async fn made(
    selector: String,
    state: KeyState,
    overlap_ms: i64,
    now_ms: i64,
) -> Result<Vec<DkimKey>, Failure> {
    let make = move || keys::pair(&selector, state, overlap_ms, now_ms);
    let made = tokio::task::spawn_blocking(make).await;
    made.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    tracing::error!(%error, "dkim keys not made");
    Failure::new(Reason::Internal, "the keys could not be made")
}

fn exists(name: &str) -> Failure {
    Failure::new(Reason::DomainExists, format!("the domain {name} exists")).with("name", name)
}

fn taken(name: &str, selector: &str) -> Failure {
    let text = format!("{name} has keys with the selector '{selector}': choose another");
    Failure::new(Reason::DkimKeysExists, text).with("selector", selector)
}

fn pending(name: &str, selector: &str) -> Failure {
    let text = format!(
        "the keys '{selector}' of {name} wait to be activated: activate them, or ask to replace them"
    );
    Failure::new(Reason::DkimKeysPending, text).with("selector", selector)
}

/// Says what to publish, record by record.
fn not_published(name: &str, missing: &[Check]) -> Failure {
    let one = |check: &Check| {
        let why = if check.error.is_empty() { &check.hint } else { &check.error };
        format!("{} TXT \"{}\" ({})", check.name, check.expected, why.trim_end_matches('.'))
    };
    let list: Vec<String> = missing.iter().map(one).collect();
    let text = format!(
        "the DNS does not show the new keys of {name} yet; publish {}, wait until the name servers \
         have it, and activate again",
        list.join(" and ")
    );
    Failure::new(Reason::DkimNotPublished, text).with("name", name)
}
