//! How fast a door is driven: as fast as it answers (a closed loop), or at a fixed rate that does not
//! wait for answers (an open loop). In an open loop the time of an answer is counted from the instant
//! at which its request was due, so a server that stands still is charged for every request that
//! should have been made meanwhile (no coordinated omission).
//!
//! Keeps nothing; a crash loses the measurement under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;

/// An answer that takes longer is an error.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long the last calls of an open loop may wait for their turn.
const TURN_MAX: Duration = Duration::from_millis(100);

/// A caller with whatever it keeps between two calls.
pub(crate) trait Door: Send + 'static {
    /// Makes the `number`th call of all callers and says how many things were done by it.
    fn call(&mut self, number: u64) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// When the next call is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As soon as the caller has its answer.
    Closed,
    /// So many calls a second of all callers together.
    Rate(f64),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Things done.
    pub(crate) count: u64,
    /// Calls that failed.
    pub(crate) errors: u64,
    /// What the first of them said.
    pub(crate) error: Option<String>,
    /// How long it took, with the last answers.
    pub(crate) elapsed: Duration,
    /// Microseconds of each call that was answered.
    pub(crate) latencies: Histogram<u64>,
}

struct Shared {
    began: Instant,
    pace: Pace,
    /// Calls that were begun.
    taken: AtomicU64,
    /// The time is over.
    stop: AtomicBool,
    /// A permit for each call that is due.
    due: Semaphore,
}

/// Lets every door be called for `time`.
pub(crate) async fn drive<D: Door>(
    doors: Vec<D>,
    pace: Pace,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let shared = Arc::new(Shared {
        began: Instant::now(),
        pace,
        taken: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        due: Semaphore::new(0),
    });
    let callers: Vec<_> =
        doors.into_iter().map(|door| tokio::spawn(caller(door, shared.clone()))).collect();
    let scheduled = match pace {
        Pace::Closed => {
            tokio::time::sleep(time).await;
            0
        }
        Pace::Rate(rate) => {
            let shared = shared.clone();
            // Timers of the runtime tick in milliseconds, which is longer than an answer takes.
            tokio::task::spawn_blocking(move || clock(&shared, rate, time)).await?
        }
    };
    let over = Instant::now();
    let is_behind = || shared.taken.load(Ordering::Relaxed) < scheduled;
    while is_behind() && over.elapsed() < TURN_MAX {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shared.stop.store(true, Ordering::Relaxed);
    shared.due.close();
    let mut all = Part::new()?;
    for caller in callers {
        all.add(caller.await??)?;
    }
    // What was due and never begun has waited until now, at least.
    if let Pace::Rate(rate) = pace {
        for number in shared.taken.load(Ordering::Relaxed)..scheduled {
            let waited = shared.began.elapsed().saturating_sub(at(number, rate));
            all.latencies.record(micros(waited))?;
            all.failed("it was due and its turn never came".to_owned());
        }
    }
    let elapsed = shared.began.elapsed();
    let Part { count, errors, error, latencies } = all;
    Ok(Outcome { count, errors, error, elapsed, latencies })
}

/// When a call is due, from the beginning.
fn at(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Gives each call its permit at its time; returns how many.
fn clock(shared: &Shared, rate: f64, time: Duration) -> u64 {
    let mut given = 0;
    loop {
        let next = at(given, rate);
        if next >= time {
            return given;
        }
        // Nobody unparks it, but a park may end early.
        while let Some(left) = next.checked_sub(shared.began.elapsed()).filter(|l| !l.is_zero()) {
            std::thread::park_timeout(left);
        }
        let until = (shared.began.elapsed().min(time).as_secs_f64() * rate) as u64 + 1;
        let until = until.max(given + 1);
        shared.due.add_permits((until - given) as usize);
        given = until;
    }
}

fn micros(time: Duration) -> u64 {
    (time.as_micros() as u64).max(1)
}

/// What one caller saw.
struct Part {
    count: u64,
    errors: u64,
    error: Option<String>,
    latencies: Histogram<u64>,
}

impl Part {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { count: 0, errors: 0, error: None, latencies: Histogram::new(3)? })
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.count += other.count;
        self.errors += other.errors;
        self.error = self.error.take().or(other.error);
        self.latencies.add(other.latencies)?;
        Ok(())
    }

    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }
}

async fn caller<D: Door>(mut door: D, shared: Arc<Shared>) -> anyhow::Result<Part> {
    let mut part = Part::new()?;
    loop {
        let (number, begun) = match shared.pace {
            Pace::Closed if shared.stop.load(Ordering::Relaxed) => return Ok(part),
            Pace::Closed => (shared.taken.fetch_add(1, Ordering::Relaxed), Instant::now()),
            Pace::Rate(rate) => {
                let Ok(permit) = shared.due.acquire().await else { return Ok(part) };
                permit.forget();
                let number = shared.taken.fetch_add(1, Ordering::Relaxed);
                (number, shared.began + at(number, rate))
            }
        };
        // A door that never waits would keep the timers of the runtime from being looked at.
        tokio::task::consume_budget().await;
        match tokio::time::timeout(ANSWER_MAX, door.call(number)).await {
            Ok(Ok(done)) => {
                part.count += done;
                part.latencies.record(micros(begun.elapsed()))?;
            }
            Ok(Err(error)) => part.failed(format!("{error:#}")),
            Err(_) => part.failed("no answer in time".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands still at its first call only.
    struct Stalls(Duration);

    impl Door for Stalls {
        async fn call(&mut self, number: u64) -> anyhow::Result<u64> {
            if number == 0 {
                tokio::time::sleep(self.0).await;
            }
            Ok(1)
        }
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_all_that_were_due_in_it() {
        let stall = Duration::from_millis(500);
        let doors = vec![Stalls(stall)];
        let time = Duration::from_secs(1);
        let outcome = drive(doors, Pace::Rate(100.0), time).await.expect("it runs");
        // Half of the hundred calls were due while the only caller stood still.
        let median = outcome.latencies.value_at_quantile(0.4);
        assert!(outcome.latencies.len() >= 99, "{} calls", outcome.latencies.len());
        assert!(outcome.latencies.max() >= 450_000, "{}", outcome.latencies.max());
        let slow = outcome.latencies.count_between(50_000, 1_000_000);
        assert!((35..=60).contains(&slow), "{slow} slow calls, 40 % {median} µs");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_loop_sees_one_slow_call() {
        let doors = vec![Stalls(Duration::from_millis(200))];
        let outcome = drive(doors, Pace::Closed, Duration::from_millis(400)).await;
        let outcome = outcome.expect("it runs");
        assert_eq!(outcome.latencies.count_between(150_000, u64::MAX / 2), 1);
        assert_eq!(outcome.errors, 0);
    }

    #[tokio::test]
    async fn what_never_had_its_turn_is_counted() {
        let doors = vec![Stalls(Duration::from_millis(600))];
        let outcome = drive(doors, Pace::Rate(100.0), Duration::from_millis(300)).await;
        let outcome = outcome.expect("it runs");
        assert_eq!(outcome.count + outcome.errors, outcome.latencies.len());
        assert!(outcome.errors >= 25, "{} errors", outcome.errors);
    }
}
