//! `init`: a commented `recovery.toml` with what was detected. Guesses are written as comments, never as settings that
//! could delete or skip anything.
use super::Context;
use crate::cli::InitArgs as Args;
use crate::config::{Config, VersionFrom, beneath};
use crate::destination::durable::replace;
use crate::destination::mount::{resolved, unescaped};
use crate::error::{Error, Exit, Result};
use crate::shown::{show, show_bytes};
use crate::tools::{cargo, git::Repository};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Runs the verb.
///
/// # Errors
/// When something is there already, and is no file or `--force` is not given.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let repository = Repository::discover(&ctx.start)?;
    if let Some(bare) = repository.as_ref().filter(|found| found.is_bare() && ctx.config_file.is_none()) {
        let what =
            format!("{} is a bare repository, which has the files of its commits alone", show(bare.root()));
        let next = "write recovery.toml in a clone of it and commit that; or give --config a file";
        return Err(Error::refused(what, next));
    }
    let root =
        repository.as_ref().map_or_else(|| ctx.start.clone(), |repository| repository.root().to_owned());
    let path = ctx.config_file.clone().unwrap_or_else(|| root.join("recovery.toml"));
    let part = resolved(&ctx.start)
        .strip_prefix(resolved(&root))
        .ok()
        .and_then(|part| Some(part.to_str()?.to_owned()))
        .unwrap_or_default();
    if !args.dry_run {
        may_be_written(&path, args.force, if ctx.config_file.is_none() { &part } else { "" })?;
    }
    let Config { mut release, .. } = detected(&root, "")?;
    let name = cargo::package(&root).unwrap_or_else(|| release.name.clone());
    let mut version = "git";
    for file in [VersionFrom::Cargo("Cargo.toml".into()), VersionFrom::Npm("package.json".into())] {
        release.version_from = Some(file.clone());
        if release.version(&mut beneath(&root))?.is_some() {
            version = if matches!(file, VersionFrom::Cargo(_)) { "Cargo.toml" } else { "package.json" };
            break;
        }
    }
    let mut data = data_folders(&root, "", repository.as_ref())?;
    if !part.is_empty() {
        data.extend(data_folders(&root, &part, repository.as_ref())?);
    }
    let others = others(&root, &data, repository.as_ref())?;
    let drives = drives(&std::fs::read_to_string("/proc/self/mounts").unwrap_or_default());
    let compose = COMPOSE.into_iter().find(|file| root.join(file).is_file());
    let label = plain(part.rsplit('/').next().unwrap_or_default());
    let service = service(&root, &part);
    let text =
        render(&name, version, (&service, &label), (&data, &others), &drives) + &docker(&name, compose);
    // Never a file that does not load.
    detected(&root, &text)?;
    if !args.dry_run {
        replace(&path, text.as_bytes(), 0o644)?;
    }
    let status = if args.dry_run { "planned" } else { "ok" };
    ctx.ui.document(
        &json!({"schema_version": 1, "command": "init", "status": status, "file": show(&path), "name": name,
        "version_from": version, "data": data, "text": text}),
    );
    if args.dry_run {
        ctx.ui.result(&text);
    } else {
        ctx.ui.result(&format!("wrote {}", show(&path)));
        let first = match drives.is_empty() || data.is_empty() {
            true => {
                "name your data and your drive in it, where it has comments (`doctor` says what is missing); then\n      "
            }
            false => "",
        };
        let silent = ["Cargo.toml", "package.json"].into_iter().filter(|file| root.join(file).is_file());
        for file in silent.filter(|_| version == "git") {
            ctx.ui.say(&format!("{file} tells no version: bundles are named after their commits"));
        }
        if !others.is_empty() {
            ctx.ui.say(&format!("{OTHERS}: {}; is that data?", others.join(", ")));
        }
        let call = &ctx.ui.call;
        let bundle = match repository {
            Some(_) => format!("{call} snapshot\n      "),
            None => "`git init`, if there is anything to bundle\n      ".into(),
        };
        ctx.ui.say(&format!("next: {first}{bundle}{call} backup\n      {call} restore-drill"));
    }
    Ok(Exit::Done)
}

/// Refuses to replace what nobody has said to replace, and what is no file: a folder, a device. Who began in the folder
/// `part` below the root, and has named no file, may want one there.
fn may_be_written(path: &Path, force: bool, part: &str) -> Result<()> {
    let Ok(there) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !there.is_file() && !there.is_symlink() {
        let what = format!("{} is there already, and is not a file", show(path));
        return Err(Error::refused(what, "see what lies there, and move it away"));
    }
    match force {
        true => Ok(()),
        false => {
            let what = format!("{} is there already", show(path));
            let own = match part {
                "" => String::new(),
                part => {
                    format!("; `--config recovery.toml` writes one of its own in {}", show(Path::new(part)))
                }
            };
            Err(Error::refused(what, format!("edit it, or replace it with --force{own}")))
        }
    }
}

/// What a `recovery.toml` of this text comes to here; the one that may be there already is not asked.
fn detected(root: &Path, text: &str) -> Result<Config> {
    Config::load(root, None, &mut |file| match file {
        "recovery.toml" => Ok(Some(text.to_owned())),
        file => beneath(root)(file),
    })
}

/// Where `init` was started in a folder below the root, how that alone is released.
fn service(root: &Path, part: &str) -> String {
    let value = quoted(part);
    match detected(root, &format!("[release]\nroot = {value}\n")) {
        Ok(config) if !part.is_empty() => {
            format!(
                "# root = {value}    # bundles that folder alone: as {}, with its version, once `name` and `version-from` are gone\n",
                config.release.name
            )
        }
        _ => String::new(),
    }
}

/// Hidden folders, `data` and `var` in the folder `part` of the root that look like a service's runtime data: neither a
/// tool's nor a cache, not empty, and not all of it git's.
fn data_folders(root: &Path, part: &str, repository: Option<&Repository>) -> Result<Vec<String>> {
    let untracked = repository.filter(|found| !found.is_bare()).map(Repository::untracked).transpose()?;
    let folder = root.join(part);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
        let entry = entry.map_err(Error::io("list", &folder))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let holds_something =
            std::fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_some());
        let hidden = name.starts_with('.') && name.len() > 1 && !TOOLS.contains(&name.as_str());
        let path = if part.is_empty() { name.clone() } else { format!("{part}/{name}") };
        if (hidden || name == "data" || name == "var")
            && holds_something
            && !name.chars().any(char::is_control)
            && !entry.path().join("CACHEDIR.TAG").exists()
            && untracked.as_ref().is_none_or(|known| known.iter().any(|one| overlap(one, &path)))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What there is to say of [`others`].
const OTHERS: &str = "neither in git nor in a set";

/// How many of them are named: output of tools that nobody has heard of may be without end.
const MOST: usize = 20;

/// Where the evidence lies, which nobody need ask about; that of a service in a folder lies below it.
const EVIDENCE: &str = "docs/drills";

/// What else is not git's and may be data, folders first: who knows it is asked.
fn others(root: &Path, data: &[String], repository: Option<&Repository>) -> Result<Vec<String>> {
    let Some(repository) = repository.filter(|found| !found.is_bare()) else { return Ok(Vec::new()) };
    let is_made = |part: &[u8]| MADE.iter().chain(&TOOLS).any(|name| name.as_bytes() == part);
    let is_asked = |path: &[u8]| {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let mut parts = path.split(|byte| *byte == b'/');
        let is_hidden = parts.clone().next_back().is_some_and(|last| last.starts_with(b"."));
        let is_known = data.iter().any(|one| is_within(path, one.as_bytes())) || overlap(path, EVIDENCE);
        let is_cache = || root.join(OsStr::from_bytes(path)).join("CACHEDIR.TAG").exists();
        !(is_hidden || parts.any(is_made) || is_known || is_cache())
    };
    let untracked = repository.untracked()?;
    let asked = untracked.iter().filter(|path| is_asked(path));
    let mut found: Vec<String> = asked.map(|path| show_bytes(path)).collect();
    found.sort_by_key(|path| !path.ends_with('/'));
    let more = found.len().saturating_sub(MOST);
    if more > 0 {
        found.truncate(MOST);
        found.push(format!("and {more} more"));
    }
    Ok(found)
}

/// Folders that tools make anew, or this one.
const MADE: [&str; 14] = [
    "__pycache__",
    "build",
    "coverage",
    "dist",
    "env",
    "node_modules",
    "out",
    "recovery.toml",
    "releases",
    "result",
    "target",
    "tmp",
    "vendor",
    "venv",
];

/// Hidden folders of tools, which make them anew.
const TOOLS: [&str; 33] = [
    ".git",
    ".github",
    ".cargo",
    ".ci",
    ".recovery",
    ".cache",
    ".vscode",
    ".idea",
    ".venv",
    ".npm",
    ".husky",
    ".circleci",
    ".angular",
    ".bundle",
    ".direnv",
    ".eggs",
    ".gradle",
    ".hypothesis",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".next",
    ".nox",
    ".nuxt",
    ".nyc_output",
    ".parcel-cache",
    ".pnpm-store",
    ".pytest_cache",
    ".ruff_cache",
    ".svelte-kit",
    ".terraform",
    ".tox",
    ".turbo",
    ".yarn",
];

/// Whether one of two paths is the other, or lies in it.
fn overlap(one: &[u8], other: &str) -> bool {
    let (one, other) = (one.strip_suffix(b"/").unwrap_or(one), other.as_bytes());
    is_within(one, other) || is_within(other, one)
}

/// Whether a path is another, or lies in it.
fn is_within(inner: &[u8], outer: &[u8]) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Mount points where people mount drives, and that may be written to: `/mnt/NAME`, `/media/NAME`, `/media/USER/NAME`,
/// `/Volumes/NAME`. None of them is asked, since one may not answer.
fn drives(mounts: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(options)) = (fields.next().map(unescaped), fields.nth(1)) else { continue };
        let is_drive = match point.trim_start_matches('/').split_once('/') {
            Some(("mnt" | "Volumes", rest)) => !rest.contains('/'),
            Some(("media", rest)) => rest.matches('/').count() < 2,
            _ => false,
        };
        let plain = !point.chars().any(char::is_control);
        if is_drive && plain && options.split(',').all(|one| one != "ro") && !found.contains(&point) {
            found.push(point);
        }
    }
    found
}

/// Text as TOML wants it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What of a folder's name can be part of a set's; empty where nothing can.
fn plain(folder: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let bare: String = folder.chars().map(plain).collect();
    bare.trim_matches(['-', '_']).to_owned()
}

/// A name for the set of a folder: plain, and neither another's nor another's with a suffix behind it. That of a service in
/// a folder has the service's in front: the `data` of two would be one series of backups.
fn set_name(service: &str, folder: &str, known: &[(String, &str)]) -> String {
    let folder = match plain(folder) {
        folder if folder.is_empty() => "data".to_owned(),
        folder => folder,
    };
    let bare = if service.is_empty() { folder } else { format!("{service}-{folder}") };
    let close = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}-"));
    let taken = |name: &str| known.iter().any(|(known, _)| close(name, known) || close(known, name));
    let numbered = (2..).map(|number| format!("{}_{number}", bare.replace('-', "_")));
    [bare.clone(), bare.replace('-', "_")]
        .into_iter()
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_default()
}

/// How compose files are called (Compose file reference, "The Compose file"), the one that `rollback` expects first.
const COMPOSE: [&str; 4] = ["docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml"];

/// What there is to say of images, where the repository has a compose file.
fn docker(name: &str, compose: Option<&str>) -> String {
    let Some(file) = compose else { return String::new() };
    format!(
        "\n# [docker]                          # for `snapshot --docker-image` and `rollback`\n\
         # image = \"{}\"\n# [docker.prod]\n# tag = \"latest\"                    # the tag that the compose file asks for\n\
         # service = \"app\"\n# compose-files = [\"{file}\"]\n",
        name.to_lowercase()
    )
}

fn render(
    name: &str,
    version: &str,
    (root, service): (&str, &str),
    (data, strays): (&[String], &[String]),
    drives: &[String],
) -> String {
    // What two services of a repository have apart: their bundles, their backups, and what their drills prove.
    let (own, evidence) = match service {
        "" => (name.to_owned(), EVIDENCE.to_owned()),
        service => (format!("{name}-{service}"), format!("{EVIDENCE}/{service}")),
    };
    let mut text = format!(
        "# Recovery of this repository: what is bundled, what is backed up, where to, and how it is proven.\n\
         # Commit this file and {evidence}, the evidence; releases/ and the data itself belong in .gitignore.\n\
         schema = 1\n\n[release]\nname = \"{own}\"\nversion-from = \"{version}\"\noutput-dir = \"releases\"\n{root}\
         # exclude = [\"fixtures/\"]            # gitignore patterns: tracked files to leave out\n# keep = 3                           # how many bundles `prune` leaves\n\n"
    );
    let mut sets: Vec<(String, &str)> = Vec::new();
    for folder in data {
        let name = set_name(service, folder.rsplit('/').next().unwrap_or_default(), &sets);
        sets.push((name, folder));
    }
    let mark = if drives.is_empty() { "# " } else { "" };
    for (set, folder) in &sets {
        text.push_str(&format!(
            "{mark}[data.{set}]\n{mark}source = {}\n{mark}destination = \"drive\"              # or several: [\"drive\", \"far\"]\n\
             # key-files = [\"config.toml\"]        # what a drill spot-checks by name\n\
             # canary = \".recovery-canary\"        # a file that each backup writes and each drill demands back\n\
             # sample = \"5%\"                      # of a big set: what a spot drill restores of it\n\
             # backup-every = \"1d\"                # when `backup --if-due` makes one, and `status` misses it\n\n",
            quoted(folder)
        ));
    }
    if sets.is_empty() {
        text.push_str("# [data.runtime]\n# source = \"path/to/runtime/data\"\n# destination = \"drive\"\n\n");
    }
    if !strays.is_empty() {
        text.push_str(&format!("# {OTHERS} above: {}\n\n", strays.join(", ")));
    }
    let drive = drives.first().map_or("/mnt/drive", String::as_str);
    let (path, mount) = (quoted(&format!("{drive}/{own}-backups")), quoted(drive));
    let others = drives.get(1..).unwrap_or_default().join(", ");
    let others = if others.is_empty() { others } else { format!("# mounted as well: {others}\n") };
    let check = match version {
        "Cargo.toml" => "cargo check --locked",
        "package.json" => "npm ci --omit=dev",
        _ => "sh check.sh",
    };
    text.push_str(&format!(
        "{mark}[destination.drive]\n{mark}path = {path}\n{mark}mount = {mount}\n{others}# keep = 3                           # how many backups of each set `prune` leaves\n\
         # quota = \"15 GB\"\n# compression = \"zstd\"\n# passphrase-env = \"BACKUP_KEY\"      # encrypts with gpg\n\n\
         [drill]\nevidence-dir = \"{evidence}\"\nspot-every = \"31d\"\n\
         # verify-every = \"31d\"               # how long a backup may go without being read and compared\n\
         # release-checks = [\"{check}\"]\n\
         # full-every = \"92d\"                 # the full drill, in place; it needs these four:\n\
         # stop = \"docker compose stop app\"\n# start = \"docker compose up -d app\"\n\
         # smoke = [\"npm run smoke:prod\"]\n# deploy-dir = \"/srv/{own}\"\n\
         # sign-with = \"ops@example.org\"      # a gpg key that signs the evidence of drills\n\n\
         # [notify]                           # who is told how runs went\n\
         # ping-url-file = \"/etc/recovery-ping\"\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_those_that_may_be_written_to() {
        let mounts = "/dev/sda1 / ext4 rw 0 0\nnone /mnt tmpfs rw 0 0\n/dev/sdb1 /media/ada/My\\040Drive vfat rw,nosuid 0 0\n\
                      /dev/sr0 /media/cdrom iso9660 ro,relatime 0 0\nrclone /mnt/g fuse rw 0 0\nx /mnt/g fuse rw 0 0\n\
                      y /mnt/a/b ext4 rw 0 0\nz /mnt/line\\012end ext4 rw 0 0\nshort /mnt/x\n";
        assert_eq!(drives(mounts), ["/media/ada/My Drive", "/mnt/g"]);
    }

    #[test]
    fn paths_overlap_at_their_parts_alone() {
        for (one, other, expected) in [
            ("a/", "a", true),
            ("a/b", "a", true),
            ("a/", "a/b", true),
            ("ab", "a", false),
            ("a", "ab", false),
            ("b", "a", false),
        ] {
            assert_eq!(overlap(one.as_bytes(), other), expected, "{one} {other}");
        }
    }
}
