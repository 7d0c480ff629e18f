//! PostgreSQL goes away and comes back under a running system.

use postern_kit::env::Env;
use postern_tests::proxy::Proxy;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use tokio_postgres::NoTls;

/// The server's URL, split around `host:port`.
fn database() -> (String, String, String) {
    let env = Env::process();
    let url = env.get("POSTERN_TEST_DATABASE_URL");
    let url = url.expect("no POSTERN_TEST_DATABASE_URL; run this under tests/with-postgres");
    let (login, rest) = url.split_once('@').expect("the URL has a user");
    let (host, name) = rest.split_once('/').expect("the URL has a database");
    (login.to_owned(), host.to_owned(), name.to_owned())
}

/// A schema of this test's own.
async fn make_schema(url: &str, schema: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let serving = tokio::spawn(connection);
    let made = client.batch_execute(&format!("CREATE SCHEMA {schema}")).await;
    made.unwrap();
    drop(client);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_accepted_while_the_store_is_away_and_all_is_well_when_it_is_back() {
    let (login, host, name) = database();
    let proxy = Proxy::start(&host).await.unwrap();
    let url = format!("{login}@{}/{name}", proxy.addr);
    let schema = format!("e2e_store_down_{}", std::process::id());
    make_schema(&url, &schema).await;
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_DATABASE_SCHEMA", &schema),
        ("POSTERN_DATABASE_TIMEOUT", "2s"),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let before = stack.send_to("before@good.test").await.unwrap();
    stack.wait_state(&before, "delivered").await.unwrap();

    proxy.cut();
    for number in 0..3 {
        let mail = mail_to(&format!("during{number}@good.test"));
        let answer = stack.post("/v1/messages", &mail).await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.text("code"), "store_unavailable", "{answer:?}");
    }

    proxy.restore();
    let after = wait::until("the store is back", async || {
        let mail = mail_to("after@good.test");
        let answer = stack.post("/v1/messages", &mail).await?;
        assert!([202, 503].contains(&answer.status), "{answer:?}");
        Ok((answer.status == 202).then(|| answer.text("id").to_owned()))
    });
    let after = after.await.unwrap();
    stack.wait_state(&after, "delivered").await.unwrap();
    let list = stack.get("/v1/messages?page_size=1000").await.unwrap();
    let listed = list.body["messages"].as_array().unwrap().iter();
    let ids: Vec<_> = listed.map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [after.as_str(), before.as_str()], "only what was accepted");
}
