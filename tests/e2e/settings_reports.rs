//! Live settings of those who are told and of those who look: AMS, webhooks, the dashboard.

use postern_tests::ams::Ams;
use postern_tests::hook_receiver::HookReceiver;
use postern_tests::stack::Stack;
use postern_tests::wait;
use reqwest::StatusCode;
use serde_json::json;

use super::settings::set;
use super::tracking_edge::{get, links, mail, start};
use super::webhooks::create;

/// A stack that tells AMS, and a mail of mailing 77 which three people have opened.
async fn opened(ams: &Ams, more: &[(&str, &str)]) -> Stack {
    let url = ams.url();
    let vars = [
        ("POSTERN_AMS_URL", url.as_str()),
        ("POSTERN_AMS_KEY", "an-ams-key"),
        ("POSTERN_AMS_CERT_SHA256", &ams.pin),
        ("POSTERN_AMS_INTERVAL", "100ms"),
        ("POSTERN_AMS_RETRY_INTERVAL", "100ms"),
    ];
    let stack = start(&[&vars[..], more].concat()).await;
    for to in ["ann@good.test", "bob@good.test", "cy@good.test"] {
        let mut message = mail(to);
        message["campaign_id"] = "77".into();
        let id = stack.send(&message).await.unwrap();
        stack.wait_state(&id, "delivered").await.unwrap();
        let link = links(&stack.caught(to).await.unwrap());
        assert_eq!(get(&format!("{}{}", stack.tracker, link("/o/"))).await.status(), 200);
    }
    stack
}

#[tokio::test]
async fn ams_is_told_so_much_in_one_call_as_ams_batch_items_says() {
    let ams = Ams::start("ok").await.unwrap();
    let _stack = opened(&ams, &[("POSTERN_AMS_BATCH_ITEMS", "1")]).await;
    let told = wait::until("all three are told", async || {
        let calls = ams.calls("postMailingOpenClicksData")?;
        let items = |call: &serde_json::Value| {
            call["params"]["opensClicksData"].as_array().map_or(0, Vec::len)
        };
        let sizes: Vec<_> = calls.iter().map(items).collect();
        Ok((sizes.iter().sum::<usize>() == 3).then_some(sizes))
    });
    assert_eq!(told.await.unwrap(), [1, 1, 1]);
}

#[tokio::test]
async fn ams_is_not_asked_any_more_after_ams_give_up() {
    let ams = Ams::start("refuse 77").await.unwrap();
    let stack = opened(&ams, &[]).await;
    let asked = async |count: usize| {
        let look = async || {
            let calls = ams.calls("postMailingOpenClicksData")?.len();
            Ok((calls >= count).then_some(calls))
        };
        wait::until("AMS is asked again", look).await.unwrap()
    };
    asked(3).await;
    assert!(!stack.log().unwrap().contains("given up"), "the default is 30 days");
    set(&stack, &[("ams.give_up", "1s")]).await;
    wait::until("it is given up", async || {
        Ok(stack.log()?.contains("AMS refused for too long; given up").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_endpoint_has_so_long_for_its_answer_as_webhooks_timeout_says() {
    let receiver = HookReceiver::start().await.unwrap();
    let stack = Stack::start(&[("POSTERN_WEBHOOK_PRIVATE_TARGETS", "allow")]).await.unwrap();
    set(&stack, &[("webhooks.timeout", "1s")]).await;
    receiver.set_mode("slow", "hang").unwrap();
    let (id, _) = create(&stack, &receiver.url("slow"), json!({})).await;
    let path = format!("/v1/webhooks/{id}/test");
    let tried = stack.post(&path, &json!({})).await.unwrap();
    let attempt = &tried.body;
    assert_eq!(
        (&attempt["status"], &attempt["error"]),
        (&json!(0), &json!("timeout")),
        "{tried:?}"
    );
    let took = attempt["duration"].as_str().unwrap().trim_end_matches('s').parse::<f64>().unwrap();
    assert!((0.9..10.0).contains(&took), "the default is 15 s: {attempt}");
}

#[tokio::test]
async fn sessions_and_counted_logins_of_the_dashboard_last_as_long_as_their_settings_say() {
    let password = "a password of the operator";
    let vars = [
        ("POSTERN_OPERATOR_PASSWORD", password),
        ("POSTERN_DASHBOARD_SESSION_TIME", "2m"),
        ("POSTERN_DASHBOARD_LOGINS_PER_USER", "1"),
        ("POSTERN_DASHBOARD_LOGIN_WINDOW", "6s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let log_in = async || -> anyhow::Result<reqwest::Response> {
        let form = [("username", "admin"), ("password", password)];
        let login = client.post(format!("{}/dashboard/login", stack.rest)).form(&form);
        Ok(login.header("origin", &stack.rest).send().await?)
    };
    let first = log_in().await.unwrap();
    let cookies = first.headers().get_all("set-cookie").iter().map(|one| one.to_str().unwrap());
    let cookie = cookies.into_iter().find(|one| one.starts_with("postern=")).unwrap().to_owned();
    let life = cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).unwrap();
    assert!((100..=120).contains(&life.parse::<i32>().unwrap()), "{cookie}");
    wait::until("it is one login too many", async || {
        Ok((log_in().await?.status() == StatusCode::TOO_MANY_REQUESTS).then_some(()))
    })
    .await
    .unwrap();
    // By the default window this would take a quarter of an hour.
    wait::until("logins are counted anew", async || {
        Ok((log_in().await?.status() == StatusCode::SEE_OTHER).then_some(()))
    })
    .await
    .unwrap();
}
