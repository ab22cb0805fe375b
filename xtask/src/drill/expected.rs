//! What each step of a spot drill must see to pass, in words: it stands in the evidence beside what was seen.
//!
//! Pure, and made from the plan, before anything is done.
use super::steps::{Plan, Step};

impl Plan {
    /// What `step` must see.
    pub fn expected(&self, step: Step) -> String {
        let entry = |index: usize| self.artifacts.get(index);
        match step {
            Step::Preflight if self.tools.is_empty() => "everything that the drill needs is there".into(),
            Step::Preflight => {
                format!("everything that the drill needs is there ({})", self.tools.join(", "))
            }
            Step::Pick => {
                let kinds: Vec<String> = self.required.iter().map(ToString::to_string).collect();
                format!("an artifact of each of: {}", kinds.join(", "))
            }
            Step::Checksums(_) => "each stored file has the SHA-256 on record".into(),
            Step::Verify(index) if entry(index).is_some_and(|artifact| artifact.encrypted) => {
                "it decrypts to its end, and every block and entry is whole".into()
            }
            Step::Verify(_) => "every block and entry is whole".into(),
            Step::Restore(_) => "as many entries are restored as were verified".into(),
            Step::Compare(_) => "every restored entry is as the manifest says, and there is no other".into(),
            Step::KeyFiles(index) => {
                let names = entry(index).map_or_else(String::new, |artifact| artifact.key_files.join(", "));
                format!("each is there and not empty: {names}")
            }
            Step::ReleaseCheck(_) => format!("exit status 0 within {} s", self.check_timeout.as_secs()),
            Step::NegativeControl(_) => "the check finds the one byte of a copy that is changed".into(),
            Step::CleanUp => "nothing that was restored is left".into(),
        }
    }
}
