//! `postern init`: the `.env` of an installation for production, with secrets of its own. The file is
//! exchanged as a whole, so a crash leaves the one before, or none.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use postern_core::credential;
use postern_kit::env::Env;
use postern_kit::variables::{self, Role};

use crate::cli::Init;
use crate::output::line;

const SECRET_CHARS: usize = 48;
const PASSWORD_CHARS: usize = 24;

pub(super) fn init(args: &Init) -> anyhow::Result<()> {
    let path = std::fs::canonicalize(&args.file).unwrap_or_else(|_| args.file.clone());
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let held = parse(before.as_deref().unwrap_or_default());
    let additions: Vec<_> =
        wanted(args, &held)?.into_iter().filter(|(name, _)| !held.contains_key(*name)).collect();
    if additions.is_empty() {
        private(&path)?;
        line(&format!("{} has everything already; nothing was changed", args.file.display()));
    } else {
        write(&path, before.as_deref(), &additions)?;
        let names: Vec<_> = additions.iter().map(|(name, _)| *name).collect();
        line(&format!("{}: added {}", args.file.display(), names.join(", ")));
    }
    next_steps(args, &parse(&std::fs::read_to_string(&path)?));
    Ok(())
}

/// The variables of a file, those that are set to something. The last of a name counts.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        if let Some((name, value)) = line.split_once('=') {
            let value = value.trim().trim_matches(['"', '\'']);
            held.insert(name.trim().to_owned(), value.to_owned());
        }
    }
    held.retain(|_, value| !value.is_empty());
    held
}

/// Everything a production installation needs, in the order of the file. What is asked for is only
/// asked for where it is missing.
fn wanted(
    args: &Init,
    held: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let has = |name: &str| held.contains_key(name);
    let own = |name: &'static str, value: String| (name, value);
    let mut wanted = vec![
        own(variables::MODE, "production".to_owned()),
        own("POSTERN_GATEWAY_TOKEN", credential::random_text(SECRET_CHARS)),
        own("POSTERN_TRACKING_KEYS", format!("1:{}", credential::hex_secret())),
        own("POSTGRES_PASSWORD", credential::random_text(SECRET_CHARS)),
        own("REPLICATION_PASSWORD", credential::random_text(SECRET_CHARS)),
        own("GRAFANA_PASSWORD", credential::random_text(PASSWORD_CHARS)),
        own("POSTERN_OPERATOR_NAME", "admin".to_owned()),
        own("POSTERN_OPERATOR_PASSWORD", credential::random_text(PASSWORD_CHARS)),
    ];
    let names = ["POSTERN_HELO_NAME", "POSTERN_SMTP_HOSTNAME", "POSTERN_TRACKING_URL"];
    // Who sends notices matters where somebody gets them.
    let is_told = has("POSTERN_NOTICE_TO") || args.operator_email.is_some();
    let lacks_sender = is_told && !has("POSTERN_NOTICE_FROM");
    if names.iter().chain(&["POSTERN_TLS_DIR"]).any(|name| !has(name)) || lacks_sender {
        let question = "Domain that mail is sent from (shop.example)";
        let domain = asked(args.domain.as_deref(), "--domain", question)?;
        let domain = checked_domain(&domain.context("--domain is needed")?)?;
        let host = held.get("POSTERN_HELO_NAME").cloned().unwrap_or(format!("mail.{domain}"));
        let tls = match &args.tls_dir {
            Some(folder) => plain(&folder.to_string_lossy(), "--tls-dir")?,
            None => format!("/etc/letsencrypt/live/{host}"),
        };
        let tls = held.get("POSTERN_TLS_DIR").cloned().unwrap_or(tls);
        wanted.push(own("POSTERN_HELO_NAME", host.clone()));
        wanted.push(own("POSTERN_SMTP_HOSTNAME", host));
        wanted.push(own("POSTERN_TRACKING_URL", format!("https://t.{domain}")));
        wanted.push(own("POSTERN_SMTP_TLS_CERT", format!("{tls}/fullchain.pem")));
        wanted.push(own("POSTERN_SMTP_TLS_KEY", format!("{tls}/privkey.pem")));
        wanted.push(own("POSTERN_TLS_DIR", tls));
        wanted.push(own("POSTERN_NOTICE_FROM", format!("postern@{domain}")));
    }
    if !has("POSTERN_SENDING_ADDRESSES") {
        let question = "Addresses mail leaves from, separated by commas (may be empty)";
        let given = asked(args.addresses.as_deref(), "--addresses", question).ok().flatten();
        wanted.extend(
            given
                .map(|text| addresses(&text))
                .transpose()?
                .map(|list| own("POSTERN_SENDING_ADDRESSES", list)),
        );
    }
    if !has("POSTERN_NOTICE_TO") {
        let question = "Address of whoever looks after it (may be empty)";
        let given = asked(args.operator_email.as_deref(), "--operator-email", question);
        match given.ok().flatten() {
            Some(address) => {
                ensure!(address.contains('@'), "--operator-email: '{address}' is no address");
                wanted.push(own("POSTERN_NOTICE_TO", plain(&address, "--operator-email")?));
            }
            // The sender of notices is of no use without somebody who gets them.
            None => wanted.retain(|(name, _)| *name != "POSTERN_NOTICE_FROM"),
        }
    }
    Ok(wanted)
}

/// The flag, or what somebody at a terminal says; none where that is nothing.
fn asked(given: Option<&str>, flag: &str, question: &str) -> anyhow::Result<Option<String>> {
    if let Some(given) = given {
        return Ok(Some(given.trim().to_owned()).filter(|text| !text.is_empty()));
    }
    if !std::io::stdin().is_terminal() {
        bail!("{flag} is needed: there is no terminal to ask at");
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{question}: ").and_then(|()| out.flush())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn checked_domain(text: &str) -> anyhow::Result<String> {
    let domain = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(fits)
    };
    let is_domain = domain.contains('.') && domain.len() <= 200 && domain.split('.').all(label);
    ensure!(is_domain, "--domain: '{text}' is no domain name; write shop.example");
    Ok(domain)
}

fn addresses(text: &str) -> anyhow::Result<String> {
    let address = |part: &str| {
        let part = part.trim();
        let parsed: Result<IpAddr, _> = part.parse();
        parsed.map(|ip| ip.to_string()).with_context(|| format!("--addresses: '{part}' is none"))
    };
    let all: Vec<_> = text.split(',').map(address).collect::<anyhow::Result<_>>()?;
    Ok(all.join(","))
}

/// The file is read by shells, systemd and docker compose, which quote in different ways: nothing in it
/// needs quotes.
fn plain(text: &str, flag: &str) -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/,@+=[]".contains(c);
    ensure!(text.chars().all(fits), "{flag}: '{text}' has characters that need quotes");
    Ok(text.to_owned())
}

/// Puts the additions behind what is there, octet for octet.
fn write(path: &Path, before: Option<&str>, additions: &[(&str, String)]) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut text = before.unwrap_or_default().to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if before.is_none() {
        text.push_str(
            "# Made by `postern init`. It holds secrets: keep it private and in your backups.\n",
        );
    }
    for (name, value) in additions {
        text.push_str(&format!("{name}={value}\n"));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // Private from the first octet on.
    let mut file = tempfile::NamedTempFile::new_in(&folder).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    if before.is_none() {
        file.persist_noclobber(path).with_context(context)?;
    } else {
        file.persist(path).with_context(context)?;
    }
    std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).with_context(context)
}

fn private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    set.with_context(|| format!("cannot make {} private", path.display()))
}

fn next_steps(args: &Init, held: &BTreeMap<String, String>) {
    let env = held.iter().fold(Env::default(), |env, (name, value)| env.with(name, value.as_str()));
    let problems = variables::problems(&env, Role::Up);
    if !problems.is_empty() {
        line("\nProduction would refuse this file:");
        problems.iter().for_each(|problem| line(&format!("  {problem}")));
    }
    let get = |name: &str| held.get(name).map_or("-", String::as_str);
    // systemd takes whole paths only.
    let file = std::fs::canonicalize(&args.file).unwrap_or_else(|_| args.file.clone());
    let (file, tls) = (file.display(), get("POSTERN_TLS_DIR"));
    line(&format!(
        "\nNext:\n\
         1. Put {file} into your backups; it is the only place of these secrets.\n\
         2. Point {} and the host of {} at this machine, and put a certificate into {tls}.\n\
         3. Start: docker compose up -d, or with EnvironmentFile={file} in systemd.\n\
         4. Log in to the dashboard as {} with POSTERN_OPERATOR_PASSWORD.\n\
         5. Register your sender domain and publish its records: postern domains add DOMAIN",
        get("POSTERN_HELO_NAME"),
        get("POSTERN_TRACKING_URL"),
        get("POSTERN_OPERATOR_NAME"),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: PathBuf) -> Init {
        Init {
            file,
            domain: Some("Shop.test".to_owned()),
            addresses: Some("192.0.2.1, 2001:db8::1".to_owned()),
            operator_email: Some("ops@shop.test".to_owned()),
            tls_dir: None,
        }
    }

    #[test]
    fn the_file_is_private_complete_and_taken_by_production() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        init(&args(path.clone())).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let held = parse(&std::fs::read_to_string(&path).unwrap());
        let env = held.iter().fold(Env::default(), |env, (name, value)| env.with(name, value));
        for role in Role::SERVING {
            assert_eq!(variables::check(&env, role), Ok(()), "{role:?}");
        }
        assert_eq!(held["POSTERN_SENDING_ADDRESSES"], "192.0.2.1,2001:db8::1");
        assert_eq!(held["POSTERN_HELO_NAME"], "mail.shop.test");
        assert!(held["POSTGRES_PASSWORD"].len() >= 32);
        assert_ne!(held["POSTGRES_PASSWORD"], held["POSTERN_GATEWAY_TOKEN"]);
    }

    #[test]
    fn a_second_run_adds_what_is_missing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let mine = "# mine\nexport POSTERN_GATEWAY_TOKEN='short'\nPOSTGRES_PASSWORD=\nX=1";
        std::fs::write(&path, mine).unwrap();
        init(&args(path.clone())).unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        assert!(first.starts_with(mine), "{first}");
        assert_eq!(first.matches("POSTERN_GATEWAY_TOKEN").count(), 1);
        assert!(parse(&first)["POSTGRES_PASSWORD"].len() >= 32, "an empty value is none");
        init(&args(path.clone())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        for (domain, addresses) in [("localhost", "192.0.2.1"), ("a b.test", ""), ("a.test", "x")] {
            let mut args = args(path.clone());
            args.domain = Some(domain.to_owned());
            args.addresses = Some(addresses.to_owned());
            assert!(init(&args).is_err(), "{domain} {addresses}");
            assert!(!path.exists());
        }
    }
}
