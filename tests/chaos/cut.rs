//! Ways between parts are cut: connections break, or nothing comes through and nobody is told. The
//! cuts are made by proxies between the parts.

use anyhow::Context as _;
use postern_proto::v1::SendMessageRequest;
use postern_proto::v1::message_service_client::MessageServiceClient;
use postern_tests::stack::{outgoing, request_with};
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

/// Mails that a core of the two accepts and hands to a receiver which does not answer yet.
async fn hold_some(trial: &Trial, core: usize) -> anyhow::Result<()> {
    let address = format!("http://{}", trial.system.to_cores[core].addr);
    let mut messages = MessageServiceClient::connect(address).await?;
    for number in 0..8 {
        let to = format!("slow+{number}@good.test");
        let message = Some(outgoing(&to));
        let request = SendMessageRequest { message, ..SendMessageRequest::default() };
        let request = request_with(request, &trial.system.doors.key)?;
        let sent = messages.send_message(request).await?.into_inner().message;
        trial.system.ledger.accepted(&to, &sent.context("no message")?.id);
        trial.system.receiver.wait_until_held(&to).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_cut_off_from_the_database_is_taken_over_from_and_changes_nothing_afterwards() {
    let mut trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    hold_some(&trial, 0).await.unwrap();
    // What it asks arrives and is done, and it does not learn of it; then nothing arrives.
    trial.system.ground().ways[0].hold_answers();
    trial.refused(2).await.unwrap();
    trial.system.ground().ways[0].cut();
    let all = async || Ok((recovered(&trial).await? >= 8).then_some(()));
    wait::until("the other core takes over", all).await.unwrap();
    trial.system.ground().ways[0].release_answers();
    trial.system.ground().ways[0].restore();
    trial.grow(SOME).await.unwrap();
    trial.system.receiver.release().unwrap();
    trial.end("a core cut off from the database").await.unwrap();
}

/// How many deliveries were taken over.
async fn recovered(trial: &Trial) -> anyhow::Result<usize> {
    let told = trial.system.get("/v1/events?types=message.recovered&page_size=1000").await?;
    Ok(told["events"].as_array().map_or(0, Vec::len))
}
