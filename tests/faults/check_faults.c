/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every allocation, or every system call, of the daemon, of its worker and of segmentd-audit fails once, in all that clients and
 * administrators do. $FAULTS_ALL has each of them; without it the full check, and still more so the quick one, has as many as there is
 * time for, others each time by the clock, and says how many.
 */
#include "config.h"

#include "tests/faults/calls.h"
#include "tests/faults/scene.h"

#define QUICK_S		1		/* of each target */
#define FULL_S		8
#define QUICK_ROWS	8		/* which are others the next time */

/* An operation with one kind of errors: how many could fail in it, and how many did. */
struct row {
	const struct faults_operation *operation;
	unsigned variant;
	uint64_t n_points, n_failed, next;
};

#define ROWS_MAX	(64 * CALLS_VARIANTS)

static struct row rows[ROWS_MAX];
static size_t n_rows;
static struct faults_scene scene;

static void
add_row(const struct faults_operation *operation, unsigned variant)
{
	struct row *row = &rows[n_rows++];

	harness_assert(n_rows <= ROWS_MAX, "more than %d rows", ROWS_MAX);
	*row = (struct row) { .operation = operation, .variant = variant };
	scene.variant = variant;
	(void)scene_fail_at(&scene, operation, FAULTS_NEVER);
	row->n_points = injector_n_seen(&scene.injector);
}

static void
fail_next(struct row *row, uint64_t shift)
{
	uint64_t at = injector_spread(row->next++, row->n_points, shift);

	scene.variant = row->variant;
	row->n_failed += scene_fail_at(&scene, row->operation, at);
}

/* Each row in turn, until all have had all of theirs, or the time is over. */
static void
fail_all(uint64_t until_ns, uint64_t shift)
{
	bool is_left = true;

	while (is_left) {
		is_left = false;
		for (size_t i = 0; i < n_rows; i++) {
			struct row *row = &rows[(i + shift) % n_rows];

			if (!injector_is_all() && clock_monotonic_ns() > until_ns)
				return;
			if (row->next < row->n_points)
				fail_next(row, shift);
			is_left = is_left || row->next < row->n_points;
		}
	}
}

static void
tell(const char *whose)
{
	uint64_t n_points = 0, n_failed = 0;

	for (size_t i = 0; i < n_rows; i++) {
		struct row *row = &rows[i];

		n_points += row->n_points;
		n_failed += row->n_failed;
		if (injector_is_all())
			printf("%s, %s, errors %u: %ju points, %ju failed\n", whose, row->operation->name, row->variant,
			    (uintmax_t)row->n_points, (uintmax_t)row->n_failed);
	}
	printf("%s: %ju of %ju points failed: of these operations %u were done, %u refused, %u hung up on; %u segments had failed\n", whose,
	    (uintmax_t)n_failed, (uintmax_t)n_points, scene.n_done, scene.n_refused, scene.n_hung_up, scene.n_failed_segments);
	if (!injector_is_all() && n_failed < n_points)
		printf("LEFT OUT: the others; FAULTS_ALL=1 has all of them\n");
	(void)fflush(stdout);
}

static bool
has_part(enum faults_target target, const struct faults_operation *operation)
{
	bool has_audit = operation->asks_audit || operation->asks_audit_alone;

	return injector_is_wanted(operation->name) && (target == FAULTS_AUDIT ? has_audit : !operation->asks_audit_alone) &&
	    (!operation->is_slow || harness_is_full() || injector_is_all());
}

/* Of all that have a part; in the quick check only so many of them. */
static void
add_rows(size_t first, size_t n, uint64_t shift)
{
	unsigned n_variants = FAULTS_KIND == FAULTS_CALLS ? CALLS_VARIANTS : 1;
	size_t n_all = 0, one_of, at = 0;

	for (size_t i = first; i < first + n; i++)
		n_all += has_part(scene.target, &faults_operations[i]) ? n_variants : 0;
	one_of = injector_is_all() || harness_is_full() ? 1 : (n_all + QUICK_ROWS - 1) / QUICK_ROWS;
	for (size_t i = first; i < first + n; i++) {
		for (unsigned variant = 0; has_part(scene.target, &faults_operations[i]) && variant < n_variants; variant++)
			if ((at++ + shift) % one_of == 0)
				add_row(&faults_operations[i], variant);
	}
}

/* Of one operation, or of all. */
static void
run(enum faults_target target, size_t first, size_t n)
{
	uint64_t seconds = harness_is_full() ? FULL_S : QUICK_S, shift = clock_realtime_ns() / NS_PER_MS;

	n_rows = 0;
	if (n == 1 && !has_part(target, &faults_operations[first]))
		return;
	scene_begin(&scene, FAULTS_KIND, target);
	add_rows(first, n, shift);
	fail_all(clock_monotonic_ns() + seconds * harness_scale() * NS_PER_SEC, shift);
	scene_end(&scene);
	tell(scene_target_name(target));
}

/* All of an operation's have a daemon of their own. */
START_TEST(one_fails_in_the_daemon)
{
	run(FAULTS_DAEMON, (size_t)_i, injector_is_all() ? 1 : faults_n_operations);
}
END_TEST

START_TEST(one_fails_in_its_worker)
{
	run(FAULTS_WORKER, (size_t)_i, injector_is_all() ? 1 : faults_n_operations);
}
END_TEST

/* It looks at all processes of the host: at these alone, so that they are the same each time. */
static size_t first_operation;

static void
run_audit(void)
{
	run(FAULTS_AUDIT, first_operation, injector_is_all() ? 1 : faults_n_operations);
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
	int n = injector_is_all() ? (int)faults_n_operations : 1;

	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails_in_the_daemon, 0, n);
	tcase_add_loop_test(tcase, one_fails_in_its_worker, 0, n);
	tcase_add_loop_test(tcase, one_fails_in_the_audit_program, 0, n);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
