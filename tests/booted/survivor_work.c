/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client at work while daemons die: sections under locks, bytes that nobody changes and bytes that only it changes, and requests
 * one after the other. It knows nothing of the daemon's deaths, and must not notice one.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "client/connection.h"
#include "client/segment.h"
#include "tests/booted/survivor.h"

/* A segment: areas, one for each lock; slots, one for each client; and bytes that never change. */
#define AREA_EVERY	(16 * KIB)
#define AREA_WORDS	256
#define SLOTS_AT	(128 * KIB)
#define SLOT_BYTES	(4 * KIB)
#define CONSTANT_AT	(256 * KIB)
#define CREATED_BYTES	(64 * KIB)
#define HANG_S		120		/* no request takes so long, however crowded the machine, and though it stands still for a while */
#define WORKER_EVERY	4		/* one of so many clients is in sections all the time, and never waits for a daemon */

struct area {
	uint64_t sum;			/* of all that follows */
	uint64_t n_sections;
	uint64_t by_client[SURVIVOR_CLIENTS];
	uint64_t words[AREA_WORDS - 2 - SURVIVOR_CLIENTS];
};
static_assert(sizeof(struct area) == AREA_WORDS * sizeof(uint64_t), "area");

struct work {
	const struct survivor_client *self;
	struct survivor_figures *figures;
	struct segment_client *client;
	struct connection lister;	/* the library has no list */
	struct segment *held[SURVIVOR_SEGMENTS];
	struct segment *created;
	char created_name[64];
	uint64_t slot_round[SURVIVOR_SEGMENTS];
	int locks[SURVIVOR_SEGMENTS][SURVIVOR_LOCKS];
	uint64_t connections;		/* which sockets this process has */
	uint64_t random;
	uint64_t n_created;
	uint64_t started_ns;		/* the request that is under way */
};

static struct work work;

static void __attribute__((noreturn)) BASE_PRINTF(1, 2)
fail(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* One write each: many processes share the output. */
	(void)dprintf(STDOUT_FILENO, "WRONG: client %u (uid %u): %s\n", work.self ? work.self->number : 0, (unsigned)getuid(), text);
	_exit(1);
}

static uint64_t
mixed(uint64_t x)
{
	x *= UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 29;
	return x * UINT64_C(0xbf58476d1ce4e5b9);
}

static uint64_t
drawn(uint64_t below)
{
	work.random = mixed(work.random + 1);
	return (work.random >> 16) % below;
}

/* 0 of zeros, as a segment begins. */
static uint64_t
area_sum(const struct area *area)
{
	const uint64_t *words = (const uint64_t *)(const void *)area;
	uint64_t sum = 0;

	for (size_t i = 1; i < AREA_WORDS; i++)
		sum = (sum ^ words[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static struct area *
area_of(const struct segment *segment, unsigned lock)
{
	return (struct area *)(void *)((char *)segment_data(segment) + lock * AREA_EVERY);
}

/* --- bytes ------------------------------------------------------------------------------------------------------------ */

static void
constant_fill(const struct segment *segment)
{
	uint64_t *words = segment_data(segment);

	for (size_t i = CONSTANT_AT / sizeof(*words); i < segment_size(segment) / sizeof(*words); i++)
		words[i] = mixed(i);
}

static void
constant_check(const struct segment *segment, const char *name, size_t from, size_t to)
{
	const uint64_t *words = segment_data(segment);

	for (size_t i = from / sizeof(*words); i < to / sizeof(*words); i++)
		if (words[i] != mixed(i))
			fail("'%s' has other bytes at %zu: 0x%" PRIx64 ", expected 0x%" PRIx64, name, i * sizeof(*words), words[i],
			    mixed(i));
}

static void
constant_check_some(const struct segment *segment, const char *name)
{
	size_t page = CONSTANT_AT + drawn((segment_size(segment) - CONSTANT_AT) / SLOT_BYTES) * SLOT_BYTES;

	constant_check(segment, name, page, page + SLOT_BYTES);
}

/* What only this client writes, without a lock: what it wrote last is there, also by another mapping. */
static void
slot_check(const struct segment *segment, unsigned i)
{
	const uint64_t *words = (const void *)((const char *)segment_data(segment) + SLOTS_AT + work.self->number * SLOT_BYTES);

	for (size_t j = 0; j < SLOT_BYTES / sizeof(*words); j++) {
		uint64_t expected = work.slot_round[i] ? mixed(work.slot_round[i] << 16 ^ j) : 0;

		if (words[j] != expected)
			fail("'%s' lost what this client stored: 0x%" PRIx64 " in word %zu, expected 0x%" PRIx64,
			    work.self->segments[i], words[j], j, expected);
	}
}

static void
slot_write(unsigned i)
{
	uint64_t *words = (void *)((char *)segment_data(work.held[i]) + SLOTS_AT + work.self->number * SLOT_BYTES);

	work.slot_round[i]++;
	for (size_t j = 0; j < SLOT_BYTES / sizeof(*words); j++)
		words[j] = mixed(work.slot_round[i] << 16 ^ j);
}

/* --- sections --------------------------------------------------------------------------------------------------------- */

static void
area_check(const struct area *area, const char *name, unsigned lock)
{
	uint64_t sum = area_sum(area), n = 0;

	if (sum != area->sum)
		fail("'%s', lock %u: the checksum is 0x%" PRIx64 ", of bytes that have 0x%" PRIx64, name, lock, area->sum, sum);
	for (unsigned i = 0; i < SURVIVOR_CLIENTS; i++)
		n += area->by_client[i];
	if (n != area->n_sections)
		fail("'%s', lock %u: %" PRIu64 " sections by all clients, %" PRIu64 " by each", name, lock, area->n_sections, n);
}

/* One section; every eighth is undone, and leaves nothing. */
static void
section(unsigned i, unsigned lock)
{
	const char *name = work.self->segments[i];
	struct segment *segment = work.held[i];
	struct area *area = area_of(segment, lock);
	unsigned number = work.self->number;
	bool undo = drawn(8) == 0;

	if (segment_lock(segment, work.locks[i][lock]) < 0)
		fail("'%s', lock %u: %s", name, lock, segment_error());
	if (segment_recovered(segment, work.locks[i][lock]))
		fail("'%s', lock %u: an owner has died, it says, but none has", name, lock);
	area_check(area, name, lock);
	if (area->by_client[number] != work.figures->sections[i][lock])
		fail("'%s', lock %u: %" PRIu64 " sections of this client, which did %" PRIu64, name, lock, area->by_client[number],
		    work.figures->sections[i][lock]);
	if (segment_modify(segment, work.locks[i][lock], area, sizeof(*area)) < 0)
		fail("'%s', lock %u: %s", name, lock, segment_error());
	area->n_sections++;
	area->by_client[number]++;
	for (unsigned j = 0; j < 8; j++)
		area->words[drawn(BASE_ARRAY_SIZE(area->words))] = work.random;
	area->sum = area_sum(area);
	if ((undo ? segment_rollback(segment, work.locks[i][lock]) : segment_unlock(segment, work.locks[i][lock])) < 0)
		fail("'%s', lock %u: %s", name, lock, segment_error());
	if (!undo)
		work.figures->sections[i][lock]++;
}

/* Reads without taking the lock. */
static void
look(unsigned i, unsigned lock)
{
	struct segment *segment = work.held[i];
	struct area copy;
	uint32_t begun;

	do {
		begun = segment_read_begin(segment, work.locks[i][lock]);
		memcpy(&copy, area_of(segment, lock), sizeof(copy));
	} while (segment_read_retry(segment, work.locks[i][lock], begun));
	area_check(&copy, work.self->segments[i], lock);
}

/* --- requests --------------------------------------------------------------------------------------------------------- */

static void
request_begin(void)
{
	work.started_ns = clock_monotonic_ns();
	(void)alarm(HANG_S);
}

static void
request_end(bool is_attach)
{
	uint64_t ns = clock_monotonic_ns() - work.started_ns;

	(void)alarm(0);
	work.figures->requests++;
	if (ns > work.figures->longest_request_ns)
		work.figures->longest_request_ns = ns;
	if (is_attach && ns > work.figures->longest_attach_ns)
		work.figures->longest_attach_ns = ns;
}

static struct segment *
attach(const char *name, unsigned flags)
{
	struct segment *segment;

	request_begin();
	if (segment_attach(work.client, name, NULL, flags, &segment) < 0)
		fail("attach '%s': %s", name, segment_error());
	request_end(true);
	return segment;
}

static void
detach(struct segment *segment, const char *name)
{
	request_begin();
	if (segment_detach(segment) < 0)
		fail("detach '%s': %s", name, segment_error());
	request_end(false);
}

static void
attach_one(void)
{
	unsigned i = (unsigned)drawn(work.self->n_segments);
	const char *name = work.self->segments[i];
	struct segment *segment = attach(name, drawn(2) ? SEGMENT_WRITE : SEGMENT_READ);

	if (segment_generation(segment) != segment_generation(work.held[i]))
		fail("'%s' is another one: generation %" PRIu64 ", it was %" PRIu64, name, segment_generation(segment),
		    segment_generation(work.held[i]));
	constant_check_some(segment, name);
	slot_check(segment, i);
	detach(segment, name);
}

static void
attach_all(void)
{
	struct segment_request requests[SURVIVOR_SEGMENTS];
	unsigned n = work.self->n_segments;

	for (unsigned i = 0; i < n; i++)
		requests[i] = (struct segment_request){ .name = work.self->segments[i], .flags = SEGMENT_READ };
	request_begin();
	if (segment_attach_many(work.client, requests, n) < 0)
		fail("attach all: %s", segment_error());
	request_end(true);
	for (unsigned i = 0; i < n; i++) {
		slot_check(requests[i].segment, i);
		detach(requests[i].segment, requests[i].name);
	}
}

/* A name is made once: a request that were carried out twice would be refused. */
static struct segment *
create(char name[64])
{
	struct segment *segment;
	const uint64_t *words;

	(void)snprintf(name, 64, "survive-%u-%u-%" PRIu64, (unsigned)getuid(), work.self->number, work.n_created++);
	request_begin();
	if (segment_create(work.client, name, CREATED_BYTES, 0, &segment) < 0)
		fail("create '%s': %s", name, segment_error());
	request_end(false);
	words = segment_data(segment);
	for (size_t i = 0; i < CREATED_BYTES / sizeof(*words); i++)
		if (words[i])
			fail("'%s' was just created, and is not empty", name);
	return segment;
}

static void
create_one(void)
{
	char name[64];
	struct segment *segment = create(name);

	memset(segment_data(segment), 0xa5, CREATED_BYTES);
	detach(segment, name);
}

static void
created_check(const struct segment *segment)
{
	const uint64_t *words = segment_data(segment);

	for (size_t i = 0; i < CREATED_BYTES / sizeof(*words); i++)
		if (words[i] != mixed(i ^ work.self->number))
			fail("'%s', which this client created, has other bytes", work.created_name);
}

static void
attach_created(void)
{
	struct segment *segment = attach(work.created_name, SEGMENT_READ);

	created_check(segment);
	detach(segment, work.created_name);
}

static bool
is_listed(const char *rows, uint32_t n, uint32_t row_size, const char *name, uint64_t generation)
{
	struct protocol_segment row;

	for (uint32_t i = 0; i < n; i++) {
		memcpy(&row, rows + (size_t)i * row_size, sizeof(row));
		if (strcmp(row.name, name))
			continue;
		if (row.generation != generation || row.state != PROTOCOL_READY || row.writers == 0)
			fail("list: '%s' has generation %" PRIu64 ", state %u and %u writers; expected %" PRIu64 ", ready, and some",
			    name, row.generation, row.state, row.writers, generation);
		return true;
	}
	return false;
}

static void
list(void)
{
	static _Alignas(8) char reply[PROTOCOL_MESSAGE_MAX];
	struct protocol_list request = { .cursor = 0 };
	struct protocol_listed listed;
	size_t size;

	request_begin();
	if (connection_request(&work.lister, PROTOCOL_LIST, &request.header, sizeof(request), reply, sizeof(reply), &size, NULL, 0) < 0)
		fail("list: %s", work.lister.error);
	request_end(false);
	memcpy(&listed, reply, sizeof(listed));
	for (unsigned i = 0; i < work.self->n_segments; i++)
		if (!is_listed(reply + sizeof(listed), listed.n_rows, listed.row_size, work.self->segments[i],
		    segment_generation(work.held[i])))
			fail("list: no '%s' among %u segments", work.self->segments[i], listed.n_rows);
}

static void
take_event(const struct segment_event *event, void *arg)
{
	(void)arg;
	if (event->what == SEGMENT_EVENT_DIED || event->what == SEGMENT_EVENT_POISONED || event->what == SEGMENT_EVENT_FAILED)
		fail("the event %d came, of '%s'; nobody died, and nothing failed", event->what, event->segment);
}

static void
hear_events(void)
{
	if (segment_dispatch(work.client, take_event, NULL) < 0)
		fail("events: %s", segment_error());
}

/* --- its life --------------------------------------------------------------------------------------------------------- */

/* Which sockets there are, by what the kernel calls them: a connection that was made anew is another. */
static uint64_t
connections(void)
{
	uint64_t sum = 0;
	struct stat st;

	for (int fd = 0; fd < 256; fd++)
		if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			sum += mixed((uint64_t)st.st_ino);
	return sum;
}

static void
find_locks(unsigned i)
{
	char name[16];

	for (unsigned lock = 0; lock < SURVIVOR_LOCKS; lock++) {
		(void)snprintf(name, sizeof(name), "lock%u", lock);
		work.locks[i][lock] = segment_find_lock(work.held[i], name);
		if (work.locks[i][lock] < 0)
			fail("'%s' has no lock '%s': %s", work.self->segments[i], name, segment_error());
	}
}

static void
start(const struct survivor_client *self)
{
	uint64_t *words;

	work.self = self;
	work.figures = &self->board->figures[self->number];
	work.random = mixed((uint64_t)getpid() ^ clock_monotonic_ns());
	connection_init(&work.lister);
	if (connection_open(&work.lister, NULL) < 0)
		fail("connect: %s", work.lister.error);
	if (segment_connect(&work.client, NULL) < 0 || segment_event_fd(work.client) < 0)
		fail("connect: %s", segment_error());
	for (unsigned i = 0; i < self->n_segments; i++) {
		work.held[i] = attach(self->segments[i], SEGMENT_WRITE);
		find_locks(i);
	}
	work.created = create(work.created_name);
	words = segment_data(work.created);
	for (size_t i = 0; i < CREATED_BYTES / sizeof(*words); i++)
		words[i] = mixed(i ^ self->number);
	work.connections = connections();
}

static void
sections(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned j = (unsigned)drawn(work.self->n_segments), lock = (unsigned)drawn(SURVIVOR_LOCKS);

		section(j, lock);
		if (drawn(4) == 0)
			look(j, lock);
	}
}

static void
turn(void)
{
	static void (*const requests[])(void) = {
		attach_one, attach_one, attach_one, attach_one, attach_all, attach_created, create_one, list
	};
	unsigned i = (unsigned)drawn(work.self->n_segments);

	sections(2);
	constant_check_some(work.held[i], work.self->segments[i]);
	slot_check(work.held[i], i);
	slot_write(i);
	if (work.self->number % WORKER_EVERY)
		requests[drawn(BASE_ARRAY_SIZE(requests))]();
	hear_events();
}

/* All of it, when nobody is at work any more. */
static void
check_all(void)
{
	for (unsigned i = 0; i < work.self->n_segments; i++) {
		constant_check(work.held[i], work.self->segments[i], CONSTANT_AT, segment_size(work.held[i]));
		slot_check(work.held[i], i);
		for (unsigned lock = 0; lock < SURVIVOR_LOCKS; lock++)
			look(i, lock);
	}
	created_check(work.created);
	list();
	hear_events();
	if (connections() != work.connections)
		fail("a connection was made anew");
}

/* True: it goes on. */
static bool
rest(void)
{
	char byte = 'r';

	check_all();
	if (send(work.self->control, &byte, 1, MSG_NOSIGNAL) != 1)
		return false;
	return recv(work.self->control, &byte, 1, 0) == 1 && byte == 'w';
}

void
survivor_work(const struct survivor_client *self)
{
	start(self);
	do {
		while (self->board->stage == SURVIVOR_WORK)
			turn();
	} while (rest());
	check_all();
	detach(work.created, work.created_name);
	for (unsigned i = 0; i < self->n_segments; i++)
		detach(work.held[i], self->segments[i]);
	connection_close(&work.lister);
	segment_disconnect(work.client);
}

/* --- other lives ------------------------------------------------------------------------------------------------------ */

static void
attach_each(unsigned n_segments, char *const *segments)
{
	if (segment_connect(&work.client, NULL) < 0)
		fail("connect: %s", segment_error());
	for (unsigned i = 0; i < n_segments; i++)
		if (segment_attach(work.client, segments[i], NULL, SEGMENT_WRITE, &work.held[i]) < 0)
			fail("attach '%s': %s", segments[i], segment_error());
}

/* Leaves all it has locked torn: whoever puts it right has to undo it. */
void
survivor_hold(const char *lock, unsigned n_segments, char *const *segments)
{
	attach_each(n_segments, segments);
	for (unsigned i = 0; i < n_segments; i++) {
		int index = segment_find_lock(work.held[i], lock);
		struct area *area = area_of(work.held[i], (unsigned)(index < 0 ? 0 : index));

		if (index < 0 || segment_lock(work.held[i], index) < 0 ||
		    segment_modify(work.held[i], index, area, sizeof(*area)) < 0)
			fail("'%s', lock '%s': %s", segments[i], lock, segment_error());
		memset(area, 0xff, sizeof(*area));
	}
	(void)dprintf(STDOUT_FILENO, "held\n");
	for (;;)
		(void)pause();
}

void
survivor_fill(unsigned n_segments, char *const *segments)
{
	attach_each(n_segments, segments);
	for (unsigned i = 0; i < n_segments; i++)
		constant_fill(work.held[i]);
}

void
survivor_check(unsigned n_segments, char *const *segments)
{
	attach_each(n_segments, segments);
	for (unsigned i = 0; i < n_segments; i++) {
		constant_check(work.held[i], segments[i], CONSTANT_AT, segment_size(work.held[i]));
		for (unsigned lock = 0; lock < SURVIVOR_LOCKS; lock++)
			area_check(area_of(work.held[i], lock), segments[i], lock);
	}
}
