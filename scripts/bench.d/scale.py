"""What happens when there is more: the cost of a file at 1, 4 and 16 times as many; memory at a million files and at
10 GB. And `limits`: how fast this machine hashes, packs, reads and writes, which is what no tool can beat.
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


def growing(world, rounds):
    """Seconds a file at 1, 4 and 16 parts."""
    rows, found, top = [], [], f"{world.work}/source/grown"
    for times in TIMES:
        for part in range(len(os.listdir(top)) if os.path.isdir(top) else 0, times):
            say(f"making part {part + 1} of {TIMES[-1]}")
            world.generate(f"grown/part-{part}", "tree", *PART, part + 1)
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


def memory(world):
    """The peaks on a million files and on 10 GB, each once, with both codecs where that is cheap."""
    rows, found = [], []
    for label, codecs, make in (
        ("1,000,000 empty files", ("gzip", "zstd"), lambda: world.generate("empty", "empty", 1_000_000)),
        ("10 GB in many files", ("zstd",), lambda: copies(world)),
        ("one file of 10 GB", ("gzip", "zstd"), lambda: big(world)),
    ):
        say(f"making {label}")
        path = make()
        subject = Subject(world, path, label)
        for codec in codecs:
            say(f"  {label}, {codec}")
            costs = subject.round(codec, source_goes=codec == codecs[-1])
            for verb, cost in costs.items():
                found.append({"what": label, "codec": codec, "verb": verb, "wall": cost.wall, "peak": cost.peak})
                rows.append([f"{label}: {verb} {codec}", f"{subject.expected['files']:,}", table.seconds(cost.wall),
                             table.seconds(cost.cpu), table.peak_of(cost.peak, measure.floor())])
        world.remove(f"{world.work}/source")
    return found, table.markdown(["", "files", "s", "CPU s", "peak MB"], rows)


def copies(world):
    """10 GB in some 340,000 files: the mixed tree again and again, each time under another folder."""
    first = world.generate("many/copy-0", "tree", 25_000, 800)
    for n in range(1, 13):
        world.plain(["cp", "-a", first, f"{os.path.dirname(first)}/copy-{n}"])
    return os.path.dirname(first)


def big(world):
    """One file of 10 GB in a folder."""
    return os.path.dirname(world.generate("one/big", "big", 10_000))


def scale(world, given):
    """Both, as a document; what is not linear, and what takes too much, is in its ratios."""
    grown, text = growing(world, given.rounds)
    if given.json != "-":
        print("\n" + text, flush=True)
    most, text = memory(world)
    if given.json != "-":
        print("\n" + text, flush=True)
    first, last = grown[0], grown[-1]
    ratios = []
    for verb in first["cpu"]:
        each = [one["cpu"][verb] / one["files"] for one in (first, last)]
        ratios.append({"what": f"{verb}: CPU a file, 16x / 1x", "of": "CPU", "ratio": each[1] / each[0],
                       "bar": None if given.no_bars else LINEAR})
    peak = max(one["peak"] for one in most)
    ratios.append({"what": "peak memory, of 200 MB", "of": "memory", "ratio": peak / jobs.BAR_MEMORY,
                   "bar": None if given.no_bars else 1.0})
    return {"grown": grown, "memory": most, "groups": [], "ratios": ratios}


# --- Limits ---


def fastest(world, rounds, *pipeline, out=None):
    """CPU seconds of the cheapest of some runs."""
    return min(world.plain(*pipeline, out=out).cpu for _ in range(rounds))


def parts(world, rounds):
    """CPU seconds of each thing that must be done with the data, by the fastest tool that is there, on one core."""
    tar, above = f"{world.work}/whole.tar", os.path.dirname(world.data)
    world.plain(["tar", "-C", above, "-c", world.name], out=tar)
    digest = ["openssl", "dgst", "-sha256"] if world.has("openssl") else ["sha256sum"]
    gzip = ["libdeflate-gzip", "-6"] if world.has("libdeflate-gzip") else ["gzip", "-6"]
    gunzip = ["libdeflate-gunzip"] if world.has("libdeflate-gunzip") else ["gzip", "-d"]
    null = "/dev/null"
    found = {
        "walk": ([["find", world.data, "-printf", "%s"]], null),
        "read": ([["find", world.data, "-type", "f", "-exec", "cat", "{}", "+"]], null),
        "hash": ([[*digest, tar]], null),
        "gzip": ([[*gzip, "-c", tar]], f"{world.work}/whole.gz"),
        "gunzip": ([[*gunzip, "-c", f"{world.work}/whole.gz"]], null),
    }
    if world.has("zstd"):
        found["zstd"] = ([["zstd", "-q", "-3", "-T1", "-c", tar]], f"{world.work}/whole.zst")
        found["unzstd"] = ([["zstd", "-qdc", f"{world.work}/whole.zst"]], null)
    costs, tools = {}, {}
    for name, (pipeline, out) in found.items():
        say(f"  {name}")
        costs[name] = fastest(world, rounds, *pipeline, out=out)
        tools[name] = " ".join(word for word in pipeline[0] if "/" not in word and "{" not in word)
    say("  write")
    writes = []
    for _ in range(rounds):
        writes.append(world.plain(["tar", "-C", f"{world.work}/home", "-xf", tar]).cpu)
        world.remove(f"{world.work}/home/{world.name}")
    costs["write"], tools["write"] = min(writes), "tar -xf"
    sizes = {"tar": os.path.getsize(tar)}
    for codec, ending in (("gzip", "gz"), ("zstd", "zst")):
        if os.path.exists(f"{world.work}/whole.{ending}"):
            sizes[codec] = os.path.getsize(f"{world.work}/whole.{ending}")
    return costs, tools, sizes


# What each job cannot do without; `packed` is one digest of the archive. The format has two digests of each byte of the
# stream (of the block, of the entry's content) and one of each byte of the archive. A backup reads its archive back.
NEEDS = {
    "backup gzip": ["walk", "read", "hash", "hash", "gzip", "packed gzip", "packed gzip"],
    "backup zstd": ["walk", "read", "hash", "hash", "zstd", "packed zstd", "packed zstd"],
    "verify gzip": ["packed gzip", "gunzip", "hash", "hash"],
    "verify zstd": ["packed zstd", "unzstd", "hash", "hash"],
    "restore gzip": ["packed gzip", "gunzip", "hash", "hash", "write"],
    "restore zstd": ["packed zstd", "unzstd", "hash", "hash", "write"],
    "unchanged zstd": ["walk"],
}


def limits(world, given):
    """The parts, what they add up to for each job, and how far from it we are."""
    world.take_data(given.data, *((2_500, 60) if given.quick else (25_000, 800)))
    costs, tools, sizes = parts(world, given.rounds)
    for codec in ("gzip", "zstd"):
        if codec in sizes:
            costs[f"packed {codec}"] = costs["hash"] * sizes[codec] / sizes["tar"]
    world.remove(f"{world.work}/whole.tar", f"{world.work}/whole.gz", f"{world.work}/whole.zst")
    rows = [[name, tools[name], table.seconds(cost), f"{world.expected['bytes'] / cost / 1e6:,.0f}"]
            for name, cost in costs.items() if name in tools]
    lines = [table.markdown(["part", "with", "CPU s", "MB/s"], rows)]
    rows, found = [], []
    for make in (jobs.backup, jobs.verify, jobs.restore, jobs.unchanged):
        group = make(world)
        for job in group.jobs:
            needs = NEEDS.get(job.name)
            if not job.ours or needs is None or any(need not in costs for need in needs):
                continue
            least = sum(costs[need] for need in needs) / len(world.cores)
            runs = []
            for turn in range(given.rounds):
                say(f"  round {turn + 1}: {job.name}")
                job.before(turn)
                runs.append(world.plain(*job.pipeline(turn)))
                job.after()
            wall, cpu = (measure.median([getattr(run, of) for run in runs]) for of in ("wall", "cpu"))
            found.append({"job": job.name, "needs": needs, "least": least, "wall": wall, "cpu": cpu})
            rows.append([job.name, " + ".join(needs), table.seconds(least), table.seconds(wall),
                         table.seconds(cpu / len(world.cores)), f"{wall / least:.2f}"])
    lines.append(table.markdown(["job", "cannot do without", "least s", "s", "CPU s / cores", "s / least"], rows))
    if given.json != "-":
        print("\n" + "\n\n".join(lines))
    return {"parts": costs, "tools": tools, "limits": found, "groups": [], "ratios": []}
