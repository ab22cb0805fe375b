//! sqlite3: a consistent copy of a database that others write to, and its integrity.
use super::{output_of, shell_in};
use crate::error::{Error, Result};
use std::path::Path;
use xshell::cmd;

/// Whether a file that begins with these bytes is a SQLite 3 database (file format, section 1.3.1).
pub fn is_database(first: &[u8]) -> bool {
    first.starts_with(b"SQLite format 3\0")
}

/// Copies the database at `db` into the new file `to`, waiting for writers.
///
/// # Errors
/// When sqlite3 fails: not a database, or locked for over 20 s.
pub fn copy(db: &Path, to: &Path) -> Result<()> {
    let folder = db.parent().unwrap_or(Path::new("/"));
    let shell = shell_in(folder)?;
    // `-readonly` keeps the source untouched.
    let name = db.file_name().unwrap_or_default();
    let mut file = std::ffi::OsString::from("./");
    file.push(name);
    // The shell reads a name in double quotes as C does.
    let quoted = to.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let (timeout, backup) = (".timeout 20000", format!(".backup \"{quoted}\""));
    output_of(cmd!(shell, "sqlite3 -batch -bail -readonly {file} {timeout} {backup}"))?;
    if to.exists() { Ok(()) } else { Err(super::failed("sqlite3 .backup", "made no copy", "")) }
}

/// What `PRAGMA integrity_check` says: "ok", or the first problem.
///
/// # Errors
/// When sqlite3 fails.
pub fn integrity(db: &Path) -> Result<String> {
    let shell = shell_in(db.parent().unwrap_or(Path::new("/")))?;
    let pragma = "PRAGMA integrity_check(1);";
    // Not read-only: a copy in WAL mode gets a journal while it is open, which goes when it is closed.
    match output_of(cmd!(shell, "sqlite3 -batch {db} {pragma}")) {
        Ok(answer) => Ok(String::from_utf8_lossy(&answer).trim().to_owned()),
        Err(Error::Tool { stderr, .. }) => Ok(stderr),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_in_use_is_copied_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (db, to) = (folder.path().join("odd 'name.db"), folder.path().join("copy"));
        let shell = shell_in(folder.path()).expect("a shell");
        let sql = "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1),(2),(3);";
        output_of(cmd!(shell, "sqlite3 {db} {sql}")).expect("makes a database");
        copy(&db, &to).expect("copies");
        assert_eq!(integrity(&to).expect("checks"), "ok");
        let count = "SELECT count(*) FROM t;";
        assert_eq!(output_of(cmd!(shell, "sqlite3 {to} {count}")).expect("reads"), b"3\n");
        std::fs::write(folder.path().join("no"), [7; 4096]).expect("writes");
        assert!(copy(&folder.path().join("no"), &folder.path().join("copy2")).is_err());
    }
}
