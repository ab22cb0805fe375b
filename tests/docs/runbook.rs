//! `docs/runbook.md`: every command that it gives is run as it stands there, in a night in which that has happened.
//!
//! The real paths are there, in a mount namespace: a drive that is really mounted at `/mnt/gdrive`, the repository at
//! `/srv/codex-completions-api`, and a service that answers on its port. `systemctl`, `gh` and `docker` are stand-ins. How
//! it comes to a scene, and what must be true behind it, is told in shell, in the files beside `night.sh`.
mod tables;

use super::markdown::{blocks, chapters, page, section};
use crate::docker::engine::Engine;
use crate::full::service;
use crate::mounts::space::Space;
use crate::publish::forge;
use crate::support::{Outcome, Stack, outcome};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use tables::{DISASTER, ORDINARY, TROUBLE};

pub(super) const PAGE: &str = "docs/runbook.md";

/// A section, and what happens in it.
struct Scene {
    heading: &'static str,
    /// The functions `NAME_happens` and `NAME_well` of the file `FILE.sh`.
    file: &'static str,
    name: &'static str,
    /// How each of its blocks ends.
    ends: &'static [i32],
}

/// The programs that only the real machine has.
const PROGRAMS: [(&str, &str); 5] = [
    ("systemctl", include_str!("runbook/systemctl")),
    ("crontab", include_str!("runbook/crontab")),
    ("journalctl", "#!/bin/sh\necho 'codex-completions-api.service: Start request repeated too quickly.'\n"),
    // Sets the clock right.
    (
        "timedatectl",
        "#!/bin/sh\n[ \"$*\" != 'set-ntp true' ] || echo 2026-03-10T12:00:00Z > \"$HOME/clock\"\n",
    ),
    // What comes to pass meanwhile is the scene's to say.
    ("sleep", "#!/bin/sh\nPATH=$(cat \"$HOME/../path\") exec sh \"$HOME/../pause\"\n"),
];

/// A machine of its own.
struct Night {
    space: Space,
    stack: Stack,
}

impl Night {
    /// All runs, and nothing is backed up yet; `None` where this machine cannot and the test may be left out.
    fn falls() -> Option<Self> {
        let space = Space::apart(&["--net"])?;
        let stack = Stack::new();
        let page = page(PAGE);
        let toml = blocks(&page).into_iter().find(|(language, _)| *language == "toml");
        stack.file("repo/recovery.toml", &toml.expect("a configuration").1);
        Engine::of(&stack).image('a', &["codex-completions-api:latest"]);
        stack.sh("repo", "sed -i s/acme-api/codex-completions-api/ docker-compose.yml");
        stack.commit("the service", "2026-03-02T08:30:00Z");
        forge(&stack);
        service::install(&stack);
        for (name, text) in PROGRAMS {
            program(&stack, name, text);
        }
        let tool = "#!/bin/sh\n[ \"$1\" = xtask ] || exit 101\nshift\necho $$ > \"$HOME/xtask.pid\"\n\
                    RECOVERY_NOW=$(cat \"$HOME/clock\") exec";
        program(&stack, "cargo", &format!("{tool} '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask")));
        stack.file("pause", "");
        let night = Self { space, stack };
        night.sh("", "falls");
        Some(night)
    }

    /// Runs a program inside, in the folder of the stack.
    fn run(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(args[0]);
        command.args(&args[1..]).current_dir(self.stack.path("."));
        let tool = self.stack.plain::<&str>(&[]);
        command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = tool.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path?.to_str());
        command.env("PATH", format!("{}:{}", self.stack.path("bin").display(), path.expect("a path")));
        outcome(&mut self.space.bound(command.env("GH_TOKEN", "tok-31337-tok").env("BY_HAND", "1")))
    }

    /// Calls a function of a scene.
    #[track_caller]
    fn sh(&self, file: &str, function: &str) {
        let beside = format!("{}/../tests/docs/runbook", env!("CARGO_MANIFEST_DIR"));
        let script = format!("for file in night {file}; do . '{beside}'/\"$file\".sh; done; {function}");
        let outcome = self.run(&["bash", "-euo", "pipefail", "-c", &script]);
        assert_eq!(outcome.code, 0, "{file}: {function}: {}", outcome.shown());
    }

    /// Runs a block as the operator does: at the repository's root where there is one, and with no other programs than
    /// those in `few` where that is there.
    fn block(&self, block: &str) -> Outcome {
        self.stack.file("block.sh", block);
        let root = "few=$PWD/few block=$PWD/block.sh; if test -e \"$few\"; then PATH=$few; fi
                    cd /srv/codex-completions-api 2> /dev/null || cd /srv; exec sh -eu \"$block\"";
        self.run(&["sh", "-c", root])
    }
}

fn program(stack: &Stack, name: &str, text: &str) {
    let file = format!("bin/{name}");
    stack.file(&file, text);
    fs::set_permissions(stack.path(&file), fs::Permissions::from_mode(0o755)).expect("sets");
}

/// The blocks of a section: what is typed, and what is shown behind it.
fn typed(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (language, block) in blocks(text) {
        match (language, found.last_mut()) {
            ("sh", _) => found.push((block, Vec::new())),
            ("text", Some((_, shown))) => shown.push(block),
            _ => {}
        }
    }
    found
}

/// Each line that the page shows is one that was printed, but for numbers, digests and times.
#[track_caller]
fn is_shown(shown: &[String], real: &Outcome) {
    let lines = super::shape(&format!("{}\n{}", real.stdout, real.stderr));
    for line in shown.iter().flat_map(|block| super::shape(block)) {
        assert!(lines.contains(&line), "the page shows {line:?}, and there is: {}", real.shown());
    }
}

/// What happens, the blocks in their order, and what must be true then.
fn play(scene: &Scene) {
    let (page, heading) = (page(PAGE), scene.heading);
    let found = chapters(&page).into_iter().find(|(title, _)| title == heading);
    let blocks = typed(&found.unwrap_or_else(|| panic!("no section {heading:?}")).1);
    assert_eq!(blocks.len(), scene.ends.len(), "{heading}: how does each block end?");
    let Some(night) = Night::falls() else { return };
    night.sh(scene.file, &format!("{}_happens", scene.name));
    for ((block, shown), code) in blocks.iter().zip(scene.ends) {
        let outcome = night.block(block);
        assert_eq!(outcome.code, *code, "{heading}:\n{block}\n{}", outcome.shown());
        is_shown(shown, &outcome);
    }
    night.sh(scene.file, &format!("{}_well", scene.name));
    for stand_in in ["home/unexpected", "home/docker/unexpected"] {
        let unexpected = fs::read_to_string(night.stack.path(stand_in));
        assert!(unexpected.is_err(), "{heading}: {unexpected:?}");
    }
}

#[test]
fn each_section_with_commands_has_its_scene() {
    let page = page(PAGE);
    let text_of = |title: &str| section(&page, title).to_owned();
    let scenes = || [ORDINARY, DISASTER, TROUBLE].into_iter().flatten();
    let with: BTreeSet<String> = chapters(&page)
        .into_iter()
        .filter(|(_, text)| blocks(text).iter().any(|(language, _)| *language == "sh"))
        .map(|(title, _)| title)
        .collect();
    assert_eq!(with, scenes().map(|scene| scene.heading.to_owned()).collect());
    assert_eq!(with.len(), scenes().count(), "a heading twice");
    let silent: Vec<&String> =
        with.iter().filter(|title| !text_of(title).contains("t is well when")).collect();
    assert!(silent.is_empty(), "how does one see that it is well again? {silent:?}");
    // What is to be typed is run, so it is `sh`; what is shown, and the one configuration, are not to be typed.
    let languages: Vec<&str> = blocks(&page).iter().map(|(language, _)| *language).collect();
    assert!(languages.iter().all(|language| ["sh", "text", "toml"].contains(language)), "{languages:?}");
    assert_eq!(languages.iter().filter(|language| **language == "toml").count(), 1);
}
