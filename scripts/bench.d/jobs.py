"""What is measured: the commands, what each leaves behind, what makes it right, and the bars.

A group is jobs that do the same work. Ours come with `ours=True`; a peer names the job of ours that it is compared with
in `against`. Peers read our archives where they read archives at all, which proves that they can.
"""
import glob
import os
from dataclasses import dataclass, field
from typing import Callable

import measure
import right
from right import demand


def nothing(*_):
    """No step here."""


@dataclass
class Job:
    """One command of a group."""

    name: str
    pipeline: Callable  # round → list of argv; may make what it reads, which is not measured
    ours: bool = False
    against: str = ""  # of a peer: the job of ours
    bars: dict = field(default_factory=dict)  # "time", "size": the ratio that may not be passed
    before: Callable = nothing  # not measured: clears and prepares; round
    check: Callable = nothing  # not measured: raises Wrong; round, file with the output
    after: Callable = nothing  # not measured: clears
    out: str = ""  # where standard output goes
    folder: str = ""  # where it runs
    size: Callable = None  # bytes of the archive; of the repository for a peer that has one
    written: Callable = None  # bytes of all that was left behind, where that is more
    whole: bool = False  # of a peer: what it left is compared with all that ours left


@dataclass
class Group:
    title: str
    bytes: int  # that each job works through
    jobs: list
    judged: bool = True  # whether its bars count, or are for information


# What git's own source has for its tests, and what no release should hold without a word.
HARMLESS = '["t/lib-gpg/gpgsm_cert.p12"]'

BAR_MEMORY = 200_000_000  # bytes, the peak of any of ours


def ok(path, status="ok"):
    """The document of a run of ours that ended as it should."""
    document = right.answer(path)
    demand(document["status"] == status, f"status is {document['status']!r}, not {status!r}")
    return document


def snapshot(world, repo, judged):
    """A bundle of a commit."""
    clone, bundle, config = f"{world.work}/clone", f"{world.work}/bundle", f"{world.work}/release.toml"
    with open(config, "w") as file:
        file.write(f"schema = 1\n[release]\nallow-secrets = {HARMLESS}\n")
    world.plain(["git", "clone", "--quiet", "--no-hardlinks", os.path.abspath(repo), clone])
    # As every clone is that somebody works in: git has seen once that its files are those of the commit.
    world.plain(["git", "-C", clone, "status", "--short"])
    world.plain(["git", "-C", clone, "archive", "HEAD"], out=f"{world.work}/head.tar")
    size = os.path.getsize(f"{world.work}/head.tar")
    unpacked = f"{world.work}/head"
    os.makedirs(unpacked)
    world.plain(["tar", "-C", unpacked, "-xf", f"{world.work}/head.tar"])
    expected = right.elsewhere("tree", unpacked)
    world.remove(unpacked, f"{world.work}/head.tar")

    def check(_, out):
        tarball = ok(out, "created")["tarball"]
        os.makedirs(unpacked)
        world.plain(["tar", "-C", unpacked, "-xzf", tarball])
        # Submodules are empty folders in one and absent in the other.
        found = right.elsewhere("tree", unpacked)
        world.remove(unpacked)
        for key in ("tracked", "files", "bytes"):
            demand(found[key] == expected[key], f"the bundle and git archive differ in: {key}")

    def peer(packer):
        out = f"{world.work}/peer.tar.gz"
        return Job(
            f"git archive, {packer[0]}", lambda _: [["git", "-C", clone, "archive", "HEAD"], packer],
            against="snapshot", out=out, size=lambda: os.path.getsize(out), after=lambda: world.remove(out),
        )

    ours = [world.xtask, "-C", clone, "--config", config, "snapshot", "--output-dir", bundle, "--json"]
    jobs = [
        Job(
            "snapshot", lambda _: [ours], ours=True,
            before=lambda _: world.remove(bundle, f"{clone}/.recovery"), check=check,
            size=lambda: os.path.getsize(glob.glob(f"{bundle}/*.tar.gz")[0]),
            written=lambda: measure.size_of(bundle),
        ),
        peer(["gzip", "-n", "-6"]),
    ]
    if world.has("pigz"):
        jobs.append(peer(["pigz", f"-p{len(world.cores)}", "-n", "-6"]))
        jobs[-1].bars = {"time": 0.60, "size": 1.02}
    return Group(f"snapshot of a commit with {expected['files']:,} files", size, jobs, judged)


def backup(world):
    """A first backup."""
    above, cores = os.path.dirname(world.data), len(world.cores)

    def ours(codec):
        dest = f"{world.work}/ours.{codec}"

        def check(_, out):
            demand(ok(out)["sets"][0]["entries"] == world.expected["entries"], "not every entry is in the backup")
            if world.has(codec):
                right.same_list(world.archive(codec), codec, world.data, world.work)

        return Job(
            f"backup {codec}", lambda _: [world.backup(codec, dest)], ours=True, check=check,
            before=lambda _: world.remove(dest, f"{world.stack}/.recovery"),
            size=lambda: os.path.getsize(world.archive(codec)), written=lambda: measure.size_of(dest),
        )

    def peer(packer, against, bars=None):
        out = f"{world.work}/peer.tar"
        return Job(
            f"tar, {' '.join(packer[:2])}", lambda _: [["tar", "-C", above, "-c", world.name], packer], out=out,
            against=against, bars=bars or {}, size=lambda: os.path.getsize(out), after=lambda: world.remove(out),
        )

    jobs = [ours("gzip"), peer(["gzip", "-6"], "backup gzip")]
    if world.has("pigz"):
        jobs.append(peer(["pigz", "-6", f"-p{cores}"], "backup gzip", {"time": 0.52, "size": 1.02}))
    jobs.append(ours("zstd"))
    if world.has("zstd"):
        jobs.append(peer(["zstd", "-3", f"-T{cores}", "-q"], "backup zstd", {"time": 0.95, "size": 1.02}))
    for name in repositories(world):
        jobs.append(Job(
            f"{name}, first", lambda _, name=name: [world.keep(name)], against="backup zstd",
            before=lambda _, name=name: world.repository(name, first=False),
            size=lambda name=name: measure.size_of(f"{world.work}/{name}.repository"), whole=True,
            bars={"time": 0.24, "size": 0.77} if name == "restic" else {},
        ))
    return Group("backup", world.expected["bytes"], jobs)


def repositories(world):
    return [name for name in ("restic", "borg", "rustic") if world.has(name)]


def restore(world):
    """Everything back, every byte checked."""
    back = f"{world.work}/back"

    def job(name, pipeline, precision, ours=False, **more):
        def check(_, out):
            if ours:
                demand(ok(out)["entries"] == world.expected["entries"], "not every entry was restored")
            tops = [f"{back}/{world.name}", back + world.data]
            right.same_tree(next((top for top in tops if os.path.isdir(top)), tops[0]), world.expected, precision)

        def before(_):
            world.remove(back)
            if not ours:
                os.makedirs(back)

        return Job(name, pipeline, ours=ours, before=before, check=check, after=lambda: world.remove(back), **more)

    def ours(codec):
        archive = world.archive(codec)
        argv = [world.xtask, "-C", world.stack, "restore", archive, "--to", back, "--json"]
        return job(f"restore {codec}", lambda _: [argv], "exact", ours=True)

    def tar(unpacker, against, bars=None):
        codec = against.split()[1]
        pipeline = [[*unpacker, world.archive(codec)], ["tar", "-C", back, "-xpf", "-"]]
        return job(f"{' '.join(unpacker)}, tar", lambda _: pipeline, "whole", against=against, bars=bars or {})

    jobs = [ours("gzip"), tar(["gzip", "-dc"], "restore gzip")]
    if world.has("pigz"):
        jobs.append(tar(["pigz", "-dc"], "restore gzip"))
    jobs.append(ours("zstd"))
    if world.has("zstd"):
        jobs.append(tar(["zstd", "-dcq"], "restore zstd", {"time": 0.80}))
    argv = {
        "restic": lambda path: ["restic", "-r", path, "-q", "restore", "latest", "--target", back],
        "borg": lambda path: ["borg", "extract", f"{path}::first"],
        "rustic": lambda path: ["rustic", "-r", path, "restore", f"latest:{world.data}", f"{back}/{world.name}"],
    }
    for name in repositories(world):
        jobs.append(job(
            f"{name} restore", lambda _, name=name: [argv[name](world.repository(name))], "content",
            against="restore zstd", folder=back,
            bars={"time": 0.35} if name == "restic" else {},
        ))
    return Group("restore", world.expected["bytes"], jobs)


def verify(world):
    """Every stored byte read and checked."""

    def ours(codec):
        def check(_, out):
            document = ok(out)
            demand(document["entries"] == world.expected["entries"], "not every entry was checked")
            demand(document["bytes"] == world.expected["bytes"], "not every byte was checked")
            demand(all(one["compared_with_manifest"] for one in document["artifacts"]), "no manifest was read")

        argv = [world.xtask, "-C", world.stack, "verify", world.archive(codec), "--json"]
        return Job(f"verify {codec}", lambda _: [argv], ours=True, check=check)

    jobs = [ours("gzip")]
    for name, argv, against, bars in (
        ("gzip", ["gzip", "-t"], "verify gzip", {}),
        ("pigz", ["pigz", "-t"], "verify gzip", {}),
        ("zstd", ["zstd", "-tq"], "verify zstd", {}),
    ):
        if world.has(name):
            pipeline = [[*argv, world.archive(against.split()[1])]]
            jobs.append(Job(" ".join(argv), lambda _, pipeline=pipeline: pipeline, against=against, bars=bars))
    jobs.insert(len(jobs) - 1 if world.has("zstd") else len(jobs), ours("zstd"))
    argv = {
        "restic": lambda path: ["restic", "-r", path, "-q", "check", "--read-data"],
        "borg": lambda path: ["borg", "check", "--verify-data", path],
        "rustic": lambda path: ["rustic", "-r", path, "check", "--read-data"],
    }
    for name in repositories(world):
        jobs.append(Job(
            f"{name} check", lambda _, name=name: [argv[name](world.repository(name))], against="verify zstd",
            bars={"time": 0.40} if name == "restic" else {},
        ))
    return Group("verify", world.expected["bytes"], jobs)


def unchanged(world):
    """A backup of what has not changed since the last one."""
    jobs = []
    for codec in ("gzip", "zstd"):
        dest = f"{world.work}/again.{codec}"
        world.plain(world.backup(codec, dest))

        def check(_, out):
            demand((status := right.answer(out)["sets"][0]["status"]) == "unchanged", f"status is {status!r}")

        jobs.append(Job(
            f"unchanged {codec}", lambda _, codec=codec, dest=dest: [world.backup(codec, dest)], ours=True, check=check
        ))
    for name in repositories(world):
        jobs.append(Job(
            f"{name}, again", lambda turn, name=name: [world.keep(name, f"again-{turn}")], against="unchanged zstd",
            before=lambda _, name=name: world.repository(name),
            bars={"time": 0.12} if name == "restic" else {},
        ))
    return Group("backup of unchanged data", world.expected["bytes"], jobs)


def one_file(world):
    """One file of about 10 kB, near the middle of the archive, out of everything."""
    path = right.elsewhere("middle", world.data)
    inside, back = f"{world.name}/{path}", f"{world.work}/back"
    with open(f"{world.data}/{path}", "rb") as file:
        content = file.read()

    def job(name, pipeline, ours=False, **more):
        def check(*_):
            found = [os.path.join(top, one) for top, _, names in os.walk(back) for one in names]
            demand(len(found) == 1, f"{len(found)} files came back")
            with open(found[0], "rb") as file:
                demand(file.read() == content, "the file differs")

        def before(_):
            world.remove(back)
            if not ours:
                os.makedirs(back)

        return Job(name, pipeline, ours=ours, before=before, check=check, after=lambda: world.remove(back), **more)

    def ours(codec):
        argv = [world.xtask, "-C", world.stack, "restore", world.archive(codec), "--to", back, "--json"]
        return job(f"one file, {codec}", lambda _: [[*argv, "--path", inside]], ours=True)

    jobs = [
        ours("gzip"),
        job("tar -xzf", lambda _: [["tar", "-C", back, "-xzf", world.archive("gzip"), inside]],
            against="one file, gzip", bars={"time": 0.03}),
        ours("zstd"),
    ]
    if world.has("zstd"):
        pipeline = [["zstd", "-dcq", world.archive("zstd")], ["tar", "-C", back, "-xf", "-", inside]]
        jobs.append(job("zstd -dc, tar", lambda _: pipeline, against="one file, zstd"))
    full = f"{world.data}/{path}"
    argv = {
        "restic": lambda at: ["restic", "-r", at, "-q", "restore", "latest", "--target", back, "--include", full],
        "borg": lambda at: ["borg", "extract", f"{at}::first", full.lstrip("/")],
        "rustic": lambda at: ["rustic", "-r", at, "restore", f"latest:{full}", back],
    }
    for name in repositories(world):
        jobs.append(job(
            f"{name}, one file", lambda _, name=name: [argv[name](world.repository(name))], against="one file, zstd",
            folder=back,
        ))
    return Group(f"one file of {len(content):,} bytes", len(content), jobs)
