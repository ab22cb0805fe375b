//! `man`: the command line as man pages, `xtask.1` and one for each verb.
use super::Context;
use crate::cli::{Cli, ManArgs as Args, PROGRAM};
use crate::destination::durable::replace;
use crate::error::{Error, Exit, Result};
use crate::shown::show;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use serde_json::json;

/// Runs the verb.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let to = ctx.path(&args.to);
    std::fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
    let mut all = Cli::command().name(PROGRAM).bin_name(PROGRAM).disable_help_subcommand(true);
    all.build();
    let mut files = Vec::new();
    for command in std::iter::once(&all).chain(all.get_subcommands()) {
        let name = match command.get_name() {
            PROGRAM => PROGRAM.to_owned(),
            verb => format!("{PROGRAM}-{verb}"),
        };
        let (file, mut page) = (to.join(format!("{name}.1")), Vec::new());
        let shown = command.clone().name(name.clone()).version(env!("CARGO_PKG_VERSION"));
        let (shown, sections) = (shown.after_help(None::<&str>), sections(command));
        Man::new(shown).render(&mut page).map_err(Error::io("render", &file))?;
        page.extend(sections.into_bytes());
        replace(&file, &page, 0o644)?;
        files.push(show(&file));
    }
    ctx.ui.document(&json!({"schema_version": 1, "command": "man", "status": "ok", "files": files}));
    files.iter().for_each(|file| ctx.ui.result(file));
    Ok(Exit::Done)
}

/// What stands behind the help of a command, each part as a section of its own, line by line as it is written there.
fn sections(command: &Command) -> String {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = String::new();
    for part in text.split("\n\n").filter_map(|part| part.split_once(":\n")) {
        let (title, lines) = part;
        let lines = lines.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        page.push_str(&format!(".SH {}\n.nf\n{lines}\n.fi\n", title.to_uppercase()));
    }
    page
}
