/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/daemon.h"
#include "bench/wire.h"

#define DAEMON_READY_MS		120000
#define DAEMON_STOP_MS		60000
#define LISTEN_FDS_START	3

/* Without the right to lock what is measured, memory is only made resident. */
bool
daemon_may_lock(void)
{
	struct rlimit limit;

	return geteuid() == 0 || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
}

void
daemon_configure(const struct daemon *daemon, const struct daemon_config *config)
{
	const char *lock = daemon_may_lock() ? "true" : "false";
	FILE *f = fopen(daemon->config, "we");

	if (!f)
		bench_fail("%s: %s", daemon->config, strerror(errno));
	(void)fprintf(f,
	    "daemon = {\n"
	    "    socket = \"%s\";\n"
	    "    state_dir = \"%s\";\n"
	    "    admin_group = \"root\";\n"
	    "    limits = { clients = 16384; attachments = 1000000; bytes = \"64GiB\"; };\n"
	    "    %s\n"
	    "};\n"
	    "segments = (\n"
	    "  { name = \"" DAEMON_SEGMENT "\"; size = \"1MiB\"; prefault = true; mlock = %s; required = true; }%s\n"
	    ");\n"
	    "templates = (%s\n"
	    ");\n"
	    "%s",
	    daemon->socket, daemon->state, config->keys ? config->keys : "", lock, config->segments ? config->segments : "",
	    config->templates ? config->templates : "", config->rest ? config->rest : "");
	if (fclose(f) != 0)
		bench_fail("%s: %s", daemon->config, strerror(errno));
}

static int
daemon_bind_notify(const char *directory)
{
	struct sockaddr_un address;
	char path[96];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/notify", directory);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	wire_address(path, &address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		bench_fail("%s: %s", path, strerror(errno));
	return fd;
}

void
daemon_init(struct daemon *daemon, const struct daemon_config *config)
{
	*daemon = (struct daemon){ .notify_fd = -1 };
	bench_make_directory(daemon->directory, sizeof(daemon->directory));
	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/s", daemon->directory);
	(void)snprintf(daemon->config, sizeof(daemon->config), "%s/segmentd.conf", daemon->directory);
	bench_make_state_directory(daemon->state, sizeof(daemon->state));
	daemon_configure(daemon, config);
	daemon->notify_fd = daemon_bind_notify(daemon->directory);
}

/* To where they are looked for, from 3 on: out of each other's way first. */
static void
daemon_hand_down(const struct daemon *daemon)
{
	int above = LISTEN_FDS_START + (int)daemon->n_handed, copies[DAEMON_HANDED_MAX];
	char number[16];

	for (unsigned i = 0; i < daemon->n_handed; i++)
		copies[i] = fcntl(daemon->handed[i], F_DUPFD_CLOEXEC, above);
	for (unsigned i = 0; i < daemon->n_handed; i++)
		(void)dup2(copies[i], LISTEN_FDS_START + (int)i);
	(void)snprintf(number, sizeof(number), "%u", daemon->n_handed);
	(void)setenv("LISTEN_FDS", number, 1);
	(void)snprintf(number, sizeof(number), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", number, 1);
	(void)setenv("LISTEN_FDNAMES", daemon->handed_names, 1);
}

static void
daemon_child(const struct bench *bench, const struct daemon *daemon)
{
	char path[96];
	int fd;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_DFL);
	bench_pin(bench, 0, -1);
	(void)snprintf(path, sizeof(path), "%s/log", daemon->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd >= 0)
		(void)dup2(fd, STDERR_FILENO);
	close_fd(&fd);
	(void)snprintf(path, sizeof(path), "%s/notify", daemon->directory);
	(void)setenv("NOTIFY_SOCKET", path, 1);
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
	if (daemon->n_handed > 0)
		daemon_hand_down(daemon);
	(void)execl(bench->daemon, "segmentd", "-c", daemon->config, (char *)NULL);
	_exit(127);
}

/* What the daemon had to say, for a bench that ends because of it. */
static void
daemon_print_log(const struct daemon *daemon)
{
	char path[96], text[4096];
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/log", daemon->directory);
	cleanup_fclose FILE *f = fopen(path, "re");
	while (f && (n = fread(text, 1, sizeof(text), f)) > 0)
		(void)fwrite(text, 1, n, stderr);
}

/* Whether the datagram that is there holds this line. */
static bool
daemon_notified(const struct daemon *daemon, const char *what)
{
	char text[4096], *line, *rest = NULL;
	ssize_t n = recv(daemon->notify_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	text[n] = '\0';
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (streq(line, what))
			return true;
	}
	return false;
}

static void
daemon_forget_notified(const struct daemon *daemon)
{
	while (recv(daemon->notify_fd, &(char){ 0 }, 1, MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
}

static void
daemon_await(const struct daemon *daemon, const char *what)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, daemon->pid, 0);
	struct pollfd fds[2] = {
		{ .fd = daemon->notify_fd, .events = POLLIN },
		{ .fd = pidfd, .events = POLLIN },
	};

	for (;;) {
		int r = poll(fds, 2, DAEMON_READY_MS);

		if (r < 0 && errno == EINTR)
			continue;
		if (r > 0 && (fds[0].revents & POLLIN)) {
			if (daemon_notified(daemon, what))
				return;
			continue;
		}
		daemon_print_log(daemon);
		bench_fail("the daemon %s %s", r == 0 ? "has not said within two minutes" : "ended before it said", what);
	}
}

void
daemon_fail(const struct daemon *daemon, const char *why)
{
	daemon_print_log(daemon);
	bench_fail("%s", why);
}

void
daemon_launch(struct bench *bench, struct daemon *daemon)
{
	(void)fflush(NULL);
	daemon->pid = fork();
	if (daemon->pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (daemon->pid == 0)
		daemon_child(bench, daemon);
	bench_own(bench, daemon->pid);
}

void
daemon_start(struct bench *bench, struct daemon *daemon)
{
	uint64_t start_ns;

	daemon_forget_notified(daemon);		/* what the one before said last */
	start_ns = clock_monotonic_ns();
	daemon_launch(bench, daemon);
	daemon_await(daemon, "READY=1");
	daemon->boot_ns = clock_monotonic_ns() - start_ns;
}

void
daemon_stop(struct bench *bench, struct daemon *daemon)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, daemon->pid, 0);
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };
	int status;

	(void)kill(daemon->pid, SIGTERM);
	if (poll(&pollfd, 1, DAEMON_STOP_MS) != 1) {
		bench_note("the daemon did not end within %d s of SIGTERM and was killed", DAEMON_STOP_MS / 1000);
		(void)kill(daemon->pid, SIGKILL);
	}
	(void)waitpid(daemon->pid, &status, 0);
	bench_disown(bench, daemon->pid);
	daemon->pid = 0;
}

uint64_t
daemon_reload(const struct daemon *daemon)
{
	uint64_t start_ns;

	daemon_forget_notified(daemon);
	start_ns = clock_monotonic_ns();
	(void)kill(daemon->pid, SIGHUP);
	daemon_await(daemon, "RELOADING=1");
	daemon_await(daemon, "READY=1");
	return clock_monotonic_ns() - start_ns;
}

uint64_t
daemon_check(const struct bench *bench, const struct daemon *daemon)
{
	uint64_t start_ns;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	start_ns = clock_monotonic_ns();
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (pid == 0) {
		(void)execl(bench->daemon, "segmentd", "-c", daemon->config, "--check", (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_fail("%s --check ended with status %d", bench->daemon, WEXITSTATUS(status));
	return clock_monotonic_ns() - start_ns;
}

void
daemon_deinit(struct daemon *daemon)
{
	close_fd(&daemon->notify_fd);
	bench_remove_directory(daemon->state);
	bench_remove_directory(daemon->directory);
}
