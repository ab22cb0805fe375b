"""Says whether what came out is right: fingerprints of trees, lists of archives, answers of the tool.

As a program, so that what it holds does not weigh on the process that measures: `right.py tree DIR` prints the
fingerprints of a tree as JSON:

- `exact` covers kinds, modes, times to the nanosecond, links and the SHA-256 of contents
- `whole` the same with whole seconds, as a tar has them, and without the times of folders: GNU tar sets these too early
  where a folder's content does not stand right behind it, but for its `--delay-directory-restore`
- `content` covers kinds, links and contents
- `tracked` what git knows: files and links, contents, and which files are executable
- `names` the paths

`right.py middle DIR` prints the path of a file of about 10 kB, the one nearest to the middle of an archive.

Of the header of a SQLite database, the four counters that SQLite sets anew in each copy are not looked at.
"""
import hashlib
import json
import os
import re
import stat
import subprocess
import sys


class Wrong(Exception):
    """What came out is not what should have."""


def demand(holds, what):
    if not holds:
        raise Wrong(what)


def entries(top):
    """(path, lstat) of everything beneath, in the order of the paths' bytes, the top itself first as an empty path."""
    yield b"", os.lstat(top)
    waiting = [b""]
    found = []
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(top, folder)) as listed:
            for entry in listed:
                path = os.path.join(folder, entry.name)
                status = entry.stat(follow_symlinks=False)
                found.append((path, status))
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)
    yield from sorted(found, key=lambda pair: pair[0])


def content_of(path, status):
    """What stands for the content of an entry."""
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return b""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        if status.st_size % 512 == 0 and (head := file.read(100)).startswith(b"SQLite format 3\0"):
            # A copy by SQLite has counters of its own: changes, schema, and who wrote them last.
            digest.update(head[:24] + head[28:40] + head[44:92])
        else:
            file.seek(0)
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest().encode()


def fingerprints(top):
    """The fingerprints of a tree, and what there is in it."""
    top = os.fsencode(top)
    digests = {name: hashlib.sha256() for name in ("exact", "whole", "content", "names", "tracked")}
    counts = {"entries": 0, "files": 0, "bytes": 0}
    for path, status in entries(top):
        kind, folder = stat.S_IFMT(status.st_mode), stat.S_ISDIR(status.st_mode)
        content = content_of(os.path.join(top, path), status)
        mode, nanos = stat.S_IMODE(status.st_mode), status.st_mtime_ns
        common = (path, b"%o" % kind, content)
        parts = {
            "names": (path,),
            "content": common,
            "whole": (*common, b"%o" % mode, b"" if folder else b"%d" % (nanos // 10**9)),
            "exact": (*common, b"%o" % mode, b"%d" % nanos),
        }
        for name, values in parts.items():
            digests[name].update(b"\0".join(values) + b"\0\n")
        if not folder:
            executable = b"x" if kind == stat.S_IFREG and mode & 0o100 else b"-"
            digests["tracked"].update(b"\0".join((*common, executable)) + b"\0\n")
        counts["entries"] += 1
        if kind == stat.S_IFREG:
            counts["files"] += 1
            counts["bytes"] += status.st_size
    return {**{name: digest.hexdigest() for name, digest in digests.items()}, **counts}


def middle(top):
    """The path of a file of about 10 kB, the one nearest to the middle in the order of an archive."""
    found, total, top = [], 0, os.fsencode(top)
    for path, status in entries(top):
        total += 512 + (status.st_size + 511) // 512 * 512
        if stat.S_ISREG(status.st_mode) and 8000 <= status.st_size <= 12500 and re.fullmatch(rb"[\w./-]+", path):
            found.append((total, path))
    demand(found, f"there is no file of about 10 kB in {top}")
    return os.fsdecode(min(found, key=lambda pair: abs(pair[0] - total / 2))[1])


def elsewhere(*arguments):
    """What this program prints for these arguments, out of a process of its own."""
    done = subprocess.run([sys.executable, "-B", __file__, *arguments], capture_output=True, text=True)
    demand(done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def same_tree(top, expected, precision):
    """A restored tree is the source, as precisely as its format can tell."""
    demand(os.path.isdir(top), f"{top} is not there")
    found = elsewhere("tree", top)
    for name in ("names", "content", precision):
        demand(found[name] == expected[name], f"{top} differs from its source in: {name}")


def same_list(archive, decode, top, scratch):
    """What the system's tar lists is what lies in the tree, name by name."""
    listed, there = f"{scratch}/listed", f"{scratch}/there"
    script = (
        'set -o pipefail; $0 -dc "$1" | tar -t --quoting-style=escape | sed "s:/$::" | sort > "$3"; '
        'cd "$(dirname "$2")"; find "$(basename "$2")" | sort > "$4"; cmp -- "$3" "$4"'
    )
    done = subprocess.run(
        ["bash", "-c", script, decode, archive, top, listed, there],
        capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"},
    )
    demand(done.returncode == 0, f"tar lists something else in {archive}: {done.stderr[-500:]}")


def answer(path):
    """The one JSON document that the tool printed."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


if __name__ == "__main__":
    print(json.dumps({"tree": fingerprints, "middle": middle}[sys.argv[1]](sys.argv[2])))
