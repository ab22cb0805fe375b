"""Where the processor time of our jobs goes: shares of kinds of work and the largest functions by perf, and the system
calls by strace.

perf samples 499 times a second. A function belongs to the first kind in KINDS whose pattern is found in its name, else
to the program that it ran in. Without perf, or where the kernel forbids it, the run says so and ends.
"""
import os
import re

import jobs
import right
import table
from world import say

KINDS = (
    ("hash", r"sha2|sha256"),
    ("CRC", r"crc32|xxh|XXH"),
    ("decompress", r"decompress|inflate|ZSTD_(exec|decode|buildSeq|buildFSE|get)|HUF_read|HUF_dec|writer::Writer"),
    ("compress", r"ZSTD_|HIST_|HUF_|FSE_|deflate|longest_match|fill_window|huffman|matchfinder|compress"),
)


def kind_of(command, place, symbol):
    """Which kind of work a function does."""
    if place.startswith("[") and not place.startswith("[vdso"):
        return "kernel" if command == "xtask" else f"kernel for {command}"
    if command != "xtask":
        return command
    for kind, pattern in KINDS:
        if re.search(pattern, symbol):
            return kind
    return "the rest of ours"


def shares(world, argv):
    """Shares of kinds, and of functions, in percent."""
    data, out = f"{world.work}/perf", f"{world.work}/perf.txt"
    world.plain(["perf", "record", "-q", "-F", "499", "-o", data, "--", *argv])
    fields = ["-F", "overhead,comm,dso,sym", "-t", "|"]
    world.plain(["perf", "report", "-i", data, "--stdio", "--no-children", *fields], out=out)
    kinds, functions = {}, []
    with open(out, encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = [field.strip() for field in line.split("|")]
            if line.startswith("#") or len(fields) < 4 or not fields[0].endswith("%"):
                continue
            share, command, place, symbol = float(fields[0][:-1]), *fields[1:4]
            symbol = re.sub(r"^\[.\] |\.(constprop|isra|part)\.\d+|<.*>", "", symbol).strip(":")
            kind = kind_of(command, place, symbol)
            kinds[kind] = kinds.get(kind, 0.0) + share
            functions.append((share, "::".join(symbol.split("::")[-2:])))
    world.remove(data, out)
    return kinds, functions


def calls(world, argv):
    """How often the most frequent system calls were made."""
    if not world.has("strace"):
        return {}
    out = f"{world.work}/strace.txt"
    world.plain(["strace", "-f", "-c", "-U", "calls,name", "-S", "calls", "-o", out, *argv])
    with open(out, encoding="utf-8") as file:
        pairs = [line.split() for line in file]
    world.remove(out)
    return {pair[1]: int(pair[0]) for pair in pairs if len(pair) == 2 and pair[0].isdigit() and pair[1] != "total"}


def profile(world, given):
    """All of our jobs once under perf, and once under strace."""
    right.demand(world.has("perf"), "needs perf (the package linux-perf, or linux-tools)")
    world.take_data(given.data, *((2_500, 60) if given.quick else (25_000, 800)))
    rows, counts, found = [], [], []
    makers = [jobs.backup, jobs.verify, jobs.restore, jobs.unchanged, jobs.one_file]
    if given.repo:
        makers.insert(0, lambda world: jobs.snapshot(world, given.repo, False))
    for make in makers:
        for job in make(world).jobs:
            if not job.ours:
                continue
            say(f"  {job.name}")
            job.before(0)
            kinds, functions = shares(world, job.pipeline(0)[0])
            job.after()
            job.before(0)
            made = calls(world, job.pipeline(0)[0])
            job.after()
            found.append({"job": job.name, "kinds": kinds, "functions": functions[:20], "calls": made})
            parts = ", ".join(f"{kind} {share:.0f}" for kind, share in sorted(kinds.items(), key=lambda one: -one[1])
                              if share >= 1.5)
            largest = ", ".join(f"`{name}` {share:.0f}" for share, name in functions[:4])
            rows.append([job.name, parts, largest])
            counts.append([job.name, ", ".join(f"{name} {count:,}" for name, count in list(made.items())[:7])])
    if given.json != "-":
        print("\n" + table.markdown(["% of CPU time", "by kind", "largest functions"], rows, left=3))
        if world.has("strace"):
            print("\n" + table.markdown(["", "system calls"], counts, left=2))
    return {"profiles": found, "groups": [], "ratios": []}
