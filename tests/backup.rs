//! `backup` → `verify` → `restore`: everything comes back, with the tool and without it.
use super::support::{NOW, Stack, flip, outcome};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");

/// Names, kinds, modes and times that a careless archiver loses.
fn awkward(stack: &Stack) {
    let root = stack.path("repo/.codex-api");
    let name = std::ffi::OsStr::from_bytes(b"not \xff utf-8");
    fs::write(root.join(name), "x").expect("writes");
    let deep = root.join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).expect("makes folders");
    fs::write(deep.join("f".repeat(100)), "deep").expect("writes");
    std::os::unix::fs::symlink("loop", root.join("loop")).expect("links");
    std::os::unix::fs::symlink("t".repeat(150), root.join("long")).expect("links");
    stack.sh(
        "repo/.codex-api",
        "printf 'new\\nline' > $'new\\nline'; : > ' '; : > '-rf'; mkfifo pipe; chmod $([ $(id -u) = 0 ] && echo 000 || echo 400) config.toml; chmod 1755 empty
         touch -d '1969-12-31T23:59:58.5Z' big.bin; chmod 4755 big.bin; truncate -s 20M hole; setfattr -n user.note -v hi hole 2>/dev/null || true",
    );
}

fn same(stack: &Stack, restored: &str) {
    let (live, back) = (stack.listing("repo/.codex-api"), stack.listing(restored));
    for (a, b) in live.lines().zip(back.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(live, back);
}

#[test]
fn everything_comes_back_from_each_container() {
    for (extra, ending) in [
        ("", ".tar.gz"),
        ("compression = \"zstd\"\n", ".tar.zst"),
        ("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", ".tar.gz.gpg"),
    ] {
        let stack = Stack::new();
        stack.configure(extra);
        awkward(&stack);
        let made = stack.run_with(&[KEY], &["backup", "--json"]).ok().json();
        let set = &made["sets"][0];
        assert_eq!((&set["set"], &set["status"]), (&"codex-api".into(), &"ok".into()));
        assert!(set["findings"].to_string().contains("pipe"), "a pipe is told: {set}");
        let archive = stack.one("drive/2026/03-10", ending);
        assert_eq!(set["archive"].as_str(), archive.to_str());
        assert_eq!(set["bytes"].as_u64(), Some(fs::metadata(&archive).expect("there").len()));
        assert!(set["source_bytes"].as_u64() > Some(20 << 20));
        assert_eq!(fs::metadata(&archive).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(archive.parent().expect("a folder")).expect("there").permissions().mode() & 0o777,
            0o700
        );
        stack.sh("drive/2026/03-10", "sha256sum --check --strict *.sha256");
        let checked = stack.run_with(&[KEY], &["verify", "--json"]).ok().json();
        assert_eq!(checked["checked"], 1);
        let back = stack.run_with(&[KEY], &["restore", "codex-api", "--to", "../back", "--json"]).ok().json();
        assert_eq!(back["entries"], set["entries"]);
        same(&stack, "back/.codex-api");
    }
}

/// The printed recipe, word for word, in a shell that has only the plain tools.
#[test]
fn the_printed_recipe_restores_without_the_tool() {
    for (extra, ending) in [
        ("", ".tar.gz"),
        ("compression = \"zstd\"\n", ".tar.zst"),
        ("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n", ".tar.gz.gpg"),
        ("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\ncompression = \"zstd\"\n", ".tar.zst.gpg"),
    ] {
        let stack = Stack::new();
        stack.configure(extra);
        awkward(&stack);
        stack.run_with(&[KEY], &["backup"]).ok();
        let to = stack.path("by hand").display().to_string();
        let recipe = stack.run(&["restore", "codex-api", "--explain", "--to", &to]).ok().stdout;
        assert!(!recipe.contains("xtask") && recipe.contains("sha256sum"), "{recipe}");
        stack.sh(
            ".",
            "mkdir tools; for t in tar sha256sum gpg zstd gzip mkdir; do ln -s $(command -v $t) tools/; done",
        );
        fs::write(stack.path("recipe.sh"), format!("set -eu\n{recipe}")).expect("writes");
        let mut shell = Command::new("/bin/sh");
        shell.arg(stack.path("recipe.sh")).current_dir(stack.path("home")).env_clear();
        shell.env("PATH", stack.path("tools")).env("HOME", stack.path("home")).env(KEY.0, KEY.1);
        outcome(&mut shell).ok();
        assert!(stack.files("drive").iter().any(|name| name.ends_with(ending)));
        let (live, back) = (stack.sh("repo/.codex-api", LIST), stack.sh("by hand/.codex-api", LIST));
        assert_eq!(live, back, "{ending}");
    }
    const LIST: &str = r"find . ! -type p -printf '%P %y %m %U:%G %Ts %l %n\n' | LC_ALL=C sort; find . -type f -print0 | sort -z | xargs -0r sha256sum";
}

#[test]
fn the_runbooks_own_gpg_line_decrypts() {
    let stack = Stack::configured();
    stack.run_with(&[KEY], &["backup", "--encrypt"]).ok();
    let archive = stack.one("drive", ".tar.gz.gpg");
    let script = format!(
        "export GNUPGHOME=$PWD/g; mkdir -m 700 g; gpg --batch --quiet --pinentry-mode loopback --passphrase 'correct horse' --decrypt '{}' | tar -tzf - | grep '^.codex-api/config.toml$' >/dev/null; gpgconf --kill all",
        archive.display()
    );
    stack.sh("home", &script);
    let cipher = fs::read(stack.one("drive", ".manifest.jsonl.gz.gpg")).expect("reads");
    assert!(!cipher.windows(11).any(|part| part == b"config.toml"));
}

#[test]
fn public_keys_encrypt_and_only_the_secret_one_opens() {
    let stack = Stack::new();
    stack.sh("home", "mkdir -m 700 .gnupg; gpg --batch --quiet --passphrase '' --quick-generate-key ops@example.org default default never 2>/dev/null");
    stack.configure("recipients = [\"ops@example.org\"]\n");
    stack.run(&["backup"]).ok();
    stack.run(&["verify"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    same(&stack, "back/.codex-api");
    let archive = stack.one("drive", ".tar.gz.gpg").display().to_string();
    stack.sh("home", "gpgconf --kill all; mv .gnupg gone");
    stack.run(&["verify", &archive]).exits(3).says(&["key"]);
}

#[test]
fn a_database_is_copied_through_sqlite() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "sqlite3 jobs.db 'pragma journal_mode=wal; create table t(a); insert into t values (1),(2);' >/dev/null");
    let mut held = Command::new("sqlite3");
    held.arg(stack.path("repo/.codex-api/jobs.db"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut held = held.spawn().expect("starts");
    {
        use std::io::{BufRead as _, Write as _};
        let input = held.stdin.as_mut().expect("a pipe");
        writeln!(input, "pragma wal_autocheckpoint=0; insert into t values (3); select 'ready';")
            .expect("writes");
        let mut lines = std::io::BufReader::new(held.stdout.as_mut().expect("a pipe")).lines();
        assert!(lines.any(|line| line.expect("reads") == "ready"));
    }
    assert!(fs::metadata(stack.path("repo/.codex-api/jobs.db-wal")).expect("there").len() > 0);
    stack.run(&["backup"]).ok();
    held.kill().expect("ends");
    let _ = held.wait();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    assert_eq!(
        stack.sh(
            "back/.codex-api",
            "ls jobs.db*; sqlite3 jobs.db 'select sum(a) from t; pragma integrity_check'"
        ),
        "jobs.db\n6\nok\n"
    );
}

#[test]
fn some_of_it_or_as_it_was_then() {
    let stack = Stack::configured();
    stack.run_at("2026-03-01T10:00:00Z", &["backup"]).ok();
    stack.file("repo/.codex-api/config.toml", "model = 'y'\n");
    stack.run_at("2026-03-05T10:00:00Z", &["backup"]).ok();
    let some = stack
        .run(&[
            "restore",
            "codex-api",
            "--path",
            "**/*.jsonl",
            "--path",
            ".codex-api/current",
            "--to",
            "../some",
            "--json",
        ])
        .ok()
        .json();
    assert_eq!(some["entries"], 5, "with the folders above them");
    assert_eq!(stack.files("some"), [".codex-api/current", ".codex-api/sessions/2026/one.jsonl"]);
    stack.run(&["restore", "codex-api", "--at", "2026-03-04", "--to", "../then"]).ok();
    assert_eq!(
        fs::read_to_string(stack.path("then/.codex-api/config.toml")).expect("reads"),
        "model = 'x'\n"
    );
    stack
        .run(&["restore", "codex-api", "--at", "2026-02-01", "--to", "../never"])
        .exits(3)
        .says(&["as old as"]);
    stack
        .run(&["restore", "codex-api", "--path", "nothing*", "--to", "../none"])
        .exits(3)
        .says(&["nothing*"]);
    stack.run(&["restore", "codex-api", "--at", "soon", "--to", "../none"]).exits(2).says(&["soon"]);
    stack.run(&["restore", "codex-api", "--to", "../then"]).exits(3).says(&["not empty"]);
    assert!(!stack.path("never").exists() && !stack.path("none").exists());
}

#[test]
fn without_a_manifest_it_restores_and_says_what_was_not_checked() {
    for extra in ["", "compression = \"zstd\"\n"] {
        let stack = Stack::new();
        stack.configure(extra);
        stack.run(&["backup"]).ok();
        let manifest =
            stack.files("drive").into_iter().find(|name| name.contains("manifest")).expect("a manifest");
        fs::remove_file(stack.path("drive").join(manifest)).expect("removes");
        let archive = stack.files("drive").into_iter().find(|name| !name.ends_with("sha256")).expect("one");
        let archive = stack.path("drive").join(archive).display().to_string();
        let checked = stack.run(&["verify", &archive, "--json"]).json();
        assert!(checked["findings"].to_string().contains("manifest"), "{checked}");
        stack.run(&["restore", &archive, "--to", "../back"]).ok().says(&["manifest"]);
        assert_eq!(stack.sh("repo", "diff -r --no-dereference .codex-api ../back/.codex-api"), "");
        stack.run(&["restore", &archive, "--path", "**/one.jsonl", "--to", "../some"]).ok();
        assert_eq!(stack.files("some"), [".codex-api/sessions/2026/one.jsonl"]);
    }
}

#[test]
fn a_source_and_a_destination_need_no_configuration() {
    let stack = Stack::new();
    let args =
        ["backup", "--source", ".codex-api", "--dest", "../drive", "--suffix", "before-upgrade", "--json"];
    let made = stack.run(&args).ok().json();
    assert_eq!(made["sets"][0]["set"], "codex-api");
    assert!(stack.path("drive/2026/03-10/codex-api-before-upgrade-2026-03-10T120000Z.tar.gz").exists());
    stack.run(&args).ok();
    assert_eq!(stack.files("drive").len(), 6, "a second run in the same second has a name of its own");
    let dry = stack
        .run(&["backup", "--source", ".codex-api", "--dest", "../other", "--dry-run", "--json"])
        .ok()
        .json();
    assert_eq!((&dry["dry_run"], &dry["sets"][0]["status"]), (&true.into(), &"planned".into()));
    assert!(!stack.path("other").exists());
    stack
        .run(&["backup", "--source", "server.js", "--dest", "../drive"])
        .exits(3)
        .says(&["server.js", "folder"]);
}

#[test]
fn one_set_that_fails_does_not_stop_the_others() {
    let stack = Stack::new();
    let drive = stack.path("drive").display().to_string();
    stack.file("repo/recovery.toml", &format!(
        "[data.a]\nsource = \"nowhere\"\n[data.codex-api]\nsource = \".codex-api\"\n[data.z]\nsource = \".codex-api\"\ndestination = \"away\"\n\
         [destination.drive]\npath = \"{drive}\"\n[destination.away]\npath = \"{drive}/not/mounted\"\nmount = \"{drive}/not\"\n"));
    stack.sh("repo", "sed -i 's/^source = \"nowhere\"/&\\ndestination = \"drive\"/; s/^\\[data.codex-api\\]/&\\ndestination = \"drive\"/' recovery.toml");
    let made = stack.run(&["backup", "--json"]).exits(1).json();
    let states: Vec<&str> =
        made["sets"].as_array().expect("sets").iter().filter_map(|set| set["status"].as_str()).collect();
    assert_eq!(states, ["failed", "ok", "failed"]);
    assert!(!stack.path("drive/not").exists(), "never a byte beneath an unmounted drive");
}

#[test]
fn the_mount_is_checked() {
    let stack = Stack::configured();
    stack.run(&["backup", "--mount-check"]).exits(75).says(&["mount"]);
    assert_eq!(stack.files("drive"), [""; 0]);
    // A real file system, in a mount namespace of its own.
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let drive = stack.path("drive").display().to_string();
    let script = format!(
        "mount -t tmpfs none '{drive}' && '{xtask}' backup --force --mount-check --json && '{xtask}' verify && mkdir '{drive}/a' '{drive}/a/b' \
        && '{xtask}' backup --force --mount-check --source .codex-api --dest '{drive}/a'; ! '{xtask}' backup --force --mount-check --source .codex-api --dest '{drive}/a/b'"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "bash", "-ec", &script]).current_dir(stack.path("repo"));
    unshare.env("HOME", stack.path("home")).env("RECOVERY_NOW", NOW).env("LC_ALL", "C");
    let said = outcome(&mut unshare).ok();
    said.says(&["\"status\": \"ok\"", "mount"]);
    assert_eq!(stack.files("drive"), [""; 0], "it went to the mounted drive, not beneath it");
}

#[test]
fn a_full_drive_leaves_nothing_and_says_so() {
    let stack = Stack::configured();
    stack.sh("repo/.codex-api", "head -c 6M /dev/urandom > noise");
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let drive = stack.path("drive").display().to_string();
    let script = format!(
        "mount -t tmpfs -o size=2M none '{drive}'; set +e; '{xtask}' backup --force; echo code $?; find '{drive}' -type f"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "bash", "-ec", &script]).current_dir(stack.path("repo"));
    unshare.env("HOME", stack.path("home")).env("RECOVERY_NOW", NOW).env("LC_ALL", "C");
    let said = outcome(&mut unshare).ok();
    assert!(said.stdout.ends_with("code 3\n"), "{}{}", said.stdout, said.stderr);
    said.says(&["No space left", "next: free some room"]);
}

#[test]
fn a_second_run_waits_for_another_time() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let lock =
        stack.files("repo/.recovery").into_iter().find(|name| name.contains("lock")).expect("a lock file");
    let lock = stack.path("repo/.recovery").join(lock).display().to_string();
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let said = stack.sh("repo", &format!("set +e; flock '{lock}' '{xtask}' backup 2>&1; echo code $?"));
    assert!(said.ends_with("code 75\n"), "{said}");
}

#[test]
fn a_wrong_passphrase_or_none_is_told_and_writes_nothing() {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    for value in [None, Some("")] {
        let env: Vec<(&str, &str)> = value.map(|value| (KEY.0, value)).into_iter().collect();
        stack.run_with(&env, &["backup"]).exits(3).says(&["CODEX_BACKUP_GPG_KEY", "next:"]);
        assert_eq!(stack.files("drive"), [""; 0]);
    }
    stack.run_with(&[KEY], &["backup"]).ok();
    let wrong = [(KEY.0, "wrong horse")];
    stack
        .run_with(&wrong, &["restore", "codex-api", "--to", "../back"])
        .exits(3)
        .says(&["passphrase", KEY.0]);
    stack.run_with(&wrong, &["verify"]).exits(3).says(&["passphrase"]);
    assert!(!stack.path("back").exists());
    flip(&stack.one("drive", ".tar.gz.gpg"), 1000);
    stack.run_with(&[KEY], &["verify"]).exits(1);
    stack.run_with(&[KEY], &["restore", "codex-api", "--to", "../back"]).exits(1);
    assert!(!stack.path("back").exists());
}

#[test]
fn missing_tools_are_named_together_with_how_to_get_them() {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    stack.sh(".", "mkdir tools; ln -s $(command -v git) tools/");
    let path = stack.path("tools").display().to_string();
    let said = stack.run_with(&[("PATH", &path), KEY], &["backup", "--mount-check"]).exits(3);
    said.says(&["gpg", "mountpoint", "install"]);
    assert_eq!(stack.files("drive"), [""; 0]);
    stack.configure("");
    stack.run_with(&[("PATH", &path)], &["backup"]).ok();
}

/// However its path is written, a configured destination keeps its settings.
#[test]
fn a_destination_is_known_by_where_it_is() {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    stack.sh(".", "ln -s drive other");
    for dest in ["../drive", "../repo/../drive", "../other"] {
        stack.run_with(&[KEY], &["backup", "codex-api", "--dest", dest]).ok();
    }
    let made = stack.files("drive");
    assert!(made.len() == 9 && made.iter().all(|name| name.contains(".gpg")), "{made:?}");
    let archive = made.iter().find(|name| name.ends_with(".tar.gz.gpg")).expect("one");
    stack.run_with(&[KEY], &["verify", &format!("../drive/{archive}")]).ok();
    stack.run_with(&[KEY], &["status"]).says(&["3 kept"]);
}

/// The printed recipe unpacks beside the reader, never onto the backup drive.
#[test]
fn a_recipe_without_a_target_keeps_off_the_drive() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let before = stack.files("drive");
    let recipe = stack.run(&["restore", "codex-api", "--explain"]).ok().stdout;
    stack.sh("repo", &recipe);
    assert_eq!(stack.files("drive"), before);
    assert!(stack.path("repo/restored/.codex-api/config.toml").exists());
}

/// Looks at every process of a run while it goes on: the passphrase stands in no command line, and in the environment of
/// nobody but the run itself.
#[test]
fn no_child_ever_has_the_passphrase() {
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    stack.sh("repo/.codex-api", "head -c 20M /dev/urandom > noise; sqlite3 jobs.db 'create table t(a)'");
    let mut seen = std::collections::BTreeSet::new();
    for args in [&["snapshot"][..], &["backup"], &["verify"], &["restore", "codex-api", "--to", "../back"]] {
        let mut run = stack
            .command(args)
            .env(KEY.0, KEY.1)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        while run.try_wait().expect("waits").is_none() {
            for (process, name) in children_of(run.id()) {
                seen.insert(name);
                for file in ["cmdline", "environ"] {
                    let text = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
                    assert!(
                        !text.windows(KEY.1.len()).any(|part| part == KEY.1.as_bytes()),
                        "{file} of {process}"
                    );
                }
            }
        }
        assert!(run.wait().expect("ends").success(), "{args:?}");
    }
    assert!(seen.contains("gpg") && seen.contains("git"), "{seen:?}");
}

/// Process number and name of everything that a process has started, and of what that has, once it runs a program of its
/// own.
fn children_of(parent: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
        let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in listed.split_whitespace().filter_map(|number| number.parse().ok()) {
            let name =
                fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default().trim().to_owned();
            found.extend(children_of(child));
            if name != "xtask" {
                found.push((child, name));
            }
        }
    }
    found
}

#[test]
fn a_key_file_that_is_not_there_and_a_folder_that_will_be_made_are_told() {
    let stack = Stack::configured();
    stack.sh(".", "rmdir drive");
    stack.run(&["backup", "--dry-run"]).ok().says(&["is not there yet, and will be made"]);
    let said = stack.run(&["backup"]).ok();
    assert!(!said.shown().contains("key-files"), "{}", said.shown());
    stack.sh("repo/.codex-api", "rm config.toml");
    let said = stack.run(&["backup"]).exits(1).says(&["has no config.toml", "no drill would pass"]);
    assert!(!said.shown().contains("will be made"), "{}", said.shown());
    // It is told each time, and nobody would recover to it.
    outcome(&mut stack.plain(&["backup"])).exits(1).says(&["has no config.toml"]);
    stack.run(&["status"]).exits(1).says(&["was made with errors", "yes, to"]);
    stack.run(&["prune", "--keep", "1"]);
    let kept = stack.files("drive").iter().filter(|name| name.ends_with(".tar.gz")).count();
    assert_eq!(kept, 2, "the one that has the file, and the newest");
}

/// Two sets of one name, say of two services with a file each, would take each other's place at the drive.
#[test]
fn a_set_that_is_of_another_folder_than_its_last_backup_is_refused() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.sh(
        "repo",
        "cp -r .codex-api other; sed 's/\"[.]codex-api\"/\"other\"/' recovery.toml > ../other.toml",
    );
    let other =
        |args: &[&str]| outcome(&mut stack.plain(&[&["--config", "../other.toml", "backup"], args].concat()));
    other(&[]).exits(3).says(&[
        "the last backup of that name at drive is of .codex-api",
        "another name",
        "--force",
    ]);
    // It has moved.
    other(&["--force"]).ok();
    other(&[]).ok();
    // A source that is given says nothing of the set's own.
    stack.sh("repo", "cp -r other third");
    other(&["codex-api", "--source", "third"]).ok();
    other(&[]).ok();
}

#[test]
fn a_source_of_which_all_is_excluded_is_not_called_empty() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.sh("repo", "sed -i '/^source/a exclude = [\"*\"]' recovery.toml");
    stack.run(&["backup"]).exits(1).says(&["all that it holds is excluded", "`exclude`"]);
}

/// Of the repository, and of a drive that others use too.
#[test]
fn a_run_waits_for_a_lock_as_long_as_it_is_told() {
    let stack = Stack::configured();
    stack.sh("repo", "sed -i '/^source/a before = [\"echo >> ../begun\"]' recovery.toml");
    stack.run(&["backup"]).ok();
    let drive = stack.path("drive").canonicalize().expect("is there");
    let of_drive = stack.sh(".", &format!("printf %s '{}' | sha256sum | cut -c-32", drive.display()));
    let of_drive = format!("/run/lock/recovery-{}.lock", of_drive.trim());
    for lock in [".recovery/locks/repository", &of_drive] {
        let held = |seconds: &str, args: &str| {
            let xtask = env!("CARGO_BIN_EXE_xtask");
            let script = format!(
                "flock '{lock}' sh -c 'echo; exec sleep {seconds}' | {{ read -r _; '{xtask}' backup --force {args} 2>&1 && echo 0 || echo $?; }}"
            );
            stack.sh("repo", &script)
        };
        let said = held("2", "");
        assert!(
            said.contains("is in use by") && said.contains("--retry-lock") && said.ends_with("75\n"),
            "{said}"
        );
        let said = held("4", "--retry-lock 1s");
        assert!(said.ends_with("75\n"), "{said}");
        let before = stack.sh(".", "wc -l < begun").trim().parse::<u32>().expect("a number");
        let said = held("1", "--retry-lock 2m");
        assert!(said.contains("codex-api: /") && said.ends_with("\n0\n"), "{said}");
        // Nothing of the user's has run for the attempts before.
        assert_eq!(stack.sh(".", "wc -l < begun").trim(), (before + 1).to_string());
    }
    stack.run(&["backup", "--retry-lock", "soon"]).exits(2).says(&["write it like 90s, 10m or 3h"]);
}
