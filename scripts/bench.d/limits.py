"""How fast this machine hashes, packs, reads and writes with the fastest tools that are there, which of that each of
our jobs cannot do without, and how far from it we are.
"""
import os

import jobs
import measure
import table
from world import say

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
    lines = [table.markdown(["part", "with", "CPU s", "MB/s"], rows, left=2)]
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
    header = ["job", "cannot do without", "least s", "s", "CPU s / cores", "s / least"]
    lines.append(table.markdown(header, rows, left=2))
    if given.json != "-":
        print("\n" + "\n\n".join(lines))
    return {"parts": costs, "tools": tools, "limits": found, "groups": [], "ratios": []}
