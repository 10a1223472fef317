/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A page can be held without a description: by a pipe after vmsplice, by io_uring after buffers were registered. No count
 * sees that. So a scrub must give pages up and never hand them to the next tenant, zeroed or not.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/harness_locks.h"

#define PAGE	4096
#define SIZE	(16 * PAGE)
#define WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)

static const char body[] = "segments = ( { name = \"desk\"; size = \"64KiB\"; scrub = true; } );";
static const char locked_body[] = "segments = ( { name = \"desk\"; size = \"64KiB\"; mlock = true; scrub = true; "
    "locks = ( { name = \"all\"; offset = \"0\"; length = \"64KiB\"; undo = \"4KiB\"; } ); } );";
static const char old_text[] = "what the first tenant wrote";
static const char new_text[] = "the secret of the next tenant";
static const char attack[] = "overwritten by a detached client";

static char *
map_segment(struct harness_conn *conn, uint32_t access, struct protocol_attached *ret_attached)
{
	char *map;
	int fd, r;

	r = harness_wait(conn, "desk");
	harness_assert(r == PROTOCOL_READY, "wait: %d", r);
	r = harness_attach(conn, "desk", access, ret_attached, &fd);
	harness_assert(r == 0, "attach: %s", strerror(-r));
	map = mmap(NULL, SIZE, PROT_READ | (access & PROTOCOL_ACCESS_WRITE ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	harness_assert(map != MAP_FAILED, "mmap: %s", strerror(errno));
	(void)close(fd);
	return map;
}

static void
unmap_segment(struct harness_conn *conn, char *map, const struct protocol_attached *attached)
{
	ck_assert_int_eq(munmap(map, SIZE), 0);
	ck_assert_int_eq(harness_detach(conn, attached), 0);
}

static void
expect_zero(const char *map)
{
	for (size_t i = 0; i < SIZE; i++)
		harness_assert(map[i] == 0, "byte %zu is %d for the next tenant", i, map[i]);
}

/* Leaves old_text in the segment. */
static void
be_first_tenant(struct harness_conn *conn)
{
	struct protocol_attached attached;
	char *map = map_segment(conn, WRITE, &attached);

	memcpy(map, old_text, sizeof(old_text));
	memcpy(map + PAGE, old_text, sizeof(old_text));
	unmap_segment(conn, map, &attached);
}

START_TEST(next_tenant_finds_zeros)
{
	struct protocol_attached attached;
	struct harness_daemon daemon;
	struct harness_conn conn;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	be_first_tenant(&conn);
	harness_await_counts(&conn, "desk", 0, 0);
	expect_zero(map_segment(&conn, PROTOCOL_ACCESS_READ, &attached));
	harness_daemon_stop(&daemon);
}
END_TEST

/* Its control memory is made and locked anew; what the daemon counts as locked must stay what the kernel counts. */
START_TEST(one_with_locks_in_locked_memory_is_scrubbed_again_and_again)
{
	struct harness_segment segment;
	struct protocol_segment rows[2];
	struct harness_daemon daemon;
	struct harness_conn conn;

	harness_daemon_start(&daemon, NULL, locked_body);
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
	for (int i = 0; i < 3; i++) {
		harness_segment_open(&conn, "desk", &segment);
		memcpy(segment.data, old_text, sizeof(old_text));
		harness_segment_close(&segment);
		harness_await_counts(&conn, "desk", 0, 0);
		ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
		ck_assert_int_eq(harness_list(&conn, rows, 2), 1);
		ck_assert_uint_eq(rows[0].locked_bytes, SIZE + 2 * PAGE);
	}
	harness_daemon_stop(&daemon);
}
END_TEST

/* It is given back in parts, by a worker that the kernel counts as one more. */
START_TEST(large_one_of_system_v_is_scrubbed_once)
{
	struct protocol_attached attached;
	struct harness_daemon daemon;
	struct harness_conn conn;
	unsigned char *data;
	int fd;

	harness_daemon_start(&daemon, NULL, "segments = ( { name = \"desk\"; size = \"80MiB\"; backend = \"sysv\"; scrub = true; } );");
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(harness_attach(&conn, "desk", WRITE, &attached, &fd), 0);
		data = shmat(attached.shm_id, NULL, 0);
		ck_assert_ptr_ne(data, (void *)-1);
		ck_assert_int_eq(data[0] + data[40 * MIB] + data[80 * MIB - 1], 0);
		data[0] = data[40 * MIB] = data[80 * MIB - 1] = 1;
		ck_assert_int_eq(shmdt(data), 0);
		(void)close(fd);
		ck_assert_int_eq(harness_detach(&conn, &attached), 0);
		harness_await_counts(&conn, "desk", 0, 0);
		ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
	}
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(nothing_is_scrubbed_while_somebody_maps)
{
	struct protocol_attached first, second;
	struct harness_daemon daemon;
	struct harness_conn conn;
	char *map, *other;

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	map = map_segment(&conn, WRITE, &first);
	memcpy(map, old_text, sizeof(old_text));
	/* Given back, and still mapped: the kernel's word counts. */
	ck_assert_int_eq(harness_detach(&conn, &first), 0);
	other = map_segment(&conn, WRITE, &second);
	unmap_segment(&conn, other, &second);
	harness_await_counts(&conn, "desk", 0, 1);
	ck_assert_str_eq(map, old_text);
	harness_daemon_stop(&daemon);
}
END_TEST

START_TEST(page_in_a_pipe_shows_nothing_of_the_next_tenant)
{
	struct protocol_attached attached;
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct iovec part;
	char *map, seen[PAGE];
	int ends[2];

	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	map = map_segment(&conn, PROTOCOL_ACCESS_READ, &attached);
	part = (struct iovec){ .iov_base = map, .iov_len = PAGE };
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(vmsplice(ends[1], &part, 1, 0), PAGE);
	unmap_segment(&conn, map, &attached);
	harness_await_counts(&conn, "desk", 0, 0);

	map = map_segment(&conn, WRITE, &attached);
	for (size_t at = 0; at < SIZE; at += PAGE)
		memcpy(map + at, new_text, sizeof(new_text));
	ck_assert_int_eq(read(ends[0], seen, sizeof(seen)), PAGE);
	ck_assert(memmem(seen, sizeof(seen), new_text, sizeof(new_text)) == NULL);
	harness_daemon_stop(&daemon);
}
END_TEST

struct ring {
	int fd;
	struct io_uring_params params;
	char *queue;
	struct io_uring_sqe *entries;
};

static void
open_ring(struct ring *ring)
{
	size_t size;

	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->params);
	if (ring->fd < 0)
		harness_skip("io_uring is not to be had here: %s", strerror(errno));
	size = ring->params.sq_off.array + ring->params.sq_entries * sizeof(unsigned);
	ring->queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ck_assert_ptr_ne(ring->queue, MAP_FAILED);
	size = ring->params.sq_entries * sizeof(*ring->entries);
	ring->entries = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	ck_assert_ptr_ne(ring->entries, MAP_FAILED);
}

/* Reads from fd into the registered buffer, which nobody maps any more. */
static void
read_fixed(struct ring *ring, int fd, uint64_t address, uint32_t length)
{
	unsigned *tail = (void *)(ring->queue + ring->params.sq_off.tail);
	unsigned *array = (void *)(ring->queue + ring->params.sq_off.array);
	struct io_uring_sqe *entry = &ring->entries[0];

	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED, .fd = fd, .addr = address, .len = length,
	};
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
}

START_TEST(registered_page_changes_nothing_of_the_next_tenant)
{
	struct protocol_attached attached;
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct ring ring;
	struct iovec part;
	uint64_t address;
	char *map;
	int source;

	open_ring(&ring);
	harness_daemon_start(&daemon, NULL, body);
	harness_open(&conn, daemon.socket);
	map = map_segment(&conn, WRITE, &attached);
	part = (struct iovec){ .iov_base = map + PAGE, .iov_len = PAGE };
	address = (uint64_t)(uintptr_t)part.iov_base;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &part, 1) != 0)
		harness_skip("io_uring does not register a buffer here: %s", strerror(errno));
	unmap_segment(&conn, map, &attached);
	harness_await_counts(&conn, "desk", 0, 0);

	map = map_segment(&conn, WRITE, &attached);
	expect_zero(map);
	for (size_t at = 0; at < SIZE; at += PAGE)
		memcpy(map + at, new_text, sizeof(new_text));
	source = memfd_create("attack", MFD_CLOEXEC);
	ck_assert_int_eq(write(source, attack, sizeof(attack)), sizeof(attack));
	read_fixed(&ring, source, address, sizeof(attack));
	for (size_t at = 0; at < SIZE; at += PAGE)
		ck_assert_str_eq(map + at, new_text);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("scrub");
	TCase *tcase = tcase_create("scrub");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, next_tenant_finds_zeros);
	tcase_add_test(tcase, one_with_locks_in_locked_memory_is_scrubbed_again_and_again);
	tcase_add_test(tcase, large_one_of_system_v_is_scrubbed_once);
	tcase_add_test(tcase, nothing_is_scrubbed_while_somebody_maps);
	tcase_add_test(tcase, page_in_a_pipe_shows_nothing_of_the_next_tenant);
	tcase_add_test(tcase, registered_page_changes_nothing_of_the_next_tenant);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
