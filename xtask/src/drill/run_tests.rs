//! Tests of the run with rooms that misbehave; beside `run.rs` to keep that file short.
use super::*;
use crate::archive::FormatError;
use crate::archive::builder::Builder;
use crate::archive::codec::Codec;
use crate::archive::entry::{Entry, Mtime};
use crate::archive::manifest::{Header, Record};
use crate::archive::sha256_hex;
use crate::archive::writer::Sinks;
use crate::destination::catalog::Artifact;
use crate::destination::known::Canary;
use crate::destination::names::ArtifactName;
use crate::destination::remote::Remote;
use crate::drill::compare::{Compared, compare};
use crate::drill::demands::{Demands, Published, Share};
use crate::drill::evidence::Verdict;
use crate::drill::steps::{Kind, Pick, Planned, Role};
use crate::drill::subject::Digests;
use crate::drill::verdict::judge;
use crate::restore::{Checked, Extracted, Located, Source, Window};
use crate::tools::gh::Download;
use crate::tools::gpg::Secret;
use crate::tools::shell::ShellRun;
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const SOUND: &[u8] = b"the bytes of a sound archive";

/// Rooms whose "archive" is sound exactly when its bytes are [`SOUND`].
#[derive(Default)]
struct Fake {
    /// The check accepts everything.
    blind: bool,
    /// The check fails on a changed copy, but not because of damage.
    confused: bool,
    /// The restore loses a file.
    lossy: bool,
    shell: Option<ShellRun>,
    /// What a download comes to, and the file that it leaves.
    download: Option<(Download, &'static [u8])>,
    /// Bytes that are free.
    free: Option<u64>,
    interrupted_after: Cell<Option<u32>>,
    environment: std::cell::RefCell<Vec<(String, String)>>,
}

fn io(path: &Path) -> Error {
    Error::io("open", path)(std::io::Error::other("no answer"))
}

impl Rooms for Fake {
    fn preflight(&self, needs: &[Tool]) -> Result<()> {
        if needs.contains(&Tool::Gpg) {
            return Err(Error::MissingTools { tools: vec!["gpg".into()], next: "install it".into() });
        }
        Ok(())
    }

    fn check(&self, source: &Source, _: Option<&Secret>) -> Result<Checked> {
        let sound = fs::read(&source.archive).expect("there") == SOUND;
        if !sound && self.confused {
            return Err(io(&source.archive));
        }
        let damage = Finding::error("a", "is damaged", "");
        let findings = if sound || self.blind { vec![] } else { vec![damage] };
        Ok(Checked { entries: 1, bytes: 5, findings, manifest: true, errors: 0 })
    }

    fn extract(&self, _: &Source, _: Option<&Secret>, to: &Path) -> Result<Extracted> {
        if !self.lossy {
            fs::create_dir(to.join("live")).expect("made");
            let file = to.join("live/key");
            fs::write(&file, "hello").expect("written");
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("set");
        }
        Ok(Extracted { entries: 1, bytes: 5, findings: vec![], newest: None, errors: 0 })
    }

    fn compare(&self, _: &Source, _: Option<&Secret>, root: &Path) -> Result<Option<Compared>> {
        // Another time than the file has: a warning, which must not spoil the drill.
        let entry = Entry::file(b"live/key", 5, 0o600, Mtime { seconds: 1, nanos: 0 });
        let sha256 = Some(Sha256::digest(b"hello").into());
        let mut records = vec![Record { entry, sha256, block: 0, blocks: 1 }];
        compare(&mut || Ok(records.pop()), root).map(Some)
    }

    fn locate(&self, _: &Source, _: Option<&Secret>, share: Share) -> Result<Located> {
        let window = Window { blocks: 0..1, always: vec![] };
        Ok(Located { numbers: vec![share.number], window, packed: 10..20, entries: 1, bytes: 5, errors: 0 })
    }

    fn check_part(&self, source: &Source, secret: Option<&Secret>, _: &Window) -> Result<Checked> {
        self.check(source, secret)
    }

    fn extract_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        to: &Path,
        _: &Window,
    ) -> Result<Extracted> {
        self.extract(source, secret, to)
    }

    fn compare_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        root: &Path,
        _: &Window,
    ) -> Result<Option<Compared>> {
        self.compare(source, secret, root)
    }

    fn free(&self, _: &Path) -> Result<u64> {
        Ok(self.free.unwrap_or(u64::MAX))
    }

    fn fetch(&self, _: &Remote, artifact: &Artifact, to: &Path) -> Result<()> {
        fs::write(to.join(artifact.name.file()), SOUND).expect("written");
        let marker = format!("{}  {}\n", sha256_hex(SOUND), artifact.name.file());
        fs::write(to.join(artifact.name.marker()), marker).expect("written");
        Ok(())
    }

    fn download(&self, _: &Published, name: &str, to: &Path, _: Duration) -> Result<Download> {
        let Some((outcome, content)) = &self.download else {
            return Err(Error::MissingTools { tools: vec!["gh".into()], next: "install it".into() });
        };
        fs::write(to.join(name), content).expect("written");
        Ok(outcome.clone())
    }

    fn shell(&self, _: &str, cwd: &Path, env: &[(String, String)], _: Duration) -> Result<ShellRun> {
        assert!(cwd.join("live/key").exists(), "runs in the restored bundle");
        *self.environment.borrow_mut() = env.to_vec();
        let pass = ShellRun { outcome: shell::Outcome::Pass, seconds: 0.0, tail: String::new() };
        Ok(self.shell.clone().unwrap_or(pass))
    }

    fn interrupted(&self) -> bool {
        match self.interrupted_after.get() {
            Some(0) => true,
            Some(left) => {
                self.interrupted_after.set(Some(left - 1));
                false
            }
            None => false,
        }
    }
}

/// Advances by a second whenever it is looked at.
#[derive(Default)]
struct Ticks(Cell<u64>);

impl Stopwatch for Ticks {
    fn elapsed(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_secs(self.0.get())
    }
}

/// One release and one backup on disk, the plan for them, and a place to drill.
struct Stage {
    stored: tempfile::TempDir,
    workspace: tempfile::TempDir,
    plan: Plan,
    subjects: Vec<Subject>,
    blockers: Vec<String>,
    tools: Vec<Tool>,
}

fn planned(role: Role, set: &str) -> Planned {
    Planned {
        kind: Kind { role, set: set.into() },
        file: format!("{set}.tar.gz"),
        bytes: 1,
        created_at: Timestamp::UNIX_EPOCH,
        pick: Pick::Latest,
        encrypted: false,
        has_manifest: true,
        key_files: if role == Role::Data { vec!["key".into()] } else { vec![] },
        demands: Demands::default(),
    }
}

impl Stage {
    fn new() -> Self {
        let stored = tempfile::tempdir().expect("a folder");
        let path = |name: &str| stored.path().join(name);
        let mut subjects = Vec::new();
        for set in ["app", "db"] {
            let (archive, marker) = (path(&format!("{set}.tar.gz")), path(&format!("{set}.tar.gz.sha256")));
            fs::write(&archive, SOUND).expect("written");
            fs::write(&marker, format!("{}  {set}.tar.gz\n", sha256_hex(SOUND))).expect("written");
            let digests = if set == "app" {
                Digests::Lock(vec![(archive.clone(), sha256_hex(SOUND))])
            } else {
                Digests::Marker(marker.clone())
            };
            let marker = Some(marker);
            let source = Source {
                archive,
                manifest: None,
                marker,
                locked: None,
                codec: Codec::Gzip,
                encrypted: false,
            };
            subjects.push(Subject {
                source,
                far: None,
                secret: None,
                digests,
                lock: None,
                folder: "live".into(),
                scope: Scope::default(),
            });
        }
        let artifacts = vec![planned(Role::Release, "app"), planned(Role::Data, "db")];
        let plan = Plan {
            required: artifacts.iter().map(|a| a.kind.clone()).collect(),
            artifacts,
            tools: vec![],
            release_checks: vec!["first".into(), "second".into()],
            check_timeout: Duration::from_secs(7),
        };
        let workspace = tempfile::tempdir().expect("a folder");
        Self { stored, workspace, plan, subjects, blockers: vec![], tools: vec![] }
    }

    /// Runs it, and makes sure that nothing is left and nothing stored is changed.
    fn run(&self, rooms: &dyn Rooms) -> (Drilled, Verdict) {
        let listing = || fs::read_dir(self.stored.path()).expect("there").count();
        let before = listing();
        let redaction = Redaction::new(&[("KEY".into(), "s3cret".into())], &[]);
        let spot = Spot {
            plan: &self.plan,
            subjects: &self.subjects,
            blockers: &self.blockers,
            tools: &self.tools,
            rooms,
            repository: Path::new("/srv/api"),
            workspace: self.workspace.path(),
            environment: &[("LANG".into(), "C".into())],
            redaction: &redaction,
            rebuild: &|_, _| Ok(manifest(b"hello")),
        };
        let drilled = spot.run(&Ticks::default());
        assert_eq!(fs::read_dir(self.workspace.path()).expect("there").count(), 0, "something is left");
        assert_eq!(listing(), before);
        let verdict = judge(&self.plan, &drilled.runs, &drilled.findings, drilled.interrupted).result;
        (drilled, verdict)
    }
}

fn outcome(drilled: &Drilled, step: Step) -> Outcome {
    drilled.runs.iter().find(|run| run.step == step).expect("a step of the plan").outcome
}

#[test]
fn a_sound_drill() {
    let (stage, rooms) = (Stage::new(), Fake::default());
    let (drilled, verdict) = stage.run(&rooms);
    assert_eq!(verdict, Verdict::Verified, "{drilled:#?}");
    assert!(drilled.runs.iter().all(|run| run.outcome == Outcome::Pass && run.seconds == 1.0));
    assert_eq!(drilled.artifacts[1].sha256, sha256_hex(SOUND));
    assert_eq!(drilled.artifacts[1].bytes, SOUND.len() as u64);
    assert_eq!(*rooms.environment.borrow(), [("LANG".to_owned(), "C".to_owned())]);
}

#[test]
fn a_blind_check_fails_the_drill() {
    let (drilled, verdict) = Stage::new().run(&Fake { blind: true, ..Fake::default() });
    assert_eq!(verdict, Verdict::NotVerified);
    assert_eq!(outcome(&drilled, Step::NegativeControl(1)), Outcome::Fail);
    assert_eq!(outcome(&drilled, Step::Verify(1)), Outcome::Pass);
}

#[test]
fn a_check_that_fails_for_another_reason_has_not_noticed_damage() {
    let (drilled, verdict) = Stage::new().run(&Fake { confused: true, ..Fake::default() });
    assert_eq!(verdict, Verdict::NotVerified);
    assert_eq!(outcome(&drilled, Step::NegativeControl(0)), Outcome::Fail);
}

#[test]
fn a_damaged_artifact_blocks_only_what_needs_it() {
    let stage = Stage::new();
    fs::write(&stage.subjects[1].source.archive, "other").expect("written");
    let (drilled, verdict) = stage.run(&Fake::default());
    assert_eq!(verdict, Verdict::NotVerified);
    assert_eq!(outcome(&drilled, Step::Checksums(1)), Outcome::Fail);
    for step in [Step::Verify(1), Step::Restore(1), Step::Compare(1), Step::KeyFiles(1)] {
        assert_eq!(outcome(&drilled, step), Outcome::Blocked, "{step:?}");
    }
    assert_eq!(outcome(&drilled, Step::ReleaseCheck(1)), Outcome::Pass);
}

#[test]
fn a_restore_that_loses_a_file_is_noticed() {
    let (drilled, verdict) = Stage::new().run(&Fake { lossy: true, ..Fake::default() });
    assert_eq!(verdict, Verdict::NotVerified);
    assert_eq!(outcome(&drilled, Step::Compare(1)), Outcome::Fail);
    assert_eq!(outcome(&drilled, Step::KeyFiles(1)), Outcome::Blocked);
}

#[test]
fn a_key_file_that_is_not_there_fails() {
    let mut stage = Stage::new();
    stage.plan.artifacts[1].key_files.push("gone".into());
    let (drilled, _) = stage.run(&Fake::default());
    assert_eq!(outcome(&drilled, Step::KeyFiles(1)), Outcome::Fail);
}

#[test]
fn a_failed_release_check_blocks_the_next_and_leaks_nothing() {
    let tail = "cret at the front\ntoken s3cret is wrong".into();
    let failed = ShellRun { outcome: shell::Outcome::Fail("exit status 3".into()), seconds: 1.0, tail };
    let (drilled, verdict) = Stage::new().run(&Fake { shell: Some(failed), ..Fake::default() });
    assert_eq!(verdict, Verdict::NotVerified);
    let run = drilled.runs.iter().find(|run| run.step == Step::ReleaseCheck(0)).expect("a step");
    assert_eq!(run.detail, "exit status 3:  at the front\ntoken $KEY is wrong");
    assert_eq!(outcome(&drilled, Step::ReleaseCheck(1)), Outcome::Blocked);
    assert!(!format!("{drilled:?}").contains("s3cret"));
}

#[test]
fn a_release_check_that_hangs_is_a_timeout() {
    let hung = ShellRun { outcome: shell::Outcome::Timeout, seconds: 7.0, tail: String::new() };
    let (drilled, verdict) = Stage::new().run(&Fake { shell: Some(hung), ..Fake::default() });
    assert_eq!(outcome(&drilled, Step::ReleaseCheck(0)), Outcome::Timeout);
    assert_eq!(verdict, Verdict::NotVerified);
}

#[test]
fn a_missing_tool_or_mount_could_not_run() {
    let mut stage = Stage::new();
    stage.tools.push(Tool::Gpg);
    assert_eq!(stage.run(&Fake::default()).1, Verdict::CouldNotRun);
    let mut stage = Stage::new();
    stage.blockers.push("the drive of s3cret is not mounted".into());
    let (drilled, verdict) = stage.run(&Fake::default());
    assert_eq!(drilled.runs[0].detail, "the drive of $KEY is not mounted");
    assert_eq!(drilled.findings[0].what, drilled.runs[0].detail);
    assert_eq!(verdict, Verdict::CouldNotRun);
    assert_eq!(drilled.findings.len(), 1, "{:?}", drilled.findings);
    assert_eq!(outcome(&drilled, Step::CleanUp), Outcome::Pass);
}

#[test]
fn an_interrupted_drill_cleans_up_and_proves_nothing() {
    let rooms = Fake { interrupted_after: Cell::new(Some(5)), ..Fake::default() };
    let (drilled, verdict) = Stage::new().run(&rooms);
    assert_eq!(verdict, Verdict::CouldNotRun);
    assert_eq!(outcome(&drilled, Step::CleanUp), Outcome::Pass);
    assert_eq!(outcome(&drilled, Step::Restore(1)), Outcome::Blocked);
}

/// The manifest of a bundle in which `live/key` has this content.
fn manifest(content: &[u8]) -> Vec<u8> {
    let mut listed = Vec::new();
    pack(Sinks { archive: &mut std::io::sink(), manifest: &mut listed }, "app", |builder| {
        let entry = Entry::file(b"live/key", content.len() as u64, 0o600, Mtime { seconds: 7, nanos: 0 });
        builder.add(entry, content)
    });
    listed
}

fn pack(
    sinks: Sinks<'_>,
    set: &str,
    fill: impl FnOnce(&mut Builder<'_>) -> std::result::Result<(), FormatError>,
) {
    let header = Header {
        schema: 1,
        archive: format!("{set}.tar.gz"),
        created_at: "2026-01-02T03:04:05Z".into(),
        codec: Codec::Gzip,
        encoder: Codec::Gzip.encoder().into(),
        level: 6,
        tool: "test".into(),
    };
    let options = crate::archive::writer::Options { workers: 1, tar_sha256: false };
    crate::archive::writer::write(sinks, &header, options, fill).expect("an archive");
}

/// A real archive with its manifest and marker in `folder`, of so many blocks.
fn archive(folder: &Path, set: &str, blocks: u8) -> Source {
    let (mut packed, mut listed) = (Vec::new(), Vec::new());
    pack(Sinks { archive: &mut packed, manifest: &mut listed }, set, |builder| {
        let mtime = Mtime { seconds: 1_700_000_000, nanos: 0 };
        let mut add = |name: &str, content: &[u8]| {
            let mut entry = Entry::file(name.as_bytes(), content.len() as u64, 0o600, mtime);
            entry.uid = rustix::process::getuid().as_raw().into();
            entry.gid = rustix::process::getgid().as_raw().into();
            builder.add(entry, content)
        };
        for block in 1..blocks {
            // Larger than a block: it has blocks of its own.
            add(&format!("live/big{block}"), &vec![block; (8 << 20) + 1])?;
        }
        add("live/key", b"hello")?;
        builder.add(Entry::symlink(b"live/link", b"key", mtime), b"")
    });
    let manifest = format!("{set}.manifest.jsonl.gz");
    let mut sums = String::new();
    for (name, bytes) in [(format!("{set}.tar.gz"), &packed), (manifest, &listed)] {
        fs::write(folder.join(&name), bytes).expect("written");
        sums.push_str(&format!("{}  {name}\n", sha256_hex(bytes)));
    }
    fs::write(folder.join(format!("{set}.tar.gz.sha256")), sums).expect("written");
    Source::of_file(&folder.join(format!("{set}.tar.gz"))).expect("a source")
}

/// With the real rooms: what is restored is what was archived, and the real check finds the changed byte.
#[test]
fn the_real_rooms_pass_and_find_the_changed_byte() {
    let mut stage = Stage::new();
    stage.plan.release_checks.clear();
    for (index, set) in ["app", "db"].iter().enumerate() {
        let source = archive(stage.stored.path(), set, 1);
        let digests = Digests::Marker(source.marker.clone().expect("a marker"));
        stage.subjects[index] = Subject {
            source,
            far: None,
            secret: None,
            digests,
            lock: None,
            folder: "live".into(),
            scope: Scope::default(),
        };
    }
    let (drilled, verdict) = stage.run(&crate::drill::door::RealRooms);
    assert_eq!(verdict, Verdict::Verified, "{drilled:#?}");
    assert_eq!(drilled.findings, []);
    let control = drilled.runs.iter().find(|run| run.step == Step::NegativeControl(1)).expect("a step");
    assert_eq!(control.checked, Some(2), "{control:?}");
}

#[cfg(test)]
#[path = "demanded_tests.rs"]
mod demanded;
