//! Odd inputs: pipes and devices where files belong, sparse archives, names without end, full devices, terminals' own
//! language, databases, drills that were killed. Each ends, with the right code, and in bounds.
use super::handmade::{Handmade, pax};
use super::support::{Outcome, Stack, flip, outcome, reseal};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// The address space of runs that must not grow, in kilobytes.
const BOUND: u32 = 300_000;

fn backed_up() -> Stack {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack
}

/// A run that would hang is killed: one that waits for a pipe does not hear that it should stop.
fn in_time(stack: &Stack, args: &[&str]) -> Outcome {
    let plain = stack.command(args);
    let mut command = Command::new("timeout");
    command
        .args(["-k", "1", "20"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(stack.path("repo"));
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let said = outcome(&mut command);
    assert!((0..=3).contains(&said.code), "it hangs: {}", said.shown());
    said
}

fn pipe(path: &Path) {
    fs::remove_file(path).expect("removes");
    assert!(Command::new("mkfifo").arg(path).status().expect("starts").success());
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
    for ending in [".sha256", ".manifest.jsonl.gz", ".tar.gz"] {
        let stack = backed_up();
        let archive = stack.one("drive", ".tar.gz").display().to_string();
        pipe(&stack.one("drive", ending));
        in_time(&stack, &["verify"]).fails().says(&["error"]);
        in_time(&stack, &["verify", &archive]).fails().says(&["error"]);
        in_time(&stack, &["status"]);
        // A manifest proves what is restored; no marker has to.
        let restored = in_time(&stack, &["restore", "codex-api", "--to", "../back"]);
        assert_eq!(restored.code == 0, ending == ".sha256", "{}", restored.shown());
        assert_eq!(stack.path("back").exists(), ending == ".sha256");
    }
}

#[test]
fn what_has_no_end_is_not_read_to_its_end() {
    let stack = backed_up();
    let said = stack.run_within(BOUND, &["--config", "/dev/zero", "status"]).fails();
    assert!(said.stderr.starts_with("error: "), "{}", said.shown());
    let marker = stack.one("drive", ".sha256");
    fs::remove_file(&marker).expect("removes");
    symlink("/dev/zero", &marker).expect("links");
    stack.run_within(BOUND, &["verify"]).fails().says(&["error: ", ".sha256"]);
    for args in [&["status"][..], &["restore", "codex-api", "--to", "../back"]] {
        let said = stack.run_within(BOUND, args);
        assert!((0..=3).contains(&said.code), "{}", said.shown());
    }
}

#[test]
fn sparse_files_in_the_pax_form_are_refused() {
    let stack = Stack::configured();
    stack.sh(
        "home",
        "mkdir data; printf x > data/holes; truncate -s 4M data/holes; printf y >> data/holes; \
         tar -S --format=posix -czf sparse.tar.gz data; tar --format=posix -czf plain.tar.gz data",
    );
    stack.run(&["verify", "../home/plain.tar.gz"]).ok();
    stack.run(&["verify", "../home/sparse.tar.gz"]).exits(1).says(&["sparse"]);
    stack.run(&["restore", "../home/sparse.tar.gz", "--to", "../back"]).exits(1);
    assert!(!stack.path("back").exists());
}

#[test]
fn a_name_of_half_a_million_folders_is_refused() {
    let stack = Stack::configured();
    let name = "a/".repeat(500_000) + "f";
    let tar = Handmade::new().extension(b'x', &pax("path", name.as_bytes())).file("data/f", "x");
    fs::write(stack.path("home/deep.tar.gz"), tar.gz()).expect("writes");
    let said = in_time(&stack, &["verify", "../home/deep.tar.gz"]).exits(1);
    assert!(said.stdout.len() + said.stderr.len() < 20_000, "not all of it is shown");
    in_time(&stack, &["restore", "../home/deep.tar.gz", "--to", "../back"]);
    assert!(!stack.path("back").exists());
}

#[test]
fn a_result_that_could_not_be_written_is_an_error() {
    let stack = backed_up();
    let xtask = env!("CARGO_BIN_EXE_xtask");
    for args in ["verify --json", "verify", "status --json"] {
        let script = format!("set +e; '{xtask}' {args} > /dev/full; echo $?");
        assert_eq!(stack.sh("repo", &script), "3\n", "{args}");
    }
}

#[test]
fn nothing_that_is_shown_speaks_to_the_terminal() {
    let stack = Stack::new();
    let check = r"printf '\\033[31mred\\033]0;title\\007\\n' >&2; exit 1";
    stack.configure(&format!("[drill]\nrelease-checks = [\"{check}\"]\n"));
    stack.file("repo/.codex-api/a\u{1b}[31mred\u{7}", "x\n");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let drill = stack.run(&["restore-drill"]).exits(1).says(&["red"]);
    let json = stack.run(&["restore-drill", "--json"]).exits(1);
    let archive = stack.one("drive", ".tar.gz");
    let middle = fs::metadata(&archive).expect("there").len() / 2;
    flip(&archive, middle.try_into().expect("small"));
    reseal(&archive);
    let damaged = stack.run(&["-v", "verify"]).exits(1).says(&["[31mred"]);
    let ended = stack.run(&["restore", "codex-api", "--to", "../a\u{1b}[31mred/x"]).fails();
    for said in [&drill, &json, &damaged, &ended] {
        let raw = said.stdout.bytes().chain(said.stderr.bytes());
        assert_eq!(raw.filter(|byte| matches!(byte, 0x1b | 7)).count(), 0, "{}", said.shown());
    }
}

#[test]
fn a_large_file_of_a_repository_needs_no_room_of_its_size() {
    let stack = Stack::new();
    stack.sh("repo", "head -c 100M /dev/urandom > big.bin; git config core.compression 0");
    stack.commit("big", "2026-03-02T08:30:00Z");
    stack.run_within(200_000, &["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    stack.sh(
        "repo",
        &format!(
            "mkdir ../a ../b; git archive HEAD | tar -xf - -C ../a; tar -xzf '{tarball}' -C ../b; \
             cmp ../a/big.bin \"$(find ../b -name big.bin)\""
        ),
    );
}

#[test]
fn a_database_keeps_its_journal_mode() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "sqlite3 wal.db 'pragma journal_mode=wal; create table t(a); insert into t values (1),(2)'; \
         sqlite3 plain.db 'create table t(a); insert into t values (7)'",
    );
    stack.run(&["backup"]).ok();
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    let names = stack.files("back/.codex-api").into_iter().filter(|name| name.contains(".db"));
    assert_eq!(names.collect::<Vec<_>>(), ["plain.db", "wal.db"]);
    let asked = "for db in wal plain; do sqlite3 $db.db 'pragma journal_mode; select sum(a) from t'; done";
    assert_eq!(stack.sh("back/.codex-api", asked), "wal\n3\ndelete\n7\n");
}

/// The private folders of drills that are there.
fn rooms(stack: &Stack) -> Vec<String> {
    let names = fs::read_dir(stack.path(".")).expect("lists");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("recovery-drill-")).collect()
}

#[test]
fn what_a_killed_drill_left_is_told_and_removed_by_the_next() {
    let stack = Stack::new();
    stack.configure("[drill]\nrelease-checks = [\"echo $$ > $HOME/begun; exec sleep 600\"]\n");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let mut child = stack.grouped(&["restore-drill"]).spawn().expect("starts");
    let begun = || fs::read_to_string(stack.path("home/begun")).is_ok_and(|text| text.ends_with('\n'));
    while !begun() {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before its check");
        sleep(Duration::from_millis(20));
    }
    kill_process_group(Pid::from_child(&child), Signal::KILL).expect("sends");
    child.wait().expect("ends");
    // The check has a group of its own, and outlives a drill that is killed.
    stack.sh("home", "kill -9 \"$(cat begun)\" 2>/dev/null || true");
    assert_eq!(rooms(&stack).len(), 1, "what a drill that is killed cannot remove");
    let repository = stack.path("repo").display().to_string();
    stack.run(&["status"]).says(&["recovery-drill-", &format!("a drill of {repository} that was killed")]);
    stack.configure("");
    stack.sh(".", "cp -a recovery-drill-* kept");
    // Another repository tells whose it was, and one whose lock nobody let go of, or that has none, stays.
    stack.sh(".", "cp -a repo other; mkdir recovery-drill-x; touch -d '3 days ago' recovery-drill-x/data recovery-drill-x");
    let said = stack.run(&["restore-drill", "-C", "../other", "--json"]);
    let told = format!("of {repository}");
    assert!(said.json()["steps"][0]["detail"].to_string().contains(&told), "{}", said.shown());
    assert_eq!(rooms(&stack), ["recovery-drill-x"]);
    stack.sh(".", "rm -r recovery-drill-x");
    stack.run(&["restore-drill"]).ok();
    assert_eq!(rooms(&stack), [""; 0]);
    let after = stack.run(&["status", "--json"]).json();
    assert!(!after.to_string().contains("recovery-drill-"), "{after}");
    // A full drill is a drill too.
    stack.sh(".", "mv kept recovery-drill-kept");
    stack.configure("[drill]\nstop = \"true\"\nstart = \"true\"\nsmoke = [\"true\"]\ndeploy = \"true\"\n");
    stack.run(&["restore-drill", "full", "--yes"]).ok();
    assert_eq!(rooms(&stack), [""; 0]);
}

#[test]
fn an_empty_pattern_and_a_recipe_for_some_paths_are_wrong_command_lines() {
    let stack = backed_up();
    stack.run(&["restore", "codex-api", "--path", "", "--to", "../back"]).exits(2);
    stack.run(&["restore", "codex-api", "--explain", "--path", "x"]).exits(2);
    assert!(!stack.path("back").exists());
}

#[test]
fn an_empty_target_keeps_its_mode_and_may_be_reached_through_a_link() {
    let stack = backed_up();
    stack.sh(".", "mkdir -m 750 kept; mkdir -m 711 real; ln -s real link");
    for target in ["kept", "link"] {
        stack.run(&["restore", "codex-api", "--to", &format!("../{target}")]).ok();
        let back = format!("{target}/.codex-api");
        assert_eq!(stack.listing("repo/.codex-api"), stack.listing(&back), "{target}");
    }
    assert_eq!(stack.sh(".", "stat -c %a kept real; test -L link; ls -A real"), "750\n711\n.codex-api\n");
}

#[test]
fn an_unknown_recipient_is_told_before_anything_is_written() {
    let stack = Stack::new();
    stack.configure("recipients = [\"nobody@example.org\"]\n");
    stack.sh("home", "mkdir -m 700 .gnupg");
    stack.run(&["backup"]).exits(3).says(&["gpg --list-keys", "nobody@example.org"]);
    assert_eq!(stack.files("drive"), [""; 0]);
    let helpers = r#"for process in /proc/[0-9]*; do
        if [ "$(cat "$process/comm" 2>/dev/null)" = dirmngr ]; then
            tr '\0' '\n' < "$process/environ" | grep -F "$TMPDIR" || true
        fi
    done"#;
    assert_eq!(stack.sh("home", helpers), "", "nobody asked for the network");
}

/// What lies where a lock, the history or a record should be, and is no file, keeps nobody waiting and no data back.
#[test]
fn what_is_no_file_keeps_nobody_waiting() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.sh("repo", "mkfifo releases/x.lock.json; mkdir -p docs/drills; mkfifo docs/drills/drill-x.json; mv .recovery/history.jsonl .; mkdir .recovery/history.jsonl");
    let xtask = env!("CARGO_BIN_EXE_xtask");
    for args in ["status", "verify", "restore codex-api --to ../back"] {
        let said = stack.sh(
            "repo",
            &format!("code=0; timeout -k 1 20 '{xtask}' {args} >../out 2>&1 || code=$?; echo $code"),
        );
        assert!(["0\n", "1\n", "3\n"].contains(&said.as_str()), "{args}: {said}");
    }
    assert!(stack.path("back/.codex-api/config.toml").exists());
    stack.run(&["restore", "codex-api", "--to", "../again", "--json"]).ok();
}

/// What lies too deep for the system's paths is named, and all else comes back.
#[test]
fn a_path_that_is_too_long_costs_itself_alone() {
    let stack = Stack::configured();
    stack.sh(
        "repo/.codex-api",
        "echo x > near; n=$(printf 'd%.0s' $(seq 200)); for i in $(seq 25); do mkdir $n; cd -P $n; done; echo x > leaf",
    );
    stack.run(&["backup"]);
    let said = stack.run(&["restore", "codex-api", "--to", "../back", "--json"]).exits(1).json();
    let findings = said["findings"].as_array().expect("findings").iter();
    let told = findings.filter(|finding| finding["what"].to_string().contains("the system takes 4096"));
    assert!(told.count() >= 5, "{}", said["findings"].as_array().map_or(0, Vec::len));
    assert_eq!(
        stack.sh("back/.codex-api", "cat near; cat config.toml | wc -c"),
        stack.sh("repo/.codex-api", "cat near; cat config.toml | wc -c")
    );
    assert!(
        stack
            .sh("back/.codex-api", "find . -type d | tail -1 | wc -c")
            .trim()
            .parse::<usize>()
            .expect("a number")
            > 3000
    );
}

#[test]
fn a_destination_that_is_a_link_to_nowhere_is_refused_by_the_dry_run_too() {
    let stack = Stack::configured();
    stack.sh(".", "ln -s nowhere link");
    let to_link = ["backup", "--source", ".codex-api", "--dest", "../link"];
    for more in [&["--dry-run"][..], &[]] {
        stack
            .run(&[&to_link[..], more].concat())
            .exits(3)
            .says(&["is a link that leads nowhere", "mend the link"]);
    }
    stack.sh(".", "mkdir nowhere");
    stack.run(&to_link).ok();
}

/// What comes back has the folder's own name: it would lie one folder too deep, and be backed up there.
#[test]
fn nothing_is_restored_into_the_place_of_a_source_that_is_gone() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let before = stack.listing("repo/.codex-api");
    stack.sh("repo", "rm -r .codex-api");
    let hint = ["is the source, and is not there", "restore codex-api --to DIR"];
    stack.run(&["backup"]).exits(1).says(&hint);
    for to in [".codex-api", ".codex-api/below"] {
        stack
            .run(&["restore", "codex-api", "--to", to])
            .exits(3)
            .says(&["the source of a data set", "moved to its place"]);
        assert!(!stack.path("repo/.codex-api").exists());
    }
    stack.run(&["restore", "codex-api", "--to", "../back"]).ok();
    stack.sh("repo", "mv ../back/.codex-api .");
    assert_eq!(stack.listing("repo/.codex-api"), before);
}

/// The older backups hold it under the name that it had then.
#[test]
fn a_drill_looks_for_key_files_where_they_were_when_the_backup_was_made() {
    let stack = Stack::configured();
    stack.run_at("2026-03-01T12:00:00Z", &["backup"]).ok();
    stack.sh("repo", "mv .codex-api .codex-data; sed -i 's/[.]codex-api\"/.codex-data\"/' recovery.toml");
    stack.run_at("2026-03-02T12:00:00Z", &["backup"]).ok();
    for day in ["03", "04"] {
        let now = format!("2026-03-{day}T12:00:00Z");
        let drill = stack.run_at(&now, &["restore-drill", "--json"]).ok().json();
        assert!(drill["artifacts"].as_array().is_some_and(|all| all.len() == 2), "{drill}");
    }
}

#[test]
fn bundles_that_are_all_gone_are_missed() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["status"]).ok();
    stack.run(&["snapshot"]).ok();
    stack.run(&["status"]).ok();
    stack.sh("repo", "rm -r releases");
    stack.run(&["status"]).exits(1).says(&["is gone, though nothing pruned it", "has no bundle any more"]);
    stack.run(&["snapshot"]).ok();
    stack.run(&["status"]).ok();
}

/// Each of its bundles is of the working tree, and each counts.
#[test]
fn a_release_with_built_files_is_verified_and_drilled() {
    let stack = Stack::new();
    stack.configure("[release]\ninclude = [\"dist/\"]\n");
    stack.file("repo/dist/app.js", "built\n");
    stack.sh("repo", "echo dist/ >> .gitignore");
    stack.commit("built", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    stack.run(&["verify", "--latest"]).ok().says(&["-dirty-"]);
    let drill = stack.run(&["restore-drill", "--json"]).ok().json();
    assert!(drill["artifacts"].to_string().contains("-dirty-"), "{drill}");
    assert!(drill["not_tested"].to_string().contains("holds more than that"), "{drill}");
}

/// Nothing was lost of a service that has written nothing yet.
#[test]
fn a_source_that_never_held_a_file_is_unchanged_and_not_emptied() {
    let stack = Stack::new();
    stack.configure("");
    stack.sh("repo", "sed -i '/^key-files/d' recovery.toml; rm -r .codex-api; mkdir .codex-api");
    let backup = |stack: &Stack| outcome(&mut stack.plain(&["backup"]));
    stack.run(&["doctor"]).ok().says(&["0 files", "the right folder"]);
    backup(&stack).ok().says(&["holds no files"]);
    backup(&stack).ok().says(&["unchanged"]);
    stack.run(&["doctor"]).ok().says(&["0 files", "the right folder"]);
    stack.file("repo/.codex-api/first", "x");
    backup(&stack).ok();
    stack.sh("repo", "rm .codex-api/first");
    backup(&stack).exits(1).says(&["though it was backed up before"]);
    stack.run(&["doctor"]).exits(1).says(&["though it was backed up before"]);
}

/// Two clones with one drive: that one takes over the other's backups says nothing of a clock.
#[test]
fn what_was_taken_over_was_not_made_at_another_time_than_it_says() {
    let stack = Stack::configured();
    stack.sh(".", "cp -a repo other");
    stack.run_at("2026-03-01T12:00:00Z", &["backup"]).ok();
    stack.run_at("2026-03-02T12:00:00Z", &["-C", "../other", "backup"]).ok();
    let now = "2026-03-02T13:00:00Z";
    stack.run_at(now, &["prune", "--adopt"]).ok();
    for args in [&["status"][..], &["prune", "--dry-run"], &["restore", "codex-api", "--to", "../back"]] {
        let said = stack.run_at(now, args);
        assert!(!said.shown().contains("clock"), "{args:?}: {}", said.shown());
    }
}

/// The name of one release begins with that of the other.
#[test]
fn the_bundles_of_another_release_are_not_missed() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    stack.file("repo/web.toml", &format!("{text}[release]\nname = \"acme-api-web\"\n"));
    stack.sh("repo", "git add web.toml; git -c user.name=a -c user.email=a@b commit -qm web");
    stack.run(&["--config", "web.toml", "snapshot"]).ok();
    stack.run(&["status"]).ok();
    stack.sh("repo", "rm -r releases");
    stack.run(&["--config", "web.toml", "status"]).exits(1).says(&["acme-api-web has no bundle any more"]);
}

/// A drill takes what a restore would take: what another repository has made last says nothing of ours.
#[test]
fn a_drill_takes_our_own_newest_beside_a_newer_one_of_another() {
    let stack = Stack::configured();
    stack.sh(".", "cp -a repo other");
    stack.run_at("2026-03-01T12:00:00Z", &["backup"]).ok();
    stack.run_at("2026-03-02T12:00:00Z", &["-C", "../other", "backup"]).ok();
    let drill = stack.run_at("2026-03-03T12:00:00Z", &["restore-drill", "--json"]).ok().json();
    let paths: Vec<_> = drill["artifacts"].as_array().into_iter().flatten().map(|one| &one["path"]).collect();
    assert_eq!(paths, ["codex-api-2026-03-01T120000Z.tar.gz"], "{drill}");
    flip(&stack.one("drive/2026/03-01", ".tar.gz"), 300);
    stack.run_at("2026-03-04T12:00:00Z", &["restore-drill"]).exits(1);
}
