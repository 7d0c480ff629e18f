//! `/llms.txt`: the API on one page of plain text, for language models and for people in a hurry.
//! Like the OpenAPI document it is made from the route table and the contract's comments.
//!
//! Pure; a crash has nothing to lose.

use askama::Template;
use postern_proto::reason::Reason;
use prost_reflect::DescriptorPool;

use crate::openapi::summary;
use crate::v1::bound;

#[derive(Template)]
#[template(path = "llms.txt")]
struct Page {
    version: &'static str,
    services: Vec<Service>,
    reasons: Vec<Code>,
}

struct Service {
    name: String,
    calls: Vec<Call>,
}

struct Call {
    method: String,
    path: &'static str,
    summary: String,
}

struct Code {
    code: String,
    http: u16,
    title: &'static str,
}

/// The page.
pub(crate) fn page(pool: &DescriptorPool) -> Result<String, askama::Error> {
    let mut services: Vec<Service> = Vec::new();
    for row in bound(pool) {
        let name = row.rpc.parent_service().name().trim_end_matches("Service").to_owned();
        let (method, path) = (row.route.method.to_string(), row.route.path);
        let call = Call { method, path, summary: summary(&row) };
        match services.iter_mut().find(|service| service.name == name) {
            Some(service) => service.calls.push(call),
            None => services.push(Service { name, calls: vec![call] }),
        }
    }
    let reasons = Reason::ALL.iter().map(|reason| reason.meaning());
    let reasons = reasons.map(|meaning| Code {
        code: meaning.name.to_ascii_lowercase(),
        http: meaning.http,
        title: meaning.title,
    });
    Page { version: env!("CARGO_PKG_VERSION"), services, reasons: reasons.collect() }.render()
}
