/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the kernel is and how it is set: its version and what that brings, overcommit, swap, inotify, security modules. root:
 * "" but for tests. Reads only; where something cannot be read the negative errno says why.
 */
#ifndef HOST_KERNEL_H
#define HOST_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_feature {
	const char *name;
	unsigned major, minor;		/* the first version that has it */
	const char *lack;		/* what is without it */
};

extern const struct kernel_feature kernel_features[];
extern const size_t kernel_n_features;

/* The release, as in "6.1.0-27-amd64", and its two first numbers. */
int kernel_read_release(const char *root, char *buf, size_t size, unsigned *ret_major, unsigned *ret_minor);
bool kernel_has(unsigned major, unsigned minor, const struct kernel_feature *feature);

struct kernel_overcommit {
	uint64_t mode;			/* vm.overcommit_memory: 2 refuses what goes beyond limit_bytes */
	uint64_t limit_bytes;		/* CommitLimit */
	uint64_t used_bytes;		/* Committed_AS */
	uint64_t total_bytes;		/* MemTotal */
	uint64_t swap_bytes;		/* SwapTotal */
};

/* What may be committed at once, as System V memory is: UINT64_MAX where nothing is refused. */
uint64_t kernel_commit_left(const struct kernel_overcommit *overcommit);

int kernel_read_overcommit(const char *root, struct kernel_overcommit *ret_overcommit);

/* Swap that there is; 0: none. */
int kernel_read_swap(const char *root, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes);

struct kernel_inotify {
	uint64_t watches;		/* that a user may have */
	uint64_t instances;
};

int kernel_read_inotify(const char *root, struct kernel_inotify *ret_inotify);

/* Security modules that are on, with commas between. */
int kernel_read_lsm(const char *root, char *buf, size_t size);

/* Whether AppArmor has a profile of this name loaded. -ENOENT: there is no AppArmor; -EACCES: it is not for us to know. */
int kernel_has_profile(const char *root, const char *name, bool *ret_has);

#endif
