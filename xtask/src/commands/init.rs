//! `init`: a commented `recovery.toml` with what was detected. Guesses are written as comments, never as settings that
//! could delete or skip anything.
use super::Context;
use crate::cli::InitArgs as Args;
use crate::config::{Config, beneath};
use crate::destination::durable::replace;
use crate::error::{Error, Exit, Result};
use crate::shown::show;
use crate::tools::{cargo, git::Repository};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Runs the verb.
///
/// # Errors
/// When a file is there already and `--force` is not given.
pub fn run(args: &Args, ctx: &Context) -> Result<Exit> {
    let repository = Repository::discover(&ctx.start)?;
    if let Some(bare) = repository.as_ref().filter(|found| found.is_bare() && ctx.config_file.is_none()) {
        let what =
            format!("{} is a bare repository, which has the files of its commits alone", show(bare.root()));
        let next = "write recovery.toml in a clone of it and commit that; or give --config a file";
        return Err(Error::refused(what, next));
    }
    let root = repository.map_or_else(|| ctx.start.clone(), |repository| repository.root().to_owned());
    let path = ctx.config_file.clone().unwrap_or_else(|| root.join("recovery.toml"));
    if path.exists() && !args.force && !args.dry_run {
        let what = format!("{} is there already", path.display());
        return Err(Error::refused(what, "edit it, or replace it with --force"));
    }
    let name = match cargo::package(&root) {
        Some(name) => name,
        None => Config::load(&root, None, &mut beneath(&root))
            .map_or_else(|_| "my-service".into(), |config| config.release.name),
    };
    let version =
        ["Cargo.toml", "package.json"].into_iter().find(|file| root.join(file).exists()).unwrap_or("git");
    let data = data_folders(&root)?;
    let drive = drives().into_iter().next();
    let compose = COMPOSE.into_iter().find(|file| root.join(file).is_file());
    let text = render(&name, version, &data, drive.as_deref()) + &docker(&name, compose);
    // Never a file that does not load.
    Config::load(&root, None, &mut |file| match file {
        "recovery.toml" => Ok(Some(text.clone())),
        file => beneath(&root)(file),
    })?;
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
        ctx.ui.say(match (&drive, data.is_empty()) {
            (Some(_), false) => {
                "next: cargo xtask doctor\n      cargo xtask snapshot\n      cargo xtask backup\n      cargo xtask restore-drill"
            }
            _ => {
                "next: name your data and your drive in it, where it has comments\n      cargo xtask doctor"
            }
        });
    }
    Ok(Exit::Done)
}

/// Hidden folders of the root that look like a service's runtime data: not a tool's, and not empty.
fn data_folders(root: &Path) -> Result<Vec<String>> {
    const TOOLS: [&str; 12] = [
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
    ];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).map_err(Error::io("list", root))? {
        let entry = entry.map_err(Error::io("list", root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let holds_something =
            std::fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_some());
        let hidden = name.starts_with('.') && name.len() > 1 && !TOOLS.contains(&name.as_str());
        if (hidden || name == "data" || name == "var")
            && holds_something
            && !name.contains(['"', '\\'])
            && !name.chars().any(char::is_control)
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Mount points where people mount drives: `/mnt/NAME`, `/media/NAME`, `/media/USER/NAME`, `/Volumes/NAME`.
fn drives() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let depth = |point: &&str| match point.trim_start_matches('/').split_once('/') {
        Some(("mnt" | "Volumes", rest)) => !rest.contains('/'),
        Some(("media", rest)) => rest.matches('/').count() < 2,
        _ => false,
    };
    points.filter(depth).filter(|point| !point.contains('\\')).map(PathBuf::from).collect()
}

/// A name for the set of a folder: plain, and neither another's nor another's with a suffix behind it.
fn set_name(folder: &str, known: &[(String, &str)]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let bare: String = folder.chars().map(plain).collect();
    let bare = match bare.trim_matches(['-', '_']) {
        "" => "data",
        bare => bare,
    };
    let close = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}-"));
    let taken = |name: &str| known.iter().any(|(known, _)| close(name, known) || close(known, name));
    let numbered = (2..).map(|number| format!("{}_{number}", bare.replace('-', "_")));
    [bare.to_owned(), bare.replace('-', "_")]
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

fn render(name: &str, version: &str, data: &[String], drive: Option<&Path>) -> String {
    let mut text = format!(
        "# Recovery of this repository: what is bundled, what is backed up, where to, and how it is proven.\n\
         # Commit this file and docs/drills, the evidence; releases/ and the data itself belong in .gitignore.\n\
         schema = 1\n\n[release]\nname = \"{name}\"\nversion-from = \"{version}\"\noutput-dir = \"releases\"\n\
         # exclude = [\"fixtures/\"]            # gitignore patterns: tracked files to leave out\n# keep = 3                           # how many bundles `prune` leaves\n\n"
    );
    let mut sets: Vec<(String, &str)> = Vec::new();
    for folder in data {
        let name = set_name(folder, &sets);
        sets.push((name, folder));
    }
    let mark = if drive.is_some() { "" } else { "# " };
    for (set, folder) in &sets {
        text.push_str(&format!(
            "{mark}[data.{set}]\n{mark}source = \"{folder}\"\n{mark}destination = \"drive\"              # or several: [\"drive\", \"far\"]\n\
             # key-files = [\"config.toml\"]        # what a drill spot-checks by name\n\
             # canary = \".recovery-canary\"        # a file that each backup writes and each drill demands back\n\
             # sample = \"5%\"                      # of a big set: what a spot drill restores of it\n\
             # backup-every = \"1d\"                # when `backup --if-due` makes one, and `status` misses it\n\n"
        ));
    }
    if sets.is_empty() {
        text.push_str("# [data.runtime]\n# source = \"path/to/runtime/data\"\n# destination = \"drive\"\n\n");
    }
    let place = drive.unwrap_or(Path::new("/mnt/drive")).display();
    text.push_str(&format!(
        "{mark}[destination.drive]\n{mark}path = \"{place}/{name}-backups\"\n{mark}mount = \"{place}\"\n# keep = 3                           # how many backups of each set `prune` leaves\n\
         # quota = \"15 GB\"\n# compression = \"zstd\"\n# passphrase-env = \"BACKUP_KEY\"      # encrypts with gpg\n\n\
         [drill]\nevidence-dir = \"docs/drills\"\nspot-every = \"31d\"\n\
         # verify-every = \"31d\"               # how long a backup may go without being read and compared\n\
         # release-checks = [\"npm ci --omit=dev\"]\n\
         # full-every = \"92d\"                 # the full drill, in place; it needs these four:\n\
         # stop = \"docker compose stop app\"\n# start = \"docker compose up -d app\"\n\
         # smoke = [\"npm run smoke:prod\"]\n# deploy-dir = \"/srv/{name}\"\n\
         # sign-with = \"ops@example.org\"      # a gpg key that signs the evidence of drills\n\n\
         # [notify]                           # who is told how runs went\n\
         # ping-url-file = \"/etc/recovery-ping\"\n"
    ));
    text
}
