"""Runs real processes and says what they cost: wall time, processor time, the memory of the largest one.

The figures are the kernel's own (`wait4`), for each process and the children that it waited for. A process starts as a
copy of this one, so no peak below the memory of this Python (`floor` in the JSON, some 20 MB) can be seen; for that
reason nothing large is ever held here.
"""
import os
import statistics
import subprocess
import time
from dataclasses import dataclass


class Failed(Exception):
    """A command ended otherwise than well."""


@dataclass
class Cost:
    """Of one run of one command, with all its processes."""

    wall: float  # seconds, from the first start to the last end
    cpu: float  # seconds, user and system, of all processes
    peak: int  # bytes, of the largest process


def run(pipeline, folder, environment, out, errors):
    """Runs processes, each one's output the next one's input; the last writes to the file `out`."""
    processes = []
    try:
        with open(out, "wb") as end, open(errors, "wb") as log:
            began = time.perf_counter()
            feed = subprocess.DEVNULL
            for argv in pipeline:
                goes_to = end if argv is pipeline[-1] else subprocess.PIPE
                process = subprocess.Popen(
                    argv, stdin=feed, stdout=goes_to, stderr=log, cwd=folder, env=environment
                )
                if processes:
                    feed.close()
                feed = process.stdout
                processes.append(process)
            cost, failures = waited_for(processes)
            cost.wall = time.perf_counter() - began
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
    if failures:
        with open(errors, "rb") as log:
            tail = log.read()[-2000:].decode(errors="replace")
        raise Failed("; ".join(failures) + "\n" + tail)
    return cost


def waited_for(processes):
    """What processes cost in the end, and which of them failed."""
    cost, failures = Cost(0.0, 0.0, 0), []
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cost.cpu += used.ru_utime + used.ru_stime
        cost.peak = max(cost.peak, used.ru_maxrss * 1024)
        if process.returncode != 0:
            failures.append(f"{' '.join(process.args)} ended with {process.returncode}")
    return cost, failures


def floor():
    """The least peak that can be seen, in bytes."""
    pid = os.posix_spawnp("true", ["true"], os.environ)
    return os.wait4(pid, 0)[2].ru_maxrss * 1024


def median(values):
    return statistics.median(values)


def size_of(path):
    """Bytes in a file, or in all files beneath a folder."""
    if not os.path.isdir(path):
        return os.lstat(path).st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names
    )
