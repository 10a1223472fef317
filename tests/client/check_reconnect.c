/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The library over what happens to its process and its connection: reconnecting, threads, fork. */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/client/served.h"
#include "tests/suite_run.h"

#define N_THREADS	8
#define N_ROUNDS	200

/* Reconnecting */

/* Hangs up between requests, in the middle of one, and before HELLO is answered. */
static void
hang_up(int listen_fd, void *arg)
{
	struct fake_request request;
	int fd;

	fd = fake_accept(listen_fd);
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_attach(fd, &request);
	(void)close(fd);
	fake_tell();
	fd = fake_accept(listen_fd);
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	(void)close(fd);
	fd = fake_accept(listen_fd);
	/* The attachments of the connections before are not ours to detach. */
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_DETACH, &request);
	fake_assert(!fake_receive(fd, &request));
}

START_TEST(broken_connection_is_made_anew_and_mappings_stay)
{
	struct segment *first, *second, *third;
	unsigned n_fds;
	char *data;

	served_start(hang_up, NULL);
	n_fds = count_fds();
	first = served_attach("one", SEGMENT_WRITE);
	data = segment_data(first);
	data[0] = 'x';
	fake_await(&served_fake);
	second = served_attach("two", SEGMENT_READ);
	third = served_attach("three", SEGMENT_READ);
	ck_assert_int_eq(data[0], 'x');
	ck_assert_int_eq(segment_detach(first), 0);
	ck_assert_int_eq(segment_detach(second), 0);
	ck_assert_int_eq(segment_detach(third), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	served_stop();
}
END_TEST

static void
hang_up_always(int listen_fd, void *arg)
{
	for (int i = 0; i < 3; i++)
		(void)close(fake_accept_silent(listen_fd));
	/* Closing this, the last reference, leaves a socket that refuses. */
}

START_TEST(request_is_repeated_once_and_no_daemon_is_enotconn)
{
	struct segment *segment;
	unsigned n_fds;

	served_start(hang_up_always, NULL);
	n_fds = count_fds();
	ck_assert_int_eq(segment_attach(served_client, "one", NULL, SEGMENT_READ, &segment), -ENOTCONN);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	ck_assert_int_eq(segment_attach(served_client, "one", NULL, SEGMENT_READ, &segment), -ENOTCONN);
	ck_assert_uint_gt(strlen(segment_error()), 0);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	served_stop();
}
END_TEST

/* What a daemon does that is killed before it has put a connection aside: HELLO is read by nobody, or by somebody who is gone. */
#define N_EARLY	8

static void
die_early(int listen_fd, void *arg)
{
	for (int i = 0; i < N_EARLY; i++) {
		int fd = i % 2 ? fake_accept_silent(listen_fd) : accept(listen_fd, NULL, NULL);

		fake_assert(fd >= 0);
		(void)close(fd);
	}
	fake_serve(fake_accept(listen_fd));
}

START_TEST(connection_that_was_never_answered_is_tried_again)
{
	struct segment *segment;
	unsigned n_fds;

	served_start(die_early, NULL);
	n_fds = count_fds();
	segment = served_attach("one", SEGMENT_WRITE);
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	served_stop();
}
END_TEST

/* Until somebody says something that is no hello. */
static void
die_always(int listen_fd, void *arg)
{
	struct fake_request request;
	ssize_t n;

	do {
		int fd = accept(listen_fd, NULL, NULL);

		fake_assert(fd >= 0);
		n = recv(fd, &request, sizeof(request), 0);
		(void)close(fd);
	} while (n != 1);
}

START_TEST(connection_is_not_tried_for_ever)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;
	struct segment *segment;
	uint64_t begun_ns;

	if (!getenv("CHECK_FULL")) {
		printf("SKIP: ten seconds of trying are for the full check (CHECK_FULL=1)\n");
		return;
	}
	served_start(die_always, NULL);
	begun_ns = clock_monotonic_ns();
	ck_assert_int_eq(segment_attach(served_client, "one", NULL, SEGMENT_READ, &segment), -ENOTCONN);
	ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, 10 * NS_PER_SEC);
	ck_assert_ptr_nonnull(strstr(segment_error(), "before it answered"));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, served_fake.path, strlen(served_fake.path) + 1);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	served_stop();
}
END_TEST

/* As one that goes on for a daemon that was killed between its answer and the end of the request. */
static void
answer_twice(int listen_fd, void *arg)
{
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	fake_welcome(fd);
	for (int i = 0; i < 3; i++) {
		fake_expect(fd, PROTOCOL_ATTACH, &request);
		fake_attach(fd, &request);
		fake_attach(fd, &request);
	}
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_refuse(fd, &request, -EACCES, "not for you");
	fake_refuse(fd, &request, -EACCES, "not for you");
	fake_serve(fd);
}

START_TEST(second_answer_is_dropped_with_what_it_brings)
{
	struct segment *segments[4];
	unsigned n_fds, n_mappings = count_mappings();

	served_start(answer_twice, NULL);
	n_fds = count_fds();
	for (unsigned i = 0; i < 3; i++) {
		segments[i] = served_attach("one", SEGMENT_WRITE);
		ck_assert_uint_eq(count_fds(), n_fds + i + 1);
	}
	ck_assert_int_eq(segment_attach(served_client, "two", NULL, SEGMENT_READ, &segments[3]), -EACCES);
	segments[3] = served_attach("three", SEGMENT_READ);
	ck_assert_uint_eq(count_mappings(), n_mappings + 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(segment_detach(segments[i]), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	served_stop();
}
END_TEST

static void
one_and_away(int listen_fd, void *arg)
{
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_attach(fd, &request);
}

START_TEST(detach_without_a_daemon_succeeds)
{
	struct segment *segment;
	unsigned n_mappings;

	n_mappings = count_mappings();
	served_start(one_and_away, NULL);
	segment = served_attach("one", SEGMENT_WRITE);
	ck_assert_int_eq(waitid(P_PID, (id_t)served_fake.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	memset(segment_data(segment), 7, segment_size(segment));
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	served_stop();
}
END_TEST

/* Threads */

static void *
attach_many(void *arg)
{
	static char detach_failed[] = "detach failed", others_sentence[] = "another thread's sentence";

	for (int i = 0; i < N_ROUNDS; i++) {
		struct segment *segment = served_attach("shared", SEGMENT_WRITE);

		((volatile char *)segment_data(segment))[4096] = (char)i;
		if (segment_detach(segment) < 0)
			return detach_failed;
		if (i % 10 == 0) {
			/* Each thread has a sentence of its own. */
			if (segment_attach(served_client, "a b", NULL, SEGMENT_READ, &segment) != -EINVAL ||
			    !strstr(segment_error(), "letters"))
				return others_sentence;
		}
	}
	return NULL;
}

START_TEST(threads_share_a_client)
{
	pthread_t threads[N_THREADS];
	unsigned n_fds, n_mappings;
	void *failed;

	served_start(served_one, NULL);
	n_fds = count_fds();
	n_mappings = count_mappings();
	for (int i = 0; i < N_THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, attach_many, NULL), 0);
	for (int i = 0; i < N_THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_msg(!failed, "%s", (const char *)failed);
	}
	ck_assert_uint_eq(count_fds(), n_fds);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	served_stop();
}
END_TEST

/* Fork */

#define child_assert(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "child: %s:%d: %s: %s\n", __FILE__, __LINE__, #condition, segment_error()); \
			_exit(1);						\
		}								\
	} while (0)

/* Parent and child each have a connection; requests come on the right one. */
static void
serve_family(int listen_fd, void *arg)
{
	struct fake_request request;
	int parent = fake_accept(listen_fd), child;

	fake_expect(parent, PROTOCOL_ATTACH, &request);
	fake_attach(parent, &request);
	fake_expect(parent, PROTOCOL_ATTACH, &request);
	fake_attach(parent, &request);
	child = fake_accept(listen_fd);
	fake_expect(child, PROTOCOL_ATTACH, &request);
	fake_assert(streq(request.attach.name, "own"));
	fake_attach(child, &request);
	fake_expect(child, PROTOCOL_DETACH, &request);
	fake_assert(!fake_receive(child, &request));
	fake_serve(parent);
}

START_TEST(forked_child_has_data_and_a_connection_of_its_own)
{
	struct segment *segment, *private, *own;
	struct segment_client *saved;
	unsigned n_fds;
	char *data;
	pid_t pid;

	served_start(serve_family, NULL);
	segment = served_attach("inherited", SEGMENT_WRITE);
	private = served_attach("private", SEGMENT_WRITE | SEGMENT_DONTFORK);
	saved = served_client;
	data = segment_data(segment);
	n_fds = count_fds();
	pid = fork();
	if (pid == 0) {
		child_assert(count_fds() == n_fds - 1);
		child_assert(segment_data(segment) == data);
		data[0] = 'c';
		child_assert(segment_data(private) == NULL && segment_size(private) == FAKE_SIZE);
		child_assert(segment_attach(saved, "own", NULL, SEGMENT_READ, &own) == 0);
		child_assert(segment_detach(segment) == 0);
		child_assert(segment_detach(private) == 0);
		child_assert(segment_detach(own) == 0);
		child_assert(count_mappings() == 0);
		segment_disconnect(saved);
		child_assert(count_fds() == n_fds - 3);
		_exit(0);
	}
	served_await_child(pid);
	ck_assert_int_eq(data[0], 'c');
	ck_assert_ptr_nonnull(segment_data(private));
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_int_eq(segment_detach(private), 0);
	served_stop();
}
END_TEST

/* The child of a process whose other thread is in the middle of a request: its mutex is held, by nobody who lives there. */
static void
serve_held(int listen_fd, void *arg)
{
	struct fake_request held, request;
	int parent = fake_accept(listen_fd), child;

	fake_expect(parent, PROTOCOL_ATTACH, &held);
	fake_tell();
	child = fake_accept(listen_fd);
	fake_expect(child, PROTOCOL_ATTACH, &request);
	fake_attach(child, &request);
	fake_serve(child);
	fake_attach(parent, &held);
	fake_serve(parent);
}

START_TEST(child_is_not_held_up_by_a_thread_it_does_not_have)
{
	struct segment *segment;
	pthread_t thread;
	pid_t pid;

	served_start(serve_held, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, served_attach_slow, NULL), 0);
	fake_await(&served_fake);
	pid = fork();
	if (pid == 0) {
		child_assert(segment_attach(served_client, "own", NULL, SEGMENT_READ, &segment) == 0);
		_exit(0);
	}
	served_await_child(pid);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	served_stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("reconnect");
	TCase *tcase = tcase_create("reconnect");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, broken_connection_is_made_anew_and_mappings_stay);
	tcase_add_test(tcase, request_is_repeated_once_and_no_daemon_is_enotconn);
	tcase_add_test(tcase, connection_that_was_never_answered_is_tried_again);
	tcase_add_test(tcase, connection_is_not_tried_for_ever);
	tcase_add_test(tcase, second_answer_is_dropped_with_what_it_brings);
	tcase_add_test(tcase, detach_without_a_daemon_succeeds);
	tcase_add_test(tcase, threads_share_a_client);
	tcase_add_test(tcase, forked_child_has_data_and_a_connection_of_its_own);
	tcase_add_test(tcase, child_is_not_held_up_by_a_thread_it_does_not_have);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
