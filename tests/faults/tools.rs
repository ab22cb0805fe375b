//! Tools that fail: each of gpg, rsync, sqlite3 and mountpoint is missing, exits with 1, hangs, is killed, prints garbage,
//! or leaves somebody running.
//!
//! Each stands in `PATH` as a script in front of the real one. A run ends with the right code and names the tool, leaves
//! no backup without a word and nothing half made, and nobody that a tool started is alive. Only `mountpoint` has a
//! deadline that a test can wait for; where the others hang, the run is sent TERM.
use super::{KEY, LATER, complete, count};
use crate::support::{Outcome, Stack, outcome};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What all scripts begin with: whoever is started is written down.
const HEAD: &str = "#!/bin/sh\nhome='HOME'\necho $$ >> \"$home/started\"\n";
const EXITS: &str = "echo 'words of the tool' >&2\nexit 1\n";
const KILLED: &str = "kill -9 $$\n";
/// It takes what it is given, and says that all is well.
const GARBAGE: &str = "cat > /dev/null\nhead -c 5000 /dev/urandom\nhead -c 5000 /dev/urandom >&2\n";
/// It has a child that hangs as well.
const HANGS: &str = "sleep 600 &\necho $! >> \"$home/started\"\nwait\n";
/// It does its work, and leaves somebody who holds its streams open.
const LEAVES: &str = "sleep 600 &\necho $! >> \"$home/started\"\nexec 'REAL' \"$@\"\n";
/// The same, but the streams are let go of.
const LEAVES_SILENT: &str =
    "sleep 600 < /dev/null > /dev/null 2>&1 &\necho $! >> \"$home/started\"\nexec 'REAL' \"$@\"\n";

/// A stack whose tools can be exchanged, and what is run in it.
struct Bench {
    stack: Stack,
    tool: &'static str,
    args: &'static [&'static str],
    /// Where the run makes something.
    made: &'static str,
}

impl Bench {
    fn new(tool: &'static str) -> Self {
        let stack = Stack::new();
        stack.configure(match tool {
            "gpg" => super::ENCRYPTED,
            "rsync" => "[data.other]\nsource = \".other\"\nconsistency = \"staged\"\n",
            _ => "",
        });
        stack.file("repo/.other/one", "1");
        stack.sh("repo/.codex-api", "sqlite3 jobs.db 'create table t(a); insert into t values (1)'");
        let (args, made): (&[&str], _) = match tool {
            "rsync" => (&["backup", "other"], "drive"),
            "mountpoint" => (&["backup", "--mount-check"], "drive"),
            _ => (&["backup", "codex-api"], "drive"),
        };
        Self { stack, tool, args, made }
    }

    fn command(&self, path: &str) -> Command {
        let mut command = self.stack.command(self.args);
        command.env(KEY.0, KEY.1).env("PATH", path).stdin(Stdio::null());
        command
    }

    /// `PATH` with this script in front.
    fn path(&self, script: &str) -> String {
        let path = std::env::var("PATH").expect("a path");
        let real = self.stack.sh(".", &format!("command -v {}", self.tool));
        let home = self.stack.path("").display().to_string();
        let script = format!("{HEAD}{script}").replace("HOME", &home).replace("REAL", real.trim());
        let name = format!("bin/{}", self.tool);
        self.stack.file(&name, &script);
        fs::set_permissions(self.stack.path(&name), fs::Permissions::from_mode(0o755)).expect("sets");
        format!("{}:{path}", self.stack.path("bin").display())
    }

    /// A run whose tool is this script, which must have been started. A run that hangs fails the test.
    fn meets(&self, script: &str) -> Outcome {
        let real = self.command(&self.path(script));
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120"]).arg(real.get_program()).args(real.get_args());
        command.current_dir(self.stack.path("repo")).env_clear().stdin(Stdio::null());
        command.envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = outcome(&mut command);
        self.nobody_is_left(said.shown());
        count("tools", 1);
        said
    }

    /// Everybody who was written down is gone, and somebody was.
    fn nobody_is_left(&self, shown: &str) {
        let started = fs::read_to_string(self.stack.path("started")).expect("the tool was started");
        for number in started.lines() {
            let alive =
                || fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
            // Whoever was killed needs a moment to be gone.
            let gone = (0..200).any(|_| {
                !alive() || {
                    sleep(Duration::from_millis(10));
                    false
                }
            });
            assert!(gone, "{} is alive: {}", number, shown);
        }
        fs::remove_file(self.stack.path("started")).expect("removes");
    }

    /// The run made nothing, and left nothing beside it.
    fn nothing(&self, shown: &str) {
        assert_eq!(self.stack.files(self.made), [""; 0], "{}", shown);
        self.tidy(shown);
    }

    /// Temporary files lie at the top of the stack, and stages in `.recovery`.
    fn tidy(&self, shown: &str) {
        let mut left = self.stack.sh(".", "ls -A; ls -A repo/.recovery/stage 2> /dev/null || true");
        for ours in ["bin", "drive", "few", "home", "repo"] {
            left = left.replace(&format!("{ours}\n"), "");
        }
        assert_eq!(left, "", "{shown}");
    }

    /// One backup was made, and it is whole.
    fn one(&self, shown: &str) {
        assert_eq!(complete(&self.stack, "drive").len(), 1, "{}", shown);
        self.tidy(shown);
        self.stack.run_with(&[KEY, ("RECOVERY_NOW", LATER)], &["verify"]).ok();
        self.stack.sh(".", "rm -rf drive/* repo/.recovery");
    }

    /// It is missing: the run ends with 3 and says how to get it.
    fn is_missing(&self) {
        let others = "mkdir -p few; for tool in git gpg rsync sqlite3 mountpoint sh; do ln -sf $(command -v $tool) few/; done";
        self.stack.sh(".", &format!("{others}; rm few/{}", self.tool));
        let path = self.stack.path("few").display().to_string();
        let said =
            outcome(&mut self.command(&path)).exits(3).says(&["not installed: ", self.tool, "install"]);
        self.nothing(said.shown());
        count("tools", 1);
    }

    /// It hangs, and the run is sent TERM.
    fn hangs(&self) {
        let mut command = self.command(&self.path(HANGS));
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        self.until_started(&mut run);
        let number = rustix::process::Pid::from_child(&run);
        rustix::process::kill_process(number, rustix::process::Signal::TERM).expect("sends");
        let ended = (0..3000).any(|_| {
            run.try_wait().expect("waits").is_some() || {
                sleep(Duration::from_millis(10));
                false
            }
        });
        if !ended {
            run.kill().expect("kills");
        }
        let output = run.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(ended, "TERM does not end a run whose {} hangs: {said}", self.tool);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        self.nobody_is_left(&said);
        self.nothing(&said);
        count("tools", 1);
    }

    fn until_started(&self, run: &mut Child) {
        let two =
            || fs::read_to_string(self.stack.path("started")).is_ok_and(|text| text.lines().count() >= 2);
        while !two() {
            assert!(run.try_wait().expect("waits").is_none(), "{} was not started", self.tool);
            sleep(Duration::from_millis(5));
        }
    }
}

/// Without this tool there is no backup; what it leaves running is in nobody's way.
fn ends_the_backup(tool: &'static str) {
    let bench = Bench::new(tool);
    bench.is_missing();
    for script in [EXITS, KILLED, GARBAGE] {
        let said = bench.meets(script).exits(3).says(&[tool]);
        bench.nothing(said.shown());
    }
    bench.hangs();
    for script in [LEAVES, LEAVES_SILENT] {
        let said = bench.meets(script).ok();
        bench.one(said.shown());
    }
}

#[test]
fn a_gpg_that_fails_ends_the_backup() {
    ends_the_backup("gpg");
}

/// The database is in the backup as it lies, and the run says so.
#[test]
fn a_sqlite3_that_fails_is_told_with_the_backup() {
    let bench = Bench::new("sqlite3");
    bench.is_missing();
    for script in [EXITS, KILLED, GARBAGE] {
        let said = bench.meets(script).ok().says(&["jobs.db", "sqlite3", "as it lies"]);
        bench.one(said.shown());
    }
    bench.hangs();
    for script in [LEAVES, LEAVES_SILENT] {
        let said = bench.meets(script).ok();
        assert!(!said.stdout.contains("as it lies"), "{}", said.shown());
        bench.one(said.shown());
    }
}

#[test]
fn an_rsync_that_fails_ends_the_backup_of_a_staged_set() {
    ends_the_backup("rsync");
}

#[test]
fn an_rsync_that_fails_ends_a_snapshot_of_the_working_tree() {
    let bench = Bench { args: &["snapshot", "--allow-dirty"], made: "repo/releases", ..Bench::new("rsync") };
    bench.stack.file("repo/server.js", "console.log('down')\n");
    bench.is_missing();
    for script in [EXITS, KILLED, GARBAGE] {
        let said = bench.meets(script).exits(3).says(&["rsync"]);
        bench.nothing(said.shown());
    }
    bench.hangs();
    for script in [LEAVES, LEAVES_SILENT] {
        let said = bench.meets(script).ok();
        bench.stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
        bench.tidy(said.shown());
        bench.stack.sh(".", "rm -rf repo/releases");
    }
}

/// The drive is no mount point, so that whatever fails, no backup may be made.
#[test]
fn a_mountpoint_that_fails_makes_no_backup_of_a_bare_folder() {
    let bench = Bench::new("mountpoint");
    bench.is_missing();
    let said = bench.meets(EXITS).exits(75).says(&["mount"]);
    bench.nothing(said.shown());
    for script in [LEAVES, LEAVES_SILENT] {
        let said = bench.meets(script).exits(75).says(&["neither it nor its parent folder is a mount point"]);
        bench.nothing(said.shown());
    }
    for script in [KILLED, GARBAGE] {
        let said = bench.meets(script).exits(3).says(&["mountpoint"]);
        bench.nothing(said.shown());
    }
    bench.hangs();
    // And its deadline.
    let said = bench.meets(HANGS).exits(75).says(&["mountpoint got no answer"]);
    bench.nothing(said.shown());
}
