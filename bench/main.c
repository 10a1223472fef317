/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The bench's table of goals, its options, and what a run of it is. See bench/README. */
#include "config.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/families.h"
#include "bench/kinds.h"
#include "bench/profile.h"
#include "bench/report.h"

#define DEFAULT_ROUNDS	9
#define DEFAULT_RUNS	3
#define DEFAULT_GATE	0.06
#define W_GATE		0.25		/* what hostile connections leave in queues the kernel collects, and frees, in threads of its own */
#define INTERRUPT_SECONDS	10

static const struct bench_goal goals[] = {
	/* id, what, unit, must, stretch, must of p99, how; a must of 0: no goal */
	{ "P1", "a segment provisioned, against the best bare method", BENCH_GIB_PER_SECOND, 0.95, 1.0, 0, provision_best },
	{ "P2", "the same without huge pages by advice or pool, against base pages", BENCH_GIB_PER_SECOND, 2, 2.8, 0,
	    provision_base_pages },
	{ "P3", "the same, against a touch loop", BENCH_GIB_PER_SECOND, 5, 6.5, 0, provision_touch },
	{ "P4", "boot to ready with 64 segments, against one", BENCH_GIB_PER_SECOND, 0.90, 0.95, 0, provision_boot },
	{ "H1", "named request to descriptor, open connection", BENCH_US, 1.25, 1.05, 0, handout_open },
	{ "H2", "named request to mapped 1 MiB and back, by the library", BENCH_US, 1.30, 1.10, 0, handout_mapped },
	{ "H3", "cold: connect, request, descriptor, close", BENCH_US, 1.30, 1.10, 0, handout_cold },
	{ "H4", "a hand-out with both ends on one core", BENCH_US, 1.25, 1.10, 0, handout_same_core },
	{ "H4/cpu", "the server's own CPU time of a hand-out", BENCH_CPU_US, 1.25, 1.10, 0, handout_cpu },
	{ "H5/100", "requests a second, 100 open clients", BENCH_PER_SECOND, 0.70, 0.90, 1.5, load_open_100 },
	{ "H5/1000", "requests a second, 1000 open clients", BENCH_PER_SECOND, 0.70, 0.90, 1.5, load_open_1000 },
	{ "H6", "reconnect storm, 100 clients", BENCH_PER_SECOND, 0.80, 0.90, 0, load_storm },
	{ "H8", "the descriptors of 9,000 segments with a successor", BENCH_US, 2, 1.3, 0, box_handed_over },
	{ "K/10", "the daemon killed: an attach served, 10 segments", BENCH_MS, 100, 50, 0, survival_10, .is_difference = true },
	{ "K/10/new", "the same, on a connection that is new", BENCH_MS, 100, 50, 0, survival_10_new, .is_difference = true },
	{ "K/1000", "the same, 1,000 segments", BENCH_MS, 100, 50, 0, survival_1000, .is_difference = true },
	{ "K/1000/new", "the same, on a connection that is new", BENCH_MS, 100, 50, 0, survival_1000_new, .is_difference = true },
	{ "K/8000", "the same, 8,000 segments", BENCH_MS, 100, 50, 0, survival_8000, .is_difference = true },
	{ "K/8000/new", "the same, on a connection that is new", BENCH_MS, 100, 50, 0, survival_8000_new, .is_difference = true },
	{ "K/locked", "the same, 12 GiB locked, or what is to be had", BENCH_MS, 100, 50, 0, survival_locked, .is_difference = true },
	{ "K/locked/new", "the same, on a connection that is new", BENCH_MS, 100, 50, 0, survival_locked_new, .is_difference = true },
	{ "K/gap", "the longest answer of a connection through 20 restarts", BENCH_MS, 0, 0, 0, survival_gap, .is_difference = true },
	{ "D1", "a client killed: the observer is told, the table is right", BENCH_US, 1.30, 1.15, 0, death_told, .must_p90 = 1.5 },
	{ "D2", "the same with a large segment mapped, huge pages to base ones", BENCH_US, 0.05, 0.012, 0, death_large },
	{ "D3", "an owner killed: who is blocked has the lock, data consistent", BENCH_US, 1.10, 1.0, 1.3, handover_blocked,
	    .most_p99_us = 1500 },
	{ "D5", "500 owners killed at once: all reclaimed", BENCH_US, 1.25, 1.10, 0, mass_death },
	{ "R1", "robust lock and unlock, uncontended", BENCH_NS, 0.8, 0.55, 0, lock_uncontended },
	{ "U1/64", "a section that changes 64 bytes", BENCH_NS, 0, 0, 0, lock_section_64 },
	{ "U1/4096", "a section that changes 4 KiB", BENCH_NS, 0, 0, 0, lock_section_4096 },
	{ "U2", "sections of 64 bytes, two processes at one lock", BENCH_PER_SECOND, 0, 0, 0, lock_contended },
	{ "U3/1", "an owner gone: lock free, 1 KiB of log undone", BENCH_US, 0, 0, 0, restore_1 },
	{ "U3/16", "the same, 16 KiB", BENCH_US, 0, 0, 0, restore_16 },
	{ "U3/64", "the same, 64 KiB", BENCH_US, 0, 0, 0, restore_64 },
	{ "U3/1024", "the same, 1 MiB, by a worker", BENCH_US, 0, 0, 0, restore_1024 },
	{ "S1", "memory of the daemon for each of many segments", BENCH_US, 512, 256, 0, many_memory },
	{ "S2", "many segments created from a configuration, each", BENCH_US, 2, 1.5, 0, many_created },
	{ "S3", "who has a segment of 500 clients, against a scan of /proc", BENCH_US, 0.01, 0.01, 0, who_held },
	{ "S3/maps", "the same, each with 200 mappings more", BENCH_US, 0.01, 0.01, 0, who_held_maps },
	{ "S4", "a request's p99 with many segments and idle clients", BENCH_US, 1.10, 1.05, 1.10, many_answered },
	{ "S5", "the idle daemon", BENCH_US, 0, 0, 0, idle_wakeups },
	{ "S5/orphans", "the same with rules for orphans, and objects for them", BENCH_US, 0, 0, 0, idle_wakeups_rules },
	{ "A/who", "an audit among 500 processes, one has it, beside a bare scan", BENCH_US, 0, 0, 0, who_audited },
	{ "A/maps", "the same, each with 200 mappings more", BENCH_US, 0, 0, 0, who_audited_maps },
	{ "A/all", "an audit of what all of 500 processes have", BENCH_US, 0, 0, 0, who_audited_all },
	{ "O/judge", "100,000 objects that nobody holds judged, each", BENCH_US, 0, 0, 0, sweep_judged },
	{ "O/remove", "the same removed, each", BENCH_US, 0, 0, 0, sweep_removed },
	{ "O/ask", "a hand-out while a rule removes 100,000 objects", BENCH_US, 0, 0, 0, sweep_answered },
	{ "W", "an attach beside 4,096 hostile connections, all ways", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE },
	{ "W/flood", "the same, requests without end", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "floods" },
	{ "W/half", "the same, half messages", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "half messages" },
	{ "W/unread", "the same, never reading", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "never reading" },
	{ "W/attach", "the same, attaching and detaching", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "attach and detach" },
	{ "W/bring", "the same, descriptors sent along", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "descriptors sent along" },
	{ "W/connect", "the same, connecting and closing", BENCH_US, 5, 5, 5, hostile_beset, .gate = W_GATE, .arg = "connect and close" },
	{ "N/start", "start to ready for each of many segments, against 1,000", BENCH_US, 1.5, 1.1, 0, many_started },
	{ "N/attach", "attaching one of many segments, against one of 10", BENCH_US, 1.5, 1.1, 0, scale_attach_one },
	{ "N/detach", "the same, closing and detaching it", BENCH_US, 1.5, 1.1, 0, scale_detach_one },
	{ "N/cpu", "the daemon's own CPU time of attaching and detaching", BENCH_CPU_US, 1.5, 1.1, 0, scale_work },
	{ "N/death", "the same, a client killed: its observer told", BENCH_US, 1.5, 1.1, 0, scale_death_one },
	{ "N/show", "the same, showing it", BENCH_US, 1.5, 1.1, 0, scale_show_one },
	{ "N/list", "a page of the list of many, against one of 1,000", BENCH_US, 1.5, 1.1, 0, scale_list_page },
	{ "N/reload", "a reload with one change, each definition, against 1,000", BENCH_US, 1.5, 1.1, 0, scale_reload_whole },
	{ "N/change", "the daemon's own CPU time of that, each definition", BENCH_CPU_US, 1.5, 1.1, 0, scale_reload_change },
};

/* Of each kind of memory that was asked for: its id goes behind theirs, as in "P1/sysv/2MiB". */
static const struct bench_goal kind_goals[] = {
	{ "P1", "made and resident, against a bare program", BENCH_GIB_PER_SECOND, 0.95, 1.0, 0, kinds_provision },
	{ "P2", "the same, against base pages of a bare program", BENCH_GIB_PER_SECOND, 2.0, 2.8, 0, kinds_base_pages },
	{ "P3", "the same, against a touch loop of one thread", BENCH_GIB_PER_SECOND, 5.0, 6.5, 0, kinds_touch },
	{ "P4", "boot to ready with 64 segments, against one", BENCH_GIB_PER_SECOND, 0.90, 0.95, 0, kinds_boot },
	{ "P5", "attached, and written for the first time", BENCH_US, 1.05, 1.0, 0, kinds_write },
};

/* With kinds: beside another daemon that keeps shared memory. */
static const struct bench_goal roudi_goal =
	{ "P4/roudi", "boot to ready, against RouDi declaring the same bytes", BENCH_GIB_PER_SECOND, 4, 8, 0, kinds_roudi };

/* How often each outcome came of a goal's runs. */
struct tally {
	unsigned n_runs;
	unsigned n[BENCH_OUTCOME_N];
	double ratios[BENCH_RUNS_MAX];
};

/* What is measured: the table, or its like for each kind. */
struct agenda {
	struct bench_goal *goals;
	struct tally *tallies;
	unsigned n;
};

struct options {
	unsigned n_runs;
	const char *only;		/* goals' ids with commas, or NULL for all */
	const char *kinds;		/* kinds' names with commas, or "all"; NULL: none, but the table of goals */
	bool is_profile;		/* the table of an attachment's system calls, and no goals */
};

static void
usage(FILE *f)
{
	(void)fputs("usage: segmentd-bench --daemon FILE [--rounds N] [--runs N] [--only ID,ID...] [--gate PERCENT]\n"
	    "                      [--idle SECONDS] [--size MIB] [--json FILE] [--host-settings]\n"
	    "                      [--kinds all|KIND,KIND...]\n"
	    "       segmentd-bench --daemon FILE --profile\n", f);
}

static double
number(const char *option, const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= min && value <= max))
		bench_fail("--%s %s: a number from %g to %g is expected", option, text, min, max);
	return value;
}

/* Whether a goal was asked for: by its id, or by what stands before its slash. */
static bool
is_wanted(const char *only, const char *id)
{
	const char *at = only;
	size_t n;

	if (!only || !only[0])
		return true;
	while (*at) {
		n = strcspn(at, ",");
		if (strncmp(at, id, n) == 0 && n > 0 && (id[n] == '\0' || id[n] == '/'))
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}

static void
parse(struct bench *bench, struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "daemon", required_argument, NULL, 'd' }, { "rounds", required_argument, NULL, 'r' },
		{ "runs", required_argument, NULL, 'n' }, { "only", required_argument, NULL, 'o' },
		{ "gate", required_argument, NULL, 'g' }, { "idle", required_argument, NULL, 'i' },
		{ "size", required_argument, NULL, 's' }, { "json", required_argument, NULL, 'j' },
		{ "host-settings", no_argument, NULL, 'h' }, { "profile", no_argument, NULL, 'p' },
		{ "kinds", required_argument, NULL, 'k' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'd': bench->daemon = optarg; break;
		case 'r': bench->n_rounds = (unsigned)number("rounds", optarg, 1, REPORT_ROUNDS_MAX); break;
		case 'n': options->n_runs = (unsigned)number("runs", optarg, 1, BENCH_RUNS_MAX); break;
		case 'o': options->only = optarg; break;
		case 'g': bench->gate = number("gate", optarg, 0.1, 1000) / 100; break;
		case 'i': bench->idle_seconds = number("idle", optarg, 1, 3600); break;
		case 's': bench->provision_bytes = (uint64_t)number("size", optarg, 128, 1 << 20) / 128 * 128 * MIB; break;
		case 'h': bench->host_settings = true; break;
		case 'k': options->kinds = optarg; break;
		case 'p': options->is_profile = true; break;
		case 'j':
			bench->json = fopen(optarg, "we");
			if (!bench->json)
				bench_fail("%s cannot be written", optarg);
			break;
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (!bench->daemon || optind != argc) {
		usage(stderr);
		exit(2);
	}
}

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int signal_)
{
	interrupted = signal_;
	/* The library goes on waiting for a daemon whose connections are kept: nobody starts that one any more. */
	(void)alarm(INTERRUPT_SECONDS);
}

/* Without SA_RESTART: whatever waits returns, fails, and ends the program by exit(), which tidies up. */
static void
catch_interrupts(void)
{
	struct sigaction action = { .sa_handler = on_interrupt };

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* The program of the same build as the daemon is, for the daemon, too. */
static void
choose_audit(const struct bench *bench)
{
	const char *slash = strrchr(bench->daemon, '/');
	char *path;

	if (asprintf(&path, "%.*saudit/segmentd-audit", slash ? (int)(slash - bench->daemon) + 1 : 0, bench->daemon) < 0)
		bench_fail("out of memory");
	(void)setenv("SEGMENTD_AUDIT", path, 1);
	free(path);
}

/* A thousand clients need as many descriptors, here and in the baseline's server. */
static void
raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Two runs that agree decide; a third one would not change it. What has no goal is measured once. */
static bool
is_decided(const struct tally *tally)
{
	return tally->n[BENCH_MISSED] >= 2 || tally->n[BENCH_MUST] + tally->n[BENCH_STRETCH] >= 2 ||
	    tally->n[BENCH_SKIPPED] + tally->n[BENCH_TOLD] > 0;
}

static void
run_once(struct bench *bench, const struct options *options, const struct agenda *agenda)
{
	unsigned i;

	for (i = 0; i < agenda->n; i++) {
		const struct bench_goal *goal = &agenda->goals[i];
		struct tally *tally = &agenda->tallies[i];

		if (!is_wanted(options->only, goal->id) || is_decided(tally))
			continue;
		if (interrupted)
			bench_fail("interrupted");
		goal->run(bench, goal);
		tally->ratios[tally->n_runs++] = bench->result.ratio;
		tally->n[bench->result.outcome]++;
	}
}

static const char *
verdict(const struct tally *tally)
{
	unsigned met = tally->n[BENCH_MUST] + tally->n[BENCH_STRETCH];

	if (tally->n[BENCH_SKIPPED] > 0)
		return report_outcome_name(BENCH_SKIPPED);
	if (tally->n[BENCH_TOLD] > 0)
		return report_outcome_name(BENCH_TOLD);
	if (met * 2 > tally->n_runs)
		return report_outcome_name(tally->n[BENCH_STRETCH] * 2 > tally->n_runs ? BENCH_STRETCH : BENCH_MUST);
	if (tally->n[BENCH_MISSED] * 2 > tally->n_runs)
		return report_outcome_name(BENCH_MISSED);
	return "undecided: noisy";
}

static void
print_verdict(const struct bench_goal *goal, const struct tally *tally)
{
	unsigned k;

	(void)printf("%-20s %-66s ", goal->id, goal->title);
	if (goal->must <= 0 && tally->n[BENCH_TOLD] + tally->n[BENCH_NOISY] > 0)
		(void)printf("%5s %7s  %s:", "-", "-", verdict(tally));
	else
		(void)printf("%5.2f %7.2f  %s:", goal->must, goal->stretch, verdict(tally));
	for (k = 0; k < tally->n_runs; k++)
		(void)printf(tally->ratios[k] >= 0 ? " %.3f" : " -", tally->ratios[k]);
	(void)putchar('\n');
}

static void
print_summary(const struct options *options, const struct agenda *agenda)
{
	unsigned i;

	(void)printf("\n%-20s %-66s %5s %7s  %s\n", "goal", "", "must", "stretch", "verdict, ratio or difference of each run");
	for (i = 0; i < agenda->n; i++) {
		if (is_wanted(options->only, agenda->goals[i].id))
			print_verdict(&agenda->goals[i], &agenda->tallies[i]);
	}
}

static void
agenda_add(struct agenda *agenda, const struct bench_goal *goal, const struct kind *kind)
{
	struct bench_goal *added = &agenda->goals[agenda->n++];
	char *id;

	*added = *goal;
	if (!kind)
		return;
	if (asprintf(&id, "%s/%s", goal->id, kind->name) < 0)
		bench_fail("out of memory");
	added->id = id;			/* as long as the program */
	added->arg = kind;
}

static void
agenda_init(struct agenda *agenda, const struct options *options)
{
	unsigned n_max = (unsigned)BASE_ARRAY_SIZE(goals) + kinds_n * (unsigned)BASE_ARRAY_SIZE(kind_goals) + 1, i, k;

	*agenda = (struct agenda){ calloc(n_max, sizeof(*agenda->goals)), calloc(n_max, sizeof(*agenda->tallies)), 0 };
	if (!agenda->goals || !agenda->tallies)
		bench_fail("out of memory");
	for (i = 0; !options->kinds && i < BASE_ARRAY_SIZE(goals); i++)
		agenda_add(agenda, &goals[i], NULL);
	for (k = 0; options->kinds && k < kinds_n; k++) {
		if (!streq(options->kinds, "all") && !is_wanted(options->kinds, kinds[k].name))
			continue;
		for (i = 0; i < BASE_ARRAY_SIZE(kind_goals); i++)
			agenda_add(agenda, &kind_goals[i], &kinds[k]);
	}
	if (options->kinds && agenda->n == 0)
		bench_fail("--kinds %s: no such kind; they are in bench/kinds.c, as in memfd/base,sysv/2MiB", options->kinds);
	if (options->kinds)
		agenda_add(agenda, &roudi_goal, NULL);
}

static void
agenda_deinit(struct agenda *agenda)
{
	free(agenda->goals);
	free(agenda->tallies);
}

int
main(int argc, char **argv)
{
	struct options options = { .n_runs = DEFAULT_RUNS };
	struct bench bench = {
		.n_rounds = DEFAULT_ROUNDS, .gate = DEFAULT_GATE, .idle_seconds = 30, .provision_bytes = 4 * GIB,
	};
	struct agenda agenda;
	struct utsname host;

	parse(&bench, &options, argc, argv);
	choose_audit(&bench);
	bench_init(&bench);
	catch_interrupts();
	raise_descriptors();
	if (options.is_profile) {
		profile_attach(&bench);
		return EXIT_SUCCESS;
	}
	agenda_init(&agenda, &options);
	(void)uname(&host);
	(void)printf("segmentd " PACKAGE_VERSION ", Linux %s, %u CPUs; %u rounds a run, up to %u runs, other load below %g %%\n",
	    host.release, bench.n_cpus, bench.n_rounds, options.n_runs, bench.gate * 100);
#ifdef WITH_SANITIZERS
	(void)puts("Built with sanitizers: these figures mean nothing.");
#endif
	(void)puts("rounds: lowest / median / highest of the rounds' figures; p50, p90, p99: of all samples of all rounds");
	for (bench.run = 1; bench.run <= options.n_runs; bench.run++)
		run_once(&bench, &options, &agenda);
	print_summary(&options, &agenda);
	agenda_deinit(&agenda);
	if (bench.json)
		(void)fclose(bench.json);
	return EXIT_SUCCESS;
}
