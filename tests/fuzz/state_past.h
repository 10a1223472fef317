/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a daemon before has left: the record's and the ledger's files, and pairs of sockets with descriptors in their queues, as rows
 * and messages that are put together one by one. Each is good, but for what was asked to be changed in it; so sums are right, and
 * objects are there, where nobody says otherwise.
 */
#ifndef TESTS_FUZZ_STATE_PAST_H
#define TESTS_FUZZ_STATE_PAST_H

#include "conf/load.h"
#include "daemon/start.h"
#include "systemd/inherited.h"

struct past_change {
	uint32_t at;
	uint64_t value;
};

/* Begins with nothing. conf: whose segments it may have had; state_dir: where. */
void past_begin(const struct conf *conf, const char *state_dir);

/* To the row or the message that is added next. */
void past_change(const struct past_change *change);

/* Each with flags & 1: a sum that is wrong; flags & 2: without what the box should have of it. */
void past_add_segment(unsigned index, uint64_t generation, uint32_t state, unsigned flags);
/* The memory of one that was added, as its clients have it; -1: there is none. Closed by past_end(). */
int past_find_object(uint64_t generation, bool is_control);
void past_add_lock(uint64_t generation, uint32_t index, unsigned flags);
/* pending: the type of a request that lies in its queue, 0: none. */
void past_add_session(uint64_t id, uint16_t pending, unsigned flags);
void past_add_attachment(uint64_t generation, uint64_t session, uint32_t id, unsigned flags);
void past_add_record(unsigned backend, uint64_t generation, unsigned flags);

/* An item of the box: one that there was before, or something odd. */
void past_add_item(uint32_t kind, uint64_t id, unsigned what);
/* What was added so far is a message; flags & 1: another pair begins; & 2: it is filled; & 4: to the other queue. */
void past_end_message(unsigned flags);

/* The configuration in effect is kept; flags & 1: the files are as they were. Without it nothing of it is there. */
void past_keep(unsigned flags);

/* A byte range of a file as it will be; which 0: the ledger, 1: the record, 2: the configuration that is kept. */
void past_spoil(unsigned which, const struct past_change *change);
void past_cut(unsigned which, uint64_t size);

/* Writes the files, and hands down the pairs. */
void past_hand_down(struct inherited *inherited);
/*
 * After that: the start that goes on with what was kept, if anything was: with that in the place of the files', which are not valid, or
 * because they have not changed. Not 0: it fails, which it may, if what is kept is damaged; then start has no configuration.
 */
int past_take_kept(struct start *start);
/* Gives back what is left of it here. */
void past_end(void);

#endif
