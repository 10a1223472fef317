/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the service manager hands down, as it does it: sockets of the right and of wrong kinds, what it has kept, and names that
 * are foreign, double, missing or too few.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/base.h"
#include "systemd/inherited.h"
#include "tests/service/suite.h"

static char directory[] = "/tmp/check_inherited.XXXXXX";
static char path[sizeof(directory) + 16];	/* of a socket in it */

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/socket", directory);
}

static void
teardown(void)
{
	char notify[sizeof(path)];

	(void)snprintf(notify, sizeof(notify), "%s/notify", directory);
	(void)unlink(notify);
	(void)unlink(path);
	(void)rmdir(directory);
}

/*
 * Keeps the numbers that sockets are handed down at from Check, which would put its own files there: /dev/null on each,
 * which hand_down() replaces.
 */
static void
reserve_numbers(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 8);
	if (fd >= 0)
		(void)close(fd);
}

/* Makes n fds from 3 on what the manager hands down, under names or none. */
static void
hand_down(const int *fds, int n, const char *names)
{
	char number[32];
	int i;

	for (i = 0; i < n; i++)
		ck_assert_int_eq(fcntl(fds[i], F_DUPFD_CLOEXEC, 100 + i), 100 + i);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(dup2(100 + i, 3 + i), 3 + i);	/* without CLOEXEC, as over an exec */
	for (i = 0; i < n; i++)
		(void)close(100 + i);
	(void)snprintf(number, sizeof(number), "%jd", (intmax_t)getpid());
	ck_assert_int_eq(setenv("LISTEN_PID", number, 1), 0);
	(void)snprintf(number, sizeof(number), "%d", n);
	ck_assert_int_eq(setenv("LISTEN_FDS", number, 1), 0);
	ck_assert_int_eq(names ? setenv("LISTEN_FDNAMES", names, 1) : unsetenv("LISTEN_FDNAMES"), 0);
}

static void
assert_refused(const int *fds, int n, const char *names)
{
	struct inherited inherited;
	int i;

	hand_down(fds, n, names);
	ck_assert_int_eq(inherited_init(&inherited), -EINVAL);
	ck_assert_int_eq(inherited.listen_fd, -1);
	ck_assert_uint_eq(inherited.n, 0);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(fcntl(3 + i, F_GETFD), -1);	/* nothing leaks */
}

START_TEST(right_socket_is_taken)
{
	static const char *const names[] = { NULL, "segmentd.socket", "door" };
	int fd = suite_bind(path, SOCK_SEQPACKET);

	ck_assert_int_eq(listen(fd, 8), 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		struct inherited inherited;

		hand_down(&fd, 1, names[i]);
		ck_assert_int_eq(inherited_init(&inherited), 0);
		ck_assert_int_eq(inherited.listen_fd, 3);
		ck_assert_uint_eq(inherited.n, 0);
		ck_assert_int_eq(fcntl(3, F_GETFD), FD_CLOEXEC);
		ck_assert_int_ne(fcntl(3, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_eq(accept(3, NULL, NULL), -1);
		ck_assert_int_eq(errno, EAGAIN);
		/* Children must not think that it is theirs. */
		ck_assert_ptr_null(getenv("LISTEN_FDS"));
		ck_assert_ptr_null(getenv("LISTEN_PID"));
		ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
		inherited_deinit(&inherited);
		ck_assert_int_eq(fcntl(3, F_GETFD), -1);
	}
}
END_TEST

START_TEST(nothing_handed_down_is_no_error)
{
	struct inherited inherited;

	ck_assert_int_eq(unsetenv("LISTEN_FDS"), 0);
	ck_assert_int_eq(unsetenv("LISTEN_PID"), 0);
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_int_eq(inherited.listen_fd, -1);
	ck_assert_uint_eq(inherited.n, 0);
	inherited_deinit(&inherited);
}
END_TEST

START_TEST(meant_for_another_process_is_left_alone)
{
	struct inherited inherited;
	int fd = suite_bind(path, SOCK_SEQPACKET);

	ck_assert_int_eq(listen(fd, 8), 0);
	hand_down(&fd, 1, NULL);
	ck_assert_int_eq(setenv("LISTEN_PID", "1", 1), 0);
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_int_eq(inherited.listen_fd, -1);
	ck_assert_int_ge(fcntl(3, F_GETFD), 0);
}
END_TEST

START_TEST(stream_socket_is_refused)
{
	int fd = suite_bind(path, SOCK_STREAM);

	ck_assert_int_eq(listen(fd, 8), 0);
	assert_refused(&fd, 1, NULL);
	assert_refused(&fd, 1, "segmentd.socket");
}
END_TEST

START_TEST(datagram_socket_is_refused)
{
	int fd = suite_bind(path, SOCK_DGRAM);

	assert_refused(&fd, 1, NULL);
	assert_refused(&fd, 1, "segmentd.socket");
}
END_TEST

START_TEST(socket_that_does_not_listen_is_refused)
{
	int fd = suite_bind(path, SOCK_SEQPACKET);

	assert_refused(&fd, 1, NULL);
	assert_refused(&fd, 1, "segmentd.socket");
}
END_TEST

START_TEST(internet_socket_is_refused)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	assert_refused(&fd, 1, NULL);
	assert_refused(&fd, 1, "segmentd.socket");
}
END_TEST

START_TEST(file_is_refused)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	assert_refused(&fd, 1, NULL);
	assert_refused(&fd, 1, "segmentd.socket");
}
END_TEST

START_TEST(of_several_sockets_one_is_served)
{
	static const struct {
		const char *names;
		int listen_fd;
		int type;		/* of the first */
	} cases[] = {
		{ NULL, 3, SOCK_SEQPACKET },
		{ "door:window", 3, SOCK_SEQPACKET },
		{ "segmentd.socket:segmentd.socket", 3, SOCK_SEQPACKET },
		{ "segmentd.socket:box-1-a", 3, SOCK_SEQPACKET },
		{ "box-1-a:segmentd.socket", 4, SOCK_SEQPACKET },
		{ NULL, 4, SOCK_STREAM },
		{ "other.socket:segmentd.socket", 4, SOCK_STREAM },
		{ "other.socket:door", 4, SOCK_STREAM },
	};
	char other[sizeof(path) + 8];

	(void)snprintf(other, sizeof(other), "%s.2", path);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(cases); i++) {
		struct inherited inherited;
		int fds[2] = { suite_bind(path, cases[i].type), suite_bind(other, SOCK_SEQPACKET) };

		ck_assert_int_eq(listen(fds[0], 8), 0);
		ck_assert_int_eq(listen(fds[1], 8), 0);
		hand_down(fds, 2, cases[i].names);
		ck_assert_int_eq(inherited_init(&inherited), 0);
		ck_assert_int_eq(inherited.listen_fd, cases[i].listen_fd);
		ck_assert_int_ne(fcntl(inherited.listen_fd, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_uint_eq(inherited.n, 1);
		ck_assert_int_eq(inherited.entries[0].fd, 7 - cases[i].listen_fd);
		inherited_deinit(&inherited);
		ck_assert_int_eq(fcntl(3, F_GETFD), -1);
		ck_assert_int_eq(fcntl(4, F_GETFD), -1);
		(void)close(fds[0]);
		(void)close(fds[1]);
		(void)unlink(path);
		(void)unlink(other);
	}
}
END_TEST

START_TEST(nonsense_in_the_environment_is_an_error)
{
	static const char *const numbers[] = { "many", "-1", "1000000", "99999999999" };
	struct inherited inherited;
	char number[32];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(numbers); i++) {
		(void)snprintf(number, sizeof(number), "%jd", (intmax_t)getpid());
		ck_assert_int_eq(setenv("LISTEN_PID", number, 1), 0);
		ck_assert_int_eq(setenv("LISTEN_FDS", numbers[i], 1), 0);
		ck_assert_int_lt(inherited_init(&inherited), 0);
		ck_assert_int_eq(inherited.listen_fd, -1);
		ck_assert_uint_eq(inherited.n, 0);
		ck_assert_ptr_null(getenv("LISTEN_FDS"));
	}
}
END_TEST

/* A listening socket and two that were stored, of one name, and a file. */
static void
make_stored(int *fds)
{
	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[1] = suite_bind(path, SOCK_SEQPACKET);
	ck_assert_int_eq(listen(fds[1], 8), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds + 2), 0);
}

static bool
is_same(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

START_TEST(stored_entries_are_had_by_name)
{
	struct inherited inherited;
	int fds[4], fd;

	make_stored(fds);
	hand_down(fds, 4, "other:segmentd.socket:box:box");
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_int_eq(inherited.listen_fd, 4);
	ck_assert_uint_eq(inherited.n, 3);
	for (fd = 3; fd < 7; fd++)
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd = inherited_take(&inherited, "box");
	ck_assert(is_same(fd, fds[2]));
	fd = inherited_take(&inherited, "box");
	ck_assert(is_same(fd, fds[3]));
	ck_assert_int_eq(inherited_take(&inherited, "box"), -1);
	ck_assert_int_eq(inherited_take(&inherited, "box-"), -1);
	ck_assert_int_eq(inherited_take(&inherited, "segmentd.socket"), -1);
	inherited_deinit(&inherited);
	ck_assert_int_eq(fcntl(3, F_GETFD), -1);
	ck_assert_int_eq(fcntl(4, F_GETFD), -1);
	ck_assert_int_ge(fcntl(5, F_GETFD), 0);
	ck_assert_int_ge(fcntl(6, F_GETFD), 0);
}
END_TEST

START_TEST(stored_without_a_socket_is_no_error)
{
	struct inherited inherited;
	int fds[4];

	make_stored(fds);
	hand_down(fds + 2, 2, "box-1-a:box-1-b");
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_int_eq(inherited.listen_fd, -1);
	ck_assert_uint_eq(inherited.n, 2);
	inherited_deinit(&inherited);
}
END_TEST

START_TEST(names_that_do_not_fit_are_none)
{
	static const char *const names[] = { NULL, "", "segmentd.socket", "a:b:c", "a:b:c:d:e", ":::::" };
	struct inherited inherited;
	int fds[4];

	make_stored(fds);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		hand_down(fds, 4, names[i]);
		ck_assert_int_eq(inherited_init(&inherited), 0);
		ck_assert_int_eq(inherited.listen_fd, 4);
		ck_assert_uint_eq(inherited.n, 3);
		for (unsigned k = 0; k < 3; k++)
			ck_assert_str_eq(inherited.entries[k].name, "unknown");
		inherited_deinit(&inherited);
	}
	/* A name of any length, and one that is empty. */
	char *many = calloc(1, 5000);

	ck_assert_ptr_nonnull(many);
	memset(many, 'x', 4990);
	(void)strcat(many, ":b::d");
	hand_down(fds, 4, many);
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_uint_eq(strlen(inherited.entries[0].name), INHERITED_NAME_SIZE - 1);
	ck_assert_str_eq(inherited.entries[1].name, "");
	ck_assert_str_eq(inherited.entries[2].name, "d");
	inherited_deinit(&inherited);
	free(many);
}
END_TEST

START_TEST(nameless_without_a_socket_is_refused)
{
	int fds[4];

	make_stored(fds);
	assert_refused(fds + 2, 2, NULL);
	assert_refused(fds + 2, 2, "one");
}
END_TEST

static unsigned n_told;

static void
on_tell(const char *text, void *arg)
{
	ck_assert_ptr_nonnull(strstr(text, arg));
	n_told++;
}

/* Where the manager hears what is said, until the test's end. */
static int
bind_manager(void)
{
	static char notify[sizeof(path)];

	(void)snprintf(notify, sizeof(notify), "%s/notify", directory);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", notify, 1), 0);
	return suite_bind(notify, SOCK_DGRAM);
}

static void
expect_removal(int manager, const char *name)
{
	char heard[512], expected[512];

	ck_assert(suite_receive(manager, heard, sizeof(heard)));
	(void)snprintf(expected, sizeof(expected), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	ck_assert_str_eq(heard, expected);
}

static void
expect_nothing(int manager)
{
	char heard[512];

	ck_assert(!suite_receive(manager, heard, sizeof(heard)));
}

START_TEST(what_nobody_takes_is_removed)
{
	struct inherited inherited;
	int fds[4], manager = bind_manager(), fd;

	make_stored(fds);
	hand_down(fds, 4, "strange:segmentd.socket:box:strange");
	ck_assert_int_eq(inherited_init(&inherited), 0);
	fd = inherited_take(&inherited, "box");
	ck_assert_int_ge(fd, 0);
	inherited_drop(&inherited, on_tell, (void *)"'strange', which is not known: removed from its store");
	ck_assert_uint_eq(n_told, 1);
	expect_removal(manager, "strange");
	expect_nothing(manager);
	ck_assert_int_eq(fcntl(3, F_GETFD), -1);
	ck_assert_int_eq(fcntl(6, F_GETFD), -1);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	/* The socket is no entry. */
	ck_assert_int_eq(inherited.listen_fd, 4);
	inherited_deinit(&inherited);
}
END_TEST

/* By its name what was taken would go, too, which is there until there is another. */
START_TEST(what_has_the_name_of_another_is_not_removed)
{
	struct inherited inherited;
	int fds[4], manager = bind_manager();

	make_stored(fds);
	hand_down(fds, 4, "box-1-a:segmentd.socket:box-1-a:box-1-b");
	ck_assert_int_eq(inherited_init(&inherited), 0);
	for (unsigned i = 0; i < inherited.n; i++) {
		if (inherited.entries[i].fd == 3)
			continue;
		close_fd(&inherited.entries[i].fd);
	}
	inherited_drop(&inherited, on_tell, (void *)"'box-1-a' more than once, also as something else: that is let go");
	ck_assert_uint_eq(n_told, 1);
	expect_nothing(manager);
	ck_assert_int_eq(fcntl(3, F_GETFD), -1);
	inherited_deinit(&inherited);
}
END_TEST

/* Else every start to come would end for it. */
START_TEST(what_cannot_be_served_is_removed)
{
	struct inherited inherited;
	int fds[4], other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), manager = bind_manager();

	make_stored(fds);
	ck_assert_int_eq(listen(other, 8), 0);
	(void)close(fds[1]);
	fds[1] = other;
	hand_down(fds, 4, "state-dir:foreign:box-1-a:box-1-b");
	ck_assert_int_eq(inherited_init(&inherited), -EINVAL);
	expect_removal(manager, "foreign");
	expect_nothing(manager);
	hand_down(fds + 2, 2, "box-1-a:box-1-b");
	ck_assert_int_eq(inherited_init(&inherited), 0);
	ck_assert_uint_eq(inherited.n, 2);
	inherited_deinit(&inherited);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("inherited");
	TCase *tcase = tcase_create("activation");

	reserve_numbers();
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, right_socket_is_taken);
	tcase_add_test(tcase, nothing_handed_down_is_no_error);
	tcase_add_test(tcase, meant_for_another_process_is_left_alone);
	tcase_add_test(tcase, stream_socket_is_refused);
	tcase_add_test(tcase, datagram_socket_is_refused);
	tcase_add_test(tcase, socket_that_does_not_listen_is_refused);
	tcase_add_test(tcase, internet_socket_is_refused);
	tcase_add_test(tcase, file_is_refused);
	tcase_add_test(tcase, of_several_sockets_one_is_served);
	tcase_add_test(tcase, nonsense_in_the_environment_is_an_error);
	tcase_add_test(tcase, stored_entries_are_had_by_name);
	tcase_add_test(tcase, stored_without_a_socket_is_no_error);
	tcase_add_test(tcase, names_that_do_not_fit_are_none);
	tcase_add_test(tcase, nameless_without_a_socket_is_refused);
	tcase_add_test(tcase, what_nobody_takes_is_removed);
	tcase_add_test(tcase, what_has_the_name_of_another_is_not_removed);
	tcase_add_test(tcase, what_cannot_be_served_is_removed);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
