//! Drills whose evidence has no place: on a full or read-only file system, or in a folder that cannot be made.
use super::super::support::{Outcome, Stack, outcome};
use super::{Kind, World};
use crate::full::service::{self, is_live};

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

/// The service runs on its own data again, and `recover` writes the evidence when there is room.
#[test]
fn a_full_drill_whose_evidence_has_no_place_gives_everything_back() {
    let stack = service::stack("", false);
    stack.run(&["backup"]).ok();
    let live = stack.listing("repo/.codex-api");
    let blocked =
        |stack: &Stack| stack.sh(".", "mkdir -p repo/docs/drills; mkdir repo/docs/drills/.recovery-new");
    blocked(&stack);
    let drill = ["restore-drill", "full", "--yes", "--no-fresh-backup"];
    stack.run(&drill).exits(3).says(&["only the evidence is missing", "restore-drill recover"]);
    is_live(&stack, &live);
    let status = stack.run(&["status", "--json"]).exits(1).json();
    assert_eq!(status["drills"], serde_json::json!([]), "{status}");
    stack.sh(".", "rmdir repo/docs/drills/.recovery-new");
    // As a kill behind the page leaves it: that is no record.
    let journal = std::fs::read_to_string(stack.path("repo/.recovery/drill.json")).expect("a journal");
    let journal: serde_json::Value = serde_json::from_str(&journal).expect("a journal");
    stack.file(&format!("repo/docs/drills/{}.md", journal["id"].as_str().expect("an id")), "");
    outcome(&mut stack.command(&["restore-drill", "recover"])).ok();
    is_live(&stack, &live);
    let document = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    assert_eq!(document["checked"], 1, "{document}");
}
