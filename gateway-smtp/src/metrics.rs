//! What the gateway counts: replies, logins and refusals by a limit. Labels are words of this program,
//! never of a client.
//!
//! Counters are of this process and begin at zero after a crash.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Named = Family<[(&'static str, &'static str); 1], Counter>;

/// What the gateway counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    replies: Named,
    logins: Named,
    rate_limited: Named,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Replies by the class of their code";
        registry.register("postern_smtp_replies", help, self.replies.clone());
        let help = "Logins by what came of them";
        registry.register("postern_smtp_logins", help, self.logins.clone());
        let help = "Refusals by the limit that was used up";
        registry.register("postern_smtp_rate_limited", help, self.rate_limited.clone());
    }

    /// Counts the replies in what goes out; a reply of many lines once, by its last one.
    pub(crate) fn replied(&self, out: &[u8]) {
        for line in out.split(|octet| *octet == b'\n') {
            let class = match line {
                [b'2', _, _, b' ', ..] => "2xx",
                [b'3', _, _, b' ', ..] => "3xx",
                [b'4', _, _, b' ', ..] => "4xx",
                [b'5', _, _, b' ', ..] => "5xx",
                _ => continue,
            };
            self.replies.get_or_create(&[("class", class)]).inc();
        }
    }

    /// Counts a login.
    pub(crate) fn login(&self, result: &'static str) {
        self.logins.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a refusal by a limit.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.rate_limited.get_or_create(&[("limit", limit)]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_many_lines_is_one() {
        let metrics = Metrics::default();
        metrics.replied(b"250-mx.test\r\n250-SIZE 100\r\n250 HELP\r\n550 5.1.1 no 250 here\r\n");
        metrics.replied(b"354 go on\r\n");
        metrics.replied(b"");
        let count = |class| metrics.replies.get_or_create(&[("class", class)]).get();
        assert_eq!(["2xx", "3xx", "4xx", "5xx"].map(count), [1, 1, 0, 1]);
    }
}
