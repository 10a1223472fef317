/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is to be as it was: see surviving.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/system/suite.h"
#include "tests/system/surviving.h"

#define MAPS_MORE	6

const struct surviving_kind surviving_kinds[SURVIVING_KINDS] = {
	{ "memfd", "mlock = false;", false },
	{ "memfd, locked", "", false },
	{ "memfd with locks", "mlock = false; " SURVIVING_LOCKS, .has_locks = true },
	{ "posix", "backend = \"posix\"; object = \"/s\"; mlock = false;", false },
	{ "posix with locks", "backend = \"posix\"; object = \"/s\"; mlock = false; " SURVIVING_LOCKS, .has_locks = true },
	{ "sysv by key", "backend = \"sysv\"; key = 0x5e6a1d; mlock = false;", false },
	{ "sysv by key, with locks", "backend = \"sysv\"; key = 0x5e6a1d; mlock = false; " SURVIVING_LOCKS, .has_locks = true },
	{ "sysv, private", "backend = \"sysv\"; mlock = false;", false },
	{ "sysv, private, locked, with locks", "backend = \"sysv\"; " SURVIVING_LOCKS, .has_locks = true },
	{ "file", "backend = \"file\"; mlock = false;", .is_file = true },
	{ "file with locks", "backend = \"file\"; mlock = false; " SURVIVING_LOCKS, .is_file = true, .has_locks = true },
	{ "memfd of a template", "mlock = false; " SURVIVING_LOCKS, .has_locks = true, .is_template = true },
	{ "sysv of a template", "backend = \"sysv\"; mode = \"0660\"; mlock = false;", .is_template = true },
	{ "memfd of a pool", "page_size = \"2MiB\"; mlock = false; " SURVIVING_LOCKS, .has_locks = true, .is_huge = true },
};

const char *
surviving_name(const struct surviving_kind *kind)
{
	return kind->is_template ? "s-1" : "s";
}

const char *
surviving_body(const struct surviving_kind *kind, const char *dir)
{
	static char body[1024];
	char path[160] = "";

	if (kind->is_file)
		(void)snprintf(path, sizeof(path), "path = \"%s/data\";", dir);
	if (kind->is_template)
		(void)snprintf(body, sizeof(body), "templates = ( { name = \"s-\"; max_size = \"64KiB\"; page_size = \"base\"; %s } );",
		    kind->keys);
	else
		(void)snprintf(body, sizeof(body), "segments = ( { name = \"s\"; size = \"%s\"; %s %s %s } );",
		    kind->is_huge ? "4MiB" : "64KiB", kind->is_huge ? "" : "page_size = \"base\";", path, kind->keys);
	return body;
}

void
surviving_start(struct harness_manager *manager, const struct surviving_kind *kind, struct actor *ret_actor, long seed)
{
	harness_manager_prepare(manager, NULL, "");
	harness_daemon_configure(&manager->daemon, NULL, surviving_body(kind, manager->daemon.dir));
	harness_manager_launch(manager);
	harness_manager_await_ready(manager);
	if (kind->is_template) {
		actor_start_idle(ret_actor, manager->daemon.socket);
		actor_must(ret_actor, 0, "create %s %d", surviving_name(kind), SURVIVING_BYTES);
	} else {
		actor_start(ret_actor, manager->daemon.socket, "s");
	}
	actor_must(ret_actor, 0, "fill %ld", seed);
}

void
surviving_close(struct harness_reply *reply)
{
	for (unsigned i = 0; i < reply->n_fds; i++)
		(void)close(reply->fds[i]);
	reply->n_fds = 0;
}

static bool
has_id(const struct surviving_view *view, uint32_t id)
{
	for (int i = 0; i < view->n_holders; i++)
		if (view->holders[i].attachment == id)
			return true;
	return false;
}

/* What the attachments of before have is counted again once this one's end has been heard of. */
static void
look_at_object(struct harness_conn *conn, const char *segment, struct surviving_view *view)
{
	struct protocol_attach request = { .access = PROTOCOL_ACCESS_READ };
	struct protocol_attached attached;
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", segment);
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	attached = reply.attached;

	/* A segment that drains is not for anybody any more. */
	view->object = (struct stat) { .st_ino = 0 };
	view->shm_id = 0;
	if (r == -ESHUTDOWN)
		return;
	harness_assert(r == 0, "attach '%s': %s", segment, strerror(-r));
	harness_assert(!has_id(view, attached.attachment), "attachment %u was given twice", attached.attachment);
	view->shm_id = attached.shm_id;
	ck_assert_int_eq(fstat(reply.fds[0], &view->object), 0);
	surviving_close(&reply);
	ck_assert_int_eq(harness_detach(conn, &attached), 0);
	harness_await_counts(conn, segment, view->row.readers, view->row.writers);
}

void
surviving_look(struct harness_conn *conn, const char *segment, struct surviving_view *ret_view)
{
	*ret_view = (struct surviving_view) { .n_holders = 0 };
	ck_assert_int_eq(harness_find(conn, segment, &ret_view->row), 0);
	ret_view->n_holders = harness_holders(conn, segment, ret_view->holders, SURVIVING_ROWS);
	ret_view->n_clients = harness_clients(conn, ret_view->clients, SURVIVING_ROWS);
	harness_assert(ret_view->n_holders >= 0 && ret_view->n_clients >= 0, "holders %d, clients %d", ret_view->n_holders,
	    ret_view->n_clients);
	look_at_object(conn, segment, ret_view);
}

static void
expect_same_row(const struct protocol_segment *before, const struct protocol_segment *after)
{
	struct protocol_segment one = *before, other = *after;

	harness_assert(one.generation == other.generation, "generation %ju was %ju", (uintmax_t)other.generation,
	    (uintmax_t)one.generation);
	harness_assert(one.readers == other.readers && one.writers == other.writers && one.unsupervised == other.unsupervised,
	    "%u readers, %u writers, %u unsupervised were %u, %u, %u", other.readers, other.writers, other.unsupervised, one.readers,
	    one.writers, one.unsupervised);
	harness_assert(one.state == other.state, "state %u was %u", other.state, one.state);
	harness_assert(one.recoveries == other.recoveries, "%ju recoveries were %ju", (uintmax_t)other.recoveries,
	    (uintmax_t)one.recoveries);
	/* What is locked anew a moment later. */
	one.resident_bytes = other.resident_bytes;
	one.locked_bytes = other.locked_bytes;
	one.progress_bytes = other.progress_bytes;
	one.total_bytes = other.total_bytes;
	one.differs = other.differs;
	harness_assert(memcmp(&one, &other, sizeof(one)) == 0, "size %ju, huge %ju, flags %#x, others %u were %ju, %ju, %#x, %u",
	    (uintmax_t)other.size_bytes, (uintmax_t)other.huge_bytes, other.flags, other.others, (uintmax_t)one.size_bytes,
	    (uintmax_t)one.huge_bytes, one.flags, one.others);
}

static void
expect_same_holder(const struct protocol_holder *before, const struct protocol_holder *after)
{
	struct protocol_holder one = *before;

	one.cursor = after->cursor;
	harness_assert(memcmp(&one, after, sizeof(one)) == 0, "attachment %u of session %ju, pid %d, access %u, flags %#x, since %ju, "
	    "'%s' was %u of %ju, %d, %u, %#x, %ju, '%s'", after->attachment, (uintmax_t)after->session, after->pid, after->access,
	    after->flags, (uintmax_t)after->since_ns, after->command, one.attachment, (uintmax_t)one.session, one.pid, one.access,
	    one.flags, (uintmax_t)one.since_ns, one.command);
}

static void
expect_same_client(const struct protocol_client *before, const struct protocol_client *after)
{
	struct protocol_client one = *before;

	/* Whoever looks asks meanwhile; what another one asked before its row was written last is forgotten. */
	one.requests = after->requests;
	harness_assert(memcmp(&one, after, sizeof(one)) == 0, "session %ju of pid %d (uid %u) with %u attachments since %ju was %ju of "
	    "%d (%u) with %u since %ju", (uintmax_t)after->cursor, after->pid, after->uid, after->attachments,
	    (uintmax_t)after->since_ns, (uintmax_t)one.cursor, one.pid, one.uid, one.attachments, (uintmax_t)one.since_ns);
}

void
surviving_expect_same(const struct surviving_view *before, const struct surviving_view *after)
{
	expect_same_row(&before->row, &after->row);
	harness_assert(before->n_holders == after->n_holders, "%d holders were %d", after->n_holders, before->n_holders);
	for (int i = 0; i < before->n_holders; i++)
		expect_same_holder(&before->holders[i], &after->holders[i]);
	harness_assert(before->n_clients == after->n_clients, "%d clients were %d", after->n_clients, before->n_clients);
	for (int i = 0; i < before->n_clients; i++)
		expect_same_client(&before->clients[i], &after->clients[i]);
	harness_assert(before->object.st_dev == after->object.st_dev && before->object.st_ino == after->object.st_ino &&
	    before->object.st_size == after->object.st_size && before->shm_id == after->shm_id,
	    "inode %ju of %jd bytes, System V id %d were %ju, %jd, %d", (uintmax_t)after->object.st_ino,
	    (intmax_t)after->object.st_size, after->shm_id, (uintmax_t)before->object.st_ino, (intmax_t)before->object.st_size,
	    before->shm_id);
}

void
surviving_expect_quiet(const struct harness_conn *conn)
{
	struct pollfd fd = { .fd = conn->fd, .events = POLLIN | POLLRDHUP };

	harness_assert(poll(&fd, 1, 0) == 0, "a connection that asked nothing has events %#x", fd.revents);
}

void
surviving_send(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size)
{
	ssize_t n;

	harness_fill(conn, request, type, size);
	n = harness_send(conn->fd, request, size, NULL, 0);
	harness_assert(n == (ssize_t)size, "send: %zd", n);
}

int
surviving_hear(struct harness_conn *conn, struct harness_reply *ret_reply)
{
	ssize_t n;

	for (;;) {
		n = harness_receive(conn->fd, ret_reply);
		harness_assert(n >= (ssize_t)sizeof(ret_reply->header), "no reply came: %zd", n);
		if (ret_reply->header.serial == conn->serial)
			return ret_reply->header.status;
		harness_assert(ret_reply->header.serial && ret_reply->header.serial < conn->serial, "a reply to request %ju, and %ju "
		    "is the last", (uintmax_t)ret_reply->header.serial, (uintmax_t)conn->serial);
		surviving_close(ret_reply);
	}
}

void
surviving_await_gone(struct harness_conn *conn, const char *name)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_show request = { 0 };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	for (;;) {
		surviving_send(conn, PROTOCOL_SHOW, &request.header, sizeof(request));
		if (surviving_hear(conn, &reply) == -ENOENT)
			return;
		harness_assert(harness_clock_ns() < deadline_ns, "'%s' does not go: state %u, %u writers, %u of them unsupervised", name,
		    reply.shown.segment.state, reply.shown.segment.writers, reply.shown.segment.unsupervised);
	}
}

void
surviving_restart(struct harness_manager *manager, struct harness_conn *pulse, int signal)
{
	struct protocol_list request = { 0 };
	struct harness_reply reply;

	surviving_send(pulse, PROTOCOL_LIST, &request.header, sizeof(request));
	ck_assert_int_eq(surviving_hear(pulse, &reply), 0);
	harness_manager_restart(manager, signal);
}

/* Of mappings malloc has one more or less. */
void
surviving_expect_no_more(const struct harness_manager *manager, const struct harness_usage *before, unsigned round)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;
	struct harness_usage now;

	for (;;) {
		harness_usage_read(manager->daemon.pid, &now);
		if (now.fds <= before->fds && now.memfds <= before->memfds && now.sockets <= before->sockets &&
		    now.maps <= before->maps + MAPS_MORE)
			return;
		harness_assert(harness_clock_ns() < deadline_ns, "after %u restarts: %zu fds, %zu memfds, %zu sockets, %zu maps; after "
		    "the first %zu, %zu, %zu, %zu", round, now.fds, now.memfds, now.sockets, now.maps, before->fds, before->memfds,
		    before->sockets, before->maps);
		(void)poll(NULL, 0, 1);
	}
}

void
surviving_await_tidy(struct harness_manager *manager)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;

	while (harness_manager_count(manager, "") != SURVIVING_STORED) {
		harness_assert(harness_clock_ns() < deadline_ns, "%u entries stay in the store",
		    harness_manager_count(manager, ""));
		(void)poll(NULL, 0, 1);
	}
}

static void
expect_no_file(const struct harness_manager *manager, const char *name)
{
	char path[160];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", manager->daemon.state, name);
	harness_assert(stat(path, &st) && errno == ENOENT, "%s is left: %s", path, strerror(errno));
}

void
surviving_stop(struct harness_manager *manager)
{
	int status = harness_manager_end(manager, SIGTERM);

	harness_assert(status == 0, "after SIGTERM the daemon ended with %d", status);
	harness_assert(harness_manager_count(manager, "") == 0, "%u descriptors are left in the store, the first is '%s'",
	    manager->n_stored, manager->stored[0].name);
	expect_no_file(manager, "ledger");
	expect_no_file(manager, "ledger.new");
	expect_no_file(manager, "record");
	harness_manager_remove(manager);
}
