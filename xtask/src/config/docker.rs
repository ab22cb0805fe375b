//! `[docker]`: what the images of a stack are called, and how its services are started. The defaults are those of the
//! shell tool before this one.
use super::raw::{RawDeployment, RawDocker};
use crate::tools::docker::is_tag;
use std::path::PathBuf;

/// `[docker]`.
#[derive(Debug, Clone)]
pub struct Docker {
    /// Whether the file says anything of it.
    pub configured: bool,
    /// The name of the images, without a tag; default `release.name` in small letters.
    pub image: String,
    /// Where saved images lie; default `~/.cache/codex-backups`.
    pub backup_dir: Option<PathBuf>,
    /// The environment `prod`.
    pub prod: Deployment,
    /// The environment `dev`.
    pub dev: Deployment,
}

/// How one environment is deployed.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The tag that its compose file asks for: `NAME:TAG`.
    pub canonical: String,
    /// What is started.
    pub service: String,
    /// At least one.
    pub compose_files: Vec<PathBuf>,
    /// `--project-name` of compose, if it is given one.
    pub project: Option<String>,
    /// `--env-file` of compose, if it is given one.
    pub env_file: Option<PathBuf>,
}

/// What an environment has where the file says nothing.
struct Usual {
    tag: &'static str,
    service: &'static str,
    compose_file: &'static str,
    project: Option<&'static str>,
    env_file: Option<&'static str>,
}

const PROD: Usual = Usual {
    tag: "latest",
    service: "app",
    compose_file: "docker-compose.yml",
    project: None,
    env_file: None,
};
const DEV: Usual = Usual {
    tag: "dev",
    service: "app-dev",
    compose_file: "infra/compose/compose.dev.stack.yml",
    project: Some("codex-dev"),
    env_file: Some(".env.dev"),
};

impl RawDocker {
    pub(super) fn resolve(
        self,
        release: &str,
        at: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Docker, (String, String)> {
        let configured = self != Self::default();
        let image = match self.image {
            Some(image) => image,
            None => named_after(release)?,
        };
        let [prod, dev] = [("prod", self.prod, PROD), ("dev", self.dev, DEV)]
            .map(|(name, raw, default)| raw.resolve(name, &image, &default, at));
        Ok(Docker {
            configured,
            backup_dir: self.backup_dir.as_deref().map(at),
            prod: prod?,
            dev: dev?,
            image,
        })
    }
}

/// The name of the images of a release.
fn named_after(release: &str) -> Result<String, (String, String)> {
    let is_edge = |c: char| !c.is_ascii_alphanumeric();
    let image = release.to_lowercase().trim_matches(is_edge).to_owned();
    if is_tag(&format!("{image}:x")) {
        return Ok(image);
    }
    let what = format!("no image can be called after the name {release:?} of release.name");
    Err((what, "give the release another name, or set `image` of [docker]".into()))
}

impl RawDeployment {
    fn resolve(
        self,
        name: &str,
        image: &str,
        default: &Usual,
        at: &dyn Fn(&str) -> PathBuf,
    ) -> Result<Deployment, (String, String)> {
        // An empty text takes a default away.
        let or = |given: Option<String>, default: Option<&str>| {
            given.or(default.map(str::to_owned)).filter(|text| !text.is_empty())
        };
        let files = self.compose_files.unwrap_or_else(|| vec![default.compose_file.to_owned()]);
        let canonical = format!("{image}:{}", self.tag.as_deref().unwrap_or(default.tag));
        let service = self.service.unwrap_or_else(|| default.service.to_owned());
        if files.is_empty() {
            return Err((
                format!("docker.{name}.compose-files is empty"),
                "name one, or leave it out".into(),
            ));
        }
        if service.is_empty() || service.starts_with('-') {
            return Err((
                format!("docker.{name}.service is {service:?}"),
                "name a service of the compose file".into(),
            ));
        }
        if !is_tag(&canonical) {
            let what = format!("{canonical:?} of docker.{name} is not a name that docker takes");
            return Err((what, "set `image` of [docker], in small letters, and `tag`".into()));
        }
        Ok(Deployment {
            canonical,
            service,
            compose_files: files.iter().map(|file| at(file)).collect(),
            project: or(self.project, default.project),
            env_file: or(self.env_file, default.env_file).as_deref().map(at),
        })
    }
}
