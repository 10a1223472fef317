/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs whose daemon is killed and started again below a service manager, while they wait for its answer and while they do not:
 * the same connections, of which nobody hears an end, the same handles, the same subscription.
 */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "client/client.h"
#include "tests/harness_manager.h"

#define N_RESTARTS	4

static const char body[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; } );";

static struct harness_manager manager;

static ino_t
socket_of(int fd)
{
	struct stat st;

	harness_assert(fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode), "the connection is gone");
	return st.st_ino;
}

/* Handed over, or without a word. */
static int
signal_of(int i)
{
	return i % 2 ? SIGUSR2 : SIGKILL;
}

static void
ask_and_ask(int control, void *arg)
{
	struct segment_client *client;
	struct segment *segment, *again;
	volatile char *data;
	ino_t socket;

	harness_assert(segment_connect(&client, arg) == 0, "%s", segment_error());
	harness_assert(segment_attach(client, "desk", NULL, SEGMENT_WRITE, &segment) == 0, "%s", segment_error());
	socket = socket_of(client_connection_fd(client));
	data = segment_data(segment);
	for (int i = 0; i < N_RESTARTS; i++) {
		harness_say(control, "here");
		harness_expect(control, "ask");
		harness_assert(segment_attach(client, "desk", NULL, SEGMENT_WRITE, &again) == 0, "%s", segment_error());
		harness_assert(socket_of(client_connection_fd(client)) == socket, "it is another connection");
		harness_assert(segment_generation(again) == segment_generation(segment), "it is another segment");
		data[i] = (char)(i + 1);
		harness_assert(((volatile char *)segment_data(again))[i] == i + 1, "it is other memory");
		harness_assert(segment_detach(again) == 0, "%s", segment_error());
		harness_say(control, "answered");
	}
	harness_assert(segment_detach(segment) == 0, "%s", segment_error());
	segment_disconnect(client);
}

/* Whether it waits for an answer, and not for the test's word, which is poll(2). */
static bool
is_in_receive(pid_t pid)
{
	char path[32], text[128] = "";
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	(void)close(fd);
	return strtol(text, NULL, 10) == SYS_recvmsg;
}

START_TEST(call_that_waits_outlives_daemons)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_manager_start(&manager, NULL, body);
	harness_child_start(&child, ask_and_ask, manager.daemon.socket);
	for (int i = 0; i < N_RESTARTS; i++) {
		harness_expect(child.control, "here");
		/* One that stands still answers nothing; SIGKILL ends it all the same. */
		if (signal_of(i) == SIGKILL)
			harness_assert(kill(manager.daemon.pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
		harness_say(child.control, "ask");
		while (signal_of(i) == SIGKILL && !is_in_receive(child.pid))
			(void)sched_yield();
		harness_manager_restart(&manager, signal_of(i));
		harness_expect(child.control, "answered");
	}
	harness_child_await_success(&child);
	harness_manager_stop(&manager);
}
END_TEST

static void
note(const struct segment_event *event, void *arg)
{
	unsigned *n = arg;

	harness_assert(event->what != SEGMENT_EVENT_LOST, "events were lost");
	(*n)++;
}

START_TEST(subscription_outlives_daemons)
{
	struct segment_client *client, *other;
	struct segment *segment, *theirs;
	unsigned n = 0, seen;
	ino_t socket;

	harness_manager_start(&manager, NULL, body);
	ck_assert_int_eq(segment_connect(&client, manager.daemon.socket), 0);
	ck_assert_int_eq(segment_connect(&other, manager.daemon.socket), 0);
	ck_assert_int_eq(segment_attach(client, "desk", NULL, SEGMENT_READ, &segment), 0);
	ck_assert_int_ge(segment_event_fd(client), 0);
	socket = socket_of(client->events->connection.fd);
	for (int i = 0; i < N_RESTARTS; i++) {
		harness_manager_restart(&manager, signal_of(i));
		ck_assert_int_eq(segment_attach(other, "desk", NULL, SEGMENT_READ, &theirs), 0);
		for (seen = n; n == seen;) {
			harness_await_readable(segment_event_fd(client), "an event");
			harness_assert(segment_dispatch(client, note, &n) >= 0, "%s", segment_error());
		}
		ck_assert_int_eq(segment_detach(theirs), 0);
	}
	ck_assert(socket_of(client->events->connection.fd) == socket);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(other);
	segment_disconnect(client);
	harness_manager_stop(&manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("undisturbed");
	TCase *tcase = tcase_create("undisturbed");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, call_that_waits_outlives_daemons);
	tcase_add_test(tcase, subscription_outlives_daemons);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
