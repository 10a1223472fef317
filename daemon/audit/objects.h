/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The objects that are asked for, to be found by inode, and what one process was seen to have of each. An inode's number alone is
 * no proof: who calls says by more whether it is the object.
 */
#ifndef DAEMON_AUDIT_OBJECTS_H
#define DAEMON_AUDIT_OBJECTS_H

#include "base/base.h"
#include "host/audit.h"

struct objects_tally {
	uint32_t how;			/* AUDIT_*; 0: the process has nothing of it */
	uint32_t n_maps;
	uint32_t n_fds;
	uint64_t mapped_bytes;
};

struct objects_slot {
	uint64_t inode;			/* of System V memory the segment's id */
	uint64_t device;		/* of System V memory 0 */
	uint32_t index;			/* in the question */
	bool is_sysv;
	uint32_t key;			/* System V: part of the name of its mappings, where has_key */
	bool has_key;
	bool is_touched;
	struct objects_tally tally;	/* of the process that is being looked at */
};

#define OBJECTS_DEVICES	8		/* file systems of the kernel's own: of memory, and one a huge page size */

struct objects {
	struct objects_slot *slots;	/* by inode */
	size_t n;
	uint32_t *touched;		/* positions in slots */
	size_t n_touched;
	uint64_t devices[OBJECTS_DEVICES];
	size_t n_devices;
	bool is_incomplete;		/* something may not have been found, since there was no room to look */
};

#define OBJECTS_NULL	{ 0 }

/* 0 or -ENOMEM. */
int objects_init(struct objects *objects, const struct audit_object *asked, size_t n);
void objects_deinit(struct objects *objects);

/* The first of those with this inode, the others behind it; NULL: there is none. For each mapping of the host: quick. */
struct objects_slot *objects_find(const struct objects *objects, uint64_t inode);

/* The next of those with the same inode, or NULL. */
struct objects_slot *objects_next(const struct objects *objects, struct objects_slot *slot);

/* The slot's tally, which is among those touched from now on. */
struct objects_tally *objects_touch(struct objects *objects, struct objects_slot *slot);

/* Why something could not be looked at, an errno: it has ended, or is not for us to see, or there was no room to. */
void objects_note(struct objects *objects, int error);

/* Forgets the tallies, for the next process. */
void objects_forget(struct objects *objects);

/*
 * Whether a device is one of the file systems of the kernel's own that hold memfds and System V memory alike, in which nobody
 * can name a file as they like.
 */
bool objects_is_internal(const struct objects *objects, uint64_t device);

/*
 * Whether something on such a device, by the name that the kernel gives to it, is the slot's: there a memfd may have the number
 * that a System V segment has for its id.
 */
bool objects_name_fits(const struct objects_slot *slot, const char *name);

#endif
