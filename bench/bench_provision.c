/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * P1 to P4: how fast memory gets resident. Timed of the daemon, for P1 to P3: from sending CREATE, for a segment of a
 * template, until its WAIT is answered with "ready"; that is judging, creating, sealing, populating in its workers,
 * locking, and asking the kernel whether it is true. For P4: from fork to READY=1. The bare methods are timed from
 * memfd_create until the last page is there. Before each, memory is primed (populate.h).
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/populate.h"
#include "bench/settings.h"
#include "bench/wire.h"

#define PROVISION_SEGMENTS	64	/* of P4 */
#define PROVISION_GONE_NS	(60 * NS_PER_SEC)
#define PROVISION_SLACK		(32 * MIB)

struct provision {
	struct bench *bench;
	uint64_t size_bytes;
	struct daemon daemon;
	int fd;
	uint64_t serial;
	unsigned n_created;
};

/* One bare method, as a side. */
struct raw {
	struct provision *provision;
	const struct populate_method *method;
};

static double
gib_per_second(uint64_t size_bytes, double seconds)
{
	return (double)size_bytes / (double)GIB / seconds;
}

static void
raw_run(void *arg, struct bench_round *round)
{
	struct raw *raw = arg;
	struct provision *provision = raw->provision;

	if (raw->method != &populate_hugetlb)	/* its pool is ours already */
		populate_prime(provision->bench, provision->size_bytes, populate_primes_huge(raw->method));
	round->figure = gib_per_second(provision->size_bytes,
	    populate_time(provision->bench, raw->method, provision->size_bytes));
}

/* Returns when no more shared memory is in use than before_bytes: nobody tells us when the last page is given back. */
static void
provision_await_gone(uint64_t before_bytes)
{
	uint64_t until_ns = clock_monotonic_ns() + PROVISION_GONE_NS;
	struct timespec t = { .tv_nsec = (long)NS_PER_MS };

	while (settings_meminfo_bytes("Shmem:") > before_bytes + PROVISION_SLACK) {
		if (clock_monotonic_ns() > until_ns)
			bench_fail("the daemon did not give a removed segment's memory back within a minute");
		(void)nanosleep(&t, NULL);
	}
}

/* Whether there is memory for what is measured, and for what the one before may still be giving back. */
static bool
provision_has_memory(struct bench *bench, const struct bench_goal *goal)
{
	if (settings_meminfo_bytes("MemAvailable:") >= 2 * bench->provision_bytes + GIB)
		return true;
	bench_skip(bench, goal, "less memory is available than twice the size and 1 GiB; BENCH_SIZE=1024 takes less");
	return false;
}

union provision_reply {
	struct protocol_header header;
	struct protocol_waited waited;
	char bytes[PROTOCOL_MESSAGE_MAX];
};

static void
provision_create(struct provision *provision, const char *name)
{
	struct protocol_create create = {
		.header = { .size = sizeof(create), .type = PROTOCOL_CREATE },
		.size_bytes = provision->size_bytes,
	};
	static union provision_reply reply;
	int r;

	(void)strncpy(create.name, name, sizeof(create.name) - 1);
	r = wire_request(provision->fd, &create.header, ++provision->serial, &reply, sizeof(reply));
	if (r < 0 && r != -EAGAIN)
		bench_fail("the daemon does not create %s: %s (%s)", name, strerror(-r), reply.bytes + sizeof(reply.header));
}

static void
provision_await_ready(struct provision *provision, const char *name)
{
	struct protocol_wait wait = {
		.header = { .size = sizeof(wait), .type = PROTOCOL_WAIT },
		.progress_bytes = PROTOCOL_WAIT_STATE,
	};
	static union provision_reply reply;
	int r;

	(void)strncpy(wait.name, name, sizeof(wait.name) - 1);
	r = wire_request(provision->fd, &wait.header, ++provision->serial, &reply, sizeof(reply));
	if (r < 0)
		bench_fail("waiting for %s: %s (%s)", name, strerror(-r), reply.bytes + sizeof(reply.header));
	if (reply.waited.state != PROTOCOL_READY)
		bench_fail("%s was not provisioned: %s", name, reply.bytes + sizeof(reply.waited));
}

static void
provision_remove(struct provision *provision, const char *name)
{
	struct protocol_remove remove_ = {
		.header = { .size = sizeof(remove_), .type = PROTOCOL_REMOVE },
		.flags = PROTOCOL_REMOVE_NOW,
	};
	static union provision_reply reply;
	int r;

	(void)strncpy(remove_.name, name, sizeof(remove_.name) - 1);
	r = wire_request(provision->fd, &remove_.header, ++provision->serial, &reply, sizeof(reply));
	if (r < 0)
		bench_fail("the daemon does not remove %s: %s (%s)", name, strerror(-r), reply.bytes + sizeof(reply.header));
}

static void
daemon_run(void *arg, struct bench_round *round)
{
	struct provision *provision = arg;
	uint64_t before_bytes = settings_meminfo_bytes("Shmem:");
	uint64_t start_ns;
	char name[32];

	(void)snprintf(name, sizeof(name), "made-%u", provision->n_created++);
	populate_prime(provision->bench, provision->size_bytes, true);
	start_ns = clock_monotonic_ns();
	provision_create(provision, name);
	provision_await_ready(provision, name);
	round->figure = gib_per_second(provision->size_bytes, (double)(clock_monotonic_ns() - start_ns) / 1e9);
	provision_remove(provision, name);
	provision_await_gone(before_bytes);
}

static void
provision_measure(struct bench *bench, const struct bench_goal *goal, const struct populate_method *const *methods,
    unsigned n_methods)
{
	struct provision provision = { .bench = bench, .size_bytes = bench->provision_bytes, .serial = 1 };
	struct daemon_config config = { .templates = "\n  { name = \"made-\"; max_size = \"64GiB\"; max_count = 16; "
	    "prefault = true; mlock = true; lifetime = \"persistent\"; }" };
	struct bench_side sides[BENCH_SIDES_MAX];
	struct raw raws[BENCH_SIDES_MAX];
	unsigned i, n = 0;

	if (!provision_has_memory(bench, goal))
		return;
	for (i = 0; i < n_methods; i++) {
		if (!populate_possible(methods[i], provision.size_bytes))
			continue;
		raws[n] = (struct raw){ &provision, methods[i] };
		sides[n] = (struct bench_side){ populate_name(methods[i]), raw_run, &raws[n] };
		n++;
	}
	if (n == 0) {
		bench_skip(bench, goal, "this host gives none of the baseline's kinds of page");
		return;
	}
	sides[n++] = (struct bench_side){ "segmentd, create to ready", daemon_run, &provision };
	daemon_init(&provision.daemon, &config);
	daemon_start(bench, &provision.daemon);
	provision.fd = wire_connect(provision.daemon.socket);
	wire_hello(provision.fd);
	wire_welcome(provision.fd);
	bench_measure(bench, goal, sides, n);
	(void)close(provision.fd);
	daemon_stop(bench, &provision.daemon);
	daemon_deinit(&provision.daemon);
}

/* Says so where the host cannot be set as a goal wants it: what was measured is then what is. */
static void
provision_set(const char *path, const char *value)
{
	if (!settings_change(path, value))
		bench_note("%s cannot be set to %s here", path, value);
}

void
provision_best(struct bench *bench, const struct bench_goal *goal)
{
	static const struct populate_method *const methods[] = {
		&populate_advised, &populate_collapsed, &populate_hugetlb
	};
	char pages[32];

	if (bench->host_settings) {
		(void)snprintf(pages, sizeof(pages), "%" PRIu64, bench->provision_bytes / (2 * MIB));
		provision_set(SETTINGS_SHMEM, "advise");
		provision_set(SETTINGS_POOL, pages);
	}
	provision_measure(bench, goal, methods, BASE_ARRAY_SIZE(methods));
	settings_restore();
}

void
provision_base_pages(struct bench *bench, const struct bench_goal *goal)
{
	static const struct populate_method *const methods[] = { &populate_base };

	if (bench->host_settings) {
		provision_set(SETTINGS_SHMEM, "never");
		provision_set(SETTINGS_POOL, "0");
	}
	if (!settings_chosen(SETTINGS_SHMEM, "never") || settings_number(SETTINGS_POOL) > 0)
		bench_skip(bench, goal, "asked for where shmem_enabled is never and there is no hugetlb pool; "
		    "BENCH_HOST_SETTINGS=1 sets that for a while");
	else
		provision_measure(bench, goal, methods, BASE_ARRAY_SIZE(methods));
	settings_restore();
}

void
provision_touch(struct bench *bench, const struct bench_goal *goal)
{
	static const struct populate_method *const methods[] = { &populate_touch };

	if (bench->host_settings)
		provision_set(SETTINGS_SHMEM, "advise");
	provision_measure(bench, goal, methods, BASE_ARRAY_SIZE(methods));
	settings_restore();
}

/* P4: a boot, with one large segment or with many small ones. */

struct boot {
	struct bench *bench;
	struct daemon daemon;
};

static void
boot_run(void *arg, struct bench_round *round)
{
	struct boot *boot = arg;
	uint64_t before_bytes = settings_meminfo_bytes("Shmem:");

	populate_prime(boot->bench, boot->bench->provision_bytes, true);
	daemon_start(boot->bench, &boot->daemon);
	round->figure = gib_per_second(boot->bench->provision_bytes, (double)boot->daemon.boot_ns / 1e9);
	daemon_stop(boot->bench, &boot->daemon);
	provision_await_gone(before_bytes);
}

static void
boot_init(struct boot *boot, struct bench *bench, unsigned n_segments)
{
	char text[16384];
	struct daemon_config config = { .segments = text };
	size_t at = 0;
	unsigned i;

	text[0] = '\0';
	for (i = 0; i < n_segments; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		    ",\n  { name = \"boot-%u\"; size = \"%" PRIu64 "KiB\"; prefault = true; mlock = true; required = true; }",
		    i, bench->provision_bytes / n_segments / KIB);
	boot->bench = bench;
	daemon_init(&boot->daemon, &config);
}

void
provision_boot(struct bench *bench, const struct bench_goal *goal)
{
	struct boot one, many;
	const struct bench_side sides[] = {
		{ "segmentd, boot with one segment", boot_run, &one },
		{ "segmentd, boot with 64 of a 64th each", boot_run, &many },
	};

	if (!provision_has_memory(bench, goal))
		return;
	if (bench->host_settings)
		provision_set(SETTINGS_SHMEM, "advise");
	boot_init(&one, bench, 1);
	boot_init(&many, bench, PROVISION_SEGMENTS);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	daemon_deinit(&one.daemon);
	daemon_deinit(&many.daemon);
	settings_restore();
}
