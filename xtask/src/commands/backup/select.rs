//! Which sets a run backs up, from where and where to: the command line's word before the file's.
use super::super::Context;
use crate::cli::BackupArgs as Args;
use crate::config::live::Live;
use crate::config::proof::Proof;
use crate::config::{self, Config, DataSet, Destination};
use crate::destination::remote::Remote;
use crate::error::{Error, Result};
use crate::shown::show;
use crate::source::rules::Databases;
use std::path::PathBuf;

/// The sets of the run with their destinations, the command line's word before the file's.
pub(super) fn select(
    args: &Args,
    ctx: &Context,
    config: &Config,
) -> Result<Vec<(DataSet, Vec<Destination>)>> {
    let source = args.source.as_ref().map(|path| ctx.path(path));
    let mut sets: Vec<DataSet> = Vec::new();
    for name in &args.sets {
        let set = config.set(name).ok_or_else(|| {
            let known: Vec<&str> = config.data.iter().map(|set| set.name.as_str()).collect();
            let known = if known.is_empty() { "none is configured".into() } else { known.join(", ") };
            Error::Usage(format!("no data set is named {name:?}; known: {known}"))
        })?;
        if sets.iter().any(|known| known.name == *name) {
            return Err(Error::Usage(format!("the data set {name:?} is named twice")));
        }
        sets.push(set.clone());
    }
    match source {
        Some(source) if sets.len() == 1 => sets[0].source = source,
        Some(_) if !sets.is_empty() => {
            return Err(Error::Usage("--source goes with one data set, not with several".into()));
        }
        Some(source) => match config.data.iter().find(|set| set.source == source) {
            Some(set) => sets.push(set.clone()),
            None => {
                let set = unnamed(source)?;
                if let Some(known) = config.set(&set.name) {
                    let what = format!(
                        "the data set {:?} has another source, {}: their backups would be mixed up",
                        set.name,
                        show(&known.source)
                    );
                    let next = format!(
                        "name the set if you mean it (`backup {} --source …`), or rename one",
                        set.name
                    );
                    return Err(Error::refused(what, next));
                }
                sets.push(set);
            }
        },
        None if sets.is_empty() => sets.clone_from(&config.data),
        None => {}
    }
    if sets.is_empty() {
        let next = match &config.file {
            Some(file) => format!(
                "name your data and a destination in {}, where it has comments; or give --source and --dest",
                show(file)
            ),
            None => "add [data.NAME] to recovery.toml (`cargo xtask init` writes a file to fill in), or give --source and \
                     --dest"
                .into(),
        };
        return Err(Error::refused("there is nothing to back up: no data set is configured", next));
    }
    sets.into_iter().map(|set| Ok((set.clone(), destinations(args, ctx, config, &set)?))).collect()
}

/// A set named after its folder, without a leading dot.
fn unnamed(source: PathBuf) -> Result<DataSet> {
    let name = source.file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned());
    let name = name.unwrap_or_default();
    config::good_name("the source folder", &name)
        .map_err(|(what, _)| Error::refused(what, "configure it as [data.NAME] in recovery.toml"))?;
    Ok(DataSet {
        name,
        source,
        exclude: Vec::new(),
        destinations: Vec::new(),
        key_files: Vec::new(),
        backup_every: None,
        sqlite: Databases::default(),
        live: Live::default(),
        proof: Proof::default(),
    })
}

fn destinations(args: &Args, ctx: &Context, config: &Config, set: &DataSet) -> Result<Vec<Destination>> {
    let mut destinations: Vec<Destination> = match &args.dest {
        None => config.destinations_of(set)?.into_iter().cloned().collect(),
        Some(path) if Remote::parse(&path.to_string_lossy(), &[]).is_some() => {
            let what = format!("--dest {} names a folder of another machine", show(path));
            return Err(Error::Usage(format!(
                "{what}, which [destination.NAME] in recovery.toml has to describe"
            )));
        }
        Some(path) => {
            let path = ctx.path(path);
            vec![config.destination_at(&path).cloned().unwrap_or_else(|| Destination::plain(path))]
        }
    };
    for destination in &mut destinations {
        destination.compression = args.compression.unwrap_or(destination.compression);
        config::apart(&set.source, destination).map_err(|(what, next)| Error::refused(what, next))?;
    }
    Ok(destinations)
}
