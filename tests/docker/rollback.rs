//! `rollback`: from which lock, by which steps, and what is left when docker fails at any of them.
use super::engine::{Engine, id};
use crate::support::Stack;
use std::fs;

const KEPT: &str = "acme-api:latest-before-20260310-120000Z";

/// `app` runs on the image b; the one before, a, was snapshotted by us.
fn deployed(stack: &Stack) -> Engine<'_> {
    let engine = Engine::of(stack);
    engine.image('a', &["acme-api:latest"]);
    engine.run(&["snapshot", "--docker-image", "acme-api:latest"]).ok();
    engine.image('b', &["acme-api:latest", "acme-api:dev"]);
    engine.set("running-app", &"b".repeat(64));
    engine.calls();
    engine
}

#[test]
fn the_newest_lock_is_rolled_back_to_and_back_again() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let before = stack.world(".");
    let planned = engine.run(&["rollback", "--env", "prod", "--dry-run"]).ok();
    planned.says(&[
        &format!("prod: the image is {}, which {}", id('a'), stack.path("repo/releases").display()),
        &format!(
            "prod: docker image tag {} {KEPT}\nprod: docker image tag {} acme-api:latest",
            id('b'),
            id('a')
        ),
        "docker-compose.yml up -d --no-build app\n",
    ]);
    for state in ["calls", "env", "cwd"] {
        engine.unset(state);
    }
    assert_eq!(stack.world("."), before, "a dry run changes nothing");
    let done = engine.run(&["rollback", "--env", "prod"]).ok();
    done.says(&[KEPT, &format!("cargo xtask rollback --env prod --image-id {KEPT}")]);
    let named = |name: &str| engine.named(name);
    assert_eq!(
        (named("acme-api:latest"), named(KEPT), engine.running("app")),
        (Some('a'), Some('b'), Some('a'))
    );
    assert_eq!(named("acme-api:dev"), Some('b'), "the other environment is left alone");
    let compose = stack.path("repo/docker-compose.yml").display().to_string();
    let calls: Vec<String> =
        engine.calls().into_iter().filter(|call| !call.starts_with("image inspect")).collect();
    let expected = [
        "version --format {{.Server.Version}}".to_owned(),
        "compose version".to_owned(),
        format!("compose -f {compose} config --quiet"),
        format!("image tag {} {KEPT}", id('b')),
        format!("image tag {} acme-api:latest", id('a')),
        format!("compose -f {compose} up -d --no-build app"),
    ];
    assert_eq!(calls, expected);
    // Once more changes no name; back again by the kept one.
    engine.run(&["rollback", "--env", "prod"]).ok();
    assert_eq!(engine.names().len(), 4, "{:?}", engine.names());
    engine.run(&["rollback", "--env", "prod", "--image-id", KEPT]).ok();
    assert_eq!((named("acme-api:latest"), engine.running("app")), (Some('b'), Some('b')));
    let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
    assert_eq!(history.matches("\"kind\":\"rollback\"").count(), 3);
}

/// The three generations of locks: ours, the shell tool's, and the one of images alone.
#[test]
fn locks_of_every_generation_are_read() {
    let shell = r#"{"version": "v1.0.0", "env": "prod", "git_sha": "0123456789ab", "created_at": "2025-11-01T101500Z", "tarball": null,
        "tarball_sha256": null, "docker_tag": "acme-api:prod-20251101-101500Z", "release_url": null, "keep": 3, "notes": {}}"#;
    let images = format!(
        r#"{{"_note": "x", "created_at": "2025-09-12T23-57-31Z", "images": [
        {{"env": "dev", "image_id": "{}", "archival_tag": "acme-api:dev-20250912-235734Z", "snap_ts_utc": "2025-09-12T23-57-31Z"}},
        {{"env": "prod", "image_id": "{}", "docker_tag": "acme-api:prod-20250912-235731Z", "snap_ts_utc": "2025-09-12T23-57-31Z"}}]}}"#,
        id('e'),
        id('d')
    );
    let stack = Stack::new();
    let engine = deployed(&stack);
    stack.file("repo/releases/acme-api-v1.0.0-2025-11-01T101500Z.lock.json", shell);
    stack.file("repo/old/stack-images-2025-09-12.lock.json", &images);
    engine.image('c', &["acme-api:prod-20251101-101500Z"]);
    engine.image('d', &[]);
    engine.image('e', &[]);
    let (shell, images) =
        ("releases/acme-api-v1.0.0-2025-11-01T101500Z.lock.json", "old/stack-images-2025-09-12.lock.json");
    for (lock, env, name, image) in [
        (shell, "prod", "acme-api:latest", 'c'),
        (images, "prod", "acme-api:latest", 'd'),
        (images, "dev", "acme-api:dev", 'e'),
    ] {
        engine.run(&["rollback", "--env", env, "--from-lock", lock]).ok();
        assert_eq!(engine.named(name), Some(image), "{lock} {env}");
    }
    engine.run(&["rollback", "--env", "dev", "--from-lock", shell]).exits(3).says(&["names no image of dev"]);
    // Both environments, which is what is done without --env.
    engine.image('b', &["acme-api:latest", "acme-api:dev"]);
    engine.run(&["rollback", "--from-lock", images]).ok();
    assert_eq!((engine.running("app"), engine.running("app-dev")), (Some('d'), Some('e')));
    let calls = engine.calls();
    let dev = calls.iter().rfind(|call| call.ends_with("up -d --no-build app-dev")).expect("a call");
    let (env, file) = (stack.path("repo/.env.dev"), stack.path("repo/infra/compose/compose.dev.stack.yml"));
    let expected = format!("compose -p codex-dev --env-file {} -f {} up", env.display(), file.display());
    assert!(dev.starts_with(&expected), "{dev}");
}

#[test]
fn an_image_that_is_gone_is_loaded_from_where_it_was_saved() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    stack.sh("home/docker", "rm names/acme-api:prod-* images/aaa*");
    let args = ["rollback", "--env", "prod"];
    let nowhere = engine.run(&args).exits(3);
    nowhere.says(&["docker has no image", "acme-api-prod-2026-03-01T083000Z.tar", "bring back the file"]);
    assert_eq!(engine.named("acme-api:latest"), Some('b'));
    // The saved image had the canonical name: loading it takes that away from the one that has it now.
    engine.saved("acme-api-prod-2026-03-01T083000Z.tar", &[("acme-api:latest", 'a')]);
    let moved = format!("prod: loading it moves acme-api:latest away from {}", id('b'));
    let dry = [&args[..], &["--dry-run"]].concat();
    engine.run(&dry).ok().says(&["docker image load --input", &moved]);
    let document = engine.run(&[&dry[..], &["--json"]].concat()).ok().json();
    let expected = serde_json::json!([{"name": "acme-api:latest", "previous_image_id": id('b')}]);
    assert_eq!(document["environments"][0]["moves"], expected);
    engine.run(&args).ok();
    let named = |name: &str| engine.named(name);
    assert_eq!(
        (named("acme-api:latest"), named(KEPT), engine.running("app")),
        (Some('a'), Some('b'), Some('a'))
    );
}

/// Names of other images in the file move as well: all of them are in the plan, and none that stays where it is.
#[test]
fn every_name_that_loading_moves_is_in_the_plan() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    stack.sh("home/docker", "rm names/acme-api:prod-* images/aaa*");
    engine.image('d', &["registry.example.org/db:15", "acme-api:stays"]);
    let file = "acme-api-prod-2026-03-01T083000Z.tar";
    let saved =
        [("registry.example.org/db:15", 'c'), ("acme-api:stays", 'd'), ("acme-api:new", 'a'), ("-", 'e')];
    engine.saved(file, &saved);
    let args = ["rollback", "--env", "prod", "--dry-run"];
    let said = engine.run(&args).ok();
    assert!(!said.stdout.contains("acme-api:stays"), "{}", said.shown());
    said.says(&[
        &format!("loading it moves registry.example.org/db:15 away from {}", id('d')),
        "loading it gives the name acme-api:new",
    ]);
    let moves = |document: &serde_json::Value| document["environments"][0]["moves"].clone();
    let planned = moves(&engine.run(&[&args[..], &["--json"]].concat()).ok().json());
    assert_eq!(planned.as_array().map(Vec::len), Some(2), "{planned}");
    // A file that does not tell is a warning; what docker makes of it is docker's matter.
    stack.sh("home/.cache/codex-backups", &format!("gzip < {file} > packed; mv packed {file}"));
    let document = engine.run(&[&args[..], &["--json"]].concat()).ok().json();
    assert_eq!(document["findings"][0]["severity"], "warning", "{document}");
    assert_eq!(moves(&document), serde_json::json!([]));
    engine.saved(file, &saved);
    let done = engine.run(&["rollback", "--env", "prod", "--json"]).ok().json();
    assert_eq!(moves(&done), planned, "what was planned is what was done");
    assert_eq!(
        (engine.named("registry.example.org/db:15"), engine.named("acme-api:new")),
        (Some('c'), Some('a'))
    );
}

/// A run that is killed when the service was started leaves no line of history. Another one finds the image in its place,
/// starts the service once more, and notes that.
#[test]
fn a_rollback_that_is_killed_before_it_is_noted_is_noted_by_the_next() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let lines = || {
        let history = fs::read_to_string(stack.path("repo/.recovery/history.jsonl")).expect("reads");
        history.matches("\"kind\":\"rollback\"").count()
    };
    engine.run(&["rollback", "--env", "prod"]).ok();
    let last = engine.calls().len();
    engine.image('b', &["acme-api:latest"]);
    stack.sh("repo/.recovery", "sed -i '/\"kind\":\"rollback\"/d' history.jsonl");
    engine.set("fail", &format!("{last} kill"));
    engine.run(&["rollback", "--env", "prod"]).exits(-1);
    engine.unset("fail");
    assert_eq!((lines(), engine.named("acme-api:latest"), engine.named(KEPT)), (0, Some('a'), Some('b')));
    engine.run(&["rollback", "--env", "prod"]).ok();
    assert_eq!((lines(), engine.running("app")), (1, Some('a')));
    assert_eq!(engine.named(KEPT), Some('b'), "the way back is still there");
}

#[test]
fn what_was_loaded_must_be_what_was_asked_for() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    stack.sh("home/docker", "rm names/acme-api:prod-* images/aaa*");
    for (held, words) in [
        (&[("acme-api:latest", 'c')][..], "holds acme-api:latest, and not"),
        (&[("-", 'c')], "holds sha256:ccc"),
        (&[], "holds no image"),
    ] {
        engine.saved("acme-api-prod-2026-03-01T083000Z.tar", held);
        engine
            .run(&["rollback", "--env", "prod"])
            .exits(3)
            .says(&[words, "names the image from before again"]);
        assert_eq!(
            (engine.named("acme-api:latest"), engine.running("app")),
            (Some('b'), Some('b')),
            "{held:?}"
        );
    }
    // A lock of the shell tool has no id: its name must be in the file.
    let lock = r#"{"version": "v1", "env": "prod", "created_at": "2025-11-01T101500Z", "docker_tag": "acme-api:prod-x"}"#;
    stack.file("repo/releases/acme-api-v1-2025-11-01T101500Z.lock.json", lock);
    let args =
        ["rollback", "--env", "prod", "--from-lock", "releases/acme-api-v1-2025-11-01T101500Z.lock.json"];
    engine.saved("acme-api-prod-2025-11-01T101500Z.tar", &[("acme-api:prod-y", 'd')]);
    engine.run(&args).exits(3).says(&["holds acme-api:prod-y, and not acme-api:prod-x"]);
    engine.saved("acme-api-prod-2025-11-01T101500Z.tar", &[("acme-api:prod-x", 'd')]);
    engine.run(&args).ok();
    assert_eq!((engine.named("acme-api:latest"), engine.running("app")), (Some('d'), Some('d')));
}

/// A name that has gone to another image is not taken for the one that was recorded, unless a registry says that it is.
#[test]
fn a_name_of_another_image_is_not_taken() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let tag = "acme-api:prod-20260301-083000Z";
    stack.sh("home/docker", "rm images/aaa*");
    engine.image('c', &[tag]);
    engine.run(&["rollback", "--env", "prod"]).exits(3).says(&["docker has no image"]);
    let digest = format!("ghcr.io/acme/api@{}", id('e'));
    engine.set(&format!("images/{}", "c".repeat(64)), &format!("{digest}\n"));
    let lock = stack.one("repo/releases", ".lock.json");
    let text = fs::read_to_string(&lock).expect("reads");
    fs::write(&lock, text.replace("\"repo_digests\": []", &format!("\"repo_digests\": [\"{digest}\"]")))
        .expect("writes");
    // A lock that its list refutes would start nothing.
    stack.sh("repo/releases", "rm SHA256SUMS");
    engine.run(&["rollback", "--env", "prod"]).ok();
    assert_eq!(engine.named("acme-api:latest"), Some('c'));
}

/// What the shell tool left of its last snapshot, where no lock names an image.
#[test]
fn the_pointers_of_the_shell_tool_are_followed() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    engine.image('b', &["acme-api:latest"]);
    engine.run(&["rollback", "--env", "prod"]).exits(3).says(&["names an image of prod", "--from-lock"]);
    let dir = stack.path("elsewhere");
    stack.file("elsewhere/codex-latest-prod.iid", &id('a'));
    engine.saved_at("elsewhere/saved.tar", &[("-", 'a')]);
    stack.file("elsewhere/codex-latest-prod.tarpath", &dir.join("saved.tar").display().to_string());
    engine.run(&["rollback", "--env", "prod", "--backup-dir", "../elsewhere"]).ok();
    assert_eq!((engine.named("acme-api:latest"), engine.running("app")), (Some('a'), Some('a')));
}

#[test]
fn image_and_name_may_be_given() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    engine.image('c', &["built:today"]);
    let compose = "services:\n  app:\n    image: acme/other:x\n";
    stack.file("repo/other.yml", compose);
    let args = ["rollback", "--env", "prod", "--image-id", "built:today", "--tag", "acme/other:x"];
    engine.run(&[&args[..], &["--prod-compose", "other.yml"]].concat()).ok();
    assert_eq!((engine.named("acme/other:x"), engine.running("app")), (Some('c'), Some('c')));
    assert_eq!(engine.named("acme-api:latest"), Some('b'));
    engine.run(&["rollback", "--tag", "a:b"]).exits(2).says(&["--env"]);
    engine.run(&["rollback", "--env", "prod", "--tag", "-a:b"]).exits(2);
    engine.run(&["rollback", "--env", "prod", "--tag=-a:b"]).exits(2).says(&["NAME:TAG"]);
    engine.run(&["rollback", "--env", "live"]).exits(2).says(&["prod, dev, both"]);
    engine.run(&["rollback", "--env", "prod", "--image-id=--all"]).exits(3).says(&["which is no image"]);
    engine.run(&["rollback", "--env", "prod", "--image-id"]).exits(2).says(&["--image-id"]);
}

#[test]
fn names_come_from_the_configuration() {
    let stack = Stack::new();
    stack.configure(
        "[docker]\nimage = \"ghcr.io/acme/api\"\nbackup-dir = \"../saved\"\n\
         prod = { tag = \"live\", service = \"web\", compose-files = [\"a.yml\", \"b.yml\"], project = \"shop\", env-file = \"prod.env\" }\n",
    );
    let engine = Engine::of(&stack);
    for file in ["a.yml", "b.yml"] {
        stack.file(&format!("repo/{file}"), "services:\n  web:\n    image: ghcr.io/acme/api:live\n");
    }
    stack.file("repo/prod.env", "");
    engine.image('b', &["ghcr.io/acme/api:live"]);
    engine.saved_at("saved/api-prod-2026-03-01T083000Z.tar", &[("-", 'a')]);
    engine.image('a', &["built:now"]);
    engine.run(&["snapshot", "--docker-image", "built:now"]).ok();
    stack.sh("home/docker", "rm images/aaa* names/*prod-* names/built:now");
    engine.run(&["rollback", "--env", "prod"]).ok();
    assert_eq!(engine.running("web"), Some('a'));
    let calls = engine.calls().join("\n");
    let at = |name: &str| stack.path("repo").join(name).display().to_string();
    let expected = format!(
        "compose -p shop --env-file {} -f {} -f {} up -d --no-build web",
        at("prod.env"),
        at("a.yml"),
        at("b.yml")
    );
    assert!(calls.contains(&expected), "{calls}");
}

/// Compose files take values from the environment; no passphrase is theirs.
#[test]
fn compose_sees_the_environment_without_passphrases_and_no_other_call_does() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    stack.configure("passphrase-env = \"MY_KEY\"\n");
    let env = [("PROXY_API_KEY", "of the service"), ("MY_KEY", "secret"), ("CODEX_BACKUP_GPG_KEY", "secret")];
    engine.run_with(&env, &["rollback", "--env", "prod"]).ok();
    let seen = fs::read_to_string(stack.path("home/docker/env")).expect("reads");
    assert!(seen.contains("PROXY_API_KEY=of the service\n") && !seen.contains("secret"), "{seen}");
    let cwd = fs::read_to_string(stack.path("home/docker/cwd")).expect("reads");
    assert_eq!(cwd.trim(), stack.path("repo").canonicalize().expect("is there").display().to_string());
}

#[test]
fn what_is_missing_is_told_before_anything_is_changed() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let names = engine.names();
    let args = ["rollback", "--env", "prod"];
    engine.set("no-compose", "");
    engine.run(&args).exits(3).says(&["not installed: docker compose", "docker-compose-plugin"]);
    engine.unset("no-compose");
    engine.set("down", "");
    engine.run(&args).exits(3).says(&["Cannot connect to the Docker daemon", "start the daemon"]);
    engine.unset("down");
    fs::remove_file(stack.path("repo/.env.dev")).expect("removes");
    engine.run(&["rollback"]).exits(3).says(&["couldn't find env file", "nothing was changed"]);
    fs::remove_file(stack.path("repo/docker-compose.yml")).expect("removes");
    engine.run(&args).exits(3).says(&["docker-compose.yml: no such file"]);
    assert_eq!((engine.names(), engine.running("app")), (names, Some('b')));
    stack.sh(".", "mkdir few; for tool in git sh; do ln -s $(command -v $tool) few/$tool; done");
    let few = stack.path("few").display().to_string();
    stack
        .run_with(&[("PATH", &few)], &args)
        .exits(3)
        .says(&["not installed: docker", "apt-get install docker.io"]);
}

/// Docker fails at any call of the real run: the canonical name is put back, the one from before is kept, and what state
/// remains is said. A run that is killed is ended by the next.
#[test]
fn a_docker_that_fails_or_kills_the_run_at_any_call_loses_no_name() {
    for how in ["error", "kill"] {
        let mut disturbed = 0;
        for at in 1.. {
            let stack = Stack::new();
            let engine = deployed(&stack);
            stack.sh("home/docker", "rm names/acme-api:prod-* images/aaa*");
            engine.saved("acme-api-prod-2026-03-01T083000Z.tar", &[("acme-api:latest", 'a')]);
            engine.set("fail", &format!("{at} {how}\n"));
            let outcome = engine.run(&["rollback", "--env", "prod"]);
            if outcome.code == 0 {
                break;
            }
            disturbed += 1;
            let calls = engine.calls();
            let tagged = calls.iter().any(|call| call.starts_with("image tag"));
            assert!(engine.images().contains('b'), "{how} at {at}");
            let has_name =
                engine.names().iter().any(|name| name.ends_with(" b") && !name.starts_with("acme-api:dev"));
            assert!(has_name, "{how} at {at}: {:?}", engine.names());
            if how == "error" {
                let said = outcome.exits(3).says(&["injected"]);
                assert_eq!(
                    (engine.named("acme-api:latest"), engine.running("app")),
                    (Some('b'), Some('b')),
                    "at {at}"
                );
                if tagged {
                    let started = calls.iter().any(|call| call.contains(" up "));
                    let service =
                        if started { "may be stopped, or run on either image" } else { "was not touched" };
                    said.says(&["acme-api:latest names", service, "docker compose"]);
                }
            }
            engine.unset("fail");
            engine.run(&["rollback", "--env", "prod"]).ok();
            assert_eq!(
                (engine.named("acme-api:latest"), engine.running("app")),
                (Some('a'), Some('a')),
                "{how} at {at}"
            );
            assert!(
                engine.names().iter().any(|name| name.starts_with(KEPT) && name.ends_with(" b")),
                "{how} at {at}"
            );
        }
        assert!(disturbed >= 12, "{how}: {disturbed}");
    }
}

#[test]
fn a_failed_environment_ends_the_run_and_the_other_is_not_begun() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let images = format!(
        r#"{{"created_at": "2025-09-12T23-57-31Z", "images": [{{"env": "dev", "image_id": "{0}"}}, {{"env": "prod", "image_id": "{0}"}}]}}"#,
        id('a')
    );
    stack.file("repo/both.lock.json", &images);
    stack.file("repo/docker-compose.yml", "services:\n  other:\n    image: acme-api:latest\n");
    let document = engine.run(&["rollback", "--from-lock", "both.lock.json", "--json"]).exits(3).json();
    let statuses: Vec<&str> = document["environments"]
        .as_array()
        .expect("environments")
        .iter()
        .filter_map(|environment| environment["status"].as_str())
        .collect();
    assert_eq!(statuses, ["failed", "not_begun"]);
    assert!(
        document["findings"][0]["what"].as_str().is_some_and(|what| what.contains("no such service: app"))
    );
    assert_eq!((engine.named("acme-api:latest"), engine.named("acme-api:dev")), (Some('b'), Some('b')));
}

#[test]
fn a_full_drill_that_is_open_comes_first() {
    let stack = Stack::new();
    stack.configure(
        "[drill]\ndeploy = \"true\"\nstop = \"true\"\nstart = \"cp .recovery/drill.json journal.json\"\nsmoke = [\"true\"]\n",
    );
    let engine = deployed(&stack);
    engine.run(&["backup"]).ok();
    engine.run_with(&[("RECOVERY_NOW", "2026-03-11T12:00:00Z")], &["restore-drill", "full", "--yes"]).ok();
    stack.sh("repo", "cp journal.json .recovery/drill.json");
    engine.run(&["rollback", "--env", "prod"]).exits(3).says(&["full drill", "recover"]);
    assert_eq!(engine.named("acme-api:latest"), Some('b'));
}

#[test]
fn one_run_at_a_time() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    let path = format!("{}:$PATH", stack.path("bin").display());
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!(
        "set +e; export PATH=\"{path}\"; flock .recovery/locks/repository '{xtask}' rollback --env prod >&2; echo $?"
    );
    assert_eq!(stack.sh("repo", &script), "75\n");
    assert_eq!(engine.named("acme-api:latest"), Some('b'));
}

/// The lock is taken before anything is looked at for the plan: what another run is about to change is no ground for one.
#[test]
fn a_run_that_has_to_wait_plans_nothing_and_leaves_nothing() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    // A plan would fail with 3.
    fs::remove_file(stack.path("repo/docker-compose.yml")).expect("removes");
    let (before, names) = (stack.world("repo"), engine.names());
    let path = format!("{}:$PATH", stack.path("bin").display());
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!(
        "set +e; export PATH=\"{path}\"; flock .recovery/locks/repository '{xtask}' rollback --env prod 2>&1; echo $?"
    );
    let said = stack.sh("repo", &script);
    assert!(said.contains("this repository") && said.ends_with("\n75\n"), "{said}");
    assert_eq!(
        engine.calls(),
        ["version --format {{.Server.Version}}"],
        "docker is asked whether it is there"
    );
    assert_eq!((stack.world("repo"), engine.names()), (before, names));
    engine.run(&["rollback", "--env", "prod"]).exits(3).says(&["docker-compose.yml: no such file"]);
}

#[test]
fn a_lock_that_is_not_the_one_that_was_written_starts_nothing() {
    let stack = Stack::new();
    let engine = deployed(&stack);
    engine.image('c', &["acme-api:other"]);
    let path = stack.one("repo/releases", ".lock.json");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace(&id('a'), &id('c'))).expect("writes");
    let lock = path.display().to_string();
    for more in [&[][..], &["--from-lock", &lock]] {
        let args = [&["rollback", "--env", "prod"][..], more].concat();
        engine.run(&args).exits(3).says(&["has another SHA-256 than SHA256SUMS says"]);
    }
    assert_eq!((engine.named("acme-api:latest"), engine.running("app")), (Some('b'), Some('b')));
    // An address that was set by hand changes nothing of the image.
    fs::write(&path, text.replace("\"release_url\": null", "\"release_url\": \"https://example.org/v1\""))
        .expect("writes");
    engine.run(&["rollback", "--env", "prod"]).ok();
    assert_eq!(engine.running("app"), Some('a'));
}
