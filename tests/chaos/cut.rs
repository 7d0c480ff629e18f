//! Ways between parts are cut: connections break, or nothing comes through and nobody is told. The
//! cuts are made by proxies between the parts.

use postern_tests::wait;

use crate::outcome::Trial;
use crate::system::System;

const SOME: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn cores_cut_off_from_their_gateways_cost_no_mail() {
    let trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    for core in [0, 1] {
        trial.system.to_cores[core].cut();
        trial.grow(SOME).await.unwrap();
        trial.system.to_cores[core].restore();
        trial.grow(SOME).await.unwrap();
    }
    trial.system.to_cores.iter().for_each(|way| way.cut());
    trial.refused(5).await.unwrap();
    trial.system.to_cores.iter().for_each(|way| way.restore());
    trial.grow(SOME).await.unwrap();
    // The cores hear everything, and their answers do not arrive.
    trial.system.to_cores.iter().for_each(|way| way.hold_answers());
    trial.refused(5).await.unwrap();
    trial.system.to_cores.iter().for_each(|way| way.release_answers());
    trial.grow(SOME).await.unwrap();
    trial.end("cores cut off from gateways").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_cut_off_from_the_database_is_taken_over_from_and_changes_nothing_afterwards() {
    let mut trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    let http = reqwest::Client::new();
    for number in 0..8 {
        let to = format!("slow+{number}@good.test");
        let request = http.post(format!("http://{}/v1/messages", trial.system.doors.rest));
        let request = request.bearer_auth(&trial.system.doors.key);
        let answer = request.json(&postern_tests::stack::mail_to(&to)).send().await.unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        trial.system.ledger.accepted(&to, body["id"].as_str().unwrap());
        trial.system.receiver.wait_until_held(&to).await.unwrap();
    }
    // Whichever core holds them: first the one is away, then the other.
    for core in [0, 1] {
        trial.system.ground().ways[core].hold_answers();
        trial.refused(2).await.unwrap();
        trial.system.ground().ways[core].cut();
        let before = recovered(&trial).await;
        let taken_over = async || Ok((recovered(&trial).await > before).then_some(()));
        let taken_over = wait::until("the other core takes over", taken_over).await;
        println!("core {core} was taken over from: {}", taken_over.is_ok());
        trial.system.ground().ways[core].release_answers();
        trial.system.ground().ways[core].restore();
        trial.grow(SOME).await.unwrap();
    }
    trial.system.receiver.release().unwrap();
    let verdict = trial.end("cores cut off from the database").await.unwrap();
    assert!(verdict.recovered > 0, "something was taken over: {verdict:?}");
}

async fn recovered(trial: &Trial) -> usize {
    let feed = trial.system.feed().await.unwrap_or_default();
    feed.iter().filter(|event| event.kind == "message.recovered").count()
}
