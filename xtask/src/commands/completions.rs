//! `completions`: what a shell has to know of the command line, for the program by its own name. (`cargo xtask` is an alias
//! of cargo's, which completes itself.)
use super::Context;
use crate::cli::{Cli, CompletionsArgs as Args, PROGRAM, Shell};
use crate::error::{Exit, Result};
use clap::CommandFactory as _;
use clap_complete::{generate, shells};
use serde_json::json;

/// Runs the verb.
///
/// # Errors
/// None.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let (mut command, mut script) = (Cli::command().bin_name(PROGRAM), Vec::new());
    let name = match args.shell {
        Shell::Bash => {
            generate(shells::Bash, &mut command, PROGRAM, &mut script);
            "bash"
        }
        Shell::Zsh => {
            generate(shells::Zsh, &mut command, PROGRAM, &mut script);
            "zsh"
        }
        Shell::Fish => {
            generate(shells::Fish, &mut command, PROGRAM, &mut script);
            "fish"
        }
    };
    let script = String::from_utf8_lossy(&script).into_owned();
    ctx.ui.document(&json!({"schema_version": 1, "command": "completions", "status": "ok", "shell": name, "script": script}));
    ctx.ui.result(&script);
    Ok(Exit::Done)
}
