/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A subscription, and what comes on it. */
#include "config.h"

#include <poll.h>

#include "tests/system/telling.h"

const char telling_body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; },\n"
    "\t{ name = \"side\"; size = \"64KiB\"; prefault = false; mlock = false; },\n"
    "\t{ name = \"open\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"scratch-\"; max_size = \"1MiB\"; max_count = 200; prefault = false; mlock = false; } );";

int
telling_subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session)
{
	struct protocol_subscribe request = { .flags = flags, .session = session };
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
}

void
telling_observe(struct suite_scene *scene, struct harness_conn *conn)
{
	suite_dial(scene, conn, true);
	ck_assert_int_eq(telling_subscribe(conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
}

void
telling_follow(struct suite_scene *scene, struct harness_conn *conn, const struct harness_conn *watched)
{
	suite_dial(scene, conn, true);
	ck_assert_int_eq(telling_subscribe(conn, PROTOCOL_SUBSCRIBE_ON, watched->session), 0);
}

void
telling_check(const struct harness_reply *reply, struct protocol_event *ret_event)
{
	struct protocol_event event;

	harness_assert(reply->size == sizeof(event), "an event of %zu bytes", reply->size);
	memcpy(&event, reply->bytes, sizeof(event));
	harness_assert(event.header.type == PROTOCOL_EVENT && event.header.serial == 0 && event.header.status == 0 &&
	    event.header.flags == (PROTOCOL_REPLY | PROTOCOL_PUSHED) && event.header.size == sizeof(event),
	    "type %u, serial %ju, flags %#x", event.header.type, (uintmax_t)event.header.serial, event.header.flags);
	harness_assert(event.kind < PROTOCOL_EVENT_N && reply->n_fds == 0, "kind %u, %u fds", event.kind, reply->n_fds);
	*ret_event = event;
}

void
telling_next(struct harness_conn *conn, struct protocol_event *ret_event)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(conn->fd, &reply);

	harness_assert(n > 0, "no event came: %zd", n);
	telling_check(&reply, ret_event);
}

void
telling_expect(struct harness_conn *conn, enum protocol_event_kind kind, const char *segment, pid_t pid)
{
	struct protocol_event event;

	telling_next(conn, &event);
	harness_assert(event.kind == kind && streq(event.segment, segment) && event.pid == pid && event.lost == 0 &&
	    event.lock == -1, "event %u of '%s' (pid %d, %ju lost) came instead of %d of '%s' (pid %d)", event.kind,
	    event.segment, event.pid, (uintmax_t)event.lost, kind, segment, (int)pid);
	harness_assert(event.time_ns > clock_realtime_ns() - 60 * NS_PER_SEC && event.time_ns <= clock_realtime_ns(),
	    "at %ju", (uintmax_t)event.time_ns);
}

void
telling_expect_silence(struct suite_scene *scene, struct harness_conn *conn)
{
	struct pollfd poll_fd = { .fd = conn->fd, .events = POLLIN };

	for (int i = 0; i < 3; i++)
		suite_serves(&scene->daemon);
	harness_assert(poll(&poll_fd, 1, 0) == 0, "something came");
}

void
telling_come_and_go(struct suite_scene *scene, const char *name, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = suite_attach(&scene->watcher, name, SUITE_READ);

		(void)close(fd);
		if (i % 64 == 63)
			harness_await_counts(&scene->watcher, name, 0, 0);
	}
	harness_await_counts(&scene->watcher, name, 0, 0);
}
uint64_t
telling_account_for(struct harness_conn *conn, uint64_t total)
{
	uint64_t n = 0, lost = 0;

	while (n + lost < total) {
		struct protocol_event event;

		telling_next(conn, &event);
		lost += event.lost;
		n += event.kind != PROTOCOL_EVENT_LOST;
	}
	harness_assert(n + lost == total, "%ju events and %ju lost of %ju", (uintmax_t)n, (uintmax_t)lost, (uintmax_t)total);
	return lost;
}
