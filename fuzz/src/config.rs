//! `recovery.toml`, and the `Cargo.toml` and `package.json` beside it that give a name and a version.
//!
//! The input is these three texts, with a NUL between them. What is accepted must keep what the rest of the tool relies
//! on: names that can stand in file names, sources and destinations that do not lie in each other.
use std::path::{Component, Path};
use xtask::config::Config;
use xtask::error::Error;

const ROOT: &str = "/nowhere/repository";

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\0').map(str::to_owned);
    let (settings, cargo, npm) = (texts.next(), texts.next(), texts.next());
    let mut files = |name: &str| {
        Ok(match name {
            "recovery.toml" => settings.clone(),
            "Cargo.toml" => cargo.clone(),
            "package.json" => npm.clone(),
            _ => None,
        })
    };
    match Config::load(Path::new(ROOT), None, &mut files) {
        Ok(config) => {
            accepted(&config);
            let version = config.release.version(&mut files).expect("files that are there");
            assert!(version.is_none() || cargo.is_some() || npm.is_some());
        }
        Err(Error::Config { path, what, .. }) => {
            assert!(path.starts_with("/nowhere"), "of another file: {}", path.display());
            assert!(!what.is_empty());
        }
        Err(error) => panic!("no error of the settings: {error:?}"),
    }
}

fn accepted(config: &Config) {
    let names =
        config.data.iter().map(|set| &set.name).chain(config.destinations.iter().map(|place| &place.name));
    for name in names.chain([&config.release.name]) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(!name.is_empty() && name.chars().all(plain) && !name.starts_with(['.', '-']), "{name:?}");
    }
    let whole =
        |path: &Path| path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    for set in &config.data {
        assert!(whole(&set.source), "{}", set.source.display());
        for place in config.destinations_of(set).unwrap_or_default() {
            assert!(!place.place.path.starts_with(&set.source) && !set.source.starts_with(&place.place.path));
        }
    }
    for place in &config.destinations {
        let far = place.place.remote.as_ref().is_some_and(|far| far.folder.starts_with('/'));
        assert!((far || whole(&place.place.path)) && (1..=100).contains(&place.alert_at_percent));
        assert!(config.destination_at(&place.place.path).is_some_and(|found| found.name == place.name));
    }
}
