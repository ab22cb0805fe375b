//! What a drill knows of itself before its first step: its name, its targets, and who or what runs it.
//!
//! The operator is a record, not a proof: whoever starts a run can set every variable that is read here. The number of the
//! user is the kernel's word, and its name that of `/etc/passwd` where it stands there.
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::Context;
use crate::config::Drill;
use crate::config::keys::Env;
use crate::destination::names::stamp;
use crate::drill::evidence::frame::Frame;
use crate::drill::evidence::{Operator, Started};
use std::fs;
use std::io::IsTerminal as _;

/// That of a drill of this kind.
pub(super) fn frame(kind: &'static str, drill: &Drill, args: &Args, ctx: &Context) -> Frame {
    Frame {
        trigger: if args.if_due { "if-due" } else { "manual" }.into(),
        rto_target: drill.rto_target,
        rpo_target: drill.rpo_target,
        ..bare(kind, args, ctx)
    }
}

/// The same where no configuration says anything.
pub(in crate::commands) fn bare(kind: &'static str, args: &Args, ctx: &Context) -> Frame {
    Frame {
        kind,
        id: format!("drill-{}-{kind}", stamp(ctx.now)),
        trigger: "manual".into(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        operator: operator(ctx.env),
        recovered_by: None,
        started_at: ctx.now,
        rto_target: None,
        rpo_target: None,
        owner: args.owner.clone(),
        due: args.due.clone(),
    }
}

fn operator(env: Env) -> Operator {
    let uid = rustix::process::getuid().as_raw();
    let known = fs::read("/etc/passwd").unwrap_or_default();
    let (user, login) = names(uid, &String::from_utf8_lossy(&known), env);
    let terminal = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
    Operator { user, uid, login, started_by: started(env, terminal, &ancestors()) }
}

/// The name of the user, and who had logged in where that is somebody else.
fn names(uid: u32, passwd: &str, env: Env) -> (String, Option<String>) {
    let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let user = listed.or_else(|| set("LOGNAME")).or_else(|| set("USER")).unwrap_or_else(|| uid.to_string());
    let login = set("SUDO_USER").or_else(|| set("LOGNAME")).filter(|login| *login != user);
    (user, login)
}

/// How the run was started, by its surroundings; `ancestors` are the names of the processes above it, nearest first.
fn started(env: Env, terminal: bool, ancestors: &[String]) -> Started {
    const JOBS: [&str; 6] = ["CI", "BUILDKITE", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD"];
    const CLOCKS: [&str; 6] = ["anacron", "atd", "cron", "crond", "dcron", "fcron"];
    let set = |name: &str| env(name).is_some_and(|value| !matches!(&*value, "" | "0" | "false"));
    if JOBS.iter().any(|name| set(name)) {
        Started::Ci
    } else if terminal {
        Started::Terminal
    } else if ancestors.iter().any(|name| CLOCKS.contains(&&*name.to_lowercase())) {
        Started::Cron
    } else if set("INVOCATION_ID") {
        Started::Systemd
    } else {
        Started::Other
    }
}

/// None where the system does not tell, as on macOS.
fn ancestors() -> Vec<String> {
    let mut names = Vec::new();
    let mut next = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    while let Some(pid) = next.filter(|_| names.len() < 64) {
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { break };
        let Some((name, parent)) = parent(&String::from_utf8_lossy(&stat)) else { break };
        names.push(name);
        next = (parent > 0).then_some(parent);
    }
    names
}

/// Of a line of `/proc/<pid>/stat` (proc(5)) the name, which may hold anything, and the parent.
fn parent(stat: &str) -> Option<(String, i32)> {
    let (before, behind) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once(" (")?;
    Some((name.to_owned(), behind.split(' ').nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nodd\nalice:x:1000:1000:A:/:/bin/sh\n";

    #[test]
    fn the_user_is_the_kernels_and_the_login_the_environments() {
        let none: Env = |_| None;
        assert_eq!(names(1000, PASSWD, none), ("alice".into(), None));
        assert_eq!(names(7, PASSWD, none), ("7".into(), None));
        let sudo: Env = |name| match name {
            "SUDO_USER" => Some("alice".into()),
            "LOGNAME" => Some("root".into()),
            _ => None,
        };
        assert_eq!(names(0, PASSWD, sudo), ("root".into(), Some("alice".into())));
        let named: Env = |name| (name == "LOGNAME").then(|| "bob".into());
        assert_eq!(names(7, PASSWD, named), ("bob".into(), None), "one that /etc/passwd does not list");
        assert_eq!(names(1000, PASSWD, named), ("alice".into(), Some("bob".into())));
    }

    #[test]
    fn how_a_run_was_started_shows_in_its_surroundings() {
        let none: Env = |_| None;
        let named = |name: &str| vec!["sh".to_owned(), name.to_owned(), "systemd".to_owned()];
        assert_eq!(started(none, false, &named("bash")), Started::Other);
        assert_eq!(started(none, true, &named("bash")), Started::Terminal);
        for name in ["cron", "CRON", "crond"] {
            assert_eq!(started(none, false, &named(name)), Started::Cron);
        }
        let unit: Env = |name| (name == "INVOCATION_ID").then(|| "ab".into());
        assert_eq!(started(unit, false, &[]), Started::Systemd);
        assert_eq!(started(unit, true, &[]), Started::Terminal, "a terminal that systemd has started");
        let job: Env = |name| (name == "CI").then(|| "true".into());
        assert_eq!(started(job, true, &named("cron")), Started::Ci);
        let no_job: Env = |name| (name == "CI").then(|| "false".into());
        assert_eq!(started(no_job, false, &[]), Started::Other);
    }

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        assert_eq!(parent("12 (a) b (c)) S 7 12"), Some(("a) b (c)".into(), 7)));
        assert_eq!(parent("12 (cron) S 1 12 12"), Some(("cron".into(), 1)));
        assert_eq!(parent("nothing"), None);
        assert!(!ancestors().is_empty() || !cfg!(target_os = "linux"));
    }
}
