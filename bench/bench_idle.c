/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * S5: what the daemon does while nobody wants anything. It has a segment, and clients that are connected and attached;
 * the kernel says how often it was put on a CPU, and for how long. Whoever runs reads that does not wake it. With rules for
 * orphans it has objects besides that match them, held ones and others whose time has not come.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>

#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/private.h"
#include "bench/report.h"
#include "bench/wire.h"

#define IDLE_CLIENTS	10
#define IDLE_SETTLE_NS	(5 * NS_PER_SEC)	/* workers that a start needed are let go within this */
#define IDLE_KEY	0x5e96d1
#define IDLE_OBJECTS	100			/* of each kind; every other one is held */
#define IDLE_RULES	"orphans = ( { posix = \"/segmentd-bench-*\"; after = \"1h\"; action = \"remove\"; },\n" \
    "  { sysv = { user = \"root\"; }; after = \"1h\"; action = \"remove\"; } );\n"

static void
idle_for(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };

	(void)nanosleep(&t, NULL);
}

static void
idle_measure(struct bench *bench, const struct bench_goal *goal, const struct daemon_config *config)
{
	uint64_t cpu_before_ns, cpu_after_ns, times_before, times_after;
	struct protocol_attach attach;
	int fds[IDLE_CLIENTS], segment_fds[IDLE_CLIENTS];
	struct daemon daemon;
	unsigned i;

	daemon_init(&daemon, config);
	daemon_start(bench, &daemon);
	wire_attach_init(&attach, DAEMON_SEGMENT);
	for (i = 0; i < IDLE_CLIENTS; i++) {
		fds[i] = wire_connect(daemon.socket);
		wire_hello(fds[i]);
		wire_welcome(fds[i]);
		wire_send(fds[i], &attach.header, 2);
		segment_fds[i] = wire_attached(fds[i]);
	}
	idle_for(IDLE_SETTLE_NS);
	cpu_before_ns = bench_process_cpu_ns(daemon.pid, &times_before);
	idle_for((uint64_t)(bench->idle_seconds * 1e9));
	cpu_after_ns = bench_process_cpu_ns(daemon.pid, &times_after);
	report_figure(bench, goal, "wake-ups a minute", (double)(times_after - times_before) * 60 / bench->idle_seconds,
	    goal->must, goal->stretch);
	bench_note("%.6f s of CPU time in %.0f s, %d clients attached", (double)(cpu_after_ns - cpu_before_ns) / 1e9,
	    bench->idle_seconds, IDLE_CLIENTS);
	for (i = 0; i < IDLE_CLIENTS; i++) {
		(void)close(segment_fds[i]);
		(void)close(fds[i]);
	}
	daemon_stop(bench, &daemon);
	daemon_deinit(&daemon);
}

void
idle_wakeups(struct bench *bench, const struct bench_goal *goal)
{
	struct daemon_config config = { 0 };

	idle_measure(bench, goal, &config);
}

struct strays {
	int fds[IDLE_OBJECTS];
	void *maps[IDLE_OBJECTS];
	int ids[IDLE_OBJECTS];
};

static void
strays_make(struct strays *strays)
{
	char name[64];

	for (unsigned i = 0; i < IDLE_OBJECTS; i++) {
		(void)snprintf(name, sizeof(name), "/segmentd-bench-%u", i);
		strays->fds[i] = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		strays->ids[i] = shmget(IDLE_KEY + (key_t)i, 4096, IPC_CREAT | IPC_EXCL | 0600);
		if (strays->fds[i] < 0 || strays->ids[i] < 0)
			bench_fail("object %u cannot be made: %s", i, strerror(errno));
		strays->maps[i] = NULL;
		if (i % 2)
			strays->maps[i] = shmat(strays->ids[i], NULL, 0);
		else
			close_fd(&strays->fds[i]);
	}
}

static void
strays_drop(struct strays *strays)
{
	for (unsigned i = 0; i < IDLE_OBJECTS; i++) {
		close_fd(&strays->fds[i]);
		if (strays->maps[i])
			(void)shmdt(strays->maps[i]);
	}
}

void
idle_wakeups_rules(struct bench *bench, const struct bench_goal *goal)
{
	struct daemon_config config = { .rest = IDLE_RULES };
	struct private_shm shm;
	struct strays strays;
	const char *why = private_shm_enter(&shm);

	if (why) {
		bench_skip(bench, goal, why);
		return;
	}
	strays_make(&strays);
	idle_measure(bench, goal, &config);
	bench_note("%d objects and %d System V segments match its rules, every other one held", IDLE_OBJECTS, IDLE_OBJECTS);
	strays_drop(&strays);
	private_shm_leave(&shm);
}
