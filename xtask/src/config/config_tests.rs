//! Tests of the configuration; beside `mod.rs` to keep that file short.
use super::*;

fn load(text: &str) -> Result<Config> {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("recovery.toml"), text).expect("writes");
    Config::load(home.path(), None, &mut beneath(home.path()))
}

#[test]
fn the_runbooks_file_loads() {
    let config = load(
        r#"
schema = 1
[release]
name = "codex-completions-api"
version-from = "package.json"
exclude = ["node_modules/"]
keep = 3
[data.codex-api]
source = ".codex-api"
exclude = ["tmp/"]
destination = "gdrive"
key-files = ["config.toml"]
[destination.gdrive]
path = "/mnt/gdrive/codex-backups"
mount = "/mnt/gdrive"
quota = "15 GB"
alert-at-percent = 80
keep = 3
keep-within = "2w"
compression = "zstd"
passphrase-env = "CODEX_BACKUP_GPG_KEY"
[drill]
evidence-dir = "docs/qa/drills"
spot-every = "31d"
release-checks = ["npm install --omit=dev"]
stop = "docker compose stop app"
"#,
    )
    .expect("loads");
    let place = config.destinations_of(&config.data[0]).expect("has one")[0];
    assert_eq!(place.quota, Some(15_000_000_000));
    assert_eq!(place.keep.within, Some(SignedDuration::from_hours(24 * 14)));
    assert_eq!(place.compression, Codec::Zstd);
    assert_eq!(config.drill.spot_every, Some(SignedDuration::from_hours(24 * 31)));
    assert!(config.data[0].source.is_absolute());
}

#[test]
fn nothing_is_needed() {
    let config = load("").expect("loads");
    assert!(config.data.is_empty() && !config.release.name.is_empty());
}

#[test]
fn each_mistake_is_named() {
    let set = "[data.a]\nsource = \"a\"\n";
    for (text, expected) in [
        ("[release]\nkep = 3\n", "recovery.toml:2: unknown key `kep`: did you mean `keep`?"),
        ("[release]\nkeep = \"three\"\n", "expected a whole number in `keep = \"three\"`"),
        ("[release]\nkeep = 0\n", "release.keep is 0"),
        ("[release]\nkeep = -1\n", "release.keep is -1"),
        ("schema = 2\n", "schema 2"),
        ("[data.a]\nsource = \"a\"\n[data.a]\nsource = \"b\"\n", "recovery.toml:3"),
        ("[data.\"a/b\"]\nsource = \"a\"\n", "\"a/b\""),
        ("[data.a]\nsource = \"a\"\n[data.a-b]\nsource = \"b\"\n", "told apart"),
        (&format!("{set}destination = \"x\"\n"), "not defined"),
        (&format!("{set}[destination.d]\npath = \"a/b\"\n"), "inside of the source"),
        ("[data.a]\nsource = \"d/a\"\n[destination.d]\npath = \"d\"\n", "inside of the destination"),
        ("[destination.d]\npath = \"d\"\nquota = \"much\"\n", "quota"),
        ("[destination.d]\npath = \"d\"\nquota = \"0 B\"\n", "quota is 0"),
        ("[destination.d]\npath = \"d\"\nkeep-daily = 0\n", "keep-daily is 0"),
        ("[destination.d]\npath = \"d\"\npassphrase-env = \"A\"\nrecipients = [\"b\"]\n", "recipients"),
        ("[destination.d]\npath = \"d\"\npassphrase-env = \"my phrase\"\n", "not the name of a variable"),
        ("[destination.d]\npath = \"d\"\nrecipients = [\"\"]\n", "recipients is empty"),
        ("[drill]\nspot-every = \"often\"\n", "spot-every"),
        ("[drill]\nsign-with = \"\"\n", "sign-with is \"\", not a key"),
        ("[drill]\nsign-with = \"--batch\"\n", "not a key"),
        (
            &format!("{set}stage-dir = \"d/stage\"\n[destination.d]\npath = \"d\"\n"),
            "inside of the destination",
        ),
        (&format!("{set}max-size = \"big\"\n"), "max-size"),
        (&format!("{set}consistency = \"sometimes\"\n"), "sometimes"),
        (
            &format!("{set}consistency = \"staged\"\n[destination.d]\npath = \"d\"\nrecipients = [\"b\"]\n"),
            "where its plaintext may lie",
        ),
    ] {
        let error = load(text).expect_err(text);
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(!error.to_string().contains("my phrase"), "a passphrase at the wrong place is not shown");
    }
}
