//! Every input that the fuzzer ever found fault with, and crafted ones, through the same code that it fuzzes: the bodies
//! in `fuzz/src`. Each input that ever failed stays in `tests/data/fuzzed/<target>/`.
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use targets::TARGETS;

/// Set where this test runs itself again, within its bounds.
const INSIDE: &str = "RECOVERY_FUZZED_INSIDE";
/// Most kilobytes of address space, and most seconds of processor time, for all inputs together: what hangs is killed.
const BOUNDS: &str = "ulimit -v 500000 -t 120; exec \"$0\" \"$@\"";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/fuzzed")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("lists");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_input_that_ever_failed_passes() {
    if std::env::var_os(INSIDE).is_some() {
        return every_input();
    }
    let mut command = Command::new("bash");
    command.args(["-c", BOUNDS]).arg(std::env::current_exe().expect("this test"));
    command.args(["--exact", "fuzzed::every_input_that_ever_failed_passes", "--nocapture"]);
    let output = command.env(INSIDE, "1").env("MALLOC_ARENA_MAX", "1").output().expect("starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{}\n{said}", output.status);
}

#[expect(clippy::print_stdout, reason = "the last name is the input that failed, whatever ended the process")]
fn every_input() {
    // As in the fuzzer: a thread of the reader that panics ends all of it, and nobody waits for its answer.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
    for (target, body) in TARGETS {
        for name in names(&folder().join(target)) {
            println!("{target}/{name}");
            body(&fs::read(folder().join(target).join(name)).expect("reads"));
        }
    }
}

#[test]
fn every_target_has_its_inputs_and_its_door_to_the_fuzzer() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder()), known);
    let doors = names(&folder().join("../../../fuzz/fuzz_targets"));
    assert_eq!(doors, known.iter().map(|name| format!("{name}.rs")).collect());
    for (name, _) in TARGETS {
        assert!(!names(&folder().join(name)).is_empty(), "no input for {name}");
    }
}
