/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * /proc is read while processes come and go, and the kernel's counts are asked for afterwards: what neither explains is looked at
 * a second time before anybody is told that a holder is nowhere to be seen.
 *
 * Between a look and its answer a segment may go, and another take its name: of that one nothing is said.
 *
 * What waits is found through those who asked: an entry without requests waits for nothing.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "daemon/hash.h"
#include "daemon/timer.h"
#include "daemon/who.h"

#define LOOKS		2
#define TURN_REQUESTS	256
#define REST_FACTOR	4		/* as long as the look took */
#define REST_MAX_NS	(2 * NS_PER_SEC)

struct who_entry {
	struct who *who;
	struct who_answer *answer;	/* in the making */
	LIST_HEAD(, who_request) requests;
	bool at_once;
	bool has_no_payer;		/* nobody who asked may have more rows */
	unsigned n_looks;
	uint32_t first;			/* of its objects */
	uint32_t n_objects;
	uint64_t n_maps;		/* of System V data, that were seen: its rows', and those of our workers */
	bool is_waiting;		/* its requests have places in the rounds, or it is in line again */
	bool is_joinable;		/* while it waits: it is found by its name */
	UT_hash_handle hh;
	TAILQ_ENTRY(who_entry) link;	/* again, asked or ending */
	char name[PROTOCOL_NAME_SIZE];
};

static void who_done(struct auditor_question *question, const struct auditor_end *end);

/* Entries. */

static void
who_entry_free(struct who_entry *entry)
{
	who_answer_unref(entry->answer);
	free(entry);
}

static struct who_entry *
who_entry_new(struct who *who, const struct segment *segment)
{
	struct who_entry *entry = calloc(1, sizeof(*entry));

	if (entry)
		entry->answer = who_answer_new();
	if (!entry || !entry->answer) {
		free(entry);
		return NULL;
	}
	entry->who = who;
	LIST_INIT(&entry->requests);
	(void)snprintf(entry->name, sizeof(entry->name), "%s", segment->definition->name);
	return entry;
}

/* One that is being looked at already may have been passed before who is asked about now came. */
static void
who_entry_wait(struct who_entry *entry)
{
	struct who *who = entry->who;
	struct who_entry *same;

	entry->is_waiting = true;
	who->n_at_once += entry->at_once;
	HASH_FIND_STR(who->by_name, entry->name, same);
	if (same)
		return;
	HASH_ADD_STR(who->by_name, name, entry);
	entry->is_joinable = HASH_TAKES(entry);
}

static void
who_entry_wait_no_more(struct who_entry *entry)
{
	struct who *who = entry->who;

	entry->is_waiting = false;
	who->n_at_once -= entry->at_once;
	if (entry->is_joinable)
		HASH_DEL(who->by_name, entry);
	entry->is_joinable = false;
}

/* 0, ACCOUNTS_E_LIMIT or -ENOMEM. */
static int
who_request_charge(const struct who_request *request, size_t n_bytes, struct charge *ret_charge)
{
	return (request->is_trusted ? accounts_charge_trusted : accounts_charge)(request->accounts, request->uid, ACCOUNTS_MEMORY,
	    n_bytes, ret_charge);
}

/* What it is given is its own to pay for from now on, however many others have it, too. */
static void
who_give(struct who_request *request, struct who_answer *answer)
{
	size_t n_bytes = who_answer_bytes(answer);
	int r = 0;

	if (n_bytes)
		r = who_request_charge(request, n_bytes, &request->charge);
	if (r) {
		request->refusal = r;
		request->refused_bytes = n_bytes;
	} else {
		request->answer = answer;
		answer->n_users++;
	}
	request->wake(request);
}

/* Hands answers out, to so many in one turn of the loop. */
static void
who_hand_out(struct who *who)
{
	struct who_request *request;
	struct who_entry *entry;

	for (unsigned n = 0; n < TURN_REQUESTS && (entry = TAILQ_FIRST(&who->ending)); n++) {
		request = LIST_FIRST(&entry->requests);
		if (!request) {
			TAILQ_REMOVE(&who->ending, entry, link);
			who_entry_free(entry);
			continue;
		}
		LIST_REMOVE(request, link);
		request->entry = NULL;
		who_give(request, entry->answer);
	}
}

/* The segment that was asked about, with the memory that it had; NULL: it is gone. */
static struct segment *
who_entry_segment(const struct who_entry *entry)
{
	struct segment *segment = registry_find(entry->who->registry, entry->name);

	return segment && segment->holding.object.fd >= 0 && segment->generation == entry->answer->told.generation ? segment : NULL;
}

/* Whether it pays for the rows already, by all that it may have. */
static bool
who_request_pays(const struct who_request *request, const struct charge *charge)
{
	return charge->account && request->uid == charge->account->uid && request->is_trusted <= charge->is_trusted;
}

/*
 * Rows that are gathered are charged to one who asked; where that uid has as much as it may, to another that waits for the same: it is
 * not to have less of an answer because somebody else asked first. False: there is none.
 */
static bool
who_entry_find_payer(struct who_entry *entry, size_t n_bytes)
{
	struct who_answer *answer = entry->answer;
	struct charge charge = CHARGE_NULL;
	const struct who_request *request;

	if (entry->has_no_payer)
		return false;
	LIST_FOREACH(request, &entry->requests, link) {
		if (who_request_pays(request, &answer->charge) || who_request_charge(request, n_bytes, &charge))
			continue;
		charge_deinit(&answer->charge);
		answer->charge = charge_take(&charge);
		return true;
	}
	entry->has_no_payer = true;
	if ((request = LIST_FIRST(&entry->requests)))
		accounts_left_out(request->accounts, ACCOUNTS_MEMORY);
	return false;
}

/* Looking. */

static void
who_add_object(struct who_entry *entry, enum protocol_object_kind kind, const struct audit_object *object)
{
	struct who *who = entry->who;
	uint32_t at = entry->first + entry->n_objects;

	entry->answer->objects[entry->n_objects++] = (struct protocol_object) {
		.device = object->device, .inode = object->inode, .shm_id = object->shm_id, .kind = kind,
	};
	who->objects[at] = *object;
	who->owners[at] = entry;
	who->question.n_rows++;
}

/* Without asking a disk. */
static void
who_add_fd(struct who_entry *entry, enum protocol_object_kind kind, int fd)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) == 0)
		who_add_object(entry, kind, &(struct audit_object) {
			.device = makedev(status.stx_dev_major, status.stx_dev_minor),
			.inode = status.stx_ino,
			.shm_id = -1,
		});
}

/* What is to be asked about it: nothing, where it has no memory, or none any more. */
static void
who_add_segment(struct who_entry *entry)
{
	const struct segment *segment = registry_find(entry->who->registry, entry->name);
	const struct holding *holding;
	bool is_sysv;

	entry->first = entry->who->question.n_rows;
	entry->n_objects = 0;
	entry->n_maps = 0;
	if (!segment || segment->holding.object.fd < 0)
		return;
	holding = &segment->holding;
	entry->answer->told.generation = segment->generation;
	is_sysv = holding->object.shm_id >= 0;
	if (is_sysv)
		who_add_object(entry, PROTOCOL_OBJECT_DATA, &(struct audit_object) { .shm_id = holding->object.shm_id });
	who_add_fd(entry, is_sysv ? PROTOCOL_OBJECT_STAND_IN : PROTOCOL_OBJECT_DATA, holding->object.fd);
	if (holding->control)
		who_add_fd(entry, PROTOCOL_OBJECT_CONTROL, holding->control->object.fd);
}

/* What is to be looked at a second time, and then that of the uid whose turn it is. NULL: nothing waits. */
static struct who_entry *
who_next(struct who *who)
{
	struct who_entry *entry = TAILQ_FIRST(&who->again);
	struct round *round = entry ? NULL : rounds_take(&who->rounds);
	struct who_request *request;

	if (entry)
		TAILQ_REMOVE(&who->again, entry, link);
	else if (round)
		entry = BASE_CONTAINER_OF(round, struct who_request, round)->entry;
	if (!entry)
		return NULL;
	/* All who asked for the same have it with this one. */
	LIST_FOREACH(request, &entry->requests, link)
		rounds_leave(&who->rounds, &request->round);
	who_entry_wait_no_more(entry);
	return entry;
}

static bool
who_has_waiting(const struct who *who)
{
	return !TAILQ_EMPTY(&who->again) || rounds_first(&who->rounds);
}

/* Asks for as many as one look takes. */
static void
who_look(struct who *who)
{
	static const struct auditor_end nothing = { .text = "" };
	struct who_entry *entry;

	who->question.n_rows = 0;
	for (unsigned n = 0; n < WHO_SEGMENTS && (entry = who_next(who)); n++) {
		if (LIST_EMPTY(&entry->requests)) {
			who_entry_free(entry);
			continue;
		}
		TAILQ_INSERT_TAIL(&who->asked, entry, link);
		entry->has_no_payer = false;
		entry->n_looks++;
		entry->answer->told.looked_ns = clock_realtime_ns();
		who_add_segment(entry);
	}
	who->n_pids = who_own_pids(who, who->pids, WHO_PIDS);
	who->begun_ns = clock_monotonic_ns();
	if (who->question.n_rows)
		auditor_ask(who->auditor, &who->question);
	else
		who_done(&who->question, &nothing);
}

/* As soon as nobody is asked, and who only has ordinary users to serve has rested. */
static void
who_schedule(struct who *who)
{
	uint64_t now_ns = clock_monotonic_ns(), wait_ns = who->rest_until_ns > now_ns ? who->rest_until_ns - now_ns : 0;

	if (TAILQ_EMPTY(&who->ending) && (!TAILQ_EMPTY(&who->asked) || !who_has_waiting(who)))
		return;
	if (who->n_at_once || !TAILQ_EMPTY(&who->ending))
		wait_ns = 0;
	timer_add_ns(&who->timer, wait_ns);
}

static void
who_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct who *who = arg;

	if (TAILQ_EMPTY(&who->ending)) {
		if (TAILQ_EMPTY(&who->asked) && who_has_waiting(who))
			who_look(who);
		return;
	}
	who_hand_out(who);
	who_schedule(who);
}

/* Hearing. */

static bool
who_has_pid(const pid_t *pids, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Some were there when it was asked, and some began since. */
static bool
who_is_own(const struct who *who, pid_t pid)
{
	pid_t pids[WHO_PIDS];

	if (who->auditor->has_other_pids)
		return false;
	return who_has_pid(who->pids, who->n_pids, pid) || who_has_pid(pids, who_own_pids(who, pids, WHO_PIDS), pid);
}

/* False: there is no room for it. */
static bool
who_entry_take(struct who_entry *entry, enum protocol_object_kind kind, const struct audit_holder *holder)
{
	struct who_answer *answer = entry->answer;
	int r = 0;

	/* Nobody pays for what there is none of yet. */
	if (!answer->charge.account && !who_entry_find_payer(entry, who_answer_next_bytes(answer)))
		return false;
	r = who_answer_take(answer, kind, holder);
	if (r == ACCOUNTS_E_LIMIT && who_entry_find_payer(entry, who_answer_next_bytes(answer)))
		r = who_answer_take(answer, kind, holder);
	return r == 0;
}

static int
who_take(struct auditor_question *question, const void *row)
{
	struct who *who = BASE_CONTAINER_OF(question, struct who, question);
	const struct audit_holder *holder = row;
	struct who_entry *entry = who->owners[holder->object];
	struct who_answer *answer = entry->answer;
	enum protocol_object_kind kind = answer->objects[holder->object - entry->first].kind;
	bool is_counted = kind == PROTOCOL_OBJECT_DATA && !(holder->how & AUDIT_IN_IPC_NAMESPACE);

	/* Our own mappings are not among those that the kernel's count is held against. */
	if (is_counted && holder->pid != getpid())
		entry->n_maps += holder->n_maps;
	if (!who_is_own(who, holder->pid) && !who_entry_take(entry, kind, holder))
		answer->told.flags |= PROTOCOL_TOLD_INCOMPLETE;
	return 0;
}

/* Whether the kernel says that somebody has it whom we did not start. All were looked at: or clients may be whom it means. */
static bool
who_is_held(struct segment *segment, bool is_complete)
{
	const struct attachment *attachment;

	if (!is_complete && segment_n_attached(segment))
		return false;
	TAILQ_FOREACH(attachment, &segment->attachments, segment_entry)
		if (attachment->is_marked && attachment_is_held(attachment))
			return true;
	return segment->holding.backend->features & BACKEND_NAMED && !holding_is_alone(&segment->holding);
}

/* How many the kernel counts that no process shows. While workers are at its pages they come and go, and are counted, too. */
static uint32_t
who_count_unseen(const struct who_entry *entry, bool is_complete)
{
	struct segment *segment = who_entry_segment(entry);
	uint64_t n_others, n_known = entry->n_maps;

	if (!segment || segment->provision || segment->growth)
		return 0;
	if (!segment_counts_others(segment))
		return !who_answer_has_holder(entry->answer) && who_is_held(segment, is_complete);
	/* Clients are known, whoever may be looked into. */
	if (!is_complete)
		n_known = max_u64(n_known, segment_n_attached(segment));
	n_others = holding_others(&segment->holding);
	return (uint32_t)(n_others - min_u64(n_others, n_known));
}

/* What the end of the look says of one entry. False: it is to be looked at once more. */
static bool
who_conclude(struct who_entry *entry, const struct auditor_end *end)
{
	struct protocol_told *told = &entry->answer->told;
	bool is_complete = !end->result && !end->n_hidden && !end->is_incomplete;
	struct segment *segment = who_entry_segment(entry);

	told->n_objects = entry->n_objects;
	told->counted = segment && segment_counts_others(segment) ? holding_others(&segment->holding) : PROTOCOL_TOLD_UNCOUNTED;
	told->n_seen = end->n_seen;
	told->n_hidden = end->n_hidden;
	told->n_unseen = who_count_unseen(entry, is_complete);
	if (!told->n_unseen && !end->result)
		who_answer_drop_doubtful(entry->answer);
	if (told->n_unseen && is_complete && entry->n_looks < LOOKS) {
		who_answer_clear(entry->answer);
		*told = (struct protocol_told) { 0 };
		return false;
	}
	if (end->result) {
		/* What came before it failed is no answer. */
		who_answer_clear(entry->answer);
		told->flags |= PROTOCOL_TOLD_FAILED;
	}
	told->flags |= (end->is_incomplete ? PROTOCOL_TOLD_INCOMPLETE : 0) | (end->is_own ? PROTOCOL_TOLD_OWN_RIGHTS : 0) |
	    (entry->who->auditor->has_other_pids ? PROTOCOL_TOLD_OTHER_PIDS : 0);
	(void)snprintf(entry->answer->text, sizeof(entry->answer->text), "%s", end->text);
	charge_deinit(&entry->answer->charge);
	return true;
}

static void
who_done(struct auditor_question *question, const struct auditor_end *end)
{
	struct who *who = BASE_CONTAINER_OF(question, struct who, question);
	uint64_t now_ns = clock_monotonic_ns();
	struct who_entry *entry;

	who->rest_until_ns = now_ns + min_u64(REST_FACTOR * (now_ns - who->begun_ns), REST_MAX_NS);
	while ((entry = TAILQ_FIRST(&who->asked))) {
		TAILQ_REMOVE(&who->asked, entry, link);
		if (LIST_EMPTY(&entry->requests) || who_conclude(entry, end)) {
			TAILQ_INSERT_TAIL(&who->ending, entry, link);
		} else {
			TAILQ_INSERT_TAIL(&who->again, entry, link);
			who_entry_wait(entry);
		}
	}
	who_hand_out(who);
	who_schedule(who);
}

size_t
who_own_pids(const struct who *who, pid_t *pids, size_t max)
{
	size_t n = 0;

	if (max)
		pids[n++] = getpid();
	for (size_t i = 0; i < BASE_ARRAY_SIZE(who->workers); i++)
		n += workers_pids(who->workers[i], pids + n, max - n);
	return n + auditor_pids(who->auditor, pids + n, max - n);
}

int
who_ask(struct who *who, struct segment *segment, struct who_request *request)
{
	struct who_entry *entry;

	who_forget(request);
	HASH_FIND_STR(who->by_name, segment->definition->name, entry);
	if (!entry) {
		entry = who_entry_new(who, segment);
		if (!entry)
			return -ENOMEM;
		who_entry_wait(entry);
	}
	if (request->is_trusted && !entry->at_once) {
		entry->at_once = true;
		who->n_at_once++;
	}
	request->entry = entry;
	LIST_INSERT_HEAD(&entry->requests, request, link);
	if (!entry->n_looks)
		rounds_enter(&who->rounds, &request->round, request->uid);
	who_schedule(who);
	return 0;
}

void
who_forget(struct who_request *request)
{
	struct who_entry *entry = take_ptr(request->entry);

	if (entry) {
		LIST_REMOVE(request, link);
		rounds_leave(&entry->who->rounds, &request->round);
	}
	/* One that is looked at, or is again, stays where it is: nobody hears of it. */
	if (entry && entry->is_waiting && !entry->n_looks && LIST_EMPTY(&entry->requests)) {
		who_entry_wait_no_more(entry);
		who_entry_free(entry);
	}
	request->refusal = 0;
	who_answer_unref(take_ptr(request->answer));
	charge_deinit(&request->charge);
}

int
who_init(struct who *who, struct event_base *base, struct auditor *auditor, struct registry *registry,
    struct workers *workers, struct workers *io_workers)
{
	who->base = base;
	who->auditor = auditor;
	who->registry = registry;
	who->workers[0] = workers;
	who->workers[1] = io_workers;
	who->question = (struct auditor_question) {
		.kind = AUDIT_WHO, .rows = who->objects, .take = who_take, .done = who_done,
	};
	rounds_init(&who->rounds);
	TAILQ_INIT(&who->again);
	TAILQ_INIT(&who->asked);
	TAILQ_INIT(&who->ending);
	return evtimer_assign(&who->timer, base, who_on_timer, who) ? -ENOMEM : 0;
}

static void
who_drop(struct who_entries *entries)
{
	struct who_entry *entry;

	while ((entry = TAILQ_FIRST(entries))) {
		TAILQ_REMOVE(entries, entry, link);
		who_entry_free(entry);
	}
}

void
who_deinit(struct who *who)
{
	if (!who->base)
		return;
	auditor_cancel(&who->question);
	HASH_CLEAR(hh, who->by_name);
	who_drop(&who->again);
	who_drop(&who->asked);
	who_drop(&who->ending);
	if (event_initialized(&who->timer))
		(void)event_del(&who->timer);
}
