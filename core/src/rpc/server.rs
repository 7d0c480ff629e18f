//! The gRPC server: services, limits, health, reflection.

use std::sync::Arc;
use std::time::Duration;

use postern_kit::limits::Limiter;
use postern_proto::settings::MESSAGE_BYTES;
use postern_proto::v1;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;

use super::Context;
use super::audit::Audit;
use super::bounces::Bounces;
use super::call::Calls;
use super::campaigns::Campaigns;
use super::credentials::Credentials;
use super::domains::Domains;
use super::events::Events;
use super::messages::Messages;
use super::operators::Operators;
use super::pace::Paces;
use super::postal::Postal;
use super::queue::Queues;
use super::settings::Settings;
use super::sink::Sink;
use super::stats::Stats;
use super::suppressions::Suppressions;
use super::system::{Facts, System};
use super::templates::Templates;
use super::tracking::Tracking;
use super::webhooks::Webhooks;
use crate::webhook::Posting;

/// HTTP/2 windows: the protocol's 64 KiB would stop a batch half way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// The largest message that `message.bytes` may allow; the intake knows what it allows now.
const MESSAGE_BYTES_MAX: usize = MESSAGE_BYTES.max as usize;
/// Room for the envelope around it.
const ENVELOPE_BYTES: usize = 1 << 20;
/// How many requests one connection may have under way.
const STREAMS_MAX: u32 = 1024;
/// Everywhere else a request is small.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// All services, with how their health is reported.
pub async fn services(
    context: Context,
    posting: Posting,
    facts: Facts,
    limiter: Arc<Limiter>,
) -> Result<(Routes, tonic_health::server::HealthReporter), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let messages = v1::message_service_server::MessageServiceServer::new(Messages(context.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX + ENVELOPE_BYTES);
    let sink = v1::sink_service_server::SinkServiceServer::new(Sink(context.clone()))
        .max_encoding_message_size(MESSAGE_BYTES_MAX * 2 + ENVELOPE_BYTES);
    let templates =
        v1::template_service_server::TemplateServiceServer::new(Templates(context.clone()))
            .max_decoding_message_size(REQUEST_BYTES_MAX);
    reporter.set_serving::<v1::message_service_server::MessageServiceServer<Messages>>().await;
    let reflection = |builder: tonic_reflection::server::Builder<'static>| {
        builder
            .register_encoded_file_descriptor_set(postern_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of errors, so that grpcurl can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1_reflection = reflection(tonic_reflection::server::Builder::configure()).build_v1()?;
    let alpha = reflection(tonic_reflection::server::Builder::configure()).build_v1alpha()?;
    let mut routes = Routes::builder();
    routes
        .add_service(health)
        .add_service(v1_reflection)
        .add_service(alpha)
        .add_service(messages)
        .add_service(sink)
        .add_service(templates)
        .add_service(v1::event_service_server::EventServiceServer::new(Events(context.clone())))
        .add_service(v1::suppression_service_server::SuppressionServiceServer::new(Suppressions(
            context.clone(),
        )))
        .add_service(v1::domain_service_server::DomainServiceServer::new(Domains(context.clone())))
        .add_service(v1::stats_service_server::StatsServiceServer::new(Stats(context.clone())))
        .add_service(v1::settings_service_server::SettingsServiceServer::new(Settings(
            context.clone(),
        )))
        .add_service(v1::campaign_service_server::CampaignServiceServer::new(Campaigns(
            context.clone(),
        )))
        .add_service(v1::webhook_service_server::WebhookServiceServer::new(Webhooks {
            context: context.clone(),
            posting,
        }))
        .add_service(v1::tracking_service_server::TrackingServiceServer::new(Tracking(
            context.clone(),
        )))
        .add_service(v1::postal_service_server::PostalServiceServer::new(Postal(context.clone())))
        .add_service(v1::operator_service_server::OperatorServiceServer::new(Operators(
            context.clone(),
        )))
        .add_service(v1::audit_service_server::AuditServiceServer::new(Audit(context.clone())))
        .add_service(v1::queue_service_server::QueueServiceServer::new(Queues(context.clone())))
        .add_service(v1::system_service_server::SystemServiceServer::new(System {
            context: context.clone(),
            facts,
        }))
        .add_service(v1::bounce_service_server::BounceServiceServer::new(Bounces(context.clone())))
        .add_service(v1::credential_service_server::CredentialServiceServer::new(Credentials(
            context.clone(),
        )));
    let paces = Paces { gate: context.gate.clone(), limiter };
    let called = routes.routes().into_axum_router().layer(paces).layer(Calls::new(&context));
    Ok((Routes::from(called), reporter))
}

/// A server of these services.
pub fn router(services: Routes) -> Router {
    Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_routes(services)
}
