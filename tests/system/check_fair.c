/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One uid has hundreds of connections with queues full of requests, for as long as the test lasts; another one has one. What is
 * shown is no time but a count: how many of the flood's requests are served while one of the other's waits.
 */
#include "config.h"

#include <poll.h>
#include <sys/socket.h>

#include "tests/harness.h"

#define FLOODERS	400
#define PIPELINE	16
#define ROUNDS		20
/* Of a turn of the loop there is time for a few of each uid. Without turns it is one of each connection, so FLOODERS. */
#define MOST		100

static const char keys[] = "limits = { clients = 1024; attachments = 4096; bytes = \"1MiB\"; };";
static const char body[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mode = \"0666\"; } );";

/* As many as its queue takes; and what came. */
static void
flood(struct harness_conn *conn)
{
	static char drain[PROTOCOL_MESSAGE_MAX];
	struct protocol_list list;

	for (;;) {
		harness_fill(conn, &list.header, PROTOCOL_LIST, sizeof(list));
		list.cursor = 0;
		if (send(conn->fd, &list, sizeof(list), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	}
	conn->serial--;
	while (recv(conn->fd, drain, sizeof(drain), MSG_DONTWAIT) > 0)
		;
}

static void
flood_all(int control, void *arg)
{
	static struct harness_conn conns[FLOODERS];
	struct pollfd poll_fd = { .fd = control, .events = POLLIN };

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	for (unsigned i = 0; i < FLOODERS; i++)
		harness_open(&conns[i], arg);
	for (unsigned i = 0; i < FLOODERS; i++)
		flood(&conns[i]);
	harness_say(control, "flooding");
	while (poll(&poll_fd, 1, 0) == 0)
		for (unsigned i = 0; i < FLOODERS; i++)
			flood(&conns[i]);
}

/* Requests of all other connections, so far; and of this one. */
static uint64_t
count_requests(struct harness_conn *conn)
{
	static struct protocol_client rows[FLOODERS + 16];
	int n = harness_clients(conn, rows, BASE_ARRAY_SIZE(rows));
	uint64_t sum = 0;

	ck_assert_int_gt(n, FLOODERS);
	for (int i = 0; i < n; i++)
		if (rows[i].uid == HARNESS_NOBODY)
			sum += rows[i].requests;
	return sum;
}

/* Of one connection that has the next request there before the last one is answered. */
static void
ask_many(struct harness_conn *conn)
{
	struct harness_reply reply;
	struct protocol_list list;

	for (unsigned i = 0; i < PIPELINE; i++) {
		harness_fill(conn, &list.header, PROTOCOL_LIST, sizeof(list));
		list.cursor = 0;
		ck_assert_int_eq(harness_send(conn->fd, &list, sizeof(list), NULL, 0), sizeof(list));
	}
	for (unsigned i = 0; i < PIPELINE; i++)
		ck_assert_int_gt(harness_receive(conn->fd, &reply), 0);
}

static int
compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(uid_with_one_connection_is_served_as_one_with_hundreds)
{
	struct harness_child flooder = HARNESS_CHILD_NULL;
	uint64_t served[ROUNDS], counting[ROUNDS];
	struct harness_daemon daemon;
	struct harness_conn conn;

	harness_need_root();
	harness_daemon_start(&daemon, keys, body);
	harness_open(&conn, daemon.socket);
	harness_child_start(&flooder, flood_all, daemon.socket);
	harness_expect(flooder.control, "flooding");
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t before = count_requests(&conn), after;

		/* Counting has requests of its own, of which more are served meanwhile. */
		after = count_requests(&conn);
		counting[i] = after - before;
		ask_many(&conn);
		served[i] = count_requests(&conn) - after;
	}
	qsort(served, ROUNDS, sizeof(served[0]), compare);
	qsort(counting, ROUNDS, sizeof(counting[0]), compare);
	/* The median: between two of ours the scheduler may have kept us waiting. */
	ck_assert_uint_gt(served[ROUNDS / 2], 0);
	harness_assert(served[ROUNDS / 2] < counting[ROUNDS / 2] + PIPELINE * MOST,
	    "%ju requests of the flood were served beside %d of another uid's", (uintmax_t)served[ROUNDS / 2], PIPELINE);
	harness_say(flooder.control, "enough");
	harness_child_await_success(&flooder);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fair service");
	TCase *tcase = tcase_create("uids");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, uid_with_one_connection_is_served_as_one_with_hundreds);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
