/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What stands in the way of a System V segment, provoked for real in an IPC namespace of the test's own: each of the kernel's
 * limits, a key that is taken, locked memory. The sentence says what, how much, and what mends it; and then that does.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>

#include "tests/system/apart.h"
#include "tests/system/stranger.h"
#include "tests/system/suite.h"

#define KEY		0x7A2F
#define STRANGER_GID	54321		/* of whom no database knows */

#define BOOK(keys)	"segments = ( { name = \"book\"; size = \"2MiB\"; backend = \"sysv\"; required = false; " keys " } );"

static const char book[] = BOOK("key = 0x7A2F;");

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
};

static void
begin(struct scene *scene, const char *body)
{
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, NULL, body);
	harness_open(&scene->conn, scene->daemon.socket);
}

static void
end(struct scene *scene)
{
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
}

/* It has failed, and its reason has each of these texts; the last is NULL. */
static void __attribute__((sentinel))
expect_failed(struct scene *scene, const char *name, ...)
{
	struct harness_reply shown;
	const char *text;
	va_list ap;

	ck_assert_int_eq(harness_wait(&scene->conn, name), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&scene->conn, name, &shown), 0);
	va_start(ap, name);
	while ((text = va_arg(ap, const char *)) != NULL)
		harness_assert(strstr(harness_reason(&shown), text), "'%s' does not say '%s'", harness_reason(&shown), text);
	va_end(ap);
}

static void
retry(struct scene *scene, const char *name)
{
	struct protocol_retry request = { 0 };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	ck_assert_int_eq(harness_ask(&scene->conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
	suite_ready(&scene->conn, name);
}

START_TEST(one_larger_than_shmmax_is_refused_by_that_name)
{
	struct scene scene;

	stranger_enter_namespace();
	stranger_set_limit("shmmax", MIB);
	begin(&scene, book);
	expect_failed(&scene, "book", "a System V segment of 2 MiB is needed", "kernel.shmmax allows 1 MiB",
	    "/proc/sys/kernel/shmmax", "`sysctl -w kernel.shmmax=2097152`", NULL);
	ck_assert_uint_eq(stranger_count(), 0);
	stranger_set_limit("shmmax", 2 * MIB);
	retry(&scene, "book");
	end(&scene);
}
END_TEST

START_TEST(more_than_shmall_is_refused_by_that_name)
{
	struct scene scene;

	stranger_enter_namespace();
	stranger_set_limit("shmall", 768);	/* pages: 3 MiB */
	begin(&scene, "segments = ( { name = \"first\"; size = \"2MiB\"; backend = \"sysv\"; },\n"
	    "{ name = \"book\"; size = \"1MiB\"; max_size = \"2MiB\"; backend = \"sysv\"; required = false; } );");
	/* max_size is what the kernel counts: all of it from the start. */
	expect_failed(&scene, "book", "2 MiB more", "kernel.shmall allows 3 MiB in all, of which 2 MiB are in use",
	    "/proc/sys/kernel/shmall", "`sysctl -w kernel.shmall=1024`", NULL);
	ck_assert_uint_eq(stranger_count(), 1);
	stranger_set_limit("shmall", 1024);
	retry(&scene, "book");
	end(&scene);
}
END_TEST

START_TEST(more_than_shmmni_are_refused_by_that_name)
{
	struct scene scene;

	stranger_enter_namespace();
	stranger_set_limit("shmmni", 1);
	begin(&scene, "segments = ( { name = \"first\"; size = \"4KiB\"; backend = \"sysv\"; },\n"
	    "{ name = \"book\"; size = \"4KiB\"; backend = \"sysv\"; required = false; } );");
	expect_failed(&scene, "book", "1 more System V segment", "kernel.shmmni allows 1, of which 1", "/proc/sys/kernel/shmmni",
	    "`sysctl -w kernel.shmmni=2`", NULL);
	stranger_set_limit("shmmni", 2);
	retry(&scene, "book");
	end(&scene);
}
END_TEST

/* Whose it is, its size, who has it: and nothing is done to it. */
START_TEST(key_that_is_taken_is_left_alone_and_told_with_whose_it_is)
{
	struct stranger stranger;
	struct scene scene;
	char process[64];

	stranger_enter_namespace();
	stranger_start(&stranger, HARNESS_NOBODY, STRANGER_GID);
	stranger_must(&stranger, 0, "make %d %d 0600", KEY, 12288);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 100 77");
	(void)snprintf(process, sizeof(process), "by process %d", (int)stranger.child.pid);
	begin(&scene, book);
	expect_failed(&scene, "book", "key 0x00007a2f is taken", "12 KiB", "uid 65534", process, "attached by 1",
	    "`ipcrm -M 0x00007a2f`", NULL);
	stranger_must(&stranger, 77, "get 100");
	ck_assert_uint_eq(stranger_count(), 1);
	/* It stays when its maker goes: that is System V. */
	stranger_kill(&stranger);
	ck_assert_int_eq(shmctl(stranger_find(KEY), IPC_RMID, NULL), 0);
	retry(&scene, "book");
	end(&scene);
}
END_TEST

/* A small one, of which it is asked how much there is before it is freed. */
START_TEST(one_whose_key_is_taken_is_removed_by_a_reload)
{
	struct protocol_plan reload = { .flags = PROTOCOL_PLAN_RELOAD };
	struct harness_reply reply;
	struct scene scene;

	stranger_enter_namespace();
	ck_assert_int_ge(shmget(KEY, 4096, IPC_CREAT | IPC_EXCL | 0600), 0);
	begin(&scene, "segments = ( { name = \"book\"; size = \"4KiB\"; backend = \"sysv\"; key = 0x7A2F; required = false; } );");
	expect_failed(&scene, "book", "key 0x00007a2f is taken", NULL);
	harness_daemon_configure(&scene.daemon, NULL, "segments = ();");
	ck_assert_int_eq(harness_ask(&scene.conn, PROTOCOL_PLAN, &reload.header, sizeof(reload), &reply), 0);
	harness_await_gone(&scene.conn, "book");
	ck_assert_int_eq(shmctl(stranger_find(KEY), IPC_RMID, NULL), 0);
	end(&scene);
}
END_TEST

/* Made and left by a process that is gone, and by our own uid: that is said, and without a record it is left alone all the same. */
START_TEST(what_a_killed_daemon_left_is_told_as_that)
{
	struct stranger_row row;
	struct scene scene;
	char record[128];
	int id;

	stranger_enter_namespace();
	begin(&scene, "segments = ( { name = \"book\"; size = \"2MiB\"; backend = \"sysv\"; key = 0x7A2F; required = false; },\n"
	    "{ name = \"private\"; size = \"4KiB\"; backend = \"sysv\"; } );");
	suite_ready(&scene.conn, "book");
	ck_assert_uint_eq(stranger_count(), 2);
	id = stranger_find(KEY);
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
	(void)snprintf(record, sizeof(record), "%s/record", scene.daemon.state);
	ck_assert_int_eq(unlink(record), 0);
	ck_assert_uint_eq(stranger_count(), 2);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
	expect_failed(&scene, "book", "which is gone", "attached by 0", "left behind by a segmentd that was killed", NULL);
	ck_assert_int_eq(stranger_find(KEY), id);
	ck_assert_int_eq(stranger_stat(id, &row), 0);
	ck_assert_int_eq(shmctl(id, IPC_RMID, NULL), 0);
	retry(&scene, "book");
	end(&scene);
	/* The private one is left as well: another one was made. */
	ck_assert_uint_eq(stranger_count(), 1);
}
END_TEST

/* The kernel destroys what nobody has attached, where that is asked of it: ours always is. */
START_TEST(one_outlives_its_makers_end_under_shm_rmid_forced)
{
	struct stranger_row row;
	struct scene scene;

	stranger_enter_namespace();
	stranger_set_limit("shm_rmid_forced", 1);
	begin(&scene, book);
	suite_ready(&scene.conn, "book");
	ck_assert_int_eq(stranger_stat(stranger_find(KEY), &row), 0);
	ck_assert_uint_eq(row.n_attached, 1);
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

#define CAP_IPC_LOCK_BIT	14

static void
may_lock_little(void *arg)
{
	struct rlimit limit = { MIB, MIB };

	(void)arg;
	harness_assert(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: %s", strerror(errno));
	harness_assert(prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK_BIT) == 0, "prctl: %s", strerror(errno));
}

/* What all programs of a uid have locked so counts: with a uid that nobody else has, and as many as there may be beyond that. */
static void
be_apart(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	(void)setrlimit(RLIMIT_MEMLOCK, &none);
	apart_enter();
}

START_TEST(more_than_may_be_locked_is_refused_by_its_limit)
{
	struct stranger_row row;
	struct scene scene = { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };

	be_apart();
	stranger_enter_namespace();
	harness_daemon_prepare(&scene.daemon, NULL, "segments = (\n"
	    "{ name = \"book\"; size = \"2MiB\"; backend = \"sysv\"; mlock = true; required = false; },\n"
	    "{ name = \"kept\"; size = \"64KiB\"; backend = \"sysv\"; key = 0x7A2F; mlock = true; } );");
	scene.daemon.before_exec = may_lock_little;
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
	expect_failed(&scene, "book", "RLIMIT_MEMLOCK", "1 MiB", "LimitMEMLOCK", NULL);
	suite_ready(&scene.conn, "kept");
	ck_assert_int_eq(stranger_stat(stranger_find(KEY), &row), 0);
	ck_assert(row.mode & SHM_LOCKED);
	end(&scene);
}
END_TEST

/* Bytes that a process has read, of files and of the kernel's tables; or the test is skipped. */
static uint64_t
read_bytes_of(pid_t pid)
{
	cleanup_fclose FILE *f = NULL;
	char path[64];
	uint64_t bytes;

	(void)snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "rchar: %" SCNu64, &bytes) != 1)
		harness_skip("%s cannot be read here", path);
	return bytes;
}

/* The kernel's table has a line for each: going through it for each would take a minute of some thousands. */
START_TEST(many_are_made_without_reading_of_all_others_each_time)
{
	enum { N = 400 };
	static char body[N * 96];
	size_t len = (size_t)snprintf(body, sizeof(body), "segments = (");
	struct scene scene;

	stranger_enter_namespace();
	for (int i = 1; i <= N; i++)
		len += (size_t)snprintf(body + len, sizeof(body) - len, "%s{ name = \"s%d\"; size = \"4KiB\"; backend = \"sysv\"; "
		    "key = %d; mlock = false; }", i > 1 ? "," : "", i, i);
	(void)snprintf(body + len, sizeof(body) - len, ");");
	begin(&scene, body);
	ck_assert_uint_eq(stranger_count(), N);
	harness_assert(read_bytes_of(scene.daemon.pid) < 4 * MIB, "%" PRIu64 " bytes were read",
	    read_bytes_of(scene.daemon.pid));
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sysv");
	TCase *tcase = tcase_create("sysv");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, one_larger_than_shmmax_is_refused_by_that_name);
	tcase_add_test(tcase, more_than_shmall_is_refused_by_that_name);
	tcase_add_test(tcase, more_than_shmmni_are_refused_by_that_name);
	tcase_add_test(tcase, key_that_is_taken_is_left_alone_and_told_with_whose_it_is);
	tcase_add_test(tcase, one_whose_key_is_taken_is_removed_by_a_reload);
	tcase_add_test(tcase, what_a_killed_daemon_left_is_told_as_that);
	tcase_add_test(tcase, one_outlives_its_makers_end_under_shm_rmid_forced);
	tcase_add_test(tcase, more_than_may_be_locked_is_refused_by_its_limit);
	tcase_add_test(tcase, many_are_made_without_reading_of_all_others_each_time);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
