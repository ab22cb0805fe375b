//! `completions`: what a shell has to know of the command line, for the program by its own name. (`cargo xtask` is an alias
//! of cargo's, which completes itself.)
use super::Context;
use crate::cli::{Cli, CompletionsArgs as Args, PROGRAM, Shell};
use crate::error::{Exit, Result};
use clap::{Command, CommandFactory as _};
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
            script.extend(fish_values(&command).into_bytes());
            "fish"
        }
    };
    let script = String::from_utf8_lossy(&script).into_owned();
    ctx.ui.document(&json!({"schema_version": 1, "command": "completions", "status": "ok", "shell": name, "script": script}));
    ctx.ui.result(&script);
    Ok(Exit::Done)
}

/// The words that the arguments of a verb may be: what is generated for fish has those of flags alone.
fn fish_values(command: &Command) -> String {
    let mut lines = String::new();
    for verb in command.get_subcommands() {
        for argument in verb.get_positionals() {
            for word in argument.get_possible_values() {
                let help = word.get_help().map(ToString::to_string).unwrap_or_default().replace('\'', "\\'");
                lines.push_str(&format!(
                    "complete -c {PROGRAM} -n \"__fish_{PROGRAM}_using_subcommand {}\" -f -a \"{}\" -d '{help}'\n",
                    verb.get_name(),
                    word.get_name(),
                ));
            }
        }
    }
    lines
}
