/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients of three uids verify checksums and counters under locks without pause, and attach, detach, create, remove and list as
 * fast as they can, while their daemon is killed at random moments, also in its start, and handed over: nothing is lost, and no
 * client sees more of it than a late reply.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "client/client.h"
#include "tests/system/suite.h"
#include "tests/system/surviving.h"
#include "tests/system/world.h"

#define N_CLIENTS_MAX	20
#define N_LOCKS		4
#define RANGE		4096		/* of a lock */
#define WORDS		64		/* that a section changes, behind its counter */
#define SCRATCH_BYTES	(32 * 1024)
#define PAUSE_MAX_US	40000
#define START_MAX_US	30000		/* from a launch to a kill that may come before it is ready */

static const char *const halls[] = { "memfd", "posix", "sysv", "file" };

static const uid_t uids[] = { 0, HARNESS_NOBODY, 12345 };

/* What a client leaves for the test to see. */
struct seat {
	_Alignas(64) _Atomic uint64_t n_requests;
	_Atomic uint64_t n_sections[N_LOCKS];
	_Atomic uint64_t longest_ns;	/* of an attach */
};

struct storm {
	_Atomic bool is_over;
	uint64_t random;
	struct seat seats[N_CLIENTS_MAX];
};

static struct harness_manager manager;
static struct storm *storm;

static uint32_t
draw(uint64_t *random, uint32_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*random >> 33) % below;
}

/* In a client */

struct visitor {
	struct seat *seat;
	unsigned number;
	uint64_t random;
	struct segment_client *client;
	struct harness_conn conn;	/* what the library has no function for */
	struct segment *ledger;		/* with locks; held all the time */
};

static uint64_t
word(uint64_t counter, unsigned i)
{
	return (counter + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void
must(struct visitor *visitor, int r, const char *what)
{
	harness_assert(r == 0, "client %u: %s: %s: %s", visitor->number, what, strerror(-r), segment_error());
}

static struct segment *
attach(struct visitor *visitor, const char *name, unsigned flags)
{
	uint64_t begun_ns = clock_monotonic_ns(), took_ns;
	struct segment *segment;

	must(visitor, segment_attach(visitor->client, name, NULL, flags, &segment), name);
	took_ns = clock_monotonic_ns() - begun_ns;
	atomic_fetch_add(&visitor->seat->n_requests, 1);
	if (took_ns > atomic_load(&visitor->seat->longest_ns))
		atomic_store(&visitor->seat->longest_ns, took_ns);
	return segment;
}

/* A counter and words that follow from it. */
static void
add_in_section(struct visitor *visitor)
{
	unsigned lock = draw(&visitor->random, N_LOCKS);
	char *range = (char *)segment_data(visitor->ledger) + (size_t)lock * RANGE;
	uint64_t words[1 + WORDS];

	must(visitor, segment_lock(visitor->ledger, (int)lock), "lock");
	memcpy(words, range, sizeof(words));
	for (unsigned i = 0; i < WORDS; i++)
		harness_assert(words[1 + i] == word(words[0], i), "client %u: at %" PRIu64 " word %u of lock %u is wrong", visitor->number,
		    words[0], i, lock);
	words[0]++;
	for (unsigned i = 0; i < WORDS; i++)
		words[1 + i] = word(words[0], i);
	must(visitor, segment_set(visitor->ledger, (int)lock, range, words, sizeof(words)), "set");
	must(visitor, segment_unlock(visitor->ledger, (int)lock), "unlock");
	atomic_fetch_add(&visitor->seat->n_sections[lock], 1);
}

static void
visit_hall(struct visitor *visitor)
{
	unsigned i = draw(&visitor->random, BASE_ARRAY_SIZE(halls));
	bool writes = draw(&visitor->random, 2);
	struct segment *segment = attach(visitor, halls[i], writes ? SEGMENT_WRITE : SEGMENT_READ);
	const uint64_t *words = segment_data(segment);

	for (size_t at = 0; at < segment_size(segment) / sizeof(*words); at += 64)
		harness_assert(words[at] == word(i, (unsigned)at), "client %u: '%s' has lost what is at %zu", visitor->number, halls[i], at);
	must(visitor, segment_detach(segment), "detach");
	atomic_fetch_add(&visitor->seat->n_requests, 1);
}

static int
ask(struct visitor *visitor, unsigned type, struct protocol_header *request, size_t size, struct harness_reply *ret_reply)
{
	surviving_send(&visitor->conn, type, request, size);
	atomic_fetch_add(&visitor->seat->n_requests, 1);
	return surviving_hear(&visitor->conn, ret_reply);
}

static void
take_down(struct visitor *visitor, const char *name, uint32_t flags)
{
	struct protocol_remove request = { .flags = flags };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = ask(visitor, PROTOCOL_REMOVE, &request.header, sizeof(request), &reply);
	harness_assert(r == 0, "client %u: remove: %s", visitor->number, strerror(-r));
}

/* A name that only this client has: it is free when it was removed. */
static void
build_and_remove(struct visitor *visitor)
{
	bool is_early = draw(&visitor->random, 2);
	struct segment *segment;
	char name[16];

	(void)snprintf(name, sizeof(name), "t-%u", visitor->number);
	must(visitor, segment_create(visitor->client, name, SCRATCH_BYTES, 0, &segment), "create");
	memset(segment_data(segment), (int)visitor->number, SCRATCH_BYTES);
	if (is_early)
		take_down(visitor, name, PROTOCOL_REMOVE_NOW);
	for (unsigned i = 0; i < SCRATCH_BYTES; i += 512)
		harness_assert(((volatile uint8_t *)segment_data(segment))[i] == visitor->number, "client %u: byte %u is lost",
		    visitor->number, i);
	must(visitor, segment_detach(segment), "detach");
	atomic_fetch_add(&visitor->seat->n_requests, 2);
	if (is_early)
		return;
	take_down(visitor, name, 0);
	surviving_await_gone(&visitor->conn, name);
}

/* All that have no end in the storm are always there. */
static void
look_around(struct visitor *visitor)
{
	struct protocol_list request = { 0 };
	struct harness_reply reply;
	struct protocol_segment row;
	unsigned n_halls = 0;

	ck_assert_int_eq(ask(visitor, PROTOCOL_LIST, &request.header, sizeof(request), &reply), 0);
	for (uint32_t i = 0; i < reply.listed.n_rows; i++) {
		memcpy(&row, reply.bytes + sizeof(reply.listed) + (size_t)i * reply.listed.row_size, sizeof(row));
		for (unsigned k = 0; k < BASE_ARRAY_SIZE(halls); k++)
			n_halls += streq(row.name, halls[k]) && row.state == PROTOCOL_READY;
	}
	harness_assert(n_halls == BASE_ARRAY_SIZE(halls), "client %u: %u segments are there", visitor->number, n_halls);
}

static void
run_visitor(int control, void *arg)
{
	static void (*const deeds[])(struct visitor *visitor) = {
		visit_hall, visit_hall, visit_hall, add_in_section, add_in_section, build_and_remove, look_around,
	};
	unsigned number = (unsigned)(uintptr_t)arg;
	struct visitor visitor = {
		.seat = &storm->seats[number], .number = number, .random = storm->random + number, .conn = HARNESS_CONN_NULL,
	};

	if (geteuid() == 0 && uids[number % BASE_ARRAY_SIZE(uids)])
		harness_become(uids[number % BASE_ARRAY_SIZE(uids)], uids[number % BASE_ARRAY_SIZE(uids)], NULL, 0);
	must(&visitor, segment_connect(&visitor.client, manager.daemon.socket), "connect");
	harness_open(&visitor.conn, manager.daemon.socket);
	visitor.ledger = attach(&visitor, "ledger", SEGMENT_WRITE);
	harness_say(control, "in");
	while (!atomic_load(&storm->is_over))
		deeds[draw(&visitor.random, BASE_ARRAY_SIZE(deeds))](&visitor);
	must(&visitor, segment_detach(visitor.ledger), "detach");
	harness_assert(visitor.client->epoch == 1, "client %u connected %" PRIu64 " times", number, visitor.client->epoch);
	segment_disconnect(visitor.client);
	harness_close(&visitor.conn);
}

/* The test's side */

static void
configure(void)
{
	char body[2048];

	(void)snprintf(body, sizeof(body), "segments = ( { name = \"ledger\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; locks = ( "
	    "{ name = \"a\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; }, { name = \"b\"; offset = \"4KiB\"; length = \"4KiB\"; "
	    "undo = \"4KiB\"; }, { name = \"c\"; offset = \"8KiB\"; length = \"4KiB\"; undo = \"4KiB\"; }, { name = \"d\"; "
	    "offset = \"12KiB\"; length = \"4KiB\"; undo = \"4KiB\"; } ); },\n"
	    "{ name = \"memfd\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; },\n"
	    "{ name = \"posix\"; backend = \"posix\"; object = \"/s\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; },\n"
	    "{ name = \"sysv\"; backend = \"sysv\"; key = 0x5e6a1d; size = \"64KiB\"; mode = \"0666\"; mlock = false; },\n"
	    "{ name = \"file\"; backend = \"file\"; path = \"%s/data\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; } );\n"
	    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; max_count = 100; lifetime = \"persistent\"; mlock = false; } );",
	    manager.daemon.dir);
	harness_daemon_configure(&manager.daemon, "limits = { clients = 4096; attachments = 65536; bytes = \"1GiB\"; };", body);
}

static void
fill(void)
{
	struct visitor visitor = { .number = N_CLIENTS_MAX, .seat = &storm->seats[0] };

	must(&visitor, segment_connect(&visitor.client, manager.daemon.socket), "connect");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(halls); i++) {
		struct segment *segment = attach(&visitor, halls[i], SEGMENT_WRITE);
		uint64_t *words = segment_data(segment);

		for (size_t at = 0; at < segment_size(segment) / sizeof(*words); at++)
			words[at] = word(i, (unsigned)at);
		must(&visitor, segment_detach(segment), "detach");
	}
	visitor.ledger = attach(&visitor, "ledger", SEGMENT_WRITE);
	for (unsigned lock = 0; lock < N_LOCKS; lock++)
		for (unsigned i = 0; i < WORDS; i++)
			((uint64_t *)segment_data(visitor.ledger))[lock * RANGE / sizeof(uint64_t) + 1 + i] = word(0, i);
	must(&visitor, segment_detach(visitor.ledger), "detach");
	segment_disconnect(visitor.client);
}

/* Nobody ends meanwhile, unless something was found to be wrong. */
static void
pause_us(const struct harness_child *clients, unsigned n, uint32_t max_us)
{
	struct timespec timeout = { .tv_nsec = (long)draw(&storm->random, max_us) * 1000 };
	struct pollfd fds[N_CLIENTS_MAX];

	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd) { .fd = clients[i].pidfd, .events = POLLIN };
	harness_assert(ppoll(fds, n, &timeout, NULL) == 0, "a client ended by itself");
}

/* It may not have come to know the signal for a hand-over yet. */
static void
end_daemon(int signal)
{
	int status = harness_manager_end(&manager, signal);

	harness_assert(status == -signal || (signal == SIGUSR2 && status == 0), "after signal %d the daemon ended with %d", signal, status);
}

static void
blow(const struct harness_child *clients, unsigned n_clients, unsigned n_kills, unsigned n_handovers)
{
	unsigned n_early = 0, n = n_kills + n_handovers;

	while (n_kills + n_handovers) {
		int signal = draw(&storm->random, n_kills + n_handovers) < n_kills ? SIGKILL : SIGUSR2;

		n_kills -= signal == SIGKILL;
		n_handovers -= signal == SIGUSR2;
		pause_us(clients, n_clients, PAUSE_MAX_US);
		end_daemon(signal);
		harness_manager_launch(&manager);
		/* Of three one is killed on its way. */
		if (draw(&storm->random, 3) == 0) {
			pause_us(clients, n_clients, START_MAX_US);
			end_daemon(SIGKILL);
			harness_manager_launch(&manager);
			n_early++;
		}
		harness_manager_await_ready(&manager);
	}
	printf("%u ended when they were ready, %u in or after their start\n", n, n_early);
}

static void
expect_nothing_lost(unsigned n_clients)
{
	uint64_t n_requests = 0, longest_ns = 0, n_sections = 0;
	struct visitor visitor = { .number = N_CLIENTS_MAX, .seat = &storm->seats[0] };

	must(&visitor, segment_connect(&visitor.client, manager.daemon.socket), "connect");
	visitor.ledger = attach(&visitor, "ledger", SEGMENT_READ);
	for (unsigned lock = 0; lock < N_LOCKS; lock++) {
		uint64_t n = 0, counter = ((uint64_t *)segment_data(visitor.ledger))[lock * RANGE / sizeof(uint64_t)];

		for (unsigned i = 0; i < n_clients; i++)
			n += atomic_load(&storm->seats[i].n_sections[lock]);
		harness_assert(counter == n, "%" PRIu64 " sections of lock %u are counted, and %" PRIu64 " were", counter, lock, n);
		n_sections += n;
	}
	must(&visitor, segment_detach(visitor.ledger), "detach");
	segment_disconnect(visitor.client);
	for (unsigned i = 0; i < n_clients; i++) {
		n_requests += atomic_load(&storm->seats[i].n_requests);
		longest_ns = max_u64(longest_ns, atomic_load(&storm->seats[i].longest_ns));
	}
	printf("%" PRIu64 " requests and %" PRIu64 " sections; an attach had to wait %" PRIu64 " ms at most\n", n_requests, n_sections,
	    longest_ns / NS_PER_MS);
}

/* Nobody has anything, nothing has been made that is left, and nobody's death was put right. */
static void
expect_counts(void)
{
	struct protocol_segment rows[64];
	struct harness_conn conn = HARNESS_CONN_NULL;
	size_t n;

	harness_open(&conn, manager.daemon.socket);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(halls); i++)
		harness_await_counts(&conn, halls[i], 0, 0);
	harness_await_counts(&conn, "ledger", 0, 0);
	n = harness_list(&conn, rows, BASE_ARRAY_SIZE(rows));
	for (size_t i = 0; i < n; i++)
		harness_assert(rows[i].name[0] != 't', "'%s' is left, in state %u", rows[i].name, rows[i].state);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(rows[i].recoveries, 0);
	harness_close(&conn);
}

START_TEST(nobody_notices)
{
	unsigned n_times = harness_is_full() ? 100 * harness_scale() : 5, n_clients = harness_is_full() ? N_CLIENTS_MAX : 6;
	struct harness_child clients[N_CLIENTS_MAX];
	const char *seed = getenv("SEGMENTD_TEST_SEED");

	world_enter();
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(storm, MAP_FAILED);
	storm->random = seed ? strtoull(seed, NULL, 0) : harness_is_full() ? clock_realtime_ns() : 1;
	printf("SEGMENTD_TEST_SEED=%" PRIu64 "\n", storm->random);
	if (!harness_is_full())
		printf("LEFT OUT: %u kills, %u hand-overs and %u clients instead of 100, 100 and %u; CHECK_FULL=1 has them all\n", n_times,
		    n_times, n_clients, N_CLIENTS_MAX);
	harness_manager_prepare(&manager, NULL, "");
	configure();
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	fill();
	(void)fflush(NULL);
	for (unsigned i = 0; i < n_clients; i++) {
		clients[i] = (struct harness_child) HARNESS_CHILD_NULL;
		harness_child_start(&clients[i], run_visitor, (void *)(uintptr_t)i);
	}
	for (unsigned i = 0; i < n_clients; i++)
		harness_expect(clients[i].control, "in");
	blow(clients, n_clients, n_times, n_times);
	atomic_store(&storm->is_over, true);
	for (unsigned i = 0; i < n_clients; i++)
		harness_child_await_success(&clients[i]);
	expect_nothing_lost(n_clients);
	expect_counts();
	surviving_stop(&manager);
	world_await_empty("after the stop");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalstorm");
	TCase *tcase = tcase_create("survivalstorm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, nobody_notices);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
