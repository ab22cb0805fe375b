//! `snapshot --docker-image`: what is named and recorded, and what is refused.
use super::engine::{Engine, id};
use crate::support::Stack;
use serde_json::Value;
use std::fs;

const TAG: &str = "acme-api:prod-20260301-083000Z";

fn lock(stack: &Stack) -> Value {
    serde_json::from_slice(&fs::read(stack.one("repo/releases", ".lock.json")).expect("reads")).expect("JSON")
}

#[test]
fn an_image_is_named_after_the_commit_and_recorded() {
    let (stack, digest) = (Stack::new(), format!("ghcr.io/acme/api@{}", id('e')));
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    engine.set(&format!("images/{}", "a".repeat(64)), &format!("{digest}\n"));
    let args = ["snapshot", "--docker-image", "acme-api:latest"];
    let planned = engine.run(&[&args[..], &["--dry-run"]].concat()).ok();
    planned.says(&[&format!("would name the image {} {TAG}", id('a'))]);
    assert!(
        engine.named(TAG).is_none() && !stack.path("repo/releases").exists(),
        "a dry run changes nothing"
    );
    let document = engine.run(&[&args[..], &["--json"]].concat()).ok().json();
    assert_eq!((&document["status"], &document["docker_tag"]), (&"created".into(), &TAG.into()));
    assert_eq!(engine.named(TAG), Some('a'));
    let first = lock(&stack);
    assert_eq!(first["docker_tag"], TAG);
    assert_eq!(first["image_id"], Value::from(id('a')));
    assert_eq!(first["repo_digests"], Value::from(vec![digest]));
    // The same commit an hour later: the same name, the same lock.
    engine.run_with(&[("RECOVERY_NOW", "2026-03-10T13:00:00Z")], &args).ok().says(&["unchanged", TAG]);
    assert_eq!(lock(&stack), first);
    stack.run(&["verify"]).ok();
}

#[test]
fn a_lock_without_an_image_is_the_same_whether_docker_is_there_or_not() {
    let (with, without) = (Stack::new(), Stack::new());
    let engine = Engine::of(&with);
    engine.run(&["snapshot"]).ok();
    assert!(engine.calls().is_empty(), "docker is not asked");
    without.run(&["snapshot"]).ok();
    let mut locks = [lock(&with), lock(&without)];
    // These two repositories differ by nothing that a commit holds.
    assert_eq!(locks[0], locks[1]);
    assert_eq!(locks[0]["docker_tag"], Value::Null);
    // What it does not concern stays when an image comes to it.
    engine.image('a', &["acme-api:latest"]);
    let document = engine.run(&["snapshot", "--docker-image", "acme-api:latest", "--json"]).ok().json();
    assert_eq!(document["status"], "tagged");
    let tagged = lock(&with);
    for key in ["docker_tag", "image_id", "repo_digests"] {
        locks[0][key] = tagged[key].clone();
    }
    assert_eq!(tagged, locks[0]);
    assert_eq!((tagged["docker_tag"].as_str(), engine.named(TAG)), (Some(TAG), Some('a')));
    with.run(&["verify"]).ok();
    // A later run without the flag leaves that alone.
    engine.run(&["snapshot"]).ok();
    assert_eq!(lock(&with), tagged);
}

#[test]
fn prefix_and_environment_stand_in_the_name() {
    let stack = Stack::new();
    stack.configure("[docker]\nimage = \"ghcr.io/acme/api\"\n");
    let engine = Engine::of(&stack);
    engine.image('a', &["built:now"]);
    let other = ["snapshot", "--docker-image", "built:now", "--env", "dev"];
    engine.run(&other).ok();
    assert_eq!(engine.named("ghcr.io/acme/api:dev-20260301-083000Z"), Some('a'));
    let out = ["--docker-tag-prefix", "localhost:5000/x", "--output-dir", "../out", "--no-tarball"];
    engine.run(&[&other[..], &out].concat()).ok();
    assert_eq!(engine.named("localhost:5000/x:dev-20260301-083000Z"), Some('a'));
    for (flag, value, words) in [
        ("--docker-tag-prefix", "Acme", "--docker-tag-prefix"),
        ("--docker-tag-prefix", "-x", "-x"),
        ("--env", "e u", "the environment \"e u\""),
    ] {
        let call = ["snapshot", "--docker-image", "built:now", flag, value, "--version", "9"];
        engine.run(&call).exits(2).says(&[words]);
    }
    engine.run(&["snapshot", "--version", "9", "--docker-image", "--force"]).exits(2);
    let option = ["snapshot", "--version", "9", "--docker-image=--force"];
    engine.run(&option).exits(2).says(&["no name of an image"]);
}

/// A name that is wrong is to blame itself, and docker is not; one that docker alone could not take is bent.
#[test]
fn a_bad_name_of_a_release_is_what_is_told() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    engine.image('a', &["built:now"]);
    for name in ["acme/api", "acme api", ".acme", ""] {
        stack.configure(&format!("[release]\nname = {name:?}\n"));
        for args in [&["snapshot"][..], &["snapshot", "--docker-image", "built:now"]] {
            let said = engine.run(args).exits(3);
            assert!(!said.stderr.contains("docker"), "{}", said.shown());
            said.says(&["release.name", &format!("{name:?}"), "letters, digits"]);
        }
    }
    for (name, image) in [("Acme-API", "acme-api"), ("api_", "api")] {
        stack.configure(&format!("[release]\nname = {name:?}\n"));
        engine.run(&["snapshot", "--docker-image", "built:now"]).ok();
        assert_eq!(engine.named(&format!("{image}:prod-20260301-083000Z")), Some('a'), "{name}");
    }
    stack.configure("[release]\nname = \"_\"\n");
    engine.run(&["snapshot", "--docker-image", "built:now"]).exits(3).says(&["\"_\"", "[docker]"]);
}

#[test]
fn no_name_of_another_image_is_moved() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest", TAG]);
    engine.image('b', &["acme-api:other"]);
    engine.run(&["snapshot", "--docker-image", "acme-api:other"]).exits(3).says(&["another image already"]);
    assert!(!stack.path("repo/releases").exists() && engine.named(TAG) == Some('a'));
    engine.run(&["snapshot", "--docker-image", "acme-api:latest"]).ok();
    // Built again from the same commit: the lock is of the first.
    engine.image('b', &["acme-api:latest"]);
    engine.run(&["snapshot", "--docker-image", "acme-api:latest"]).exits(3).says(&["records another image"]);
    assert_eq!(engine.named(TAG), Some('a'));
    assert_eq!(lock(&stack)["image_id"], Value::from(id('a')));
}

#[test]
fn what_is_missing_is_told_before_anything_is_written() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    let args = ["snapshot", "--docker-image", "acme-api:latest"];
    engine.run(&args).exits(3).says(&["docker has no image acme-api:latest", "docker image ls"]);
    engine.set("down", "");
    engine.run(&args).exits(3).says(&["Cannot connect to the Docker daemon", "next: start the daemon"]);
    engine.set("calls", "");
    stack.sh(".", "mkdir few; for tool in git sh; do ln -s $(command -v $tool) few/$tool; done");
    let few = stack.path("few").display().to_string();
    stack
        .run_with(&[("PATH", &few)], &args)
        .exits(3)
        .says(&["not installed: docker", "apt-get install docker.io"]);
    assert!(!stack.path("repo/releases").exists() && !stack.path("repo/.recovery").exists());
}

/// Whatever call fails, there is a lock that speaks of a name that is there, or none.
#[test]
fn a_docker_that_fails_leaves_no_lock_that_is_wrong() {
    let mut failed = 0;
    for at in 1.. {
        let stack = Stack::new();
        let engine = Engine::of(&stack);
        engine.image('a', &["acme-api:latest"]);
        engine.set("fail", &format!("{at} error\n"));
        let outcome = engine.run(&["snapshot", "--docker-image", "acme-api:latest"]);
        if outcome.code == 0 {
            break;
        }
        outcome.exits(3).says(&["injected"]);
        assert!(stack.files("repo/releases").is_empty(), "at {at}: {:?}", stack.files("repo/releases"));
        engine.unset("fail");
        engine.run(&["snapshot", "--docker-image", "acme-api:latest"]).ok();
        assert_eq!((lock(&stack)["docker_tag"].as_str(), engine.named(TAG)), (Some(TAG), Some('a')));
        failed += 1;
    }
    assert_eq!(failed, 4, "version, two looks, the name");
}

/// A run was killed between the lock and the list of digests.
#[test]
fn a_list_that_has_the_lock_from_before_is_mended_by_the_next_run() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    let list = stack.path("repo/releases/SHA256SUMS");
    let steps: [&[&str]; 3] =
        [&["snapshot", "--no-tarball"], &["snapshot"], &["snapshot", "--docker-image", "acme-api:latest"]];
    engine.run(steps[0]).ok();
    for step in &steps[1..] {
        let before = fs::read(&list).expect("reads");
        engine.run(step).ok();
        fs::write(&list, before).expect("writes");
        stack.run(&["verify"]).exits(1).says(&["SHA256SUMS"]);
        stack.run(&["snapshot"]).ok().says(&["unchanged"]);
        stack.run(&["verify"]).ok();
        stack.sh("repo/releases", "sha256sum --check --strict SHA256SUMS");
    }
    // A lock that was changed in anything else stays known as damaged.
    let path = stack.one("repo/releases", ".lock.json");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("\"keep\": 3", "\"keep\": 4")).expect("writes");
    stack.run(&["snapshot"]);
    stack.run(&["verify"]).exits(1).says(&["SHA256SUMS"]);
}

#[test]
fn a_lock_that_is_published_gets_no_image() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    engine.image('a', &["acme-api:latest"]);
    stack.run(&["snapshot"]).ok();
    stack.run(&["publish", "--url", "https://example.org/v1"]).ok();
    let before = lock(&stack);
    let args = ["snapshot", "--docker-image", "acme-api:latest"];
    engine.run(&args).exits(3).says(&["published without an image", "https://example.org/v1"]);
    assert_eq!((lock(&stack), engine.named(TAG)), (before, None));
}
