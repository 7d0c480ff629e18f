//! The table itself. Constant data.

use super::Kind::{
    Address, Addresses, Choice, Count, Foreign, Keys, List, Name, Networks, Password, Path, Secret,
    Switch, Text, Time, Url,
};
use super::{Role, Variable};

const NONE: &[Role] = &[];
const SERVING: &[Role] = &Role::SERVING;
const CORE: &[Role] = &[Role::Core];
const REST: &[Role] = &[Role::Rest];
const SMTP: &[Role] = &[Role::Smtp];
const TRACKER: &[Role] = &[Role::Tracker];
const CORE_REST: &[Role] = &[Role::Core, Role::Rest];
const CORE_SMTP: &[Role] = &[Role::Core, Role::Smtp];
const CORE_TRACKER: &[Role] = &[Role::Core, Role::Tracker];
const REST_SMTP: &[Role] = &[Role::Rest, Role::Smtp];
const REST_TRACKER: &[Role] = &[Role::Rest, Role::Tracker];
const GATEWAYS: &[Role] = &[Role::Rest, Role::Smtp, Role::Tracker];
const TRACED: &[Role] = &[Role::Core, Role::Rest, Role::Smtp];
const ACME: &[Role] = &[Role::Acme];
const DATA: &[Role] = &[Role::Core, Role::Command];
const COMMAND: &[Role] = &[Role::Command];
const COMPOSE: &[Role] = &[Role::Compose];

macro_rules! variables {
    ($($name:literal, $kind:expr, $default:literal, $roles:ident, required by $required:ident, $text:literal;)*) => {
        /// Every variable, in the order of the manual.
        pub const ALL: &[Variable] = &[$(Variable {
            name: $name,
            kind: $kind,
            default: $default,
            roles: $roles,
            required: $required,
            description: $text,
        },)*];
    };
}

variables! {
    "POSTERN_MODE", Choice(&["development", "production"]), "development", SERVING, required by NONE,
        "`production` refuses to start with missing, short or example secrets and with what is for development only; the chapter on production says which";
    "POSTERN_GRPC_LISTEN", Address, "127.0.0.1:50051", CORE, required by NONE,
        "gRPC port of the core";
    "POSTERN_REST_LISTEN", Address, "127.0.0.1:8080", REST, required by NONE,
        "REST gateway, dashboard and inbox";
    "POSTERN_METRICS_LISTEN", Addresses, "127.0.0.1:9464", SERVING, required by NONE,
        "`/livez`, `/readyz` and `/metrics` of each process, without a login, or `off`; several processes on one machine need a port each";
    "POSTERN_BACKUP_STATUS", Path, "", CORE, required by NONE,
        "file that tells when the newest backup was made, for `/metrics` and for notices; without it `last-backup` in POSTERN_DATA, which `postern backup` writes";
    "POSTERN_STALL_TIME", Time, "2m", SERVING, required by NONE,
        "how long a loop may hang before `/livez` fails and names it, and gRPC health says what does not serve";
    "POSTERN_DATA", Path, "./data", DATA, required by NONE,
        "embedded store and generated secrets; the commands find the first API key there";
    "DATABASE_URL", Url, "", CORE, required by NONE,
        "PostgreSQL instead of the embedded store: `postgres://user:password@host/name`";
    "POSTERN_DATABASE_SCHEMA", Text, "", CORE, required by NONE,
        "schema to live in";
    "POSTERN_DATABASE_CONNECTIONS", Count, "16", CORE, required by NONE,
        "pool size";
    "POSTERN_DATABASE_TIMEOUT", Time, "5s", CORE, required by NONE,
        "wait for a connection before answering 503";
    "DATABASE_REPLICA_URL", Url, "", CORE, required by NONE,
        "streaming replica of that PostgreSQL: lists, searches and statistics are read there while it is fresh enough, and from the primary otherwise";
    "POSTERN_REPLICA_LAG_MAX", Time, "5s", CORE, required by NONE,
        "how far behind the replica may be";
    "POSTERN_GATEWAY_TOKEN", Secret, "made by the all-in-one", SERVING, required by SERVING,
        "secret shared by core and gateways, at least 32 visible characters";
    "POSTERN_CORE_URL", Url, "http://127.0.0.1:50051", GATEWAYS, required by NONE,
        "where a gateway alone finds the core";
    "POSTERN_CORE_CONNECT_TIMEOUT", Time, "5s", GATEWAYS, required by NONE,
        "how long a gateway alone tries to connect to the core";
    "POSTERN_TRANSPORT_DOMAINS", List, "", CORE, required by NONE,
        "transports other than the setting `transport` by sender domain: `a.example=relay,b.example=mx`; subdomains are domains of their own";
    "POSTERN_RELAY_URL", Url, "", CORE, required by NONE,
        "`smtp://user:password@host:port?tls=off|opportunistic|required|implicit`";
    "POSTERN_RELAY_CA_FILE", Path, "", CORE, required by NONE,
        "further trusted certificates";
    "POSTERN_HELO_NAME", Name, "localhost", CORE, required by CORE,
        "our name in EHLO";
    "POSTERN_SENDING_ADDRESSES", List, "", CORE, required by NONE,
        "up to 32 IP addresses that mail leaves from, as receivers see them (ours, or those of the smart host or Postal): for the SPF and PTR records that sender domains are shown and checked for";
    "POSTERN_DNS_SERVERS", List, "the system's", CORE, required by NONE,
        "`ip:port`, comma-separated";
    "POSTERN_MX_PORT", Count, "25", CORE, required by NONE,
        "port of recipients' servers";
    "POSTERN_MX_ALLOW_PRIVATE", Switch, "off", CORE, required by NONE,
        "deliver to loopback and private addresses";
    "POSTERN_SENDER_POLICY", Choice(&["any", "registered"]), "any while all mail goes to the sink, else registered", CORE, required by NONE,
        "which sender domains are allowed";
    "POSTERN_SENDER_DOMAINS", List, "", CORE, required by NONE,
        "allowed besides the registered ones";
    "POSTERN_RETRY_DELAYS", List, "1m,5m,15m,30m,1h,2h,4h", CORE, required by NONE,
        "pauses between attempts; the last one repeats";
    "POSTERN_IDEMPOTENCY_REQUIRED", Switch, "off", CORE, required by NONE,
        "sending without an idempotency key is refused, over gRPC, `/v1` and `/api/v1`; SMTP needs none";
    "POSTERN_POSTAL_URL", Url, "", CORE, required by NONE,
        "web address of a Postal that mail is handed to: `https://postal.example.com`";
    "POSTERN_POSTAL_API_KEY", Foreign, "", CORE, required by NONE,
        "an API credential of the mail server in it";
    "POSTERN_POSTAL_API_KEY_FILE", Path, "", CORE, required by NONE,
        "the same from a file";
    "POSTERN_POSTAL_HOST", Text, "the url's", CORE, required by NONE,
        "its `web_hostname`, where the url has another name for it";
    "POSTERN_POSTAL_WEBHOOK_KEY", Text, "", CORE, required by NONE,
        "public keys of its webhooks: PEM, or the DNS record of `postal default-dkim-record`; RSA of 1024 to 4096 bits; each is trusted";
    "POSTERN_POSTAL_WEBHOOK_KEY_FILE", List, "", CORE, required by NONE,
        "the same from files, separated by commas";
    "POSTERN_POSTAL_JWKS_URL", Url, "", CORE, required by NONE,
        "where it publishes them (`/.well-known/jwks.json`): https, or http on this machine";
    "POSTERN_POSTAL_JWKS_INTERVAL", Time, "5m", CORE, required by NONE,
        "how often they are fetched at most";
    "POSTERN_POSTAL_ALLOW_SHA1", Switch, "off", CORE, required by NONE,
        "believe webhooks that carry a SHA-1 signature only, of Postal before 3.2";
    "POSTERN_POSTAL_ENDPOINT", Foreign, "", CORE, required by NONE,
        "16 to 128 letters, digits, `-`, `_` that make `/v1/postal/webhooks/…`";
    "POSTERN_POSTAL_ENDPOINT_ONLY", Switch, "off", CORE, required by NONE,
        "whether `/api/v1/webhook` is closed then";
    "POSTERN_DRAIN", Time, "25s", CORE, required by NONE,
        "how long a stop waits for attempts";
    "POSTERN_INBOX", Switch, "on when listening on loopback, in development", CORE_REST, required by NONE,
        "the inbox page needs no key";
    "POSTERN_DASHBOARD", Switch, "on", REST, required by NONE,
        "the REST gateway serves the dashboard under `/dashboard`";
    "POSTERN_OPERATOR_NAME", Text, "admin", CORE, required by NONE,
        "the first operator, who may do everything; read when there is no operator yet";
    "POSTERN_OPERATOR_PASSWORD", Password, "made and printed once", CORE, required by NONE,
        "the password of the first operator, 12 to 256 characters";
    "POSTERN_INBOX_HOSTS", List, "", REST, required by NONE,
        "host names the inbox page answers on besides loopback";
    "POSTERN_TRUSTED_PROXIES", Networks, "none", REST_TRACKER, required by NONE,
        "CIDRs whose `X-Forwarded-For` is believed";
    "POSTERN_REST_HEADER_TIMEOUT", Time, "15s", REST, required by NONE,
        "REST: head of a request";
    "POSTERN_REST_DRAIN_TIMEOUT", Time, "30s", REST, required by NONE,
        "REST: finishing requests when stopping";
    "POSTERN_REST_CORS_ORIGINS", List, "none", REST, required by NONE,
        "origins whose pages may call `/v1` and `/api/v1`, comma-separated; no wildcard";
    "POSTERN_REST_TLS_CERT", Path, "none: plain HTTP", REST, required by NONE,
        "certificate chain of the REST gateway, as PEM; a new one is taken up by itself";
    "POSTERN_REST_TLS_KEY", Path, "", REST, required by NONE,
        "its private key";
    "POSTERN_REST_CONCURRENCY_MAX", Count, "1024", REST, required by NONE,
        "REST: requests under way before new ones get 503";
    "POSTERN_REST_CONNECTIONS_MAX", Count, "4096", REST, required by NONE,
        "REST: open connections before new ones wait";
    "POSTERN_REST_WATCHERS_MAX", Count, "256", REST, required by NONE,
        "REST: open event streams before new ones get 503";
    "POSTERN_REST_X_RATELIMIT", Switch, "on", REST, required by NONE,
        "`/v1` answers have `X-RateLimit-*` beside `RateLimit`; `/api/v1` always has them";
    "POSTERN_LEGACY_AMS_BAN", Switch, "on", REST, required by NONE,
        "`/api/v1` refuses sender domains containing `ams`, as the old system did";
    "POSTERN_TRACKER_LISTEN", Address, "127.0.0.1:8081", TRACKER, required by NONE,
        "tracking edge";
    "POSTERN_TRACKER_DATA", Path, "./data/tracker; all-in-one: tracker in POSTERN_DATA", TRACKER, required by NONE,
        "folder of the edge's journal; each edge needs its own";
    "POSTERN_TRACKER_TLS_CERTS", List, "none: plain HTTP", TRACKER, required by NONE,
        "certificate chains as PEM, comma-separated, watched; the one that is good for the name asked for is shown, so each tracking domain may have its own";
    "POSTERN_TRACKER_TLS_KEYS", List, "", TRACKER, required by NONE,
        "files of their private keys, in the same order";
    "POSTERN_TRACKER_CONNECTIONS_MAX", Count, "8192", TRACKER, required by NONE,
        "open connections of the edge before new ones wait";
    "POSTERN_TRACKER_HEADER_TIMEOUT", Time, "15s", TRACKER, required by NONE,
        "edge: head of a request and TLS handshake";
    "POSTERN_TRACKER_REQUEST_TIMEOUT", Time, "20s", TRACKER, required by NONE,
        "edge: the answer to a request as a whole";
    "POSTERN_TRACKER_CORE_TIMEOUT", Time, "5s", TRACKER, required by NONE,
        "edge: answers of the core";
    "POSTERN_TRACKER_DRAIN_TIMEOUT", Time, "10s", TRACKER, required by NONE,
        "edge: finishing requests when stopping";
    "POSTERN_SMTP_LISTEN", Addresses, "127.0.0.1:2587", REST_SMTP, required by NONE,
        "SMTP with STARTTLS; the REST gateway tells the port in the dashboard";
    "POSTERN_SMTPS_LISTEN", Addresses, "127.0.0.1:2465", REST_SMTP, required by NONE,
        "SMTP with implicit TLS";
    "POSTERN_SMTP_SINK_LISTEN", Addresses, "127.0.0.1:1025 in the all-in-one with an open inbox, else off", SMTP, required by NONE,
        "plain SMTP straight into the local inbox";
    "POSTERN_SMTP_TLS_CERT", Path, "the all-in-one makes its own in POSTERN_DATA", SMTP, required by SMTP,
        "certificate chain as PEM; looked at every 2 s, exchanged without dropping a session";
    "POSTERN_SMTP_TLS_KEY", Path, "", SMTP, required by SMTP,
        "file of its private key as PEM";
    "POSTERN_SMTP_HOSTNAME", Name, "localhost", SMTP, required by SMTP,
        "our name in the greeting";
    "POSTERN_SMTP_PLAIN_AUTH", Switch, "off", SMTP, required by NONE,
        "AUTH without TLS, for clients on loopback only";
    "POSTERN_SMTP_TRUSTED_NETWORKS", Networks, "none", SMTP, required by NONE,
        "CIDRs that need no AUTH";
    "POSTERN_SMTP_TRUSTED_KEY", Foreign, "", SMTP, required by NONE,
        "the API key under which these send";
    "POSTERN_SMTP_PROXY_NETWORKS", Networks, "none", SMTP, required by NONE,
        "CIDRs whose connections begin with a PROXY v2 header";
    "POSTERN_SMTP_BARE_LINE_ENDS", Choice(&["refuse", "normalize"]), "refuse", SMTP, required by NONE,
        "`normalize` makes bare CR and LF in mail line ends";
    "POSTERN_SMTP_CORE_TIMEOUT", Time, "30s", SMTP, required by NONE,
        "SMTP: wait for the core";
    "POSTERN_SMTP_DRAIN", Time, "35s", SMTP, required by NONE,
        "SMTP: wait for sessions when stopping";
    "REDIS_URL", Url, "", CORE_SMTP, required by NONE,
        "SMTP limits, logins and `grpc.limit_key_per_minute` are shared through this Redis; while it is away each process counts alone";
    "POSTERN_REDIS_TIMEOUT", Time, "200ms", CORE_SMTP, required by NONE,
        "wait for it";
    "POSTERN_TRACKING_URL", Url, "http://127.0.0.1:8081", CORE, required by NONE,
        "where tracking and unsubscribe links lead: the url of the tracking edge as recipients reach it. Unset: no tracking of mail that leaves the machine";
    "POSTERN_TRACKING_DOMAINS", List, "none", CORE, required by NONE,
        "sender domains whose links lead to a name of their own: `shop.example=https://t.shop.example,…`; publish each name as a CNAME of the edge's, and give the edge its certificate";
    "POSTERN_TRACKING_KEYS", Keys, "made by the all-in-one in POSTERN_DATA", CORE_TRACKER, required by TRACKER,
        "secrets that sign those links, for the core and the edge: `ID:SECRET,…` with ids 0 to 255 and secrets of at least 32 octets in hex or base64; the first signs, all verify, up to 8. Unset on a core: no tracking, and mail that asks for it is refused";
    "POSTERN_WEBHOOK_PRIVATE_TARGETS", Choice(&["refuse", "allow"]), "refuse", CORE, required by NONE,
        "`allow` lets webhooks be posted to loopback and private networks, to any port and over plain HTTP: where the receivers are your own";
    "POSTERN_AMS_URL", Url, "", CORE, required by NONE,
        "JSON-RPC API of the campaign manager AMS: what recipients do is told there";
    "POSTERN_AMS_KEY", Foreign, "", CORE, required by NONE,
        "the key to it";
    "POSTERN_AMS_TIMEOUT", Time, "30s", CORE, required by NONE,
        "one call of AMS";
    "POSTERN_AMS_CERT_SHA256", Text, "a public certificate", CORE, required by NONE,
        "SHA-256 of the certificate that AMS signed itself (`openssl x509 -noout -fingerprint -sha256`): this one is trusted and no other";
    "POSTERN_NOTICE_TO", List, "a warning in the log", CORE, required by NONE,
        "who is told by mail that an API key or SMTP credential is about to expire, or that the installation is not well, as addresses separated by commas";
    "POSTERN_NOTICE_FROM", Text, "", CORE, required by NONE,
        "the sender of that mail, of a domain that may send here";
    "POSTERN_LOG", Text, "info,refinery_core=warn", SERVING, required by NONE,
        "log filter; with `info,postern_core=debug` every message can be followed: `accepted` and `attempt ended` with the ids of request, trace, message and recipient";
    "POSTERN_LOG_FORMAT", Choice(&["text", "json"]), "text", SERVING, required by NONE,
        "how logs are written";
    "OTEL_EXPORTER_OTLP_ENDPOINT", Url, "", TRACED, required by NONE,
        "OpenTelemetry collector that gets traces over OTLP/gRPC, for example `http://127.0.0.1:4317`; without it none are made";
    "OTEL_EXPORTER_OTLP_CERTIFICATE", Path, "the system's authorities", TRACED, required by NONE,
        "certificate of the authority that the collector's own must come from, for `https`";
    "OTEL_EXPORTER_OTLP_HEADERS", Foreign, "", TRACED, required by NONE,
        "what the collector wants to see with each batch: `name=value`, separated by commas";
    "OTEL_TRACES_SAMPLER_ARG", Text, "1", TRACED, required by NONE,
        "which part of the traces that begin here is recorded, from 0 to 1; for others their caller decides";
    "NO_COLOR", Text, "", SERVING, required by NONE,
        "anything: logs at a terminal have no colours";
    "POSTERN_API_KEY", Foreign, "the first key in POSTERN_DATA", COMMAND, required by NONE,
        "the key the operator's commands use";
    "POSTERN_OLD_DATABASE_URL", Url, "", COMMAND, required by NONE,
        "the old system's database, for `postern import-old` without `--from` and `--dump`";
    "ENCRYPTION_PRIMARY_KEY", Foreign, "", COMMAND, required by NONE,
        "the first of the three values with which the old system encrypted, as it had them, for `postern import-old`";
    "ENCRYPTION_DETERMINISTIC_KEY", Foreign, "", COMMAND, required by NONE,
        "the second";
    "ENCRYPTION_KEY_DERIVATION_SALT", Foreign, "", COMMAND, required by NONE,
        "the third";
    "POSTERN_ACME_NAMES", List, "", ACME, required by ACME,
        "names for the certificate of `postern acme`, all in one";
    "POSTERN_ACME_FOLDER", Path, "./data/acme", ACME, required by NONE,
        "where `fullchain.pem` and `privkey.pem` go, which the other processes take up by themselves";
    "POSTERN_ACME_EMAIL", Text, "", ACME, required by NONE,
        "whom the authority may write to";
    "POSTERN_ACME_DIRECTORY", Url, "https://acme-v02.api.letsencrypt.org/directory", ACME, required by NONE,
        "the authority; whoever runs `postern acme` agrees to its terms";
    "POSTERN_ACME_CA_FILE", Path, "", ACME, required by NONE,
        "root certificate with which an authority of one's own is checked";
    "POSTERN_ACME_HTTP_LISTEN", Addresses, "0.0.0.0:80; off with POSTERN_ACME_TLS_LISTEN", ACME, required by NONE,
        "where HTTP-01 is answered and everything else is sent to `https`, or `off`; seen from outside it must be port 80";
    "POSTERN_ACME_TLS_LISTEN", Addresses, "off", ACME, required by NONE,
        "where TLS-ALPN-01 is answered, which then takes the place of HTTP-01; seen from outside it must be port 443";
    "POSTERN_ACME_RENEW_BEFORE", Time, "30d", ACME, required by NONE,
        "how long before its end a certificate is exchanged, or a third of its life where that is shorter";
    "POSTERN_ACME_RETRY", Time, "1m", ACME, required by NONE,
        "how soon a failed order is tried again; later and later up to six hours";
    "POSTERN_ACME_TIMEOUT", Time, "5m", ACME, required by NONE,
        "how long an order may take";
    "POSTGRES_PASSWORD", Secret, "", COMPOSE, required by COMPOSE,
        "password of the PostgreSQL that `docker-compose.yml` starts";
    "REPLICATION_PASSWORD", Secret, "", COMPOSE, required by COMPOSE,
        "password under which the replica and backups stream from PostgreSQL";
    "GRAFANA_PASSWORD", Secret, "", COMPOSE, required by COMPOSE,
        "password of Grafana's user `admin`, where `docker-compose.yml` starts it";
    "POSTERN_TLS_DIR", Path, "", COMPOSE, required by COMPOSE,
        "folder of `fullchain.pem` and `privkey.pem` for the SMTP gateway that `docker-compose.yml` starts";
}
