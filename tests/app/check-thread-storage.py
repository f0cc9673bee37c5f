#!/usr/bin/env python3
"""What each thread gets of its own is small: libc clears it for every thread that starts, so a scratch array there is resident as often
as there are threads, whether they use it or not.

usage: check-thread-storage.py PROGRAM      TAP on stdout
"""
import struct
import sys

MOST, PT_TLS = 16 * 1024, 7

print("1..1")
data = open(sys.argv[1], "rb").read()
if data[:6] != b"\x7fELF\x02\x01":
    print("ok 1 - thread storage # SKIP no 64-bit little-endian ELF")
    sys.exit(0)
start, = struct.unpack_from("<Q", data, 32)
size, count = struct.unpack_from("<HH", data, 54)
held = [struct.unpack_from("<Q", data, at + 40)[0] for at in range(start, start + size * count, size)
        if struct.unpack_from("<I", data, at)[0] == PT_TLS]
good = sum(held) <= MOST
print(f"{'ok' if good else 'not ok'} 1 - storage of each thread")
if not good:
    print(f"# {sum(held)} bytes, at most {MOST}: a static _Thread_local array belongs on the stack of who uses it")
sys.exit(0 if good else 1)
