/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness: failing, skipping, and the daemon's life. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/harness.h"
#include "tests/harness-internal.h"
#include "tests/suite_run.h"

#define LOG_MAX		(256 * 1024)
#define DAEMONS_MAX	8

bool harness_in_child;

static char harness_base[64] = "/tmp";	/* of all directories */

/* Those whose log is shown, and whose directory is removed, when the test fails. */
static struct harness_daemon *daemons[DAEMONS_MAX];

static void (*tell_failure)(const char *text);

/* The runner has them in common with the processes of its tests, each of which has one of its own; "": free. */
#define NOTES_MAX	64
#define NOTE_SIZE	256
static char (*notes)[NOTE_SIZE];
static char *note;			/* in a test's process; NULL: none yet */

static void
show_logs(void)
{
	for (unsigned i = 0; i < DAEMONS_MAX; i++) {
		if (daemons[i])
			(void)fprintf(stderr, "--- log of the daemon in %s (last status '%s'):\n%s---\n",
			    daemons[i]->dir, daemons[i]->status, harness_daemon_log(daemons[i]));
	}
}

static int
remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status, (void)kind, (void)where;
	return remove(path) != 0 && errno != ENOENT;
}

static void
remove_tree(const char *dir)
{
	(void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The test is over: its daemons end with it. */
static void
remove_all(void)
{
	for (unsigned i = 0; i < DAEMONS_MAX; i++) {
		struct harness_daemon *daemon = daemons[i];

		daemons[i] = NULL;
		if (!daemon)
			continue;
		if (daemon->pid > 0)
			(void)kill(daemon->pid, SIGKILL);
		remove_tree(daemon->dir);
	}
}

void
harness_on_failure(void (*tell)(const char *text))
{
	tell_failure = tell;
}

void
harness_fail(const char *format, ...)
{
	void (*tell)(const char *text) = tell_failure;
	char text[1024 + NOTE_SIZE];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, 1024, format, ap);
	va_end(ap);
	if (harness_in_child) {
		(void)fprintf(stderr, "client process %d: %s\n", (int)getpid(), text);
		_exit(HARNESS_EXIT_FAILED);
	}
	tell_failure = NULL;
	if (tell)
		tell(text);
	show_logs();
	remove_all();
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", note && note[0] ? "; at " : "", note ? note : "");
	harness_note("%s", "");
	ck_abort_msg("%s", text);
	abort();	/* not reached */
}

void
harness_fail_at(const char *file, int line, const char *condition, const char *format, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	harness_fail("%s:%d: not %s: %s", file, line, condition, text);
}

void
harness_note(const char *format, ...)
{
	va_list ap;

	for (size_t i = 0; !note && notes && i < NOTES_MAX; i++)
		note = notes[i][0] ? NULL : notes[i];
	if (!note)
		return;
	va_start(ap, format);
	(void)vsnprintf(note, NOTE_SIZE, format, ap);
	va_end(ap);
}

void
harness_skip(const char *format, ...)
{
	va_list ap;

	harness_note("%s", "");

	(void)printf("SKIP: ");
	va_start(ap, format);
	(void)vprintf(format, ap);
	va_end(ap);
	(void)printf("\n");
	(void)fflush(stdout);
	remove_all();
	exit(EXIT_SUCCESS);
}

void
harness_need_root(void)
{
	if (geteuid() != 0)
		harness_skip("this test gives processes other uids, and so needs root");
}

bool
harness_is_full(void)
{
	const char *text = getenv("CHECK_FULL");

	return text && text[0];
}

unsigned
harness_scale(void)
{
	const char *text = getenv("SEGMENTD_TEST_SCALE");
	unsigned long scale = text ? strtoul(text, NULL, 10) : 1;

	return scale < 1 ? 1 : scale > 10000 ? 10000 : (unsigned)scale;
}

unsigned
harness_storm_seconds(unsigned full)
{
	if (harness_is_full() || full <= HARNESS_STORM_S)
		return full * harness_scale();
	printf("LEFT OUT: the storm lasts %d s instead of %u; CHECK_FULL=1 has all of it\n", HARNESS_STORM_S, full);
	return HARNESS_STORM_S * harness_scale();
}

bool
harness_has_sanitizers(void)
{
#ifdef WITH_SANITIZERS
	return true;
#else
	return false;
#endif
}

/* What a test that failed by one of Check's own assertions left: its log is shown, too. */
static void
show_left_logs(void)
{
	DIR *dir = opendir(harness_base);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		struct harness_daemon left = { .pid = 0 };

		(void)snprintf(left.log, sizeof(left.log), "%.32s/%.32s/log", harness_base, entry->d_name);
		if (entry->d_name[0] != '.' && harness_daemon_log(&left)[0])
			(void)fprintf(stderr, "--- log of a daemon that was not stopped:\n%s---\n", harness_daemon_log(&left));
	}
	if (dir)
		(void)closedir(dir);
}

/* Of tests that did not come to say what failed. */
static void
show_left_notes(void)
{
	for (size_t i = 0; notes && i < NOTES_MAX; i++)
		if (notes[i][0])
			(void)fprintf(stderr, "A test ended at %.*s\n", NOTE_SIZE, notes[i]);
}

/* All directories of all tests are in one, which goes when the last test has ended, however it ended. */
int
harness_run(Suite *suite)
{
	int status;

	(void)snprintf(harness_base, sizeof(harness_base), "/tmp/segmentd-test-XXXXXX");
	/* As /tmp is: a test may go on as somebody else. */
	if (!mkdtemp(harness_base) || chmod(harness_base, 01777) != 0) {
		(void)fprintf(stderr, "%s: %s\n", harness_base, strerror(errno));
		return EXIT_FAILURE;
	}
	/* A client that writes to a daemon that hung up wants EPIPE, not death. */
	(void)signal(SIGPIPE, SIG_IGN);
	notes = mmap(NULL, NOTES_MAX * sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (notes == MAP_FAILED)
		notes = NULL;
	status = suite_run(suite);
	if (status != EXIT_SUCCESS) {
		show_left_logs();
		show_left_notes();
	}
	remove_tree(harness_base);
	return status;
}

static void
remember(struct harness_daemon *daemon)
{
	for (unsigned i = 0; i < DAEMONS_MAX; i++) {
		if (!daemons[i] || daemons[i] == daemon) {
			daemons[i] = daemon;
			return;
		}
	}
	harness_fail("more than %d daemons in one test", DAEMONS_MAX);
}

static void
forget(const struct harness_daemon *daemon)
{
	for (unsigned i = 0; i < DAEMONS_MAX; i++) {
		if (daemons[i] == daemon)
			daemons[i] = NULL;
	}
}

/* What a key is where the test does not give it. */
static const char *
unless_given(const char *keys, const char *key, const char *text)
{
	return keys && strstr(keys, key) ? "" : text;
}

void
harness_daemon_configure(struct harness_daemon *daemon, const char *daemon_keys, const char *body)
{
	char path[sizeof(daemon->config) + 8];
	FILE *f;

	/* A daemon that reads it at this time finds the one before, or this one. */
	(void)snprintf(path, sizeof(path), "%s.new", daemon->config);
	f = fopen(path, "we");
	harness_assert(f, "%s: %s", path, strerror(errno));
	(void)fprintf(f, "daemon = {\n\tsocket = \"%s\";\n\tstate_dir = \"%s\";\n\taudit_socket = \"%s\";\n%s%s%s\n};\n%s\n",
	    daemon->socket, daemon->state, daemon->audit, unless_given(daemon_keys, "admin_group", "\tadmin_group = \"\";\n"),
	    unless_given(daemon_keys, "await_returns", "\tawait_returns = \"0s\";\n"), daemon_keys ? daemon_keys : "", body ? body : "");
	harness_assert(fclose(f) == 0 && rename(path, daemon->config) == 0, "%s: %s", daemon->config, strerror(errno));
}

void
harness_daemon_prepare(struct harness_daemon *daemon, const char *daemon_keys, const char *body)
{
	*daemon = (struct harness_daemon)HARNESS_DAEMON_NULL;
	(void)snprintf(daemon->dir, sizeof(daemon->dir), "%.32s/daemon-XXXXXX", harness_base);
	harness_assert(mkdtemp(daemon->dir), "%s: %s", daemon->dir, strerror(errno));
	harness_assert(chmod(daemon->dir, 0755) == 0, "chmod: %s", strerror(errno));
	(void)snprintf(daemon->config, sizeof(daemon->config), "%s/segmentd.conf", daemon->dir);
	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", daemon->dir);
	(void)snprintf(daemon->state, sizeof(daemon->state), "%s/state", daemon->dir);
	(void)snprintf(daemon->log, sizeof(daemon->log), "%s/log", daemon->dir);
	(void)snprintf(daemon->notify, sizeof(daemon->notify), "%s/notify", daemon->dir);
	(void)snprintf(daemon->audit, sizeof(daemon->audit), "%s/audit", daemon->dir);
	harness_assert(mkdir(daemon->state, 0700) == 0, "%s: %s", daemon->state, strerror(errno));
	harness_daemon_configure(daemon, daemon_keys, body);
	remember(daemon);
}

static void
listen_notify(struct harness_daemon *daemon)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	close_fd(&daemon->notify_fd);
	(void)unlink(daemon->notify);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->notify);
	daemon->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	harness_assert(daemon->notify_fd >= 0, "socket: %s", strerror(errno));
	harness_assert(bind(daemon->notify_fd, (struct sockaddr *)&address, sizeof(address)) == 0,
	    "%s: %s", daemon->notify, strerror(errno));
	(void)chmod(daemon->notify, 0666);
}

/* To the numbers from 3 on, as socket activation has it; what has them so far goes out of the way first. */
static void
hand_down(const struct harness_daemon *daemon)
{
	int n = (int)daemon->n_handed, moved[HARNESS_HANDED_MAX];
	char number[32];

	if (!daemon->is_managed)
		return;
	for (int i = 0; i < n; i++)
		moved[i] = fcntl(daemon->handed[i], F_DUPFD, 3 + n);
	for (int i = 0; i < n; i++)
		(void)dup2(moved[i], 3 + i);
	(void)snprintf(number, sizeof(number), "%d", n);
	(void)setenv("LISTEN_FDS", number, 1);
	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", number, 1);
	(void)setenv("LISTEN_FDNAMES", daemon->handed_names, 1);
}

/* In the new process: its environment is the harness's, its fds are the log, and what is handed down. */
static void
exec_daemon(const struct harness_daemon *daemon)
{
	const char *program = daemon->program ? daemon->program : HARNESS_DAEMON_PROGRAM;
	int null_fd = open("/dev/null", O_RDONLY);
	int log_fd = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null_fd, 0);
	(void)dup2(log_fd, 1);
	(void)dup2(log_fd, 2);
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	hand_down(daemon);
	(void)syscall(SYS_close_range, 3u + daemon->n_handed, ~0u, 0u);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setenv("NOTIFY_SOCKET", daemon->notify, 1);
	(void)setenv("SEGMENTD_AUDIT", HARNESS_AUDIT_PROGRAM, 0);
	(void)unsetenv("JOURNAL_STREAM");
	(void)unsetenv("INVOCATION_ID");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	if (access(daemon->audit, F_OK) == 0)
		(void)unsetenv("SEGMENTD_AUDIT");
	else
		(void)setenv("SEGMENTD_AUDIT", HARNESS_AUDIT_PROGRAM, 0);
	if (daemon->before_exec)
		daemon->before_exec(daemon->before_exec_arg);
	(void)execl(program, "segmentd", "-c", daemon->config, (char *)NULL);
	(void)fprintf(stderr, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

void
harness_daemon_launch(struct harness_daemon *daemon)
{
	if (!daemon->is_managed)
		listen_notify(daemon);
	daemon->status[0] = 0;
	daemon->pid = fork();
	harness_assert(daemon->pid >= 0, "fork: %s", strerror(errno));
	if (daemon->pid == 0)
		exec_daemon(daemon);
	daemon->pidfd = (int)syscall(SYS_pidfd_open, daemon->pid, 0);
	harness_assert(daemon->pidfd >= 0, "pidfd_open: %s", strerror(errno));
	(void)fcntl(daemon->pidfd, F_SETFD, FD_CLOEXEC);
}

bool
harness_daemon_hear(struct harness_daemon *daemon)
{
	char text[4096];
	bool ready = false;
	ssize_t n;

	while ((n = recv(daemon->notify_fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
		char *save = NULL;

		text[n] = 0;
		for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			if (streq(line, "READY=1"))
				ready = true;
			daemon->n_extended += strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0;
			daemon->n_status += strncmp(line, "STATUS=", 7) == 0;
			if (strncmp(line, "STATUS=", 7) == 0)
				(void)snprintf(daemon->status, sizeof(daemon->status), "%s", line + 7);
		}
	}
	return ready;
}

void
harness_daemon_hangup(struct harness_daemon *daemon)
{
	(void)harness_daemon_hear(daemon);
	harness_assert(kill(daemon->pid, SIGHUP) == 0, "kill: %s", strerror(errno));
}

void
harness_daemon_await_ready(struct harness_daemon *daemon)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = daemon->notify_fd, .events = POLLIN },
			{ .fd = daemon->pidfd, .events = POLLIN },
		};
		uint64_t now = harness_clock_ns();

		harness_assert(now < deadline, "the daemon was not ready after %d ms", HARNESS_TIMEOUT_MS);
		(void)harness_poll(fds, 2, (int)((deadline - now) / NS_PER_MS) + 1);
		if (fds[0].revents && harness_daemon_hear(daemon))
			return;
		if (fds[1].revents)
			harness_fail("the daemon ended with %d before it was ready",
			    harness_daemon_await_exit(daemon));
	}
}

void
harness_daemon_start(struct harness_daemon *daemon, const char *daemon_keys, const char *body)
{
	harness_daemon_prepare(daemon, daemon_keys, body);
	harness_daemon_launch(daemon);
	harness_daemon_await_ready(daemon);
}

int
harness_daemon_await_exit(struct harness_daemon *daemon)
{
	int status;

	harness_await_readable(daemon->pidfd, "the daemon's end");
	harness_assert(waitpid(daemon->pid, &status, 0) == daemon->pid, "waitpid: %s", strerror(errno));
	daemon->pid = 0;
	close_fd(&daemon->pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
harness_daemon_remove(struct harness_daemon *daemon)
{
	forget(daemon);
	close_fd(&daemon->notify_fd);
	remove_tree(daemon->dir);
}

void
harness_daemon_stop(struct harness_daemon *daemon)
{
	int status;

	harness_assert(kill(daemon->pid, SIGTERM) == 0, "kill: %s", strerror(errno));
	status = harness_daemon_await_exit(daemon);
	harness_assert(status == 0, "after SIGTERM the daemon ended with %d instead of 0", status);
	harness_daemon_remove(daemon);
}

void
harness_daemon_kill(struct harness_daemon *daemon)
{
	if (daemon->pid <= 0)
		return;
	(void)kill(daemon->pid, SIGKILL);
	(void)harness_daemon_await_exit(daemon);
}

const char *
harness_daemon_log(const struct harness_daemon *daemon)
{
	static char text[LOG_MAX];
	cleanup_close int fd = open(daemon->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

void
harness_daemon_await_log(const struct harness_daemon *daemon, const char *text)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (!strstr(harness_daemon_log(daemon), text)) {
		harness_assert(harness_clock_ns() < deadline, "the log does not say '%s'", text);
		(void)poll(NULL, 0, 1);		/* a file gives no event of its growth that poll sees */
	}
}
