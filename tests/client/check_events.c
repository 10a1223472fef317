/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The library's events: against the real daemon, across its restarts and the program's forks; and against a daemon that lies,
 * which costs the connection and nothing else.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/harness.h"

static const char body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; },\n"
    "\t{ name = \"vault\"; size = \"64KiB\"; prefault = false; mlock = false;\n"
    "\t  locks = ( { name = \"door\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"rollback\"; },\n"
    "\t\t{ name = \"safe\"; offset = \"4KiB\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"poison\"; } ); } );";

/* What was told, the last few; names are copied. */
struct told {
	struct {
		int what;
		char segment[PROTOCOL_NAME_SIZE];
		char lock_name[PROTOCOL_NAME_SIZE];
		int lock;
		int pid;
		uint64_t generation;
		uint64_t time_ns;
		uint64_t lost;
	} of[64];
	unsigned n;
};

static void
note(const struct segment_event *event, void *arg)
{
	struct told *told = arg;

	harness_assert(told->n < BASE_ARRAY_SIZE(told->of), "more than %u events", told->n);
	told->of[told->n].what = event->what;
	told->of[told->n].lock = event->lock;
	told->of[told->n].pid = event->pid;
	told->of[told->n].generation = event->generation;
	told->of[told->n].time_ns = event->time_ns;
	told->of[told->n].lost = event->lost;
	(void)snprintf(told->of[told->n].segment, PROTOCOL_NAME_SIZE, "%s", event->segment);
	(void)snprintf(told->of[told->n].lock_name, PROTOCOL_NAME_SIZE, "%s", event->lock_name);
	told->n++;
}

/* Dispatches until one of this kind was told, and returns its index. */
static unsigned
await(struct segment_client *client, struct told *told, int what)
{
	int fd = segment_event_fd(client);

	harness_assert(fd >= 0, "%d: %s", fd, segment_error());
	for (unsigned seen = 0;;) {
		int r;

		for (; seen < told->n; seen++)
			if (told->of[seen].what == what)
				return seen;
		harness_await_readable(fd, "an event");
		r = segment_dispatch(client, note, told);
		harness_assert(r >= 0, "%d: %s", r, segment_error());
	}
}

static void
attach_and_stay(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;

	harness_assert(segment_connect(&client, socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "desk", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	harness_say(control, "attached");
	harness_expect(control, "end");
}

START_TEST(death_of_another_client_is_told)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct told told = { .n = 0 };
	struct segment_client *client;
	struct segment *segment;
	unsigned i, n_fds;
	pid_t pid;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&client, daemon.socket), 0);
	n_fds = count_fds();
	ck_assert_int_ge(segment_event_fd(client), 3);
	ck_assert_int_eq(segment_event_fd(client), segment_event_fd(client));
	ck_assert_int_eq(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment), 0);
	ck_assert_int_eq(segment_dispatch(client, note, &told), 0);
	harness_child_start(&child, attach_and_stay, daemon.socket);
	harness_expect(child.control, "attached");
	i = await(client, &told, SEGMENT_EVENT_ATTACHED);
	ck_assert_str_eq(told.of[i].segment, "desk");
	ck_assert_str_eq(told.of[i].lock_name, "");
	pid = child.pid;
	ck_assert_int_eq(told.of[i].pid, pid);
	ck_assert_int_eq(told.of[i].lock, -1);
	ck_assert_uint_eq(told.of[i].generation, segment_generation(segment));
	ck_assert_uint_le(told.of[i].time_ns, clock_realtime_ns());
	harness_child_kill(&child);
	i = await(client, &told, SEGMENT_EVENT_DIED);
	ck_assert_int_eq(told.of[i].pid, pid);
	ck_assert_str_eq(told.of[i].segment, "desk");
	(void)await(client, &told, SEGMENT_EVENT_DETACHED);
	ck_assert_int_eq(segment_dispatch(client, note, &told), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
lock_and_stay(int control, void *arg)
{
	const char *socket = arg;
	struct segment_client *client;
	struct segment *segment;

	harness_assert(segment_connect(&client, socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "vault", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	for (int lock = 0; lock < 2; lock++)
		harness_assert(segment_lock(segment, lock) == 0, "%s", segment_error());
	harness_say(control, "locked");
	harness_expect(control, "end");
}

/* While the daemon can do nothing the locks are taken from the dead by who waits for them. */
static void
be_faster(const struct harness_daemon *daemon, struct segment_client *client, struct segment *segment,
    struct harness_child *owner)
{
	struct segment *other;
	siginfo_t info;

	/* It answers in order: it has closed what it handed to the owner, whose descriptor it would keep open while stopped. */
	ck_assert_int_eq(segment_attach(client, "desk", NULL, SEGMENT_READ, &other), 0);
	ck_assert_int_eq(segment_detach(other), 0);
	harness_assert(kill(daemon->pid, SIGSTOP) == 0 && waitid(P_PID, (id_t)daemon->pid, &info, WSTOPPED) == 0,
	    "stopping the daemon: %s", strerror(errno));
	harness_child_kill(owner);
	ck_assert_int_eq(segment_lock(segment, 0), 0);
	ck_assert(segment_recovered(segment, 0));
	ck_assert_int_eq(segment_unlock(segment, 0), 0);
	ck_assert_int_eq(segment_lock(segment, 1), -ENOTRECOVERABLE);
	harness_assert(kill(daemon->pid, SIGCONT) == 0, "kill: %s", strerror(errno));
}

/* By the daemon, and by a waiter. */
START_TEST(recovered_and_poisoned_locks_are_told)
{
	static const int whats[] = { SEGMENT_EVENT_RECOVERED, SEGMENT_EVENT_POISONED };
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct told told = { .n = 0 };
	struct segment_client *client;
	struct segment *segment;
	pid_t pid;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&client, daemon.socket), 0);
	ck_assert_int_ge(segment_event_fd(client), 3);
	ck_assert_int_eq(segment_attach(client, "vault", NULL, SEGMENT_WRITE, &segment), 0);
	harness_child_start(&child, lock_and_stay, daemon.socket);
	harness_expect(child.control, "locked");
	pid = child.pid;
	if (_i == 0)
		harness_child_kill(&child);
	else
		be_faster(&daemon, client, segment, &child);
	for (int lock = 0; lock < 2; lock++) {
		unsigned i = await(client, &told, whats[lock]);

		ck_assert_int_eq(told.of[i].lock, lock);
		ck_assert_str_eq(told.of[i].lock_name, lock ? "safe" : "door");
		ck_assert_str_eq(told.of[i].segment, "vault");
		ck_assert_int_eq(told.of[i].pid, pid);
		ck_assert_uint_eq(told.of[i].generation, segment_generation(segment));
	}
	/* Told means done. */
	ck_assert_int_eq(segment_trylock(segment, 0), 0);
	ck_assert_int_eq(segment_unlock(segment, 0), 0);
	ck_assert_int_eq(segment_trylock(segment, 1), -ENOTRECOVERABLE);
	ck_assert_int_eq(told.of[await(client, &told, SEGMENT_EVENT_DIED)].pid, pid);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(restart_of_the_daemon_is_told_as_a_loss)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct told told = { .n = 0 };
	struct segment_client *client;
	struct segment *segment;
	unsigned n_fds;
	pid_t pid;
	int fd, r;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&client, daemon.socket), 0);
	fd = segment_event_fd(client);
	ck_assert_int_ge(fd, 3);
	n_fds = count_fds();
	for (int i = 0; i < 2; i++) {
		harness_daemon_kill(&daemon);
		/* There is none, and the descriptor says when it is time to try again. */
		for (int tries = 0; tries < 2; tries++) {
			harness_await_readable(fd, "the end of the connection");
			ck_assert_int_eq(segment_dispatch(client, note, &told), -ENOTCONN);
			ck_assert_ptr_nonnull(strstr(segment_error(), "no segmentd"));
		}
		ck_assert_int_eq(segment_event_fd(client), fd);
		harness_daemon_launch(&daemon);
		harness_daemon_await_ready(&daemon);
		do {
			harness_await_readable(fd, "time for another try");
			r = segment_dispatch(client, note, &told);
		} while (r == -ENOTCONN);
		ck_assert_int_eq(r, 1);
		ck_assert_uint_eq(told.n, 1);
		ck_assert_int_eq(told.of[0].what, SEGMENT_EVENT_LOST);
		ck_assert_uint_eq(told.of[0].lost, 0);
		told.n = 0;
		ck_assert_uint_eq(count_fds(), n_fds);
	}
	/* And it is told of what happens from here on. */
	ck_assert_int_eq(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment), 0);
	harness_child_start(&child, attach_and_stay, daemon.socket);
	harness_expect(child.control, "attached");
	pid = child.pid;
	ck_assert_int_eq(told.of[await(client, &told, SEGMENT_EVENT_ATTACHED)].pid, pid);
	harness_child_kill(&child);
	ck_assert_int_eq(told.of[await(client, &told, SEGMENT_EVENT_DIED)].pid, pid);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon);
}
END_TEST

struct heir {
	struct segment_client *client;
	unsigned n_fds;
};

static void
inherit(int control, void *arg)
{
	struct heir *heir = arg;
	struct told told = { .n = 0 };
	struct segment *segment;

	/* The parent's connections and descriptors are not the child's: 4 are gone, and harness_child_start() made others. */
	harness_assert(segment_dispatch(heir->client, note, &told) == 0, "%s", segment_error());
	harness_assert(segment_attach(heir->client, "desk", NULL, SEGMENT_READ, &segment) == 0, "%s", segment_error());
	harness_say(control, "attached");
	harness_expect(control, "attached");
	harness_assert(told.of[await(heir->client, &told, SEGMENT_EVENT_ATTACHED)].pid == getppid(), "not the parent");
	segment_detach(segment);
	segment_disconnect(heir->client);
	harness_say(control, "disconnected");
	harness_expect(control, "end");
}

START_TEST(forked_child_has_events_of_its_own)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct told told = { .n = 0 };
	struct heir heir;
	struct segment *segment, *again;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&heir.client, daemon.socket), 0);
	ck_assert_int_ge(segment_event_fd(heir.client), 3);
	ck_assert_int_eq(segment_attach(heir.client, "desk", NULL, SEGMENT_READ, &segment), 0);
	heir.n_fds = count_fds();
	harness_child_start(&child, inherit, &heir);
	harness_expect(child.control, "attached");
	ck_assert_int_eq(told.of[await(heir.client, &told, SEGMENT_EVENT_ATTACHED)].pid, child.pid);
	ck_assert_int_eq(segment_attach(heir.client, "desk", NULL, SEGMENT_READ, &again), 0);
	harness_say(child.control, "attached");
	harness_expect(child.control, "disconnected");
	/* Its end is the child's alone. */
	(void)await(heir.client, &told, SEGMENT_EVENT_DETACHED);
	for (unsigned i = 0; i < told.n; i++)
		ck_assert_int_ne(told.of[i].what, SEGMENT_EVENT_LOST);
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_int_eq(segment_detach(again), 0);
	segment_disconnect(heir.client);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
call_again(const struct segment_event *event, void *arg)
{
	struct segment_client *client = arg;
	struct told told = { .n = 0 };
	struct segment *segment;

	harness_assert(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment) == 0, "%s", segment_error());
	harness_assert(segment_dispatch(client, note, &told) >= 0, "%s", segment_error());
	harness_assert(segment_detach(segment) == 0, "%s", segment_error());
}

START_TEST(callback_may_call_the_library)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	struct segment_client *client;
	struct segment *segment;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&client, daemon.socket), 0);
	ck_assert_int_eq(segment_dispatch(client, NULL, NULL), -EINVAL);
	ck_assert_int_eq(segment_dispatch(NULL, call_again, NULL), -EINVAL);
	ck_assert_int_eq(segment_event_fd(NULL), -EINVAL);
	ck_assert_int_ge(segment_event_fd(client), 3);
	ck_assert_int_eq(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment), 0);
	harness_child_start(&child, attach_and_stay, daemon.socket);
	harness_expect(child.control, "attached");
	harness_await_readable(segment_event_fd(client), "an event");
	ck_assert_int_ge(segment_dispatch(client, call_again, client), 1);
	harness_child_kill(&child);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(without_a_daemon_there_is_an_error_and_nothing_else)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct segment_client *client;
	unsigned n_fds;

	harness_daemon_start(&daemon, NULL, body);
	ck_assert_int_eq(segment_connect(&client, daemon.socket), 0);
	n_fds = count_fds();
	harness_daemon_kill(&daemon);
	ck_assert_int_eq(segment_event_fd(client), -ENOTCONN);
	ck_assert_uint_eq(count_fds(), n_fds - 1 - 1);	/* the connection, and what the harness had of the daemon */
	segment_disconnect(client);
	harness_daemon_remove(&daemon);
}
END_TEST

/* The daemon lies. */

static struct protocol_event
good_event(void)
{
	return (struct protocol_event) {
		.header = {
			.size = sizeof(struct protocol_event), .type = PROTOCOL_EVENT,
			.flags = PROTOCOL_REPLY | PROTOCOL_PUSHED,
		},
		.kind = PROTOCOL_EVENT_RECOVERED, .lock = 3, .generation = 5, .time_ns = 7, .pid = 9,
		.segment = "desk", .lock_name = "drawer",
	};
}

#define EVENT_LIE(lie_name, change)			\
static void						\
lie_name(int fd)					\
{							\
	struct protocol_event event = good_event();	\
							\
	change;						\
	fake_send(fd, &event, event.header.size, NULL, 0); \
}

EVENT_LIE(lie_no_push, event.header.flags = PROTOCOL_REPLY)
EVENT_LIE(lie_no_reply, event.header.flags = PROTOCOL_PUSHED)
EVENT_LIE(lie_flags, event.header.flags |= 0x100)
EVENT_LIE(lie_serial, event.header.serial = 1)
EVENT_LIE(lie_status, event.header.status = -EIO)
EVENT_LIE(lie_positive, event.header.status = 1)
EVENT_LIE(lie_type, event.header.type = PROTOCOL_LIST)
EVENT_LIE(lie_short, event.header.size -= 8)
EVENT_LIE(lie_endless_name, memset(event.segment, 'x', sizeof(event.segment)))
EVENT_LIE(lie_endless_lock, memset(event.lock_name, 'x', sizeof(event.lock_name)))
EVENT_LIE(lie_controls, event.segment[1] = '\033')
EVENT_LIE(lie_lock, event.lock = -2)
EVENT_LIE(lie_pid, event.pid = INT32_MIN)

static void
lie_size_field(int fd)
{
	struct protocol_event event = good_event();

	event.header.size++;
	fake_send(fd, &event, sizeof(event), NULL, 0);
}

static void
lie_bytes(int fd)
{
	fake_send(fd, "garbage", 7, NULL, 0);
}

static void
lie_oversize(int fd)
{
	static char bytes[PROTOCOL_MESSAGE_MAX + 1];

	fake_send(fd, bytes, sizeof(bytes), NULL, 0);
}

static void
lie_fds(int fd)
{
	struct protocol_event event = good_event();
	cleanup_close int object = fake_object(FAKE_SIZE);

	fake_send(fd, &event, sizeof(event), &object, 1);
}

static void
scold(int fd)
{
	fake_refuse(fd, NULL, -EPROTO, "you broke a rule");
}

static const struct {
	const char *name;
	void (*tell)(int fd);
	const char *sentence;
} lies[] = {
	{ "not pushed", lie_no_push, "nobody asked for" },
	{ "no reply", lie_no_reply, "no reply" },
	{ "unknown flag", lie_flags, "no reply" },
	{ "a serial", lie_serial, "nobody asked for" },
	{ "a status", lie_status, "nobody asked for" },
	{ "a positive status", lie_positive, "no errno" },
	{ "another type", lie_type, "nobody asked for" },
	{ "short", lie_short, "352 bytes" },
	{ "a name without an end", lie_endless_name, "name" },
	{ "a lock's name without an end", lie_endless_lock, "name" },
	{ "controls", lie_controls, "name" },
	{ "a lock below none", lie_lock, "index" },
	{ "a negative pid", lie_pid, "number" },
	{ "a size in the header", lie_size_field, "says that it has" },
	{ "garbage", lie_bytes, "shorter" },
	{ "oversize", lie_oversize, "longer" },
	{ "fds", lie_fds, "fds" },
	{ "scolded", scold, "you broke a rule" },
};

static int
take_subscription(int listen_fd)
{
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_SUBSCRIBE, &request);
	fake_assert(request.subscribe.flags == PROTOCOL_SUBSCRIBE_ON && request.subscribe.session == 7);
	fake_answer(fd, &request);
	return fd;
}

static void
tell_lie(int listen_fd, void *arg)
{
	struct protocol_event event = good_event();
	const int *lie = arg;
	struct fake_request request;
	int main_fd = fake_accept(listen_fd), fd = take_subscription(listen_fd);

	lies[*lie].tell(fd);
	fake_assert(!fake_receive(fd, &request));
	(void)close(fd);
	fd = take_subscription(listen_fd);
	/* A kind of a later release, and with a loss. */
	fake_send(fd, &event, sizeof(event), NULL, 0);
	event.kind = 999;
	event.lost = 4;
	fake_send(fd, &event, sizeof(event), NULL, 0);
	fake_assert(!fake_receive(main_fd, &request));
}

START_TEST(lie_costs_the_connection_and_no_more)
{
	int lie = _i, fd, r;
	struct told told = { .n = 0 };
	struct segment_client *client;
	struct fake fake;
	unsigned n_fds;

	fake_start(&fake, tell_lie, &lie);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	fd = segment_event_fd(client);
	harness_assert(fd >= 3, "%s", segment_error());
	n_fds = count_fds();
	harness_await_readable(fd, lies[lie].name);
	r = segment_dispatch(client, note, &told);
	harness_assert(r == -EPROTO, "%s: %d: %s", lies[lie].name, r, segment_error());
	harness_assert(strstr(segment_error(), lies[lie].sentence), "%s: '%s'", lies[lie].name, segment_error());
	ck_assert_uint_eq(told.n, 0);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	while (told.n < 3) {
		harness_await_readable(fd, "another try");
		r = segment_dispatch(client, note, &told);
		harness_assert(r >= 0, "%s: %d: %s", lies[lie].name, r, segment_error());
	}
	ck_assert_int_eq(told.of[0].what, SEGMENT_EVENT_LOST);
	ck_assert_int_eq(told.of[1].what, SEGMENT_EVENT_RECOVERED);
	ck_assert_int_eq(told.of[1].lock, 3);
	ck_assert_str_eq(told.of[1].lock_name, "drawer");
	ck_assert_uint_eq(told.of[1].lost, 0);
	ck_assert_int_eq(told.of[2].what, 999);
	ck_assert_uint_eq(told.of[2].lost, 4);
	ck_assert_uint_eq(count_fds(), n_fds);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

/* Killed twice before the subscription is answered; then it is answered twice, before an event and after it. */
static void
subscribe_twice(int listen_fd, void *arg)
{
	struct protocol_event event = good_event();
	struct fake_request request;
	int main_fd = fake_accept(listen_fd), fd;

	for (int i = 0; i < 5; i++)
		(void)close(fake_accept_silent(listen_fd));
	fd = fake_accept(listen_fd);
	fake_welcome(fd);
	fake_expect(fd, PROTOCOL_SUBSCRIBE, &request);
	fake_answer(fd, &request);
	fake_answer(fd, &request);
	fake_send(fd, &event, sizeof(event), NULL, 0);
	fake_answer(fd, &request);
	fake_send(fd, &event, sizeof(event), NULL, 0);
	fake_assert(!fake_receive(main_fd, &request));
}

START_TEST(second_answer_is_no_event)
{
	struct told told = { .n = 0 };
	struct segment_client *client;
	struct fake fake;
	int fd;

	fake_start(&fake, subscribe_twice, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	fd = segment_event_fd(client);
	harness_assert(fd >= 3, "%s", segment_error());
	while (told.n < 2) {
		harness_await_readable(fd, "an event");
		harness_assert(segment_dispatch(client, note, &told) >= 0, "%s", segment_error());
	}
	ck_assert_int_eq(told.of[0].what, SEGMENT_EVENT_RECOVERED);
	ck_assert_int_eq(told.of[1].what, SEGMENT_EVENT_RECOVERED);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

static void
refuse_subscription(int listen_fd, void *arg)
{
	struct fake_request request;
	int main_fd = fake_accept(listen_fd), fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_SUBSCRIBE, &request);
	fake_refuse(fd, &request, -EOPNOTSUPP, "this daemon knows no events");
	fake_assert(!fake_receive(fd, &request));
	fake_assert(!fake_receive(main_fd, &request));
}

START_TEST(refusal_is_the_daemons_own)
{
	struct segment_client *client;
	struct fake fake;
	unsigned n_fds;

	fake_start(&fake, refuse_subscription, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	ck_assert_int_eq(segment_event_fd(client), -EOPNOTSUPP);
	ck_assert_str_eq(segment_error(), "this daemon knows no events");
	ck_assert_uint_eq(count_fds(), n_fds);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("events");
	TCase *tcase = tcase_create("events");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, death_of_another_client_is_told);
	tcase_add_loop_test(tcase, recovered_and_poisoned_locks_are_told, 0, 2);
	tcase_add_test(tcase, restart_of_the_daemon_is_told_as_a_loss);
	tcase_add_test(tcase, forked_child_has_events_of_its_own);
	tcase_add_test(tcase, callback_may_call_the_library);
	tcase_add_test(tcase, without_a_daemon_there_is_an_error_and_nothing_else);
	tcase_add_loop_test(tcase, lie_costs_the_connection_and_no_more, 0, BASE_ARRAY_SIZE(lies));
	tcase_add_test(tcase, second_answer_is_no_event);
	tcase_add_test(tcase, refusal_is_the_daemons_own);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
