/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What an earlier life of the daemon left behind, by its record and never by guess. Of each row the kernel is asked whether the
 * object is still the one that was made. What the configuration wants and that fits is taken over, with what is in it and who has
 * it; what it does not want and nobody has is removed; what somebody has is kept, told, and removed when they are gone. What the
 * record does not prove is not touched.
 */
#ifndef DAEMON_LEFTOVERS_H
#define DAEMON_LEFTOVERS_H

#include <event2/event_struct.h>

#include "client/protocol.h"
#include "daemon/auditor.h"
#include "daemon/holding.h"
#include "daemon/inquiry.h"
#include "daemon/kernelcount.h"
#include "daemon/record.h"

struct registry;

struct leftover {
	struct leftovers *leftovers;
	struct record_entry entry;	/* as it was read; the object's own, once that is proved */
	struct holding holding;		/* nothing before that */
	struct kernelcount_watch watch;
	struct leftover_opening *opening;	/* a worker is at an errand for it; or NULL */
	bool is_leaving;		/* it is being removed, and not held by us meanwhile */
	bool is_asked;			/* by the question that is under way */
	bool was_broken_off;		/* it was asked, and segmentd-audit ended over it */
	char why[160];			/* a clause; and what of it is in memory then, while it is removed */
	uint64_t resident_bytes;
	uint64_t held_ns;		/* monotonic: when somebody was last seen to have it; 0: not since this start */
	struct inquiry inquiry;		/* who that is */
	bool is_refused;		/* a segment that wants it has failed for it */
	bool is_told;
	TAILQ_ENTRY(leftover) list_entry;
};

struct leftovers {
	struct event_base *base;
	struct kernelcount *kernelcount;
	struct releases *releases;
	struct registry *registry;	/* who wants what; NULL: not known yet, and nothing is removed */
	struct auditor *auditor;	/* who removes names from under nobody; NULL: nobody */
	struct auditor_question question;
	struct leftovers_removal *removal;	/* while it is asked */
	struct auditor_question settling;
	bool is_settling;		/* names that a killed removal took may come back */
	struct event look_event;
	struct leftover *look_next;
	struct event wait_event;
	TAILQ_HEAD(, leftover) list;
	uint64_t last_generation;	/* the highest of all rows */
	uint64_t begun_ns;		/* monotonic */
	uint64_t wait_until_ns;		/* while the event is pending */
	bool is_ending;			/* nothing is looked at any more but to be let go */
	bool is_awaited;		/* somebody waits for a removal, and is told as of any */
	uint32_t n_opening;		/* that workers are at */
	bool is_counted;		/* some are held of which nothing tells */
	uint32_t n_kept;		/* that somebody has */
	uint64_t n_adopted, n_removed;
};

enum {
	LEFTOVERS_E_NONE = 1,		/* nothing is in the way */
	LEFTOVERS_E_HELD = 2,		/* something is that does not fit, and somebody has it; with a clause that says what */
	LEFTOVERS_E_OPENING = 3		/* between its own files: it is looked at again when workers have opened it */
};

int leftovers_init(struct leftovers *leftovers, struct event_base *base, struct kernelcount *kernelcount,
    struct releases *releases);
/* Before the segments end: from now on nothing is looked at but to be let go. Accepts NULL. */
void leftovers_end(struct leftovers *leftovers);
/*
 * At the end, while the loop goes on: those whose names workers take away are let go, and files are closed as they should have been,
 * once no segment has any. True: not all yet, since somebody is at one of them, or segments have files; when that is over, it is told
 * as of any, and this is called again. Accepts NULL.
 */
bool leftovers_leave(struct leftovers *leftovers, bool may_open_files);
/* The names of those that are kept go, as all others' do at the end: who has them keeps the memory. */
void leftovers_deinit(struct leftovers *leftovers);

/* A record_take_fn, and a record_tell_fn. */
int leftovers_take(const struct record_entry *entry, void *arg);
void leftovers_tell(const char *text, void *arg);

/* From now on, as the loop runs: what no segment of the registry wants goes, when nobody has it. */
void leftovers_begin(struct leftovers *leftovers, struct registry *registry);
/* Has segmentd-audit finish removals that were killed: until it has, what they were about has no name, and nobody finds it. */
void leftovers_settle(struct leftovers *leftovers);
/* Something has become wanted, or is not any more. */
void leftovers_look_soon(struct leftovers *leftovers);

/*
 * Takes over what the definition would find in its place, into *holding; what does not fit and nobody has is removed. 0;
 * LEFTOVERS_E_NONE, LEFTOVERS_E_HELD; -EBUSY: somebody has it who is likely to be gone in a moment; or another negative errno
 * with a sentence.
 */
int leftovers_adopt(struct leftovers *leftovers, const struct definition *definition, struct holding *holding, char *text,
    size_t text_size);

/*
 * The row of what is not taken over but opened anew, by whom the definition describes, and takes the row with it; or NULL. Who has
 * done so says it.
 */
struct record_entry *leftovers_row(struct leftovers *leftovers, const struct definition *definition);
void leftovers_row_taken(struct leftovers *leftovers, const struct definition *definition);

/* The row of a segment's object, which is taken over by whoever asks, and no leftover any more. False: there is none. */
bool leftovers_claim(struct leftovers *leftovers, const struct definition *definition, uint64_t generation,
    struct record_entry *ret_entry);

/* Whether a segment of the definition has failed for one, and is started again when that is gone. */
bool leftovers_hinder(struct leftovers *leftovers, const struct definition *definition);

/* Between its own files. */

/* Takes the name away in two steps, by segmentd-audit: why is a clause. Whoever waits for it hears of its end. */
void leftovers_remove(struct leftover *leftover, const char *why);
/* At the end nobody answers any more: what was being removed, or not looked at yet, is proved for the last time. */
void leftovers_remove_deinit(struct leftovers *leftovers);
/* Looks again, and tells who waits, after that at the latest. */
void leftovers_set_wait(struct leftovers *leftovers, unsigned ms);
/* Something has come to its end: who waits for that tries again. */
void leftovers_tell_room(struct leftovers *leftovers);
/* Has workers open it, and looks then. */
void leftover_open(struct leftover *leftover);
void leftover_look(struct leftover *leftover);		/* it may be freed */
/*
 * 0: the object is there, and its holding's. LEFTOVERS_E_NONE: it is not, and the leftover was freed; may_return: not as long as
 * who the killed daemon had remove it may give its name back. LEFTOVERS_E_OPENING, or a negative errno with a sentence.
 */
int leftover_prove(struct leftover *leftover, bool may_return, char *text, size_t text_size);
void leftover_free(struct leftover *leftover);
void leftover_log(const struct leftover *leftover, int message, const char *format, ...) BASE_PRINTF(3, 4);
/* Tells those who follow events. */
void leftover_post(const struct leftover *leftover, enum protocol_orphan what);
/* Nothing can be said of it, and it stays: why, once. */
void leftover_tell_stays(struct leftover *leftover, const char *why);
/* Somebody has it, and it is kept: who, as soon as that is known. */
void leftover_tell_kept(struct leftover *leftover);
/* It is removed, by the kernel's word: all that is known of it. */
void leftover_tell_removed(const struct leftover *leftover);

/* As releases' keep(): what was adopted, and did not become ready, is a leftover again; at the end also whose row alone was taken. */
void leftovers_keep(struct holding *holding, void *arg);

/* Whether there is one that others find by this. */
bool leftovers_have(const struct leftovers *leftovers, const char *object);

/* Whether it is so early that what the killed daemon's workers have is not given up yet. */
bool leftovers_are_fresh(const struct leftovers *leftovers);

#endif
