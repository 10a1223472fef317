/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Memory that another process eats while a segment is made: of a cgroup with a limit, and of the host, whose memory_reserve is
 * so large that the machine is far from any danger. The segment is refused in its middle, and what is to be left is left.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "host/file.h"
#include "tests/system/group.h"
#include "tests/system/suite.h"

#define EATEN_LIMIT	(640 * MIB)
#define EATEN_LARGE	(400 * MIB)
#define HOST_ROOM	GIB		/* of the host's memory, for all that eat */
#define HOST_LARGE	(768 * MIB)
#define HOST_MIN	(4 * GIB)	/* of which there is enough beside it */
#define PIECE_BYTES	(64 * MIB)
#define UNCOUNTED_BYTES	(32 * MIB)
#define UNCOUNTED_MAX	(2 * GIB)	/* on a CPU */
#define KEYS		"workers = 2; limits = { clients = 10; attachments = 10; bytes = \"4GiB\"; };"
#define TEMPLATE	"templates = ({ name = \"t-\"; max_size = \"4GiB\"; max_count = 10; mlock = false; });"

/* What an eater and the workers eat of: a cgroup, or the host's memory down to its reserve. Both processes see it. */
struct meal {
	const struct group *group;
	uint64_t reserve_bytes;
	uint64_t eaten_bytes;		/* by the eater */
};

static uint64_t
available(void)
{
	char text[4096];
	uint64_t kib;

	harness_assert(file_read_text("", "/proc/meminfo", text, sizeof(text)) == 0 &&
	    file_find_number(text, "MemAvailable:", &kib), "/proc/meminfo does not say what is available");
	return kib * KIB;
}

static uint64_t
meal_left(const struct meal *meal)
{
	uint64_t all = meal->group ? EATEN_LIMIT : available();

	return all - min_u64(all, meal->group ? group_usage(meal->group) : meal->reserve_bytes);
}

/*
 * Takes half of what there is left, and then a quarter, each time it is told to: three times as fast as the workers, as far
 * as they leave room for it. The last that two of them may take at once they leave, and 8 MiB.
 */
static void
eat_memory(int control, void *arg)
{
	struct meal *meal = arg;

	if (meal->group)
		group_add(meal->group, getpid());
	for (unsigned n = 0;; n++) {
		uint64_t left, part;
		char *memory;

		harness_expect(control, "eat");
		left = meal_left(meal);
		part = n == 0 ? 2 : left < 64 * MIB ? 8 : 4;
		if (left < MIB) {
			harness_say(control, "eaten");
			continue;
		}
		memory = mmap(NULL, left / part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		harness_assert(memory != MAP_FAILED, "mmap: %m");
		meal->eaten_bytes += left / part;
		harness_say(control, "eaten");
	}
}

/* One whose segment is refused meanwhile may have been ended by the daemon. */
static void
signal_all(const pid_t *pids, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		ck_assert(kill(pids[i], sig) == 0 || errno == ESRCH);
}

/* One bite, in whatever the workers are at: they know nothing of it. */
static void
bite(struct harness_child *eater, const pid_t *pids, size_t n)
{
	signal_all(pids, n, SIGSTOP);
	harness_say(eater->control, "eat");
	harness_expect(eater->control, "eaten");
	signal_all(pids, n, SIGCONT);
}

/* A daemon that makes a segment while somebody eats. */
struct feast {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_conn creator;	/* its reply comes when the segment is made, or refused */
	struct harness_child eater;
	struct meal *meal;
	pid_t pids[16];			/* the workers */
	size_t n;
	unsigned n_bites;
};

#define FEAST_NULL { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL, .creator = HARNESS_CONN_NULL, \
	.eater = HARNESS_CHILD_NULL }

static void
feast_lay(struct feast *feast, const struct group *group, uint64_t reserve_bytes)
{
	feast->meal = mmap(NULL, sizeof(*feast->meal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(feast->meal, MAP_FAILED);
	*feast->meal = (struct meal) { .group = group, .reserve_bytes = reserve_bytes };
}

/* The daemon runs: its workers stand still, and have a segment to make that was judged to fit. False: it was not. */
static bool
feast_begin(struct feast *feast, uint64_t bytes)
{
	struct pollfd answer = { .events = POLLIN };
	struct protocol_segment row;

	harness_open(&feast->conn, feast->daemon.socket);
	harness_open(&feast->creator, feast->daemon.socket);
	feast->n = suite_workers_stop(&feast->conn, &feast->daemon, 128 * MIB, feast->pids, BASE_ARRAY_SIZE(feast->pids));
	harness_await_gone(&feast->conn, "t-warm");
	harness_child_start(&feast->eater, eat_memory, feast->meal);
	suite_send_create(&feast->creator, "t-large", bytes);
	answer.fd = feast->creator.fd;
	while (harness_find(&feast->conn, "t-large", &row))
		if (poll(&answer, 1, 0))
			return false;
	return true;
}

typedef void (*feast_watch_fn)(struct feast *feast, void *arg);

/* From the first bite on it does not fit, and the rest is taken while the workers are at it. */
static void
feast_eat(struct feast *feast, feast_watch_fn watch, void *arg)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS, left;
	struct protocol_segment row;
	bool is_there;

	do {
		bite(&feast->eater, feast->pids, feast->n);
		feast->n_bites++;
		left = meal_left(feast->meal);
		do {
			harness_assert(harness_clock_ns() < until_ns, "it comes to no end after %u bites", feast->n_bites);
			if (watch)
				watch(feast, arg);
		} while ((is_there = harness_find(&feast->conn, "t-large", &row) == 0) && row.state == PROTOCOL_PROVISIONING &&
		    meal_left(feast->meal) + 16 * MIB > left);
	} while (is_there && row.state == PROTOCOL_PROVISIONING);
}

/* Refused with a sentence that has this text. */
static void
feast_expect_refused(struct feast *feast, const char *text)
{
	struct harness_reply reply;

	ck_assert_int_gt(harness_receive(feast->creator.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, -EIO);
	harness_assert(strstr(reply.bytes + sizeof(reply.header), text), "'%s' is not in '%s'", text,
	    reply.bytes + sizeof(reply.header));
}

/* What was made is given back to the eater. */
static void
feast_end(struct feast *feast)
{
	bite(&feast->eater, feast->pids, feast->n);
	harness_child_kill(&feast->eater);
	harness_close(&feast->creator);
	harness_close(&feast->conn);
	harness_daemon_stop(&feast->daemon);
}

START_TEST(a_cgroup_keeps_its_limit)
{
	struct feast feast = FEAST_NULL;
	struct group group;

	group_make(&group, EATEN_LIMIT);
	group_start(&feast.daemon, &group, KEYS, TEMPLATE);
	feast_lay(&feast, &group, 0);
	harness_assert(feast_begin(&feast, EATEN_LARGE), "it is refused before there is anything to refuse it for");
	feast_eat(&feast, NULL, NULL);
	feast_expect_refused(&feast, group.dir);
	/* The kernel had nobody to kill. */
	if (!harness_has_sanitizers())		/* by which the eater takes an eighth more than it eats */
		ck_assert_uint_eq(group_kills(&group), 0);
	printf("refused after %u bites, and nobody was killed\n", feast.n_bites);
	feast_end(&feast);
	ck_assert_int_eq(rmdir(group.dir), 0);
}
END_TEST

static void
take(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	harness_assert(memory != MAP_FAILED, "mmap: %m");
	ck_assert_int_eq(madvise(memory, bytes, MADV_DONTFORK), 0);
}

/*
 * What was freed shortly before lies in lists of the CPUs, and is not counted as available: whoever takes it takes nothing of
 * that. So this process takes it first, on each CPU until what it takes is seen to be missing.
 */
static void
take_uncounted(void)
{
	cpu_set_t all, one;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		uint64_t before = available();

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		for (unsigned n = 0; n < UNCOUNTED_MAX / UNCOUNTED_BYTES; n++) {
			uint64_t now;

			take(UNCOUNTED_BYTES);
			now = available();
			if (now + UNCOUNTED_BYTES / 4 * 3 < before)
				break;
			before = now;
		}
	}
	ck_assert_int_eq(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* What the segment and the eater took since the host's memory was last above its reserve, beyond what there was then. */
struct breach {
	int object;			/* the segment's memory */
	uint64_t whole_own_bytes;	/* what they had then */
	uint64_t whole_left_bytes;
	uint64_t own_bytes;		/* at the most */
	uint64_t most_bytes;
};

static uint64_t
own_bytes(const struct feast *feast, struct breach *breach)
{
	struct stat st = { 0 };

	if (breach->object < 0)
		breach->object = suite_object(feast->daemon.pid, "segmentd:t-large");
	harness_assert(breach->object < 0 || fstat(breach->object, &st) == 0, "fstat: %m");
	return feast->meal->eaten_bytes + (uint64_t)st.st_blocks * 512;
}

/* Others come and go on this machine, and what they take is not ours to answer for. */
static void
watch_reserve(struct feast *feast, void *arg)
{
	struct breach *breach = arg;
	uint64_t left = meal_left(feast->meal), own = own_bytes(feast, breach), over;

	breach->own_bytes = max_u64(breach->own_bytes, own);
	/* Asked again behind it: it may have been long. */
	left = max_u64(left, meal_left(feast->meal));
	if (left) {
		breach->whole_own_bytes = own;
		breach->whole_left_bytes = left;
		return;
	}
	over = own - min_u64(own, breach->whole_own_bytes + breach->whole_left_bytes);
	breach->most_bytes = max_u64(breach->most_bytes, over);
	harness_assert(over <= PIECE_BYTES, "%" PRIu64 " MiB were taken of the reserve", over / MIB);
}

START_TEST(the_host_keeps_its_reserve)
{
	struct breach breach = { .object = -1, .whole_left_bytes = HOST_ROOM };
	struct feast feast = FEAST_NULL;
	struct protocol_segment row;
	uint64_t before;
	char keys[160];

	take_uncounted();
	before = available();
	if (before < HOST_MIN)
		harness_skip("only %" PRIu64 " MiB of memory are available", before / MIB);
	feast_lay(&feast, NULL, before - HOST_ROOM);
	(void)snprintf(keys, sizeof(keys), KEYS "memory_reserve = \"%" PRIu64 "KiB\";", feast.meal->reserve_bytes / KIB);
	harness_daemon_start(&feast.daemon, keys, TEMPLATE);
	if (!feast_begin(&feast, HOST_LARGE))
		harness_skip("others have taken memory meanwhile: of %" PRIu64 " MiB %" PRIu64 " are left", HOST_ROOM / MIB,
		    meal_left(feast.meal) / MIB);
	feast_eat(&feast, watch_reserve, &breach);
	printf("%" PRIu64 " MiB eaten by %u bites and the segment, of %" PRIu64 "; %" PRIu64 " MiB of them of the reserve\n",
	    breach.own_bytes / MIB, feast.n_bites, HOST_ROOM / MIB, breach.most_bytes / MIB);
	if (harness_find(&feast.conn, "t-large", &row) == 0 && row.state == PROTOCOL_READY)
		harness_skip("others have given memory back meanwhile, so that all of it could be made");
	feast_expect_refused(&feast, "of which memory_reserve keeps");
	feast_end(&feast);
	close_fd(&breach.object);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("reserve");
	TCase *tcase = tcase_create("reserve");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_cgroup_keeps_its_limit);
	tcase_add_test(tcase, the_host_keeps_its_reserve);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
