/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `segmentctl exec` with the real daemon: who holds, for how long, and what the program finds: no more than it should. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/segmentctl/run.h"

#define BODY \
	"segments = ( { name = \"board\"; size = \"64KiB\"; max_size = \"128KiB\"; page_size = \"base\"; mlock = false; },\n" \
	"  { name = \"public\"; size = \"4KiB\"; mode = \"0644\"; mlock = false; },\n" \
	"  { name = \"old\"; size = \"64KiB\"; backend = \"sysv\"; required = false; mlock = false; },\n" \
	"  { name = \"slow\"; size = \"64MiB\"; required = false; mlock = false; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
start(void)
{
	harness_daemon_start(&daemon_, "workers = 1;", BODY);
}

static void
stop(void)
{
	harness_daemon_stop(&daemon_);
}

#define RUN(...) run_segmentctl("--socket", daemon_.socket, __VA_ARGS__, NULL)

static void
assert_run(const struct run *run, int status, const char *out, const char *err)
{
	harness_assert(run->status == status, "status %d, %d expected: %s", run->status, status, run->err);
	harness_assert(strstr(run->out, out), "'%s' lacks '%s'", run->out, out);
	harness_assert(strstr(run->err, err), "'%s' lacks '%s'", run->err, err);
}

/* A process that becomes cat(1) by way of `exec`, and echoes what it hears. */
static void
become_cat(int control, void *arg)
{
	char *args[] = { (char *)(uintptr_t)"segmentctl", (char *)(uintptr_t)"--socket", daemon_.socket,
	    (char *)(uintptr_t)"exec", arg, (char *)(uintptr_t)"--", (char *)(uintptr_t)"cat", NULL };

	(void)dup2(control, STDIN_FILENO);
	(void)dup2(control, STDOUT_FILENO);
	_exit(segmentctl_main(BASE_ARRAY_SIZE(args) - 1, args));
}

static void
await_echo(const struct harness_child *child)
{
	harness_say(child->control, "hello");
	harness_expect(child->control, "hello");
}

START_TEST(program_is_the_holder_while_it_lives)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_client clients[8];
	struct protocol_holder holders[4];
	bool reads = _i;

	harness_child_start(&child, become_cat, (void *)(uintptr_t)(reads ? "board:r" : "board"));
	await_echo(&child);
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_holders(&conn, "board", holders, BASE_ARRAY_SIZE(holders)), 1);
	ck_assert_int_eq(holders[0].pid, child.pid);
	ck_assert_str_eq(holders[0].command, "cat");
	ck_assert_uint_eq(holders[0].flags, PROTOCOL_HOLDER_LIVES);
	ck_assert_uint_ne(holders[0].session, 0);
	ck_assert_int_eq(holders[0].access & PROTOCOL_ACCESS_WRITE, reads ? 0 : PROTOCOL_ACCESS_WRITE);
	ck_assert_int_eq(harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)), 2);
	ck_assert_str_eq(clients[0].command, "cat");
	ck_assert_uint_eq(clients[0].attachments, 1);
	/* By a signal, or by its own will. */
	if (reads) {
		harness_child_kill(&child);
	} else {
		ck_assert_int_eq(shutdown(child.control, SHUT_WR), 0);
		harness_child_await_success(&child);
	}
	harness_await_counts(&conn, "board", 0, 0);
	ck_assert_int_eq(harness_holders(&conn, "board", holders, BASE_ARRAY_SIZE(holders)), 0);
	ck_assert_int_eq(harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)), 1);
	harness_close(&conn);
}
END_TEST

START_TEST(program_waits_for_its_memory)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_client clients[8];
	struct protocol_segment row;
	pid_t pids[8];
	size_t n;

	harness_open(&conn, daemon_.socket);
	do {
		n = harness_children(daemon_.pid, pids, BASE_ARRAY_SIZE(pids));
		ck_assert_int_eq(harness_find(&conn, "slow", &row), 0);
	} while (n == 0 && row.state != PROTOCOL_READY);
	for (size_t i = 0; i < n; i++)
		(void)kill(pids[i], SIGSTOP);
	ck_assert_int_eq(harness_find(&conn, "slow", &row), 0);
	if (row.state == PROTOCOL_READY)
		harness_skip("the segment was ready before its worker could be stopped");
	harness_child_start(&child, become_cat, (void *)(uintptr_t)"slow");
	/* It waits on a second connection. */
	while (harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)) < 3)
		;
	ck_assert_int_eq(harness_holders(&conn, "slow", NULL, 0), 0);
	for (size_t i = 0; i < n; i++)
		(void)kill(pids[i], SIGCONT);
	await_echo(&child);
	harness_await_counts(&conn, "slow", 0, 1);
	ck_assert_int_eq(harness_clients(&conn, clients, BASE_ARRAY_SIZE(clients)), 2);
	harness_child_kill(&child);
	harness_close(&conn);
}
END_TEST

START_TEST(program_is_told_of_each_segment)
{
	const struct run *run;
	char expected[256];

	(void)setenv("SEGMENT_FD_3", "77", 1);
	(void)setenv("SEGMENT_NAME_3", "of an exec around", 1);
	(void)setenv("SEGMENT_FD_4", "78", 1);
	run = RUN("exec", "board", "public:r", "--", "sh", "-c", "echo $SEGMENT_NAME $SEGMENT_SIZE $SEGMENT_ACCESS"
	    "  $SEGMENT_NAME_2 $SEGMENT_SIZE_2 $SEGMENT_ACCESS_2 $SEGMENT_COUNT ${SEGMENT_FD_3-none} ${SEGMENT_NAME_3-none}"
	    "  ${SEGMENT_FD_4-none} $SEGMENTD_SOCKET; [ $SEGMENT_GENERATION -gt 0 ]");
	(void)snprintf(expected, sizeof(expected), "board 65536 write public 4096 read 2 none none none %s\n", daemon_.socket);
	ck_assert_str_eq(run->out, expected);
	ck_assert_int_eq(run->status, 0);
	run = RUN("exec", "board:r", "--", "sh", "-c", "echo $SEGMENT_COUNT ${SEGMENT_FD_2-none} $1", "sh", "--json");
	ck_assert_str_eq(run->out, "1 none --json\n");
}
END_TEST

/* What this process has open, and gives to all that it runs, is not what is asked about here. */
static void
close_on_exec(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) > STDERR_FILENO)
			(void)fcntl(atoi(entry->d_name), F_SETFD, FD_CLOEXEC);
	(void)closedir(dir);
}

START_TEST(program_inherits_nothing_else)
{
	const struct run *run;

	close_on_exec();
	/* Without a pipe, which would be open in the shell itself; and the descriptor that it found these by is closed. */
	run = RUN("exec", "board", "public", "--", "sh", "-c", "for f in /proc/$$/fd/*; do case ${f##*/} in 0|1|2) ;;"
	    " $SEGMENT_FD) a=first;; $SEGMENT_FD_2) b=second;; $SEGMENT_SESSION) c=session;;"
	    " *) if [ -e $f ]; then ls -l $f; fi;; esac; done; echo $a $b $c");
	ck_assert_str_eq(run->out, "first second session\n");
	/* What the caller handed to us is handed on. */
	ck_assert_int_eq(dup2(STDIN_FILENO, 77), 77);
	run = RUN("exec", "board", "--", "sh", "-c", "test -e /proc/$$/fd/77");
	ck_assert_int_eq(run->status, 0);
	(void)close(77);
}
END_TEST

/* The lines of /proc/PID/status about signals. */
static void
read_signals(const char *status, char *buf, size_t size)
{
	const char *begin = strstr(status, "SigBlk:");

	ck_assert_ptr_nonnull(begin);
	(void)snprintf(buf, size, "%.*s", (int)(strstr(begin, "SigCgt:") - begin), begin);
}

START_TEST(program_has_its_callers_signals)
{
	char own[256], got[256], status[8192] = "";
	cleanup_close int fd = -1;
	sigset_t set;

	(void)signal(SIGPIPE, _i & 1 ? SIG_IGN : SIG_DFL);
	(void)signal(SIGUSR2, _i & 2 ? SIG_IGN : SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(_i & 2 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ck_assert_int_gt(read(fd, status, sizeof(status) - 1), 0);
	read_signals(status, own, sizeof(own));
	read_signals(RUN("exec", "board", "--", "cat", "/proc/self/status")->out, got, sizeof(got));
	ck_assert_str_eq(got, own);
}
END_TEST

static const char *
in_dir(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", daemon_.dir, name);
	return path;
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	cleanup_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

START_TEST(status_is_the_programs)
{
	const char *path;

	assert_run(RUN("exec", "board", "--", "true"), 0, "", "");
	assert_run(RUN("exec", "board", "--", "sh", "-c", "exit 42"), 42, "", "");
	assert_run(RUN("exec", "board", "--", "sh", "-c", "kill -9 $$"), 128 + SIGKILL, "", "");
	assert_run(RUN("exec", "board", "--", "no-such-program"), 127, "", "'no-such-program' was not found");
	assert_run(RUN("exec", "board", "--", "no-such-program"), 127, "", "$PATH");
	assert_run(RUN("exec", "board", "--", "/nonexistent/x"), 127, "", "'/nonexistent/x' was not found");
	assert_run(RUN("exec", "board", "--", "/dev/null/x"), 127, "", "not found");
	assert_run(RUN("exec", "board", "--", ""), 127, "", "'' was not found");
	assert_run(RUN("exec", "board", "--", "/"), 126, "", "'/' is a directory");
	path = in_dir("program");
	write_file(path, "#!/nonexistent/interpreter\n", 0644);
	assert_run(RUN("exec", "board", "--", path), 126, "", "may not be executed: it lacks the permission");
	ck_assert_int_eq(chmod(path, 0755), 0);
	assert_run(RUN("exec", "board", "--", path), 126, "", "the interpreter of its first line");
	(void)setenv("PATH", daemon_.dir, 1);
	assert_run(RUN("exec", "board", "--", "program"), 126, "", "the interpreter of its first line");
	(void)unlink(path);
	assert_run(RUN("exec", "board", "--", "program"), 127, "", "not found");
}
END_TEST

START_TEST(what_cannot_be_attached_runs_nothing)
{
	assert_run(RUN("exec", "nothing", "--", "echo", "ran"), SEGMENTCTL_NO_SEGMENT, "", "nothing");
	assert_run(RUN("exec", "board", "nothing", "--", "echo", "ran"), SEGMENTCTL_NO_SEGMENT, "", "nothing");
	assert_run(run_segmentctl("--socket", "/nonexistent/socket", "exec", "board", "--", "echo", NULL),
	    SEGMENTCTL_NO_DAEMON, "", "/nonexistent/socket");
	ck_assert_str_eq(RUN("exec", "nothing", "--", "echo", "ran")->out, "");
}
END_TEST

START_TEST(wrong_command_lines_are_told)
{
	assert_run(RUN("exec", "board"), SEGMENTCTL_USAGE, "", "lacks an argument");
	assert_run(RUN("exec", "board", "cat"), SEGMENTCTL_USAGE, "", "lacks `--` and a program");
	assert_run(RUN("exec", "board", "public", "--"), SEGMENTCTL_USAGE, "", "lacks `--` and a program");
	assert_run(RUN("exec", "--", "cat", "x"), SEGMENTCTL_USAGE, "", "lacks a segment's NAME");
	assert_run(RUN("exec", "board:w", "--", "cat"), SEGMENTCTL_USAGE, "", "expected NAME, or NAME:r");
	assert_run(RUN("exec", "a/b", "--", "cat"), SEGMENTCTL_USAGE, "", "cannot be a segment's name");
	assert_run(RUN("exec", ":r", "--", "cat"), SEGMENTCTL_USAGE, "", "cannot be a segment's name");
	assert_run(RUN("--json", "exec", "board", "--", "cat"), SEGMENTCTL_USAGE, "\"error\"", "no --json");
}
END_TEST

static void
exec_as_nobody(int control, void *arg)
{
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	assert_run(RUN("exec", "public", "--", "true"), SEGMENTCTL_NOT_PERMITTED, "", "it is written public:r");
	assert_run(RUN("exec", "board", "--", "true"), SEGMENTCTL_NO_SEGMENT, "", "");
	assert_run(RUN("exec", "public:r", "--", "sh", EXAMPLES "/note.sh"), 0, "for all", "");
	/* It is read-only whatever the program does. */
	assert_run(RUN("exec", "public:r", "--", "sh", "-c", "echo x >&$SEGMENT_FD"), 1, "", "");
	assert_run(RUN("exec", "public:r", "--", "sh", "-c", "echo x >/proc/self/fd/$SEGMENT_FD"), 2, "", "");
}

START_TEST(others_run_with_what_they_may_have)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	assert_run(RUN("exec", "public", "--", NOTE_PROGRAM, "for all"), 0, "", "");
	harness_child_start(&child, exec_as_nobody, NULL);
	harness_child_await_success(&child);
}
END_TEST

static bool
has_python(void)
{
	if (system("python3 -c 'import mmap' >/dev/null 2>&1") == 0)
		return true;
	puts("skipped in part: no python3 with mmap to run note.py");
	return false;
}

START_TEST(examples_read_each_others_lines)
{
	const char *const shell[] = { "sh", EXAMPLES "/note.sh" }, *const python[] = { "python3", EXAMPLES "/note.py" };
	/* Without an argument ahead, env(1) runs the next word. */
	const char *const c[] = { "env", NOTE_PROGRAM }, *const *const all[] = { c, shell, python };
	size_t n = has_python() ? 3 : 2;
	char line[32];

	for (size_t writer = 0; writer < n; writer++) {
		(void)snprintf(line, sizeof(line), "line %zu, %s", writer, writer ? "" : "a longer one");
		assert_run(RUN("exec", "board", "--", all[writer][0], all[writer][1], line), 0, "", "");
		strcat(line, "\n");
		for (size_t reader = 0; reader < n; reader++)
			ck_assert_str_eq(RUN("exec", "board:r", "--", all[reader][0], all[reader][1])->out, line);
		assert_run(RUN("exec", "board:r", "--", all[writer][0], all[writer][1], "x"), 1, "", "attached for reading");
	}
	assert_run(RUN("read", "board", "0", "4"), 0, "line", "");
}
END_TEST

/* System V memory has no descriptor: the program attaches it by its number, and is its holder all the same. */
START_TEST(program_is_given_the_number_of_system_v_memory)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_conn conn = HARNESS_CONN_NULL;
	const struct run *run;
	char *memory;

	harness_open(&conn, daemon_.socket);
	if (harness_wait(&conn, "old") != PROTOCOL_READY)
		harness_skip("there is no System V memory here");
	(void)setenv("SEGMENT_FD", "77", 1);
	(void)setenv("SEGMENT_SHMID_2", "78", 1);
	run_set_input("to be read", 10);
	assert_run(RUN("write", "old", "100"), 0, "", "");
	run_set_input(NULL, 0);
	assert_run(RUN("read", "old", "100", "10"), 0, "to be read", "");
	run = RUN("exec", "old", "board", "--", "sh", "-c", "echo $SEGMENT_SHMID $SEGMENT_SIZE ${SEGMENT_FD-none} "
	    "${SEGMENT_SHMID_2-none} $SEGMENT_FD_2");
	harness_assert(strstr(run->out, " 65536 none none "), "it found %s", run->out);
	memory = shmat(atoi(run->out), NULL, SHM_RDONLY);
	ck_assert_ptr_ne(memory, (void *)-1);
	ck_assert_int_eq(memcmp(memory + 100, "to be read", 10), 0);
	ck_assert_int_eq(shmdt(memory), 0);
	/* A program that knows both, and those that cannot. */
	assert_run(RUN("exec", "old", "--", NOTE_PROGRAM, "a line"), 0, "", "");
	ck_assert_str_eq(RUN("exec", "old:r", "--", NOTE_PROGRAM)->out, "a line\n");
	assert_run(RUN("exec", "old", "--", "sh", EXAMPLES "/note.sh"), 1, "", "'old' is System V memory, which has no descriptor");
	if (has_python())
		assert_run(RUN("exec", "old", "--", "python3", EXAMPLES "/note.py"), 1, "", "which has no descriptor");
	harness_child_start(&child, become_cat, (void *)(uintptr_t)"old:r");
	await_echo(&child);
	harness_await_counts(&conn, "old", 1, 0);
	harness_child_kill(&child);
	harness_await_counts(&conn, "old", 0, 0);
	harness_close(&conn);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-exec");
	TCase *tcase = tcase_create("exec");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_loop_test(tcase, program_is_the_holder_while_it_lives, 0, 2);
	tcase_add_test(tcase, program_waits_for_its_memory);
	tcase_add_test(tcase, program_is_told_of_each_segment);
	tcase_add_test(tcase, program_is_given_the_number_of_system_v_memory);
	tcase_add_test(tcase, program_inherits_nothing_else);
	tcase_add_loop_test(tcase, program_has_its_callers_signals, 0, 4);
	tcase_add_test(tcase, status_is_the_programs);
	tcase_add_test(tcase, what_cannot_be_attached_runs_nothing);
	tcase_add_test(tcase, wrong_command_lines_are_told);
	tcase_add_test(tcase, others_run_with_what_they_may_have);
	tcase_add_test(tcase, examples_read_each_others_lines);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
