//! The steps that not every artifact has: to be fetched, and to show its canary, its commit, its published release.
//!
//! Beside `run.rs`, which takes them like all others. What could not be looked at is blocked: it has neither passed nor
//! failed.
use super::compare::compare;
use super::done::Done;
use super::evidence::Outcome;
use super::key_files::wrong_with;
use super::run::{Spot, State};
use super::subject::on_record;
use crate::archive::codec::Codec;
use crate::archive::manifest::Groups;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::restore::{Source, digest_file};
use crate::tools::gh::Download;
use std::collections::VecDeque;
use std::path::Path;

const OF_ANOTHER: &str =
    "this is the bundle of something else, or was changed: make it anew with `cargo xtask snapshot --rev`";

impl Spot<'_> {
    /// Copies it into the private folder, if that has the room.
    pub(super) fn fetch(&self, index: usize, state: &mut State) -> Result<Done> {
        let subject = self.subject(index)?;
        let Some((remote, artifact)) = &subject.far else {
            return Err(Error::refused("the artifact lies on this machine", ""));
        };
        let to = state.scratch()?.folder(&format!("fetched-{index}"))?;
        let free = self.rooms.free(&to)?;
        if free < artifact.bytes {
            let what =
                format!("{free} bytes are free for what is fetched, and {} are needed", artifact.bytes);
            return Err(Error::refused(what, "set TMPDIR to a folder on a drive that has the room"));
        }
        match self.rooms.fetch(remote, artifact, &to) {
            Err(error) if error.is_away() => {
                let (what, next) = (error.chain(), error.next_step().unwrap_or_default());
                let finding = Finding::error(&self.plan.artifacts[index].file, what.clone(), next);
                return Ok(Done { outcome: Outcome::Blocked, findings: vec![finding], ..Done::pass(what) });
            }
            fetched => fetched?,
        }
        state.fetched.insert(index, Source::of_file(&to.join(artifact.name.file()))?);
        let detail = format!("{} bytes from {}", artifact.bytes, remote.host.name);
        Ok(Done::looked(1, detail, vec![]).through(artifact.bytes))
    }

    /// What was written right before the backup: that it is of that backup, and was taken when that was made.
    pub(super) fn canary(&self, index: usize, state: &State) -> Result<Done> {
        let planned = &self.plan.artifacts[index];
        let canary = planned.demands.canary.as_ref();
        let canary = canary.ok_or_else(|| Error::refused("it has no canary on record", ""))?;
        let root = state.restored(index)?;
        let root = root.canonicalize().map_err(Error::io("resolve", root))?;
        let path = root.join(&self.subject(index)?.folder).join(&canary.path);
        let what = match wrong_with(&root, &path) {
            Some(_) => "was written before the backup, and did not come back with it",
            None if digest_file(&path)?.0 == canary.sha256 => {
                return Ok(Done::looked(1, format!("{} came back as it was written", canary.path), vec![]));
            }
            None => "came back with another content than was written before the backup",
        };
        let repair = "this is not the backup that the history tells of, or it left the canary out: see what is in it, \
                      and back up again";
        let finding = Finding::error(&canary.path, what, repair);
        Ok(Done::looked(1, format!("{} {what}", canary.path), vec![finding]))
    }

    /// That the bundle is what its commit makes it, whatever its records say.
    pub(super) fn commit(&self, index: usize, state: &State) -> Result<Done> {
        let planned = &self.plan.artifacts[index];
        let commit = planned.demands.commit.as_deref().unwrap_or_default();
        let listed = (self.rebuild)(commit, &self.subject(index)?.scope)?;
        let mut bytes = &listed[..];
        let mut groups = Groups::open(&mut bytes, Codec::Gzip).map_err(Error::format(Path::new(commit)))?;
        let mut records = VecDeque::new();
        let mut next = || loop {
            if let Some(record) = records.pop_front() {
                return Ok(Some(record));
            }
            match groups.next_group().map_err(Error::format(Path::new(commit)))? {
                Some(group) => records.extend(group.records),
                None => return Ok(None),
            }
        };
        let compared = compare(&mut next, state.restored(index)?)?;
        let not_its = |finding: Finding| {
            let what = format!("is not as commit {commit:.12} has it: {}", finding.what);
            Finding { what, repair: OF_ANOTHER.into(), ..finding }
        };
        // A bundle may have been given another time.
        let wrong = compared.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        let wrong: Vec<Finding> = wrong.map(not_its).collect();
        let detail = match wrong.first() {
            None => format!("{} entries, as commit {commit:.12} has them", compared.entries),
            Some(first) => first.line(),
        };
        Ok(Done::looked(compared.entries, detail, wrong).through(compared.bytes))
    }

    /// That what was published is this bundle. What could not be looked at is not passed, and has not failed.
    pub(super) fn published(&self, index: usize, state: &State) -> Result<Done> {
        let planned = &self.plan.artifacts[index];
        let Some(release) = &planned.demands.published else {
            return Err(Error::refused("it was not published", ""));
        };
        let name = &planned.file;
        let to = state.scratch()?.folder(&format!("published-{index}"))?;
        let limit = self.plan.check_timeout;
        let place = format!("{} of {}", release.tag, release.repository);
        let blocked = |why: String| {
            let detail = format!("could not be looked at: {why}");
            let repair = "`gh auth status` says whether gh may look; run the drill again";
            let finding = Finding::error(format!("published release {place}"), detail.clone(), repair);
            Done { outcome: Outcome::Blocked, findings: vec![finding], ..Done::pass(detail) }
        };
        match self.rooms.download(release, name, &to, limit) {
            Ok(Download::Done) => {}
            Ok(Download::Missing(said)) => {
                let what = format!("is not in the published release {place}: {said}");
                let repair = "publish it, or mend `release_url` in its lock";
                return Ok(Done::looked(
                    1,
                    format!("{name} {what}"),
                    vec![Finding::error(name, what, repair)],
                ));
            }
            Ok(Download::Blocked(why)) => return Ok(blocked(why)),
            Ok(Download::Timeout) => {
                let detail = format!("gh had not ended after {} s", limit.as_secs());
                return Ok(Done { outcome: Outcome::Timeout, ..Done::fail(detail) });
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                let next = error.next_step().map_or_else(String::new, |next| format!("; {next}"));
                return Ok(blocked(format!("{}{next}", error.chain())));
            }
        }
        let (digest, bytes) = digest_file(&to.join(name))?;
        let (on_record, _) = on_record(&self.subject(index)?.digests)?;
        let local = state.read.get(&index);
        if on_record.get(name) == Some(&digest) && local == Some(&(digest.clone(), bytes)) {
            let detail = format!("{bytes} bytes of {place} are those of the bundle here, SHA-256 {digest}");
            return Ok(Done::looked(1, detail, vec![]).through(bytes));
        }
        let here = local.map_or(0, |(_, bytes)| *bytes);
        let what = format!(
            "was published as {place} with other bytes than the bundle here: {bytes} of SHA-256 {digest}, not {here}"
        );
        let repair = "find out which of the two is right: `cargo xtask verify` checks the one here";
        Ok(Done::looked(1, format!("{name} {what}"), vec![Finding::error(name, what, repair)]))
    }
}
