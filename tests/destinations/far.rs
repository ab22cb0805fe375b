//! A destination on another machine: this one, through a real sshd on loopback.
use super::super::support::Stack;
use super::plain;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An sshd of its own that lets one key in; it dies with its owner.
pub(super) struct Sshd {
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of sshd that is not a user's: the daemon wants it, and no package makes it without an init system.
const PRIVILEGE: &str = "/run/sshd";

impl Sshd {
    pub(super) fn start(stack: &Stack) -> Self {
        Self::with(stack, "", "")
    }

    /// Whose tools are looked for where `path` (a `PATH=…`, or nothing) says, and with more lines in its configuration.
    /// The user's own settings of his shell stay out: what they run is not ours to wait for.
    pub(super) fn with(stack: &Stack, path: &str, more: &str) -> Self {
        let _ = fs::create_dir_all(PRIVILEGE);
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        stack.sh(
            "home",
            "test -e host || { ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f user; cp user.pub keys; }",
        );
        let home = stack.path("home").display().to_string();
        stack.file(
            "home/sshd.conf",
            &format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/keys\nStrictModes no\n\
                 PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
                 SetEnv HOME={home} {path}\n{more}\n"
            ),
        );
        stack.file(
            "home/ssh.conf",
            &format!(
                "Port {port}\nIdentityFile {home}/user\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n\
                 # The exchange that withstands quantum computers is most of what hundreds of connections cost.\n\
                 KexAlgorithms curve25519-sha256\n"
            ),
        );
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| fs::metadata(path).is_ok());
        let mut command = Command::new(program.expect("sshd"));
        command.args(["-D", "-e", "-f", &format!("{home}/sshd.conf")]).stdin(Stdio::null());
        let log = fs::File::create(stack.path("home/sshd.log")).expect("creates");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("starts");
        let sshd = Self { child, port };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return sshd;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!(
            "sshd does not listen: {}",
            fs::read_to_string(stack.path("home/sshd.log")).unwrap_or_default()
        );
    }
}

/// A set that goes to `more` and to the folder `far it's` of the other machine.
pub(super) fn stack(others: &str, more: &str) -> Stack {
    let stack = Stack::new();
    configure(&stack, others, more);
    stack
}

pub(super) fn configure(stack: &Stack, others: &str, more: &str) {
    fs::create_dir_all(stack.path("far it's")).expect("makes a folder");
    let home = stack.path("").display().to_string();
    let home = home.trim_end_matches('/');
    stack.file(
        "repo/recovery.toml",
        &format!(
            "[data.codex-api]\nsource = \".codex-api\"\ndestination = [{others}\"far\"]\n[destination.drive]\npath = \"{home}/drive\"\n{more}\n\
             [destination.far]\npath = \"127.0.0.1:{home}/far it's\"\nssh = \"ssh -F {home}/home/ssh.conf\"\n{more}\n"
        ),
    );
}

#[test]
fn a_backup_goes_to_another_machine_and_comes_back() {
    for (others, more) in [("\"drive\", ", ""), ("", "compression = \"zstd\"")] {
        let stack = stack(others, more);
        let _sshd = Sshd::start(&stack);
        let document = plain(&stack, &["backup", "--json"]).exits(0).json();
        let far = document["sets"][0]["copies"].as_array().expect("copies").last().expect("one").clone();
        assert_eq!(
            (far["destination"].as_str(), far["status"].as_str()),
            (Some("far"), Some("ok")),
            "{document}"
        );
        assert_eq!(far["durability"], "remote");
        if others.is_empty() {
            assert_eq!(stack.files("drive"), [""; 0]);
        } else {
            stack.sh(".", "diff -r drive \"far it's\"");
        }
        stack.sh("far it's", "cd 2026/03-10 && sha256sum --check --quiet *.sha256; test $(find . -type f -perm 600 | wc -l) = 3");
        assert!(
            !stack.files("repo/.recovery").iter().any(|name| name.contains("recovery-backup-")),
            "nothing is left"
        );
        // Nothing was changed: it is confirmed there too.
        let document = plain(&stack, &["backup", "--json"]).exits(0).json();
        assert_eq!(document["sets"][0]["status"], "unchanged", "{document}");
        stack.run(&["status"]).ok();
        stack.run(&["verify"]).ok();
        let status = stack.run(&["status"]).ok();
        assert!(status.stdout.contains("verified"), "{}", status.stdout);
        fs::remove_dir_all(stack.path("drive")).expect("removes");
        let to = stack.path("back").display().to_string();
        // What killed ones had fetched goes, and so does what this one fetches.
        stack.file(".recovery-restore-1/.held", "");
        let document = stack.run(&["restore", "codex-api", "--to", &to, "--json"]).exits(0).json();
        let archive = document["archive"].as_str().expect("a path");
        let there = archive.strip_prefix("127.0.0.1:").expect("where it lies for good");
        assert!(fs::metadata(there).is_ok(), "{document}");
        stack.sh(
            ".",
            "diff -r repo/.codex-api back/.codex-api; test -z \"$(ls -A | grep recovery- || true)\"",
        );
        // So it does by the printed lines.
        let lines = stack
            .run(&["restore", "codex-api", "--explain", "--to", &stack.path("by-hand").display().to_string()])
            .ok();
        fs::create_dir(stack.path("here")).expect("makes a folder");
        stack.sh("here", &lines.stdout);
        stack.sh(".", "diff -r repo/.codex-api by-hand/.codex-api");
    }
}

#[test]
fn damage_over_there_is_found_by_verify() {
    let stack = stack("", "");
    let _sshd = Sshd::start(&stack);
    stack.run(&["backup"]).ok();
    stack.sh("far it's", "printf X | dd of=$(find . -name '*.tar.gz') bs=1 seek=99 conv=notrunc status=none");
    let outcome = stack.run(&["verify"]).exits(1);
    assert!(outcome.stderr.contains("has another SHA-256 than its marker says"), "{}", outcome.stderr);
    stack.sh("far it's", "rm $(find . -name '*.manifest.*')");
    let outcome = stack.run(&["verify"]).exits(1);
    assert!(outcome.stderr.contains("is in its marker, and is gone"), "{}", outcome.stderr);
    let status = stack.run(&["status"]).exits(1);
    assert!(status.stderr.contains("is damaged"), "{}", status.stderr);
}

#[test]
fn one_that_does_not_answer_does_not_stop_the_others() {
    let stack = stack("\"drive\", ", "");
    let sshd = Sshd::start(&stack);
    let port = sshd.port;
    drop(sshd);
    let outcome = plain(&stack, &["backup"]).exits(1);
    assert!(outcome.stderr.contains("could not reach 127.0.0.1"), "{port}: {}", outcome.stderr);
    configure(&stack, "", "");
    let outcome = plain(&stack, &["backup"]).exits(75);
    assert!(outcome.stderr.contains("without asking anything"), "{}", outcome.stderr);
    // It is back: the copy is made of what is there.
    configure(&stack, "\"drive\", ", "");
    let _sshd = Sshd::start(&stack);
    plain(&stack, &["backup"]).ok();
    stack.sh(".", "diff -r drive \"far it's\"");
    // A folder that is missing over there is a drive that is not mounted: it is not made.
    fs::rename(stack.path("far it's"), stack.path("gone")).expect("moves");
    let outcome = stack.run(&["backup"]).exits(1);
    assert!(outcome.stderr.contains("the folder is not there"), "{}", outcome.stderr);
    assert!(!stack.path("far it's").exists());
}

#[test]
fn it_is_pruned_like_a_folder() {
    let stack = stack("", "keep = 2");
    let _sshd = Sshd::start(&stack);
    for day in ["05", "06", "07"] {
        stack.run_with(&[("RECOVERY_NOW", &format!("2026-03-{day}T12:00:00Z"))], &["backup"]).ok();
    }
    stack.file("far it's/2026/03-05/codex-api-2026-03-05T010000Z.tar.gz", "never completed");
    let planned = stack.run(&["prune", "--dry-run", "--json"]).exits(0).json();
    let removed = |document: &serde_json::Value| -> Vec<String> {
        let items = document["items"].as_array().expect("items");
        let gone = items.iter().filter(|item| item["decision"] == "remove");
        gone.map(|item| item["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(removed(&planned).len(), 2, "{planned}");
    assert_eq!(removed(&stack.run(&["prune", "--json"]).exits(0).json()), removed(&planned));
    let left = stack.files("far it's");
    assert!(left.len() == 6 && left.iter().all(|name| !name.contains("03-05")), "{left:?}");
    stack.run(&["status"]).ok();
}

/// The line drops in the middle, and what was begun cannot be taken back; or only the last answer is lost. The next try
/// finds its own, and no other's.
#[test]
fn a_line_that_drops_for_a_moment_is_tried_again() {
    // Which call meets it, whether it is done all the same, and that the one behind it is lost as well.
    for (call, done) in [("rsync --server", ""), ("sha256sum", ""), ("mv -n", "ssh \"$@\""), ("cat > ", "")] {
        let stack = stack("", "retry-for = \"1m\"");
        let _sshd = Sshd::start(&stack);
        let state = stack.path("dropped").display().to_string();
        stack.file(
            "bin/drops",
            &format!(
                "#!/bin/sh\ncase \"$*\" in *'recovery: the answer'*'lacks '*) exec ssh \"$@\";; esac\n\
                 if [ -e '{state}' ] && [ \"$(cat '{state}')\" = 1 ]; then echo 2 > '{state}'; exit 255; fi\n\
                 case \"$*\" in *'{call}'*) if [ ! -e '{state}' ]; then {done}\n echo 1 > '{state}'; exit 255; fi;; esac\n\
                 exec ssh \"$@\"\n"
            ),
        );
        stack.sh("bin", "chmod 755 drops");
        let config = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
        let drops = format!("ssh = \"{} -F", stack.path("bin/drops").display());
        stack.file("repo/recovery.toml", &config.replace("ssh = \"ssh -F", &drops));
        plain(&stack, &["backup"]).exits(0);
        assert_eq!(stack.sh(".", "cat dropped"), "2\n", "{call}: both were lost");
        let far = stack.files("far it's");
        assert_eq!(far.len(), 3, "{call}: {far:?}");
        plain(&stack, &["verify"]).exits(0);
        // And it is on record.
        assert_eq!(
            plain(&stack, &["prune", "--adopt", "--json"]).exits(0).json()["findings"],
            serde_json::json!([]),
            "{call}"
        );
        let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        assert_eq!(history.matches("\"kind\":\"backup\"").count(), 1, "{call}: {history}");
        assert!(!history.contains("adopted"), "{call}: {history}");
    }
}

/// Where nothing is on record a copy is known by its marker, and the near one is taken.
#[test]
fn without_a_history_the_near_copy_is_restored_and_the_far_one_behind_it() {
    let stack = stack("\"drive\", ", "");
    let _sshd = Sshd::start(&stack);
    plain(&stack, &["backup"]).exits(0);
    stack.sh(".", "rm -rf repo/.recovery");
    let near = plain(&stack, &["restore", "codex-api", "--to", "../near", "--json"]).exits(0).json();
    assert!(near["archive"].as_str().expect("a path").contains("/drive/"), "{near}");
    super::super::support::flip(&stack.one("drive", ".tar.gz"), 200);
    let far = plain(&stack, &["restore", "codex-api", "--to", "../behind", "--json"]).exits(0).json();
    assert!(far["archive"].as_str().expect("a path").starts_with("127.0.0.1:"), "{far}");
    assert!(stack.listing("behind/.codex-api") == stack.listing("near/.codex-api"));
}
