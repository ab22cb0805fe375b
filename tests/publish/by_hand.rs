//! Releases that this tool has not made: `--url`, and what the runbook does by hand.
use super::{BUNDLE, TAG, TOKEN, URL, bundled, lock, log, path, publish};
use crate::support::{Stack, outcome};
use std::fs;

#[test]
fn an_address_is_recorded_and_nothing_else_is_changed() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let before = fs::read_to_string(stack.one("repo/releases", ".lock.json")).expect("reads");
    let world = stack.world("repo");
    let url = "https://git.example.org/acme/api/v1.4.2";
    stack.run(&["publish", "--url", url, "--dry-run"]).ok().says(&["would record https://git.example.org"]);
    assert_eq!(stack.world("repo"), world);
    let document = stack.run(&["publish", "--url", url, "--json"]).ok().json();
    assert_eq!((&document["status"], &document["url"]), (&"recorded".into(), &url.into()));
    let after = fs::read_to_string(stack.one("repo/releases", ".lock.json")).expect("reads");
    assert_eq!(after, before.replace("\"release_url\": null", &format!("\"release_url\": \"{url}\"")));
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
    stack.run(&["verify"]).ok();
    assert_eq!(stack.run(&["publish", "--url", url, "--json"]).ok().json()["status"], "unchanged");
    // Another one takes its place only when that is asked for.
    let world = stack.world("repo/releases");
    stack.run(&["publish", "--url", URL]).exits(3).says(&["says already", url, "--replace-url"]);
    assert_eq!(stack.world("repo/releases"), world);
    stack.run(&["publish", "--url", URL, "--replace-url"]).ok().says(&["recorded", url]);
    assert_eq!(lock(&stack)["release_url"], URL);
}

#[test]
fn what_is_no_address_is_refused() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let world = stack.world("repo/releases");
    for url in [
        "",
        "example.org",
        "ftp://example.org/x",
        "https://",
        "https:///x",
        "https://h/a b",
        "https://h/\n",
        "file:///x",
        "https://:1/x",
        "https://h/\u{1b}[2J",
    ] {
        stack.run(&["publish", "--url", url]).exits(2).says(&["no address"]);
    }
    // A password is repeated nowhere.
    let said = stack.run(&["publish", "--url", "https://me:s3cr3t@example.org/x"]).exits(2);
    assert!(!said.shown().split("--- stdout").nth(1).expect("output").contains("s3cr3t"), "{}", said.shown());
    said.says(&["no address", "password"]);
    for more in [&["--tag", "v1"][..], &["--draft"], &["--notes-file", "x"]] {
        stack.run(&[&["publish", "--url", URL], more].concat()).exits(2);
    }
    assert_eq!(stack.world("repo/releases"), world);
}

/// Neither is it replaced by a release of our own that nobody was asked about.
#[test]
fn an_address_that_is_recorded_stays_until_another_is_asked_for() {
    let stack = bundled();
    let url = "https://git.example.org/acme/api/v1.4.2";
    stack.run(&["publish", "--url", url]).ok();
    let world = stack.world("repo/releases");
    publish(&stack, &[]).exits(3).says(&["says already", url, "--replace-url"]);
    assert_eq!(stack.world("repo/releases"), world);
    assert_eq!(
        log(&stack).iter().filter(|line| line.contains("create")).count(),
        0,
        "nothing was made there"
    );
    publish(&stack, &["--replace-url"]).ok();
    assert_eq!(lock(&stack)["release_url"], URL);
}

/// A run that was killed behind the lock leaves the list with the former address: the next one ends it.
#[test]
fn a_replacement_that_was_killed_half_way_is_finished_by_the_next() {
    let stack = Stack::configured();
    stack.run(&["snapshot"]).ok();
    let former = "https://git.example.org/acme/api/v1.4.2";
    stack.run(&["publish", "--url", former]).ok();
    stack.sh("repo/releases", "cp SHA256SUMS ../../former");
    stack.run(&["publish", "--url", URL, "--replace-url"]).ok();
    stack.sh("repo/releases", "cp ../../former SHA256SUMS");
    stack.run(&["publish", "--url", URL, "--replace-url"]).ok();
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
    stack.run(&["verify"]).ok();
}

#[test]
fn no_address_is_recorded_for_a_bundle_that_is_damaged_or_gone() {
    for damage in ["echo x >> *.tar.gz", "rm *.tar.gz"] {
        let stack = Stack::configured();
        stack.run(&["snapshot"]).ok();
        stack.sh("repo/releases", damage);
        let world = stack.world("repo/releases");
        stack.run(&["publish", "--url", URL]).exits(1);
        assert_eq!(stack.world("repo/releases"), world, "{damage}");
    }
}

/// What is dated in the future is newest for good, and so is no answer where nobody says which.
#[test]
fn a_bundle_that_is_dated_in_the_future_is_not_taken_for_the_newest() {
    let stack = Stack::configured();
    stack.file("repo/server.js", "later\n");
    stack.commit("later", "2030-01-01T00:00:00Z");
    stack.run(&["snapshot"]).ok();
    stack.run(&["publish", "--url", URL]).exits(3).says(&["dated in the future", "name the lock"]);
    stack.run(&["status"]).exits(1).says(&["newest bundle", "dated in the future"]);
}

/// A bundle of a working tree is nobody's release.
#[test]
fn no_address_is_recorded_for_a_bundle_of_a_working_tree() {
    let stack = Stack::configured();
    stack.file("repo/server.js", "edited\n");
    stack.run(&["snapshot", "--allow-dirty"]).ok();
    let world = stack.world("repo/releases");
    stack.run(&["publish", "--url", URL]).exits(3).says(&["working tree", "commit"]);
    assert_eq!(stack.world("repo/releases"), world);
}

/// The runbook's own lines: its globs find what `snapshot` wrote, and what it says to do behind it is understood.
#[test]
fn the_manual_fallback_of_the_runbook_works() {
    let stack = bundled();
    let gh = format!("PATH='{}' GH_TOKEN={TOKEN} BY_HAND=1", path(&stack));
    let lines = "TAG=v1.4.2\n\
                 gh release create \"$TAG\" releases/acme-api-${TAG}-*.tar.gz \\\n  releases/acme-api-${TAG}-*.lock.json --generate-notes\n";
    stack.file("by-hand.sh", lines);
    let said = stack.sh("repo", &format!("{gh} bash -eu ../by-hand.sh"));
    assert_eq!(said.trim(), URL);
    let assets = stack.files(&format!("home/forge/releases/{TAG}/assets"));
    assert_eq!(assets, [".lock.json", ".tar.gz"].map(|end| format!("{BUNDLE}{end}")));
    // That release is left alone, and the lock is told of it.
    publish(&stack, &[]).exits(1).says(&[
        "is not in",
        "never changed",
        &format!("{} --url {URL}", stack.one("repo/releases", ".lock.json").display()),
    ]);
    stack.run(&["publish", "--url", URL]).ok();
    assert_eq!(lock(&stack)["release_url"], URL);
    stack.run(&["verify"]).ok();
    assert_eq!(log(&stack).iter().filter(|line| line.contains("upload")).count(), 0);
}

/// `jq --arg url … '.release_url = $url'`, as the runbook has it, leaves `SHA256SUMS` behind: the next run of `publish` sees
/// that only the address was changed.
#[test]
fn an_address_that_was_set_by_hand_is_taken_over() {
    let stack = bundled();
    stack.sh(
        "repo/releases",
        &format!("sed -i 's|\"release_url\": null|\"release_url\": \"{URL}\"|' *.lock.json"),
    );
    stack.run(&["verify"]).exits(1);
    stack.run(&["publish", "--url", URL]).ok();
    stack.run(&["verify"]).ok();
    stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
}

#[test]
fn a_lock_of_the_shell_tool_learns_its_address_and_keeps_its_form() {
    let stack = Stack::configured();
    let old = "{\n    \"version\": \"v1.0.0\",\n    \"env\": \"prod\",\n    \"git_sha\": \"0123456789ab\",\n    \"created_at\": \
               \"2025-09-22T10:00:00Z\",\n    \"tarball\": null,\n    \"tarball_sha256\": null,\n    \"docker_tag\": null,\n    \
               \"release_url\": null,\n    \"keep\": 3,\n    \"notes\": {\"dry_run\": false}\n}\n";
    stack.file("repo/releases/acme-api-v1.0.0-2025-09-22T100000Z.lock.json", old);
    let name = "releases/acme-api-v1.0.0-2025-09-22T100000Z.lock.json";
    stack.run(&["publish", name, "--url", URL]).ok();
    let new = fs::read_to_string(stack.path("repo").join(name)).expect("reads");
    assert_eq!(new, old.replace("\"release_url\": null", &format!("\"release_url\": \"{URL}\"")));
    // There is no saying what it holds, so nothing of it is published from here.
    let said =
        outcome(stack.command(&["publish", name]).env("PATH", path(&bundled())).env("GH_TOKEN", TOKEN));
    said.exits(3).says(&["a lock alone"]);
}

#[test]
fn an_address_of_another_tag_is_told() {
    let stack = bundled();
    let at = |tag: &str| format!("https://github.com/acme/api/releases/tag/{tag}");
    let words = "the address is that of a release v9.0.0";
    publish(&stack, &["--url", &at("v9.0.0")]).ok().says(&[words, "--replace-url"]);
    let right = publish(&stack, &["--url", &at(TAG), "--replace-url"]).ok();
    assert!(!right.shown().contains("that of a release"), "{}", right.shown());
    for (tag, is_told) in
        [("v11.4.2", true), ("v1.4.2-rc.1", true), ("api/v1.4.2", false), ("api-1.4.2", false)]
    {
        let said = publish(&stack, &["--url", &at(tag), "--replace-url"]).ok();
        assert_eq!(said.shown().contains("the address is that of"), is_told, "{}", said.shown());
    }
}
