/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who is stuck, and who only has no CPU: first by what may be seen, then by real processes, and at last a real worker that has
 * to share its only CPU with more than let it end its job within the time that it may stand still for.
 */
#include "config.h"

#include <check.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/patience.h"
#include "daemon/workers.h"
#include "host/process.h"
#include "tests/suite_run.h"

#define LIMIT		(8 * NS_PER_SEC)
#define START		(100 * NS_PER_SEC)
#define HOGS		6
#define CPUS_MAX	1024
#define NICE_MOST	19

/*
 * One look after the other: what is seen so many milliseconds after the start, and whether that is stuck. Between them it is looked at
 * whenever that is due, and seen as it will be, but for what it has used.
 */
struct look {
	unsigned at_ms;
	unsigned cpu_ms;		/* used since the start */
	bool is_runnable;
	bool is_stuck;
	bool is_behind_others;
	bool stood_still;		/* the machine, from the look before this one on: there is none between them */
};

static const struct {
	const char *what;
	struct look looks[8];
} rows[] = {
	{ "stopped from the first", { { 2000, 0, false, false }, { 7999, 0, false, false }, { 8000, 0, false, true } } },
	{ "starved, without any CPU", { { 8000, 0, true, false }, { 80000, 0, true, false }, { 800000, 0, true, false } } },
	{ "starved, seen asleep", { { 8000, 1, false, false }, { 15000, 2, false, false }, { 22000, 3, false, false } } },
	{ "starved, then stopped", { { 20000, 9, true, false }, { 27999, 9, false, false }, { 28000, 9, false, true } } },
	{ "worked, then stopped", { { 2000, 1900, false, false }, { 9999, 1900, false, false }, { 10000, 1900, false, true } } },
	{ "spins", { { 2000, 2000, true, false }, { 7990, 7990, true, false }, { 8000, 8000, true, true } } },
	{ "spins in its turn", { { 8000, 800, true, false }, { 79000, 7900, true, false }, { 80000, 8000, true, true } } },
	{ "waits behind others", { { 8000, 0, false, false, true }, { 47999, 0, false, false, true }, { 55999, 0, false, true, true } } },
	{ "waits behind others, then for itself", { { 20000, 0, false, false, true }, { 27999, 0, false, false, false },
	    { 28000, 0, false, true, false } } },
	{ "waits behind others in its turn", { { 40000, 1, false, false, true }, { 87999, 1, false, false, true },
	    { 95999, 1, false, true, true } } },
	{ "has a machine that stood still", { { 2000, 0, false, false }, { 90000, 0, false, false, false, true },
	    { 93999, 0, false, false }, { 94000, 0, false, true } } },
	{ "has one that stands still again and again", { { 10000, 0, false, false, false, true }, { 20000, 0, false, false, false, true },
	    { 30000, 0, false, false, false, true }, { 40000, 0, false, true, false, true } } },
	{ "waits behind others, and the machine stood still", { { 38000, 0, false, false, true }, { 98000, 0, false, false, true, true },
	    { 111999, 0, false, false, true }, { 112000, 0, false, true, true } } },
	{ "spins and sleeps", { { 8000, 4000, false, false }, { 16000, 8000, false, true } } },
};

/* Whenever it is due. */
static void
look_before(struct patience *patience, const struct patience_sight *sight, uint64_t cpu_ns, uint64_t again_ns, const char *what)
{
	struct patience_sight before = *sight;

	before.cpu_ns = cpu_ns;
	for (before.now_ns = patience->looked_ns + again_ns; before.now_ns < sight->now_ns; before.now_ns += again_ns) {
		again_ns = patience_judge(patience, &before);
		ck_assert_msg(again_ns, "%s: after %llu ms", what, (unsigned long long)((before.now_ns - START) / NS_PER_MS));
	}
}

START_TEST(what_is_seen_is_judged)
{
	const struct patience_sight begun = { .now_ns = START, .cpu_ns = 5 * NS_PER_SEC };
	struct patience patience;
	uint64_t cpu_ns = begun.cpu_ns, again_ns = patience_start(&patience, LIMIT, &begun);

	for (const struct look *look = rows[_i].looks; look->at_ms; look++) {
		const struct patience_sight sight = {
			.now_ns = START + look->at_ms * NS_PER_MS,
			.cpu_ns = begun.cpu_ns + look->cpu_ms * NS_PER_MS,
			.is_runnable = look->is_runnable,
			.is_behind_others = look->is_behind_others,
		};

		if (!look->stood_still)
			look_before(&patience, &sight, cpu_ns, again_ns, rows[_i].what);
		again_ns = patience_judge(&patience, &sight);
		cpu_ns = sight.cpu_ns;
		ck_assert_msg((again_ns == 0) == look->is_stuck, "%s: after %u ms", rows[_i].what, look->at_ms);
		if (look->is_stuck)
			break;
		ck_assert_uint_ge(again_ns, 10 * NS_PER_MS);
		ck_assert_uint_le(again_ns, LIMIT / 4);
		/* Not much later than when it may have spun for so long. */
		ck_assert_uint_le(again_ns, max_u64(LIMIT - look->cpu_ms * NS_PER_MS, 10 * NS_PER_MS));
	}
}
END_TEST

/* Who had nearly all of its CPU time is looked at often: each look by a loop that is busy is late, and the limit is what it was. */
START_TEST(a_busy_loop_prolongs_nothing)
{
	const struct patience_sight begun = { .now_ns = START };
	struct patience_sight sight = { .now_ns = START + LIMIT, .cpu_ns = LIMIT - NS_PER_MS };
	const uint64_t late_ns = 50 * NS_PER_MS;
	struct patience patience;
	uint64_t again_ns;

	(void)patience_start(&patience, LIMIT, &begun);
	while ((again_ns = patience_judge(&patience, &sight)))
		sight.now_ns += again_ns + late_ns;
	ck_assert_uint_le(sight.now_ns - START, 2 * LIMIT + late_ns + LIMIT / 4);
}
END_TEST

START_TEST(without_a_cpu_clock_its_time_is_the_walls)
{
	const struct patience_sight begun = { .now_ns = START }, before = { .now_ns = START + LIMIT - 1 },
	    after = { .now_ns = START + LIMIT };
	struct patience patience;

	look_before(&patience, &before, 0, patience_start(&patience, LIMIT, &begun), "without a CPU clock");
	ck_assert_uint_ne(patience_judge(&patience, &before), 0);
	ck_assert_uint_eq(patience_judge(&patience, &after), 0);
}
END_TEST

static pid_t
spawn_hog(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (volatile unsigned i = 0;; i++)
		;
}

static void
end(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(processes_are_seen_as_they_are)
{
	pid_t pid = spawn_hog();
	uint64_t cpu_ns, stopped_ns;
	int status;

	while (!(cpu_ns = process_cpu_ns(pid)))
		(void)sched_yield();
	ck_assert(process_is_runnable(pid));
	while (process_cpu_ns(pid) == cpu_ns)
		(void)sched_yield();
	ck_assert(!process_is_in_kernel(pid));
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(!process_is_runnable(pid));
	stopped_ns = process_cpu_ns(pid);
	ck_assert_uint_eq(process_cpu_ns(pid), stopped_ns);
	ck_assert_uint_gt(stopped_ns, cpu_ns);
	end(pid);
	ck_assert(!process_is_runnable(pid));
	ck_assert_uint_eq(process_cpu_ns(pid), 0);
	ck_assert(!process_is_runnable(0));
	ck_assert_uint_eq(process_cpu_ns(0), 0);
}
END_TEST

/* Who spawns by vfork waits in the kernel until the child is another program, or gone. */
START_TEST(who_waits_in_the_kernel_is_seen)
{
	int go[2];
	pid_t pid;

	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(go[1]);
		if (vfork() == 0) {
			char byte;

			(void)!read(go[0], &byte, 1);
			_exit(0);
		}
		(void)pause();
	}
	while (!process_is_in_kernel(pid))
		(void)sched_yield();
	ck_assert(!process_is_runnable(pid));
	(void)close(go[1]);
	while (process_is_in_kernel(pid))
		(void)sched_yield();
	end(pid);
	(void)close(go[0]);
}
END_TEST

START_TEST(short_cpus_are_seen)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) + 1;
	pid_t pids[CPUS_MAX];

	ck_assert_int_le(n, CPUS_MAX);
	for (long i = 0; i < n; i++)
		pids[i] = spawn_hog();
	while (!process_cpus_are_short())
		(void)sched_yield();
	for (long i = 0; i < n; i++)
		end(pids[i]);
}
END_TEST

/* One that spins is at its end when it has used its limit, whatever others did meanwhile. */
START_TEST(who_spins_is_found)
{
	pid_t pid = spawn_hog();
	struct patience patience;
	uint64_t begun_ns = process_cpu_ns(pid);

	(void)patience_begin(&patience, 200 * NS_PER_MS, pid);
	while (patience_look(&patience, pid))
		(void)sched_yield();
	ck_assert_uint_ge(process_cpu_ns(pid) - begun_ns, 200 * NS_PER_MS);
	end(pid);
}
END_TEST

struct errand {
	struct workers_job job;
	bool is_done, was_stuck, has_result;
	unsigned patience_seconds;
	int status;
};

static void
on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct errand *errand = BASE_CONTAINER_OF(job, struct errand, job);

	errand->is_done = true;
	errand->was_stuck = outcome->was_stuck;
	errand->patience_seconds = outcome->patience_seconds;
	errand->has_result = outcome->result;
	errand->status = outcome->result ? outcome->result->status : 0;
}

static void
run(struct event_base *base, struct workers *workers, struct errand *errand, int fd, uint64_t bytes, unsigned patience_seconds)
{
	*errand = (struct errand) {
		.job = {
			.job = { .kind = JOB_POPULATE, .pages = JOB_PAGES_BASE, .length_bytes = bytes },
			.fd = fd, .patience_seconds = patience_seconds, .done = on_done,
		},
	};
	workers_submit(workers, &errand->job, false);
	while (!errand->is_done)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

static pid_t
only_child(void)
{
	cleanup_fclose FILE *f = fopen("/proc/thread-self/children", "re");
	int pid;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%d", &pid), 1);
	return pid;
}

static void
pin(pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	ck_assert_int_eq(sched_setaffinity(pid, sizeof(one), &one), 0);
}

static int
last_cpu(void)
{
	cpu_set_t cpus;
	int cpu = -1;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus))
			cpu = i;
	return cpu;
}

/*
 * A worker of the least share beside others on its only CPU: its job takes longer than it may stand still for, and is done all
 * the same. How long it takes here is measured, and a job that is too short is made longer.
 */
START_TEST(starved_worker_is_not_stuck)
{
	struct event_base *base = event_base_new();
	struct workers workers;
	struct errand errand;
	pid_t hogs[HOGS], worker;
	uint64_t begun_ns, took_ns = 0;
	int cpu = last_cpu();

	workers_init(&workers, base, 1);
	for (uint64_t bytes = 16 * MIB; took_ns <= NS_PER_SEC + NS_PER_SEC / 4 && bytes <= 256 * MIB; bytes *= 2) {
		int fd = memfd_create("starved", MFD_CLOEXEC);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
		/* One that is there already: its start is not what is measured. */
		run(base, &workers, &errand, fd, 4096, 0);
		ck_assert(errand.has_result);
		worker = only_child();
		pin(worker, cpu);
		ck_assert_int_eq(setpriority(PRIO_PROCESS, (id_t)worker, NICE_MOST), 0);
		for (int i = 0; i < HOGS; i++) {
			hogs[i] = spawn_hog();
			pin(hogs[i], cpu);
		}
		begun_ns = clock_monotonic_ns();
		run(base, &workers, &errand, fd, bytes, 1);
		took_ns = clock_monotonic_ns() - begun_ns;
		for (int i = 0; i < HOGS; i++)
			end(hogs[i]);
		(void)close(fd);
		(void)printf("%llu MiB in %llu ms\n", (unsigned long long)(bytes / MIB), (unsigned long long)(took_ns / NS_PER_MS));
		ck_assert_msg(!errand.was_stuck, "after %llu ms", (unsigned long long)(took_ns / NS_PER_MS));
		ck_assert(errand.has_result);
		ck_assert_int_eq(errand.status, 0);
	}
	ck_assert_msg(took_ns > NS_PER_SEC, "it was not starved");
	workers_deinit(&workers);
	event_base_free(base);
}
END_TEST

static void
look_for_idle(struct event_base *base, struct workers *workers)
{
	event_active(&workers->idle_event, EV_TIMEOUT, 0);
	ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 0);
}

/* Whenever it is that idle ones are looked for: between two jobs that follow each other the worker stays. */
START_TEST(who_has_just_worked_is_not_idle)
{
	struct event_base *base = event_base_new();
	struct workers workers;
	struct errand errand;
	pid_t worker = 0;
	int fd = memfd_create("busy", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	workers_init(&workers, base, 1);
	for (unsigned i = 0; i < 3; i++) {
		run(base, &workers, &errand, fd, 4096, 0);
		ck_assert(errand.has_result);
		if (i)
			ck_assert_int_eq(only_child(), worker);
		worker = only_child();
		look_for_idle(base, &workers);
	}
	/* And then it goes. */
	look_for_idle(base, &workers);
	while (workers.n)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	(void)close(fd);
	workers_deinit(&workers);
	event_base_free(base);
}
END_TEST

START_TEST(stopped_worker_is_stuck)
{
	struct event_base *base = event_base_new();
	struct workers workers;
	struct errand errand;
	uint64_t begun_ns;
	int fd = memfd_create("stopped", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	workers_init(&workers, base, 1);
	run(base, &workers, &errand, fd, 4096, 0);
	ck_assert_int_eq(kill(only_child(), SIGSTOP), 0);
	begun_ns = clock_monotonic_ns();
	run(base, &workers, &errand, fd, 4096, 1);
	ck_assert(errand.was_stuck);
	/* As sentences say. */
	ck_assert_uint_eq(errand.patience_seconds, 1);
	ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, NS_PER_SEC);
	/* Another one is had for the next job. */
	run(base, &workers, &errand, fd, 4096, 0);
	ck_assert(errand.has_result);
	(void)close(fd);
	workers_deinit(&workers);
	event_base_free(base);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	suite = suite_create("patience");
	tcase = tcase_create("patience");
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, what_is_seen_is_judged, 0, BASE_ARRAY_SIZE(rows));
	tcase_add_test(tcase, a_busy_loop_prolongs_nothing);
	tcase_add_test(tcase, without_a_cpu_clock_its_time_is_the_walls);
	tcase_add_test(tcase, processes_are_seen_as_they_are);
	tcase_add_test(tcase, who_waits_in_the_kernel_is_seen);
	tcase_add_test(tcase, short_cpus_are_seen);
	tcase_add_test(tcase, who_spins_is_found);
	tcase_add_test(tcase, starved_worker_is_not_stuck);
	tcase_add_test(tcase, who_has_just_worked_is_not_idle);
	tcase_add_test(tcase, stopped_worker_is_stuck);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
