//! Bundles that were damaged since they were made, and clones that lack what a rebuild needs: told as what they are.
use super::{lock_of, rebuilt, repository, scratch};
use crate::support::{Stack, flip};
use std::fs;

#[test]
fn a_damaged_file_is_told_as_that_first_and_can_be_replaced_as_it_says() {
    let stack = repository("npm");
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    let whole = fs::read(&tarball).expect("reads");
    for damage in [&|| flip(&tarball, whole.len() / 2) as (), &|| flip(&tarball, 4), &|| {
        fs::write(&tarball, [&whole[..], b"more"].concat()).expect("writes");
    }] as [&dyn Fn(); 3]
    {
        damage();
        let document = rebuilt(&stack, &tarball, 1);
        assert_eq!(document["artifacts"][0]["result"], "different");
        let first = &document["findings"][0];
        let what = first["what"].as_str().expect("text");
        assert!(
            what.contains("is not the file that") && what.contains("was damaged or changed since"),
            "{document}"
        );
        let all = document["findings"].to_string();
        assert!(!all.contains("find out who made it"), "{document}");
        // Just as it says.
        let repair = first["repair"].as_str().expect("text");
        let line =
            repair.split('`').nth(1).expect("a command").replace("--output-dir DIR", "--output-dir ../again");
        let args: Vec<&str> = line.strip_prefix("cargo xtask ").expect("ours").split(' ').collect();
        stack.run(&args).ok();
        let name = tarball.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(repair.contains(&format!("copy {name} from there over it")), "{repair}");
        fs::copy(stack.path("again").join(&name), &tarball).expect("copies");
        stack.run(&["verify", &tarball.display().to_string()]).ok();
        assert_eq!(rebuilt(&stack, &tarball, 0)["artifacts"][0]["result"], "same");
        stack.sh(".", "rm -r again");
    }
}

/// One that somebody made of other content, lock and all, is nobody's damage.
#[test]
fn what_its_lock_vouches_for_is_not_called_damaged() {
    let stack = repository("npm");
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    stack.sh("repo", "mkdir ../made; tar -xf releases/*.tar.gz -C ../made; echo x >> ../made/package.json");
    stack.sh("made", &format!("tar -czf '{}' *", tarball.display()));
    let sha256 = stack.sh(".", &format!("sha256sum < '{}'", tarball.display()));
    super::relock(&lock_of(&stack), |lock| lock["tarball_sha256"] = sha256[..64].into());
    let document = rebuilt(&stack, &tarball, 1);
    assert!(!document["findings"].to_string().contains("changed since"), "{document}");
    assert!(document["findings"].to_string().contains("find out who made it"), "{document}");
}

/// Objects that a partial clone has left where they came from are not fetched: the command that does is named, and works.
#[test]
fn a_partial_clone_says_what_is_missing_and_which_command_brings_it() {
    let stack = Stack::new();
    stack.run(&["snapshot"]).ok();
    stack.file("repo/server.js", "console.log('other')\n");
    stack.commit("second", "2026-03-02T08:30:00Z");
    stack.sh(".", "git -C repo config uploadpack.allowFilter true; git -C repo config uploadpack.allowAnySHA1InWant true");
    stack.sh(
        ".",
        "git clone -q --filter=blob:none \"file://$PWD/repo\" partial; cp -r repo/releases partial/",
    );
    let lock = stack.one("partial/releases", ".lock.json").display().to_string();
    let args = ["-C", "../partial", "verify", "--rebuild", &lock];
    let before = stack.world("partial/.git/objects");
    let said = stack.run(&args).exits(3);
    let next = said.stderr.split("next: ").nth(1).expect("a next step").to_owned();
    said.says(&["is a partial clone", "1 objects of commit"]);
    assert_eq!(stack.world("partial/.git/objects"), before, "nothing was fetched");
    let line = next.split('`').nth(1).expect("a command");
    stack.sh(".", line);
    stack.run(&args).ok();
    // Nor is a commit that is younger than the clone, or has left all its folders there.
    stack.file("repo/server.js", "console.log('third')\n");
    stack.commit("third", "2026-03-03T08:30:00Z");
    stack.run(&["snapshot", "--version", "3"]).ok();
    let young = stack.path("repo/releases/acme-api-v3-2026-03-03T083000Z.lock.json").display().to_string();
    stack.sh(".", "git clone -q --no-checkout --filter=tree:0 \"file://$PWD/repo\" bare");
    for (clone, args) in [("partial", [&*young, "is not in"]), ("bare", [&*lock, "is a partial clone"])] {
        let objects = format!("{clone}/.git/objects");
        let before = stack.world(&objects);
        let said = stack.run(&["-C", &format!("../{clone}"), "verify", "--rebuild", args[0]]).exits(3);
        assert_eq!(stack.world(&objects), before, "{clone}: nothing was fetched");
        said.says(&[args[1]]);
    }
    assert_eq!(scratch(&stack), "");
}
