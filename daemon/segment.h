/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segment: its definition, its memory, its state, its attachments. The state machine of a segment's life:
 *
 *	declared -> provisioning -> ready -> draining -> gone, or failed with a reason.
 *
 * It calls back, never up: who keeps segments hears of every change of state through on_change.
 */
#ifndef DAEMON_SEGMENT_H
#define DAEMON_SEGMENT_H

#include <stdbool.h>

#include "base/allotment.h"
#include "client/protocol.h"
#include "daemon/attachment.h"
#include "daemon/box.h"
#include "daemon/events.h"
#include "daemon/holding.h"
#include "daemon/kernelcount.h"
#include "daemon/ledger.h"
#include "daemon/locks.h"
#include "daemon/milestones.h"
#include "daemon/provision.h"
#include "daemon/recovery.h"
#include "daemon/segment_file.h"
#include "daemon/toll.h"

struct segment;

/* Called after each change of state; in PROTOCOL_GONE it must take the segment out of its books, and may free it. */
typedef void (*segment_change_fn)(struct segment *segment, void *arg);

/* Its size was to be raised. r: 0: from was_bytes, and it has been. Negative errno: it was not, and growth_reason says why. */
typedef void (*segment_grown_fn)(struct segment *segment, uint64_t was_bytes, int r, void *arg);

/* What all segments share. */
struct segment_host {
	struct event_base *base;
	struct kernelcount *kernelcount;
	struct provisioner *provisioner;
	struct recovery *recovery;
	struct events *events;		/* NULL: nobody is told */
	struct box *box;		/* what outlives us; NULL: there is none */
	struct ledger *ledger;		/* what is written for a successor; NULL: nothing */
	segment_change_fn on_change;
	void *on_change_arg;
	segment_grown_fn on_grown;	/* NULL: nobody is told */
	void *on_grown_arg;
	bool awaits_room;		/* some segment is to be started, or to grow, when memory on its way back has arrived */
};

/* Somebody who waits for a change of state or progress; embedded in who waits. */
struct segment_waiter {
	void (*wake)(struct segment_waiter *waiter);
	struct segment *segment;	/* NULL: waits for nothing */
	bool wants_progress;		/* else only a change of state wakes it */
	LIST_ENTRY(segment_waiter) entry;
};

/* What is kept besides of those that clients created. */
struct segment_creation {
	uint64_t session;
	uint64_t serial;
	uint32_t *template_count;	/* how many there are of its template */
	struct definition *const *template_;	/* that, as it is now */
	struct charge charge;		/* for the segment itself */
	struct charge bytes_charge;
};

struct segment_watch {
	struct kernelcount_watch watch;
	struct segment *segment;
	struct attachment *look_next;	/* where a look goes on */
	struct toll toll;		/* of handing it out */
	struct milestones milestones;	/* of its attachments, by their ids */
};

/* There may be thousands that nobody holds: what only others need is apart from it. */
struct segment {
	struct segment_host *host;
	struct definition *definition;
	uint64_t cursor;		/* its place in the order of making */
	uint64_t generation;
	struct holding holding;
	struct provision *provision;	/* while it is provisioning */
	struct provision *growth;	/* while its size is being raised: it is in use meanwhile */
	struct definition *grown;	/* what it will have then: the running one, with that size; or NULL */
	uint64_t grow_to_bytes;		/* the size that is wanted in the end; 0: the one that it has */
	char *reason;			/* why it failed, or what it has not as asked; or NULL */
	char *growth_reason;		/* why its size was not raised; or NULL */
	struct locks *locks;		/* of segments without any they are the same, and empty */
	struct segment *successor;	/* takes its place and name when nobody holds it any more; in no books yet. Or NULL */

	struct attachment_queue attachments;
	struct attachment_list watched;	/* those of them whose session has a subscriber */
	uint32_t n_readers;
	uint32_t n_writers;
	uint32_t n_unsupervised;	/* of both */
	uint32_t last_id;
	uint32_t seen;			/* the last look at a configuration that declares it; the registry's user's */
	uint32_t name_hash;		/* with names_next */
	enum protocol_state state;
	bool ids_wrapped;
	bool was_attached;		/* since it was made, or scrubbed */
	bool is_declared;		/* by the configuration; else created from a template */
	bool is_boxed;
	bool is_awaited;		/* its memory was lost with an earlier daemon, and a client may bring it back */
	bool is_revived;		/* from an earlier daemon, and what ended with that one is still to be made anew */
	uint8_t n_waits;		/* for room, one after the other: to be started, or to grow */
	struct segment_watch *watch;	/* once somebody has been attached */
	struct segment_file *file;	/* where its contents are kept on a disk; else NULL */
	struct event *linger;
	struct allotment linger_time;	/* while that runs */
	struct event *count;		/* asks again who has it: the kernel's own count tells of no change. Or NULL */

	struct ledger_segment_entry row;
	struct segment_creation *creation;	/* NULL: the configuration declares it */
	LIST_HEAD(, segment_waiter) waiters;
	TAILQ_ENTRY(segment) entry;
	struct segment *names_next;	/* in the registry's table of names */
};

/* A declared segment; takes a reference to the definition. 0 or -ENOMEM. */
int segment_new(struct segment_host *host, struct definition *definition, uint64_t generation,
    struct segment **ret_segment);

/*
 * Puts another definition in the place of the running one, from which it differs in nothing that is laid out in memory: its
 * name, sizes, backend and locks are the same.
 */
void segment_redefine(struct segment *segment, struct definition *definition);

/*
 * Raises its size to that of the next definition, of which nothing else is looked at: at once, or when it is ready. Clients go
 * on meanwhile; at the end the running definition gets that size, and GROWN is told. When it fails, or is cancelled, the size
 * is what it was, the new memory is given back, growth_reason says why and FAILED is told.
 * 0: it was begun, or done, or waits for memory that others give back. -EINVAL: not more than it has, or beyond max_size.
 * -ESHUTDOWN: it is on its way out. Another negative errno: it failed at once, as above. Of two, one after the other, the
 * second one's size counts.
 */
int segment_grow(struct segment *segment, struct definition *next);

/* Whether memory would be on its way back for a while, if it were removed now. */
bool segment_frees_later(struct segment *segment);

/*
 * What segment_grow would find at once, if ahead_bytes were promised to others before; nothing is begun, told or changed. 0, or
 * the negative errno with which it would fail: text is the reason that the segment would have then.
 */
int segment_may_grow(struct segment *segment, uint64_t size_bytes, uint64_t ahead_bytes, char *text, size_t text_size);

/* Gives up raising its size, if it is at that; why: a sentence. */
void segment_stop_growing(struct segment *segment, const char *why);

/* Why it failed, what it has not as asked, what it is at: as show says it. Returns text. */
const char *segment_describe(const struct segment *segment, char *text, size_t text_size);

/* Gives everything back; attachments that are left are only forgotten, nobody's memory is touched. */
struct segment *segment_free(struct segment *segment);

/* What of a segment outlives a daemon, besides its definition, its number and its memory. */
struct segment_past {
	enum protocol_state state;	/* PROTOCOL_READY or PROTOCOL_DRAINING */
	uint32_t claim_id, last_id;
	bool ids_wrapped;
	bool was_attached;
	uint64_t huge_bytes;
	const void *packed;		/* its definition's bytes, as in struct ledger_texts */
	uint32_t n_packed;
	/* What its objects were found to be; inode 0: the kernel is asked. */
	uint64_t data_device, data_inode;
	uint64_t control_device, control_inode;
};

/*
 * A declared segment is what an earlier daemon had, with its memory, which is taken over: at once, and without a word to anybody.
 * Its attachments follow (attachment_revive), then segment_resume(), in which it may be freed. 0, or a negative errno: a successor
 * would not be told of it, and nothing is to be gone on with.
 */
int segment_revive(struct segment *segment, const struct segment_past *past, struct holding *holding);
void segment_resume(struct segment *segment);
/* Verifies and locks it again, beside its clients, if that is still to be done. */
void segment_revive_on(struct segment *segment);

/* Puts what has to outlive the daemon of it into the box, or says that it is not needed there any more. */
void segment_box(struct segment *segment);
void segment_unbox(struct segment *segment);

/*
 * What segment_revive() took over was not there before: it is ready from now on, to everybody. After segment_resume(), in which it may
 * have been freed.
 */
void segment_tell_revived(struct segment *segment);

/* Starts to provision a declared segment, unless its memory is awaited. */
void segment_start(struct segment *segment);

/* Removes it: when its last attachment ended, or now, leaving the memory with who maps it. It may be freed. */
void segment_remove(struct segment *segment, bool now);

/* A removal that waits for somebody is taken back. The segment may be freed. */
void segment_restore(struct segment *segment);

/* segment_redefine(), and what differs acts at once. The segment may be freed. */
void segment_change(struct segment *segment, struct definition *definition);

/*
 * Has the segment end when nobody holds it any more, and its successor take its place then; at once where it holds nothing
 * that anybody could have seen. Consumes successor; NULL: it has none any more. The segment may be freed.
 */
void segment_succeed(struct segment *segment, struct segment *successor);

/* Whether somebody is attached, or has its memory in a way that no attachment shows. */
bool segment_is_held(struct segment *segment);

/* Sees to it that the kernel tells when somebody lets go. 0 or a negative errno. */
int segment_watch(struct segment *segment);
/* Has it looked at in a later turn, as if somebody had let go. */
void segment_look_soon(struct segment *segment);

bool segment_has_attachment(const struct segment *segment, uint32_t id);
/* The attachment or NULL. */
struct attachment *segment_find_attachment(const struct segment *segment, uint32_t id);
/* The first one in their order with a higher id, or NULL. */
struct attachment *segment_attachment_after(const struct segment *segment, uint32_t id);
/* It is the last in their order, or is about to be taken out. */
void segment_enter_attachment(struct segment *segment, struct attachment *attachment);
void segment_take_attachment(struct segment *segment, struct attachment *attachment);

/* Recovers the locks whose words name nobody that is attached: what was left by an earlier daemon's clients. */
void segment_recover_strays(struct segment *segment);

/* A lock of its was recovered: for a successor's count. */
void segment_enter_lock(struct segment *segment, uint32_t index);

/* A recovery_attached_fn. */
bool segment_has_owner(const struct locks *locks, uint32_t id);

/* A recovery_idle_fn: what waited for workers that were at the segment's locks goes on. The segment may be freed. */
void segment_on_locks_idle(struct locks *locks);

/* Before it is handed out: what the kernel could not say when it was left may be due. It may have to be waited for then. */
void segment_before_first(struct segment *segment);

/* An attachment began: it was handed out. */
void segment_on_more(struct segment *segment);

/* An attachment ended: what a segment without any does. The segment may be freed. */
void segment_on_fewer(struct segment *segment);

/* Wakes `waiter` at the next change of state, or if it wants that, of progress. */
void segment_wait(struct segment *segment, struct segment_waiter *waiter, bool wants_progress);
void segment_waiter_cancel(struct segment_waiter *waiter);

static inline uint32_t
segment_n_attached(const struct segment *segment)
{
	return segment->n_readers + segment->n_writers;
}

/* Between its own files. */
void segment_set_reason(struct segment *segment, const char *text);
void segment_rest(struct segment *segment);		/* nobody may be attached: what then is due. The segment may be freed */
void segment_ask_again(struct segment *segment);	/* somebody has it whom nothing tells of: asks the kernel later */

/*
 * Lets those reach it without us whom the definition lets attach, or with NULL nobody. 0, or a negative errno with a sentence.
 * The other logs that.
 */
int segment_admit(struct segment *segment, const struct definition *definition, char *text, size_t text_size);
void segment_admit_or_tell(struct segment *segment);
/* Tries that again, if it could not be done the last time. */
void segment_readmit(struct segment *segment);

/* Its row, with all that there is to say of it, as of one in that state. 0 or a negative errno. */
int segment_enter_row(struct segment *segment, enum protocol_state state);
/* Likewise, of one that is being taken over: what of it is known already is neither packed nor asked again. */
int segment_enter_past_row(struct segment *segment, const struct segment_past *past);
/* What it has one for has changed, but not its texts; or those. Nothing where it has no row. */
void segment_rewrite_row(struct segment *segment, enum protocol_state state);
void segment_rewrite_texts(struct segment *segment);
void segment_drop_row(struct segment *segment);

void segment_grow_on(struct segment *segment);		/* goes on to the size that is wanted, if it is ready */
void segment_tell_progress(struct segment *segment, struct provision *provision);
bool segment_waits_for_room(struct segment *segment, int r);	/* what failed with r: it is tried again, by registry_on_room */

/* The segment whose locks these are; not for those of segments without any. */
static inline struct segment *
segment_of_locks(const struct locks *locks)
{
	return (struct segment *)((uintptr_t)locks->holding - offsetof(struct segment, holding));
}

/*
 * How many have it besides the attachments, by a key or a name, or as children of those that are attached. Where the kernel
 * keeps no count: 1 when there are some, which it tells only while no client is attached.
 */
uint32_t segment_n_others(struct segment *segment);
bool segment_counts_others(const struct segment *segment);

/*
 * What others did to its memory. 0; BACKEND_E_CHANGED, or a negative errno: nobody can use it any more; both with a sentence.
 */
int segment_check(const struct segment *segment, char *text, size_t text_size);

/* Whether a writer can cut its memory short. */
bool segment_is_unsealed(const struct segment *segment);

/* Bytes of it that are in memory now, by the kernel's count. */
uint64_t segment_resident_bytes(const struct segment *segment);

const char *segment_state_name(enum protocol_state state);

#endif
