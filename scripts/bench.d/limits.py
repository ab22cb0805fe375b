"""How fast this machine hashes, packs, reads and writes with the fastest tools that are there, which of that each of
our jobs cannot do without, and how far from it we are.
"""
import os

import jobs
import measure
import table
from world import say


def parts(world, rounds):
    """CPU seconds of each thing that must be done with the data, by the fastest tool that is there, on one core.

    What a tool takes to read its input is taken off, and its output goes nowhere.
    """
    tar, above = f"{world.work}/whole.tar", os.path.dirname(world.data)
    packed = {"gzip": f"{world.work}/whole.gz", "zstd": f"{world.work}/whole.zst"}
    world.plain(["tar", "-C", above, "-c", world.name], out=tar)
    digest = ["openssl", "dgst", "-sha256"] if world.has("openssl") else ["sha256sum"]
    gzip = ["libdeflate-gzip", "-5"] if world.has("libdeflate-gzip") else ["gzip", "-6"]
    gunzip = ["libdeflate-gunzip"] if world.has("libdeflate-gunzip") else ["gzip", "-d"]
    found = {
        "walk": (["find", world.data, "-printf", "%s"], None),
        "read": (["find", world.data, "-type", "f", "-exec", "cat", "{}", "+"], None),
        "hash": ([*digest, tar], tar),
        "gzip": ([*gzip, "-c", tar], tar),
        "gunzip": ([*gunzip, "-c", packed["gzip"]], packed["gzip"]),
        "write": (["tar", "-C", f"{world.work}/home", "-xf", tar], tar),
    }
    world.plain([*gzip, "-c", tar], out=packed["gzip"])
    if world.has("zstd"):
        found["zstd"] = (["zstd", "-q", "-3", "--single-thread", "-c", tar], tar)
        found["unzstd"] = (["zstd", "-qdc", packed["zstd"]], packed["zstd"])
        world.plain(["zstd", "-q", "-3", "-c", tar], out=packed["zstd"])
    costs, tools = {}, {}
    for name, (argv, source) in found.items():
        say(f"  {name}")
        taken = []
        for _ in range(rounds):
            cost = world.plain(argv, out="/dev/null").cpu
            reading = world.plain(["dd", f"if={source}", "bs=128k"], out="/dev/null").cpu if source else 0
            taken.append(cost - reading)
            world.remove(f"{world.work}/home/{world.name}")
        costs[name] = max(min(taken), 0.001)
        tools[name] = " ".join(word for word in argv if "/" not in word and "{" not in word)
    sizes = {name: os.path.getsize(path) for name, path in packed.items() if os.path.exists(path)}
    return costs, tools, {"tar": os.path.getsize(tar), **sizes}


# What a job cannot do without; `packed` is one digest of the archive. Every byte of the stream has one digest at least.
# (The format has two, of its block and of its entry. Both can be made in one pass, where the second costs little.)
NEEDS = {
    "backup gzip": ["walk", "read", "hash", "gzip", "packed gzip"],
    "backup zstd": ["walk", "read", "hash", "zstd", "packed zstd"],
    "verify gzip": ["packed gzip", "gunzip", "hash"],
    "verify zstd": ["packed zstd", "unzstd", "hash"],
    "restore gzip": ["gunzip", "hash", "write"],
    "restore zstd": ["unzstd", "hash", "write"],
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
