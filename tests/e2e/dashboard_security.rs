//! What the dashboard refuses: forms of other sites, sessions of others, operators without the right,
//! frames, and guessing.

use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::Stack;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::multipart::Part;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::process::Command;

use super::dashboard::{PASSWORD, start};

/// A browser without pages: it keeps the session's cookie and sends what it is told.
pub(crate) struct Visitor {
    base: String,
    http: Client,
    pub(crate) session: String,
}

/// A form of a page.
#[derive(Debug, Clone)]
struct Form {
    action: String,
    multipart: bool,
    fields: Vec<(String, String)>,
}

impl Visitor {
    pub(crate) fn new(stack: &Stack) -> Self {
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { base: stack.rest.clone(), http, session: String::new() }
    }

    /// Logs in; the cookie is kept when there is one.
    pub(crate) async fn log_in(&mut self, username: &str, password: &str, code: &str) -> Response {
        let form = [("username", username), ("password", password), ("code", code), ("next", "")];
        let answer = self.send("/dashboard/login", &form, &self.base.clone()).await;
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            self.session = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    async fn send(&self, path: &str, form: &[(&str, &str)], origin: &str) -> Response {
        let request = self.http.post(format!("{}{path}", self.base)).header(ORIGIN, origin);
        request.header(COOKIE, &self.session).form(form).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.base));
        request.header(COOKIE, &self.session).send().await.unwrap()
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// The token that forms of this session carry.
    async fn csrf(&self) -> String {
        let page = self.page("/dashboard/account").await;
        let forms = forms(&page);
        let field = forms[0].fields.iter().find(|(name, _)| name == "csrf");
        field.unwrap().1.clone()
    }

    /// Presses the button of a page that stands in the form with these values, after filling in others.
    pub(crate) async fn press(
        &self,
        page: &str,
        which: &[(&str, &str)],
        fill: &[(&str, &str)],
    ) -> Response {
        let text = self.page(page).await;
        self.press_in(&text, which, fill).await
    }

    /// Presses a button of a page as it was seen some time ago.
    pub(crate) async fn press_in(
        &self,
        page: &str,
        which: &[(&str, &str)],
        fill: &[(&str, &str)],
    ) -> Response {
        let has = |form: &Form, (name, value): (&str, &str)| match name {
            "action" => form.action.ends_with(value),
            _ => form.fields.iter().any(|(key, own)| key == name && own == value),
        };
        let forms = forms(page);
        let form = forms.iter().find(|form| which.iter().all(|pair| has(form, *pair)));
        let mut form = form.unwrap_or_else(|| panic!("no {which:?} in {forms:?}")).clone();
        for (name, value) in fill {
            let field = form.fields.iter_mut().find(|(key, _)| key == name);
            field.unwrap_or_else(|| panic!("no field {name}")).1 = (*value).to_owned();
        }
        let csrf = form.fields.iter().find(|(name, _)| name == "csrf").unwrap().1.clone();
        self.send_form(&form, &csrf, &self.base).await
    }

    /// Sends a form as its page would, with this token.
    async fn submit(&self, form: &Form, csrf: &str, origin: &str) -> StatusCode {
        self.send_form(form, csrf, origin).await.status()
    }

    async fn send_form(&self, form: &Form, csrf: &str, origin: &str) -> Response {
        let fields = form.fields.iter().map(|(name, value)| match name.as_str() {
            "csrf" => (name.clone(), csrf.to_owned()),
            _ => (name.clone(), value.clone()),
        });
        let request = self.http.post(format!("{}{}", self.base, form.action));
        let request = request.header(ORIGIN, origin).header(COOKIE, &self.session);
        let request = match form.multipart {
            true => {
                let parts = fields.fold(reqwest::multipart::Form::new(), |form, (name, value)| {
                    let part = Part::text(value);
                    form.part(
                        name.clone(),
                        if name == "file" { part.file_name("a.csv") } else { part },
                    )
                });
                request.multipart(parts)
            }
            false => request.form(&fields.collect::<Vec<_>>()),
        };
        request.send().await.unwrap()
    }
}

/// The attribute of a tag, with its entities decoded as far as our pages have any.
pub(crate) fn attribute(tag: &str, name: &str) -> String {
    let start = format!(" {name}=\"");
    let text = tag.split_once(&start).and_then(|(_, rest)| rest.split_once('"'));
    text.map_or("", |(value, _)| value).replace("&#38;", "&").replace("&#39;", "'")
}

/// The forms of a page that change something.
fn forms(page: &str) -> Vec<Form> {
    let bodies = page.split("<form ").skip(1).map(|rest| rest.split("</form>").next().unwrap());
    let posts = bodies.filter(|body| body.split('>').next().unwrap().contains("method=\"post\""));
    let form = |body: &str| {
        let head = format!(" {}", body.split('>').next().unwrap());
        let mut fields: Vec<(String, String)> = Vec::new();
        for tag in body.split('<') {
            let (kind, name) = (tag.split(' ').next().unwrap_or_default(), attribute(tag, "name"));
            match (kind, fields.last_mut()) {
                ("input", _) if name == "file" => {
                    fields.push((name, "email\nmia@good.test\n".to_owned()));
                }
                ("input" | "select", _) => fields.push((name, attribute(tag, "value"))),
                ("textarea", _) => {
                    let text = tag.split_once('>').map_or("", |(_, text)| text);
                    fields.push((name, text.to_owned()));
                }
                ("option", Some(of)) if tag.contains(" selected") => of.1 = attribute(tag, "value"),
                _ => {}
            }
        }
        Form {
            action: attribute(&head, "action"),
            multipart: head.contains("multipart/form-data"),
            fields,
        }
    };
    posts.map(form).collect()
}

pub(crate) fn location(answer: &Response) -> &str {
    answer.headers().get(LOCATION).map_or("", |value| value.to_str().unwrap())
}

/// Something of everything, so that every page has its forms; returns the pages.
pub(crate) async fn furnish(stack: &Stack) -> Vec<String> {
    let mut pages = Vec::new();
    for (path, page, body) in [
        ("/v1/suppressions", "suppressions", json!({"email": "eve@good.test"})),
        ("/v1/keys", "keys", json!({"display_name": "shop", "scopes": ["messages:send"]})),
        ("/v1/smtp-credentials", "smtp", json!({"display_name": "shop"})),
        ("/v1/domains", "domains/example.com", json!({"name": "example.com"})),
        ("/v1/webhooks", "webhooks/", json!({"url": "http://127.0.0.1:9/"})),
        ("/v1/templates", "templates/", json!({"alias": "hello", "subject": "Hi", "text": "Hi"})),
        (
            "/v1/messages",
            "messages/",
            json!({"from": "a@example.com", "to": "defer@good.test", "subject": "Hi", "text": "Hi",
                "campaign_id": "spring"}),
        ),
    ] {
        let made = stack.post(path, &body).await.unwrap();
        assert!(made.status < 300, "{path}: {made:?}");
        let id = if page.ends_with('/') { made.text("id") } else { "" };
        pages.push(format!("/dashboard/{page}{id}"));
    }
    let more = [
        "",
        "/messages",
        "/queue",
        "/campaigns",
        "/campaigns/show?id=spring",
        "/errors",
        "/domains",
        "/webhooks",
        "/templates",
        "/settings",
        "/operators",
        "/audit",
        "/account",
    ];
    pages.extend(more.map(|page| format!("/dashboard{page}")));
    pages
}

/// Of the forms that are there for everybody: the reader's own affairs, and looking into the DNS.
fn is_own(form: &Form) -> bool {
    let own = ["/dashboard/logout", "/dashboard/appearance", "/dashboard/account"];
    let looks = form.fields.contains(&("act".to_owned(), "check".to_owned()));
    looks || own.iter().any(|path| form.action.starts_with(path))
}

#[tokio::test]
async fn no_form_works_for_another_site_or_a_viewer_and_no_page_can_be_framed() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let pages = furnish(&stack).await;
    let mut admin = Visitor::new(&stack);
    assert_eq!(admin.log_in("admin", PASSWORD, "").await.status(), StatusCode::SEE_OTHER);
    let viewer = viewer(&stack, &admin).await;
    let (mut all, viewer_csrf) = (Vec::new(), viewer.csrf().await);
    for path in &pages {
        let answer = admin.get(path).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(!header("content-security-policy").contains("unsafe"), "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        all.extend(forms(&answer.text().await.unwrap()));
        // A viewer sees the page, without anything to change.
        let seen = forms(&viewer.page(path).await);
        let foreign: Vec<_> = seen.iter().filter(|form| !is_own(form)).collect();
        assert!(foreign.is_empty(), "{path} offers a viewer {foreign:?}");
    }
    let acts: Vec<&Form> = all.iter().filter(|form| !is_own(form)).collect();
    assert!(acts.len() > 30, "only {} forms", acts.len());
    let csrf = admin.csrf().await;
    for form in acts {
        let refused = StatusCode::FORBIDDEN;
        let status = viewer.submit(form, &viewer_csrf, &viewer.base).await;
        assert_eq!(status, refused, "a viewer at {form:?}");
        let status = admin.submit(form, &csrf, "https://evil.example").await;
        assert_eq!(status, refused, "another site at {form:?}");
        for token in ["", "guessed", &viewer_csrf] {
            let status = admin.submit(form, token, &admin.base).await;
            assert_eq!(status, refused, "the token '{token}' at {form:?}");
        }
    }
    // A table as a file has no column of buttons.
    let file = admin.page("/dashboard/keys?format=csv").await;
    let head = "Name,Key,State,Scopes,Domains,Expires,Last use,Created\r\n";
    assert!(file.starts_with(head) && file.contains("\r\nshop,pst_live_"), "{file}");
    // The contents of mail are for admins.
    let message = pages.iter().find(|page| page.starts_with("/dashboard/messages/msg_")).unwrap();
    for rest in ["/html", "/source", "?tab=source"] {
        let status = viewer.get(&format!("{message}{rest}")).await.status();
        assert_eq!(status, StatusCode::FORBIDDEN, "{rest}");
    }
}

/// Another operator, who may only look.
async fn viewer(stack: &Stack, admin: &Visitor) -> Visitor {
    let csrf = admin.csrf().await;
    let form = [("csrf", csrf.as_str()), ("username", "vera"), ("role", "viewer")];
    let answer = admin.send("/dashboard/operators", &form, &admin.base).await;
    let page = answer.text().await.unwrap();
    let (_, rest) = page.split_once("id=\"secret\">").unwrap();
    let mut viewer = Visitor::new(stack);
    let answer = viewer.log_in("vera", rest.split('<').next().unwrap(), "").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    viewer
}

#[tokio::test]
async fn a_session_is_made_by_the_login_and_ends_with_it() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let mut visitor = Visitor::new(&stack);
    let answer = visitor.get("/dashboard/keys").await;
    assert_eq!(location(&answer), "/dashboard/login?next=%2Fdashboard%2Fkeys");
    // Whoever plants a cookie beforehand does not get in with it afterwards.
    let first = visitor.log_in("admin", PASSWORD, "").await;
    let cookie = first.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let mut second = Visitor::new(&stack);
    let (name, planted) = visitor.session.split_once('=').unwrap();
    let made_up = format!("{name}={}", "A".repeat(planted.len()));
    second.session = made_up.clone();
    assert_eq!(second.get("/dashboard").await.status(), StatusCode::SEE_OTHER);
    second.log_in("admin", PASSWORD, "").await;
    assert!(second.session != made_up && second.session != visitor.session);
    // A change of the password ends every other session, logging out this one, at the core.
    let csrf = second.csrf().await;
    let new = "another long password";
    let form = [("csrf", csrf.as_str()), ("old_password", PASSWORD), ("new_password", new)];
    let changed = second.send("/dashboard/account/password", &form, &second.base).await;
    assert_eq!(changed.status(), StatusCode::SEE_OTHER, "{changed:?}");
    assert_eq!(visitor.get("/dashboard").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(second.get("/dashboard").await.status(), StatusCode::OK);
    let form = [("csrf", csrf.as_str())];
    let out = second.send("/dashboard/logout", &form, &second.base).await;
    assert_eq!(location(&out), "/dashboard/login");
    assert_eq!(second.get("/dashboard").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(second.log_in("admin", PASSWORD, "").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(second.log_in("admin", new, "").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_comes_to_an_end() {
    let receiver = Receiver::start().await.unwrap();
    let limits =
        [("POSTERN_DASHBOARD_LOGINS_PER_USER", "3"), ("POSTERN_DASHBOARD_LOGINS_PER_ADDRESS", "5")];
    let stack = start(&receiver, &limits).await;
    let mut visitor = Visitor::new(&stack);
    for _ in 0..3 {
        let answer = visitor.log_in("admin", "wrong password", "").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let answer = visitor.log_in("admin", PASSWORD, "").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "the right password comes too late");
    assert!(answer.headers().contains_key("retry-after"));
    // Somebody else's name from the same address, known or not.
    let statuses = [
        visitor.log_in("nobody", "wrong password", "").await.status(),
        visitor.log_in("nobody", "wrong password", "").await.status(),
    ];
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
}

#[tokio::test]
async fn a_code_of_an_authenticator_app_is_asked_for_and_counts_once() {
    let receiver = Receiver::start().await.unwrap();
    let stack = start(&receiver, &[]).await;
    let mut visitor = Visitor::new(&stack);
    visitor.log_in("admin", PASSWORD, "").await;
    let csrf = visitor.csrf().await;
    let form = [("csrf", csrf.as_str()), ("password", PASSWORD)];
    let begun = visitor.send("/dashboard/account/totp/start", &form, &visitor.base).await;
    let page = begun.text().await.unwrap();
    let (_, rest) = page.split_once("id=\"secret\">").unwrap();
    let secret = rest.split('<').next().unwrap().to_owned();
    let code = code(&secret).await;
    let form = [("csrf", csrf.as_str()), ("code", code.as_str())];
    let confirmed = visitor.send("/dashboard/account/totp/confirm", &form, &visitor.base).await;
    assert_eq!(confirmed.status(), StatusCode::SEE_OTHER, "{confirmed:?}");
    let mut other = Visitor::new(&stack);
    assert_eq!(other.log_in("admin", PASSWORD, "").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(other.log_in("admin", PASSWORD, "000000").await.status(), StatusCode::UNAUTHORIZED);
    // Confirming has used it up.
    assert_eq!(other.log_in("admin", PASSWORD, &code).await.status(), StatusCode::UNAUTHORIZED);
}

/// The present code, by a program that is not ours.
async fn code(secret: &str) -> String {
    let output = Command::new("oathtool").args(["--totp", "-b", secret]).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
