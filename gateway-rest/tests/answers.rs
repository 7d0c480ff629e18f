//! What answers say besides what was asked: limits, traces, documents.

mod support;

use axum::body::Body;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::*;
use support::Stage;

const LIMITS: &str = "CredentialService/GetLimits";
const KEY: (&str, &str) = ("authorization", "Bearer k");

fn core_limits() -> GetLimitsResponse {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let send = RateLimit {
        policy: "send".to_owned(),
        unit: "recipients".to_owned(),
        quota: 500,
        window: seconds(86_400),
        remaining: 7,
        reset: seconds(3600),
    };
    GetLimitsResponse {
        rate_limits: vec![send],
        message_bytes_max: 26_214_400,
        ..GetLimitsResponse::default()
    }
}

#[tokio::test]
async fn a_caller_sees_the_limits_of_the_core_and_of_the_gateway() {
    let vars =
        [("POSTERN_REST_LIMIT_KEY_PER_MINUTE", "60"), ("POSTERN_REST_LIMIT_CONCURRENT", "4")];
    let stage = Stage::new(&vars);
    stage.answer(LIMITS, &core_limits());
    let got = stage.send("GET /v1/limits", "").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(
        got.json()["rate_limits"],
        serde_json::json!([
            {"policy": "send", "unit": "recipients", "quota": 500, "window": "86400s",
                "remaining": 7, "reset": "3600s"},
            {"policy": "api", "unit": "requests", "quota": 60, "window": "60s", "remaining": 59,
                "reset": "1s"},
            {"policy": "conc", "unit": "concurrent-requests", "quota": 4, "remaining": 3},
        ])
    );
    assert_eq!(got.json()["message_bytes_max"], 26_214_400);
    assert_eq!(got.header("ratelimit"), "\"api\";r=59;t=1, \"conc\";r=3");
    assert_eq!(stage.send_with("GET /v1/limits", "", &[]).await.status, 401);
}

#[tokio::test]
async fn one_caller_cannot_have_everything_under_way() {
    let stage = Stage::new(&[("POSTERN_REST_LIMIT_CONCURRENT", "1")]);
    stage.fall_silent();
    let waiting = stage.clone();
    let first = tokio::spawn(async move { waiting.send("GET /v1/queue", "").await });
    stage.until_called().await;
    let got = stage.send("GET /v1/queue", "").await;
    assert_eq!((got.status, got.json()["code"].as_str()), (429, Some("concurrency_exceeded")));
    assert_eq!(got.json()["violated-policies"], serde_json::json!(["conc"]));
    assert!(got.header("ratelimit").starts_with("\"conc\";r=0, \"api\";r="), "{got:?}");
    assert_eq!((got.header("retry-after"), got.header("x-ratelimit-limit")), ("1", "1"));
    let old = stage.send("GET /api/v1/stats", "").await;
    assert_eq!((old.status, old.header("x-ratelimit-remaining")), (429, "0"));
    assert_eq!(old.json()["error"]["code"], "rate_limit_exceeded");
    // Others are not concerned, and the seat is free again when the caller is gone.
    let other = [("authorization", "Bearer other")];
    let pending = stage.clone();
    let second = tokio::spawn(async move { pending.send_with("GET /v1/queue", "", &other).await });
    stage.until_called().await;
    second.abort();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let pending = stage.clone();
    let third = tokio::spawn(async move { pending.send("GET /v1/queue", "").await });
    stage.until_called().await;
    third.abort();
}

#[tokio::test]
async fn a_used_up_limit_of_the_core_is_in_the_same_fields() {
    let stage = Stage::new(&[]);
    let used_up = Failure::new(Reason::QuotaExceeded, "the daily limit is used up")
        .with("policy", "send")
        .with("limit", "5000000000")
        .retry_after(std::time::Duration::from_secs(90));
    stage.refuse("MessageService/SendMessage", used_up);
    let got = stage.send("POST /v1/messages", r#"{"from":"a@x.io","to":"b@x.io"}"#).await;
    assert_eq!((got.status, got.header("retry-after")), (429, "90"));
    assert!(got.header("ratelimit").starts_with("\"send\";r=0;t=90, \"api\";"), "{got:?}");
    let policy = "\"send\";q=5000000000;w=86400;qu=\"recipients\", ";
    assert!(got.header("ratelimit-policy").starts_with(policy), "{got:?}");
    assert_eq!(got.header("x-ratelimit-remaining"), "0");
    assert_eq!(got.json()["violated-policies"], serde_json::json!(["send"]));
    let old = r#"{"recipient":"u@x.io","from_email":"a@b.io"}"#;
    let got = stage.send("POST /api/v1/send", old).await;
    assert_eq!((got.status, got.header("x-ratelimit-remaining")), (429, "0"));
    assert_eq!(got.header("x-ratelimit-reset"), "90");
}

#[tokio::test]
async fn the_older_rate_fields_can_be_switched_off_where_they_are_not_frozen() {
    let stage = Stage::new(&[("POSTERN_REST_X_RATELIMIT", "off")]);
    let got = stage.send("GET /v1/queue", "").await;
    assert!(!got.header("ratelimit").is_empty() && got.header("x-ratelimit-limit").is_empty());
    let got = stage.send("GET /api/v1/stats", "").await;
    assert!(!got.header("x-ratelimit-limit").is_empty());
}

#[tokio::test]
async fn a_header_field_that_seems_to_be_ours_is_not_ignored() {
    let stage = Stage::new(&[]);
    let body = r#"{"from":"a@x.io","to":"b@x.io"}"#;
    let got = stage.send_with("POST /v1/messages", body, &[KEY, ("x-postern-tag", "a")]).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (400, Some("unknown_field")));
    assert_eq!(got.json()["errors"][0]["field"], "x-postern-tag");
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn every_answer_belongs_to_a_trace() {
    let stage = Stage::new(&[]);
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sampled = format!("00-{id}-00f067aa0ba902b7-01");
    for request in ["GET /livez", "GET /nothing", "GET /v1/queue", "GET /api/v1/stats"] {
        let got = stage.send_with(request, "", &[("traceparent", sampled.as_str())]).await;
        assert!(got.header("traceresponse").starts_with(&format!("00-{id}-")), "{got:?}");
        let got = stage.send(request, "").await;
        let fresh = got.header("traceresponse").to_owned();
        assert!(fresh.len() == 55 && !fresh.contains(id), "{got:?}");
        assert_ne!(stage.send(request, "").await.header("traceresponse"), fresh);
    }
    let unsampled = format!("00-{id}-00f067aa0ba902b7-00");
    let got = stage.send_with("GET /livez", "", &[("traceparent", unsampled.as_str())]).await;
    assert_eq!(got.header("traceresponse"), "");
}

#[tokio::test]
async fn the_document_is_the_same_in_both_notations() {
    let stage = Stage::new(&[]);
    let got = stage.begin("GET /openapi.yaml", Body::empty(), &[]).await;
    assert_eq!(got.headers()["content-type"], "application/yaml");
    let yaml = stage.send("GET /openapi.yaml", "").await.text;
    assert!(!yaml.starts_with('{'), "it is for people to read");
    let yaml: serde_json::Value = yaml_serde::from_str(&yaml).unwrap();
    assert_eq!(yaml, stage.send("GET /openapi.json", "").await.json());
}

#[tokio::test]
async fn one_page_of_text_names_every_call_and_every_error() {
    let stage = Stage::new(&[]);
    let got = stage.send_with("GET /llms.txt", "", &[]).await;
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert!(got.text.starts_with("# Postern ") && got.text.contains("\n> "), "{}", got.text);
    let document = stage.send("GET /openapi.json", "").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // No client calls what Postal does.
            if operation["tags"][0] == "Postal" {
                continue;
            }
            let summary = operation["summary"].as_str().unwrap();
            let line = format!("\n- `{} {path}`: {summary}.\n", method.to_uppercase());
            assert!(got.text.contains(&line), "{line} is not in {}", got.text);
        }
    }
    for reason in Reason::ALL {
        let code = reason.meaning().name.to_ascii_lowercase();
        assert!(got.text.contains(&format!("(/docs/errors/{code})")), "{code}");
    }
    for link in ["/openapi.json", "/openapi.yaml", "/docs/", "/postern.v1.binpb"] {
        assert!(got.text.contains(&format!("({link})")));
        assert_eq!(stage.send_with(&format!("GET {link}"), "", &[KEY]).await.status, 200, "{link}");
    }
}
