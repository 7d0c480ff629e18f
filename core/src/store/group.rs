//! Group commit: concurrent callers share one transaction.
//!
//! There is no artificial delay: a group is whatever has arrived while the calls before it ran. A
//! caller that goes away does not take its item back: what was handed in is stored.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Error;

type Waiting<T, R> = (T, oneshot::Sender<Result<R, Error>>);

/// Collects items of type `T` into groups and hands each caller its own result.
pub struct Group<T, R> {
    sender: mpsc::Sender<Waiting<T, R>>,
}

impl<T, R> Clone for Group<T, R> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

/// How large groups get and how many run at once.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// The sum of the items' weights that closes a group; a single heavier item is a group alone.
    pub weight_max: usize,
    /// How many groups may be committing at the same time.
    pub parallel: usize,
    /// How many items may wait.
    pub waiting_max: usize,
}

impl<T: Send + 'static, R: Send + 'static> Group<T, R> {
    /// Starts collecting. `commit` returns one result per item, in order.
    pub fn start<F, Fut>(limits: GroupLimits, weight: fn(&T) -> usize, commit: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>, Error>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<Waiting<T, R>>(limits.waiting_max);
        let (commit, slots) = (Arc::new(commit), Arc::new(Semaphore::new(limits.parallel)));
        tokio::spawn(async move {
            let mut held_over = None;
            loop {
                // Waiting for the slot first is what lets a group grow.
                let Ok(slot) = slots.clone().acquire_owned().await else {
                    return;
                };
                let first = match held_over.take() {
                    Some(item) => item,
                    None => match receiver.recv().await {
                        Some(item) => item,
                        None => return,
                    },
                };
                let mut total = weight(&first.0);
                let mut group = vec![first];
                while total < limits.weight_max {
                    let Ok(next) = receiver.try_recv() else { break };
                    total += weight(&next.0);
                    if total > limits.weight_max {
                        held_over = Some(next);
                        break;
                    }
                    group.push(next);
                }
                let commit = commit.clone();
                tokio::spawn(async move {
                    run(group, &*commit).await;
                    drop(slot);
                });
            }
        });
        Self { sender }
    }

    /// Hands an item in and waits until its group is committed.
    pub async fn call(&self, item: T) -> Result<R, Error> {
        let (answer, result) = oneshot::channel();
        let stopped = || Error::Unavailable("the store is closed".to_owned());
        self.sender.send((item, answer)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

async fn run<T, R, F, Fut>(group: Vec<Waiting<T, R>>, commit: &F)
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Result<Vec<R>, Error>>,
{
    let (items, callers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    match commit(items).await {
        Ok(results) => {
            for (caller, result) in callers.into_iter().zip(results) {
                // A caller that has gone away wants no answer.
                let _gone = caller.send(Ok(result));
            }
        }
        Err(error) => {
            for caller in callers {
                let _gone = caller.send(Err(error.clone()));
            }
        }
    }
}
