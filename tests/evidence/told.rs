//! What is told of drills and of their evidence: times, ages, what is gone, and what was accepted as lost.
use super::super::support::outcome;
use super::{DRILLS, drill_at, drilled, edit, files, read};
use serde_json::Value;
use std::fs;

#[test]
fn a_quiet_drill_tells_what_came_of_it_and_no_step() {
    let stack = drilled("", 0);
    let said = stack.run(&["restore-drill", "-q"]).ok();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[0], "result: verified", "{}", said.shown());
    assert!(lines.len() == 2 && lines[1].starts_with("evidence: "), "{}", said.shown());
    assert_eq!(said.stderr, "");
}

/// Several drills of one second have numbers behind their ids, which sort in another order.
#[test]
fn drills_are_listed_in_the_order_of_their_chain() {
    let stack = drilled("", 1);
    for _ in 0..10 {
        drill_at(&stack, 0).ok();
    }
    let said = stack.run(&["restore-drill", "history"]).ok();
    let ids = said.stdout.lines().filter_map(|line| line.split_whitespace().next());
    let ids: Vec<&str> = ids.filter(|id| id.starts_with("drill-")).collect();
    let end = |number: usize| if number == 1 { "spot".to_owned() } else { format!("spot-{number}") };
    let expected: Vec<String> =
        (1..=11).map(|number| format!("drill-2026-03-11T120000Z-{}", end(number))).collect();
    assert_eq!(ids, expected);
}

/// People read times to the millisecond at most, and a record has no more.
#[test]
fn times_have_no_more_digits_than_people_read() {
    let stack = drilled("", 0);
    let mut drill = stack.command(&["restore-drill", "--json"]);
    drill.env_remove("RECOVERY_NOW");
    outcome(&mut drill).ok();
    let mut texts: Vec<String> = Vec::new();
    for name in stack.files(DRILLS) {
        texts.push(fs::read_to_string(stack.path(DRILLS).join(name)).expect("reads"));
    }
    for text in texts {
        let digits = text
            .split("T")
            .filter_map(|part| part.split_once('Z'))
            .filter_map(|(time, _)| time.split_once('.'));
        let long: Vec<_> = digits
            .filter(|(_, digits)| digits.len() > 3 && digits.bytes().all(|b| b.is_ascii_digit()))
            .collect();
        assert!(long.is_empty(), "{long:?}");
    }
    stack.run(&["verify", "--evidence"]).ok();
}

#[test]
fn data_that_is_dated_after_the_drill_has_no_age() {
    for (now, code, severity, by) in
        [("2026-03-10T11:59:48Z", 0, "warning", "12.0 s"), ("2026-03-10T10:00:00Z", 1, "error", "2 h 0 min")]
    {
        let stack = drilled("[drill]\nrpo-target = \"1h\"\n", 0);
        let document = stack.run_at(now, &["restore-drill", "--json"]).exits(code).json();
        assert_eq!(document["rpo_seconds"], Value::Null, "{document}");
        let findings = document["findings"].as_array().expect("findings").iter();
        let told: Vec<&Value> = findings.filter(|found| found["what"].to_string().contains(by)).collect();
        assert!(told.len() == 1 && told[0]["severity"] == severity, "{document}");
        let page = fs::read_to_string(&files(&stack, ".md")[0]).expect("a page");
        let row = page.lines().find(|line| line.contains("(RPO)")).expect("a row");
        assert!(row.ends_with(&format!("| not measured: dated {by} after the drill's start |")), "{row}");
        let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
        assert!(list.contains(&format!("| not measured: dated {by} after the drill's start |")), "{list}");
        stack.run(&["verify", "--evidence"]).ok();
    }
}

#[test]
fn a_list_that_is_gone_and_a_history_that_is_lost_are_told() {
    let stack = drilled("", 2);
    let list = stack.path(DRILLS).join("restore-checklist.md");
    fs::remove_file(&list).expect("removes");
    let document = drill_at(&stack, 2).ok().json();
    assert!(document["findings"].to_string().contains("begun anew"), "{document}");
    stack.run(&["verify", "--evidence"]).ok();
    assert_eq!(fs::read_to_string(&list).expect("reads").matches("| spot |").count(), 3);
    fs::remove_file(stack.path("repo/.recovery/history.jsonl")).expect("removes");
    let said = stack.run(&["verify", "--evidence", "--json"]).ok().json();
    let found = &said["findings"][0];
    assert!(found["what"].to_string().contains("knows of none of these drills"), "{said}");
    assert_eq!(found["severity"], "warning", "{said}");
}

#[test]
fn what_is_lost_is_accepted_on_record_and_nothing_else_is() {
    let accept = ["verify", "--evidence", "--accept-lost", "the disk died", "--owner", "Ada", "--json"];
    for knows in [true, false] {
        let stack = drilled("", 3);
        stack.run(&accept).exits(3).says(&["no record is missing"]);
        stack.sh(".", "cp -a repo/docs/drills whole");
        if !knows {
            stack.sh("repo", "rm -r .recovery");
        }
        // A record that was changed, alone and beside one that is lost.
        edit(&files(&stack, ".json")[1], "\"outcome\": \"pass\"", "\"outcome\": \"skip\"");
        stack.run(&accept).exits(3);
        fs::remove_file(&files(&stack, ".json")[0]).expect("removes");
        stack.run(&accept).exits(3);
        assert_eq!(files(&stack, "-lost.json").len(), 0);
        stack.sh(".", "rm -r repo/docs/drills; cp -a whole repo/docs/drills");
        // One that is lost, with its page.
        let id = "drill-2026-03-12T120000Z-spot";
        stack.sh(DRILLS, &format!("rm {id}.json {id}.md"));
        stack.run(&["verify", "--evidence"]).exits(1);
        let document = stack.run_at("2026-03-20T12:00:00Z", &accept).ok().json();
        let told = document["findings"].to_string();
        for part in [id, "the disk died", "Ada answers for it"] {
            assert!(told.contains(part), "no {part} in {document}");
        }
        let record = read(&files(&stack, "-lost.json")[0]);
        assert_eq!((&record["kind"], &record["lost"][0]["id"]), (&"lost".into(), &id.into()));
        assert!(record["lost"][0]["sha256"].is_string(), "{record}");
        // Later drills are as good as ever, and everybody is told of it still.
        drill_at(&stack, 10).ok();
        stack.run(&["status"]);
        for args in [&["verify", "--evidence"][..], &["verify"], &["restore-drill", "history"]] {
            stack.run(args).ok().says(&[id, "the disk died"]);
        }
        let list = fs::read_to_string(stack.path(DRILLS).join("restore-checklist.md")).expect("a list");
        assert!(
            list.contains("records lost, which was accepted | the disk died; Ada answers for it |"),
            "{list}"
        );
        // Under its id no other record may come back.
        let path = stack.path(DRILLS).join(format!("{id}.json"));
        fs::copy(stack.path(&format!("whole/{id}.json")), &path).expect("copies");
        edit(&path, "\"outcome\": \"pass\"", "\"outcome\": \"skip\"");
        stack.run(&["verify", "--evidence"]).exits(1).says(&["is not the record that was accepted as lost"]);
    }
    let stack = drilled("", 1);
    stack.run(&["verify", "--evidence", "--accept-lost", ""]).exits(2);
    stack.run(&["verify", "--accept-lost", "x"]).exits(2);
}

#[test]
fn a_loss_that_is_accepted_stands_in_for_no_drill() {
    let stack = drilled("[drill]\nspot-every = \"31d\"\n", 2);
    stack.run_at("2026-03-12T13:00:00Z", &["status"]).ok();
    stack.sh(DRILLS, "rm drill-2026-03-12T120000Z-spot.json drill-2026-03-12T120000Z-spot.md");
    let accept = ["verify", "--evidence", "--accept-lost", "the disk died"];
    stack.run_at("2026-03-12T14:00:00Z", &accept).ok();
    let lost = "accepted as lost since the last spot drill";
    stack.run_at("2026-03-12T15:00:00Z", &["status"]).exits(1).says(&[lost]);
    let due = ["restore-drill", "--if-due", "--json"];
    let drill = stack.run_at("2026-03-12T16:00:00Z", &due).ok().json();
    assert_eq!(drill["result"], "verified", "{drill}");
    let status = stack.run_at("2026-03-12T17:00:00Z", &["status"]).ok();
    assert!(!status.shown().contains(lost), "{}", status.shown());
}
