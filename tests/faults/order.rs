//! The order of writes: data is durable before its marker is there, a marker is gone before its data goes, and every name
//! that is made, changed or removed is made durable with its folder.
//!
//! The rules are read from a trace of the real run. That they can fail is shown with the same trace less one fsync.
use super::trace::{Event, calls_of};
use super::{BEFORE, ENCRYPTED, KEY, LATER, count};
use crate::support::Stack;
use std::collections::BTreeSet;

/// What a name means to the rules.
fn is_marker(path: &str) -> bool {
    path.ends_with(".sha256") || path.ends_with(".lock.json")
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_sync(event: &Event) -> bool {
    ["fsync", "fdatasync"].contains(&event.call.as_str()) && !event.failed
}

/// What is wrong with the order of a run's calls, as far as they are about files that count.
fn wrong(events: &[Event], counts: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    // Files with bytes that are not durable yet, and folders with names that are not.
    let (mut dirty, mut unsynced): (BTreeSet<String>, BTreeSet<String>) = Default::default();
    let mut removed: BTreeSet<String> = BTreeSet::new();
    for event in events.iter().filter(|event| !event.failed && counts(&event.path)) {
        let path = &event.path;
        match event.call.as_str() {
            "openat" if event.creates() && event.text.contains("O_EXCL") => {
                if is_marker(path) {
                    wrong.extend(dirty.iter().map(|file| format!("{path} is made before {file} is durable")));
                    wrong.extend(
                        unsynced.iter().map(|one| format!("{path} is made before the names in {one}")),
                    );
                }
                unsynced.insert(folder(path).to_owned());
            }
            "write" => drop(dirty.insert(path.clone())),
            "rename" | "renameat" | "renameat2" => {
                if dirty.remove(&event.from) {
                    wrong.push(format!("{path} is renamed before its content is durable"));
                }
                if is_marker(path) {
                    wrong.extend(dirty.iter().map(|file| format!("{path} is made before {file} is durable")));
                }
                if path.ends_with(".sha256") {
                    wrong.extend(
                        unsynced.iter().map(|one| format!("{path} is made before the names in {one}")),
                    );
                }
                unsynced.insert(folder(path).to_owned());
            }
            "unlink" | "unlinkat" => {
                let archive = path.contains(".tar.") && !is_marker(path);
                if archive && removed.iter().all(|gone| !is_marker(gone)) {
                    wrong.push(format!("{path} is removed before its marker"));
                }
                wrong.extend(
                    unsynced.iter().map(|one| format!("{path} goes before the names in {one} are durable")),
                );
                removed.insert(path.clone());
                unsynced.insert(folder(path).to_owned());
                if archive {
                    removed.clear();
                }
            }
            "mkdir" | "mkdirat" => drop(unsynced.insert(folder(path).to_owned())),
            _ if is_sync(event) => {
                dirty.remove(path);
                unsynced.remove(path);
            }
            _ => {}
        }
    }
    wrong.extend(dirty.into_iter().map(|file| format!("{file} is never made durable")));
    wrong.extend(unsynced.into_iter().map(|one| format!("the names in {one} are never made durable")));
    wrong
}

/// The run keeps the order, and with any one fsync less it would not.
fn keeps_the_order(stack: &Stack, args: &[&str], least: usize) {
    let home = stack.path("").display().to_string();
    let places = ["drive", "repo/releases", "repo/.recovery/.", "repo/.recovery/h"];
    let places = places.map(|place| format!("{home}{place}"));
    let counts = |path: &str| {
        let inside = places.iter().any(|place| path.starts_with(place))
            || ["repo", "repo/.recovery"].iter().any(|name| path == format!("{home}{name}"));
        inside && !path.contains("/locks")
    };
    let events = calls_of(stack, &[KEY, ("RECOVERY_NOW", LATER)], args);
    assert_eq!(wrong(&events, counts), [""; 0], "{args:?}");
    let syncs: Vec<usize> =
        (0..events.len()).filter(|at| is_sync(&events[*at]) && counts(&events[*at].path)).collect();
    assert!(syncs.len() >= least, "only {} fsyncs in {args:?}", syncs.len());
    let mut needed = 0;
    for at in &syncs {
        let mut less = events.clone();
        less.remove(*at);
        needed += usize::from(!wrong(&less, counts).is_empty());
    }
    // Two neighbours may each cover what the other does.
    assert!(needed * 2 >= syncs.len(), "only {needed} of {} fsyncs would be missed", syncs.len());
    count("orders", syncs.len());
}

#[test]
fn a_backup_is_durable_before_its_marker() {
    for destination in ["", ENCRYPTED, "compression = \"zstd\"\n"] {
        let stack = Stack::new();
        stack.configure(destination);
        keeps_the_order(&stack, &["backup"], 9);
    }
}

#[test]
fn each_copy_is_durable_before_its_marker() {
    let stack = Stack::new();
    let drive = stack.path("drive").display().to_string();
    stack.sh(".", "mkdir drive/a drive/b");
    stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\ndestination = [\"a\", \"b\"]\n\
             [destination.a]\npath = \"{drive}/a\"\n[destination.b]\npath = \"{drive}/b\"\n"
        ),
    );
    keeps_the_order(&stack, &["backup"], 18);
    for place in ["drive/a", "drive/b"] {
        assert_eq!(stack.files(place).len(), 3, "{place}");
    }
}

#[test]
fn a_bundle_is_durable_before_its_lock() {
    let stack = Stack::configured();
    keeps_the_order(&stack, &["snapshot"], 8);
    stack.commit("more", "2026-03-02T08:30:00Z");
    keeps_the_order(&stack, &["snapshot", "--keep", "1", "--prune"], 10);
}

#[test]
fn a_backup_loses_its_marker_first() {
    let stack = Stack::new();
    stack.configure("keep = 1\n");
    for hour in [1, 2, 3] {
        stack.run_at(&BEFORE.replace("T12", &format!("T0{hour}")), &["backup"]).ok();
    }
    keeps_the_order(&stack, &["prune"], 10);
    assert_eq!(stack.files("drive").len(), 3);
    stack.run_at(BEFORE, &["backup"]).ok();
    keeps_the_order(&stack, &["backup", "--keep", "1", "--prune"], 15);
}

/// The rules themselves: each order that would lose something is seen.
#[test]
fn a_wrong_order_is_seen() {
    let event = |call: &str, path: &str| Event {
        thread: 1,
        call: call.into(),
        path: path.into(),
        from: String::new(),
        text: if call == "openat" { "O_CREAT|O_EXCL".into() } else { String::new() },
        failed: false,
    };
    let make = |path: &str| {
        [event("openat", path), event("write", path), event("fsync", path), event("fsync", "/d")]
    };
    let good = [&make("/d/a.tar.gz")[..], &make("/d/a.tar.gz.sha256")].concat();
    assert_eq!(wrong(&good, |_| true), [""; 0]);
    let bad = [&make("/d/a.tar.gz.sha256")[..], &make("/d/a.tar.gz")[..2]].concat();
    assert!(!wrong(&bad, |_| true).is_empty());
    let sync = event("fsync", "/d");
    let good =
        [event("unlink", "/d/a.tar.gz.sha256"), sync.clone(), event("unlink", "/d/a.tar.gz"), sync.clone()];
    assert_eq!(wrong(&good, |_| true), [""; 0]);
    let bad = [event("unlink", "/d/a.tar.gz"), sync.clone(), event("unlink", "/d/a.tar.gz.sha256"), sync];
    assert!(!wrong(&bad, |_| true).is_empty());
}
