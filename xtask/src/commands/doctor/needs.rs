//! The tools that `doctor` looks for: whether each is there that what is configured asks for, and whether there is anybody
//! behind those that only ask others.
use super::{Doctor, State};
use crate::config::Config;
use crate::config::live::Consistency;
use crate::destination::releases::Bundle;
use crate::drill::demands::Published;
use crate::error::{Error, Result};
use crate::tools::{self, Tool, docker, gh};
use std::collections::BTreeSet;

impl Doctor<'_> {
    pub(super) fn tools(&mut self, needs: &[(Tool, &str)]) {
        for tool in Tool::ALL {
            let what: BTreeSet<&str> =
                needs.iter().filter(|(one, _)| *one == tool).map(|(_, what)| *what).collect();
            let (name, what) = (tool.command(), what.into_iter().collect::<Vec<_>>().join(", "));
            match (tools::version(tool), what.is_empty()) {
                (Ok(version), true) => self.add("tool", name, State::Unneeded, short(&version)),
                (Ok(version), false) => {
                    self.add("tool", name, State::Ok, format!("{}, for {what}", short(&version)));
                }
                (Err(Error::MissingTools { .. }), true) => {
                    self.add("tool", name, State::Unneeded, "not installed");
                }
                (Err(error), true) => self.add("tool", name, State::Unneeded, error.chain()),
                (Err(error), false) => {
                    let seen = format!("{}; it is needed for {what}", error.chain());
                    self.wrong("tool", name, State::Failed, &seen, &error.next_step().unwrap_or_default());
                }
            }
        }
    }

    /// The daemon of docker, and a login at each of these forges, asked for as `rollback` and drills do.
    pub(super) fn answers(&mut self, needs: &[(Tool, &str)], forges: &BTreeSet<String>) {
        if needs.iter().any(|(tool, _)| *tool == Tool::Docker) {
            self.answered(Tool::Docker, docker::reachable());
        }
        for forge in forges {
            self.answered(Tool::Gh, gh::logged_in(forge));
        }
    }

    fn answered(&mut self, tool: Tool, answer: Result<()>) {
        if let Err(error) = answer {
            self.rather("tool", tool.command(), State::Failed, error.chain(), error.next_step());
        }
    }
}

/// The tools that what is configured asks for, each with what for.
pub(super) fn needs(config: &Config, databases: bool) -> Vec<(Tool, &'static str)> {
    let places = || config.destinations.iter();
    let remotes = || places().filter_map(|place| place.place.remote.as_ref());
    let staged = config.data.iter().any(|set| set.live.consistency == Consistency::Staged);
    let all = [
        (Tool::Git, "every bundle", true),
        (Tool::Mountpoint, "`mount`", places().any(|place| place.place.mount.is_some())),
        (Tool::Gpg, "encryption", places().any(|place| place.encryption.is_some())),
        (Tool::Gpg, "signed evidence", config.drill.sign_with.is_some()),
        (Tool::Sqlite3, "databases", databases),
        (Tool::Rsync, "other machines", remotes().any(|far| far.tools().contains(&Tool::Rsync))),
        (Tool::Rsync, "`consistency`", staged),
        (Tool::Rsync, "`include`", !config.release.include.is_empty()),
        (Tool::Rsync, "`aside-dir`", config.drill.aside_dir.is_some()),
        (Tool::Ssh, "other machines", remotes().any(|far| far.tools().contains(&Tool::Ssh))),
        (Tool::Curl, "`ping-url-file`", config.notify.ping_url_file.is_some()),
        (Tool::Docker, "`rollback`", config.docker.configured),
    ];
    all.into_iter().filter(|(_, _, needed)| *needed).map(|(tool, what, _)| (tool, what)).collect()
}

/// Those that a bundle asks for: it was published, or names an image.
pub(super) fn needs_of(bundle: &Bundle) -> Vec<(Tool, &'static str)> {
    let all = [
        (Tool::Gh, "what is published", forge_of(bundle).is_some()),
        (Tool::Docker, "images of bundles", bundle.lock.docker_tag.is_some()),
    ];
    all.into_iter().filter(|(_, _, needed)| *needed).map(|(tool, what, _)| (tool, what)).collect()
}

/// The host of the forge that it was published at.
pub(super) fn forge_of(bundle: &Bundle) -> Option<String> {
    let published = Published::at(bundle.lock.release_url.as_deref()?)?;
    Some(published.repository.split('/').next()?.to_owned())
}

/// Of a line of versions of all kinds of things, what stands before the first parenthesis, or where that says no version
/// (`gpg (GnuPG) 2.2.40`) behind it as well; 60 characters at the most.
fn short(version: &str) -> String {
    let (first, rest) = version.split_once(" (").unwrap_or((version, ""));
    let behind = rest.split_once(')').map_or("", |(_, behind)| behind);
    let first = if first.contains(char::is_numeric) { first.to_owned() } else { format!("{first}{behind}") };
    first.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect()
}
