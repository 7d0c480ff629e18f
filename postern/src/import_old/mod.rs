//! Taking over what the old system keeps, through the core's own doors.
//!
//! Every row is offered anew by every run, and the core knows what it has: a run that a crash cut off
//! is simply started again.

mod cipher;
mod dump;
mod links;
mod report;
mod rows;
mod run;
mod write;

pub(crate) use cipher::Cipher;
pub(crate) use dump::load;
pub(crate) use run::run;
