//! Tests of the plan; beside `steps.rs` to keep that file short.
use super::*;

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
