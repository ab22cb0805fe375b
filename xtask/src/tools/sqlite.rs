//! sqlite3: a consistent copy of a database that others write to, and its integrity.
use super::{output_of, shell_in};
use crate::error::{Error, Result};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use xshell::cmd;

/// Whether a file that begins with these bytes is a SQLite 3 database (file format, section 1.3.1).
pub fn is_database(first: &[u8]) -> bool {
    first.starts_with(b"SQLite format 3\0")
}

/// Whether a database that begins with these bytes keeps a write-ahead log (file format, section 1.3.3).
pub fn keeps_wal(first: &[u8]) -> bool {
    first.get(18..20).is_some_and(|versions| versions.contains(&2))
}

/// How a database is opened, to be read only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// As any reader opens it. A database with a write-ahead log gets a `-wal` and a `-shm` if it has none.
    Reader,
    /// By the `-shm` that is there, without writing to it (`readonly_shm`, wal.html#readonly). Where nobody else holds it,
    /// SQLite reads the log into its own memory, and keeps others from moving the log into the database meanwhile.
    ReadOnlyIndex,
    /// As a file that nobody writes to (`immutable`): nothing is locked. Only for one that nobody has open.
    Immutable,
}

/// Copies the database at `db` into the new file `to`, waiting for writers. The copy is what one transaction sees,
/// however long it takes.
///
/// # Errors
/// When sqlite3 fails: not a database, or locked for over 20 s.
pub fn copy(db: &Path, to: &Path, opened: Opened) -> Result<()> {
    let shell = shell_in(db.parent().unwrap_or(Path::new("/")))?;
    let more = match opened {
        Opened::Reader => "",
        Opened::ReadOnlyIndex => "&readonly_shm=1",
        Opened::Immutable => "&immutable=1",
    };
    let uri = format!("file:./{}?mode=ro{more}", escaped(db.file_name().unwrap_or_default().as_bytes()));
    // The shell reads a name in double quotes as C does.
    let quoted = to.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let (timeout, backup) = (".timeout 20000", format!(".backup \"{quoted}\""));
    // `.backup` alone lets go of the database every hundred pages, and begins again when others have written: against
    // a busy writer it never ends.
    let (begin, hold) = ("BEGIN;", "SELECT 1 FROM sqlite_master LIMIT 1;");
    output_of(cmd!(shell, "sqlite3 -batch -bail -readonly {uri} {timeout} {begin} {hold} {backup}"))?;
    if to.exists() { Ok(()) } else { Err(super::failed("sqlite3 .backup", "made no copy", "")) }
}

/// A file name as a URI has it.
fn escaped(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape =
        |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    name.iter().map(escape).collect()
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
    fn a_database_in_use_is_copied_whole_however_it_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = folder.path().join("odd 'name?#%.db");
        let shell = shell_in(folder.path()).expect("a shell");
        let sql = "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1),(2),(3);";
        output_of(cmd!(shell, "sqlite3 {db} {sql}")).expect("makes a database");
        assert!(keeps_wal(&std::fs::read(&db).expect("reads")));
        let names = || std::fs::read_dir(folder.path()).expect("lists").count();
        for (number, opened) in
            [Opened::Immutable, Opened::Reader, Opened::ReadOnlyIndex].into_iter().enumerate()
        {
            let (to, before) = (folder.path().join(format!("copy {number}")), names());
            copy(&db, &to, opened).expect("copies");
            // A reader leaves its journals.
            assert_eq!(names() - before, if opened == Opened::Reader { 3 } else { 1 }, "{opened:?}");
            assert_eq!(integrity(&to).expect("checks"), "ok");
            let count = "SELECT count(*) FROM t;";
            assert_eq!(output_of(cmd!(shell, "sqlite3 {to} {count}")).expect("reads"), b"3\n");
        }
        let no = folder.path().join("no");
        std::fs::write(&no, [7; 4096]).expect("writes");
        assert!(copy(&no, &folder.path().join("copy of no"), Opened::Reader).is_err());
    }
}
