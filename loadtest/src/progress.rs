//! How far a run is: one line with the share done and the time left on a terminal, plain lines else.
//! Times are those that were planned, so the last one is a guess that gets better.
//!
//! Keeps nothing; a crash leaves the last line.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: f64,
    /// Planned seconds of what is over.
    over: f64,
    /// Planned seconds of what is under way, and since when.
    now: (f64, Instant),
}

impl Progress {
    /// Of so many planned seconds.
    pub(crate) fn new(total: f64) -> Self {
        let style = ProgressStyle::with_template("{percent:>3} % [{bar:30}] {wide_msg}");
        let terminal = std::io::stderr().is_terminal();
        let bar = style.ok().filter(|_| terminal).map(|style| {
            let bar = ProgressBar::new(total.max(1.0) as u64).with_style(style);
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        Self { bar, total: total.max(1.0), over: 0.0, now: (0.0, Instant::now()) }
    }

    /// A part of so many planned seconds begins, and the one before is over.
    pub(crate) fn begin(&mut self, planned: f64) {
        self.over += self.now.0;
        self.now = (planned, Instant::now());
    }

    /// Says what is done now.
    pub(crate) fn say(&self, what: &str) {
        let (planned, since) = self.now;
        let done = (self.over + since.elapsed().as_secs_f64().min(planned)).min(self.total);
        let percent = (done / self.total * 100.0) as u64;
        let left = (self.total - done) as u64;
        let left = format!("{}:{:02} left", left / 60, left % 60);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("{left}  {what}"));
            }
            // When nobody reads stderr there is nobody to tell.
            None => drop(writeln!(std::io::stderr(), "{percent:>3} %  {left}  {what}")),
        }
    }

    /// All is over.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
