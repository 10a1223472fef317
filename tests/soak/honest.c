/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Honest clients: see honest.h. */
#include "config.h"

#include <inttypes.h>
#include <poll.h>

#include "client/segment.h"
#include "tests/soak/board.h"
#include "tests/soak/honest.h"
#include "tests/system/surviving.h"

#define RANGE		4096		/* of a lock of the ledger */
#define WORDS		64		/* that a section changes, behind its counter */
#define SCRATCH_BYTES	(32 * 1024)
#define PAUSE_MS	10
#define REST_MAX_MS	8

const char *const honest_halls[HONEST_HALLS] = { "memfd", "posix", "sysv", "file" };

struct visitor {
	unsigned number;
	uint64_t random;
	struct segment_client *client;
	struct segment *ledger;
	struct harness_conn conn;	/* for what the library has no function for */
};

static bool
is_phase(enum soak_phase phase)
{
	return atomic_load(&soak_board->phase) == phase;
}

static void
pause_ms(int ms)
{
	(void)poll(NULL, 0, ms);
}

static void
become_honest(unsigned number)
{
	if (soak_board->has_uids)
		harness_become(HONEST_UID + number % HONEST_UIDS, HONEST_UID + number % HONEST_UIDS, NULL, 0);
}

static uint64_t
word(uint64_t counter, unsigned i)
{
	return (counter + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void
must(const struct visitor *visitor, int r, const char *what)
{
	harness_assert(r == 0, "honest client %u, %.1f s after the beginning: %s: %s: %s", visitor->number, soak_clock(), what,
	    strerror(-r), segment_error());
}

/* NULL: it was refused in a trouble. */
static struct segment *
attach(struct visitor *visitor, const char *name, unsigned flags)
{
	uint64_t begun_ns = clock_monotonic_ns();
	struct segment *segment = NULL;
	int r = segment_attach(visitor->client, name, NULL, flags, &segment);

	if (!soak_excuse(r, begun_ns))
		must(visitor, r, name);
	return r ? NULL : segment;
}

static void
expect_hall(const struct visitor *visitor, const struct segment *segment, unsigned hall)
{
	const uint64_t *words = segment_data(segment);

	for (size_t at = 0; at < segment_size(segment) / sizeof(*words); at += 64)
		harness_assert(words[at] == word(hall, (unsigned)at), "honest client %u: '%s' has lost what is at %zu", visitor->number,
		    honest_halls[hall], at);
}

static void
visit_hall(struct visitor *visitor)
{
	unsigned hall = soak_draw(&visitor->random, HONEST_HALLS);
	struct segment *segment = attach(visitor, honest_halls[hall], soak_draw(&visitor->random, 2) ? SEGMENT_WRITE : SEGMENT_READ);

	if (!segment)
		return;
	expect_hall(visitor, segment, hall);
	must(visitor, segment_detach(segment), "detach");
	soak_count(SOAK_VISITS);
}

static void
visit_many(struct visitor *visitor)
{
	struct segment_request requests[HONEST_HALLS] = { 0 };
	uint64_t begun_ns = clock_monotonic_ns();
	int r;

	for (unsigned i = 0; i < HONEST_HALLS; i++)
		requests[i] = (struct segment_request) { .name = honest_halls[i], .flags = SEGMENT_READ };
	r = segment_attach_many(visitor->client, requests, HONEST_HALLS);
	if (soak_excuse(r, begun_ns))
		return;
	must(visitor, r, "several at once");
	for (unsigned i = 0; i < HONEST_HALLS; i++) {
		expect_hall(visitor, requests[i].segment, i);
		must(visitor, segment_detach(requests[i].segment), "detach");
	}
	soak_count(SOAK_MANY);
}

/* A counter and words that follow from it. */
static void
add_in_section(struct visitor *visitor)
{
	unsigned lock = soak_draw(&visitor->random, SOAK_LOCKS);
	char *range = (char *)segment_data(visitor->ledger) + (size_t)lock * RANGE;
	uint64_t words[1 + WORDS];

	must(visitor, segment_lock(visitor->ledger, (int)lock), "lock");
	memcpy(words, range, sizeof(words));
	for (unsigned i = 0; i < WORDS; i++)
		harness_assert(words[1 + i] == word(words[0], i), "honest client %u: at %" PRIu64 " word %u of lock %u is wrong",
		    visitor->number, words[0], i, lock);
	words[0]++;
	for (unsigned i = 0; i < WORDS; i++)
		words[1 + i] = word(words[0], i);
	must(visitor, segment_set(visitor->ledger, (int)lock, range, words, sizeof(words)), "set");
	if (soak_draw(&visitor->random, 8) == 0) {
		must(visitor, segment_rollback(visitor->ledger, (int)lock), "rollback");
		return;
	}
	must(visitor, segment_unlock(visitor->ledger, (int)lock), "unlock");
	atomic_fetch_add(&soak_board->seats[visitor->number].n_sections[lock], 1);
	soak_count(SOAK_SECTIONS);
}

static void
read_ledger(struct visitor *visitor)
{
	unsigned lock = soak_draw(&visitor->random, SOAK_LOCKS);
	const volatile uint64_t *range = (const volatile uint64_t *)segment_data(visitor->ledger) + lock * RANGE / sizeof(uint64_t);
	uint64_t words[1 + WORDS];
	uint32_t begun;

	do {
		begun = segment_read_begin(visitor->ledger, (int)lock);
		harness_assert(begun % 2 == 0, "honest client %u: lock %u is poisoned", visitor->number, lock);
		for (unsigned i = 0; i < 1 + WORDS; i++)
			words[i] = range[i];
	} while (segment_read_retry(visitor->ledger, (int)lock, begun));
	for (unsigned i = 0; i < WORDS; i++)
		harness_assert(words[1 + i] == word(words[0], i), "honest client %u read a torn section", visitor->number);
}

static int
ask(struct visitor *visitor, unsigned type, struct protocol_header *request, size_t size, struct harness_reply *ret_reply)
{
	return harness_ask(&visitor->conn, type, request, size, ret_reply);
}

static void
take_down(struct visitor *visitor, const char *name, uint32_t flags)
{
	struct protocol_remove request = { .flags = flags };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	must(visitor, ask(visitor, PROTOCOL_REMOVE, &request.header, sizeof(request), &reply), "remove");
	soak_count(SOAK_REMOVED);
}

/* One that failed for a trouble keeps its name. */
static void
clear_failed(struct visitor *visitor, const char *name)
{
	struct protocol_remove request = { .flags = 0 };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	if (ask(visitor, PROTOCOL_REMOVE, &request.header, sizeof(request), &reply) == 0)
		surviving_await_gone(&visitor->conn, name);
}

/* A name that only this client has: it is free when it was removed. */
static void
build_and_remove(struct visitor *visitor)
{
	bool is_early = soak_draw(&visitor->random, 2);
	uint64_t begun_ns = clock_monotonic_ns();
	struct segment *segment;
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "t-%u", visitor->number);
	r = segment_create(visitor->client, name, SCRATCH_BYTES, 0, &segment);
	if (soak_excuse_create(r, begun_ns)) {
		clear_failed(visitor, name);
		return;
	}
	must(visitor, r, "create");
	soak_count(SOAK_CREATED);
	memset(segment_data(segment), (int)visitor->number, SCRATCH_BYTES);
	if (is_early)
		take_down(visitor, name, PROTOCOL_REMOVE_NOW);
	for (unsigned i = 0; i < SCRATCH_BYTES; i += 512)
		harness_assert(((volatile uint8_t *)segment_data(segment))[i] == visitor->number, "honest client %u: byte %u is lost",
		    visitor->number, i);
	must(visitor, segment_detach(segment), "detach");
	if (is_early)
		return;
	take_down(visitor, name, 0);
	surviving_await_gone(&visitor->conn, name);
}

/* All that have no end in the soak are always there. */
static void
look_around(struct visitor *visitor)
{
	struct protocol_list request = { 0 };
	struct harness_reply reply;
	struct protocol_segment row;
	unsigned n = 0;

	do {
		must(visitor, ask(visitor, PROTOCOL_LIST, &request.header, sizeof(request), &reply), "list");
		for (uint32_t i = 0; i < reply.listed.n_rows; i++) {
			memcpy(&row, reply.bytes + sizeof(reply.listed) + (size_t)i * reply.listed.row_size, sizeof(row));
			request.cursor = row.cursor;
			for (unsigned k = 0; k < HONEST_HALLS; k++)
				n += streq(row.name, honest_halls[k]) && row.state == PROTOCOL_READY;
		}
	} while (reply.header.flags & PROTOCOL_MORE);
	harness_assert(n == HONEST_HALLS, "honest client %u: %u of %d segments are there", visitor->number, n, HONEST_HALLS);
	soak_count(SOAK_LISTS);
}

/* Holds one more meanwhile, so that there is something to count. */
static void
stand_still(struct visitor *visitor)
{
	unsigned hall = soak_draw(&visitor->random, HONEST_HALLS);
	struct segment *segment = attach(visitor, honest_halls[hall], soak_draw(&visitor->random, 2) ? SEGMENT_WRITE : SEGMENT_READ);

	atomic_store(&soak_board->seats[visitor->number].is_still, true);
	while (is_phase(SOAK_STILL))
		pause_ms(PAUSE_MS);
	atomic_store(&soak_board->seats[visitor->number].is_still, false);
	if (segment) {
		expect_hall(visitor, segment, hall);
		must(visitor, segment_detach(segment), "detach");
	}
}

static void
run_visitor(int control, void *arg)
{
	static void (*const deeds[])(struct visitor *visitor) = {
		visit_hall, visit_hall, visit_hall, add_in_section, add_in_section, add_in_section, read_ledger, visit_many,
		build_and_remove, look_around,
	};
	unsigned number = (unsigned)(uintptr_t)arg;
	struct visitor visitor = { .number = number, .random = soak_board->seed + number, .conn = HARNESS_CONN_NULL };

	become_honest(number);
	must(&visitor, segment_connect(&visitor.client, soak_board->socket), "connect");
	harness_open(&visitor.conn, soak_board->socket);
	visitor.conn.is_lasting = true;
	visitor.ledger = attach(&visitor, "ledger", SEGMENT_WRITE);
	harness_say(control, "in");
	while (!is_phase(SOAK_LEAVE)) {
		if (is_phase(SOAK_STILL))
			stand_still(&visitor);
		else
			deeds[soak_draw(&visitor.random, BASE_ARRAY_SIZE(deeds))](&visitor);
		pause_ms((int)soak_draw(&visitor.random, REST_MAX_MS));
	}
	must(&visitor, segment_detach(visitor.ledger), "detach");
	segment_disconnect(visitor.client);
	harness_close(&visitor.conn);
}

void
honest_start_visitor(unsigned seat, struct harness_child *ret_child)
{
	atomic_store(&soak_board->seats[seat].is_still, false);
	harness_child_start(ret_child, run_visitor, (void *)(uintptr_t)seat);
	harness_expect(ret_child->control, "in");
}

static void
run_newcomer(int control, void *arg)
{
	struct visitor visitor = { .number = SOAK_SEATS + (unsigned)(uintptr_t)arg, .random = soak_board->seed ^ (uint64_t)getpid() };

	uint64_t begun_ns = clock_monotonic_ns();
	int r;

	(void)control;
	become_honest(visitor.number);
	r = segment_connect(&visitor.client, soak_board->socket);
	/* Who comes while there are too few descriptors has to come again. */
	if (soak_excuse(r, begun_ns))
		return;
	must(&visitor, r, "connect");
	visit_hall(&visitor);
	segment_disconnect(visitor.client);
	soak_count(SOAK_NEWCOMERS);
}

void
honest_start_newcomer(struct harness_child *ret_child)
{
	static unsigned n;

	harness_child_start(ret_child, run_newcomer, (void *)(uintptr_t)n++);
}

static void
hear_event(const struct segment_event *event, void *arg)
{
	(void)arg;
	if (event->what != SEGMENT_EVENT_LOST)
		soak_count(SOAK_EVENTS);
	soak_count_by(SOAK_EVENTS_LOST, event->lost);
}

static void
run_listener(int control, void *arg)
{
	struct visitor visitor = { .number = 1000 };
	uint64_t begun_ns = clock_monotonic_ns();
	int fd;

	(void)control, (void)arg;
	become_honest(1);
	must(&visitor, segment_connect(&visitor.client, soak_board->socket), "connect");
	visitor.ledger = attach(&visitor, "ledger", SEGMENT_READ);
	fd = segment_event_fd(visitor.client);
	if (fd < 0 && !soak_excuse(fd, begun_ns))
		must(&visitor, fd, "events");
	while (fd >= 0 && is_phase(SOAK_WORK)) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		int r = 0;

		begun_ns = clock_monotonic_ns();
		if (poll(&poll_fd, 1, PAUSE_MS) == 1)
			r = segment_dispatch(visitor.client, hear_event, NULL);
		/* It is connected anew where the daemon that follows has it not. */
		if (r < 0 && !soak_excuse(r, begun_ns) && r != -ENOTCONN)
			must(&visitor, r, "dispatch");
	}
	must(&visitor, segment_detach(visitor.ledger), "detach");
	segment_disconnect(visitor.client);
}

void
honest_start_listener(struct harness_child *ret_child)
{
	harness_child_start(ret_child, run_listener, NULL);
}

/* What a process has had of CPUs, and how long it has waited for one; zeros where that is not told. */
struct schedule {
	uint64_t cpu_ns, waited_ns;
};

static struct schedule
schedule_read(int pid)
{
	unsigned long long cpu_ns = 0, waited_ns = 0;
	cleanup_fclose FILE *f = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu %llu", &cpu_ns, &waited_ns) != 2)
		return (struct schedule) { 0 };
	return (struct schedule) { cpu_ns, waited_ns };
}

/* Whose time a heartbeat took, by the kernel: on a machine with load it is mostly others'. */
static void
note_beat(uint64_t spent_ns, int pid, struct schedule daemon, struct schedule own)
{
	struct schedule daemon_now = schedule_read(pid), own_now = schedule_read((int)getpid());
	uint64_t explained_ns;

	soak_times_note(&soak_board->beats, spent_ns);
	if (!daemon.cpu_ns || daemon_now.cpu_ns < daemon.cpu_ns)
		return;
	explained_ns = daemon_now.cpu_ns - daemon.cpu_ns + daemon_now.waited_ns - daemon.waited_ns + own_now.cpu_ns - own.cpu_ns +
	    own_now.waited_ns - own.waited_ns;
	soak_times_note(&soak_board->busy, daemon_now.cpu_ns - daemon.cpu_ns);
	soak_times_note(&soak_board->unexplained, spent_ns > explained_ns ? spent_ns - explained_ns : 0);
}

static void
beat(struct visitor *visitor)
{
	struct protocol_show request = { .name = "ledger" };
	struct harness_reply reply;
	int pid = atomic_load(&soak_board->daemon_pid);
	struct schedule daemon = schedule_read(pid), own = schedule_read((int)getpid());
	uint64_t n_turns = soak_n_turns(), begun_ns = clock_monotonic_ns(), spent_ns;

	/* For who watches us, in case that it does not end. */
	atomic_store(&soak_board->beats.since_ns, begun_ns);
	must(visitor, ask(visitor, PROTOCOL_SHOW, &request.header, sizeof(request), &reply), "show");
	atomic_store(&soak_board->beats.since_ns, 0);
	spent_ns = clock_monotonic_ns() - begun_ns;
	if (n_turns == soak_n_turns() && pid == atomic_load(&soak_board->daemon_pid))
		note_beat(spent_ns, pid, daemon, own);
	else
		soak_times_note(&soak_board->beats_over, spent_ns);
	soak_count(SOAK_HEARTBEATS);
}

static void
beat_by_attach(struct visitor *visitor)
{
	struct segment *segment;

	soak_times_begin(&soak_board->attaches);
	segment = attach(visitor, "memfd", SEGMENT_READ);
	if (segment)
		must(visitor, segment_detach(segment), "detach");
	soak_times_end(&soak_board->attaches);
	soak_count(SOAK_ATTACH_BEATS);
}

static void
run_heart(int control, void *arg)
{
	struct visitor visitor = { .number = 2000 };

	(void)arg;
	become_honest(2);
	must(&visitor, segment_connect(&visitor.client, soak_board->socket), "connect");
	harness_open(&visitor.conn, soak_board->socket);
	visitor.conn.is_lasting = true;
	harness_say(control, "in");
	for (unsigned n = 0; is_phase(SOAK_WORK); n++) {
		beat(&visitor);
		if (n % 10 == 0)
			beat_by_attach(&visitor);
		pause_ms(PAUSE_MS);
	}
	segment_disconnect(visitor.client);
	harness_close(&visitor.conn);
}

void
honest_start_heart(struct harness_child *ret_child)
{
	harness_child_start(ret_child, run_heart, NULL);
	harness_expect(ret_child->control, "in");
}

static void
begin(struct visitor *visitor, const char *name, unsigned flags)
{
	must(visitor, segment_connect(&visitor->client, soak_board->socket), "connect");
	must(visitor, segment_attach(visitor->client, name, NULL, flags, &visitor->ledger), name);
}

static void
end(struct visitor *visitor)
{
	must(visitor, segment_detach(visitor->ledger), "detach");
	segment_disconnect(visitor->client);
}

void
honest_fill(void)
{
	struct visitor visitor = { .number = 3000 };

	for (unsigned i = 0; i < HONEST_HALLS; i++) {
		uint64_t *words;

		begin(&visitor, honest_halls[i], SEGMENT_WRITE);
		words = segment_data(visitor.ledger);
		for (size_t at = 0; at < segment_size(visitor.ledger) / sizeof(*words); at++)
			words[at] = word(i, (unsigned)at);
		end(&visitor);
	}
	begin(&visitor, "ledger", SEGMENT_WRITE);
	for (unsigned lock = 0; lock < SOAK_LOCKS; lock++) {
		uint64_t *range = (uint64_t *)segment_data(visitor.ledger) + lock * RANGE / sizeof(uint64_t);

		range[0] = 0;
		for (unsigned i = 0; i < WORDS; i++)
			range[1 + i] = word(0, i);
		for (unsigned i = 0; i < SOAK_SEATS; i++)
			atomic_store(&soak_board->seats[i].n_sections[lock], 0);
	}
	end(&visitor);
}

void
honest_expect_ledger(void)
{
	struct visitor visitor = { .number = 3000 };

	begin(&visitor, "ledger", SEGMENT_READ);
	for (unsigned lock = 0; lock < SOAK_LOCKS; lock++) {
		uint64_t n = 0, counter = ((uint64_t *)segment_data(visitor.ledger))[lock * RANGE / sizeof(uint64_t)];

		for (unsigned i = 0; i < SOAK_SEATS; i++)
			n += atomic_load(&soak_board->seats[i].n_sections[lock]);
		harness_assert(counter == n, "%" PRIu64 " sections of lock %u are counted, and %" PRIu64 " were", counter, lock, n);
	}
	end(&visitor);
}
