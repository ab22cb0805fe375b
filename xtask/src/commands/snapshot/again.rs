//! A bundle's content a second time, from its commit and its lock's word of what of it is in the bundle: for drills, which
//! compare what they have restored with it, and for `verify --rebuild`.
use super::bundle;
use crate::config::Config;
use crate::destination::names::BundleName;
use crate::destination::release_lock::Scope;
use crate::error::{Error, Result};
use crate::finding::{Finding, Severity};
use crate::shown::show;
use crate::source::Listing;
use crate::source::git::{Except, Take, list};
use crate::source::policy::Submodules;
use crate::tools::git::{Blobs, Commit, Repository};
use std::collections::HashSet;

/// The manifest, packed, of the bundle that a commit of this repository makes, as far as it is in `scope`. The name and
/// the time that it gives the bundle mean nothing.
///
/// # Errors
/// When the commit, or something of it, cannot be read.
pub(in crate::commands) fn of_commit(config: &Config, commit: &str, scope: &Scope) -> Result<Vec<u8>> {
    let repository = Repository::discover(&config.root)?
        .ok_or_else(|| Error::refused(format!("{} is in no git repository", show(&config.root)), ""))?;
    let repository = match scope.submodules {
        true => repository.with_submodules(commit, &scope.root)?.0,
        false => repository,
    };
    let mut blobs = repository.blobs()?;
    let commit = repository.resolve(commit, &mut blobs)?;
    let listing = listing(&repository, &commit, scope, &mut blobs)?;
    let version = super::short(&commit.sha).to_owned();
    let name = BundleName { name: config.release.name.clone(), version, time: commit.time };
    bundle::manifest_of(&name, &listing, &mut blobs)
}

/// What a commit of `repository`, which has or borrows the objects of submodules, makes of a bundle in `scope`.
///
/// # Errors
/// When something of it is not there, or cannot be read or bundled.
pub(in crate::commands) fn listing(
    repository: &Repository,
    commit: &Commit,
    scope: &Scope,
    blobs: &mut Blobs,
) -> Result<Listing> {
    let left_out: HashSet<&str> = scope.left_out.iter().map(String::as_str).collect();
    let submodules = if scope.submodules { Submodules::Include } else { Submodules::Record };
    let take = Take { root: &scope.root, except: Except::Listed(&left_out), submodules, policy: None };
    let listing = list(repository, commit, take, blobs)?;
    match listing.findings.iter().find(|finding| finding.severity == Severity::Error) {
        Some(Finding { path, what, repair, .. }) => Err(Error::refused(format!("{path} {what}"), repair)),
        None => Ok(listing),
    }
}
