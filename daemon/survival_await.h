/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Memory without a name that was lost with the daemon before, since no service manager kept it, lives on with the clients that have
 * it. For a while (daemon.await_returns) it is awaited from them, before the segment is made anew.
 */
#ifndef DAEMON_SURVIVAL_AWAIT_H
#define DAEMON_SURVIVAL_AWAIT_H

#include "daemon/parcels.h"
#include "daemon/survival.h"
#include "daemon/survival_past.h"

#define SURVIVAL_E_NOBODY	1

/*
 * The segment could not be restored for want of its descriptor. 0: a process lives that has it, and it is awaited: it is registered,
 * with its number, and is not started. SURVIVAL_E_NOBODY: it is not, and need not be; or a negative errno.
 */
int survival_await(struct survival *survival, struct past_segment *past);

/* Everything else is restored. True: some are awaited, and the past is still needed. */
bool survival_await_begin(struct survival *survival);

/* So long from the start on, from now on. */
void survival_set_await(struct survival *survival, uint64_t ms);

/*
 * Whether the process had this attachment of an awaited segment. flags: what of its memory it would
 * bring, PROTOCOL_RETURN_*, and *ret_proof what that has to be shown to be.
 */
bool survival_expects(const struct survival *survival, const struct segment *segment, uint32_t id,
    const struct identity *identity, uint32_t flags, struct parcels_proof *ret_proof);

/* What of it nobody has brought: PROTOCOL_RETURN_*. */
uint32_t survival_misses(const struct survival *survival, const struct segment *segment);

#define SURVIVAL_E_MORE	1

/*
 * Memory of an awaited segment, which is proved: fd stays the caller's. 0: it is ready, with those who have it; or it has gone, where
 * nobody has. SURVIVAL_E_MORE: the rest is still missing. -ESTALE, or another negative errno, with a sentence.
 */
int survival_take_back(struct survival *survival, struct segment *segment, uint32_t flags, int fd, char *text, size_t text_size);

/* is_kept: a successor is to find them awaited. */
void survival_await_end(struct survival *survival, bool is_kept);

#endif
