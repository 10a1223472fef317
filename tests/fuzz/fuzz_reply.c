/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Replies and events as the client library sees them, of a daemon that lies; and control memory as it sees that, which whoever may
 * write the segment has written. The input says what is called, and what of the answers is not true.
 *
 * Whatever the library is told, it returns 0 or an error with a sentence, maps nothing beyond an object's end, and keeps no descriptor
 * and no mapping. What it says it has attached can be read and, if it asked for that, written. Then a daemon that tells the truth is
 * attached to through a new connection.
 */
#include "config.h"

#include <signal.h>

#include "client/client.h"
#include "client/control.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/reply_daemon.h"
#include "tests/fuzz/steps.h"

#define STEPS_MAX	40
#define SEGMENTS_MAX	8
#define MANY_MAX	3

enum step_kind {
	STEP_LIE,			/* a: reply_lie_kind, b: after; x, y */
	STEP_ATTACH,
	STEP_ATTACH_MANY,
	STEP_CREATE,
	STEP_DETACH,
	STEP_LOCK,
	STEP_CHANGE,
	STEP_UNLOCK,
	STEP_READ,
	STEP_STORE,
	STEP_SECTION,			/* a record that an owner has left, with a log */
	STEP_EVENTS,
	STEP_PUSH,
	STEP_SYNC,
	STEP_RECONNECT,
	STEP_N
};

struct attached {
	struct segment *segment;	/* NULL: none */
	bool is_writer;
};

static struct segment_client *client;
static struct attached attached[SEGMENTS_MAX];
static unsigned n_fds_before;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return steps_mutate(data, size, max_size, seed, STEP_N);
}

static int
expect(int r)
{
	fuzz_check_msg(r <= 0 && r > -4096, "the library returned %d", r);
	fuzz_check(r == 0 || segment_error()[0]);
	return r;
}

static unsigned
flags_of(uint8_t choice)
{
	unsigned flags = choice & 1 ? SEGMENT_READ : SEGMENT_WRITE;

	if (choice & 2)
		flags |= SEGMENT_NOWAIT;
	if (choice & 4)
		flags |= SEGMENT_POPULATE;
	if (choice & 8)
		flags |= SEGMENT_DONTFORK;
	return flags;
}

/* What is promised of an attachment: its memory can be used from the first to the last byte. */
static void
take(struct attached *at, struct segment *segment, bool is_writer)
{
	volatile unsigned char *data = segment_data(segment);
	size_t size = segment_size(segment);

	fuzz_check(data && size && !at->segment);
	(void)data[0];
	(void)data[size - 1];
	if (is_writer)
		data[0] = data[size - 1] = 0x77;
	*at = (struct attached) { .segment = segment, .is_writer = is_writer };
}

static void
give_back(struct attached *at)
{
	if (at->segment)
		(void)expect(segment_detach(at->segment));
	at->segment = NULL;
}

static void
attach_many(const struct step *step)
{
	struct segment_request requests[MANY_MAX] = { 0 };
	size_t n = 1 + step->a % MANY_MAX;
	int r;

	for (size_t i = 0; i < n; i++)
		requests[i] = (struct segment_request) { .name = "fuzz", .flags = flags_of((uint8_t)(step->b >> i)) };
	r = expect(segment_attach_many(client, requests, n));
	for (size_t i = 0; i < n; i++) {
		struct attached *at = &attached[(step->which + i) % SEGMENTS_MAX];

		fuzz_check((r == 0) == (requests[i].segment != NULL) && (r == 0 || requests[i].error < 0));
		if (r)
			continue;
		give_back(at);
		take(at, requests[i].segment, requests[i].flags & SEGMENT_WRITE);
	}
}

static void
change(const struct attached *at, const struct step *step)
{
	size_t size = segment_size(at->segment), from = step->x % (size + 1), length = (size_t)(step->y % 600);
	unsigned char *data = segment_data(at->segment);
	int lock = step->a % (REPLY_LOCKS + 1), r;

	if (length > size - from)
		length = size - from;
	r = expect(segment_modify(at->segment, lock, data + from, length));
	/* Only what the lock protects; where that is, its row has said, which may have lied. */
	if (r == 0)
		memset(data + from, 0x33, length);
	if (step->b & 1)
		(void)expect(segment_set(at->segment, lock, data + from, "0123456789", (size_t)min_u64(length, 10)));
}

static void
read_locked(const struct attached *at, int lock)
{
	const struct control_lock *records = at->segment->control;
	uint32_t begun;

	/* It waits while a section changes bytes, for as long as that takes: with a writer that never ends, for ever. */
	if ((uint32_t)lock < at->segment->n_locks && atomic_load(&records[lock].sequence) & 1)
		return;
	begun = segment_read_begin(at->segment, lock);
	(void)segment_read_retry(at->segment, lock, begun);
}

static void
lock_step(const struct attached *at, const struct step *step)
{
	static const struct timespec past = { .tv_sec = 1 };
	int lock = step->a % (REPLY_LOCKS + 1);
	char name[16];

	(void)snprintf(name, sizeof(name), "lock%d", lock);
	lock = segment_find_lock(at->segment, name);
	if (lock < 0)
		lock = step->a % (REPLY_LOCKS + 1);
	if (step->b & 1)
		(void)expect(segment_timedlock(at->segment, lock, &past));
	else
		(void)expect(segment_trylock(at->segment, lock));
	(void)segment_recovered(at->segment, lock);
}

static void
section(const struct step *step)
{
	struct control_lock record = { 0 };
	struct control_footer footer = { .offset_bytes = (uint32_t)step->y % 20000, .length_bytes = (uint32_t)(step->y >> 32) % 64 };
	unsigned lock = step->a % (REPLY_LOCKS - 1);
	uint64_t log_at = REPLY_LOCKS * CONTROL_RECORD_BYTES + lock * 512;

	atomic_store(&record.state, CONTROL_STATE((step->b & 1 ? 99 : (uint32_t)(step->y >> 40)) | (step->b & 2 ? CONTROL_WAITERS : 0),
	    step->b & 4 ? 77 | CONTROL_DIED : 0));
	atomic_store(&record.used_bytes, step->x ? step->x : round_up(footer.length_bytes, CONTROL_ENTRY_UNIT) + sizeof(footer));
	reply_store(1, lock * CONTROL_RECORD_BYTES, &record, sizeof(record));
	reply_store(1, log_at + round_up(footer.length_bytes, CONTROL_ENTRY_UNIT), &footer, sizeof(footer));
}

static void
on_event(const struct segment_event *event, void *arg)
{
	fuzz_check(event->segment && event->lock_name && strlen(event->segment) < 136 && strlen(event->lock_name) < 136);
	++*(unsigned *)arg;
}

static void
events(void)
{
	unsigned n_told = 0;
	int r = segment_event_fd(client);

	if (r < 0) {
		(void)expect(r);
		return;
	}
	r = segment_dispatch(client, on_event, &n_told);
	if (r >= 0)
		fuzz_check(n_told == (unsigned)r);
	else
		(void)expect(r);
	/* What has grown can be used. */
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (attached[i].segment)
			(void)((volatile unsigned char *)segment_data(attached[i].segment))[segment_size(attached[i].segment) - 1];
}

static void
attach_step(struct attached *at, const struct step *step)
{
	struct segment *segment = NULL;
	unsigned flags = flags_of(step->b);
	int r;

	give_back(at);
	if (step->kind % STEP_N == STEP_CREATE)
		r = segment_create(client, "fuzz", REPLY_BYTES, flags | SEGMENT_WRITE, &segment);
	else
		r = segment_attach(client, "fuzz", step->a & 1 ? "l/1" : NULL, flags, &segment);
	fuzz_check((expect(r) == 0) == (segment != NULL));
	if (segment)
		take(at, segment, step->kind % STEP_N == STEP_CREATE || flags & SEGMENT_WRITE);
}

static void
detach_all(void)
{
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		give_back(&attached[i]);
}

static void
reconnect(void)
{
	detach_all();
	segment_disconnect(client);
	client = NULL;
	reply_end();
	fuzz_check(expect(segment_connect(&client, REPLY_PATH)) == 0);
}

static void
run(const struct step *step)
{
	struct attached *at = &attached[step->which % SEGMENTS_MAX];
	enum step_kind kind = step->kind % STEP_N;
	struct reply_lie lie = { .kind = step->a % REPLY_LIE_N, .after = step->b % 8, .at = step->x, .value = step->y };

	if (!at->segment && (kind == STEP_LOCK || kind == STEP_CHANGE || kind == STEP_UNLOCK || kind == STEP_READ || kind == STEP_SYNC))
		return;
	switch (kind) {
	case STEP_LIE:
		reply_lie(&lie);
		break;
	case STEP_ATTACH:
	case STEP_CREATE:
		attach_step(at, step);
		break;
	case STEP_ATTACH_MANY:
		attach_many(step);
		break;
	case STEP_DETACH:
		give_back(at);
		break;
	case STEP_LOCK:
		lock_step(at, step);
		break;
	case STEP_CHANGE:
		change(at, step);
		break;
	case STEP_UNLOCK:
		(void)expect(step->b & 1 ? segment_rollback(at->segment, step->a % (REPLY_LOCKS + 1)) :
		    segment_unlock(at->segment, step->a % (REPLY_LOCKS + 1)));
		break;
	case STEP_READ:
		read_locked(at, step->a % (REPLY_LOCKS + 1));
		break;
	case STEP_STORE:
		reply_store(step->a & 1, step->x % REPLY_BYTES, &step->y, sizeof(step->y));
		break;
	case STEP_SECTION:
		section(step);
		break;
	case STEP_EVENTS:
		events();
		break;
	case STEP_PUSH:
		reply_push(&lie);
		break;
	case STEP_SYNC:
		(void)expect(segment_sync(at->segment));
		break;
	default:
		reconnect();
		break;
	}
}

/* A daemon that tells the truth is believed, whatever was before. */
static void
attach_honestly(void)
{
	static const struct step attach = { .kind = STEP_ATTACH };

	reply_reset();
	reconnect();
	attach_step(&attached[0], &attach);
	fuzz_check_msg(attached[0].segment, "an honest daemon is not believed: %s", segment_error());
	fuzz_check(segment_size(attached[0].segment) == REPLY_BYTES);
	fuzz_check(segment_find_lock(attached[0].segment, "lock1") == 1);
	fuzz_check(segment_trylock(attached[0].segment, 1) == 0 && segment_unlock(attached[0].segment, 1) == 0);
	detach_all();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	fuzz_check(segment_connect(&client, REPLY_PATH) == 0);
	attach_honestly();
	segment_disconnect(client);
	client = NULL;
	reply_end();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size };
	struct step step;
	unsigned n;

	if (!n_fds_before)
		n_fds_before = fuzz_count_fds(false);
	reply_reset();
	fuzz_check(segment_connect(&client, REPLY_PATH) == 0);
	for (unsigned i = 0; i < STEPS_MAX && input.left; i++) {
		(void)fuzz_bytes(&input, &step, sizeof(step));
		run(&step);
	}
	attach_honestly();
	segment_disconnect(client);
	client = NULL;
	reply_end();
	fuzz_check_msg(reply_mapped_bytes() == 0, "%ju bytes are mapped still", (uintmax_t)reply_mapped_bytes());
	n = fuzz_count_fds(false);
	if (n != n_fds_before)
		(void)fuzz_count_fds(true);
	fuzz_check_msg(n == n_fds_before, "%u descriptors, and there were %u", n, n_fds_before);
	return 0;
}
