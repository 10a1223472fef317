/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The harness: a service manager with a store of descriptors. */
#include "config.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "tests/harness_manager.h"

#define MESSAGE_MAX	8192
#define MESSAGE_FDS	253
#define SOCKET_NAME	"segmentd.socket"
#define BACKLOG		4096
#define STORE_DEFAULT	64

#define MANAGERS_MAX	8

static struct harness_manager *managers[MANAGERS_MAX];

/* A message as it came. */
struct heard {
	char text[MESSAGE_MAX + 1];
	pid_t pid;
	unsigned n_fds;
	int fds[MESSAGE_FDS];
};

static int
bind_socket(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	harness_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "%s: %s", path, strerror(errno));
	(void)chmod(path, 0666);
	if (type == SOCK_SEQPACKET)
		harness_assert(listen(fd, BACKLOG) == 0, "listen: %s", strerror(errno));
	else
		harness_assert(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) == 0, "%s", strerror(errno));
	return fd;
}

static void
heard_take_control(struct heard *heard, struct msghdr *msg)
{
	heard->n_fds = 0;
	heard->pid = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			heard->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(heard->fds, CMSG_DATA(c), heard->n_fds * sizeof(int));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred peer;

			memcpy(&peer, CMSG_DATA(c), sizeof(peer));
			heard->pid = peer.pid;
		}
	}
}

static bool
hear_message(int fd, struct heard *heard)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MESSAGE_FDS * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = { heard->text, MESSAGE_MAX };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return false;
	heard->text[n] = '\0';
	heard_take_control(heard, &msg);
	return true;
}

static void
stored_remove(struct harness_manager *manager, unsigned i)
{
	close_fd(&manager->stored[i].fd);
	manager->stored[i] = manager->stored[--manager->n_stored];
}

static bool
has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool
is_stored(const struct harness_manager *manager, const char *name, int fd)
{
	for (unsigned i = 0; i < manager->n_stored; i++) {
		if (streq(manager->stored[i].name, name) &&
		    syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, manager->stored[i].fd, fd) == 0)
			return true;
	}
	return false;
}

/* Consumes fd. */
static void
store(struct harness_manager *manager, const char *name, int fd, bool is_polled)
{
	struct harness_stored *stored = &manager->stored[manager->n_stored];
	cleanup_close int own = fd;

	if (is_stored(manager, name, fd))
		return;
	if (manager->stores_nothing || manager->n_stored >= manager->max || manager->n_stored >= HARNESS_STORED_MAX) {
		manager->n_refused++;
		return;
	}
	*stored = (struct harness_stored) { .fd = take_fd(&own), .is_polled = is_polled };
	(void)snprintf(stored->name, sizeof(stored->name), "%s", name);
	manager->n_stored++;
	manager->n_put++;
}

static void
remove_named(struct harness_manager *manager, const char *name)
{
	for (unsigned i = manager->n_stored; i-- > 0;) {
		if (streq(manager->stored[i].name, name)) {
			stored_remove(manager, i);
			manager->n_removed++;
		}
	}
}

static void
note_line(struct harness_manager *manager, const char *line)
{
	uint64_t one = 1;

	manager->n_reloading += streq(line, "RELOADING=1");
	manager->n_stopping += streq(line, "STOPPING=1");
	manager->n_watchdog += streq(line, "WATCHDOG=1");
	manager->n_extended += has_prefix(line, "EXTEND_TIMEOUT_USEC=");
	if (has_prefix(line, "STATUS="))
		(void)snprintf(manager->daemon.status, sizeof(manager->daemon.status), "%s", line + strlen("STATUS="));
	if (streq(line, "READY=1")) {
		manager->n_ready++;
		(void)!write(manager->news_fd, &one, sizeof(one));
	}
}

/* What it asks of the store; its descriptors are kept, or closed. */
static void
obey(struct harness_manager *manager, struct heard *heard)
{
	bool stores = false, removes = false, is_polled = true;
	const char *name = "stored";
	char *save = NULL;

	for (char *line = strtok_r(heard->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		stores |= streq(line, "FDSTORE=1");
		removes |= streq(line, "FDSTOREREMOVE=1");
		is_polled &= !streq(line, "FDPOLL=0");
		manager->n_barriers += streq(line, "BARRIER=1");
		if (has_prefix(line, "FDNAME="))
			name = line + strlen("FDNAME=");
		note_line(manager, line);
	}
	if (removes)
		remove_named(manager, name);
	for (unsigned i = 0; i < heard->n_fds; i++) {
		if (stores)
			store(manager, name, heard->fds[i], is_polled);
		else
			(void)close(heard->fds[i]);
	}
}

static void
hear_all(struct harness_manager *manager)
{
	struct heard heard;

	while (!manager->is_deaf && hear_message(manager->daemon.notify_fd, &heard)) {
		manager->n_heard++;
		if (!manager->main_pid || heard.pid == manager->main_pid) {
			obey(manager, &heard);
			continue;
		}
		manager->n_foreign++;
		for (unsigned i = 0; i < heard.n_fds; i++)
			(void)close(heard.fds[i]);
	}
}

static void *
manager_run(void *arg)
{
	struct harness_manager *manager = arg;

	for (;;) {
		struct pollfd fds[2] = { { .fd = manager->stop_fd, .events = POLLIN } };
		uint64_t n;

		harness_manager_lock(manager);
		hear_all(manager);
		fds[1] = (struct pollfd) { .fd = manager->is_deaf ? -1 : manager->daemon.notify_fd, .events = POLLIN };
		harness_manager_unlock(manager);
		(void)poll(fds, 2, -1);
		if (fds[0].revents && read(manager->stop_fd, &n, sizeof(n)) == sizeof(n) && n >= UINT32_MAX)
			return NULL;
	}
}

static void
wake(struct harness_manager *manager, uint64_t n)
{
	harness_assert(write(manager->stop_fd, &n, sizeof(n)) == sizeof(n), "eventfd: %s", strerror(errno));
}

void
harness_manager_lock(struct harness_manager *manager)
{
	(void)pthread_mutex_lock(&manager->mutex);
}

void
harness_manager_unlock(struct harness_manager *manager)
{
	(void)pthread_mutex_unlock(&manager->mutex);
}

void
harness_manager_hear(struct harness_manager *manager)
{
	harness_manager_lock(manager);
	hear_all(manager);
	harness_manager_unlock(manager);
}

void
harness_manager_set_deaf(struct harness_manager *manager, bool is_deaf)
{
	harness_manager_lock(manager);
	manager->is_deaf = is_deaf;
	harness_manager_unlock(manager);
	if (manager->has_thread)
		wake(manager, 1);
}

static void
before_fork(void)
{
	for (unsigned i = 0; i < MANAGERS_MAX; i++) {
		if (managers[i])
			harness_manager_lock(managers[i]);
	}
}

static void
after_fork(void)
{
	for (unsigned i = MANAGERS_MAX; i-- > 0;) {
		if (managers[i])
			harness_manager_unlock(managers[i]);
	}
}

/* A client process has none of what the manager has: what that closes is closed then. */
static void
after_fork_in_child(void)
{
	for (unsigned i = 0; i < MANAGERS_MAX; i++) {
		struct harness_manager *manager = managers[i];

		if (!manager || manager->is_launching)
			continue;
		while (manager->n_stored)
			stored_remove(manager, 0);
		close_fd(&manager->listen_fd);
		close_fd(&manager->daemon.notify_fd);
		close_fd(&manager->news_fd);
		close_fd(&manager->stop_fd);
		managers[i] = NULL;
	}
}

static void
remember(struct harness_manager *manager)
{
	static bool is_watched;

	if (!is_watched)
		harness_assert(pthread_atfork(before_fork, after_fork, after_fork_in_child) == 0, "pthread_atfork");
	is_watched = true;
	for (unsigned i = 0; i < MANAGERS_MAX; i++) {
		if (!managers[i]) {
			managers[i] = manager;
			return;
		}
	}
	harness_fail("more than %d managers in one test", MANAGERS_MAX);
}

static void
forget(const struct harness_manager *manager)
{
	for (unsigned i = 0; i < MANAGERS_MAX; i++) {
		if (managers[i] == manager)
			managers[i] = NULL;
	}
}

void
harness_manager_prepare(struct harness_manager *manager, const char *daemon_keys, const char *body)
{
	pthread_mutexattr_t kind;

	*manager = (struct harness_manager) { .max = STORE_DEFAULT };
	/* A launch forks with it, and so locks it twice. */
	(void)pthread_mutexattr_init(&kind);
	(void)pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
	(void)pthread_mutex_init(&manager->mutex, &kind);
	harness_daemon_prepare(&manager->daemon, daemon_keys, body);
	manager->daemon.is_managed = true;
	manager->daemon.notify_fd = bind_socket(manager->daemon.notify, SOCK_DGRAM);
	manager->listen_fd = bind_socket(manager->daemon.socket, SOCK_SEQPACKET);
	manager->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	manager->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	harness_assert(manager->news_fd >= 0 && manager->stop_fd >= 0, "eventfd: %s", strerror(errno));
	remember(manager);
}

/* What hung up while nobody looked, as systemd would have seen at once. */
static void
drop_hung_up(struct harness_manager *manager)
{
	for (unsigned i = manager->n_stored; i-- > 0;) {
		struct pollfd fd = { .fd = manager->stored[i].fd };

		if (manager->stored[i].is_polled && poll(&fd, 1, 0) == 1)
			stored_remove(manager, i);
	}
}

void
harness_manager_launch(struct harness_manager *manager)
{
	char names[HARNESS_HANDED_MAX * HARNESS_STORED_NAME] = SOCKET_NAME;
	int fds[HARNESS_HANDED_MAX] = { manager->listen_fd };
	size_t len = strlen(names);
	uint64_t n;

	harness_manager_lock(manager);
	hear_all(manager);
	drop_hung_up(manager);
	for (unsigned i = 0; i < manager->n_stored; i++) {
		fds[1 + i] = manager->stored[i].fd;
		len += (size_t)snprintf(names + len, sizeof(names) - len, ":%s", manager->stored[i].name);
	}
	manager->daemon.handed = fds;
	manager->daemon.handed_names = names;
	manager->daemon.n_handed = 1 + manager->n_stored;
	(void)!read(manager->news_fd, &n, sizeof(n));
	manager->is_launching = true;
	harness_daemon_launch(&manager->daemon);
	manager->is_launching = false;
	manager->main_pid = manager->daemon.pid;
	manager->daemon.handed = NULL;
	manager->daemon.handed_names = NULL;
	harness_manager_unlock(manager);
	if (!manager->has_thread)
		harness_assert(pthread_create(&manager->thread, NULL, manager_run, manager) == 0, "pthread_create");
	manager->has_thread = true;
}

void
harness_manager_await_ready(struct harness_manager *manager)
{
	struct pollfd fds[2] = {
		{ .fd = manager->news_fd, .events = POLLIN },
		{ .fd = manager->daemon.pidfd, .events = POLLIN },
	};
	uint64_t n;

	harness_assert(harness_poll(fds, 2, HARNESS_TIMEOUT_MS) > 0, "the daemon was not ready after %d ms", HARNESS_TIMEOUT_MS);
	if (!fds[0].revents)
		harness_fail("the daemon ended with %d before it was ready", harness_daemon_await_exit(&manager->daemon));
	(void)!read(manager->news_fd, &n, sizeof(n));
}

void
harness_manager_start(struct harness_manager *manager, const char *daemon_keys, const char *body)
{
	harness_manager_prepare(manager, daemon_keys, body);
	harness_manager_launch(manager);
	harness_manager_await_ready(manager);
}

int
harness_manager_end(struct harness_manager *manager, int signal)
{
	int status;

	harness_assert(kill(manager->daemon.pid, signal) == 0, "kill: %s", strerror(errno));
	status = harness_daemon_await_exit(&manager->daemon);
	harness_manager_hear(manager);
	return status;
}

void
harness_manager_restart(struct harness_manager *manager, int signal)
{
	int expected = signal == SIGKILL ? -SIGKILL : 0, status = harness_manager_end(manager, signal);

	harness_assert(status == expected, "after signal %d the daemon ended with %d instead of %d", signal, status, expected);
	harness_manager_launch(manager);
	harness_manager_await_ready(manager);
}

void
harness_manager_remove(struct harness_manager *manager)
{
	if (manager->has_thread) {
		wake(manager, UINT32_MAX);
		(void)pthread_join(manager->thread, NULL);
	}
	forget(manager);
	while (manager->n_stored)
		stored_remove(manager, 0);
	close_fd(&manager->listen_fd);
	close_fd(&manager->news_fd);
	close_fd(&manager->stop_fd);
	harness_daemon_remove(&manager->daemon);
	(void)pthread_mutex_destroy(&manager->mutex);
}

void
harness_manager_stop(struct harness_manager *manager)
{
	int status = harness_manager_end(manager, SIGTERM);

	harness_assert(status == 0, "after SIGTERM the daemon ended with %d instead of 0", status);
	harness_manager_remove(manager);
}

unsigned
harness_manager_count(struct harness_manager *manager, const char *prefix)
{
	unsigned n = 0;

	harness_manager_lock(manager);
	hear_all(manager);
	for (unsigned i = 0; i < manager->n_stored; i++)
		n += has_prefix(manager->stored[i].name, prefix);
	harness_manager_unlock(manager);
	return n;
}

void
harness_manager_store(struct harness_manager *manager, const char *name, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	harness_assert(copy >= 0, "dup: %s", strerror(errno));
	harness_manager_lock(manager);
	store(manager, name, copy, false);
	harness_manager_unlock(manager);
}

void
harness_manager_drop(struct harness_manager *manager, const char *prefix)
{
	harness_manager_lock(manager);
	hear_all(manager);
	for (unsigned i = manager->n_stored; i-- > 0;) {
		if (has_prefix(manager->stored[i].name, prefix))
			stored_remove(manager, i);
	}
	harness_manager_unlock(manager);
}
