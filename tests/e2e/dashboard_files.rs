//! The tables of the dashboard as files.

use postern_tests::smtp_receiver::Receiver;

use super::dashboard::start;
use super::dashboard_acts::admin;
use super::dashboard_security::{attribute, furnish};

#[tokio::test]
async fn every_table_is_a_file_too() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let pages = furnish(&stack).await;
    let bounced = stack.send_to("refuse@good.test").await.unwrap();
    stack.wait_state(&bounced, "bounced").await.unwrap();
    let admin = admin(&stack).await;
    let mut files = 0;
    for path in &pages {
        let page = admin.page(path).await;
        let tables = page.matches("<table>").count();
        let links: Vec<String> = page
            .split("<a class=\"button small\"")
            .skip(1)
            .filter(|rest| rest.split('>').next().unwrap().ends_with("download"))
            .map(|rest| attribute(rest, "href"))
            .collect();
        assert_eq!(links.len(), tables, "{path}");
        for link in links {
            let file = admin.get(&link).await;
            assert_eq!(file.status(), 200, "{link}");
            let kind = file.headers()["content-type"].to_str().unwrap().to_owned();
            assert_eq!(kind, "text/csv; charset=utf-8", "{link}");
            let text = file.text().await.unwrap();
            let mut rows = csv::ReaderBuilder::new().from_reader(text.as_bytes());
            assert!(rows.headers().unwrap().iter().all(|name| !name.is_empty()), "{link}: {text}");
            let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
            assert!(!rows.is_empty(), "{link}: {text}");
            files += 1;
        }
    }
    assert!(files >= 30, "{files}");
    assert_eq!(admin.get("/dashboard/keys?table=7").await.status(), 404);
}
