/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report.h"

struct unit {
	const char *name;
	bool higher_is_better;
	double scale;			/* from the figure to what is printed */
	int decimals;
	const char *sample;		/* of a sample's thousandth */
};

static const struct unit units[BENCH_UNIT_N] = {
	[BENCH_US] = { "us", false, 1, 2, "us" },
	[BENCH_MS] = { "ms", false, 1, 2, "us" },
	[BENCH_NS] = { "ns", false, 1, 2, "ns" },
	[BENCH_CPU_US] = { "us CPU", false, 1, 2, "us" },
	[BENCH_PER_SECOND] = { "k/s", true, 1e-3, 1, "us" },
	[BENCH_GIB_PER_SECOND] = { "GiB/s", true, 1, 2, "us" },
};

static const char *const outcomes[BENCH_OUTCOME_N] = {
	[BENCH_MISSED] = "MISSED",
	[BENCH_MUST] = "met",
	[BENCH_STRETCH] = "met, stretch too",
	[BENCH_NOISY] = "noisy",
	[BENCH_SKIPPED] = "skipped",
	[BENCH_TOLD] = "no goal",
};

/* What is said of one side. */
struct summary {
	double min, median, max;	/* of the rounds' figures */
	double p50, p90, p99;		/* of the pool, in thousandths of its samples' unit; 0 where there is none */
};

const char *
report_outcome_name(enum bench_outcome outcome)
{
	return outcomes[outcome];
}

static int
compare_double(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct summary
report_summary(struct series *series)
{
	struct summary summary = { 0 };

	if (series->n > 0) {
		qsort(series->figures, series->n, sizeof(series->figures[0]), compare_double);
		summary.min = series->figures[0];
		summary.median = (series->figures[(series->n - 1) / 2] + series->figures[series->n / 2]) / 2;
		summary.max = series->figures[series->n - 1];
	}
	summary.p50 = (double)samples_percentile(&series->pool, 0.50) / 1000.0;
	summary.p90 = (double)samples_percentile(&series->pool, 0.90) / 1000.0;
	summary.p99 = (double)samples_percentile(&series->pool, 0.99) / 1000.0;
	return summary;
}

static bool
report_holds(const struct unit *unit, double ratio, double limit)
{
	return unit->higher_is_better ? ratio >= limit : ratio <= limit;
}

/* The best of the baselines: of all sides but the last and those that only stand beside. */
static unsigned
report_best(const struct unit *unit, const struct comparison *comparison, const struct summary *summaries)
{
	unsigned n = comparison->n_sides - 1, best = n, i;

	for (i = 0; i < n; i++) {
		if (comparison->series[i].is_beside)
			continue;
		if (best == n || (unit->higher_is_better ? summaries[i].median > summaries[best].median :
		    summaries[i].median < summaries[best].median))
			best = i;
	}
	return best;
}

static enum bench_outcome
report_judge(const struct bench_goal *goal, const struct comparison *comparison, const struct bench_result *result,
    const struct summary *judged)
{
	const struct unit *unit = &units[goal->unit];

	if (comparison->series[0].n < comparison->n_wanted)
		return BENCH_NOISY;
	if (goal->must <= 0)
		return BENCH_TOLD;
	if (!report_holds(unit, result->ratio, goal->must) ||
	    (goal->must_p90 > 0 && result->ratio_p90 > goal->must_p90) ||
	    (goal->must_p99 > 0 && result->ratio_p99 > goal->must_p99) ||
	    (goal->most_p99_us > 0 && judged->p99 > goal->most_p99_us))
		return BENCH_MISSED;
	return report_holds(unit, result->ratio, goal->stretch) ? BENCH_STRETCH : BENCH_MUST;
}

static void
report_head(const struct bench *bench, const struct bench_goal *goal)
{
	(void)printf("\n%-7s %s (run %u)\n", goal->id, goal->title, bench->run);
}

static void
report_side(const struct unit *unit, const char *name, const struct summary *summary)
{
	(void)printf("      %-44s rounds %.*f / %.*f / %.*f %s", name, unit->decimals, summary->min * unit->scale,
	    unit->decimals, summary->median * unit->scale, unit->decimals, summary->max * unit->scale, unit->name);
	if (summary->p99 > 0)
		(void)printf("   p50 %.2f  p90 %.2f  p99 %.2f %s", summary->p50, summary->p90, summary->p99, unit->sample);
	(void)putchar('\n');
}

static void
report_verdict(const struct bench_goal *goal, const struct comparison *comparison, const struct bench_result *result,
    const char *best)
{
	const char *sign = units[goal->unit].higher_is_better ? ">=" : "<=";

	if (comparison->series[0].n == 0) {
		(void)printf("      %s: no quiet round in %u, other load up to %.1f %%\n", outcomes[result->outcome],
		    comparison->n_disturbed, comparison->other_max * 100);
		(void)fflush(stdout);
		return;
	}
	if (goal->is_difference)
		(void)printf("      %.2f %s beyond %s", result->ratio, units[goal->unit].name, best);
	else
		(void)printf("      ratio %.3f to %s", result->ratio, best);
	if (goal->must > 0)
		(void)printf("; must %s %.2f, stretch %s %.2f", sign, goal->must, sign, goal->stretch);
	if (goal->must_p90 > 0)
		(void)printf("; p90 ratio %.3f, must <= %.2f", result->ratio_p90, goal->must_p90);
	if (result->ratio_p99 > 0)
		(void)printf("; p99 ratio %.3f", result->ratio_p99);
	if (goal->must_p99 > 0)
		(void)printf(", must <= %.2f", goal->must_p99);
	if (goal->most_p99_us > 0)
		(void)printf(" and %.0f us", goal->most_p99_us);
	(void)printf(": %s", outcomes[result->outcome]);
	(void)printf(" [%u rounds, %u thrown away, other load up to %.1f %%]\n", comparison->series[0].n,
	    comparison->n_disturbed, comparison->other_max * 100);
	(void)fflush(stdout);
}

/* What stands beside is judged by nobody, but says whose share of the distance is whose. */
static void
report_beside(const struct comparison *comparison, const struct summary *summaries)
{
	unsigned i, last = comparison->n_sides - 1;

	for (i = 0; i < last && comparison->series[0].n > 0; i++)
		if (comparison->series[i].is_beside && summaries[i].median > 0)
			(void)printf("      ratio %.3f to %s\n", summaries[last].median / summaries[i].median,
			    comparison->series[i].name);
}

static void
report_json_side(FILE *f, const struct unit *unit, const char *name, const struct summary *summary)
{
	(void)fprintf(f, "{\"name\": \"%s\", \"min\": %.6g, \"median\": %.6g, \"max\": %.6g, "
	    "\"p50_%s\": %.6g, \"p90_%s\": %.6g, \"p99_%s\": %.6g}", name, summary->min, summary->median, summary->max,
	    unit->sample, summary->p50, unit->sample, summary->p90, unit->sample, summary->p99);
}

static void
report_json(const struct bench *bench, const struct comparison *comparison, const struct summary *summaries,
    unsigned best)
{
	const struct bench_goal *goal = comparison->goal;
	unsigned i;
	FILE *f = bench->json;

	if (!f)
		return;
	(void)fprintf(f, "{\"goal\": \"%s\", \"run\": %u, \"unit\": \"%s\", \"rounds\": %u, \"disturbed\": %u, \"baselines\": [",
	    goal->id, bench->run, goal->unit == BENCH_PER_SECOND ? "1/s" : units[goal->unit].name,
	    comparison->series[0].n, comparison->n_disturbed);
	for (i = 0; i + 1 < comparison->n_sides; i++) {
		if (i > 0)
			(void)fputs(", ", f);
		report_json_side(f, &units[goal->unit], comparison->series[i].name, &summaries[i]);
	}
	(void)fprintf(f, "], \"best\": %u, \"daemon\": ", best);
	report_json_side(f, &units[goal->unit], comparison->series[i].name, &summaries[i]);
	(void)fprintf(f, ", \"%s\": %.4f, \"ratio_p90\": %.4f, \"ratio_p99\": %.4f, \"must\": %g, \"stretch\": %g, "
	    "\"must_p90\": %g, \"must_p99\": %g, \"most_p99_us\": %g, \"outcome\": \"%s\"}\n",
	    goal->is_difference ? "difference" : "ratio", bench->result.ratio,
	    bench->result.ratio_p90, bench->result.ratio_p99, goal->must, goal->stretch, goal->must_p90, goal->must_p99,
	    goal->most_p99_us, outcomes[bench->result.outcome]);
	(void)fflush(f);
}

void
report_comparison(struct bench *bench, struct comparison *comparison)
{
	const struct bench_goal *goal = comparison->goal;
	const struct unit *unit = &units[goal->unit];
	struct summary summaries[BENCH_SIDES_MAX];
	unsigned i, last = comparison->n_sides - 1, best;

	for (i = 0; i < comparison->n_sides; i++)
		summaries[i] = report_summary(&comparison->series[i]);
	best = report_best(unit, comparison, summaries);
	bench->result = (struct bench_result){ .ratio = -1 };
	if (summaries[best].median > 0)
		bench->result.ratio = goal->is_difference ? summaries[last].median - summaries[best].median :
		    summaries[last].median / summaries[best].median;
	if (summaries[best].p99 > 0) {
		bench->result.ratio_p90 = summaries[last].p90 / summaries[best].p90;
		bench->result.ratio_p99 = summaries[last].p99 / summaries[best].p99;
	}
	bench->result.outcome = report_judge(goal, comparison, &bench->result, &summaries[last]);
	report_head(bench, goal);
	for (i = 0; i < comparison->n_sides && comparison->series[i].n > 0; i++)
		report_side(unit, comparison->series[i].name, &summaries[i]);
	report_beside(comparison, summaries);
	report_verdict(goal, comparison, &bench->result, comparison->series[best].name);
	report_json(bench, comparison, summaries, best);
}

void
report_figure(struct bench *bench, const struct bench_goal *goal, const char *what, double figure, double must,
    double stretch)
{
	bench->result.ratio = figure;
	bench->result.outcome = figure > must ? BENCH_MISSED : figure > stretch ? BENCH_MUST : BENCH_STRETCH;
	report_head(bench, goal);
	(void)printf("      %s %.3g; must <= %g, stretch <= %g: %s\n", what, figure, must, stretch,
	    outcomes[bench->result.outcome]);
	(void)fflush(stdout);
	if (bench->json) {
		(void)fprintf(bench->json, "{\"goal\": \"%s\", \"run\": %u, \"what\": \"%s\", \"figure\": %.6g, \"must\": %g, "
		    "\"stretch\": %g, \"outcome\": \"%s\"}\n", goal->id, bench->run, what, figure, must, stretch,
		    outcomes[bench->result.outcome]);
		(void)fflush(bench->json);
	}
}

void
report_skipped(const struct bench *bench, const struct bench_goal *goal, const char *why)
{
	report_head(bench, goal);
	(void)printf("      skipped: %s\n", why);
	(void)fflush(stdout);
	if (bench->json)
		(void)fprintf(bench->json, "{\"goal\": \"%s\", \"run\": %u, \"outcome\": \"skipped\", \"why\": \"%s\"}\n",
		    goal->id, bench->run, why);
}
