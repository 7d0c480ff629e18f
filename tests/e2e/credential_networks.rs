//! Credentials that may be used from some networks only, through every door.

use postern_proto::v1::GetOwnApiKeyRequest;
use postern_proto::v1::credential_service_client::CredentialServiceClient;
use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::{Stack, request_with};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::credentials::own;

const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
const ELSEWHERE: &str = "--allow-ip=192.0.2.0/24";
const HERE: &str = "--allow-ip=127.0.0.0/8";
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";

/// What REST answers to a key when a proxy says where its user is.
async fn over_rest(stack: &Stack, secret: &str, forwarded: Option<&str>) -> (u16, String) {
    let mut post = stack.raw_post("/v1/messages?validate_only=true").bearer_auth(secret);
    if let Some(forwarded) = forwarded {
        post = post.header("x-forwarded-for", forwarded);
    }
    let mail = json!({"from": "hi@shop.test", "to": "a@good.test", "subject": "s", "text": "t"});
    let answer = post.json(&mail).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_key_is_used_over_rest_from_its_networks_only() {
    let stack = Stack::start(&[("POSTERN_TRUSTED_PROXIES", "127.0.0.1/32")]).await.unwrap();
    let key = stack.operate(&["keys", "create", "office", ELSEWHERE]).await.unwrap();
    let secret = key["secret"].as_str().unwrap();
    let (status, problem) = over_rest(&stack, secret, None).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem.contains("address_not_allowed") && problem.contains("127.0.0.1"), "{problem}");
    for (forwarded, expected) in [
        ("192.0.2.77", 202),
        ("::ffff:192.0.2.77", 202),
        ("192.0.3.1", 403),
        ("2001:db8::1", 403),
        ("192.0.2.77, 198.51.100.1", 403),
    ] {
        let (status, problem) = over_rest(&stack, secret, Some(forwarded)).await;
        assert_eq!(status, expected, "{forwarded} {problem}");
    }
    let (status, problem) = own(&stack, secret).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("address_not_allowed")));
    // Who has no right to be here does not learn more than that.
    let (status, problem) = own(&stack, "pst_live_unknown").await;
    assert_eq!((status, problem["code"].as_str()), (401, Some("invalid_key")));
    let id = key["id"].as_str().unwrap();
    stack.operate(&["keys", "update", id, HERE, "--allow-ip=2001:db8::/32"]).await.unwrap();
    assert_eq!(over_rest(&stack, secret, None).await.0, 202);
    assert_eq!(over_rest(&stack, secret, Some("2001:db8::1")).await.0, 202);
    assert_eq!(over_rest(&stack, secret, Some("192.0.2.77")).await.0, 403);
}

#[tokio::test]
async fn who_calls_directly_is_where_the_connection_comes_from() {
    let stack = Stack::start(&[]).await.unwrap();
    let key = stack.operate(&["keys", "create", "office", ELSEWHERE]).await.unwrap();
    let secret = key["secret"].as_str().unwrap();
    let ask = async |claim: Option<&'static str>| {
        let mut request = request_with(GetOwnApiKeyRequest {}, secret).unwrap();
        if let Some(name) = claim {
            request.metadata_mut().insert(name, "192.0.2.1".parse().unwrap());
        }
        CredentialServiceClient::new(stack.channel.clone()).get_own_api_key(request).await
    };
    for claim in
        [None, Some("x-postern-client-ip"), Some("x-postern-peer-ip"), Some("x-forwarded-for")]
    {
        let refused = ask(claim).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{claim:?} {refused:?}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, "ADDRESS_NOT_ALLOWED");
        assert_eq!(info.metadata["address"], "127.0.0.1");
    }
    stack.operate(&["keys", "update", key["id"].as_str().unwrap(), HERE]).await.unwrap();
    ask(None).await.unwrap();
}

#[tokio::test]
async fn an_smtp_login_is_refused_from_elsewhere_and_so_is_the_mail_of_its_session() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let made = stack.operate(&["smtp-credentials", "create", "office", ELSEWHERE]).await.unwrap();
    let (user, password) = (made["username"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let login = async |user: &str, password: &str| {
        let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
        client.ask("EHLO test\r\n").await.unwrap();
        let reply = client.auth(user, password).await.unwrap();
        (client, reply)
    };
    let (_, reply) = login(user, password).await;
    assert!(reply.starts_with("535 5.7.8 ") && reply.contains("127.0.0.1"), "{reply}");
    let (_, wrong) = login(user, "wrong").await;
    assert!(wrong.starts_with("535 5.7.8 ") && !wrong.contains("127.0.0.1"), "{wrong}");
    let key = stack.operate(&["keys", "create", "office", ELSEWHERE]).await.unwrap();
    let (_, reply) = login("anybody", key["secret"].as_str().unwrap()).await;
    assert!(reply.starts_with("535 5.7.8 ") && reply.contains("127.0.0.1"), "{reply}");
    stack.operate(&["smtp-credentials", "update", user, HERE]).await.unwrap();
    let (mut client, reply) = login(user, password).await;
    assert!(reply.starts_with("235 "), "{reply}");
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 "));
    stack.operate(&["smtp-credentials", "update", user, ELSEWHERE]).await.unwrap();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("535 5.7.8 ") && reply.contains("127.0.0.1"), "{reply}");
}
