/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A /dev/shm and an IPC namespace of the test's own, and all that is in them, as somebody sees it who knows nothing of segmentd:
 * names, inodes, ids, and the pages and inodes that something still holds without a name.
 */
#ifndef TESTS_SYSTEM_WORLD_H
#define TESTS_SYSTEM_WORLD_H

#include "tests/harness.h"

#define WORLD_MAX	256

struct world_object {
	char name[256];			/* in /dev/shm; with the dot that it may begin with */
	ino_t inode;
};

struct world_memory {
	int id;				/* System V */
	uint32_t key;			/* 0: private, or removed and still held */
};

struct world {
	size_t n_objects, n_memories;
	struct world_object objects[WORLD_MAX];
	struct world_memory memories[WORLD_MAX];
	uint64_t used_blocks, used_inodes;	/* of the file system of /dev/shm: named or not */
};

/*
 * The test, and what it starts from now on, is in it; and whoever loses its parent becomes the test's child. Skips where that is
 * not to be had.
 */
void world_enter(void);
void world_look(struct world *ret_world);
/* In one line; valid until the next call. */
const char *world_describe(const struct world *world);

const struct world_object *world_find(const struct world *world, const char *name);
const struct world_object *world_find_inode(const struct world *world, ino_t inode);
const struct world_memory *world_find_key(const struct world *world, uint32_t key);

/* Waits until there is as much in it as in the wanted one. False: there is not, even now that the kernel has had its time. */
bool world_await(const struct world *wanted, struct world *ret_world);
/* Waits until nothing is left in it, named or not; `when` is for the sentence if something stays. */
void world_await_empty(const char *when);
/* Reaps whoever lost its parent, and waits until there is no child left. */
void world_await_childless(const char *when);

/*
 * Runs it where there are no processes but its own, and /proc says so; who is not root has to do with the real host. It fails, and
 * skips, as it would otherwise.
 */
void world_on_own_host(void (*body)(void));

#endif
