//! People who log in: the last admin, sessions that end, and passwords that are guessed.

use postern_proto::v1;
use postern_proto::v1::operator_service_client::OperatorServiceClient;
use postern_tests::answer::Answer;
use postern_tests::role::TOKEN;
use postern_tests::stack::{Stack, request_with};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// A system to which a test can speak as a gateway does.
pub(crate) async fn with_gateway() -> Stack {
    Stack::start(&[("POSTERN_GATEWAY_TOKEN", TOKEN)]).await.unwrap()
}

/// A request as the gateway makes it for a client at an address.
fn from_gateway<T>(message: T, address: &str) -> Request<T> {
    let mut request = request_with(message, "none").unwrap();
    let metadata = request.metadata_mut();
    metadata.remove("authorization");
    metadata.insert("x-postern-gateway", TOKEN.parse().unwrap());
    metadata.insert("x-postern-client-ip", address.parse().unwrap());
    request
}

/// A request of an operator who is logged in.
pub(crate) fn as_operator<T>(message: T, session: &str) -> Request<T> {
    let mut request = from_gateway(message, "192.0.2.7");
    let value = format!("Operator {session}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Makes an operator. Returns the password.
pub(crate) async fn made(stack: &Stack, username: &str, role: &str) -> String {
    let asked = json!({"username": username, "role": role});
    let answer = stack.post("/v1/operators", &asked).await.unwrap();
    assert_eq!((answer.status, answer.text("role")), (201, role), "{answer:?}");
    assert!(answer.text("id").starts_with("opr_"), "{answer:?}");
    answer.text("password").to_owned()
}

async fn log_in(
    stack: &Stack,
    username: &str,
    password: &str,
    address: &str,
) -> Result<v1::LogInResponse, Status> {
    let (username, password) = (username.to_owned(), password.to_owned());
    let request = v1::LogInRequest { username, password, totp_code: String::new() };
    let mut service = OperatorServiceClient::new(stack.channel.clone());
    Ok(service.log_in(from_gateway(request, address)).await?.into_inner())
}

/// The session of a new operator.
pub(crate) async fn session(stack: &Stack, username: &str, role: &str) -> String {
    let password = made(stack, username, role).await;
    log_in(stack, username, &password, "192.0.2.7").await.unwrap().session
}

/// The code and the reason of a refusal.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), reason.unwrap_or_default())
}

fn wrong() -> (Code, String) {
    (Code::Unauthenticated, "INVALID_KEY".to_owned())
}

fn too_many() -> (Code, String) {
    (Code::ResourceExhausted, "TOO_MANY_FAILURES".to_owned())
}

async fn call(stack: &Stack, method: Method, path: &str, body: &Value) -> Answer {
    let request = stack.raw(method, path).bearer_auth(&stack.key).json(body);
    Answer::read(request.send().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_last_admin_stays_admin_whoever_asks() {
    let stack = with_gateway().await;
    made(&stack, "ann", "admin").await;
    // The operator that the system began with.
    for other in stack.get("/v1/operators").await.unwrap().body["operators"].as_array().unwrap() {
        let name = other["username"].as_str().unwrap();
        if name != "ann" {
            stack.operate(&["operators", "delete", name]).await.unwrap();
        }
    }
    let viewer = json!({"role": "viewer"});
    let delete = stack.raw(Method::DELETE, "/v1/operators/ann").bearer_auth(&stack.key);
    let deleted = Answer::read(delete.send().await.unwrap()).await.unwrap();
    let demoted = call(&stack, Method::PATCH, "/v1/operators/ann", &viewer).await;
    for refused in [deleted, demoted] {
        assert_eq!(refused.text("code"), "last_admin", "{refused:?}");
        assert!((400..500).contains(&refused.status), "{refused:?}");
    }
    let log = stack.get("/v1/audit?action=operator.").await.unwrap();
    let log = log.body["entries"].to_string();
    assert!(!log.contains("operator.update"), "what was refused is not in it: {log}");
    let refused = stack.operator(&["operators", "role", "ann", "viewer"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("LAST_ADMIN"), "{refused:?}");
    let bob = stack.operate(&["operators", "create", "bob", "--role", "admin"]).await.unwrap();
    assert_eq!((bob["role"].as_str(), bob["username"].as_str()), (Some("admin"), Some("bob")));
    let demoted = call(&stack, Method::PATCH, "/v1/operators/ann", &viewer).await;
    assert_eq!((demoted.status, demoted.text("role")), (200, "viewer"), "{demoted:?}");
    let taken = stack.post("/v1/operators", &json!({"username": "bob", "role": "viewer"})).await;
    let taken = taken.unwrap();
    assert_eq!((taken.status, taken.text("code")), (409, "operator_exists"), "{taken:?}");
    stack.operate(&["operators", "delete", "ann"]).await.unwrap();
    let left = stack.operator(&["operators", "list"]).await.unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(left.contains("bob") && !left.contains("ann"), "{left}");
}

#[tokio::test]
async fn a_role_and_a_session_end_at_once_for_who_is_logged_in() {
    let stack = with_gateway().await;
    made(&stack, "root", "admin").await;
    let session = session(&stack, "ann", "admin").await;
    let mut service = OperatorServiceClient::new(stack.channel.clone());
    let own = as_operator(v1::GetOwnOperatorRequest {}, &session);
    let own = service.get_own_operator(own).await.unwrap().into_inner();
    assert_eq!(own.operator.unwrap().username, "ann");
    let operator = v1::Operator {
        username: "eve".to_owned(),
        role: v1::OperatorRole::Viewer.into(),
        ..v1::Operator::default()
    };
    let create = v1::CreateOperatorRequest { operator: Some(operator), validate_only: true };
    service.create_operator(as_operator(create.clone(), &session)).await.unwrap();
    call(&stack, Method::PATCH, "/v1/operators/ann", &json!({"role": "viewer"})).await;
    let refused = refusal(service.create_operator(as_operator(create, &session)).await);
    assert_eq!(refused, (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    // A session is worth nothing without the token of a gateway.
    let mut bare = as_operator(v1::GetOwnOperatorRequest {}, &session);
    bare.metadata_mut().remove("x-postern-gateway");
    assert_eq!(refusal(service.get_own_operator(bare).await).1, "MISSING_CREDENTIALS");
    let reset = stack.operate(&["operators", "reset-password", "ann"]).await.unwrap();
    let own = as_operator(v1::GetOwnOperatorRequest {}, &session);
    assert_eq!(refusal(service.get_own_operator(own).await), wrong());
    let password = reset["password"].as_str().unwrap();
    log_in(&stack, "ann", password, "192.0.2.7").await.unwrap();
}

#[tokio::test]
async fn who_guesses_passwords_has_to_wait() {
    let stack = with_gateway().await;
    let password = made(&stack, "ann", "admin").await;
    let other = made(&stack, "bob", "admin").await;
    for (name, value) in [("dashboard.logins_per_user", "3"), ("dashboard.logins_per_address", "5")]
    {
        stack.operate(&["settings", "set", name, value]).await.unwrap();
    }
    for guess in ["one", "two", "three"] {
        assert_eq!(refusal(log_in(&stack, "ann", guess, "192.0.2.1").await), wrong());
    }
    let status = log_in(&stack, "ann", &password, "192.0.2.2").await.unwrap_err();
    assert!(status.get_details_retry_info().is_some(), "it says how long: {status:?}");
    assert_eq!(refusal::<()>(Err(status)), too_many(), "the right one, from anywhere");
    // An address that tries one name after the other is held up as well, and nobody else.
    for name in ["eve", "mallory"] {
        assert_eq!(refusal(log_in(&stack, name, "x", "192.0.2.1").await), wrong());
    }
    assert_eq!(refusal(log_in(&stack, "bob", &other, "192.0.2.1").await), too_many());
    log_in(&stack, "bob", &other, "192.0.2.3").await.unwrap();
    // Who is no gateway cannot even guess.
    let request = v1::LogInRequest { username: "bob".to_owned(), ..v1::LogInRequest::default() };
    let request = request_with(request, &stack.key).unwrap();
    let mut service = OperatorServiceClient::new(stack.channel.clone());
    let refused = refusal(service.log_in(request).await);
    assert_eq!(refused, (Code::Unauthenticated, "MISSING_CREDENTIALS".to_owned()));
    let log = stack.log().unwrap();
    assert!(!log.contains(&password) && !log.contains(&other), "no password is logged");
}

/// A call of the native API in a session.
async fn own(
    stack: &Stack,
    method: Method,
    path: &str,
    session: &str,
    body: Option<serde_json::Value>,
) -> (u16, serde_json::Value) {
    let url = format!("{}{path}", stack.rest);
    let mut request = reqwest::Client::new().request(method, url);
    if !session.is_empty() {
        request = request.header("authorization", format!("Operator {session}"));
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn what_people_do_about_themselves_is_a_rest_call_too() {
    let stack = with_gateway().await;
    let password = made(&stack, "ann", "admin").await;
    made(&stack, "bob", "viewer").await;
    let login = |password: &str, code: &str| {
        Some(json!({"username": "ann", "password": password, "totp_code": code}))
    };
    let path = "/v1/session";
    let wrong = own(&stack, Method::POST, path, "", login("wrong", "")).await;
    assert_eq!((wrong.0, wrong.1["code"].as_str()), (401, Some("invalid_key")), "{wrong:?}");
    let (status, made) = own(&stack, Method::POST, path, "", login(&password, "")).await;
    assert_eq!(status, 200, "{made}");
    let session = made["session"].as_str().unwrap().to_owned();
    let (status, who) = own(&stack, Method::GET, path, &session, None).await;
    assert_eq!((status, who["operator"]["username"].as_str()), (200, Some("ann")), "{who}");
    // The role holds for every other call, and a failure is told as it is.
    let (status, all) = own(&stack, Method::GET, "/v1/operators", &session, None).await;
    assert_eq!((status, all["operators"].as_array().unwrap().len()), (200, 3), "{all}");
    let missing = own(&stack, Method::GET, "/v1/messages/msg_1", &session, None).await;
    assert!(missing.0 == 400 || missing.0 == 404, "{missing:?}");

    let asked = Some(json!({"password": password}));
    let (status, app) =
        own(&stack, Method::POST, "/v1/session/totp", &session, asked.clone()).await;
    assert_eq!(status, 200, "{app}");
    let secret = app["secret"].as_str().unwrap();
    let first = code_of(secret, 0);
    let code = Some(json!({"code": first}));
    let on = own(&stack, Method::POST, "/v1/session/totp/confirm", &session, code).await;
    assert_eq!(on.0, 204, "{on:?}");
    let (status, more) = own(&stack, Method::POST, path, "", login(&password, "")).await;
    assert_eq!((status, more["totp_required"].as_bool()), (200, Some(true)), "{more}");
    assert_eq!(more["session"].as_str().unwrap_or_default(), "");
    let used = own(&stack, Method::POST, path, "", login(&password, &first)).await;
    assert_eq!(used.0, 401, "no code counts twice: {used:?}");
    let next = own(&stack, Method::POST, path, "", login(&password, &code_of(secret, 30))).await;
    assert_eq!(next.0, 200, "the code of the next half minute is good already: {next:?}");
    let off = own(&stack, Method::POST, "/v1/session/totp/stop", &session, asked).await;
    assert_eq!(off.0, 204, "{off:?}");
    let change = Some(json!({"old_password": password, "new_password": "correct horse battery"}));
    let changed = own(&stack, Method::POST, "/v1/session/password", &session, change).await;
    assert_eq!(changed.0, 204, "{changed:?}");
    let again = own(&stack, Method::POST, path, "", login("correct horse battery", "")).await;
    assert_eq!(again.0, 200, "without a code again: {again:?}");
    let other = again.1["session"].as_str().unwrap().to_owned();
    assert_eq!(own(&stack, Method::DELETE, path, &other, None).await.0, 204);
    let ended = own(&stack, Method::GET, path, &other, None).await;
    assert_eq!(ended.0, 401, "{ended:?}");
    assert_eq!(own(&stack, Method::GET, path, &session, None).await.0, 200);
    // A key is no person.
    let by_key = stack.get(path).await.unwrap();
    assert_eq!(by_key.status, 401, "{by_key:?}");
}

/// What an authenticator app shows so many seconds from now.
fn code_of(secret: &str, later: i64) -> String {
    let now = format!("@{}", jiff::Timestamp::now().as_second() + later);
    let args = ["--totp", "-b", secret, "-N", &now];
    let shown = std::process::Command::new("oathtool").args(args).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    String::from_utf8(shown.stdout).unwrap().trim().to_owned()
}
