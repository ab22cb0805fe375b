//! `snapshot` reads objects itself where it can: the same bundle however git keeps them, and git's own word where not.
use super::support::Stack;
use std::fs;

/// A repository with versions of a text, which git packs as deltas, an empty file, and files that are left to git.
fn stack() -> Stack {
    let stack = Stack::new();
    stack.sh(
        "repo",
        "touch docs/empty; for n in $(seq 150); do seq $((n * 90)) $((n * 91 + 900)) > docs/$n.txt; done; \
         head -c 200000 /dev/urandom > noise; head -c 6000000 /dev/urandom > large; \
         seq 300 > dos; echo 'dos eol=crlf' > .gitattributes",
    );
    stack.commit("many", "2026-03-02T08:30:00Z");
    stack
}

/// The bundle of a clone, made into a folder of its own.
#[track_caller]
fn bundle(stack: &Stack, clone: &str, name: &str) -> Vec<u8> {
    let (clone, out) = (stack.path(clone).display().to_string(), stack.path(name).display().to_string());
    stack.run(&["-C", &clone, "snapshot", "--output-dir", &out]).ok();
    fs::read(stack.one(name, ".tar.gz")).expect("reads")
}

/// From here on git reads everything: where any object is replaced, it alone knows which.
fn by_git(stack: &Stack, clone: &str) {
    stack.sh(
        clone,
        "git replace $(echo one | git hash-object -w --stdin) $(echo two | git hash-object -w --stdin)",
    );
}

#[test]
fn a_bundle_is_the_same_however_git_keeps_its_objects() {
    let stack = stack();
    stack.sh(".", "git clone -q --no-local repo plain");
    by_git(&stack, "plain");
    let expected = bundle(&stack, "plain", "by-git");
    assert!(bundle(&stack, "repo", "loose") == expected, "loose");
    for (name, script) in [
        ("deep", "git repack -adfq --depth=250 --window=50"),
        ("named", "git -c repack.useDeltaBaseOffset=false repack -adfq"),
        ("old", "git -c pack.indexVersion=1 repack -adfq"),
        ("whole", "git repack -adfq --window=0; git multi-pack-index write"),
        (
            "one",
            "git repack -adq; git cat-file --batch-check='%(objectname)' --batch-all-objects | sed -n 'p;n' | \
                 git pack-objects -q .git/objects/pack/pack",
        ),
        (
            "none",
            "mv .git/objects/pack ../kept; mkdir .git/objects/pack; for pack in ../kept/*.pack; do git unpack-objects -q < $pack; done; rm -r ../kept",
        ),
    ] {
        stack.sh("repo", script);
        assert!(bundle(&stack, "repo", name) == expected, "{script}");
    }
    stack.sh("repo", "git repack -adq; git config uploadpack.allowFilter true");
    for (name, how) in [
        ("bare", "--bare"),
        ("shared", "--shared"),
        ("shallow", "--depth=1"),
        ("partial", "--filter=blob:none"),
        ("bare-partial", "--bare --filter=blob:none"),
        ("some", "--filter=blob:limit=3000"),
    ] {
        stack.sh(
            ".",
            &format!(
                "git clone -q {how} {} {name}-clone",
                if name == "shared" { "repo" } else { "file://$PWD/repo" }
            ),
        );
        assert!(bundle(&stack, &format!("{name}-clone"), name) == expected, "{how}");
    }
    // The same files under other names of objects, which are not read by us.
    stack.sh(
        ".",
        "git init -q --object-format=sha256 -b main other; cd repo; git archive HEAD docs noise | tar -x -C ../other; \
         cd ../other; git add .; git -c user.name=a -c user.email=a@b commit -qm all; git repack -adq",
    );
    bundle(&stack, "other", "sha256");
    stack.sh(
        ".",
        "mkdir -p x y; tar -xf sha256/*.tar.gz -C x; git -C other archive HEAD | tar -x -C y; diff -r x y",
    );
}

/// As git archive has it, too.
#[test]
fn an_object_that_is_replaced_is_the_other_one() {
    let stack = stack();
    stack.sh(
        "repo",
        "git repack -adq; git replace $(git rev-parse HEAD:docs/9.txt) $(git rev-parse HEAD:docs/3.txt)",
    );
    stack.run(&["snapshot"]).ok();
    let tarball = stack.one("repo/releases", ".tar.gz");
    stack.sh(
        "repo",
        &format!("mkdir ../x; tar -xf {} -C ../x; cmp ../x/docs/9.txt ../x/docs/3.txt", tarball.display()),
    );
    stack.sh("repo", "mkdir ../y; git archive HEAD | tar -x -C ../y; diff -r ../x ../y");
}

/// A `git` that writes down what `cat-file` is asked.
#[test]
fn git_is_asked_only_for_what_is_not_read_here() {
    let stack = stack();
    stack.sh("repo", "truncate -s 65M larger");
    stack.commit("larger", "2026-03-03T08:30:00Z");
    stack.sh("repo", "git repack -adq");
    let (asked, real) = (stack.path("asked").display().to_string(), stack.sh(".", "command -v git"));
    let real = real.trim();
    stack.file(
        "bin/git",
        &format!("#!/bin/bash\n[[ \" $* \" == *\" cat-file \"* ]] || exec {real} \"$@\"\ntee '{asked}' | {real} \"$@\"\n"),
    );
    stack.sh("bin", "chmod 755 git");
    let path = format!("{}:{}", stack.path("bin").display(), std::env::var("PATH").expect("a path"));
    stack.run_with(&[("PATH", &path)], &["snapshot"]).ok();
    let asked = fs::read_to_string(asked).expect("was asked");
    let ids = asked.lines().filter(|line| line.len() == 40);
    let large = stack.sh("repo", "git rev-parse HEAD:large HEAD:larger");
    assert!(ids.eq(large.lines()), "{asked}");
    let tarball = stack.one("repo/releases", ".tar.gz");
    let unpack = "mkdir ../x ../y; git archive HEAD | tar -x -C ../y";
    stack.sh("repo", &format!("{unpack}; tar -xf {} -C ../x; diff -r ../x ../y", tarball.display()));
}

/// What is broken is told as git tells it, and nothing is made of it.
#[test]
fn a_broken_object_is_told_by_git() {
    for (what, damage) in [
        ("a pack that is cut", "truncate -s -3000 .git/objects/pack/*.pack"),
        ("a pack that is cut in the middle", "truncate -s 300 .git/objects/pack/*.pack"),
        (
            "a byte of an object",
            "id=$(git rev-parse HEAD:noise); at=$(git verify-pack -v .git/objects/pack/*.idx | grep ^$id | cut -d' ' -f5-); \
             set -- $at; printf '\\377\\377\\377' | dd of=$(ls .git/objects/pack/*.pack) bs=1 seek=$((${*: -1} + 1000)) conv=notrunc 2> ../dd",
        ),
        ("an index that is gone", "rm .git/objects/pack/*.idx"),
    ] {
        let stack = stack();
        stack.sh("repo", "git -c core.compression=1 repack -adfq; chmod u+w .git/objects/pack/*");
        stack.sh(".", "cp -a repo by-git");
        by_git(&stack, "by-git");
        let mut said = Vec::new();
        for folder in ["repo", "by-git"] {
            stack.sh(folder, damage);
            let root = stack.path(folder).display().to_string();
            let outcome = stack.run(&["-C", &root, "snapshot"]).fails();
            said.push((outcome.code, outcome.stderr.replace(&root, "ROOT")));
            assert!(!stack.files(folder).iter().any(|file| file.starts_with("releases/")), "{what}");
        }
        assert_eq!(said[0], said[1], "{what}");
    }
}
