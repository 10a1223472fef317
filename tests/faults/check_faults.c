/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every allocation, or every system call, of the daemon, of its worker and of segmentd-audit fails once, in all that clients and
 * administrators do: see points.h.
 */
#include "config.h"

#include "tests/faults/points.h"
#include "tests/faults/scene.h"

#define FULL_S		8		/* of each target */
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

static bool
has_part(enum faults_target target, const struct faults_operation *operation)
{
	bool has_audit = operation->asks_audit || operation->asks_audit_alone;
	bool has_time = !operation->is_long && (!operation->is_slow || harness_is_full());

	if (operation->host != scene.host || (target == FAULTS_AUDIT && operation->looks_at_all && geteuid() != 0))
		return false;
	return injector_is_wanted(operation->name) && (target == FAULTS_AUDIT ? has_audit : !operation->asks_audit_alone) &&
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
add_rows(size_t first, size_t n)
{
	unsigned n_variants = points_variants(FAULTS_KIND);
	size_t n_all = 0, n_max = rows_max(), one_of, at = 0;

	for (size_t i = first; i < first + n; i++)
		n_all += has_part(scene.target, &faults_operations[i]) ? n_variants : 0;
	one_of = max_u64((n_all + n_max - 1) / n_max, 1);
	for (size_t i = first; i < first + n; i++) {
		for (unsigned variant = 0; has_part(scene.target, &faults_operations[i]) && variant < n_variants; variant++)
			if ((at++ + points.shift) % one_of == 0)
				points_add(&points, faults_operations[i].name, &faults_operations[i], variant);
	}
}

/* Of one operation; or of all that are done on that host. */
static void
run(enum faults_target target, size_t i)
{
	size_t first = injector_is_all() ? i : 0, n = injector_is_all() ? 1 : faults_n_operations;
	enum hosts_host host = injector_is_all() ? faults_operations[i].host : (enum hosts_host)i;

	scene.host = host;
	if (n == 1 && !has_part(target, &faults_operations[first]))
		return;
	scene_begin(&scene, FAULTS_KIND, target, host);
	points_init(&points, &scene.injector, fail_at);
	add_rows(first, n);
	points_fail(&points, FULL_S);
	scene_end(&scene);
	points_tell(&points, scene_target_name(target), "of these operations %u were done, %u refused, %u hung up on; %u segments had failed",
	    scene.n_done, scene.n_refused, scene.n_hung_up, scene.n_failed_segments);
}

/* All of an operation's have a daemon of their own. */
START_TEST(one_fails_in_the_daemon)
{
	run(FAULTS_DAEMON, (size_t)_i);
}
END_TEST

START_TEST(one_fails_in_its_worker)
{
	run(FAULTS_WORKER, (size_t)_i);
}
END_TEST

/* It looks at all processes of the host: at these alone, so that they are the same each time. */
static size_t first_operation;

static void
run_audit(void)
{
	run(FAULTS_AUDIT, first_operation);
}

START_TEST(one_fails_in_the_audit_program)
{
	first_operation = (size_t)_i;
	world_on_own_host(run_audit);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("faults");
	TCase *tcase = tcase_create("faults");
	/* Those of other hosts have daemons of their own, for which the quick check has no time. */
	int n = injector_is_all() ? (int)faults_n_operations : harness_is_full() ? HOSTS_N : 1;

	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails_in_the_daemon, 0, n);
	tcase_add_loop_test(tcase, one_fails_in_its_worker, 0, n);
	tcase_add_loop_test(tcase, one_fails_in_the_audit_program, 0, injector_is_all() ? n : 1);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
