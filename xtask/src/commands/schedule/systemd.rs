//! The units for systemd. Pure: a plan in, text out.
//!
//! A run that has to be tried again later is a success to systemd (`SuccessExitStatus=75`), and the other steps of a run go
//! on behind one that fails: a backup with a problem is no reason to leave out the drill.
use super::Plan;
use super::quote::{In, unit, unit_path};
use crate::words::words;

/// One unit.
pub(super) struct Unit {
    /// Its file name.
    pub file: String,
    /// What stands in it.
    pub text: String,
}

/// Where units of the machine lie.
const FOLDER: &str = "/etc/systemd/system";

/// All units.
pub(super) fn units(plan: &Plan) -> Vec<Unit> {
    let base = base(plan);
    let daily = shell(&format!(
        "e=0; x() {{ {} -q \"$@\"; s=$?; case $s in 0) ;; 75) [ $e != 0 ] || e=75 ;; *) e=$s ;; esac; }}; {}; exit $e",
        words(&plan.call),
        plan.steps.iter().map(|step| format!("x {step}")).collect::<Vec<_>>().join("; ")
    ));
    let status = shell(&format!("exec {} -q status", words(&plan.call)));
    vec![
        service(plan, &base, "what is due of backup, verification and drills", &daily),
        timer(&base, "what is due, each day", plan.at),
        service(plan, &format!("{base}-status"), "what is overdue or not sound", &status),
        timer(&format!("{base}-status"), "what is overdue, each day", plan.status_at()),
        failed(&base),
    ]
}

fn base(plan: &Plan) -> String {
    format!("recovery-{}", plan.name)
}

/// `sh` runs it: systemd takes no program whose name has quotes in it.
fn shell(script: &str) -> String {
    format!("/bin/sh -c {}", unit(script, In::Command))
}

fn service(plan: &Plan, name: &str, what: &str, command: &str) -> Unit {
    let file = plan.env_file.as_ref();
    let file = file.map_or(String::new(), |file| format!("EnvironmentFile={}\n", unit_path(file)));
    let path = unit(&format!("PATH={}", plan.path), In::Setting);
    let (user, failed) = (&plan.user, format!("{}-failed.service", base(plan)));
    let text = format!(
        "[Unit]\nDescription=Recovery of {}: {what}\nWants=network-online.target\n\
         After=local-fs.target remote-fs.target network-online.target\nOnFailure={failed}\n\n\
         [Service]\nType=oneshot\nUser={user}\nEnvironment={path}\n{file}ExecStart={command}\n\
         SuccessExitStatus=75\nTimeoutStopSec=5min\nNice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n",
        plan.name
    );
    Unit { file: format!("{name}.service"), text }
}

fn timer(name: &str, what: &str, (hours, minutes): (u8, u8)) -> Unit {
    let text = format!(
        "[Unit]\nDescription=Recovery: {what}\n\n[Timer]\nOnCalendar=*-*-* {hours:02}:{minutes:02}:00\n\
         Persistent=true\nRandomizedDelaySec=15min\nFixedRandomDelay=true\n\n[Install]\nWantedBy=timers.target\n"
    );
    Unit { file: format!("{name}.timer"), text }
}

/// What runs after a failure of the others, also one that left them no time to tell.
fn failed(base: &str) -> Unit {
    let text = format!(
        "[Unit]\nDescription=Recovery: a run has failed\n\n[Service]\nType=oneshot\n\
         # Put here what reaches you.\n\
         ExecStart=/usr/bin/logger -p daemon.err -t {base} \"a run has failed: see journalctl -u '{base}*'\"\n"
    );
    Unit { file: format!("{base}-failed.service"), text }
}

/// The commands that make the units count, once they lie in their folder.
pub(super) fn install(plan: &Plan) -> Vec<String> {
    let base = base(plan);
    vec!["systemctl daemon-reload".into(), format!("systemctl enable --now {base}.timer {base}-status.timer")]
}

/// All of it as a script that root may run: each unit under its name, then the commands.
pub(super) fn text(units: &[Unit], install: &[String]) -> String {
    let mut text = String::from(
        "# A script for root: give it to `sudo sh`, by a pipe behind the command that printed it.\n\n",
    );
    for unit in units {
        text.push_str(&format!("cat > {FOLDER}/{} <<'END'\n{}END\n\n", unit.file, unit.text));
    }
    text.push_str(&install.join("\n"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn the_units_have_what_the_page_of_the_manual_asks_for() {
        let units = units(&plan("/opt/xtask", "/srv/5% 'api'"));
        let files: Vec<&str> = units.iter().map(|unit| &*unit.file).collect();
        assert_eq!(
            files,
            [
                "recovery-api.service",
                "recovery-api.timer",
                "recovery-api-status.service",
                "recovery-api-status.timer",
                "recovery-api-failed.service"
            ]
        );
        for line in [
            "Type=oneshot\n",
            "SuccessExitStatus=75\n",
            "OnFailure=recovery-api-failed.service\n",
            "Environment=PATH=/usr/bin:/bin\n",
        ] {
            assert!(units[0].text.contains(line) && units[2].text.contains(line), "{line}");
        }
        assert!(
            units[0].text.contains("-C '/srv/5%% '\\\\''api'\\\\''' -q \\\"$$@\\\";"),
            "{}",
            units[0].text
        );
        assert!(units[1].text.contains("OnCalendar=*-*-* 03:23:00\nPersistent=true\nRandomizedDelaySec="));
    }

    #[test]
    fn the_script_writes_each_unit_and_lets_it_count() {
        let plan = plan("/opt/xtask", "/srv/api");
        let commands = install(&plan);
        let enable = "systemctl enable --now recovery-api.timer recovery-api-status.timer";
        assert_eq!(commands, ["systemctl daemon-reload", enable]);
        let units = units(&plan);
        let script = text(&units, &commands);
        for unit in &units {
            let written = format!("cat > /etc/systemd/system/{} <<'END'\n{}END\n", unit.file, unit.text);
            assert!(script.contains(&written), "{written}");
        }
        assert!(script.ends_with(&format!("\nsystemctl daemon-reload\n{enable}\n")), "{script}");
    }
}
