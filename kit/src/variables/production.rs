//! What `POSTERN_MODE=production` does not allow: secrets that are missing, short or taken from an
//! example, and doors that are for development. Each is named, with what to do. Pure functions.

use std::net::IpAddr;

use super::{ALL, Kind, Role, Variable};
use crate::env::{Env, EnvError};
use crate::listen::ListenAddr;

/// The variable that switches production mode on.
pub const MODE: &str = "POSTERN_MODE";
/// A secret of our own making has at least so many characters.
const SECRET_CHARS_MIN: usize = 32;
/// A password that a person types, or that a database server was given.
const PASSWORD_CHARS_MIN: usize = 12;
/// A secret made of fewer different characters was typed, not generated.
const VARIETY_MIN: usize = 8;

/// Whether this environment is meant for production.
pub fn is_production(env: &Env) -> bool {
    env.get(MODE) == Some("production")
}

/// Whether doors for development are open when nobody says: to this machine only, and never in
/// production.
pub fn is_local(env: &Env, listen: &ListenAddr) -> bool {
    listen.addr.ip().is_loopback() && !is_production(env)
}

/// Whether a secret is what examples and templates have in its place.
pub fn is_placeholder(secret: &str) -> bool {
    let plain: String =
        secret.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let marks = ["changeme", "example", "placeholder", "yoursecret", "yourpassword", "replaceme"];
    let words = ["", "secret", "password", "passwort", "postgres", "postern", "admin", "default"];
    let others = ["test", "root", "guest", "123456", "12345678", "xxx"];
    marks.iter().any(|mark| plain.contains(mark))
        || words.iter().chain(&others).any(|word| plain == *word)
}

/// Everything that production does not allow this role.
pub(super) fn problems(env: &Env, role: Role) -> Vec<EnvError> {
    let read = |name: &str| ALL.iter().any(|one| one.name == name && one.is_read_by(role));
    let mut problems = Vec::new();
    for variable in ALL.iter().filter(|variable| variable.is_read_by(role)) {
        problems.extend(missing(env, variable, role));
        problems.extend(env.get(variable.name).and_then(|text| judged(variable, text)));
    }
    for (name, dangerous) in [
        ("POSTERN_INBOX", "anybody could read mail"),
        ("POSTERN_MX_ALLOW_PRIVATE", "recipients could choose servers inside your network"),
        ("POSTERN_SMTP_PLAIN_AUTH", "passwords would travel in clear"),
    ] {
        // A value that is neither on nor off has been named already.
        if read(name) && env.switch(name, false) == Ok(true) {
            problems.push(EnvError::new(name, format!("is on: {dangerous}; set it to off")));
        }
    }
    let sink = "POSTERN_SMTP_SINK_LISTEN";
    if read(sink) && env.get(sink).is_some_and(|text| text != "off") {
        problems.push(EnvError::new(sink, "takes mail from anybody; set it to off"));
    }
    problems
}

fn missing(env: &Env, variable: &Variable, role: Role) -> Option<EnvError> {
    let name = variable.name;
    let links = name == "POSTERN_TRACKING_KEYS"
        && role == Role::Core
        && env.get("POSTERN_TRACKING_URL").is_some();
    if env.get(name).is_some() || !(variable.is_required_by(role) || links) {
        return None;
    }
    // A gateway that takes no mail from the network needs neither name nor certificate.
    let closed = ["POSTERN_SMTP_LISTEN", "POSTERN_SMTPS_LISTEN"];
    let of_smtp = name.starts_with("POSTERN_SMTP_");
    if of_smtp && closed.iter().all(|listen| env.get(listen) == Some("off")) {
        return None;
    }
    let problem = match variable.kind {
        Kind::Secret | Kind::Keys => "is not set; `postern init` makes it",
        Kind::Name => "is not set; give the name others know this host by, mail.your-domain",
        _ if of_smtp => "is not set; give the file, or set the SMTP listeners to off",
        _ => "is not set; production needs it",
    };
    Some(EnvError::new(name, problem))
}

fn judged(variable: &Variable, text: &str) -> Option<EnvError> {
    let problem = match variable.kind {
        Kind::Secret => secret(text, SECRET_CHARS_MIN),
        Kind::Password => secret(text, PASSWORD_CHARS_MIN),
        Kind::Keys => text.split(',').find_map(|key| {
            let key = key.split_once(':').map_or(key, |(_, key)| key);
            secret(key.trim(), SECRET_CHARS_MIN)
        }),
        Kind::Foreign => is_placeholder(text).then(|| PLACEHOLDER.to_owned()),
        Kind::Name => is_example(text)
            .then(|| format!("'{text}' is an example; give the name others know this host by")),
        Kind::Url => url(variable.name, text),
        Kind::List if variable.name == "POSTERN_TRACKING_DOMAINS" => {
            let urls = text.split(',').filter_map(|entry| entry.split_once('='));
            urls.map(|(_, one)| one.trim()).find_map(public_url)
        }
        _ => None,
    };
    problem.map(|problem| EnvError::new(variable.name, problem))
}

const PLACEHOLDER: &str = "is an example value; give the real secret";

fn secret(text: &str, chars_min: usize) -> Option<String> {
    let mut different: Vec<char> = text.chars().collect();
    let chars = different.len();
    different.sort_unstable();
    different.dedup();
    let make = "generate it: `postern init`, or openssl rand -hex 32";
    if is_placeholder(text) {
        return Some(format!("is an example value; {make}"));
    }
    if chars < chars_min {
        return Some(format!("has {chars} characters and needs {chars_min}; {make}"));
    }
    let few = different.len() < VARIETY_MIN;
    few.then(|| format!("has only {} different characters; {make}", different.len()))
}

/// Host names of examples, and names that mean this machine to everybody.
fn is_example(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_or_below = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let domains = ["example", "example.com", "example.net", "example.org", "invalid", "localhost"];
    domains.into_iter().any(is_or_below) || host == "localhost.localdomain"
}

/// A password that is given as a word, as in `host=db password=…` and `?password=…`.
fn keyword(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("password=")?;
    let end = rest.find(['&', ' ']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('\'').to_owned())
}

fn url(name: &str, text: &str) -> Option<String> {
    let named = name.starts_with("DATABASE_").then(|| keyword(text)).flatten();
    let (scheme, host, password) = match (parts(text), &named) {
        (Some(parts), _) => parts,
        (None, Some(_)) => Default::default(),
        (None, None) => return None,
    };
    let password = named.or(password);
    match name {
        "POSTERN_TRACKING_URL" => public_url(text),
        // A key travels with each call; inside a private network that is the operator's choice.
        "POSTERN_POSTAL_URL" | "POSTERN_AMS_URL" | "POSTERN_CORE_URL"
            if scheme == "http" && is_public(&host) =>
        {
            Some("sends a key in clear through a public network; use https or a private one".into())
        }
        "DATABASE_URL" | "DATABASE_REPLICA_URL" | "REDIS_URL" | "POSTERN_RELAY_URL" => {
            let password = password.filter(|password| !password.is_empty())?;
            let short =
                name.starts_with("DATABASE_") && password.chars().count() < PASSWORD_CHARS_MIN;
            if is_placeholder(&password) || short {
                return Some("has an example or short password; give the server a real one".into());
            }
            let clear = name == "POSTERN_RELAY_URL" && text.contains("tls=off");
            (clear && is_public(&host))
                .then(|| "sends a password in clear; use tls=required or tls=implicit".into())
        }
        _ => None,
    }
}

/// What recipients are shown: https, at a name that is not an example.
fn public_url(text: &str) -> Option<String> {
    let (scheme, host, _) = parts(text)?;
    if scheme != "https" {
        return Some(format!("'{text}' is plain http; recipients need https"));
    }
    is_example(&host).then(|| format!("'{text}' is an example; give the edge's public name"))
}

/// Whether an address is one of the public Internet. Names are taken for private where they have no
/// dot, or end as those of a cluster do.
fn is_public(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
        Err(_) => {
            let private = [".svc", ".local", ".internal", ".lan", ".localhost", ".home.arpa"];
            host.contains('.') && !private.iter().any(|end| host.ends_with(end))
        }
    }
}

/// Scheme, host and password of a url.
fn parts(text: &str) -> Option<(String, String, Option<String>)> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (login, host),
        None => ("", authority),
    };
    let password = login.split_once(':').map(|(_, password)| password.to_owned());
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => host.split(':').next().unwrap_or(host),
    };
    Some((scheme.to_ascii_lowercase(), host.to_ascii_lowercase(), password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables;

    const GOOD: &str = "k3Jd82hAs91mQzXw77PlVb20TyRn56Gc";

    fn names(env: &Env, role: Role) -> Vec<String> {
        variables::problems(&env.clone().with(MODE, "production"), role)
            .into_iter()
            .map(|problem| problem.name)
            .collect()
    }

    #[test]
    fn each_role_is_asked_for_what_it_reads() {
        let empty = Env::default();
        assert_eq!(names(&empty, Role::Rest), ["POSTERN_GATEWAY_TOKEN"]);
        let token = "POSTERN_GATEWAY_TOKEN";
        assert_eq!(names(&empty, Role::Tracker), [token, "POSTERN_TRACKING_KEYS"]);
        assert_eq!(names(&empty, Role::Core), [token, "POSTERN_HELO_NAME"]);
        let tls = ["POSTERN_SMTP_TLS_CERT", "POSTERN_SMTP_TLS_KEY", "POSTERN_SMTP_HOSTNAME"];
        assert_eq!(names(&empty, Role::Smtp), [&[token], tls.as_slice()].concat());
        let closed = Env::from([("POSTERN_SMTP_LISTEN", "off"), ("POSTERN_SMTPS_LISTEN", "off")]);
        assert_eq!(names(&closed, Role::Smtp), [token]);
        assert_eq!(names(&empty, Role::Up).len(), 6);
    }

    #[test]
    fn weak_secrets_are_refused_and_good_ones_are_not() {
        for weak in ["CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME", "abcdefghijk", &"ab".repeat(20)] {
            let env = Env::default().with("POSTERN_GATEWAY_TOKEN", weak);
            assert_eq!(names(&env, Role::Rest), ["POSTERN_GATEWAY_TOKEN"], "{weak}");
        }
        let env = Env::from([("POSTERN_GATEWAY_TOKEN", GOOD)]);
        assert_eq!(names(&env, Role::Rest), Vec::<String>::new());
        let keys = env.with("POSTERN_TRACKING_KEYS", format!("2:{GOOD},1:short"));
        assert_eq!(names(&keys, Role::Tracker), ["POSTERN_TRACKING_KEYS"]);
    }

    #[test]
    fn what_is_for_development_is_refused() {
        for (name, bad, good) in [
            ("POSTERN_INBOX", "on", "off"),
            ("POSTERN_MX_ALLOW_PRIVATE", "on", "off"),
            ("POSTERN_HELO_NAME", "mail.example.com", "mail.shop.test"),
            ("POSTERN_TRACKING_DOMAINS", "a.test=http://t.a.test", "a.test=https://t.a.test"),
            ("POSTERN_POSTAL_URL", "http://postal.shop.test", "http://postal"),
            ("POSTERN_AMS_URL", "http://192.0.2.1/api", "http://10.1.2.3/api"),
            ("POSTERN_AMS_KEY", "changeme", "k"),
            ("POSTERN_OPERATOR_PASSWORD", "admin", "a long password"),
            ("DATABASE_URL", "postgres://p:postgres@db/p", "postgres://p@db/p"),
            ("DATABASE_URL", "host=db user=p password=changeme", "host=db user=p"),
            ("DATABASE_URL", "postgres://p@db/p?password=postgres&x=1", "postgres://p@db/p?x=1"),
            ("POSTERN_RELAY_URL", "smtp://u:p%40ss@192.0.2.1?tls=off", "smtp://127.0.0.1?tls=off"),
        ] {
            let base = Env::from([
                ("POSTERN_GATEWAY_TOKEN", GOOD),
                ("POSTERN_HELO_NAME", "mail.shop.test"),
            ]);
            assert_eq!(names(&base.clone().with(name, bad), Role::Core), [name], "{bad}");
            assert_eq!(names(&base.with(name, good), Role::Core), Vec::<String>::new(), "{good}");
        }
    }
}
