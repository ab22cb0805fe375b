//! Drills: prove that what was stored comes back, and write down what was proven.
//!
//! [`pick`], [`rotation`], [`steps`], [`demands`], [`due`], [`evidence`], [`chain`], [`measured`], [`verdict`], [`render`] and
//! [`redact`] are pure: values in, values out; they see no file system, process, clock or environment. [`run`] carries the
//! steps out, [`rooms`] is the door through which it reaches the other rooms, [`record`] stores the evidence.
pub mod chain;
pub mod checklist;
pub mod compare;
pub mod control;
mod copies;
mod demanded;
pub mod demands;
mod done;
pub mod due;
pub mod evidence;
mod expected;
pub mod full;
pub mod gather;
mod key_files;
pub mod lost;
pub mod measured;
mod mended;
pub mod pick;
pub mod record;
pub mod redact;
pub mod render;
pub mod rooms;
pub mod rotation;
mod rows;
pub mod run;
mod secrets;
pub mod signed;
pub mod steps;
pub mod subject;
pub mod trend;
pub mod verdict;
