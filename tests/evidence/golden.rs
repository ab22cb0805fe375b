//! Evidence from fixed values, held byte for byte against files in `tests/data/evidence`: the record, the page, the row.
//!
//! `RECOVERY_BLESS=1 cargo test --test it evidence::golden` writes the files anew; look at the difference before you
//! commit it. Records that are stored somewhere do not change with it, so an old record must still parse.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xtask::archive::sha256_hex;
use xtask::destination::known::Canary;
use xtask::drill::demands::{Demands, Published, Share};
use xtask::drill::done::StepRun;
use xtask::drill::evidence::checklist::{CHECKLIST_HEAD, CHECKLIST_TABLE, checklist_row, written_row};
use xtask::drill::evidence::coverage::{CopyCoverage, Coverage, Part};
use xtask::drill::evidence::frame::Frame;
use xtask::drill::evidence::render::markdown;
use xtask::drill::evidence::{
    ArtifactRecord, Evidence, Lost, Operator, Outcome, Signature, Started, StepRecord, Verdict,
};
use xtask::drill::full::plan as full;
use xtask::drill::measured::{self, Measured};
use xtask::drill::steps::{Kind, Pick, Plan, Planned, Role, Step};
use xtask::drill::times::{ahead_seconds, all_restored, loss_seconds, rpo_seconds, rto_seconds};
use xtask::drill::verdict::{Interrupted, Judgement, judge, proven};
use xtask::finding::Finding;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/evidence")
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time")
}

fn kind(role: Role, set: &str) -> Kind {
    Kind { role, set: set.into() }
}

fn planned(role: Role, set: &str, created_at: &str, pick: Pick) -> Planned {
    let stamp = created_at.replace(':', "");
    let (ending, encrypted) = if role == Role::Data { ("tar.zst.gpg", true) } else { ("tar.gz", false) };
    Planned {
        kind: kind(role, set),
        file: format!("{set}-{stamp}.{ending}"),
        bytes: 41_000_000,
        created_at: time(created_at),
        pick,
        encrypted,
        has_manifest: true,
        key_files: if pick == Pick::Latest && encrypted { vec!["config.toml".into()] } else { vec![] },
        demands: Demands::default(),
    }
}

fn plan() -> Plan {
    Plan {
        required: vec![kind(Role::Release, "acme-api"), kind(Role::Data, "codex-api")],
        artifacts: vec![
            planned(Role::Release, "acme-api", "2026-03-01T08:30:00Z", Pick::Latest),
            planned(Role::Data, "codex-api", "2026-03-10T03:23:00Z", Pick::Latest),
            planned(Role::Data, "codex-api", "2026-02-03T03:23:00Z", Pick::Older),
        ],
        tools: vec!["mountpoint".into(), "gpg".into()],
        release_checks: vec!["sh check.sh".into()],
        check_timeout: Duration::from_secs(600),
    }
}

fn frame(started_at: &str, started_by: Started) -> Frame {
    Frame {
        kind: "spot",
        id: format!("drill-{}-spot", started_at.replace(':', "")),
        trigger: "if-due".into(),
        host: "box.example.org".into(),
        operator: Operator { user: "backup".into(), uid: 34, login: None, started_by },
        started_at: time(started_at),
        recovered_by: None,
        rto_target: Some(jiff::SignedDuration::from_mins(15)),
        rpo_target: Some(jiff::SignedDuration::from_hours(24)),
        owner: Some("Ada Lovelace".into()),
        due: Some("2026-04-30".into()),
    }
}

fn coverage() -> Coverage {
    Coverage {
        role: Role::Data,
        set: "codex-api".into(),
        retained: 5,
        covered: 3,
        covered_since: None,
        copies: vec![],
        every_artifact_in: 4,
        every_byte_in: 4,
        drills_needed: 2,
    }
}

/// A drill in which every demand is made: a fetch, a share, a canary, a commit, a published release, a copy of several.
fn demanding() -> Plan {
    let mut plan = plan();
    let [release, latest, older] = &mut plan.artifacts[..] else { panic!("three artifacts") };
    release.demands.commit = Some("a8f1de2e510c0a8f1de2e510c0a8f1de2e510c00".into());
    release.demands.published =
        Some(Published { repository: "github.com/acme/api".into(), tag: "v1.4.2".into() });
    latest.demands.sample = Some(Share { number: 7, of: 20 });
    latest.demands.canary = Some(Canary { path: ".recovery-canary".into(), sha256: sha256_hex(b"canary") });
    latest.demands.copy = Some("usb".into());
    older.demands.far = Some("far.example.org".into());
    plan
}

/// What was accepted as lost.
fn lost() -> Evidence {
    let frame = Frame {
        kind: "lost",
        id: "drill-2026-05-02T080000Z-lost".into(),
        trigger: "manual".into(),
        rto_target: None,
        rpo_target: None,
        ..frame("2026-05-02T08:00:00Z", Started::Terminal)
    };
    let step = StepRecord {
        name: "accept the loss of records".into(),
        expected: "records are missing, it is known which, and nothing else is wrong".into(),
        outcome: Outcome::Pass,
        seconds: 0.0,
        bytes: None,
        detail: "drill-2026-01-10T120000Z-spot".into(),
    };
    let reasons = vec!["the disk of ci-1 died".to_owned(), "Ada Lovelace answers for it".to_owned()];
    let measured = Measured {
        artifacts: vec![],
        steps: vec![step],
        rto_seconds: None,
        rpo_seconds: None,
        rpo_ahead_seconds: None,
        loss_now_seconds: None,
        coverage: vec![],
        not_tested: vec![],
        findings: vec![],
        judgement: Judgement { result: Verdict::CouldNotRun, reasons },
        finished_at: frame.started_at,
    };
    let mut evidence = measured::evidence(&frame, measured);
    evidence.tool.version = "0.0.0".into();
    evidence.lost = vec![
        Lost { id: "drill-2026-01-10T120000Z-spot".into(), sha256: Some(sha256_hex(b"lost")) },
        Lost { id: "drill-2026-01-11T120000Z-spot".into(), sha256: None },
    ];
    evidence
}

/// Every step with `outcome`, in the given order of seconds.
fn runs(plan: &Plan, outcome: impl Fn(Step) -> Outcome) -> Vec<StepRun> {
    let run = |(at, step): (usize, Step)| {
        let passed = outcome(step) == Outcome::Pass;
        let through = !matches!(
            step,
            Step::Preflight
                | Step::Pick
                | Step::KeyFiles(_)
                | Step::ReleaseCheck(_)
                | Step::NegativeControl(_)
                | Step::CleanUp
        );
        StepRun {
            step,
            outcome: outcome(step),
            seconds: if passed { 0.125 * (at + 1) as f64 } else { 0.0 },
            detail: if passed {
                "1204 entries, as expected".into()
            } else {
                "needs \"preflight\", which did not pass".into()
            },
            checked: step.must_count().then_some(1204),
            bytes: (through && passed).then_some(52_428_800),
        }
    };
    plan.steps().into_iter().enumerate().map(run).collect()
}

fn evidence(frame: &Frame, runs: Vec<StepRun>, findings: Vec<Finding>) -> Evidence {
    evidence_of(&plan(), frame, runs, findings)
}

fn evidence_of(plan: &Plan, frame: &Frame, runs: Vec<StepRun>, findings: Vec<Finding>) -> Evidence {
    let newest = [("codex-api".to_owned(), plan.artifacts[1].created_at)].into();
    let proven = proven(plan, &runs);
    let artifacts = plan.artifacts.iter().enumerate().map(|(index, planned)| ArtifactRecord {
        role: planned.kind.role,
        set: planned.kind.set.clone(),
        path: planned.file.clone(),
        sha256: match runs
            .iter()
            .any(|run| run.step == Step::Checksums(index) && run.outcome == Outcome::Pass)
        {
            true => sha256_hex(planned.file.as_bytes()),
            false => String::new(),
        },
        bytes: planned.bytes,
        created_at: planned.created_at,
        pick: planned.pick,
        copy: planned.demands.copy.clone(),
        part: planned.demands.sample.map(|share| Part {
            numbers: vec![share.number],
            of: share.of,
            entries: 1204,
            bytes: 52_428_800,
        }),
        proven: Some(proven.contains(&index)),
    });
    let elapsed = Duration::from_millis(45_250);
    let measured = Measured {
        artifacts: artifacts.collect(),
        rto_seconds: rto_seconds(plan, &runs),
        rpo_seconds: rpo_seconds(plan, &[].into(), frame.started_at).filter(|_| all_restored(plan, &runs)),
        rpo_ahead_seconds: ahead_seconds(plan, &[].into(), frame.started_at),
        coverage: vec![coverage()],
        loss_now_seconds: loss_seconds(["codex-api"], &newest, measured::end(frame.started_at, elapsed)),
        not_tested: plan.not_tested(),
        judgement: judge(plan, &runs, &findings, Interrupted::No),
        steps: runs.into_iter().map(|run| measured::step(plan, run)).collect(),
        findings,
        finished_at: measured::end(frame.started_at, elapsed),
    };
    let mut evidence = measured::evidence(frame, measured);
    // A new version of the tool alone changes no golden file.
    evidence.tool.version = "0.0.0".into();
    evidence
}

/// A full drill in which all went well, and the live data went back because it had changed since the backup.
fn full_drill() -> Evidence {
    let plan = full::Plan {
        targets: vec![
            full::Target {
                kind: kind(Role::Release, "acme-api"),
                live: Some("/srv/api".into()),
                key_files: vec![],
            },
            full::Target {
                kind: kind(Role::Data, "codex-api"),
                live: Some("/srv/data/.codex-api".into()),
                key_files: vec!["config.toml".into()],
            },
        ],
        fresh: true,
        keep_restored: false,
        stop: "docker compose stop app".into(),
        deploy: None,
        start: "docker compose up -d app".into(),
        smoke: vec!["npm run smoke:prod".into()],
    };
    let frame = Frame {
        kind: "full",
        id: "drill-2026-04-13T020000Z-full".into(),
        ..frame("2026-04-13T02:00:00Z", Started::Systemd)
    };
    let step = |step| StepRecord {
        name: plan.name(step),
        expected: plan.expected(step),
        outcome: Outcome::Pass,
        seconds: 1.5,
        bytes: matches!(step, full::Step::Restore(_) | full::Step::Same(_)).then_some(41_000_000),
        detail: "1204 entries, as expected".into(),
    };
    let end = StepRecord {
        name: "put back: start the service".into(),
        expected: "the service runs on its live data".into(),
        bytes: None,
        ..step(full::Step::Start)
    };
    let release = ArtifactRecord {
        role: Role::Release,
        set: "acme-api".into(),
        path: "acme-api-v1.4.2-2026-03-01T083000Z.tar.gz".into(),
        sha256: sha256_hex(b"release"),
        bytes: 41_000_000,
        created_at: time("2026-03-01T08:30:00Z"),
        pick: Pick::Latest,
        copy: None,
        part: None,
        proven: None,
    };
    let measured = Measured {
        artifacts: vec![release],
        rto_seconds: Some(18.0),
        rpo_seconds: Some(80_000.0),
        rpo_ahead_seconds: None,
        loss_now_seconds: Some(45.25),
        coverage: vec![],
        not_tested: plan.not_tested(),
        judgement: Judgement { result: Verdict::Verified, reasons: vec![] },
        steps: plan.steps().into_iter().map(step).chain([end]).collect(),
        findings: vec![],
        finished_at: measured::end(frame.started_at, Duration::from_millis(45_250)),
    };
    let mut evidence = measured::evidence(&frame, measured);
    evidence.tool.version = "0.0.0".into();
    evidence
}

/// Drills, each chained to the one before it: three spot drills (verified, not verified, could not run), a full one, a spot
/// drill with every demand, a full one that was recovered, and a record of what was lost.
fn drills() -> Vec<(&'static str, Evidence)> {
    let plan = plan();
    let started = frame("2026-03-10T12:00:00Z", Started::Cron);
    let late = vec![Finding::info("codex-api", "1 older artifact is left for later drills")];
    let mut verified = evidence(&started, runs(&plan, |_| Outcome::Pass), late);
    verified.signature = Some(Signature {
        key: "0123456789ABCDEF0123456789ABCDEF01234567".into(),
        file: format!("{}.json.asc", verified.id),
    });

    let started = frame("2026-03-12T12:00:00Z", Started::Terminal);
    let mut failed = runs(&plan, |step| match step {
        Step::KeyFiles(1) => Outcome::Fail,
        Step::ReleaseCheck(0) => Outcome::Timeout,
        _ => Outcome::Pass,
    });
    for run in failed.iter_mut().filter(|run| run.outcome != Outcome::Pass) {
        (run.seconds, run.bytes) = (600.0, None);
        run.detail = "had not ended after 600 s: waiting for | the *database*".into();
    }
    let found = vec![
        Finding::error("config.toml", "is not in the restored data", "back up the right folder again"),
        Finding::error("release check 1: sh check.sh", "had not ended after 600 s", ""),
    ];
    let mut not_verified = evidence(&started, failed, found);
    not_verified.previous_sha256 = Some(sha256_hex(verified.to_json().expect("writes").as_bytes()));

    let mut started = frame("2026-04-12T12:00:00Z", Started::Terminal);
    started.operator =
        Operator { user: "root".into(), uid: 0, login: Some("ada".into()), started_by: Started::Terminal };
    let mut blocked = runs(&plan, |step| match step {
        Step::Preflight => Outcome::Fail,
        Step::CleanUp => Outcome::Pass,
        _ => Outcome::Blocked,
    });
    blocked[0].detail = "/mnt/drive: nothing is mounted here: mount the drive and run again".into();
    let found = vec![Finding::error("preflight", blocked[0].detail.clone(), "")];
    let mut could_not_run = evidence(&started, blocked, found);
    could_not_run.previous_sha256 = Some(sha256_hex(not_verified.to_json().expect("writes").as_bytes()));

    let results = [verified.result, not_verified.result, could_not_run.result];
    assert_eq!(results, [Verdict::Verified, Verdict::NotVerified, Verdict::CouldNotRun]);
    let mut full = full_drill();
    full.previous_sha256 = Some(sha256_hex(could_not_run.to_json().expect("writes").as_bytes()));
    let digest = |evidence: &Evidence| Some(sha256_hex(evidence.to_json().expect("writes").as_bytes()));
    let plan = demanding();
    let mut sampled = evidence_of(
        &plan,
        &frame("2026-04-20T12:00:00Z", Started::Ci),
        runs(&plan, |_| Outcome::Pass),
        vec![],
    );
    sampled.coverage[0].copies = [("gdrive", 3), ("usb", 2)]
        .map(|(name, covered)| CopyCoverage { destination: name.into(), retained: 5, covered })
        .to_vec();
    sampled.previous_sha256 = digest(&full);
    // One that was killed, with a clock that had been set back.
    let mut recovered = full_drill();
    recovered.id = "drill-2026-04-27T020000Z-full".into();
    (recovered.started_at, recovered.finished_at) =
        (time("2026-04-27T02:00:00Z"), time("2026-04-27T02:31:07.5Z"));
    recovered.recovered_by = Some(Operator {
        user: "root".into(),
        uid: 0,
        login: Some("ada".into()),
        started_by: Started::Terminal,
    });
    (recovered.rto_seconds, recovered.rpo_seconds, recovered.rpo_ahead_seconds) = (None, None, Some(12.0));
    recovered.result = Verdict::NotVerified;
    recovered.reasons = vec!["the drill did not come to its end".into()];
    recovered.previous_sha256 = digest(&sampled);
    let mut lost = lost();
    lost.previous_sha256 = digest(&recovered);
    vec![
        ("verified", verified),
        ("not-verified", not_verified),
        ("could-not-run", could_not_run),
        ("full", full),
        ("sampled", sampled),
        ("recovered", recovered),
        ("lost", lost),
    ]
}

/// The file holds this text, byte for byte; with `RECOVERY_BLESS` it does from then on.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = folder().join(name);
    if std::env::var_os("RECOVERY_BLESS").is_some() {
        fs::write(&path, text).expect("writes");
    }
    let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs = stored.lines().zip(text.lines()).find(|(stored, now)| stored != now);
    assert!(stored == text, "{name} differs, first in (stored, now): {differs:#?}");
}

#[test]
fn records_pages_and_rows_are_those_of_the_golden_files() {
    let mut list = format!("{CHECKLIST_HEAD}{CHECKLIST_TABLE}\n");
    for (name, evidence) in drills() {
        golden(&format!("{name}.json"), &evidence.to_json().expect("writes"));
        golden(&format!("{name}.md"), &markdown(&evidence));
        list.push_str(&format!("{}\n", checklist_row(&evidence)));
    }
    golden("restore-checklist.md", &list);
}

/// What lies in the folder is what the test above writes: a file of a former name would be held against nothing.
#[test]
fn every_golden_file_is_held_against_something() {
    let names = fs::read_dir(folder()).expect("lists").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let mut expected: Vec<String> = drills()
        .iter()
        .flat_map(|(name, _)| [format!("{name}.json"), format!("{name}.md")])
        .chain(["former.json", "former.md", "restore-checklist.md"].map(str::to_owned))
        .collect();
    expected.sort();
    assert_eq!(names, expected);
}

/// Not written by this version, and never blessed.
#[test]
fn a_record_of_the_former_version_is_read_and_its_row_is_as_it_was() {
    let text = fs::read(folder().join("former.json")).expect("reads");
    let former = Evidence::parse(&text).expect("a record");
    assert_eq!((former.result, &former.operator), (Verdict::Verified, &None));
    assert!(former.steps.iter().all(|step| step.expected.is_empty() && step.bytes.is_none()));
    let rows = fs::read_to_string(folder().join("former.md")).expect("reads");
    assert_eq!(rows.lines().last(), Some(&*written_row(&former)));
}
