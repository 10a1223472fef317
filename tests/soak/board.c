/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "tests/soak/board.h"

#define GRACE_NS	(5 * NS_PER_SEC)	/* what began in a trouble may be answered after it */

struct soak_board *soak_board;

static const char *const words[SOAK_FIGURE_N] = {
	[SOAK_VISITS] = "attached, looked at and detached",
	[SOAK_SECTIONS] = "sections of the ledger",
	[SOAK_CREATED] = "segments created",
	[SOAK_REMOVED] = "segments removed by name",
	[SOAK_LISTS] = "lists",
	[SOAK_MANY] = "several attached at once",
	[SOAK_NEWCOMERS] = "clients that came for one visit",
	[SOAK_EVENTS] = "events heard",
	[SOAK_EVENTS_LOST] = "events told to be lost",
	[SOAK_TOOLS] = "runs of segmentctl",
	[SOAK_BORN] = "processes born",
	[SOAK_KILLED] = "of them killed",
	[SOAK_MISDEEDS] = "misdeeds",
	[SOAK_HUNG_UP] = "hung up on for it",
	[SOAK_STRAYS] = "orphans left behind",
	[SOAK_KILLS] = "daemons killed",
	[SOAK_HANDOVERS] = "daemons handed over",
	[SOAK_EARLY_KILLS] = "killed during their start",
	[SOAK_STOPS] = "daemons stopped",
	[SOAK_WORKERS_KILLED] = "workers killed",
	[SOAK_RELOADS] = "reloads asked for",
	[SOAK_HANGUPS] = "reloads by SIGHUP",
	[SOAK_BROKEN] = "of them of a broken configuration",
	[SOAK_FD_DROUGHTS] = "times without descriptors",
	[SOAK_MEMORY_DROUGHTS] = "times without memory",
	[SOAK_QUIET_POINTS] = "quiet points",
	[SOAK_COUNTS] = "counts compared with /proc",
	[SOAK_HEARTBEATS] = "heartbeats",
	[SOAK_ATTACH_BEATS] = "attaches of the heart",
};

static const char *const trouble_words[SOAK_TROUBLE_N] = { "descriptors", "memory", "workers" };

void
soak_board_make(uint64_t seed)
{
	soak_board = mmap(NULL, sizeof(*soak_board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	harness_assert(soak_board != MAP_FAILED, "mmap: %m");
	soak_board->seed = seed;
	soak_board->begun_ns = clock_monotonic_ns();
	soak_board->has_uids = geteuid() == 0;
}

void
soak_count_by(enum soak_figure figure, uint64_t n)
{
	atomic_fetch_add_explicit(&soak_board->figures[figure], n, memory_order_relaxed);
}

void
soak_count(enum soak_figure figure)
{
	soak_count_by(figure, 1);
}

static void
count_errno(_Atomic uint64_t *counts, int r)
{
	atomic_fetch_add_explicit(&counts[-r < SOAK_ERRNOS ? -r : 0], 1, memory_order_relaxed);
}

void
soak_refused(int r)
{
	if (r < 0)
		count_errno(soak_board->refused, r);
}

void
soak_trouble_begin(enum soak_trouble trouble)
{
	atomic_store(&soak_board->until_ns[trouble], UINT64_MAX);
}

void
soak_trouble_end(enum soak_trouble trouble)
{
	atomic_store(&soak_board->until_ns[trouble], clock_monotonic_ns() + GRACE_NS);
}

bool
soak_has_trouble(enum soak_trouble trouble)
{
	return atomic_load(&soak_board->until_ns[trouble]) == UINT64_MAX;
}

static bool
is_in(enum soak_trouble trouble, uint64_t begun_ns)
{
	return begun_ns < atomic_load(&soak_board->until_ns[trouble]);
}

static bool
excuse(bool is_excused, int r)
{
	if (is_excused)
		count_errno(soak_board->excused, r);
	return is_excused;
}

/*
 * Where descriptors are short each uid gets its share of what is left, and no more. Without other uids all share the limits of one,
 * which those who misbehave exhaust.
 */
bool
soak_excuse(int r, uint64_t begun_ns)
{
	return excuse(((r == -ENFILE || r == -EDQUOT) && is_in(SOAK_TROUBLE_FDS, begun_ns)) ||
	    (r == -EDQUOT && !soak_board->has_uids), r);
}

bool
soak_excuse_create(int r, uint64_t begun_ns)
{
	bool is_short = is_in(SOAK_TROUBLE_MEMORY, begun_ns) || is_in(SOAK_TROUBLE_WORKERS, begun_ns) ||
	    is_in(SOAK_TROUBLE_FDS, begun_ns);

	return soak_excuse(r, begun_ns) || excuse(is_short && (r == -EIO || r == -ENOMEM || r == -ENOSPC || r == -ENFILE), r);
}

void
soak_times_begin(struct soak_times *times)
{
	atomic_store(&times->since_ns, clock_monotonic_ns());
}

void
soak_times_end(struct soak_times *times)
{
	uint64_t spent_ns = clock_monotonic_ns() - atomic_load(&times->since_ns);

	atomic_store(&times->since_ns, 0);
	soak_times_note(times, spent_ns);
}

uint64_t
soak_n_turns(void)
{
	return atomic_load(&soak_board->figures[SOAK_KILLS]) + atomic_load(&soak_board->figures[SOAK_HANDOVERS]) +
	    atomic_load(&soak_board->n_starts);
}

void
soak_times_note(struct soak_times *times, uint64_t spent_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	unsigned power = 63 - (unsigned)__builtin_clzll(spent_ns | 4);

	atomic_fetch_add(&times->n, 1);
	atomic_fetch_add(&times->buckets[power * 4 + ((spent_ns >> (power - 2)) & 3)], 1);
	if (spent_ns > atomic_load(&times->longest_ns)) {
		atomic_store(&times->longest_ns, spent_ns);
		atomic_store(&times->longest_at_ns, now_ns);
	}
}

/* The upper end of its bucket. */
uint64_t
soak_times_quantile(const struct soak_times *times, unsigned percent)
{
	uint64_t n = 0, wanted = atomic_load(&times->n) * percent / 100;

	for (unsigned i = 0; i < SOAK_BUCKETS; i++) {
		n += atomic_load(&times->buckets[i]);
		if (n > wanted)
			return (UINT64_C(1) << (i / 4)) + (UINT64_C(1) << (i / 4)) / 4 * (i % 4 + 1);
	}
	return 0;
}

uint32_t
soak_draw(uint64_t *random, uint32_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*random >> 33) % below;
}

double
soak_clock(void)
{
	return (double)(clock_monotonic_ns() - soak_board->begun_ns) / (double)NS_PER_SEC;
}

static void
print_errnos(const char *what, const _Atomic uint64_t *counts)
{
	for (int i = 0; i < SOAK_ERRNOS; i++)
		if (atomic_load(&counts[i]))
			(void)printf("%14" PRIu64 "  %s: %s\n", atomic_load(&counts[i]), what, strerror(i));
}

static void
print_times(const char *what, const struct soak_times *times)
{
	(void)printf("%14.3f  ms: %s, the half of them; %.3f ms 99 of 100, %.3f ms the longest, %.1f s after the beginning\n",
	    (double)soak_times_quantile(times, 50) / 1e6, what, (double)soak_times_quantile(times, 99) / 1e6,
	    (double)atomic_load(&times->longest_ns) / 1e6,
	    times->longest_at_ns ? (double)(times->longest_at_ns - soak_board->begun_ns) / (double)NS_PER_SEC : 0);
}

void
soak_board_print(void)
{
	(void)printf("%14.1f  seconds, SOAK_SEED=%" PRIu64 "\n", soak_clock(), soak_board->seed);
	for (unsigned i = 0; i < SOAK_FIGURE_N; i++)
		(void)printf("%14" PRIu64 "  %s\n", atomic_load(&soak_board->figures[i]), words[i]);
	print_errnos("misbehaving, refused", soak_board->refused);
	print_errnos("honest, refused in a trouble", soak_board->excused);
	print_times("heartbeat", &soak_board->beats);
	print_times("of a heartbeat the daemon's own time on a CPU", &soak_board->busy);
	print_times("of a heartbeat neither side ran, or waited to", &soak_board->unexplained);
	print_times("heartbeat over a restart", &soak_board->beats_over);
	print_times("attach and detach", &soak_board->attaches);
	for (unsigned i = 0; i < SOAK_TROUBLE_N; i++)
		if (soak_has_trouble(i))
			(void)printf("there is trouble with %s now\n", trouble_words[i]);
	(void)fflush(stdout);
}
