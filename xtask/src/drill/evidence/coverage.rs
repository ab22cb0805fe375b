//! What of what is retained the drills up to now have covered, as the evidence has it.
//!
//! Pure: values that are stored, and how they read. What makes them is [`crate::drill::rotation`].
use crate::drill::steps::Role;
use serde::{Deserialize, Serialize};

/// What of an artifact was restored and compared, where that was not all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which parts, from 1; those in which no entry begins are passed over with one in which some do.
    pub numbers: Vec<u32>,
    /// Of how many.
    pub of: u32,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// What the drills up to now have covered of a kind; part of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Release or data.
    pub role: Role,
    /// Name of the release or data set.
    pub set: String,
    /// Artifacts that are retained.
    pub retained: u32,
    /// Those of them of which every byte was restored and compared.
    pub covered: u32,
    /// None of them was covered longer ago; `None` while one was not.
    #[serde(default)]
    pub covered_since: Option<String>,
    /// In so many drills every retained artifact has its turn.
    pub every_artifact_in: u32,
    /// In so many drills every byte of them has.
    pub every_byte_in: u32,
    /// So many of them are still needed, if nothing is made or pruned and all of them pass.
    pub drills_needed: u32,
    /// The same of the copies at each destination, where several have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyCoverage>,
}

/// What the drills have covered of the copies at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyCoverage {
    /// Its name.
    pub destination: String,
    /// Artifacts that have a copy there.
    pub retained: u32,
    /// Those of which every byte of that copy was restored and compared.
    pub covered: u32,
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { role, set, retained, covered, .. } = self;
        write!(f, "{role} {set}: {covered} of {retained} artifacts covered")?;
        if let Some(since) = &self.covered_since {
            write!(f, " since {since}")?;
        }
        let drills = |count: u32| if count == 1 { "1 drill".to_owned() } else { format!("{count} drills") };
        write!(f, "; every retained artifact is covered in {}", drills(self.every_artifact_in))?;
        if self.every_byte_in != self.every_artifact_in {
            write!(f, " in part, and every byte in {}", drills(self.every_byte_in))?;
        }
        if self.drills_needed > 0 {
            write!(f, "; still needed: {}", self.drills_needed)?;
        }
        let copy =
            |copy: &CopyCoverage| format!("{} of {} at {}", copy.covered, copy.retained, copy.destination);
        let copies: Vec<String> = self.copies.iter().map(copy).collect();
        if copies.is_empty() { Ok(()) } else { write!(f, "; of the copies {} covered", copies.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_reads_well() {
        let mut coverage = Coverage {
            role: Role::Data,
            set: "db".into(),
            retained: 3,
            covered: 2,
            covered_since: None,
            copies: vec![],
            every_artifact_in: 2,
            every_byte_in: 2,
            drills_needed: 1,
        };
        let text = "data db: 2 of 3 artifacts covered; every retained artifact is covered in 2 drills; still needed: 1";
        assert_eq!(coverage.to_string(), text);
        coverage.every_byte_in = 40;
        coverage.drills_needed = 0;
        coverage.covered_since = Some("2026-03-01T10:00:00Z".into());
        let text = "data db: 2 of 3 artifacts covered since 2026-03-01T10:00:00Z; every retained artifact is covered in 2 drills in part, and every byte in 40 drills";
        assert_eq!(coverage.to_string(), text);
    }
}
