//! Loops that really hang, on a lock, on a peer that never answers, on a core that says nothing: health
//! says so for what needs them and for nothing else, and says again that all is well.

use postern_tests::ams::Ams;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::postgres::{Schema, connect};
use postern_tests::proxy::Proxy;
use postern_tests::role::Role;
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;

use super::ops::{ask, ops};
use super::tracking_edge::{get, ready, start, tracked};
use super::webhooks::create;

const ALL: &str = "";
const MESSAGES: &str = "postern.v1.MessageService";
const WEBHOOKS: &str = "postern.v1.WebhookService";
const CAMPAIGNS: &str = "postern.v1.CampaignService";
const JSON: (&str, &str) = ("POSTERN_LOG_FORMAT", "json");
const STALL: (&str, &str) = ("POSTERN_STALL_TIME", "2s");

async fn status(stack: &Stack, service: &str) -> anyhow::Result<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(stack.channel.clone()).check(request).await?;
    Ok(answer.into_inner().status())
}

/// Waits until exactly these of the services do not serve.
async fn until_only(stack: &Stack, hanging: &[&str]) {
    let mut last = Vec::new();
    let look = async || {
        last.clear();
        for service in [ALL, MESSAGES, WEBHOOKS, CAMPAIGNS] {
            last.push((service, status(stack, service).await?));
        }
        let fits = |(service, status): &(&str, ServingStatus)| {
            *status == if hanging.contains(service) { NotServing } else { Serving }
        };
        Ok(last.iter().all(fits).then_some(()))
    };
    let found = wait::until("health", look).await;
    found.unwrap_or_else(|error| panic!("{error}: {last:?}"));
}

async fn until_alive(ops: &str, stuck: Option<&str>) {
    let look = async || {
        let (status, text) = ask(ops, "/livez").await;
        Ok(match stuck {
            Some(part) => status == 503 && text.contains(&format!("{part} has not got on")),
            None => status == 200,
        }
        .then_some(()))
    };
    wait::until("livez", look).await.unwrap();
}

#[tokio::test]
async fn a_locked_table_stops_acceptance_and_health_says_so_until_it_is_free() {
    let schema = Schema::make("stuck_group").await.unwrap();
    let url = schema.url(&schema.host);
    let vars = [
        JSON,
        STALL,
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_DATABASE_TIMEOUT", "60s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    until_only(&stack, &[]).await;
    let other = connect(&url).await.unwrap();
    // Contents can be read and not be written.
    let lock = format!("BEGIN; LOCK TABLE {}.bodies IN SHARE MODE", schema.name);
    other.batch_execute(&lock).await.unwrap();
    let sending = stack.send_to("ann@good.test");
    let watching = async {
        until_only(&stack, &[ALL, MESSAGES]).await;
        until_alive(&ops(&stack), Some("groups")).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (sent, ()) = tokio::join!(sending, watching);
    until_only(&stack, &[]).await;
    until_alive(&ops(&stack), None).await;
    stack.wait_state(&sent.unwrap(), "delivered").await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_never_answers_stops_webhooks_only() {
    let receiver = HookReceiver::start().await.unwrap();
    let vars = [
        JSON,
        STALL,
        ("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow"),
        ("POSTERN_WEBHOOKS_TIMEOUT", "60s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    receiver.set_mode("hook", "hang").unwrap();
    create(&stack, &receiver.url("hook"), json!({})).await;
    let id = stack.send_to("ann@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    until_only(&stack, &[WEBHOOKS]).await;
    until_alive(&ops(&stack), Some("webhooks")).await;
    receiver.set_mode("hook", "200").unwrap();
    until_only(&stack, &[]).await;
    until_alive(&ops(&stack), None).await;
}

#[tokio::test]
async fn a_campaign_manager_that_never_answers_stops_campaigns_only() {
    let ams = Ams::start("hang").await.unwrap();
    let url = ams.url();
    let vars = [
        JSON,
        STALL,
        ("POSTERN_AMS_URL", url.as_str()),
        ("POSTERN_AMS_KEY", "an-ams-key"),
        ("POSTERN_AMS_CERT_SHA256", &ams.pin),
        ("POSTERN_AMS_INTERVAL", "100ms"),
        ("POSTERN_AMS_TIMEOUT", "60s"),
    ];
    let stack = start(&vars).await;
    let mut mail = super::tracking_edge::mail("ann@good.test");
    mail["campaign_id"] = "77".into();
    let id = stack.send(&mail).await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let links = super::tracking_edge::links(&stack.caught("ann@good.test").await.unwrap());
    get(&format!("{}{}", stack.tracker, links("/o/"))).await;
    until_only(&stack, &[CAMPAIGNS]).await;
    until_alive(&ops(&stack), Some("ams")).await;
    ams.set_mode("ok").unwrap();
    until_only(&stack, &[]).await;
    until_alive(&ops(&stack), None).await;
}

#[tokio::test]
async fn an_edge_whose_core_says_nothing_tells_that_its_shipping_hangs() {
    let stack = start(&[]).await;
    let (_, link) = tracked(&stack, "ann@good.test").await;
    let proxy = Proxy::start(&stack.grpc).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let edge = Role::tracker(&proxy.addr.to_string(), folder.path(), &[STALL]).await.unwrap();
    let base = format!("http://127.0.0.1:{}", edge.port);
    ready(&base).await;
    until_alive(&edge.ops, None).await;
    proxy.hold_answers();
    get(&format!("{base}{}", link("/o/"))).await;
    until_alive(&edge.ops, Some("shipper")).await;
    // Recipients are answered meanwhile.
    assert_eq!(ask(&edge.ops, "/readyz").await.0, 200);
    proxy.release_answers();
    until_alive(&edge.ops, None).await;
}
