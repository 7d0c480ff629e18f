//! Who gets in, how much, and how long: keys before bodies, limits, shedding, origins.

mod support;

use std::convert::Infallible;

use axum::body::Body;
use futures_util::StreamExt as _;
use postern_proto::reason::Reason;
use postern_proto::status::Failure;
use postern_proto::v1::*;
use support::{OWN_KEY, Stage};

const KEY: (&str, &str) = ("authorization", "Bearer k");

/// Something wrong with the body or the path's values, which the gateway would say by itself.
const MALFORMED: [(&str, &str); 6] = [
    ("POST /v1/messages", "{"),
    ("POST /v1/templates", r#"{"colour":1}"#),
    ("GET /v1/messages?colour=red", ""),
    ("POST /api/v1/send", "{"),
    ("POST /api/v1/batch", r#"{"messages":1}"#),
    ("POST /api/v1/templates", "{}"),
];

#[tokio::test]
async fn nobody_without_a_working_key_hears_about_the_body() {
    let stage = Stage::new(&[]);
    stage.refuse(OWN_KEY, Failure::new(Reason::InvalidKey, "no"));
    for (request, body) in MALFORMED {
        for headers in
            [vec![], vec![("authorization", "Bearer wrong")], vec![("authorization", "x")]]
        {
            let got = stage.send_with(request, body, &headers).await;
            assert_eq!(got.status, 401, "{request} {headers:?} {got:?}");
            match request.contains("/api/v1/") {
                true => assert_eq!(got.text, "HTTP Token: Access denied.\n"),
                false => assert_eq!(got.header("content-type"), "application/problem+json"),
            }
        }
    }
    assert!(stage.calls().is_empty());
    let large = "x".repeat(300 << 10);
    let headers = [("authorization", "Bearer wrong"), ("content-type", "text/plain")];
    assert_eq!(stage.send_with("POST /v1/messages", &large, &headers).await.status, 401);
}

#[tokio::test]
async fn a_good_request_costs_no_question_about_the_key() {
    let stage = Stage::new(&[]);
    stage.answer("MessageService/SendMessage", &SendMessageResponse::default());
    for (request, body) in [
        ("POST /v1/messages", r#"{"from":"a@x.io","to":"b@x.io"}"#),
        ("POST /api/v1/send", r#"{"recipient":"u@x.io","from_email":"a@b.io"}"#),
    ] {
        assert_eq!(stage.send(request, body).await.status, 202);
    }
    assert_eq!((stage.calls().len(), stage.key_checks()), (2, 0));
    stage.send("POST /v1/messages", "{").await;
    assert_eq!((stage.calls().len(), stage.key_checks()), (2, 1));
    let own = ApiKey { id: "key_1".to_owned(), ..ApiKey::default() };
    stage.answer(OWN_KEY, &GetOwnApiKeyResponse { api_key: Some(own) });
    let got = stage.send("GET /v1/keys/self", "").await;
    assert_eq!((got.status, got.json()["id"].as_str()), (200, Some("key_1")));
}

#[tokio::test]
async fn a_busy_gateway_sheds_load_but_tells_the_truth_to_probes() {
    let stage = Stage::new(&[("POSTERN_REST_CONCURRENCY_MAX", "1")]);
    stage.fall_silent();
    let waiting = stage.clone();
    let first = tokio::spawn(async move { waiting.send("GET /v1/queue", "").await });
    stage.until_called().await;
    for path in ["/v1/queue", "/api/v1/stats"] {
        let got = stage.send(&format!("GET {path}"), "").await;
        assert_eq!((got.status, got.header("retry-after")), (503, "1"), "{got:?}");
    }
    let got = stage.send("GET /v1/queue", "").await;
    assert_eq!(
        (got.json()["code"].as_str(), got.json()["retryable"].as_bool()),
        (Some("overloaded"), Some(true))
    );
    assert_eq!(stage.send("GET /livez", "").await.status, 200);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let stage = Stage::new(&[("POSTERN_REST_WATCHERS_MAX", "1")]);
    stage.answer("EventService/WatchEvents", &WatchEventsResponse::default());
    let open = stage.begin("GET /v1/events/watch", Body::empty(), &[KEY]).await;
    assert_eq!(open.status(), 200);
    assert_eq!(stage.send("GET /v1/events/watch", "").await.status, 503);
    drop(open);
    assert_eq!(stage.send("GET /v1/events/watch", "").await.status, 200);
}

#[tokio::test]
async fn no_request_takes_longer_than_its_limit() {
    let stage = Stage::new(&[("POSTERN_REST_TIMEOUT", "50ms")]);
    stage.fall_silent();
    let got = stage.send("GET /v1/queue", "").await;
    assert_eq!((got.status, got.json()["code"].as_str()), (504, Some("deadline_exceeded")));
    let got = stage.send("GET /api/v1/stats", "").await;
    assert_eq!((got.status, got.json()["error"]["code"].as_str()), (504, Some("internal_error")));
    // A body that never ends.
    let stage = Stage::new(&[("POSTERN_REST_TIMEOUT", "50ms")]);
    for path in ["/v1/messages", "/v1/keys", "/api/v1/send", "/api/v1/batch", "/api/v1/templates"] {
        let first = futures_util::stream::iter([Ok::<_, Infallible>("{")]);
        let body = Body::from_stream(first.chain(futures_util::stream::pending()));
        let got = stage.send_body(&format!("POST {path}"), body, &[KEY]).await;
        assert_eq!(got.status, 504, "{path} {got:?}");
    }
}

#[tokio::test]
async fn every_route_limits_its_body() {
    let stage = Stage::new(&[("POSTERN_REST_BODY_MAX", "64")]);
    let document = stage.send("GET /openapi.json", "").await.json();
    let mut routes = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            routes.push(format!("{} {}", method.to_uppercase(), path.replace("{id}", "x")));
        }
    }
    for path in ["send", "batch", "templates"] {
        routes.push(format!("POST /api/v1/{path}"));
    }
    for route in routes {
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100));
        let got = stage.send(&route, &large).await;
        assert_eq!(got.status, 413, "{route} {got:?}");
    }
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn an_address_that_guesses_keys_has_to_wait() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let vars =
        [("POSTERN_REST_LIMIT_FAILURES_PER_MINUTE", "2"), ("POSTERN_TRUSTED_PROXIES", "127.0.0.1")];
    let stage = Stage::new(&vars);
    stage.refuse("StatsService/QueryStats", Failure::new(Reason::InvalidKey, "no"));
    stage.answer("StatsService/GetQueue", &GetQueueResponse::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let served = tokio::spawn(stage.gateway().serve(listener, stop.clone()));
    let ask = async |path: &str, ip: &str| {
        let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\nx-forwarded-for: {ip}\r\nconnection: close\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer.to_ascii_lowercase()
    };
    for _ in 0..3 {
        assert!(ask("/v1/stats", "192.0.2.1").await.starts_with("http/1.1 401"));
    }
    // Now even a good key from there waits, on both surfaces, and other addresses do not.
    let answer = ask("/v1/queue", "192.0.2.1").await;
    assert!(answer.starts_with("http/1.1 429"), "{answer}");
    for header in [
        "retry-after: ",
        "ratelimit-policy: \"failures\";q=2;w=60",
        "ratelimit: \"failures\";r=0;t=",
    ] {
        assert!(answer.contains(header), "{header} {answer}");
    }
    assert!(answer.contains("\"violated-policies\":[\"failures\"]"), "{answer}");
    let answer = ask("/api/v1/stats", "192.0.2.1").await;
    assert!(answer.starts_with("http/1.1 429") && answer.contains("x-ratelimit-remaining: 0"));
    assert!(answer.contains("\"code\":\"rate_limit_exceeded\"") && answer.contains("\"limit\":2"));
    assert!(ask("/v1/queue", "192.0.2.2").await.starts_with("http/1.1 200"));
    assert!(ask("/livez", "192.0.2.1").await.starts_with("http/1.1 200"));
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_the_api_and_nobody_else() {
    let stage = Stage::new(&[]);
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let got = stage.send_with("OPTIONS /v1/messages", "", &preflight).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (401, ""));
    let stage = Stage::new(&[("POSTERN_REST_CORS_ORIGINS", "https://app.example")]);
    for path in ["/v1/messages", "/api/v1/send"] {
        let got = stage.send_with(&format!("OPTIONS {path}"), "", &preflight).await;
        assert_eq!(
            (got.status, got.header("access-control-allow-origin")),
            (200, "https://app.example")
        );
    }
    let got = stage.send_with("OPTIONS /inbox", "", &preflight).await;
    assert_eq!(got.header("access-control-allow-origin"), "");
    let other = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let got = stage.send_with("OPTIONS /v1/messages", "", &other).await;
    assert_eq!(got.header("access-control-allow-origin"), "");
    // A page must be able to read refusals as well.
    let got = stage.send_with("GET /v1/queue", "", &[preflight[0]]).await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (401, "https://app.example")
    );
    assert!(got.header("access-control-expose-headers").contains("retry-after"));
}
