#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Leaves a line in a segment, or prints the one that is there, by way of an inherited descriptor:

    segmentctl exec board -- note.py 'back at noon'
    segmentctl exec board:r -- note.py

Nothing but Python itself is needed. note.c and note.sh do the same.
"""
import mmap
import os
import sys

if "SEGMENT_SHMID" in os.environ:
    sys.exit(f"note.py: '{os.environ['SEGMENT_NAME']}' is System V memory, which has no descriptor: segmentctl read and write reach it")
try:
    fd = int(os.environ["SEGMENT_FD"])
    size = int(os.environ["SEGMENT_SIZE"])
    writes = os.environ["SEGMENT_ACCESS"] == "write"
except KeyError as missing:
    sys.exit(f"note.py: no ${missing.args[0]}: run it as segmentctl exec NAME -- note.py [TEXT]")

# The size has to be said: the object itself may be larger, up to the segment's max_size.
with mmap.mmap(fd, size, access=mmap.ACCESS_WRITE if writes else mmap.ACCESS_READ) as data:
    if len(sys.argv) < 2:
        # The end is looked for, since others may be writing, and what is read here need not end.
        end = data.find(b"\0", 0, 4096)
        print(data[: end if end >= 0 else min(size, 4096)].decode(errors="replace"))
    elif not writes:
        sys.exit(f"note.py: '{os.environ['SEGMENT_NAME']}' is attached for reading")
    else:
        line = os.fsencode(sys.argv[1])[: size - 1] + b"\0"
        data[: len(line)] = line
