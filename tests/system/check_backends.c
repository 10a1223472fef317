/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The same life on every backend, with pages of every size: each test runs over the table of backends and asks for features,
 * never for a name. What the configuration wants of a backend is read from its own table, by key. What this host does not have
 * is skipped, with the daemon's reason.
 */
#include "config.h"

#include <sched.h>
#include <sys/resource.h>

#include "client/control.h"
#include "client/segment.h"
#include "conf/keys.h"
#include "daemon/backend/backend.h"
#include "tests/system/actor.h"
#include "tests/system/pool.h"
#include "tests/system/reloading.h"

#define COMBINATIONS	(DEFINITION_BACKEND_N * DEFINITION_PAGE_SIZE_N)
#define PAGE_BYTES	4096
#define CELLS		(MIB / 8)		/* that the lock protects */

struct life {
	const struct backend *row;
	int number;			/* of the row */
	enum definition_page_size page_size;
	uint64_t unit_bytes;		/* of the pool's pages, or of small ones */
	uint64_t size_bytes, max_bytes;
	struct harness_daemon daemon;
	struct harness_conn conn;
};

static bool
has(const struct life *life, unsigned features)
{
	return (life->row->features & features) == features;
}

static const char *
page_name(const struct life *life)
{
	return definition_page_size_name(life->page_size);
}

static bool
takes_key(const struct life *life, const char *key)
{
	const struct keys_row *row = keys_find(KEYS_DEFINITION, key);

	ck_assert_ptr_nonnull(row);
	return !row->backends || row->backends & 1u << life->number;
}

/* What only some backends are told. */
static void
write_special(const struct life *life, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	if (takes_key(life, "object"))
		n += (size_t)snprintf(buf + n, size - n, "object = \"/segmentd-backends-%ld\"; ", (long)getpid());
	if (takes_key(life, "key"))
		n += (size_t)snprintf(buf + n, size - n, "key = 0x5f%06lx; ", (unsigned long)getpid() & 0xffffff);
	if (takes_key(life, "path"))
		n += (size_t)snprintf(buf + n, size - n, "path = \"%s/contents\"; ", life->daemon.dir);
	/* Contents that are to stay are not given back at the last detach. */
	if (!has(life, BACKEND_DURABLE))
		n += (size_t)snprintf(buf + n, size - n, "scrub = true; ");
	ck_assert_uint_lt(n, size);
}

static void
write_body(const struct life *life, uint64_t size_bytes, char body[1024])
{
	char special[256];

	write_special(life, special, sizeof(special));
	(void)snprintf(body, 1024, "segments = ({ name = \"it\"; backend = \"%s\"; page_size = \"%s\"; size = \"%lluKiB\"; "
	    "max_size = \"%lluKiB\"; mlock = true; required = false; locks = ({ name = \"all\"; offset = \"0\"; "
	    "length = \"1MiB\"; undo = \"64KiB\"; on_death = \"rollback\"; }); %s});", life->row->name, page_name(life),
	    (unsigned long long)(size_bytes / KIB), (unsigned long long)(life->max_bytes / KIB), special);
}

/* Whether the segment came to be; a reason why this host cannot have it was printed. */
static bool
is_ready(struct life *life)
{
	struct harness_reply shown;
	int state = harness_wait(&life->conn, "it");

	if (state == PROTOCOL_READY)
		return true;
	ck_assert_int_eq(state, PROTOCOL_FAILED);
	ck_assert_int_eq(harness_show(&life->conn, "it", &shown), 0);
	printf("SKIP: %s with pages \"%s\": %s\n", life->row->name, page_name(life), harness_reason(&shown));
	ck_assert_int_ne(*harness_reason(&shown), '\0');
	/* What every host has. */
	harness_assert(life->page_size > DEFINITION_PAGE_BASE || geteuid() || strstr(harness_reason(&shown), "/dev/shm"),
	    "it is not had: %s", harness_reason(&shown));
	return false;
}

static void
end(struct life *life)
{
	harness_close(&life->conn);
	harness_daemon_stop(&life->daemon);
}

/* Of that backend and page size. False: that cannot be; a reason was printed. */
static bool
choose(struct life *life, int combination)
{
	*life = (struct life) {
		.number = combination / DEFINITION_PAGE_SIZE_N,
		.page_size = (enum definition_page_size)(combination % DEFINITION_PAGE_SIZE_N),
		.unit_bytes = PAGE_BYTES,
		/* An ordinary user may lock 8 MiB. */
		.size_bytes = 2 * MIB, .max_bytes = 4 * MIB,
		.daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL,
	};
	life->row = backend_find((enum definition_backend)life->number);
	ck_assert_ptr_nonnull(life->row);
	if (life->page_size == DEFINITION_PAGE_2MIB || life->page_size == DEFINITION_PAGE_1GIB) {
		life->unit_bytes = life->page_size == DEFINITION_PAGE_1GIB ? GIB : 2 * MIB;
		life->size_bytes = max_u64(life->size_bytes, life->unit_bytes);
		life->max_bytes = 2 * life->size_bytes;
	}
	if ((life->unit_bytes > PAGE_BYTES && !has(life, BACKEND_HUGETLB)) ||
	    (life->page_size == DEFINITION_PAGE_TRANSPARENT && !has(life, BACKEND_HUGE))) {
		printf("SKIP: %s with pages \"%s\": its features say that it has none\n", life->row->name, page_name(life));
		return false;
	}
	/* Those of 1 GiB take seconds to be cleared, and two of them may be all there are. */
	if (life->unit_bytes == 2 * MIB)
		pool_set_free(life->unit_bytes, -1, 2 * life->max_bytes / life->unit_bytes);
	else if (life->unit_bytes == GIB && harness_is_full())
		pool_set_free(life->unit_bytes, -1, life->max_bytes / life->unit_bytes);
	return true;
}

/* A daemon with such a segment; before_exec is done in its process before it begins, or NULL. */
static void
launch(struct life *life, void (*before_exec)(void *arg))
{
	char body[1024];

	if (geteuid() == 0)
		(void)unshare(CLONE_NEWIPC);
	/* Its directory is in the configuration. */
	harness_daemon_prepare(&life->daemon, NULL, "");
	write_body(life, life->size_bytes, body);
	harness_daemon_configure(&life->daemon, NULL, body);
	life->daemon.before_exec = before_exec;
	harness_daemon_launch(&life->daemon);
	harness_daemon_await_ready(&life->daemon);
	harness_open(&life->conn, life->daemon.socket);
}

/* Chooses, launches, and waits until it is ready. False: it cannot be; a reason was printed. */
static bool
begin(struct life *life, int combination)
{
	if (!choose(life, combination))
		return false;
	launch(life, NULL);
	if (is_ready(life))
		return true;
	end(life);
	return false;
}

static struct protocol_segment
find(struct life *life)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&life->conn, "it", &row), 0);
	return row;
}

/* Pages may be counted seldom, and a large file's a part at a time. Of a file the kernel reads more than it is asked for. */
static bool
is_counted(const struct life *life, const struct protocol_segment *row, uint64_t size_bytes)
{
	if (row->locked_bytes <= size_bytes || row->differs)
		return false;
	return row->resident_bytes == size_bytes || (row->resident_bytes > size_bytes && has(life, BACKEND_DURABLE));
}

/* What was asked for is had, by the daemon's and so by the kernel's word. */
static void
expect_had(struct life *life, uint64_t size_bytes)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_segment row = find(life);
	struct harness_reply shown;

	while (!is_counted(life, &row, size_bytes)) {
		harness_assert(harness_clock_ns() < until_ns, "of %ju bytes %ju are resident, %ju locked, and 0x%x differs",
		    (uintmax_t)size_bytes, (uintmax_t)row.resident_bytes, (uintmax_t)row.locked_bytes, row.differs);
		row = find(life);
	}
	ck_assert_int_eq(row.state, PROTOCOL_READY);
	ck_assert_uint_eq(row.size_bytes, size_bytes);
	ck_assert_uint_eq(row.max_size_bytes, life->max_bytes);
	ck_assert_uint_eq(row.backend, life->number);
	ck_assert_uint_eq(row.page_size_asked, life->page_size);
	ck_assert_uint_eq(row.flags & PROTOCOL_SEGMENT_DEGRADED, 0);
	if (life->unit_bytes > PAGE_BYTES)
		ck_assert_uint_eq(UINT64_C(1) << row.page_shift, life->unit_bytes);
	if (life->page_size == DEFINITION_PAGE_TRANSPARENT)
		ck_assert_uint_eq(row.huge_bytes, size_bytes);
	if (life->page_size == DEFINITION_PAGE_BASE)
		ck_assert_uint_eq(row.huge_bytes, 0);
	ck_assert_int_eq(harness_show(&life->conn, "it", &shown), 0);
	ck_assert_str_eq(harness_reason(&shown), "");
}

static void
expect_counts(struct life *life, unsigned readers, unsigned writers)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	harness_await_counts(&life->conn, "it", readers, writers);
	/* A process that is ending, or a worker at its pages, is another by the kernel's own count. */
	while (find(life).others)
		harness_assert(harness_clock_ns() < until_ns, "there are %u others", find(life).others);
}

static void
store(struct actor *actor, unsigned cell, long value)
{
	actor_must(actor, 0, "lock all");
	actor_must(actor, 0, "set all %u %ld", cell, value);
	actor_must(actor, 0, "unlock all");
}

START_TEST(it_is_had_as_asked_and_shared)
{
	struct actor writer, reader;
	struct life life;

	if (!begin(&life, _i))
		return;
	expect_had(&life, life.size_bytes);
	expect_counts(&life, 0, 0);
	actor_start(&writer, life.daemon.socket, "it");
	actor_start_reading(&reader, life.daemon.socket, "it");
	expect_counts(&life, 1, 1);
	actor_must(&reader, 0, "get all 0");
	store(&writer, 0, 7);
	store(&writer, CELLS - 1, 8);
	actor_must(&reader, 7, "get all 0");
	actor_must(&reader, 8, "get all %llu", (unsigned long long)CELLS - 1);
	/* Who reads takes no lock. */
	actor_must(&reader, -EACCES, "lock all");
	actor_kill(&writer);
	expect_counts(&life, 1, 0);
	actor_must(&reader, 0, "detach");
	expect_counts(&life, 0, 0);
	actor_kill(&reader);
	end(&life);
}
END_TEST

START_TEST(who_dies_in_a_section_is_rolled_back)
{
	struct actor victim, other;
	struct protocol_lock lock;
	struct life life;

	if (!begin(&life, _i))
		return;
	actor_start(&other, life.daemon.socket, "it");
	actor_start(&victim, life.daemon.socket, "it");
	store(&victim, 0, 7);
	actor_must(&victim, 0, "lock all");
	actor_must(&victim, 0, "set all 0 9");
	actor_must(&victim, 0, "set all 100 9");
	actor_must(&other, 9, "get all 0");
	actor_kill(&victim);
	actor_await_recoveries(&life.conn, "it", "all", 1, &lock);
	actor_must(&other, 0, "lock all");
	actor_must(&other, 1, "recovered all");
	actor_must(&other, 7, "get all 0");
	actor_must(&other, 0, "get all 100");
	actor_must(&other, 0, "unlock all");
	expect_counts(&life, 0, 1);
	actor_kill(&other);
	end(&life);
}
END_TEST

START_TEST(it_grows_under_its_clients)
{
	struct harness_reply shown;
	struct actor actor;
	char body[1024];
	struct life life;

	if (!begin(&life, _i))
		return;
	actor_start(&actor, life.daemon.socket, "it");
	store(&actor, 0, 7);
	write_body(&life, life.max_bytes, body);
	(void)reloading_hangup(&life.daemon, NULL, body);
	while (find(&life).size_bytes != life.max_bytes) {
		ck_assert_int_eq(harness_show(&life.conn, "it", &shown), 0);
		if (strstr(harness_reason(&shown), "could not be raised")) {
			printf("SKIP: %s with pages \"%s\": %s\n", life.row->name, page_name(&life), harness_reason(&shown));
			ck_assert_uint_gt(life.unit_bytes, PAGE_BYTES);
			break;
		}
	}
	if (find(&life).size_bytes == life.max_bytes) {
		expect_had(&life, life.max_bytes);
		actor_must(&actor, 0, "get all %llu", (unsigned long long)life.max_bytes / 8 - 1);
	}
	actor_must(&actor, 7, "get all 0");
	actor_kill(&actor);
	end(&life);
}
END_TEST

START_TEST(what_is_left_is_for_nobody_or_for_all)
{
	struct actor actor;
	struct life life;

	if (!begin(&life, _i))
		return;
	actor_start(&actor, life.daemon.socket, "it");
	store(&actor, 0, 7);
	actor_kill(&actor);
	/* Scrubbed, unless its contents are to stay. */
	expect_counts(&life, 0, 0);
	ck_assert(is_ready(&life));
	actor_start(&actor, life.daemon.socket, "it");
	actor_must(&actor, has(&life, BACKEND_DURABLE) ? 7 : 0, "get all 0");
	actor_kill(&actor);
	expect_counts(&life, 0, 0);
	ck_assert(is_ready(&life));
	expect_had(&life, life.size_bytes);
	end(&life);
}
END_TEST

/* As a client does that had it before, and wants no other. */
static int
attach_generation(struct life *life, uint64_t generation)
{
	struct protocol_attach request = { .access = PROTOCOL_ACCESS_READ, .generation = generation };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "it");
	r = harness_ask(&life->conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
	for (unsigned i = 0; i < reply.n_fds; i++)
		(void)close(reply.fds[i]);
	return r;
}

/* Made anew by a reload of the same configuration. False: a pool has not enough for two of them. */
static bool
make_anew(struct life *life, uint64_t generation)
{
	struct harness_reply shown;
	char body[1024];

	write_body(life, life->size_bytes, body);
	(void)reloading_hangup(&life->daemon, NULL, body);
	if (harness_wait(&life->conn, "it") != PROTOCOL_READY) {
		ck_assert_int_eq(harness_show(&life->conn, "it", &shown), 0);
		harness_assert(life->unit_bytes > PAGE_BYTES && strstr(harness_reason(&shown), "pool"), "it is not made anew: %s",
		    harness_reason(&shown));
		printf("SKIP: %s with pages \"%s\": %s\n", life->row->name, page_name(life), harness_reason(&shown));
		return false;
	}
	ck_assert_uint_ne(find(life).generation, generation);
	ck_assert_int_eq(attach_generation(life, generation), -ESTALE);
	ck_assert_int_eq(attach_generation(life, find(life).generation), 0);
	return true;
}

START_TEST(removed_it_drains_and_another_one_comes)
{
	struct actor actor;
	uint64_t generation;
	struct life life;

	if (!begin(&life, _i))
		return;
	generation = find(&life).generation;
	actor_start(&actor, life.daemon.socket, "it");
	store(&actor, 0, 7);
	ck_assert_int_eq(harness_remove(&life.conn, "it", 0), 0);
	ck_assert_int_eq(find(&life).state, PROTOCOL_DRAINING);
	store(&actor, 0, 8);
	actor_kill(&actor);
	harness_await_gone(&life.conn, "it");
	ck_assert(make_anew(&life, generation));
	actor_start(&actor, life.daemon.socket, "it");
	actor_must(&actor, has(&life, BACKEND_DURABLE) ? 8 : 0, "get all 0");
	actor_kill(&actor);
	end(&life);
}
END_TEST

START_TEST(removed_now_it_stays_with_who_has_it)
{
	struct actor actor, next;
	uint64_t generation;
	struct life life;

	if (!begin(&life, _i))
		return;
	generation = find(&life).generation;
	actor_start(&actor, life.daemon.socket, "it");
	store(&actor, 0, 7);
	ck_assert_int_eq(harness_remove(&life.conn, "it", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(attach_generation(&life, generation), -ENOENT);
	actor_must(&actor, 7, "get all 0");
	store(&actor, 0, 8);
	/* A file is its contents: only who ends lets another have them. */
	if (has(&life, BACKEND_DURABLE))
		actor_kill(&actor);
	if (!make_anew(&life, generation)) {
		actor_kill(&actor);
		end(&life);
		return;
	}
	actor_start(&next, life.daemon.socket, "it");
	actor_must(&next, has(&life, BACKEND_DURABLE) ? 8 : 0, "get all 0");
	if (!has(&life, BACKEND_DURABLE)) {
		store(&next, 0, 9);
		actor_must(&actor, 8, "get all 0");
		actor_kill(&actor);
	}
	expect_counts(&life, 0, 1);
	actor_kill(&next);
	end(&life);
}
END_TEST

static void
limit_files(void *arg)
{
	const struct rlimit limit = { MIB, MIB };

	(void)arg;
	(void)setrlimit(RLIMIT_FSIZE, &limit);
}

/* The kernel has a signal for it, that would be the end of who asks. */
START_TEST(one_that_is_larger_than_a_file_may_be_is_refused)
{
	struct harness_reply shown;
	struct life life;

	if (!choose(&life, _i * DEFINITION_PAGE_SIZE_N))
		return;
	launch(&life, limit_files);
	if (harness_wait(&life.conn, "it") == PROTOCOL_FAILED) {
		ck_assert_int_eq(harness_show(&life.conn, "it", &shown), 0);
		ck_assert_ptr_nonnull(strstr(harness_reason(&shown), "File too large"));
	} else {
		ck_assert(!has(&life, BACKEND_FD));
	}
	end(&life);
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = {
		it_is_had_as_asked_and_shared,
		who_dies_in_a_section_is_rolled_back,
		it_grows_under_its_clients,
		what_is_left_is_for_nobody_or_for_all,
		removed_it_drains_and_another_one_comes,
		removed_now_it_stays_with_who_has_it,
	};
	Suite *suite = suite_create("backends");
	TCase *tcase = tcase_create("backends");

	tcase_add_unchecked_fixture(tcase, pool_borrow, pool_give_back);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tcase, tests[i], 0, COMBINATIONS);
	tcase_add_loop_test(tcase, one_that_is_larger_than_a_file_may_be_is_refused, 0, DEFINITION_BACKEND_N);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
