//! The gRPC server: services, limits, health, reflection.

use std::time::Duration;

use postern_proto::v1;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;

use super::Context;
use super::bounces::Bounces;
use super::call::Calls;
use super::campaigns::Campaigns;
use super::credentials::Credentials;
use super::domains::Domains;
use super::events::Events;
use super::messages::Messages;
use super::postal::Postal;
use super::settings::Settings;
use super::sink::Sink;
use super::stats::Stats;
use super::suppressions::Suppressions;
use super::templates::Templates;
use super::tracking::Tracking;
use super::webhooks::Webhooks;
use crate::webhook::Posting;

/// What a request may weigh and take.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// The largest request in octets, where a message may be in it.
    pub message_bytes_max: usize,
    /// The longest a unary call may take.
    pub timeout: Duration,
    /// How many requests one connection may have under way.
    pub concurrent_streams: u32,
}

/// HTTP/2 windows: the protocol's 64 KiB would stop a batch half way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Room for the envelope around the largest message.
const ENVELOPE_BYTES: usize = 1 << 20;
/// Everywhere else a request is small.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// All services, with how their health is reported.
pub async fn services(
    context: Context,
    posting: Posting,
    limits: &ServerLimits,
) -> Result<(Routes, tonic_health::server::HealthReporter), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let messages = v1::message_service_server::MessageServiceServer::new(Messages(context.clone()))
        .max_decoding_message_size(limits.message_bytes_max + ENVELOPE_BYTES);
    let sink = v1::sink_service_server::SinkServiceServer::new(Sink(context.clone()))
        .max_encoding_message_size(limits.message_bytes_max * 2 + ENVELOPE_BYTES);
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
        .add_service(v1::bounce_service_server::BounceServiceServer::new(Bounces(context.clone())))
        .add_service(v1::credential_service_server::CredentialServiceServer::new(Credentials(
            context,
        )));
    let called = routes.routes().into_axum_router().layer(Calls { limit: limits.timeout });
    Ok((Routes::from(called), reporter))
}

/// A server of these services.
pub fn router(services: Routes, limits: &ServerLimits) -> Router {
    Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(limits.concurrent_streams)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_routes(services)
}
