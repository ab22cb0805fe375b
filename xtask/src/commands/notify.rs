//! Tells somebody how a run went: the lines of `on-success` and `on-failure`, and the URL of a check.
//!
//! For the verbs that make or prove something (`snapshot`, `publish`, `backup`, `verify`, `restore-drill`, `prune`), at their very end.
//! A run that has to be tried again later (75) is neither a success nor a failure; nor is one that found nothing due, a
//! dry run, or one whose configuration cannot be read. What goes wrong here is a warning, and changes no exit code.
use super::Context;
use super::environment::seen;
use crate::cli::{DrillKind, Verb};
use crate::config::{Config, Notify};
use crate::destination::read;
use crate::error::{Error, Exit, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use crate::tools::curl;
use crate::tools::shell::{self, Outcome};
use std::cell::{Cell, RefCell};
use std::path::Path;

/// Characters of a summary that are handed on.
const SUMMARY: usize = 1000;

/// What a verb tells of its work.
#[derive(Debug, Default)]
pub struct Told {
    summary: RefCell<String>,
    idle: Cell<bool>,
    listened: Cell<bool>,
}

impl Told {
    /// What came of it, and the first error that was found.
    pub(super) fn of(&self, what: &str, findings: &[Finding]) {
        let worst = findings.iter().find(|finding| finding.severity == Severity::Error);
        let error = worst.map_or(String::new(), |found| format!("; error: {}", found.line()));
        self.summary.replace(format!("{what}{error}"));
    }

    /// There was nothing to do.
    pub(super) fn idle(&self) {
        self.idle.set(true);
    }

    /// Whether the configuration names anybody.
    pub(super) fn listens(&self, notify: &Notify) {
        let Notify { on_success, on_failure, ping_url_file, .. } = notify;
        self.listened.set(!on_success.is_empty() || !on_failure.is_empty() || ping_url_file.is_some());
    }

    fn summary(&self) -> String {
        self.summary.borrow().clone()
    }
}

/// What there is to tell.
struct News<'a> {
    verb: &'a str,
    exit: Exit,
    summary: String,
}

impl News<'_> {
    fn is_good(&self) -> bool {
        self.exit == Exit::Done
    }
}

/// Tells how a verb ended.
pub(super) fn after(verb: &Verb, ended: &Result<Exit>, ctx: &Context) {
    let exit = match ended {
        Ok(exit) => *exit,
        Err(error) => error.exit(),
    };
    if !ctx.told.listened.get()
        || !is_told(verb)
        || exit == Exit::TryLater
        || exit == Exit::Done && ctx.told.idle.get()
    {
        return;
    }
    // The verb's own is gone with it.
    let Ok(config) = super::configuration(ctx) else { return };
    let summary = match ended {
        Ok(_) => ctx.told.summary(),
        Err(error) => error.chain(),
    };
    let news = News { verb: verb.name(), exit, summary };
    let mut warnings = Vec::new();
    commands(&config, &news, ctx, &mut warnings);
    if let Some(file) = &config.notify.ping_url_file
        && let Err(error) = ping(file, &news)
    {
        let what = format!("names a check that could not be told: {}", error.chain());
        warnings.push(Finding::warning(show(file), what, error.next_step().unwrap_or_default()));
    }
    ctx.ui.findings(&warnings);
}

/// Whether this run is one that somebody is told of.
fn is_told(verb: &Verb) -> bool {
    match verb {
        Verb::Snapshot(args) => !args.dry_run,
        Verb::Publish(args) => !args.dry_run,
        Verb::Backup(args) => !args.dry_run,
        // `recover` needs no configuration, and reads none.
        Verb::RestoreDrill(args) => {
            !args.dry_run && !matches!(args.kind, Some(DrillKind::History | DrillKind::Recover))
        }
        Verb::Prune(args) => !args.dry_run,
        Verb::Verify(_) => true,
        Verb::Restore(_) | Verb::Status(_) | Verb::Schedule(_) | Verb::Rollback(_) | Verb::Init(_) => false,
        Verb::Doctor | Verb::Completions(_) | Verb::Man(_) => false,
    }
}

/// Runs the lines, each whatever came of those before it.
fn commands(config: &Config, news: &News<'_>, ctx: &Context, warnings: &mut Vec<Finding>) {
    let Notify { on_success, on_failure, timeout, environment, .. } = &config.notify;
    let (key, lines) = if news.is_good() { ("on-success", on_success) } else { ("on-failure", on_failure) };
    if lines.is_empty() {
        return;
    }
    let seen = seen(config, environment, ctx.env, ctx.variables);
    let summary: String = one_line(&seen.redaction.text(&news.summary));
    let mut environment = seen.environment;
    environment.extend(
        [
            ("RECOVERY_VERB", news.verb.to_owned()),
            ("RECOVERY_STATUS", if news.is_good() { "success" } else { "failure" }.to_owned()),
            ("RECOVERY_EXIT_CODE", news.exit.code().to_string()),
            ("RECOVERY_SUMMARY", summary),
            ("RECOVERY_REPOSITORY", show(&config.root)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for line in lines {
        // Also at the end of a run that was interrupted.
        let how = match shell::run_in_any_case(line, &config.root, &environment, *timeout) {
            Ok(ran) => match ran.outcome {
                Outcome::Pass => continue,
                Outcome::Fail(status) => format!("{status}: {}", seen.redaction.output(&ran.tail)),
                Outcome::Timeout => format!("it had not ended after {} s", timeout.as_secs()),
            },
            Err(error) => error.chain(),
        };
        let what = format!("command failed, `{}`: {how}", seen.redaction.text(line));
        warnings.push(Finding::warning(key, what.trim_end_matches([':', ' ']), "mend it in [notify]"));
    }
}

/// No control characters, so that a line of a log or a subject of a mail stays one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUMMARY).collect()
}

/// Asks for the URL in `file`; with `/fail` behind its path after a failure.
fn ping(file: &Path, news: &News<'_>) -> Result<()> {
    let url = url_in(file)?;
    curl::get(&if news.is_good() { url } else { failing(&url) })
}

/// The URL in the first line of `file`.
///
/// # Errors
/// When it cannot be read, or there is none in it.
pub(super) fn url_in(file: &Path) -> Result<String> {
    let bytes = read::small(file)?;
    let text = String::from_utf8_lossy(&bytes);
    let url = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic();
    if !(url.starts_with("http://") || url.starts_with("https://")) || !url.chars().all(plain) {
        return Err(Error::refused("its first line is no URL", "write https://… into it, and nothing else"));
    }
    Ok(url.to_owned())
}

/// The URL that tells of a failure.
fn failing(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    format!("{}/fail{}", url[..end].trim_end_matches('/'), &url[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_its_own_url() {
        for (url, fail) in [
            ("https://h/uuid", "https://h/uuid/fail"),
            ("https://h/uuid/", "https://h/uuid/fail"),
            ("https://h/uuid?a=/b", "https://h/uuid/fail?a=/b"),
        ] {
            assert_eq!(failing(url), fail);
        }
    }

    #[test]
    fn a_summary_is_one_line_and_names_the_first_error() {
        let told = Told::default();
        let findings = [Finding::warning("a", "b", ""), Finding::error("c", "is\ngone", "")];
        told.of("done", &findings);
        assert_eq!(one_line(&told.summary()), "done; error: c is gone");
        assert_eq!(one_line(&"x".repeat(5000)).len(), SUMMARY);
    }
}
