//! The mount protocol with real mounts: a drive that is away, dead, read-only, full, taken away or exchanged while a
//! backup is written ends the run as documented, and the bare folder beneath it never receives a byte.
mod evidence;
mod far;
pub(crate) mod space;

use super::support::{Outcome, outcome};
use serde_json::Value;
pub(crate) use space::WITHOUT;
use space::{Kind, World};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const KINDS: [Kind; 3] = [Kind::Disk, Kind::Bind, Kind::Fuse];

/// Every verb that looks at the drive ends with 75, or `status` with a finding; each names the mount point and says
/// `what`, and none takes the drive for empty.
fn all_say_that_it_is_away(world: &World, what: &[&str]) {
    let point = world.point();
    let check = |said: Outcome, code: i32| {
        let said = said.exits(code).says(&[&point]).says(what);
        for wrong in ["is gone", "nothing to verify", "no backup of", "has no backup"] {
            assert!(!said.shown().contains(wrong), "{:?}: {wrong}: {}", world.kind, said.shown());
        }
    };
    check(world.run(&["backup"]), 75);
    check(world.run(&["backup", "--dry-run"]), 75);
    check(world.run(&["verify"]), 75);
    check(world.run(&["prune"]), 75);
    check(world.run(&["prune", "--forget-lost"]), 75);
    check(world.run(&["restore", "codex-api", "--to", "../back"]), 75);
    check(world.run(&["restore-drill"]), 75);
    check(world.run(&["status"]), 1);
    let file = format!("{point}/backups/2026/03-10/codex-api-2026-03-10T110000Z.tar.gz");
    check(world.run(&["verify", &file]), 75);
    check(world.run(&["restore", &file, "--to", "../back"]), 75);
    assert!(!world.stack.path("back").exists());
    world.untouched();
}

/// The earlier backups, of these seconds, are whole, the next run succeeds, and nothing else counts.
fn all_is_well_again(world: &World, earlier: &[u8], next: u8) {
    let checked = world.run(&["verify", "--json"]).ok().json();
    assert_eq!(checked["checked"], earlier.len(), "{:?}: {checked}", world.kind);
    world.backup(next).ok();
    let checked = world.run(&["verify", "--json"]).ok().json();
    assert_eq!(checked["checked"], earlier.len() + 1, "{:?}: {checked}", world.kind);
    // One that could not run while the drive was away is an error until another is verified.
    world.run(&["restore-drill"]).ok();
    let status = world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["data"][0]["count"], earlier.len() + 1, "{:?}: {status}", world.kind);
    world.untouched();
}

#[test]
fn every_kind_of_mount_takes_backups_and_gives_them_back() {
    for kind in KINDS {
        let Some(world) = World::new(kind) else { return };
        let made = outcome(world.command(&["backup", "--json"]).env("RECOVERY_NOW", "2026-03-10T11:00:00Z"));
        let made = made.ok().json();
        let durability = if kind == Kind::Fuse { "mount-cache" } else { "local" };
        assert_eq!(made["sets"][0]["durability"], durability, "{kind:?}");
        let told = world.backup(1).ok();
        assert_eq!(told.shown().contains("cache of a FUSE mount"), kind == Kind::Fuse, "{}", told.shown());
        let history = world.sh("cat repo/.recovery/history.jsonl");
        for line in history.lines() {
            let record: Value = serde_json::from_str(line).expect("a record");
            assert_eq!(record["durability"], durability, "{kind:?}: {record}");
        }
        all_is_well_again(&world, &[0, 1], 2);
        let status = world.run(&["status", "--json"]).ok().json();
        assert_eq!(status["destinations"][0]["durability"], durability, "{kind:?}");
        world.run(&["restore", "codex-api", "--to", "../back"]).ok();
        assert_eq!(world.stack.listing("repo/.codex-api"), world.stack.listing("back/.codex-api"));
        let drill = world.run(&["restore-drill", "--json"]).ok().json();
        assert_eq!(drill["not_tested"].to_string().contains("cache"), kind == Kind::Fuse, "{drill}");
        world.run(&["prune", "--keep", "1"]).ok();
        assert_eq!(world.stored().len(), 3, "{kind:?}: {:?}", world.stored());
        world.untouched();
    }
}

#[test]
fn a_drive_that_is_away_is_told_by_every_verb() {
    for kind in KINDS {
        let Some(world) = World::new(kind) else { return };
        world.backup(0).ok();
        world.unplug();
        all_say_that_it_is_away(&world, &["nothing is mounted there", "mount the drive"]);
        world.plug();
        all_is_well_again(&world, &[0], 1);
    }
}

#[test]
fn a_mount_whose_server_has_died_is_told_as_that() {
    let Some(world) = World::new(Kind::Fuse) else { return };
    world.backup(0).ok();
    world.signal_server("KILL");
    // What is named is the mount, not the folder of the backups in it: that one cannot be unmounted.
    let unmount = format!("`umount -l {}`", world.point());
    all_say_that_it_is_away(&world, &["the mount has died", &unmount]);
    // Nor where nothing was said of a mount.
    world.configure("");
    all_say_that_it_is_away(&world, &["the mount has died", &unmount]);
    world.configure(&format!("mount = \"{}\"\n", world.point()));
    world.sh("umount -l drive");
    world.plug();
    all_is_well_again(&world, &[0], 1);
}

#[test]
fn a_read_only_drive_takes_nothing_and_still_gives_back() {
    for kind in [Kind::Disk, Kind::Bind] {
        let Some(world) = World::new(kind) else { return };
        world.backup(0).ok();
        world.backup(1).ok();
        let before = world.stored();
        world.sh("mount -o remount,bind,ro drive");
        for args in [&["backup"][..], &["backup", "--dry-run"], &["prune", "--keep", "1"]] {
            world.run(args).exits(3).says(&[&world.point(), "Read-only", "mount it writable"]);
        }
        world.run(&["verify"]).ok();
        world.run(&["restore", "codex-api", "--to", "../back"]).ok();
        assert_eq!(world.stored(), before);
        world.sh("mount -o remount,bind,rw drive");
        all_is_well_again(&world, &[0, 1], 2);
    }
}

/// Mounts a drive of 2 MB in the place of the other.
fn small() -> Option<World> {
    let world = World::new(Kind::Disk)?;
    world.sh("umount drive; mount -t tmpfs -o size=2M none disk; mount --bind disk drive");
    world.stack.sh("repo/.codex-api", "head -c 10M /dev/urandom > ../large; true");
    Some(world)
}

#[test]
fn a_full_drive_is_no_room_and_not_a_drive_that_went_away() {
    let Some(world) = small() else { return };
    let large = "mv repo/large repo/.codex-api/large";
    let no_room = |world: &World| {
        world.backup(30).exits(3).says(&[&world.point(), "No space left", "free some room"]);
    };
    // The first backup: its run makes the destination's folder, and removes it again.
    world.stack.sh(".", large);
    no_room(&world);
    assert_eq!(world.sh("ls -A drive"), "");
    // A later one.
    world.stack.sh(".", "mv repo/.codex-api/large repo/large");
    world.backup(0).ok();
    let before = world.stored();
    world.stack.sh(".", large);
    no_room(&world);
    assert_eq!(world.stored(), before);
    // Nothing is free at all: that is known before the first byte.
    world.sh("cat /dev/zero > drive/filler || true");
    world.run(&["backup", "--dry-run"]).exits(3).says(&["free some room"]);
    no_room(&world);
    world.sh("rm drive/filler");
    world.stack.sh(".", "mv repo/.codex-api/large repo/large");
    all_is_well_again(&world, &[0], 1);
}

#[test]
fn doctor_says_before_that_the_next_backup_may_not_fit() {
    let Some(world) = small() else { return };
    world.stack.sh("repo/.codex-api", "head -c 400k /dev/urandom > more");
    world.backup(0).ok();
    let words = "is free: the next may not fit";
    assert!(!world.run(&["doctor"]).ok().shown().contains(words));
    world.sh("head -c 1400k /dev/zero > drive/filler");
    world.run(&["doctor"]).ok().says(&["the newest backup of codex-api takes", words, "larger drive"]);
    // Nor can anything be written where nothing is free.
    world.sh("mkdir small; mount -t tmpfs -o size=64k none small; cat /dev/zero > small/filler 2>/dev/null || true");
    world.stack.sh("repo", "printf '[drill]\nevidence-dir = \"../small/drills\"\n' >> recovery.toml");
    world.run(&["doctor"]).exits(1).says(&["evidence", "No space left"]);
}

/// It is the target of a restore that is full, and nothing at a destination is in the way.
#[test]
fn a_restore_without_room_says_where_room_is_missing() {
    let Some(world) = World::new(Kind::Disk) else { return };
    world.stack.sh("repo/.codex-api", "head -c 3M /dev/urandom > large");
    world.backup(0).ok();
    world.sh("mkdir small; mount -t tmpfs -o size=1M none small");
    for to in ["../small", "../small/back"] {
        let said = world.run(&["restore", "codex-api", "--to", to]).exits(3).says(&["No space left", "--to"]);
        assert!(!said.shown().contains("prune"), "{}", said.shown());
        assert_eq!(world.sh("ls -A small"), "");
    }
    // A drive of its own is a target too, and what a killed run left in it is not in the way.
    world.sh("umount small; mount -t tmpfs none small; mkdir small/.recovery-restore-1; touch small/.recovery-restore-1/.held");
    world.run(&["restore", "codex-api", "--to", "../small"]).ok();
    assert_eq!(world.sh("ls -A small"), ".codex-api\n");
    world.sh("diff -r repo/.codex-api small/.codex-api");
}

/// There is room, and less than the last backup took: that is told before anything is written, in a dry run too.
#[test]
fn less_room_than_the_last_backup_took_is_told_before_the_first_byte() {
    let Some(world) = small() else { return };
    world.stack.sh("repo/.codex-api", "head -c 300000 /dev/urandom > noise");
    world.backup(0).ok();
    let before = world.stored();
    let leave = "free=$(df --output=avail -B1 drive | tail -n 1); head -c $((free - 100000)) /dev/zero > drive/filler";
    world.sh(leave);
    for args in [&["backup", "--dry-run"][..], &["backup"]] {
        world.run(args).exits(3).says(&["free, and", "are needed", "free some room there"]);
    }
    world.sh("rm drive/filler");
    assert_eq!(world.stored(), before);
    all_is_well_again(&world, &[0], 1);
}

#[test]
fn a_drive_that_goes_away_in_the_middle_of_writing_costs_this_backup_alone() {
    for kind in KINDS {
        let Some(world) = World::new(kind) else { return };
        world.backup(0).ok();
        world.arrived();
        let before = world.stored();
        world.large();
        let run = world.stopped(10);
        if kind == Kind::Fuse {
            world.signal_server("KILL");
        } else {
            world.unplug();
        }
        let (code, said) = run.goes_on();
        assert_eq!(code, Some(75), "{kind:?}: {said}");
        assert!(said.contains(&world.point()) && said.contains("run again"), "{kind:?}: {said}");
        let died = said.contains("the mount has died");
        assert!(if kind == Kind::Fuse { died } else { said.contains("went away") }, "{kind:?}: {said}");
        world.untouched();
        if kind == Kind::Fuse {
            world.sh("umount -l drive");
        }
        world.plug();
        if kind != Kind::Fuse {
            assert_eq!(
                world.stored(),
                before,
                "{kind:?}: what this run made is removed from the drive itself"
            );
        }
        all_is_well_again(&world, &[0], 20);
    }
}

/// The run stands between its look at the drive and its first byte: gpg, which it asks for the last backup, waits.
#[test]
fn a_drive_that_goes_away_before_the_first_byte_leaves_none_beneath() {
    for kind in KINDS {
        let Some(world) = World::new(kind) else { return };
        let key = ("BACKUP_KEY", "correct horse");
        world.configure(&format!("mount = \"{}\"\npassphrase-env = \"{}\"\n", world.point(), key.0));
        let backup = |second: u8| {
            let mut command = world.plain(&["backup"]);
            command.env("RECOVERY_NOW", format!("2026-03-10T11:00:{second:02}Z")).env(key.0, key.1);
            command
        };
        outcome(&mut backup(0)).ok();
        world.arrived();
        let before = world.stored();
        world.stack.file("repo/.codex-api/new", "new");
        let gpg = "mkdir slow; printf '#!/bin/sh\n> %s/asked\nwhile [ ! -e %s/go ]; do sleep 0.02; done\nexec %s \"$@\"\n' \
                   \"$PWD\" \"$PWD\" $(command -v gpg) > slow/gpg; chmod 755 slow/gpg";
        world.stack.sh(".", gpg);
        let path =
            format!("{}:{}", world.stack.path("slow").display(), std::env::var("PATH").expect("a path"));
        let mut run = backup(1);
        run.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = run.spawn().expect("starts");
        while !world.stack.path("asked").exists() {
            sleep(Duration::from_millis(5));
        }
        world.sh("umount -l drive");
        world.stack.file("go", "");
        let output = run.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{kind:?}: {said}");
        assert!(said.contains(&world.point()) && said.contains("went away"), "{kind:?}: {said}");
        world.untouched();
        world.settled();
        world.plug();
        assert_eq!(world.stored(), before, "{kind:?}");
        outcome(&mut backup(2)).ok();
        outcome(world.command(&["verify"]).env(key.0, key.1)).ok();
    }
}

#[test]
fn another_drive_in_its_place_receives_nothing() {
    for kind in [Kind::Disk, Kind::Bind] {
        for exchange in ["umount -l drive; mount --bind other drive", "mount --bind other drive"] {
            let Some(world) = World::new(kind) else { return };
            world.backup(0).ok();
            let before = world.stored();
            world.large();
            world.sh("mkdir other");
            if kind == Kind::Disk {
                world.sh("mount -t tmpfs none other");
            }
            let run = world.stopped(10);
            world.sh(exchange);
            let (code, said) = run.goes_on();
            assert_eq!(code, Some(75), "{kind:?}, {exchange}: {said}");
            assert!(said.contains(&world.point()) && said.contains("another took its place"), "{said}");
            assert_eq!(world.sh("ls -A other"), "", "{kind:?}, {exchange}");
            world.sh("umount -l drive");
            world.sh("mountpoint -q drive || mount --bind disk drive");
            assert_eq!(world.stored(), before, "{kind:?}, {exchange}");
            all_is_well_again(&world, &[0], 20);
        }
    }
}

/// A mount that is asked for is the one that the destination lies on, not one beside it, above it or beneath a link.
#[test]
fn a_destination_lies_on_the_mount_that_is_asked_for() {
    for kind in KINDS {
        let Some(world) = World::new(kind) else { return };
        let point = world.point();
        let to = |place: &str| world.run(&["backup", "--mount-check", "--dest", place]);
        world.configure("");
        to(&point).ok();
        to(&format!("{point}/one")).ok();
        to(&format!("{point}/one/two")).exits(75).says(&[&point, "mount point"]);
        let before = world.stored();
        world.sh("mkdir elsewhere");
        if kind != Kind::Fuse {
            world.sh("ln -s \"$PWD/elsewhere\" drive/backups");
            to(&format!("{point}/backups")).exits(75).says(&[&point, "is not on this mount"]);
            world.configure(&format!("mount = \"{point}\"\n"));
            world.run(&["backup"]).exits(75).says(&[&point, "is not on this mount"]);
        }
        assert_eq!(world.sh("ls -A elsewhere"), "");
        assert_eq!(world.stored(), before);
        world.untouched();
    }
}

/// Whoever asks a mount that hangs waits, but not without end. The cases wait at the same time.
#[test]
fn a_mount_that_hangs_is_given_up_on() {
    std::thread::scope(|scope| {
        scope.spawn(a_server_that_takes_a_question_and_never_answers);
        a_server_that_stands_still();
    });
}

fn a_server_that_stands_still() {
    let Some(world) = World::new(Kind::Fuse) else { return };
    world.backup(0).ok();
    let slow = "mkdir slow; printf '#!/bin/sh\n> %s/asked; exec sleep 600\n' \"$PWD\" > slow/mountpoint; chmod 755 slow/mountpoint";
    world.stack.sh(".", slow);
    let path = format!("{}:{}", world.stack.path("slow").display(), std::env::var("PATH").expect("a path"));
    let start = |args: &[&str], path: Option<&str>| {
        let mut command = world.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(path.map(|path| ("PATH", path))).spawn().expect("starts")
    };
    // The tool hangs, though the mount does not.
    let tool = start(&["verify"], Some(&path));
    while !world.stack.path("asked").exists() {
        sleep(Duration::from_millis(5));
    }
    world.signal_server("STOP");
    // The kernel answers for it from memory, for a second.
    sleep(Duration::from_millis(1_200));
    let file = format!("{}/backups/2026/03-10/codex-api-2026-03-10T110000Z.tar.gz", world.point());
    let mut runs = Vec::new();
    for (args, code) in [
        (&["backup"][..], 75),
        (&["verify"], 75),
        (&["status"], 1),
        (&["restore", "codex-api", "--to", "../back"], 75),
        (&["verify", &file], 75),
        (&["restore", &file, "--to", "../back"], 75),
    ] {
        runs.push((start(args, None), code, "did not answer"));
    }
    runs.push((tool, 75, "did not answer"));
    for (run, code, said) in runs {
        let output = run.wait_with_output().expect("ends");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(&world.point()) && told.contains(said), "{told}");
    }
    world.untouched();
    world.signal_server("CONT");
    all_is_well_again(&world, &[0], 1);
}

/// A server that has taken the question: nothing ends the one who waits for its answer, so somebody else must ask.
fn a_server_that_takes_a_question_and_never_answers() {
    let Some(world) = World::new(Kind::Fuse) else { return };
    world.unplug();
    world.sh("python3 -c '
import socket, time
server = socket.socket()
server.bind((\"127.0.0.1\", 0))
server.listen(50)
open(\"port\", \"w\").write(str(server.getsockname()[1]))
time.sleep(3600)' > /dev/null 2>&1 < /dev/null &
         for n in $(seq 600); do [ -s port ] && break; sleep 0.05; done
         RCLONE_CONFIG=/dev/null setsid rclone mount :http: drive --http-url http://127.0.0.1:$(cat port) \
             --http-no-head --cache-dir \"$PWD/cache\" > /dev/null 2>&1 < /dev/null &
         for n in $(seq 600); do mountpoint -q drive && exit; sleep 0.05; done; false");
    let mut runs = Vec::new();
    for (args, code) in [(&["verify"][..], 75), (&["status"], 1), (&["backup"], 75)] {
        let mut command = world.command(args);
        runs.push((command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"), code));
    }
    for (run, code) in runs {
        let output = run.wait_with_output().expect("ends");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(&world.point()) && told.contains("did not answer"), "{told}");
    }
    world.untouched();
}

/// Where a machine cannot run these tests they fail and say how it could, unless they may be left out; then they say so.
#[test]
fn no_test_of_mounts_is_left_out_in_silence() {
    let empty = tempfile::tempdir().expect("a folder");
    let one = |leave: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "mounts::a_mount_whose_server_has_died_is_told_as_that"]);
        command.env("PATH", empty.path()).env_remove(WITHOUT).envs(leave.map(|value| (WITHOUT, value)));
        outcome(&mut command)
    };
    one(None).fails().says(&["run the tests as root", WITHOUT]);
    one(Some("0")).fails();
    let left = one(Some("1")).ok();
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("reads");
    assert!(readme.contains(&format!("`{WITHOUT}=1`")), "README.md does not tell of it");
    assert!(left.stderr.contains("LEFT OUT: mounts::a_mount_whose_server_has_died"), "{}", left.shown());
}
