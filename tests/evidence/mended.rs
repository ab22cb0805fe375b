//! What is missing beside records that are whole is told with what mends it, and the next drill writes it again; and
//! records of a repository whose path is no text.
use super::super::support::{Outcome, Stack, outcome};
use super::{DRILLS, drill_at, drilled, edit, files, finds};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

const NEWEST: &str = "drill-2026-03-12T120000Z-spot";

/// A row that was there, and one that a drill was killed in front of: of that the history knows nothing either.
#[test]
fn a_row_that_is_missing_is_added_by_the_next_drill() {
    let stack = drilled("", 2);
    let row = |stack: &Stack| {
        let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
        list.lines().find(|line| line.contains(&format!("[{NEWEST}]"))).map(str::to_owned)
    };
    let whole = row(&stack);
    let removed = format!("sed -i '/\\[{NEWEST}\\]/d' docs/drills/restore-checklist.md");
    stack.sh("repo", &removed);
    let document = finds(&stack, &[&format!("does not list {NEWEST} as it was written")]);
    assert!(document["findings"].to_string().contains("the next drill adds it"), "{document}");
    let told = drill_at(&stack, 2).ok().json()["findings"].to_string();
    assert!(told.contains("warning") && told.contains(&format!("had lost the row of {NEWEST}")), "{told}");
    assert_eq!(row(&stack), whole);
    stack.run(&["verify", "--evidence"]).ok();

    let newest = "drill-2026-03-13T120000Z-spot";
    stack.sh("repo", &removed.replace(NEWEST, newest));
    stack.sh(
        "repo",
        &format!("sed -i '/\"drill\".*{newest}/d; /{newest}.*\"drill\"/d' .recovery/history.jsonl"),
    );
    let said = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    let told = said["findings"].to_string();
    assert!(told.contains(&format!("does not list {newest} yet")), "{said}");
    assert!(told.contains("the next drill adds it") && !told.contains("\"error\""), "{said}");
    // A loss that is accepted adds it as well.
    stack.sh(DRILLS, "rm drill-2026-03-11T*");
    stack.run(&["verify", "--evidence", "--accept-lost", "the disk died"]).ok();
    let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
    assert!(list.contains(&format!("[{newest}]")), "{list}");
    stack.run(&["verify", "--evidence"]).ok();
}

/// In a clone, which has no history: there nobody is to take it for drills that were killed.
#[test]
fn a_list_or_rows_that_somebody_has_removed_are_errors_in_a_clone_too() {
    for removed in ["rm restore-checklist.md", "sed -i '/\\[drill-2026-03-1[23]T/d' restore-checklist.md"] {
        let stack = drilled("", 3);
        stack.sh(".", "rm -r repo/.recovery");
        stack.sh(DRILLS, removed);
        let document = finds(&stack, &["does not list drill-2026-03-1"]);
        assert!(!document["findings"].to_string().contains("was killed"), "{document}");
        let told = drill_at(&stack, 3).ok().json()["findings"].to_string();
        assert!(told.contains("was gone") || told.contains("had lost the row of"), "{told}");
        assert!(!told.contains("was killed"), "{told}");
        stack.run(&["verify", "--evidence"]).ok();
    }
}

/// A record that was changed, and whose row was removed, alone or with the whole list, gets no row.
#[test]
fn no_row_is_added_for_a_record_that_was_changed() {
    let oldest = "drill-2026-03-11T120000Z-spot";
    let row = format!("sed -i '/\\[{oldest}\\]/d' docs/drills/restore-checklist.md");
    let list = "rm docs/drills/restore-checklist.md";
    for (knows, removed) in [(true, &*row), (false, &row), (true, list), (false, list)] {
        let stack = drilled("", 2);
        edit(&files(&stack, ".json")[0], "\"host\": \"", "\"host\": \"x");
        stack.sh("repo", removed);
        if !knows {
            stack.sh("repo", "rm .recovery/history.jsonl");
        }
        drill_at(&stack, 2);
        let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
        assert!(!list.contains(&format!("[{oldest}]")), "{list}");
        stack.run(&["verify", "--evidence"]).exits(1);
    }
}

/// A drill goes on where all evidence is gone, and says so.
#[test]
fn a_drill_says_how_many_records_are_gone_that_the_history_knows() {
    let stack = drilled("", 2);
    stack.sh("repo", "rm -r docs/drills");
    let document = drill_at(&stack, 3).ok().json();
    assert!(document["findings"].to_string().contains("lacks 2 of the records of drills"), "{document}");
    stack.run(&["verify", "--evidence"]).exits(1);
}

#[test]
fn what_is_lost_of_the_newest_drill_is_told_with_its_next_step() {
    let stack = drilled("", 2);
    let record = stack.path(DRILLS).join(format!("{NEWEST}.json"));
    let page = record.with_extension("md");
    let whole = fs::read(&page).expect("a page");
    fs::remove_file(&page).expect("removes");
    let document = finds(&stack, &[&format!("{NEWEST}.md")]);
    assert!(document["findings"].to_string().contains("the next one writes it again"), "{document}");
    let told = drill_at(&stack, 2).ok().json()["findings"].to_string();
    assert!(
        told.contains(&format!("{NEWEST}.md")) && told.contains("is written again from its record"),
        "{told}"
    );
    assert!(fs::read(&page).expect("a page") == whole, "another page than it was");
    stack.run(&["verify", "--evidence"]).ok();

    let newest = record.with_file_name("drill-2026-03-13T120000Z-spot.json");
    fs::remove_file(&newest).expect("removes");
    let document = finds(&stack, &["drill-2026-03-13T120000Z-spot"]);
    for finding in document["findings"].as_array().expect("findings") {
        let told = finding["repair"].as_str().expect("a text");
        assert!(finding["severity"] != "error" || told.contains("--accept-lost"), "{finding}");
    }
    // A page without a record is none of what is accepted.
    fs::write(record.with_file_name("drill-2026-03-13T130000Z-spot.md"), "").expect("writes");
    let accept = ["verify", "--evidence", "--accept-lost", "the disk died", "--json"];
    let told = stack.run(&accept).ok().json()["findings"].to_string();
    assert!(told.contains("these records are lost: drill-2026-03-13T120000Z-spot ("), "{told}");
    drill_at(&stack, 3).ok();
}

/// Bytes of no text, and a line break.
#[test]
fn records_below_a_path_that_is_no_text_are_compared_as_they_are() {
    let stack = drilled("", 0);
    let odd = stack.path("repo").with_file_name(OsStr::from_bytes(b"re\xffpo\nat home"));
    fs::rename(stack.path("repo"), &odd).expect("moves");
    let run = |now: &str, args: &[&str]| -> Outcome {
        outcome(stack.command(args).current_dir(&odd).env("RECOVERY_NOW", now))
    };
    for day in 11..13 {
        run(&format!("2026-03-{day}T12:00:00Z"), &["restore-drill"]).ok();
    }
    let verify = ["verify", "--evidence", "--json"];
    let document = run("2026-03-12T13:00:00Z", &verify).ok().json();
    assert_eq!(
        (&document["checked"], &document["findings"]),
        (&2.into(), &serde_json::json!([])),
        "{document}"
    );
    let status = run("2026-03-12T13:00:00Z", &["status", "--json"]).json();
    assert!(!status["findings"].to_string().contains("docs/drills"), "{status}");
    // What was changed or is gone is found there as anywhere.
    let record = odd.join("docs/drills").join(format!("{NEWEST}.json"));
    for path in [record.clone(), record.with_extension("md")] {
        let whole = fs::read(&path).expect("reads");
        fs::write(&path, [&whole[..], b"\n"].concat()).expect("writes");
        run("2026-03-12T13:00:00Z", &verify).exits(1).says(&[NEWEST]);
        fs::remove_file(&path).expect("removes");
        run("2026-03-12T13:00:00Z", &verify).exits(1).says(&[NEWEST]);
        fs::write(&path, whole).expect("writes");
    }
    run("2026-03-12T13:00:00Z", &verify).ok();
}
