//! `prune`: one plan over bundles and backups, each decision with its reason, and its execution.
use super::retain::Removal;
use super::stale_tags::StaleTags;
use super::{Context, retain};
use crate::cli::PruneArgs as Args;
use crate::config::{Config, Destination};
use crate::destination::catalog::{self, Artifact, Catalog};
use crate::destination::durable;
use crate::destination::known::{Known, Loss};
use crate::destination::lock::{self, Lock};
use crate::destination::memory::{Memory, Remembered};
use crate::destination::mount::{Mounted, resolved};
use crate::destination::releases;
use crate::destination::retention::{Decision, Item, Policy};
use crate::drill::full::asides::{self, Aside};
use crate::drill::full::{journal, swap};
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::interrupt::interrupted;
use crate::restore::scratch;
use crate::shown::show;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Runs the verb.
///
/// # Errors
/// When there is nothing else to do than at a destination that is not mounted, that another run has locked, or that fails.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    let places = places(args, &config)?;
    let all = args.destinations.is_empty();
    let memory = super::memory(&config);
    let mut locks = Vec::new();
    if let Some(memory) = memory.as_ref().filter(|_| !args.dry_run) {
        memory.open()?;
        locks.push(lock::repository(memory.root(), "prune", ctx.now)?);
    }
    if !args.dry_run {
        ctx.has_locks_of(places.iter().copied(), "prune")?;
    }
    // What lies where the live data should be may not be the live data: its backups are all there is.
    memory.as_ref().map_or(Ok(()), |memory| journal::refuse_beside(memory.root(), args.dry_run))?;
    let folder = &config.release.output_dir;
    let keep = args.keep.or(config.release.keep);
    // A lock that cannot be read is told here too: what it stands for is not pruned.
    let (bundles_there, mut findings) = if all { releases::scan(folder)? } else { Default::default() };
    let remembered = memory.as_ref().map(Memory::read).transpose()?.unwrap_or_default();
    let mut known = remembered.known();
    let bundles = match keep.filter(|_| all) {
        Some(keep) => retain::plan_bundles(folder, &config.release.name, keep, None, &known, ctx)?,
        None => Vec::new(),
    };
    let halves = if all { halves(folder, &known)? } else { Vec::new() };
    findings.retain(|finding| !halves.iter().any(|half| half.id == finding.path));
    // First of all whether docker answers: where it does not, nothing is removed.
    let tags = match args.prune_docker {
        true => StaleTags::plan(folder, &bundles, &known)?,
        false => StaleTags::default(),
    };
    let (mut plans, mut failed) = (Vec::new(), Vec::new());
    for place in places {
        match plan(args, ctx, &config, memory.as_ref(), place, &mut findings) {
            Ok(plan) => plans.push(plan),
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            // The others can be looked after all the same.
            Err(error) => failed.push((place.place.path.as_path(), error)),
        }
    }
    if plans.is_empty() && bundles.is_empty() && findings.is_empty() && !failed.is_empty() {
        return Err(failed.remove(0).1);
    }
    let mut asides = if all { asides(&remembered, ctx) } else { Vec::new() };
    if finding::any_error(&findings) || !failed.is_empty() {
        retain::spare_all(&mut asides);
    }
    let mut items = [&bundles[..], &halves, &asides].concat();
    items.extend(plans.iter().flat_map(|plan| plan.items.iter().chain(&plan.swept).cloned()));
    items.extend(tags.items());
    let mut done = !bundles.is_empty();
    let freed = if args.dry_run {
        done |= !plans.is_empty();
        findings.extend(plans.iter().filter_map(|plan| quota(plan.place, &plan.catalog, 0)));
        items.iter().filter(|item| item.decision == Decision::Remove).map(|item| item.bytes).sum()
    } else {
        let mut removal = Removal::default();
        let there = bundles_there.iter().map(|bundle| show(&bundle.lock_path)).collect();
        let releases = Releases { folder, there, halves: &halves, bundles: &bundles };
        tags.announce(memory.as_ref(), ctx.now)?;
        // Not looked at, they are not settled either: whatever is there would be taken for gone.
        if all && let Err(error) = releases.execute(ctx, memory.as_ref(), &mut known, &mut removal) {
            failed.push((folder, error));
        }
        if let Err(error) = remove_asides(&asides, memory.as_ref(), ctx, &mut removal) {
            failed.push((&config.root, error));
        }
        for plan in &plans {
            let mut backups = 0;
            match plan.execute(ctx, memory.as_ref(), &mut removal, &mut backups) {
                Ok(()) => done = true,
                Err(error) => failed.push((&plan.place.place.path, error)),
            }
            findings.extend(quota(plan.place, &plan.catalog, backups));
            if interrupted() {
                break;
            }
        }
        match tags.remove(memory.as_ref(), ctx.now, &mut removal) {
            Ok(found) => findings.extend(found),
            Err(error) => failed.push((&config.root, error)),
        }
        as_done(&mut items, &removal);
        removal.freed
    };
    findings.extend(failed.iter().map(|(path, error)| Finding::of(show(path), error)));
    report(args, ctx, &items, freed, &findings);
    if interrupted() {
        return Ok(Exit::CouldNotRun);
    }
    // One that is away is passed over, where there was something else to do.
    let error = failed.iter().map(|(_, error)| error).find(|error| !(done && error.is_away()));
    Ok(error.map_or_else(|| finding::exit(&findings), Error::exit))
}

/// The destinations that are pruned.
fn places<'a>(args: &Args, config: &'a Config) -> Result<Vec<&'a Destination>> {
    let names = || config.destinations.iter().map(|place| &place.name);
    if let Some(strange) = args.destinations.iter().find(|name| !names().any(|known| known == *name)) {
        return Err(Error::Usage(format!("there is no destination {strange:?}; {}", config.defined())));
    }
    let wanted =
        |place: &&Destination| args.destinations.is_empty() || args.destinations.contains(&place.name);
    Ok(config.destinations.iter().filter(wanted).collect())
}

/// What was to go and is still there is told as that.
fn as_done(items: &mut [Item], removal: &Removal) {
    let gone: HashSet<&String> = removal.gone.iter().collect();
    for item in items.iter_mut().filter(|item| item.decision == Decision::Remove && !gone.contains(&item.id))
    {
        item.decision = Decision::Keep;
        item.reasons = vec!["could not be removed".into()];
    }
}

/// What becomes of the bundles.
struct Releases<'a> {
    folder: &'a Path,
    /// The locks that are there.
    there: HashSet<String>,
    halves: &'a [Item],
    bundles: &'a [Item],
}

impl Releases<'_> {
    /// Removes what the plan removes.
    fn execute(
        &self,
        ctx: &Context,
        memory: Option<&Memory>,
        known: &mut Known,
        removal: &mut Removal,
    ) -> Result<()> {
        for half in self.halves {
            removal.add(half.id.clone(), durable::remove(Path::new(&half.id))?);
        }
        if let Some(memory) = memory {
            memory.settle(known, self.folder, &self.there, &ctx.now.to_string())?;
        }
        retain::apply_bundles(self.folder, self.bundles, memory, ctx.now, removal)
    }
}

/// Decides about everything at one destination.
fn plan<'a>(
    args: &Args,
    ctx: &Context,
    config: &Config,
    memory: Option<&Memory>,
    place: &'a Destination,
    findings: &mut Vec<Finding>,
) -> Result<Plan<'a>> {
    place.place.check(false)?;
    // Held from before the look to the end of the run: what was seen is what is there.
    let lock = match args.dry_run {
        true => None,
        false => Some(lock::folder(&place.place.path, "prune", ctx.now)?),
    };
    let (mounted, catalog) = place.place.look(false)?;
    let policy = args.keep.map_or(place.keep.clone(), Policy::newest);
    let mine = ours(config, &catalog);
    let mut found = catalog.findings.clone();
    let (known, adopted) = match memory {
        Some(memory) => {
            let (known, adopted) = take_over((args, ctx), config, memory, place, &catalog, &mut found)?;
            (Some(known), adopted)
        }
        None => (None, HashSet::new()),
    };
    let (new, mine): (Vec<_>, Vec<_>) =
        mine.complete.into_iter().partition(|artifact| adopted.contains(&show(&artifact.archive)));
    let mine = Catalog { complete: mine, ..Catalog::default() };
    let mut items = retain::plan_backups(&mine, None, &policy, known.as_ref(), ctx.now);
    items.extend(new.iter().map(taken_over));
    items.extend(catalog.shell.iter().filter(|artifact| own(config, &artifact.name.series)).map(of_shell));
    let mut swept = sweep(config, &catalog, known.as_ref(), ctx.now);
    if args.forget_lost {
        let accepted = |path: &PathBuf| orphan(config, known.as_ref(), path, ctx.now);
        let orphans: Vec<Item> = catalog.orphans.iter().filter_map(accepted).collect();
        found.retain(|finding| !orphans.iter().any(|orphan| orphan.id == finding.path));
        swept.extend(orphans);
    }
    if finding::any_error(&found) {
        retain::spare_all(&mut items);
        retain::spare_all(&mut swept);
    }
    // A damaged history is told once, however many destinations there are.
    let new: Vec<Finding> = found.into_iter().filter(|finding| !findings.contains(finding)).collect();
    findings.extend(new);
    Ok(Plan { place, mounted, catalog, items, swept, _lock: lock })
}

/// What is known of the backups, and with `--adopt` which of this repository's sets it takes over. Backups that are gone
/// are findings, unless `--forget-lost` accepts that; one that has lost its marker alone is one in any case, as its archive
/// may be whole. A dry run only goes by it; a real one takes note.
fn take_over(
    (args, ctx): (&Args, &Context),
    config: &Config,
    memory: &Memory,
    place: &Destination,
    catalog: &Catalog,
    found: &mut Vec<Finding>,
) -> Result<(Known, HashSet<String>)> {
    let (now, remembered) = (ctx.now.to_string(), memory.read()?);
    let mut known = remembered.known();
    let lost = known.losses(&place.place.path, catalog);
    // What a damaged line told could be that the newest backup is no good.
    found.extend(remembered.damage);
    if !args.dry_run {
        memory.settle(&mut known, &place.place.path, &catalog.archives(), &now)?;
    }
    let mut adopted = HashSet::new();
    for artifact in ours(config, catalog).complete.iter().filter(|_| args.adopt) {
        let path = show(&artifact.archive);
        if !known.made.contains_key(&path) && adopted.insert(path) && !args.dry_run {
            memory.event("adopted", &now, &artifact.archive)?;
        }
    }
    for (path, loss) in lost {
        match (args.forget_lost && loss == Loss::Archive, args.dry_run) {
            (false, _) => found.push(loss.finding(&path)),
            (true, true) => {}
            (true, false) => memory.event("forgotten", &now, Path::new(&path))?,
        }
    }
    Ok((known, adopted))
}

/// What this very run takes over stays, and takes no other's place: nobody knows yet whether it is whole, and by the rules
/// alone a damaged newest one would evict all that is good. The next run goes by the rules.
fn taken_over(artifact: &Artifact) -> Item {
    let reasons = vec!["taken over just now: run `verify` before the next `prune`".into()];
    Item { id: show(&artifact.archive), decision: Decision::Keep, reasons, bytes: artifact.bytes }
}

/// What one destination holds and what becomes of it.
struct Plan<'a> {
    place: &'a Destination,
    mounted: Mounted,
    catalog: Catalog,
    items: Vec<Item>,
    swept: Vec<Item>,
    _lock: Option<Lock>,
}

impl Plan<'_> {
    /// Removes what the plan removes; adds to `backups` the bytes of whole ones.
    fn execute(
        &self,
        ctx: &Context,
        memory: Option<&Memory>,
        removal: &mut Removal,
        backups: &mut u64,
    ) -> Result<()> {
        let swept = retain::removed(&self.swept);
        if swept.is_empty() && retain::removed(&self.items).is_empty() {
            return Ok(());
        }
        let place = &self.place.place;
        place.recheck(&self.mounted)?;
        let before = removal.freed;
        let applied = retain::apply_backups(place, &self.catalog, &self.items, memory, ctx.now, removal);
        *backups = removal.freed - before;
        applied?;
        for path in swept {
            let freed = place.remove_files(Path::new(&path), &[])?.unwrap_or(0);
            // The rest never counted as used.
            if self.catalog.incomplete.iter().any(|left| show(left) == path) {
                *backups += freed;
            }
            removal.add(path, freed);
        }
        Ok(())
    }
}

/// What a prune that was killed has left of bundles.
fn halves(folder: &Path, known: &Known) -> Result<Vec<Item>> {
    let half = |(path, lock): (PathBuf, PathBuf)| {
        known.doomed.contains(&show(&lock)).then(|| Item {
            bytes: std::fs::metadata(&path).map_or(0, |meta| meta.len()),
            id: show(&path),
            decision: Decision::Remove,
            reasons: vec!["its lock was removed by a prune that was killed".into()],
        })
    };
    Ok(releases::unfinished(folder)?.into_iter().filter_map(half).collect())
}

/// What full drills have left aside, and whether it has had its time.
fn asides(remembered: &Remembered, ctx: &Context) -> Vec<Item> {
    let item = |aside: Aside| {
        let Aside { id, live, until, folder } = &aside;
        // A link, or whoever moved it, may have made it the live folder.
        let live_is_elsewhere =
            Path::new(live).is_dir() && !resolved(Path::new(live)).starts_with(resolved(folder));
        let (decision, reason) = match (until, live_is_elsewhere) {
            (None, _) => (Decision::Keep, format!("left by {id}: what {live} was, and no backup may have")),
            (Some(until), _) if *until > ctx.now => {
                (Decision::Keep, format!("left by {id} of {live}, kept until {until}"))
            }
            (_, true) => (Decision::Remove, format!("left by {id} of {live}: it has had its time")),
            (_, false) => (Decision::Keep, format!("left by {id}, and {live} is not there, or in it")),
        };
        let bytes = fs_extra::dir::get_size(folder).unwrap_or(0);
        Item { id: show(folder), decision, reasons: vec![reason], bytes }
    };
    asides::there(&remembered.records).into_iter().map(item).collect()
}

/// Removes those that have had their time: folders that a drill has made, by their names.
fn remove_asides(
    items: &[Item],
    memory: Option<&Memory>,
    ctx: &Context,
    removal: &mut Removal,
) -> Result<()> {
    for item in items.iter().filter(|item| item.decision == Decision::Remove) {
        let folder = Path::new(&item.id);
        let ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(swap::PREFIX));
        if !ours || interrupted() {
            continue;
        }
        scratch::sweep([folder.to_owned()])?;
        removal.add(item.id.clone(), item.bytes);
        if let Some(memory) = memory {
            let time = ctx.now.to_string();
            memory.record(&json!({"kind": "aside-removed", "time": time, "folder": item.id}))?;
        }
    }
    Ok(())
}

/// How long an archive without a marker is left alone: another machine may be writing it still.
const IN_FLIGHT: SignedDuration = SignedDuration::from_hours(24);

/// The backups of this repository's sets: a drive may be shared with others, whose backups are theirs to prune.
fn ours(config: &Config, catalog: &Catalog) -> Catalog {
    let mine = |artifact: &&Artifact| own(config, &artifact.name.series);
    let complete = catalog.complete.iter().filter(mine).cloned().collect();
    Catalog { complete, ..Catalog::default() }
}

fn own(config: &Config, series: &str) -> bool {
    config.data.iter().any(|set| series == set.name || series.starts_with(&format!("{}-", set.name)))
}

/// The backups of this repository's sets at a destination that no record names, as one warning: those of another clone,
/// or ours, made while the repository or the drive lay elsewhere.
pub fn not_on_record(
    config: &Config,
    place: &Destination,
    known: &Known,
    catalog: &Catalog,
) -> Option<Finding> {
    let strange = |artifact: &&Artifact| {
        let path = show(&artifact.archive);
        !known.made.contains_key(&path) && !known.pruned.contains(&path)
    };
    let series: Vec<String> =
        ours(config, catalog).complete.iter().filter(strange).map(|one| one.name.series.clone()).collect();
    let sets: BTreeSet<&str> = series.iter().map(String::as_str).collect();
    let sets = sets.into_iter().collect::<Vec<_>>().join(", ");
    let what = match series.len() {
        0 => return None,
        1 => format!("holds a backup of {sets} that is not on record, and is never pruned"),
        count => format!("holds {count} backups of {sets} that are not on record, and are never pruned"),
    };
    let repair = "if they are this repository's, `cargo xtask prune --adopt` takes them over";
    Some(Finding::warning(show(&place.place.path), what, repair))
}

/// What the shell tool before this one has made goes by no rule.
fn of_shell(artifact: &Artifact) -> Item {
    let reasons = vec!["made by the shell tool: it is never pruned; remove it by hand".into()];
    Item { id: show(&artifact.archive), decision: Decision::Keep, reasons, bytes: artifact.bytes }
}

/// A marker, or the manifest, of a backup of ours whose archive is gone, which `--forget-lost` accepts. Of one that is not on
/// record the archive may be on its way still.
fn orphan(config: &Config, known: Option<&Known>, path: &Path, now: Timestamp) -> Option<Item> {
    let bare = path.with_extension("");
    let name = catalog::unfinished(path).or_else(|| catalog::unfinished(&bare))?;
    let archive = show(&path.with_file_name(name.file()));
    let on_record = known.is_some_and(|known| known.made.contains_key(&archive));
    let over = on_record || now.duration_since(name.time) >= IN_FLIGHT;
    (over && own(config, &name.series)).then(|| Item {
        id: show(path),
        decision: Decision::Remove,
        reasons: vec!["its archive is lost, and `--forget-lost` accepts that".into()],
        bytes: std::fs::metadata(path).map_or(0, |meta| meta.len()),
    })
}

/// What never got its marker is no backup: a run was killed before its end. Only our own, and only when it is old; and never
/// what is on record as complete, which has lost its marker.
fn sweep(config: &Config, catalog: &Catalog, known: Option<&Known>, now: Timestamp) -> Vec<Item> {
    let item = |path: &PathBuf| {
        let name = catalog::unfinished(path).filter(|name| own(config, &name.series))?;
        let old = now.duration_since(name.time) >= IN_FLIGHT;
        let was_complete = known.is_some_and(|known| known.has_lost_marker(path, catalog));
        let (decision, reason) = match (was_complete, old) {
            (true, _) => (Decision::Keep, "was a complete backup, and has lost its .sha256"),
            (false, true) => (Decision::Remove, "never completed: it has no .sha256"),
            (false, false) => (Decision::Keep, "has no .sha256 yet, and is less than a day old"),
        };
        let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Some(Item { id: show(path), decision, reasons: vec![reason.into()], bytes })
    };
    catalog.incomplete.iter().filter_map(item).collect()
}

/// How full a destination is against its quota; an error over it, a warning from the alert level on.
pub fn quota(place: &Destination, catalog: &Catalog, freed: u64) -> Option<Finding> {
    let quota = place.quota?;
    let used = catalog.used().saturating_sub(freed);
    let percent = used.saturating_mul(100) / quota;
    let what =
        format!("holds {} of its quota of {} ({percent} %)", crate::ui::bytes(used), crate::ui::bytes(quota));
    let repair = "`cargo xtask prune --dry-run` lists what may go; or raise `quota`";
    if used > quota {
        Some(Finding::error(show(&place.place.path), what, repair))
    } else {
        (percent >= place.alert_at_percent.into())
            .then(|| Finding::warning(show(&place.place.path), what, repair))
    }
}

fn report(args: &Args, ctx: &Context, items: &[Item], freed: u64, findings: &[Finding]) {
    let status = if finding::any_error(findings) { "findings" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "prune", "status": status, "dry_run": args.dry_run,
        "items": items, "freed_bytes": freed, "findings": findings}),
    );
    for item in items {
        let word = match (item.decision, args.dry_run) {
            (Decision::Keep, _) => "keep",
            (Decision::Remove, true) => "would remove",
            (Decision::Remove, false) => "removed",
        };
        ctx.ui.result(&format!("{word} {}: {}", item.id, item.reasons.join(", ")));
    }
    if items.is_empty() && findings.is_empty() {
        ctx.ui.say("there is nothing to prune: no bundle and no backup is here that a rule is about");
    }
    let word = if args.dry_run { "would free" } else { "freed" };
    ctx.ui.result(&format!("{word} {}", crate::ui::bytes(freed)));
    ctx.ui.findings(findings);
    ctx.told.of(&format!("{word} {}", crate::ui::bytes(freed)), findings);
}
