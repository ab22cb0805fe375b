//! Sizes that the octal field of a tar header cannot hold: from 8 GiB on they are base-256.
use super::{go, is_there, with_data};
use crate::support::{Stack, outcome};
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use xtask::archive::entry::{END, Entry, Mtime, RECORD};

const GIB: u64 = 1 << 30;

/// A reader that lists the sizes of the plain tar `$1`, a line for each entry.
const SIZES: [(&str, &str); 4] = [
    ("GNU tar", "tar -tvf \"$1\" | awk '{print $3}'"),
    ("bsdtar", "bsdtar -tvf \"$1\" | awk '{print $5}'"),
    ("busybox tar", "busybox tar -tvf \"$1\" | awk '{print $3}'"),
    (
        "Python tarfile",
        "python3 -c 'import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.size)' \"$1\"",
    ),
];

/// The content is a hole of the file that the archive is in. A reader that took a size amiss would look for the next
/// header at a wrong place, and find none.
#[test]
fn every_reader_knows_sizes_from_8_gib_on() {
    let sizes = [8 * GIB - 1, 8 * GIB, 8 * GIB + 1, 70 * GIB + 512, 3];
    let stack = Stack::bare();
    let mut file = fs::File::create(stack.path("large.tar")).expect("makes a file");
    for (number, size) in sizes.into_iter().enumerate() {
        let path = format!("entry {number}");
        let entry = Entry::file(path.as_bytes(), size, 0o644, Mtime { seconds: 1_700_000_000, nanos: 0 });
        file.write_all(&entry.headers()).expect("writes");
        file.seek(SeekFrom::Current(size.next_multiple_of(RECORD).cast_signed())).expect("seeks");
    }
    file.write_all(&END).expect("writes");
    let expected: String = sizes.map(|size| format!("{size}\n")).concat();
    for (name, script) in SIZES {
        assert_eq!(stack.sh(".", &format!("set -- large.tar\n{script}")), expected, "{name}");
    }
    if is_there(&stack, "go") {
        assert_eq!(stack.sh(".", &with_data(&go("sizes", "large.tar"))), expected, "Go");
    }
}

/// The whole way of a file of more than 8 GiB, in archives of both kinds.
#[test]
#[ignore = "long: scripts/test --long"]
fn a_file_of_more_than_8_gib_comes_back() {
    let stack = Stack::bare();
    fs::create_dir(stack.path("repo/.data")).expect("makes a folder");
    let size = 8 * GIB + 1;
    fs::File::create(stack.path("repo/.data/zeros"))
        .and_then(|file| file.set_len(size))
        .expect("makes a file");
    fs::write(stack.path("repo/.data/~ behind"), "behind").expect("writes");
    let digest = |file: &str| stack.sh(".", &format!("sha256sum < '{file}'"))[..64].to_owned();
    let source = digest("repo/.data/zeros");
    for (compression, ending, test) in [("gzip", ".tar.gz", "gzip -t"), ("zstd", ".tar.zst", "zstd -qt")] {
        let args =
            ["backup", "--source", ".data", "--dest", "../drive", "--compression", compression, "--json"];
        stack.run(&args).ok();
        let archive = stack.one("drive", ending).display().to_string();
        stack.sh(".", &format!("{test} '{archive}'"));
        let unpack = if compression == "gzip" { "gzip -dc" } else { "zstd -qdc" };
        for (name, script) in SIZES {
            let from_stream = script
                .replace("\"$1\"", "-")
                .replace("open(sys.argv[1])", "open(fileobj=sys.stdin.buffer, mode=\"r|\")");
            let sizes = stack.sh(".", &format!("{unpack} '{archive}' | {{ {from_stream}; }}"));
            assert_eq!(sizes, format!("0\n{size}\n6\n"), "{name}");
        }
        let manifest = archive.replace(".tar.", ".manifest.jsonl.");
        let record = stack.sh(".", &format!("{unpack} '{manifest}' | grep '\"path\":\".data/zeros\"'"));
        let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!((&record["size"], &record["sha256"]), (&size.into(), &source[..].into()));
        outcome(&mut stack.command(&["restore", &archive, "--to", "../back"])).ok();
        assert_eq!(fs::metadata(stack.path("back/.data/zeros")).expect("is there").len(), size);
        assert_eq!(digest("back/.data/zeros"), source);
        stack.sh(".", "rm -r back drive/*");
    }
}
