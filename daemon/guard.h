/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Copying from and to memory that clients can write. Seals do not keep a writer from punching holes, and a page that
 * cannot be had again is a SIGBUS: here it is an error. For the thread of the loop only, as there is no other.
 */
#ifndef DAEMON_GUARD_H
#define DAEMON_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Takes SIGBUS over; one that no guarded copy has caused ends the process as before. 0 or a negative errno. */
int guard_init(void);

/* memcpy. 0, or -EFAULT: some of it may have been copied. A control_copy_fn. */
int guard_copy(void *to, const void *from, size_t length);

/*
 * Calls fn, which may touch such memory directly, and copy. 0, or -EFAULT: it was left where the memory was not there, so that
 * it must hold nothing, and its results are none.
 */
typedef void (*guard_fn)(void *arg);
int guard_call(guard_fn fn, void *arg);

/* Whether every page of [address, address + length) is in memory, so that touching it takes none. False with an errno: not known. */
bool guard_is_resident(const void *address, size_t length);

#endif
