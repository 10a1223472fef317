/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/system/lasting.h"

static unsigned char
pattern(size_t at)
{
	return (unsigned char)(at * 31 + at / 4096 + 7);
}

static unsigned char *
map(int fd, size_t bytes)
{
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	harness_assert(data != MAP_FAILED, "mmap: %s", strerror(errno));
	(void)close(fd);
	return data;
}

void
lasting_arrive(struct lasting_guest *guest, struct harness_manager *manager, const char *name)
{
	int fd;

	*guest = (struct lasting_guest) LASTING_GUEST_NULL;
	(void)snprintf(guest->name, sizeof(guest->name), "%s", name);
	harness_open(&guest->conn, manager->daemon.socket);
	guest->conn.is_lasting = true;
	ck_assert_int_eq(harness_attach(&guest->conn, name, SUITE_WRITE, &guest->attached, &fd), 0);
	guest->data = map(fd, guest->attached.map_bytes);
	for (size_t i = 0; i < guest->attached.size_bytes; i++)
		guest->data[i] = pattern(i);
}

static void
expect_pattern(const struct lasting_guest *guest, const unsigned char *data)
{
	for (size_t i = 0; i < guest->attached.size_bytes; i++)
		harness_assert(data[i] == pattern(i), "byte %zu of '%s' is %u", i, guest->name, data[i]);
}

void
lasting_expect_kept(const struct lasting_guest *guest)
{
	expect_pattern(guest, guest->data);
}

void
lasting_expect_same(struct lasting_guest *guest)
{
	struct protocol_attached attached;
	unsigned char *data;
	int fd, r;

	r = harness_attach(&guest->conn, guest->name, SUITE_WRITE, &attached, &fd);
	harness_assert(r == 0, "attaching '%s' again: %s", guest->name, strerror(-r));
	ck_assert_uint_eq(attached.generation, guest->attached.generation);
	data = map(fd, attached.map_bytes);
	expect_pattern(guest, data);
	guest->data[1] ^= 0xff;
	ck_assert_uint_eq(((volatile unsigned char *)data)[1], guest->data[1]);
	guest->data[1] ^= 0xff;
	(void)munmap(data, attached.map_bytes);
	ck_assert_int_eq(harness_detach(&guest->conn, &attached), 0);
}

void
lasting_expect_lost(struct lasting_guest *guest, struct harness_manager *manager)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	int fd, r;

	lasting_expect_kept(guest);
	harness_open(&conn, manager->daemon.socket);
	r = harness_attach(&conn, guest->name, SUITE_READ, &attached, &fd);
	if (r == 0) {
		(void)close(fd);
		ck_assert_uint_ne(attached.generation, guest->attached.generation);
	}
	harness_close(&conn);
}

void
lasting_leave(struct lasting_guest *guest)
{
	if (guest->data)
		(void)munmap(guest->data, guest->attached.map_bytes);
	guest->data = NULL;
	harness_close(&guest->conn);
}

void
lasting_expect_hangup(struct lasting_guest *guest)
{
	struct harness_reply reply;
	ssize_t n;

	harness_await_readable(guest->conn.fd, "the connection's end");
	n = harness_receive(guest->conn.fd, &reply);
	harness_assert(n == 0 || n == -ECONNRESET, "%zd bytes instead of the connection's end", n);
}

size_t
lasting_log_length(struct harness_manager *manager)
{
	return strlen(harness_daemon_log(&manager->daemon));
}

const char *
lasting_log(struct harness_manager *manager, size_t from)
{
	const char *log = harness_daemon_log(&manager->daemon);

	return strlen(log) < from ? log : log + from;
}

void
lasting_await_log(struct harness_manager *manager, size_t from, const char *text)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (!strstr(lasting_log(manager, from), text)) {
		harness_assert(harness_clock_ns() < deadline_ns, "since then the log has not said '%s', but:\n%s", text,
		    lasting_log(manager, from));
		(void)poll(NULL, 0, 1);		/* a file gives no event of its growth that poll sees */
	}
}

const char *
lasting_hangup(struct harness_manager *manager, const char *daemon_keys, const char *body)
{
	size_t length = lasting_log_length(manager);

	harness_daemon_configure(&manager->daemon, daemon_keys, body);
	harness_assert(kill(manager->daemon.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	while (!strstr(lasting_log(manager, length), "reload, asked for by SIGHUP"))
		harness_manager_await_ready(manager);
	return lasting_log(manager, length);
}

const char *
lasting_restart(struct harness_manager *manager, const char *daemon_keys, const char *body)
{
	size_t length;

	ck_assert_int_eq(harness_manager_end(manager, SIGKILL), -SIGKILL);
	length = lasting_log_length(manager);
	harness_daemon_configure(&manager->daemon, daemon_keys, body);
	harness_manager_launch(manager);
	harness_manager_await_ready(manager);
	return lasting_log(manager, length);
}
