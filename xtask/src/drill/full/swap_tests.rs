//! Folders that are moved aside and brought back, cut off at each step.
use super::*;

/// Does something with a folder and what was restored for it.
type Act<'a> = &'a dyn Fn(&mut Swap, &Path);

fn quiet(_: &Swap) -> Result<()> {
    Ok(())
}

/// A live folder with a file in it, and what was restored beside it; in memory, with `aside_dir` on a disk.
fn ready(aside_dir: Option<&Path>) -> (tempfile::TempDir, Swap, PathBuf) {
    let home = match aside_dir {
        None => tempfile::tempdir(),
        Some(_) => tempfile::tempdir_in("/dev/shm"),
    };
    let home = home.expect("a folder");
    let live = home.path().join("live");
    fs::create_dir(&live).expect("makes");
    fs::write(live.join("file"), "live").expect("writes");
    let swap = Swap::plan("data live".into(), &live, "x-0", aside_dir).expect("plans");
    swap.open(home.path()).expect("opens");
    let restored = swap.staging();
    fs::create_dir(&restored).expect("makes");
    fs::write(restored.join("file"), "restored").expect("writes");
    (home, swap, restored)
}

fn holds(swap: &Swap) -> String {
    fs::read_to_string(swap.live.join("file")).expect("the live file")
}

#[test]
fn the_live_folder_is_back_whenever_it_is_asked_for() {
    let steps: [Act<'_>; 3] = [
        &|_, _| {},
        &|swap, _| assert_eq!(swap.move_aside(&mut quiet).expect("moves"), 0),
        &|swap, restored| {
            swap.move_aside(&mut quiet).expect("moves");
            swap.place(restored, &mut quiet).expect("places");
            assert_eq!(holds(swap), "restored");
        },
    ];
    for step in steps {
        let (_home, mut swap, restored) = ready(None);
        step(&mut swap, &restored);
        for _ in 0..2 {
            swap.back(&mut quiet).expect("brings it back");
            assert_eq!(holds(&swap), "live");
        }
        let kept = swap.tidy().expect("tidies");
        assert_eq!(kept.is_empty(), !swap.work.exists());
        assert!(swap.live.exists() && (kept.is_empty() || swap.work.join("restored-0").exists()));
    }
}

#[test]
fn what_was_put_in_its_place_is_kept() {
    let (_home, mut swap, restored) = ready(None);
    swap.move_aside(&mut quiet).expect("moves");
    swap.place(&restored, &mut quiet).expect("places");
    fs::write(swap.live.join("new"), "written since").expect("writes");
    swap.back(&mut quiet).expect("brings it back");
    assert_eq!(fs::read_to_string(swap.work.join("restored-0/new")).expect("kept"), "written since");
    assert_eq!(swap.tidy().expect("tidies"), [swap.work.clone()]);
}

#[test]
fn on_another_file_system_a_verified_copy_lies_aside_before_the_original_goes() {
    let other = tempfile::tempdir().expect("a folder on a disk");
    let (_home, mut swap, restored) = ready(Some(other.path()));
    assert!(swap.is_apart(), "the folder for temporary files lies in memory: this test needs one on a disk");
    let mut states = Vec::new();
    let mut note = |swap: &Swap| {
        states.push((swap.state, swap.live.exists(), swap.aside.join("file").exists()));
        Ok(())
    };
    swap.move_aside(&mut note).expect("moves");
    assert_eq!(states, [(State::Copied, true, true), (State::CopyAlone, false, true)]);
    swap.place(&restored, &mut quiet).expect("places");
    for _ in 0..2 {
        swap.back(&mut quiet).expect("brings it back");
        assert_eq!(holds(&swap), "live");
    }
    assert!(swap.aside.exists(), "nothing is removed before all is back");
    assert_eq!(swap.tidy().expect("tidies"), [swap.work.clone()]);
    assert!(!swap.aside.exists() && swap.work.join("restored-0").exists());
}

/// At each change of state: whether it gets on disk or not, and whatever the disk says, the live folder comes back.
#[test]
fn a_state_that_is_not_on_disk_does_not_count() {
    for fails in 0..2 {
        let other = tempfile::tempdir().expect("a folder on a disk");
        let (_home, mut swap, _) = ready(Some(other.path()));
        let (mut on_disk, mut notes) = (swap.clone(), 0);
        let mut note = |swap: &Swap| {
            notes += 1;
            if notes > fails {
                return Err(Error::refused("no room", ""));
            }
            on_disk = swap.clone();
            Ok(())
        };
        swap.move_aside(&mut note).expect_err("a note failed");
        assert_eq!(swap, on_disk);
        on_disk.back(&mut quiet).expect("brings it back");
        assert_eq!(holds(&on_disk), "live");
    }
}

#[test]
fn what_somebody_else_has_laid_there_is_not_moved_away() {
    let (_home, mut swap, restored) = ready(None);
    swap.move_aside(&mut quiet).expect("moves");
    swap.place(&restored, &mut quiet).expect("places");
    fs::remove_dir_all(&swap.live).expect("removes");
    fs::create_dir(&swap.live).expect("makes");
    fs::write(swap.live.join("file"), "by hand").expect("writes");
    let error = swap.back(&mut quiet).expect_err("strange");
    assert!(error.next_step().is_some_and(|next| next.contains("aside")), "{error}");
    assert_eq!(holds(&swap), "by hand");
    // Whoever moves the live folder back by hand is done.
    fs::remove_dir_all(&swap.live).expect("removes");
    fs::rename(&swap.aside, &swap.live).expect("moves");
    swap.back(&mut quiet).expect("is back");
    assert_eq!(holds(&swap), "live");
}

#[test]
fn a_folder_that_is_not_the_one_it_was_is_not_taken_for_it() {
    let (home, mut swap, _) = ready(None);
    fs::rename(&swap.live, home.path().join("elsewhere")).expect("moves");
    swap.back(&mut quiet).expect_err("gone");
    swap.move_aside(&mut quiet).expect_err("gone");
    fs::create_dir(&swap.live).expect("makes");
    swap.back(&mut quiet).expect_err("another");
}

#[test]
fn a_folder_that_was_not_there_goes_away_again() {
    let home = tempfile::tempdir().expect("a folder");
    let mut swap = Swap::plan("release app".into(), &home.path().join("new"), "x-0", None).expect("plans");
    swap.open(home.path()).expect("opens");
    assert_eq!(swap.move_aside(&mut quiet).expect("nothing to move"), 0);
    let restored = swap.staging();
    fs::create_dir(&restored).expect("makes");
    swap.place(&restored, &mut quiet).expect("places");
    assert!(swap.live.exists());
    swap.back(&mut quiet).expect("takes it away");
    assert!(!swap.live.exists());
}

/// Drills of two repositories that begin in the same second take the same names.
#[test]
fn what_has_such_a_name_already_is_left_alone() {
    let (home, other) = (tempfile::tempdir_in("/dev/shm"), tempfile::tempdir());
    let (home, other) = (home.expect("a folder"), other.expect("a folder on a disk"));
    let live = home.path().join("live");
    fs::create_dir(&live).expect("makes");
    let swap = Swap::plan("data live".into(), &live, "x-0", Some(other.path())).expect("plans");
    let taken = swap.aside.parent().expect("above");
    fs::create_dir(taken).expect("makes");
    swap.open(home.path()).expect_err("is there");
    assert!(!swap.work.exists() && taken.exists());
}

#[test]
fn what_cannot_be_moved_is_refused_before_anything_is() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("file"), "").expect("writes");
    for path in [home.path().join("file"), PathBuf::from("/proc"), PathBuf::from("/dev"), PathBuf::from("/")]
    {
        Swap::plan(String::new(), &path, "x", None).expect_err("refused");
    }
    let live = home.path().join("live");
    fs::create_dir(&live).expect("makes");
    Swap::plan(String::new(), &live, "x", Some(Path::new("/dev/shm")))
        .expect_err("memory is no place for live data");
    Swap::plan(String::new(), &live, "x", Some(&home.path().join("away"))).expect_err("is not there");
}
