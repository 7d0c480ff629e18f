//! Postfix as a client that logs in: a mail server that relays through us.

use std::path::Path;
use std::process::Stdio;

use postern_tests::stack::Stack;
use postern_tests::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A Postfix of the test's own; stopped on drop.
struct Postfix {
    config: String,
}

impl Postfix {
    async fn start(folder: &Path, relay: u16, login: &str) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let config = path("config");
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmaillog_file = {}\n\
             maillog_file_prefixes = /\nmyhostname = client.test\nmydestination =\nmynetworks = 127.0.0.0/8\n\
             inet_interfaces = loopback-only\nrelayhost = [127.0.0.1]:{relay}\nsmtp_sasl_auth_enable = yes\n\
             smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{relay} = {login} }} }}\n\
             smtp_sasl_security_options = noanonymous\nsmtp_tls_security_level = encrypt\n\
             alias_maps =\nalias_database =\nmail_owner = postfix\nsetgid_group = postdrop\n\
             smtp_destination_recipient_limit = 50\n",
            path("queue"),
            path("data"),
            path("log"),
        );
        for name in ["config", "queue", "data"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("config/main.cf"), settings).unwrap();
        // Without a listener of its own, and not in a jail: only queue and delivery are wanted.
        let master = std::fs::read_to_string("/usr/share/postfix/master.cf.dist")
            .or_else(|_| std::fs::read_to_string("/etc/postfix/master.cf"))
            .unwrap();
        let services = master.lines().filter(|line| !line.starts_with("smtp      inet"));
        let services: Vec<String> = services.map(unjailed).collect();
        std::fs::write(folder.join("config/master.cf"), services.join("\n") + "\n").unwrap();
        let chown = Command::new("chown").args(["postfix", &path("data")]).status().await.unwrap();
        assert!(chown.success());
        let postfix = Self { config };
        let started = postfix.command("postfix").arg("start").output().await.unwrap();
        assert!(started.status.success(), "{started:?}");
        postfix
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(format!("/usr/sbin/{program}"));
        command.args(["-c", &self.config]).env_remove("MAIL_CONFIG");
        command
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let mut stop = std::process::Command::new("/usr/sbin/postfix");
        let _stopped = stop.args(["-c", &self.config, "stop"]).output();
    }
}

/// The service of a line of master.cf, outside of its jail.
fn unjailed(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [name, kind, private, unprivileged, "y", rest @ ..] if !line.starts_with(['#', ' ']) => {
            format!("{name} {kind} {private} {unprivileged} n {}", rest.join(" "))
        }
        _ => line.to_owned(),
    }
}

#[tokio::test]
async fn postfix_relays_through_us_to_every_recipient() {
    let stack = Stack::start(&[]).await.unwrap();
    let created = stack.operate(&["smtp-credentials", "create", "postfix"]).await.unwrap();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let login = format!("{}:{}", text("username"), text("secret"));
    let postfix = Postfix::start(folder.path(), stack.smtp.starttls, &login).await;
    let mail = "From: Shop <hi@shop.test>\nTo: ann@good.test\nSubject: by Postfix\n\nb\u{fc}te\n";
    let mut sendmail = Command::new("/usr/sbin/sendmail");
    sendmail.args(["-C", &postfix.config, "-f", "hi@shop.test", "ann@good.test", "bob@good.test"]);
    let mut child = sendmail.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(mail.as_bytes()).await.unwrap();
    assert!(tokio::time::timeout(wait::LIMIT, child.wait()).await.unwrap().unwrap().success());
    for recipient in ["ann@good.test", "bob@good.test"] {
        let caught = stack.caught(recipient).await;
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let caught = caught.unwrap_or_else(|error| panic!("{error}: {}", log()));
        assert!(
            caught.contains("Subject: by Postfix\r\n") && caught.contains("b\u{fc}te"),
            "{caught}"
        );
        // Its trace of the machine it came from is dropped.
        assert!(!caught.contains("Received:"), "{caught}");
    }
    // Both recipients came in one transaction.
    let listed = stack.get("/v1/messages").await.unwrap();
    let messages = listed.body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1, "{messages:?}");
}
