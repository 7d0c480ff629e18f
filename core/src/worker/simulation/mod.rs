//! A deterministic simulation of the queue. A virtual clock, nodes that crash, hang and come back, a
//! store whose answers get lost, a network that answers in any order, all drawn from one seed, over
//! the real store and the real rules; then [`story::breaches`] says what must not have happened.
//!
//! A seed that fails is printed; `POSTERN_TEST_SIMULATION_SEED=NUMBER` runs that one alone, over an
//! empty store.

mod node;
mod story;
mod world;

use postern_kit::env::Env;

use crate::store::Stores;
use crate::store::conformance::build::NOW;
use crate::store::embedded::Embedded;

use self::world::World;

/// Seeds in all, and over how many threads with a store each.
const SEEDS: u64 = 3000;
const THREADS: u64 = 4;
/// Virtual time between the beginnings of two seeds on one store: none sees the nodes of another.
const APART_MS: i64 = 10_000_000;

/// A store that loses everything when the machine does, for which a simulation has no use.
fn store() -> (tempfile::TempDir, Stores) {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    let folder = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
    let stores = Embedded::open(folder.path()).unwrap();
    (folder, stores)
}

/// Runs these seeds one after another. Returns how many facts were seen.
fn run(seeds: impl Iterator<Item = u64>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_folder, stores) = store();
    let (mut facts, mut start_ms) = (0, NOW);
    for seed in seeds {
        let stories = runtime.block_on(World::new(&stores, seed, start_ms).live());
        start_ms += APART_MS;
        for story in stories {
            facts += story.facts.len();
            let breaches = story::breaches(&story);
            assert!(
                breaches.is_empty(),
                "POSTERN_TEST_SIMULATION_SEED={seed}: {breaches:?} in {story:#?}"
            );
        }
    }
    facts
}

#[test]
fn thousands_of_seeds_break_nothing() {
    if let Some(seed) = Env::process().get("POSTERN_TEST_SIMULATION_SEED") {
        let seed = seed.parse().expect("POSTERN_TEST_SIMULATION_SEED is a number");
        run(std::iter::once(seed));
        return;
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|first| std::thread::spawn(move || run((first..SEEDS).step_by(THREADS as usize))))
        .collect();
    let facts: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .sum();
    // Otherwise nothing was simulated.
    assert!(facts > 20 * SEEDS as usize, "{facts}");
    println!("{SEEDS} seeds, {facts} facts");
}
