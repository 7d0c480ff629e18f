//! The table itself. Constant data.

use super::Kind::{Choice, Count, Octets, Switch, Time};
use super::{DAY, Definition, HOUR, MINUTE, SECOND};

macro_rules! settings {
    ($($constant:ident = $name:literal, $kind:expr, $default:expr, $min:expr, $max:expr, $text:literal;)*) => {
        $(#[doc = $text]
        pub const $constant: Definition = Definition {
            name: $name,
            kind: $kind,
            default: $default,
            min: $min,
            max: $max,
            description: $text,
        };)*

        /// Every setting, by name.
        pub const ALL: &[Definition] = &[$($constant,)*];
    };
}

settings! {
    AMS_BATCH_ITEMS = "ams.batch_items", Count, 20_000, 1, 20_000,
        "opens, clicks and unsubscriptions that AMS is told in one call";
    AMS_GIVE_UP = "ams.give_up", Time, 30 * DAY, SECOND, 400 * DAY,
        "how long AMS may refuse what happened in a campaign before it is no longer told";
    AMS_INTERVAL = "ams.interval", Time, 30 * SECOND, 100, HOUR,
        "how often AMS is told what recipients did";
    AMS_RETRY_INTERVAL = "ams.retry_interval", Time, MINUTE, 100, HOUR,
        "how soon AMS is asked again about a campaign it refused; later and later up to an hour";
    AUDIT_RETENTION = "audit.retention", Time, 400 * DAY, DAY, 10_000 * DAY,
        "how long entries of the audit log are kept";
    AUTOSTOP_BOUNCE_PERCENT = "autostop.bounce_percent", Count, 10, 0, 100,
        "a campaign is held when more of its mail than this was refused, in percent of the mail that ended within autostop.window; 0: for no share";
    AUTOSTOP_ENABLED = "autostop.enabled", Switch, 0, 0, 1,
        "hold campaigns whose mail goes badly, and stop their mailings in AMS; once in the life of a campaign";
    AUTOSTOP_INTERVAL = "autostop.interval", Time, 30 * SECOND, 100, HOUR,
        "how often campaigns are looked at";
    AUTOSTOP_MINIMUM = "autostop.minimum", Count, 100, 1, 1_000_000,
        "mail of a campaign that must have ended within autostop.window before it is judged";
    AUTOSTOP_RATE_LIMITED = "autostop.rate_limited", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this because of too much mail; 0: at no number";
    AUTOSTOP_SPAM = "autostop.spam", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this as spam or for the sender's reputation; 0: at no number";
    AUTOSTOP_UNKNOWN_USER = "autostop.unknown_user", Count, 0, 0, 1_000_000,
        "a campaign is held at more refusals than this because there is no such mailbox; 0: at no number";
    AUTOSTOP_WINDOW = "autostop.window", Time, HOUR, MINUTE, DAY,
        "the time over which campaigns are judged";
    CONCURRENCY = "concurrency", Count, 256, 1, 100_000,
        "attempts of one core under way at once";
    CONNECTION_AGE = "connection.age", Time, 5 * MINUTE, 0, DAY,
        "a connection older than this takes no further mail";
    CONNECTION_IDLE = "connection.idle", Time, 10 * SECOND, 0, HOUR,
        "how long a connection is kept for the next mail";
    CONNECTION_MESSAGES = "connection.messages", Count, 100, 1, 1_000_000,
        "mail over one connection";
    CONNECTION_WAIT = "connection.wait", Time, MINUTE, 0, HOUR,
        "how long a mail waits for a connection to its server to become free before it is deferred";
    CONTENT_RETENTION = "content.retention", Time, 72 * HOUR, 0, 10_000 * DAY,
        "how long contents are kept after acceptance, once the last delivery has ended";
    DAILY_LIMIT = "daily.limit", Count, 0, 0, 1_000_000_000_000,
        "recipients per day over all keys; 0: no limit";
    DAILY_LIMIT_PER_KEY = "daily.limit_per_key", Count, 0, 0, 1_000_000_000_000,
        "recipients per day of a key or SMTP credential without a daily limit of its own; 0: no limit";
    DASHBOARD_LOGIN_WINDOW = "dashboard.login_window", Time, 15 * MINUTE, SECOND, DAY,
        "the time in which logins to the dashboard are counted";
    DASHBOARD_LOGINS_PER_ADDRESS = "dashboard.logins_per_address", Count, 20, 1, 1_000_000,
        "logins to the dashboard of one client address within dashboard.login_window, failed ones or not";
    DASHBOARD_LOGINS_PER_USER = "dashboard.logins_per_user", Count, 20, 1, 1_000_000,
        "logins to the dashboard under one user name within dashboard.login_window, failed ones or not";
    DASHBOARD_SESSION_TIME = "dashboard.session_time", Time, 12 * HOUR, MINUTE, 30 * DAY,
        "how long a login to the dashboard lasts";
    DESTINATION_CONNECTIONS = "destination.connections", Count, 20, 1, 10_000,
        "connections of one core to one server at once";
    DESTINATION_DEAD = "destination.dead", Time, 30 * SECOND, 0, DAY,
        "how long a server that could not be reached is not tried again; its mail is deferred at once. 0s: every mail tries";
    GRPC_LIMIT_KEY_PER_MINUTE = "grpc.limit_key_per_minute", Count, 0, 0, 10_000_000,
        "calls of one API key per minute straight to the core's gRPC port; 0: no limit";
    IDEMPOTENCY_TTL = "idempotency.ttl", Time, 72 * HOUR, HOUR, 30 * DAY,
        "how long answers are kept under their idempotency keys";
    INBOX_KEEP = "inbox.keep", Count, 10_000, 0, 10_000_000,
        "mails kept in the local inbox";
    LANE_CONCURRENCY = "lane.concurrency", Count, 20, 1, 100_000,
        "attempts of one core at once to one destination";
    MAX_AGE = "max.age", Time, 3 * DAY, 100, 400 * DAY,
        "how long a message is tried when it does not say itself";
    MESSAGE_BYTES = "message.bytes", Octets, 25 << 20, 1024, 100 << 20,
        "the largest message";
    MESSAGE_RETENTION = "message.retention", Time, 400 * DAY, 0, 10_000 * DAY,
        "how long a message is kept with its recipients and events after its last delivery ended; 0s: for ever";
    NOTICE_AFTER = "notice.after", Time, 2 * MINUTE, 0, HOUR,
        "how long something must be wrong before operators are told, and well again before they are told so";
    NOTICE_BACKUP_AGE = "notice.backup_age", Time, 26 * HOUR, 0, 400 * DAY,
        "operators are told when the newest backup is older than this; 0ms: never";
    NOTICE_CERTIFICATE_LEFT = "notice.certificate_left", Time, 14 * DAY, 0, 400 * DAY,
        "operators are told when a certificate ends sooner than this";
    NOTICE_DISK_FREE = "notice.disk_free", Octets, 2 << 30, 0, 1 << 50,
        "operators are told when less than this is free on the disk of the store; 0: never";
    NOTICE_ERROR_PERCENT = "notice.error_percent", Count, 10, 0, 100,
        "operators are told when more than this of the mail that ended within 10 minutes has failed for good, in percent; 0: never";
    NOTICE_INTERVAL = "notice.interval", Time, 30 * SECOND, 100, HOUR,
        "how often is looked whether something is wrong";
    NOTICE_REPEAT = "notice.repeat", Time, 6 * HOUR, MINUTE, 400 * DAY,
        "how soon operators are told again of what is still wrong";
    POSTAL_ASK_AFTER = "postal.ask_after", Time, HOUR, 100, 30 * DAY,
        "Postal is asked about mail of which it has reported no end for so long, and again after as long";
    POSTAL_BREAKER_FAILURES = "postal.breaker_failures", Count, 5, 1, 1000,
        "calls of Postal in a row that fail before mail for it waits";
    POSTAL_BREAKER_OPEN_TIME = "postal.breaker_open_time", Time, 30 * SECOND, 100, HOUR,
        "how long mail for Postal waits before one call tries again; twice as long after each that fails";
    POSTAL_BREAKER_OPEN_TIME_MAX = "postal.breaker_open_time_max", Time, 5 * MINUTE, 100, DAY,
        "the longest that mail for Postal waits before one call tries again";
    POSTAL_ORPHAN_TIME = "postal.orphan_time", Time, HOUR, 100, 30 * DAY,
        "how long a report of Postal about unknown mail is kept";
    POSTAL_SILENCE_MAX = "postal.silence_max", Time, 3 * DAY, 100, 400 * DAY,
        "mail at Postal is given up when Postal knows of no end by then";
    POSTAL_TIMEOUT = "postal.timeout", Time, 30 * SECOND, 100, 10 * MINUTE,
        "how long one call of Postal may take; a connection has 5 s";
    POSTAL_UNKNOWN_WAIT = "postal.unknown_wait", Time, 15 * MINUTE, 100, 30 * DAY,
        "how long a report is waited for when it is not known whether Postal took a mail, before it is handed over again";
    REST_BODY_MAX = "rest.body_max", Octets, 40 << 20, 64, 1 << 30,
        "the largest body of a request, counted after unpacking";
    REST_BULK_TIMEOUT = "rest.bulk_timeout", Time, 10 * MINUTE, 10, DAY,
        "how long one NDJSON batch may take";
    REST_LIMIT_CONCURRENT = "rest.limit_concurrent", Count, 256, 1, 1_000_000,
        "requests under way of one API key, or of one address without a key, at one gateway";
    REST_LIMIT_FAILURES_PER_MINUTE = "rest.limit_failures_per_minute", Count, 60, 1, 10_000_000,
        "refused credentials of one address per minute before all its requests to one gateway are refused";
    REST_LIMIT_IP_PER_MINUTE = "rest.limit_ip_per_minute", Count, 1200, 1, 10_000_000,
        "requests without an API key of one address per minute to one gateway";
    REST_LIMIT_KEY_PER_MINUTE = "rest.limit_key_per_minute", Count, 6000, 1, 10_000_000,
        "requests of one API key per minute to one gateway";
    REST_LIMIT_WEBHOOKS_PER_MINUTE = "rest.limit_webhooks_per_minute", Count, 60_000, 1, 10_000_000,
        "webhooks of Postal from one address per minute to one gateway";
    REST_TIMEOUT = "rest.timeout", Time, 30 * SECOND, 10, HOUR,
        "how long one request may take; waiting for a mail of the inbox may take 60 s all the same";
    RPC_TIMEOUT = "rpc.timeout", Time, 30 * SECOND, 100, HOUR,
        "how long one call of the core may take; waiting for a mail of the inbox may take 60 s all the same";
    SMTP_AUTH_FAILURE_WINDOW = "smtp.auth_failure_window", Time, 15 * MINUTE, SECOND, DAY,
        "the time in which failed logins are counted";
    SMTP_AUTH_FAILURES_PER_ADDRESS = "smtp.auth_failures_per_address", Count, 20, 1, 1_000_000,
        "failed logins of one client address within smtp.auth_failure_window before it is locked out";
    SMTP_AUTH_FAILURES_PER_USER = "smtp.auth_failures_per_user", Count, 50, 1, 1_000_000,
        "failed logins under one user name within smtp.auth_failure_window before it is locked out";
    SMTP_COMMAND_TIME_MAX = "smtp.command_time_max", Time, 5 * MINUTE, SECOND, HOUR,
        "how long a client may take for one command";
    SMTP_COMMANDS_MAX = "smtp.commands_max", Count, 10_000, 10, 10_000_000,
        "commands of one session";
    SMTP_CONNECTIONS_MAX = "smtp.connections_max", Count, 10_000, 1, 1_000_000,
        "open connections of one gateway";
    SMTP_CONNECTIONS_PER_ADDRESS_MAX = "smtp.connections_per_address_max", Count, 500, 1, 1_000_000,
        "open connections of one client address to one gateway";
    SMTP_CONTENT_OCTETS_MAX = "smtp.content_octets_max", Octets, 512 << 20, 1 << 20, 1 << 40,
        "content that one gateway holds in memory, of all sessions together";
    SMTP_CREDENTIAL_MESSAGES = "smtp.credential_messages", Count, 0, 0, 1_000_000_000,
        "messages per smtp.credential_window of a credential without a rate_limit of its own; 0: no limit";
    SMTP_CREDENTIAL_RECIPIENTS = "smtp.credential_recipients", Count, 0, 0, 1_000_000_000,
        "recipients per smtp.credential_window of one credential; 0: no limit";
    SMTP_CREDENTIAL_WINDOW = "smtp.credential_window", Time, HOUR, SECOND, DAY,
        "the time in which the messages and recipients of a credential are counted";
    SMTP_DATA_TIME_MAX = "smtp.data_time_max", Time, 10 * MINUTE, SECOND, 6 * HOUR,
        "how long a client may take for one message";
    SMTP_ERRORS_MAX = "smtp.errors_max", Count, 20, 1, 10_000,
        "refused commands of one session before it is closed";
    SMTP_LINE_OCTETS_MAX = "smtp.line_octets_max", Octets, 65_536, 998, 40 << 20,
        "the longest line of a message";
    SMTP_MESSAGE_OCTETS_MAX = "smtp.message_octets_max", Octets, 25 << 20, 1024, 100 << 20,
        "the largest message; message.bytes holds besides";
    SMTP_MESSAGES_PER_SESSION_MAX = "smtp.messages_per_session_max", Count, 1000, 1, 1_000_000,
        "messages of one session";
    SMTP_RECIPIENTS_MAX = "smtp.recipients_max", Count, 1000, 1, 1000,
        "recipients of one message";
    SMTP_SESSION_TIME_MAX = "smtp.session_time_max", Time, HOUR, SECOND, DAY,
        "how long a session may last";
    SMTP_TIMEOUT_CONNECT = "smtp.timeout_connect", Time, 30 * SECOND, 10, HOUR,
        "sending: how long connecting to one address of a server may take";
    SMTP_TIMEOUT_DATA_BLOCK = "smtp.timeout_data_block", Time, 3 * MINUTE, 10, HOUR,
        "sending: how long a server may take for each 64 KiB of a mail";
    SMTP_TIMEOUT_DATA_DONE = "smtp.timeout_data_done", Time, 10 * MINUTE, 10, 6 * HOUR,
        "sending: how long a server may take for its reply to the final dot";
    SMTP_TIMEOUT_DATA_INIT = "smtp.timeout_data_init", Time, 2 * MINUTE, 10, HOUR,
        "sending: how long a server may take for its reply to DATA";
    SMTP_TIMEOUT_EHLO = "smtp.timeout_ehlo", Time, 5 * MINUTE, 10, HOUR,
        "sending: how long a server may take for its reply to EHLO, STARTTLS or AUTH";
    SMTP_TIMEOUT_GREETING = "smtp.timeout_greeting", Time, 5 * MINUTE, 10, HOUR,
        "sending: how long a server may take for its greeting, or for the TLS handshake";
    SMTP_TIMEOUT_MAIL = "smtp.timeout_mail", Time, 5 * MINUTE, 10, HOUR,
        "sending: how long a server may take for its reply to MAIL or RSET";
    SMTP_TIMEOUT_RCPT = "smtp.timeout_rcpt", Time, 5 * MINUTE, 10, HOUR,
        "sending: how long a server may take for its reply to RCPT";
    SMTP_TIMEOUT_REACH = "smtp.timeout_reach", Time, 5 * MINUTE, 0, HOUR,
        "sending: after this time no further address or server of a mail is tried";
    TRACKING_CLICKS = "tracking.clicks", Switch, 0, 0, 1,
        "rewrite the links of html parts, where neither message nor key says";
    TRACKING_FOOTER = "tracking.footer", Switch, 0, 0, 1,
        "add a footer with an unsubscribe link to html parts, where neither message nor key says";
    TRACKING_HIT_RETENTION = "tracking.hit_retention", Time, 30 * DAY, HOUR, 400 * DAY,
        "how long the core knows a hit again that an edge reports twice";
    TRACKING_HONEYPOT = "tracking.honeypot", Switch, 0, 0, 1,
        "add a link that people cannot see to html parts whose links are rewritten";
    TRACKING_JOURNAL_OCTETS_MAX = "tracking.journal_octets_max", Octets, 1 << 30, 1 << 20, 1 << 40,
        "the size of the journal of one edge above which hits are answered but not recorded";
    TRACKING_LINKS_MAX = "tracking.links_max", Count, 1000, 1, 65_000,
        "links of one mail that are rewritten; those behind them stay as they are";
    TRACKING_OPENS = "tracking.opens", Switch, 0, 0, 1,
        "add a pixel to html parts, where neither message nor key says";
    TRACKING_REQUESTS_MAX = "tracking.requests_max", Count, 0, 0, 1_000_000_000,
        "requests per tracking.requests_window that one edge answers, of all clients; 0: no limit";
    TRACKING_REQUESTS_PER_ADDRESS = "tracking.requests_per_address", Count, 6000, 0, 1_000_000_000,
        "requests per tracking.requests_window of one client address; 0: no limit";
    TRACKING_REQUESTS_WINDOW = "tracking.requests_window", Time, MINUTE, SECOND, HOUR,
        "the time in which requests to an edge are counted";
    TRACKING_SCANNER_WINDOW = "tracking.scanner_window", Time, 5 * SECOND, 0, HOUR,
        "a hit sooner than this after the mail was accepted is taken for a security scanner's; 0ms: none is";
    TRACKING_SHIP_HITS_MAX = "tracking.ship_hits_max", Count, 500, 1, 1000,
        "hits that an edge reports to the core in one batch";
    TRACKING_SHIP_INTERVAL = "tracking.ship_interval", Time, SECOND, 10, MINUTE,
        "how long a hit may wait for others before an edge reports it";
    TRACKING_SYNC_BEFORE_ANSWER = "tracking.sync_before_answer", Switch, 0, 0, 1,
        "an edge answers only when the hit is on stable storage";
    TRACKING_SYNC_INTERVAL = "tracking.sync_interval", Time, 50, 1, SECOND,
        "the longest time until what an edge has journaled is on stable storage";
    TRACKING_TEXT_CLICKS = "tracking.text_clicks", Switch, 0, 0, 1,
        "rewrite the links of text parts, where neither message nor key says";
    TRACKING_UNSUBSCRIBE_HEADERS = "tracking.unsubscribe_headers", Switch, 1, 0, 1,
        "add the header fields of RFC 8058 to mail of a campaign that has none, where neither message nor key says";
    TRANSPORT = "transport", Choice(&["sink", "relay", "mx", "postal"]), 0, 0, 3,
        "where mail goes whose sender domain has no transport of its own, from the next attempt on";
    WEBHOOKS_DISABLE_AFTER = "webhooks.disable_after", Time, 5 * DAY, SECOND, 400 * DAY,
        "an endpoint at which every delivery has failed for this long is disabled";
    WEBHOOKS_RETENTION = "webhooks.retention", Time, 30 * DAY, HOUR, 400 * DAY,
        "how long deliveries that are over are kept with their tries";
    WEBHOOKS_RETRY_PERCENT = "webhooks.retry_percent", Count, 100, 0, 1000,
        "pauses between the tries of a delivery, in percent of the schedule (5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h)";
    WEBHOOKS_TIMEOUT = "webhooks.timeout", Time, 15 * SECOND, SECOND, MINUTE,
        "how long an endpoint may take for its answer";
}
