//! The inbox page against a stand-in for the core.

mod support;

use postern_proto::v1::*;
use support::Stage;

const MAIL: &str = "From: A <a@x.io>\r\nTo: u@x.io\r\nSubject: <b>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n\
    --b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=x.html\r\n\r\n\
    <script>alert(2)</script>\r\n--b--\r\n";

fn stage(vars: &[(&str, &str)]) -> Stage {
    let stage = Stage::new(vars);
    let mail = SinkMessage {
        id: "snk_1".to_owned(),
        subject: "<b>bold".to_owned(),
        raw: MAIL.as_bytes().into(),
        ..SinkMessage::default()
    };
    let messages = vec![mail.clone()];
    let next_page_token = "more".to_owned();
    let list = ListSinkMessagesResponse { messages, next_page_token };
    stage.answer("SinkService/ListSinkMessages", &list);
    stage.answer("SinkService/GetSinkMessage", &GetSinkMessageResponse { message: Some(mail) });
    stage.answer("SinkService/DeleteSinkMessages", &DeleteSinkMessagesResponse::default());
    stage
}

#[tokio::test]
async fn mail_is_listed_and_shown_without_trusting_it() {
    let stage = stage(&[]);
    let got = stage.send("GET /inbox?to=u@x.io", "").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.text.contains("bold") && !got.text.contains("<b>"));
    assert!(got.text.contains("page=more") && got.text.contains("href=\"/inbox/snk_1\""));
    assert!(got.header("content-security-policy").starts_with("default-src 'none'"));
    // The browser's credential is not passed on: the core opens the inbox to the gateway itself.
    assert!(!stage.last().headers.contains_key("authorization"));
    for tab in ["", "?tab=text", "?tab=headers", "?tab=source"] {
        let got = stage.send(&format!("GET /inbox/snk_1{tab}"), "").await;
        assert_eq!(got.status, 200);
        assert!(!got.text.contains("<script>alert"), "{tab}");
    }
    let got = stage.send("GET /inbox/snk_1/html", "").await;
    assert!(got.text.contains("alert(1)"));
    assert!(got.header("content-security-policy").starts_with("sandbox; default-src 'none'"));
    let got = stage.send("GET /inbox/snk_1/attachments/0", "").await;
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert!(got.header("content-disposition").starts_with("attachment; filename=\"x.html\""));
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(stage.send("GET /inbox/snk_1/attachments/7", "").await.status, 404);
    assert_eq!(stage.send("GET /", "").await.header("location"), "/dashboard");
}

#[tokio::test]
async fn deleting_needs_a_form_of_our_own_page() {
    let stage = stage(&[]);
    for path in ["/inbox/delete", "/inbox/snk_1/delete"] {
        let request = format!("POST {path}");
        let own = [("sec-fetch-site", "same-origin")];
        assert_eq!(stage.send_with(&request, "", &own).await.status, 303);
        let other = [("sec-fetch-site", "cross-site")];
        assert_eq!(stage.send_with(&request, "", &other).await.status, 403);
        assert_eq!(stage.send_with(&request, "", &[]).await.status, 403);
    }
    let deletions = stage.calls();
    assert_eq!(deletions.len(), 2);
    let all: DeleteSinkMessagesRequest = deletions[0].read();
    let one: DeleteSinkMessagesRequest = deletions[1].read();
    assert_eq!((all.ids.len(), one.ids.as_slice()), (0, &["snk_1".to_owned()][..]));
}

#[tokio::test]
async fn the_inbox_is_absent_when_it_is_off() {
    let stage = stage(&[("POSTERN_INBOX", "off")]);
    assert_eq!(stage.send("GET /inbox", "").await.status, 404);
}
