//! Which steps follow from what is there.
use super::*;
use crate::finding::Severity;
use crate::tools::gh::release;

fn assets() -> Vec<Asset> {
    ["a.tar.gz", "a.lock.json", "SHA256SUMS"]
        .map(|name| Asset {
            name: name.into(),
            sha256: format!("digest of {name}"),
            bytes: 3,
            content: Content::Text("abc".into()),
        })
        .into()
}

/// A release that has these of them, as they should be.
fn with(draft: bool, names: &[&str]) -> Release {
    let asset = |name: &&str| release::Asset {
        name: (*name).into(),
        bytes: 3,
        sha256: Some(format!("digest of {name}")),
        whole: true,
    };
    Release { draft, url: "https://h/o/n/releases/tag/v1".into(), assets: names.iter().map(asset).collect() }
}

const ALL: [&str; 3] = ["a.tar.gz", "a.lock.json", "SHA256SUMS"];
const WISH: Wish<'static> =
    Wish { tag: "v1", draft: false, notes: None, recorded: false, lock: "a.lock.json" };

fn steps(release: Option<&Release>, wish: &Wish<'_>) -> Vec<Step> {
    plan(release, &assets(), wish).expect("a plan").steps
}

#[test]
fn nothing_there_is_made_from_the_beginning() {
    use Step::{Compare, CreateDraft, Publish, Record, Upload};
    let all = [CreateDraft(Notes::Generated), Upload(0), Upload(1), Upload(2), Compare, Publish, Record];
    assert_eq!(steps(None, &WISH), all);
    assert_eq!(steps(None, &Wish { draft: true, ..WISH }), all[..5]);
    let notes = Wish { notes: Some(Path::new("n")), ..WISH };
    assert_eq!(steps(None, &notes)[0], CreateDraft(Notes::File("n".into())));
    assert_eq!(steps(Some(&with(true, &ALL)), &notes)[0], Step::SetNotes("n".into()));
}

#[test]
fn a_draft_is_finished_with_what_it_lacks() {
    use Step::{Compare, Publish, Record, Upload};
    assert_eq!(
        steps(Some(&with(true, &[])), &WISH),
        [Upload(0), Upload(1), Upload(2), Compare, Publish, Record]
    );
    assert_eq!(steps(Some(&with(true, &ALL)), &WISH), [Compare, Publish, Record]);
    type Change = fn(&mut release::Asset);
    let changes: [Change; 3] =
        [|one| one.whole = false, |one| one.sha256 = None, |one| one.sha256 = Some("x".into())];
    for change in changes {
        let mut draft = with(true, &ALL);
        change(&mut draft.assets[1]);
        assert_eq!(steps(Some(&draft), &WISH), [Upload(1), Compare, Publish, Record]);
    }
}

#[test]
fn a_draft_of_another_bundle_is_left_alone_and_other_files_stay() {
    let error = plan(Some(&with(true, &["b.tar.gz"])), &assets(), &WISH).expect_err("another bundle");
    assert!(error.to_string().contains("b.tar.gz"), "{error}");
    let plan = plan(Some(&with(true, &["manual.pdf"])), &assets(), &WISH).expect("a plan");
    assert_eq!(plan.findings[0].path, "manual.pdf");
}

#[test]
fn what_is_published_is_never_changed() {
    let mut published = with(false, &["a.tar.gz", "a.lock.json", "SHA256SUMS", "manual.pdf"]);
    assert_eq!(steps(Some(&published), &WISH), [Step::Compare, Step::Record]);
    assert_eq!(steps(Some(&published), &Wish { recorded: true, draft: true, ..WISH }), [Step::Compare]);
    published.assets[0].sha256 = None;
    assert_eq!(steps(Some(&published), &WISH)[0], Step::Compare, "it is downloaded and compared");
    type Change = fn(&mut Vec<release::Asset>);
    let changes: [Change; 3] =
        [|all| all[0].sha256 = Some("x".into()), |all| all[0].bytes = 4, |all| drop(all.remove(0))];
    for change in changes {
        let mut other = published.clone();
        change(&mut other.assets);
        let plan = plan(Some(&other), &assets(), &WISH).expect("a plan");
        assert_eq!((plan.outcome, &plan.steps[..]), (Outcome::Different, &[][..]));
        let [finding] = &plan.findings[..] else { panic!("one finding: {:?}", plan.findings) };
        assert_eq!((finding.severity, &*finding.path), (Severity::Error, "a.tar.gz"));
        assert!(finding.what.contains("never changed"), "{finding:?}");
        assert!(finding.repair.contains("a version") && !finding.repair.contains("--url"), "{finding:?}");
    }
    // Of a release that was made by hand the tarball may be this very one.
    let mut by_hand = with(false, &["a.tar.gz", "a.lock.json"]);
    by_hand.assets[1].bytes = 4;
    let found = plan(Some(&by_hand), &assets(), &WISH).expect("a plan").findings;
    let paths: Vec<&str> = found.iter().map(|finding| &*finding.path).collect();
    assert_eq!(paths, ["a.lock.json", "SHA256SUMS"]);
    assert!(found.iter().all(|finding| finding.repair.contains("--url https://h/o/n/releases/tag/v1")));
}

#[test]
fn what_a_published_release_cannot_be_given_is_told() {
    let published = with(false, &ALL);
    let told = |wish: &Wish<'_>| plan(Some(&published), &assets(), wish).expect("a plan").findings.len();
    assert_eq!(told(&WISH), 0);
    assert_eq!(told(&Wish { draft: true, ..WISH }), 1);
    assert_eq!(told(&Wish { notes: Some(Path::new("n")), ..WISH }), 1);
}

#[test]
fn each_step_and_outcome_is_told_in_words() {
    let assets = assets();
    let shown = |step: Step| {
        let (repository, url) = ("h/o/n", "https://h/o/n/releases/tag/v1");
        Shown { step: &step, assets: &assets, tag: "v1", repository, url, lock: "a.lock.json" }.to_string()
    };
    for (step, text) in [
        (
            Step::CreateDraft(Notes::Generated),
            "create the release v1 of h/o/n as a draft, with generated notes",
        ),
        (
            Step::CreateDraft(Notes::File("n".into())),
            "create the release v1 of h/o/n as a draft, with the notes in n",
        ),
        (Step::SetNotes("n".into()), "give the draft of v1 the notes in n"),
        (Step::Upload(1), "upload a.lock.json (3 bytes)"),
        (Step::Compare, "compare 3 files with the digests of h/o/n"),
        (Step::Publish, "publish https://h/o/n/releases/tag/v1"),
        (Step::Record, "record https://h/o/n/releases/tag/v1 in a.lock.json"),
    ] {
        assert_eq!(shown(step), text);
    }
    use Outcome::{Different, Draft, Published, Recorded, Unchanged};
    let words = [Published, Draft, Unchanged, Different, Recorded].map(Outcome::word);
    assert_eq!(words.join(" "), "published draft unchanged different recorded");
}
