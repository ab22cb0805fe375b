//! Tests of the plan; beside `steps.rs` to keep that file short.
use super::*;
use crate::destination::known;
use crate::drill::demands;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn planned(role: Role, set: &str, pick: Pick, bytes: u64) -> Planned {
    Planned {
        kind: Kind { role, set: set.into() },
        file: format!("{set}-{pick:?}.tar.gz"),
        bytes,
        created_at: time("2026-01-02T03:04:05Z"),
        pick,
        encrypted: false,
        has_manifest: true,
        key_files: vec![],
        demands: Demands::default(),
    }
}

fn plan() -> Plan {
    let mut data = planned(Role::Data, "db", Pick::Latest, 50);
    data.key_files = vec!["config.toml".into()];
    data.encrypted = true;
    Plan {
        required: vec![
            Kind { role: Role::Release, set: "app".into() },
            Kind { role: Role::Data, set: "db".into() },
        ],
        artifacts: vec![planned(Role::Release, "app", Pick::Latest, 9), data],
        tools: vec!["gpg".into()],
        release_checks: vec!["npm install".into(), "npm start".into()],
        check_timeout: Duration::from_secs(600),
    }
}

#[test]
fn the_steps_of_a_spot_drill_in_order() {
    let text = plan().to_string();
    let expected = "  1. preflight (gpg)
  2. pick
  3. checksums: app-Latest.tar.gz
  4. checksums: db-Latest.tar.gz
  5. verify: app-Latest.tar.gz
  6. decrypt and verify: db-Latest.tar.gz
  7. restore: app-Latest.tar.gz
  8. compare with manifest: app-Latest.tar.gz
  9. restore: db-Latest.tar.gz
 10. compare with manifest: db-Latest.tar.gz
 11. key files: db-Latest.tar.gz (config.toml)
 12. release check 1: npm install (at most 600 s)
 13. release check 2: npm start (at most 600 s)
 14. negative control: app-Latest.tar.gz
 15. negative control: db-Latest.tar.gz
 16. clean up
";
    assert_eq!(text, expected);
}

#[test]
fn every_need_stands_before_its_step_and_names_are_unique() {
    let plan = plan();
    let steps = plan.steps();
    for (index, step) in steps.iter().enumerate() {
        for need in plan.needs(*step) {
            let at = steps.iter().position(|other| *other == need).expect("a step of the plan");
            assert!(at < index, "{step:?} needs {need:?}");
        }
    }
    let names: std::collections::BTreeSet<_> = steps.iter().map(|step| plan.name(*step)).collect();
    assert_eq!(names.len(), steps.len());
}

#[test]
fn a_kind_without_artifact_is_missing_and_shown() {
    let mut plan = plan();
    plan.artifacts[1].pick = Pick::Older;
    assert_eq!(plan.missing(), [&Kind { role: Role::Data, set: "db".into() }], "an older one does not do");
    assert!(plan.to_string().contains("  2. pick (no data db)\n"));
    plan.tools.clear();
    assert!(plan.to_string().starts_with("  1. preflight\n"));
}

#[test]
fn release_checks_need_a_restored_bundle() {
    let mut plan = plan();
    plan.artifacts.remove(0);
    assert!(!plan.steps().iter().any(|step| matches!(step, Step::ReleaseCheck(_))));
    assert!(plan.not_tested().iter().any(|gap| gap.starts_with("the release bundle")));
}

#[test]
fn the_control_takes_the_smallest_of_each_way() {
    let mut plan = plan();
    plan.artifacts.push(planned(Role::Release, "app", Pick::Older, 3));
    plan.artifacts.push(planned(Role::Data, "logs", Pick::Latest, 70));
    assert_eq!(plan.controls(), [2, 3, 1]);
}

#[test]
fn only_an_older_artifact_without_manifest_may_go_uncompared() {
    let mut plan = plan();
    plan.artifacts[0].has_manifest = false;
    assert!(plan.is_mandatory(Step::Compare(0)));
    plan.artifacts[0].pick = Pick::Older;
    assert!(!plan.is_mandatory(Step::Compare(0)));
    assert!(plan.is_mandatory(Step::Compare(1)));
}

/// A plan with every step there is: a bundle of a commit that was published, and data from another machine, with a canary
/// and an older backup of it.
fn of_everything() -> Plan {
    let mut plan = plan();
    plan.artifacts[0].demands.commit = Some("1a2b".into());
    let repository = "github.com/acme/app".into();
    plan.artifacts[0].demands.published = Some(demands::Published { repository, tag: "v1".into() });
    plan.artifacts[1].demands.far = Some("box".into());
    plan.artifacts[1].demands.canary = Some(known::Canary { path: "canary".into(), sha256: String::new() });
    plan.artifacts.push(planned(Role::Data, "db", Pick::Older, 60));
    plan
}

#[test]
fn each_step_says_what_it_needs_and_counts_for() {
    use Step::*;
    let plan = of_everything();
    let rows: [(Step, &str, &[Step], bool, bool); 25] = [
        (Preflight, "preflight", &[], false, true),
        (Pick, "pick", &[Preflight], false, true),
        (Fetch(1), "fetch: db-Latest.tar.gz", &[Preflight], true, true),
        (Checksums(0), "checksums: app-Latest.tar.gz", &[Preflight], true, true),
        (Checksums(1), "checksums: db-Latest.tar.gz", &[Fetch(1)], true, true),
        (Checksums(2), "checksums: db-Older.tar.gz", &[Preflight], true, false),
        (Verify(0), "verify: app-Latest.tar.gz", &[Checksums(0)], true, true),
        (Verify(1), "decrypt and verify: db-Latest.tar.gz", &[Checksums(1)], true, true),
        (Verify(2), "verify: db-Older.tar.gz", &[Checksums(2)], true, false),
        (Restore(0), "restore: app-Latest.tar.gz", &[Verify(0)], true, true),
        (Compare(0), "compare with manifest: app-Latest.tar.gz", &[Restore(0)], true, true),
        (Commit(0), "compare with commit: app-Latest.tar.gz", &[Restore(0)], true, false),
        (Restore(1), "restore: db-Latest.tar.gz", &[Verify(1)], true, true),
        (Compare(1), "compare with manifest: db-Latest.tar.gz", &[Restore(1)], true, true),
        (KeyFiles(1), "key files: db-Latest.tar.gz", &[Compare(1)], true, true),
        (Canary(1), "canary: db-Latest.tar.gz", &[Compare(1)], true, true),
        (Restore(2), "restore: db-Older.tar.gz", &[Verify(2)], true, false),
        (Compare(2), "compare with manifest: db-Older.tar.gz", &[Restore(2)], true, false),
        (Published(0), "published release: app-Latest.tar.gz", &[Checksums(0)], true, false),
        (ReleaseCheck(0), "release check 1: npm install", &[Compare(0)], false, true),
        (ReleaseCheck(1), "release check 2: npm start", &[ReleaseCheck(0)], false, true),
        (NegativeControl(0), "negative control: app-Latest.tar.gz", &[Verify(0)], true, false),
        (NegativeControl(2), "negative control: db-Older.tar.gz", &[Verify(2)], true, false),
        (NegativeControl(1), "negative control: db-Latest.tar.gz", &[Verify(1)], true, false),
        (CleanUp, "clean up", &[], false, false),
    ];
    assert_eq!(plan.steps(), rows.map(|row| row.0));
    for (step, name, needs, counts, recovery) in rows {
        assert_eq!(plan.name(step), name);
        assert_eq!(plan.needs(step), needs, "{name}");
        assert_eq!((step.must_count(), plan.is_recovery(step)), (counts, recovery), "{name}");
    }
    let mut plan = plan;
    plan.artifacts[0].demands.copy = Some("drive".into());
    plan.artifacts[2].demands.sample = Some(Share { number: 2, of: 5 });
    let text = plan.to_string();
    for line in [
        "  4. checksums: app-Latest.tar.gz (the copy at drive)\n",
        " 17. restore: db-Older.tar.gz (part 2 of 5)\n",
        "  3. fetch: db-Latest.tar.gz (from box)\n",
        " 16. canary: db-Latest.tar.gz (canary)\n",
        " 19. published release: app-Latest.tar.gz (gh: v1 of github.com/acme/app)\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// What cannot be compared is looked at as it was restored.
#[test]
fn key_files_of_what_has_no_manifest_need_its_restoring_alone() {
    let mut plan = of_everything();
    plan.artifacts[2].has_manifest = false;
    for step in [Step::KeyFiles(2), Step::Canary(2)] {
        assert_eq!(plan.needs(step), [Step::Restore(2)]);
    }
}

/// Two of one size: the first.
#[test]
fn the_control_of_equal_ones_is_done_on_the_first() {
    let mut plan = plan();
    plan.artifacts.push(planned(Role::Release, "app", Pick::Older, 9));
    assert_eq!(plan.controls(), [0, 1]);
}

#[test]
fn a_share_of_what_is_not_encrypted_is_verified_in_part() {
    let mut plan = of_everything();
    for (index, encrypted) in [(1, true), (2, false)] {
        assert!(!plan.verified_in_part(index), "all of it");
        plan.artifacts[index].demands.sample = Some(Share { number: 2, of: 5 });
        assert_eq!(plan.verified_in_part(index), !encrypted);
    }
    assert!(!plan.verified_in_part(9));
    let control = planned(Role::Data, "db", Pick::Older, 70);
    plan.artifacts.push(control);
    assert_eq!(plan.controls(), [0, 3, 2, 1], "each way of checking has one");
}

#[test]
fn what_is_left_unproven_is_said() {
    let mut plan = of_everything();
    let full = "replacing the live data in place, stop and start of the service (full drill)";
    assert_eq!(plan.not_tested(), [full]);
    plan.artifacts[0].demands = Demands::default();
    plan.artifacts[1].key_files.clear();
    plan.release_checks.clear();
    plan.required.pop();
    let gaps = [
        full,
        "runtime data: no data set is configured",
        "whether the restored release runs: no release-checks are configured",
        "whether app-Latest.tar.gz holds what its commit holds: its lock names no commit that is in this repository",
        "published release of app-Latest.tar.gz: its lock has no `release_url` of a release on a forge",
        "key files of db: none are configured",
    ];
    assert_eq!(plan.not_tested(), gaps);
    let mut plan = of_everything();
    plan.artifacts[2].demands.sample = Some(Share { number: 2, of: 5 });
    let older = "all of db-Older.tar.gz but a sample: it has its digest, and only part 2 of 5 is restored and compared";
    assert_eq!(plan.not_tested(), [full, older]);
    plan.artifacts[1].demands.sample = Some(Share { number: 1, of: 5 });
    let latest = "all of db-Latest.tar.gz but a sample: it was read to its end, and only part 1 of 5 is restored and compared";
    let time = "the recovery time: only samples of the latest artifacts are restored";
    assert_eq!(plan.not_tested(), [full, latest, older, time]);
}
