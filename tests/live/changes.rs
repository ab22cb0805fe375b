//! Files that are written to, cut, removed or replaced while they are read. Each run is halted by strace right behind a
//! system call on the file in question, the file is changed, and the run goes on: so every change comes where it hurts.
use super::super::support::{Outcome, Stack, outcome};
use super::{of_kind, unshared};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The file that is changed, and one that stands before it in every order.
const LOG: &str = "repo/.codex-api/log";
const FIRST: &str = "repo/.codex-api/a-first";

/// A stack with a log of a hundred lines, or of so many bytes that it is streamed.
fn stack(large: bool) -> Stack {
    let stack = Stack::configured();
    stack.file(FIRST, "first\n");
    stack.sh("repo/.codex-api", if large { "seq 1500000 > log" } else { "seq 100 > log" });
    stack.sh("repo/.codex-api", "cp log ../../original");
    stack
}

/// A backup that is halted behind this call on this file, `when` strace says so; there `script` runs in the data folder,
/// with the number of the halt as `$n`. Returns what the run said, and how often it was halted.
fn halted(stack: &Stack, call: &str, when: &str, file: &str, script: &str) -> (Value, usize) {
    let (backup, trace) = (stack.command(&["backup", "--json"]), stack.path("trace"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-P"]).arg(stack.path(file)).arg("-o").arg(&trace);
    command.args([&format!("-etrace={call}"), &format!("-einject={call}:signal=SIGSTOP:when={when}")]);
    command.arg(backup.get_program()).args(backup.get_args()).current_dir(stack.path("repo"));
    command.env_clear().envs(backup.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace starts");
    let mut halts = 0;
    loop {
        let text = fs::read_to_string(&trace).unwrap_or_default();
        let stops: Vec<&str> = text.lines().filter(|line| line.contains("--- SIGSTOP {")).collect();
        if let Some(stop) = stops.get(halts) {
            halts += 1;
            stack.sh("repo/.codex-api", &format!("n={halts}; {script}"));
            let thread = stop.split_whitespace().next().and_then(|word| word.parse().ok());
            let thread = thread.and_then(Pid::from_raw).expect("the number of the thread");
            kill_process(thread, Signal::CONT).expect("goes on");
        } else if run.try_wait().expect("waits").is_some() {
            break;
        } else {
            sleep(Duration::from_millis(2));
        }
    }
    assert!(halts > 0, "the run was never halted");
    let output = run.wait_with_output().expect("ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{told}");
    (serde_json::from_str(&said).expect("a document"), halts)
}

/// The one finding of the run about data in use, and how bad it is.
#[track_caller]
fn found(made: &Value, kind: &str, severity: &str) {
    let all = made["sets"][0]["findings"].as_array().expect("findings");
    assert_eq!(all.len(), 1, "{made}");
    let found = of_kind(made, kind);
    assert_eq!(found.len(), 1, "{made}");
    assert_eq!(found[0]["severity"], severity, "{made}");
}

#[track_caller]
fn nothing_found(made: &Value) {
    assert_eq!(made["sets"][0]["findings"], serde_json::json!([]), "{made}");
}

/// The backup is whole; what it holds, beside the source and the original, passes this shell test.
#[track_caller]
fn holds(stack: &Stack, test: &str) {
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("back/.codex-api", test);
}

#[test]
fn a_log_that_grew_is_a_true_prefix_and_no_more_than_worth_knowing() {
    for large in [false, true] {
        let stack = stack(large);
        let (made, _) = halted(&stack, "read", "1", LOG, "echo more >> log");
        found(&made, "grew", "info");
        holds(&stack, "cmp log ../../original");
    }
}

/// What is appended before the first byte is read takes no part: the length is that of the opening.
#[test]
fn a_log_that_grows_all_the_time_is_a_true_prefix() {
    for large in [false, true] {
        for call in ["read", "statx"] {
            let stack = stack(large);
            let (made, halts) = halted(&stack, call, "1+", LOG, "seq 1000 >> log");
            assert!(halts > 1 || call == "read", "{halts}");
            found(&made, "grew", "info");
            holds(
                &stack,
                "head -c $(stat -c %s log) ../../repo/.codex-api/log | cmp - log; test $(stat -c %s log) -ge $(stat -c %s ../../original)",
            );
        }
    }
}

#[test]
fn a_file_that_was_changed_in_place_once_is_read_anew() {
    for large in [false, true] {
        // The second write sets the time back.
        for write in ["", "touch -r ../../original log"] {
            let stack = stack(large);
            stack.sh("repo/.codex-api", "touch -d 2020-01-01 log; cp -p log ../../original");
            let script = format!("printf XYZ | dd of=log conv=notrunc status=none; {write}");
            let (made, _) = halted(&stack, "read", "1", LOG, &script);
            nothing_found(&made);
            holds(&stack, "cmp log ../../repo/.codex-api/log; test \"$(head -c 3 log)\" = XYZ");
        }
    }
}

#[test]
fn a_file_that_is_changed_in_place_each_time_is_told() {
    for large in [false, true] {
        let stack = stack(large);
        let script = "printf '%03d' $n | dd of=log conv=notrunc status=none";
        let (made, halts) = halted(&stack, "read", "1+", LOG, script);
        assert!(halts >= 3, "{halts}");
        found(&made, "changed", "warning");
        holds(&stack, "cmp <(tail -c +4 log) <(tail -c +4 ../../original)");
    }
}

/// Nothing is filled up with zeros.
#[test]
fn a_file_that_shrinks_each_time_holds_what_was_left() {
    let stack = stack(false);
    let (made, _) = halted(&stack, "statx", "1+", LOG, "truncate -s -20 log");
    found(&made, "shrank", "warning");
    holds(&stack, "test -s log; head -c $(stat -c %s log) ../../original | cmp - log");
}

#[test]
fn a_file_that_was_cut_once_is_read_anew() {
    for (large, call) in [(false, "read"), (false, "statx"), (true, "read"), (true, "statx")] {
        let stack = stack(large);
        let (made, _) = halted(&stack, call, "1", LOG, "truncate -s -20 log");
        nothing_found(&made);
        holds(&stack, "cmp log ../../repo/.codex-api/log");
    }
}

#[test]
fn a_log_that_is_rotated_by_copy_and_truncate_is_read_anew() {
    for large in [false, true] {
        let stack = stack(large);
        let (made, _) = halted(&stack, "read", "1", LOG, "cp log ../../log.1; : > log; echo new >> log");
        nothing_found(&made);
        holds(&stack, "test \"$(cat log)\" = new");
    }
}

#[test]
fn a_file_that_was_removed_while_it_was_read_is_there() {
    for large in [false, true] {
        let stack = stack(large);
        let (made, _) = halted(&stack, "read", "1", LOG, "rm log");
        found(&made, "vanished", "info");
        holds(&stack, "cmp log ../../original");
    }
}

#[test]
fn a_file_that_went_before_it_was_read_is_told() {
    let stack = stack(false);
    let (made, _) = halted(&stack, "read", "1", FIRST, "rm log");
    found(&made, "vanished", "warning");
    holds(&stack, "test ! -e log");
}

/// The database beside it was copied as of one transaction, and needs none.
#[test]
fn a_journal_that_went_with_its_transaction_is_not_told() {
    let stack = stack(false);
    stack.sh(
        "repo/.codex-api",
        "sqlite3 live.db 'CREATE TABLE t(n); INSERT INTO t VALUES (7)'; : > live.db-journal",
    );
    let (made, _) = halted(&stack, "read", "1", FIRST, "rm live.db-journal");
    nothing_found(&made);
    holds(&stack, "test $(sqlite3 live.db 'SELECT n FROM t') = 7");
}

#[test]
fn a_file_that_another_one_replaced_is_the_one_or_the_other() {
    let replace = "sed s/1/$n/ log > next; mv next log";
    let small = stack(false);
    let (made, _) = halted(&small, "read", "1", LOG, "seq 7 > next; mv next log");
    nothing_found(&made);
    holds(&small, "seq 7 | cmp - log");
    for large in [false, true] {
        let stack = stack(large);
        let script = format!("cp log ../../was.$n; {replace}");
        let (made, _) = halted(&stack, "read", if large { "1" } else { "1+" }, LOG, &script);
        found(&made, "replaced", "info");
        holds(&stack, "for was in ../../was.*; do if cmp -s $was log; then exit 0; fi; done; exit 1");
    }
}

#[test]
fn a_file_that_became_something_else_while_it_was_read_is_there_and_told() {
    for other in ["mkdir log; echo in > log/inside", "ln -s a-first log", "mkfifo log"] {
        let stack = stack(false);
        let (made, _) = halted(&stack, "read", "1", LOG, &format!("rm log; {other}"));
        found(&made, "turned", "warning");
        holds(&stack, "test -f log -a ! -L log; cmp log ../../original");
    }
}

/// What stands there when its turn comes is what is backed up.
#[test]
fn a_file_that_became_something_else_before_it_was_read_is_what_it_is_now() {
    for (other, test) in [
        ("mkdir log; echo in > log/inside", "test \"$(cat log/inside)\" = in"),
        ("ln -s a-first log", "test $(readlink log) = a-first"),
        ("mkfifo log", "test ! -e log"),
    ] {
        let stack = stack(false);
        let (made, _) = halted(&stack, "read", "1", FIRST, &format!("rm log; {other}"));
        let findings = made["sets"][0]["findings"].as_array().expect("findings");
        assert_eq!(findings.len(), usize::from(other.contains("fifo")), "{made}");
        holds(&stack, test);
    }
}

#[test]
fn a_folder_that_became_something_else_is_what_it_is_now() {
    for other in ["echo x > sessions", "ln -s a-first sessions"] {
        let stack = stack(false);
        let (made, _) = halted(&stack, "read", "1", FIRST, &format!("rm -r sessions; {other}"));
        nothing_found(&made);
        holds(&stack, "test -f sessions");
    }
    let stack = stack(false);
    let (made, _) = halted(&stack, "read", "1", FIRST, "rm -r sessions");
    found(&made, "vanished", "warning");
    holds(&stack, "test ! -e sessions");
}

/// A backup with a warning is never taken for one that says all there is.
#[test]
fn what_was_told_is_backed_up_anew_the_next_time() {
    let stack = stack(false);
    halted(&stack, "read", "1+", LOG, "printf '%03d' $n | dd of=log conv=notrunc status=none");
    let said: Outcome = outcome(&mut stack.plain(&["backup", "--json"])).ok();
    assert_eq!(said.json()["sets"][0]["status"], "ok", "{}", said.shown());
    holds(&stack, "cmp log ../../repo/.codex-api/log");
}

/// Such as those of `/proc`: an empty file with content is an error, and no empty file.
#[test]
fn a_file_with_more_bytes_than_its_size_says_is_an_error() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "mkdir kernel; : > really-empty");
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script =
        format!("mount --bind /proc/sys/kernel/random .codex-api/kernel; '{xtask}' backup --force --json");
    let made = unshared(&stack, &script).exits(1).json()["sets"][0].clone();
    let findings = made["findings"].as_array().expect("findings");
    let longer = |finding: &&Value| finding["what"].to_string().contains("has more bytes than the 0");
    let told: Vec<&Value> = findings.iter().filter(longer).collect();
    assert!(told.iter().any(|finding| finding["path"].to_string().contains("kernel/boot_id")), "{made}");
    assert!(!made.to_string().contains("really-empty"), "{made}");
}
