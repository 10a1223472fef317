/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Kernels, sandboxes and file systems that do not have something: a filter of the daemon's system calls says so in their place.
 * The segment that needs it fails with a sentence, and everything else is served.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/system/lacking.h"
#include "tests/system/suite.h"

struct lack {
	struct lacking what;
	const char *keys;		/* %s: the daemon's directory; %ld: a number that nobody else has */
	const char *reason;
};

static const struct lack lacks[] = {
	{ { SYS_shmget, 0, 0, true, ENOSYS }, "backend = \"sysv\";",
	    "this kernel has no System V memory (CONFIG_SYSVIPC), or a filter keeps the daemon from it" },
	{ { SYS_set_mempolicy, 0, 0, true, ENOSYS }, "numa = \"local\";", "(a filter of system calls, or a kernel without NUMA: see" },
	{ { SYS_fcntl, 1, F_SETLEASE, false, EINVAL }, "backend = \"file\"; path = \"%s/contents\";",
	    "is on a file system that gives no leases (Invalid argument)" },
	{ { SYS_fsetxattr, 0, 0, true, EOPNOTSUPP }, "backend = \"posix\"; object = \"/segmentd-lacking-%ld\"; owner = \"nobody\";",
	    "needs access control lists, which /dev/shm has not" },
};

static void
write_body(const struct lack *lack, const char *dir, char *body, size_t size)
{
	char keys[256];

	/* The formats are the table's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (strstr(lack->keys, "%ld"))
		(void)snprintf(keys, sizeof(keys), lack->keys, (long)getpid());
	else
		(void)snprintf(keys, sizeof(keys), lack->keys, dir);
#pragma GCC diagnostic pop
	(void)snprintf(body, size, "segments = ( { name = \"it\"; size = \"64KiB\"; mlock = false; required = false; %s },\n"
	    "{ name = \"beside\"; size = \"64KiB\"; mlock = false; } );", keys);
}

START_TEST(what_is_lacking_is_a_reason)
{
	struct lack lack = lacks[_i];
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_reply shown;
	char body[1024];

	harness_daemon_prepare(&daemon, NULL, "");
	write_body(&lack, daemon.dir, body, sizeof(body));
	harness_daemon_configure(&daemon, NULL, body);
	daemon.before_exec = lacking_deny;
	daemon.before_exec_arg = &lack.what;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "it"), PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&conn, "it", &shown), 0);
	harness_assert(strstr(harness_reason(&shown), lack.reason), "'%s' does not say '%s'", harness_reason(&shown), lack.reason);
	suite_ready(&conn, "beside");
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lacking");
	TCase *tcase = tcase_create("lacking");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, what_is_lacking_is_a_reason, 0, BASE_ARRAY_SIZE(lacks));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
