//! What each step of a full drill must see to pass, in words: it stands in the evidence beside what was seen. Pure.
use super::plan::{Plan, Step};

impl Plan {
    /// What `step` must see.
    pub fn expected(&self, step: Step) -> String {
        match step {
            Step::Preflight => "everything that the drill needs is there, and the way back is on disk".into(),
            Step::Stop => format!("exit status 0: {}", self.stop),
            Step::FreshBackup => "every set is backed up, without an error".into(),
            Step::Pick => {
                let kinds: Vec<String> = self.targets.iter().map(|target| target.kind.to_string()).collect();
                format!("an artifact of each of: {}", kinds.join(", "))
            }
            Step::Checksums(_) => "each stored file has the SHA-256 on record".into(),
            Step::Verify(_) => "it opens to its end, and every block and entry is whole".into(),
            Step::Aside(_) => "the live folder lies aside, whole".into(),
            Step::Restore(_) => "the archive is restored to its end, and durable".into(),
            Step::Compare(_) => "every restored entry is as the manifest says, and there is no other".into(),
            Step::KeyFiles(index) => {
                let names =
                    self.targets.get(index).map_or_else(String::new, |target| target.key_files.join(", "));
                format!("each is there and not empty: {names}")
            }
            Step::Same(_) => "both are read to their end; a difference decides which of them stays".into(),
            Step::Place(_) => "the restored folder is where the live one was".into(),
            Step::Deploy(_) => format!("exit status 0: {}", self.deploy.as_deref().unwrap_or_default()),
            Step::Start => format!("exit status 0: {}", self.start),
            Step::Smoke(_) => "exit status 0".into(),
            Step::NegativeControl(_) => "the check finds the one byte of a copy that is changed".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::sample;
    use super::*;

    #[test]
    fn each_step_says_what_it_must_see() {
        for (step, expected) in [
            (Step::Pick, "an artifact of each of: release app, data db"),
            (Step::Stop, "exit status 0: stop it"),
            (Step::KeyFiles(1), "each is there and not empty: key"),
            (Step::Deploy(0), "exit status 0: put it"),
            (Step::Start, "exit status 0: start it"),
        ] {
            assert_eq!(sample().expected(step), expected);
        }
    }
}
