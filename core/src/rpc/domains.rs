//! `DomainService`.

use postern_proto::ids::DomainId;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::time::timestamp;
use postern_proto::v1;
use postern_proto::v1::domain_service_server::DomainService;
use tonic::{Request, Response, Status};

use crate::dkim;
use crate::intake::address;
use crate::model::directory::{DkimAlgorithm, DkimKey, Domain};
use crate::store::{Error, directory};

use super::{Context, etag};

/// Characters of the client's part of a selector.
const SELECTOR_MAX: usize = 32;

/// The service.
pub struct Domains(pub Context);

#[tonic::async_trait]
impl DomainService for Domains {
    async fn create_domain(
        &self,
        request: Request<v1::CreateDomainRequest>,
    ) -> Result<Response<v1::CreateDomainResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:write")?;
        let request = request.into_inner();
        let name = address::parse_domain(&request.name)
            .map_err(|text| Failure::field(Reason::InvalidValue, "name", text))?;
        let now_ms = self.0.clock.now_ms();
        let selector = selector(request.selector, now_ms)?;
        // Finding RSA primes takes a while.
        let made = tokio::task::spawn_blocking(move || keys(&selector, now_ms)).await;
        let keys = made.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
        let domain = Domain { id: DomainId::generate(), name, keys, create_ms: now_ms };
        if request.validate_only {
            let found = directory::domain(&*self.0.db, &domain.name, None).await;
            if found.map_err(Failure::from)?.is_some() {
                return Err(exists(&domain.name).into());
            }
            return Ok(Response::new(v1::CreateDomainResponse { domain: Some(shown(domain)) }));
        }
        directory::create_domain(&*self.0.db, &domain).await.map_err(|error| match error {
            Error::Conflict(_) => exists(&domain.name),
            other => other.into(),
        })?;
        self.0.directory.refresh().await.map_err(Failure::from)?;
        Ok(Response::new(v1::CreateDomainResponse { domain: Some(shown(domain)) }))
    }

    async fn get_domain(
        &self,
        request: Request<v1::GetDomainRequest>,
    ) -> Result<Response<v1::GetDomainResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:read")?;
        let domain = self.find(&request.get_ref().id).await?;
        Ok(Response::new(v1::GetDomainResponse { domain: Some(shown(domain)) }))
    }

    async fn list_domains(
        &self,
        request: Request<v1::ListDomainsRequest>,
    ) -> Result<Response<v1::ListDomainsResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:read")?;
        let (pages, request) = (&self.0.pages, request.into_inner());
        let size = pages.size(request.page_size)?;
        let after = pages.cursor("page_token", b"domains", &request.page_token)?;
        let list = directory::domains(&*self.0.db, &after.unwrap_or_default(), size + 1).await;
        let mut list = list.map_err(Failure::from)?;
        let next_page_token = pages.cut(&mut list, size, b"domains", |last| last.name.clone());
        let domains = list.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListDomainsResponse { domains, next_page_token }))
    }

    async fn delete_domain(
        &self,
        request: Request<v1::DeleteDomainRequest>,
    ) -> Result<Response<v1::DeleteDomainResponse>, Status> {
        self.0.gate.authorise(request.metadata(), "domains:write")?;
        let request = request.into_inner();
        match self.find(&request.id).await {
            Ok(domain) => {
                etag::check(&request.etag, &etag(&domain))?;
                if request.validate_only {
                    return Ok(Response::new(v1::DeleteDomainResponse {}));
                }
                directory::delete_domain(&*self.0.db, domain.id).await.map_err(Failure::from)?;
                self.0.directory.refresh().await.map_err(Failure::from)?;
            }
            Err(failure) if failure.reason == Reason::DomainNotFound && request.allow_missing => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(Response::new(v1::DeleteDomainResponse {}))
    }
}

impl Domains {
    async fn find(&self, text: &str) -> Result<Domain, Failure> {
        let id = text.parse::<DomainId>().ok();
        let name = address::parse_domain(text).unwrap_or_default();
        let found = directory::domain(&*self.0.db, &name, id).await?;
        let text: String = text.chars().take(253).collect();
        found.ok_or_else(|| {
            let message = format!("there is no domain '{text}'");
            Failure::new(Reason::DomainNotFound, message).with("name", text)
        })
    }
}

fn selector(asked: String, now_ms: i64) -> Result<String, Failure> {
    if asked.is_empty() {
        let date = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default().to_string();
        return Ok(format!("p{}{}", &date[..4], &date[5..7]));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if asked.len() > SELECTOR_MAX || !asked.chars().all(fits) {
        let text = "needs 1 to 32 lower-case letters and digits";
        return Err(Failure::field(Reason::InvalidValue, "selector", text));
    }
    Ok(asked)
}

fn keys(selector: &str, create_ms: i64) -> Result<Vec<DkimKey>, dkim::Error> {
    let key = |suffix: &str, algorithm| {
        let made = dkim::generate(algorithm)?;
        let (private_der, record) = (made.private_der, made.record);
        let selector = format!("{selector}{suffix}");
        Ok(DkimKey { selector, algorithm, private_der, record, create_ms })
    };
    // In the order in which they are read back: by selector.
    Ok(vec![key("e", DkimAlgorithm::Ed25519)?, key("r", DkimAlgorithm::Rsa)?])
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    tracing::error!(%error, "dkim keys not made");
    Failure::new(Reason::Internal, "the keys could not be made")
}

fn exists(name: &str) -> Failure {
    Failure::new(Reason::DomainExists, format!("the domain {name} exists")).with("name", name)
}

/// A domain changes with its keys.
fn etag(domain: &Domain) -> String {
    let id = domain.id.uuid();
    let keys = domain.keys.iter();
    let keys = keys.flat_map(|key| [key.selector.as_bytes(), key.record.as_bytes()]);
    let parts: Vec<&[u8]> = std::iter::once(&id.as_bytes()[..]).chain(keys).collect();
    etag::of(&parts)
}

fn shown(domain: Domain) -> v1::Domain {
    let record = |key: &DkimKey| v1::DnsRecord {
        r#type: "TXT".to_owned(),
        name: dkim::record_name(&domain.name, &key.selector),
        value: key.record.clone(),
        purpose: "dkim".to_owned(),
    };
    let key = |key: &DkimKey| v1::DkimKey {
        selector: key.selector.clone(),
        algorithm: key.algorithm as i32,
        create_time: Some(timestamp(key.create_ms)),
    };
    v1::Domain {
        id: domain.id.to_string(),
        dkim_keys: domain.keys.iter().map(key).collect(),
        dns_records: domain.keys.iter().map(record).collect(),
        create_time: Some(timestamp(domain.create_ms)),
        etag: etag(&domain),
        name: domain.name,
    }
}
