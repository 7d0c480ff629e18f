//! Health and metrics of every process, as a probe and a collector see them.

use std::collections::{BTreeMap, HashSet};

use postern_tests::command::run;
use postern_tests::postgres::Schema;
use postern_tests::proxy::Proxy;
use postern_tests::role::{Role, TOKEN};
use postern_tests::stack::Stack;
use postern_tests::wait;
use serde_json::json;

/// Where the health and metrics of a stack are, out of its log.
pub(crate) fn ops(stack: &Stack) -> String {
    let log = stack.log().unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let named = |entry: serde_json::Value| entry["fields"]["ops"].as_str().map(str::to_owned);
    entries.filter_map(named).next().expect("the port is logged")
}

pub(crate) async fn ask(ops: &str, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{ops}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Every sample by its name and labels. Anything that does not fit the format fails.
pub(crate) async fn figures(ops: &str) -> BTreeMap<String, f64> {
    let (status, text) = ask(ops, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    let (mut kinds, mut helped) = (BTreeMap::new(), HashSet::new());
    let mut samples = BTreeMap::new();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| *line != "# EOF") {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["#", "HELP", name, _, ..] => assert!(helped.insert(name.to_string()), "{line}"),
            ["#", "TYPE", name, kind] => {
                assert!(kinds.insert(name.to_string(), kind.to_string()).is_none(), "{line}");
            }
            ["#", "UNIT", name, unit] => assert!(name.ends_with(&format!("_{unit}")), "{line}"),
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                let family = ["_total", "_bucket", "_sum", "_count", "_info"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end).filter(|name| kinds.contains_key(*name)))
                    .unwrap_or(name);
                assert!(kinds.contains_key(family) && helped.contains(family), "{line}");
                let twice = samples.insert(sample.to_string(), value.parse().expect(line));
                assert!(twice.is_none(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    samples
}

#[tokio::test]
async fn figures_move_with_the_mail_and_name_nobody() {
    let stack = Stack::start(&[("POSTERN_LOG_FORMAT", "json")]).await.unwrap();
    let ops = ops(&stack);
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&ops, path).await, (200, "ok\n".to_owned()), "{path}");
    }
    assert_eq!(ask(&ops, "/").await.0, 404);
    let before = figures(&ops).await;
    assert_eq!(before["postern_recipients_accepted_total"], 0.0);
    assert!(before["process_resident_memory_bytes"] > 1e6, "{before:?}");
    assert!(before["postern_data_free_bytes"] > 0.0, "{before:?}");
    assert!(!before.contains_key("postern_backup_last_success_timestamp_seconds"), "{before:?}");

    let id = stack.send_to("somebody@good.test").await.unwrap();
    stack.wait_state(&id, "delivered").await.unwrap();
    let backup = "postern_backup_last_success_timestamp_seconds 1795719600\n";
    std::fs::write(stack.folder().join("last-backup"), backup).unwrap();
    let ended = "postern_attempts_total{event=\"message.delivered\",reason=\"\"}";
    let after = wait::until("the attempt is counted", async || {
        let now = figures(&ops).await;
        Ok(now.contains_key(ended).then_some(now))
    });
    let after = after.await.unwrap();
    assert_eq!(after[ended], 1.0);
    assert_eq!(after["postern_messages_accepted_total{door=\"rest\",kind=\"single\"}"], 1.0);
    assert_eq!(after["postern_recipients_accepted_total"], 1.0);
    assert_eq!(after["postern_attempt_duration_seconds_count"], 1.0);
    assert_eq!(after["postern_backup_last_success_timestamp_seconds"], 1_795_719_600.0);
    let asked =
        "postern_http_requests_total{method=\"POST\",route=\"/v1/messages\",status=\"2xx\"}";
    assert_eq!(after[asked], 1.0, "{after:?}");
    let called = "postern_grpc_requests_total{\
                  method=\"postern.v1.MessageService/SendMessage\",code=\"Ok\"}";
    assert_eq!(after[called], 1.0, "{after:?}");
    // The first key never ends; of one that ends soon and its successor neither is anybody's worry.
    assert_eq!(after["postern_credentials_expiring"], 0.0);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let key = json!({"display_name": "soon", "scopes": ["messages:send"],
        "expire_time": format!("{soon:.0}")});
    let made = stack.post("/v1/keys", &key).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    wait::until("it is worth an alert", async || {
        Ok((figures(&ops).await["postern_credentials_expiring"] == 1.0).then_some(()))
    })
    .await
    .unwrap();
    for named in after.keys() {
        assert!(!named.contains("good.test") && !named.contains(&id), "{named}");
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_noticed_and_so_is_that_it_goes_on() {
    let schema = Schema::make("ops_stall").await.unwrap();
    let proxy = Proxy::start(&schema.host).await.unwrap();
    let url = schema.url(&proxy.addr.to_string());
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema.name),
        ("POSTERN_STALL_TIME", "2s"),
        ("POSTERN_LOG_FORMAT", "json"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let ops = ops(&stack);
    assert_eq!(ask(&ops, "/livez").await.0, 200);
    // The database takes what is asked and answers nothing.
    proxy.hold_answers();
    let url = format!("http://{ops}/livez");
    let check = async || run(&["healthcheck", "--url", &url], &[]).await.unwrap();
    assert_eq!(check().await.status.code(), Some(0));
    let dead = wait::until("livez fails", async || {
        let (status, text) = ask(&ops, "/livez").await;
        Ok((status == 503 && text.contains("worker has not got on")).then_some(text))
    });
    dead.await.unwrap();
    assert_eq!(check().await.status.code(), Some(1));
    let (status, text) = ask(&ops, "/readyz").await;
    assert!(status == 503 && text.contains("store does not serve"), "{text}");
    proxy.release_answers();
    let well = wait::until("livez and readyz are well", async || {
        let both = (ask(&ops, "/livez").await.0, ask(&ops, "/readyz").await.0);
        Ok((both == (200, 200)).then_some(()))
    });
    well.await.unwrap();
}

#[tokio::test]
async fn a_gateway_alone_is_ready_while_it_has_a_core() {
    let mut stack = Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap();
    let smtp = Role::smtp(&stack.grpc, &[]).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let tracker = Role::tracker(&stack.grpc, data.path(), &[]).await.unwrap();
    let ready = wait::until("the gateway is ready", async || {
        Ok((ask(&smtp.ops, "/readyz").await.0 == 200).then_some(()))
    });
    ready.await.unwrap();
    assert_eq!(figures(&smtp.ops).await["postern_smtp_connections"], 0.0);
    assert_eq!(figures(&tracker.ops).await["postern_tracking_hits_lost_total"], 0.0);
    stack.kill_9().await.unwrap();
    let (status, text) = ask(&smtp.ops, "/readyz").await;
    assert!(status == 503 && text.contains("core does not serve"), "{text}");
    // It has nothing to be restarted for, and recipients are answered without a core.
    assert_eq!(ask(&smtp.ops, "/livez").await.0, 200);
    assert_eq!(ask(&tracker.ops, "/readyz").await.0, 200);
}
