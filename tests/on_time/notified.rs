//! Who is told how a run went: commands of the user, and a check that is asked for by URL.
use super::super::support::{Outcome, Stack, flip};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;

const TOKEN: &str = "4f1d-secret-uuid";

/// A server for as many requests as there are answers: the request lines, and whether the URL stood in a command line.
fn server(answers: &'static [&'static str]) -> (u16, Receiver<(String, bool)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (told, asked) = channel();
    spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            // Who has asked waits for the answer, so its command line can be read now.
            let _ = told.send((first, in_a_command_line(TOKEN)));
            let _ = stream.write_all(
                format!("HTTP/1.1 {answer}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n").as_bytes(),
            );
        }
    });
    (port, asked)
}

fn in_a_command_line(text: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("lists").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(text))
}

/// A stack whose runs are told to a port.
fn told(port: u16, more: &str) -> Stack {
    let stack = Stack::new();
    stack.file("ping", &format!("\n  http://127.0.0.1:{port}/{TOKEN}\n"));
    stack.configure(&format!("[notify]\nping-url-file = \"../ping\"\n{more}"));
    stack
}

fn next(asked: &Receiver<(String, bool)>) -> String {
    let (line, seen) = asked.recv_timeout(Duration::from_secs(60)).expect("a request");
    assert!(!seen, "the URL stands in a command line");
    line
}

#[track_caller]
fn nothing(asked: &Receiver<(String, bool)>, said: &Outcome) {
    assert!(asked.try_recv().is_err(), "{}", said.shown());
}

#[test]
fn a_check_hears_of_success_and_failure_and_of_nothing_else() {
    let (port, asked) = server(&["200 OK"; 9]);
    let stack = told(port, "");
    let (good, bad) = (format!("GET /{TOKEN} HTTP/1.1"), format!("GET /{TOKEN}/fail HTTP/1.1"));
    for verb in ["snapshot", "backup", "verify", "restore-drill", "prune"] {
        let said = stack.run(&[verb]).ok();
        assert_eq!(next(&asked), good, "{}", said.shown());
    }
    for args in
        [&["backup", "--dry-run"][..], &["status"], &["restore-drill", "--dry-run"], &["prune", "--dry-run"]]
    {
        nothing(&asked, &stack.run(args).ok());
    }
    for args in [
        &["restore-drill", "history"][..],
        &["restore", "codex-api", "--to", "../back"],
        &["schedule", "cron"],
    ] {
        nothing(&asked, &stack.run(args).ok());
    }
    // A failure of any kind: what was found, and what ended the run.
    stack.sh("repo", "mv .codex-api away");
    stack.run(&["backup"]).exits(1);
    assert_eq!(next(&asked), bad);
    stack.sh("repo", "mv away .codex-api");
    stack.run(&["backup", "--suffix", "a/b"]).exits(2);
    assert_eq!(next(&asked), bad);
    // To be tried again later is neither; nor is what was not due.
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let away = format!("mount = \"{}\"\n[notify]", stack.path("drive").display());
    stack.file("repo/recovery.toml", &text.replace("[notify]", &away));
    nothing(&asked, &stack.run(&["backup"]).exits(75));
    stack.file("repo/recovery.toml", &format!("{text}[drill]\nspot-every = \"31d\"\n"));
    nothing(&asked, &stack.run(&["restore-drill", "--if-due"]).ok());
    stack.file(
        "repo/recovery.toml",
        &text.replace("[data.codex-api]", "[data.codex-api]\nbackup-every = \"1d\""),
    );
    nothing(&asked, &stack.run(&["backup", "--if-due"]).ok());
    let json = stack.run(&["backup", "--json"]).ok().json();
    assert_eq!((next(&asked), &json["status"]), (good, &"ok".into()));
}

#[test]
fn a_check_that_errs_for_a_moment_is_asked_again() {
    let (port, asked) = server(&["503 Service Unavailable", "200 OK"]);
    let said = told(port, "").run(&["backup"]).ok();
    assert_eq!(
        (next(&asked), next(&asked)),
        (format!("GET /{TOKEN} HTTP/1.1"), format!("GET /{TOKEN} HTTP/1.1"))
    );
    assert!(!said.stderr.contains("warning"), "{}", said.shown());
}

#[test]
fn a_check_that_cannot_be_told_is_a_warning_and_changes_nothing() {
    let (port, asked) = server(&["404 Not Found"]);
    let said = told(port, "").run(&["backup", "--json"]).ok().says(&["warning", "could not be told", "404"]);
    assert_eq!(said.json()["status"], "ok");
    next(&asked);
    assert!(!said.shown().contains(TOKEN), "{}", said.shown());
    for (content, part) in [("ftp://x/y\n", "no URL"), ("\n", "no URL"), ("http://a b\n", "no URL")] {
        let stack = told(1, "");
        stack.file("ping", content);
        stack.run(&["backup"]).ok().says(&["warning", part]);
    }
    let stack = told(1, "");
    stack.sh(".", "rm ping");
    stack.run(&["backup"]).ok().says(&["warning", "ping", "could not be told"]);
}

#[test]
fn commands_hear_what_happened_and_see_no_more_than_they_may() {
    let stack = Stack::new();
    stack.configure(
        "passphrase-env = \"BACKUP_KEY\"\n[notify]\non-success = [\"env > ../good; pwd >> ../good\"]\n\
         on-failure = [\"false\", \"env > ../bad\"]\nenvironment = [\"PATH\", \"BACKUP_KEY\"]\n",
    );
    let key = ("BACKUP_KEY", "correct horse battery");
    stack.run_with(&[key], &["backup"]).ok();
    let heard = fs::read_to_string(stack.path("good")).expect("written");
    let repo = stack.path("repo").display().to_string();
    for line in [
        "RECOVERY_VERB=backup",
        "RECOVERY_STATUS=success",
        "RECOVERY_EXIT_CODE=0",
        "RECOVERY_SUMMARY=codex-api: ok",
        &format!("RECOVERY_REPOSITORY={repo}"),
        &repo,
    ] {
        assert!(heard.lines().any(|heard| heard == line), "no {line:?} in {heard}");
    }
    for secret in ["horse", "RECOVERY_NOW", "HOME="] {
        assert!(!heard.contains(secret), "{secret}: {heard}");
    }
    // Each is run, whatever came of the one before it; the exit code is that of the run.
    let said =
        stack.run(&["backup"]).exits(3).says(&["BACKUP_KEY", "warning: on-failure command failed, `false`"]);
    let heard = fs::read_to_string(stack.path("bad")).expect("written");
    for line in ["RECOVERY_STATUS=failure", "RECOVERY_EXIT_CODE=3"] {
        assert!(heard.contains(line), "no {line:?} in {heard}: {}", said.shown());
    }
    let summary = heard.lines().find(|line| line.starts_with("RECOVERY_SUMMARY=")).expect("a summary");
    assert!(summary.contains("BACKUP_KEY"), "{summary}");
    flip(&stack.one("drive", ".tar.gz.gpg"), 300);
    stack.run_with(&[key], &["restore-drill"]).exits(1);
    let heard = fs::read_to_string(stack.path("bad")).expect("written");
    let drill = "RECOVERY_SUMMARY=spot drill drill-2026-03-10T120000Z-spot: not_verified; error: ";
    assert!(heard.contains(drill), "{heard}");
}

/// Also somebody who presses Ctrl-C, or shuts the machine down, has a run that did not do its work.
#[test]
fn a_run_that_is_interrupted_is_told_as_a_failure() {
    let (port, asked) = server(&["200 OK"]);
    let stack = told(port, "on-failure = [\"env > ../bad\"]\n");
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let before = "[data.codex-api]\nbefore = [\"kill -INT $PPID; sleep 60\"]";
    stack.file("repo/recovery.toml", &text.replace("[data.codex-api]", before));
    stack.run(&["backup"]).exits(3);
    assert_eq!(next(&asked), format!("GET /{TOKEN}/fail HTTP/1.1"));
    let heard = fs::read_to_string(stack.path("bad")).expect("written");
    assert!(heard.contains("RECOVERY_EXIT_CODE=3") && heard.contains("interrupted"), "{heard}");
}

#[test]
fn a_command_that_hangs_is_ended_and_the_run_is_as_good_as_it_was() {
    let stack = Stack::new();
    stack.configure("[notify]\non-success = [\"sleep 600\"]\ntimeout = \"1s\"\n");
    stack.run(&["backup"]).ok().says(&["warning: on-success", "had not ended after 1 s"]);
}
