/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What handing out a segment costs the loop. Marks on one object are in one list of the kernel's, which each mark and each close
 * goes over, and whoever has a descriptor of the object can make that list long: twenty thousand locks of its own, one a byte,
 * make an attach cost milliseconds. They cannot be forbidden, nor the list avoided: a mark on anything but the description that is
 * handed out would not end with it. So a segment that costs far more than its attachments explain is handed out seldom, those
 * that ask for it by uids, and its descriptors are closed one by one: others lose a part of the loop's time that has a bound. Each
 * that waits for that is charged to the uid that it was for, whatever its limit is: so who makes many wait gets nothing more.
 */
#ifndef DAEMON_TOLL_H
#define DAEMON_TOLL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/accounts.h"

struct toll_closing;

/* What all segments share. */
struct tolls {
	struct event event;		/* the next closes */
	STAILQ_HEAD(, toll_closing) closings;
	unsigned n_closings;
	uint64_t n_rests;		/* a counter, for metrics */
};

#define TOLL_UIDS	16		/* whose turns are kept; beyond them whoever asks first */

/* Of one segment; all zero at first. */
struct toll {
	uint64_t rest_until_ns;		/* nobody is given it before */
	uint64_t closes_late_until_ns;
	unsigned n_slow;		/* attaches that cost too much, one after the other */
	unsigned n_slow_closes;		/* likewise */
	unsigned n_uids;
	uint32_t uids[TOLL_UIDS];	/* that asked while it rested: the first is next */
};

int tolls_init(struct tolls *tolls, struct event_base *base);
void tolls_deinit(struct tolls *tolls);

/* Whether it may be given to uid now. If not, uid asks again soon, and has its turn then. */
bool toll_admits(struct toll *toll, const struct tolls *tolls, uint32_t uid);

/*
 * Around what is done for an attach, of a segment that has n_attachments: toll_end() is given what toll_begin() returned, and
 * says when it was slow in a way that administrators are to hear of, or no longer: TOLL_SLOW and TOLL_QUICK, each once. *ret_ns:
 * what it cost.
 */
enum toll_news {
	TOLL_NOTHING,
	TOLL_SLOW,
	TOLL_QUICK,
};

uint64_t toll_begin(const struct toll *toll);
enum toll_news toll_end(struct toll *toll, struct tolls *tolls, uint64_t begun_ns, uint32_t n_attachments, uint64_t *ret_ns);

/* Closes a descriptor of one that has n_attachments, and sees what that costs. */
void toll_close(struct toll *toll, uint32_t n_attachments, int fd);
/* Whether that is likely to cost so much that it is done some time later instead: */
bool toll_closes_late(const struct toll *toll);
/* In its turn, charged to uid until then. */
void tolls_close_later(struct tolls *tolls, struct accounts *accounts, uint32_t uid, int fd);

#endif
