/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The harness: what a client has of a segment with locks, made from the attach reply alone, so that the client library's
 * errors are not the tests' errors.
 */
#include "config.h"

#include "tests/harness_locks.h"

#include <sched.h>
#include <sys/mman.h>

/* The bounds are the reply's: the library checks them, a test takes them from a daemon it has started. */
static unsigned char *
map(int fd, uint64_t length, uint32_t access)
{
	int protection = PROT_READ | (access & PROTOCOL_ACCESS_WRITE ? PROT_WRITE : 0);
	void *p = mmap(NULL, length, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

	harness_assert(p != MAP_FAILED, "mmap of %ju bytes: %s", (uintmax_t)length, strerror(errno));
	return p;
}

/* The rows of a page; how many. */
static uint32_t
take_rows(const char *bytes, uint32_t n, uint32_t row_size, struct protocol_lock *rows, size_t max)
{
	harness_assert(row_size >= sizeof(*rows), "rows of %u bytes", row_size);
	harness_assert(n <= max, "%u rows, %zu at most", n, max);
	for (uint32_t i = 0; i < n; i++)
		memcpy(&rows[i], bytes + (size_t)i * row_size, sizeof(rows[i]));
	return n;
}

int
harness_locks(struct harness_conn *conn, const char *name, struct protocol_lock *rows, size_t max)
{
	struct protocol_locks request = { .cursor = 0 };
	struct harness_reply reply;
	size_t n = 0;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	do {
		int r = harness_ask(conn, PROTOCOL_LOCKS, &request.header, sizeof(request), &reply);

		if (r < 0)
			return r;
		harness_assert(reply.size == sizeof(reply.listed) + (size_t)reply.listed.n_rows * reply.listed.row_size,
		    "%u rows of %u bytes in %zu", reply.listed.n_rows, reply.listed.row_size, reply.size);
		n += take_rows(reply.bytes + sizeof(reply.listed), reply.listed.n_rows, reply.listed.row_size, rows + n, max - n);
		request.cursor = n ? rows[n - 1].cursor : 0;
		harness_assert(reply.listed.n_rows > 0 || !(reply.header.flags & PROTOCOL_MORE),
		    "no row came, and more are said to follow");
	} while (reply.header.flags & PROTOCOL_MORE);
	return (int)n;
}

static void
take_locks(struct harness_conn *conn, const char *name, const struct harness_reply *reply, struct harness_segment *segment)
{
	const struct protocol_attached *attached = &reply->attached;
	size_t space = reply->size - sizeof(*attached);

	harness_assert(attached->n_locks <= HARNESS_LOCKS_MAX, "%u locks", attached->n_locks);
	if (attached->header.flags & PROTOCOL_MORE) {
		int n = harness_locks(conn, name, segment->locks, HARNESS_LOCKS_MAX);

		harness_assert(space == 0 && n == (int)attached->n_locks, "%d of %u locks, %zu bytes", n, attached->n_locks, space);
		return;
	}
	harness_assert(space == attached->n_locks * sizeof(struct protocol_lock), "%u locks in %zu bytes", attached->n_locks,
	    space);
	(void)take_rows(reply->bytes + sizeof(*attached), attached->n_locks, sizeof(struct protocol_lock), segment->locks,
	    HARNESS_LOCKS_MAX);
}

int
harness_segment_attach(struct harness_conn *conn, const char *name, uint32_t access, struct harness_segment *ret_segment)
{
	struct protocol_attach request = { .access = access };
	struct harness_segment segment = HARNESS_SEGMENT_NULL;
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	if (r < 0)
		return r;
	harness_assert(reply.size >= sizeof(reply.attached), "%zu bytes came", reply.size);
	harness_assert(reply.n_fds == (reply.attached.n_locks ? 2 : 1), "%u fds came for %u locks", reply.n_fds,
	    reply.attached.n_locks);
	segment.attached = reply.attached;
	segment.data_fd = reply.fds[0];
	segment.data = map(segment.data_fd, segment.attached.map_bytes, access);
	if (reply.n_fds == 2) {
		segment.control_fd = reply.fds[1];
		segment.control = map(segment.control_fd, segment.attached.control_bytes, access);
	}
	take_locks(conn, name, &reply, &segment);
	*ret_segment = segment;
	return 0;
}

void
harness_segment_open(struct harness_conn *conn, const char *name, struct harness_segment *ret_segment)
{
	int r = harness_segment_attach(conn, name, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, ret_segment);

	harness_assert(r == 0, "%s: %s", name, strerror(-r));
}

void
harness_segment_close(struct harness_segment *segment)
{
	if (segment->data)
		(void)munmap(segment->data, segment->attached.map_bytes);
	if (segment->control)
		(void)munmap(segment->control, segment->attached.control_bytes);
	segment->data = segment->control = NULL;
	close_fd(&segment->data_fd);
	close_fd(&segment->control_fd);
}

unsigned
harness_segment_find_lock(const struct harness_segment *segment, const char *name)
{
	for (unsigned i = 0; i < segment->attached.n_locks; i++)
		if (streq(segment->locks[i].name, name))
			return i;
	harness_fail("there is no lock '%s' among %u", name, segment->attached.n_locks);
}

struct control_place
harness_segment_place(const struct harness_segment *segment, unsigned lock)
{
	const struct protocol_lock *row = &segment->locks[lock];
	size_t record = (size_t)lock * CONTROL_RECORD_BYTES;

	harness_assert(lock < segment->attached.n_locks, "lock %u of %u", lock, segment->attached.n_locks);
	harness_assert(row->kind == PROTOCOL_LOCK_OURS, "lock %u is a mutex", lock);
	harness_assert(record + CONTROL_RECORD_BYTES <= segment->attached.control_bytes &&
	    row->at_bytes <= segment->attached.control_bytes && row->log_bytes <= segment->attached.control_bytes - row->at_bytes,
	    "lock %u is at %zu, its log at %ju+%u of %ju", lock, record, (uintmax_t)row->at_bytes, row->log_bytes,
	    (uintmax_t)segment->attached.control_bytes);
	return (struct control_place) {
		.lock = (struct control_lock *)(void *)(segment->control + record),
		.log = segment->control + row->at_bytes,
		.data = segment->data,
		.offset_bytes = row->offset_bytes,
		.length_bytes = row->length_bytes,
		.log_bytes = row->log_bytes,
		.on_death = (enum control_on_death)row->on_death,
	};
}

uint32_t
harness_segment_word(const struct harness_segment *segment, unsigned lock)
{
	return control_word(atomic_load_explicit(&harness_segment_place(segment, lock).lock->state, memory_order_acquire));
}

uint32_t
harness_segment_owner(const struct harness_segment *segment, unsigned lock)
{
	return harness_segment_word(segment, lock) & CONTROL_ID_MASK;
}

void
harness_segment_await_owner(const struct harness_segment *segment, unsigned lock, uint32_t id)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	/* The daemon wakes only who waits in the word, which a test that looks must not change. */
	while (harness_segment_owner(segment, lock) != id) {
		harness_assert(harness_clock_ns() < deadline, "lock %u has the word %#x, not %#x", lock,
		    harness_segment_word(segment, lock), id);
		(void)sched_yield();
	}
}

int
harness_recover(struct harness_conn *conn, const char *name, const char *lock, uint32_t flags)
{
	struct protocol_recover request = { .flags = flags };
	struct protocol_recovered recovered;
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	(void)snprintf(request.lock, sizeof(request.lock), "%s", lock);
	r = harness_ask(conn, PROTOCOL_RECOVER, &request.header, sizeof(request), &reply);
	if (r < 0)
		return r;
	harness_assert(reply.size == sizeof(recovered), "%zu bytes came", reply.size);
	memcpy(&recovered, reply.bytes, sizeof(recovered));
	return (int)recovered.n_locks;
}
