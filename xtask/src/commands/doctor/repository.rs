//! What `doctor` looks at in the repository: its commit, how the bundle of it would be called, and what lies in the working
//! tree that is not for commits.
use super::{Doctor, State};
use crate::commands::snapshot;
use crate::config::Config;
use crate::finding::{self, Severity};
use crate::shown::show;
use crate::tools::git::{Repository, Tracked};
use crate::words::word;
use std::path::Path;

impl Doctor<'_> {
    pub(super) fn repository(&mut self) -> Option<Repository> {
        let repository = match Repository::discover(&self.ctx.start) {
            Ok(Some(repository)) => repository,
            Ok(None) => {
                let seen =
                    format!("{} is in no git repository: there is nothing to bundle", show(&self.ctx.start));
                self.wrong("repository", "git", State::Failed, &seen, "`git init`, or name one with -C");
                return None;
            }
            Err(error) => {
                self.error("repository", "git", &error);
                return None;
            }
        };
        match repository.blobs().and_then(|mut blobs| repository.resolve("HEAD", &mut blobs)) {
            Ok(commit) => {
                let seen = format!("{}, at commit {:.12}", show(repository.root()), commit.sha);
                self.add("repository", "git", State::Ok, seen);
            }
            Err(error) => self.error("repository", "git", &error),
        }
        Some(repository)
    }

    /// Data and bundles in the working tree are for `.gitignore`: the next `git add` would take them into a commit.
    pub(super) fn kept_out_of(
        &mut self,
        repository: &Repository,
        part: &'static str,
        name: &str,
        folder: &Path,
    ) {
        let Ok(folder) = folder.canonicalize() else { return };
        let Ok(below) = folder.strip_prefix(repository.root()) else { return };
        if repository.would_add(&folder).unwrap_or(false) {
            let seen =
                format!("git does not ignore {}: the next `git add` takes it into a commit", show(&folder));
            if below.as_os_str().is_empty() {
                let next = "make a folder of its own for the data, and ignore that";
                return self.wrong(part, &format!("{name}: commits"), State::Warning, &seen, next);
            }
            // As a pattern of gitignore(5).
            let mut line = format!("/{}/", show(below));
            for special in ['\\', '[', '*', '?'] {
                line = line.replace(special, &format!("\\{special}"));
            }
            let next = format!("add {line} to {}", show(&repository.root().join(".gitignore")));
            self.wrong(part, &format!("{name}: commits"), State::Warning, &seen, &next);
        }
    }

    /// Data that is in commits already is in every bundle, and changes with each checkout. Some of it may be there on purpose;
    /// of bundles and backups nothing is.
    pub(super) fn tracked(&mut self, repository: &Repository, part: &'static str, name: &str, folder: &Path) {
        let Ok(folder) = folder.canonicalize() else { return };
        if !folder.starts_with(repository.root()) {
            return;
        }
        let shown = show(&folder);
        let seen = match (repository.tracked(&folder).unwrap_or(Tracked::Nothing), part) {
            (Tracked::All, "data") => {
                format!(
                    "git tracks all of {shown}: it is in commits, and in each bundle that does not exclude it"
                )
            }
            (Tracked::Part | Tracked::All, "folder" | "destination") => {
                format!(
                    "git tracks files of {shown}: they are in commits, and in each bundle that does not exclude them"
                )
            }
            _ => return,
        };
        let next = format!("`git rm -r --cached {}` takes it out of the next commit", word(&shown));
        self.wrong(part, &format!("{name}: commits"), State::Warning, &seen, &next);
    }

    /// What a bundle of the working tree's commit would be called, and what refuses it.
    pub(super) fn release(&mut self, repository: &Repository, config: &Config) {
        // That there is no commit was told with the repository.
        if self.checks.iter().any(|check| check.part == "repository" && check.state == State::Failed) {
            return;
        }
        let name = &config.release.name;
        match snapshot::foreseen(config, repository.clone(), self.ctx) {
            Ok((version, findings)) => {
                let refused = finding::any_error(&findings);
                for one in findings.iter().filter(|one| one.severity == Severity::Error) {
                    self.wrong("release", &one.path, State::Failed, &one.what, &one.repair);
                }
                if !refused {
                    self.add("release", name, State::Ok, version);
                }
            }
            Err(error) => self.error("release", name, &error),
        }
    }
}
