//! The names of artifacts, written and read. Pure: sees no file system and no clock.
use crate::archive::codec::Codec;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// `2026-11-23T174512Z`: UTC, whole seconds, no colon (so that it is a file name everywhere).
pub fn stamp(time: Timestamp) -> String {
    Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H%M%SZ").to_string()
}

/// A time without its fraction of a second, as names and records have it.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The time that a stamp says.
pub fn parse_stamp(text: &str) -> Option<Timestamp> {
    let time = Offset::UTC.to_timestamp(DateTime::strptime("%Y-%m-%dT%H%M%SZ", text).ok()?).ok()?;
    (stamp(time) == text).then_some(time)
}

/// A time as locks have it: RFC 3339; or as the shell tools before this one wrote it, which is a stamp, or one with dashes
/// in its time.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let dashes = || {
        let time = DateTime::strptime("%Y-%m-%dT%H-%M-%SZ", text).ok()?;
        Offset::UTC.to_timestamp(time).ok()
    };
    text.parse().ok().or_else(|| parse_stamp(text)).or_else(dashes)
}

/// The name of one backup: `<series>-<stamp>.tar.<gz|zst>[.gpg]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactName {
    /// `<set>[-<suffix>]`: what retention counts together.
    pub series: String,
    /// When the backup began.
    pub time: Timestamp,
    /// The container.
    pub codec: Codec,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl ArtifactName {
    fn stem(&self) -> String {
        format!("{}-{}", self.series, stamp(self.time))
    }

    fn ending(&self) -> String {
        format!("{}{}", self.codec.extension(), if self.encrypted { ".gpg" } else { "" })
    }

    /// The archive.
    pub fn file(&self) -> String {
        format!("{}.tar.{}", self.stem(), self.ending())
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        format!("{}.manifest.jsonl.{}", self.stem(), self.ending())
    }

    /// The commit marker.
    pub fn marker(&self) -> String {
        format!("{}.sha256", self.file())
    }

    /// `YYYY/MM-DD` of its time, UTC.
    pub fn folder(&self) -> String {
        Offset::UTC.to_datetime(self.time).strftime("%Y/%m-%d").to_string()
    }

    /// The name that an archive's file name says.
    pub fn parse(file: &str) -> Option<Self> {
        let (bare, encrypted) = file.strip_suffix(".gpg").map_or((file, false), |bare| (bare, true));
        let (stem, codec) = [Codec::Gzip, Codec::Zstd]
            .into_iter()
            .find_map(|codec| Some((bare.strip_suffix(codec.extension())?.strip_suffix(".tar.")?, codec)))?;
        let (series, time) = split_stem(stem)?;
        Some(Self { series, time, codec, encrypted })
    }
}

fn split_stem(stem: &str) -> Option<(String, Timestamp)> {
    let at = stem.len().checked_sub(18)?;
    let time = parse_stamp(stem.get(at..)?)?;
    let series = stem.get(..at)?.strip_suffix('-')?;
    (!series.is_empty()).then(|| (series.to_owned(), time))
}

/// The name of one release bundle: `<name>-<version>-<stamp>`, the version with its `v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleName {
    /// The release's name.
    pub name: String,
    /// Such as `v1.0.1` or `git-1a2b3c4d5e6f`.
    pub version: String,
    /// The commit's time.
    pub time: Timestamp,
}

impl BundleName {
    fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, stamp(self.time))
    }

    /// The archive.
    pub fn tarball(&self) -> String {
        format!("{}.tar.gz", self.stem())
    }

    /// The lock.
    pub fn lock(&self) -> String {
        format!("{}.lock.json", self.stem())
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        format!("{}.manifest.jsonl.gz", self.stem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_lock_are_read() {
        for text in ["2025-09-12T23:57:31Z", "2025-09-12T235731Z", "2025-09-12T23-57-31Z"] {
            assert_eq!(parse_time(text).map(stamp).as_deref(), Some("2025-09-12T235731Z"), "{text}");
        }
        assert_eq!(parse_time("last spring"), None);
    }

    #[test]
    fn names_come_back() {
        let time = parse_stamp("2026-11-23T174512Z").expect("a stamp");
        for (codec, encrypted, file) in [
            (Codec::Gzip, false, "codex-api-nightly-2026-11-23T174512Z.tar.gz"),
            (Codec::Zstd, true, "codex-api-nightly-2026-11-23T174512Z.tar.zst.gpg"),
        ] {
            let name = ArtifactName { series: "codex-api-nightly".into(), time, codec, encrypted };
            assert_eq!(name.file(), file);
            assert_eq!(ArtifactName::parse(file), Some(name.clone()));
            assert_eq!(name.folder(), "2026/11-23");
            assert_eq!(name.marker(), format!("{file}.sha256"));
            assert_eq!(name.manifest(), file.replace(".tar.", ".manifest.jsonl."));
        }
        for odd in [
            "x.tar.gz",
            "-2026-11-23T174512Z.tar.gz",
            "x-2026-13-23T174512Z.tar.gz",
            "x-2026-11-23T174512Z.zip",
        ] {
            assert_eq!(ArtifactName::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_bundle_and_what_lies_beside_it_have_one_stem() {
        let time = parse_stamp("2026-11-23T174512Z").expect("a stamp");
        let name = BundleName { name: "api".into(), version: "v1.0.1".into(), time };
        assert_eq!(name.tarball(), "api-v1.0.1-2026-11-23T174512Z.tar.gz");
        assert_eq!(name.lock(), "api-v1.0.1-2026-11-23T174512Z.lock.json");
        assert_eq!(name.manifest(), "api-v1.0.1-2026-11-23T174512Z.manifest.jsonl.gz");
    }

    #[test]
    fn a_stamp_is_of_whole_seconds_and_written_in_one_way() {
        let time = parse_stamp("2026-11-23T174512Z").expect("a stamp");
        assert_eq!(whole_seconds(time + jiff::SignedDuration::from_millis(999)), time);
        for odd in ["2026-11-23T1745Z", "2026-11-23T174512", "2026-11-3T174512Z", "2026-11-23t174512z"] {
            assert_eq!(parse_stamp(odd), None, "{odd}");
        }
    }
}
