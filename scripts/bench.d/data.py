"""Makes the trees that are measured: the same bytes on every machine, out of a seed.

Each byte comes from SHAKE-128 of a seed, each choice from `random.Random(seed).random()`, which Python promises to
keep. Nothing is downloaded. The bytes are made to compress as real ones do, to about 0.35 of their size with gzip:

- source text: words, the r-th most frequent with a weight of 1/r; phrases that come back in the file, and some in its
  folder; sizes are log-normal, most of them a few kB
- binaries: tables of little-endian numbers, instructions from a small set, strings, sections that come back; the small
  ones in three variants each, as a compiler leaves them for its levels
- logs: JSON lines and access logs, some MB each
- one SQLite database (its header names the SQLite that wrote it, so three bytes differ between versions)
- compressed files: text behind zlib (the one part that depends on a library), and bytes without any pattern as in
  pictures

Folders nest up to nine deep. Files are made in an order that is not that of their names. A few are empty, a few are
symbolic links; modes and times vary, times with nanoseconds.

As a program: `data.py tree DIR FILES MEGABYTES [SEED]`, `data.py empty DIR FILES`, `data.py big FILE MEGABYTES`.
"""
import array
import hashlib
import math
import os
import random
import sqlite3
import sys
import zlib

MB = 1_000_000
SLOTS = 65_536  # as many as two bytes tell apart
CONSONANTS, VOWELS = "bcdfghjklmnprstvw", "aeiou"


def stream(seed, size):
    """So many bytes without any pattern."""
    return hashlib.shake_128(seed.encode()).digest(size)


def numbers(seed, count, code="H"):
    """So many numbers of two (H) or four (I) bytes."""
    values = array.array(code)
    values.frombytes(stream(seed, count * values.itemsize))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def pick(choice, items):
    return items[int(choice() * len(items))]


def pool(pieces):
    """SLOTS references to pieces: the r-th piece has a share of about 1/r of them."""
    total = sum(1 / (rank + 2) for rank in range(len(pieces)))
    slots = []
    for rank, piece in enumerate(pieces):
        slots += [piece] * max(1, round(SLOTS / (rank + 2) / total))
    while len(slots) < SLOTS:
        slots.append(pieces[len(slots) % len(pieces)])
    return slots[:SLOTS]


class Texts:
    """The pieces that content is joined from."""

    def __init__(self):
        choice = random.Random(1).random
        words = []
        for _ in range(6000):
            syllables = 1 + int(choice() * choice() * 5)
            word = "".join(pick(choice, CONSONANTS) + pick(choice, VOWELS) for _ in range(syllables))
            words.append(word + (pick(choice, CONSONANTS) if choice() < 0.4 else ""))
        self.words = words
        self.code = self.marked(choice, (" ", "(", ")", ".", "_", " = ", ", ", ":\n", "\n    ", "\n\n"))
        self.prose = self.marked(choice, (" ", " ", " ", ", ", ". ", ".\n"))
        common = [bytes([int(choice() * 24), int(choice() * choice() * 200)]) for _ in range(400)]
        common += [stream(f"operand {n}", 1 + n % 4) for n in range(400)]
        self.instructions = pool(common)

    def marked(self, choice, marks):
        """A pool of words, each with a mark behind it."""
        return pool([(self.words[n * 2 // 3] + pick(choice, marks)).encode() for n in range(9000)])

    def phrases(self, seed, slots, count):
        """So many phrases of five words."""
        words = list(map(slots.__getitem__, numbers(f"{seed} words", count * 4 + 1)))
        return [b"".join(words[at : at + 5]) for at in range(0, count * 4, 4)]

    def text(self, seed, size, slots, shared=()):
        """So many bytes: words, and phrases, some shared and the others of these 24 kB alone."""
        made, left, n = [], size, 0
        while left > 0:
            near = self.phrases(f"{seed} {n}", slots, 128 - len(shared)) + [*shared]
            near += map(slots.__getitem__, numbers(f"{seed} single {n}", 128))
            part = b"".join(map(near.__getitem__, stream(f"{seed} {n}", min(left, 24_000) // 16 + 16)))
            made.append(part[:left])
            left -= len(part)
            n += 1
        return b"".join(made)

    def binary(self, seed, size):
        """Sections: a table of offsets, instructions, strings, and a piece of an earlier section."""
        parts, filled, n = [b"\x7fBIN\x02\x01" + bytes(10)], 16, 0
        while filled < size:
            room = max(256, min(65_536, size // 4))
            at, table = n * 4096, array.array("I")
            for step in numbers(f"{seed} table {n}", room // 20):
                at += 8 + (step & 0x18)
                table.append(at)
            if sys.byteorder == "big":
                table.byteswap()
            run = b"".join(map(self.instructions.__getitem__, numbers(f"{seed} run {n}", room // 16)))
            strings = self.text(f"{seed} strings {n}", room // 4, self.code).replace(b" ", b"\0")
            again = parts[len(parts) // 2][: room // 4]
            made = b"".join((table.tobytes(), run, strings, again, bytes(-len(run) % 64)))
            parts.append(made)
            filled += len(made)
            n += 1
        return b"".join(parts)[:size]

    def json_log(self, seed, size):
        """Lines such as a service writes."""
        lines = size // 95 + 1
        draws, at, made = iter(numbers(seed, lines * 4, "I")), 1_750_000_000_000, []
        for _ in range(lines):
            a, b, c, d = next(draws), next(draws), next(draws), next(draws)
            at += a % 997
            said = self.prose[b & 65535] + self.prose[b >> 16] + self.prose[c & 63]
            said = said.decode().strip().replace("\n", " ")
            level = ("info", "info", "info", "debug", "warn")[d % 5]
            made.append(
                f'{{"ts":{at},"level":"{level}","service":"{self.words[d % 40]}","request":"{d & 0xFF00:04x}",'
                f'"ms":{a % 200},"message":"{said}"}}\n'
            )
        return "".join(made).encode()[:size]

    def access_log(self, seed, size):
        """Lines such as a web server writes."""
        lines = size // 75 + 1
        draws, at, made = iter(numbers(seed, lines * 3, "I")), 0, []
        for _ in range(lines):
            a, b, c = next(draws), next(draws), next(draws)
            at += a % 3
            path = f"/{self.words[b % 20]}/{self.words[b % 300]}/{c % 700}"
            made.append(
                f"10.{a % 4}.{a % 16}.{c % 60} - - [{1 + at // 86400 % 28:02}/Nov/2025:{at // 3600 % 24:02}:"
                f'{at // 60 % 60:02}:{at % 60:02} +0000] "GET {path} HTTP/1.1" {(200, 200, 200, 304, 404)[b % 5]} '
                f"{b % 300 * 211}\n"
            )
        return "".join(made).encode()[:size]

    def packed(self, seed, size):
        """Text behind zlib."""
        source = self.text(seed, size * 5, self.code)
        while len(made := zlib.compress(source, 1)) < size:
            source += self.text(f"{seed} more", size, self.code)
        return made[:size]


def database(path, texts, size):
    """One SQLite database of about so many bytes, as a copy by `VACUUM` would be."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, session TEXT, at INTEGER, body TEXT, tag BLOB)")
    connection.execute("BEGIN")
    count = size // 520
    draws = numbers("database", count, "I")
    said = texts.text("database text", 4 * MB, texts.prose).decode()
    connection.executemany(
        "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
        (
            (n, f"session-{draw % (count // 20 + 1):06}", 1_700_000_000 + n * 7,
             said[draw % (4 * MB - 900):][: 120 + draw % 640], stream(f"tag {n}", 16))
            for n, draw in enumerate(draws)
        ),
    )
    connection.execute("CREATE INDEX by_session ON message (session, at)")
    connection.execute("COMMIT")
    connection.close()


def folders_below(top, count, choice, words):
    """Paths of so many nested folders, parents first."""
    found, depth = [top], {top: 0}
    while len(found) < count:
        parent = found[int(len(found) * choice())]
        if depth[parent] >= 8:
            continue
        path = f"{parent}/{pick(choice, words)}"
        if path not in depth:
            depth[path] = depth[parent] + 1
            found.append(path)
    return found


def planned(files, size, choice):
    """(kind, bytes) of each file: about so many bytes in so many files."""
    plan, share = [], {"packed": 0.045, "random": 0.045, "json": 0.17, "access": 0.12, "large": 0.1}
    largest = {"packed": 2 * MB, "random": 1 * MB, "json": 8 * MB, "access": 8 * MB, "large": 12 * MB}
    for kind, part in share.items():
        left = part * size
        while left > 0:
            one = min(int(left) + 1, int(min(largest[kind], part * size) * (0.05 + choice() * 0.95)))
            plan.append((kind, one))
            left -= one
    plan += [("empty", 0)] * (files // 250) + [("link", 0)] * (files // 400)
    small, left = max(0, files - len(plan) - 1), 0.52 * size
    draws = [math.exp(1.2 * (sum(choice() for _ in range(12)) - 6)) for _ in range(small)]
    draws = [draws[n - n % 3] if n % 6 < 3 else draw for n, draw in enumerate(draws)]
    scale = left / max(1, sum(draws))
    return plan + [("text" if n % 6 > 2 else SAME[n % 3], int(draw * scale)) for n, draw in enumerate(draws)]


SAME = ("binary", "first variant", "second variant")  # of one file, as a compiler leaves them
ENDS = {"text": ".py", "binary": ".pyc", SAME[1]: ".opt-1.pyc", SAME[2]: ".opt-2.pyc", "large": ".so",
        "json": ".jsonl", "access": ".log", "packed": ".z", "random": ".jpg", "empty": ".keep", "link": ".link"}


def variant(made, seed, changed):
    """The same with so many other bytes in every 1,500."""
    if changed == 0:
        return made
    parts = (made[at : at + 1500 - changed] + stream(f"{seed} {at}", changed) for at in range(0, len(made), 1500))
    return b"".join(parts)[: len(made)]


def content(texts, kind, seed, size, folder):
    """The bytes of one file: a source text shares phrases with those in its folder."""
    if kind == "text":
        return texts.text(seed, size, texts.code, texts.phrases(folder, texts.code, 64))
    if kind in SAME:
        return variant(texts.binary(seed, size), f"{seed} {kind}", 0 if kind == SAME[0] else 64)
    if kind == "large":
        return texts.binary(seed, size)
    return {"json": texts.json_log, "access": texts.access_log, "packed": texts.packed, "random": stream,
            "empty": lambda *_: b""}[kind](seed, size)


def tree(top, files, size, seed=1):
    """The mixed tree."""
    texts, choice = Texts(), random.Random(seed).random
    folders = folders_below(top, max(2, files // 11), choice, texts.words[:1500])
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
    whole = 1_700_000_000
    jobs, stem, name = [], "", ""
    for n, (kind, length) in enumerate(planned(files, size * 0.96, choice)):
        if kind not in SAME[1:] or not stem:
            stem, name = f"{pick(choice, folders)}/{pick(choice, texts.words)}-{n}", f"{seed} {n}"
        jobs.append((choice(), stem + ENDS[kind], kind, length, name))
    for order, path, kind, length, name in sorted(jobs):
        time = (whole + int(order * 60_000_000)) * 10**9 + int(order * 10**9)
        if kind == "link":
            os.symlink(f"{texts.words[len(path)]}.py", path)
            os.utime(path, ns=(time, time), follow_symlinks=False)
            continue
        with open(path, "wb") as file:
            file.write(content(texts, kind, name, length, os.path.relpath(os.path.dirname(path), top)))
        os.chmod(path, 0o755 if order < 0.03 else 0o600 if order > 0.98 else 0o644)
        os.utime(path, ns=(time, time))
    database(f"{top}/history.db", texts, int(size * 0.05))
    os.utime(f"{top}/history.db", ns=(whole * 10**9, whole * 10**9))
    for n, folder in enumerate(reversed(folders)):
        time = (whole + n * 3600) * 10**9 + n
        os.utime(folder, ns=(time, time))


def empty(top, files):
    """So many empty files, 1,000 in a folder."""
    for n in range(files):
        if n % 1000 == 0:
            folder = f"{top}/{n // 1000:04}"
            os.makedirs(folder)
        os.close(os.open(f"{folder}/{n % 1000:03}", os.O_CREAT | os.O_WRONLY, 0o644))


def big(path, size):
    """One file: 64 MB of logs and binaries over and over, further than any encoder here looks back."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    texts = Texts()
    piece = b"".join((texts.json_log("big", 24 * MB), texts.binary("big", 24 * MB), stream("big", 16 * MB)))
    with open(path, "wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
        file.write(piece[: size % len(piece)])


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "tree":
        tree(where, int(rest[0]), int(rest[1]) * MB, int(rest[2]) if len(rest) > 2 else 1)
    elif what == "empty":
        empty(where, int(rest[0]))
    elif what == "big":
        big(where, int(rest[0]) * MB)
    else:
        sys.exit(__doc__)
