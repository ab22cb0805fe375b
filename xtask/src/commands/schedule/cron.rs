//! The lines for a crontab. Pure: a plan in, text out.
use super::Plan;
use super::quote::crontab;
use crate::error::{Error, Result};
use crate::words::{word, words};

/// How the lines get into a crontab.
pub(super) const INSTALL: &str = "(crontab -l; cargo xtask schedule cron) | crontab -";
/// The longest command that every cron takes (`MAX_COMMAND` of Debian's, less its end).
const LONGEST: usize = 998;

/// The line of the daily run, and that of `status`.
///
/// # Errors
/// When a line is too long for cron.
pub(super) fn lines(plan: &Plan) -> Result<Vec<String>> {
    let daily = plan.steps.iter().map(|step| format!("x {step}")).collect::<Vec<_>>().join("; ");
    [(plan.at, daily), (plan.status_at(), "x status".to_owned())]
        .into_iter()
        .map(|((hours, minutes), calls)| {
            let command = crontab(&format!("{}; {calls}", quiet(plan)));
            if command.len() > LONGEST {
                let what = format!("the command has {} bytes, and cron takes {LONGEST}", command.len());
                let next = "give it a shorter PATH (`PATH=/usr/bin:/bin … schedule cron`), or use `schedule systemd`";
                return Err(Error::refused(what, next));
            }
            Ok(format!("{minutes} {hours} * * * {command}"))
        })
        .collect()
}

/// Where tools are, and a function `x` that calls the tool and passes on what it says only where something is wrong. What
/// is printed is what cron mails.
fn quiet(plan: &Plan) -> String {
    let file = plan.env_file.as_ref();
    let file = file.map_or(String::new(), |file| format!("; set -a; . {}; set +a", word(file)));
    format!(
        "PATH={}; export PATH{file}; x() {{ o=$({} -q \"$@\" 2>&1) || case $? in 75) ;; *) printf '%s\\n' \"$o\" ;; esac; }}",
        word(&plan.path),
        words(&plan.call)
    )
}

/// The lines with what they are for.
pub(super) fn text(lines: &[String]) -> String {
    let [daily, status] = lines else { return lines.join("\n") };
    format!(
        "# What is due, each day. Prints, and so mails, only where something is wrong.\n{daily}\n\
         # What is overdue or not sound: this also tells what was put off for too long.\n{status}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn the_lines_call_the_binary_by_its_path() {
        let lines = lines(&plan("/opt/xtask", "/srv/my api")).expect("short");
        assert_eq!(
            lines[0],
            "23 3 * * * PATH=/usr/bin:/bin; export PATH; x() { o=$(/opt/xtask -C '/srv/my api' -q \"$@\" 2>&1) || \
             case $? in 75) ;; *) printf '\\%s\\n' \"$o\" ;; esac; }; x backup --if-due; x restore-drill --if-due --yes"
        );
        assert!(lines[1].starts_with("23 8 * * * PATH=") && lines[1].ends_with("; x status"), "{lines:?}");
    }

    #[test]
    fn a_line_that_cron_would_cut_is_refused() {
        let error = lines(&plan("/opt/xtask", &format!("/{}", "x".repeat(900)))).expect_err("too long");
        assert!(error.to_string().contains("998"), "{error}");
    }

    #[test]
    fn a_line_of_the_longest_command_is_taken() {
        let made = |length| lines(&plan("/opt/xtask", &format!("/{}", "x".repeat(length)))).ok();
        let longest = (1..1000).filter_map(made).map(|lines| lines[0].len()).max();
        assert_eq!(longest, Some("23 3 * * * ".len() + 998));
    }

    #[test]
    fn both_lines_stand_behind_what_they_are_for() {
        let text = text(&["one".to_owned(), "two".to_owned()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# What is due") && lines[2].starts_with("# What is overdue"), "{text}");
        assert_eq!((lines[1], lines[3], lines.len()), ("one", "two", 4));
    }
}
