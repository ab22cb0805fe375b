//! A drive that errs in the middle of writing, and is well again at the next look: `retry-for` is for it too.
use super::trace::inject;
use super::{LATER, count};
use crate::support::Stack;

const ARCHIVE: &str = "drive/2026/03-11/codex-api-2026-03-11T120000Z.tar.gz";
/// Each call, and how it fails.
const FAULTS: [(&str, &str); 7] = [
    ("fsync", "EIO"),
    ("fsync", "ENOTCONN"),
    ("fsync", "ESTALE"),
    ("fsync", "ENODEV"),
    ("fsync", "ENXIO"),
    ("fsync", "EHOSTDOWN"),
    ("fsync", "ETIMEDOUT"),
];

#[test]
fn a_drive_that_errs_for_a_moment_is_waited_for() {
    for (call, error) in FAULTS {
        let stack = Stack::new();
        let path = [stack.path(ARCHIVE).display().to_string()];
        let fault = format!("error={error}");
        let run = |number: usize, fault: &str| {
            let (said, hit) =
                inject(&stack, (&[("RECOVERY_NOW", LATER)], &["backup"]), (call, number, fault), &path);
            assert!(hit > 0, "{call} {error} hit nothing");
            count("waits", hit);
            said
        };
        // Without a time to wait it ends the run.
        stack.configure("");
        run(1, &fault).exits(3);
        assert_eq!(stack.files("drive"), [""; 0], "{call} {error}");
        stack.configure("retry-for = \"10m\"\n");
        run(1, &fault).ok().says(&["trying again in 1 s"]);
        assert_eq!(stack.files("drive").len(), 3, "{call} {error}");
        stack.run(&["verify"]).ok();
    }
}
