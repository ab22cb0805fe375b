//! A damage matrix: what is broken × where × which verb finds it. Every row must be found, named, and non-zero.
use super::support::{Stack, flip, reseal};
use std::fs;
use std::path::Path;

fn archive(stack: &Stack, ending: &str) -> std::path::PathBuf {
    stack.one("drive", &format!("Z.tar.{ending}"))
}

fn backed_up(extra: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(extra);
    stack.sh("repo/.codex-api", "for n in $(seq 40); do head -c 200000 /dev/urandom > s$n; done");
    stack.run(&["backup"]).ok();
    stack
}

#[test]
fn one_flipped_byte_anywhere_is_found_and_nothing_wrong_is_restored() {
    for (extra, ending) in [("", "gz"), ("compression = \"zstd\"\n", "zst")] {
        let stack = backed_up(extra);
        let path = archive(&stack, ending);
        let name = path.display().to_string();
        let whole = fs::read(&path).expect("reads");
        let sealed = fs::read(
            path.with_file_name(format!("{}.sha256", path.file_name().expect("a name").to_string_lossy())),
        )
        .expect("reads");
        let marker =
            path.with_file_name(format!("{}.sha256", path.file_name().expect("a name").to_string_lossy()));
        let length = whole.len();
        for at in [0, 3, 10, 40, length / 3, length / 2, length - 40, length - 9, length - 1] {
            flip(&path, at);
            stack.run(&["verify", &name]).exits(1).says(&[path
                .file_name()
                .expect("a name")
                .to_str()
                .expect("text")]);
            // Even when the marker agrees, the deeper checks must see it: all but what gzip's header carries for nothing.
            reseal(&path);
            if at != 3 && at != 10 || ending == "zst" {
                let said = stack.run(&["verify", &name]);
                assert_eq!(said.code, 1, "byte {at} of {length}, {ending}: {}{}", said.stdout, said.stderr);
                // A container's first bytes may be wrong without harm to the content; then the content is right.
                let back = stack.run(&["restore", &name, "--to", "../back"]);
                match back.code {
                    0 => drop(stack.sh("repo", "diff -r .codex-api ../back/.codex-api; rm -r ../back")),
                    code => assert_eq!(code, 1, "byte {at} of {length}, {ending}: {}", back.stderr),
                }
                assert!(at < 20 || back.code == 1, "byte {at} of {length} was restored");
                // What came back is what it was, and what did not is named.
                let plain = |file: &String| {
                    stack
                        .path("back/.codex-api")
                        .join(file)
                        .symlink_metadata()
                        .is_ok_and(|meta| meta.is_file())
                };
                for file in stack.files("back/.codex-api").into_iter().filter(plain) {
                    let read = |folder: &str| fs::read(stack.path(folder).join(&file)).expect("reads");
                    assert!(read("back/.codex-api") == read("repo/.codex-api"), "byte {at}: {file}");
                }
                if back.code == 1 && stack.path("back").exists() {
                    let there = stack.files("back/.codex-api");
                    assert!(there.len() > 20, "byte {at} cost all but {}", there.len());
                    for file in stack.files("repo/.codex-api").iter().filter(|file| !there.contains(file)) {
                        assert!(
                            back.stderr.contains(file.as_str()),
                            "byte {at}: {file} is gone without a word"
                        );
                    }
                    stack.sh(".", "rm -r back");
                }
            }
            fs::write(&path, &whole).expect("writes");
            fs::write(&marker, &sealed).expect("writes");
        }
        stack.run(&["verify"]).ok();
    }
}

#[test]
fn a_truncated_archive_is_found_and_so_is_one_with_more_at_its_end() {
    for (extra, ending) in [("", "gz"), ("compression = \"zstd\"\n", "zst")] {
        let stack = backed_up(extra);
        let path = archive(&stack, ending);
        let name = path.display().to_string();
        let whole = fs::read(&path).expect("reads");
        let mut more = whole.clone();
        more.extend_from_slice(b"more");
        for bytes in [&whole[..0], &whole[..20], &whole[..whole.len() / 2], &whole[..whole.len() - 1], &more]
        {
            fs::write(&path, bytes).expect("writes");
            reseal(&path);
            stack.run(&["verify", &name]).exits(1);
            let back = stack.run(&["restore", &name, "--to", "../back"]).exits(1);
            // All of it, or what stands in front of the cut; the rest is named.
            if stack.path("back").exists() {
                for file in stack.files("repo/.codex-api") {
                    let read = |folder: &str| fs::read(stack.path(folder).join(&file)).ok();
                    let same = read("back/.codex-api") == read("repo/.codex-api");
                    assert!(same || back.stderr.contains(&file), "{file}: {}", back.stderr);
                }
                stack.sh(".", "rm -r back");
            }
            let manifest = fs::read(manifest_of(&path)).expect("reads");
            fs::remove_file(manifest_of(&path)).expect("removes");
            let said = stack.run(&["restore", &name, "--to", "../back"]);
            assert_eq!(
                said.code,
                1,
                "without a manifest, {} bytes: {}{}",
                bytes.len(),
                said.stdout,
                said.stderr
            );
            assert!(!stack.path("back").exists());
            fs::write(manifest_of(&path), manifest).expect("writes");
        }
    }
}

fn manifest_of(archive: &Path) -> std::path::PathBuf {
    let name = archive.to_string_lossy();
    name.replace(".tar.", ".manifest.jsonl.").into()
}

#[test]
fn the_manifest_of_another_archive_is_found() {
    let stack = backed_up("");
    stack.file("repo/.codex-api/config.toml", "model = 'z'\n");
    stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
    let mine = stack.path("drive/2026/03-11/codex-api-2026-03-11T120000Z.tar.gz");
    let other = stack.path("drive/2026/03-10/codex-api-2026-03-10T120000Z.tar.gz");
    fs::copy(manifest_of(&other), manifest_of(&mine)).expect("copies");
    let name = mine.display().to_string();
    stack.run(&["verify", &name]).exits(1).says(&["manifest"]);
    reseal(&mine);
    stack.run(&["verify", &name]).exits(1);
    stack.run(&["restore", &name, "--to", "../back"]).exits(1);
    stack.sh(".", "rm -rf back");
    fs::write(manifest_of(&mine), "no manifest").expect("writes");
    stack.run(&["verify", &name]).exits(1).says(&["manifest"]);
    fs::remove_file(manifest_of(&mine)).expect("removes");
    stack.run(&["restore", &name, "--to", "../back"]).ok();
}

#[test]
fn a_newer_format_is_refused_and_never_guessed() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run(&["snapshot"]).ok();
    let path = archive(&stack, "gz");
    let manifest = manifest_of(&path).display().to_string();
    stack.sh(
        "repo",
        &format!(
            "zcat '{manifest}' | sed '1s/\"schema\":1/\"schema\":9/' | gzip > m; cat m > '{manifest}'; rm m"
        ),
    );
    assert!(stack.sh("repo", &format!("zcat '{manifest}' | head -1")).contains(":9"));
    reseal(&path);
    let name = path.display().to_string();
    stack.run(&["verify", &name]).exits(3).says(&["newer"]);
    stack.run(&["restore", &name, "--to", "../back"]).exits(3).says(&["newer"]);
    let lock = stack.one("repo/releases", ".lock.json");
    let text =
        fs::read_to_string(&lock).expect("reads").replace("\"schema_version\": 1", "\"schema_version\": 9");
    fs::write(&lock, &text).expect("writes");
    for verb in [&["snapshot"][..], &["status"], &["prune"], &["verify"]] {
        let said = stack.run(verb).says(&["newer"]);
        assert!(said.code == 3 || said.code == 1, "{verb:?} ended with {}", said.code);
    }
    assert_eq!(fs::read_to_string(&lock).expect("reads"), text, "never rewritten");
}

#[test]
fn markers_of_other_tools_are_read_or_refused() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    let path = archive(&stack, "gz");
    let name = path.display().to_string();
    let marker = stack.one("drive", ".sha256");
    let text = fs::read_to_string(&marker).expect("reads");
    fs::write(&marker, text.replace('\n', "\r\n")).expect("writes");
    stack.run(&["verify", &name]).ok().says(&["Windows line ends"]);
    fs::write(
        &marker,
        text.replace("  codex", &format!("  {}/codex", path.parent().expect("a folder").display())),
    )
    .expect("writes");
    stack.run(&["verify", &name]).ok().says(&["absolute"]);
    fs::write(&marker, text.replace("  ", " *")).expect("writes");
    stack.run(&["verify", &name]).ok();
    for wrong in ["", "no digest here\n", "deadbeef  x\n"] {
        fs::write(&marker, wrong).expect("writes");
        stack.run(&["verify", &name]).exits(1);
    }
    fs::remove_file(&marker).expect("removes");
    stack.run(&["verify", &name]).says(&["no .sha256"]);
    stack.run(&["status"]).exits(1).says(&["has lost its marker"]);
    stack.run(&["restore", "codex-api", "--to", "../back"]).exits(3).says(&["no backup"]);
}

#[test]
fn a_backup_that_vanished_is_an_error_until_it_is_back() {
    let stack = Stack::configured();
    stack.run(&["backup"]).ok();
    stack.run_at("2026-03-11T12:00:00Z", &["backup"]).ok();
    stack.sh("drive", "mv 2026/03-10 ../aside");
    stack.run(&["status"]).exits(1).says(&["2026-03-10T120000Z"]);
    stack.run(&["verify"]).exits(1).says(&["2026-03-10T120000Z"]);
    stack.sh("drive", "mv ../aside 2026/03-10");
    stack.run(&["verify"]).ok();
}

#[test]
fn nothing_to_verify_is_not_success() {
    let stack = Stack::configured();
    stack.run(&["verify"]).exits(1);
    stack.run(&["verify", "--latest"]).exits(1);
    stack.run(&["restore-drill"]).says(&["not_verified"]);
}

/// Whatever damage looks like, the digests tell: a header of gpg that is bent looks like a wrong passphrase.
#[test]
fn damage_that_looks_like_a_wrong_passphrase_is_damage() {
    const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse");
    let stack = Stack::new();
    stack.configure("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    stack.run_with(&[KEY], &["backup"]).ok();
    let path = archive(&stack, "gz.gpg");
    let name = path.display().to_string();
    // The salt of the passphrase (RFC 4880, 5.3 and 3.7.1.3): behind two bytes of header and four of what follows.
    for at in [6, 9, 12] {
        flip(&path, at);
        stack.run_with(&[KEY], &["verify"]).exits(1).says(&["SHA-256", ".tar.gz.gpg"]);
        stack.run_with(&[KEY], &["verify", &name]).exits(1).says(&["SHA-256", ".tar.gz.gpg"]);
        for what in ["codex-api", &name] {
            let args = ["restore", what, "--to", "../back"];
            stack.run_with(&[KEY], &args).exits(1).says(&["has another SHA-256", "nothing was restored"]);
        }
        flip(&path, at);
        let manifest = manifest_of(&path);
        flip(&manifest, at);
        stack
            .run_with(&[KEY], &["restore", &name, "--to", "../back"])
            .exits(1)
            .says(&["has another SHA-256", "move this file"]);
        flip(&manifest, at);
    }
    let wrong = [("CODEX_BACKUP_GPG_KEY", "wrong")];
    stack.run_with(&wrong, &["restore", &name, "--to", "../back"]).exits(3).says(&["passphrase"]);
    stack.run_with(&[("CODEX_BACKUP_GPG_KEY", "wrong")], &["verify", &name]).exits(3).says(&["passphrase"]);
    stack.run_with(&[KEY], &["verify", &name]).ok();
}

/// Whoever copies a recipe, or asks whether all is in order, is told what is known of the backup.
#[test]
fn damage_that_is_known_is_told_by_doctor_and_with_the_recipe() {
    let stack = backed_up("");
    stack.run(&["doctor"]).ok();
    flip(&archive(&stack, "gz"), 2000);
    stack.run(&["verify"]).exits(1);
    stack.run(&["doctor"]).exits(1).says(&["is damaged"]);
    stack.run(&["restore", "codex-api", "--explain"]).ok().says(&["was found damaged", "tar -xzpf"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_told_beside_one_that_does() {
    let stack = backed_up("");
    let wanted = ["restore", "codex-api", "--path", ".codex-api/config.toml", "--path", "**/confg.toml"];
    let said = stack.run(&[&wanted[..], &["--to", "../back"]].concat());
    said.exits(1).says(&["holds nothing that **/confg.toml matches", "restored 2 entries"]);
    assert!(stack.path("back/.codex-api/config.toml").exists());
    let both = ["--path", "**/config.toml", "--path", ".codex-api"];
    stack.run(&[&["restore", "codex-api", "--to", "../all"], &both[..]].concat()).ok();
}
