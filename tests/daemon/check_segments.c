/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments in a process of the test's own: the registry with real workers (this executable under their name), and with
 * the kernel's own word on who holds what. At each test's end every promise, charge and lock has been given back.
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
#include "tests/suite_run.h"

#define SIZE	(3 * MIB)

static struct {
	struct event_base *base;
	struct workers workers;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct accounts accounts;
	struct recovery recovery;
	struct registry registry;
	struct conf conf;
	struct definition *definitions[2];
	struct definition *templates[1];
	struct identity identity;
	struct attachment_list session;
	unsigned n_gone;
} test;

static void
on_change(struct segment *segment, void *arg)
{
	if (segment->state == PROTOCOL_GONE)
		test.n_gone++;
}

/* No segment here has locks. */
static void
on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg)
{
	ck_abort_msg("a lock was recovered where there is none");
}

static struct definition *
define(const char *name, uint64_t size_bytes)
{
	struct definition *definition = definition_new();

	ck_assert_ptr_nonnull(definition);
	definition->name = strdup(name);
	definition->size_bytes = definition->max_size_bytes = size_bytes;
	definition->prefault = true;
	definition->mode = 0600;
	return definition;
}

static void
setup(void)
{
	static const struct conf_limits limits = { .clients = 9, .segments = 100, .attachments = 2, .bytes = 4 * MIB };
	struct definition *template_ = define("t-%U-", 3 * MIB);

	template_->is_template = true;
	template_->max_count = 2;
	template_->size_bytes = 0;
	template_->lifetime = DEFINITION_ATTACHED;
	test.templates[0] = template_;
	test.definitions[0] = define("one", SIZE);
	test.conf = (struct conf) {
		.segments = test.definitions, .n_segments = 1, .templates = test.templates, .n_templates = 1,
	};
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
}

/* In the order of the daemon's own end. */
static void
teardown(void)
{
	workers_deinit(&test.workers);
	releases_close(&test.provisioner.releases);
	registry_deinit(&test.registry);
	recovery_deinit(&test.recovery);
	ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
	kernelcount_deinit(&test.kernelcount);
	provisioner_deinit(&test.provisioner);
	accounts_deinit(&test.accounts);	/* asserts that nothing is charged */
	(void)definition_unref(test.templates[0]);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(test.definitions); i++)
		(void)definition_unref(test.definitions[i]);
	event_base_free(test.base);
	libevent_global_shutdown();
	/* Or what was lost would still be pointed to from here. */
	memset(&test, 0, sizeof(test));
}

static void
turn(void)
{
	ck_assert_int_eq(event_base_loop(test.base, EVLOOP_ONCE), 0);
}

static struct segment *
declare_only(void)
{
	struct segment *segment;

	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	segment = registry_find(&test.registry, "one");
	while (segment->state == PROTOCOL_DECLARED)
		turn();
	return segment;
}

static struct segment *
declare(void)
{
	struct segment *segment = declare_only();

	while (segment->state == PROTOCOL_PROVISIONING)
		turn();
	return segment;
}

static struct attachment *
attach(struct segment *segment, int *ret_fd)
{
	struct attachment *attachment;

	ck_assert_int_eq(attachment_new(segment, &test.identity, 1, 1, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	    &test.accounts, &test.session, &attachment, ret_fd), 0);
	ck_assert(attachment->is_marked);
	segment_on_more(segment);
	return attachment;
}

static int
create(const char *rest, uint64_t size_bytes, struct segment **ret_segment)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "t-%u-%s", test.identity.uid, rest);
	return registry_create(&test.registry, name, size_bytes, &test.identity, 1, 1, ret_segment);
}

/* The pids of our workers. */
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

START_TEST(ready_means_resident_and_locked)
{
	struct segment *segment;

	test.definitions[0]->mlock = true;
	segment = declare();
	if (segment->state == PROTOCOL_FAILED && strstr(segment->reason, "lock")) {
		(void)printf("skipped: %s\n", segment->reason);
		return;
	}
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(segment_resident_bytes(segment), SIZE);
	ck_assert_uint_eq(test.provisioner.locked_bytes, SIZE);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert_uint_eq(test.provisioner.budget.promised_lock_bytes, 0);
	segment_remove(segment, true);
	ck_assert_uint_eq(test.provisioner.locked_bytes, 0);
}
END_TEST

START_TEST(what_cannot_fit_fails_at_once_and_others_are_served)
{
	struct segment *huge;

	test.definitions[1] = define("huge", 10 * TIB);
	test.conf.n_segments = 2;
	ck_assert_int_eq(declare()->state, PROTOCOL_READY);
	huge = registry_find(&test.registry, "huge");
	ck_assert_int_eq(huge->state, PROTOCOL_FAILED);
	ck_assert_ptr_nonnull(strstr(huge->reason, "10 TiB"));
	ck_assert_int_eq(huge->holding.object.fd, -1);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
}
END_TEST

START_TEST(promises_count_together)
{
	struct budget *budget = &test.provisioner.budget;
	char text[FINDINGS_TEXT_SIZE];
	uint64_t most;

	/* Two of three quarters do not fit, also where others give some memory back meanwhile, or take some. */
	ck_assert_int_eq(budget_promise(budget, 4096, 0, text, sizeof(text)), 0);
	most = budget->left_bytes / 4 * 3;
	ck_assert_int_eq(budget_promise(budget, most, 0, text, sizeof(text)), 0);
	ck_assert_int_eq(budget_promise(budget, most, 0, text, sizeof(text)), BUDGET_E_MEMORY);
	ck_assert_uint_eq(budget->promised_bytes, most + 4096);
	budget_kept(budget, most + 4096);
	ck_assert_uint_eq(budget->promised_bytes, 0);
	budget_kept(budget, 1);
	ck_assert_uint_eq(budget->promised_bytes, 0);
}
END_TEST

static void
limit_locked_memory(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct rlimit limit = { 64 * KIB, 64 * KIB };

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
}

START_TEST(limit_of_locked_memory_fails_who_requires_it)
{
	struct segment *segment;

	test.definitions[0]->mlock = true;
	limit_locked_memory();
	segment = declare();
	ck_assert_int_eq(segment->state, PROTOCOL_FAILED);
	ck_assert_ptr_nonnull(strstr(segment->reason, "MEMLOCK"));
}
END_TEST

START_TEST(limit_of_locked_memory_is_told_to_who_prefers_it)
{
	struct segment *segment;

	test.definitions[0]->mlock = true;
	test.definitions[0]->placement = DEFINITION_PREFER;
	limit_locked_memory();
	segment = declare();
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	ck_assert_ptr_nonnull(strstr(segment->reason, "MEMLOCK"));
	ck_assert_uint_eq(segment->holding.locked_bytes, 0);
	ck_assert_uint_eq(segment_resident_bytes(segment), SIZE);
}
END_TEST

/* Declared last, and larger. Whoever is not waited for starts meanwhile, and gets nothing done. */
START_TEST(what_is_required_is_made_first)
{
	const struct segment *required, *other;

	test.definitions[1] = define("required", 200 * MIB);
	test.definitions[1]->page_size = DEFINITION_PAGE_BASE;
	test.definitions[1]->required = true;
	test.conf.n_segments = 2;
	workers_set_max(&test.workers, 1);
	other = declare_only();
	required = registry_find(&test.registry, "required");
	while (required->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(required->state, PROTOCOL_READY);
	ck_assert_int_eq(other->state, PROTOCOL_PROVISIONING);
	ck_assert_uint_eq(other->provision->done_bytes, 0);
	while (other->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(other->state, PROTOCOL_READY);
}
END_TEST

/* An idle one: what it is given is not done before it goes on. */
static pid_t
stop_idle_worker(void)
{
	pid_t worker;

	ck_assert_uint_eq(children(&worker, 1), 1);
	ck_assert_int_eq(kill(worker, SIGSTOP), 0);
	return worker;
}

/* Each is one piece, and the first one's worker stands still. */
START_TEST(what_is_small_is_made_side_by_side)
{
	struct segment *one, *two;
	pid_t worker;

	ck_assert_int_eq(declare()->state, PROTOCOL_READY);
	worker = stop_idle_worker();
	ck_assert_int_eq(create("a", MIB, &one), 0);
	ck_assert_int_eq(create("b", MIB, &two), 0);
	while (two->state == PROTOCOL_DECLARED || two->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(two->state, PROTOCOL_READY);
	ck_assert_int_eq(one->state, PROTOCOL_PROVISIONING);
	ck_assert_ptr_nonnull(one->provision->pieces[0].job.worker);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	while (one->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(one->state, PROTOCOL_READY);
}
END_TEST

START_TEST(killed_worker_fails_its_segment_alone)
{
	struct segment *other = declare(), *segment;
	pid_t worker;

	ck_assert_int_eq(other->state, PROTOCOL_READY);
	worker = stop_idle_worker();
	ck_assert_int_eq(create("a", SIZE, &segment), 0);
	while (!segment->provision->pieces[0].job.worker)
		turn();
	ck_assert_int_eq(kill(worker, SIGKILL), 0);
	while (segment->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(segment->state, PROTOCOL_FAILED);
	ck_assert_ptr_nonnull(segment->reason);
	ck_assert_uint_eq(test.workers.n_deaths, 1);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert_int_eq(other->state, PROTOCOL_READY);
	segment_remove(segment, true);
	ck_assert_int_eq(create("b", SIZE, &other), 0);
	while (other->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(other->state, PROTOCOL_READY);
}
END_TEST

START_TEST(removed_before_a_worker_came_it_is_gone_at_once)
{
	struct segment *segment = declare_only();

	segment_remove(segment, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert_uint_eq(test.provisioner.budget.promised_bytes, 0);
	ck_assert(LIST_EMPTY(&test.provisioner.orphans));
	ck_assert_int_eq(create("a", SIZE, &segment), 0);
}
END_TEST

START_TEST(daemon_ends_while_a_stopped_worker_has_what_was_removed)
{
	pid_t pids[4];
	struct segment *segment = declare_only();

	while (children(pids, BASE_ARRAY_SIZE(pids)) == 0)
		turn();
	ck_assert_int_eq(kill(pids[0], SIGSTOP), 0);
	segment_remove(segment, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert(!LIST_EMPTY(&test.provisioner.orphans));
	/* What it holds is given back by teardown, as LeakSanitizer sees. */
}
END_TEST

START_TEST(attached_ends_with_its_last_mapping)
{
	struct segment *segment;
	struct attachment *attachment;
	void *map;
	int fd;

	test.definitions[0]->lifetime = DEFINITION_ATTACHED;
	test.definitions[0]->linger_ms = 20;
	segment = declare();
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	attachment = attach(segment, &fd);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_uint_eq(segment->n_unsupervised, 1);
	ck_assert_uint_eq(segment_n_attached(segment), 1);
	(void)munmap(map, SIZE);
	while (!test.n_gone)
		turn();
	ck_assert_ptr_null(registry_find(&test.registry, "one"));
	ck_assert_ptr_null(test.accounts.by_uid);
}
END_TEST

START_TEST(session_without_time_to_ask_is_asked_for_later)
{
	struct segment *segment = declare();
	int fd;
	struct attachment *attachment = attach(segment, &fd);

	(void)close(fd);
	attachment_give_up(attachment, 0);
	ck_assert_uint_eq(segment->n_unsupervised, 1);
	while (segment_n_attached(segment))
		turn();
	ck_assert_uint_eq(segment->n_unsupervised, 0);
}
END_TEST

START_TEST(scrub_gives_new_pages)
{
	static const char secret[] = "secret";
	char seen[sizeof(secret)] = "?";
	struct segment *segment;
	struct attachment *attachment;
	int fd;

	test.definitions[0]->scrub = true;
	segment = declare();
	attachment = attach(segment, &fd);
	ck_assert_int_eq(pwrite(fd, secret, sizeof(secret), 0), sizeof(secret));
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_int_eq(segment->state, PROTOCOL_PROVISIONING);
	while (segment->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	ck_assert_int_eq(pread(segment->holding.object.fd, seen, sizeof(seen), 0), sizeof(seen));
	ck_assert_int_eq(seen[0], 0);
	ck_assert_uint_eq(segment_resident_bytes(segment), SIZE);
}
END_TEST

START_TEST(draining_waits_for_its_holder_and_for_one_nobody_knows)
{
	struct segment *segment = declare();
	char path[32];
	int fd, foreign;
	struct attachment *attachment = attach(segment, &fd);

	segment_remove(segment, false);
	ck_assert_int_eq(segment->state, PROTOCOL_DRAINING);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	foreign = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(foreign, 0);
	(void)close(fd);
	attachment_give_up(attachment, UINT64_MAX);
	ck_assert_uint_eq(segment_n_attached(segment), 0);
	ck_assert_uint_eq(test.n_gone, 0);
	(void)close(foreign);
	while (!test.n_gone)
		turn();
}
END_TEST

START_TEST(one_never_attached_drains_when_a_stranger_lets_go)
{
	struct segment *segment = declare();
	char path[32];
	int foreign;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", segment->holding.object.fd);
	foreign = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(foreign, 0);
	segment_remove(segment, false);
	ck_assert_uint_eq(test.n_gone, 0);
	(void)close(foreign);
	while (!test.n_gone)
		turn();
}
END_TEST

START_TEST(removed_now_its_memory_stays_with_who_maps_it)
{
	struct segment *segment = declare();
	char *map;
	int fd;

	(void)attach(segment, &fd);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	(void)close(fd);
	map[SIZE - 1] = 7;
	segment_remove(segment, true);
	ck_assert_uint_eq(test.n_gone, 1);
	ck_assert(LIST_EMPTY(&test.session));
	while (!LIST_EMPTY(&test.provisioner.releases.list))
		turn();
	ck_assert_int_eq(map[SIZE - 1], 7);
	(void)munmap(map, SIZE);
}
END_TEST

START_TEST(template_says_what_may_be_created)
{
	struct segment *segment;

	(void)declare();
	ck_assert_int_eq(create("a", 0, &segment), REGISTRY_E_SIZE);
	ck_assert_int_eq(create("a", 3 * MIB + 1, &segment), REGISTRY_E_SIZE);
	ck_assert_int_eq(create("a", 3 * MIB, &segment), 0);
	ck_assert_int_eq(create("a", 1, &segment), REGISTRY_E_EXISTS);
	ck_assert_int_eq(create("b", 2 * MIB, &segment), REGISTRY_E_LIMIT);
	ck_assert_int_eq(create("b", MIB, &segment), 0);
	ck_assert_int_eq(create("c", 1, &segment), REGISTRY_E_COUNT);
	ck_assert_int_eq(registry_create(&test.registry, "t-4294967294-x", 1, &test.identity, 1, 1, &segment),
	    REGISTRY_E_NO_TEMPLATE);
	ck_assert_uint_eq(segment->definition->owner, test.identity.uid);
	segment_remove(segment, true);
	ck_assert_int_eq(create("c", MIB, &segment), 0);
}
END_TEST

START_TEST(cursors_outlive_what_they_point_at)
{
	struct segment *one, *a, *b;
	uint64_t cursor;

	one = declare();
	ck_assert_int_eq(create("a", 4096, &a), 0);
	ck_assert_int_eq(create("b", 4096, &b), 0);
	ck_assert_ptr_eq(registry_after(&test.registry, 0), one);
	ck_assert_ptr_eq(registry_after(&test.registry, one->cursor), a);
	cursor = a->cursor;
	segment_remove(a, true);
	ck_assert_ptr_eq(registry_after(&test.registry, cursor), b);
	ck_assert_ptr_null(registry_after(&test.registry, b->cursor));
}
END_TEST

#define MANY	500

/* By every name and from every cursor there can be, against a walk over all. */
static void
look_up_all(uint64_t last_cursor)
{
	struct segment *segment = TAILQ_FIRST(&test.registry.in_order);

	for (uint64_t cursor = 0; cursor <= last_cursor + 1; cursor++) {
		while (segment && segment->cursor <= cursor)
			segment = TAILQ_NEXT(segment, entry);
		ck_assert_ptr_eq(registry_after(&test.registry, cursor), segment);
	}
	TAILQ_FOREACH(segment, &test.registry.in_order, entry)
		ck_assert_ptr_eq(registry_find(&test.registry, segment->definition->name), segment);
}

START_TEST(many_are_found_by_name_and_by_cursor)
{
	struct definition *like = declare()->definition;
	struct segment *segment;
	char name[32];

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			struct definition *definition = definition_copy(like);

			(void)snprintf(name, sizeof(name), "m%u-%u", round, i);
			free(definition->name);
			definition->name = strdup(name);
			ck_assert_int_eq(registry_declare_one(&test.registry, definition), 0);
			(void)definition_unref(definition);
		}
		/* All of a stretch, every second one, the first and the last. */
		for (unsigned i = 0; i < MANY; i++) {
			if ((i < 100 || i > 200) && i % 2 && i < MANY - round)
				continue;
			(void)snprintf(name, sizeof(name), "m%u-%u", round, i);
			segment = registry_find(&test.registry, name);
			ck_assert_ptr_nonnull(segment);
			segment_remove(segment, true);
			ck_assert_ptr_null(registry_find(&test.registry, name));
		}
		look_up_all(test.registry.last_cursor);
	}
	while ((segment = registry_after(&test.registry, 1)))
		segment_remove(segment, true);
	look_up_all(test.registry.last_cursor);
}
END_TEST

START_TEST(redefined_it_is_the_same_segment)
{
	struct segment *segment = declare();
	struct definition *other = definition_copy(segment->definition);

	ck_assert_ptr_nonnull(other);
	other->mode = 0640;
	segment_redefine(segment, other);
	(void)definition_unref(other);
	/* Nobody else has the first one: whatever pointed into it would now point into freed memory. */
	test.definitions[0] = definition_unref(test.definitions[0]);
	ck_assert_ptr_eq(registry_find(&test.registry, "one"), segment);
	ck_assert_uint_eq(segment->definition->mode, 0640);
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	segment_remove(segment, true);
	ck_assert_ptr_null(registry_find(&test.registry, "one"));
}
END_TEST

START_TEST(redefined_while_it_is_provisioned)
{
	struct segment *segment = declare_only();
	struct definition *other = definition_copy(segment->definition);

	ck_assert_int_eq(segment->state, PROTOCOL_PROVISIONING);
	segment_redefine(segment, other);
	(void)definition_unref(other);
	test.definitions[0] = definition_unref(test.definitions[0]);
	while (segment->state == PROTOCOL_PROVISIONING)
		turn();
	ck_assert_int_eq(segment->state, PROTOCOL_READY);
	ck_assert_uint_eq(segment_resident_bytes(segment), SIZE);
}
END_TEST

static Suite *
segments_suite(void)
{
	Suite *suite = suite_create("segments");
	TCase *tcase = tcase_create("life");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, ready_means_resident_and_locked);
	tcase_add_test(tcase, what_cannot_fit_fails_at_once_and_others_are_served);
	tcase_add_test(tcase, promises_count_together);
	tcase_add_test(tcase, limit_of_locked_memory_fails_who_requires_it);
	tcase_add_test(tcase, limit_of_locked_memory_is_told_to_who_prefers_it);
	tcase_add_test(tcase, what_is_required_is_made_first);
	tcase_add_test(tcase, what_is_small_is_made_side_by_side);
	tcase_add_test(tcase, killed_worker_fails_its_segment_alone);
	tcase_add_test(tcase, removed_before_a_worker_came_it_is_gone_at_once);
	tcase_add_test(tcase, daemon_ends_while_a_stopped_worker_has_what_was_removed);
	tcase_add_test(tcase, attached_ends_with_its_last_mapping);
	tcase_add_test(tcase, session_without_time_to_ask_is_asked_for_later);
	tcase_add_test(tcase, scrub_gives_new_pages);
	tcase_add_test(tcase, draining_waits_for_its_holder_and_for_one_nobody_knows);
	tcase_add_test(tcase, one_never_attached_drains_when_a_stranger_lets_go);
	tcase_add_test(tcase, removed_now_its_memory_stays_with_who_maps_it);
	tcase_add_test(tcase, template_says_what_may_be_created);
	tcase_add_test(tcase, cursors_outlive_what_they_point_at);
	tcase_add_test(tcase, many_are_found_by_name_and_by_cursor);
	tcase_add_test(tcase, redefined_it_is_the_same_segment);
	tcase_add_test(tcase, redefined_while_it_is_provisioned);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	return suite_run(segments_suite());
}
