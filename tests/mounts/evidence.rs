//! Drills whose evidence has no place: on a full or read-only file system, or in a folder that cannot be made.
use super::super::support::Outcome;
use super::{Kind, World};
use crate::full::service::{self, is_closed, is_live};

const DRILL: [&str; 1] = ["restore-drill"];
const DRILLS: &str = "repo/docs/drills";

/// It could not run, nothing restored is left, and nobody takes it for a drill.
fn no_drill(world: &World, said: Outcome, why: &str) {
    said.exits(3).says(&[why]);
    assert_eq!(world.sh("find . -maxdepth 1 -name 'recovery-*'"), "", "restored data is left");
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(status["drills"], serde_json::json!([]), "{status}");
    assert!(status["findings"].to_string().contains("no drill has proven recovery yet"), "{status}");
    assert_eq!(world.sh(&format!("find {DRILLS} -name 'drill-*' -o -name '.recovery-new'")), "");
}

#[test]
fn a_drill_whose_evidence_has_no_place_is_none() {
    let Some(world) = World::new(Kind::Disk) else { return };
    world.configure("[drill]\nspot-every = \"31d\"\n");
    world.backup(0).ok();
    let live = world.stack.listing("repo/.codex-api");
    world.sh(&format!("mkdir -p {DRILLS}; mount -t tmpfs -o size=64k none {DRILLS}"));
    // Not a byte, and not enough for all of it.
    for left in [0, 1, 2] {
        world.sh(&format!(
            "cat /dev/zero > {DRILLS}/filler || true; truncate -s -{}K {DRILLS}/filler",
            4 * left
        ));
        no_drill(&world, world.run(&DRILL), "No space left");
    }
    world.sh(&format!("rm {DRILLS}/filler; mount -o remount,ro {DRILLS}"));
    no_drill(&world, world.run(&DRILL), "Read-only file system");
    world.sh(&format!("umount {DRILLS}; rm -r {DRILLS}; echo > {DRILLS}"));
    let said = world.run(&DRILL).exits(3).says(&["docs/drills"]);
    assert_eq!(world.sh("find . -maxdepth 1 -name 'recovery-*'"), "", "{}", said.shown());
    world.sh(&format!("rm {DRILLS}"));
    assert_eq!(live, world.stack.listing("repo/.codex-api"));
    world.run(&DRILL).ok();
    world.run(&["status"]).ok();
}

const FULL: [&str; 4] = ["restore-drill", "full", "--yes", "--no-fresh-backup"];
const RECOVER: [&str; 2] = ["restore-drill", "recover"];

/// The service runs on its own data again, and `recover` writes the evidence when there is room.
#[test]
fn a_full_drill_whose_evidence_has_no_place_gives_everything_back() {
    let Some(world) = World::new(Kind::Disk) else { return };
    let stack = &world.stack;
    service::add(stack, "", false);
    world.backup(0).ok();
    let live = stack.listing("repo/.codex-api");
    let listed = || world.sh(&format!("ls -A {DRILLS}"));
    let missing = |why: &str| {
        let before = listed();
        for args in [&FULL[..], &RECOVER, &RECOVER] {
            world.run(args).exits(3).says(&["only the evidence is missing", "restore-drill recover", why]);
            is_live(stack, &live);
            world.run(&["status"]).exits(1).says(&["only its evidence is missing"]);
        }
        assert_eq!(listed(), before);
    };
    let is_written = |records: usize| {
        world.run(&RECOVER).ok();
        is_live(stack, &live);
        let document = world.run(&["verify", "--evidence", "--json"]).ok().json();
        assert_eq!(document["checked"], records, "{document}");
    };
    world.sh(&format!("mkdir -p {DRILLS}; mount -t tmpfs -o size=1M none {DRILLS}"));
    // Not a byte, and not enough for all of it.
    for left in [0, 1, 2] {
        world.sh(&format!(
            "cat /dev/zero > {DRILLS}/filler || true; truncate -s -{}K {DRILLS}/filler",
            4 * left
        ));
        missing("No space left");
        world.sh(&format!("rm {DRILLS}/filler"));
        is_written(left + 1);
    }
    // One that is read-only is seen before anything is touched; one that becomes so is not.
    let read_only = format!("mount -o remount,ro {}", stack.path(DRILLS).display());
    world.sh(&read_only);
    world.run(&FULL).exits(3).says(&["Read-only file system"]);
    is_live(stack, &live);
    assert!(is_closed(stack));
    let writable = format!("mount -o remount,rw {DRILLS}");
    world.sh(&writable);
    let text = std::fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("smoke = [", &format!("smoke = [\"{read_only}\", ")));
    missing("Read-only file system");
    world.sh(&writable);
    is_written(4);
}
