/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Starts that cannot be, and what becomes of them: a path or a directory that is taken, a configuration that is wrong, a
 * command line that is. Each ends with its status and a sentence, and nothing of anybody else's is touched.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/system/suite.h"

#define HUGE_CONFIGURATION	(64 * MIB)

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	harness_assert(f, "%s: %s", path, strerror(errno));
	harness_assert(fputs(text, f) >= 0 && fclose(f) == 0, "%s: %s", path, strerror(errno));
}

static void
expect_log(const struct harness_daemon *daemon, const char *text)
{
	harness_assert(strstr(harness_daemon_log(daemon), text), "the log does not say '%s'", text);
}

/* A daemon that cannot start ends with status 1 and says this. */
static void
expect_no_start(struct harness_daemon *daemon, const char *text)
{
	int status;

	(void)unlink(daemon->log);
	harness_daemon_launch(daemon);
	status = harness_daemon_await_exit(daemon);
	harness_assert(status == 1, "it ended with %d", status);
	expect_log(daemon, text);
}

/* A second daemon with the first one's socket, and a state_dir of its own; or the other way round. */
static void
prepare_second(struct harness_daemon *second, const struct harness_daemon *first, bool same_socket, bool same_state)
{
	harness_daemon_prepare(second, NULL, NULL);
	if (same_socket)
		memcpy(second->socket, first->socket, sizeof(second->socket));
	if (same_state)
		memcpy(second->state, first->state, sizeof(second->state));
	harness_daemon_configure(second, NULL, suite_desk);
}

START_TEST(a_second_daemon_leaves_the_first_alone)
{
	struct harness_daemon second;
	struct suite_scene scene;
	char pid[32];

	suite_begin(&scene, NULL, suite_desk);
	prepare_second(&second, &scene.daemon, true, false);
	expect_no_start(&second, scene.daemon.socket);
	expect_log(&second, "somebody listens on");
	harness_daemon_remove(&second);
	suite_expect_clean(&scene);

	prepare_second(&second, &scene.daemon, false, true);
	expect_no_start(&second, scene.daemon.state);
	(void)snprintf(pid, sizeof(pid), "(pid %d)", (int)scene.daemon.pid);
	expect_log(&second, pid);
	harness_daemon_remove(&second);
	suite_expect_clean(&scene);

	prepare_second(&second, &scene.daemon, true, true);
	expect_no_start(&second, "is locked by another segmentd");
	harness_daemon_remove(&second);
	(void)close(suite_attach(&scene.watcher, "desk", SUITE_READ));
	suite_end(&scene);
}
END_TEST

START_TEST(a_killed_daemons_socket_is_taken_over)
{
	struct suite_scene scene;
	struct stat status;

	suite_begin(&scene, NULL, suite_desk);
	harness_daemon_kill(&scene.daemon);
	ck_assert_int_eq(lstat(scene.daemon.socket, &status), 0);
	ck_assert(S_ISSOCK(status.st_mode));
	ck_assert_int_eq(harness_dial(scene.daemon.socket), -ECONNREFUSED);
	harness_close(&scene.watcher);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	suite_serves(&scene.daemon);
	harness_daemon_stop(&scene.daemon);
}
END_TEST

START_TEST(what_is_no_socket_is_not_removed)
{
	struct harness_daemon daemon;
	struct stat status;

	harness_daemon_prepare(&daemon, NULL, suite_desk);
	write_file(daemon.socket, "somebody's letters\n");
	expect_no_start(&daemon, "is no socket");
	ck_assert_int_eq(lstat(daemon.socket, &status), 0);
	ck_assert_int_eq(status.st_size, 19);
	ck_assert_int_eq(unlink(daemon.socket), 0);
	ck_assert_int_eq(mkdir(daemon.socket, 0700), 0);
	expect_no_start(&daemon, "is no socket");
	ck_assert_int_eq(rmdir(daemon.socket), 0);
	/* A link is not followed, wherever it leads. */
	ck_assert_int_eq(symlink(daemon.config, daemon.socket), 0);
	expect_no_start(&daemon, "is no socket");
	ck_assert_int_eq(stat(daemon.config, &status), 0);
	ck_assert_int_eq(unlink(daemon.socket), 0);
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_refused)
{
	struct harness_daemon daemon;
	char text[512], name[160];

	harness_daemon_prepare(&daemon, NULL, NULL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	(void)snprintf(text, sizeof(text), "daemon = { socket = \"%s/%s\"; state_dir = \"%s\"; };\n", daemon.dir, name,
	    daemon.state);
	write_file(daemon.config, text);
	expect_no_start(&daemon, "expected 107 at most");
	harness_daemon_remove(&daemon);
}
END_TEST

START_TEST(a_configuration_that_cannot_be_read_is_named)
{
	struct harness_daemon daemon;

	harness_daemon_prepare(&daemon, NULL, NULL);
	ck_assert_int_eq(unlink(daemon.config), 0);
	expect_no_start(&daemon, daemon.config);
	expect_log(&daemon, "No such file");
	ck_assert_int_eq(mkdir(daemon.config, 0700), 0);
	expect_no_start(&daemon, "expected a regular file");
	ck_assert_int_eq(rmdir(daemon.config), 0);
	/* A FIFO would let whoever starts it wait for ever. */
	ck_assert_int_eq(mkfifo(daemon.config, 0600), 0);
	expect_no_start(&daemon, "expected a regular file");
	harness_daemon_remove(&daemon);
}
END_TEST

START_TEST(a_configuration_that_is_none_is_refused)
{
	static const char binary[] = "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0>\0\1\0\0\0\377\376";
	struct harness_daemon daemon;
	cleanup_close int fd = -1;

	harness_daemon_prepare(&daemon, NULL, NULL);
	fd = open(daemon.config, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, binary, sizeof(binary)), (ssize_t)sizeof(binary));
	expect_no_start(&daemon, daemon.config);
	/* Endless white space, too: it is bounded before it is read. */
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(ftruncate(fd, HUGE_CONFIGURATION), 0);
	expect_no_start(&daemon, daemon.config);
	harness_assert(strlen(harness_daemon_log(&daemon)) < 4096, "the log is %zu bytes",
	    strlen(harness_daemon_log(&daemon)));
	harness_daemon_remove(&daemon);
}
END_TEST

static size_t
read_all(int fd, char *text, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (n < size - 1 && (r = read(fd, text + n, size - 1 - n)) > 0)
		n += (size_t)r;
	text[n] = 0;
	return n;
}

/* Runs segmentd with these arguments; what it says on both streams is in text. Its exit status. */
static int
run_daemon(const char *const *arguments, char *text, size_t size)
{
	int status, ends[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	pid = harness_fork();
	if (pid == 0) {
		(void)dup2(ends[1], 1);
		(void)dup2(ends[1], 2);
		(void)unsetenv("JOURNAL_STREAM");
		(void)unsetenv("NOTIFY_SOCKET");
		(void)execv(HARNESS_DAEMON_PROGRAM, (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	(void)close(ends[1]);
	(void)read_all(ends[0], text, size);
	(void)close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct command_line {
	const char *arguments[5];
	int status;
	const char *text;
};

static const struct command_line command_lines[] = {
	{ { "segmentd", "--version" }, 0, PACKAGE_STRING },
	{ { "segmentd", "--help" }, 0, "Usage: segmentd" },
	{ { "segmentd", "-h" }, 0, "Exit status" },
	{ { "segmentd", "--nonsense" }, 2, "nonsense" },
	{ { "segmentd", "-x" }, 2, "Usage: segmentd" },
	{ { "segmentd", "-c" }, 2, "Usage: segmentd" },
	{ { "segmentd", "--check=yes" }, 2, "Usage: segmentd" },
	{ { "segmentd", "--check", "start" }, 2, "unexpected argument 'start'" },
	{ { "segmentd", "--check", "-c", "/nonexistent/segmentd.conf" }, 1, "/nonexistent/segmentd.conf" },
	{ { "segmentd", "-c", "" }, 1, "segmentd: " },
};

START_TEST(command_lines_end_with_their_status)
{
	static char text[8192];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(command_lines); i++) {
		const struct command_line *line = &command_lines[i];
		int status = run_daemon(line->arguments, text, sizeof(text));

		harness_assert(status == line->status, "line %zu ended with %d: %s", i, status, text);
		harness_assert(strstr(text, line->text), "line %zu does not say '%s': %s", i, line->text, text);
	}
}
END_TEST

/* A check looks at every file, says everything, and makes nothing. */
START_TEST(check_reports_all_errors_of_all_files)
{
	static char text[16384];
	static const char *const said[] = {
		"segmentd.conf:", "10-first.conf:", "20-second.conf:", "sise", "\"12 parsecs\"", "\"0999\"",
	};
	struct harness_daemon daemon;
	char dir[96], path[128];
	const char *arguments[] = { "segmentd", "--check", "-c", daemon.config, NULL };
	struct stat status;
	int r;

	harness_daemon_prepare(&daemon, NULL, "segments = ( { name = \"a\"; sise = \"4KiB\"; size = \"4KiB\"; } );");
	(void)snprintf(dir, sizeof(dir), "%s/segments.d", daemon.dir);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/10-first.conf", dir);
	write_file(path, "segments = ( { name = \"b\"; size = \"12 parsecs\"; } );\n");
	(void)snprintf(path, sizeof(path), "%s/20-second.conf", dir);
	write_file(path, "segments = ( { name = \"c\"; size = \"4KiB\"; mode = \"0999\"; } );\n");
	r = run_daemon(arguments, text, sizeof(text));
	ck_assert_int_eq(r, 1);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(said); i++)
		harness_assert(strstr(text, said[i]), "it does not say '%s': %s", said[i], text);
	/* The same at a start. */
	expect_no_start(&daemon, "20-second.conf:");
	expect_log(&daemon, "10-first.conf:");

	ck_assert_int_eq(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/10-first.conf", dir);
	ck_assert_int_eq(unlink(path), 0);
	harness_daemon_configure(&daemon, NULL, suite_desk);
	r = run_daemon(arguments, text, sizeof(text));
	harness_assert(r == 0 && text[0] == 0, "a good one ended with %d: %s", r, text);
	ck_assert_int_ne(lstat(daemon.socket, &status), 0);
	harness_daemon_remove(&daemon);
}
END_TEST

START_TEST(an_empty_configuration_is_a_daemon_without_segments)
{
	static char text[4096];
	struct harness_daemon daemon;
	const char *arguments[] = { "segmentd", "--check", "-c", daemon.config, NULL };
	struct suite_scene scene;
	struct protocol_segment rows[1];
	int r;

	harness_daemon_prepare(&daemon, NULL, NULL);
	write_file(daemon.config, "");
	r = run_daemon(arguments, text, sizeof(text));
	harness_assert(r == 0, "it ended with %d: %s", r, text);
	harness_daemon_remove(&daemon);
	suite_begin(&scene, NULL, NULL);
	ck_assert_uint_eq(harness_list(&scene.watcher, rows, 1), 0);
	suite_end(&scene);
}
END_TEST

START_TEST(a_hangup_is_survived)
{
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	ck_assert_int_eq(kill(scene.daemon.pid, SIGHUP), 0);
	harness_daemon_await_log(&scene.daemon, "reload, asked for by SIGHUP: 2 kept");
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("start");
	TCase *tcase = tcase_create("start");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_second_daemon_leaves_the_first_alone);
	tcase_add_test(tcase, a_killed_daemons_socket_is_taken_over);
	tcase_add_test(tcase, what_is_no_socket_is_not_removed);
	tcase_add_test(tcase, a_path_that_is_too_long_is_refused);
	tcase_add_test(tcase, a_configuration_that_cannot_be_read_is_named);
	tcase_add_test(tcase, a_configuration_that_is_none_is_refused);
	tcase_add_test(tcase, command_lines_end_with_their_status);
	tcase_add_test(tcase, check_reports_all_errors_of_all_files);
	tcase_add_test(tcase, an_empty_configuration_is_a_daemon_without_segments);
	tcase_add_test(tcase, a_hangup_is_survived);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
