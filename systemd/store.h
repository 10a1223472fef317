/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The service manager's store of descriptors: what is given to it outlives us, and is handed down to the next daemon
 * (systemd/inherited.h). Nothing here waits, and nothing says whether the manager has kept what it took: one whose store is full
 * closes it without a word.
 *
 * All return 0; -EAGAIN: the manager's queue is full, to be said again later; -ENOENT: there is no manager; or another
 * negative errno.
 */
#ifndef SYSTEMD_STORE_H
#define SYSTEMD_STORE_H

#include <stdbool.h>

/* fd stays the caller's. The manager keeps it even when it hangs up. -EINVAL: no name that it would take. */
int store_put(const char *name, int fd);

/* All that it keeps by that name. */
int store_remove(const char *name);

/* *ret_fd hangs up when the manager has taken in all that was said before. */
int store_barrier(int *ret_fd);

#endif
