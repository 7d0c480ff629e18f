//! Logins at the SMTP gateway: whose, how often, and what becomes of those who guess.

use postern_tests::smtp_client::SmtpClient;
use postern_tests::stack::Stack;
use postern_tests::wait;

const PLAIN_AUTH: (&str, &str) = ("POSTERN_SMTP_PLAIN_AUTH", "on");
/// bcrypt of `s3cret-Passw0rd`, cost 10, as the old system stores it.
const IMPORTED: &str = "$2y$10$tkBF3YsbPZkq8UFsCrsoZ.4xWEoONECCoEPDmZY3FUx1.hDOyxpH2";
const MAIL: &str = "From: hi@shop.test\r\nSubject: hello\r\n\r\nhello";

async fn login(stack: &Stack, user: &str, password: &str) -> String {
    let mut client = SmtpClient::connect(stack.smtp.starttls).await.unwrap();
    client.ask("EHLO test\r\n").await.unwrap();
    client.auth(user, password).await.unwrap()
}

#[tokio::test]
async fn imported_passwords_work_until_they_are_revoked_even_within_a_session() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let import = [
        "smtp-credentials",
        "import",
        "old",
        "--username=smtp_0123456789abcdef",
        "--hash",
        IMPORTED,
    ];
    stack.operate(&import).await.unwrap();
    assert!(login(&stack, "smtp_0123456789abcdef", "wrong").await.starts_with("535 5.7.8 "));
    // The sender in the login stands in for an envelope sender that is none.
    let user = "smtp_0123456789abcdef:::bounces@shop.test";
    let mut client = SmtpClient::login(stack.smtp.starttls, user, "s3cret-Passw0rd").await.unwrap();
    let reply = client.ask("MAIL FROM:<smtp_0123456789abcdef>\r\n").await.unwrap();
    assert!(reply.starts_with("250 2.1.0 "), "{reply}");
    client.ask("RCPT TO:<ann@good.test>\r\n").await.unwrap();
    client.ask("DATA\r\n").await.unwrap();
    let reply = client.ask(&format!("{MAIL}\r\n.\r\n")).await.unwrap();
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    stack.caught("ann@good.test").await.unwrap();
    let caught = stack.get("/v1/sink/messages").await.unwrap();
    assert_eq!(caught.body["messages"][0]["envelope_from"], "bounces@shop.test", "{caught:?}");

    stack.operate(&["smtp-credentials", "revoke", "smtp_0123456789abcdef"]).await.unwrap();
    let reply = client.mail(MAIL).await.unwrap();
    assert!(reply.starts_with("535 5.7.8 "), "{reply}");
}

#[tokio::test]
async fn a_credential_sends_from_its_own_domains_only() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let create = ["smtp-credentials", "create", "bound", "--domain=shop.test"];
    let credential = stack.operate(&create).await.unwrap();
    let user = credential["username"].as_str().unwrap();
    let password = credential["secret"].as_str().unwrap();
    let mut client = SmtpClient::login(stack.smtp.starttls, user, password).await.unwrap();
    let reply = client.ask("MAIL FROM:<x@bank.test>\r\n").await.unwrap();
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    let reply = client.mail("From: boss@bank.test\r\nSubject: s\r\n\r\nx").await.unwrap();
    assert!(reply.starts_with("550 5.7.1 ") && reply.contains("[req_"), "{reply}");
    assert!(client.mail(MAIL).await.unwrap().starts_with("250 2.0.0 "));
}

#[tokio::test]
async fn hundreds_of_sessions_cost_one_password_check() {
    let vars = [PLAIN_AUTH, ("POSTERN_LOG", "info,postern_core=debug")];
    let stack = Stack::start(&vars).await.unwrap();
    let import = ["smtp-credentials", "import", "old", "--username=ams", "--hash", IMPORTED];
    stack.operate(&import).await.unwrap();
    for _ in 0..200 {
        SmtpClient::login(stack.smtp.starttls, "ams", "s3cret-Passw0rd").await.unwrap();
    }
    let checks = stack.log().unwrap().matches("password checked").count();
    assert!((1..=2).contains(&checks), "{checks} checks for 200 sessions");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_then_locked_out_but_not_for_the_user_themselves() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    let created = stack.operate(&["smtp-credentials", "create", "victim"]).await.unwrap();
    let user = created["username"].as_str().unwrap().to_owned();
    let password = created["secret"].as_str().unwrap().to_owned();
    assert!(login(&stack, &user, &password).await.starts_with("235 "));
    for (name, value) in
        [("smtp.auth_failures_per_user", "2"), ("smtp.auth_failures_per_address", "4")]
    {
        stack.operate(&["settings", "set", name, value]).await.unwrap();
    }
    let locked = wait::until("the user is locked", async || {
        let reply = login(&stack, &user, "guess").await;
        Ok((!reply.starts_with("535 5.7.8 ")).then_some(reply))
    });
    let locked = locked.await.unwrap();
    // From an address where the user has been, the user may still log in; so it is the address.
    assert!(locked.starts_with("421 4.7.0 ") && locked.contains("try again in"), "{locked}");
    // Who is remembered as logged in is not asked again.
    assert!(login(&stack, &user, &password).await.starts_with("235 "));
    let other = login(&stack, "other", "guess").await;
    assert!(other.starts_with("421 4.7.0 "), "{other}");
}

#[tokio::test]
async fn a_user_that_nobody_logged_in_as_is_locked_by_name() {
    let stack = Stack::start(&[PLAIN_AUTH]).await.unwrap();
    stack.operate(&["settings", "set", "smtp.auth_failures_per_user", "1"]).await.unwrap();
    let locked = wait::until("the user is locked", async || {
        let reply = login(&stack, "nobody", "guess").await;
        Ok((!reply.starts_with("535 5.7.8 ")).then_some(reply))
    });
    let locked = locked.await.unwrap();
    assert!(locked.starts_with("454 4.7.0 ") && locked.contains("try again in"), "{locked}");
    assert!(login(&stack, "another", "guess").await.starts_with("535 5.7.8 "));
}
