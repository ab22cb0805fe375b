"""What happens when there is more: the cost of a file at 1, 4 and 16 times as many; memory at a million files and at
10 GB. Each part of what is measured is checked: counts, and the trees that come back.
"""
import os

import jobs
import measure
import right
import table
from world import archive_in, say

MB = 1_000_000
PART = (25_000, 100)  # files and MB of one part of a growing tree
TIMES = (1, 4, 16)
LINEAR = 1.3  # what a file may cost at 16 times as many, of what it cost before
ROOM = 15_500 * MB  # 10 GB, once as they are and once packed


class Subject:
    """One source; runs our jobs on it."""

    def __init__(self, world, path, label):
        self.world, self.path, self.label = world, path, label
        self.dest, self.back = f"{world.work}/subject", f"{world.work}/back"
        self.expected = right.elsewhere("tree", path)

    def job(self, argv):
        """Runs ours, gives its cost; all it says must be well."""
        world = self.world
        out = f"{world.work}/answer"
        cost = measure.run([argv], world.work, world.environment, out, f"{world.work}/log")
        document = jobs.ok(out)
        entries = document["sets"][0]["entries"] if "sets" in document else document["entries"]
        right.demand(entries == self.expected["entries"], f"{argv[3]}: {entries} entries")
        return cost

    def round(self, codec, source_goes=False):
        """Backup, verify and restore; the tree that comes back is compared."""
        world = self.world
        world.remove(self.dest, f"{world.stack}/.recovery")
        costs = {"backup": self.job(world.backup(codec, self.dest, self.path))}
        archive = archive_in(self.dest)
        costs["verify"] = self.job([world.xtask, "-C", world.stack, "verify", archive, "--json"])
        if source_goes:
            world.remove(self.path)
        costs["restore"] = self.job([world.xtask, "-C", world.stack, "restore", archive, "--to", self.back, "--json"])
        right.same_tree(f"{self.back}/{os.path.basename(self.path)}", self.expected, "exact")
        world.remove(self.back, self.dest)
        return costs


def growing(world, rounds, part_of):
    """Seconds a file at 1, 4 and 16 parts."""
    rows, found, top = [], [], f"{world.work}/source/grown"
    for times in TIMES:
        for part in range(len(os.listdir(top)) if os.path.isdir(top) else 0, times):
            say(f"making part {part + 1} of {TIMES[-1]}")
            world.generate(f"grown/part-{part}", "tree", *(n // part_of for n in PART), part + 1)
        subject = Subject(world, top, f"{times}x")
        costs = []
        for turn in range(rounds):
            say(f"  {subject.label}, round {turn + 1}")
            costs.append(subject.round("zstd"))
        files = subject.expected["files"]
        walls = {verb: measure.median([cost[verb].wall for cost in costs]) for verb in costs[0]}
        cpus = {verb: measure.median([cost[verb].cpu for cost in costs]) for verb in costs[0]}
        peaks = {verb: max(cost[verb].peak for cost in costs) for verb in costs[0]}
        found.append({"times": times, "files": files, "wall": walls, "cpu": cpus, "peak": peaks})
        for verb in walls:
            micros = (f"{seconds[verb] / files * 1e6:.1f}" for seconds in (walls, cpus))
            rows.append([f"{verb}, {times}x", f"{files:,}", table.seconds(walls[verb]), *micros,
                         table.peak_of(peaks[verb], measure.floor())])
    world.remove(top)
    return found, table.markdown(["zstd", "files", "s", "µs a file", "CPU µs a file", "peak MB"], rows)


def memory(world, part_of):
    """The peaks on a million files and on 10 GB, each once, with both codecs where that is cheap."""
    rows, found = [], []
    for label, codecs, make in (
        ("empty files", ("gzip", "zstd"), lambda: world.generate("empty", "empty", 1_000_000 // part_of)),
        ("many files", ("zstd",), lambda: copies(world, part_of)),
        ("one file", ("gzip", "zstd"), lambda: os.path.dirname(world.generate("one/big", "big", 10_000 // part_of))),
    ):
        for codec in codecs:
            say(f"making {label}, for {codec}")
            subject = Subject(world, make(), label)
            # There is room for the source once: it goes before the restored tree comes.
            costs = subject.round(codec, source_goes=True)
            for verb, cost in costs.items():
                found.append({"what": label, "codec": codec, "verb": verb, "wall": cost.wall, "peak": cost.peak})
                rows.append([f"{label}: {verb} {codec}", f"{subject.expected['files']:,}",
                             table.megabytes(subject.expected["bytes"]), table.seconds(cost.wall),
                             table.seconds(cost.cpu), table.peak_of(cost.peak, measure.floor())])
            world.remove(f"{world.work}/source")
    return found, table.markdown(["", "files", "MB", "s", "CPU s", "peak MB"], rows)


def copies(world, part_of):
    """10 GB in some 340,000 files: the mixed tree again and again, each time under another folder."""
    first = world.generate("many/copy-0", "tree", 25_000 // part_of, 800 // part_of)
    for n in range(1, 13):
        world.plain(["cp", "-a", first, f"{os.path.dirname(first)}/copy-{n}"])
    return os.path.dirname(first)


def scale(world, given):
    """Both, as a document; what is not linear, and what takes too much, is in its ratios."""
    part_of, judge = 50 if given.quick else 1, not (given.no_bars or given.quick)
    grown, text = growing(world, given.rounds, part_of)
    if given.json != "-":
        print("\n" + text, flush=True)
    most, text = memory(world, part_of)
    if given.json != "-":
        print("\n" + text, flush=True)
    first, last = grown[0], grown[-1]
    ratios = []
    for verb in first["cpu"]:
        each = [one["cpu"][verb] / one["files"] for one in (first, last)]
        ratios.append({"what": f"{verb}: CPU a file, 16x / 1x", "of": "CPU", "ratio": each[1] / each[0],
                       "bar": LINEAR, "judged": judge})
    peak = max(one["peak"] for one in most)
    ratios.append({"what": "peak memory, of 200 MB", "of": "memory", "ratio": peak / jobs.BAR_MEMORY,
                   "bar": 1.0, "judged": judge})
    return {"grown": grown, "memory": most, "groups": [], "ratios": ratios}
