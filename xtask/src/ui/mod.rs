//! The only room that prints: results and documents on standard output, talk on standard error.
//!
//! With `--json` exactly one document goes to standard output and nothing else does. A job of GitHub Actions is told what
//! the same document says (`actions`).
mod actions;
mod progress;

pub use progress::{Progress, Total};

use crate::finding::{Finding, Severity};
use rustix::fs::OFlags;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The files by which a step of a job speaks to GitHub Actions.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// `GITHUB_OUTPUT`.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
}

/// What is done to all talk before it is told, where that may hold secrets.
#[derive(Clone, Default)]
pub struct Veil(Option<Rc<Redact>>);

type Redact = dyn Fn(&str) -> String;

impl Veil {
    /// By this function.
    pub fn by(redact: impl Fn(&str) -> String + 'static) -> Self {
        Self(Some(Rc::new(redact)))
    }

    fn over(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |redact| redact(text))
    }
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Veil({})", self.0.is_some())
    }
}

/// How to print.
#[derive(Debug, Clone)]
pub struct Ui {
    /// One JSON document instead of text.
    pub json: bool,
    /// No talk.
    pub quiet: bool,
    /// Details too.
    pub verbose: bool,
    /// Colours on standard error.
    pub color: bool,
    /// Who else is told.
    pub job: Job,
    /// What talk goes through.
    pub veil: Veil,
    /// How this program is called again, as whoever started it would type it: [`CARGO_XTASK`], or its file and what it
    /// was told of the repository.
    pub call: String,
}

/// How our texts call the program, in records and documents too; talk has [`Ui::call`] in its place.
pub const CARGO_XTASK: &str = "cargo xtask";

impl Ui {
    /// The one document of this run, printed with `--json` only. The job that runs it is told of it in any case.
    pub fn document(&self, document: &Value) {
        if let Some((outputs, page)) = actions::told(document) {
            self.tell(self.job.output.as_deref(), &outputs);
            self.tell(self.job.summary.as_deref(), &page);
        }
        if self.json {
            put_result(&format!("{document:#}\n"));
        }
    }

    /// Appends; what others have written stays. That a job is not told changes nothing of what was done.
    fn tell(&self, file: Option<&Path>, text: &str) {
        let Some(file) = file else { return };
        if let Err(error) = appended(file, text) {
            let word = self.paint("warning", "33");
            self.talk(
                &format!("{word}: "),
                &format!("could not tell the job, in {}: {error}", file.display()),
            );
        }
    }

    /// A line of the result, not printed with `--json`.
    pub fn result(&self, line: &str) {
        if !self.json {
            put_result(&format!("{}\n", line.trim_end_matches('\n')));
        }
    }

    /// Talk.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.talk("", line);
        }
    }

    /// Asks somebody at a terminal; `None` where nobody is there.
    pub fn ask(&self, question: &str) -> Option<String> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let _ = std::io::stderr().write_all(question.as_bytes());
        let mut answer = String::new();
        stdin.read_line(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    }

    /// What only somebody who looks for it wants to know.
    pub fn detail(&self, line: &str) {
        if self.verbose && !self.quiet {
            self.talk("", line);
        }
    }

    /// Findings, the worst first; no information when quiet.
    pub fn findings(&self, findings: &[Finding]) {
        let mut sorted: Vec<&Finding> = findings.iter().collect();
        sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in sorted {
            let (word, code) = match finding.severity {
                Severity::Error => ("error", "31"),
                Severity::Warning => ("warning", "33"),
                Severity::Info => ("info", "36"),
            };
            if self.quiet && finding.severity == Severity::Info {
                continue;
            }
            let word = self.paint(word, code);
            self.talk(&format!("{word}: "), &finding.line());
            if !finding.repair.is_empty() {
                self.talk("  ", &finding.repair);
            }
        }
    }

    /// An error and what to do next, also when quiet.
    pub fn error(&self, message: &str, next: Option<&str>) {
        self.talk(&format!("{}: ", self.paint("error", "31")), message);
        if let Some(next) = next {
            self.talk("next: ", next);
        }
    }

    fn talk(&self, mark: &str, text: &str) {
        put_talk(mark, &self.veil.over(&self.as_called(text)));
    }

    /// A text in which the commands, in backticks, are those that can be typed here.
    fn as_called(&self, text: &str) -> String {
        text.replace(&format!("`{CARGO_XTASK}"), &format!("`{}", self.call))
    }

    fn paint(&self, word: &str, code: &str) -> String {
        if self.color { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// Appends to a regular file. Anything else is left alone: to open a pipe that nobody reads would be to wait for ever.
fn appended(path: &Path, text: &str) -> std::io::Result<()> {
    let refuse = || std::io::Error::other("it is not a regular file");
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(refuse());
    }
    // Nor may one that takes its place in between make us wait.
    let waits_for_nobody = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(waits_for_nobody).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(refuse());
    }
    file.write_all(text.as_bytes())
}

/// Whether something that was to be printed on standard output could not be.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether the result of this run got lost on its way out: a full disk behind a redirection, say.
pub fn lost_output() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Prints a part of the result. A closed pipe (`| head`) is the reader's decision, not a failure of the run.
fn put_result(text: &str) {
    progress::beside(|| {
        let mut stdout = std::io::stdout();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                LOST.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    });
}

/// Talks. Names and what tools have said may hold anything: nothing of it moves a cursor.
fn put_talk(mark: &str, text: &str) {
    let harmless = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    let text: String = text.chars().map(harmless).collect();
    progress::beside(|| drop(std::io::stderr().write_all(format!("{mark}{text}\n").as_bytes())));
}

/// Bytes in SI units: 1 kB is 1000 bytes.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            let digits = usize::from(value < 9.95 && unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A span of time in its two largest units.
pub fn span(time: jiff::SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let parts =
        [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2).filter(|(count, _)| *count > 0);
    let text: Vec<String> = shown.map(|(count, unit)| format!("{count} {unit}")).collect();
    if text.is_empty() { "0 s".into() } else { text.join(" ") }
}

/// Rows with aligned columns.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    // Wider than that a column cannot be formatted, and need not be.
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).min(1000)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (15_000_000_000, "15 GB"), (999_900, "1.0 MB")]
        {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(span(jiff::SignedDuration::from_secs(90_061)), "1 d 1 h");
        assert_eq!(span(jiff::SignedDuration::from_secs(59)), "59 s");
        let rows = [vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows), ["a    bb", "ccc  d"]);
        assert_eq!(table(&[vec!["x".repeat(100_000)]])[0].len(), 100_000);
    }
}
