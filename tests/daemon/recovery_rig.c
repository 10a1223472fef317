/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One segment with a lock of each kind. */
#include "config.h"

#include <sys/mman.h>

#include "tests/daemon/recovery_rig.h"
#include "tests/suite_run.h"

struct recovery_rig test;


static void
on_change(struct segment *segment, void *arg)
{
}

static void
on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg)
{
	test.n_outcomes[outcome]++;
	test.n_by_waiters += dead->is_by_waiter;
	test.last_pid = dead->pid;
}

static struct definition *
define(void)
{
	static const char *const names[N_LOCKS] = { "roll", "keep", "zero", "poison", "large", "bigzero", "mutex",
		"mutex-zero", "mutex-bigzero" };
	static const struct definition_lock locks[N_LOCKS] = {
		[ROLL] = { .offset_bytes = 0, .length_bytes = PAGE, .undo_bytes = 1024 },
		[KEEP] = { .offset_bytes = PAGE, .length_bytes = PAGE, .undo_bytes = 1024,
		    .on_death = DEFINITION_KEEP },
		[ZERO] = { .offset_bytes = 2 * PAGE, .length_bytes = PAGE + 5, .undo_bytes = 0,
		    .on_death = DEFINITION_ZERO },
		[POISON] = { .offset_bytes = 4 * PAGE, .length_bytes = PAGE, .undo_bytes = 1024,
		    .on_death = DEFINITION_POISON },
		[LARGE] = { .offset_bytes = 5 * PAGE, .length_bytes = 6 * MIB, .undo_bytes = MIB },
		[BIGZERO] = { .offset_bytes = 8 * MIB, .length_bytes = 8 * MIB, .undo_bytes = 0,
		    .on_death = DEFINITION_ZERO },
		[MUTEX] = { .is_mutex = true, .at_bytes = 16 * MIB, .init = true, .on_death = DEFINITION_KEEP },
		[MUTEX_ZERO] = { .is_mutex = true, .at_bytes = 16 * MIB + 64, .init = true, .on_death = DEFINITION_ZERO,
		    .offset_bytes = 16 * MIB + PAGE, .length_bytes = PAGE },
		[MUTEX_BIGZERO] = { .is_mutex = true, .at_bytes = 16 * MIB + 128, .init = true,
		    .on_death = DEFINITION_ZERO, .offset_bytes = 18 * MIB, .length_bytes = 6 * MIB },
	};
	struct definition *definition = definition_new();

	ck_assert_ptr_nonnull(definition);
	definition->name = strdup("s");
	definition->size_bytes = definition->max_size_bytes = SIZE;
	definition->prefault = true;
	definition->mode = 0600;
	definition->locks = calloc(N_LOCKS, sizeof(*definition->locks));
	definition->n_locks = N_LOCKS;
	for (size_t i = 0; i < N_LOCKS; i++) {
		definition->locks[i] = locks[i];
		definition->locks[i].name = strdup(names[i]);
	}
	return definition;
}

void
turn(void)
{
	ck_assert_int_eq(event_base_loop(test.base, EVLOOP_ONCE), 0);
}

void
setup(void)
{
	static const struct conf_limits limits = { .clients = 9, .segments = 100, .attachments = 100, .bytes = MIB };

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
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "s");
	while (test.segment->state != PROTOCOL_READY)
		turn();
}

void
teardown(void)
{
	workers_deinit(&test.workers);
	releases_close(&test.provisioner.releases);
	registry_deinit(&test.registry);
	recovery_deinit(&test.recovery);
	kernelcount_deinit(&test.kernelcount);
	provisioner_deinit(&test.provisioner);
	accounts_deinit(&test.accounts);
	(void)definition_unref(test.definition);
	event_base_free(test.base);
	libevent_global_shutdown();
	memset(&test, 0, sizeof(test));
}

struct client
attach(void)
{
	struct client client;

	ck_assert_int_eq(attachment_new(test.segment, &test.identity, 1, 1, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	    &test.accounts, &test.session, &client.attachment, &client.fd), 0);
	segment_on_more(test.segment);
	return client;
}

struct lock *
lock_of(unsigned index)
{
	return &test.segment->locks->list[index];
}

uint32_t
word_of(unsigned index)
{
	return control_word(atomic_load(&lock_of(index)->place.lock->state));
}

unsigned char *
bytes_of(unsigned index)
{
	const struct control_place *place = &lock_of(index)->place;

	return place->data + place->offset_bytes;
}

/* A section that is cut short: 0xaa was there, 0xbb is written behind a log entry. */
void
die_within(unsigned index, uint32_t id, uint64_t length)
{
	const struct control_place *place = &lock_of(index)->place;

	memset(bytes_of(index), 0xaa, place->length_bytes);
	ck_assert(control_try(place->lock, id, 0));
	if (place->log_bytes)
		ck_assert_int_eq(control_log(place, place->offset_bytes, length), 0);
	memset(bytes_of(index), 0xbb, length);
}

bool
all_are(const unsigned char *bytes, unsigned char value, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

void
expect_free(unsigned index, unsigned char value, uint64_t length)
{
	const struct control_lock *record = lock_of(index)->place.lock;

	/* Where the loop had no time left for it, a worker is at it. */
	while (test.segment->locks->n_busy)
		turn();
	ck_assert_uint_eq(word_of(index), 0);
	ck_assert_uint_eq(atomic_load(&record->used_bytes), 0);
	ck_assert_uint_eq(atomic_load(&record->sequence) % 2, 0);
	ck_assert_uint_eq(atomic_load(&record->marks), CONTROL_OWNER_DIED);
	ck_assert(all_are(bytes_of(index), value, length));
}
pthread_mutex_t *
mutex_of(unsigned index)
{
	return (pthread_mutex_t *)(void *)((unsigned char *)test.segment->holding.map + lock_of(index)->definition->at_bytes);
}

int
rig_main(char **argv, const char *name, void (*add_tests)(TCase *tcase))
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);

	if (streq(argv[0], JOB_ARGV0))
		return worker_main();
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	add_tests(tcase);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
