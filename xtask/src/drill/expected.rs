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
            Step::Fetch(_) => "every byte of it is in the drill's folder".into(),
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
            Step::Canary(index) => {
                let canary = entry(index).and_then(|artifact| artifact.demands.canary.as_ref());
                let path = canary.map_or("?", |canary| &canary.path);
                format!("{path} has come back with the content that was written right before the backup")
            }
            Step::Commit(index) => {
                let commit = entry(index).and_then(|artifact| artifact.demands.commit.as_deref());
                format!(
                    "every restored entry is as commit {:.12} has it, and there is no other",
                    commit.unwrap_or("?")
                )
            }
            Step::Published(index) => {
                let release = entry(index).and_then(|artifact| artifact.demands.published.as_ref());
                let (tag, repository) =
                    release.map_or(("?", "?"), |release| (&*release.tag, &*release.repository));
                format!("what was published as {tag} of {repository} has the bytes of the bundle here")
            }
            Step::ReleaseCheck(_) => format!("exit status 0 within {} s", self.check_timeout.as_secs()),
            Step::NegativeControl(_) => "the check finds the one byte of a copy that is changed".into(),
            Step::CleanUp => "nothing that was restored is left".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::known::Canary;
    use crate::drill::demands::Published;
    use crate::drill::times::tests::three;

    #[test]
    fn each_step_says_what_it_must_see() {
        let mut plan = three();
        plan.artifacts[0].demands.commit = Some("0123456789abcdef".into());
        plan.artifacts[0].demands.published =
            Some(Published { repository: "github.com/acme/a".into(), tag: "v1".into() });
        plan.artifacts[1].encrypted = true;
        plan.artifacts[1].key_files = vec!["one".into(), "two".into()];
        plan.artifacts[1].demands.canary = Some(Canary { path: "canary".into(), sha256: String::new() });
        for (step, expected) in [
            (Step::Preflight, "everything that the drill needs is there"),
            (Step::Pick, "an artifact of each of: release a, data b"),
            (Step::Verify(1), "it decrypts to its end, and every block and entry is whole"),
            (Step::Verify(2), "every block and entry is whole"),
            (Step::KeyFiles(1), "each is there and not empty: one, two"),
            (
                Step::Canary(1),
                "canary has come back with the content that was written right before the backup",
            ),
            (Step::Commit(0), "every restored entry is as commit 0123456789ab has it, and there is no other"),
            (
                Step::Published(0),
                "what was published as v1 of github.com/acme/a has the bytes of the bundle here",
            ),
            (Step::ReleaseCheck(0), "exit status 0 within 0 s"),
        ] {
            assert_eq!(plan.expected(step), expected);
        }
        plan.tools = vec!["gpg".into(), "tar".into()];
        assert_eq!(plan.expected(Step::Preflight), "everything that the drill needs is there (gpg, tar)");
    }
}
