//! On time: what is due and overdue, the lines that run it, who is told, and the numbers for Prometheus.
mod daemon;
mod notified;
mod numbers;
mod schedule;

use super::support::Stack;
use serde_json::Value;
use std::fs;

/// A stack whose set is due each day.
fn daily(more: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(more);
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("[data.codex-api]\n", "[data.codex-api]\nbackup-every = \"1d\"\n"))
        .expect("writes");
    stack
}

fn archives(stack: &Stack) -> usize {
    stack.files("drive").iter().filter(|name| name.ends_with(".tar.gz")).count()
}

/// The errors of `status` at this time.
fn errors(stack: &Stack, now: &str) -> Vec<String> {
    let document = stack.run_at(now, &["status", "--json"]).json();
    let findings = document["findings"].as_array().expect("findings").iter();
    let errors = findings.filter(|finding| finding["severity"] == "error");
    errors.map(|error| format!("{} {} ({})", error["path"], error["what"], error["repair"])).collect()
}

fn set_status(document: &Value) -> &str {
    document["sets"][0]["status"].as_str().expect("a status")
}

#[test]
fn a_backup_is_made_when_it_is_due_and_not_before() {
    let stack = daily("");
    let run = |now: &str, args: &[&str]| {
        let args = [&["backup", "--json", "--if-due"], args].concat();
        let mut command = stack.plain(&args);
        super::support::outcome(command.env("RECOVERY_NOW", now)).ok().json()
    };
    let at = |now: &str| set_status(&run(now, &[])).to_owned();
    assert_eq!(at("2026-03-10T03:23:40Z"), "ok", "none was made");
    let before = stack.listing(".");
    assert_eq!(at("2026-03-10T20:00:00Z"), "not_due");
    assert_eq!(stack.listing("."), before, "nothing is written when nothing is due");
    assert_eq!(
        set_status(&run("2026-03-10T20:00:00Z", &["--force"])),
        "not_due",
        "force is about what is made"
    );
    assert_eq!(at("2026-03-11T03:23:01Z"), "unchanged", "a line that starts a little earlier does its work");
    assert_eq!(at("2026-03-11T20:00:00Z"), "not_due", "unchanged is as good as a new one");
    assert_eq!(at("2026-03-12T02:23:01Z"), "unchanged", "also on the day of summer time");
    assert_eq!(archives(&stack), 1);
    let said = stack.run_at("2026-03-12T03:00:00Z", &["backup", "--if-due"]).ok();
    assert_eq!(said.stdout, "codex-api: not due\n");
    let said = stack.run_at("2026-03-13T12:00:00Z", &["backup", "--if-due"]).ok();
    assert!(said.stderr.contains("a backup is due: the last one is 1 d 9 h old"), "{}", said.shown());
    // Without a cadence, whoever asks is the cadence.
    let plain = Stack::configured();
    for _ in 0..2 {
        plain.run(&["backup", "--if-due"]).ok();
    }
    assert_eq!(archives(&plain), 2);
}

/// One set of two is due, and one destination of two.
#[test]
fn what_is_due_is_decided_for_each_set_and_each_destination() {
    let stack = Stack::new();
    stack.file("repo/other/file", "x");
    let config = |destinations: &str| {
        let (drive, far) =
            (stack.path("drive").display().to_string(), stack.path("far").display().to_string());
        stack.file(
            "repo/recovery.toml",
            &format!(
                "[data.a]\nsource = \".codex-api\"\nbackup-every = \"1d\"\ndestination = {destinations}\n\
                 [data.b]\nsource = \"other\"\nbackup-every = \"7d\"\ndestination = \"drive\"\n\
                 [destination.drive]\npath = \"{drive}\"\n[destination.far]\npath = \"{far}\"\n"
            ),
        );
    };
    config("\"drive\"");
    let due = |now: &str| {
        let document = stack.run_at(now, &["backup", "--if-due", "--json"]).ok().json();
        let sets = document["sets"].as_array().expect("sets").iter();
        sets.map(|set| format!("{} {}", set["set"], set["status"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(due("2026-03-10T12:00:00Z"), ["a ok", "b ok"]);
    assert_eq!(due("2026-03-11T12:00:00Z"), ["a ok", "b not_due"]);
    assert_eq!(due("2026-03-11T13:00:00Z"), ["a not_due", "b not_due"]);
    config("[\"drive\", \"far\"]");
    assert_eq!(due("2026-03-11T13:00:00Z"), ["a ok", "b not_due"], "the new destination has none");
    assert_eq!(due("2026-03-11T14:00:00Z"), ["a not_due", "b not_due"]);
    // A set that fails is due again at once, and its error decides the exit code, whatever is not due beside it.
    stack.sh("repo", "mv .codex-api away");
    stack.run_at("2026-03-13T12:00:00Z", &["backup", "--if-due"]).exits(1).says(&["not there", "b: not due"]);
    stack.sh("repo", "mv away .codex-api");
    assert_eq!(due("2026-03-13T12:00:01Z"), ["a ok", "b not_due"]);
}

/// A backup that holds only a part, or that was found damaged, does not count as one.
#[test]
fn a_backup_that_is_not_whole_is_due_again() {
    let stack = daily("");
    stack.run(&["backup"]).ok();
    super::support::flip(&stack.one("drive", ".tar.gz"), 300);
    stack.run(&["verify"]).exits(1);
    let document = stack.run(&["backup", "--if-due", "--json"]).ok().json();
    assert_eq!(set_status(&document), "ok");
    assert_eq!(archives(&stack), 2);
}

#[test]
fn a_backup_that_is_overdue_is_an_error_that_says_since_when() {
    let stack = daily("");
    stack.run(&["backup"]).ok();
    assert_eq!(errors(&stack, "2026-03-11T12:00:00Z"), [""; 0]);
    let told = errors(&stack, "2026-03-11T12:00:01Z");
    let parts = [
        "codex-api",
        "1 d old",
        "every 1 d",
        "overdue since 2026-03-11T12:00:00Z",
        "cargo xtask backup codex-api",
    ];
    assert!(told.len() == 1 && parts.iter().all(|part| told[0].contains(part)), "{told:?}");
    stack.run_at("2026-03-11T12:00:01Z", &["status"]).exits(1);
    // Also where the drive is away, of which the history knows.
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let mount = format!("mount = \"{}\"\n", stack.path("drive").display());
    stack.file("repo/recovery.toml", &format!("{text}{mount}"));
    assert_eq!(errors(&stack, "2026-03-11T12:00:00Z").len(), 1, "the drive is away");
    let told = errors(&stack, "2026-03-11T12:00:01Z");
    assert!(told.len() == 2 && told.iter().any(|error| error.contains("overdue since")), "{told:?}");
    // A drive that is not there is a reason to try again later, and no reason at all while nothing is due.
    stack.run_at("2026-03-10T13:00:00Z", &["backup", "--if-due"]).ok();
    stack.run_at("2026-03-11T13:00:00Z", &["backup", "--if-due"]).exits(75);
}

#[test]
fn a_verification_is_due_for_what_was_not_read_for_long_and_for_nothing_else() {
    let stack = Stack::new();
    stack.configure("[drill]\nverify-every = \"10d\"\n");
    stack.run(&["snapshot"]).ok();
    stack.run_at("2026-03-01T12:00:00Z", &["backup"]).ok();
    stack.run(&["backup"]).ok();
    assert_eq!(errors(&stack, "2026-03-11T12:00:00Z"), [""; 0], "each was read back when it was made");
    let told = errors(&stack, "2026-03-11T12:00:01Z");
    let parts = [
        "1 of 2 artifacts",
        "10 d",
        "2026-03-01T120000Z.tar.gz",
        "since 2026-03-11T12:00:00Z",
        "cargo xtask verify --if-due",
    ];
    assert!(told.len() == 1 && parts.iter().all(|part| told[0].contains(part)), "{told:?}");
    let verify = |now: &str| stack.run_at(now, &["verify", "--if-due", "--json"]).ok().json();
    assert_eq!(verify("2026-03-11T08:59:59Z")["checked"], 0);
    let document = verify("2026-03-11T12:00:01Z");
    assert_eq!(document["checked"], 1);
    assert!(
        document["artifacts"][0]["path"].as_str().is_some_and(|path| path.contains("03-01T")),
        "{document}"
    );
    assert_eq!(errors(&stack, "2026-03-11T12:00:01Z"), [""; 0]);
    // The bundle is of an old commit, and was made on the tenth; a drill reads it as `verify` does.
    assert_eq!(errors(&stack, "2026-03-20T12:00:01Z").len(), 2, "the bundle, and the backup of the tenth");
    stack.run_at("2026-03-20T12:00:01Z", &["restore-drill"]).ok();
    assert_eq!(errors(&stack, "2026-03-20T12:00:01Z"), [""; 0]);
    stack.run_at("2026-03-20T12:00:01Z", &["verify", "--if-due"]).ok().says(&["nothing is due"]);
    stack.run(&["verify", "--if-due", "--latest"]).exits(2);
    // What lies on a drive that is away can be read later; the bundle is read now.
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let away = format!("mount = \"{}\"\n[drill]", stack.path("drive").display());
    stack.file("repo/recovery.toml", &text.replace("[drill]", &away));
    let said = stack.run_at("2026-04-10T12:00:00Z", &["verify", "--if-due", "--json"]).exits(75);
    assert_eq!((&said.json()["checked"], &said.json()["status"]), (&1.into(), &"ok".into()));
    said.says(&["warning", "nothing is mounted"]);
    stack.run_at("2026-04-10T12:00:00Z", &["verify"]).exits(1).says(&["error", "nothing is mounted"]);
}

#[test]
fn a_drill_that_could_not_run_counts_as_overdue_and_is_due_at_once() {
    let stack = Stack::new();
    stack.configure("[drill]\nspot-every = \"31d\"\n");
    stack.run(&["backup"]).ok();
    stack.run(&["restore-drill"]).ok();
    let path = stack.path("repo/recovery.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let away = format!("mount = \"{}\"\n[drill]", stack.path("drive").display());
    fs::write(&path, text.replace("[drill]", &away)).expect("writes");
    stack.run_at("2026-03-11T12:00:00Z", &["restore-drill", "spot"]).exits(75);
    fs::write(&path, text).expect("writes");
    let told = errors(&stack, "2026-03-11T12:00:00Z");
    assert!(told.len() == 1 && told[0].contains("could_not_run, which counts as overdue"), "{told:?}");
    for args in
        [&["restore-drill", "--if-due", "--json"][..], &["restore-drill", "spot", "--if-due", "--json"]]
    {
        let now = if args.len() == 3 { "2026-03-11T13:00:00Z" } else { "2026-03-11T14:00:00Z" };
        let result = stack.run_at(now, args).ok().json()["result"].clone();
        assert_eq!(result, if args.len() == 3 { "verified" } else { "not_due" });
    }
}

/// What a drill has proven says nothing of a set that came later.
#[test]
fn a_set_that_no_drill_has_had_is_drilled_at_once() {
    let stack = Stack::new();
    stack.configure("[drill]\nspot-every = \"31d\"\n");
    let if_due = |hour: u32| {
        let now = format!("2026-03-11T{hour:02}:00:00Z");
        stack.run_at(&now, &["restore-drill", "--if-due", "--json"]).ok().json()["result"].clone()
    };
    stack.run(&["backup"]).ok();
    stack.run(&["restore-drill"]).ok();
    stack.configure("[drill]\nspot-every = \"31d\"\n[data.later]\nsource = \"later\"\n");
    stack.file("repo/later/one", "1");
    assert_eq!(if_due(0), "not_due", "it has no backup yet");
    let line = |now| stack.run_at(now, &["status"]).shown().to_owned();
    stack.run_at("2026-03-10T13:00:00Z", &["backup"]).ok();
    assert!(
        line("2026-03-10T14:00:00Z").contains("never proven by a drill"),
        "{}",
        line("2026-03-10T14:00:00Z")
    );
    assert_eq!((if_due(1), if_due(2)), ("verified".into(), "not_due".into()));
    assert!(line("2026-03-11T02:00:00Z").contains("last proven"), "{}", line("2026-03-11T02:00:00Z"));
    // Nor does it have to wait for a full drill that is due, and may not or cannot begin.
    for (set, args, code) in [("asked", &[][..], 0), ("cannot", &["--yes"], 3)] {
        let sets = format!("[data.later]\nsource = \"later\"\n[data.{set}]\nsource = \"later\"\n");
        stack.configure(&format!("[drill]\nspot-every = \"31d\"\nfull-every = \"92d\"\n{sets}"));
        let hour = if code == 0 { 3 } else { 5 };
        stack.run_at(&format!("2026-03-11T{hour:02}:00:00Z"), &["backup"]).ok();
        let args = [&["restore-drill", "--if-due", "--json"], args].concat();
        let said = stack.run_at(&format!("2026-03-11T{:02}:00:00Z", hour + 1), &args).exits(code);
        assert_eq!(said.json()["kind"], "spot", "{}", said.shown());
        assert!(said.json()["steps"].to_string().contains(set), "{}", said.shown());
    }
}

#[test]
fn a_full_drill_that_was_never_done_is_overdue_and_never_begun_without_consent() {
    let stack = Stack::new();
    stack.configure("[drill]\nspot-every = \"31d\"\nfull-every = \"92d\"\n");
    stack.run(&["backup"]).ok();
    let document = stack.run(&["restore-drill", "--if-due", "--json"]).ok().json();
    assert_eq!((&document["kind"], &document["result"]), (&"spot".into(), &"verified".into()));
    let said = stack.run(&["restore-drill", "--if-due"]).ok();
    assert!(said.stderr.contains("--yes"), "{}", said.shown());
    // With consent it is begun, and says what it lacks here.
    stack
        .run(&["restore-drill", "--if-due", "--yes"])
        .exits(3)
        .says(&["full drill needs stop, start, smoke"]);
    let told = errors(&stack, super::support::NOW);
    assert!(
        told.len() == 1 && told[0].contains("no full drill") && told[0].contains("restore-drill full"),
        "{told:?}"
    );
}

/// The full drill is due and lacks keys: that is told each time, and the spot drill is done where it is due.
#[test]
fn a_full_drill_that_cannot_begin_keeps_no_spot_drill_from_being_done() {
    let stack = Stack::new();
    let keys = "stop = \"true\"\nstart = \"true\"\n";
    let told = "[notify]\non-success = [\"touch ../good\"]\non-failure = [\"env > ../bad\"]\nenvironment = [\"PATH\"]\n";
    stack.configure(&format!("{told}[drill]\nspot-every = \"31d\"\nfull-every = \"92d\"\n{keys}"));
    stack.run(&["backup"]).ok();
    stack.sh(".", "rm good; touch outputs");
    let drill = ["restore-drill", "--if-due", "--yes", "--json"];
    let lacks = "full drill needs smoke";
    let outputs = stack.path("outputs").display().to_string();
    let said = stack.run_with(
        &[("GITHUB_ACTIONS", "true"), ("GITHUB_OUTPUT", &outputs)],
        &[&drill[..], &["--owner", "Ada"]].concat(),
    );
    let document = said.exits(3).says(&[lacks, "how the service is stopped"]).json();
    assert_eq!((&document["kind"], &document["result"]), (&"spot".into(), &"verified".into()));
    // Nobody who is told of the spot drill takes it for all that was due; its record is as good as ever.
    let found = &document["findings"][0];
    assert!(found["severity"] == "error" && found["what"].to_string().contains(lacks), "{document}");
    assert_eq!((&document["status"], &found["owner"]), (&"findings".into(), &"Ada".into()), "{document}");
    let outputs = fs::read_to_string(outputs).expect("written");
    assert!(outputs.contains("status=findings\n") && outputs.contains("errors=1\n"), "{outputs}");
    let heard = fs::read_to_string(stack.path("bad")).expect("written");
    let summary = heard.lines().find(|line| line.starts_with("RECOVERY_SUMMARY=")).expect("a summary");
    assert!(summary.contains("-spot: verified; error: ") && summary.contains(lacks), "{summary}");
    assert!(heard.contains("RECOVERY_EXIT_CODE=3\n") && !stack.path("good").exists(), "{heard}");
    let record = fs::read_to_string(stack.one("repo/docs/drills", ".json")).expect("a record");
    assert!(!record.contains(lacks), "{record}");
    // The spot drill is not due any more.
    let document = stack.run(&drill).exits(3).says(&[lacks]).json();
    assert_eq!(document["status"], "error", "{document}");
    let drills =
        |stack: &Stack| stack.files("repo/docs/drills").iter().filter(|name| name.ends_with(".json")).count();
    assert_eq!(drills(&stack), 1);
    // So with a release that nothing says how to put in place.
    stack.run(&["snapshot"]).ok();
    let text = format!("[drill]\nspot-every = \"1d\"\nfull-every = \"92d\"\n{keys}smoke = [\"true\"]\n");
    stack.configure(&text);
    stack.run_at("2026-03-12T12:00:00Z", &drill).exits(3).says(&["neither `deploy-dir` nor `deploy`"]);
    assert_eq!(drills(&stack), 2);
    // What the spot drill finds is told before that.
    stack.sh("drive", "find . -name '*.tar.gz' -exec truncate -s -1 {} +");
    stack.run_at("2026-03-14T12:00:00Z", &drill).exits(1).says(&["neither `deploy-dir` nor `deploy`"]);
}

#[test]
fn cadences_of_no_time_are_refused() {
    for text in ["[data.a]\nsource = \"x\"\nbackup-every = \"0d\"\n", "[drill]\nverify-every = \"0s\"\n"] {
        let stack = Stack::new();
        stack.file("repo/recovery.toml", text);
        stack.run(&["backup"]).exits(3).says(&["-every is 0", "recovery.toml"]);
    }
}
