//! What `status` knows, as numbers for Prometheus: the text format of the textfile collector.
//!
//! Pure: samples in, text out. Every family is a gauge; `docs/format.md` has their list.

/// The families in the order in which they are written: name, what it says.
const FAMILIES: [(&str, &str); 25] = [
    ("recovery_status_timestamp_seconds", "When these numbers were taken."),
    ("recovery_findings", "Findings of this status, by severity."),
    (
        "recovery_overdue",
        "Whether something is overdue or was not verified (1) or not (0): backup, verification, drill.",
    ),
    ("recovery_backup_last_success_timestamp_seconds", "As of when the newest whole backup is good."),
    ("recovery_backup_age_seconds", "How old the newest whole backup is."),
    ("recovery_backup_bytes", "Bytes of the newest backup: archive, manifest and marker."),
    ("recovery_backup_duration_seconds", "How long it took to make the newest backup and bring it there."),
    ("recovery_backup_verified", "Whether the newest backup was verified since it was made (1) or not (0)."),
    ("recovery_backups", "How many backups are kept."),
    ("recovery_backup_interval_seconds", "How often a backup is due, as configured."),
    (
        "recovery_verification_oldest_timestamp_seconds",
        "When that was verified which was not for the longest.",
    ),
    ("recovery_release_timestamp_seconds", "Time of the commit of the newest bundle."),
    ("recovery_releases", "How many bundles are kept."),
    ("recovery_drill_last_run_timestamp_seconds", "When the last drill began."),
    ("recovery_drill_last_success_timestamp_seconds", "When the last drill began that was verified."),
    ("recovery_drill_result", "What the last drill came to: 1 for its result, 0 for the others."),
    ("recovery_drill_duration_seconds", "How long the last drill took."),
    ("recovery_drill_rto_seconds", "Recovery time that the last drill measured."),
    ("recovery_drill_rpo_seconds", "Age of the data that the last drill measured."),
    ("recovery_drill_interval_seconds", "How often a drill is due, as configured."),
    (
        "recovery_drill_set_verified",
        "Whether the last drill that restored this set was verified (1) or not (0).",
    ),
    ("recovery_destination_available", "Whether the destination is there (1) or not (0)."),
    ("recovery_destination_used_bytes", "Bytes of all backups at the destination."),
    ("recovery_destination_free_bytes", "Bytes that are free at the destination."),
    ("recovery_destination_quota_bytes", "Bytes that all backups may take, as configured."),
];

/// One number.
#[derive(Debug)]
struct Sample {
    family: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// All numbers of a run.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Adds a number to one of [`FAMILIES`].
    pub(super) fn add(&mut self, family: &'static str, labels: &[(&'static str, &str)], value: f64) {
        debug_assert!(FAMILIES.iter().any(|(name, _)| *name == family), "{family} is no family");
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { family, labels, value });
    }

    /// The same for a time.
    pub(super) fn time(
        &mut self,
        family: &'static str,
        labels: &[(&'static str, &str)],
        time: Option<jiff::Timestamp>,
    ) {
        if let Some(time) = time {
            self.add(family, labels, time.as_second() as f64);
        }
    }

    /// The text of the file: each family once, with its samples right behind it.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for (family, help) in FAMILIES {
            let samples: Vec<&Sample> =
                self.samples.iter().filter(|sample| sample.family == family).collect();
            if !samples.is_empty() {
                text.push_str(&format!("# HELP {family} {help}\n# TYPE {family} gauge\n"));
            }
            for sample in samples {
                text.push_str(&format!("{family}{} {}\n", braces(&sample.labels), sample.value));
            }
        }
        text
    }
}

fn braces(labels: &[(&str, String)]) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_labels_are_escaped() {
        let mut metrics = Metrics::default();
        metrics.add("recovery_findings", &[("severity", "a\"b\\c\nd")], 1.0);
        metrics.add("recovery_status_timestamp_seconds", &[], 1_773_144_000.0);
        metrics.add("recovery_findings", &[("severity", "x"), ("y", "z")], 0.25);
        let text = metrics.render();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE recovery_status_timestamp_seconds gauge",
                "recovery_status_timestamp_seconds 1773144000",
                "# TYPE recovery_findings gauge",
                "recovery_findings{severity=\"a\\\"b\\\\c\\nd\"} 1",
                "recovery_findings{severity=\"x\",y=\"z\"} 0.25",
            ]
        );
    }

    #[test]
    fn names_say_what_they_are_and_in_which_unit() {
        for (name, help) in FAMILIES {
            assert!(name.starts_with("recovery_") && help.ends_with('.'), "{name}");
            assert!(!name.ends_with("_total"), "{name} is no counter");
        }
    }

    #[test]
    fn a_time_is_told_in_seconds_and_none_not_at_all() {
        let mut metrics = Metrics::default();
        metrics.time("recovery_status_timestamp_seconds", &[], None);
        assert_eq!(metrics.render(), "");
        let time = "2026-03-10T12:00:00.5Z".parse().expect("a time");
        metrics.time("recovery_status_timestamp_seconds", &[], Some(time));
        assert!(metrics.render().ends_with("recovery_status_timestamp_seconds 1773144000\n"));
    }
}
