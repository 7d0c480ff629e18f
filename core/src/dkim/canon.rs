//! The `relaxed` canonical forms of header fields and bodies (RFC 6376 §3.4.2, §3.4.4).

use sha2::{Digest, Sha256};

/// Appends `name:value` and CRLF; `value` may be folded.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
    out.push(b':');
    let start = out.len();
    let mut gap = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => gap = out.len() > start,
            other => {
                if std::mem::take(&mut gap) {
                    out.push(b' ');
                }
                out.push(*other);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The SHA-256 of the canonical body, without copying the body.
pub(super) fn body_hash(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Empty lines count only when a line with content follows.
    let mut empty_lines = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let kept = line.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
        if kept == 0 {
            empty_lines += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            hash.update(b"\r\n");
        }
        line_without_runs(&mut hash, &line[..kept]);
        hash.update(b"\r\n");
    }
    hash.finalize().into()
}

/// Feeds the line with each run of blanks as one space.
fn line_without_runs(hash: &mut Sha256, line: &[u8]) {
    let mut from = 0;
    let mut at = 0;
    while at < line.len() {
        let run = line[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if run > 1 || (run == 1 && line[at] == b'\t') {
            hash.update(&line[from..at]);
            hash.update(b" ");
            from = at + run;
        }
        at += run.max(1);
    }
    hash.update(&line[from..]);
}
