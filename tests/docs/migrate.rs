//! `docs/migrate.md`: its commands run, in a service as the shell tool left it.
use super::markdown::{blocks, page, section, spans, table};
use super::{Engine, help, runs, stack};
use crate::docker::engine::id;
use crate::migrate::old::{shell_backup, shell_bundle};
use crate::migrate::scripts::checkout;

/// The drive of the page is no mount here, and lies elsewhere.
fn here(text: &str, drive: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("mount = "));
    lines.map(|line| line.replace("/mnt/gdrive/codex-backups", drive) + "\n").collect()
}

#[test]
fn the_commands_of_the_page_work_in_their_order() {
    let stack = stack();
    let (page, drive) = (page("docs/migrate.md"), stack.path("drive").display().to_string());
    for (stamp, ending) in [("2025-11-01T030000Z", ""), ("2025-11-02T030000Z", ".gpg")] {
        shell_backup(&stack, stamp, ending);
    }
    shell_bundle(&stack, "1.0.0", "2025-11-01T101500Z");
    checkout(&stack, "repo/tools/stack-recovery");
    let images = format!(
        r#"{{"created_at": "2025-09-12T23-57-31Z", "images": [{{"env": "prod", "image_id": "{}", "archival_tag": "acme-api:x"}}]}}"#,
        id('b')
    );
    stack.file("repo/releases/stack-images-2025-09-12.lock.json", &images);
    Engine::of(&stack).image('b', &[]);
    let mut ran = 0;
    for (language, block) in blocks(&page) {
        match language {
            "toml" => stack.file("repo/recovery.toml", &here(&block, &drive)),
            "sh" => {
                runs(&stack, &here(&block, &drive));
                ran += block.lines().count();
            }
            _ => {}
        }
    }
    assert!(ran >= 15, "{ran}");
    assert!(stack.path("by-file/.codex-api/config.toml").is_file());
    assert!(stack.path("by-time/.codex-api/config.toml").is_file());
    assert!(!stack.path("drive/2025-11-01").exists() && stack.path("drive/2025-11-02").exists());
    assert_eq!(Engine::of(&stack).running("app"), Some('b'));
}

/// Each flag that a script took is one of its verb by now.
#[test]
fn every_flag_of_the_scripts_is_one_of_their_verbs() {
    let page = page("docs/migrate.md");
    let rows = table(section(&page, "The scripts"), "script");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let verb = spans(&row[2]).remove(0);
        let help = help(&[&verb]);
        let flags = spans(&row[1]);
        assert!(flags.len() >= 4, "{row:?}");
        let lost: Vec<&String> = flags
            .iter()
            .filter(|flag| !help.contains(&format!("{flag} ")) && !help.contains(&format!("{flag}\n")))
            .collect();
        assert!(lost.is_empty(), "{verb}: {lost:?}");
    }
}
