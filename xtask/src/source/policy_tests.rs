//! Which names and contents call for which word.
use super::*;
use crate::finding::Severity;

fn looked_at(policy: &Policy, path: &str, content: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (path, size) = (path.as_bytes(), content.len() as u64);
    let content = if wanted(path, size, true) { content } else { b"" };
    policy.of_file(Candidate { path, size, content, export_subst: true }, &mut findings);
    findings
}

fn refused(path: &str, content: &[u8]) -> bool {
    looked_at(&Policy::default(), path, content).iter().any(|finding| finding.severity == Severity::Error)
}

#[test]
fn what_looks_like_a_secret_is_refused_and_what_only_resembles_one_is_not() {
    let key = [&[b'x'; 2000][..], b"-----BEGIN EC PRIVATE KEY-----\n"].concat();
    for (path, content) in [
        (".env", &b"A=1"[..]),
        ("a/.ENV", b"A=1"),
        ("a/.env.production", b"A=1"),
        ("prod.env", b"A=1"),
        ("auth.json", b"{}"),
        ("x/Auth.JSON", b"{}"),
        (".aws/credentials", b"x"),
        ("deploy/id_ed25519", b"x"),
        ("a/server.pem", &key),
        ("a/server.KEY", &key),
        ("a/store.p12", b"x"),
        (".npmrc", b"registry=x\n//r.example.org/:_authToken = abc\n"),
        (".npmrc", b"_password=\"abc\""),
        ("a/deploy_key", b"\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc"),
        ("backup.asc", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc"),
        ("a/apple.p8", &key),
        ("a/putty.ppk", b"x"),
    ] {
        assert!(refused(path, content), "{path}");
    }
    for (path, content) in [
        (".env", &b""[..]),
        (".env.example", b"A="),
        (".env.local.sample", b"A="),
        ("example.env", b"A="),
        (".environment", b"x"),
        ("env", b"x"),
        ("my-auth.json", b"{}"),
        ("credentials/readme", b"x"),
        ("id_rsa.pub", b"x"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----"),
        ("keyboard.key", b"x"),
        ("notes.txt", &key),
        ("notes.md", b"A key begins with\n-----BEGIN PRIVATE KEY-----"),
        ("release.asc", b"-----BEGIN PGP SIGNATURE-----"),
        (".npmrc", b"//r.example.org/:_authToken=${NPM_TOKEN}\nalways-auth=true\nmy_auth=x"),
    ] {
        assert!(!refused(path, content), "{path}");
    }
}

#[test]
fn a_secret_is_allowed_by_its_very_path_and_by_nothing_else() {
    let policy =
        Policy { allow_secrets: vec!["a/.env".into(), "*".into(), "gone".into()], ..Policy::default() };
    assert_eq!(looked_at(&policy, "a/.env", b"x")[0].severity, Severity::Info);
    assert_eq!(looked_at(&policy, "b/.env", b"x")[0].severity, Severity::Error);
    let stale = policy.of_names([&b"a/.env"[..]].into_iter());
    assert_eq!(stale.iter().map(|finding| &*finding.path).collect::<Vec<_>>(), ["*", "gone"]);
}

#[test]
fn pointers_and_large_files_are_refused_or_told() {
    let pointer = [LFS_MAGIC, b"v1\n"].concat();
    assert!(refused("a", &pointer));
    let policy = Policy { lfs: Lfs::Pointer, max_file_size: Some(10), ..Policy::default() };
    assert_eq!(looked_at(&policy, "a", &pointer[..11])[0].severity, Severity::Error, "too large");
    let lenient = Policy { lfs: Lfs::Pointer, ..Policy::default() };
    assert_eq!(looked_at(&lenient, "a", &pointer)[0].severity, Severity::Warning);
    let mut findings = Vec::new();
    let large = Candidate { path: b"a", size: LARGE + 1, content: b"", export_subst: false };
    lenient.of_file(large, &mut findings);
    assert_eq!(findings[0].severity, Severity::Warning);
    lenient.of_file(Candidate { size: LARGE, ..large }, &mut findings);
    assert_eq!(findings.len(), 1);
}

#[test]
fn placeholders_count_where_git_archive_would_fill_them_in() {
    let told = |content: &[u8]| looked_at(&Policy::default(), "version.txt", content).len();
    assert_eq!(told(b"id: $Format:%H$\n"), 1);
    assert_eq!((told(b"$Format:%H\n"), told(b"$Id$"), told(b"plain")), (0, 0, 0));
    assert_eq!(told(b"this costs 5 $, and that 6 $"), 0);
}

#[test]
fn names_that_some_systems_take_for_one_are_told_once() {
    let told = |paths: &[&str]| {
        let findings = Policy::default().of_names(paths.iter().map(|path| path.as_bytes()));
        findings.into_iter().map(|finding| finding.path).collect::<Vec<_>>()
    };
    assert_eq!(told(&["A/x", "A/y", "a/x", "a/z"]), ["a", "a/x"]);
    assert_eq!(told(&["README", "readme"]), ["readme"]);
    assert_eq!(told(&["e\u{301}", "\u{e9}"]), ["\u{e9}"]);
    assert_eq!(told(&["a", "a-b", "a/b", "b"]), Vec::<String>::new());
    assert_eq!(told(&["a:b", "aux.c", "com1", "ok", "trailing."]), ["a:b"]);
    assert_eq!(told(&["console", "com10", "auxiliary.c", ".a"]), Vec::<String>::new());
}

#[test]
fn names_that_windows_cannot_hold_are_told_from_those_that_only_look_alike() {
    for name in ["a:b", "aux.c", "x/NUL/y", "com1", "lpt9.txt", "trailing.", "trailing ", "a\\b", "a\u{1}"] {
        assert!(!fits_windows(name.as_bytes()), "{name}");
    }
    for name in ["console", "com10", "com0", "auxiliary.c", ".a", "a.aux", "x/y"] {
        assert!(fits_windows(name.as_bytes()), "{name}");
    }
}

#[test]
fn the_content_is_looked_at_where_it_can_tell_something() {
    for (path, size, export_subst, expected) in [
        ("a", 0, true, false),
        ("a", 1, false, true),
        ("a", LFS_MAX - 1, false, true),
        ("a", LFS_MAX, false, false),
        ("a", LFS_MAX, true, true),
        ("a.pem", KEY_MAX, false, true),
        ("a.pem", KEY_MAX + 1, false, false),
    ] {
        assert_eq!(wanted(path.as_bytes(), size, export_subst), expected, "{path} {size}");
    }
    assert_eq!(KEY_MAX, 256 * 1024);
    // As large as no pointer is.
    let mut findings = Vec::new();
    let file = Candidate { path: b"a", size: LFS_MAX, content: LFS_MAGIC, export_subst: false };
    Policy::default().of_file(file, &mut findings);
    assert_eq!(findings, []);
}
