"""The room that a run works in: its folder, the tools that are there, the data, and what is made once and read often.

Everything lies in one folder in memory (/dev/shm, where that is one with room), else in TMPDIR, and is gone at the end.
No setting of a user counts: HOME and the caches of all tools lie in that folder too.
"""
import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

import measure
import right

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
PEERS = {"pigz": "pigz", "zstd": "zstd", "restic": "restic", "borg": "borgbackup", "rustic": ""}
FAST = ("openssl", "libdeflate-gzip", "libdeflate-gunzip")  # what `limits` prefers
WATCHERS = ("perf", "strace")  # of `profile`
VERSION_OF = {"restic": ["restic", "version"], "openssl": ["openssl", "version"],
              "libdeflate-gzip": ["libdeflate-gzip", "-V"]}


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_bytes(folder):
    """What may be written to a folder; in memory also bounded by what of it is free."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if folder == "/dev/shm":
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable"):
                    free = min(free, int(line.split()[1]) * 1024)
    return free


def room_for(size):
    """Where to work: memory where there is enough of it, else TMPDIR."""
    rooms = [room for room in ("/dev/shm", os.environ.get("TMPDIR", "/tmp")) if os.access(room, os.W_OK)]
    for room in rooms:
        if free_bytes(room) > size:
            return room
    sys.exit(f"needs {size / 1e9:.1f} GB in one of: {', '.join(rooms)}")


def build():
    """The release build, and where it is."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--package", "xtask"], cwd=TOP, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return os.path.join(TOP, target, "release", "xtask")


def archive_in(dest):
    """The oldest archive at a destination."""
    return min(path for ending in ("gz", "zst") for path in glob.glob(f"{dest}/*/*/*.tar.{ending}"))


class World:
    """One run's room."""

    def __init__(self, need, cores):
        binary = build()
        # All that is measured has so many cores: the children inherit it.
        self.cores = sorted(os.sched_getaffinity(0))[:cores]
        os.sched_setaffinity(0, self.cores)
        self.room = room_for(need)
        self.work = tempfile.mkdtemp(prefix="bench-", dir=self.room)
        self.xtask = f"{self.work}/xtask"
        shutil.copy2(binary, self.xtask)
        self.stack = f"{self.work}/stack"
        os.makedirs(f"{self.work}/home")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": f"{self.work}/home", "LC_ALL": "C", "TMPDIR": f"{self.work}/home",
            "XDG_CACHE_HOME": f"{self.work}/cache", "RESTIC_PASSWORD": "bench", "RUSTIC_PASSWORD": "bench",
            "BORG_BASE_DIR": f"{self.work}/borg", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "RUSTIC_NO_PROGRESS": "true",
        }
        self.plain(["git", "init", "--quiet", self.stack])
        self.data = self.expected = None
        self.tools = {name: shutil.which(name) for name in ("git", "tar", "gzip", *PEERS, *FAST, *WATCHERS)}
        for name in ("git", "tar", "gzip"):
            if not self.tools[name]:
                sys.exit(f"needs {name}")

    def has(self, name):
        return self.tools.get(name) is not None

    def plain(self, *pipeline, out=None):
        """Runs what is not measured."""
        return measure.run(list(pipeline), self.work, self.environment, out or f"{self.work}/out", f"{self.work}/log")

    def remove(self, *paths):
        for path in paths:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)

    # --- What is measured on ---

    def generate(self, name, *arguments):
        """A folder or file of the generator, in a process of its own."""
        path = f"{self.work}/source/{name}"
        self.plain([sys.executable, "-B", f"{HERE}/data.py", arguments[0], path, *map(str, arguments[1:])])
        return path

    def take_data(self, given, files, megabytes):
        """The data: what was given, copied here where it lies elsewhere; else a tree that is made."""
        if given is None:
            say(f"making a tree of {megabytes} MB in {files} files")
            self.data = self.generate("mixed", "tree", files, megabytes)
        else:
            self.data = os.path.abspath(given)
            if os.stat(self.data).st_dev != os.stat(self.work).st_dev:
                say(f"copying {given} to {self.room}")
                os.makedirs(f"{self.work}/source")
                self.plain(["cp", "-a", self.data, f"{self.work}/source/"])
                self.data = f"{self.work}/source/{os.path.basename(self.data)}"
        self.expected = right.elsewhere("tree", self.data)

    @property
    def name(self):
        return os.path.basename(self.data)

    # --- What is made once, where no job has made it yet ---

    def backup(self, codec, dest, data=None):
        """Our command."""
        return [self.xtask, "-C", self.stack, "backup", "--source", data or self.data, "--dest", dest,
                "--compression", codec, "--json"]

    def archive(self, codec):
        """Our archive of the data."""
        dest = f"{self.work}/ours.{codec}"
        if not os.path.isdir(dest):
            say(f"making the {codec} archive")
            self.plain(self.backup(codec, dest))
        return archive_in(dest)

    def repository(self, peer, first=True):
        """A peer's repository that holds the data once; anew and empty without `first`."""
        path = f"{self.work}/{peer}.repository"
        if not first or not os.path.isdir(path):
            self.remove(path, f"{self.work}/cache/{peer}", *([f"{self.work}/borg"] if peer == "borg" else []))
            self.plain(self.init(peer, path))
            if first:
                say(f"making the repository of {peer}")
                self.plain(self.keep(peer))
        return path

    def init(self, peer, path):
        return {
            "restic": ["restic", "-r", path, "-q", "init", "--repository-version", "2"],
            "borg": ["borg", "init", "--encryption", "none", path],
            "rustic": ["rustic", "-r", path, "init"],
        }[peer]

    def keep(self, peer, label="first"):
        """A peer's command for a backup, run in the folder above the data where that matters."""
        path = f"{self.work}/{peer}.repository"
        return {
            "restic": ["restic", "-r", path, "-q", "backup", self.data],
            "borg": ["borg", "create", "--compression", "zstd,3", f"{path}::{label}", self.data],
            "rustic": ["rustic", "-r", path, "backup", self.data],
        }[peer]

    # --- What is said of the machine ---

    def machine(self):
        """Processor, cores, system, room: no names of hosts."""
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.work], capture_output=True, text=True).stdout.strip()
        return {
            "processor": models[0] if models else platform.machine(),
            "cores": len(self.cores),
            "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
            "room": f"{self.room} ({kind})",
            "load": os.getloadavg()[0],
            "floor": measure.floor(),
        }

    def versions(self):
        """The number that each tool gives itself."""
        found = {"xtask": self.version_of([self.xtask, "--version"])}
        for name, path in self.tools.items():
            if path and name not in ("libdeflate-gunzip", *WATCHERS):
                found[name] = self.version_of(VERSION_OF.get(name, [name, "--version"]))
        return found

    def version_of(self, argv):
        done = subprocess.run(argv, capture_output=True, text=True, env=self.environment)
        number = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
        return number.group() if number else "unknown"

    def missing(self):
        """How to install the peers that are not there."""
        names = [name for name in PEERS if not self.has(name)]
        if not names:
            return None
        packages = [PEERS[name] for name in names if PEERS[name]]
        ways = [f"apt-get install {' '.join(packages)} (or dnf, apk, pacman)"] if packages else []
        if "rustic" in names:
            ways.append("cargo install rustic-rs --locked")
        return f"not measured, because not installed: {', '.join(names)}; to install: {'; '.join(ways)}"


def write_json(where, document):
    """To a file, or to standard output for `-`."""
    text = json.dumps(document, indent=2) + "\n"
    if where == "-":
        sys.stdout.write(text)
    else:
        with open(where, "w", encoding="utf-8") as file:
            file.write(text)
