#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Leaves a line in a segment, or prints the one that is there, by way of an inherited descriptor:
#     segmentctl exec board -- note.sh 'back at noon'
#     segmentctl exec board:r -- note.sh
# The descriptor has a position, which all that this shell starts share: it begins at 0, and each read or write moves it.
# (Some shells, dash among them, can only use numbers below 10; segmentctl takes the lowest that are free.)
# Memory of 2 MiB or 1 GiB pages can be read so, but not written: there `segmentctl write` is the way. note.c and note.py
# map the segment instead, which serves all.
set -eu

if [ "${SEGMENT_SHMID-}" ]; then
	echo "note.sh: '$SEGMENT_NAME' is System V memory, which has no descriptor: segmentctl read and write reach it" >&2
	exit 1
fi
: "${SEGMENT_FD:?run it as segmentctl exec NAME -- note.sh [TEXT]}"

if [ $# -eq 0 ]; then
	# Others may be writing: what is read here need not end.
	head -c 4096 <&"$SEGMENT_FD" | tr '\0' '\n' | head -n 1
elif [ "$SEGMENT_ACCESS" = write ]; then
	printf '%s\0' "$1" >&"$SEGMENT_FD"
else
	echo "note.sh: '$SEGMENT_NAME' is attached for reading" >&2
	exit 1
fi
