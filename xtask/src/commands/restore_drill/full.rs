//! A full drill: gather → plan → (print | ask → run → record) → document.
//!
//! Stops the service, moves the live data aside, restores in its place, starts and checks; what happens when is
//! [`crate::drill::full`]'s. Here: what is configured, who is asked, and what is written down.
use super::closing::{Closing, Ended};
use super::frame::frame;
use crate::cli::RestoreDrillArgs as Args;
use crate::commands::environment::{Seen, seen};
use crate::commands::overdue::reason;
use crate::commands::{Context, backup};
use crate::config::keys;
use crate::config::{Config, Deploy};
use crate::destination::lock::{self, Lock};
use crate::destination::memory::Memory;
use crate::destination::mount::resolved;
use crate::destination::releases;
use crate::drill::door::RealRooms;
use crate::drill::due::{self, Due, FULL};
use crate::drill::evidence::chain::{Stored, check_chain};
use crate::drill::evidence::frame::Frame;
use crate::drill::evidence::record;
use crate::drill::full::asides;
use crate::drill::full::back::Commands;
use crate::drill::full::journal::{self, Journal, Phase, Service};
use crate::drill::full::plan::{Plan, Target};
use crate::drill::full::run::{Full, State};
use crate::drill::full::supply::{Fresh, Picked, Supply};
use crate::drill::full::swap::Swap;
use crate::drill::gather::{self, Prepared};
use crate::drill::measured;
use crate::drill::redact::Redaction;
use crate::drill::steps::{Kind, Pick, Role};
use crate::drill::times;
use crate::drill::verdict::from_the_future;
use crate::error::{Error, Exit, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use crate::stopwatch::{Monotonic, Stopwatch as _};
use crate::tools::Tool;
use crate::ui::{Total, Veil};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs it.
///
/// # Errors
/// When it is not configured, not agreed to, or another drill is open. Nothing was touched then.
pub(super) fn run(config: Config, args: &Args, ctx: &Context) -> Result<Exit> {
    let memory = Memory::at(&config.root);
    let service = service(&config)?;
    let _lock = if args.dry_run {
        None
    } else {
        memory.open()?;
        Some(lock::repository(memory.root(), "restore-drill", ctx.now)?)
    };
    if args.dry_run {
        journal::not_at_work(memory.root())?;
    }
    if let Some(open) = Journal::load(memory.root())? {
        return Err(Error::refused(journal::open(&open), journal::NEXT));
    }
    let history = memory.read()?.records;
    all_remembered(&config, &history)?;
    let (records, mut findings) = record::load(&config.drill.evidence_dir)?;
    findings.extend(record::gone(&config.drill.evidence_dir, &history, &records));
    if args.if_due && config.drill.full_every.is_none() {
        let what = "nothing says when a full drill is due";
        return Err(Error::refused(what, "set `full-every` in [drill], or leave out --if-due"));
    }
    if args.if_due {
        match due::drill(&records, FULL, config.drill.full_every, ctx.now) {
            Due::At(next) => return Ok(super::not_due(FULL, Some(next), ctx)),
            Due::Now(why) => ctx.ui.say(&format!("a full drill is due: {}", reason(why, ctx.now))),
        }
    }
    let before = gather::prepare_near(config.clone(), records.clone(), vec![], ctx.env, ctx.now)?;
    let ahead = from_the_future(&before.plan, &before.confirmed, ctx.now);
    let known = [findings, check_chain(&records), ahead].concat();
    let plan = plan(&config, args, &before)?;
    let (mut id, mut swaps) = (String::new(), Vec::new());
    let mut frame = frame("full", &config.drill, args, ctx);
    for free in record::ids(&frame.id) {
        swaps = self::swaps(&config, &plan.targets, &free)?;
        id = free;
        let is_known =
            record::is_taken(&config.drill.evidence_dir, &id) || record::is_remembered(&history, &id);
        if !is_known && !swaps.iter().any(Swap::is_taken) {
            break;
        }
    }
    let redaction = seen(&config, &config.drill.environment, ctx.env, ctx.variables).redaction;
    if args.dry_run {
        return Ok(dry_run(&plan, &before, &redaction, ctx));
    }
    agreed(&swaps, args, ctx)?;
    // The service is not to stand still for a lock.
    ctx.has_locks_of(config.destinations.iter(), "restore-drill")?;
    frame.id.clone_from(&id);
    let journal = Journal {
        schema_version: Journal::SCHEMA,
        id,
        trigger: frame.trigger.clone(),
        started_at: ctx.now,
        operator: Some(frame.operator.clone()),
        rto_target_seconds: frame.rto_target.map(|target| target.as_secs()),
        rpo_target_seconds: frame.rpo_target.map(|target| target.as_secs()),
        phase: Phase::Open,
        swaps,
        service,
        configuration: config.file.clone(),
        evidence_dir: config.drill.evidence_dir.clone(),
        differs: false,
        keep_aside_seconds: config.drill.keep_aside.as_secs(),
        sign_with: config.drill.sign_with.clone(),
        artifacts: vec![],
        steps: vec![],
    };
    let supply = Supplies {
        config: &config,
        plan: &plan,
        memory: &memory,
        newest: before.newest.clone(),
        elsewhere: before.elsewhere.clone(),
        made: BTreeMap::new(),
        ctx,
        veiled: ctx.veiled(Veil::by(move |text| redaction.text(text))),
    };
    let _folders = folders(&journal, ctx)?;
    asides::sweep_hollow(&config)?;
    carry_out(supply, (before, known), journal, records, &frame)
}

/// How the service is stopped, started and checked.
pub(super) fn service(config: &Config) -> Result<Service> {
    let drill = &config.drill;
    let missing: Vec<&str> =
        [("stop", drill.stop.is_none()), ("start", drill.start.is_none()), ("smoke", drill.smoke.is_empty())]
            .into_iter()
            .filter_map(|(key, missing)| missing.then_some(key))
            .collect();
    let (Some(stop), Some(start), []) = (&drill.stop, &drill.start, &missing[..]) else {
        let what = format!("a full drill needs {} in [drill]", missing.join(", "));
        return Err(Error::refused(
            what,
            "say how the service is stopped, started, and seen to work; `cargo xtask init --dry-run` shows how",
        ));
    };
    let secrets: Vec<String> = keys::variables(config).into_iter().map(str::to_owned).collect();
    let shown = |name: &&String| !secrets.contains(name);
    Ok(Service {
        stop: stop.clone(),
        start: start.clone(),
        folder: config.root.clone(),
        deadline_seconds: drill.check_timeout.as_secs(),
        environment: drill.environment.iter().filter(shown).cloned().collect(),
        secrets,
    })
}

/// Why a full drill cannot begin, where keys of the configuration are missing.
///
/// # Errors
/// When the releases cannot be listed.
pub(super) fn incomplete(config: &Config) -> Result<Option<Error>> {
    let kinds = gather::required(config, &releases::scan(&config.release.output_dir)?.0);
    Ok(service(config).and_then(|_| targets(config, &kinds)).err())
}

/// What would refuse a full drill before it touches anything: of the configuration, and of the folders that it replaces.
///
/// # Errors
/// What refuses it.
pub(in crate::commands) fn foreseen(config: &Config) -> Result<()> {
    service(config)?;
    all_remembered(config, &Memory::at(&config.root).read()?.records)?;
    let kinds = gather::required(config, &releases::scan(&config.release.output_dir)?.0);
    swaps(config, &targets(config, &kinds)?, "doctor").map(drop)
}

/// Whether the history knows all that our full drills have put aside: what it does not may be the live data.
fn all_remembered(config: &Config, history: &[Value]) -> Result<()> {
    let Some(folder) = asides::strange(config, history).into_iter().next() else { return Ok(()) };
    let what = format!("{} was left by a full drill that nothing here remembers", show(&folder));
    Err(Error::refused(what, "look for live data in it, move that back, and remove the folder by hand"))
}

fn targets(config: &Config, kinds: &[Kind]) -> Result<Vec<Target>> {
    kinds.iter().map(|kind| target(config, kind)).collect()
}

fn target(config: &Config, kind: &Kind) -> Result<Target> {
    match kind.role {
        Role::Release => {
            let live = match &config.drill.deploy {
                Some(Deploy::Folder(folder)) => Some(folder.clone()),
                Some(Deploy::Command(_)) => None,
                None => {
                    let what = "there is a release, and neither `deploy-dir` nor `deploy` is set in [drill]";
                    let next = "name the folder that the release runs in, or the command that puts a bundle in place";
                    return Err(Error::refused(what, next));
                }
            };
            Ok(Target { kind: kind.clone(), live, key_files: vec![] })
        }
        Role::Data => {
            let set = config.set(&kind.set);
            Ok(Target {
                kind: kind.clone(),
                live: set.map(|set| set.source.clone()),
                key_files: set.map(|set| set.key_files.clone()).unwrap_or_default(),
            })
        }
    }
}

fn plan(config: &Config, args: &Args, before: &Prepared) -> Result<Plan> {
    let drill = &config.drill;
    Ok(Plan {
        targets: targets(config, &before.plan.required)?,
        fresh: !args.no_fresh_backup && !config.data.is_empty(),
        keep_restored: args.keep_restored,
        stop: drill.stop.clone().unwrap_or_default(),
        deploy: match &drill.deploy {
            Some(Deploy::Command(line)) => Some(line.clone()),
            _ => None,
        },
        start: drill.start.clone().unwrap_or_default(),
        smoke: drill.smoke.clone(),
    })
}

/// The folders that are replaced. None may hold another, or anything that the drill needs.
fn swaps(config: &Config, targets: &[Target], id: &str) -> Result<Vec<Swap>> {
    let aside = config.drill.aside_dir.as_deref();
    let mut swaps: Vec<Swap> = Vec::new();
    for target in targets {
        let Some(live) = &target.live else { continue };
        let name = format!("{id}-{}", swaps.len());
        let swap = Swap::plan(target.kind.to_string(), live, &name, aside)?;
        if target.kind.role == Role::Data && swap.identity.is_none() {
            let what = format!("the live data {} is not there", show(live));
            return Err(Error::refused(
                what,
                "a full drill replaces live data; `cargo xtask restore` brings back what is lost",
            ));
        }
        swaps.push(swap);
    }
    let mut apart: Vec<(String, PathBuf)> = vec![
        ("the repository".into(), resolved(&config.root)),
        ("the evidence".into(), resolved(&config.drill.evidence_dir)),
        ("the releases".into(), resolved(&config.release.output_dir)),
    ];
    apart.extend(aside.map(|folder| ("`aside-dir`".into(), resolved(folder))));
    let local = config.destinations.iter().filter(|place| place.place.remote.is_none());
    apart.extend(local.map(|place| (format!("the destination {}", place.name), resolved(&place.place.path))));
    for (number, swap) in swaps.iter().enumerate() {
        let others = swaps[..number].iter().map(|other| (&other.what, &other.live));
        for (what, other) in others.clone().chain(apart.iter().map(|(what, path)| (what, path))) {
            let nested = others.clone().any(|(_, known)| known == other) && swap.live.starts_with(other);
            if other.starts_with(&swap.live) || nested {
                let text = format!(
                    "{what} ({}) and {} ({}) lie in one another",
                    show(other),
                    swap.what,
                    show(&swap.live)
                );
                return Err(Error::refused(
                    text,
                    "give each a folder of its own; `deploy` takes a command in place of a folder",
                ));
            }
        }
    }
    Ok(swaps)
}

/// Holds the live folders against drills of other clones and work trees.
///
/// # Errors
/// `Busy` when another drill holds one.
pub(super) fn folders(journal: &Journal, ctx: &Context) -> Result<Vec<Lock>> {
    let lock = |swap: &Swap| lock::folder(&swap.live, "restore-drill", ctx.now);
    journal.swaps.iter().map(lock).collect()
}

/// Command lines as the evidence would have them.
fn dry_run(plan: &Plan, before: &Prepared, redaction: &Redaction, ctx: &Context) -> Exit {
    let name = |step| json!({ "name": redaction.text(&plan.name(step)) });
    let steps: Vec<_> = plan.steps().into_iter().map(name).collect();
    let blockers = redaction.texts(&before.blockers);
    ctx.ui.document(&json!({
        "schema_version": 1, "command": "restore-drill", "status": "ok", "dry_run": true,
        "kind": "full", "result": null, "evidence": null, "rto_seconds": null, "rpo_seconds": null,
        "steps": steps, "coverage": [], "blockers": blockers, "not_tested": redaction.texts(&plan.not_tested()),
    }));
    ctx.ui.result(&redaction.text(&plan.to_string()));
    for blocker in &blockers {
        ctx.ui.say(&format!("in the way: {blocker}"));
    }
    Exit::Done
}

/// Whether somebody has agreed: `--yes`, or the folders' names, typed.
fn agreed(swaps: &[Swap], args: &Args, ctx: &Context) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let names: Vec<String> =
        swaps.iter().map(|swap| show(Path::new(swap.live.file_name().unwrap_or_default()))).collect();
    let names = if names.is_empty() { "yes".to_owned() } else { names.join(" ") };
    let folders: Vec<String> = swaps.iter().map(|swap| show(&swap.live)).collect();
    ctx.ui.say(&format!(
        "a full drill stops the service, moves these folders aside, and restores in their place: {}",
        folders.join(", ")
    ));
    match ctx.ui.ask(&format!("type \"{names}\" to go on: ")) {
        Some(answer) if answer == names => Ok(()),
        Some(_) => Err(Error::refused("that is not what was to be typed: nothing was touched", "")),
        None => Err(Error::refused(
            "a full drill replaces live data, and nobody is there to agree to it",
            "give --yes, or run it at a terminal",
        )),
    }
}

/// What the drill asks of this room.
struct Supplies<'a> {
    config: &'a Config,
    plan: &'a Plan,
    memory: &'a Memory,
    /// As of when the newest backup of each set is.
    newest: BTreeMap<String, Timestamp>,
    /// What no drill on this machine proves, and copies that this one passes over.
    elsewhere: Vec<String>,
    /// The backups that this drill has made, by set.
    made: BTreeMap<String, PathBuf>,
    ctx: &'a Context,
    /// The same, without what must not be told: the backup talks for itself.
    veiled: Context,
}

impl Supply for Supplies<'_> {
    fn back_up(&mut self) -> Result<Fresh> {
        let made = backup::fresh(&self.veiled, self.config, self.memory)?;
        self.made = made.archives;
        Ok(Fresh { detail: made.detail, findings: made.findings })
    }

    fn pick(&mut self) -> Result<(Vec<Option<Picked>>, Vec<Finding>)> {
        let now = gather::prepare_near(self.config.clone(), vec![], vec![], self.ctx.env, self.ctx.now)?;
        if let Some(blocker) = now.blockers.first() {
            return Err(Error::refused(blocker.clone(), ""));
        }
        (self.newest, self.elsewhere) = (now.newest, now.elsewhere);
        // A fresh backup may be dated a second later, where another has its name.
        let mut against = from_the_future(&now.plan, &now.confirmed, self.ctx.now);
        against.retain(|finding| finding.severity == Severity::Error);
        let mut there: Vec<Picked> = now
            .plan
            .artifacts
            .into_iter()
            .zip(now.subjects)
            .filter(|(planned, _)| planned.pick == Pick::Latest)
            .map(|(planned, subject)| Picked { planned, subject })
            .collect();
        let mut of = |target: &Target| {
            let at = there.iter().position(|picked| picked.planned.kind == target.kind)?;
            Some(there.swap_remove(at))
        };
        let picked: Vec<Option<Picked>> = self.plan.targets.iter().map(&mut of).collect();
        for picked in picked.iter().flatten() {
            let (archive, set) = (&picked.subject.source.archive, &picked.planned.kind.set);
            let files = picked.subject.files();
            against.extend(now.findings.iter().filter(|finding| files.contains(&finding.path)).cloned());
            if picked.planned.kind.role == Role::Data
                && let Some(made) = self.made.get(set).filter(|made| made.file_name() != archive.file_name())
            {
                let what = format!("is the newest by its date, and not {}, which was just made", show(made));
                against.push(Finding::error(show(archive), what, "check the clocks: nothing is restored"));
            }
        }
        Ok((picked, against))
    }
}

/// Looked at by spot drills.
fn canaries(config: &Config) -> Vec<String> {
    let watched = config.data.iter().filter(|set| set.proof.canary.is_some());
    watched.map(|set| format!("the canary of {}: a spot drill looks for it", set.name)).collect()
}

fn carry_out(
    mut supply: Supplies<'_>,
    (before, known): (Prepared, Vec<Finding>),
    journal: Journal,
    records: Vec<Stored>,
    frame: &Frame,
) -> Result<Exit> {
    let Supplies { config, plan, memory, ctx, .. } = supply;
    let Seen { environment, redaction } = seen(config, &config.drill.environment, ctx.env, ctx.variables);
    let workspace = ctx.temporary();
    let mut tools = before.tools.clone();
    tools.extend(journal.swaps.iter().any(Swap::is_apart).then_some(Tool::Rsync));
    let watch = Monotonic::start();
    let mut full = Full {
        plan,
        journal,
        memory: memory.root(),
        blockers: &before.blockers,
        tools: &tools,
        rooms: &RealRooms,
        workspace: &workspace,
        commands: Commands {
            environment: &environment,
            redaction: &redaction,
            log: memory.root().join("start.log"),
            tell: &|text| ctx.ui.say(text),
        },
        supply: &mut supply,
        state: State::default(),
    };
    let shown = ctx.ui.progress("restore-drill full", Total::default());
    let mut drilled = full.run(&watch, &known);
    drop(shown);
    let journal = full.journal;
    drilled.findings.splice(0..0, known);
    let finished_at = measured::end(ctx.now, watch.elapsed());
    let sets = config.data.iter().map(|set| &*set.name);
    let ended = Ended {
        drilled,
        // What a disaster would have left: the newest backup from before the drill.
        rpo_seconds: times::rpo_seconds(&before.plan, &before.confirmed, ctx.now),
        rpo_ahead_seconds: times::ahead_seconds(&before.plan, &before.confirmed, ctx.now),
        loss_now_seconds: times::loss_seconds(sets, &supply.newest, finished_at),
        not_tested: [plan.not_tested(), canaries(config), supply.elsewhere].concat(),
        finished_at,
    };
    let closing = Closing { memory, redaction: &redaction, frame };
    let exit = closing.close(&journal, Ok((records, vec![])), ended, ctx)?;
    Ok(if exit == Exit::CouldNotRun && before.try_later { Exit::TryLater } else { exit })
}
