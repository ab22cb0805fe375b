"""Unpacks the tar stream on standard input with Python's tarfile, and prints its extended attributes.

`extract.py FOLDER [MODE]`: the mode is tarfile's, `r|gz` or `r|`. A line for each attribute: the entry's name, the
attribute's name and its value, in hexadecimal.
"""
import os
import sys
import tarfile

folder, mode = sys.argv[1:]
prefix = "SCHILY.xattr."
with tarfile.open(fileobj=sys.stdin.buffer, mode=mode, encoding="utf-8", errors="surrogateescape") as archive:
    # Newer versions leave out modes and odd links unless told to trust the archive.
    if hasattr(tarfile, "fully_trusted_filter"):
        archive.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
    archive.extractall(folder, numeric_owner=True)
    for member in archive.getmembers():
        for key, value in member.pax_headers.items():
            if key.startswith(prefix):
                parts = [member.name, key[len(prefix):], value]
                print(*(part.encode("utf-8", "surrogateescape").hex() for part in parts))
