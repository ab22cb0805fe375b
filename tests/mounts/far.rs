//! What needs a mount of its own: another machine's drive that is read-only, room of this machine for what goes to
//! another, drives that count no blocks, and one that goes and returns. The other machine is a shell in the namespace.
use super::super::support::outcome;
use super::space::{Kind, World};

/// The set goes to the folder `backups` of the drive, as if it were another machine's.
fn far(world: &World, more: &str) {
    world.stack.file("near", "while [ \"$1\" != far ]; do shift; done; shift; exec sh -c \"$*\"\n");
    let (near, point) = (world.stack.path("near").display().to_string(), world.point());
    world.stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\n[destination.far]\n\
             path = \"far:{point}/backups\"\nssh = \"sh {near}\"\n{more}"
        ),
    );
    world.sh("mkdir -p drive/backups");
}

#[test]
fn another_machines_read_only_drive_takes_nothing_and_still_gives_back() {
    let Some(world) = World::new(Kind::Disk) else { return };
    far(&world, "");
    world.backup(0).ok();
    let before = world.stored();
    world.sh("mount -o remount,bind,ro drive");
    for args in [&["backup"][..], &["backup", "--dry-run"]] {
        world.run(args).exits(3).says(&["far:", "Read-only", "mount it writable"]);
    }
    world.run(&["verify"]).ok();
    world.run(&["restore", "codex-api", "--to", "../back"]).ok();
    world.sh("mount -o remount,bind,rw drive");
    assert_eq!(world.stored(), before);
    world.backup(1).ok();
    world.untouched();
}

/// What goes to another machine alone is made on this one first.
#[test]
fn room_for_what_goes_to_another_machine_is_looked_at_here_too() {
    let Some(world) = World::new(Kind::Disk) else { return };
    far(&world, "");
    world.stack.sh("repo/.codex-api", "head -c 900000 /dev/urandom > noise");
    world.backup(0).ok();
    let before = world.stored();
    world.sh("mount -t tmpfs -o size=400k none repo/.recovery");
    for args in [&["backup", "--dry-run"][..], &["backup"]] {
        let said = world.run(args).exits(3);
        said.says(&[".recovery has", "are needed", "made on this one first"]);
    }
    assert_eq!(world.stored(), before);
    world.sh("umount repo/.recovery");
    world.backup(1).ok();
    world.untouched();
}

/// tmpfs without a limit counts no blocks, and says that none are free.
#[test]
fn a_drive_that_counts_no_blocks_takes_backups() {
    for another in [false, true] {
        let Some(world) = World::new(Kind::Disk) else { return };
        world.sh("umount drive; mount -t tmpfs -o size=0 none disk; mount --bind disk drive");
        assert_eq!(world.sh("stat -f -c %b drive").trim(), "0");
        if another {
            far(&world, "");
        }
        world.run(&["backup", "--dry-run"]).ok();
        world.backup(0).ok();
        // With one before it, as much room is asked for as that took.
        world.backup(1).ok();
        world.run(&["verify"]).ok();
        world.untouched();
    }
}

/// A drive that is taken away while it is written to, and is back at once: the backup is made anew.
#[test]
fn a_drive_that_goes_and_returns_while_it_is_written_to_is_waited_for() {
    for kind in [Kind::Disk, Kind::Bind] {
        let Some(world) = World::new(kind) else { return };
        world.configure(&format!("mount = \"{}\"\nretry-for = \"10m\"\n", world.point()));
        world.backup(0).ok();
        world.large();
        let run = world.stopped(10);
        world.unplug();
        world.plug();
        let (code, said) = run.goes_on();
        assert_eq!(code, Some(0), "{kind:?}: {said}");
        assert!(said.contains("trying again in 1 s"), "{kind:?}: {said}");
        let stored = world.stored();
        assert_eq!(stored.len(), 6, "{kind:?}: {stored:?}");
        outcome(&mut world.plain(&["verify"])).ok();
        world.untouched();
    }
}
