//! The store beside git: every blob of repositories that git made, and packs that no git makes.
use super::{Id, LARGEST, Reader, Store};
use libdeflater::{CompressionLvl, Compressor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn sh(folder: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    command.envs([("LC_ALL", "C"), ("GIT_CONFIG_NOSYSTEM", "1")]);
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is read of [`repository`]: all but the file that is too large.
const ALL: usize = 123;

/// A repository with versions of a text, each of another size; an empty file, one without any pattern, the largest that is
/// read, and one that is larger.
fn repository() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a folder");
    sh(home.path(), "git init -q -b main repo");
    let repo = home.path().join("repo");
    for version in 0..120_u32 {
        // Neighbours have most lines in common, others none, so that chains of deltas are long.
        let lines = 8 * version..9 * version + 60;
        let text =
            lines.fold(String::new(), |text, line| text + &format!("{}\n", line.wrapping_mul(0x9e37_79b9)));
        fs::write(repo.join(format!("v{version}")), text).expect("writes");
    }
    let script = format!(
        "touch empty; head -c 3000000 /dev/urandom > noise; truncate -s {LARGEST} most; truncate -s {} more; \
         git add .; git -c user.name=a -c user.email=a@example.org commit -qm all",
        LARGEST + 1
    );
    sh(&repo, &script);
    (home, repo)
}

/// Id and size of every blob.
fn blobs(repo: &Path) -> BTreeMap<String, u64> {
    let all = sh(repo, "git cat-file --batch-check --batch-all-objects");
    let fields = all.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let blobs = fields.filter(|fields| fields[1] == "blob");
    blobs.map(|fields| (fields[0].to_owned(), fields[2].parse().expect("a size"))).collect()
}

fn read(store: &Store, reader: &mut Reader, id: &str, size: u64) -> Option<Vec<u8>> {
    Some(store.read(id, &store.find(id, size)?, size, reader)?.to_vec())
}

/// Reads an object of a forged pack, whose ids are made up.
fn unpack(store: &Store, reader: &mut Reader, id: &str, size: u64) -> Option<Vec<u8>> {
    Some(store.unpack(&store.find(id, size)?, size, reader)?.to_vec())
}

/// Reads every blob, there and back again, and has git say what it is. Gives how many were read.
#[track_caller]
fn read_all(repo: &Path) -> usize {
    let (blobs, out) = (blobs(repo), tempfile::tempdir().expect("a folder"));
    let (store, mut reader) = (Store::open(&[repo.join(".git/objects")]), Reader::new());
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for (id, size) in &blobs {
        if let Some(content) = read(&store, &mut reader, id, *size) {
            fs::write(out.path().join(id), &content).expect("writes");
            there.push((id, content));
        }
    }
    for (id, size) in blobs.iter().rev() {
        back.extend(read(&store, &mut reader, id, *size).map(|content| (id, content)));
    }
    assert!(there.iter().eq(back.iter().rev()), "the same there and back");
    let said = sh(
        out.path(),
        "find -type f -printf '%P\\n' | sort > ../ids.$$; git hash-object --no-filters --stdin-paths < ../ids.$$; rm ../ids.$$",
    );
    assert!(said.lines().eq(there.iter().map(|(id, _)| id.as_str())), "git gives them other names");
    there.len()
}

/// The longest chain of deltas in the packs of a repository.
fn depth(repo: &Path) -> usize {
    let told = sh(repo, "git verify-pack -v .git/objects/pack/*.idx");
    let chains = told.lines().filter_map(|line| line.strip_prefix("chain length = "));
    chains.filter_map(|chain| chain.split(':').next()?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn every_blob_comes_back_however_git_has_packed_it() {
    let (_home, repo) = repository();
    assert_eq!(read_all(&repo), ALL, "loose");
    for (settings, depths) in [
        ("", 5..=50),
        ("-c repack.useDeltaBaseOffset=false", 5..=50),
        ("-c pack.depth=250 -c pack.window=3", 5..=250),
        ("-c pack.window=0 -c core.compression=0", 0..=0),
    ] {
        sh(&repo, &format!("git -c pack.threads=1 {settings} repack -adfq"));
        assert!(depths.contains(&depth(&repo)), "{settings}: {}", depth(&repo));
        assert_eq!(read_all(&repo), ALL, "{settings}");
    }
    // Offsets in 64 bits, and beside that a pack with half of it, and loose objects.
    sh(
        &repo,
        "mv .git/objects/pack ../old; mkdir .git/objects/pack; git unpack-objects -q < ../old/*.pack; \
         git cat-file --batch-check='%(objectname)' --batch-all-objects > ../all; \
         git pack-objects -q --index-version=2,0x100 .git/objects/pack/pack < <(head -90 ../all); \
         git pack-objects -q .git/objects/pack/pack < <(head -40 ../all); git prune-packed -q",
    );
    assert_eq!(read_all(&repo), ALL, "two packs and loose");
    sh(&repo, "git -c pack.indexVersion=1 repack -adfq");
    assert_eq!(read_all(&repo), 0, "an index of version 1 is for git");
}

#[test]
fn alternates_are_followed_and_end() {
    let (home, repo) = repository();
    sh(&repo, "git repack -adfq");
    sh(home.path(), "git clone -q --shared repo a; git clone -q --shared a b");
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    assert_eq!((read_all(&a), read_all(&b)), (ALL, ALL));
    let alternates = b.join(".git/objects/info/alternates");
    fs::write(&alternates, "# by hand\n../../../a/.git/objects\n").expect("writes");
    assert_eq!(read_all(&b), ALL, "from the folder that names it");
    fs::write(a.join(".git/objects/info/alternates"), "../../../b/.git/objects\n").expect("writes");
    assert!(Store::open(&[b.join(".git/objects")]).packs.is_empty(), "in a circle");
    sh(
        &b,
        "rm .git/objects/info/alternates; mkfifo .git/objects/info/alternates .git/objects/pack/pack-1.idx",
    );
    assert!(Store::open(&[b.join(".git/objects")]).packs.is_empty(), "nothing is waited for");
}

/// A pack that was damaged gives the right bytes or none.
#[test]
fn what_is_damaged_is_not_read() {
    let (_home, repo) = repository();
    sh(
        &repo,
        "git rm -q --cached noise most more; git -c user.name=a -c user.email=a@b commit -qm less --amend; \
               git reflog expire --expire=now --all; git -c pack.depth=250 repack -adfq; git prune",
    );
    let objects = repo.join(".git/objects");
    let find = |ending| PathBuf::from(sh(&repo, &format!("ls $PWD/.git/objects/pack/*.{ending}")).trim());
    let (pack, index) = (find("pack"), find("idx"));
    sh(&repo, "chmod u+w .git/objects/pack/*");
    let (blobs, mut reader) = (blobs(&repo), Reader::new());
    let right: BTreeMap<_, _> = {
        let store = Store::open(std::slice::from_ref(&objects));
        blobs.iter().map(|(id, size)| (id, read(&store, &mut reader, id, *size).expect("reads"))).collect()
    };
    for file in [&pack, &index] {
        let whole = fs::read(file).expect("reads");
        let mut lost = 0;
        for at in (0..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(file, bytes).expect("writes");
            let (store, mut reader) = (Store::open(std::slice::from_ref(&objects)), Reader::new());
            for (id, size) in blobs.iter().step_by(5) {
                match read(&store, &mut reader, id, *size) {
                    Some(content) => assert!(content == right[id], "byte {at} of {}", file.display()),
                    None => lost += 1,
                }
            }
        }
        assert!(lost > 0, "{}", file.display());
        for length in [0, 7, 12, 40, 1100, whole.len() / 2, whole.len() - 1] {
            fs::write(file, &whole[..length]).expect("writes");
            assert!(
                Store::open(std::slice::from_ref(&objects)).packs.is_empty(),
                "{} of {length}",
                file.display()
            );
        }
        fs::write(file, &whole).expect("writes");
    }
}

/// An object of a forged pack: its id, what stands in front of it, and what is packed.
type Forged<'a> = (Id, Vec<u8>, &'a [u8]);

fn id(first: u8) -> Id {
    let mut id = [7; 20];
    id[0] = first;
    id
}

/// The head of an object of this kind (gitformat-pack(5)) and size, which need not be true.
fn head(kind: u8, size: u64, base: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (vec![kind << 4 | (size & 15) as u8], size >> 4);
    while left > 0 {
        *bytes.last_mut().expect("a byte") |= 0x80;
        bytes.push((left & 0x7f) as u8);
        left >>= 7;
    }
    bytes.extend_from_slice(base);
    bytes
}

/// Writes a pack with these objects, sorted by id, and its index, which tells `moved` instead of the true places.
fn forge(objects: &Path, forged: &[Forged<'_>], moved: &dyn Fn(u32) -> u32) {
    let count = u32::try_from(forged.len()).expect("few").to_be_bytes();
    let mut pack = [&b"PACK\0\0\0\x02"[..], &count].concat();
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for (id, head, content) in forged {
        ids.extend_from_slice(id);
        places.extend_from_slice(&moved(u32::try_from(pack.len()).expect("short")).to_be_bytes());
        let mut packed = vec![0; content.len() + 99];
        let length =
            Compressor::new(CompressionLvl::default()).zlib_compress(content, &mut packed).expect("packs");
        pack.extend([&head[..], &packed[..length]].concat());
    }
    pack.extend([9; 20]);
    let fanout = (0..=255).map(|first| forged.iter().filter(|(id, ..)| id[0] <= first).count() as u32);
    let fanout: Vec<u8> = fanout.flat_map(u32::to_be_bytes).collect();
    let index =
        [&b"\xfftOc\0\0\0\x02"[..], &fanout, &ids, &vec![0; 4 * forged.len()], &places, &[9; 40]].concat();
    fs::create_dir_all(objects.join("pack")).expect("makes a folder");
    fs::write(objects.join("pack/pack-1.pack"), pack).expect("writes");
    fs::write(objects.join("pack/pack-1.idx"), index).expect("writes");
}

#[test]
fn packs_that_lie_give_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let same = |place: u32| place;
    let base: Forged<'_> = (id(1), head(3, 10, b""), b"0123456789");
    // Three bytes of the base, from the seventh on.
    let delta = &[10, 3, 0x91, 7, 3];
    let wanted = id(2).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let made = |forged: &[Forged<'_>], moved: &dyn Fn(u32) -> u32, size: u64| {
        forge(home.path(), forged, moved);
        let store = Store::open(&[home.path().to_owned()]);
        assert_eq!(store.packs.len(), 1);
        unpack(&store, &mut Reader::new(), &wanted, size)
    };
    let named = |first: u8, size: u64| head(7, size, &id(first));
    let distance = |distance: u8, size: u64| head(6, size, &[distance]);
    forge(home.path(), std::slice::from_ref(&base), &same);
    let base_length = fs::read(home.path().join("pack/pack-1.pack")).expect("reads").len() as u8 - 32;
    for true_head in [named(1, 5), distance(base_length, 5)] {
        assert_eq!(made(&[base.clone(), (id(2), true_head, delta)], &same, 3).as_deref(), Some(&b"789"[..]));
    }
    let other: Forged<'_> = (id(3), named(2, 5), delta);
    for (what, forged, size) in [
        ("another size of the object", vec![base.clone(), (id(2), named(1, 5), delta)], 4),
        ("a delta that is shorter than it says", vec![base.clone(), (id(2), named(1, 6), delta)], 3),
        ("a delta that is longer than it says", vec![base.clone(), (id(2), named(1, 4), delta)], 3),
        ("a base of another size", vec![base.clone(), (id(2), named(1, 5), &[11, 3, 0x91, 7, 3])], 3),
        (
            "a result that is too large",
            vec![base.clone(), (id(2), named(1, 6), &[10, 0x81, 0x80, 0x80, 8, 0x90])],
            3,
        ),
        ("a base that is not there", vec![base.clone(), (id(2), named(9, 5), delta)], 3),
        ("a base that is itself", vec![base.clone(), (id(2), named(2, 5), delta)], 3),
        ("a circle", vec![base.clone(), (id(2), named(3, 5), delta), other], 3),
        ("a base at no distance", vec![base.clone(), (id(2), distance(0, 5), delta)], 3),
        ("a base in front of all", vec![base.clone(), (id(2), distance(100, 5), delta)], 3),
        ("a base between objects", vec![base.clone(), (id(2), distance(base_length - 3, 5), delta)], 3),
        ("a base without end", vec![base.clone(), (id(2), head(6, 5, &[0xff; 40]), delta)], 3),
        ("a size without end", vec![base.clone(), (id(2), [&[0xb0][..], &[0x80; 40]].concat(), delta)], 3),
        ("a size beyond all memory", vec![base.clone(), (id(2), head(3, 1 << 60, b""), delta)], 5),
        ("a tree", vec![base.clone(), (id(2), head(2, 5, b""), delta)], 5),
        ("a kind that is none", vec![base.clone(), (id(2), head(5, 5, b""), delta)], 5),
    ] {
        assert_eq!(made(&forged, &same, size), None, "{what}");
    }
    let true_one = [base, (id(2), named(1, 5), delta)];
    // What it is cannot be told from what it says.
    forge(home.path(), &true_one, &same);
    assert_eq!(
        read(&Store::open(&[home.path().to_owned()]), &mut Reader::new(), &wanted, 3),
        None,
        "another object"
    );
    for (what, moved) in [
        ("beyond the end", &(|_: u32| 0x7fff_0000_u32) as &dyn Fn(u32) -> u32),
        ("in the digest at the end", &|place| place + 40),
        ("in the head", &|_| 3_u32),
        ("in a table of long offsets that is not there", &|_| 1_u32 << 31),
    ] {
        assert_eq!(made(&true_one, moved, 3), None, "{what}");
    }
    // Ids that are not in their order are not found, or are; the search ends.
    let many: Vec<Forged<'_>> =
        (0..2000_u32).map(|n| (id((n * 7 % 5) as u8), head(3, 1, b""), &b"x"[..])).collect();
    forge(home.path(), &many, &same);
    assert!(
        unpack(&Store::open(&[home.path().to_owned()]), &mut Reader::new(), &wanted, 1)
            .is_none_or(|found| found == b"x")
    );
}

/// The longest chain that git makes, and one that is longer; there and back again, so that bases are kept and let go.
#[test]
fn a_chain_of_deltas_has_an_end() {
    let home = tempfile::tempdir().expect("a folder");
    let name = |n: u16| {
        let mut id = [7; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        id
    };
    let text = |n: u16| name(n).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    // Each is the one before and a byte: 5,000 bytes and more, in two groups of seven bits.
    let size = |n: u16| 5000 + u64::from(n);
    let grouped = |size: u64| [0x80 | (size & 0x7f) as u8, (size >> 7) as u8];
    let first: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    let deltas: Vec<Vec<u8>> = (1..=4096)
        .map(|n| {
            let base = size(n - 1).to_le_bytes();
            [&grouped(size(n - 1))[..], &grouped(size(n)), &[0xb0, base[0], base[1], 1, b'x']].concat()
        })
        .collect();
    let mut forged: Vec<Forged<'_>> = vec![(name(0), head(3, 5000, b""), &first)];
    forged.extend(
        deltas
            .iter()
            .zip(1..)
            .map(|(delta, n)| (name(n), head(7, delta.len() as u64, &name(n - 1)), &delta[..])),
    );
    forge(home.path(), &forged, &|place| place);
    let (store, mut reader) = (Store::open(&[home.path().to_owned()]), Reader::new());
    assert_eq!(unpack(&store, &mut Reader::new(), &text(4096), size(4096)), None);
    for n in [4095, 250, 4000, 5, 4095, 1, 0] {
        let expected = [&first[..], &vec![b'x'; usize::from(n)]].concat();
        assert!(unpack(&store, &mut reader, &text(n), size(n)) == Some(expected), "{n}");
    }
}

#[test]
fn an_object_is_found_wherever_it_lies_in_a_large_index() {
    let home = tempfile::tempdir().expect("a folder");
    // Unevenly spread: most begin with the same bytes.
    let name = |n: u32| {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&(((u64::from(n) * u64::from(n)) << 24) | 5).to_be_bytes());
        id
    };
    let all: Vec<Forged<'_>> = (0..5000).map(|n| (name(n), head(3, 1, b""), &b"x"[..])).collect();
    forge(home.path(), &all, &|place| place);
    let store = Store::open(&[home.path().to_owned()]);
    for n in 0..5000 {
        let (text, mut wrong) =
            (name(n).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")), name(n));
        assert!(store.find(&text, 1).is_some(), "{n}");
        wrong[19] = 1;
        assert!(store.packs[0].index.find(&wrong).is_none(), "{n}");
    }
    assert!(store.find("00", 1).is_none() && store.find(&"0".repeat(64), 1).is_none());
}
