//! PostgreSQL is restarted, killed, stopped, slow, and has no connection left.

use std::time::Duration;

use postern_tests::wait;
use tokio_postgres::{Client, NoTls};

use crate::outcome::Trial;
use crate::system::{Ground, System};

/// What is accepted before, between and after faults.
const SOME: usize = 20;

/// Starts it again once the last process of the one before is gone.
async fn start(ground: &Ground) {
    let started =
        wait::until("PostgreSQL starts", async || Ok(ground.postgres.start(&ground.options).ok()));
    started.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_restarted_killed_and_stopped_costs_no_mail() {
    let mut trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    for _ in 0..2 {
        let ground = trial.system.ground();
        let data = ground.postgres.data();
        let stop = ["-D", data.as_str(), "-m", "fast", "-w", "stop"];
        ground.postgres.run("pg_ctl", &stop).unwrap();
        trial.refused(3).await.unwrap();
        start(trial.system.ground()).await;
        trial.grow(SOME).await.unwrap();
        trial.system.ground().postgres.kill_9().unwrap();
        start(trial.system.ground()).await;
        trial.grow(SOME).await.unwrap();
    }
    trial.system.ground().postgres.signal("STOP").unwrap();
    trial.refused(3).await.unwrap();
    trial.system.ground().postgres.signal("CONT").unwrap();
    trial.grow(SOME).await.unwrap();
    trial.end("PostgreSQL down").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_postgresql_costs_time_only() {
    let mut trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    let slow = Duration::from_millis(150);
    trial.system.ground().ways.iter().for_each(|way| way.delay_answers(slow));
    trial.grow(SOME).await.unwrap();
    trial.system.ground().ways.iter().for_each(|way| way.delay_answers(Duration::ZERO));
    trial.grow(SOME).await.unwrap();
    trial.end("PostgreSQL slow").await.unwrap();
}

/// Connections of somebody else, as many as there are.
async fn eat(url: &str) -> Vec<Client> {
    let mut eaten = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await {
        // It ends with the client.
        tokio::spawn(connection);
        eaten.push(client);
    }
    eaten
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_without_a_free_connection_stops_acceptance_only_while_it_has_none() {
    // Both cores together would have more.
    let system = System::split("-c max_connections=36", &[]).await.unwrap();
    let mut trial = Trial::start(system).await.unwrap();
    let url = format!("postgres://postern@{}/postgres", trial.system.ground().address);
    let mut eaten = eat(&url).await;
    assert!(!eaten.is_empty(), "some were free");
    // What the cores still hold is taken from them, too.
    let take = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE backend_type = 'client backend' AND application_name <> '' \
                AND pid <> pg_backend_pid()";
    for _ in 0..5 {
        eaten[0].batch_execute(take).await.unwrap();
        eaten.extend(eat(&url).await);
    }
    println!("{} connections eaten", eaten.len());
    trial.refused(5).await.unwrap();
    drop(eaten);
    trial.grow(SOME).await.unwrap();
    trial.end("PostgreSQL full").await.unwrap();
}
