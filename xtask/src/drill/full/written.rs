//! What was written to the restored data while it was in the place of the live data, and did not go back with that.
//!
//! By the change time (`ctime`) of each entry, which nobody can set, against the time at which the folder was put there. What
//! was removed shows in its folder. Reads only, needs the journal alone, and says the same again when it is asked again.
use super::journal::Journal;
use super::swap::Swap;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Paths that are named; others are counted.
const NAMED: usize = 10;

/// A warning for each folder that was written to.
pub fn written(journal: &Journal) -> Vec<Finding> {
    let told = |swap: &Swap| {
        let found = of(swap);
        found.unwrap_or_else(|error| {
            Some(Finding { severity: Severity::Warning, ..Finding::of("drill", &error) })
        })
    };
    journal.swaps.iter().filter_map(told).collect()
}

fn of(swap: &Swap) -> Result<Option<Finding>> {
    let (Some(since), folders) = (swap.placed_at_nanos, swap.put_away_folders()) else { return Ok(None) };
    let Some(folder) = folders.first() else { return Ok(None) };
    let live = show(&swap.live);
    let away = "was another folder while the service was checked";
    if swap.moment()? <= since {
        let what =
            format!("{away}, and the clock was set back meanwhile: what was written there cannot be told");
        let repair = format!("compare {} with it: what was written there did not go back", show(folder));
        return Ok(Some(Finding::warning(live, what, repair)));
    }
    let mut newer = Newer { since, count: 0, named: Vec::new() };
    for folder in &folders {
        // Its own change time is that of its last move.
        let changed = modified(&look(folder)?) > since;
        newer.folder(folder, Path::new(""), changed)?;
    }
    if newer.count == 0 {
        return Ok(None);
    }
    let more = match newer.count - newer.named.len() as u64 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let paths = match newer.count {
        1 => "1 path that was".to_owned(),
        count => format!("{count} paths that were"),
    };
    let (folders, named): (Vec<_>, _) =
        (folders.iter().map(|path| show(path)).collect(), newer.named.join(", "));
    let what = format!(
        "{away}: {paths} written there did not go back with the live data: {named}{more}; kept in {}",
        folders.join(", ")
    );
    let repair = "look through them, and bring back by hand what belongs to users: `prune` removes them when \
                  `keep-aside` is over";
    Ok(Some(Finding::warning(live, what, repair)))
}

/// What was changed after a moment.
struct Newer {
    since: i64,
    count: u64,
    named: Vec<String>,
}

impl Newer {
    /// Names what is in a folder; the folder itself where it was `changed` and nothing that is in it shows why.
    fn folder(&mut self, folder: &Path, name: &Path, changed: bool) -> Result<()> {
        let mut within = false;
        let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
        for entry in entries {
            let path = entry.map_err(Error::io("list", folder))?.path();
            let (meta, name) = (look(&path)?, name.join(path.file_name().unwrap_or_default()));
            let newer = touched(&meta) > self.since;
            within |= newer;
            if meta.is_dir() {
                self.folder(&path, &name, newer)?;
            } else if newer {
                self.add(show(&name));
            }
        }
        if changed && !within {
            self.add(format!("{}/", show(name)));
        }
        Ok(())
    }

    fn add(&mut self, name: String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(name);
        }
    }
}

fn look(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(Error::io("look at", path))
}

fn touched(meta: &Metadata) -> i64 {
    meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
}

fn modified(meta: &Metadata) -> i64 {
    meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
}

#[cfg(test)]
mod tests {
    use super::super::journal::tests::sample;
    use super::*;

    /// Does something in a folder.
    type Act<'a> = &'a dyn Fn(&Path);

    /// Restored data, in its place, with something done to it, and moved away again.
    fn after(act: Act<'_>) -> (tempfile::TempDir, Journal) {
        let home = tempfile::tempdir().expect("a folder");
        let live = home.path().join("live");
        fs::create_dir(&live).expect("makes");
        let mut swap = Swap::plan("data live".into(), &live, "x-0", None).expect("plans");
        swap.open(home.path()).expect("opens");
        let restored = swap.staging();
        fs::create_dir_all(restored.join("sub")).expect("makes");
        for name in ["file", "sub/file"] {
            fs::write(restored.join(name), "restored").expect("writes");
        }
        swap.move_aside(&mut |_| Ok(())).expect("moves");
        swap.place(&restored, &mut |_| Ok(())).expect("places");
        act(&live);
        swap.back(&mut |_| Ok(())).expect("brings it back");
        (home, Journal { swaps: vec![swap], ..sample() })
    }

    #[test]
    fn what_was_written_is_named_with_where_it_is_kept() {
        let acts: [(&str, Act<'_>); 5] = [
            ("1 path that was written there did not go back with the live data: new;", &|live| {
                fs::write(live.join("new"), "").expect("writes");
            }),
            (": sub/file;", &|live| fs::write(live.join("sub/file"), "restored").expect("writes")),
            (": sub/;", &|live| fs::remove_file(live.join("sub/file")).expect("removes")),
            (": /;", &|live| fs::remove_file(live.join("file")).expect("removes")),
            ("12 paths that", &|live| {
                (0..12).for_each(|number| fs::write(live.join(format!("n{number}")), "").expect("writes"));
            }),
        ];
        for (told, act) in acts {
            let (_home, journal) = after(act);
            for _ in 0..2 {
                let found = written(&journal);
                assert!(found.len() == 1 && found[0].severity == Severity::Warning, "{told}: {found:?}");
                assert!(found[0].what.contains(told), "{told}: {found:?}");
                assert!(found[0].what.contains("/.recovery-full-x-0/restored-0"), "{found:?}");
            }
        }
        let (_home, journal) = after(&|_| {});
        assert_eq!(written(&journal), []);
    }

    #[test]
    fn with_a_clock_that_was_set_back_nothing_is_said_to_be_unwritten() {
        let (_home, mut journal) = after(&|_| {});
        journal.swaps[0].placed_at_nanos = Some(i64::MAX);
        let found = written(&journal);
        assert!(found.len() == 1 && found[0].what.contains("the clock was set back"), "{found:?}");
    }
}
