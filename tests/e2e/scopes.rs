//! Every method of the contract and every route keeps out who lacks the scope that its documentation
//! names. The methods are those of the contract itself, so that a new one cannot be forgotten.

use postern_proto::strict::Strict;
use postern_proto::v1;
use postern_tests::answer::Answer;
use postern_tests::stack::{Stack, request_with};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use reqwest::Method as Verb;
use serde_json::json;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::operators::{as_operator, session, with_gateway};

/// Methods that no scope opens, with what does.
const WITHOUT_SCOPE: [&str; 19] = [
    // Any key may ask about itself.
    "CredentialService.GetOwnApiKey",
    "CredentialService.GetLimits",
    // The token of a gateway.
    "CredentialService.CheckPassword",
    "OperatorService.LogIn",
    "PostalService.ReceiveWebhook",
    "SystemService.ReportGateway",
    "TrackingService.ReportHits",
    "TrackingService.ResolveLink",
    "TrackingService.ResolveLegacyToken",
    "TrackingService.GetSubscription",
    "TrackingService.Unsubscribe",
    "TrackingService.Resubscribe",
    // Somebody's own session.
    "OperatorService.LogOut",
    "OperatorService.GetOwnOperator",
    "OperatorService.ChangeOwnPassword",
    "OperatorService.StartTotp",
    "OperatorService.ConfirmTotp",
    "OperatorService.StopTotp",
    // Carries the key of whoever asks in its own scope.
    "SettingsService.ListSettings",
];

/// A method with the scope that its comment names.
struct Method {
    name: String,
    scope: Option<String>,
}

/// The methods of the contract.
fn methods() -> Vec<Method> {
    let set = FileDescriptorSet::decode(postern_proto::DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "postern.v1") {
        let locations = &file.source_code_info.as_ref().unwrap().location;
        for (s, service) in (0..).zip(&file.service) {
            for (m, method) in (0..).zip(&service.method) {
                // Where descriptor.proto keeps services (6) and their methods (2).
                let comment = locations.iter().find(|at| at.path == [6, s, 2, m]).unwrap();
                let words: Vec<_> = comment.leading_comments().split_whitespace().collect();
                let (comment, mark) = (words.join(" "), "Scope `");
                let scope = comment.split_once(mark).and_then(|(_, rest)| rest.split_once('`'));
                methods.push(Method {
                    name: format!("{}.{}", service.name(), method.name()),
                    scope: scope.map(|(scope, _)| scope.to_owned()),
                });
            }
        }
    }
    assert!(methods.len() > 80, "{}", methods.len());
    methods
}

/// The scope that the caller of a method lacks, as the answer says.
async fn lacks(
    stack: &Stack,
    method: &Method,
    request: Request<v1::GetQueueRequest>,
) -> Option<String> {
    let mut client = Grpc::new(stack.channel.clone());
    client.ready().await.unwrap();
    let path = format!("/postern.v1.{}", method.name.replace('.', "/")).parse().unwrap();
    // An empty request is one of any method; nothing of the answer is read but how it begins.
    let codec = Strict::<v1::GetQueueRequest, v1::GetQueueResponse>::default();
    let status: Status = client.server_streaming(request, path, codec).await.err()?;
    let info = status.get_details_error_info()?;
    (info.reason == "SCOPE_MISSING").then(|| info.metadata.get("scope").cloned())?
}

#[tokio::test]
async fn every_method_names_the_scope_it_needs() {
    let methods = methods();
    let missing: Vec<_> =
        methods.iter().filter(|one| one.scope.is_none()).map(|one| one.name.as_str()).collect();
    let unknown: Vec<_> = missing.iter().filter(|name| !WITHOUT_SCOPE.contains(name)).collect();
    assert!(unknown.is_empty(), "say who may call them: {unknown:?}");
}

#[tokio::test]
async fn a_viewer_sees_and_changes_nothing() {
    let stack = with_gateway().await;
    let session = session(&stack, "vera", "viewer").await;
    // For the method that waits for a mail.
    stack.send_to("ann@good.test").await.unwrap();
    stack.caught("ann@good.test").await.unwrap();
    let mut wrong = Vec::new();
    for method in methods() {
        let Some(scope) = &method.scope else { continue };
        let request = as_operator(v1::GetQueueRequest {}, &session);
        let lacks = lacks(&stack, &method, request).await;
        let expected = (!scope.ends_with(":read")).then(|| scope.clone());
        if lacks != expected {
            wrong.push(format!("{}: lacks {lacks:?} and not {expected:?}", method.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let stack = with_gateway().await;
    let made = json!({"display_name": "events", "scopes": ["events:read"]});
    let made = stack.post("/v1/keys", &made).await.unwrap();
    let key = made.text("secret");
    let mut wrong = Vec::new();
    for method in methods() {
        let Some(scope) = &method.scope else { continue };
        let request = request_with(v1::GetQueueRequest {}, key).unwrap();
        let lacks = lacks(&stack, &method, request).await;
        let expected = (scope != "events:read").then(|| scope.clone());
        if lacks != expected {
            wrong.push(format!("{}: lacks {lacks:?} and not {expected:?}", method.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    over_rest(&stack, key).await;
}

/// Every documented route refuses a key that may only read events.
async fn over_rest(stack: &Stack, key: &str) {
    let open = ["/v1/events", "/v1/events/watch", "/v1/keys/self", "/v1/limits"];
    let document = stack.get("/openapi.json").await.unwrap().body;
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for verb in methods.as_object().unwrap().keys() {
            // Postal's webhooks are let in by their signatures.
            let is_ours = path.starts_with("/v1/") && !path.starts_with("/v1/postal/");
            if !is_ours || open.contains(&path.as_str()) {
                continue;
            }
            let verb = Verb::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            let has_body = verb != Verb::GET && verb != Verb::DELETE;
            let mut request = stack.raw(verb.clone(), &path.replace("{id}", "some"));
            if has_body {
                request = request.json(&json!({}));
            }
            let answer = Answer::read(request.bearer_auth(key).send().await.unwrap());
            let answer = answer.await.unwrap();
            // A session is for people: a key is none, whatever it may do.
            let expected = match path.starts_with("/v1/session") {
                true => (401, "invalid_key"),
                false => (403, "scope_missing"),
            };
            if (answer.status, answer.text("code")) != expected {
                wrong.push(format!("{verb} {path}: {answer:?}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty() && seen > 60, "{seen} routes: {wrong:#?}");
}
