//! What a rollback does in one environment: a value, which a dry run prints and the run executes step by step.
//!
//! The order: what the canonical tag names now gets a name of its own; the image is loaded where docker does not have it;
//! it gets the canonical tag; the service is started. What fails behind the first step puts the canonical tag back.
use super::find::{Found, Wanted};
use super::saved::Move;
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::shown::show;
use crate::tools::OnInterrupt;
use crate::tools::docker::{self, Compose, Image};
use serde_json::{Value, json};
use std::path::Path;

/// A rollback of one environment.
#[derive(Debug)]
pub(super) struct Plan {
    pub env: &'static str,
    pub wanted: Wanted,
    pub found: Found,
    /// The names that loading it moves.
    pub moves: Vec<Move>,
    /// The tag that the compose file asks for.
    pub canonical: String,
    /// The image that has it now.
    pub before: Option<Image>,
    /// The name that this image is kept under; none where it is the wanted one.
    pub kept: Option<String>,
    pub compose: Compose,
}

/// A name out of a file, which may hold anything.
fn shown(name: &str) -> String {
    show(Path::new(name))
}

/// How far it came.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// `planned`, `done`, `failed`, `not_begun`.
    pub status: &'static str,
    pub image_id: Option<String>,
    pub finding: Option<Finding>,
    pub error: Option<Error>,
}

impl Plan {
    /// The image, where it is known before it is loaded.
    pub(super) fn image_id(&self) -> Option<String> {
        match &self.found {
            Found::Here(image) => Some(image.id.clone()),
            Found::Saved(_) => self.wanted.id.clone(),
        }
    }

    /// Its steps, in words.
    pub(super) fn steps(&self) -> Vec<String> {
        let (mut steps, env) = (Vec::new(), self.env);
        let image = self.image_id().unwrap_or_else(|| self.wanted.words());
        steps.push(format!("{env}: the image is {image}, which {} names", self.wanted.by));
        if let (Some(kept), Some(before)) = (&self.kept, &self.before) {
            steps.push(format!("{env}: docker image tag {} {kept}", before.id));
        }
        if let Found::Saved(file) = &self.found {
            steps.push(format!("{env}: docker image load --input {}", show(file)));
            steps.extend(self.moves.iter().map(|one| match &one.from {
                Some(from) => format!("{env}: loading it moves {} away from {from}", shown(&one.name)),
                None => format!("{env}: loading it gives the name {}", shown(&one.name)),
            }));
        }
        match &self.before {
            Some(before) if self.kept.is_none() => {
                steps.push(format!("{env}: {} names it already ({})", self.canonical, before.id));
            }
            _ => steps.push(format!("{env}: docker image tag {image} {}", self.canonical)),
        }
        steps.push(format!("{env}: {}", self.compose.line()));
        steps
    }

    /// The whole of it for programs.
    pub(super) fn json(&self, done: &Done) -> Value {
        let loads = match &self.found {
            Found::Saved(file) => Some(show(file)),
            Found::Here(_) => None,
        };
        let moves: Vec<Value> = self
            .moves
            .iter()
            .map(|one| json!({"name": shown(&one.name), "previous_image_id": one.from}))
            .collect();
        json!({"env": self.env, "status": done.status, "image_id": done.image_id.clone().or(self.image_id()),
            "tag": self.canonical, "named_by": self.wanted.by, "loaded_from": loads, "moves": moves,
            "previous_image_id": self.before.as_ref().map(|image| &image.id), "kept_as": self.kept,
            "command": self.compose.line()})
    }

    /// Does it.
    pub(super) fn execute(&self) -> Done {
        let mut image_id = None;
        let switched = self.switch(&mut image_id);
        let service = match &switched {
            Ok(()) => "may be stopped, or run on either image",
            Err(_) => "was not touched",
        };
        match switched.and_then(|()| self.compose.up()) {
            Ok(()) => Done { status: "done", image_id, ..Done::default() },
            Err(error) => {
                let finding = self.failed(&error, service);
                Done { status: "failed", image_id, finding: Some(finding), error: Some(error) }
            }
        }
    }

    /// Gives the canonical tag to the image.
    fn switch(&self, image_id: &mut Option<String>) -> Result<()> {
        if let (Some(kept), Some(before)) = (&self.kept, &self.before) {
            docker::tag(&before.id, kept, OnInterrupt::End)?;
        }
        let image = match &self.found {
            Found::Here(image) => image.clone(),
            Found::Saved(file) => {
                let loaded = docker::load(file)?;
                self.wanted.here()?.ok_or_else(|| {
                    let what = format!(
                        "{} holds {}, and not {}",
                        show(file),
                        if loaded.is_empty() { "no image".into() } else { loaded.join(", ") },
                        self.wanted.words()
                    );
                    Error::refused(what, "give the file that holds it its place, or give --image-id")
                })?
            }
        };
        *image_id = Some(image.id.clone());
        if self.before.as_ref().is_none_or(|before| before.id != image.id) {
            docker::tag(&image.id, &self.canonical, OnInterrupt::End)?;
        }
        let named = docker::inspect(&self.canonical)?.map(|image| image.id);
        match named {
            Some(id) if id == image.id => Ok(()),
            named => {
                let names = named.unwrap_or_else(|| "nothing".into());
                let what =
                    format!("docker was told that {} names {}, and says {names}", self.canonical, image.id);
                Err(Error::refused(what, "see who else names images on this machine"))
            }
        }
    }

    /// Puts the canonical tag back, and says what state that leaves.
    fn failed(&self, error: &Error, service: &str) -> Finding {
        let tag = &self.canonical;
        let named = match (&self.before, &self.kept) {
            (Some(before), Some(kept)) => match docker::tag(&before.id, tag, OnInterrupt::GoOn) {
                Ok(()) => format!("{tag} names the image from before again ({})", before.id),
                Err(back) => format!(
                    "{tag} could not be put back ({}): by hand, docker image tag {kept} {tag}",
                    back.chain()
                ),
            },
            (Some(_), None) => format!("{tag} names what it named before"),
            (None, _) => format!("{tag} was no name before, and may be one now"),
        };
        let what = format!(
            "is not rolled back: {}. {named}. The service {} {service}",
            error.chain(),
            self.compose.service
        );
        let next = error.next_step().map_or(String::new(), |next| format!("{next}; then "));
        Finding::error(
            self.env,
            what,
            format!("{next}run it again, or start what {tag} names: {}", self.compose.line()),
        )
    }
}
