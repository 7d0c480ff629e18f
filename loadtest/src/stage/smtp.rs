//! SMTP accepted: twenty clients, over connections that are kept and over a new one for each mail,
//! beside Postfix, smtp-sink and Haraka, in turns. Postern keeps the mail until tomorrow, Postfix holds
//! it, smtp-sink stores nothing; Haraka relays meanwhile, as it cannot hold.
//!
//! What it keeps is thrown away with the work folder.

use std::net::{Ipv4Addr, SocketAddr};

use crate::bench::Bench;
use crate::door::Mail;
use crate::door::smtp::{Keep, Smtp};
use crate::pace::Pace;
use crate::rival::haraka::Haraka;
use crate::rival::postfix::{Does, Postfix};
use crate::rival::smtp_sink::SmtpSink;
use crate::rival::{is_root, program};
use crate::server::vars;
use crate::sink::Sink;

const CLIENTS: usize = 20;

/// A server under test.
struct Subject {
    name: &'static str,
    what: &'static str,
    address: SocketAddr,
    pid: Option<u32>,
    mail: Mail,
}

/// Runs it.
pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let vars = vars(&[("POSTERN_SENDER_POLICY", "any")]);
    let ours = bench.binary.start_trusting(&bench.work.join("smtp"), &vars).await?;
    let mut subjects = vec![Subject {
        name: "smtp",
        what: "Postern",
        address: ours.smtp,
        pid: Some(ours.pid),
        mail: Mail::scheduled(),
    }];
    let rival =
        |name, what, address, pid| Subject { name, what, address, pid, mail: Mail::delivered() };
    let postfix = postfix(bench, "postfix-hold", Does::Hold).await?;
    if let Some(postfix) = &postfix {
        let what = "Postfix, which holds it";
        subjects.push(rival("postfix", what, postfix.address, Some(postfix.pid)));
    }
    let sink = if program("smtp-sink").is_some() { Some(SmtpSink::start().await?) } else { None };
    if let Some(sink) = &sink {
        let what = "smtp-sink, which stores nothing";
        subjects.push(rival("smtp-sink", what, sink.address, None));
    }
    let end = Sink::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let haraka = haraka(bench, end.address).await?;
    if let Some(haraka) = &haraka {
        let what = "Haraka, which relays meanwhile";
        subjects.push(rival("haraka", what, haraka.address, haraka.pid()));
    }
    for _ in 0..bench.size.runs {
        for (keep, name, words) in
            [(Keep::Kept, "kept", "kept connections"), (Keep::New, "new", "a connection for each")]
        {
            for subject in &subjects {
                let doors = Smtp::callers(subject.address, &subject.mail, keep, CLIENTS);
                let what = format!("SMTP accepted by {}, {CLIENTS} clients, {words}", subject.what);
                let name = format!("{}/{name}", subject.name);
                bench.drive(&name, &what, subject.pid, doors, Pace::Closed).await?;
            }
        }
    }
    ours.stop().await
}

/// Postfix, or a note why there is none.
pub(crate) async fn postfix(
    bench: &mut Bench,
    folder: &str,
    does: Does,
) -> anyhow::Result<Option<Postfix>> {
    if program("postfix").is_none() || !is_root() {
        bench.note("Postfix is left out: it is not installed, or this is not root".to_owned());
        return Ok(None);
    }
    Ok(Some(Postfix::start(&bench.work.join(folder), does).await?))
}

async fn haraka(bench: &mut Bench, sink: SocketAddr) -> anyhow::Result<Option<Haraka>> {
    let Some(command) = bench.haraka.clone() else {
        bench.note("Haraka is left out: npm could not install it".to_owned());
        return Ok(None);
    };
    let domain = Mail::delivered().domain;
    // What npm installs changes: a Haraka that does not start takes no figures of others with it.
    match Haraka::start(&command, &bench.work.join("haraka"), &domain, sink).await {
        Ok(haraka) => Ok(Some(haraka)),
        Err(error) => {
            bench.note(format!("Haraka is left out, it does not start: {error:#}"));
            Ok(None)
        }
    }
}
