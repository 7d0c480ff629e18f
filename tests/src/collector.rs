//! A collector of traces: the service of OpenTelemetry's own definitions, keeping what it gets in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::wait;

/// A span that arrived.
#[derive(Debug, Clone)]
pub struct Span {
    /// Who made it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Hexadecimal.
    pub trace_id: String,
    /// Hexadecimal.
    pub id: String,
    /// Hexadecimal; empty for the first of a trace.
    pub parent_id: String,
    /// As text.
    pub attributes: BTreeMap<String, String>,
    /// Of its status; empty when it did not fail.
    pub error: String,
    /// From its begin to its end, in nanoseconds.
    pub took: u64,
}

type Kept = Arc<Mutex<Vec<Span>>>;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    pub url: String,
    kept: Kept,
}

impl Collector {
    /// Starts one on a free port; it ends with the test.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let kept = Kept::default();
        let service = TraceServiceServer::new(Service(kept.clone()));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(Self { url, kept })
    }

    /// What has arrived.
    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first span with this name in a trace, once it has arrived.
    pub async fn wait(&self, trace_id: &str, name: &str) -> anyhow::Result<Span> {
        let fits = |span: &Span| span.trace_id == trace_id && span.name == name;
        let found = wait::until(name, async || Ok(self.spans().into_iter().find(fits))).await;
        found.with_context(|| format!("there are {:#?}", self.spans()))
    }
}

struct Service(Kept);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.unwrap_or_default();
            let service = texts(resource.attributes).remove("service.name").unwrap_or_default();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace_id: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent_id: hex(&span.parent_span_id),
                    attributes: texts(span.attributes),
                    error: span.status.map(|status| status.message).unwrap_or_default(),
                    took: span.end_time_unix_nano - span.start_time_unix_nano,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |one: KeyValue| {
        let text = match one.value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (one.key, text)
    };
    attributes.into_iter().map(text).collect()
}
