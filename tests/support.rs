//! A stack of its own for each test: home, repository, data, drive; and runs of the real binary in it.
//!
//! The environment is cleared: a fixed clock, the C locale, a home without settings. A run that ends otherwise than the
//! test expects fails with all that is needed to see why.
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

/// The shell, by its path: a program that is looked up in another `PATH` than ours costs a copy of this whole process.
static BASH: LazyLock<PathBuf> = LazyLock::new(|| which::which("bash").expect("bash"));

/// Where python3 itself lies: a version manager's stand-in for it takes longer than what it is asked for.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let path = PathBuf::from(String::from_utf8_lossy(&asked.expect("python3").stdout).trim_end());
    path.parent().expect("a folder").to_owned()
});

/// The time of every run that does not say otherwise.
pub const NOW: &str = "2026-03-10T12:00:00Z";

/// One test's world.
pub struct Stack {
    home: TempDir,
    /// Where programs are looked for.
    path: OsString,
}

/// What a run came to.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Stack {
    /// Empty folders.
    pub fn bare() -> Self {
        let home = tempfile::Builder::new().prefix("stack-").tempdir().expect("a folder");
        for name in ["home", "repo", "drive"] {
            fs::create_dir(home.path().join(name)).expect("makes a folder");
        }
        // gpg makes a passphrase expensive to guess, and with it each of the many runs that encrypt: here it is cheap.
        let mut path = OsString::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/quick:"));
        for more in [PYTHON.as_os_str(), ":".as_ref(), &std::env::var_os("PATH").unwrap_or_default()] {
            path.push(more);
        }
        Self { home, path }
    }

    /// With gpg as everybody has it.
    pub fn with_plain_gpg(self) -> Self {
        Self { path: std::env::var_os("PATH").unwrap_or_default(), ..self }
    }

    /// An npm service with one commit and its runtime data.
    pub fn new() -> Self {
        let stack = Self::bare();
        stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "1.4.2"}"#);
        stack.file("repo/server.js", "console.log('up')\n");
        stack.file("repo/.gitignore", ".codex-api/\nreleases/\n.recovery/\nnode_modules/\n");
        stack.file("repo/docs/read me.md", "# API\n");
        stack.file("repo/bin/run", "#!/bin/sh\n");
        stack.sh("repo", "chmod 755 bin/run; ln -s server.js main.js; git init -q -b main .");
        stack.commit("first", "2026-03-01T08:30:00Z");
        stack.data();
        stack
    }

    /// The runtime data.
    pub fn data(&self) {
        self.file("repo/.codex-api/config.toml", "model = 'x'\n");
        self.file("repo/.codex-api/sessions/2026/one.jsonl", "{\"a\": 1}\n");
        self.file("repo/.codex-api/big.bin", &"0123456789abcdef".repeat(20_000));
        let folder = self.path("repo/.codex-api");
        symlink("config.toml", folder.join("current")).expect("links");
        fs::hard_link(folder.join("config.toml"), folder.join("twin.toml")).expect("links");
        fs::create_dir(folder.join("empty")).expect("makes a folder");
    }

    /// The configuration that most tests use.
    pub fn configured() -> Self {
        let stack = Self::new();
        stack.configure("");
        stack
    }

    /// Writes `recovery.toml`, with `more` at its end.
    pub fn configure(&self, more: &str) {
        let drive = self.path("drive").display().to_string();
        self.file(
            "repo/recovery.toml",
            &format!(
                "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\nkey-files = [\"config.toml\"]\n\
                 [destination.drive]\npath = \"{drive}\"\n{more}"
            ),
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
        fs::write(path, content).expect("writes");
    }

    /// Commits everything in the repository, at this time.
    pub fn commit(&self, message: &str, time: &str) {
        self.sh(
            "repo",
            &format!(
                "git add -A && GIT_AUTHOR_DATE={time} GIT_COMMITTER_DATE={time} \
                 git -c user.name=a -c user.email=a@example.org -c maintenance.auto=false commit -q --allow-empty -m '{message}'"
            ),
        );
    }

    /// Runs shell lines in a folder of the stack; they must succeed.
    pub fn sh(&self, folder: &str, script: &str) -> String {
        let mut command = Command::new(&*BASH);
        command.args(["-euo", "pipefail", "-c", script]).current_dir(self.path(folder));
        self.environment(&mut command);
        let outcome = outcome(&mut command);
        assert_eq!(outcome.code, 0, "{}", outcome.shown);
        outcome.stdout
    }

    fn environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", &self.path).env("HOME", self.path("home")).env("LC_ALL", "C");
        // As if by `cargo run`.
        command.env("CARGO", "cargo");
        command.env("TZ", "UTC").env("RECOVERY_NOW", NOW).env("TMPDIR", self.home.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        // `scripts/coverage` counts what the binary runs, too.
        if let Some(counts) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", counts);
        }
    }

    /// The binary, in the repository. Most tests want a backup of each run, whether anything was changed or not; those
    /// that do not, use [`Stack::plain`].
    pub fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.plain(args);
        if args.iter().any(|arg| arg.as_ref() == "backup") {
            command.arg("--force");
        }
        command
    }

    /// The binary, in the repository, with these arguments and no others.
    pub fn plain<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.path("repo"));
        self.environment(&mut command);
        command
    }

    /// Runs the binary.
    pub fn run(&self, args: &[&str]) -> Outcome {
        outcome(&mut self.command(args))
    }

    /// Runs the binary with more in its environment.
    pub fn run_with(&self, env: &[(&str, &str)], args: &[&str]) -> Outcome {
        outcome(self.command(args).envs(env.iter().copied()))
    }

    /// Runs the binary at another time.
    pub fn run_at(&self, now: &str, args: &[&str]) -> Outcome {
        self.run_with(&[("RECOVERY_NOW", now)], args)
    }

    /// Every file below a folder, sorted, relative to it.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(&root).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The one file below a folder whose name ends so.
    pub fn one(&self, folder: &str, ending: &str) -> PathBuf {
        let found: Vec<String> =
            self.files(folder).into_iter().filter(|name| name.ends_with(ending)).collect();
        assert_eq!(found.len(), 1, "one {ending} in {:?}", self.files(folder));
        self.path(folder).join(&found[0])
    }

    /// What a folder holds, without the times and places that any look at it may change.
    pub fn world(&self, folder: &str) -> String {
        self.sh(
            folder,
            r#"find . -printf '%P %y %m %s %l\n' | sed -E 's/^([^ ]* d [0-7]+) [0-9]+/\1/' | LC_ALL=C sort; find . -type f -print0 | sort -z | xargs -0r sha256sum"#,
        )
    }

    /// The binary as the leader of a process group of its own, silent, for runs that are stopped from outside.
    pub fn grouped(&self, args: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = self.command(args);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs the binary with no more than so many kilobytes of address space.
    pub fn run_within(&self, kilobytes: u32, args: &[&str]) -> Outcome {
        let mut command = Command::new(&*BASH);
        let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_xtask")]).args(args);
        command.current_dir(self.path("repo"));
        self.environment(&mut command);
        outcome(command.env("MALLOC_ARENA_MAX", "1"))
    }

    /// Everything that `restore` must bring back, as text: kinds, modes, owners, times, sizes, links, content.
    pub fn listing(&self, folder: &str) -> String {
        self.sh(
            folder,
            r#"find . ! -type p -printf '%P %y %m %U:%G %T@ %l %n\n' | LC_ALL=C sort; find . -type f -print0 | sort -z | xargs -0r sha256sum"#,
        )
    }
}

/// The binary in the repository of a stack, run by somebody who cannot read everything.
pub fn unprivileged(stack: &Stack, args: &[&str]) -> Command {
    let force: &[&str] = if args.contains(&"backup") { &["--force"] } else { &[] };
    unprivileged_plain(stack, &[args, force].concat())
}

/// The same with these arguments and no others.
pub fn unprivileged_plain(stack: &Stack, args: &[&str]) -> Command {
    if stack.sh(".", "id -u").trim() != "0" {
        return stack.plain(args);
    }
    let xtask = stack.path("xtask");
    // A process of its own copies it: a child that another test forks meanwhile would hold it open for writing.
    stack.sh(".", concat!("cp '", env!("CARGO_BIN_EXE_xtask"), "' xtask"));
    stack.sh(".", "chmod 755 .; chown -R 65534:65534 repo drive home; mkdir -p tmp; chmod 1777 tmp");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&xtask).args(args);
    command.current_dir(stack.path("repo"));
    stack.environment(&mut command);
    command.env("TMPDIR", stack.path("tmp"));
    command
}

/// Runs a command to its end.
pub fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().expect("starts");
    let code = output.status.code().unwrap_or(-1);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = format!("{command:?}\nexit {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    Outcome { code, stdout, stderr, shown }
}

impl Outcome {
    /// It ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.shown);
        self
    }

    /// It ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// stdout and stderr together hold each of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(all.contains(part), "no {part:?} in: {}", self.shown);
        }
        self
    }

    /// It ended in any other way than well.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, 0, "{}", self.shown);
        self
    }

    /// All that is known of the run, for a failed assertion.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// stdout is one JSON document of the tool.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no single document ({error}): {}", self.shown));
        assert_eq!(document["schema_version"], 1, "{}", self.shown);
        document
    }
}

/// Changes one byte of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("reads");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("writes");
}

/// Writes the `.sha256` of an archive and what lies beside it anew, so that only deeper checks can see a change.
pub fn reseal(archive: &Path) {
    let folder = archive.parent().expect("a folder");
    let name = archive.file_name().expect("a name").to_string_lossy().into_owned();
    let marker = folder.join(format!("{name}.sha256"));
    let listed: Vec<String> = fs::read_to_string(&marker)
        .expect("reads")
        .lines()
        .filter_map(|line| line.split("  ").nth(1).map(str::to_owned))
        .collect();
    let sums = Command::new("sha256sum").args(&listed).current_dir(folder).output().expect("starts");
    fs::write(marker, sums.stdout).expect("writes");
}
