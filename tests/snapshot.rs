//! `snapshot`: the same bytes everywhere, the commit's content and nothing else.
use super::support::{Stack, flip};
use std::fs;

const BUNDLE: &str = "acme-api-v1.4.2-2026-03-01T083000Z";

fn bundle(stack: &Stack) -> Vec<u8> {
    fs::read(stack.path("repo/releases").join(format!("{BUNDLE}.tar.gz"))).expect("reads")
}

#[test]
fn a_bundle_holds_the_commit_and_a_second_run_changes_nothing() {
    let stack = Stack::new();
    stack.file("repo/.env", "SECRET=1\n");
    stack.file("repo/server.js", "edited, not committed\n");
    let first = stack.run(&["snapshot", "--json"]).ok().json();
    assert_eq!(first["status"], "created");
    assert_eq!(first["git_sha"].as_str().map(str::len), Some(12));
    assert!(first["tarball"].as_str().is_some_and(|path| path.ends_with(&format!("{BUNDLE}.tar.gz"))));
    assert!(first["lock"].as_str().is_some_and(|path| path.ends_with(".lock.json")));
    assert_eq!(first["pruned"].as_array().map(Vec::len), Some(0));
    assert!(first["findings"].to_string().contains("edit"), "local edits are told: {first}");
    let files = ["SHA256SUMS", ".lock.json", ".manifest.jsonl.gz", ".tar.gz"];
    assert_eq!(
        stack.files("repo/releases"),
        files.map(|end| if end == "SHA256SUMS" { end.into() } else { format!("{BUNDLE}{end}") })
    );
    stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS");
    stack.sh(
        "repo",
        &format!(
            "mkdir ../a ../b; tar -xf releases/{BUNDLE}.tar.gz -C ../a; git archive HEAD | tar -xf - -C ../b; diff -r --no-dereference ../a ../b"
        ),
    );
    let names = stack.sh("repo", &format!("tar -tf releases/{BUNDLE}.tar.gz"));
    let mut sorted: Vec<&str> = names.lines().collect();
    sorted.sort_unstable();
    assert_eq!(names.lines().collect::<Vec<_>>(), sorted, "sorted by path bytes");
    let before = stack.listing("repo/releases");
    assert_eq!(stack.run(&["snapshot", "--json"]).ok().json()["status"], "unchanged");
    assert_eq!(stack.listing("repo/releases"), before);
}

#[test]
fn bytes_do_not_depend_on_the_surroundings() {
    let stack = Stack::new();
    stack.sh("repo", "for n in $(seq 300); do head -c 40000 /dev/urandom | base64 > docs/$n.txt; done");
    stack.commit("many", "2026-03-01T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    let (expected, lock) =
        (bundle(&stack), fs::read(stack.one("repo/releases", ".lock.json")).expect("reads"));
    assert!(expected.len() > 8 << 20, "several blocks");
    stack.sh(".", "git clone -q repo clone; mkdir -p deep/er; git clone -q --no-local repo deep/er/repo");
    let xtask = env!("CARGO_BIN_EXE_xtask");
    for (index, (folder, before)) in [
        ("repo", "umask 077; export TZ=Asia/Tokyo"),
        ("repo", "umask 000; export LC_ALL=C.UTF-8 TZ=America/New_York"),
        ("clone", "chmod -R u+rwX,go-rwx ."),
        ("deep/er/repo/docs", "touch *"),
        ("repo", "export GIT_DIR=/nowhere GIT_INDEX_FILE=/nowhere"),
        ("clone", "mkdir -p ~/.config/git; echo '* export-ignore' | tee ~/.config/git/attributes > .git/info/attributes"),
    ]
    .iter()
    .enumerate()
    {
        let out = stack.path(&format!("out{index}"));
        let script = format!("{before}; '{xtask}' snapshot --output-dir '{}'", out.display());
        stack.sh(folder, &script);
        assert!(fs::read(out.join(format!("{BUNDLE}.tar.gz"))).expect("reads") == expected, "{before}");
        assert!(fs::read(out.join(format!("{BUNDLE}.lock.json"))).expect("reads") == lock, "{before}");
    }
    let cpus = stack.sh(".", "nproc").trim().parse::<u32>().expect("a number");
    for cpu in ["0".to_owned(), format!("0-{}", cpus - 1)] {
        let out = stack.path(&format!("cpus{cpu}"));
        let script = format!("taskset -c {cpu} '{xtask}' snapshot --output-dir '{}'", out.display());
        stack.sh("repo", &script);
        assert!(fs::read(out.join(format!("{BUNDLE}.tar.gz"))).expect("reads") == expected, "cpus {cpu}");
    }
}

#[test]
fn a_cargo_repository_and_a_bare_one_need_no_configuration() {
    let stack = Stack::bare();
    stack.file("repo/Cargo.toml", "[package]\nname = \"crab\"\nversion = \"0.3.0\"\nedition = \"2024\"\n");
    stack.file("repo/src/lib.rs", "");
    stack.sh("repo", "git init -q -b main .");
    stack.commit("first", "2026-03-01T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    assert!(stack.path("repo/releases/crab-v0.3.0-2026-03-01T083000Z.tar.gz").exists());
    stack.sh(".", "git clone -q --bare repo bare.git");
    let bare = stack.path("bare.git").display().to_string();
    let out = stack.path("out").display().to_string();
    stack.run(&["-C", &bare, "snapshot", "--output-dir", &out]).ok();
    assert_eq!(
        fs::read(stack.one("out", ".tar.gz")).expect("reads"),
        fs::read(stack.one("repo/releases", ".tar.gz")).expect("reads")
    );
    let plain = Stack::bare();
    plain.file("repo/a", "a");
    plain.sh("repo", "git init -q -b main .");
    plain.commit("first", "2026-03-01T08:30:00Z");
    let document = plain.run(&["snapshot", "--json"]).ok().json();
    let name = document["tarball"].as_str().expect("a name").to_owned();
    assert!(
        name.contains("/repo-git-")
            && document["git_sha"].as_str().is_some_and(|sha| name.contains(&sha[..7])),
        "{name}"
    );
}

/// Name, version and patterns are the commit's own: a bare clone, and a working tree with other things in it, make the
/// same bundle.
#[test]
fn the_commits_own_files_shape_the_bundle() {
    let stack = Stack::new();
    stack.file("repo/recovery.toml", "[release]\nname = \"shop\"\nexclude = [\"docs/\"]\n");
    stack.commit("configured", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    let made = |folder: &str| fs::read(stack.one(folder, ".tar.gz")).expect("reads");
    assert!(stack.path("repo/releases/shop-v1.4.2-2026-03-02T083000Z.tar.gz").exists());
    stack.file("repo/recovery.toml", "[release]\nname = \"other\"\n");
    stack.file("repo/package.json", r#"{"name": "else", "version": "9.9.9"}"#);
    stack.sh(".", "git clone -q --bare repo bare.git");
    for (place, out) in [("../repo", "../edited"), ("../bare.git", "../bare")] {
        stack.run(&["-C", place, "snapshot", "--output-dir", out]).ok();
    }
    assert!(made("repo/releases") == made("edited") && made("repo/releases") == made("bare"));
    assert_eq!(stack.run(&["-C", "../bare.git", "snapshot"]).ok().stdout.matches("shop-v1.4.2").count(), 1);
    // A commit from before the configuration goes by the one of today.
    let old = ["-C", "../bare.git", "snapshot", "--rev", "HEAD~1", "--dry-run", "--json"];
    assert!(
        stack.run(&old).ok().json()["tarball"].as_str().is_some_and(|path| path.contains("/shop-v1.4.2-"))
    );
    let named = stack.run(&["snapshot", "--config", "recovery.toml", "--dry-run", "--json"]).ok().json();
    assert!(named["tarball"].as_str().is_some_and(|path| path.contains("/other-v1.4.2-")), "{named}");
}

#[test]
fn flags_do_what_they_say() {
    let stack = Stack::new();
    let dry = stack.run(&["snapshot", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["status"], "planned");
    assert!(!stack.path("repo/releases").exists() && !stack.path("repo/.recovery").exists());
    let args =
        ["snapshot", "--version", "v9", "--env", "stage", "--no-tarball", "--output-dir", "../out", "--json"];
    let lock = stack.run(&args).ok().json()["lock"].as_str().expect("a lock").to_owned();
    let lock: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(lock).expect("reads")).expect("JSON");
    assert_eq!(
        (&lock["version"], &lock["env"], &lock["tarball"]),
        (&"v9".into(), &"stage".into(), &serde_json::Value::Null)
    );
    stack.sh("repo", "git tag v1.4.2");
    stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "1.5.0"}"#);
    stack.commit("second", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot", "--rev", "v1.4.2"]).ok();
    stack.run(&["snapshot"]).ok();
    stack.file("repo/package.json", r#"{"name": "@acme/api", "version": "1.6.0"}"#);
    stack.commit("third", "2026-03-03T08:30:00Z");
    let kept = stack.run(&["snapshot", "--keep", "2", "--prune", "--dry-run", "--json"]).ok().json();
    let pruned = stack.run(&["snapshot", "--keep", "2", "--prune", "--json"]).ok().json();
    assert_eq!(kept["pruned"], pruned["pruned"], "the dry run shows the real plan");
    assert!(pruned["pruned"].to_string().contains(BUNDLE), "{pruned}");
    assert_eq!(stack.files("repo/releases").len(), 2 * 3 + 1);
    stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS; [ $(wc -l < SHA256SUMS) = 6 ]");
}

#[test]
fn a_dirty_or_staged_bundle_says_so() {
    let stack = Stack::new();
    stack.file("repo/server.js", "edited\n");
    stack.file("repo/dist/app.js", "built\n");
    stack.file("repo/recovery.toml", "[release]\ninclude = [\"dist/\"]\nexclude = [\"docs/\"]\n");
    stack.file("repo/.gitattributes", "bin export-ignore\n");
    stack.sh(
        "repo",
        "git add .gitattributes; git -c user.name=a -c user.email=a@example.org commit -q -m attributes",
    );
    let document = stack.run(&["snapshot", "--allow-dirty", "--json"]).ok().json();
    let tarball = document["tarball"].as_str().expect("a name").to_owned();
    let listed = stack.sh("repo", &format!("tar -tf '{tarball}'; tar -xOf '{tarball}' server.js"));
    assert!(
        listed.contains("dist/app.js")
            && listed.contains("edited")
            && !listed.contains("docs/")
            && !listed.contains("bin/"),
        "{listed}"
    );
    let lock = fs::read_to_string(document["lock"].as_str().expect("a lock")).expect("reads");
    assert!(lock.contains("\"dirty\": true"), "{lock}");
    stack.run(&["verify", &tarball]).ok();
}

#[test]
fn export_ignore_submodules_and_lfs_are_honoured_or_told() {
    let stack = Stack::new();
    stack.file("repo/.gitattributes", "docs export-ignore\n");
    stack.file("repo/large.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
    stack.sh(".", "git clone -q repo lib");
    stack.sh("repo", "git -c protocol.file.allow=always submodule --quiet add ../lib vendor/lib");
    stack.commit("more", "2026-03-01T08:30:00Z");
    stack.run(&["snapshot"]).exits(1).says(&["large.bin is a Git LFS pointer", "lfs = \"pointer\""]);
    stack.file("repo/recovery.toml", "[release]\nlfs = \"pointer\"\n");
    stack.commit("as pointers", "2026-03-01T08:30:00Z");
    let document = stack.run(&["snapshot", "--json"]).ok().json();
    let findings = document["findings"].to_string();
    assert!(findings.contains("vendor/lib") && findings.contains("large.bin"), "{findings}");
    stack.sh(
        "repo",
        &format!("mkdir ../a ../b; tar -xf releases/{BUNDLE}.tar.gz -C ../a; git archive HEAD | tar -xf - -C ../b; rmdir ../b/vendor/lib ../b/vendor 2>/dev/null; rm -rf ../a/vendor; diff -r --no-dereference ../a ../b"),
    );
}

#[test]
fn a_bundle_that_lost_a_byte_is_not_unchanged() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    let whole = fs::read(&tarball).expect("reads");
    flip(&tarball, whole.len() / 2);
    assert_eq!(stack.run(&["snapshot", "--json"]).exits(1).json()["status"], "damaged");
    fs::remove_file(&tarball).expect("removes");
    stack.run(&["snapshot"]).exits(1).says(&["gone", "remove its lock"]);
    fs::remove_file(stack.one("repo/releases", ".lock.json")).expect("removes");
    stack.run(&["snapshot"]).ok();
    assert!(fs::read(&tarball).expect("reads") == whole);
}

#[test]
fn a_lock_that_was_made_alone_gets_its_tarball() {
    let stack = Stack::new();
    let alone = stack.run(&["snapshot", "--no-tarball", "--json"]).ok().json();
    assert!(alone["tarball"].is_null() && alone["status"] == "created", "{alone}");
    assert_eq!(stack.run(&["snapshot", "--no-tarball", "--json"]).ok().json()["status"], "unchanged");
    stack.run(&["verify"]).exits(1).says(&["lock alone"]);
    let whole = stack.run(&["snapshot", "--json"]).ok().json();
    assert_eq!((&whole["status"], &whole["sha256"]), (&"created".into(), &alone["sha256"]));
    stack.run(&["verify"]).ok();
    assert_eq!(stack.run(&["snapshot", "--json"]).ok().json()["status"], "unchanged");
}

/// It gives nothing back, so it takes no place of what does.
#[test]
fn a_lock_alone_evicts_no_bundle() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    stack.commit("more", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot", "--no-tarball", "--keep", "1", "--prune"]).ok();
    stack.run(&["prune", "--keep", "1"]).ok();
    let files = stack.files("repo/releases");
    assert_eq!(files.iter().filter(|name| name.ends_with(".tar.gz")).count(), 1, "{files:?}");
    assert_eq!(files.iter().filter(|name| name.ends_with(".lock.json")).count(), 2, "{files:?}");
}

#[test]
fn another_environment_or_other_patterns_are_not_unchanged() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    let before = stack.listing("repo/releases");
    stack.run(&["snapshot", "--env", "dev"]).exits(3).says(&["prod", "dev", "next:"]);
    stack.file("repo/other.toml", "[release]\nexclude = [\"docs/\"]\n");
    stack.run(&["--config", "other.toml", "snapshot"]).exits(3).says(&["other patterns", "next:"]);
    assert_eq!(stack.listing("repo/releases"), before);
}

#[test]
fn two_dirty_bundles_of_one_second_are_two() {
    let stack = Stack::new();
    for text in ["one", "two"] {
        stack.file("repo/server.js", text);
        assert_eq!(stack.run(&["snapshot", "--allow-dirty", "--json"]).ok().json()["status"], "created");
    }
    assert_eq!(stack.files("repo/releases").len(), 2 * 3 + 1);
    stack.run(&["verify"]).ok();
}

#[test]
fn line_ends_are_those_of_git_archive() {
    let stack = Stack::new();
    stack.file("repo/.gitattributes", "*.bat eol=crlf\n*.txt text=auto eol=crlf\n*.raw -text eol=crlf\n");
    for name in ["run.bat", "docs/read.txt", "data.raw"] {
        stack.file(&format!("repo/{name}"), "one\ntwo\n");
    }
    stack.sh("repo", r"printf 'a\n\000b\n' > docs/binary.txt");
    stack.commit("more", "2026-03-01T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    stack.sh(
        "repo",
        &format!("mkdir ../a ../b; tar -xf releases/{BUNDLE}.tar.gz -C ../a; git archive HEAD | tar -xf - -C ../b; diff -r ../a ../b; grep -c $'\\r' ../a/run.bat ../a/docs/read.txt"),
    );
}

#[test]
fn the_time_of_a_bundle_can_be_given() {
    let stack = Stack::new();
    let made = stack.run_with(&[("SOURCE_DATE_EPOCH", "1700000000")], &["snapshot", "--json"]).ok().json();
    let tarball = made["tarball"].as_str().expect("a name");
    assert!(tarball.ends_with("-2023-11-14T221320Z.tar.gz"), "{tarball}");
    let times = stack.sh("repo", &format!("tar --utc -tvf '{tarball}' | awk '{{print $4, $5}}' | uniq"));
    assert_eq!(times, "2023-11-14 22:13\n");
    stack.run_with(&[("SOURCE_DATE_EPOCH", "soon")], &["snapshot"]).exits(2).says(&["SOURCE_DATE_EPOCH"]);
}

#[test]
fn a_link_that_no_system_takes_is_named_and_not_read() {
    let stack = Stack::new();
    stack.sh(
        "repo",
        "id=$(head -c 20000000 /dev/zero | git hash-object -w --stdin)
        git update-index --add --cacheinfo 120000,$id,endless; git -c user.name=a -c user.email=a commit -qm link",
    );
    stack.run(&["snapshot"]).exits(1).says(&["endless", "20000000 bytes, which no system takes"]);
    stack.sh("repo", "printf '[release]\nexclude = [\"/endless\"]\n' > recovery.toml; git add recovery.toml; git -c user.name=a -c user.email=a commit -qm mend");
    stack.run(&["snapshot"]).ok();
}

/// A clone may hold anything.
#[test]
fn a_configuration_is_a_file_and_not_endless() {
    let stack = Stack::new();
    for (odd, code, what) in [
        ("mkfifo recovery.toml", 3, "is not a file"),
        ("ln -s /dev/zero recovery.toml", 3, "is not a file"),
        ("truncate -s 17M recovery.toml", 1, "longer than"),
    ] {
        stack.sh("repo", &format!("rm -f recovery.toml; {odd}"));
        for verb in ["status", "snapshot"] {
            stack.run(&[verb]).exits(code).says(&["recovery.toml", what]);
        }
    }
}

/// git's own folder takes no bundles, by whatever way it is reached.
#[test]
fn no_bundle_goes_into_gits_own_folder() {
    let stack = Stack::new();
    stack.sh("repo", "ln -s .git/info linked");
    let world = stack.world("repo/.git");
    for place in [".git", ".git/releases", "docs/../.git/x", "linked/releases"] {
        stack.run(&["snapshot", "--output-dir", place]).exits(3).says(&["git's own folder", "--output-dir"]);
        stack.run(&["snapshot", "--dry-run", "--output-dir", place]).exits(3);
    }
    stack.file("repo/recovery.toml", "[release]\noutput-dir = \".git/releases\"\n");
    stack.run(&["snapshot"]).exits(3).says(&["output-dir"]);
    assert_eq!(stack.world("repo/.git"), world);
}

/// A bundle holds a commit: what git cannot say of the working tree stands in nobody's way.
#[test]
fn an_index_that_git_cannot_read_is_told_and_the_commit_is_bundled() {
    let stack = Stack::new();
    stack.file("repo/.git/index", "no index");
    stack.run(&["snapshot", "--dry-run"]).ok().says(&["could not be compared with its commit"]);
    stack.run(&["snapshot"]).ok().says(&[
        "created ",
        "could not be compared with its commit",
        "`git status`",
    ]);
    stack.run(&["snapshot", "--allow-dirty"]).exits(3);
}
