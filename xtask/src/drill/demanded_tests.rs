//! Tests of what not every artifact is asked for; a part of those in `run_tests.rs`, whose stage and rooms they use.
use super::*;
use crate::drill::door::RealRooms;

/// What a download comes to, how the step ends, and what it says.
type Row = (Option<(Download, &'static [u8])>, Outcome, &'static str);

#[test]
fn a_published_release_is_the_bundle_or_told_apart() {
    let rows: [Row; 6] = [
        (Some((Download::Done, SOUND)), Outcome::Pass, "are those of the bundle here"),
        (Some((Download::Done, b"another tarball")), Outcome::Fail, "with other bytes"),
        (Some((Download::Missing("release not found".into()), b"")), Outcome::Fail, "release not found"),
        (Some((Download::Blocked("nobody is logged in".into()), b"")), Outcome::Blocked, "logged in"),
        (Some((Download::Timeout, b"")), Outcome::Timeout, "had not ended after 7 s"),
        (None, Outcome::Blocked, "install it"),
    ];
    for (download, expected, words) in rows {
        let mut stage = Stage::new();
        let release = Published { repository: "github.com/acme/app".into(), tag: "v1".into() };
        stage.plan.artifacts[0].demands.published = Some(release);
        let (drilled, verdict) = stage.run(&Fake { download, ..Fake::default() });
        let run = drilled.runs.iter().find(|run| run.step == Step::Published(0)).expect("a step");
        assert_eq!(run.outcome, expected, "{run:?}");
        assert!(run.detail.contains(words), "{run:?}");
        let all_good = expected == Outcome::Pass;
        assert_eq!(verdict, if all_good { Verdict::Verified } else { Verdict::NotVerified }, "{run:?}");
        // What is here came back all the same.
        assert!(drilled.artifacts.iter().all(|artifact| artifact.proven == Some(true)), "{drilled:?}");
    }
}

#[test]
fn a_bundle_of_another_commit_is_found_though_its_record_fits() {
    let mut stage = Stage::new();
    stage.plan.artifacts[0].demands.commit = Some("c".repeat(40));
    let (drilled, verdict) = stage.run(&Fake::default());
    assert_eq!(
        (outcome(&drilled, Step::Commit(0)), verdict),
        (Outcome::Pass, Verdict::Verified),
        "{drilled:?}"
    );
    let redaction = Redaction::default();
    let drilled = Spot {
        plan: &stage.plan,
        subjects: &stage.subjects,
        blockers: &[],
        tools: &[],
        rooms: &Fake::default(),
        repository: Path::new("/srv/api"),
        workspace: stage.workspace.path(),
        environment: &[],
        redaction: &redaction,
        rebuild: &|_, _| Ok(manifest(b"other")),
    }
    .run(&Ticks::default());
    assert_eq!(outcome(&drilled, Step::Commit(0)), Outcome::Fail);
    let said = |finding: &Finding| finding.what.starts_with("is not as commit cccccccccccc has it");
    assert!(drilled.findings.iter().any(said), "{drilled:?}");
    assert_eq!(drilled.artifacts[0].proven, Some(false));
}

#[test]
fn a_canary_must_come_back_as_it_was_written() {
    for (path, content, expected) in
        [("key", "hello", Outcome::Pass), ("key", "older", Outcome::Fail), ("gone", "hello", Outcome::Fail)]
    {
        let mut stage = Stage::new();
        let sha256 = sha256_hex(content.as_bytes());
        stage.plan.artifacts[1].demands.canary = Some(Canary { path: path.into(), sha256 });
        let (drilled, verdict) = stage.run(&Fake::default());
        assert_eq!(outcome(&drilled, Step::Canary(1)), expected, "{path} {content}");
        assert_eq!(verdict == Verdict::Verified, expected == Outcome::Pass);
        assert_eq!(drilled.artifacts[1].proven, Some(expected == Outcome::Pass));
    }
}

#[test]
fn what_lies_on_another_machine_is_fetched_where_there_is_room() {
    for (free, expected) in [(None, Outcome::Pass), (Some(1), Outcome::Fail)] {
        let mut stage = Stage::new();
        let time = Timestamp::UNIX_EPOCH;
        let name = ArtifactName { series: "db".into(), time, codec: Codec::Gzip, encrypted: false };
        stage.plan.artifacts[1].file = name.file();
        let artifact = Artifact { bytes: 28, ..Artifact::planned(Path::new("far:/x"), name) };
        stage.plan.artifacts[1].demands.far = Some("far".into());
        let remote = Remote::parse("far:/x", &["ssh".to_owned()]).expect("another machine");
        stage.subjects[1].source = Source::from(&artifact);
        stage.subjects[1].far = Some((remote, artifact));
        let (drilled, verdict) = stage.run(&Fake { free, ..Fake::default() });
        assert_eq!(outcome(&drilled, Step::Fetch(1)), expected, "{drilled:?}");
        let verified = if expected == Outcome::Pass { Verdict::Verified } else { Verdict::NotVerified };
        assert_eq!(verdict, verified, "{drilled:?}");
        if expected == Outcome::Fail {
            assert_eq!(outcome(&drilled, Step::Checksums(1)), Outcome::Blocked);
            assert!(drilled.findings[0].repair.contains("TMPDIR"), "{drilled:?}");
        }
    }
}

/// The rooms of this program, with a check of parts that accepts everything.
struct BlindInPart;

impl Rooms for BlindInPart {
    fn preflight(&self, needs: &[Tool]) -> Result<()> {
        RealRooms.preflight(needs)
    }
    fn check(&self, source: &Source, secret: Option<&Secret>) -> Result<Checked> {
        RealRooms.check(source, secret)
    }
    fn extract(&self, source: &Source, secret: Option<&Secret>, to: &Path) -> Result<Extracted> {
        RealRooms.extract(source, secret, to)
    }
    fn compare(&self, source: &Source, secret: Option<&Secret>, root: &Path) -> Result<Option<Compared>> {
        RealRooms.compare(source, secret, root)
    }
    fn locate(&self, source: &Source, secret: Option<&Secret>, share: Share) -> Result<Located> {
        RealRooms.locate(source, secret, share)
    }
    fn check_part(&self, _: &Source, _: Option<&Secret>, _: &Window) -> Result<Checked> {
        Ok(Checked { entries: 1, bytes: 1, findings: vec![], manifest: true, errors: 0 })
    }
    fn extract_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        to: &Path,
        window: &Window,
    ) -> Result<Extracted> {
        RealRooms.extract_part(source, secret, to, window)
    }
    fn compare_part(
        &self,
        source: &Source,
        secret: Option<&Secret>,
        root: &Path,
        window: &Window,
    ) -> Result<Option<Compared>> {
        RealRooms.compare_part(source, secret, root, window)
    }
    fn free(&self, folder: &Path) -> Result<u64> {
        RealRooms.free(folder)
    }
    fn fetch(&self, remote: &Remote, artifact: &Artifact, to: &Path) -> Result<()> {
        RealRooms.fetch(remote, artifact, to)
    }
    fn download(&self, release: &Published, name: &str, to: &Path, deadline: Duration) -> Result<Download> {
        RealRooms.download(release, name, to, deadline)
    }
    fn shell(&self, line: &str, cwd: &Path, env: &[(String, String)], limit: Duration) -> Result<ShellRun> {
        RealRooms.shell(line, cwd, env, limit)
    }
    fn interrupted(&self) -> bool {
        false
    }
}

/// A release and a set of four groups, of which a share is drilled.
fn sampled(share: Share) -> Stage {
    let mut stage = Stage::new();
    stage.plan.release_checks.clear();
    for (index, (set, blocks)) in [("app", 1), ("db", 4)].into_iter().enumerate() {
        let source = archive(stage.stored.path(), set, blocks);
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
    stage.plan.artifacts[1].demands.sample = Some(share);
    stage
}

/// Every entry in one of the shares, and the key file in each.
#[test]
fn the_shares_of_an_archive_make_up_the_whole() {
    let (mut number, mut entries, mut taken) = (1, 0, Vec::new());
    while number <= 8 {
        let stage = sampled(Share { number, of: 8 });
        let (drilled, verdict) = stage.run(&RealRooms);
        assert_eq!(verdict, Verdict::Verified, "{drilled:#?}");
        assert!(drilled.runs.iter().all(|run| run.outcome == Outcome::Pass), "{drilled:#?}");
        let part = drilled.artifacts[1].part.clone().expect("a part");
        let restored = drilled.runs.iter().find(|run| run.step == Step::Restore(1)).expect("a step");
        assert!(restored.detail.starts_with("part "), "{restored:?}");
        assert!(restored.checked.is_some_and(|checked| checked < 5), "not all of it: {restored:?}");
        entries += part.entries;
        taken.extend(part.numbers.clone());
        number = part.numbers.last().copied().expect("a number") + 1;
    }
    assert_eq!((entries, taken), (5, (1..=8).collect::<Vec<u32>>()));
}

#[test]
fn damage_is_found_in_the_share_that_holds_it_and_nowhere_else() {
    for (number, expected) in [(1, Verdict::Verified), (8, Verdict::NotVerified)] {
        let stage = sampled(Share { number, of: 8 });
        let path = &stage.subjects[1].source.archive;
        let mut bytes = fs::read(path).expect("read");
        // In the last group, in front of the end-of-archive marker: where the key file lies.
        let at = bytes.len() - 60;
        bytes[at] ^= 0xff;
        fs::write(path, &bytes).expect("written");
        let marker = stage.subjects[1].source.marker.as_ref().expect("a marker");
        let text = fs::read_to_string(marker).expect("read");
        let line = text.lines().nth(1).expect("the manifest's");
        fs::write(marker, format!("{}  db.tar.gz\n{line}\n", sha256_hex(&bytes))).expect("written");
        let mut stage = stage;
        stage.plan.artifacts[1].key_files.clear();
        let (drilled, verdict) = stage.run(&RealRooms);
        assert_eq!(verdict, expected, "part {number}: {drilled:#?}");
    }
}

#[test]
fn a_check_of_a_share_that_is_blind_fails_the_drill() {
    let (drilled, verdict) = sampled(Share { number: 2, of: 4 }).run(&BlindInPart);
    assert_eq!(outcome(&drilled, Step::NegativeControl(1)), Outcome::Fail, "{drilled:#?}");
    assert_eq!(verdict, Verdict::NotVerified);
    assert!(drilled.findings.iter().any(|finding| finding.what.contains("did not notice")), "{drilled:#?}");
    assert_eq!(drilled.artifacts[1].proven, Some(false), "its other answers are worth nothing");
}
