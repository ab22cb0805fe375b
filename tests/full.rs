//! `restore-drill full`: whatever happens, the service runs on its live data again, byte for byte; and what the drill says
//! is what it did.
mod beside;
pub mod service;
mod told;

use super::support::{Outcome, Stack, flip, outcome};
use serde_json::Value;
use service::{asides, full, is_closed, is_live};
use std::fs;

fn step<'a>(document: &'a Value, name: &str) -> &'a Value {
    let steps = document["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"].as_str().is_some_and(|text| text.starts_with(name)));
    found.unwrap_or_else(|| panic!("no step {name:?} in {document:#}"))
}

/// A drill that went wrong at `name`, and was taken back.
#[track_caller]
fn taken_back(stack: &Stack, outcome: Outcome, name: &str, live: &str) -> Value {
    let document = outcome.exits(1).json();
    assert_eq!(document["result"], "not_verified", "{document:#}");
    assert_ne!(step(&document, name)["outcome"], "pass", "{document:#}");
    assert_eq!(step(&document, "roll back: start")["outcome"], "pass", "{document:#}");
    is_live(stack, live);
    assert!(is_closed(stack));
    document
}

#[test]
fn a_drill_that_restores_what_is_live_leaves_it_in_place_and_keeps_the_other_aside() {
    let stack = service::stack("keep-aside = \"7d\"\nrto-target = \"10m\"\n", false);
    let live = stack.listing("repo/.codex-api");
    let document = full(&stack, &[]).ok().json();
    assert_eq!(
        (&document["kind"], &document["result"]),
        (&"full".into(), &"verified".into()),
        "{document:#}"
    );
    for name in [
        "stop the service",
        "fresh backup",
        "move the live folder aside: data",
        "restore: data codex-api",
        "restore: release",
        "compare with what lies aside: data",
        "put in place: data",
        "put in place: release",
        "start the service",
        "smoke 1: ",
        "negative control: data",
    ] {
        assert_eq!(step(&document, name)["outcome"], "pass", "{name}: {document:#}");
    }
    assert!(document["rto_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{document:#}");
    is_live(&stack, &live);
    assert!(stack.path("deployed/server.js").exists(), "the bundle is deployed");
    // What lies aside is the former live folder, private, and no work tree's business.
    let folders = asides(&stack);
    assert_eq!(folders.len(), 1, "{folders:?}");
    let aside = format!("{}/aside", folders[0]);
    assert_eq!(stack.listing(&aside), live);
    assert_eq!(stack.sh("repo", "git status --porcelain | grep -c recovery-full || true").trim(), "0");
    let status = stack.run(&["status", "--json"]).json();
    assert_eq!(status["asides"].as_array().map(Vec::len), Some(1), "{status:#}");
    // It goes when it has had its time, and not before.
    stack.run_at("2026-03-16T12:00:00Z", &["prune"]).says(&["kept until"]);
    assert_eq!(asides(&stack).len(), 1);
    stack.run_at("2026-03-17T12:00:01Z", &["prune"]).says(&["has had its time"]);
    assert_eq!(asides(&stack), [""; 0]);
    is_live(&stack, &live);
    let status = stack.run_at("2026-03-17T12:00:02Z", &["status", "--json"]).json();
    assert_eq!(status["asides"].as_array().map(Vec::len), Some(0), "{status:#}");
}

/// The service is stopped and started once, by the second drill too, which finds a release where it is to go.
#[test]
fn a_second_drill_of_what_nobody_has_touched_finds_all_the_same() {
    let stack = service::stack("", false);
    let starts = stack.path("starts").display().to_string();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file(
        "repo/recovery.toml",
        &text.replace("start = \"", &format!("start = \"echo started >> {starts}; ")),
    );
    let live = stack.listing("repo/.codex-api");
    full(&stack, &[]).ok();
    stack.sh(".", "chmod 2751 deployed");
    let again = ["restore-drill", "full", "--yes", "--json"];
    let document = stack.run_at("2026-03-10T13:00:00Z", &again).ok().json();
    assert_eq!(document["result"], "verified", "{document:#}");
    for name in ["release", "data"] {
        let compared = step(&document, &format!("compare with what lies aside: {name}"));
        assert!(compared["detail"].to_string().contains(": all the same"), "{document:#}");
    }
    assert_eq!(fs::read_to_string(&starts).expect("reads").lines().count(), 2, "{document:#}");
    assert_eq!(stack.sh(".", "stat -c %a deployed").trim(), "2751");
    is_live(&stack, &live);
}

/// Files that a backup leaves out are live data all the same.
#[test]
fn unless_the_two_are_the_same_the_live_data_goes_back() {
    let stack = service::stack("", false);
    stack.file(
        "repo/recovery.toml",
        &fs::read_to_string(stack.path("repo/recovery.toml"))
            .expect("reads")
            .replace("key-files", "exclude = [\"cache/\"]\nkey-files"),
    );
    stack.file("repo/.codex-api/cache/one", "not in any backup");
    let live = stack.listing("repo/.codex-api");
    let document = full(&stack, &[]).ok().json();
    assert_eq!(document["result"], "verified", "{document:#}");
    assert!(
        step(&document, "compare with what lies aside: data")["detail"].to_string().contains("cache"),
        "{document:#}"
    );
    for name in ["put back: stop", "put back: data", "put back: start", "put back: smoke 1"] {
        assert_eq!(step(&document, name)["outcome"], "pass", "{document:#}");
    }
    is_live(&stack, &live);
    // What was restored, and may have been written to, is kept for a while.
    let kept = asides(&stack);
    assert!(kept.iter().any(|folder| stack.path(folder).join("restored-0/config.toml").exists()), "{kept:?}");
}

#[test]
fn the_restored_data_stays_if_that_is_asked_for() {
    let stack = service::stack("", false);
    stack.run(&["backup"]).ok();
    let restored = stack.listing("repo/.codex-api");
    stack.file("repo/.codex-api/new", "written since the backup");
    let live = stack.listing("repo/.codex-api");
    let document = full(&stack, &["--no-fresh-backup", "--keep-restored"]).ok().json();
    assert_eq!(document["result"], "verified", "{document:#}");
    is_live(&stack, &restored);
    let folders = asides(&stack);
    let aside =
        folders.iter().map(|folder| format!("{folder}/aside")).find(|aside| stack.path(aside).exists());
    assert_eq!(stack.listing(&aside.expect("the live data lies aside")), live);
}

/// Visitors of the restored service may have left something: that is kept too.
#[test]
fn what_the_service_wrote_during_the_drill_is_lost_on_neither_side() {
    let stack = service::stack("", true);
    stack.file("repo/.codex-api/new", "written since the backup");
    stack.run(&["backup"]).ok();
    stack.file("repo/.codex-api/newer", "written since the backup");
    let live = stack.listing("repo/.codex-api");
    let document = full(&stack, &["--no-fresh-backup"]).ok().json();
    let now = stack.sh("repo/.codex-api", "cat visits; rm visits; touch -d @0 .");
    assert!(now.contains("/all"), "{now}");
    let times = |text: &str| {
        text.lines().filter(|line| !line.starts_with(" d ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(times(&stack.listing("repo/.codex-api")), times(&live));
    let folders = asides(&stack);
    let visits = folders.iter().find(|folder| stack.path(folder).join("restored-0/visits").exists());
    assert!(visits.is_some(), "{folders:?}");
    written_is_told(&document, visits.expect("kept"));
}

/// What was written to the restored data is a warning that names it, and where it is kept.
#[track_caller]
fn written_is_told(document: &Value, kept: &str) {
    let findings = document["findings"].as_array().expect("findings");
    let told =
        |found: &&Value| found["what"].to_string().contains("did not go back with the live data: visits;");
    let found = findings.iter().find(told).unwrap_or_else(|| panic!("not told: {document:#}"));
    assert_eq!(found["severity"], "warning", "{found:#}");
    assert!(found["what"].to_string().contains(kept.trim_start_matches("./")), "{kept} in {found:#}");
}

/// The same where the drill failed behind the first visit.
#[test]
fn what_was_written_before_a_drill_failed_is_told_too() {
    let stack = service::stack("", true);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("run\"]", "run\", \"false\"]"));
    let document = full(&stack, &[]).exits(1).json();
    assert_ne!(step(&document, "smoke 2")["outcome"], "pass", "{document:#}");
    let kept = asides(&stack);
    let kept = kept.iter().find(|folder| stack.path(folder).join("restored-0/visits").exists());
    written_is_told(&document, kept.expect("kept"));
}

#[test]
fn a_smoke_test_that_fails_takes_everything_back() {
    let stack = service::stack("", false);
    stack.file("deployed/server.js", "what ran before");
    let home = stack.path("").display().to_string();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file(
        "repo/recovery.toml",
        &text.replace("smoke = [", &format!("smoke = [\"test ! -e {home}deployed/package.json\", ")),
    );
    let (live, deployed) = (stack.listing("repo/.codex-api"), stack.listing("deployed"));
    let document = taken_back(&stack, full(&stack, &[]), "smoke 1", &live);
    assert_eq!(step(&document, "smoke 2")["outcome"], "blocked");
    assert_eq!(stack.listing("deployed"), deployed);
}

#[test]
fn commands_that_fail_or_hang_take_everything_back() {
    for (key, line, name) in [
        ("stop = ", "stop = \"false\"", "stop the service"),
        ("start = ", "", "start the service"),
        ("smoke = [", "smoke = [\"sleep 60\", ", "smoke 1"),
    ] {
        let stack = service::stack("check-timeout = \"5s\"\n", false);
        let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
        // The first start fails, those behind it do not.
        let mark = stack.path("failed").display().to_string();
        let once = format!("start = \"test -e {mark} || {{ touch {mark}; exit 3; }}; ");
        let line = if line.is_empty() { once } else { line.to_owned() };
        let from = if key == "start = " { "start = \"" } else { key };
        let text = match key {
            "stop = " => text
                .lines()
                .map(|old| if old.starts_with(key) { &*line } else { old })
                .collect::<Vec<_>>()
                .join("\n"),
            _ => text.replacen(from, &line, 1),
        };
        stack.file("repo/recovery.toml", &text);
        let live = stack.listing("repo/.codex-api");
        taken_back(&stack, full(&stack, &[]), name, &live);
    }
}

#[test]
fn a_restore_that_fails_takes_everything_back() {
    let stack = service::stack("", false);
    stack.run(&["backup"]).ok();
    let archive = stack.one("drive", ".tar.gz");
    flip(&archive, fs::metadata(&archive).expect("there").len() as usize / 2);
    stack.sh("repo/.codex-api", ": > lost.key");
    let live = stack.listing("repo/.codex-api");
    let document = taken_back(&stack, full(&stack, &["--no-fresh-backup"]), "checksums: data", &live);
    assert_eq!(step(&document, "move the live folder aside")["outcome"], "blocked", "{document:#}");
    // And one that fails when everything is aside: what should come back holds nothing.
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("[\"config.toml\"]", "[\"config.toml\", \"lost.key\"]"));
    let document = taken_back(&stack, full(&stack, &[]), "key files: data", &live);
    assert_eq!(step(&document, "move the live folder aside")["outcome"], "pass", "{document:#}");
    assert_eq!(step(&document, "start the service")["outcome"], "blocked", "{document:#}");
}

/// What somebody did by hand meanwhile is not undone, and what nobody remembers is told.
#[test]
fn live_data_is_never_hidden_without_a_word() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    full(&stack, &["--keep-restored"]).ok();
    let aside = asides(&stack);
    assert_eq!(aside.len(), 1);
    stack.run(&["status"]).ok().says(&["kept for"]);
    // The memory is lost: `git clean` takes it.
    stack.sh("repo", "rm -rf .recovery");
    let folder = aside[0].trim_start_matches("./");
    stack.run(&["status"]).exits(1).says(&["nothing here remembers", folder]);
    stack.run(&["prune"]);
    assert_eq!(stack.listing(&format!("{}/aside", aside[0])), live);
    // Nobody says that there is nothing to bring back, and a backup says that it does not have that.
    stack.run(&["restore-drill", "recover"]).exits(1).says(&["no full drill is open in", folder]);
    stack.run(&["backup"]).ok().says(&["warning", folder, "no backup has it"]);
    stack.run(&["restore-drill", "full", "--yes"]).exits(3).says(&["nothing here remembers", folder]);
}

/// One that was killed before it had begun leaves empty folders, and they are in nobody's way.
#[test]
fn what_a_drill_leaves_that_had_not_begun_goes_with_the_next() {
    let stack = service::stack("", false);
    for (folder, file) in [("one", ".gitignore"), ("two", ".recovery-new")] {
        stack.file(&format!("repo/.recovery-full-{folder}/{file}"), "*\n");
    }
    stack.run(&["backup"]).ok();
    stack.run(&["status"]).ok();
    full(&stack, &[]).ok();
    let left = asides(&stack);
    assert!(!left.iter().any(|path| path.ends_with("one") || path.ends_with("two")), "{left:?}");
}

/// With a wrong clock the newest backup is not the one that was just made: nothing of it takes the place of live data.
#[test]
fn what_is_not_the_fresh_backup_is_not_restored() {
    for (clock, args) in [("2026-02-01T00:00:00Z", &["--keep-restored"][..]), ("2026-02-01T00:00:00Z", &[])] {
        let stack = service::stack("", false);
        stack.run(&["backup"]).ok();
        stack.file("repo/.codex-api/new", "written since the backup");
        let live = stack.listing("repo/.codex-api");
        let said = stack.run_at(clock, &[&["restore-drill", "full", "--yes", "--json"], args].concat());
        let document = taken_back(&stack, said, "pick", &live);
        assert!(document.to_string().contains("which was just made"), "{document:#}");
    }
}

/// A backup that is known to be partial is not restored over live data, whoever asks for it.
#[test]
fn errors_keep_no_restored_data_in_place() {
    let stack = service::stack("", false);
    stack.run(&["backup"]).ok();
    let archive = stack.one("drive", ".tar.gz");
    let line = format!(
        "{{\"kind\": \"damaged\", \"time\": \"2026-03-10T12:00:00Z\", \"artifact\": \"{}\", \"schema\": 1}}",
        archive.display()
    );
    stack.sh("repo", &format!("echo '{line}' >> .recovery/history.jsonl"));
    stack.file("repo/.codex-api/new", "written since the backup");
    let live = stack.listing("repo/.codex-api");
    taken_back(&stack, full(&stack, &["--no-fresh-backup", "--keep-restored"]), "pick", &live);
}

/// A service that does not start keeps the drill open, and what was mended since counts.
#[test]
fn a_start_that_was_mended_ends_the_drill() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/recovery.toml", &text.replace("start = \"", "start = \"exit 7; "));
    full(&stack, &[]).exits(1).says(&["the drill is open", "restore-drill recover"]);
    stack.run(&["restore-drill", "recover"]).exits(1);
    stack.run(&["backup"]).exits(3);
    stack.file("repo/recovery.toml", &text);
    stack.run(&["restore-drill", "recover"]).ok().says(&["the service was started on its data"]);
    assert!(is_closed(&stack));
    is_live(&stack, &live);
}

/// A drill that is at work is none that was cut off: others wait for it.
#[test]
fn a_drill_at_work_is_told_as_that() {
    let stack = service::stack("", false);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let (mark, go) = (stack.path("smoked"), stack.path("go"));
    let wait = format!("touch {}; until test -e {}; do sleep 0.05; done", mark.display(), go.display());
    stack.file("repo/recovery.toml", &text.replacen("smoke = [", &format!("smoke = [\"{wait}\", "), 1));
    let live = stack.listing("repo/.codex-api");
    let mut drill = stack.grouped(&["restore-drill", "full", "--yes"]).spawn().expect("starts");
    while !mark.exists() {
        assert!(drill.try_wait().expect("waits").is_none(), "the drill ended before its smoke test");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let lock = fs::read(stack.path("repo/.recovery/locks/repository")).expect("reads");
    stack.run(&["status"]).says(&["is at work: `restore-drill`"]);
    for args in [&["backup"][..], &["prune"], &["restore-drill"], &["restore-drill", "recover"]] {
        stack.run(args).exits(75).says(&["restore-drill"]);
    }
    assert_eq!(fs::read(stack.path("repo/.recovery/locks/repository")).expect("reads"), lock);
    stack.file("go", "");
    assert!(drill.wait().expect("ends").success());
    is_live(&stack, &live);
}

/// Evidence that finds no place keeps the service from nothing.
#[test]
fn a_drill_without_a_place_for_its_evidence_touches_nothing() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    stack.file("repo/docs/drills", "a file");
    let said = stack.run(&["restore-drill", "full", "--yes"]);
    assert_eq!(said.code, 3, "{}", said.shown());
    is_live(&stack, &live);
    assert!(is_closed(&stack) && asides(&stack).is_empty());
}

/// With the drive gone nothing is touched.
#[test]
fn a_drill_that_cannot_run_touches_nothing() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let drive = stack.path("drive").display().to_string();
    stack.file("repo/recovery.toml", &text.replacen("path = ", &format!("mount = \"{drive}\"\npath = "), 1));
    let document = full(&stack, &[]).exits(75).json();
    assert_eq!(document["result"], "could_not_run", "{document:#}");
    assert_eq!(step(&document, "stop the service")["outcome"], "blocked");
    is_live(&stack, &live);
    assert!(is_closed(&stack) && asides(&stack).is_empty());
}

#[test]
fn nobody_is_surprised() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    stack.run(&["restore-drill", "full"]).exits(3).says(&["nobody is there to agree"]);
    let before = stack.world(".");
    let plan = stack.run(&["restore-drill", "full", "--dry-run"]).ok();
    let said = plan.says(&[
        "stop the service",
        "fresh backup",
        "move the live folder aside: data codex-api",
        "smoke 1",
    ]);
    assert!(said.stdout.contains(&stack.path("repo/.codex-api").display().to_string()), "{}", said.stdout);
    assert_eq!(stack.world("."), before, "a dry run writes nothing");
    is_live(&stack, &live);
    // Typed at a terminal: another name stops it, the folders' own do not.
    let typed = |text: &str| {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        stack.sh(
            "repo",
            &format!("printf '{text}\\n' | script -qec '{xtask} restore-drill full' /dev/null 2>&1 || true"),
        )
    };
    assert!(typed("yes").contains("not what was to be typed"));
    is_live(&stack, &live);
    let said = typed("deployed .codex-api");
    assert!(said.contains("result: verified"), "{said}");
}

#[test]
fn what_is_missing_or_in_the_way_is_told_before_anything_is_touched() {
    let stack = service::stack("", false);
    let live = stack.listing("repo/.codex-api");
    let whole = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let home = stack.path("").display().to_string();
    let without =
        |key: &str| whole.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
    let deployed = format!("deploy-dir = \"{home}deployed\"");
    for (text, said) in [
        (without("stop"), "a full drill needs stop"),
        (without("smoke"), "a full drill needs smoke"),
        (without("deploy-dir"), "neither `deploy-dir` nor `deploy`"),
        (format!("{whole}deploy = \"true\"\n"), "both set"),
        (whole.replace(&deployed, "deploy-dir = \".\""), "lie in one another"),
        (whole.replace(&deployed, "deploy-dir = \".codex-api/app\""), "lie in one another"),
        (whole.replace(&deployed, &format!("deploy-dir = \"{home}drive\"")), "lie in one another"),
        (whole.replace(&deployed, "deploy-dir = \"package.json\""), "is no folder"),
        (whole.replace(&deployed, "deploy-dir = \"/proc\""), "mount point"),
    ] {
        stack.file("repo/recovery.toml", &text);
        full(&stack, &[]).exits(3).says(&[said]);
        is_live(&stack, &live);
        assert!(is_closed(&stack) && asides(&stack).is_empty(), "{said}");
    }
}

/// A live folder that is a link, and a release that a command of the user's own puts in place.
#[test]
fn links_are_followed_and_a_command_may_deploy() {
    let stack = service::stack("", false);
    stack.sh("repo", "mv .codex-api ../real; ln -s ../real .codex-api");
    let home = stack.path("").display().to_string();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let deploy = format!("deploy = \"rm -rf {home}put; cp -R . {home}put\"");
    stack.file("repo/recovery.toml", &text.replace(&format!("deploy-dir = \"{home}deployed\""), &deploy));
    let live = stack.listing("real");
    let document = full(&stack, &[]).ok().json();
    assert_eq!(document["result"], "verified", "{document:#}");
    assert_eq!(stack.listing("real"), live);
    assert!(stack.path("put/server.js").exists() && stack.path("repo/.codex-api").is_symlink());
}

/// A drill that was killed is not to be overlooked, and what would bring it back is told before it is done.
#[test]
fn an_open_drill_is_told_by_what_has_nothing_to_do_and_recover_has_a_dry_run() {
    let stack = Stack::configured();
    stack.sh("repo", "sed -i '/^source/a backup-every = \"1d\"' recovery.toml");
    stack.file(
        "more",
        "[drill]\nstop = \"true\"\nstart = \"cp .recovery/drill.json kept.json\"\nsmoke = [\"true\"]\n",
    );
    stack.sh("repo", "cat ../more >> recovery.toml");
    stack.run(&["restore-drill", "full", "--yes"]).ok();
    outcome(&mut stack.plain(&["backup", "--if-due"])).ok();
    stack.sh("repo", "mv kept.json .recovery/drill.json");
    outcome(&mut stack.plain(&["backup", "--if-due"])).exits(3).says(&["restore-drill recover"]);
    let before = stack.listing(".");
    let said = stack.run(&["restore-drill", "recover", "--dry-run"]).ok();
    said.says(&["would stop the service", "would bring back data codex-api", "would start the service"]);
    let plan = stack.run(&["restore-drill", "recover", "--dry-run", "--json"]).ok().json();
    assert_eq!((&plan["kind"], &plan["dry_run"]), (&"recover".into(), &true.into()), "{plan}");
    assert!(stack.listing(".") == before);
    // While it is at work, nothing has been killed.
    let held = |args: &str| {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let script = format!(
            "flock .recovery/locks/repository sh -c 'echo; exec sleep 1' | {{ read -r _; '{xtask}' {args} 2>&1 || echo $?; }}"
        );
        stack.sh("repo", &script)
    };
    for args in ["prune", "backup", "restore-drill", "restore-drill full", "restore-drill recover"] {
        let said = held(&format!("{args} --dry-run"));
        assert!(said.contains("is in use by") && said.ends_with("75\n"), "{args}: {said}");
    }
    // The lines of another service are not those of the one that stands still.
    stack.sh("repo", "sed 's|^start = .*|start = \"touch ../wrong\"|; s|^stop = .*|stop = \"touch ../wrong\"|' recovery.toml > other.toml");
    stack.run(&["--config", "other.toml", "restore-drill", "recover"]).ok();
    assert!(!stack.path("wrong").exists());
}
