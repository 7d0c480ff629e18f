//! The transports against scripted servers on loopback.

mod server;
mod sending;
mod failing;
mod encrypted;
mod routing;
mod resolving;
mod pooling;
mod remembering;
mod judging;
mod choosing;
mod changing;

use std::time::Duration;

use bytes::Bytes;
use postern_kit::env::Env;
use postern_kit::live;
use postern_proto::ids::{MessageId, RecipientId};
use postern_proto::settings::Settings;

use super::{Relay, Transport, TransportConfig};
use crate::in_force::InForce;
use crate::model::delivery::{Category, Mail, Outcome, Reply};

const BODY: &str = "From: a@example.org\r\nSubject: s\r\n\r\n.dot\r\nend\r\n";

fn mail_to(to: &str) -> Mail {
    Mail {
        delivery: RecipientId::generate(),
        message: MessageId::generate(),
        from: "a@example.org".to_owned(),
        to: to.to_owned(),
        bytes: Bytes::from_static(BODY.as_bytes()),
    }
}

/// A relay at this URL, with the default limits and a short time to connect.
fn relay(url: &str) -> Relay {
    relay_with(&[("POSTERN_RELAY_URL", url)])
}

fn relay_with(vars: &[(&str, &str)]) -> Relay {
    Relay::new(&config(vars), in_force(vars)).unwrap()
}

fn env(vars: &[(&str, &str)]) -> Env {
    let env = Env::from([("POSTERN_HELO_NAME", "us.example.org")]);
    vars.iter().fold(env, |env, (name, value)| env.with(name, *value))
}

fn config(vars: &[(&str, &str)]) -> TransportConfig {
    TransportConfig::from_env(&env(vars)).unwrap()
}

/// The settings as these variables have them.
fn in_force(vars: &[(&str, &str)]) -> InForce {
    InForce::new(live::defaults(&env(vars)).unwrap())
}

async fn send(transport: &dyn Transport) -> Outcome {
    transport.deliver(mail_to("b@example.net")).await
}

/// The outcome in one word each: what, category, phase; with `dup` when that is said.
fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { reply } => format!("delivered {}", reply.phase),
        Outcome::Refused { reply, category } => {
            format!("refused {} {}", category.name(), reply.phase)
        }
        Outcome::Deferred { reply, category, may_duplicate } => {
            let duplicate = if *may_duplicate { " dup" } else { "" };
            format!("deferred {} {}{duplicate}", category.name(), reply.phase)
        }
        Outcome::Sent { ticket, .. } => format!("sent {}", ticket.id),
        Outcome::Unknown { category, .. } => format!("unknown {}", category.name()),
    }
}

fn reply_of(outcome: &Outcome) -> &Reply {
    match outcome {
        Outcome::Delivered { reply }
        | Outcome::Refused { reply, .. }
        | Outcome::Deferred { reply, .. }
        | Outcome::Sent { reply, .. }
        | Outcome::Unknown { reply, .. } => reply,
    }
}
