//! Writes that take only a part of what they are given, as POSIX lets any write do: each verb goes on with the rest, and
//! what it makes is whole. A library in front of the system's halves every write of the run.
use super::{ENCRYPTED, KEY, LATER, complete, count};
use crate::support::{Outcome, Stack};
use std::fs;

/// Halves each write, and tells at the end of the process how many it has halved.
const HALVES: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
static unsigned long halved;
static size_t half(size_t count) {
    if (count < 2) return count;
    __atomic_fetch_add(&halved, 1, __ATOMIC_RELAXED);
    return (count + 1) / 2;
}
ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return real(file, bytes, half(count));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len > 0) return write(file, parts[part].iov_base, parts[part].iov_len);
    return 0;
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    return real(file, bytes, half(count), at);
}
__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("HALVED");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) { fprintf(file, "%lu\n", halved); fclose(file); }
}
"#;

/// Runs a verb with halved writes, at least so many of them.
fn halved(stack: &Stack, least: usize, args: &[&str]) -> Outcome {
    let (library, told) = (stack.path("halves.so"), stack.path("halved"));
    if !library.exists() {
        stack.file("halves.c", HALVES);
        stack.sh(".", "cc -shared -fPIC -O1 -o halves.so halves.c -ldl");
    }
    let _ = fs::remove_file(&told);
    let [library, path] = [library, told.clone()].map(|path| path.display().to_string());
    let said = stack
        .run_with(&[KEY, ("RECOVERY_NOW", LATER), ("LD_PRELOAD", &library), ("HALVED", &path)], args)
        .ok();
    let number: usize =
        fs::read_to_string(&told).expect("the library was loaded").trim().parse().expect("a number");
    assert!(number >= least, "{args:?}: only {number} writes were halved");
    count("short-writes", number);
    said
}

#[test]
fn what_is_written_in_short_pieces_is_whole() {
    let encrypted = format!("{ENCRYPTED}compression = \"zstd\"\n");
    for destination in ["", "compression = \"zstd\"\n", &encrypted] {
        let stack = Stack::new();
        stack.configure(destination);
        stack.sh(
            "repo/.codex-api",
            "head -c 3M /dev/urandom > large; for n in $(seq 50); do seq $n 999 > f$n; done",
        );
        halved(&stack, 20, &["backup"]);
        assert_eq!(complete(&stack, "drive").len(), 1, "sha256sum says so");
        halved(&stack, 20, &["snapshot"]);
        stack.sh("repo/releases", "sha256sum --check --strict --quiet SHA256SUMS");
        stack.run_with(&[KEY], &["verify"]).ok();
        halved(&stack, 50, &["restore", "codex-api", "--to", "../back"]);
        assert!(stack.listing("back/.codex-api") == stack.listing("repo/.codex-api"), "{destination}");
        halved(&stack, 50, &["restore-drill"]).says(&["verified"]);
    }
}
