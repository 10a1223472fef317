/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Asking segmentd-audit: how it is reached and started, what comes of conversations that go well, and of others. What a
 * single message is judged by is check_auditlies.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/harness.h"
#include "tests/host/auditfake.h"

#define N_PAGED		1000		/* rows of an answer of many messages */

/* Parts of the fake. */

static void
play_pages(struct auditfake *fake)
{
	for (unsigned i = 0; i < N_PAGED; i += 100) {
		struct audit_stray rows[100];

		for (unsigned j = 0; j < 100; j++)
			rows[j] = auditfake_sysv((int)(i + j), AUDIT_UNHELD);
		auditfake_answer(fake, rows, 100, i + 100 < N_PAGED ? AUDIT_MORE : 0);
	}
}

/* Each candidate is what it was said to be, and gone. */
static void
play_judge(struct auditfake *fake)
{
	const struct audit_candidate *candidates = auditfake_rows(fake);
	struct audit_stray rows[64];

	for (unsigned i = 0; i < fake->question.n_rows; i++)
		rows[i] = candidates[i].what == AUDIT_POSIX ? auditfake_posix(candidates[i].name, AUDIT_GONE) :
		    auditfake_sysv(candidates[i].shm_id, AUDIT_GONE);
	auditfake_answer(fake, rows, fake->question.n_rows, 0);
}

static void
play_failure(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);

	answer.result = -EPERM;
	(void)strcpy(answer.text, "not today");
	auditfake_send(fake, &answer, NULL, 0);
}

static void
play_death(struct auditfake *fake)
{
	_exit(0);
}

static void
play_death_in_the_middle(struct auditfake *fake)
{
	struct audit_stray row = auditfake_sysv(1, AUDIT_UNHELD);

	auditfake_answer(fake, &row, 1, AUDIT_MORE);
	_exit(0);
}

static void
play_wrong_serial(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);

	answer.serial ^= 1;
	auditfake_send(fake, &answer, NULL, 0);
}

static void
play_giant(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);
	char *rows = calloc(1, AUDIT_MESSAGE_BYTES);

	auditfake_send(fake, &answer, rows, AUDIT_MESSAGE_BYTES);
	free(rows);
}

static void
play_one_too_few(struct auditfake *fake)
{
	const struct audit_candidate *candidates = auditfake_rows(fake);
	struct audit_stray row = auditfake_posix(candidates[0].name, AUDIT_UNHELD);

	auditfake_answer(fake, &row, 1, 0);
}

static void
play_one_too_many(struct auditfake *fake)
{
	const struct audit_candidate *candidates = auditfake_rows(fake);
	struct audit_stray rows[] = { auditfake_posix(candidates[0].name, AUDIT_UNHELD),
		auditfake_sysv(candidates[1].shm_id, AUDIT_UNHELD), auditfake_sysv(candidates[1].shm_id, AUDIT_UNHELD) };

	auditfake_answer(fake, rows, 3, 0);
}

static void
play_another(struct auditfake *fake)
{
	struct audit_stray rows[] = { auditfake_posix("passwd", AUDIT_UNHELD), auditfake_sysv(1, AUDIT_UNHELD) };

	auditfake_answer(fake, rows, 2, 0);
}

/* A good answer, with descriptors that nobody asked for. */
static void
play_gifts(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);
	int fds[] = { STDIN_FILENO, STDERR_FILENO };

	(void)harness_send(fake->fd, &answer, sizeof(answer), fds, 2);
}

static void
play_nothing(struct auditfake *fake)
{
}

/* As R, S, T in proc(5). */
static char
state_of(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (file)
		(void)fclose(file);
	return state;
}

/* Stands still itself, and so does who asks, which is the first to go on, and waits again. */
static void
play_standstill(struct auditfake *fake)
{
	const struct timespec time = { .tv_sec = AUDIT_SECONDS + 5, .tv_nsec = 100 * NS_PER_MS };
	pid_t asker = getppid();

	if (kill(asker, SIGSTOP))
		_exit(1);
	/* No event is waited for: that none comes is what is shown. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
	(void)kill(asker, SIGCONT);
	while (state_of(asker) != 'S')
		;
	auditfake_answer(fake, NULL, 0, 0);
}

/* Neither a hang-up nor a signal that can be caught moves it. */
static void
play_deaf(struct auditfake *fake)
{
	auditfake_answer(fake, NULL, 0, 0);
	for (;;)
		(void)pause();
}

static void
count(char *text, size_t size)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	struct sigaction action;
	sigset_t blocked;
	unsigned n_fds = 0, n_signals = 0;
	int death = 0;

	while (directory && (entry = readdir(directory)))
		n_fds += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory);
	(void)sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int number = 1; number < NSIG; number++)
		n_signals += sigismember(&blocked, number) == 1 ||
		    (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	(void)prctl(PR_GET_PDEATHSIG, &death);
	(void)snprintf(text, size, "%u descriptors, %u signals, dies of %d, %s", n_fds, n_signals, death,
	    getsid(0) == getpid() ? "alone" : "with others");
}

static void
play_count(struct auditfake *fake)
{
	struct audit_answer answer = auditfake_header(fake, 0);

	count(answer.text, sizeof(answer.text));
	auditfake_send(fake, &answer, NULL, 0);
}

static void
play_environment(struct auditfake *fake)
{
	static const char *const of_manager[] = { "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC",
	    "WATCHDOG_PID" };
	struct audit_stray stray = auditfake_sysv(getenv("LISTENER") ? 1 : 0, AUDIT_UNHELD);

	for (size_t i = 0; i < BASE_ARRAY_SIZE(of_manager); i++)
		stray.shm_id += getenv(of_manager[i]) ? 100 : 0;
	auditfake_answer(fake, &stray, 1, 0);
}

static const struct auditfake_part parts[] = {
	{ "pages", play_pages },
	{ "judge", play_judge },
	{ "failure", play_failure },
	{ "death", play_death },
	{ "death in the middle", play_death_in_the_middle },
	{ "wrong serial", play_wrong_serial },
	{ "giant", play_giant },
	{ "one too few", play_one_too_few },
	{ "one too many", play_one_too_many },
	{ "another", play_another },
	{ "gifts", play_gifts },
	{ "environment", play_environment },
	{ "nothing", play_nothing },
	{ "standstill", play_standstill },
	{ "deaf", play_deaf },
	{ "count", play_count },
	{ 0 }
};

/* Asking. */

struct taken {
	unsigned n;
	unsigned enough;		/* -ECANCELED at this one; 0: never */
	int32_t last_id;
};

static int
take(const void *row, void *arg)
{
	const struct audit_stray *stray = row;
	struct taken *taken = arg;

	if (stray->what == AUDIT_SYSV) {
		ck_assert_int_gt(stray->shm_id, taken->last_id);
		taken->last_id = stray->shm_id;
	}
	return ++taken->n == taken->enough ? -ECANCELED : 0;
}

static const struct audit_candidate two[2] = {
	{ .what = AUDIT_POSIX, .shm_id = -1, .name = "psm_1" },
	{ .what = AUDIT_SYSV, .shm_id = 5 },
};

/* One question to a part of the fake; two: with candidates. What audit_ask says. */
static int
ask(const char *part, bool judge, struct taken *taken, struct audit_answer *ret_end)
{
	struct audit_question asked = { .version = AUDIT_VERSION, .kind = judge ? AUDIT_JUDGE : AUDIT_LIST, .serial = 5,
		.flags = judge ? 0 : AUDIT_QUESTION_SYSV, .n_rows = judge ? 2 : 0 };
	pid_t pid;
	int fd, r;

	auditfake_choose(part);
	fd = audit_open("/nonexistent/socket", &pid);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(pid, 0);
	*taken = (struct taken){ .last_id = -1, .enough = taken->enough };
	r = audit_ask(fd, &asked, judge ? two : NULL, take, taken, ret_end);
	(void)close(fd);
	/* It hears the hang-up. */
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return r;
}

START_TEST(rows_come_in_their_order)
{
	struct taken taken = { 0 };
	struct audit_answer end;

	ck_assert_int_eq(ask("pages", false, &taken, &end), 0);
	ck_assert_uint_eq(taken.n, N_PAGED);
	ck_assert_uint_eq(end.flags & AUDIT_MORE, 0);
	ck_assert_int_eq(ask("judge", true, &taken, &end), 0);
	ck_assert_uint_eq(taken.n, 2);
	taken.enough = 3;
	ck_assert_int_eq(ask("pages", false, &taken, &end), -ECANCELED);
	ck_assert_uint_eq(taken.n, 3);
}
END_TEST

START_TEST(question_that_failed_says_why)
{
	struct taken taken = { 0 };
	struct audit_answer end;

	ck_assert_int_eq(ask("failure", false, &taken, &end), 0);
	ck_assert_int_eq(end.result, -EPERM);
	ck_assert_str_eq(end.text, "not today");
	ck_assert_int_eq(ask("failure", true, &taken, &end), 0);
	ck_assert_int_eq(end.result, -EPERM);
}
END_TEST

START_TEST(liars_and_the_dead_are_told_as_such)
{
	static const struct {
		const char *part;
		bool judge;
		int r;
	} rows[] = {
		{ "death", false, -ECONNRESET }, { "death in the middle", false, -ECONNRESET }, { "wrong serial", false, -EPROTO },
		{ "giant", false, -EPROTO }, { "one too few", true, -EPROTO }, { "one too many", true, -EPROTO },
		{ "another", true, -EPROTO }, { "pages", true, -EPROTO },
	};
	struct taken taken = { 0 };
	struct audit_answer end;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		int r = ask(rows[i].part, rows[i].judge, &taken, &end);

		ck_assert_msg(r == rows[i].r, "'%s' is told as %d, not %d", rows[i].part, r, rows[i].r);
	}
}
END_TEST

START_TEST(descriptors_that_come_along_are_dropped)
{
	struct taken taken = { 0 };
	struct harness_usage before, after;
	struct audit_answer end;

	harness_usage_read(getpid(), &before);
	ck_assert_int_eq(ask("gifts", false, &taken, &end), 0);
	harness_usage_read(getpid(), &after);
	ck_assert_uint_eq(before.fds, after.fds);
}
END_TEST

START_TEST(question_that_fits_no_message_is_not_sent)
{
	struct audit_question asked = { .version = AUDIT_VERSION, .kind = AUDIT_JUDGE,
		.n_rows = AUDIT_MESSAGE_BYTES / sizeof(struct audit_candidate) + 1 };
	struct audit_answer end;
	struct taken taken = { 0 };
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(audit_ask(ends[0], &asked, two, take, &taken, &end), -EMSGSIZE);
	asked = (struct audit_question){ .version = AUDIT_VERSION, .kind = AUDIT_LIST, .n_rows = 1 };
	ck_assert_int_eq(audit_ask(ends[0], &asked, two, take, &taken, &end), -EMSGSIZE);
	asked.n_rows = 0;
	(void)close(ends[1]);
	ck_assert_int_eq(audit_ask(ends[0], &asked, NULL, take, &taken, &end), -EPIPE);
	(void)close(ends[0]);
}
END_TEST

START_TEST(silence_has_an_end)
{
	struct taken taken = { 0 };
	struct audit_answer end;
	uint64_t begun_ns = clock_monotonic_ns();

	if (!harness_is_full())
		harness_skip("a quarter of a minute of waiting is the full check's");
	ck_assert_int_eq(ask("nothing", false, &taken, &end), -ETIME);
	ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, AUDIT_SECONDS * NS_PER_SEC);
}
END_TEST

START_TEST(standing_still_is_no_silence)
{
	struct taken taken = { 0 };
	struct audit_answer end;

	if (!harness_is_full())
		harness_skip("a quarter of a minute of standing still is the full check's");
	ck_assert_int_eq(ask("standstill", false, &taken, &end), 0);
}
END_TEST

/* Reaching it. */

static void
on_signal(int number)
{
	_exit(1);
}

START_TEST(program_inherits_nothing)
{
	struct audit_answer end;
	struct taken taken = { 0 };
	int left = open("/dev/null", O_RDONLY), more = dup(left);

	ck_assert_int_ge(more, 0);
	(void)signal(SIGUSR1, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(ask("count", false, &taken, &end), 0);
	(void)snprintf(end.text + 256, 256, "3 descriptors, 0 signals, dies of %d, alone", SIGKILL);
	ck_assert_str_eq(end.text, end.text + 256);
	/* Nor does it lack its end where that has its number already. */
	(void)close(STDIN_FILENO);
	ck_assert_int_eq(ask("count", false, &taken, &end), 0);
	(void)snprintf(end.text + 256, 256, "3 descriptors, 0 signals, dies of %d, alone", SIGKILL);
	ck_assert_str_eq(end.text, end.text + 256);
	(void)close(left);
	(void)close(more);
}
END_TEST

/* Opens, asks once, tells whom it started, and waits to be killed. */
static void
open_and_wait(int control, void *arg)
{
	struct audit_question asked = { .version = AUDIT_VERSION, .kind = AUDIT_LIST };
	struct taken taken = { 0 };
	struct audit_answer end;
	pid_t pid;
	int fd = audit_open(NULL, &pid);

	if (fd < 0 || audit_ask(fd, &asked, NULL, take, &taken, &end) != 0)
		_exit(1);
	*(volatile pid_t *)arg = pid;
	harness_say(control, "asked");
	for (;;)
		(void)pause();
}

START_TEST(program_dies_with_its_asker)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	volatile pid_t *pid = mmap(NULL, sizeof(*pid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cleanup_close int pidfd = -1;

	ck_assert_ptr_ne((void *)(uintptr_t)pid, MAP_FAILED);
	auditfake_choose("deaf");
	harness_child_start(&child, open_and_wait, (void *)(uintptr_t)pid);
	harness_expect(child.control, "asked");
	pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	ck_assert_int_ge(pidfd, 0);
	harness_child_kill(&child);
	harness_await_readable(pidfd, "the end of the program");
}
END_TEST

/* A socket that listens, of a queue as short as there is. */
static int
listen_at(char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char directory[] = "/tmp/segmentd-audit-XXXXXX";
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(address.sun_path), "%s/socket", directory);
	(void)strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	return fd;
}

static void
remove_socket(char *path)
{
	(void)unlink(path);
	*strrchr(path, '/') = '\0';
	(void)rmdir(path);
}

START_TEST(socket_is_asked_first_and_a_full_one_blocks_nobody)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listener = listen_at(path), fds[8], fd;
	pid_t pid = -1;
	size_t n = 0;

	/* While it has room they are connections to it; then a program is started. */
	auditfake_choose("nothing");
	(void)setenv("SEGMENTD_AUDIT", "", 1);
	ck_assert_int_eq(audit_open(path, &pid), -ENOENT);
	(void)unsetenv("SEGMENTD_AUDIT");
	for (; n < BASE_ARRAY_SIZE(fds); n++) {
		fds[n] = audit_open(path, &pid);
		if (fds[n] < 0 || pid)
			break;
		ck_assert_int_eq(fcntl(fds[n], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		ck_assert_int_eq(fcntl(fds[n], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	}
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_lt(n, BASE_ARRAY_SIZE(fds));
	if (fds[n] >= 0) {
		(void)close(fds[n]);
		(void)waitpid(pid, NULL, 0);
	}
	while (n > 0)
		(void)close(fds[--n]);
	/* A program that is named goes before. */
	auditfake_choose("nothing");
	fd = audit_open(path, &pid);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(pid, 0);
	(void)close(fd);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	(void)close(listener);
	remove_socket(path);
}
END_TEST

START_TEST(what_systemd_says_to_us_is_not_said_to_the_program)
{
	struct taken taken = { 0 };
	struct audit_answer end;

	(void)setenv("NOTIFY_SOCKET", "@nobody", 1);
	(void)setenv("LISTEN_FDS", "1", 1);
	(void)setenv("LISTEN_PID", "1", 1);
	(void)setenv("LISTEN_FDNAMES", "none", 1);
	(void)setenv("WATCHDOG_USEC", "1", 1);
	(void)setenv("WATCHDOG_PID", "1", 1);
	(void)setenv("LISTENER", "stays", 1);
	ck_assert_int_eq(ask("environment", false, &taken, &end), 0);
	ck_assert_uint_eq(taken.n, 1);
	ck_assert_int_eq(taken.last_id, 1);
	/* Ours is as it was. */
	ck_assert_str_eq(getenv("NOTIFY_SOCKET"), "@nobody");
	ck_assert_str_eq(getenv("LISTEN_FDS"), "1");
}
END_TEST

START_TEST(program_that_is_not_there_leaves_nothing)
{
	struct harness_usage before, after;
	char long_path[200];
	pid_t pid;

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	harness_usage_read(getpid(), &before);
	(void)setenv("SEGMENTD_AUDIT", "/nonexistent/audit", 1);
	ck_assert_int_eq(audit_open(NULL, &pid), -ENOENT);
	ck_assert_int_eq(audit_open(long_path, &pid), -ENOENT);
	(void)setenv("SEGMENTD_AUDIT", "/", 1);
	ck_assert_int_eq(audit_open("/nonexistent/socket", &pid), -EACCES);
	harness_usage_read(getpid(), &after);
	ck_assert_uint_eq(before.fds, after.fds);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("audit");
	TCase *tcase = tcase_create("audit");

	auditfake_begin(argv, parts);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, rows_come_in_their_order);
	tcase_add_test(tcase, question_that_failed_says_why);
	tcase_add_test(tcase, liars_and_the_dead_are_told_as_such);
	tcase_add_test(tcase, descriptors_that_come_along_are_dropped);
	tcase_add_test(tcase, question_that_fits_no_message_is_not_sent);
	tcase_add_test(tcase, silence_has_an_end);
	tcase_add_test(tcase, standing_still_is_no_silence);
	tcase_add_test(tcase, program_inherits_nothing);
	tcase_add_test(tcase, program_dies_with_its_asker);
	tcase_add_test(tcase, socket_is_asked_first_and_a_full_one_blocks_nobody);
	tcase_add_test(tcase, what_systemd_says_to_us_is_not_said_to_the_program);
	tcase_add_test(tcase, program_that_is_not_there_leaves_nothing);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
