//! Fuzz targets as unit tests, so that private parsers stay private. A target is a test whose name
//! begins with `fuzz_`; it states a property of every input with [`check!`], and its corpus is the
//! folder of the target's name in `fuzz/` of its crate.
//!
//! In `cargo test` the property is run on the corpus and then, for a moment, on mutations of it.
//! `tests/fuzz` runs the same test for as long as one likes under libFuzzer, led by coverage.
//!
//! An input that breaks a property is written to the folder for temporary files. A crash leaves at
//! most such a file.

#[cfg(feature = "libfuzzer")]
mod libfuzzer;
mod mutate;

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mutate::Mutator;

/// The file that alone is run, when this variable names one.
const INPUT: &str = "POSTERN_FUZZ_INPUT";
/// The most mutated inputs of one target in `cargo test`.
const INPUTS_MAX: usize = 2000;
/// The most time they take together; one slow input may go beyond.
const TIME_MAX: Duration = Duration::from_millis(200);

/// Runs a property, which panics where it does not hold, on the inputs of a target.
#[macro_export]
macro_rules! check {
    ($target:literal, $property:expr) => {
        $crate::run(env!("CARGO_MANIFEST_DIR"), $target, $property)
    };
}

/// See [`check!`].
///
/// # Panics
///
/// When the property does not hold, or there is no corpus.
pub fn run(crate_folder: &str, target: &str, property: impl Fn(&[u8]) + 'static) {
    #[cfg(feature = "libfuzzer")]
    if let Some(arguments) = libfuzzer::arguments() {
        libfuzzer::run(arguments, Box::new(property));
    }
    let corpus = match std::env::var_os(INPUT) {
        Some(file) => vec![read(file.into())],
        None => corpus(&Path::new(crate_folder).join("fuzz").join(target)),
    };
    let current = Current { target: target.to_owned(), input: RefCell::default() };
    for (file, input) in &corpus {
        current.set(Some(file), input);
        property(input);
    }
    if std::env::var_os(INPUT).is_some() {
        return;
    }
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    let mut mutator = Mutator::new(&inputs);
    let begun = Instant::now();
    for _ in 0..INPUTS_MAX {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let input = mutator.next();
        current.set(None, &input);
        property(&input);
    }
}

/// The input as text; what is not UTF-8 is replaced.
pub fn text(input: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(input)
}

/// The first byte, for choices that a property makes, and the rest. Nothing is chosen by 0.
pub fn choice(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}

/// The input in two pieces, cut at a place that its first byte names, and the whole of it.
pub fn cut(input: &[u8]) -> ([&[u8]; 2], &[u8]) {
    let (first, whole) = choice(input);
    let at = usize::from(first).min(whole.len());
    let (head, tail) = whole.split_at(at);
    ([head, tail], whole)
}

fn corpus(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("the corpus {} is not there: {error}", folder.display()));
    let mut files: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus {} is empty", folder.display());
    files.into_iter().map(read).collect()
}

fn read(file: PathBuf) -> (PathBuf, Vec<u8>) {
    let input = std::fs::read(&file);
    let input = input.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    (file, input)
}

/// The input that is being tried, so that it can be told when the property panics.
struct Current {
    target: String,
    input: RefCell<(Option<PathBuf>, Vec<u8>)>,
}

impl Current {
    fn set(&self, file: Option<&PathBuf>, input: &[u8]) {
        *self.input.borrow_mut() = (file.cloned(), input.to_owned());
    }
}

impl Drop for Current {
    #[allow(clippy::print_stderr, reason = "beside the panic's own message")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (file, input) = self.input.take();
        if let Some(file) = file {
            eprintln!("the input was {}", file.display());
            return;
        }
        eprintln!("the input was b\"{}\"", input.escape_ascii());
        let file = std::env::temp_dir().join(format!("postern-fuzz-{}", self.target));
        if std::fs::write(&file, input).is_ok() {
            eprintln!("it was written to {}; mend and keep it in the corpus", file.display());
        }
    }
}
