# SPDX-License-Identifier: Apache-2.0
# Copyright the segmentd authors
"""Programs with Python's shared memory, racing a daemon that removes what nobody holds: race.py ROUNDS.

Each round's block is made, stored to and let go of, so that nobody holds it; then somebody attaches it by its name, sooner or
later. It is there, whole, and stays what others find by the name for as long as it is attached; or it is gone altogether.
Prints how many were there and how many were gone, waits for a line, and lets go of a last one, which nobody removes.
"""
import os
import random
import sys
import time
from multiprocessing import resource_tracker, shared_memory

BATCH = 50
SIZE = 16384


def attach(name):
    """Attached, and forgotten by Python's tracker, which would remove it when this program ends."""
    block = shared_memory.SharedMemory(name=name)
    resource_tracker.unregister(block._name, 'shared_memory')
    return block


def make(number):
    block = shared_memory.SharedMemory(create=True, size=SIZE)
    resource_tracker.unregister(block._name, 'shared_memory')
    block.buf[:] = bytes([number % 255 + 1]) * SIZE
    block.close()
    return block.name, number


def expect(block, number):
    if bytes(block.buf[:SIZE]) != bytes([number % 255 + 1]) * SIZE:
        sys.exit(f'{block.name}: its bytes have changed')
    try:
        found = os.stat('/dev/shm/' + block.name).st_ino
    except FileNotFoundError:
        sys.exit(f'{block.name} is attached, and its name is gone')
    if found != os.fstat(block._fd).st_ino:
        sys.exit(f'{block.name} is attached, and another has its name')


def race(first, n):
    there, held = 0, []
    # Attached in turn while the daemon gets to those that were let go of first.
    for name, number in [make(i) for i in range(first, first + n)]:
        time.sleep(random.random() * 0.005)
        try:
            block = attach(name)
        except FileNotFoundError:
            continue
        expect(block, number)
        held.append((block, number))
        there += 1
    for block, number in held:
        expect(block, number)
        block.close()
    return there


def main():
    rounds = int(sys.argv[1])
    kept = shared_memory.SharedMemory(create=True, size=SIZE)
    kept.buf[:] = bytes([7]) * SIZE
    there = sum(race(i, min(BATCH, rounds - i)) for i in range(0, rounds, BATCH))
    print(kept.name, there, rounds - there, flush=True)
    sys.stdin.readline()
    expect(kept, 6)
    print('whole', flush=True)
    sys.stdin.readline()


main()
