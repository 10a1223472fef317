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

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct segment_client;
struct segment;

/* Flags of segment_attach. */
#define SEGMENT_READ		0x01u	/* a read-only mapping */
#define SEGMENT_WRITE		0x02u	/* a readable and writable one */
#define SEGMENT_NOWAIT		0x04u	/* -EAGAIN while it is being provisioned, instead of waiting */
#define SEGMENT_POPULATE	0x08u	/* map all its pages at once, so that no first touch faults */
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

/*
 * Creates a segment from a template of the deployment, `size` bytes large and zeroed, and attaches it for writing. flags:
 * as segment_attach, SEGMENT_WRITE implied. -EEXIST: there is one of that name. -EPERM: no template allows the caller
 * this name. -EFBIG: more than the template's max_size. -EDQUOT: a limit of the template or of the caller's uid.
 */
int segment_create(struct segment_client *client, const char *name, size_t size, unsigned flags,
    struct segment **segment);

/* Unmaps the segment and gives its handle back, whatever is returned. NULL: nothing. */
int segment_detach(struct segment *segment);

void *segment_data(const struct segment *segment);		/* its first byte; NULL in a child without it */
size_t segment_size(const struct segment *segment);		/* in bytes */
int segment_fd(const struct segment *segment);			/* of its data; the library's, not to be closed */
uint64_t segment_generation(const struct segment *segment);	/* another one after it was removed and made anew */

/* The sentence of this thread's last error, never NULL; valid until its next call. */
const char *segment_error(void);

#ifdef __cplusplus
}
#endif

#endif
