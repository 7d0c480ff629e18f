//! Redis dies, and blocks. Limits are counted by each process alone then, and mail goes on.

use crate::outcome::Trial;
use crate::system::System;

const SOME: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_or_blocks_does_not_stop_mail() {
    let mut trial = Trial::start(System::split("", &[]).await.unwrap()).await.unwrap();
    for _ in 0..2 {
        trial.system.ground().redis.kill_9().await.unwrap();
        trial.grow(SOME).await.unwrap();
        trial.system.ground().redis.start().await.unwrap();
        trial.grow(SOME).await.unwrap();
        trial.system.ground().redis.signal("STOP").await.unwrap();
        trial.grow(SOME).await.unwrap();
        // A gateway that starts while it blocks works, too.
        let smtp = trial.system.process("smtp").unwrap();
        smtp.kill_9().await.unwrap();
        smtp.start().await.unwrap();
        trial.grow(SOME).await.unwrap();
        trial.system.ground().redis.signal("CONT").await.unwrap();
        trial.grow(SOME).await.unwrap();
    }
    trial.end("Redis").await.unwrap();
}
