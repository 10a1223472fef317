/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Raising a segment's size in place, in a process of the test's own with real workers. Whatever becomes of a growth, the books
 * of what is promised and locked are the kernel's, and what was there before it is as it was.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/registry.h"
#include "host/limits.h"

#define SIZE		(3 * MIB + 1000)	/* ends in a page, in a huge page's middle */
#define SIZE_PAGES	(3 * MIB + 4096)
#define LARGE		(70 * MIB)		/* grown to: several pieces */
#define MAX		(80 * MIB)
#define CONTROL		(2 * CONTROL_RECORD_BYTES)

static struct {
	struct event_base *base;
	struct workers workers;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct accounts accounts;
	struct recovery recovery;
	struct registry registry;
	struct events events;
	struct events_subscriber subscriber;
	struct definition *definition;
	struct conf conf;
	struct identity identity;
	struct attachment_list session;
	struct segment *segment;
	unsigned n_gone, n_grown, n_not_grown, n_told;
	struct protocol_event told[64];
} test;

static void
on_change(struct segment *segment, void *arg)
{
	if (segment->state == PROTOCOL_GONE)
		test.n_gone++;
}

static void
on_grown(struct segment *segment, uint64_t was_bytes, int r, void *arg)
{
	if (r)
		test.n_not_grown++;
	else
		test.n_grown++;
	ck_assert_int_eq(r == 0, segment->definition->size_bytes > was_bytes);
}

static void
on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg)
{
	ck_abort_msg("a lock was recovered whose owner had not died");
}

static int
on_event(struct events_subscriber *subscriber, const struct protocol_event *event)
{
	ck_assert_uint_lt(test.n_told, BASE_ARRAY_SIZE(test.told));
	test.told[test.n_told++] = *event;
	return 0;
}

static struct definition *
define(void)
{
	struct definition *definition = definition_new();

	ck_assert_ptr_nonnull(definition);
	definition->name = strdup("one");
	definition->size_bytes = SIZE;
	definition->max_size_bytes = MAX;
	definition->prefault = true;
	definition->mlock = true;
	definition->mode = 0600;
	definition->n_locks = 1;
	definition->locks = calloc(1, sizeof(*definition->locks));
	definition->locks[0] = (struct definition_lock) {
		.name = strdup("l"), .length_bytes = 100, .undo_bytes = CONTROL_RECORD_BYTES, .on_death = DEFINITION_KEEP,
	};
	return definition;
}

static void
setup(void)
{
	static const struct conf_limits limits = { .clients = 9, .attachments = 9, .bytes = MIB };

	test.definition = define();
	test.conf = (struct conf) { .segments = &test.definition, .n_segments = 1 };
	test.identity = (struct identity) { .uid = (uint32_t)geteuid(), .gid = (uint32_t)getegid(), .pid = getpid() };
	LIST_INIT(&test.session);
	test.base = event_base_new();
	accounts_init(&test.accounts, &limits);
	workers_init(&test.workers, test.base, 2);
	ck_assert_int_eq(provisioner_init(&test.provisioner, test.base, &test.workers, 0), 0);
	ck_assert_int_eq(kernelcount_init(&test.kernelcount, test.base), 0);
	ck_assert_int_eq(recovery_init(&test.recovery, test.base, &test.workers, 0, on_recovery, NULL), 0);
	ck_assert_int_eq(registry_init(&test.registry, test.base, &test.kernelcount, &test.provisioner, &test.recovery,
	    &test.accounts, on_change, NULL), 0);
	ck_assert_int_eq(events_init(&test.events, test.base, on_event), 0);
	test.subscriber = (struct events_subscriber) {
		.identity = &test.identity, .sees_all = true, .is_administrator = true,
	};
	events_subscribe(&test.events, &test.subscriber);
	test.registry.host.events = &test.events;
	test.registry.host.on_grown = on_grown;
}

static void
teardown(void)
{
	events_unsubscribe(&test.subscriber);
	events_deinit(&test.events);
	workers_deinit(&test.workers);
	releases_close(&test.provisioner.releases);
	registry_deinit(&test.registry);
	recovery_deinit(&test.recovery);
	kernelcount_deinit(&test.kernelcount);
	provisioner_deinit(&test.provisioner);
	ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
	accounts_deinit(&test.accounts);
	(void)definition_unref(test.definition);
	event_base_free(test.base);
	libevent_global_shutdown();
	memset(&test, 0, sizeof(test));
}

static void
turn(void)
{
	ck_assert_int_eq(event_base_loop(test.base, EVLOOP_ONCE), 0);
}

/* As it was defined; false: it cannot be locked here, and that was said. */
static bool
declare(void)
{
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state < PROTOCOL_READY)
		turn();
	if (test.segment->state == PROTOCOL_FAILED && strstr(test.segment->reason, "lock")) {
		(void)printf("SKIP: %s\n", test.segment->reason);
		return false;
	}
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	return true;
}

static int
grow(uint64_t size_bytes)
{
	struct definition *next = definition_copy(test.segment->definition);
	int r;

	ck_assert_ptr_nonnull(next);
	next->size_bytes = size_bytes;
	r = segment_grow(test.segment, next);
	(void)definition_unref(next);
	return r;
}

static void
await_growth(void)
{
	while (test.segment->growth)
		turn();
	/* What was told is sent in a turn of its own. */
	while (!TAILQ_EMPTY(&test.events.due))
		turn();
}

/* The last event of the kind, or NULL. */
static const struct protocol_event *
told(enum protocol_event_kind kind)
{
	for (unsigned i = test.n_told; i > 0; i--)
		if (test.told[i - 1].kind == kind)
			return &test.told[i - 1];
	return NULL;
}

/* The books of a segment that is so large, with control memory or without: ours, and the kernel's. */
static void
check_books(uint64_t data_bytes)
{
	const struct holding *holding = &test.segment->holding;
	uint64_t control = test.definition->n_locks ? round_up(CONTROL, 4096) : 0;
	bool locked = test.segment->definition->mlock;

	ck_assert_uint_eq(segment_resident_bytes(test.segment), data_bytes);
	ck_assert_uint_eq(holding->locked_bytes, locked ? data_bytes + control : 0);
	ck_assert_uint_eq(holding_control_locked_bytes(holding), locked ? control : 0);
	ck_assert_uint_eq(test.provisioner.locked_bytes, holding->locked_bytes);
	ck_assert_uint_eq(limits_locked_bytes(), holding->locked_bytes);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_lock_bytes, 0);
}

/* Something at both ends of what was there first. */
static void
write_marks(void)
{
	int fd = test.segment->holding.object.fd;

	ck_assert_int_eq(pwrite(fd, "first", 5, 0), 5);
	ck_assert_int_eq(pwrite(fd, "last", 4, SIZE - 4), 4);
}

static void
check_marks(void)
{
	char bytes[5];
	int fd = test.segment->holding.object.fd;

	ck_assert_int_eq(pread(fd, bytes, 5, 0), 5);
	ck_assert_mem_eq(bytes, "first", 5);
	ck_assert_int_eq(pread(fd, bytes, 4, SIZE - 4), 4);
	ck_assert_mem_eq(bytes, "last", 4);
}

static size_t
children(pid_t *pids, size_t max)
{
	cleanup_fclose FILE *f = fopen("/proc/thread-self/children", "re");
	size_t n = 0;

	ck_assert_ptr_nonnull(f);
	while (n < max && fscanf(f, "%d", &pids[n]) == 1)
		n++;
	return n;
}

/* The workers of its provisioning stand still: what they get next is under way until they go on. */
static size_t
stop_workers(pid_t *pids, size_t n_wanted)
{
	size_t n = children(pids, 4);

	ck_assert_uint_eq(n, 2);
	for (size_t i = 0; i < n_wanted; i++)
		ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
	return n_wanted;
}

static void
signal_workers(const pid_t *pids, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], sig), 0);
}

static struct attachment *
attach(int *ret_fd)
{
	struct attachment *attachment;

	ck_assert_int_eq(attachment_new(test.segment, &test.identity, 1, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	    &test.accounts, &test.session, &attachment, ret_fd), 0);
	segment_on_more(test.segment);
	return attachment;
}

START_TEST(grown_it_has_more_and_lost_nothing)
{
	const struct protocol_event *event;
	const char *map, *control;
	char byte = 1;

	if (!declare())
		return;
	check_books(SIZE_PAGES);
	write_marks();
	map = test.segment->holding.map;
	control = test.segment->holding.control->map;
	ck_assert_int_eq(grow(LARGE), 0);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_ptr_null(test.segment->growth_reason);
	check_books(LARGE);
	check_marks();
	ck_assert_ptr_eq(test.segment->holding.map, map);
	ck_assert_ptr_eq(test.segment->holding.control->map, control);
	ck_assert_int_eq(pread(test.segment->holding.object.fd, &byte, 1, LARGE - 1), 1);
	ck_assert_int_eq(byte, 0);
	event = told(PROTOCOL_EVENT_GROWN);
	ck_assert_ptr_nonnull(event);
	ck_assert_uint_eq(event->value, LARGE);
	ck_assert_uint_eq(event->generation, test.segment->generation);
	ck_assert_uint_eq(test.n_grown, 1);
}
END_TEST

START_TEST(grown_in_small_steps_its_books_are_right)
{
	uint64_t size = SIZE;

	if (!declare())
		return;
	write_marks();
	for (int i = 0; i < 40; i++) {
		size += 1 + (uint64_t)i * 9001;
		ck_assert_int_eq(grow(size), 0);
		await_growth();
		ck_assert_uint_eq(test.segment->definition->size_bytes, size);
		/* Blocks that are filled bit by bit become huge pages where the host has them: no page beyond is taken. */
		check_books(round_up(size, 4096));
		check_marks();
	}
}
END_TEST

START_TEST(grown_it_is_of_huge_pages_as_asked)
{
	uint64_t page_bytes;

	if (memory_huge(&page_bytes) == MEMORY_HUGE_NONE) {
		(void)printf("SKIP: this host has no huge pages for shared memory\n");
		return;
	}
	test.definition->page_size = DEFINITION_PAGE_TRANSPARENT;
	if (!declare())
		return;
	ck_assert_uint_eq(test.segment->holding.huge_bytes, 2 * MIB);
	for (uint64_t size = 5 * MIB; size < 20 * MIB; size += 3 * MIB + 4096) {
		ck_assert_int_eq(grow(size), 0);
		await_growth();
		ck_assert_msg(test.segment->definition->size_bytes == size, "%s", test.segment->growth_reason);
		ck_assert_uint_ge(test.segment->holding.huge_bytes, size & ~(2 * MIB - 1));
	}
}
END_TEST

START_TEST(without_prefault_there_is_nothing_to_wait_for)
{
	test.definition->prefault = test.definition->mlock = false;
	ck_assert(declare());
	ck_assert_int_eq(grow(LARGE), 0);
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_ptr_null(test.segment->growth);
	await_growth();
	ck_assert_uint_eq(told(PROTOCOL_EVENT_GROWN)->value, LARGE);
	ck_assert_uint_eq(segment_resident_bytes(test.segment), 0);
}
END_TEST

START_TEST(in_its_last_page_there_is_nothing_to_make)
{
	if (!declare())
		return;
	ck_assert_int_eq(grow(SIZE_PAGES), 0);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE_PAGES);
	check_books(SIZE_PAGES);
}
END_TEST

START_TEST(what_is_no_growth_is_refused)
{
	int fd;

	test.definition->mlock = false;
	ck_assert(declare());
	ck_assert_int_eq(grow(SIZE), -EINVAL);
	ck_assert_int_eq(grow(SIZE - 1), -EINVAL);
	ck_assert_int_eq(grow(MAX + 1), -EINVAL);
	(void)attach(&fd);
	segment_remove(test.segment, false);
	ck_assert_int_eq(grow(LARGE), -ESHUTDOWN);
	ck_assert_uint_eq(test.n_grown + test.n_not_grown, 0);
	(void)close(fd);
}
END_TEST

START_TEST(what_cannot_be_had_fails_at_once_and_says_why)
{
	char text[1024];

	test.definition->max_size_bytes = 10 * TIB;
	if (!declare())
		return;
	write_marks();
	ck_assert_int_eq(grow(9 * TIB), -ENOMEM);
	await_growth();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	ck_assert_ptr_nonnull(strstr(segment_describe(test.segment, text, sizeof(text)), "to 9 TiB"));
	ck_assert_ptr_null(test.segment->reason);
	ck_assert_uint_eq(told(PROTOCOL_EVENT_FAILED)->value, SIZE);
	ck_assert_uint_eq(told(PROTOCOL_EVENT_FAILED)->total, 9 * TIB);
	check_books(SIZE_PAGES);
	check_marks();
	/* What can be had is had all the same, and then there is nothing to say. */
	ck_assert_int_eq(grow(LARGE), 0);
	await_growth();
	ck_assert_str_eq(segment_describe(test.segment, text, sizeof(text)), "");
	check_books(LARGE);
}
END_TEST

START_TEST(killed_worker_leaves_the_old_size_and_no_page_more)
{
	pid_t pids[4];
	uint64_t begun;

	if (!declare())
		return;
	write_marks();
	(void)stop_workers(pids, 1);
	ck_assert_int_eq(grow(LARGE), 0);
	begun = test.segment->growth->done_bytes;
	while (test.segment->growth->done_bytes == begun)
		turn();
	ck_assert_uint_gt(segment_resident_bytes(test.segment), SIZE_PAGES);
	ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
	await_growth();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.segment->definition->size_bytes, SIZE);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "killed"));
	ck_assert_uint_eq(told(PROTOCOL_EVENT_FAILED)->value, SIZE);
	ck_assert_uint_eq(test.n_not_grown, 1);
	check_books(SIZE_PAGES);
	check_marks();
	ck_assert_int_eq(grow(LARGE), 0);
	await_growth();
	check_books(LARGE);
}
END_TEST

START_TEST(cancelled_while_it_is_locked_it_gives_back_what_was_locked)
{
	if (!declare())
		return;
	write_marks();
	ck_assert_int_eq(grow(LARGE), 0);
	while (test.segment->holding.locked_bytes < SIZE_PAGES + MIB)
		turn();
	segment_stop_growing(test.segment, "the test wants it");
	ck_assert_ptr_nonnull(test.segment->growth);
	await_growth();
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "the test wants it"));
	check_books(SIZE_PAGES);
	check_marks();
}
END_TEST

START_TEST(removed_it_stays_as_it_is_for_who_has_it)
{
	pid_t pids[4];
	int fd;
	size_t n;
	struct attachment *attachment;

	if (!declare())
		return;
	write_marks();
	attachment = attach(&fd);
	n = stop_workers(pids, 2);
	ck_assert_int_eq(grow(LARGE), 0);
	for (int i = 0; i < 3; i++)
		turn();
	segment_remove(test.segment, false);
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	signal_workers(pids, n, SIGCONT);
	await_growth();
	ck_assert_int_eq(test.segment->state, PROTOCOL_DRAINING);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "removed"));
	check_books(SIZE_PAGES);
	check_marks();
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	while (!test.n_gone)
		turn();
}
END_TEST

START_TEST(removed_now_its_workers_keep_what_they_need)
{
	pid_t pids[4];
	size_t n;

	if (!declare())
		return;
	n = stop_workers(pids, 2);
	ck_assert_int_eq(grow(LARGE), 0);
	for (int i = 0; i < 3; i++)
		turn();
	segment_remove(test.segment, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert(!LIST_EMPTY(&test.provisioner.orphans));
	if (_i == 0) {
		/* What it holds is given back when they go on; else by teardown, as LeakSanitizer sees. */
		signal_workers(pids, n, SIGCONT);
		while (!LIST_EMPTY(&test.provisioner.orphans) || !LIST_EMPTY(&test.provisioner.releases.list))
			turn();
		ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
		ck_assert_uint_eq(limits_locked_bytes(), 0);
	}
}
END_TEST

START_TEST(daemon_ends_while_it_grows)
{
	pid_t pids[4];

	if (!declare())
		return;
	(void)stop_workers(pids, 2);
	ck_assert_int_eq(grow(LARGE), 0);
	turn();
}
END_TEST

START_TEST(larger_size_asked_for_meanwhile_comes_next)
{
	if (!declare())
		return;
	ck_assert_int_eq(grow(LARGE), 0);
	ck_assert_int_eq(grow(LARGE + MIB), 0);
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE + MIB);
	ck_assert_uint_eq(test.n_grown, 2);
	check_books(LARGE + MIB);
}
END_TEST

START_TEST(smaller_size_asked_for_meanwhile_counts)
{
	if (!declare())
		return;
	write_marks();
	ck_assert_int_eq(grow(LARGE), 0);
	ck_assert_int_eq(grow(5 * MIB), 0);
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, 5 * MIB);
	ck_assert_uint_eq(test.n_grown, 1);
	ck_assert_uint_eq(test.n_not_grown, 0);
	ck_assert_ptr_null(test.segment->growth_reason);
	ck_assert_ptr_null(told(PROTOCOL_EVENT_FAILED));
	check_books(5 * MIB);
	check_marks();
}
END_TEST

START_TEST(asked_for_while_it_is_provisioned_it_comes_then)
{
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state == PROTOCOL_DECLARED)
		turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_PROVISIONING);
	ck_assert_int_eq(grow(LARGE), 0);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		turn();
	if (test.segment->state == PROTOCOL_FAILED && strstr(test.segment->reason, "lock"))
		return;
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	check_books(LARGE);
}
END_TEST

START_TEST(redefined_meanwhile_it_keeps_both)
{
	struct definition *other;

	if (!declare())
		return;
	ck_assert_int_eq(grow(LARGE), 0);
	other = definition_copy(test.segment->definition);
	other->mode = 0640;
	segment_redefine(test.segment, other);
	(void)definition_unref(other);
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_uint_eq(test.segment->definition->mode, 0640);
	ck_assert_ptr_eq(registry_find(&test.registry, "one"), test.segment);
	ck_assert_ptr_eq(test.segment->locks->list[0].definition, &test.segment->definition->locks[0]);
}
END_TEST

START_TEST(grown_and_scrubbed_it_is_new_and_large)
{
	struct attachment *attachment;
	int fd;

	test.definition->scrub = true;
	if (!declare())
		return;
	/* The last one leaves before it has grown: that is finished first. */
	attachment = attach(&fd);
	write_marks();
	ck_assert_int_eq(grow(LARGE), 0);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	while (test.segment->state == PROTOCOL_READY)
		turn();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_int_eq(*(const char *)test.segment->holding.map, 0);
	check_books(LARGE);
}
END_TEST

START_TEST(ends_with_its_last_attachment_while_it_grows)
{
	struct attachment *attachment;
	int fd;

	test.definition->lifetime = DEFINITION_ATTACHED;
	if (!declare())
		return;
	attachment = attach(&fd);
	ck_assert_int_eq(grow(LARGE), 0);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	while (!test.n_gone)
		turn();
	while (!LIST_EMPTY(&test.provisioner.orphans) || !LIST_EMPTY(&test.provisioner.releases.list))
		turn();
	ck_assert_uint_eq(limits_locked_bytes(), 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
}
END_TEST

START_TEST(progress_is_told_by_hundredths_and_ten_times_a_second_at_most)
{
	static const struct {
		uint64_t done_bytes;
		unsigned ms;		/* since it was last told */
		bool is_told;
	} rows[] = {
		{ 1000, 50, false }, { 1000, 100, true }, { 1999, 10000, false }, { 2000, 10000, true }, { 50000, 50, false },
		{ 60000, 150, true }, { 99999, 200, true }, { 100000, 10000, false },
	};
	struct provision provision = { .total_bytes = 100000 };
	unsigned n = 0;

	test.definition->mlock = false;
	ck_assert(declare());
	await_growth();
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		test.n_told = 0;
		provision.done_bytes = rows[i].done_bytes;
		/* Half a millisecond to spare, on either side. */
		provision.told_ns = clock_monotonic_ns() - rows[i].ms * NS_PER_MS + (rows[i].is_told ? 0 : NS_PER_MS / 2);
		segment_tell_progress(test.segment, &provision);
		while (!TAILQ_EMPTY(&test.events.due))
			turn();
		n += test.n_told;
		ck_assert_msg(test.n_told == rows[i].is_told, "row %zu", i);
		if (!rows[i].is_told)
			continue;
		ck_assert_int_eq(test.told[0].kind, PROTOCOL_EVENT_PROGRESS);
		ck_assert_uint_eq(test.told[0].value, rows[i].done_bytes);
		ck_assert_uint_eq(test.told[0].total, 100000);
		ck_assert_uint_eq(provision.told_bytes, rows[i].done_bytes);
	}
	ck_assert_uint_eq(n, 4);
}
END_TEST

static void
limit_locked_memory(uint64_t bytes)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct rlimit limit = { bytes, bytes };

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
}

START_TEST(limit_of_locked_memory_keeps_it_from_growing)
{
	limit_locked_memory(5 * MIB);
	ck_assert(declare());
	ck_assert_int_eq(grow(LARGE), -EPERM);
	ck_assert_ptr_nonnull(strstr(test.segment->growth_reason, "MEMLOCK"));
	check_books(SIZE_PAGES);
	ck_assert_int_eq(grow(4 * MIB), 0);
	await_growth();
	check_books(4 * MIB);
}
END_TEST

START_TEST(limit_of_locked_memory_is_told_and_its_books_are_right)
{
	const struct holding *holding;
	struct attachment *attachment;
	int fd;

	test.definition->placement = DEFINITION_PREFER;
	test.definition->scrub = true;
	limit_locked_memory(5 * MIB);
	ck_assert(declare());
	holding = &test.segment->holding;
	attachment = attach(&fd);
	ck_assert_int_eq(grow(LARGE), 0);
	await_growth();
	ck_assert_uint_eq(test.segment->definition->size_bytes, LARGE);
	ck_assert_ptr_nonnull(strstr(test.segment->reason, "MEMLOCK"));
	ck_assert_uint_eq(segment_resident_bytes(test.segment), LARGE);
	ck_assert_uint_eq(limits_locked_bytes(), holding->locked_bytes);
	ck_assert_uint_eq(holding->locked_bytes, SIZE_PAGES + 4096);
	/* One that is not locked to its end is grown without being locked. */
	ck_assert_int_eq(grow(LARGE + MIB), 0);
	await_growth();
	ck_assert_uint_eq(holding->locked_bytes, SIZE_PAGES + 4096);
	/* Its control memory is made anew, and what was locked of the old one was counted as that. */
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_int_eq(test.segment->state, PROTOCOL_PROVISIONING);
	while (test.segment->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(test.provisioner.locked_bytes, holding->locked_bytes);
	ck_assert_uint_eq(limits_locked_bytes(), holding->locked_bytes);
}
END_TEST

static Suite *
grow_suite(void)
{
	Suite *suite = suite_create("grow");
	TCase *tcase = tcase_create("grow");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, grown_it_has_more_and_lost_nothing);
	tcase_add_test(tcase, grown_in_small_steps_its_books_are_right);
	tcase_add_test(tcase, grown_it_is_of_huge_pages_as_asked);
	tcase_add_test(tcase, without_prefault_there_is_nothing_to_wait_for);
	tcase_add_test(tcase, in_its_last_page_there_is_nothing_to_make);
	tcase_add_test(tcase, what_is_no_growth_is_refused);
	tcase_add_test(tcase, what_cannot_be_had_fails_at_once_and_says_why);
	tcase_add_test(tcase, killed_worker_leaves_the_old_size_and_no_page_more);
	tcase_add_test(tcase, cancelled_while_it_is_locked_it_gives_back_what_was_locked);
	tcase_add_test(tcase, removed_it_stays_as_it_is_for_who_has_it);
	tcase_add_loop_test(tcase, removed_now_its_workers_keep_what_they_need, 0, 2);
	tcase_add_test(tcase, daemon_ends_while_it_grows);
	tcase_add_test(tcase, larger_size_asked_for_meanwhile_comes_next);
	tcase_add_test(tcase, smaller_size_asked_for_meanwhile_counts);
	tcase_add_test(tcase, asked_for_while_it_is_provisioned_it_comes_then);
	tcase_add_test(tcase, redefined_meanwhile_it_keeps_both);
	tcase_add_test(tcase, grown_and_scrubbed_it_is_new_and_large);
	tcase_add_test(tcase, ends_with_its_last_attachment_while_it_grows);
	tcase_add_test(tcase, progress_is_told_by_hundredths_and_ten_times_a_second_at_most);
	tcase_add_test(tcase, limit_of_locked_memory_keeps_it_from_growing);
	tcase_add_test(tcase, limit_of_locked_memory_is_told_and_its_books_are_right);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	SRunner *runner;
	int n_failed;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	runner = srunner_create(grow_suite());
	srunner_run_all(runner, CK_ENV);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
