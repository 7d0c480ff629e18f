//! The protocol, spoken to without a socket.

use super::*;

mod fuzz;

fn identity() -> Identity {
    Identity {
        authorization: "Session s".into(),
        id: "smc_1".into(),
        sender_domains: ["a.example".to_owned()].into(),
        rate_limit: 0,
        header_aliases: [].into(),
        ip_allow: [].into(),
        login_sender: None,
    }
}

/// A client that has both ends in its hand. The core says yes to the password `right` and all mail.
struct Client {
    session: Session,
    said: String,
    messages: Vec<Handover>,
    open: bool,
}

impl Client {
    fn new(rules: Rules) -> Self {
        Self::with(rules, &[])
    }

    fn with(rules: Rules, settings: &[(&str, &str)]) -> Self {
        let mut values = Settings::default();
        for (name, value) in settings {
            values.set(name, value).unwrap();
        }
        let session = Session::new(rules, Arc::new(values));
        Self { session, said: String::new(), messages: Vec::new(), open: true }
    }

    fn logged_in() -> Self {
        let mut client = Self::new(encrypted());
        client.send("EHLO c\r\n");
        client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n");
        assert!(client.said.ends_with("235 2.7.0 welcome\r\n"), "{}", client.said);
        client.said.clear();
        client
    }

    /// Sends bytes in one piece; returns what was said to them.
    fn send(&mut self, text: &str) -> String {
        self.send_bytes(text.as_bytes())
    }

    fn send_bytes(&mut self, bytes: &[u8]) -> String {
        let (mut input, mut out) = (bytes, Vec::new());
        while self.open && !input.is_empty() {
            let effect = match self.session.input() {
                Input::Content => self.session.content(&mut input, &mut out),
                Input::Line(max) => match postern_smtp_wire::line::frame(input, max) {
                    postern_smtp_wire::line::Framed::Partial => break,
                    postern_smtp_wire::line::Framed::Line(line, taken) => {
                        let more = input.len() > taken;
                        input = &input[taken..];
                        self.session.line(line, more, &mut out)
                    }
                    postern_smtp_wire::line::Framed::Bad(error, taken) => {
                        input = &input[taken..];
                        self.session.bad_line(error, &mut out)
                    }
                },
            };
            self.fulfil(effect, &mut out);
        }
        let said = String::from_utf8(out).unwrap();
        self.said += &said;
        said
    }

    fn fulfil(&mut self, effect: Effect, out: &mut Vec<u8>) {
        let next = match effect {
            Effect::Continue => return,
            Effect::Close => {
                self.open = false;
                return;
            }
            Effect::StartTls => return self.session.encrypted(),
            Effect::Check(login) if login.password == "right" => {
                self.session.checked(Checked::Welcome(identity()), out)
            }
            Effect::Check(_) => {
                let reply = Reply::new(535, "5.7.8", "wrong");
                self.session.checked(Checked::Refused(reply), out)
            }
            Effect::Spend(..) => self.session.spent(None, out),
            Effect::HandOver(handover) => {
                self.messages.push(*handover);
                self.session.handed_over(&Reply::new(250, "2.0.0", "Ok: queued as msg_1"), out)
            }
        };
        self.fulfil(next, out);
    }
}

fn plain() -> Rules {
    Rules {
        hostname: "mail.example".into(),
        starttls: true,
        auth: false,
        known: None,
        normalize_line_ends: false,
    }
}

fn encrypted() -> Rules {
    Rules { starttls: false, auth: true, ..plain() }
}

const ENVELOPE: &str = "MAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\n";

#[test]
fn ehlo_offers_what_there_is_and_auth_only_with_tls() {
    let mut client = Client::new(plain());
    let said = client.send("EHLO c\r\n");
    for keyword in [
        "PIPELINING",
        "SIZE 26214400",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        "LIMITS MAILMAX=1000 RCPTMAX=1000",
        "STARTTLS",
    ] {
        assert!(said.contains(keyword), "{keyword}: {said}");
    }
    assert!(!said.contains("AUTH"), "{said}");
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("538 5.7.11 "));
    assert!(client.send("MAIL FROM:<a@a.example>\r\n").starts_with("530 5.7.0 "));
    assert_eq!(client.send("STARTTLS\r\n"), "220 2.0.0 go ahead\r\n");
    // Everything said in clear is forgotten.
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("503 5.5.1 "));
    let said = client.send("EHLO c\r\n");
    assert!(said.contains("250 AUTH PLAIN LOGIN") && !said.contains("STARTTLS"), "{said}");
}

#[test]
fn both_ways_to_log_in_and_what_goes_wrong() {
    let login = |lines: &[&str]| {
        let mut client = Client::new(encrypted());
        client.send("EHLO c\r\n");
        lines.iter().map(|line| client.send(line)).last().unwrap()
    };
    assert!(login(&["AUTH PLAIN\r\n", "AHVzZXIAcmlnaHQ=\r\n"]).starts_with("235 2.7.0"));
    assert!(login(&["AUTH LOGIN\r\n", "dXNlcg==\r\n", "cmlnaHQ=\r\n"]).starts_with("235 2.7.0"));
    assert!(login(&["AUTH LOGIN dXNlcg==\r\n", "cmlnaHQ=\r\n"]).starts_with("235 2.7.0"));
    assert!(login(&["AUTH LOGIN dXNlcg==\r\n", "d3Jvbmc=\r\n"]).starts_with("535 5.7.8"));
    assert!(login(&["AUTH PLAIN\r\n", "*\r\n"]).starts_with("501 5.7.0"));
    assert!(login(&["AUTH PLAIN\r\n", "!\r\n"]).starts_with("501 5.5.2"));
    assert!(login(&["AUTH CRAM-MD5\r\n"]).starts_with("504 5.5.4"));
    // A command instead of a response is a response that is none.
    assert!(login(&["AUTH PLAIN\r\n", "QUIT\r\n"]).starts_with("501 "));
    let mut client = Client::logged_in();
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("503 5.5.1"));
}

#[test]
fn every_recipient_of_every_message_of_a_session_is_kept() {
    let mut client = Client::logged_in();
    client.send("MAIL FROM:<ann@a.example> SIZE=100 ENVID=x\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<c@c.example>\r\n");
    client.send("DATA\r\n");
    client.send("Subject: 1\r\n\r\n..dot\r\n.\r\n");
    client.send("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<d@d.example>\r\n");
    client.send("BDAT 10\r\n0123\r\n.\r\n\rBDAT 1 LAST\r\n\n");
    assert!(client.said.ends_with("250 2.0.0 Ok: queued as msg_1\r\n"), "{}", client.said);
    let [first, second] = client.messages.as_slice() else { panic!("{}", client.said) };
    assert_eq!(first.recipients, ["b@b.example", "c@c.example"]);
    assert_eq!(first.content.as_ref(), b"Subject: 1\r\n\r\n.dot\r\n");
    assert_eq!(first.envelope_id.as_deref(), Some("x"));
    assert_eq!(second.sender, ReversePath::Null);
    assert_eq!(second.content.as_ref(), b"0123\r\n.\r\n\r\n");
}

#[test]
fn bytes_behind_a_command_that_ends_a_group_are_never_run() {
    for text in
        ["STARTTLS\r\nMAIL FROM:<evil@a.example>\r\n", "STARTTLS\r\nx", "EHLO c\r\nNOOP\r\n"]
    {
        let mut client = Client::new(plain());
        client.send("EHLO c\r\n");
        assert!(client.send(text).starts_with("503 5.5.0 "), "{text}");
        assert!(!client.open, "{text}");
    }
    let mut client = Client::logged_in();
    client.send(ENVELOPE);
    client.send("DATA\r\nSubject: x\r\n\r\n.\r\n");
    assert!(!client.open && client.messages.is_empty());
}

#[test]
fn only_crlf_dot_crlf_ends_a_message() {
    // Each of these ends the data for some server; here each is content, and content with a bare CR
    // or LF is refused.
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n.\r\r\n",
        "\n\r.\r\n",
        "\r\n\x00.\r\n",
    ];
    for end in ends {
        let smuggled =
            "MAIL FROM:<evil@a.example>\r\nRCPT TO:<v@v.example>\r\nDATA\r\nSubject: s\r\n\r\n";
        let text = format!("Subject: x\r\n\r\nbody{end}{smuggled}more\r\n.\r\n");
        let mut client = Client::logged_in();
        client.send(ENVELOPE);
        client.send("DATA\r\n");
        // In pieces of every size, for what a boundary might change.
        for piece in text.as_bytes().chunks(1 + end.len()) {
            client.send_bytes(piece);
        }
        assert!(client.messages.len() <= 1, "{end:?}");
        if end.replace("\r\n", "").contains(['\r', '\n']) {
            assert!(client.said.contains("554 5.6.0 "), "{end:?}: {}", client.said);
            assert!(client.messages.is_empty(), "{end:?}");
        }
        assert!(client.messages.iter().all(|m| m.recipients == ["bob@b.example"]), "{end:?}");
        // After a refusal nothing of the transaction is left.
        assert!(client.send("RCPT TO:<x@x.example>\r\n").starts_with("503 "), "{end:?}");
    }
}

#[test]
fn chunks_are_content_whatever_is_in_them() {
    let mut client = Client::logged_in();
    client.send(ENVELOPE);
    let inner = "\r\n.\r\nQUIT\r\nMAIL FROM:<evil@a.example>\r\n";
    client.send(&format!("BDAT {}\r\n{inner}", inner.len()));
    assert!(client.send("DATA\r\n").starts_with("503 5.5.1"));
    assert!(client.send("RCPT TO:<late@b.example>\r\n").starts_with("503 5.5.1"));
    client.send("BDAT 0 LAST\r\n");
    assert_eq!(client.messages[0].content.as_ref(), inner.as_bytes());
    // A chunk nobody asked for is not read as commands, and what follows it is the next command.
    let mut client = Client::logged_in();
    let said =
        client.send("MAIL FROM:<a@a.example> SIZE=99999999\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    let codes: Vec<&str> = said.lines().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["552 5.3.4", "503 5.5.1", "250 2.0.0"], "{said}");
    assert!(client.open && client.messages.is_empty());
    assert!(client.send("BDAT 9999999999\r\n").starts_with("552 5.3.4 ") && !client.open);
    // From somebody who has not logged in nothing is read for nothing.
    let mut stranger = Client::new(encrypted());
    stranger.send("EHLO c\r\n");
    assert!(stranger.send("BDAT 6\r\nQUIT\r\n").starts_with("503 5.5.1") && !stranger.open);
    // Bare line ends are refused here too.
    let mut client = Client::logged_in();
    client.send(ENVELOPE);
    assert!(client.send("BDAT 4 LAST\r\na\nb\n").starts_with("554 5.6.0"));
    assert!(client.open && client.messages.is_empty());
}

#[test]
fn who_is_known_by_address_may_log_in_all_the_same() {
    let address = Identity { authorization: "Bearer address".into(), ..identity() };
    let mut client = Client::new(Rules { known: Some(address), ..encrypted() });
    assert!(client.send("EHLO c\r\n").contains("AUTH PLAIN LOGIN"));
    let mail = format!("{ENVELOPE}BDAT 4 LAST\r\nhi\r\n");
    client.send(&mail);
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("235 "));
    client.send(&mail);
    let who: Vec<_> = client.messages.iter().map(|m| m.identity.authorization.as_ref()).collect();
    assert_eq!(who, ["Bearer address", identity().authorization.as_ref()]);
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("503 5.5.1 "));
    // A login that fails is no way to go on under the address.
    let mut client = Client::new(Rules { known: Some(identity()), ..encrypted() });
    client.send("EHLO c\r\n");
    client.send("AUTH PLAIN AHVzZXIAd3Jvbmc=\r\n");
    assert!(client.send("MAIL FROM:<ann@a.example>\r\n").starts_with("530 "));
    let mut client = Client::new(Rules { known: Some(identity()), ..plain() });
    assert!(!client.send("EHLO c\r\n").contains("AUTH"));
    assert!(client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n").starts_with("538 5.7.11 "));
}

#[test]
fn limits_have_their_replies() {
    let client = |settings: &[(&str, &str)]| {
        let mut client = Client::with(encrypted(), settings);
        client.send("EHLO c\r\n");
        client.send("AUTH PLAIN AHVzZXIAcmlnaHQ=\r\n");
        client
    };
    let mut few = client(&[("smtp.recipients_max", "1")]);
    few.send(ENVELOPE);
    assert!(few.send("RCPT TO:<c@c.example>\r\n").starts_with("452 4.5.3 "));
    let mut small = client(&[("smtp.message_octets_max", "1024")]);
    assert!(small.send("MAIL FROM:<ann@a.example> SIZE=1025\r\n").starts_with("552 5.3.4 "));
    small.send(ENVELOPE);
    small.send("DATA\r\n");
    small.send(&"x".repeat(1025));
    assert!(small.send("\r\n.\r\n").starts_with("552 5.3.4 "));
    assert!(small.open && small.send("NOOP\r\n").starts_with("250 "));
    small.send(ENVELOPE);
    small.send("DATA\r\n");
    // Data that does not end is not read for ever.
    let endless: String = "x".repeat(1000) + "\r\n";
    let pieces = (0..10)
        .take_while(|_| {
            small.send(&endless);
            small.open
        })
        .count();
    assert!(!small.open && pieces < 5);
    let mut chunks = client(&[("smtp.message_octets_max", "1024")]);
    chunks.send(ENVELOPE);
    assert!(chunks.send("BDAT 9999999999 LAST\r\n").starts_with("552 5.3.4 "));
    assert!(!chunks.open);
    let mut long = client(&[("smtp.line_octets_max", "998")]);
    long.send(ENVELOPE);
    long.send("DATA\r\n");
    assert!(long.send(&format!("{}\r\n.\r\n", "x".repeat(999))).starts_with("554 5.6.0 "));
    let mut wrong = client(&[("smtp.errors_max", "3")]);
    wrong.send("A\r\nB\r\n");
    assert!(wrong.open);
    let last = wrong.send("C\r\n");
    assert!(last.contains("421 4.7.0 ") && !wrong.open, "{last}");
    let mut busy = client(&[("smtp.commands_max", "10")]);
    let said = busy.send(&"NOOP\r\n".repeat(11));
    assert!(said.ends_with("connect again\r\n") && said.contains("421 4.7.0"), "{said}");
    let mut many = client(&[("smtp.messages_per_session_max", "1")]);
    many.send("MAIL FROM:<ann@a.example>\r\nRSET\r\n");
    assert!(many.send("MAIL FROM:<ann@a.example>\r\n").starts_with("452 4.5.3 "));
}

#[test]
fn senders_are_those_the_credential_may_use() {
    let mut client = Client::logged_in();
    assert!(client.send("MAIL FROM:<x@else.example>\r\n").starts_with("550 5.7.1 "));
    assert!(client.send("MAIL FROM:<ann@A.example>\r\n").starts_with("250 2.1.0 "));
    assert!(client.send("MAIL FROM:<ann@a.example>\r\n").starts_with("503 5.5.1 "));
    assert!(client.send("RCPT TO:<бob@b.example>\r\n").starts_with("553 5.6.7 "));
    assert!(client.send("DATA\r\n").starts_with("554 5.5.1 "));
    client.send("RSET\r\n");
    assert!(client.send("MAIL FROM:<smtp_0123>\r\n").starts_with("250 2.1.0 "));
}

#[test]
fn lines_that_are_none_end_the_conversation_or_the_login() {
    for (bytes, open) in [(&b"NOOP\n"[..], false), (b"NO\0OP\r\n", false), (&[b'x'; 3000], false)] {
        let mut client = Client::logged_in();
        assert!(client.send_bytes(bytes).starts_with("500 5.5."), "{bytes:?}");
        assert_eq!(client.open, open);
    }
    let mut client = Client::new(encrypted());
    client.send("EHLO c\r\nAUTH LOGIN\r\n");
    let mut client = Client::new(encrypted());
    client.send("EHLO c\r\n");
    client.send("AUTH LOGIN\r\n");
    client.send_bytes(b"dX\xff\r\n");
    assert!(client.send("MAIL FROM:<ann@a.example>\r\n").starts_with("530 "));
}
