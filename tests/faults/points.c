/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Rows of points, and the turns that they take: see points.h. */
#include "config.h"

#include <stdarg.h>

#include "tests/faults/calls.h"
#include "tests/faults/points.h"

#define QUICK_S		1

void
points_init(struct points *points, struct injector *injector, bool (*run)(const struct points_row *row, uint64_t at))
{
	*points = (struct points) { .injector = injector, .run = run, .shift = clock_realtime_ns() / NS_PER_MS };
}

unsigned
points_variants(enum faults_kind kind)
{
	return kind == FAULTS_CALLS ? CALLS_VARIANTS : 1;
}

/* Whatever comes of it, how to have that again is told with it. */
static bool
run(const struct points *points, const struct points_row *row, uint64_t at)
{
	const char *part = points->part;

	harness_note("%s%s%sFAULTS_ONLY='%s' FAULTS_AT=%u:%ju", part ? "FAULTS_PART='" : "", part ? part : "", part ? "' " : "", row->name,
	    row->variant, (uintmax_t)at);
	return points->run(row, at);
}

void
points_add(struct points *points, const char *name, const void *operation, unsigned variant)
{
	struct points_row *row = &points->rows[points->n_rows];
	unsigned wanted = variant;
	uint64_t at;

	if (injector_is_chosen(&wanted, &at) && wanted != variant)
		return;
	harness_assert(points->n_rows < POINTS_ROWS_MAX, "more than %d rows", POINTS_ROWS_MAX);
	*row = (struct points_row) { .name = name, .operation = operation, .variant = variant };
	(void)run(points, row, FAULTS_NEVER);
	row->n_points = injector_n_seen(points->injector);
	points->n_points += row->n_points;
	points->n_rows++;
}

void
points_add_variants(struct points *points, enum faults_kind kind, const char *name, const void *operation)
{
	for (unsigned variant = 0; variant < points_variants(kind); variant++)
		points_add(points, name, operation, variant);
}

/* All tests of a run have one parent. */
bool
points_has_turn(size_t i, size_t n)
{
	return injector_has_time() || (size_t)getppid() % n == i;
}

static void
fail_one(struct points *points, struct points_row *row, uint64_t at)
{
	bool has_failed = run(points, row, at);

	row->n_failed += has_failed;
	points->n_failed += has_failed;
}

static bool
fail_chosen(struct points *points)
{
	unsigned variant;
	uint64_t at;
	bool is_chosen = injector_is_chosen(&variant, &at);

	for (size_t i = 0; is_chosen && i < points->n_rows; i++)
		fail_one(points, &points->rows[i], at);
	return is_chosen;
}

void
points_fail(struct points *points, unsigned full_s)
{
	uint64_t until_ns = clock_monotonic_ns() + (harness_is_full() ? full_s : QUICK_S) * harness_scale() * NS_PER_SEC;
	bool is_left = !fail_chosen(points);

	while (is_left) {
		is_left = false;
		for (size_t i = 0; i < points->n_rows; i++) {
			struct points_row *row = &points->rows[(i + points->shift) % points->n_rows];

			if (!injector_is_all() && clock_monotonic_ns() > until_ns)
				return;
			if (row->next < row->n_points)
				fail_one(points, row, injector_spread(row->next++, row->n_points, points->shift));
			is_left = is_left || row->next < row->n_points;
		}
	}
}

void
points_tell(const struct points *points, const char *whose, const char *format, ...)
{
	bool is_left = !injector_is_all() && points->n_failed < points->n_points;
	va_list ap;

	for (size_t i = 0; injector_is_all() && i < points->n_rows; i++) {
		const struct points_row *row = &points->rows[i];

		if (!streq(whose, row->name))
			printf("%s, ", whose);
		printf("%s, errors %u: %ju points, %ju failed\n", row->name, row->variant, (uintmax_t)row->n_points,
		    (uintmax_t)row->n_failed);
	}
	printf("%s: %ju of %ju points failed%s: ", whose, (uintmax_t)points->n_failed, (uintmax_t)points->n_points,
	    is_left ? " (LEFT OUT: the others, which FAULTS_ALL=1 has)" : "");
	va_start(ap, format);
	(void)vprintf(format, ap);
	va_end(ap);
	printf("\n");
	(void)fflush(stdout);
	harness_note("%s", "");
}
