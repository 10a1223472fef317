/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every allocation, or every system call, of the daemon, of its worker and of segmentd-audit fails once, in all that clients and
 * administrators do: see points.h.
 */
#include "config.h"

#include "tests/faults/points.h"
#include "tests/faults/scene.h"

#define FULL_S		8		/* of each part that has many */
#define QUICK_ROWS	8		/* which are others the next time */
#define FULL_ROWS	144		/* likewise: each is counted once, and that is to be through in the test's time */

static struct points points;
static struct faults_scene scene;

static bool
fail_at(const struct points_row *row, uint64_t at)
{
	scene.variant = row->variant;
	return scene_fail_at(&scene, row->operation, at);
}

/* Whose calls fail, and where. */
struct part {
	const char *name;
	enum faults_target target;
	bool serves_audit;		/* see scene.h; else the daemon starts its own, which may see little */
	enum hosts_host host;
	unsigned full_s;		/* how long in the full check, to which those with less than FULL_S are left */
};

static const struct part parts[] = {
	{ "the daemon", FAULTS_DAEMON, .full_s = FULL_S },
	{ "its worker", FAULTS_WORKER, .full_s = FULL_S },
	{ "segmentd-audit", FAULTS_AUDIT, true, .full_s = FULL_S },
	{ "the daemon that connects to segmentd-audit", FAULTS_DAEMON, true, .full_s = 2 },
	{ "the daemon on an older kernel", FAULTS_DAEMON, .host = HOSTS_OLDER, .full_s = 2 },
	{ "its worker on an older kernel", FAULTS_WORKER, .host = HOSTS_OLDER, .full_s = 2 },
	{ "the daemon on lesser file systems", FAULTS_DAEMON, .host = HOSTS_POOR, .full_s = 2 },
	{ "its worker on lesser file systems", FAULTS_WORKER, .host = HOSTS_POOR, .full_s = 2 },
	{ "the daemon without peers' processes", FAULTS_DAEMON, .host = HOSTS_NO_PROCESS, .full_s = 1 },
	{ "the daemon in a crowd", FAULTS_DAEMON, .host = HOSTS_CROWDED, .full_s = 1 },
};

static bool
has_part(const struct part *part, const struct faults_operation *operation)
{
	bool has_time = !operation->is_long && (!operation->is_slow || injector_has_time());
	bool has_it = part->serves_audit ? operation->asks_audit : !operation->asks_audit_alone;

	if (part->serves_audit && operation->looks_at_all && geteuid() != 0)
		return false;
	has_it = has_it || (part->target == FAULTS_AUDIT && operation->asks_audit_alone);
	return injector_is_wanted_part(part->name) && injector_is_wanted(operation->name) && has_it && part->host == operation->host &&
	    (has_time || injector_is_all());
}

static size_t
rows_max(void)
{
	if (injector_is_all())
		return POINTS_ROWS_MAX;
	return harness_is_full() ? FULL_ROWS : QUICK_ROWS;
}

/* Of all that have a part; but for who wants all points only so many of them. */
static void
add_rows(const struct part *part, size_t first, size_t n)
{
	unsigned n_variants = points_variants(FAULTS_KIND);
	size_t n_all = 0, n_max = rows_max(), one_of, at = 0;

	for (size_t i = first; i < first + n; i++)
		n_all += has_part(part, &faults_operations[i]) ? n_variants : 0;
	one_of = max_u64((n_all + n_max - 1) / n_max, 1);
	for (size_t i = first; i < first + n; i++) {
		for (unsigned variant = 0; has_part(part, &faults_operations[i]) && variant < n_variants; variant++)
			if ((at++ + points.shift) % one_of == 0)
				points_add(&points, faults_operations[i].name, &faults_operations[i], variant);
	}
}

/* Of this operation and those behind it; or, where each has a daemon of its own, of this one. */
static void
run(const struct part *part, size_t first)
{
	size_t n = injector_is_all() ? 1 : faults_n_operations, i = first;

	while (i < first + n && !has_part(part, &faults_operations[i]))
		i++;
	if (i == first + n)
		return;
	scene.target = part->target;
	scene.host = part->host;
	scene_begin(&scene, FAULTS_KIND, part->serves_audit);
	points_init(&points, &scene.injector, fail_at);
	points.part = part->name;
	add_rows(part, first, n);
	points_fail(&points, part->full_s);
	scene_end(&scene);
	points_tell(&points, part->name, "of these operations %u were done, %u refused, %u hung up on; %u segments had failed",
	    scene.n_done, scene.n_refused, scene.n_hung_up, scene.n_failed_segments);
}

static size_t first_operation;
static const struct part *part_;

static void
run_apart(void)
{
	run(part_, first_operation);
}

START_TEST(one_fails)
{
	part_ = &parts[(size_t)_i % BASE_ARRAY_SIZE(parts)];
	first_operation = (size_t)_i / BASE_ARRAY_SIZE(parts);
	if (part_->full_s < FULL_S && !injector_has_time())
		return;
	/* It looks at all processes of the host: at these alone, so that they are the same each time. */
	if (part_->serves_audit)
		world_on_own_host(run_apart);
	else
		run_apart();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("faults");
	TCase *tcase = tcase_create("faults");
	size_t n = injector_is_all() ? faults_n_operations : 1;

	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails, 0, (int)(n * BASE_ARRAY_SIZE(parts)));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
