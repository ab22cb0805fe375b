//! `scripts/*.sh`: the flags, defaults and exit codes of the scripts of former times, called as their callers do: through
//! npm, from cron, by a link, from a copy.
use crate::docker::engine::{Engine, id};
use crate::support::{NOW, Outcome, Stack, outcome};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The three, and the npm scripts of the service that they come from.
const SCRIPTS: [&str; 3] = ["stack-snapshot.sh", "codex-data-backup.sh", "stack-rollback.sh"];
const PACKAGE: &str = r#"{"name": "@acme/api", "version": "1.4.2", "scripts": {
    "ops:snapshot": "bash SCRIPTS/stack-snapshot.sh",
    "ops:rollback:prod": "bash SCRIPTS/stack-rollback.sh --env prod",
    "snapshot:dry-run": "bash SCRIPTS/stack-snapshot.sh --dry-run --prune",
    "backup:data": "bash SCRIPTS/codex-data-backup.sh --mount-check --prune"}}"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("is there")
}

/// Lays a checkout of this repository, built, at a path of the stack.
pub(crate) fn checkout(stack: &Stack, at: &str) {
    let scripts = stack.path(at).join("scripts");
    fs::create_dir_all(&scripts).expect("makes");
    for name in SCRIPTS.iter().chain(&["hand-over"]) {
        fs::copy(root().join("scripts").join(name), scripts.join(name)).expect("copies");
    }
    stack.file(&format!("{at}/Cargo.toml"), "");
    fs::create_dir_all(stack.path(at).join("target/release")).expect("makes");
    symlink(env!("CARGO_BIN_EXE_xtask"), stack.path(at).join("target/release/xtask")).expect("links");
}

/// A Node service with this tool at `tools/stack-recovery`, and its package scripts.
fn service() -> Stack {
    let stack = Stack::new();
    stack.file("repo/package.json", &PACKAGE.replace("SCRIPTS", "tools/stack-recovery/scripts"));
    let ignored = fs::read_to_string(stack.path("repo/.gitignore")).expect("reads");
    stack.file("repo/.gitignore", &format!("{ignored}tools/\n"));
    checkout(&stack, "repo/tools/stack-recovery");
    stack.commit("scripts", "2026-03-02T08:30:00Z");
    stack
}

/// Runs a line of shell in a folder of the stack.
fn sh(stack: &Stack, folder: &str, line: &str) -> Outcome {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(stack.path(folder)).env_clear();
    let path = format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"));
    let env = [("PATH", path), ("HOME", stack.path("home").display().to_string())];
    command.envs(env).env("RECOVERY_NOW", NOW).env("LC_ALL", "C").env("GIT_CONFIG_NOSYSTEM", "1");
    outcome(command.env("TMPDIR", stack.path("")).env("npm_config_update_notifier", "false"))
}

fn snapshot(stack: &Stack, args: &str) -> Outcome {
    sh(stack, "repo", &format!("bash tools/stack-recovery/scripts/stack-snapshot.sh {args}"))
}

fn backup(stack: &Stack, args: &str) -> Outcome {
    sh(stack, "repo", &format!("bash tools/stack-recovery/scripts/codex-data-backup.sh {args}"))
}

fn lock(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")
}

const STEM: &str = "acme-api-v1.4.2-2026-03-02T083000Z";

#[test]
fn the_npm_scripts_work_through_npm() {
    let stack = service();
    let said = sh(&stack, "repo", "npm run snapshot:dry-run").ok();
    said.says(&[&format!("would write {}/repo/releases/{STEM}.tar.gz", home(&stack))]);
    assert!(!stack.path("repo/releases").exists(), "a dry run writes nothing");
    // npm runs its scripts at the package's root, wherever it was started; what stands behind `--` comes along.
    sh(&stack, "repo/docs", "npm run --silent ops:snapshot -- --keep 3 --prune").ok();
    assert!(stack.path("repo/releases").join(format!("{STEM}.tar.gz")).is_file());
    // The drive of the scripts is not mounted here, and that is what they say.
    let said = sh(&stack, "repo", "npm run backup:data").fails();
    said.says(&["/mnt/gdrive/codex-backups", "mount"]);
    let said = sh(&stack, "repo", "npm run --silent backup:data -- --dest ../drive --prune --keep 1").fails();
    said.says(&[&format!("{}/drive", home(&stack)), "mount"]);
    // npm's own folder is ours where a package script lies there: the caller is where npm was started.
    stack.file(
        "repo/tools/stack-recovery/package.json",
        r#"{"scripts": {"s": "bash scripts/stack-snapshot.sh --dry-run"}}"#,
    );
    let said = sh(&stack, "repo/docs", "npm run --silent --prefix ../tools/stack-recovery s").ok();
    said.says(&[&format!("repo/releases/{STEM}.tar.gz")]);
}

/// As the stack's paths are shown.
fn home(stack: &Stack) -> String {
    stack.path("").canonicalize().expect("is there").display().to_string()
}

#[test]
fn every_flag_of_the_snapshot_script_works() {
    let stack = service();
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    snapshot(&stack, "--keep 3 --prune").ok();
    let first = lock(&stack.path(&format!("repo/releases/{STEM}.lock.json")));
    assert_eq!(
        (&first["env"], &first["version"], &first["keep"]),
        (&"prod".into(), &"v1.4.2".into(), &3.into())
    );
    snapshot(&stack, "--env dev --version 9.1 --keep 2 --output-dir out").ok();
    let second = lock(&stack.path("repo/out/acme-api-v9.1-2026-03-02T083000Z.lock.json"));
    assert_eq!(
        (&second["env"], &second["version"], &second["keep"]),
        (&"dev".into(), &"v9.1".into(), &2.into())
    );
    snapshot(&stack, "--version git-abc --no-tarball --output-dir ../lock").ok();
    let alone = lock(&stack.path("lock/acme-api-git-abc-2026-03-02T083000Z.lock.json"));
    assert_eq!((&alone["tarball"], stack.files("lock").len()), (&Value::Null, 2));
    snapshot(&stack, "--docker-image acme-api:latest --docker-tag-prefix acme --dry-run").ok();
    assert_eq!(engine.named("acme:prod-20260302-083000Z"), None);
    snapshot(&stack, "--docker-image acme-api:latest --docker-tag-prefix acme").ok();
    assert_eq!(engine.named("acme:prod-20260302-083000Z"), Some('a'));
    // Given twice, the last one counts, as in the script: npm puts what is typed behind what is written.
    snapshot(&stack, "--keep 1 --dry-run --version 3 --prune --keep 2 --dry-run --prune --version 4 --")
        .ok()
        .says(&["-v4-"]);
    snapshot(&stack, "--help").ok().says(&["--docker-tag-prefix"]);
    snapshot(&stack, "-h").ok();
}

#[test]
fn every_flag_of_the_backup_script_works() {
    let stack = service();
    let dry = backup(&stack, "--dry-run --keep 3 --dest ../drive").ok();
    dry.says(&[&format!(
        "codex-api: would write {}/drive/2026/03-10/codex-api-2026-03-10T120000Z.tar.gz",
        home(&stack)
    )]);
    assert!(stack.files("drive").is_empty());
    backup(&stack, "--dest ../drive --suffix prod --keep 1 --prune").ok();
    assert!(stack.path("drive/2026/03-10/codex-api-prod-2026-03-10T120000Z.tar.gz.sha256").is_file());
    let script = "tools/stack-recovery/scripts/codex-data-backup.sh";
    let key = format!(
        "export CODEX_BACKUP_GPG_KEY='a strong passphrase'; bash {script} --dest ../drive --encrypt --prune"
    );
    sh(&stack, "repo", &key).ok();
    let archive = stack.one("drive", ".tar.gz.gpg");
    let gpg =
        "printf '%s' 'a strong passphrase' | gpg --batch --yes --pinentry-mode loopback --passphrase-fd 0 -d";
    let listed = stack.sh(".", &format!("{gpg} '{}' 2>/dev/null | tar -tzf -", archive.display()));
    assert!(listed.contains(".codex-api/config.toml\n"), "{listed}");
    backup(&stack, "--dest ../drive --encrypt").exits(3).says(&["CODEX_BACKUP_GPG_KEY"]);
    stack.file("repo/other/.codex-api/x", "x");
    backup(&stack, "--source other/.codex-api --dest=../elsewhere --keep 3").ok();
    let listed = stack.sh("elsewhere", "tar -tzf */*/*.tar.gz");
    assert_eq!(listed, ".codex-api/\n.codex-api/x\n");
    // An ordinary folder is no mount point.
    backup(&stack, "--dest ../drive --mount-check").exits(75).says(&["mount"]);
    backup(&stack, "--help").ok().says(&["--mount-check"]);
}

/// The defaults of the script, without a `recovery.toml`; with one, that decides.
#[test]
fn the_defaults_of_the_scripts_are_what_they_were() {
    let stack = service();
    let record = "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/args\"\n";
    let xtask = stack.path("repo/tools/stack-recovery/target/release/xtask");
    fs::remove_file(&xtask).expect("removes");
    stack.file("repo/tools/stack-recovery/target/release/xtask", record);
    fs::set_permissions(&xtask, fs::Permissions::from_mode(0o755)).expect("sets");
    let args = |line: &str| {
        sh(&stack, "repo", line).ok();
        fs::read_to_string(stack.path("home/args"))
            .expect("reads")
            .replace(&home(&stack), "")
            .replace('\n', " ")
    };
    let scripts = "tools/stack-recovery/scripts";
    let defaults = "backup -C /repo --dry-run --mount-check --keep 3 --source /repo/.codex-api --dest /mnt/gdrive/codex-backups ";
    assert_eq!(
        args(&format!("bash {scripts}/codex-data-backup.sh --dry-run --mount-check --keep 3")),
        defaults
    );
    assert_eq!(
        args(&format!("bash {scripts}/stack-snapshot.sh --keep 3 --prune")),
        "snapshot -C /repo --keep 3 --prune "
    );
    stack.configure("");
    assert_eq!(args(&format!("bash {scripts}/codex-data-backup.sh --prune")), "backup -C /repo --prune ");
    // Missing values stay missing, and other words stay as they are.
    assert_eq!(
        args(&format!("bash {scripts}/codex-data-backup.sh --suffix 'a b' --dest --prune")),
        "backup -C /repo --suffix a b --dest --prune "
    );
    let env = "BACKUP_DIR=saved PROD_COMPOSE=/a.yml DEV_COMPOSE=";
    let rollback =
        "rollback -C /repo --backup-dir /repo/saved --prod-compose /a.yml --env prod --from-lock /repo/x ";
    assert_eq!(args(&format!("{env} bash {scripts}/stack-rollback.sh --env prod --from-lock x")), rollback);
    // Not built: cargo builds and runs it. Without cargo, that is said.
    fs::remove_file(&xtask).expect("removes");
    stack.file("bin/cargo", record);
    stack.sh(".", "chmod 755 bin/cargo");
    let run = args(&format!("bash {scripts}/stack-snapshot.sh --dry-run"));
    let manifest = "/repo/tools/stack-recovery/Cargo.toml";
    let expected = format!(
        "run --quiet --release --locked --manifest-path {manifest} --package xtask --bin xtask -- snapshot -C /repo --dry-run "
    );
    assert_eq!(run, expected);
    stack.sh(
        ".",
        "mkdir few; for tool in bash dirname realpath grep env; do ln -s $(command -v $tool) few/$tool; done",
    );
    let bare = format!("PATH={}/few bash {scripts}/stack-snapshot.sh", home(&stack));
    sh(&stack, "repo", &bare).exits(3).says(&["cargo build --release --package xtask"]);
}

#[test]
fn the_rollback_script_rolls_back() {
    let stack = service();
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    snapshot(&stack, "--docker-image acme-api:latest").ok();
    engine.image('b', &["acme-api:latest"]);
    sh(&stack, "repo", "npm run --silent ops:rollback:prod").ok();
    assert_eq!((engine.named("acme-api:latest"), engine.running("app")), (Some('a'), Some('a')));
    let rollback = |args: &str| {
        sh(&stack, "repo/docs", &format!("bash ../tools/stack-recovery/scripts/stack-rollback.sh {args}"))
    };
    rollback(&format!("--env prod --image-id {}", id('b'))).ok();
    assert_eq!(engine.running("app"), Some('b'));
    rollback(&format!("--env prod --from-lock ../releases/{STEM}.lock.json --dry-run")).ok();
    assert_eq!(engine.running("app"), Some('b'));
    rollback(&format!("--env prod --from-lock ../releases/{STEM}.lock.json --tag acme-api:other")).ok();
    assert_eq!((engine.named("acme-api:other"), engine.running("app")), (Some('a'), Some('b')));
    rollback("--env both").exits(3).says(&["names an image of dev"]);
    rollback("--env live").exits(2);
    rollback("--help").ok().says(&["--from-lock"]);
}

/// A missing value, a bad one, an unknown flag: a clear word, and 2. The scripts died of them with 1.
#[test]
fn what_is_wrong_on_the_command_line_is_told() {
    let stack = service();
    let scripts = "tools/stack-recovery/scripts";
    for (call, words) in [
        ("stack-snapshot.sh --keep", "a value is required for '--keep <N>'"),
        ("stack-snapshot.sh --env", "a value is required for '--env <NAME>'"),
        ("stack-snapshot.sh --docker-image", "a value is required for '--docker-image <REF>'"),
        ("stack-snapshot.sh --output-dir", "a value is required for '--output-dir <DIR>'"),
        ("stack-snapshot.sh --keep none", "invalid value 'none' for '--keep <N>'"),
        ("stack-snapshot.sh --keep 0", "invalid value '0' for '--keep <N>'"),
        ("stack-snapshot.sh --nothing", "unexpected argument '--nothing'"),
        ("stack-snapshot.sh --version a/b", "the version \"a/b\""),
        ("codex-data-backup.sh --suffix", "a value is required for '--suffix <LABEL>'"),
        ("codex-data-backup.sh --dest", "a value is required for '--dest <DIR>'"),
        ("codex-data-backup.sh --source --prune", "a value is required for '--source <DIR>'"),
        ("codex-data-backup.sh --keep -1", "invalid value '-1' for '--keep <N>'"),
        ("codex-data-backup.sh --nothing", "unexpected argument '--nothing'"),
        ("stack-rollback.sh --from-lock", "a value is required for '--from-lock <PATH>'"),
        ("stack-rollback.sh --tag", "a value is required for '--tag <TAG>'"),
    ] {
        sh(&stack, "repo", &format!("bash {scripts}/{call}")).exits(2).says(&[words]);
    }
    backup(&stack, "--source none --dest ../drive").fails().says(&["/repo/none"]);
}

/// As before, where the scripts lie decides which repository is meant: a link or a copy in it, called from anywhere.
#[test]
fn links_and_copies_work_from_anywhere() {
    let stack = service();
    fs::create_dir(stack.path("repo/scripts")).expect("makes");
    stack.sh("repo/scripts", "ln -s ../tools/stack-recovery/scripts/stack-snapshot.sh .; cp ../tools/stack-recovery/scripts/codex-data-backup.sh .");
    let at = stack.path("repo/scripts").display().to_string();
    let said = sh(&stack, "home", &format!("bash '{at}/stack-snapshot.sh' --dry-run")).ok();
    said.says(&[&format!("repo/releases/{STEM}.tar.gz")]);
    // Paths are the caller's.
    let said = sh(&stack, "home", &format!("bash '{at}/codex-data-backup.sh' --dest kept")).ok();
    said.says(&[&format!("{}/home/kept/2026/03-10/codex-api-", home(&stack))]);
    sh(&stack, "home", &format!("'{at}/stack-snapshot.sh' --output-dir out")).ok();
    assert!(stack.path("home/out").join(format!("{STEM}.tar.gz")).is_file());
    // A link of another name still says which script it is.
    stack.sh("repo/scripts", "ln -s stack-snapshot.sh bundle.sh");
    sh(&stack, "home", &format!("'{at}/bundle.sh' --dry-run")).ok().says(&["repo/releases/acme-api-v1.4.2"]);
    // A copy does not: its name has to.
    stack.sh("repo/scripts", "cp codex-data-backup.sh nightly.sh");
    let said = sh(&stack, "home", &format!("'{at}/nightly.sh' --dry-run")).exits(2);
    said.says(&["nightly.sh: of a copy the name says what it does", "codex-data-backup.sh"]);
    // A link to the folder, and a repository whose name has blanks.
    stack.sh(
        ".",
        "mv repo 'my repo'; rm -r 'my repo/scripts'; ln -s tools/stack-recovery/scripts 'my repo/scripts'",
    );
    let at = stack.path("my repo/scripts").display().to_string();
    sh(&stack, "home", &format!("bash '{at}/stack-snapshot.sh' --dry-run"))
        .ok()
        .says(&["my repo/releases/acme-api-v1.4.2"]);
    // A copy somewhere else has to be told where the tool is.
    stack.sh(".", "mkdir -p alone/scripts; cp 'my repo/scripts/stack-snapshot.sh' alone/scripts; mv 'my repo/tools/stack-recovery' tool");
    sh(&stack, "my repo", "bash ../alone/scripts/stack-snapshot.sh --dry-run")
        .exits(3)
        .says(&["STACK_RECOVERY"]);
    let told = "STACK_RECOVERY=../tool bash ../alone/scripts/stack-snapshot.sh --dry-run";
    sh(&stack, "my repo/docs", &told.replace("../", "../../"))
        .ok()
        .says(&["my repo/releases/acme-api-v1.4.2"]);
}
