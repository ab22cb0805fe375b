//! The full drill: the runbook's disaster, in place, and the way back from every instant of it.
//!
//! The service stops, the live data is moved aside (by rename, never deleted), release and data are restored in its
//! place, the service starts and is checked. Whatever fails, the live data returns and the service runs on it again.
//! [`plan`] is pure; [`journal`] says at each instant how to get back, and is on disk before the step that it speaks
//! of; [`swap`] moves folders; [`run`] takes the steps and [`back`] takes them back, for a drill that failed and for one that
//! was killed alike. A successful drill loses nothing either: [`same`] compares what was restored with what lies aside,
//! and [`written`] tells what was written to it before it went away again.
pub mod asides;
pub mod back;
mod expected;
pub mod journal;
pub mod plan;
pub mod run;
pub mod same;
mod space;
pub mod supply;
pub mod swap;
pub mod written;
