/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What holds a segment's pages. A backend is a row of the table: its operations and feature bits. Callers ask for a bit,
 * never for a name.
 */
#ifndef DAEMON_BACKEND_BACKEND_H
#define DAEMON_BACKEND_BACKEND_H

#include "conf/definition.h"

#define BACKEND_HAS_FD		0x1u	/* attachments are file descriptors of their own */
#define BACKEND_SEALED		0x2u	/* its size can never change */
#define BACKEND_MARKS		0x4u	/* OFD marks, inotify and leases work on it */
#define BACKEND_HUGE		0x8u	/* transparent huge pages are to be had */

/* A segment's memory object, as the daemon holds it. */
struct backend_object {
	int fd;				/* -1: none */
	bool is_born;			/* fd came with the object, was never opened, and is not counted by leases */
	uint64_t map_bytes;		/* its size: max_size in whole pages */
};

#define BACKEND_OBJECT_NULL	{ .fd = -1 }

struct backend {
	const char *name;
	unsigned features;		/* BACKEND_* */

	/*
	 * Makes the object: sized for max_size, sealed, without a page. 0, or a negative errno with the step that failed
	 * in *ret_step; nothing is left behind then.
	 */
	int (*create)(const struct definition *definition, struct backend_object *ret_object, const char **ret_step);

	/* A description of its own for one attachment, read-only or not. 0 or a negative errno. */
	int (*open)(const struct backend_object *object, bool write, int *ret_fd);

	/* Bytes of it that are in memory now, by the kernel's count. */
	uint64_t (*resident_bytes)(const struct backend_object *object);
};

/*
 * Before anybody else gets a description, or a lease is asked for: fd is one that counts from now on, and another number. What
 * was done to the description before is lost. Of thousands that nobody ever attaches that would be half the work of making
 * them. 0 or a negative errno.
 */
int backend_object_settle(struct backend_object *object);

/* A memfd of its own: what memfd segments are made of, and every segment's control memory. Results as create's. */
int memfd_object_new(const char *name, uint64_t size_bytes, struct backend_object *ret_object, const char **ret_step);

/* The row for a definition's backend; NULL: there is none in this version. */
const struct backend *backend_find(enum definition_backend backend);

extern const struct backend backend_memfd;

#endif
