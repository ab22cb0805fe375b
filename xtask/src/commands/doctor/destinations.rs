//! The destinations that `doctor` looks at: each drive as a backup looks at it, what the next backup is encrypted to, and
//! whether the newest one opens.
use super::{Doctor, State};
use crate::commands::{backup, free, overdue, status};
use crate::config::{Config, DataSet, Destination, Encryption, keys};
use crate::destination::catalog::Catalog;
use crate::destination::known::Known;
use crate::destination::mount::Mounted;
use crate::destination::retention::AHEAD;
use crate::finding::Severity;
use crate::restore::Source;
use crate::shown::show;
use crate::source::folder::Survey;
use crate::tools::gpg;
use crate::ui::bytes;
use std::collections::BTreeMap;

impl Doctor<'_> {
    /// A drive as a backup looks at it, and the keys of what lies there; `sources` is what the sets hold.
    pub(super) fn destination(
        &mut self,
        config: &Config,
        place: &Destination,
        known: &Known,
        sources: &BTreeMap<&str, Survey>,
    ) {
        let (mounted, catalog) = match place.place.look(false) {
            Ok(seen) => seen,
            Err(error) => {
                self.error("destination", &place.name, &error);
                return self.sealing(place);
            }
        };
        if let Err(error) = mounted.writable() {
            self.error("destination", &place.name, &error);
        } else {
            let (path, used) = (show(&place.place.path), catalog.used());
            let free = free(&mounted);
            let quota = place.quota.map_or(String::new(), |quota| format!(" of {}", bytes(quota)));
            let seen = format!("{path}: {}{quota} used, {free}", bytes(used));
            match place.quota.is_some_and(|quota| used > quota) {
                true => self.wrong(
                    "destination",
                    &place.name,
                    State::Failed,
                    &seen,
                    "`cargo xtask prune`, or raise `quota`",
                ),
                false => self.add("destination", &place.name, State::Ok, seen),
            }
        }
        self.sealing(place);
        for set in status::sets_at(config, place) {
            if let Some(survey) = sources.get(&*set.name) {
                self.emptied(set, survey, &catalog, known);
            }
            self.newest(set, place, &catalog, known);
            self.room(set, place, &mounted, &catalog);
        }
    }

    /// Whether a backup would take the source for one that was emptied since the last.
    fn emptied(&mut self, set: &DataSet, survey: &Survey, catalog: &Catalog, known: &Known) {
        let Some(found) = backup::emptied(set, survey, catalog.latest(&set.name, None), known) else {
            return;
        };
        let found = backup::unless_mended(set, found);
        let state = if found.severity == Severity::Error { State::Failed } else { State::Warning };
        self.rather("data", &set.name, state, format!("{} {}", found.path, found.what), Some(found.repair));
    }

    /// Whether another backup like the newest one would find room.
    fn room(&mut self, set: &DataSet, place: &Destination, mounted: &Mounted, catalog: &Catalog) {
        let newest = catalog.latest(&set.name, None).map(|latest| latest.bytes);
        let Some((free, needed)) = mounted.free_bytes.zip(newest).filter(|(free, needed)| free < needed)
        else {
            return;
        };
        let seen = format!(
            "the newest backup of {} takes {}, and {} is free: the next may not fit",
            set.name,
            bytes(needed),
            bytes(free)
        );
        let next = "`cargo xtask prune --dry-run` lists what may go; or take a larger drive";
        self.wrong("destination", &place.name, State::Warning, &seen, next);
    }

    /// What the next backup is encrypted to.
    fn sealing(&mut self, place: &Destination) {
        let Some(encryption) = &place.encryption else { return };
        let checked = keys::sealing(Some(encryption), self.ctx.env)
            .and_then(|key| gpg::may_encrypt(&key, &place.place.path));
        let seen = match encryption {
            Encryption::Passphrase { variable } => format!("the passphrase in {variable}"),
            Encryption::Recipients(names) => format!("the public keys of {}", names.join(", ")),
        };
        match checked {
            Ok(()) => self.add("key", format!("{}: to encrypt", place.name), State::Ok, seen),
            Err(error) => self.error("key", &format!("{}: to encrypt", place.name), &error),
        }
    }

    /// Whether the newest backup of a set opens, and whether its time is one that can be.
    fn newest(&mut self, set: &DataSet, place: &Destination, catalog: &Catalog, known: &Known) {
        let counted = overdue::ours(known, catalog, &set.name);
        let Some(latest) = counted.max_by_key(|artifact| artifact.name.time) else {
            let seen = format!("none at {}", place.name);
            return self.wrong("backup", &set.name, State::Warning, &seen, "`cargo xtask backup`");
        };
        let name = show(latest.archive.file_name().unwrap_or_default().as_ref());
        if let Some(wrong) = known.wrong_with(latest) {
            let seen = format!("{name} {}", wrong.what);
            return self.wrong("backup", &set.name, State::Failed, &seen, &wrong.repair);
        }
        let name = match known.is_on_record(latest) {
            true => name,
            false => format!("{name}, which is not on record here (another may have made it),"),
        };
        if self.ctx.now.duration_since(latest.name.time) < -AHEAD {
            let seen = format!("{name} is dated in the future: this machine's clock is wrong, or was");
            return self.wrong(
                "backup",
                &set.name,
                State::Failed,
                &seen,
                "set the clock; see docs/runbook.md",
            );
        }
        if place.place.remote.is_some() {
            let seen = format!("{name}, not opened: it lies on another machine");
            return self.add("backup", &set.name, State::Ok, seen);
        }
        let encryption = keys::encryption_of(&latest.archive, place.encryption.as_ref(), self.ctx.env);
        let opened = keys::opening(latest.name.encrypted, encryption.as_ref(), self.ctx.env)
            .and_then(|secret| Ok((Source::of_file(&latest.archive)?, secret)))
            .and_then(|(source, secret)| source.closing(secret.as_ref()));
        match opened {
            Ok(Some(_)) => self.add("backup", &set.name, State::Ok, format!("{name}: its manifest opens")),
            Ok(None) => self.add("backup", &set.name, State::Ok, format!("{name}, which has no manifest")),
            Err(error) => self.error("backup", &set.name, &error),
        }
    }
}
