//! What holds of a session whatever a client sends.

use super::*;

/// Bytes in two pieces, in clear or encrypted: every reply is well formed, no message is taken without
/// a login, a recipient or its line ends, and what follows the end of the session is not read.
#[test]
fn fuzz_session() {
    postern_fuzz::check!("session", |input| {
        let (way, rest) = postern_fuzz::choice(input);
        let (pieces, _) = postern_fuzz::cut(rest);
        let mut client = match way % 3 {
            0 => Client::new(plain()),
            1 => Client::new(encrypted()),
            _ => Client::logged_in(),
        };
        for piece in pieces {
            client.send_bytes(piece);
        }
        assert!(client.said.is_empty() || client.said.ends_with("\r\n"));
        for line in client.said.lines() {
            assert!(line.len() <= 510, "{line}");
            let code: u16 = line[..3].parse().unwrap();
            assert!((200..600).contains(&code));
            let plain = matches!(code, 334 | 354)
                || line.starts_with("250-")
                || line.contains("AUTH PLAIN LOGIN")
                || line.contains("STARTTLS")
                || code == 214
                || line == "250 mail.example"
                || line.starts_with("250 LIMITS");
            assert!(plain || line[4..6] == format!("{}.", code / 100), "{line}");
        }
        for message in &client.messages {
            assert_eq!(message.identity.id.as_ref(), "smc_1");
            assert!(!message.recipients.is_empty() && way % 3 != 0);
            for recipient in &message.recipients {
                let same = postern_smtp_wire::address::parse(recipient);
                assert_eq!(same.as_ref(), Ok(recipient));
            }
            let content = &message.content;
            let crlf = content.windows(2).filter(|two| two == b"\r\n").count();
            let ends = content.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
            assert_eq!(ends, 2 * crlf);
        }
    });
}
