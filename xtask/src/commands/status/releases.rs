//! The bundles: what there is, which is damaged, what was not verified for too long.
use super::{Answer, age};
use crate::commands::Context;
use crate::commands::overdue::{self, Checked};
use crate::config::Config;
use crate::destination::known::{Known, lies_at};
use crate::destination::releases;
use crate::destination::retention::AHEAD;
use crate::error::Result;
use crate::finding::Finding;
use crate::shown::show;
use crate::ui::span;
use serde_json::json;
use std::path::Path;

impl Answer {
    /// Lists the bundles.
    pub(super) fn releases(&mut self, config: &Config, known: &Known, ctx: &Context) -> Result<()> {
        let (mut bundles, findings) = releases::scan(&config.release.output_dir)?;
        self.findings.extend(findings);
        // Another release may have its own in the same folder.
        let name = &config.release.name;
        bundles.retain(|bundle| bundle.release().is_none_or(|release| release == name));
        for bundle in &bundles {
            self.releases.push(json!({"lock": show(&bundle.lock_path), "version": bundle.lock.version,
                "created_at": bundle.lock.created_at, "git_sha": bundle.lock.git_sha, "bytes": bundle.bytes,
                "release_url": bundle.lock.release_url}));
        }
        let there = bundles.iter().filter_map(|bundle| bundle.tarball.as_ref());
        for path in there.map(|tarball| show(tarball)).filter(|path| known.damaged.contains(path)) {
            let repair = "bring it back from another copy and run `cargo xtask verify`; or remove it with its lock, and \
                          bundle the commit again";
            self.findings.push(Finding::error(path, "is damaged", repair));
        }
        self.findings.extend(gone(config, known).filter(|_| bundles.is_empty()));
        let tarballs = bundles.iter().filter(|bundle| bundle.tarball.is_some());
        let checked: Vec<Checked> = tarballs
            .filter_map(|bundle| {
                Some((overdue::bundle_read_back(known, bundle)?, show(bundle.tarball.as_ref()?)))
            })
            .collect();
        self.verification(&show(&config.release.output_dir), &checked, config, ctx);
        let newest = bundles
            .iter()
            .rfind(|bundle| !bundle.lock.dirty || !config.release.include.is_empty())
            .or(bundles.last());
        let latest = newest.map_or("none".to_owned(), |bundle| bundle.lock.version.clone());
        let since = newest.and_then(|bundle| bundle.lock.time());
        if let Some(bundle) = newest.filter(|_| since.is_some_and(|time| age(ctx, time) < -AHEAD)) {
            let what = "is the newest bundle, and is of a commit that is dated in the future: what was made since is taken for \
                        older";
            let repair = "name others by their locks; or remove it, and bundle a commit with the right date";
            self.findings.push(Finding::error(show(&bundle.lock_path), what, repair));
        }
        self.metrics.time("recovery_release_timestamp_seconds", &[], since);
        self.metrics.add("recovery_releases", &[], bundles.len() as f64);
        let since = since.map_or(String::new(), |time| format!("of a commit {} old", span(age(ctx, time))));
        self.row(["release".into(), latest, since, format!("{} kept", bundles.len())]);
        Ok(())
    }
}

/// That bundles of this release were made, and not all were pruned.
fn gone(config: &Config, known: &Known) -> Option<Finding> {
    let folder = &config.release.output_dir;
    let name = |lock: &String| lock.rsplit('/').next().unwrap_or_default().to_owned();
    let ours = |lock: &&String| {
        lies_at(lock, folder) && name(lock).starts_with(&format!("{}-", config.release.name))
    };
    let pruned = |lock: &&String| known.pruned.contains(*lock) || known.doomed.contains(*lock);
    let is_there = |lock: &&String| Path::new(lock).exists();
    let lost = known.bundled.keys().filter(ours).find(|lock| !pruned(lock) && !is_there(lock))?;
    let what =
        format!("is gone, though nothing pruned it, and {} has no bundle any more", config.release.name);
    let repair = "look who else removes files there; `cargo xtask snapshot` makes one";
    Some(Finding::error(lost, what, repair))
}
