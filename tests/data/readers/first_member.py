"""Inflates the first gzip member of standard input and nothing else, and prints what is left: nothing, in our archives.

The tar stream goes to standard output, two numbers to standard error: whether the member's end was seen, and how many
bytes stand behind it.
"""
import sys
import zlib

decoder = zlib.decompressobj(wbits=31)
sys.stdout.buffer.write(decoder.decompress(sys.stdin.buffer.read()))
sys.stdout.buffer.write(decoder.flush())
print(int(decoder.eof), len(decoder.unused_data), file=sys.stderr)
