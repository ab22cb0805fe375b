//! Everybody can read it: what `backup` writes comes back with every reader of tar, gzip and zstd that the machine has.
//!
//! GNU tar, bsdtar, busybox, Python, gzip, pigz and zstd must be there. Go and Node read too where they are; standard
//! error says whether they were. What a reader cannot do by its nature is written down here, and all else is compared.
mod large;
mod tree;

use crate::support::Stack;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tree::{Facts, Kind, ROOT, Text, Tree};
use xtask::archive::hex;

/// A program that unpacks the archive `$1` into the folder `$2`.
struct Reader {
    name: &'static str,
    gzip: &'static str,
    zstd: &'static str,
    lacks: &'static [Lack],
}

/// What a reader does not bring back.
#[derive(Clone, Copy)]
enum Lack {
    /// Extended attributes.
    Attributes,
    /// Times of symbolic links.
    LinkTimes,
    /// Times of folders with something in them: set when the folder is made, and what is made in it later changes them.
    TimesOfFilledFolders,
}

const READERS: [Reader; 5] = [
    Reader {
        name: "GNU tar",
        gzip: r#"tar --xattrs --xattrs-include='*' -xzpf "$1" -C "$2""#,
        zstd: r#"tar --xattrs --xattrs-include='*' --zstd -xpf "$1" -C "$2""#,
        lacks: &[],
    },
    Reader {
        name: "GNU tar without options",
        gzip: r#"tar -xzpf "$1" -C "$2""#,
        zstd: r#"zstd -dc "$1" | tar -xpf - -C "$2""#,
        lacks: &[Lack::Attributes],
    },
    Reader {
        name: "bsdtar",
        gzip: r#"bsdtar -xpf "$1" -C "$2""#,
        zstd: r#"bsdtar -xpf "$1" -C "$2""#,
        lacks: &[],
    },
    // It passes over pax headers, has no call that sets the time of a link, and does not come back to folders.
    Reader {
        name: "busybox tar",
        gzip: r#"busybox tar -xzpf "$1" -C "$2""#,
        zstd: r#"zstd -dc "$1" | busybox tar -xpf - -C "$2""#,
        lacks: &[Lack::Attributes, Lack::LinkTimes, Lack::TimesOfFilledFolders],
    },
    // It reads extended attributes (`extract.py` shows them) and sets none. It leaves the times of links alone.
    Reader {
        name: "Python tarfile",
        gzip: r#"python3 "$DATA/extract.py" "$2" 'r|gz' < "$1""#,
        zstd: r#"zstd -dc "$1" | python3 "$DATA/extract.py" "$2" 'r|'"#,
        lacks: &[Lack::Attributes, Lack::LinkTimes],
    },
];

/// Shell lines with `$DATA`, the folder of the readers' own programs.
fn with_data(script: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/readers");
    format!("export DATA='{}'\n{script}", data.display())
}

/// Runs shell lines in a name space where the user is root, who owns everything and may read it: so owners and modes
/// come back for whoever runs the tests, also of what nobody else may read.
fn as_root(stack: &Stack, script: &str) -> String {
    let script = format!("unshare --map-root-user bash -euo pipefail /dev/fd/3 3<<'END'\n{script}\nEND");
    stack.sh(".", &with_data(&script))
}

/// Backs `repo/.data` up and returns the archive.
fn backed_up(stack: &Stack, compression: &str) -> PathBuf {
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let args = format!("backup --source {ROOT} --dest ../drive --compression {compression}");
    as_root(stack, &format!("cd repo; '{xtask}' {args}"));
    stack.one("drive", if compression == "gzip" { ".tar.gz" } else { ".tar.zst" })
}

/// To standard error as it is: the test runner shows what a test prints only when it fails.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("readers: {line}\n").as_bytes()).expect("writes");
}

/// Whether a tool is there that the tests use only where it is.
fn is_there(stack: &Stack, tool: &str) -> bool {
    let there = stack.sh(".", &format!("command -v {tool} || :"));
    tell(&format!(
        "{tool} {}",
        if there.is_empty() { "is not there, and has read nothing" } else { "reads too" }
    ));
    !there.is_empty()
}

/// The tree without what a reader does not bring back.
fn without(tree: &Tree, lacks: &[Lack]) -> Tree {
    let mut rest = tree.clone();
    for (path, facts) in &mut rest {
        for lack in lacks {
            match (lack, facts.kind) {
                (Lack::Attributes, _) => facts.xattrs.clear(),
                (Lack::LinkTimes, Kind::Symlink) => facts.mtime = 0,
                (Lack::TimesOfFilledFolders, Kind::Folder) if is_filled(tree, path) => facts.mtime = 0,
                _ => {}
            }
        }
    }
    rest
}

fn is_filled(tree: &Tree, folder: &Text) -> bool {
    let inside = Text([&folder.0[..], b"/"].concat());
    tree.range(inside.clone()..).next().is_some_and(|(path, _)| path.0.starts_with(&inside.0))
}

#[track_caller]
fn assert_same(what: &str, expected: &Tree, found: &Tree) {
    let paths: BTreeSet<&Text> = expected.keys().chain(found.keys()).collect();
    let differ = paths.into_iter().filter(|path| expected.get(path) != found.get(path));
    let shown: Vec<String> = differ
        .map(|path| format!("{path:?}\n  was {:?}\n  is  {:?}", expected.get(path), found.get(path)))
        .collect();
    assert!(
        shown.is_empty(),
        "{what}: {} paths differ\n{}",
        shown.len(),
        shown[..shown.len().min(20)].join("\n")
    );
}

/// Name, attribute and value of each extended attribute, in hexadecimal.
fn attribute_lines(source: &Tree) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (path, facts) in source {
        for (name, value) in &facts.xattrs {
            lines.insert(format!("{} {} {}", hex(&path.0), hex(&name.0), hex(&value.0)));
        }
    }
    lines
}

/// The entries as `list.go` lists them.
fn listing(source: &Tree) -> String {
    let line = |(path, facts): (&Text, &Facts)| {
        let folder = facts.kind == Kind::Folder;
        let name = hex(&[&path.0[..], if folder { b"/" } else { b"" }].concat());
        let first = facts.same_as == *path;
        let (kind, link) = match facts.kind {
            Kind::Folder => (5, "-".to_owned()),
            Kind::Symlink => (2, hex(&facts.target.0)),
            Kind::File if first => (0, "-".to_owned()),
            Kind::File => (1, hex(&facts.same_as.0)),
        };
        let (size, content) = if kind == 0 { (facts.size, &facts.content[..]) } else { (0, "-") };
        let mut line = format!("{kind} {:04o} {} {size} {name} {link} {content}", facts.mode, facts.mtime);
        for (name, value) in &facts.xattrs {
            line += &format!(" {}={}", hex(&name.0), hex(&value.0));
        }
        line + "\n"
    };
    source.iter().map(line).collect()
}

/// Runs a Go program of ours. What Go compiles is kept where Cargo keeps what it builds.
fn go(program: &str, input: &str) -> String {
    let cache = env!("CARGO_TARGET_TMPDIR");
    format!(
        "export GOCACHE='{cache}/go' GO111MODULE=off GOPROXY=off GOTOOLCHAIN=local GOTELEMETRY=off CGO_ENABLED=0
         go run \"$DATA/list.go\" {program} < {input}"
    )
}

/// The tree makes what the tests are about: blocks of many files, a file of many blocks, names of every length.
fn assert_hard_enough(source: &Tree, manifest: &str) {
    let lines: Vec<serde_json::Value> =
        manifest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let blocks = lines.iter().filter(|line| line["line"] == "block").count();
    assert!(blocks >= 6, "{blocks} blocks");
    assert!(lines.iter().any(|line| line["blocks"] == 2), "no file with blocks of its own");
    assert!(lines.iter().any(|line| line["path_hex"].is_string()), "no name that is not UTF-8");
    let lengths: BTreeSet<usize> = source.keys().map(|path| path.0.len()).collect();
    assert!((97..=102).all(|length| lengths.contains(&length)), "{lengths:?}");
    assert!(lengths.last() > Some(&1000), "{lengths:?}");
    let linked = source.iter().filter(|(path, facts)| facts.same_as != **path).count();
    assert!(linked >= 7, "{linked} hard links");
    // Where the file system cannot hold a time, all others are still compared.
    for time in tree::TIMES {
        let facts = &source[&Text(format!("{ROOT}/times/at {time}").into_bytes())];
        if facts.mtime != time.parse::<f64>().expect("a number").floor() as i64 {
            tell(&format!("this file system does not hold the time {time}"));
        }
    }
}

fn sorted(lines: &str) -> String {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn every_reader(compression: &str) {
    let stack = Stack::bare();
    tree::plant(&stack);
    let archive = backed_up(&stack, compression).display().to_string();
    let source = tree::read(&stack.path("repo"));
    let manifest = archive.replace(".tar.", ".manifest.jsonl.");
    let cat = if compression == "gzip" { "gzip -dc" } else { "zstd -dc" };
    assert_hard_enough(&source, &stack.sh(".", &format!("{cat} '{manifest}'")));
    for reader in &READERS {
        let to = format!("back/{}", reader.name);
        fs::create_dir_all(stack.path(&to)).expect("makes folders");
        let script = if compression == "gzip" { reader.gzip } else { reader.zstd };
        let said = as_root(&stack, &format!("set -- '{archive}' '{to}'\n{script}"));
        let back = tree::read(&stack.path(&to));
        assert_same(reader.name, &without(&source, reader.lacks), &without(&back, reader.lacks));
        if reader.name == "Python tarfile" {
            assert_eq!(said.lines().map(str::to_owned).collect::<BTreeSet<_>>(), attribute_lines(&source));
        }
    }
    if is_there(&stack, "go") {
        let script =
            if compression == "gzip" { go("gzip", "\"$1\"") } else { go("tar", "<(zstd -dc \"$1\")") };
        let said = stack.sh(".", &with_data(&format!("set -- '{archive}'\n{script}")));
        let (said, expected) = (sorted(&said), sorted(&listing(&source)));
        assert!(said == expected, "Go lists:\n{said}\nand not:\n{expected}");
    }
    let testers = if compression == "gzip" { &["gzip -t", "pigz -t"][..] } else { &["zstd -qt"] };
    for tester in testers {
        stack.sh(".", &format!("{tester} '{archive}' '{manifest}'"));
        let cut = format!("head -c -9 '{archive}' > cut; ! {tester} < cut");
        stack.sh(".", &cut);
    }
    // So that the folders that are closed to their owner can be removed.
    stack.sh(".", "chmod -R u+rwX .");
}

#[test]
fn a_gzip_archive_comes_back_with_every_reader() {
    every_reader("gzip");
}

#[test]
fn a_zstd_archive_comes_back_with_every_reader() {
    every_reader("zstd");
}

/// Beside a read-only folder stands a name that the bytes alone would sort between it and what is in it: a tar that sets
/// the mode of a folder when the next name comes must be done with it by then. busybox, when it is not root, fills no read-only folder.
#[test]
fn a_read_only_folder_comes_back_without_root() {
    let stack = Stack::bare();
    stack.sh(
        "repo",
        "mkdir -p .data/a; echo x > .data/a/x; echo y > .data/a-b; chmod 555 .data/a; touch -d @1 .data/a",
    );
    let archive = backed_up(&stack, "gzip").display().to_string();
    let source = tree::read(&stack.path("repo"));
    let root = stack.sh(".", "id -u").trim() == "0";
    let nobody = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };
    stack.sh(".", "chmod 755 . drive; chmod -R a+rX drive; mkdir back; chmod 777 back");
    for reader in READERS.iter().filter(|reader| reader.lacks.is_empty()) {
        let to = format!("back/{}", reader.name);
        let script = format!("mkdir '{to}'\nset -- '{archive}' '{to}'\n{}", reader.gzip);
        stack.sh(".", &format!("{nobody} bash -euo pipefail -s <<'END'\n{script}\nEND"));
        assert_same(reader.name, &source, &tree::read(&stack.path(&to)));
    }
    stack.sh(".", "chmod -R u+rwX .");
}

/// gzip readers that stop at the end of the first member see everything, and nothing is left.
#[test]
fn a_reader_that_stops_at_the_first_gzip_member_gets_everything() {
    let stack = Stack::bare();
    for n in 0..400 {
        let text = tree::content(n, 40_000);
        fs::create_dir_all(stack.path("repo/.data")).expect("makes a folder");
        fs::write(stack.path(&format!("repo/.data/{n:03}")), text).expect("writes");
    }
    let archive = backed_up(&stack, "gzip").display().to_string();
    let manifest = archive.replace(".tar.gz", ".manifest.jsonl.gz");
    let blocks = stack.sh(".", &format!("gzip -dc '{manifest}' | grep -c '\"line\":\"block\"'"));
    assert!(blocks.trim().parse::<u32>().expect("a number") >= 4, "{blocks} blocks");
    for file in [&archive, &manifest] {
        let whole = "gzip -dc \"$1\" | sha256sum | cut -d ' ' -f 1";
        let first =
            "python3 \"$DATA/first_member.py\" < \"$1\" 2> said | sha256sum | cut -d ' ' -f 1; cat said";
        let said = stack.sh(".", &with_data(&format!("set -- '{file}'\n{whole}\n{first}")));
        let [whole, first, ended] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert_eq!((first, ended), (whole, "1 0"), "{file}");
        if is_there(&stack, "node") {
            let said = stack.sh(".", &with_data(&format!("node \"$DATA/gunzip.js\" < '{file}'")));
            let bytes = stack.sh(".", &format!("gzip -dc '{file}' | wc -c"));
            assert_eq!(said, format!("{} {whole}\n", bytes.trim()), "{file}");
        }
    }
    if is_there(&stack, "go") {
        let said = stack.sh(".", &with_data(&format!("set -- '{archive}'\n{}", go("gzip", "\"$1\""))));
        assert_eq!(said, listing(&tree::read(&stack.path("repo"))), "Go");
    }
}
