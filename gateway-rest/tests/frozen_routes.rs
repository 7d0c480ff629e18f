//! The route table of the old contract, row by row, with what its documentation said and what it
//! really did.

mod support;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::*;
use support::{OWN_KEY, Stage};

const ID: &str = "msg_01h2xcejqtf2nbrexx3vqjhp41";

/// A request that succeeds, with its old status.
const ROUTES: [(&str, &str, u16); 5] = [
    ("POST /api/v1/send", r#"{"recipient":"u@x.io","from_email":"a@b.io"}"#, 202),
    ("POST /api/v1/batch", r#"{"from_email":"a@b.io","messages":[{"recipient":"u@x.io"}]}"#, 202),
    ("GET /api/v1/status/m1", "", 200),
    ("GET /api/v1/stats", "", 200),
    ("POST /api/v1/templates", r#"{"external_id":"w","name":"W","html_content":"h"}"#, 201),
];

fn stage() -> Stage {
    let stage = Stage::new(&[]);
    let message = Message { id: ID.to_owned(), external_id: "m1".to_owned(), ..Message::default() };
    let sent = SendMessageResponse { message: Some(message.clone()), replayed: false };
    stage.answer("MessageService/SendMessage", &sent);
    let result = BatchResult { message_id: ID.to_owned(), ..BatchResult::default() };
    let batch = BatchSendMessagesResponse { results: vec![result], ..Default::default() };
    stage.answer("MessageService/BatchSendMessages", &batch);
    let found = ListMessagesResponse { messages: vec![message], ..Default::default() };
    stage.answer("MessageService/ListMessages", &found);
    stage.answer("EventService/ListEvents", &ListEventsResponse::default());
    stage.answer("StatsService/QueryStats", &QueryStatsResponse::default());
    stage.answer("TemplateService/CreateTemplate", &CreateTemplateResponse::default());
    stage
}

fn keys(json: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<_> =
        json.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn every_row_answers_as_before_under_every_old_spelling_of_the_key() {
    for (route, body, status) in ROUTES {
        for key in ["Bearer k", "Token k", "Token token=\"k\""] {
            let stage = stage();
            let got = stage.send_with(route, body, &[("authorization", key)]).await;
            assert_eq!(got.status, status, "{route} {got:?}");
            assert!(got.header("content-type").starts_with("application/json"), "{route}");
            assert_eq!(stage.last().headers["authorization"], "Bearer k");
            let own = matches!(route, "POST /api/v1/send" | "POST /api/v1/batch");
            assert_eq!(got.json().get("request_id").is_some(), own, "{route}");
        }
    }
}

#[tokio::test]
async fn every_row_refuses_a_missing_and_a_wrong_key_in_plain_text() {
    let stage = Stage::new(&[]);
    let wrong = || Failure::new(Reason::InvalidKey, "no");
    stage.refuse(OWN_KEY, wrong());
    for method in [
        "MessageService/SendMessage",
        "MessageService/BatchSendMessages",
        "MessageService/ListMessages",
        "StatsService/QueryStats",
        "TemplateService/CreateTemplate",
    ] {
        stage.refuse(method, wrong());
    }
    for (route, body, _) in ROUTES {
        for headers in [vec![], vec![("authorization", "Bearer wrong")]] {
            let got = stage.send_with(route, body, &headers).await;
            assert_eq!(
                (got.status, got.text.as_str()),
                (401, "HTTP Token: Access denied.\n"),
                "{route}"
            );
            assert_eq!(got.header("www-authenticate"), "Token realm=\"Application\"");
        }
    }
}

#[tokio::test]
async fn every_row_tells_an_outage_and_a_lack_of_rights_in_the_old_shape() {
    let methods = [
        "MessageService/SendMessage",
        "MessageService/BatchSendMessages",
        "MessageService/ListMessages",
        "StatsService/QueryStats",
        "TemplateService/CreateTemplate",
    ];
    let unexpected = [
        "Failed to queue email",
        "Failed to process batch",
        "Internal error",
        "Internal error",
        "Internal error",
    ];
    for (n, (route, body, _)) in ROUTES.into_iter().enumerate() {
        let stage = Stage::new(&[]);
        stage.refuse(methods[n], Failure::new(Reason::StoreUnavailable, "away"));
        stage.refuse(methods[n], Failure::new(Reason::ScopeMissing, "the API key lacks a scope"));
        let got = stage.send(route, body).await;
        let error = got.json()["error"].clone();
        assert_eq!((got.status, error["code"].as_str()), (503, Some("internal_error")), "{route}");
        assert_eq!(error["message"], unexpected[n], "{route}");
        assert_eq!(got.json()["request_id"].as_str().unwrap().len(), 24);
        let got = stage.send(route, body).await;
        assert_eq!(
            (got.status, got.json()["error"]["code"].as_str()),
            (403, Some("blocked")),
            "{route}"
        );
    }
}

#[tokio::test]
async fn the_answers_have_their_old_fields() {
    let stage = stage();
    let mut got = Vec::new();
    for (route, body, _) in ROUTES {
        got.push(stage.send(route, body).await.json());
    }
    let sent = ["estimated_send_time", "external_message_id", "message_id", "request_id", "status"];
    assert_eq!(keys(&got[0]), sent);
    let batch = ["batch_id", "failed", "queued", "request_id", "results", "status", "total"];
    assert_eq!(keys(&got[1]), batch);
    assert_eq!(got[1]["batch_id"].as_str().unwrap().len(), 24);
    assert_eq!(keys(&got[1]["results"][0]), ["local_id", "message_id", "recipient", "status"]);
    let status = [
        "created_at",
        "delivered_at",
        "events",
        "local_id",
        "message_id",
        "recipient",
        "sent_at",
        "status",
    ];
    assert_eq!(keys(&got[2]), status);
    assert_eq!(keys(&got[3]), ["date_from", "date_to", "hourly", "period", "rates", "summary"]);
    let summary =
        ["bounced", "clicked", "complained", "delivered", "failed", "opened", "total_sent"];
    assert_eq!(keys(&got[3]["summary"]), summary);
    let rates = ["bounce_rate", "click_rate", "complaint_rate", "delivery_rate", "open_rate"];
    assert_eq!(keys(&got[3]["rates"]), rates);
    assert_eq!(keys(&got[4]), ["created_at", "external_id", "id", "name"]);
}

#[tokio::test]
async fn what_only_the_documentation_had_is_as_it_really_was() {
    let stage = stage();
    // Only recipient and from_email are required; unknown fields are ignored; there is no
    // `invalid_json` and no `invalid_api_key`.
    let body = r#"{"recipient":"u@x.io","from_email":"a@b.io","priority":9,"tracking":{"affiliate_id":1}}"#;
    assert_eq!(stage.send("POST /api/v1/send", body).await.status, 202);
    let message = stage.last().read::<SendMessageRequest>().message.unwrap();
    assert_eq!((message.subject.as_str(), message.campaign_id.as_str()), ("No Subject", "unknown"));
    let got = stage.send("POST /api/v1/send", "{").await;
    assert_eq!((got.status, got.json()["error"].as_str()), (400, Some("Bad Request")));
    // Templates are made with `external_id`, not with the documented names.
    let body = r#"{"template_id":"w","subject_template":"s","html_template":"h"}"#;
    let got = stage.send("POST /api/v1/templates", body).await;
    let details = ["External can't be blank", "Name can't be blank", "Html content can't be blank"];
    assert_eq!(
        (got.status, got.json()["error"]["details"].clone()),
        (422, details.as_slice().into())
    );
    // An unknown period is today, and is echoed.
    let got = stage.send("GET /api/v1/stats?period=decade", "").await;
    assert_eq!((got.status, got.json()["period"].as_str()), (200, Some("decade")));
    let asked: QueryStatsRequest = stage.last().read();
    assert_eq!(asked.since.unwrap().seconds % 86_400, 0);
    // Health has `checks`, and needs no key.
    let got = stage.send_with("GET /api/v1/health", "", &[]).await;
    assert_eq!(keys(&got.json()), ["checks", "status", "timestamp"]);
    let checks = ["bounce_tables", "database", "postal", "redis", "sidekiq"];
    assert_eq!(keys(&got.json()["checks"]), checks);
}

#[tokio::test]
async fn what_had_no_route_has_none_and_says_so_in_the_old_shape() {
    let stage = Stage::new(&[]);
    for route in
        ["GET /api/v1/bounce_status/check", "GET /api/v1/nothing", "GET /api/v1/templates/w"]
    {
        let got = stage.send(route, "").await;
        assert_eq!(
            (got.status, got.json()["error"]["code"].as_str()),
            (404, Some("not_found")),
            "{route}"
        );
        assert_eq!(got.json()["request_id"].as_str().unwrap().len(), 24);
    }
    let got = stage.send("GET /api/v1/send", "").await;
    assert_eq!((got.status, got.header("allow")), (405, "POST"));
    assert!(got.json()["error"]["code"].is_string());
    let got = stage.send("GET /nothing", "").await;
    assert_eq!((got.status, got.header("content-type")), (404, "application/problem+json"));
}

#[tokio::test]
async fn many_requests_are_refused_with_the_old_body() {
    let stage = Stage::new(&[("POSTERN_REST_LIMIT_KEY_PER_MINUTE", "1")]);
    stage.answer("StatsService/QueryStats", &QueryStatsResponse::default());
    assert_eq!(stage.send("GET /api/v1/stats", "").await.header("x-ratelimit-remaining"), "0");
    let got = stage.send("GET /api/v1/stats", "").await;
    let error = got.json()["error"].clone();
    assert_eq!((got.status, error["code"].as_str()), (429, Some("rate_limit_exceeded")));
    assert_eq!(keys(&error), ["code", "count", "limit", "message", "retry_after"]);
    assert_eq!((got.header("x-ratelimit-limit"), got.header("x-ratelimit-remaining")), ("1", "0"));
    let wait: u64 = got.header("retry-after").parse().unwrap();
    assert!(wait >= got.header("x-ratelimit-reset").parse().unwrap() && wait <= 60);
    assert_eq!(stage.send("GET /api/v1/health", "").await.status, 503, "probes are exempt");
}
