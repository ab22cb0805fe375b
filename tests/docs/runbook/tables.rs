//! Which sections of the runbook there are, the scene of each, and how each of its blocks ends. Each scene is a test.
use super::{Scene, play};

macro_rules! scenes {
    ($table:ident, $file:literal, $($name:ident: $heading:literal $ends:expr,)*) => {
        pub(super) const $table: &[Scene] =
            &[$(Scene { heading: $heading, file: $file, name: stringify!($name), ends: &$ends }),*];
        $(
            #[test]
            fn $name() {
                play(&Scene { heading: $heading, file: $file, name: stringify!($name), ends: &$ends });
            }
        )*
    };
}

scenes! {
    ORDINARY, "ordinary",
    configured: "The configuration" [0],
    prepared: "Prerequisites" [0, 0],
    daily: "The daily line" [0],
    released: "Create a release" [0, 0],
    published: "Publish it" [0, 0],
    by_hand: "Publish it by hand" [0, 0],
    backed_up: "Back up the data" [0, 0, 0],
    encrypted: "Back up encrypted" [0, 0],
    spot: "The monthly spot drill" [0],
    full: "The quarterly full drill" [0, 0, 0],
    evidence: "Where the evidence goes" [0, 0],
    answered: "The answer" [0],
    monitored: "Monitoring" [0, 0],
    roomy: "Room and quota" [0],
    pruned: "Prune" [0, 0],
}

scenes! {
    DISASTER, "disaster",
    with_tool: "On a new machine with the tool" [0, 0, 0, 0, 0, 0],
    plain: "Without the tool: plain" [0, 0, 0, 0],
    zstd: "Without the tool: zstd" [0, 0],
    passphrase: "Without the tool: passphrase" [0, 0],
    key: "Without the tool: key" [0, 0],
    one_file: "One file alone" [0, 0, 0],
}

scenes! {
    TROUBLE, "trouble",
    unmounted: "The drive is not mounted" [75, 0],
    dead: "The mount is dead" [75, 0],
    wrong_drive: "The wrong drive is mounted" [1, 0, 0, 0],
    damaged: "A checksum does not match" [1, 1, 0, 0],
    gpg: "gpg refuses" [3, 0],
    lost_key: "The key is lost" [0, 0, 0],
    lost_manifest: "The manifest is lost" [1, 0],
    lost_marker: "The marker is lost" [1, 0, 0],
    lost_memory: "The memory is lost" [1, 0, 0, 0, 0],
    full_drive: "The drive is full" [3, 0, 0],
    over_quota: "The quota is passed" [1, 1, 0, 0],
    wrong_clock: "The clock was wrong" [0, 1, 0, 0],
    locked: "Another run holds the lock" [75, 0],
    killed_backup: "A backup was killed" [0],
    killed_drill: "A full drill was killed" [3, 0, 0],
    not_verified: "A drill was not verified" [1, 0, 0, 0],
    no_service: "The service does not come back" [0, 0, 0, 0],
    older_image: "Back to an older Docker image" [0, 0],
}
