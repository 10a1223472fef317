/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/soak/board.h"
#include "tests/soak/honest.h"
#include "tests/soak/quiet.h"
#include "tests/system/surviving.h"
#include "tests/system/world.h"

#define WAIT_NS		(2 * HARNESS_TIMEOUT_MS * NS_PER_MS)
#define RISE_KIB	8192		/* of one daemon's memory, from its second quiet point on: an allocator keeps some */
#define CHARGE_BYTES	(UINT64_C(48) << 20)	/* caches of files, and of the kernel's own */
#define MAPS_MORE	(harness_has_sanitizers() ? 256u : 16u)

/* Of the segments that are always there. */
static const char *const counted[] = { "memfd", "posix", "sysv", "file", "ledger", "desk", "bank", "arena" };

#define N_COUNTED	BASE_ARRAY_SIZE(counted)

static uint64_t
charged(const struct operator *operator)
{
	return operator->has_group ? group_usage(&operator->group) : 0;
}

static void
look_at_objects(struct operator *operator, struct stat *objects)
{
	for (size_t i = 0; i < N_COUNTED; i++) {
		struct protocol_attach request = { .access = PROTOCOL_ACCESS_READ };
		struct harness_reply reply;
		int r;

		(void)snprintf(request.name, sizeof(request.name), "%s", counted[i]);
		r = harness_ask(&operator->conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply);
		harness_assert(r == 0, "at a quiet point '%s' cannot be attached: %s", counted[i],
		    reply.bytes + sizeof(reply.header));
		harness_assert(fstat(reply.fds[0], &objects[i]) == 0, "fstat: %m");
		harness_assert(harness_detach(&operator->conn, &reply.attached) == 0, "detach");
		for (unsigned k = 0; k < reply.n_fds; k++)
			(void)close(reply.fds[k]);
	}
}

/* "" where each count is the kernel's. */
static const char *
compare(struct operator *operator, const struct stat *objects)
{
	static char text[512];
	struct harness_scan scans[N_COUNTED];
	struct protocol_segment row;

	harness_scan_all(objects, N_COUNTED, operator->manager.daemon.pid, scans);
	for (size_t i = 0; i < N_COUNTED; i++) {
		harness_assert(harness_find(&operator->conn, counted[i], &row) == 0, "'%s' is not there", counted[i]);
		if (row.readers == scans[i].readers && row.writers == scans[i].writers)
			continue;
		(void)snprintf(text, sizeof(text), "'%s' has %u readers and %u writers, %u of them unsupervised, by the daemon, and %zu "
		    "and %zu by /proc", counted[i], row.readers, row.writers, row.unsupervised, scans[i].readers, scans[i].writers);
		return text;
	}
	return "";
}

static void
expect_counts(struct operator *operator)
{
	uint64_t deadline_ns = harness_clock_ns() + WAIT_NS;
	struct stat objects[N_COUNTED];
	const char *differs;

	look_at_objects(operator, objects);
	while (*(differs = compare(operator, objects))) {
		harness_assert(harness_clock_ns() < deadline_ns, "%.1f s after the beginning, at a quiet point: %s", soak_clock(), differs);
		(void)poll(NULL, 0, 10);
	}
	soak_count_by(SOAK_COUNTS, N_COUNTED);
}

static void
read_usage(struct operator *operator, struct harness_usage *ret_usage)
{
	harness_usage_read(operator->manager.daemon.pid, ret_usage);
}

/* Nothing that was created is left, nobody is attached, and the daemon has let go of everything. */
static const char *
compare_with_baseline(const struct quiet *quiet, struct operator *operator)
{
	static char text[512];
	struct protocol_segment rows[512];
	struct protocol_client clients[512];
	struct harness_usage now;
	size_t n = harness_list(&operator->conn, rows, BASE_ARRAY_SIZE(rows));
	int n_clients = harness_clients(&operator->conn, clients, BASE_ARRAY_SIZE(clients));

	text[0] = 0;
	for (size_t i = 0; i < n && !text[0]; i++)
		if ((rows[i].flags & PROTOCOL_SEGMENT_CREATED) || rows[i].readers || rows[i].writers || rows[i].state != PROTOCOL_READY)
			(void)snprintf(text, sizeof(text), "'%s' is in state %u, with %u readers and %u writers, %u of them unsupervised",
			    rows[i].name, rows[i].state, rows[i].readers, rows[i].writers, rows[i].unsupervised);
	if (n_clients != 1 && !text[0])
		(void)snprintf(text, sizeof(text), "%d clients are there", n_clients);
	if (text[0])
		return text;
	read_usage(operator, &now);
	if (now.fds > quiet->usage.fds || now.memfds > quiet->usage.memfds || now.sockets > quiet->usage.sockets ||
	    now.maps > quiet->usage.maps + MAPS_MORE || now.children > quiet->usage.children + 2 ||
	    harness_manager_count(&operator->manager, "") > SURVIVING_STORED)
		(void)snprintf(text, sizeof(text), "fds %zu, were %zu; memfds %zu, were %zu; sockets %zu, were %zu; maps %zu, were %zu; "
		    "children %zu, were %zu; %u in the store", now.fds, quiet->usage.fds, now.memfds, quiet->usage.memfds, now.sockets,
		    quiet->usage.sockets, now.maps, quiet->usage.maps, now.children, quiet->usage.children,
		    harness_manager_count(&operator->manager, ""));
	else if (charged(operator) > quiet->charged_bytes + CHARGE_BYTES)
		(void)snprintf(text, sizeof(text), "%" PRIu64 " bytes are charged, and %" PRIu64 " were", charged(operator),
		    quiet->charged_bytes);
	return text;
}

static void
await_baseline(const struct quiet *quiet, struct operator *operator)
{
	uint64_t deadline_ns = harness_clock_ns() + WAIT_NS;
	const char *differs;

	while (*(differs = compare_with_baseline(quiet, operator))) {
		harness_assert(harness_clock_ns() < deadline_ns, "%.1f s after the beginning, when all have gone: %s", soak_clock(), differs);
		(void)poll(NULL, 0, 10);
	}
}

/* No process that has ended is still the daemon's, and no stray is left. */
static void
await_tidy_world(const struct operator *operator)
{
	uint64_t deadline_ns = harness_clock_ns() + WAIT_NS;
	static struct world world;
	size_t n_foreign;

	if (!operator->has_own_world)
		return;
	do {
		n_foreign = 0;
		world_look(&world);
		for (size_t i = 0; i < world.n_objects; i++)
			n_foreign += !streq(world.objects[i].name, "soak-hall") && !streq(world.objects[i].name, "soak-strand");
		n_foreign += world.n_memories > 1 ? world.n_memories - 1 : 0;
		harness_assert(harness_clock_ns() < deadline_ns, "%.1f s after the beginning, when all have gone, this is left: %s",
		    soak_clock(), world_describe(&world));
		(void)poll(NULL, 0, 10);
	} while (n_foreign);
}

static void
expect_no_zombie(const struct operator *operator)
{
	uint64_t deadline_ns = harness_clock_ns() + WAIT_NS;
	pid_t children[64];
	bool is_found;

	do {
		size_t n = harness_children(operator->manager.daemon.pid, children, BASE_ARRAY_SIZE(children));

		is_found = false;
		for (size_t i = 0; i < n; i++) {
			char path[64], line[64] = "";
			cleanup_fclose FILE *f = NULL;

			(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)children[i]);
			f = fopen(path, "re");
			while (f && fgets(line, sizeof(line), f) && strncmp(line, "State:", 6) != 0)
				;
			is_found |= strncmp(line, "State:\tZ", 8) == 0;
		}
		harness_assert(!is_found || harness_clock_ns() < deadline_ns, "the daemon has a child that it does not reap");
		if (is_found)
			(void)poll(NULL, 0, 10);
	} while (is_found);
}

/* What a daemon that was killed, or a rogue, has left as children is the soak's. */
static void
reap_strays(const struct operator *operator)
{
	siginfo_t info = { .si_pid = 0 };

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid && info.si_pid != operator->manager.daemon.pid) {
		(void)waitpid(info.si_pid, NULL, 0);
		info.si_pid = 0;
	}
}

static void
note(struct quiet *quiet, struct operator *operator)
{
	struct harness_usage usage;

	if (quiet->n == QUIET_POINTS_MAX)
		return;
	read_usage(operator, &usage);
	quiet->points[quiet->n].rss_kib = harness_status_figure(operator->manager.daemon.pid, "VmRSS:");
	quiet->points[quiet->n].charged_bytes = charged(operator);
	quiet->points[quiet->n].fds = usage.fds;
	quiet->points[quiet->n].pid = operator->manager.daemon.pid;
	quiet->points[quiet->n++].at = soak_clock();
}

void
quiet_begin(struct quiet *quiet, struct operator *operator)
{
	struct protocol_segment rows[64];
	size_t n = harness_list(&operator->conn, rows, BASE_ARRAY_SIZE(rows));

	for (size_t i = 0; i < n; i++)
		(void)harness_wait(&operator->conn, rows[i].name);
	surviving_await_tidy(&operator->manager);
	read_usage(operator, &quiet->usage);
	quiet->charged_bytes = charged(operator);
	quiet->n = 0;
	note(quiet, operator);
}

void
quiet_look(struct quiet *quiet, struct operator *operator, struct crowd *crowd)
{
	operator_rest(operator, crowd);
	crowd_still(crowd);
	operator_rest(operator, crowd);
	expect_counts(operator);
	crowd_disperse(crowd);
	await_baseline(quiet, operator);
	await_tidy_world(operator);
	expect_no_zombie(operator);
	reap_strays(operator);
	note(quiet, operator);
	soak_count(SOAK_QUIET_POINTS);
}

void
quiet_print(const struct quiet *quiet)
{
	unsigned last = quiet->n - 1, step = quiet->n / 16 + 1;

	if (!quiet->n)
		return;
	(void)printf("when nobody is there: %6s %8s %6s %10s %12s\n", "at s", "pid", "fds", "RSS KiB", "charged KiB");
	for (unsigned i = 0; i < quiet->n; i += i + step > last && i != last ? last - i : step)
		(void)printf("                      %6.0f %8d %6zu %10" PRIu64 " %12" PRIu64 "\n", quiet->points[i].at, (int)quiet->points[i].pid,
		    quiet->points[i].fds, quiet->points[i].rss_kib, quiet->points[i].charged_bytes / 1024);
}

/* Of the last daemon, which has seen more than one crowd. */
void
quiet_expect_level(const struct quiet *quiet)
{
	unsigned last = quiet->n ? quiet->n - 1 : 0, first = last;

	while (first > 0 && quiet->points[first - 1].pid == quiet->points[last].pid)
		first--;
	if (last - first < 2 || harness_has_sanitizers())
		return;
	first++;
	(void)printf("%14.1f  KiB a minute: how the last daemon's memory rose, from %.0f s to %.0f s\n",
	    ((double)quiet->points[last].rss_kib - (double)quiet->points[first].rss_kib) * 60 / (quiet->points[last].at - quiet->points[first].at),
	    quiet->points[first].at, quiet->points[last].at);
	harness_assert(quiet->points[last].rss_kib <= quiet->points[first].rss_kib + RISE_KIB, "the daemon's memory rose from %" PRIu64
	    " KiB to %" PRIu64 " KiB", quiet->points[first].rss_kib, quiet->points[last].rss_kib);
}
