//! The old contract against a stand-in for the core: codes, texts, names and order stay.

mod support;

use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::*;
use support::Stage;

const SEND: &str = "MessageService/SendMessage";
const BATCH: &str = "MessageService/BatchSendMessages";
const ID: &str = "msg_01h2xcejqtf2nbrexx3vqjhp41";

fn accepted() -> SendMessageResponse {
    let message = Message { id: ID.to_owned(), ..Message::default() };
    SendMessageResponse { message: Some(message), replayed: false }
}

#[tokio::test]
async fn a_send_is_answered_as_before() {
    let stage = Stage::new(&[]);
    stage.answer(SEND, &accepted());
    let body = r#"{"recipient":"u@x.io","from_email":"a@shop.example","from_name":"A",
        "subject":"s","html_body":"<p>hi</p>","unknown":1,
        "options":{"priority":"high","tags":["t"],"send_at":"2030-01-01T00:00:00Z"},
        "tracking":{"campaign_id":"c","message_id":"test_msg_001"}}"#;
    let got = stage.send("POST /api/v1/send", body).await;
    assert_eq!(got.status, 202, "{got:?}");
    let start = format!(
        r#"{{"status":"queued","message_id":"{ID}","external_message_id":"test_msg_001","estimated_send_time":"2030-01-01T00:00:00Z","request_id":""#
    );
    assert!(got.text.starts_with(&start), "{}", got.text);
    assert_eq!(got.json()["request_id"].as_str().unwrap().len(), 24);
    let message = stage.last().read::<SendMessageRequest>().message.unwrap();
    assert_eq!((message.external_id.as_str(), message.campaign_id.as_str()), ("test_msg_001", "c"));
    assert_eq!((message.html.as_str(), message.priority()), ("<p>hi</p>", Priority::High));
    assert_eq!((message.tags.len(), message.send_time.is_some()), (1, true));
}

#[tokio::test]
async fn the_checks_come_in_their_old_order_with_their_old_texts() {
    let stage = Stage::new(&[]);
    stage.refuse(SEND, Failure::new(Reason::SenderNotAllowed, "no"));
    for (body, text) in [
        (r#"{}"#, "Recipient email is required"),
        (r#"{"recipient":"x"}"#, "Recipient email is invalid"),
        (r#"{"recipient":"u@x.io"}"#, "From email is required"),
        (r#"{"recipient":"u@x.io","from_email":"x"}"#, "From email domain is invalid"),
        (r#"{"recipient":"u@x.io","from_email":"a@b.io"}"#, "From email domain is not authorized"),
        (r#"{"recipient":"u@x.io","from_email":"a@ams.io"}"#, "AMS domain not allowed as sender"),
    ] {
        let got = stage.send("POST /api/v1/send", body).await;
        assert_eq!(got.status, 422, "{body}");
        assert_eq!(got.json()["error"]["code"], "validation_error");
        assert_eq!(got.json()["error"]["message"], text);
        assert_eq!(got.json()["request_id"].as_str().unwrap().len(), 24);
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_plain_text() {
    let stage = Stage::new(&[]);
    stage.refuse(SEND, Failure::new(Reason::InvalidKey, "no"));
    let body = r#"{"recipient":"u@x.io","from_email":"a@b.io"}"#;
    for headers in [vec![], vec![("authorization", "Bearer wrong")]] {
        let got = stage.send_with("POST /api/v1/send", body, &headers).await;
        assert_eq!((got.status, got.text.as_str()), (401, "HTTP Token: Access denied.\n"));
        assert_eq!(got.header("www-authenticate"), "Token realm=\"Application\"");
    }
    let got = stage.send("POST /api/v1/send", "{").await;
    assert_eq!(got.status, 400);
    stage.refuse("StatsService/QueryStats", tonic::Status::unavailable("x"));
    let got = stage.send("GET /api/v1/stats", "").await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str()), (503, Some("internal_error")));
}

#[tokio::test]
async fn an_unknown_template_falls_back_to_the_minimal_page() {
    let stage = Stage::new(&[]);
    stage.refuse(SEND, Failure::new(Reason::TemplateNotFound, "no"));
    stage.answer(SEND, &accepted());
    let body = r#"{"recipient":"u@x.io","from_email":"a@b.io","template_id":"gone"}"#;
    assert_eq!(stage.send("POST /api/v1/send", body).await.status, 202);
    let calls = stage.calls();
    let first = calls[0].read::<SendMessageRequest>().message.unwrap();
    assert_eq!(first.template.unwrap().missing_variables(), MissingVariables::Empty);
    let second = calls[1].read::<SendMessageRequest>().message.unwrap();
    assert!(second.template.is_none() && second.html.contains("Email content"));
    assert_eq!((second.subject.as_str(), second.campaign_id.as_str()), ("No Subject", "unknown"));
    assert_eq!(second.external_id.len(), 24);
}

#[tokio::test]
async fn a_batch_is_always_202_with_the_queued_first() {
    let stage = Stage::new(&[]);
    let result = BatchResult { message_id: ID.to_owned(), ..BatchResult::default() };
    stage.answer(BATCH, &BatchSendMessagesResponse { results: vec![result], ..Default::default() });
    let body = r#"{"from_email":"a@b.io","messages":[{"recipient":"bad"},
        {"recipient":"u@x.io","message_id":"m2"}]}"#;
    let got = stage.send("POST /api/v1/batch", body).await;
    assert_eq!(got.status, 202, "{got:?}");
    let json = got.json();
    assert_eq!((json["status"].as_str(), json["total"].as_u64()), (Some("partial"), Some(2)));
    assert_eq!((json["queued"].as_u64(), json["failed"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json["results"][0]["local_id"], ID);
    assert_eq!(json["results"][0]["message_id"], "m2");
    assert_eq!(json["results"][1]["error"], "Recipient email is invalid");
    assert!(json["results"][1]["message_id"].is_null());
    let body = r#"{"from_email":"a@b.io","messages":[{"recipient":"bad"}]}"#;
    let got = stage.send("POST /api/v1/batch", body).await;
    assert_eq!((got.status, got.json()["status"].as_str()), (202, Some("failed")));
    for (body, status, text) in [
        (r#"{"from_email":"a@b.io","messages":[]}"#, 422, "Batch must contain 1-100 messages"),
        (r#"{"messages":[{}]}"#, 422, "Recipient email is required"),
        (r#"{"from_email":"a@b.io","messages":[1]}"#, 500, "Failed to process batch"),
    ] {
        let got = stage.send("POST /api/v1/batch", body).await;
        assert_eq!((got.status, got.json()["error"]["message"].as_str()), (status, Some(text)));
    }
}

#[tokio::test]
async fn status_is_found_by_either_id_and_shows_a_masked_recipient() {
    let stage = Stage::new(&[]);
    let recipient = RecipientStatus {
        email: "user@x.io".to_owned(),
        state: RecipientState::Delivered.into(),
        ..RecipientStatus::default()
    };
    let message = Message {
        id: ID.to_owned(),
        external_id: "a.b@c".to_owned(),
        recipients: vec![recipient],
        create_time: Some(postern_proto::time::timestamp(1_000)),
        ..Message::default()
    };
    let event = Event {
        r#type: "message.delivered".to_owned(),
        create_time: Some(postern_proto::time::timestamp(2_000)),
        ..Event::default()
    };
    let found = ListMessagesResponse { messages: vec![message.clone()], ..Default::default() };
    stage.answer("MessageService/ListMessages", &found);
    stage.answer("MessageService/GetMessage", &GetMessageResponse { message: Some(message) });
    let events = ListEventsResponse { events: vec![event], ..Default::default() };
    stage.answer("EventService/ListEvents", &events);
    for id in ["a.b%40c", ID] {
        let got = stage.send(&format!("GET /api/v1/status/{id}"), "").await;
        let expected = format!(
            r#"{{"message_id":"a.b@c","local_id":"{ID}","status":"delivered","recipient":"u***r@x.io","created_at":"1970-01-01T00:00:01Z","sent_at":"1970-01-01T00:00:02Z","delivered_at":"1970-01-01T00:00:02Z","events":[{{"ip":null,"timestamp":"1970-01-01T00:00:02Z","type":"delivered","user_agent":null}}]}}"#
        );
        assert_eq!((got.status, got.text), (200, expected));
    }
    let stage = Stage::new(&[]);
    stage.answer("MessageService/ListMessages", &ListMessagesResponse::default());
    let got = stage.send("GET /api/v1/status/none", "").await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str()), (404, Some("not_found")));
    assert_eq!(got.json()["error"]["message"], "Message not found");
}

#[tokio::test]
async fn stats_sum_the_hours_of_all_days() {
    let stage = Stage::new(&[]);
    let counts = Counts { accepted: 3, delivered: 2, ..Counts::default() };
    let bucket = |day: i64| StatsBucket {
        start_time: Some(postern_proto::time::timestamp(day * 86_400_000 + 3_600_000)),
        counts: Some(counts),
    };
    let total = Counts { accepted: 6, delivered: 4, ..Counts::default() };
    let found = QueryStatsResponse { total: Some(total), buckets: vec![bucket(1), bucket(2)] };
    stage.answer("StatsService/QueryStats", &found);
    let json = stage.send("GET /api/v1/stats?period=week&campaign_id=c", "").await.json();
    assert_eq!(
        (json["period"].as_str(), json["summary"]["total_sent"].as_i64()),
        (Some("week"), Some(6))
    );
    assert_eq!(json["rates"]["delivery_rate"].as_f64(), Some(66.67));
    assert_eq!(json["hourly"].as_array().unwrap().len(), 24);
    assert_eq!(json["hourly"][1]["sent"], 6);
    assert_eq!(stage.last().read::<QueryStatsRequest>().campaign_id, "c");
}

#[tokio::test]
async fn templates_are_created_and_never_replaced() {
    let stage = Stage::new(&[]);
    let method = "TemplateService/CreateTemplate";
    let template =
        Template { id: "tpl_1".to_owned(), alias: "w".to_owned(), ..Template::default() };
    stage.answer(method, &CreateTemplateResponse { template: Some(template) });
    stage.refuse(method, Failure::new(Reason::TemplateExists, "x"));
    let body = r#"{"external_id":"w","name":"W","html_content":"<p>"}"#;
    let got = stage.send("POST /api/v1/templates", body).await;
    assert_eq!((got.status, got.json()["external_id"].as_str()), (201, Some("w")));
    for body in [body, "{}"] {
        let got = stage.send("POST /api/v1/templates", body).await;
        assert_eq!(got.status, 422);
        assert_eq!(got.json()["error"]["message"], "Template creation failed");
        assert!(got.json()["error"]["details"][0].is_string());
        assert!(got.json().get("request_id").is_none());
    }
}

#[tokio::test]
async fn health_keeps_its_checks() {
    let stage = Stage::new(&[]);
    let got = stage.send("GET /api/v1/health", "").await;
    assert_eq!((got.status, got.json()["status"].as_str()), (503, Some("unhealthy")));
    assert_eq!(got.json()["checks"]["database"]["status"], "error");
    let health = tonic_health::pb::HealthCheckResponse { status: 1 };
    stage.answer("/grpc.health.v1.Health/Check", &health);
    for path in ["/api/v1/health", "/health"] {
        let got = stage.send(&format!("GET {path}"), "").await;
        assert_eq!((got.status, got.json()["status"].as_str()), (200, Some("healthy")));
    }
    assert_eq!(stage.send("GET /readyz", "").await.status, 200);
}
