//! A tree of everything that readers trip over, and what a tree on disk is: all that an archive must bring back.
//!
//! Made and read by this process, which need not be root: what its own mode locks is opened for the look, and closed
//! again.
use crate::support::Stack;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// The folder that is backed up, as the archive names it.
pub const ROOT: &str = ".data";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Symlink,
}

/// Any bytes; shown so that they can be read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub Vec<u8>);

impl std::fmt::Debug for Text {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "\"{}\"", self.0.escape_ascii())
    }
}

/// Everything that must come back of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub mode: u32,
    /// Whole seconds, rounded down: all that a tar has.
    pub mtime: i64,
    /// Of a symbolic link.
    pub target: Text,
    /// Of a file.
    pub size: u64,
    /// SHA-256 of a file's content.
    pub content: String,
    /// The first of all paths that are this file; its own where it is the first.
    pub same_as: Text,
    pub xattrs: BTreeMap<Text, Text>,
}

/// By the path from `ROOT` on, in archive order.
pub type Tree = BTreeMap<Text, Facts>;

/// Everything below `folder`, which holds `ROOT` alone.
pub fn read(folder: &Path) -> Tree {
    assert_eq!(fs::read_dir(folder).expect("lists").count(), 1, "{ROOT} alone in {}", folder.display());
    let (mut tree, mut inodes) = (Tree::new(), HashMap::new());
    walk(folder, OsStr::new(ROOT), &mut |name, inode, facts| {
        inodes.entry(inode).or_insert_with(Vec::new).push(name.clone());
        tree.insert(name, facts);
    })
    .expect("reads");
    for names in inodes.values() {
        let first = names.iter().min().expect("a name");
        for name in names {
            tree.get_mut(name).expect("is there").same_as.clone_from(first);
        }
    }
    tree
}

/// Visits a path with its inode, and everything below it.
fn walk(folder: &Path, name: &OsStr, visit: &mut dyn FnMut(Text, u64, Facts)) -> io::Result<()> {
    let path = folder.join(name);
    let metadata = fs::symlink_metadata(&path)?;
    let need = if metadata.is_dir() { 0o500 } else { 0o400 };
    let locked = !metadata.is_symlink() && metadata.mode() & need != need;
    if locked {
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
    }
    visit(Text(name.as_bytes().to_vec()), metadata.ino(), look(&path, &metadata)?);
    if metadata.is_dir() {
        for entry in fs::read_dir(&path)? {
            walk(folder, Path::new(name).join(entry?.file_name()).as_os_str(), visit)?;
        }
    }
    if locked {
        fs::set_permissions(&path, metadata.permissions())?;
    }
    Ok(())
}

fn look(path: &Path, metadata: &Metadata) -> io::Result<Facts> {
    let mut facts = Facts {
        kind: Kind::File,
        mode: metadata.mode() & 0o7777,
        mtime: metadata.mtime(),
        target: Text::default(),
        size: 0,
        content: String::new(),
        same_as: Text::default(),
        xattrs: BTreeMap::new(),
    };
    if metadata.is_symlink() {
        (facts.kind, facts.target) = (Kind::Symlink, Text(fs::read_link(path)?.into_os_string().into_vec()));
        return Ok(facts);
    }
    for name in xattr::list(path)?.filter(|name| name.as_bytes().starts_with(b"user.")) {
        let value = xattr::get(path, &name)?.expect("has a value");
        facts.xattrs.insert(Text(name.as_bytes().to_vec()), Text(value));
    }
    if metadata.is_dir() {
        facts.kind = Kind::Folder;
    } else {
        facts.size = metadata.len();
        facts.content = xtask::archive::hex(&Sha256::digest(fs::read(path)?));
    }
    Ok(facts)
}

/// Text that deflate halves, other for each seed.
pub fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let (mut state, mut text) = (seed.wrapping_mul(2).wrapping_add(1), Vec::with_capacity(bytes + 8));
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(&(state >> 32).to_le_bytes());
    }
    text.truncate(bytes);
    text
}

/// Names that a shell, a terminal, a locale or an argument parser takes amiss.
const ODD: [&[u8]; 16] = [
    b"line\nend",
    b"carriage\rreturn\ttab",
    b"single ' double \" grave `",
    b"back\\slash \\n \\101",
    b"-rf",
    b"--to-command=false",
    b" space in front",
    b"space behind ",
    b"   ",
    b"$HOME *? [a-z] {b,c} ; & | < > !",
    b"%s %n %%",
    "emoji 🦀 👩‍🚀".as_bytes(),
    "accents é e\u{301} ü u\u{308}".as_bytes(),
    b"not \xff\x80 utf-8",
    b"\xc3\x28 \xf0\x28\x8c\xbc",
    b"\x01\x1b[31m\x7f",
];

/// Makes the tree at `repo/.data` of the stack.
pub fn plant(stack: &Stack) {
    let root = stack.path("repo").join(ROOT);
    let put = |name: &[u8], content: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
        fs::write(path, content).expect("writes");
    };
    for name in ODD {
        put(&[b"odd/", name].concat(), name);
        put(&[b"odd folder/", name, b"/", name].concat(), b"below");
    }
    long(&put);
    // Blocks of many files, and a file with blocks of its own.
    for n in 0..800_u64 {
        put(format!("many/{:02}/{n:04}.txt", n % 20).as_bytes(), &content(n, (n * 7919 % 50_000) as usize));
    }
    put(b"large.bin", &content(1, 9_500_000));
    put(b"empty", b"");
    // Folders below which nothing is, one of them with a long name.
    for name in ["empty folder".to_owned(), "f".repeat(99), "f".repeat(255)] {
        fs::create_dir(root.join(name)).expect("makes a folder");
    }
    sparse(&root);
    links(&root);
    attributes(&root);
    modes(&root);
    times(stack);
}

/// Names, and whole paths in the archive, of lengths at which tar formats change their ways.
fn long(put: &dyn Fn(&[u8], &[u8])) {
    for bytes in [99, 100, 101, 155, 156, 255] {
        put(format!("long/{}", "n".repeat(bytes)).as_bytes(), b"a long name");
    }
    for bytes in [97, 98, 99, 100, 101, 102, 155, 156, 255, 256, 257, 258] {
        // Two parts, since one must not have more than 255 bytes.
        let rest = bytes - ROOT.len() - "/path/000/".len();
        put(format!("path/{bytes:03}/{}", "p".repeat(rest)).as_bytes(), b"a path of that length");
    }
    // Over 1,000 bytes, and bytes of it that are not UTF-8 where a field of 100 ends.
    let part = [&b"\xff\x80"[..], &[b'd'; 97]].concat();
    put(&[&part[..]; 12].join(&b'/'), b"deep");
}

/// Data, a hole, data, a hole up to the end.
fn sparse(root: &Path) {
    let mut file = fs::File::create(root.join("sparse")).expect("makes a file");
    file.write_all(b"front").expect("writes");
    file.seek(SeekFrom::Start(2_000_000)).expect("seeks");
    file.write_all(b"middle").expect("writes");
    file.set_len(3_000_001).expect("grows");
    let metadata = file.metadata().expect("is there");
    assert!(metadata.blocks() * 512 < metadata.len(), "a file with holes");
}

fn links(root: &Path) {
    let folder = root.join("links");
    fs::create_dir(&folder).expect("makes a folder");
    let long = "../links/".repeat(20);
    let longer = format!("{}{}", "./".repeat(520), "t".repeat(60));
    let targets: [(&str, &[u8]); 10] = [
        ("file", b"../large.bin"),
        ("folder", b"../many"),
        ("dangling", b"nowhere/to be found"),
        ("absolute", b"/nowhere"),
        ("up", b"../../../.."),
        ("itself", b"itself"),
        ("odd", b"line\nend \xff\x80 -> \"there\""),
        ("99", &[b't'; 99]),
        ("long", long.as_bytes()),
        ("longer", longer.as_bytes()),
    ];
    for (name, target) in targets {
        symlink(OsStr::from_bytes(target), folder.join(format!("to {name}"))).expect("links");
    }
    let deep = "h".repeat(120);
    fs::create_dir(folder.join(&deep)).expect("makes a folder");
    let twins: [(&[u8], &[u8]); 5] = [
        (b"large.bin", b"links/twin"),
        (b"large.bin", b"links/another twin"),
        (b"odd/not \xff\x80 utf-8", b"links/twin \xff\x80"),
        (b"empty", b"links/empty twin"),
        (b"sparse", &[b"links/", deep.as_bytes(), b"/", deep.as_bytes()].concat()),
    ];
    for (of, name) in twins {
        fs::hard_link(root.join(OsStr::from_bytes(of)), root.join(OsStr::from_bytes(name))).expect("links");
    }
    // A target with a long name: `links/hhh…` stands before `many`.
    fs::write(folder.join(&deep).join("first"), b"twice").expect("writes");
    fs::hard_link(folder.join(&deep).join("first"), root.join("many/second")).expect("links");
}

fn attributes(root: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        xattr::set(root.join(path), name, value).expect("a file system with extended attributes");
    };
    fs::create_dir(root.join("attributes")).expect("makes a folder");
    for name in ["one", "more", "of a long name"] {
        let name = if name == "one" { name.to_owned() } else { name.repeat(9) };
        fs::write(root.join("attributes").join(&name), &name).expect("writes");
        set(&format!("attributes/{name}"), "user.origin", name.as_bytes());
    }
    fs::hard_link(root.join("attributes/one"), root.join("attributes/one's twin")).expect("links");
    set("attributes/one", "user.empty", b"");
    set("attributes/one", "user.binary", b"nul \0 newline \n equals = \xff\x80");
    set("attributes/one", "user.long", &[b'v'; 2000]);
    set("attributes", "user.folder", b"of a folder");
}

fn modes(root: &Path) {
    let folder = root.join("modes");
    fs::create_dir(&folder).expect("makes a folder");
    for mode in [0, 0o001, 0o200, 0o400, 0o444, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777] {
        let file = folder.join(format!("{mode:04o}"));
        fs::write(&file, b"mode").expect("writes");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("changes the mode");
    }
    for mode in [0, 0o500, 0o555, 0o700, 0o1777, 0o2775, 0o3770] {
        let folder = folder.join(format!("folder {mode:04o}"));
        fs::create_dir(&folder).expect("makes a folder");
        fs::write(folder.join("below"), b"mode of the folder above").expect("writes");
        fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("changes the mode");
    }
}

/// The seconds, as `touch` takes them, in files of their own: around 1970, 2038 and 2242, up to what the field of a tar
/// header and common file systems hold.
pub const TIMES: [&str; 13] = [
    "-2147483648",
    "-86400",
    "-1.5",
    "-1",
    "-0.5",
    "0",
    "0.5",
    "1",
    "2147483647",
    "2147483648",
    "4294967296",
    "8589934591",
    "8589934592",
];

/// A time of its own for everything that has none, half a second behind a full one, the folders last. In a
/// name space where the user is root, since some folders are closed.
fn times(stack: &Stack) {
    let root = format!("repo/{ROOT}");
    stack.sh(&root, "unshare --map-root-user find . -depth -exec touch -h -d 2001-02-03T04:05:06.5Z {} +");
    stack.sh(&root, "mkdir times; touch -d @1 times/folder");
    for time in TIMES {
        let name = format!("times/at {time}");
        stack.sh(
            &root,
            &format!("touch -d @{time} '{name}'; ln -s x '{name} link'; touch -h -d @{time} '{name} link'"),
        );
        stack.sh(&root, &format!("mkdir '{name} folder'; touch -d @{time} '{name} folder'"));
    }
    stack.sh(&root, "touch -d @-3600 times; touch -d @1234567890 .");
}
