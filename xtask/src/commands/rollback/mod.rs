//! `rollback`: an image that was snapshotted before gets its environment's canonical tag back, and the service is started
//! on it, without a build.
//!
//! gather (images, from locks of every generation) → check (docker, compose files) → plan, for all environments before
//! anything is changed → execute, one environment behind the other → record. An environment that fails ends the run.
mod find;
mod plan;
mod saved;

use super::Context;
use crate::cli::{Environments, RollbackArgs as Args};
use crate::config::{Config, Deployment, keys};
use crate::destination::lock;
use crate::destination::memory::Memory;
use crate::drill::full::journal;
use crate::error::{Error, Exit, Result};
use crate::finding::{self, Finding};
use crate::interrupt::interrupted;
use crate::tools::docker::{self, Compose, Image};
use find::{Found, wanted};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use plan::{Done, Plan};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Runs the verb.
///
/// # Errors
/// When docker, an image or a compose file is missing: nothing was changed then.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let config = super::configuration(ctx)?;
    if args.tag.is_some() && args.env == Environments::Both {
        let what = "--tag names one image: say with --env whether it is the one of prod or of dev";
        return Err(Error::Usage(what.into()));
    }
    if let Some(tag) = args.tag.as_ref().filter(|tag| !docker::is_tag(tag)) {
        return Err(Error::Usage(format!("--tag {tag:?} is not NAME:TAG as docker takes it")));
    }
    let memory = super::memory(&config);
    docker::reachable()?;
    let _held = match &memory {
        Some(memory) if !args.dry_run => {
            memory.open()?;
            Some(lock::repository(memory.root(), "rollback", ctx.now)?)
        }
        _ => None,
    };
    // The service that is to be started may stand on data that a drill has put in place.
    memory.as_ref().map_or(Ok(()), |memory| journal::refuse_beside(memory.root(), args.dry_run))?;
    let mut findings = Vec::new();
    let plans = environments(args.env)
        .iter()
        .map(|env| plan(args, ctx, &config, env, &mut findings))
        .collect::<Result<Vec<Plan>>>()?;
    if args.dry_run {
        let planned = || Done { status: "planned", ..Done::default() };
        let done: Vec<Done> = plans.iter().map(|_| planned()).collect();
        report(args, ctx, &plans, &done, &findings);
        return Ok(finding::exit(&findings));
    }
    let mut done = Vec::new();
    for plan in &plans {
        let failed = done.iter().any(|done: &Done| done.status != "done");
        if failed || interrupted() {
            done.push(Done { status: "not_begun", ..Done::default() });
            continue;
        }
        for step in plan.steps() {
            ctx.ui.say(&step);
        }
        let outcome = plan.execute();
        findings.extend(outcome.finding.clone());
        findings.extend(record(memory.as_ref(), plan, &outcome, ctx));
        done.push(outcome);
    }
    report(args, ctx, &plans, &done, &findings);
    let error = done.iter().find_map(|done| done.error.as_ref());
    Ok(match error {
        Some(error) => error.exit(),
        None if done.iter().any(|done| done.status == "not_begun") => Exit::CouldNotRun,
        None => finding::exit(&findings),
    })
}

fn environments(env: Environments) -> &'static [&'static str] {
    match env {
        Environments::Prod => &["prod"],
        Environments::Dev => &["dev"],
        Environments::Both => &["prod", "dev"],
    }
}

/// What one environment calls for; docker is asked, and nothing is changed.
fn plan(
    args: &Args,
    ctx: &Context,
    config: &Config,
    env: &'static str,
    findings: &mut Vec<Finding>,
) -> Result<Plan> {
    let (deployment, file) = match env {
        "prod" => (&config.docker.prod, &args.prod_compose),
        _ => (&config.docker.dev, &args.dev_compose),
    };
    let compose = compose(config, deployment, file.as_ref().map(|file| ctx.path(file)));
    compose.check()?;
    let from_lock = args.from_lock.as_ref().map(|path| ctx.path(path));
    let wanted = wanted(args, config, env, &backup_dir(args, ctx, config), from_lock.as_deref(), findings)?;
    let found = wanted.find()?;
    let canonical = args.tag.clone().unwrap_or_else(|| deployment.canonical.clone());
    let before = docker::inspect(&canonical)?;
    let same = matches!((&found, &before), (Found::Here(image), Some(before)) if image.id == before.id);
    let kept = match &before {
        Some(before) if !same => Some(kept(&canonical, before, ctx.now)?),
        _ => None,
    };
    let moves = match &found {
        Found::Saved(file) => saved::moves(file, findings)?,
        Found::Here(_) => Vec::new(),
    };
    Ok(Plan { env, wanted, found, moves, canonical, before, kept, compose })
}

/// A name for what the canonical tag names now: its own with the time of the run. No other image has it.
fn kept(canonical: &str, before: &Image, mut now: Timestamp) -> Result<String> {
    loop {
        let time = Offset::UTC.to_datetime(now).strftime("%Y%m%d-%H%M%SZ");
        let name = format!("{canonical}-before-{time}");
        match docker::inspect(&name)? {
            Some(other) if other.id != before.id => {
                now = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now)
            }
            _ => return Ok(name),
        }
    }
}

/// How the environment's service is started. The passphrases of backups are not for compose files.
fn compose(config: &Config, deployment: &Deployment, file: Option<PathBuf>) -> Compose {
    Compose {
        folder: config.root.clone(),
        project: deployment.project.clone(),
        env_file: deployment.env_file.clone(),
        files: file.map_or_else(|| deployment.compose_files.clone(), |file| vec![file]),
        service: deployment.service.clone(),
        hidden: keys::variables(config).into_iter().map(str::to_owned).collect(),
    }
}

/// Where images were saved.
fn backup_dir(args: &Args, ctx: &Context, config: &Config) -> PathBuf {
    let usual = || PathBuf::from((ctx.env)("HOME").unwrap_or_default()).join(".cache/codex-backups");
    let given = args.backup_dir.as_ref().map(|dir| ctx.path(dir));
    given.or_else(|| config.docker.backup_dir.clone()).unwrap_or_else(usual)
}

/// Takes note of what was done; a warning where that cannot be.
fn record(memory: Option<&Memory>, plan: &Plan, done: &Done, ctx: &Context) -> Option<Finding> {
    let line = json!({"kind": "rollback", "time": ctx.now.to_string(), "env": plan.env, "status": done.status,
        "image_id": done.image_id, "tag": plan.canonical, "previous_image_id": plan.before.as_ref().map(|image| &image.id),
        "kept_as": plan.kept});
    let error = memory?.record(&line).err()?;
    let what = format!("could not take note of the rollback: {}", error.chain());
    Some(Finding::warning(plan.env, what, ""))
}

fn report(args: &Args, ctx: &Context, plans: &[Plan], done: &[Done], findings: &[Finding]) {
    let environments: Vec<Value> = plans.iter().zip(done).map(|(plan, done)| plan.json(done)).collect();
    let status = match (finding::any_error(findings), args.dry_run) {
        (true, _) => "findings",
        (false, true) => "planned",
        (false, false) => "ok",
    };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "rollback", "status": status, "dry_run": args.dry_run,
        "environments": environments, "findings": findings}),
    );
    for (plan, done) in plans.iter().zip(done) {
        match done.status {
            "planned" => plan.steps().iter().for_each(|step| ctx.ui.result(step)),
            "done" => {
                let (env, tag) = (plan.env, &plan.canonical);
                let image = done.image_id.as_deref().unwrap_or("-");
                ctx.ui.result(&format!("{env}: {} runs on {tag}, which names {image}", plan.compose.service));
                if let Some(kept) = &plan.kept {
                    let undo = format!("cargo xtask rollback --env {env} --image-id {kept}");
                    ctx.ui.result(&format!(
                        "{env}: what it named before is kept as {kept}; back again: {undo}"
                    ));
                }
            }
            "not_begun" => ctx.ui.result(&format!("{}: not begun", plan.env)),
            _ => {}
        }
    }
    ctx.ui.findings(findings);
}
