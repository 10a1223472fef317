/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A disk that can be made to hang: an ext4 in a file, in a mount namespace of the test's own, which is frozen. Who writes to it
 * then waits in the kernel, where no signal reaches, as with a server that does not answer.
 */
#ifndef TESTS_DISK_H
#define TESTS_DISK_H

#include "tests/harness.h"

struct disk {
	char dir[64];			/* where it is mounted */
	int dir_fd;
};

/* Mounts a new one of so many bytes, which thaws when the test ends, however it does. Skips the test where that cannot be done. */
void disk_mount(struct disk *disk, uint64_t bytes);
/* One in a file of the other. When that is frozen it takes what is stored, of which nothing is written: as with a disk that is gone. */
void disk_mount_on(struct disk *disk, const struct disk *below, uint64_t bytes);
void disk_freeze(struct disk *disk);
void disk_thaw(struct disk *disk);
void disk_unmount(struct disk *disk);

/* How many children of the process wait in the kernel like that; and one of them. */
unsigned disk_n_stuck(pid_t parent, pid_t *ret_last);
/* Waits until there is one. */
pid_t disk_await_stuck(pid_t parent);

#endif
