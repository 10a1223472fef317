/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What several suites of the real daemon need beside the harness. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/system/suite.h"

const char suite_desk[] =
    "segments = ( { name = \"desk\"; size = \"64KiB\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"scratch-\"; max_size = \"1MiB\"; max_count = 200; lifetime = \"persistent\";\n"
    "\tprefault = false; mlock = false; } );";

bool
suite_is_worker(pid_t pid)
{
	char path[64], name[32];
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);
	name[n > 0 ? n : 0] = 0;
	return streq(name, "segmentd-worker");
}

pid_t
suite_worker(const struct harness_daemon *daemon)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pids[64];

	for (;;) {
		size_t n = harness_children(daemon->pid, pids, BASE_ARRAY_SIZE(pids));

		/* One for names may have come before. */
		while (n-- > 0) {
			if (suite_is_worker(pids[n]))
				return pids[n];
		}
		harness_assert(harness_clock_ns() < deadline, "no worker came");
		(void)poll(NULL, 0, 1);		/* a child of another process gives no event */
	}
}

int
suite_object(pid_t pid, const char *name)
{
	char path[64], target[256];

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, name))
			return open(path, O_PATH | O_CLOEXEC);
	}
	return -1;
}

pid_t
suite_worker_stop(const struct harness_daemon *daemon)
{
	pid_t pid = suite_worker(daemon);

	harness_assert(kill(pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	return pid;
}

void
suite_stand_still(const struct harness_daemon *daemon, unsigned ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * (long)NS_PER_MS };
	int status;

	harness_assert(kill(daemon->pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	status = harness_await_state(daemon->pid, WUNTRACED, "its stop");
	harness_assert(WIFSTOPPED(status), "it did not stop");
	/* No event is waited for: that none comes is what is shown. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
	harness_assert(kill(daemon->pid, SIGCONT) == 0, "kill: %s", strerror(errno));
}

void
suite_refused(struct harness_conn *conn, unsigned type, union suite_request *request, size_t size, int status,
    const char *text)
{
	struct harness_reply reply;
	int r = harness_ask(conn, type, &request->header, size, &reply);
	const char *sentence = r < 0 && r != -ENOTCONN ? reply.bytes + sizeof(reply.header) : "";

	harness_assert(r == status, "request %u was answered with %d (%s), not %d: %s", type, r, strerror(-r), status,
	    sentence);
	harness_assert(reply.n_fds == 0, "%u fds came with status %d", reply.n_fds, status);
	harness_assert(strstr(sentence, text), "the sentence of %s has not '%s': %s", strerror(-status), text, sentence);
}

void
suite_farewell(int fd, int status, const char *text, const char *what)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(fd, &reply);
	const char *sentence = reply.bytes + sizeof(reply.header);

	harness_assert(n > (ssize_t)sizeof(reply.header) + 1, "%s: no farewell came, but %zd (%s)", what, n,
	    n < 0 ? strerror((int)-n) : "bytes");
	harness_assert(reply.header.status == status && reply.header.serial == 0 && reply.header.type == 0 &&
	    reply.header.flags == PROTOCOL_REPLY && reply.header.size == (uint32_t)n,
	    "%s: status %d, serial %ju, type %u, flags %#x in the farewell", what, reply.header.status,
	    (uintmax_t)reply.header.serial, reply.header.type, reply.header.flags);
	harness_assert(strstr(sentence, text), "%s: the farewell has not '%s': %s", what, text, sentence);
	n = harness_receive(fd, &reply);
	harness_assert(n == 0, "%s: the daemon did not hang up: %zd", what, n);
}

void
suite_serves(const struct harness_daemon *daemon)
{
	struct protocol_segment rows[256];
	struct harness_conn conn;

	harness_open(&conn, daemon->socket);
	(void)harness_list(&conn, rows, BASE_ARRAY_SIZE(rows));
	harness_close(&conn);
}

void
suite_ready(struct harness_conn *conn, const char *name)
{
	int r = harness_wait(conn, name);

	harness_assert(r == PROTOCOL_READY, "%s: %d", name, r);
}

int
suite_attach(struct harness_conn *conn, const char *name, uint32_t access)
{
	int fd, r = harness_attach(conn, name, access, NULL, &fd);

	harness_assert(r == 0, "attach '%s': %s", name, strerror(-r));
	return fd;
}

void
suite_begin(struct suite_scene *scene, const char *daemon_keys, const char *text)
{
	harness_daemon_start(&scene->daemon, daemon_keys, text);
	harness_open(&scene->watcher, scene->daemon.socket);
	harness_usage_read(scene->daemon.pid, &scene->before);
}

/* Nothing stayed, and others are served. */
void
suite_expect_clean(struct suite_scene *scene)
{
	suite_serves(&scene->daemon);
	harness_usage_await(&scene->watcher, scene->daemon.pid, &scene->before);
}

void
suite_end(struct suite_scene *scene)
{
	suite_expect_clean(scene);
	harness_daemon_stop(&scene->daemon);
}

void
suite_dial(struct suite_scene *scene, struct harness_conn *conn, bool is_greeted)
{
	*conn = (struct harness_conn)HARNESS_CONN_NULL;
	if (is_greeted) {
		harness_open(conn, scene->daemon.socket);
		return;
	}
	conn->fd = harness_dial(scene->daemon.socket);
	harness_assert(conn->fd >= 0, "connect: %s", strerror(-conn->fd));
}

size_t
suite_fill(union suite_request *request, unsigned type, size_t size, uint64_t serial)
{
	memset(request, 0, sizeof(*request));
	request->header.size = (uint32_t)size;
	request->header.type = (uint16_t)type;
	request->header.serial = serial;
	return size;
}

size_t
suite_fill_hello(union suite_request *request, uint64_t serial)
{
	size_t size = suite_fill(request, PROTOCOL_HELLO, sizeof(request->hello), serial);

	request->hello.magic = PROTOCOL_MAGIC;
	request->hello.version_min = PROTOCOL_VERSION;
	request->hello.version_max = PROTOCOL_VERSION;
	return size;
}

size_t
suite_fill_attach(union suite_request *request, uint64_t serial)
{
	size_t size = suite_fill(request, PROTOCOL_ATTACH, sizeof(request->attach), serial);

	request->attach.access = SUITE_READ;
	(void)snprintf(request->attach.name, sizeof(request->attach.name), "desk");
	return size;
}

struct protocol_segment
suite_row(struct harness_conn *conn, const char *name, enum protocol_state state)
{
	struct protocol_segment row;
	struct harness_reply shown;

	/* One that has failed is waited for in vain, at once. */
	(void)harness_wait(conn, name);
	ck_assert_int_eq(harness_find(conn, name, &row), 0);
	ck_assert_int_eq(harness_show(conn, name, &shown), 0);
	harness_assert(row.state == state, "state %u: %s", row.state, harness_reason(&shown));
	return row;
}

void
suite_expect_reason(struct harness_conn *conn, const char *name, const char *text)
{
	struct harness_reply shown;

	ck_assert_int_eq(harness_show(conn, name, &shown), 0);
	harness_assert(strstr(harness_reason(&shown), text), "'%s' is not in '%s'", text, harness_reason(&shown));
}

void
suite_send_create(struct harness_conn *conn, const char *name, uint64_t size)
{
	struct protocol_create create = { .size_bytes = size };

	harness_fill(conn, &create.header, PROTOCOL_CREATE, sizeof(create));
	(void)snprintf(create.name, sizeof(create.name), "%s", name);
	ck_assert_int_eq(harness_send(conn->fd, &create, sizeof(create), NULL, 0), sizeof(create));
}

size_t
suite_workers_stop(struct harness_conn *conn, struct harness_daemon *daemon, uint64_t bytes, pid_t *pids, size_t max)
{
	struct protocol_attached attached;
	size_t n;
	int fd = -1;

	ck_assert_int_eq(harness_create(conn, "t-warm", bytes, &attached, &fd), 0);
	close_fd(&fd);
	n = harness_children(daemon->pid, pids, max);
	ck_assert_int_gt(n, 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
	return n;
}

uint64_t
suite_figure_of(const struct harness_reply *reply, const char *name)
{
	char line[80];
	const char *at;

	(void)snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(reply->bytes + sizeof(struct protocol_header), line);
	harness_assert(at, "there is no %s", name);
	return strtoull(at + strlen(line), NULL, 10);
}

uint64_t
suite_figure(const struct harness_daemon *daemon, const char *name)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_header request = { 0 };
	struct harness_reply reply;

	harness_open(&conn, daemon->socket);
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_METRICS, &request, sizeof(request), &reply), 0);
	harness_close(&conn);
	return suite_figure_of(&reply, name);
}

void
suite_list_state(const struct harness_daemon *daemon, char *text, size_t size)
{
	struct dirent **entries;
	int n = scandir(daemon->state, &entries, NULL, alphasort);
	size_t length = 0;

	harness_assert(n >= 0, "%s: %s", daemon->state, strerror(errno));
	text[0] = 0;
	for (int i = 0; i < n; i++) {
		if (!streq(entries[i]->d_name, ".") && !streq(entries[i]->d_name, "..") && length < size)
			length += (size_t)snprintf(text + length, size - length, "%s ", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}
