/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Requests that anybody may make, and that are answered by going over thousands of things: others are served meanwhile, and where a
 * page begins is found at once.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>

#include "tests/system/suite.h"

#define N_SEGMENTS	3000
#define N_HOLDERS	9000
#define N_TRIES		200
#define N_ASKED		2000

/* Enough descriptors for all that is held here, and in the daemon. */
static void
raise_limit(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 2 * N_HOLDERS)
		harness_skip("a process may have %ju descriptors only", (uintmax_t)limit.rlim_cur);
}

static bool
is_answered(const struct harness_conn *conn)
{
	struct pollfd poll_fd = { .fd = conn->fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) > 0;
}

/* What is not there, or not to be seen: all segments are gone over for it. */
static void
send_walk(struct harness_conn *conn, unsigned type)
{
	union {
		struct protocol_header header;
		struct protocol_list list;
		struct protocol_return returned;
	} request = { 0 };
	size_t size = type == PROTOCOL_LIST ? sizeof(request.list) : sizeof(request.returned);

	harness_fill(conn, &request.header, type, size);
	if (type == PROTOCOL_RETURN)
		request.returned.generation = 1;
	harness_assert(harness_send(conn->fd, &request, size, NULL, 0) == (ssize_t)size, "send: %s", strerror(errno));
}

static void
expect_nothing(struct harness_conn *conn, unsigned type)
{
	struct harness_reply reply;

	harness_await_readable(conn->fd, "the answer");
	harness_assert(harness_receive(conn->fd, &reply) > 0, "the answer");
	ck_assert_uint_eq(reply.header.serial, conn->serial);
	if (type == PROTOCOL_LIST)
		ck_assert_uint_eq(reply.listed.n_rows, 0);
	ck_assert_int_eq(reply.header.status, type == PROTOCOL_LIST ? 0 : -ESTALE);
}

struct stranger {
	const char *socket;
	unsigned type;
};

/* Asks by one connection, and then by another: which of both is answered first? */
static void
ask_both(int control, void *arg)
{
	const struct stranger *stranger = arg;
	struct harness_conn walker, other, third;
	unsigned n_first = 0;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&walker, stranger->socket);
	harness_open(&other, stranger->socket);
	harness_open(&third, stranger->socket);
	for (unsigned i = 0; i < N_TRIES; i++) {
		/* Behind the turns that both of them still have, in which there is nothing to do. */
		harness_assert(harness_wait(&third, "none") == -ENOENT, "wait");
		send_walk(&walker, stranger->type);
		harness_assert(harness_wait(&other, "none") == -ENOENT, "wait");
		n_first += !is_answered(&walker);
		expect_nothing(&walker, stranger->type);
	}
	/* Never, where it is one turn; how often, depends on who has the CPUs. */
	harness_assert(n_first > 0, "whoever asked later was never answered first, of %u times", N_TRIES);
	harness_say(control, "done");
}

START_TEST(others_are_served_meanwhile)
{
	static char text[N_SEGMENTS * 100 + 200];
	struct harness_daemon daemon;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct stranger stranger = { .type = _i == 0 ? PROTOCOL_LIST : PROTOCOL_RETURN };
	size_t len;

	harness_need_root();
	raise_limit();
	len = (size_t)snprintf(text, sizeof(text), "segments = ( ");
	for (unsigned i = 0; i < N_SEGMENTS; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "{ name = \"s%u\"; size = \"4KiB\"; mode = \"0600\"; prefault = false; "
		    "mlock = false; },\n", i);
	(void)snprintf(text + len - 2, sizeof(text) - len + 2, " );");
	harness_daemon_start(&daemon, NULL, text);
	stranger.socket = daemon.socket;
	harness_child_start(&child, ask_both, &stranger);
	harness_expect(child.control, "done");
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

static struct protocol_listed *
ask_holders(struct harness_conn *conn, const char *name, uint64_t cursor, struct harness_reply *reply)
{
	struct protocol_holders request = { .header.flags = PROTOCOL_BRIEF, .cursor = cursor };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	harness_assert(harness_ask(conn, PROTOCOL_HOLDERS, &request.header, sizeof(request), reply) == 0, "holders");
	return &reply->listed;
}

/* How long the end of a list takes, at best: others have things to do, too. Begun anew until it is less than enough_ns. */
static uint64_t
measure(struct harness_conn *conn, const char *name, uint64_t cursor, uint64_t enough_ns)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS / 2, best_ns = UINT64_MAX;
	struct harness_reply reply;

	for (unsigned i = 0; i < N_ASKED || (best_ns >= enough_ns && harness_clock_ns() < until_ns); i++) {
		uint64_t begun_ns = clock_monotonic_ns();

		ck_assert_uint_le(ask_holders(conn, name, cursor, &reply)->n_rows, 1);
		best_ns = min_u64(best_ns, clock_monotonic_ns() - begun_ns);
	}
	return best_ns;
}

START_TEST(a_page_of_holders_is_found_at_once)
{
	static uint32_t ids[N_HOLDERS];
	static int fds[N_HOLDERS];
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_reply reply;
	uint64_t cursor = 0, few_ns, many_ns;
	unsigned n = 0;

	raise_limit();
	harness_daemon_start(&daemon, "\tlimits = { attachments = 10000; };", "segments = ( "
	    "{ name = \"many\"; size = \"4KiB\"; prefault = false; mlock = false; },"
	    "{ name = \"few\"; size = \"4KiB\"; prefault = false; mlock = false; } );");
	harness_open(&conn, daemon.socket);
	for (unsigned i = 0; i < N_HOLDERS; i++) {
		struct protocol_attached attached;

		ck_assert_int_eq(harness_attach(&conn, "many", SUITE_READ, &attached, &fds[i]), 0);
		ids[i] = attached.attachment;
		/* Every fifth goes again, and every thirty-second with it, where a page might begin. */
		if (i % 5 == 0 || i % 32 == 0) {
			(void)close(fds[i]);
			ck_assert_int_eq(harness_detach(&conn, &attached), 0);
			ids[i] = 0;
		}
	}
	for (bool has_more = true; has_more;) {
		const struct protocol_listed *listed = ask_holders(&conn, "many", cursor, &reply);

		for (uint32_t i = 0; i < listed->n_rows; i++) {
			struct protocol_holder row = { 0 };

			memcpy(&row, reply.bytes + sizeof(*listed) + i * listed->row_size, PROTOCOL_BRIEF_SIZE);
			while (n < N_HOLDERS && !ids[n])
				n++;
			ck_assert_uint_lt(n, N_HOLDERS);
			ck_assert_uint_eq(row.attachment, ids[n++]);
			cursor = row.cursor;
		}
		has_more = listed->header.flags & PROTOCOL_MORE;
	}
	while (n < N_HOLDERS && !ids[n])
		n++;
	ck_assert_uint_eq(n, N_HOLDERS);
	few_ns = measure(&conn, "few", 0, UINT64_MAX);
	many_ns = measure(&conn, "many", cursor, 2 * few_ns);
	harness_assert(many_ns < 2 * few_ns, "%" PRIu64 " ns, and without any holder %" PRIu64, many_ns, few_ns);
	for (unsigned i = 0; i < N_HOLDERS; i++)
		if (ids[i])
			(void)close(fds[i]);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("walks");
	TCase *tcase = tcase_create("walks");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, others_are_served_meanwhile, 0, 2);
	tcase_add_test(tcase, a_page_of_holders_is_found_at_once);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
