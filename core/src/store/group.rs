//! Group commit: concurrent callers share one transaction.
//!
//! There is no artificial delay: a group is whatever has arrived while the calls before it ran. A
//! caller that goes away does not take its item back: what was handed in is stored.
//!
//! A group that the store refuses, though it can be reached, is tried again in halves, so that one
//! item that cannot be stored does not take its neighbours with it. A crash loses what was not yet
//! committed, and nobody was told that it was.

use std::future::Future;
use std::sync::Arc;

use postern_kit::progress::ManyProgress;
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

impl<T: Clone + Send + Sync + 'static, R: Send + 'static> Group<T, R> {
    /// Starts collecting. `commit` returns one result per item, in order; on an error it must have
    /// stored nothing. `progress` tells whether commits get on.
    pub fn start<F, Fut>(
        limits: GroupLimits,
        weight: fn(&T) -> usize,
        progress: Arc<ManyProgress>,
        commit: F,
    ) -> Self
    where
        F: Fn(Arc<Vec<T>>) -> Fut + Send + Sync + 'static,
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
                let (commit, progress) = (commit.clone(), progress.clone());
                tokio::spawn(async move {
                    run(group, &progress, &*commit).await;
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

async fn run<T, R, F, Fut>(group: Vec<Waiting<T, R>>, progress: &ManyProgress, commit: &F)
where
    T: Clone,
    F: Fn(Arc<Vec<T>>) -> Fut,
    Fut: Future<Output = Result<Vec<R>, Error>>,
{
    let whole: (Vec<T>, Vec<_>) = group.into_iter().unzip();
    let mut groups = vec![whole];
    while let Some((items, mut callers)) = groups.pop() {
        let (items, count): (Arc<Vec<T>>, usize) = (Arc::new(items), callers.len());
        match progress.during(commit(items.clone())).await {
            Ok(results) => {
                for (caller, result) in callers.into_iter().zip(results) {
                    tell(caller, Ok(result));
                }
            }
            Err(error) if count == 1 || matches!(error, Error::Unavailable(_)) => {
                for caller in callers {
                    tell(caller, Err(error.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, count, "a group failed; trying again in halves");
                let mut items = Arc::unwrap_or_clone(items);
                let (late, late_callers) =
                    (items.split_off(count / 2), callers.split_off(count / 2));
                // The first half goes first: within a group, order decides who has an idempotency key.
                groups.push((late, late_callers));
                groups.push((items, callers));
            }
        }
    }
}

/// Gives a caller its result. One that has gone away wants no answer.
fn tell<R>(caller: oneshot::Sender<Result<R, Error>>, result: Result<R, Error>) {
    let _gone = caller.send(result);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;

    use super::*;

    type Groups = Arc<Mutex<Vec<Vec<u32>>>>;

    /// A store that fails for the items above 100, and what it stored, group by group.
    fn store(error: fn() -> Error) -> (Group<u32, u32>, Groups) {
        let stored = Groups::default();
        let limits = GroupLimits { weight_max: 1000, parallel: 1, waiting_max: 1000 };
        let groups = stored.clone();
        let commit = move |items: Arc<Vec<u32>>| {
            let result = match items.iter().any(|item| *item > 100) {
                true => Err(error()),
                false => Ok(items.iter().map(|item| item * 2).collect()),
            };
            if result.is_ok() {
                groups.lock().unwrap().push(items.to_vec());
            }
            async move { result }
        };
        (Group::start(limits, |_| 1, Arc::default(), commit), stored)
    }

    /// Hands these in before the collector gets its turn on the one thread there is: one group.
    async fn hand_in(group: &Group<u32, u32>, items: &[u32]) -> Vec<Result<u32, Error>> {
        join_all(items.iter().map(|item| group.call(*item))).await
    }

    #[tokio::test]
    async fn callers_share_a_commit() {
        let (group, stored) = store(|| Error::Conflict("x".to_owned()));
        assert_eq!(hand_in(&group, &[1, 2, 3]).await, [Ok(2), Ok(4), Ok(6)]);
        assert_eq!(*stored.lock().unwrap(), [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_poisoned_item_fails_alone() {
        let poison = || Error::Corrupt("it cannot be encoded".to_owned());
        let (group, stored) = store(poison);
        let results = hand_in(&group, &[1, 2, 101, 3, 4, 5, 102, 6]).await;
        let bad = Err(poison());
        let expected = [Ok(2), Ok(4), bad.clone(), Ok(6), Ok(8), Ok(10), bad, Ok(12)];
        assert_eq!(results, expected);
        assert_eq!(stored.lock().unwrap().concat(), [1, 2, 3, 4, 5, 6], "each once, in order");
    }

    #[tokio::test]
    async fn an_unreachable_store_is_not_asked_again() {
        let away = || Error::Unavailable("gone".to_owned());
        let (group, stored) = store(away);
        assert_eq!(hand_in(&group, &[1, 101, 2]).await, vec![Err(away()); 3]);
        assert!(stored.lock().unwrap().is_empty());
    }
}
