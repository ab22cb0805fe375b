//! `--prune-docker`: which names go with their locks, and which stay.
use super::engine::Engine;
use crate::support::Stack;
use serde_json::Value;

/// Three bundles with an image each; the names of the first two images are stale when one bundle stays.
fn three(engine: &Engine<'_>, stack: &Stack) {
    for (version, digit) in [("2", 'a'), ("3", 'b'), ("4", 'c')] {
        stack.commit(version, &format!("2026-03-0{version}T09:00:00Z"));
        engine.image(digit, &["acme-api:latest"]);
        engine.run(&["snapshot", "--version", version, "--docker-image", "acme-api:latest"]).ok();
    }
    engine.calls();
}

fn tag(day: char) -> String {
    format!("acme-api:prod-2026030{day}-090000Z")
}

fn items(document: &Value) -> Vec<String> {
    let items = document["items"].as_array().expect("items").iter();
    let docker = items.filter(|item| item["path"].as_str().is_some_and(|path| path.starts_with("docker:")));
    docker.map(|item| format!("{} {}", item["decision"].as_str().expect("a word"), item["reasons"])).collect()
}

#[test]
fn stale_names_go_with_their_locks_as_the_dry_run_said() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    let before = (engine.names(), engine.images());
    let planned = engine.run(&["prune", "--keep", "1", "--prune-docker", "--dry-run", "--json"]).ok().json();
    assert_eq!((engine.names(), engine.images()), before, "a dry run changes nothing");
    let all = items(&planned);
    assert_eq!(all.len(), 2, "{planned}");
    assert!(all.iter().all(|item| item.starts_with("remove ") && item.contains("goes with it")), "{all:?}");
    engine.calls();
    let done = engine.run(&["prune", "--keep", "1", "--prune-docker", "--json"]).ok().json();
    assert_eq!(done["items"], planned["items"]);
    assert_eq!(engine.names(), ["acme-api:latest c".to_owned(), format!("{} c", tag('4'))]);
    assert_eq!(engine.images(), "c");
    let forced = |call: &String| call.split(' ').any(|word| ["-f", "--force"].contains(&word));
    assert!(!engine.calls().iter().any(forced));
    engine.run(&["prune", "--keep", "1", "--prune-docker"]).ok();
    assert!(engine.calls().is_empty(), "nothing is left to ask for");
}

#[test]
fn without_the_flag_docker_is_not_asked() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    engine.run(&["prune", "--keep", "1"]).ok();
    assert!(engine.calls().is_empty());
    engine.run(&["snapshot", "--prune-docker"]).exits(2).says(&["--prune"]);
}

#[test]
fn snapshot_prunes_them_too() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    stack.commit("5", "2026-03-05T09:00:00Z");
    let args = ["snapshot", "--version", "5", "--keep", "2", "--prune", "--prune-docker"];
    let planned = engine.run(&[&args[..], &["--dry-run"]].concat()).ok();
    let docker = |text: &str| text.lines().filter(|line| line.contains("docker:")).count();
    assert_eq!(docker(&planned.stdout), 2, "{}", planned.shown());
    let done = engine.run(&args).ok();
    assert_eq!(docker(&done.stdout), 2, "{}", done.shown());
    assert_eq!((engine.named(&tag('2')), engine.named(&tag('4'))), (None, Some('c')));
}

/// A name that another lock has, that names another image by now, or that is not there.
#[test]
fn a_name_stays_unless_it_is_the_locks_own_and_no_others() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    engine.image('d', &[&tag('3')]);
    let other =
        format!(r#"{{"images": [{{"env": "prod", "image_id": "x", "archival_tag": "{}"}}]}}"#, tag('2'));
    stack.file("repo/releases/stack-images-2025-09-12.lock.json", &other);
    let done = engine.run(&["prune", "--keep", "1", "--prune-docker", "--json"]).ok().json();
    let all = items(&done);
    assert!(all.iter().all(|item| item.starts_with("keep ")), "{all:?}");
    assert!(
        all.iter().any(|item| item.contains("stack-images-2025-09-12.lock.json names it too")),
        "{all:?}"
    );
    assert!(all.iter().any(|item| item.contains("another image by now")), "{all:?}");
    assert_eq!((engine.named(&tag('2')), engine.named(&tag('3'))), (Some('a'), Some('d')));
    assert_eq!(stack.files("repo/releases").iter().filter(|name| name.ends_with(".tar.gz")).count(), 1);
}

#[test]
fn a_docker_that_does_not_answer_stops_the_run_before_anything_goes() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    let before = stack.world("repo/releases");
    engine.set("down", "");
    for verb in [&["prune", "--keep", "1"][..], &["snapshot", "--version", "4", "--keep", "1", "--prune"]] {
        engine.run(&[verb, &["--prune-docker"]].concat()).exits(3).says(&["Docker daemon"]);
        assert_eq!(stack.world("repo/releases"), before);
    }
}

/// A container uses the image of the one name: docker refuses, that is told, and no other name is removed. The next run
/// takes the others first.
#[test]
fn one_that_docker_does_not_let_go_is_told_and_tried_again() {
    let stack = Stack::new();
    let engine = Engine::of(&stack);
    three(&engine, &stack);
    engine.set("used", &tag('2'));
    let said = engine.run(&["prune", "--keep", "1", "--prune-docker"]).exits(1);
    said.says(&["conflict", "is using its referenced image", "tries again"]);
    assert_eq!((engine.named(&tag('2')), engine.named(&tag('3'))), (Some('a'), Some('b')));
    engine.unset("used");
    engine.run(&["prune", "--keep", "1", "--prune-docker"]).ok();
    assert_eq!((engine.named(&tag('2')), engine.named(&tag('3'))), (None, None));
    engine.calls();
    engine.run(&["prune", "--keep", "1", "--prune-docker"]).ok();
    assert!(engine.calls().is_empty());
}

/// Whatever call fails, or kills the run: what the next run leaves is what one that was not disturbed leaves.
#[test]
fn a_docker_that_fails_or_kills_the_run_at_any_call_leaves_nothing_behind() {
    for how in ["error", "kill"] {
        let mut disturbed = 0;
        for at in 1.. {
            let stack = Stack::new();
            let engine = Engine::of(&stack);
            three(&engine, &stack);
            engine.set("fail", &format!("{at} {how}\n"));
            let args = ["prune", "--keep", "1", "--prune-docker"];
            let outcome = engine.run(&args);
            if outcome.code == 0 {
                break;
            }
            // A lock that is there has its name.
            for day in ['2', '3'] {
                let lock = format!("repo/releases/acme-api-v{day}-2026-03-0{day}T090000Z.lock.json");
                assert!(!stack.path(&lock).exists() || engine.named(&tag(day)).is_some(), "{how} at {at}");
            }
            engine.unset("fail");
            engine.run(&args).ok();
            assert_eq!(engine.images(), "c", "{how} at {at}: {:?}", engine.names());
            disturbed += 1;
        }
        assert_eq!(disturbed, 7, "{how}: version, two looks, then for each a look and the removal");
    }
}
