//! A rolling restart: two cores and two gateways are stopped and started one after another while mail
//! comes in. Nothing that was accepted fails, nobody is turned away, and nothing is sent twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_tests::balancer::Balancer;
use postern_tests::cluster::Server;
use postern_tests::role::{Role, TOKEN};
use postern_tests::smtp_receiver::Receiver;
use postern_tests::stack::{Stack, mail_to};
use postern_tests::wait;
use serde_json::Value;

/// What one client was answered.
#[derive(Debug, Default)]
struct Answers {
    /// The address of each mail that was accepted, with its id.
    accepted: BTreeMap<String, String>,
    refused: Vec<String>,
}

/// Sends over kept connections until told to stop. What is refused or breaks is sent again under the same
/// idempotency key, as every client of ours does.
async fn client(door: String, key: String, name: &str, stop: &AtomicBool) -> Answers {
    let http = reqwest::Client::new();
    let mut answers = Answers::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let address = format!("{name}{number}@good.test");
        loop {
            let request = http.post(format!("http://{door}/v1/messages")).bearer_auth(&key);
            let request = request.header("idempotency-key", &address).json(&mail_to(&address));
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    answers.refused.push(format!("{error:?}"));
                    continue;
                }
            };
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            if status == 202 {
                answers.accepted.insert(address, body["id"].as_str().unwrap().to_owned());
                break;
            }
            answers.refused.push(format!("{status} {body}"));
        }
    }
    answers
}

/// Waits until this many more mails than now have arrived.
async fn flows(receiver: &Receiver, more: usize) {
    // Two files each.
    let count = || std::fs::read_dir(receiver.folder()).map(|all| all.count() / 2);
    let now = count().unwrap();
    let look = async || Ok((count()? >= now + more).then_some(()));
    wait::until("mail flows", look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cores_and_gateways_restart_one_by_one_and_no_client_notices() {
    let server = Server::primary("").unwrap();
    let receiver = Receiver::start().await.unwrap();
    let (url, relay) = (server.url(), receiver.relay_url());
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("POSTERN_TRANSPORT", "relay"),
        ("POSTERN_RELAY_URL", relay.as_str()),
        ("POSTERN_SENDER_POLICY", "any"),
        ("POSTERN_GATEWAY_TOKEN", TOKEN),
    ];
    let mut one = Stack::start(&vars).await.unwrap();
    let mut two = Stack::join(&vars, &one.key).await.unwrap();
    let cores = Balancer::start(&[&one.grpc, &two.grpc]).await.unwrap();
    let at = cores.addr.to_string();
    let (left, right) = (Role::rest(&at, &[]).await.unwrap(), Role::rest(&at, &[]).await.unwrap());
    let door = |role: &Role| format!("127.0.0.1:{}", role.port);
    let gateways = Balancer::start(&[&door(&left), &door(&right)]).await.unwrap();

    let stop = AtomicBool::new(false);
    let key = one.key.clone();
    let send = |name| client(gateways.addr.to_string(), key.clone(), name, &stop);
    let rolling = async {
        flows(&receiver, 20).await;
        // New connections go elsewhere before a process is told to stop, as any orchestrator does it.
        cores.set(&[&two.grpc]);
        one.sigterm().await.unwrap();
        one.wait_exit(wait::LIMIT).await.unwrap();
        flows(&receiver, 20).await;
        one.restart().await.unwrap();
        cores.set(&[&one.grpc]);
        two.sigterm().await.unwrap();
        two.wait_exit(wait::LIMIT).await.unwrap();
        flows(&receiver, 20).await;
        two.restart().await.unwrap();
        cores.set(&[&one.grpc, &two.grpc]);
        gateways.set(&[&door(&right)]);
        left.stop().await.unwrap();
        flows(&receiver, 20).await;
        let left = Role::rest(&at, &[]).await.unwrap();
        gateways.set(&[&door(&left)]);
        right.stop().await.unwrap();
        flows(&receiver, 20).await;
        stop.store(true, Ordering::Relaxed);
        left
    };
    let (ann, bob, _left) = tokio::join!(send("ann"), send("bob"), rolling);
    let answers = [ann, bob];
    let refused: Vec<_> = answers.iter().flat_map(|one| &one.refused).collect();
    let accepted: BTreeMap<_, _> = answers.iter().flat_map(|one| &one.accepted).collect();
    println!("{} accepted, {} refused and sent again", accepted.len(), refused.len());
    assert!(accepted.len() >= 100, "{}", accepted.len());
    let arrived = async || {
        let mails = receiver.mails()?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for mail in &mails {
            *counts.entry(mail.to[0].clone()).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count == 1), "nothing is sent twice: {counts:?}");
        Ok(accepted.keys().all(|address| counts.contains_key(*address)).then_some(()))
    };
    wait::until("everything that was accepted arrives", arrived).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}
