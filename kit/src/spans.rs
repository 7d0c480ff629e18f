//! Traces for an OpenTelemetry collector: finished spans leave over OTLP, in batches, from a thread of
//! the library.
//!
//! Spans are an aid for people. A collector that is away or slow delays nobody: what it does not take is
//! dropped, and the log says so once. A crash loses what is queued.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

pub use opentelemetry::{KeyValue, Value};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter as Exporter,
    SpanLinks, SpanProcessor as _,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::core_client::tuned;
use crate::env::{Env, EnvError};
use crate::trace::Trace;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Spans that wait for the collector; more are dropped.
const QUEUE_SPANS: usize = 8192;
const BATCH_SPANS: usize = 512;
/// A span is on its way after this time at the latest.
const DELAY: Duration = Duration::from_secs(1);
/// One export, and what a stop waits for the last one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Export {
    /// Boxed: configurations are moved about, and it is large.
    endpoint: Box<Endpoint>,
    ratio: f64,
}

impl Export {
    /// Reads `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_CERTIFICATE` and
    /// `OTEL_TRACES_SAMPLER_ARG`; none without the first.
    pub fn from_env(env: &Env) -> Result<Option<Self>, EnvError> {
        let endpoint = env.text(ENDPOINT, "");
        if endpoint.is_empty() {
            return Ok(None);
        }
        let bad = |error: tonic::transport::Error| EnvError::new(ENDPOINT, error.to_string());
        // A collector that vanished must not hold the thread until TCP gives up.
        let endpoint = tuned(Endpoint::from_shared(endpoint).map_err(bad)?).timeout(TIMEOUT);
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") => endpoint,
            Some("https") => endpoint.tls_config(tls(env)?).map_err(bad)?,
            _ => return Err(EnvError::new(ENDPOINT, "must begin with http:// or https://")),
        };
        let ratio = env.parsed(RATIO, 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(EnvError::new(RATIO, "must be between 0 and 1"));
        }
        Ok(Some(Self { endpoint: Box::new(endpoint), ratio }))
    }
}

fn tls(env: &Env) -> Result<ClientTlsConfig, EnvError> {
    let Some(file) = env.get(CERTIFICATE).map(PathBuf::from) else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let pem = std::fs::read(&file)
        .map_err(|error| EnvError::new(CERTIFICATE, format!("{}: {error}", file.display())))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// What a span was.
#[derive(Debug)]
pub struct Ended {
    /// Its name: few different ones, without ids.
    pub name: Cow<'static, str>,
    /// Whose work it was.
    pub kind: Kind,
    /// What is known about it. Never an address, a subject or a secret.
    pub attributes: Vec<KeyValue>,
    /// Why it failed, in a word; none when it did not.
    pub error: Option<String>,
}

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asked us.
    Server,
    /// We asked somebody.
    Client,
}

/// Where a process puts the spans it has finished. Clones go to the same place.
#[derive(Debug, Clone, Default)]
pub struct Spans(Option<Arc<Exporting>>);

#[derive(Debug)]
struct Exporting {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    ratio: f64,
}

impl Spans {
    /// Begins to export for a service; without an export spans are dropped. Must be called on a runtime.
    pub fn start(export: Option<Export>, service: &'static str) -> Self {
        let Some(export) = export else { return Self::default() };
        match exporting(export, service) {
            Ok(exporting) => Self(Some(Arc::new(exporting))),
            Err(error) => {
                tracing::error!(%error, "traces are not exported");
                Self::default()
            }
        }
    }

    /// Whether somebody will see spans of this process.
    pub fn is_exporting(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request: a part of what its `traceparent` names, or the first of a new trace.
    pub fn request(&self, traceparent: Option<&str>) -> Trace {
        let begin = || match &self.0 {
            Some(exporting) => Trace::begin(rand::random_bool(exporting.ratio)),
            None => Trace::begin(true),
        };
        traceparent.and_then(Trace::parse).map_or_else(begin, |caller| caller.child())
    }

    /// Keeps a span that ends now. What it was is only asked for when somebody will see it.
    pub fn ended(&self, trace: &Trace, took: Duration, span: impl FnOnce() -> Ended) {
        let Some(exporting) = self.0.as_ref().filter(|_| trace.is_sampled()) else { return };
        let (trace_id, span_id, parent_id) = trace.numbers();
        let context = SpanContext::new(
            TraceId::from(trace_id),
            SpanId::from(span_id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let (span, end_time) = (span(), SystemTime::now());
        exporting.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: parent_id.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: span.kind == Kind::Server,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
            },
            name: span.name,
            start_time: end_time.checked_sub(took).unwrap_or(end_time),
            end_time,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: exporting.scope.clone(),
        });
    }

    /// Sends what is queued, and ends. Later spans are dropped.
    pub async fn stop(&self) {
        let Some(exporting) = self.0.clone() else { return };
        let stopping = move || exporting.processor.shutdown_with_timeout(TIMEOUT);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(stopping).await {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn exporting(export: Export, service: &'static str) -> Result<Exporting, ExporterBuildError> {
    let channel = export.endpoint.connect_lazy();
    let exporter =
        SpanExporter::builder().with_tonic().with_channel(channel).with_timeout(TIMEOUT).build()?;
    let exporter = Watched { exporter, is_failing: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS)
        .with_max_export_batch_size(BATCH_SPANS)
        .with_scheduled_delay(DELAY)
        .build();
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let instance = KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string());
    let resource = Resource::builder().with_service_name(service);
    processor.set_resource(&resource.with_attributes([version, instance]).build());
    let scope = InstrumentationScope::builder("postern").build();
    Ok(Exporting { processor, scope, ratio: export.ratio })
}

/// An exporter that says in the log when the collector begins and ceases to take spans. What the library
/// itself would say comes with every batch, and is left out of the build.
#[derive(Debug)]
struct Watched {
    exporter: SpanExporter,
    is_failing: AtomicBool,
}

impl Exporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                tracing::warn!(%error, spans, "the collector takes no traces; they are dropped");
            }
            Ok(()) if was_failing => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Option<Export>, EnvError> {
        Export::from_env(
            &vars.iter().fold(Env::default(), |env, (name, value)| env.with(name, *value)),
        )
    }

    #[test]
    fn what_is_set_is_checked() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[(ENDPOINT, "http://127.0.0.1:4317")]).unwrap().is_some());
        for (name, value) in [
            (ENDPOINT, "ftp://127.0.0.1"),
            (ENDPOINT, "127.0.0.1:4317"),
            (ENDPOINT, "not a url"),
            (RATIO, "2"),
            (RATIO, "often"),
            (RATIO, "NaN"),
            (CERTIFICATE, "/no/such/file"),
        ] {
            let error = read(&[(ENDPOINT, "https://127.0.0.1:4317"), (name, value)]).unwrap_err();
            assert_eq!(error.name, name, "{value}");
        }
    }

    #[tokio::test]
    async fn the_ratio_is_of_traces_that_begin_here() {
        let vars = [(ENDPOINT, "http://127.0.0.1:1"), (RATIO, "0")];
        let spans = Spans::start(read(&vars).unwrap(), "test");
        assert!(!spans.request(None).is_sampled());
        let caller = Trace::begin(true);
        let ours = spans.request(Some(&caller.parent()));
        assert!(ours.is_sampled() && ours.id() == caller.id());
        assert!(Spans::default().request(None).is_sampled(), "a later process may record it");
    }
}
