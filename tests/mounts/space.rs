//! A mount namespace for one test: what is mounted in it is seen in it alone, and goes with it, its processes too.
//!
//! The test itself stays outside. So where it looks at the folder of a mount point, it sees the bare folder beneath.
use super::super::support::{Outcome, Stack, outcome};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// With this set to 1, a test that this machine cannot run is left out.
pub const WITHOUT: &str = "RECOVERY_TESTS_WITHOUT_MOUNTS";

/// The namespace, and the process that keeps it: it ends with its standard input, and everything in it ends with it.
pub struct Space {
    keeper: Child,
    first: u32,
    more: &'static [&'static str],
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Why a test cannot run here: fatal, unless it may be left out; then `None`.
fn missing<T>(what: &str, next: &str) -> Option<T> {
    let told = format!("{what}\n{next}\nor set {WITHOUT}=1 to leave out the tests that need it\n");
    assert!(std::env::var(WITHOUT).is_ok_and(|value| value == "1"), "{told}");
    // Not by a macro: what those print is shown of failed tests only.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = std::io::stderr().write_all(format!("LEFT OUT: {name}: {what}\n").as_bytes());
    None
}

impl Space {
    /// A new one; `None` when this machine has none and the test may be left out.
    pub fn open() -> Option<Self> {
        Self::apart(&[])
    }

    /// One in which more is its own, such as `--net`.
    pub fn apart(more: &'static [&'static str]) -> Option<Self> {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(more);
        // A shell, because the first process has to take leave of those that nobody else waits for.
        command.args(["bash", "-c", "mount -t tmpfs none /mnt && echo there && while read -r _; do :; done"]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let next = "run the tests as root, or allow user namespaces \
                    (`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, `sysctl user.max_user_namespaces=1000`), \
                    and install util-linux,";
        let mut keeper = match started {
            Ok(keeper) => keeper,
            Err(error) => return missing(&format!("unshare does not start: {error}"), next),
        };
        let mut line = String::new();
        let _ = BufReader::new(keeper.stdout.take().expect("a pipe")).read_line(&mut line);
        if line.trim() != "there" {
            let said = keeper.wait_with_output().expect("ends");
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            return missing(&format!("no mount namespace: {said}"), next);
        }
        let id = keeper.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("reads");
        let first = children.split_whitespace().next().and_then(|number| number.parse().ok());
        Some(Self { keeper, first: first.expect("a process"), more })
    }

    /// The same command, run inside.
    fn inside(&self, command: &Command) -> Command {
        self.entered(&["--mount"], command)
    }

    /// The same command as a process that ends with the namespace, and so do those that it starts.
    pub fn bound(&self, command: &Command) -> Command {
        self.entered(&[&["--mount", "--pid"], self.more].concat(), command)
    }

    fn entered(&self, spaces: &[&str], command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--target={}", self.first)).args(spaces);
        if !rustix::process::geteuid().is_root() {
            inside.args(["--user", "--preserve-credentials"]);
        }
        inside.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]);
        inside.arg(command.get_current_dir().expect("a folder"));
        inside.arg(command.get_program()).args(command.get_args());
        inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }
}

/// What a drive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file system of its own.
    Disk,
    /// A folder of the file system that the bare folder lies on, too: their device is one.
    Bind,
    /// `rclone mount`.
    Fuse,
}

/// A stack whose `drive` is a mount point in a namespace of its own, and whose backups go to a folder in it.
pub struct World {
    space: Space,
    pub stack: Stack,
    pub kind: Kind,
    bare: (Vec<String>, [i64; 4]),
}

/// `[destination.drive]` lies on the drive, in a folder that is not there yet, and says what must be mounted.
fn configure(stack: &Stack, more: &str) {
    let drive = stack.path("drive").display().to_string();
    stack.file(
        "repo/recovery.toml",
        &format!(
            "schema = 1\n[data.codex-api]\nsource = \".codex-api\"\n[destination.drive]\n\
             path = \"{drive}/backups\"\n{more}"
        ),
    );
}

impl World {
    /// A drive that is plugged in.
    pub fn new(kind: Kind) -> Option<Self> {
        if kind == Kind::Fuse && fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
            return missing(
                "/dev/fuse cannot be opened",
                "load the module (`modprobe fuse`), give the container `--device /dev/fuse`, or run the tests as root,",
            );
        }
        let space = Space::open()?;
        let stack = Stack::new();
        fs::create_dir(stack.path("disk")).expect("makes a folder");
        let bare = Self::bare(&stack);
        let world = Self { space, stack, kind, bare };
        world.configure(&format!("mount = \"{}\"\n", world.point()));
        if kind == Kind::Disk {
            world.sh("mount -t tmpfs none disk");
        }
        world.plug();
        Some(world)
    }

    pub fn configure(&self, more: &str) {
        configure(&self.stack, more);
    }

    /// The mount point.
    pub fn point(&self) -> String {
        self.stack.path("drive").display().to_string()
    }

    /// Mounts the drive.
    pub fn plug(&self) {
        self.sh(match self.kind {
            Kind::Disk | Kind::Bind => "mount --bind disk drive",
            Kind::Fuse => {
                "mkdir -p cache; RCLONE_CONFIG=/dev/null setsid rclone mount disk drive --vfs-cache-mode writes \
                 --vfs-write-back 0s --cache-dir \"$PWD/cache\" --log-file \"$PWD/cache/log\" < /dev/null > /dev/null 2>&1 & \
                 echo $! > cache/pid; \
                 for n in $(seq 600); do mountpoint -q drive && exit; sleep 0.05; done; cat cache/log >&2; false"
            }
        });
    }

    /// Takes the drive away, whoever uses it.
    pub fn unplug(&self) {
        self.sh("umount -l drive");
        self.settled();
    }

    /// Waits until the server of a drive that was taken away has ended, which it does when nobody uses it any more.
    pub fn settled(&self) {
        if self.kind == Kind::Fuse {
            // What was closed is on the disk when its server ends.
            self.sh("for n in $(seq 2400); do kill -0 $(cat cache/pid) 2>/dev/null || exit 0; sleep 0.05; done; cat cache/log >&2; false");
        }
    }

    /// Waits until what a FUSE mount shows is on the disk behind it under the same names: its server renames a file that it
    /// is still uploading only when that is done, and not at all if it is told to end before. An upload whose file was renamed
    /// under it is tried again after 10 s, and then after 20 s.
    pub fn arrived(&self) {
        if self.kind == Kind::Fuse {
            // It uploads at close, and an upload that a rename makes fail it never tries again: what was lost so is
            // written once more.
            self.sh("for n in $(seq 2400); do cmp -s <(cd drive && find . | sort) <(cd disk && find . | sort) && exit; \
                     if [ $((n % 400)) = 0 ]; then (cd drive && find . -type f) | while read -r file; do \
                         [ -e \"disk/$file\" ] || { cp \"drive/$file\" again && cat again > \"drive/$file\"; }; done; fi; \
                     sleep 0.05; done; cat cache/log >&2; false");
        }
    }

    /// Sends a signal to the server of a FUSE mount.
    pub fn signal_server(&self, signal: &str) {
        self.sh(&format!("kill -{signal} $(cat cache/pid)"));
    }

    /// Shell lines inside, in the stack's folder; they must succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let mut command = self.stack.plain(&[""]);
        command.current_dir(self.stack.path("."));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(self.stack.path("."));
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outcome(&mut self.space.bound(&shell)).ok().stdout
    }

    /// The binary inside.
    pub fn command(&self, args: &[&str]) -> Command {
        self.space.inside(&self.stack.command(args))
    }

    /// The same with these arguments and no others.
    pub fn plain(&self, args: &[&str]) -> Command {
        self.space.inside(&self.stack.plain(args))
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        outcome(&mut self.command(args))
    }

    /// A backup of this second, an hour before all else.
    pub fn backup(&self, second: u8) -> Outcome {
        outcome(self.command(&["backup"]).env("RECOVERY_NOW", format!("2026-03-10T11:00:{second:02}Z")))
    }

    /// The files at the destination, as they are seen inside.
    pub fn stored(&self) -> Vec<String> {
        let listed = self.sh("cd drive && find . -type f | sort");
        listed.lines().map(str::to_owned).collect()
    }

    fn bare(stack: &Stack) -> (Vec<String>, [i64; 4]) {
        let meta = fs::metadata(stack.path("drive")).expect("is there");
        (stack.files("drive"), [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()])
    }

    /// Nothing is, or was for a moment, in the bare folder: making or removing a name changes its times.
    #[track_caller]
    pub fn untouched(&self) {
        assert_eq!(Self::bare(&self.stack), self.bare, "{:?}: the bare folder was written to", self.kind);
    }

    /// Makes the data so large that a run is seen while it writes.
    pub fn large(&self) {
        self.stack.sh("repo/.codex-api", "head -c 60M /dev/urandom | split -b 1M -a 3 - part-");
    }

    /// A backup that is stopped while it writes its archive, until [`Stopped::goes_on`].
    pub fn stopped(&self, second: u8) -> Stopped {
        use std::os::unix::process::CommandExt as _;
        let now = format!("2026-03-10T11:00:{second:02}Z");
        let mut command = self.command(&["backup"]);
        command.env("RECOVERY_NOW", &now).process_group(0).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let begun = format!("codex-api-{}.tar.gz", now.replace(':', ""));
        let root = PathBuf::from(format!("/proc/{}/root{}", self.space.first, self.point()));
        let written = || {
            let path = root.join("backups/2026/03-10").join(&begun);
            fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
        };
        while !written() {
            assert!(child.try_wait().expect("waits").is_none(), "it ended before it wrote");
            sleep(Duration::from_millis(1));
        }
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::STOP).expect("stops");
        assert!(child.try_wait().expect("waits").is_none(), "it ended before it was stopped");
        Stopped { child, group }
    }
}

/// A run that stands still.
pub struct Stopped {
    child: Child,
    group: rustix::process::Pid,
}

impl Stopped {
    /// Lets it go on to its end; its exit code, and all that it said.
    pub fn goes_on(self) -> (Option<i32>, String) {
        rustix::process::kill_process_group(self.group, rustix::process::Signal::CONT).expect("goes on");
        let output = self.child.wait_with_output().expect("ends");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}
