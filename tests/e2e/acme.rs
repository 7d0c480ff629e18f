//! Certificates by ACME from a real authority (pebble): by either challenge, taken up by the gateways while
//! they run, renewed before their end, and tried for again while the authority is away.

use std::path::Path;
use std::process::Stdio;

use postern_tests::acme::Authority;
use postern_tests::role::{Role, TOKEN};
use postern_tests::stack::{Stack, binary};
use postern_tests::wait;
use tokio::process::{Child, Command};

const NAMES: [&str; 2] = ["mail.shop.test", "t.shop.test"];

/// `postern acme` over a folder. Dropping it kills the process.
fn keeper(authority: &Authority, folder: &Path, more: &[(&str, String)]) -> Child {
    let mut command = Command::new(binary());
    command.arg("acme").env_clear().kill_on_drop(true).stdin(Stdio::null());
    command.env("POSTERN_ACME_NAMES", NAMES.join(","));
    command.env("POSTERN_ACME_FOLDER", folder).env("POSTERN_ACME_DIRECTORY", &authority.url);
    command.env("POSTERN_ACME_CA_FILE", &authority.ca).env("POSTERN_ACME_RETRY", "200ms");
    command.env("POSTERN_METRICS_LISTEN", "off").stderr(Stdio::null());
    command.envs(more.iter().map(|(name, value)| (*name, value)));
    command.spawn().unwrap()
}

fn http(authority: &Authority) -> [(&'static str, String); 1] {
    [("POSTERN_ACME_HTTP_LISTEN", format!("127.0.0.1:{}", authority.ports[0]))]
}

/// What a program of OpenSSL sees at a door: issuer and serial number of the certificate for a name.
async fn seen(port: u16, name: &str, starttls: bool) -> Option<(String, String)> {
    let connect = if starttls { "-starttls smtp" } else { "" };
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername {name} {connect} </dev/null 2>/dev/null \
         | openssl x509 -noout -issuer -serial -checkhost {name}"
    );
    let output = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value =
        |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
    let fits = text.contains("does match certificate");
    Some((value("issuer=")?, value("serial=")?))
        .filter(|(issuer, _)| fits && issuer.contains("Pebble"))
}

async fn until_seen(port: u16, name: &str, starttls: bool, not: &str) -> String {
    let look = async || {
        let seen = seen(port, name, starttls).await.map(|(_, serial)| serial);
        Ok(seen.filter(|serial| serial != not))
    };
    wait::until("a certificate of the authority", look).await.unwrap()
}

#[tokio::test]
async fn gateways_take_up_what_is_ordered_and_what_is_renewed_while_they_run() {
    let mut authority = Authority::start(&NAMES, 12).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _keeper = keeper(&authority, folder.path(), &http(&authority));
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("fullchain.pem"), file("privkey.pem"));
    let there = async || Ok(Path::new(&cert).exists().then_some(()));
    wait::until("files to begin with", there).await.unwrap();
    let vars = [
        ("POSTERN_SMTP_TLS_CERT", cert.as_str()),
        ("POSTERN_SMTP_TLS_KEY", key.as_str()),
        ("POSTERN_TRACKER_TLS_CERTS", cert.as_str()),
        ("POSTERN_TRACKER_TLS_KEYS", key.as_str()),
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
    ];
    let stack = Stack::start(&vars).await.unwrap();
    let tracker = stack.tracker.rsplit(':').next().unwrap().parse().unwrap();
    let first = until_seen(stack.smtp.starttls, NAMES[0], true, "").await;
    until_seen(tracker, NAMES[1], false, "").await;
    let files = [("POSTERN_REST_TLS_CERT", cert.as_str()), ("POSTERN_REST_TLS_KEY", &key)];
    let rest = Role::rest(&stack.grpc, &files).await.unwrap();
    until_seen(rest.port, NAMES[0], false, "").await;
    let secret =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(secret & 0o777, 0o640);
    // A third of its life before its end it is exchanged, and no process was told.
    let second = until_seen(stack.smtp.starttls, NAMES[0], true, &first).await;
    // An authority that is away is asked again; it has also forgotten who we are by then.
    authority.stop().await.unwrap();
    std::fs::remove_file(folder.path().join("account.json")).unwrap();
    std::fs::remove_file(folder.path().join("ordered")).unwrap();
    authority.start_again().await.unwrap();
    until_seen(stack.smtp.starttls, NAMES[0], true, &second).await;
}

#[tokio::test]
async fn the_challenge_over_tls_works_where_port_80_is_taken() {
    let authority = Authority::start(&NAMES, 86_400).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let vars = [
        ("POSTERN_ACME_HTTP_LISTEN", "off".to_owned()),
        ("POSTERN_ACME_TLS_LISTEN", format!("127.0.0.1:{}", authority.ports[1])),
    ];
    let mut running = keeper(&authority, folder.path(), &vars);
    let ordered = async || Ok(folder.path().join("ordered").exists().then_some(()));
    wait::until("an order is through", ordered).await.unwrap();
    let chain = folder.path().join("fullchain.pem");
    let mut show = Command::new("openssl");
    show.args(["x509", "-noout", "-issuer", "-ext", "subjectAltName", "-in"]).arg(&chain);
    let shown = show.output().await.unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("Pebble") && NAMES.iter().all(|name| shown.contains(name)), "{shown}");
    // A crash between the two files leaves a key that does not fit: nobody has to clean up after it.
    running.kill().await.unwrap();
    let own = tempfile::tempdir().unwrap();
    let other = postern_kit::tls::self_signed(own.path(), &["x.test".to_owned()]).unwrap();
    std::fs::copy(&other.key, folder.path().join("privkey.pem")).unwrap();
    let old = std::fs::read_to_string(&chain).unwrap();
    let _running = keeper(&authority, folder.path(), &vars);
    let mended = async || {
        let now = std::fs::read_to_string(&chain).unwrap_or_default();
        let is_new = !now.is_empty() && now != old && folder.path().join("ordered").exists();
        Ok(is_new.then_some(()))
    };
    wait::until("a pair that fits", mended).await.unwrap();
}

#[tokio::test]
async fn whoever_comes_without_tls_is_sent_there_and_finds_no_file_of_ours() {
    let authority = Authority::start(&NAMES, 86_400).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _keeper = keeper(&authority, folder.path(), &http(&authority));
    let base = format!("http://127.0.0.1:{}", authority.ports[0]);
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = async |path: &str, host: &str| {
        let answer = client.get(format!("{base}{path}")).header("host", host).send().await;
        Ok(answer.ok().map(|answer| {
            let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
            (answer.status().as_u16(), to)
        }))
    };
    let first = wait::until("it answers", async || ask("/o/x?y=1", "t.shop.test:80").await).await;
    assert_eq!(first.unwrap(), (308, Some("https://t.shop.test/o/x?y=1".to_owned())));
    let token = ask("/.well-known/acme-challenge/nobody", "t.shop.test").await.unwrap();
    assert_eq!(token.unwrap().0, 404);
    let path = ask("/.well-known/acme-challenge/..%2Faccount.json", "t.shop.test").await;
    assert_eq!(path.unwrap().unwrap().0, 404);
}
