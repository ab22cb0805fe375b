//! `sample`: a share of a big set at a time, until every byte was restored and compared.
use super::super::support::{Stack, reseal};
use super::{drill, found, step};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

const KEY: (&str, &str) = ("CODEX_BACKUP_GPG_KEY", "correct horse battery");

/// A release, and a set whose archive has several blocks, drilled a quarter at a time.
fn stack(destination: &str) -> Stack {
    let stack = Stack::new();
    stack.configure(destination);
    let text = fs::read_to_string(stack.path("repo/recovery.toml")).expect("reads");
    let text = text.replace("[destination", "sample = \"25%\"\n[destination");
    stack.file("repo/recovery.toml", &text.replace("[\"config.toml\"]", "[\"config.toml\", \"current\"]"));
    stack.sh("repo/.codex-api", "for n in a b c d e f g; do head -c 1500000 /dev/urandom > $n.bin; done");
    stack.run(&["snapshot"]).ok();
    stack.run_with(&[KEY], &["backup"]).ok();
    stack
}

fn drill_day(stack: &Stack, day: usize) -> Value {
    let now = format!("2026-03-1{day}T12:00:00Z");
    stack.run_with(&[("RECOVERY_NOW", &now), KEY], &["restore-drill", "--json"]).json()
}

fn status(stack: &Stack) -> String {
    stack.run_with(&[("RECOVERY_NOW", "2026-03-19T12:00:00Z"), KEY], &["status"]).stdout
}

fn archive(stack: &Stack) -> PathBuf {
    let names = stack.files("drive").into_iter();
    let mut names = names.filter(|name| name.contains(".tar.gz") && !name.ends_with(".sha256"));
    stack.path("drive").join(names.next().expect("an archive"))
}

/// What an artifact of data has shown.
fn part(document: &Value) -> (Vec<u64>, u64, u64) {
    let artifacts = document["artifacts"].as_array().expect("artifacts");
    let part = &artifacts.iter().find(|a| a["role"] == "data").expect("data")["part"];
    let numbers = part["numbers"].as_array().expect("numbers").iter().filter_map(Value::as_u64).collect();
    let number = |key: &str| part[key].as_u64().expect("a number");
    (numbers, number("of"), number("bytes"))
}

#[test]
fn every_byte_is_covered_in_the_stated_number_of_drills() {
    let stack = stack("");
    let whole: u64 = stack
        .sh("repo/.codex-api", "find . -type f -name '*.*' ! -name twin.toml -printf '%s\\n'")
        .lines()
        .map(|line| line.parse::<u64>().expect("a number"))
        .sum();
    let (mut bytes, mut day, mut last) = (0, 1, 0);
    while last < 4 {
        let document = drill_day(&stack, day);
        assert_eq!(document["result"], "verified", "{document}");
        assert_eq!(document["rto_seconds"], Value::Null, "a sample says nothing of the whole: {document}");
        let gaps = document["not_tested"].to_string();
        assert!(gaps.contains("but a sample: it has its digest, and only part"), "{document}");
        assert!(gaps.contains("the recovery time: only samples"), "{document}");
        let (numbers, of, in_part) = part(&document);
        assert_eq!((numbers[0], of), (last + 1, 4), "one behind the other: {document}");
        assert!(in_part < whole, "only a part of it: {document}");
        last = *numbers.last().expect("a number");
        bytes += in_part;
        let coverage = document["coverage"].as_array().expect("coverage").last().expect("data").clone();
        assert_eq!(
            (&coverage["every_byte_in"], &coverage["every_artifact_in"]),
            (&4.into(), &1.into()),
            "{coverage}"
        );
        assert_eq!(coverage["drills_needed"], 4 - last, "{coverage}");
        assert_eq!(coverage["covered"], u64::from(last == 4), "{coverage}");
        // Key files come with each part, also those that are links.
        assert_eq!(step(&document, "key files")["outcome"], "pass", "{document}");
        let page = document["evidence"].as_str().expect("a path").replace(".json", ".md");
        let page = fs::read_to_string(page).expect("reads");
        assert!(page.contains("(only part ") && page.contains(" of 4)"), "{page}");
        assert!(page.contains("| result | verified (of codex-api only a sample was restored) |"), "{page}");
        let status = status(&stack);
        match last {
            4 => assert!(status.contains("ago, verified"), "{status}"),
            parts => assert!(status.contains(&format!("ago, {parts} of 4 parts verified")), "{status}"),
        }
        day += 1;
    }
    assert_eq!(bytes, whole, "each byte once");
}

/// Bytes that are wrong, under records that fit: every drill reads the digests, and the part that holds them finds it.
#[test]
fn damage_under_a_record_that_fits_is_found_by_the_part_that_holds_it() {
    let stack = stack("");
    let archive = archive(&stack);
    let length = fs::metadata(&archive).expect("is there").len() as usize;
    super::super::support::flip(&archive, length - length / 8);
    reseal(&archive);
    let mut results = Vec::new();
    for day in 1..=4 {
        let document = drill_day(&stack, day);
        let (numbers, ..) = match document["artifacts"].to_string().contains("\"part\"") {
            true => part(&document),
            false => panic!("{document}"),
        };
        results.push((numbers, document["result"].as_str().expect("a result").to_owned()));
        if document["result"] == "not_verified" {
            assert_eq!(step(&document, "verify: codex-api")["outcome"], "fail", "{document}");
            found(&document, &["damaged"]);
        }
    }
    assert!(
        results.iter().any(|(numbers, result)| numbers.contains(&4) && result == "not_verified"),
        "{results:?}"
    );
    assert!(results[0].1 == "verified", "{results:?}");
    assert!(!status(&stack).contains("ago, verified"), "{}", status(&stack));
}

#[test]
fn an_encrypted_one_is_read_to_its_end_and_restored_in_part() {
    let stack = stack("passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n");
    let document = drill_day(&stack, 1);
    assert_eq!(document["result"], "verified", "{document}");
    let checked = |name: &str| -> u64 {
        let detail = step(&document, name)["detail"].as_str().expect("a detail").to_owned();
        let entries =
            detail.split(" entries").next().and_then(|front| front.rsplit(' ').next()).expect("a number");
        entries.parse().expect("a number")
    };
    assert!(checked("decrypt and verify: codex-api") > checked("restore: codex-api"), "{document}");
    assert!(
        document["not_tested"].to_string().contains("it was read to its end, and only part 1 of 4"),
        "{document}"
    );
}

#[test]
fn a_share_that_is_none_is_refused() {
    for share in ["5", "0%", "200%", "half"] {
        let stack = Stack::configured();
        stack.sh("repo", &format!("sed -i '/^source/a sample = \"{share}\"' recovery.toml"));
        stack.run(&["backup"]).exits(3).says(&["data.codex-api.sample", "not a share"]);
    }
    // All at once is no sample.
    let stack = Stack::configured();
    stack.sh("repo", "sed -i '/^source/a sample = \"100%\"' recovery.toml");
    stack.run(&["snapshot"]).ok();
    stack.run(&["backup"]).ok();
    let document = drill(&stack, "2026-03-11T12:00:00Z").ok().json();
    assert!(!document["not_tested"].to_string().contains("sample"), "{document}");
}
