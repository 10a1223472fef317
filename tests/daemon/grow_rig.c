/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A registry with one segment, in this process, and real workers. */
#include "config.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "host/limits.h"
#include "tests/daemon/grow_rig.h"
#include "tests/suite_run.h"

struct grow_rig test;

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

void
grow_setup(void)
{
	static const struct conf_limits limits = { .clients = 9, .segments = 100, .attachments = 9, .bytes = MIB };

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

void
grow_teardown(void)
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

void
grow_turn(void)
{
	ck_assert_int_eq(event_base_loop(test.base, EVLOOP_ONCE), 0);
}

/* As it was defined; false: it cannot be locked here, and that was said. */
bool
grow_declare(void)
{
	ck_assert_int_eq(registry_declare(&test.registry, &test.conf), 0);
	test.segment = registry_find(&test.registry, "one");
	while (test.segment->state < PROTOCOL_READY)
		grow_turn();
	if (test.segment->state == PROTOCOL_FAILED && strstr(test.segment->reason, "lock")) {
		(void)printf("SKIP: %s\n", test.segment->reason);
		return false;
	}
	ck_assert_int_eq(test.segment->state, PROTOCOL_READY);
	return true;
}

int
grow_begin(uint64_t size_bytes)
{
	struct definition *next = definition_copy(test.segment->definition);
	int r;

	ck_assert_ptr_nonnull(next);
	next->size_bytes = size_bytes;
	r = segment_grow(test.segment, next);
	(void)definition_unref(next);
	return r;
}

void
grow_await(void)
{
	while (test.segment->growth)
		grow_turn();
	/* What was told is sent in a turn of its own. */
	while (!TAILQ_EMPTY(&test.events.due))
		grow_turn();
}

/* The last event of the kind, or NULL. */
const struct protocol_event *
grow_told(enum protocol_event_kind kind)
{
	for (unsigned i = test.n_told; i > 0; i--)
		if (test.told[i - 1].kind == kind)
			return &test.told[i - 1];
	return NULL;
}

/* The books of a segment that is so large, with control memory or without: ours, and the kernel's. */
void
grow_check_books(uint64_t data_bytes)
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
void
grow_write_marks(void)
{
	int fd = test.segment->holding.object.fd;

	ck_assert_int_eq(pwrite(fd, "first", 5, 0), 5);
	ck_assert_int_eq(pwrite(fd, "last", 4, SIZE - 4), 4);
}

void
grow_check_marks(void)
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
size_t
grow_stop_workers(pid_t *pids, size_t n_wanted)
{
	size_t n = children(pids, 4);

	ck_assert_uint_eq(n, 2);
	for (size_t i = 0; i < n_wanted; i++)
		ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
	return n_wanted;
}

void
grow_signal_workers(const pid_t *pids, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(kill(pids[i], sig), 0);
}

struct attachment *
grow_attach(int *ret_fd)
{
	struct attachment *attachment;

	ck_assert_int_eq(attachment_new(test.segment, &test.identity, 1, 1, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	    &test.accounts, &test.session, &attachment, ret_fd), 0);
	segment_on_more(test.segment);
	return attachment;
}

void
grow_limit_locked(uint64_t bytes)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct rlimit limit = { bytes, bytes };

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	ck_assert_int_eq(syscall(SYS_capset, &header, none), 0);
}

int
grow_main(int argc, char **argv, Suite *(*suite)(void))
{

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	return suite_run(suite());
}
