//! Drills: prove that what was stored comes back, and write down what was proven.
//!
//! [`pick`], [`rotation`], [`steps`], [`demands`], `expected`, [`due`], [`done`], [`times`], [`measured`], [`verdict`],
//! [`redact`] and `secrets` are pure: values in, values out; they see no file system, process, clock or environment.
//! [`run`] carries the steps out, [`door`] is where it reaches the other rooms, [`evidence`] is what is written down.
pub mod compare;
pub mod control;
mod copies;
mod demanded;
pub mod demands;
pub mod done;
pub mod door;
pub mod due;
pub mod evidence;
mod expected;
pub mod full;
pub mod gather;
mod key_files;
pub mod measured;
pub mod pick;
pub mod redact;
pub mod rotation;
pub mod run;
mod secrets;
pub mod steps;
pub mod subject;
pub mod times;
pub mod verdict;
