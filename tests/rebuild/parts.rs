//! Bundles of a folder of a repository, and bundles with submodules in them: made, rebuilt, and compared by drills.
use super::{lock_of, read, rebuilt, scratch};
use crate::support::Stack;
use serde_json::{Value, json};

/// A commit whose submodule has a submodule, each checked out. Its configuration includes them.
fn nested() -> Stack {
    let stack = Stack::new();
    let commit = "git add -A; git -c user.name=a -c user.email=a@example.org commit -qm one";
    let script = format!(
        "export GIT_AUTHOR_DATE=2026-02-01T00:00:00Z GIT_COMMITTER_DATE=2026-02-01T00:00:00Z
         add='git -c protocol.file.allow=always submodule --quiet add'
         git init -q -b main inner; cd inner; echo inner > inner.c; {commit}; cd ..
         git init -q -b main lib; cd lib; echo lib > lib.c; echo x > skipped; echo 'skipped export-ignore' > .gitattributes
         echo 'w eol=crlf' >> .gitattributes; echo w > w; $add ../inner deep/inner; {commit}; cd ../repo
         $add ../lib vendor/lib; git -c protocol.file.allow=always submodule --quiet update --init --recursive
         rm -rf ../inner ../lib"
    );
    stack.sh(".", &script);
    stack.file("repo/recovery.toml", "[release]\nsubmodules = \"include\"\n");
    stack.commit("with modules", "2026-03-01T08:30:00Z");
    stack
}

/// Names in the one bundle of the repository.
fn names(stack: &Stack) -> Vec<String> {
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    stack.sh(".", &format!("tar -tf '{tarball}'")).lines().map(str::to_owned).collect()
}

#[test]
fn submodules_are_bundled_as_their_commits_have_them_and_rebuild() {
    let stack = nested();
    stack.file("repo/vendor/lib/lib.c", "edited\n");
    stack.run(&["snapshot"]).ok();
    let all = names(&stack);
    for name in ["vendor/lib/lib.c", "vendor/lib/deep/inner/inner.c", "server.js"] {
        assert!(all.iter().any(|one| one == name), "{name}: {all:?}");
    }
    assert!(!all.iter().any(|name| name.contains("skipped")), "its own export-ignore: {all:?}");
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    let content =
        stack.sh(".", &format!("tar -xOf '{tarball}' vendor/lib/lib.c vendor/lib/w | od -c | head -1"));
    assert!(content.contains("l   i   b  \\n   w  \\r  \\n"), "{content}");
    let lock = read(&lock_of(&stack));
    let modules = lock["submodules"].as_array().expect("a list");
    assert_eq!(modules.len(), 2);
    assert_eq!((&modules[0]["path"], &modules[0]["included"]), (&json!("vendor/lib"), &json!(true)));
    assert_eq!(modules[0]["commit"], stack.sh("repo/vendor/lib", "git rev-parse HEAD").trim());
    assert_eq!(modules[1]["path"], "vendor/lib/deep/inner");
    assert_eq!(rebuilt(&stack, &lock_of(&stack), 0)["artifacts"][0]["result"], "same");
    // Where they are not checked out any more, their repositories are still there.
    stack.sh("repo", "git submodule --quiet deinit --all --force");
    assert_eq!(rebuilt(&stack, &lock_of(&stack), 0)["artifacts"][0]["result"], "same");
    stack.sh("repo", "git worktree add -q -b other '../a: \"tree\"'");
    let before = read(&lock_of(&stack));
    stack.run(&["-C", "../a: \"tree\"", "snapshot", "--output-dir", "../out"]).ok();
    assert_eq!(read(&stack.one("out", ".lock.json")), before, "a linked working tree makes the same");
    assert_eq!(scratch(&stack), "");
}

/// A drill compares with all of the commit; without its submodules it says that it could not.
#[test]
fn a_drill_compares_a_bundle_with_its_submodules() {
    let stack = nested();
    stack.run(&["snapshot"]).ok();
    let step = |document: &Value| {
        let steps = document["steps"].as_array().expect("a list").clone();
        steps.into_iter().find(|step| step["name"].to_string().contains("compare with commit"))
    };
    let drill = stack.run(&["restore-drill", "--json"]).ok().json();
    let compared = step(&drill).expect("a step");
    assert_eq!(compared["outcome"], "pass");
    assert!(
        compared["detail"].to_string().contains(&format!("{} entries", names(&stack).len())),
        "{compared}"
    );
    stack.sh("repo", "git submodule --quiet deinit --all --force; rm -rf .git/modules");
    let drill = stack.run(&["restore-drill", "--json"]).ok().json();
    assert!(step(&drill).is_none() || step(&drill).is_some_and(|step| step["outcome"] != "pass"), "{drill}");
    let path = lock_of(&stack).display().to_string();
    stack.run(&["verify", "--rebuild", &path]).exits(3).says(&[
        "vendor/lib",
        "git submodule update",
        "next:",
    ]);
}

#[test]
fn submodules_that_are_not_here_refuse_a_bundle_and_those_left_out_do_not() {
    let stack = nested();
    stack.sh("repo", "git submodule --quiet deinit --all --force; rm -rf .git/modules/vendor/lib/modules");
    for args in [&["snapshot", "--json"][..], &["snapshot", "--dry-run", "--json"]] {
        let document = stack.run(args).exits(1).json();
        assert_eq!(document["status"], "refused");
        let said = document["findings"].to_string();
        assert!(said.contains("vendor/lib/deep/inner") && said.contains("git submodule update"), "{said}");
    }
    assert!(!stack.path("repo/releases").exists() && !stack.path("repo/.recovery").exists());
    stack.file(
        "repo/recovery.toml",
        "[release]\nsubmodules = \"include\"\nexclude = [\"vendor/lib/deep/\"]\n",
    );
    stack.commit("less", "2026-03-02T08:30:00Z");
    stack.run(&["snapshot"]).ok();
    let lock = read(&lock_of(&stack));
    assert!(lock["excluded"].to_string().contains("vendor/lib/deep/inner"), "{lock}");
    assert_eq!(lock["submodules"].as_array().map(Vec::len), Some(1));
    rebuilt(&stack, &lock_of(&stack), 0);
}

/// Without being asked for, a submodule is recorded with its commit.
#[test]
fn submodules_are_recorded_with_their_commits() {
    let stack = nested();
    stack.file("repo/recovery.toml", "[release]\nname = \"plain\"\n");
    stack.commit("plain", "2026-03-02T08:30:00Z");
    let document = stack.run(&["snapshot", "--json"]).ok().json();
    assert!(document["findings"].to_string().contains("is a submodule at commit"), "{document}");
    let lock = read(&lock_of(&stack));
    let id = stack.sh("repo", "git rev-parse HEAD:vendor/lib");
    assert_eq!(lock["submodules"], json!([{"path": "vendor/lib", "commit": id.trim(), "included": false}]));
    assert!(lock["reported"].to_string().contains("vendor/lib"), "{lock}");
    rebuilt(&stack, &lock_of(&stack), 0);
}

#[test]
fn a_dirty_bundle_takes_submodules_as_they_lie() {
    let stack = nested();
    stack.file("repo/vendor/lib/lib.c", "edited\n");
    stack.run(&["snapshot", "--allow-dirty"]).ok();
    let all = names(&stack);
    assert!(all.iter().any(|name| name == "vendor/lib/deep/inner/inner.c"), "{all:?}");
    assert!(!all.iter().any(|name| name.contains("skipped")), "{all:?}");
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    assert_eq!(stack.sh(".", &format!("tar -xOf '{tarball}' vendor/lib/lib.c")), "edited\n");
}

/// A Cargo workspace, an npm service and a configuration at the root.
fn monorepo() -> Stack {
    let stack = Stack::bare();
    stack.file(
        "repo/Cargo.toml",
        "[workspace]\nmembers = [\"crates/*\"]\n[workspace.package]\nversion = \"0.7.0\"\n",
    );
    stack.file("repo/crates/cli/Cargo.toml", "[package]\nname = \"cli\"\nversion.workspace = true\n");
    stack.file("repo/crates/cli/src/main.rs", "fn main() {}\n");
    stack.file("repo/services/api/package.json", "{\"name\": \"@acme/api\", \"version\": \"1.4.2\"}\n");
    stack.file("repo/services/api/src/server.js", "up\n");
    stack.file("repo/services/api/src/server.bat", "up\n");
    stack.file("repo/services/api/test/t.js", "t\n");
    stack.file("repo/services/api-old/x", "x\n");
    stack.file("repo/.env", "SECRET=1\n");
    stack.file(
        "repo/.gitattributes",
        "services export-ignore\n*.bat eol=crlf\n/services/api/test export-ignore\n",
    );
    stack.file(
        "repo/recovery.toml",
        "[release]\nroot = \"services/api\"\nexclude = [\"/package-lock.json\"]\n",
    );
    stack.sh("repo", "git init -q -b main .");
    stack.commit("first", "2026-03-01T08:30:00Z");
    stack
}

#[test]
fn a_bundle_of_a_folder_holds_that_folder_alone() {
    let stack = monorepo();
    stack.run(&["-C", "services/api/src", "snapshot", "--json"]).ok();
    assert!(stack.path("repo/releases/acme-api-v1.4.2-2026-03-01T083000Z.tar.gz").exists());
    assert_eq!(names(&stack), ["package.json", "src/server.bat", "src/server.js"]);
    let tarball = stack.one("repo/releases", ".tar.gz").display().to_string();
    let content = stack.sh(".", &format!("tar -xOf '{tarball}' src/server.bat"));
    assert_eq!(content, "up\r\n", "attributes above the folder count");
    let lock = read(&lock_of(&stack));
    assert_eq!((&lock["root"], &lock["excluded"]), (&json!("services/api"), &json!(["test/t.js"])));
    assert_eq!(rebuilt(&stack, &lock_of(&stack), 0)["artifacts"][0]["result"], "same");
    assert_eq!(stack.run(&["snapshot", "--json"]).ok().json()["status"], "unchanged");
    let drill = stack.run(&["restore-drill"]).ok();
    drill.says(&["compare with commit"]);
    stack.file("repo/.gitignore", "releases/\n.recovery/\nservices/api/dist/\n");
    stack.file("repo/services/api/dist/app.js", "built\n");
    let config = "[release]\nroot = \"./services/api/\"\ninclude = [\"dist/\"]\noutput-dir = \"out\"\n";
    stack.file("other.toml", config);
    stack.run(&["--config", "../other.toml", "snapshot", "--allow-dirty"]).ok();
    let staged = stack.one("repo/out", ".tar.gz").display().to_string();
    let listed = stack.sh(".", &format!("tar -tf '{staged}'"));
    assert_eq!(listed, "dist/app.js\npackage.json\nsrc/server.bat\nsrc/server.js\n");
}

#[test]
fn a_member_of_a_cargo_workspace_has_the_workspaces_version() {
    let stack = monorepo();
    let planned = |config: &str| {
        stack.file("other.toml", config);
        let document =
            stack.run(&["--config", "../other.toml", "snapshot", "--dry-run", "--json"]).ok().json();
        document["tarball"].as_str().expect("a path").rsplit('/').next().expect("a name").to_owned()
    };
    assert_eq!(planned("[release]\nroot = \"crates/cli\"\n"), "cli-v0.7.0-2026-03-01T083000Z.tar.gz");
    // All of it: a virtual workspace, whose folder's name it has; `.env` is left out.
    assert_eq!(planned("[release]\nexclude = [\".env\"]\n"), "repo-v0.7.0-2026-03-01T083000Z.tar.gz");
    let from = "[release]\nexclude = [\".env\"]\nversion-from = \"services/api/package.json\"\n";
    assert_eq!(planned(from), "repo-v1.4.2-2026-03-01T083000Z.tar.gz");
    let bare = "[release]\nroot = \"crates/cli\"\nversion-from = \"git\"\n";
    assert!(planned(bare).starts_with("cli-git-"));
}

#[test]
fn a_root_that_no_commit_has_or_that_leads_elsewhere_is_refused() {
    let stack = monorepo();
    for (root, part) in [
        ("services/web", "has no folder"),
        ("services/api/package.json", "has no folder"),
        ("services/ap", "has no folder"),
        ("../repo", "release.root is"),
        ("/etc", "release.root is"),
        ("services/../services/api", "release.root is"),
        ("", "release.root is"),
        (".git", "release.root is"),
    ] {
        stack.file("other.toml", &format!("[release]\nroot = \"{root}\"\n"));
        stack.run(&["--config", "../other.toml", "snapshot"]).exits(3).says(&[part, "next:"]);
    }
    assert!(!stack.path("repo/releases").exists());
}
