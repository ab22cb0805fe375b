//! Encryption: what is sealed comes back with its key alone, a key that is wrong or missing is named, and neither the
//! secret nor a byte of plaintext gets anywhere where it does not belong.
mod watch;

use super::support::{Outcome, Stack, flip, outcome};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

const KEY: (&str, &str) = ("BACKUP_KEY", "correct horse battery staple");
const SYMMETRIC: &str = "passphrase-env = \"BACKUP_KEY\"\n";

/// Makes a key pair without a passphrase of its own.
fn key(stack: &Stack, name: &str, expires: &str) {
    stack.sh(
        "home",
        &format!(
            "mkdir -p -m 700 .gnupg; gpg --batch --quiet --passphrase '' --quick-generate-key {name} default default {expires} 2>/dev/null"
        ),
    );
}

/// Public keys of these names, and the secret keys of those alone that `keep` names, are in the key ring.
fn ring(stack: &Stack, keep: &[&str]) {
    let keep = keep.join(" ");
    stack.sh(
        "home",
        &format!(
            "gpgconf --kill all; [ -d all ] || mv .gnupg all; rm -rf .gnupg; mkdir -m 700 .gnupg
             GNUPGHOME=$PWD/all gpg --batch --quiet --export > public; gpg --batch --quiet --import public
             for name in {keep}; do
                 GNUPGHOME=$PWD/all gpg --batch --quiet --pinentry-mode loopback --passphrase '' --export-secret-keys \"$name\" > secret
                 gpg --batch --quiet --import secret
             done
             GNUPGHOME=$PWD/all gpgconf --kill all; gpgconf --kill all"
        ),
    );
}

fn recipients(names: &[&str]) -> String {
    format!("recipients = {names:?}\n")
}

#[test]
fn what_is_sealed_comes_back_from_each_container() {
    for lock in [SYMMETRIC.to_owned(), recipients(&["ops@example.org"])] {
        let stack = Stack::new().with_plain_gpg();
        if lock != SYMMETRIC {
            key(&stack, "ops@example.org", "never");
        }
        for (codec, large) in [("gzip", true), ("zstd", true), ("gzip", false), ("zstd", false)] {
            stack.configure(&format!("{lock}compression = \"{codec}\"\n"));
            stack.sh("repo", "sed -i '/^key-files/d' recovery.toml; rm -rf .codex-api; mkdir .codex-api");
            match large {
                true => stack.sh(
                    "repo/.codex-api",
                    "head -c 40M /dev/urandom > noise; mkdir -m 750 'a b'; echo x > 'a b/c'",
                ),
                false => stack.sh("repo", "mkdir -p .codex-api/nothing/here"),
            };
            let sealed = stack.run_with(&[KEY], &["backup", "--suffix", &format!("{codec}-{large}")]).ok();
            assert_eq!(sealed.shown().contains("holds no files"), !large, "{}", sealed.shown());
            let name = format!("codex-api-{codec}-{large}");
            stack.run_with(&[KEY], &["restore", &name, "--to", &format!("../{name}")]).ok();
            assert_eq!(
                stack.listing("repo/.codex-api"),
                stack.listing(&format!("{name}/.codex-api")),
                "{name}"
            );
        }
        let checked = stack.run_with(&[KEY], &["verify", "--json"]).ok().json();
        assert_eq!(checked["checked"], 4, "{checked}");
        assert!(
            checked["artifacts"]
                .as_array()
                .expect("a list")
                .iter()
                .all(|one| one["compared_with_manifest"] == true)
        );
    }
}

/// As docs/format.md says: of what OpenPGP allows (RFC 4880, 3.7.1.3) the most work for each guess, and a salt.
#[test]
fn a_guess_at_a_passphrase_takes_the_most_work_there_is() {
    let stack = Stack::configured().with_plain_gpg();
    stack.configure(SYMMETRIC);
    stack.run_with(&[KEY], &["backup"]).ok();
    for ending in [".tar.gz.gpg", ".manifest.jsonl.gz.gpg"] {
        let sealed = stack.one("drive", ending);
        let packets =
            stack.sh("home", &format!("gpg --batch --list-packets --list-only '{}'", sealed.display()));
        for part in ["cipher 9", "s2k 3, hash 10", "count 65011712 (255)"] {
            assert!(packets.contains(part), "no {part:?} in {packets}");
        }
    }
}

/// Word for word as the runbook has it, with `codex-api.tar.gz.gpg` for the file.
#[test]
fn the_gpg_line_of_the_runbook_decrypts() {
    const LINE: &str = r#"printf '%s' "$CODEX_BACKUP_GPG_KEY" | gpg --batch --yes --passphrase-fd 0 -o codex-api.tar.gz codex-api.tar.gz.gpg"#;
    let stack = Stack::configured();
    let variable = ("CODEX_BACKUP_GPG_KEY", "correct horse");
    stack.run_with(&[variable], &["backup", "--encrypt"]).ok();
    let archive = stack.one("drive", ".tar.gz.gpg");
    fs::copy(archive, stack.path("home/codex-api.tar.gz.gpg")).expect("copies");
    let script = format!(
        "export CODEX_BACKUP_GPG_KEY='{}'\n{LINE}\ntar -xzf codex-api.tar.gz; gpgconf --kill all",
        variable.1
    );
    stack.sh("home", &script);
    // Plain tar has whole seconds.
    stack.sh(".", "diff -r --no-dereference repo/.codex-api home/.codex-api");
}

#[test]
fn a_passphrase_that_is_wrong_or_none_is_named() {
    let stack = Stack::new();
    stack.configure(SYMMETRIC);
    stack.run_with(&[KEY], &["backup"]).ok();
    let archive = stack.one("drive", ".tar.gz.gpg").display().to_string();
    let verbs: [&[&str]; 5] = [
        &["backup"],
        &["verify"],
        &["verify", &archive],
        &["restore", "codex-api", "--to", "../back"],
        &["restore-drill"],
    ];
    let values: [(Option<&[u8]>, &str); 6] = [
        (None, "is not set"),
        (Some(b""), "is empty"),
        (Some(b"correct\nhorse"), "more than one line"),
        (Some(b"correct horse battery staple\n"), "more than one line"),
        (Some(b"correct \xff horse"), "is not UTF-8"),
        (Some(b"wrong horse"), "does not decrypt"),
    ];
    for (value, what) in values {
        for args in verbs {
            // A backup asks for no older passphrase.
            if args == ["backup"] && what == "does not decrypt" {
                continue;
            }
            let mut command = stack.command(args);
            command.envs(value.map(|value| (KEY.0, OsStr::from_bytes(value))));
            let said = outcome(&mut command);
            let code = if args == ["restore-drill"] && what == "does not decrypt" { 1 } else { 3 };
            let said = said.exits(code).says(&[KEY.0, what]);
            let said = if value.is_none() { said.says(&["export BACKUP_KEY"]) } else { said };
            if args != ["restore-drill"] {
                said.says(&["next: "]);
            }
        }
        assert!(!stack.path("back").exists());
    }
    assert_eq!(stack.files("drive").len(), 3, "nothing was written");
    stack.run_with(&[KEY], &["verify"]).ok();
}

#[test]
fn a_public_key_that_encrypts_nothing_is_named() {
    let stack = Stack::new();
    key(&stack, "good@example.org", "never");
    key(&stack, "old@example.org", "seconds=1");
    key(&stack, "burnt@example.org", "never");
    let fingerprint = |name: &str| {
        let listed = stack.sh("home", &format!("gpg --batch --with-colons --list-keys {name}"));
        let line = listed.lines().find(|line| line.starts_with("fpr")).expect("a fingerprint").to_owned();
        line.split(':').nth(9).expect("a field").to_owned()
    };
    let (old, burnt) = (fingerprint("old@example.org"), fingerprint("burnt@example.org"));
    stack.sh(
        "home",
        &format!(
            "sed 's/^:---/---/' .gnupg/openpgp-revocs.d/{burnt}.rev | gpg --batch --quiet --import
             for n in $(seq 100); do gpg --batch --with-colons --list-keys old@example.org | grep -q '^pub:e' && exit; sleep 0.1; done; false"
        ),
    );
    for (name, why) in [
        ("nobody@example.org", "is missing"),
        ("old@example.org", "has expired"),
        (&old, "expired"),
        ("burnt@example.org", "was revoked"),
        (&burnt, "revoked"),
    ] {
        stack.configure(&recipients(&["good@example.org", name]));
        for args in [&["backup", "--dry-run"][..], &["backup"]] {
            stack.run(args).exits(3).says(&[name, why, "next: ", "gpg --list-keys"]);
        }
        assert_eq!(stack.files("drive"), [""; 0], "{name}");
    }
    stack.configure(&recipients(&["good@example.org"]));
    stack.run(&["backup"]).ok();
    stack.sh("home", "gpgconf --kill all");
}

#[test]
fn each_of_several_recipients_opens_it_alone() {
    let stack = Stack::new();
    let names = ["one@example.org", "two@example.org", "three@example.org"];
    names.iter().for_each(|name| key(&stack, name, "never"));
    stack.configure(&recipients(&names[..2]));
    stack.run(&["backup"]).ok();
    for name in &names[..2] {
        ring(&stack, &[name]);
        stack.run(&["verify"]).ok();
        let to = format!("../{name}");
        stack.run(&["restore", "codex-api", "--to", &to]).ok();
        assert_eq!(stack.listing("repo/.codex-api"), stack.listing(&format!("{name}/.codex-api")));
    }
    // The subkeys that it is encrypted to, as gpg lists them.
    let keys = stack.sh(
        "home",
        "GNUPGHOME=$PWD/all gpg --batch --with-colons --list-keys one two | awk -F: '/^sub/{print $5}'",
    );
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for rings in [&names[2..], &[]] {
        ring(&stack, rings);
        for args in [&["verify"][..], &["restore", "codex-api", "--to", "../back"]] {
            let said = stack.run(args).exits(3).says(&["no key of this machine", "gpg --import", ".gz.gpg"]);
            said.says(&keys);
        }
    }
    stack.run(&["restore-drill"]).fails().says(&["no key of this machine"]).says(&keys);
    assert!(!stack.path("back").exists());
    stack.sh("home", "gpgconf --kill all");
}

/// The byte that the negative control changes lies in what is encrypted, not in what holds a key, which of a small archive is
/// most of it.
#[test]
fn a_drill_of_a_small_set_is_verified_with_one_key_of_several() {
    let stack = Stack::new();
    let names = ["one@example.org", "two@example.org", "three@example.org"];
    names.iter().for_each(|name| key(&stack, name, "never"));
    stack.configure(&recipients(&names));
    stack.sh("repo/.codex-api", "find . -mindepth 1 ! -name config.toml -delete");
    stack.run(&["backup"]).ok();
    for name in names {
        ring(&stack, &[name]);
        let drill = stack.run(&["restore-drill", "--json"]).ok().json();
        assert_eq!(drill["result"], "verified", "{drill}");
    }
    stack.sh("home", "gpgconf --kill all");
}

/// Whoever changes from a passphrase to public keys, or back, opens what was made before, and nothing is taken for the
/// backup that is asked for now.
#[test]
fn a_change_of_keys_takes_no_backup_away() {
    let stack = Stack::new();
    key(&stack, "ops@example.org", "never");
    let at = |time: &str, args: &[&str], value: Option<&str>| -> Outcome {
        let mut command = stack.plain(args);
        outcome(command.env("RECOVERY_NOW", time).envs(value.map(|value| ("CODEX_BACKUP_GPG_KEY", value))))
    };
    let passphrase = "passphrase-env = \"CODEX_BACKUP_GPG_KEY\"\n";
    for (hour, lock) in
        [passphrase.to_owned(), recipients(&["ops@example.org"]), passphrase.to_owned()].iter().enumerate()
    {
        stack.configure(lock);
        let time = format!("2026-03-10T0{hour}:00:00Z");
        let made = at(&time, &["backup", "--json"], Some("horse")).ok().json();
        assert_eq!(made["sets"][0]["status"], "ok", "{lock}: {made}");
        let checked = at(&time, &["verify", "--json"], Some("horse")).ok().json();
        assert_eq!(checked["checked"], hour + 1, "{lock}: {checked}");
        let recipe = at(&time, &["restore", "codex-api", "--explain"], None).ok().stdout;
        assert_eq!(recipe.contains("CODEX_BACKUP_GPG_KEY"), lock == passphrase, "{recipe}");
    }
    stack.configure(&recipients(&["ops@example.org"]));
    let first = stack.path("drive/2026/03-10/codex-api-2026-03-10T000000Z.tar.gz.gpg").display().to_string();
    let without = at("2026-03-10T03:00:00Z", &["verify", &first], None);
    without.exits(3).says(&["encrypted with a passphrase", "CODEX_BACKUP_GPG_KEY", "passphrase-env"]);
    stack.sh("home", "gpgconf --kill all");
}

/// Where nothing is damaged, the exit code is not that of damage.
#[test]
fn what_cannot_be_read_for_want_of_a_key_is_not_called_damaged() {
    let stack = Stack::new();
    stack.configure(SYMMETRIC);
    stack.run(&["snapshot"]).ok();
    stack.run_with(&[KEY], &["backup"]).ok();
    let said = stack.run(&["verify"]).exits(3).says(&["UNREAD", "BACKUP_KEY is not set"]);
    assert!(said.stdout.contains("ok  "), "{}", said.shown());
    let (bundle, backup) = (stack.one("repo/releases", ".tar.gz"), stack.one("drive", ".tar.gz.gpg"));
    let both = ["verify", &bundle.display().to_string(), &backup.display().to_string()];
    assert_eq!(stack.run(&both).exits(3).stdout, said.stdout);
    stack.run(&["verify", both[2]]).exits(3).says(&["BACKUP_KEY is not set"]);
    stack.run_with(&[KEY], &both).ok();
    flip(&bundle, 100);
    stack.run(&both).exits(1).says(&["UNREAD", "DAMAGED"]);
}

/// With a passphrase that the configuration names, or that was given for one backup alone.
#[test]
fn a_drill_without_the_passphrase_could_not_run() {
    for (more, variable) in [(SYMMETRIC, "BACKUP_KEY"), ("", "CODEX_BACKUP_GPG_KEY")] {
        let stack = Stack::new();
        stack.configure(more);
        stack.run_with(&[(variable, "correct horse")], &["backup", "--encrypt"]).ok();
        let drill = stack.run(&["restore-drill", "--json"]).exits(3).json();
        assert_eq!(drill["result"], "could_not_run", "{drill}");
        assert!(drill["findings"].to_string().contains(&format!("{variable} is not set")), "{drill}");
        stack.run(&["verify"]).exits(3).says(&["UNREAD", &format!("export {variable}")]);
        stack.run_with(&[(variable, "correct horse")], &["restore-drill"]).ok();
    }
}

/// Whoever asks whether recovery is possible now may not have what it takes.
#[test]
fn status_says_which_passphrase_is_not_at_hand() {
    let stack = Stack::new();
    stack.configure(SYMMETRIC);
    stack.run_with(&[KEY], &["backup"]).ok();
    let said = stack.run(&["status"]);
    said.says(&[
        "recover now? with the passphrase in BACKUP_KEY, to ",
        "BACKUP_KEY is not set",
        "export BACKUP_KEY",
    ]);
    let said = stack.run_with(&[KEY], &["status"]);
    assert!(
        said.stdout.contains("recover now? yes, to ") && !said.shown().contains("is not set"),
        "{}",
        said.shown()
    );
    // One that opens nothing is none.
    let said = stack.run_with(&[("BACKUP_KEY", "another")], &["status"]);
    said.says(&["recover now? with the passphrase in BACKUP_KEY, to ", "does not decrypt"]);
}
