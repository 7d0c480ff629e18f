//! Micro-benchmarks of what a server and a client parse; see `loadtest/instructions`.
//!
//! Pure; keeps nothing.

#[path = "../../loadtest/harness.rs"]
mod harness;

use std::hint::black_box;

use postern_smtp_wire::data::{Unstuffer, stuff};
use postern_smtp_wire::line::frame;
use postern_smtp_wire::reply::ReplyReader;
use postern_smtp_wire::request::parse;

use crate::harness::Case;

fn main() {
    let mail = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.\r\n".repeat(64);
    let wire = [mail.as_bytes(), b".\r\n"].concat();
    let cases: Vec<Case> = vec![
        (
            "smtp-parse-commands",
            Box::new(|| {
                for line in [
                    "EHLO mail.example.com",
                    "MAIL FROM:<bounces+1234@example.com> SIZE=4711 BODY=8BITMIME",
                    "RCPT TO:<ann.reader@example.net>",
                    "DATA",
                ] {
                    black_box(parse(black_box(line)).is_ok());
                }
            }),
        ),
        (
            "smtp-frame-line",
            Box::new(|| {
                black_box(frame(black_box(b"RCPT TO:<ann.reader@example.net>\r\nDATA\r\n"), 512));
            }),
        ),
        (
            "smtp-unstuff-4k",
            Box::new(move || {
                let mut out = Vec::with_capacity(wire.len());
                black_box(Unstuffer::default().feed(black_box(&wire), &mut out));
                black_box(out);
            }),
        ),
        (
            "smtp-stuff-4k",
            Box::new(move || {
                black_box(stuff(black_box(mail.as_bytes())));
            }),
        ),
        (
            "smtp-parse-replies",
            Box::new(|| {
                let mut reader = ReplyReader::default();
                let mut input: &[u8] = b"250-mx.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
                    250 SIZE 52428800\r\n250 2.1.0 Ok\r\n550 5.1.1 <ann@example.net>: no such user\r\n";
                while let Ok(Some(reply)) = reader.feed(&mut input) {
                    black_box(reply);
                }
            }),
        ),
    ];
    harness::run(&cases);
}
