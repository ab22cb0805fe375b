//! docker: images, their tags, and `docker compose up`.
//!
//! What it changes is names: a tag is given to an image, or taken away, never by force. docker sees its own variables and no
//! others of ours. `docker compose` alone sees the whole environment, because compose files take values from it, without
//! the variables that it is told to hide: those of passphrases.
use super::process::{self, expression};
use super::{DEADLINE, OnInterrupt, Tool, failed, finish, finish_for, preflight, shell_in};
use crate::error::{Error, Result};
use crate::words::words;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use xshell::cmd;

/// What docker needs of our environment, beside what every tool sees.
const OWN: [&str; 7] = [
    "DOCKER_API_VERSION",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
];
/// How long a daemon may take to say its version.
const PROBE: Duration = Duration::from_secs(30);
/// What docker says when its daemon has looked, and there is no such image.
const NOT_THERE: &str = "no such image";

/// What docker says of a plugin that it does not have, by version.
const NO_COMPOSE: [&str; 2] = ["unknown command", "is not a docker command"];

/// An image as `docker image inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// `sha256:` and 64 digits: of its configuration, or with containerd's image store of its manifest.
    #[serde(rename = "Id")]
    pub id: String,
    /// Its names.
    #[serde(rename = "RepoTags", default, deserialize_with = "null_is_none")]
    pub tags: Vec<String>,
    /// `NAME@sha256:…` for each registry that it came from or went to.
    #[serde(rename = "RepoDigests", default, deserialize_with = "null_is_none")]
    pub digests: Vec<String>,
}

/// Docker writes null for an empty list.
fn null_is_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Whether docker is there and its daemon answers.
///
/// # Errors
/// [`Error::MissingTools`] without docker; [`Error::Tool`] when its daemon cannot be reached.
pub fn reachable() -> Result<()> {
    preflight(&[Tool::Docker])?;
    let text = "docker version";
    let next = "start the daemon (`systemctl start docker`), or let this user reach it: `docker version` has to work";
    let ended = finish(quiet(&["version", "--format", "{{.Server.Version}}"])?, text, PROBE)?;
    let error = match ended {
        Some(output) if output.status.success() => return Ok(()),
        Some(output) => failure(text, &output),
        None => failed(text, &format!("no answer in {} s", PROBE.as_secs()), ""),
    };
    Err(with_next(error, next))
}

/// The image of this id or name; `None` where docker has none.
///
/// # Errors
/// When docker fails, or prints something else.
pub fn inspect(reference: &str) -> Result<Option<Image>> {
    let text = format!("docker image inspect {reference}");
    let output = ended(&["image", "inspect", reference], &text, OnInterrupt::End)?;
    if output.status.success() {
        let images: Vec<Image> = serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(&text, "printed no image", &error.to_string()))?;
        return match <[Image; 1]>::try_from(images) {
            Ok([image]) => Ok(Some(image)),
            Err(_) => Err(failed(&text, "did not print one image", "")),
        };
    }
    match String::from_utf8_lossy(&output.stderr).to_lowercase().contains(NOT_THERE) {
        true => Ok(None),
        false => Err(failure(&text, &output)),
    }
}

/// Gives an image another name; one that had it loses it.
///
/// # Errors
/// When docker fails.
pub fn tag(image: &str, name: &str, on_interrupt: OnInterrupt) -> Result<()> {
    let text = format!("docker image tag {image} {name}");
    done(&text, &ended(&["image", "tag", image, name], &text, on_interrupt)?)
}

/// Takes a name away, and with its last name the image. Docker refuses where a container uses the image.
///
/// # Errors
/// When docker fails or refuses.
pub fn remove(name: &str) -> Result<()> {
    let text = format!("docker image rm {name}");
    done(&text, &ended(&["image", "rm", name], &text, OnInterrupt::End)?)
}

/// Loads the images of a tar that `docker image save` has written; returns what docker says that it has loaded, names or
/// ids. Names in it move to its images.
///
/// # Errors
/// When docker fails.
pub fn load(tar: &Path) -> Result<Vec<String>> {
    let file = tar.display().to_string();
    let text = format!("docker image load --input {file}");
    let output = ended(&["image", "load", "--quiet", "--input", &file], &text, OnInterrupt::End)?;
    done(&text, &output)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let loaded = said
        .lines()
        .filter_map(|line| line.strip_prefix("Loaded image: ").or(line.strip_prefix("Loaded image ID: ")));
    Ok(loaded.map(|name| name.trim().to_owned()).collect())
}

/// A service of a compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compose {
    /// Where it runs.
    pub folder: PathBuf,
    /// `--project-name`.
    pub project: Option<String>,
    /// `--env-file`.
    pub env_file: Option<PathBuf>,
    /// At least one.
    pub files: Vec<PathBuf>,
    /// What is started.
    pub service: String,
    /// Variables that it does not see.
    pub hidden: Vec<String>,
}

impl Compose {
    fn args(&self, command: &[&str]) -> Vec<String> {
        let mut args = vec!["compose".to_owned()];
        for (flag, value) in
            [("-p", self.project.clone()), ("--env-file", self.env_file.as_deref().map(shown))]
        {
            args.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        args.extend(self.files.iter().flat_map(|file| ["-f".to_owned(), shown(file)]));
        args.extend(command.iter().map(|word| (*word).to_owned()));
        args
    }

    /// The arguments that start the service.
    fn up_args(&self) -> Vec<String> {
        self.args(&["up", "-d", "--no-build", &self.service])
    }

    /// The command line that starts the service, for people.
    pub fn line(&self) -> String {
        format!("docker {}", words(self.up_args()))
    }

    /// Whether compose is there, and understands the files.
    ///
    /// # Errors
    /// [`Error::MissingTools`] without the plugin; [`Error::Tool`] when it does not.
    pub fn check(&self) -> Result<()> {
        let text = "docker compose version";
        let output = ended(&["compose", "version"], text, OnInterrupt::End)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && NO_COMPOSE.iter().any(|words| said.contains(words)) {
            let next = "install docker's compose plugin: `apt-get install docker-compose-plugin` from docker's own \
                        packages, or `docker-compose` from Debian's";
            return Err(Error::MissingTools { tools: vec!["docker compose".into()], next: next.into() });
        }
        done(text, &output)?;
        let text = "docker compose config";
        let next = "mend what it names, or name the other environment with --env; nothing was changed";
        let output = self.run(&self.args(&["config", "--quiet"]), text)?;
        done(text, &output).map_err(|error| with_next(error, next))
    }

    /// Starts the service on the images that are there.
    ///
    /// # Errors
    /// When docker fails, or this run is interrupted.
    pub fn up(&self) -> Result<()> {
        let text = self.line();
        done(&text, &self.run(&self.up_args(), &text)?)
    }

    fn run(&self, args: &[String], text: &str) -> Result<Output> {
        let shell = shell_in(&self.folder)?;
        for (name, value) in process::all_but(&self.hidden) {
            shell.set_var(name, value);
        }
        let call = expression(cmd!(shell, "docker {args...}")).stdin_null();
        finish(call, text, DEADLINE)?.ok_or_else(|| late(text))
    }
}

fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// A call with nothing to read.
fn quiet(args: &[&str]) -> Result<duct::Expression> {
    let shell = shell_in(Path::new("/"))?;
    for (name, value) in process::besides(&OWN) {
        shell.set_var(name, value);
    }
    Ok(expression(cmd!(shell, "docker {args...}")).stdin_null())
}

fn ended(args: &[&str], text: &str, on_interrupt: OnInterrupt) -> Result<Output> {
    finish_for(quiet(args)?, text, DEADLINE, on_interrupt)?.ok_or_else(|| late(text))
}

fn late(text: &str) -> Error {
    failed(text, &format!("no answer in {} s", DEADLINE.as_secs()), "")
}

fn done(text: &str, output: &Output) -> Result<()> {
    if output.status.success() { Ok(()) } else { Err(failure(text, output)) }
}

fn failure(text: &str, output: &Output) -> Error {
    failed(text, &output.status.to_string(), &String::from_utf8_lossy(&output.stderr))
}

fn with_next(error: Error, next: &str) -> Error {
    match error {
        Error::Tool { tool, status, stderr, .. } => Error::Tool { tool, status, stderr, next: next.into() },
        error => error,
    }
}

/// Whether docker takes this for the name of an image, with or without a tag or digest, or for an id. What begins with a
/// dash would be an option. (The grammar of distribution's `reference` package, without its lengths.)
pub fn is_reference(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good)
}

/// Whether docker takes this for `NAME:TAG`: a name in small letters, and a tag of at most 128 characters.
pub fn is_tag(text: &str) -> bool {
    let Some((name, tag)) = text.rsplit_once(':') else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good_tag =
        tag.len() <= 128 && tag.chars().all(word) && !tag.starts_with(['.', '-']) && !tag.is_empty();
    // A registry in front may have a port.
    let name_is_good =
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c));
    let edges = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    good_tag && name_is_good && name.split('/').all(edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_as_docker_shows_it() {
        let text = r#"[{"Id": "sha256:00", "RepoTags": ["a:b"], "RepoDigests": null, "Size": 1}]"#;
        let images: Vec<Image> = serde_json::from_str(text).expect("reads");
        assert_eq!(images, [Image { id: "sha256:00".into(), tags: vec!["a:b".into()], digests: vec![] }]);
    }

    #[test]
    fn what_docker_would_not_take_for_a_name_is_none() {
        for good in ["acme-api:prod-20260301-083000Z", "ghcr.io/acme/api:latest", "localhost:5000/a:b"] {
            assert!(is_tag(good) && is_reference(good), "{good}");
        }
        let long = format!("a:{}", "b".repeat(129));
        for bad in ["acme", "Acme:x", "a:", "a:.b", "a:b c", "-a:b", "a/:b", ":b", "a-:b", &long] {
            assert!(!is_tag(bad), "{bad}");
        }
        assert!(!is_reference("--force") && !is_reference("") && is_reference("sha256:00"));
    }

    #[test]
    fn a_service_is_started_as_the_page_says() {
        let compose = Compose {
            folder: "/srv".into(),
            project: Some("codex-dev".into()),
            env_file: Some("/srv/.env.dev".into()),
            files: vec!["/srv/a b.yml".into()],
            service: "app-dev".into(),
            hidden: vec![],
        };
        let line =
            "docker compose -p codex-dev --env-file /srv/.env.dev -f '/srv/a b.yml' up -d --no-build app-dev";
        assert_eq!(compose.line(), line);
    }
}
