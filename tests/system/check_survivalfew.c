/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A successor that may have fewer descriptors than restoring takes: it ends with the figure, and leaves all as it is. With that
 * figure, and with the least that it lets pass, nothing is lost: no connection, and no locks of who has none any more.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/harness_locks.h"
#include "tests/system/apart.h"
#include "tests/system/lasting.h"
#include "tests/system/surviving.h"

#define BODY		RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "") ", " RELOADING_SEGMENT("vault", SURVIVING_LOCKS))
#define N_CONNS		100
#define N_DETACHED	20		/* who have the vault mapped, and no connection any more */
#define N_GUESTS	2
#define N_OBJECTS	16
#define WORK_FDS	96		/* that the figure has more than the least */

static struct harness_manager manager;
static struct harness_conn conns[N_CONNS];
static struct lasting_guest desk;
static struct harness_conn holder;
static struct harness_segment held, detached[N_DETACHED];
static rlim_t nofile;

static void
lower_fds(void *arg)
{
	const struct rlimit limit = { *(const rlim_t *)arg, *(const rlim_t *)arg };

	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void
hold(struct harness_conn *conn, struct harness_segment *segment)
{
	*conn = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(conn, manager.daemon.socket);
	conn->is_lasting = true;
	harness_segment_open(conn, "vault", segment);
}

/* A crowd, and a daemon that was killed. What lies in flight counts against the limit, too, of all programs of a uid. */
static void
begin(void)
{
	apart_enter();
	harness_manager_start(&manager, NULL, BODY);
	lasting_arrive(&desk, &manager, "desk");
	hold(&holder, &held);
	for (unsigned i = 0; i < N_DETACHED; i++) {
		struct harness_conn conn;

		hold(&conn, &detached[i]);
		harness_close(&conn);
	}
	for (unsigned i = 0; i < N_CONNS; i++) {
		conns[i] = (struct harness_conn) HARNESS_CONN_NULL;
		harness_open(&conns[i], manager.daemon.socket);
		conns[i].is_lasting = true;
	}
	/* The last one is served when the others' ends are known. */
	harness_await_counts(&conns[N_CONNS - 1], "vault", 0, N_DETACHED + 1);
	(void)harness_manager_end(&manager, SIGKILL);
}

static size_t
launch(rlim_t limit)
{
	size_t length = lasting_log_length(&manager);

	nofile = limit;
	manager.daemon.before_exec = lower_fds;
	manager.daemon.before_exec_arg = &nofile;
	harness_manager_launch(&manager);
	return length;
}

/* The figure that it tells. */
static rlim_t
expect_refusal(rlim_t limit)
{
	size_t length = launch(limit);
	const char *log, *figure;
	unsigned long enough = 0;
	char text[64];

	harness_assert(harness_daemon_await_exit(&manager.daemon) == 1, "with %ju descriptors it starts", (uintmax_t)limit);
	/* Of its queue there is only so much. */
	harness_manager_hear(&manager);
	log = lasting_log(&manager, length);
	(void)snprintf(text, sizeof(text), "may have no more than %ju descriptors open", (uintmax_t)limit);
	reloading_expect(log, text);
	reloading_expect_not(log, "connects anew");
	figure = strstr(log, "LimitNOFILE= of the service to ");
	harness_assert(figure && sscanf(figure, "LimitNOFILE= of the service to %lu or more", &enough) == 1, "no figure in '%s'", log);
	ck_assert_uint_gt(enough, limit);
	return (rlim_t)enough;
}

static unsigned
count_pidfds(void)
{
	char path[64], link[512], target[64];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)manager.daemon.pid);
	dir = opendir(path);
	harness_assert(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir))) {
		ssize_t length;

		(void)snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		length = readlink(link, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		n += strstr(target, "pidfd") != NULL;
	}
	(void)closedir(dir);
	return n;
}

/* Everybody goes on; and all are still supervised. */
static void
expect_all(size_t length)
{
	struct protocol_segment row;

	harness_manager_await_ready(&manager);
	reloading_expect(lasting_log(&manager, length), "2 of 2 segments, 102 of 102 connections, 22 attachments");
	reloading_expect_not(lasting_log(&manager, length), "connects anew");
	ck_assert_uint_ge(count_pidfds(), N_GUESTS + N_CONNS + N_DETACHED);
	for (unsigned i = 0; i < N_CONNS; i++)
		ck_assert_int_eq(harness_find(&conns[i], "desk", &row), 0);
	harness_await_counts(&conns[0], "vault", 0, N_DETACHED + 1);
	lasting_expect_same(&desk);
	ck_assert_int_eq(harness_find(&holder, "vault", &row), 0);
}

static void
end(void)
{
	manager.daemon.before_exec = NULL;
	for (unsigned i = 0; i < N_CONNS; i++)
		harness_close(&conns[i]);
	for (unsigned i = 0; i < N_DETACHED; i++)
		harness_segment_close(&detached[i]);
	lasting_leave(&desk);
	harness_segment_close(&held);
	harness_close(&holder);
	harness_manager_stop(&manager);
}

/* Too few for those that were kept; for all of them, but not for what is to be had besides; and for nearly all. */
static const rlim_t limits[] = { 90, 110, 125, 150, 200, 230 };

START_TEST(with_the_figure_that_is_told_nothing_is_lost)
{
	rlim_t enough;

	begin();
	enough = expect_refusal(limits[_i]);
	expect_all(launch(enough));
	harness_note("of %ju descriptors it says that %ju are enough", (uintmax_t)limits[_i], (uintmax_t)enough);
	end();
}
END_TEST

START_TEST(the_least_that_is_let_pass_loses_nothing)
{
	rlim_t least;

	begin();
	least = expect_refusal(limits[BASE_ARRAY_SIZE(limits) - 1]) - WORK_FDS;
	ck_assert_uint_eq(expect_refusal(least - 1), least + WORK_FDS);
	expect_all(launch(least));
	end();
}
END_TEST

/* It has stored its box, and does not know that it is: what the daemon before it stored is there, too. */
static void
end_within_renewal(rlim_t limit)
{
	size_t length;

	harness_manager_set_deaf(&manager, true);
	length = launch(limit);
	lasting_await_log(&manager, length, "taken over from the segmentd before this one");
	lasting_await_log(&manager, length, "ready after");
	ck_assert_int_eq(kill(manager.daemon.pid, SIGKILL), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), -SIGKILL);
	harness_manager_set_deaf(&manager, false);
	harness_manager_hear(&manager);
}

/* Also whoever comes after one that was killed while it had stored a box, and not removed the one before. */
START_TEST(whoever_could_have_so_many_can_have_them_again)
{
	rlim_t least;

	begin();
	least = expect_refusal(limits[BASE_ARRAY_SIZE(limits) - 1]) - WORK_FDS;
	for (unsigned i = 0; i < 3; i++) {
		end_within_renewal(least);
		ck_assert_uint_eq(harness_manager_count(&manager, "box-"), 4);
	}
	expect_all(launch(least));
	(void)harness_manager_end(&manager, SIGKILL);
	expect_all(launch(least));
	end();
}
END_TEST

/* Segments that nobody is connected to; and what costs more the more of them are had. */
static const struct kind {
	bool is_posix;
	unsigned n_guests;
} kinds[] = {
	{ false, 0 },
	{ true, N_OBJECTS },
};

static void
configure(const struct kind *kind)
{
	char body[N_OBJECTS * 256] = "segments = ( ";
	size_t n = strlen(body);

	for (unsigned i = 0; i < N_OBJECTS; i++) {
		char keys[128] = "prefault = false;";

		if (kind->is_posix)
			(void)snprintf(keys, sizeof(keys), "backend = \"posix\"; object = \"/segmentd-few-%ld-%u\";", (long)getpid(), i);
		n += (size_t)snprintf(body + n, sizeof(body) - n, "%s{ name = \"s%u\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; %s }",
		    i ? ", " : "", i, keys);
	}
	(void)snprintf(body + n, sizeof(body) - n, " );\n");
	harness_daemon_configure(&manager.daemon, "memory_reserve = \"0\";", body);
}

static unsigned
count_fds(void)
{
	struct harness_usage usage;

	harness_usage_read(manager.daemon.pid, &usage);
	return (unsigned)usage.fds;
}

/* It is ready; or it has ended, and told how many are enough. */
static bool
is_let_in(size_t length)
{
	struct pollfd fds[] = { { .fd = manager.news_fd, .events = POLLIN }, { .fd = manager.daemon.pidfd, .events = POLLIN } };

	harness_assert(harness_poll(fds, 2, HARNESS_TIMEOUT_MS) > 0, "with %ju descriptors it is neither ready nor ends: %s",
	    (uintmax_t)nofile, lasting_log(&manager, length));
	if (fds[0].revents) {
		harness_manager_await_ready(&manager);
		return true;
	}
	ck_assert_int_eq(harness_daemon_await_exit(&manager.daemon), 1);
	reloading_expect(lasting_log(&manager, length), "raise LimitNOFILE= of the service to ");
	return false;
}

START_TEST(who_is_not_told_a_figure_has_enough)
{
	const struct kind *kind = &kinds[_i];
	struct lasting_guest guests[N_OBJECTS];
	rlim_t limit, least;
	size_t length;

	harness_manager_prepare(&manager, NULL, "");
	configure(kind);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	for (unsigned i = 0; i < kind->n_guests; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "s%u", i);
		lasting_arrive(&guests[i], &manager, name);
	}
	least = count_fds() - N_OBJECTS / 2;
	(void)harness_manager_end(&manager, SIGKILL);
	for (limit = least;; limit++) {
		length = launch(limit);
		if (is_let_in(length))
			break;
		harness_manager_hear(&manager);
	}
	ck_assert_uint_gt(limit, least);
	reloading_expect(lasting_log(&manager, length), "taken over from the segmentd before this one: 16 of 16 segments");
	harness_note("of %u segments%s the least is %ju", N_OBJECTS, kind->n_guests ? " that are had" : "", (uintmax_t)limit);
	/* Work needs more, and the next one may have that. */
	(void)harness_manager_end(&manager, SIGKILL);
	manager.daemon.before_exec = NULL;
	length = lasting_log_length(&manager);
	harness_manager_launch(&manager);
	harness_manager_await_ready(&manager);
	reloading_expect(lasting_log(&manager, length), "taken over from the segmentd before this one: 16 of 16 segments");
	for (unsigned i = 0; i < kind->n_guests; i++)
		lasting_expect_same(&guests[i]);
	for (unsigned i = 0; i < kind->n_guests; i++)
		lasting_leave(&guests[i]);
	harness_manager_stop(&manager);
}
END_TEST

/* Its soft limit it raises itself, as far as it may. */
static void
lower_soft(void *arg)
{
	struct rlimit limit;

	(void)arg;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = 150;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

START_TEST(the_hard_limit_is_what_counts)
{
	size_t length;

	begin();
	length = lasting_log_length(&manager);
	manager.daemon.before_exec = lower_soft;
	harness_manager_launch(&manager);
	expect_all(length);
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("survivalfew");
	TCase *tcase = tcase_create("survivalfew");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, with_the_figure_that_is_told_nothing_is_lost, 0, (int)BASE_ARRAY_SIZE(limits));
	tcase_add_test(tcase, the_least_that_is_let_pass_loses_nothing);
	tcase_add_test(tcase, whoever_could_have_so_many_can_have_them_again);
	tcase_add_loop_test(tcase, who_is_not_told_a_figure_has_enough, 0, (int)BASE_ARRAY_SIZE(kinds));
	tcase_add_test(tcase, the_hard_limit_is_what_counts);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
