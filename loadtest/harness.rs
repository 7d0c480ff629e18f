//! What the micro-benchmarks of all crates share: a list of named calls that is either measured by
//! criterion, or run so many times and nothing else, for a program that counts instructions
//! (`loadtest/instructions`). Compiled into each benchmark.
//!
//! Pure; keeps nothing.

use std::io::Write as _;

use criterion::Criterion;

/// A call under a name; it is made again and again, and must do the same each time.
pub(crate) type Case = (&'static str, Box<dyn Fn()>);

/// `--names` lists the cases, `--once NAME COUNT` makes the calls, anything else is criterion's.
pub(crate) fn run(cases: &[Case]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--names", ..] => {
            for (name, _) in cases {
                writeln!(std::io::stdout(), "{name}").expect("somebody reads the names");
            }
        }
        ["--once", name, count, ..] => {
            let (_, call) = cases.iter().find(|(one, _)| one == name).expect("a name of --names");
            for _ in 0..count.parse::<u32>().expect("a count") {
                call();
            }
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for (name, call) in cases {
                criterion.bench_function(name, |bencher| bencher.iter(call));
            }
            criterion.final_summary();
        }
    }
}
