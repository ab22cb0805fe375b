//! The printed line under a real cron.
//!
//! cron knows one place for crontabs, and one for the file that says that it runs. Both are mounted over in a namespace of
//! this test, so that it meets neither the machine's own cron nor another test.
use super::super::mounts::WITHOUT;
use super::schedule::Odd;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// cron looks once a minute; the rest is for machines that have much to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// `$1`: the user whose crontab it is; `$2`: the crontab; `$3`: a folder for what stands in the way of cron here.
const DAEMON: &str = r#"
set -eu
mkdir -p /var/spool/cron/crontabs /etc/cron.d
for folder in /run /var/spool/cron/crontabs /etc/cron.d; do mount -t tmpfs none "$folder"; done
: > "$3/empty"
[ ! -f /etc/crontab ] || mount --bind "$3/empty" /etc/crontab
# A container may forbid what the sessions of a machine ask for.
printf '%s required pam_permit.so\n' auth account session > "$3/pam"
[ ! -f /etc/pam.d/cron ] || mount --bind "$3/pam" /etc/pam.d/cron
cp "$2" "/var/spool/cron/crontabs/$1"
chown "$1" "/var/spool/cron/crontabs/$1"
chmod 600 "/var/spool/cron/crontabs/$1"
PATH=$PATH:/usr/sbin:/sbin
exec cron -f
"#;

/// Ends with the test, whatever comes of it.
struct Cron(Child);

impl Drop for Cron {
    fn drop(&mut self) {
        // Ending a `sudo` needs another; what it runs is the first process of a namespace, and takes all with it.
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// None where this machine has no mounts for tests, and they may be left out.
fn start(odd: &Odd) -> Option<Cron> {
    let root = rustix::process::geteuid().is_root();
    let user = odd.stack.sh(".", "id -un").trim().to_owned();
    let mut command = Command::new(if root { "unshare" } else { "sudo" });
    if !root {
        command.args(["-n", "unshare"]);
    }
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--mount-proc",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        DAEMON,
        "sh",
    ]);
    command.arg(&user).arg(odd.stack.path("crontab")).arg(odd.stack.path("home"));
    let child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut cron = Cron(child);
    sleep(Duration::from_secs(1));
    if cron.0.try_wait().expect("waits").is_none() {
        return Some(cron);
    }
    let mut said = String::new();
    let _ = std::io::Read::read_to_string(&mut cron.0.stderr.take().expect("a pipe"), &mut said);
    let next = format!("run the tests as root, or with a sudo that asks for nothing, or set {WITHOUT}=1");
    assert!(std::env::var(WITHOUT).is_ok_and(|value| value == "1"), "cron does not start: {said}\n{next}");
    let _ = std::io::stderr().write_all(format!("LEFT OUT: a real cron: {said}\n").as_bytes());
    None
}

#[test]
fn a_real_cron_runs_the_printed_line() {
    let odd = Odd::new("5% it's a \"folder\"", "");
    let printed = odd.schedule(&["cron"]).ok();
    let daily = printed.stdout.lines().find(|line| !line.starts_with('#')).expect("a line");
    let each_minute = daily.replacen("23 3 * * *", "* * * * *", 1);
    assert_ne!(each_minute, daily);
    fs::write(odd.stack.path("crontab"), format!("MAILTO=\"\"\n{each_minute}\n")).expect("writes");
    let Some(cron) = start(&odd) else { return };
    let list = odd.folder.join("repo/docs/drills/restore-checklist.md");
    let began = Instant::now();
    let done = || fs::read_to_string(&list).is_ok_and(|list| list.contains("| verified |"));
    while !done() {
        let said = odd.stack.sh(".", "ls -laR drive 2>&1 | head -50");
        assert!(began.elapsed() < PATIENCE, "nothing came of: {each_minute}\n{said}");
        sleep(Duration::from_millis(500));
    }
    drop(cron);
    assert!(odd.stack.files("drive").iter().any(|name| name.ends_with(".tar.gz.sha256")));
}
