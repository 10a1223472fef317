/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * S5: what the daemon does while nobody wants anything. It has a segment, and clients that are connected and attached;
 * the kernel says how often it was put on a CPU, and for how long. Whoever runs reads that does not wake it.
 */
#include "config.h"

#include <time.h>

#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/report.h"
#include "bench/wire.h"

#define IDLE_CLIENTS	10
#define IDLE_SETTLE_NS	(5 * NS_PER_SEC)	/* workers that a start needed are let go within this */

static void
idle_for(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };

	(void)nanosleep(&t, NULL);
}

void
idle_wakeups(struct bench *bench, const struct bench_goal *goal)
{
	uint64_t cpu_before_ns, cpu_after_ns, times_before, times_after;
	struct daemon_config config = { 0 };
	struct protocol_attach attach;
	int fds[IDLE_CLIENTS], segment_fds[IDLE_CLIENTS];
	struct daemon daemon;
	unsigned i;

	daemon_init(&daemon, &config);
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
