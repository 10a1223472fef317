/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A sorted array: it is asked once for each mapping and descriptor of the host, and nearly always has none. */
#include "config.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "daemon/audit/objects.h"

#define SYSV_PREFIX	"/SYSV"		/* followed by the key that it was made with, in eight hexadecimal digits */

static int
by_inode(const void *a, const void *b)
{
	const struct objects_slot *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* No memory is taken: not even of a pool. */
static void
add_device(struct objects *objects, unsigned flags)
{
	cleanup_close int fd = memfd_create("segmentd-audit", MFD_CLOEXEC | flags);
	struct stat status;

	if (fd < 0 || fstat(fd, &status)) {
		objects_note(objects, errno);
		return;
	}
	if (objects->n_devices == OBJECTS_DEVICES || objects_is_internal(objects, status.st_dev))
		return;
	objects->devices[objects->n_devices++] = status.st_dev;
}

static void
find_devices(struct objects *objects)
{
	static const unsigned huge[] = { MFD_HUGE_64KB, MFD_HUGE_2MB, MFD_HUGE_16MB, MFD_HUGE_32MB, MFD_HUGE_512MB, MFD_HUGE_1GB };

	add_device(objects, 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(huge); i++)
		add_device(objects, MFD_HUGETLB | huge[i]);
}

/* A segment whose key was taken away keeps its mappings' name, which has it. */
static void
find_key(struct objects_slot *slot)
{
	struct shmid_ds segment;

	if (shmctl((int)slot->inode, SHM_STAT_ANY, &segment) != (int)slot->inode || segment.shm_perm.__key == IPC_PRIVATE)
		return;
	slot->key = (uint32_t)segment.shm_perm.__key;
	slot->has_key = true;
}

int
objects_init(struct objects *objects, const struct audit_object *asked, size_t n)
{
	*objects = (struct objects)OBJECTS_NULL;
	if (!n)
		return 0;
	objects->slots = calloc(n, sizeof(*objects->slots));
	objects->touched = calloc(n, sizeof(*objects->touched));
	if (!objects->slots || !objects->touched) {
		objects_deinit(objects);
		return -ENOMEM;
	}
	objects->n = n;
	for (size_t i = 0; i < n; i++) {
		struct objects_slot *slot = &objects->slots[i];

		slot->index = (uint32_t)i;
		slot->is_sysv = asked[i].shm_id >= 0;
		slot->inode = slot->is_sysv ? (uint64_t)asked[i].shm_id : asked[i].inode;
		slot->device = slot->is_sysv ? 0 : asked[i].device;
		if (slot->is_sysv)
			find_key(slot);
	}
	qsort(objects->slots, n, sizeof(*objects->slots), by_inode);
	find_devices(objects);
	return 0;
}

void
objects_deinit(struct objects *objects)
{
	free(objects->slots);
	free(objects->touched);
	*objects = (struct objects)OBJECTS_NULL;
}

struct objects_slot *
objects_find(const struct objects *objects, uint64_t inode)
{
	size_t low = 0, high = objects->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (objects->slots[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	return low < objects->n && objects->slots[low].inode == inode ? &objects->slots[low] : NULL;
}

struct objects_slot *
objects_next(const struct objects *objects, struct objects_slot *slot)
{
	struct objects_slot *next = slot + 1;

	return next < objects->slots + objects->n && next->inode == slot->inode ? next : NULL;
}

struct objects_tally *
objects_touch(struct objects *objects, struct objects_slot *slot)
{
	if (!slot->is_touched) {
		slot->is_touched = true;
		objects->touched[objects->n_touched++] = (uint32_t)(slot - objects->slots);
	}
	return &slot->tally;
}

void
objects_note(struct objects *objects, int error)
{
	objects->is_incomplete = objects->is_incomplete || error_is_passing(error);
}

void
objects_forget(struct objects *objects)
{
	for (size_t i = 0; i < objects->n_touched; i++) {
		struct objects_slot *slot = &objects->slots[objects->touched[i]];

		slot->is_touched = false;
		slot->tally = (struct objects_tally) { 0 };
	}
	objects->n_touched = 0;
}

bool
objects_is_internal(const struct objects *objects, uint64_t device)
{
	for (size_t i = 0; i < objects->n_devices; i++)
		if (objects->devices[i] == device)
			return true;
	return false;
}

bool
objects_name_fits(const struct objects_slot *slot, const char *name)
{
	bool is_sysv = strncmp(name, SYSV_PREFIX, strlen(SYSV_PREFIX)) == 0;

	if (!is_sysv || !slot->is_sysv || !slot->has_key)
		return is_sysv == slot->is_sysv;
	/* The same id with another key is of another IPC namespace. */
	return strtoul(name + strlen(SYSV_PREFIX), NULL, 16) == slot->key;
}
