//! System calls of a run, as `strace` saw them, and runs into which it put a fault.
use crate::support::{Outcome, Stack, outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// The calls that change something, or open and close what is changed.
pub(super) const CALLS: [&str; 15] = [
    "openat",
    "write",
    "ftruncate",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "close",
];

/// One call that ended.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// The thread that made it.
    pub(super) thread: u32,
    pub(super) call: String,
    /// What it is about: the file behind the descriptor, or the name that was given; for a rename the new name.
    pub(super) path: String,
    /// The old name of a rename.
    pub(super) from: String,
    /// Arguments and result as they were printed.
    pub(super) text: String,
    pub(super) failed: bool,
}

impl Event {
    /// Whether it makes a file, or may.
    pub(super) fn creates(&self) -> bool {
        self.call == "openat" && self.text.contains("O_CREAT") && !self.failed
    }
}

/// A run of the binary under `strace` with these arguments of its own; what `strace` saw lies in `trace.log`.
fn strace(stack: &Stack, env: &[(&str, &str)], strace: &[String], args: &[&str]) -> Outcome {
    let plain = stack.command(args);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "0", "-e", "signal=none", "-o"]).arg(stack.path("trace.log"));
    command.args(strace).arg(plain.get_program()).args(plain.get_args()).current_dir(stack.path("repo"));
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outcome(command.envs(env.iter().copied()))
}

/// The calls of a run that must succeed.
pub(super) fn calls_of(stack: &Stack, env: &[(&str, &str)], args: &[&str]) -> Vec<Event> {
    let trace = ["-e".to_owned(), format!("trace={}", CALLS.join(","))];
    strace(stack, env, &trace, args).ok();
    let events = events(&fs::read_to_string(stack.path("trace.log")).expect("reads"));
    assert!(events.len() > 20, "strace saw nothing of {args:?}: {events:?}");
    events
}

/// A run in which the `number`-th such call of each thread meets the fault (`error=EIO`, `retval=1`), of calls on these
/// paths alone, if there are any. Returns what came of it, and how many calls were hit.
pub(super) fn inject(
    stack: &Stack,
    (env, args): (&[(&str, &str)], &[&str]),
    (call, number, fault): (&str, usize, &str),
    paths: &[String],
) -> (Outcome, usize) {
    let mut flags: Vec<String> = paths.iter().flat_map(|path| ["-P".to_owned(), path.clone()]).collect();
    flags.extend(["-e".to_owned(), format!("trace={call}")]);
    flags.extend(["-e".to_owned(), format!("inject={call}:{fault}:when={number}")]);
    let said = strace(stack, env, &flags, args);
    let log = fs::read_to_string(stack.path("trace.log")).expect("reads");
    (said, log.matches("(INJECTED").count())
}

/// For each kind of call the numbers, counted from 1 in each thread, at which one is about a path that counts. A thread's
/// first opens and closes are those of the loader, which are not ours to survive.
pub(super) fn points(events: &[Event], counts: impl Fn(&Event) -> bool) -> BTreeMap<String, BTreeSet<usize>> {
    let mut number: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let main = events.first().map(|event| event.thread);
    let mut loading = BTreeMap::new();
    for event in events {
        let number = number.entry((event.thread, &event.call)).or_default();
        *number += 1;
        if counts(event) {
            found.entry(event.call.clone()).or_default().insert(*number);
            if Some(event.thread) == main {
                loading.entry(event.call.clone()).or_insert(*number);
            }
        }
    }
    for (call, numbers) in &mut found {
        if let Some(first) = loading.get(call).filter(|_| ["openat", "close"].contains(&call.as_str())) {
            numbers.retain(|number| number >= first);
        }
    }
    found
}

/// Reads a log; a call that another thread came in between of stands in two parts.
fn events(log: &str) -> Vec<Event> {
    let (mut open, mut found): (BTreeMap<u32, String>, Vec<Event>) = (BTreeMap::new(), Vec::new());
    for line in log.lines() {
        let Some((thread, text)) = line.trim_start().split_once(' ') else { continue };
        let (Ok(thread), text) = (thread.parse(), text.trim_start()) else { continue };
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread, begun.to_owned());
            continue;
        }
        let whole = match text.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>")) {
            Some((_, rest)) => open.remove(&thread).unwrap_or_default() + rest,
            None => text.to_owned(),
        };
        found.extend(event(thread, &whole));
    }
    found
}

fn event(thread: u32, text: &str) -> Option<Event> {
    let (call, rest) = text.split_once('(')?;
    let quoted: Vec<&str> = rest.split('"').skip(1).step_by(2).collect();
    let descriptor =
        rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    let full = |name: &str| match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("{descriptor}/{name}"),
    };
    let (path, from) = match call {
        "openat" | "mkdirat" | "unlinkat" | "unlink" | "mkdir" | "rmdir" => {
            (full(quoted.first()?), String::new())
        }
        "rename" | "renameat" | "renameat2" => (full(quoted.get(1)?), full(quoted.first()?)),
        _ => (descriptor.to_owned(), String::new()),
    };
    let failed = text.rsplit_once(" = ").is_none_or(|(_, result)| result.starts_with('-'));
    Some(Event { thread, call: call.to_owned(), path, from, text: rest.to_owned(), failed })
}

#[test]
fn a_log_is_read_as_strace_writes_it() {
    let log = "7  openat(AT_FDCWD</r>, \"/d/a\", O_WRONLY|O_CREAT, 0600) = 5</d/a>\n\
               7  write(5</d/a>, \"\"..., 10 <unfinished ...>\n\
               8  openat(7</r/x>, \"b\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
               7  <... write resumed>)       = 10\n\
               7  rename(\"/d/a\", \"/d/b\")    = 0\n";
    let read = events(log);
    let seen: Vec<(&str, &str, bool)> =
        read.iter().map(|event| (&*event.call, &*event.path, event.failed)).collect();
    let expected = [
        ("openat", "/d/a", false),
        ("openat", "/r/x/b", true),
        ("write", "/d/a", false),
        ("rename", "/d/b", false),
    ];
    assert_eq!(seen, expected);
    assert!(read[0].creates() && read[3].from == "/d/a");
    let points = points(&read, |event| event.path.starts_with("/d"));
    assert_eq!(points["write"], BTreeSet::from([1]));
    assert!(points["openat"].contains(&1) && points.len() == 3, "{points:?}");
}
