/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * libsegment: shared memory by name, from segmentd. See libsegment(3).
 *
 * Functions return 0, or a negative errno value; segment_error() has the sentence that goes with it. Everything may be
 * called from several threads at once, but an object must not be in use when it is given back.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#ifndef __cplusplus
#include <stdbool.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct segment_client;
struct segment;

/* Flags of segment_attach and segment_attach_many. */
#define SEGMENT_READ		0x01u	/* a read-only mapping */
#define SEGMENT_WRITE		0x02u	/* a readable and writable one */
#define SEGMENT_NOWAIT		0x04u	/* -EAGAIN while it is being provisioned, instead of waiting */
#define SEGMENT_POPULATE	0x08u	/* map all its pages at once: no first touch faults, but a store to a file's page */
#define SEGMENT_DONTFORK	0x10u	/* forked children do not inherit the mapping */
#define SEGMENT_OWNED		0x20u	/* only a segment of one's own uid or of root's */

/*
 * Connects to the daemon. socket: a path; NULL: $SEGMENTD_SOCKET, else the default. -ENOENT or -ECONNREFUSED: no daemon
 * there. The version exchange is answered with the first request: a refusal is that request's error.
 */
int segment_connect(struct segment_client **client, const char *socket);

/*
 * Closes the connection. Segments attached through it must have been detached before; those that were not stay mapped
 * until the process ends.
 */
void segment_disconnect(struct segment_client *client);

/*
 * Attaches the segment `name`: maps it, and returns a handle that segment_detach() takes back. Waits while the segment is
 * being provisioned, unless SEGMENT_NOWAIT. layout: what the program takes the contents for; NULL: it does not care.
 * -ENOENT: no such segment, or none that the caller may attach at all. -EACCES: not with this access. -EPROTOTYPE: another
 * layout. -EAGAIN: being provisioned (SEGMENT_NOWAIT). -EIO: its provisioning failed; the sentence says why.
 * -ESHUTDOWN: it is being removed. -EDQUOT: a limit of the caller's uid. -EMFILE: this process has no descriptor left.
 * -ENOTCONN: there is no daemon now.
 */
int segment_attach(struct segment_client *client, const char *name, const char *layout, unsigned flags,
    struct segment **segment);

/* One of the segments that segment_attach_many() is to attach. */
struct segment_request {
	const char *name;		/* name, layout, flags: as segment_attach */
	const char *layout;
	unsigned flags;
	struct segment *segment;	/* out: its handle, or NULL */
	int error;			/* out: 0, or a negative errno */
};

/*
 * Attaches `count` segments, all or none: by one message to the daemon for each 64 of them. Waits while any of them is being
 * provisioned, unless SEGMENT_NOWAIT is among the flags of one. After an error nothing is attached, segment_error() has the
 * sentence, and each request's `error` says which it was: -ECANCELED for those that went with another's; where none of
 * them alone was in the way, as for -ENOTCONN, it is the same for all. A name may come more than once.
 */
int segment_attach_many(struct segment_client *client, struct segment_request *requests, size_t count);

/*
 * Creates a segment from a template of the deployment, `size` bytes large and zeroed, and attaches it for writing. flags:
 * as segment_attach, SEGMENT_WRITE implied. -EEXIST: there is one of that name. -EPERM: no template allows the caller
 * this name. -EFBIG: more than the template's max_size. -EDQUOT: a limit of the template or of the caller's uid.
 */
int segment_create(struct segment_client *client, const char *name, size_t size, unsigned flags,
    struct segment **segment);

/*
 * Unmaps the segment and gives its handle back, whatever is returned. NULL: nothing. Sections that the process still has
 * open in it end as if their owner had died.
 */
int segment_detach(struct segment *segment);

void *segment_data(const struct segment *segment);		/* its first byte; NULL in a child without it */
size_t segment_size(const struct segment *segment);		/* in bytes; it may grow, never shrink: see SEGMENT_EVENT_GROWN */
int segment_fd(const struct segment *segment);			/* of its data; the library's, not to be closed; -1: it is System V memory */
uint64_t segment_generation(const struct segment *segment);	/* another one after it was removed and made anew */

/*
 * Where the segment is a file (backend "file"): returns when all that was stored to it, by whomever, is on the disk. Its writers
 * may go on meanwhile, and what they store then is there or not. -EINVAL: it is no file. -EIO, -ENOSPC, -EDQUOT: not all of it
 * is on the disk; it is whole in memory.
 */
int segment_sync(struct segment *segment);

/*
 * Locks, where the segment's definition has `locks`. A lock excludes all other threads of all processes, and stands for a
 * range of the segment's bytes: from segment_lock() to segment_unlock() is a section, and if its owner dies in between,
 * wherever, what it changed there is put right as the definition's `on_death` says, and whoever locks next is told.
 * That holds for bytes that were given to segment_modify() before they were changed, and for the owner's own stores.
 *
 * All of them, where it applies: -EINVAL: no such lock, or an application's mutex. -EACCES: attached for reading.
 * -EPERM: the calling thread has it not. -ECHILD: attached by this process's parent; a child attaches for itself.
 * -ENOTRECOVERABLE: the lock is poisoned, until `segmentctl recover`.
 */

/* The index of the lock `name`, 0 or more; constant as long as the segment exists. -ENOENT: it has none of that name. */
int segment_find_lock(const struct segment *segment, const char *name);

/* Waits for the lock and takes it, whether or not its last owner died. -EDEADLK: the calling thread has it already. */
int segment_lock(struct segment *segment, int lock);
/* Does not wait. -EBUSY: somebody has it. */
int segment_trylock(struct segment *segment, int lock);
/* Waits until a point in time of CLOCK_MONOTONIC at most. -ETIMEDOUT. */
int segment_timedlock(struct segment *segment, int lock, const struct timespec *deadline);

/*
 * In a section: whether an owner died in one, since somebody who was told so by this function unlocked. False, with a
 * sentence, where the calling thread does not have the lock.
 */
bool segment_recovered(const struct segment *segment, int lock);

/*
 * In a section: saves `length` bytes at `address`, which the caller is about to change. They must be of the bytes that the
 * lock protects: else -ERANGE. -ENOSPC: the lock's undo log (`undo`) has no room; nothing was changed, and the section goes
 * on: it can be rolled back, or unlocked with what was saved before.
 */
int segment_modify(struct segment *segment, int lock, void *address, size_t length);
/* segment_modify(), and copies `length` bytes to `to`. */
int segment_set(struct segment *segment, int lock, void *to, const void *from, size_t length);

/* Ends the section: all that was changed in it stands from one instant on. */
int segment_unlock(struct segment *segment, int lock);
/* Ends the section and undoes it. -EOPNOTSUPP: there is no undo log (undo = 0); the lock is still held. */
int segment_rollback(struct segment *segment, int lock);

/*
 * For those who only read, whatever their access, without taking the lock: copy what is wanted between the two, and do it
 * again while segment_read_retry() says true. Only then look at the copy. segment_read_begin() waits while a section
 * changes bytes. An odd number: it cannot come to rest, since the lock is poisoned, or is none of ours; segment_read_retry()
 * is true for it.
 */
uint32_t segment_read_begin(const struct segment *segment, int lock);
bool segment_read_retry(const struct segment *segment, int lock, uint32_t begun);

/* What happens to segments, as it happens. */

enum segment_event_kind {
	SEGMENT_EVENT_LOST = 0,		/* events were lost, and none has come since; see `lost` */
	SEGMENT_EVENT_ATTACHED = 1,
	SEGMENT_EVENT_DETACHED = 2,	/* an attachment ended: nobody maps it or holds its descriptor any more */
	SEGMENT_EVENT_DIED = 3,		/* a process died while it was attached */
	SEGMENT_EVENT_RECOVERED = 4,	/* a lock whose owner died was put right */
	SEGMENT_EVENT_POISONED = 5,	/* a lock whose owner died cannot be had until it is recovered by hand */
	SEGMENT_EVENT_READY = 6,	/* it can be attached */
	SEGMENT_EVENT_FAILED = 7,	/* its provisioning failed; or, with a `size`, its growth: it stays as it is */
	SEGMENT_EVENT_REMOVED = 8,	/* it is gone; what is mapped stays mapped */
	SEGMENT_EVENT_GROWN = 9,	/* it has `size` bytes now; segment_size() says so, too */
	SEGMENT_EVENT_DRAINING = 10,	/* it is being removed, and waits for those that are attached */
	SEGMENT_EVENT_PROGRESS = 11,	/* `size` bytes of `total` have been provisioned */
	SEGMENT_EVENT_RELOAD = 12,	/* the configuration was read again */
	SEGMENT_EVENT_UNCLEAN = 13,	/* its file was in use when the machine went down; `on_unclean` says what became of it */
	SEGMENT_EVENT_UNSYNCED = 14	/* what was stored to it could not be written to its file */
};

/* Strings are valid until the callback returns. A later version may append fields. */
struct segment_event {
	int what;			/* enum segment_event_kind; a later daemon may know more of them */
	int lock;			/* its index, or -1 */
	const char *segment;		/* its name; empty where it is about none */
	const char *lock_name;		/* or empty */
	uint64_t generation;		/* of the segment, as segment_generation(); 0 where it is about none */
	uint64_t time_ns;		/* since 1970 */
	uint64_t lost;			/* how many events were lost right before this one */
	int pid;			/* of who acted or died; 0: nobody's, or not known in the daemon's pid namespace */
	uint64_t size;			/* in bytes, of what GROWN, PROGRESS and FAILED say; else 0 */
	uint64_t total;			/* what PROGRESS, and the FAILED of a growth, are on the way to; else 0 */
};

typedef void (*segment_event_fn)(const struct segment_event *event, void *arg);

/*
 * A descriptor that is readable when segment_dispatch() has something to do, for poll(2) and the like; the library's, not to be
 * read or closed, and the same as long as the client lives. The first call makes a second connection to the daemon, and from
 * its return on these events are told: everything about segments that are attached through this client, which others that it
 * may attach become ready or fail, and reloads. Negative: an errno value, as segment_attach.
 */
int segment_event_fd(struct segment_client *client);

/*
 * Calls fn for each event that is there, and returns how many there were, at most 1024 in one call. 0: none. When the daemon
 * was restarted, or has closed the connection of one that read nothing for long, it connects again, and tells
 * SEGMENT_EVENT_LOST with `lost` 0, since nobody knows what happened meanwhile; as long as there is no daemon it returns
 * -ENOTCONN, and the descriptor becomes readable whenever it is time for another try.
 * fn may call the library, but not segment_disconnect.
 */
int segment_dispatch(struct segment_client *client, segment_event_fn fn, void *arg);

/* The sentence of this thread's last error, never NULL; valid until its next call. */
const char *segment_error(void);

#ifdef __cplusplus
}
#endif

#endif
