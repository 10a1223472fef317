/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/soak/board.h"
#include "tests/soak/operator.h"
#include "tests/system/surviving.h"

#define GROUP_BYTES		(UINT64_C(384) << 20)
#define PAUSE_MAX_MS		700
#define START_MAX_US		30000	/* from a launch to a kill that may come before it is ready */
#define DROUGHT_MAX_MS		1200
#define EXTRAS			6
#define WATCHDOG_S		(harness_has_sanitizers() ? 60 : 20)
#define KEY			0x5e6a1d

#define SMALL			"mlock = false; mode = \"0666\"; "
#define LOCK(name, at)		"{ name = \"" name "\"; offset = \"" at "\"; length = \"4KiB\"; undo = \"4KiB\"; }"

static const char *const growths[] = { "64KiB", "128KiB", "256KiB", "512KiB", "1MiB" };

/* What is there from the beginning to the end. */
static const char fixed[] =
    "{ name = \"ledger\"; size = \"64KiB\"; " SMALL "locks = ( " LOCK("a", "0") ", " LOCK("b", "4KiB") ", " LOCK("c", "8KiB") ", "
    LOCK("d", "12KiB") " ); },\n"
    "{ name = \"memfd\"; size = \"64KiB\"; " SMALL "},\n"
    "{ name = \"posix\"; backend = \"posix\"; object = \"/soak-hall\"; size = \"64KiB\"; " SMALL "},\n"
    "{ name = \"sysv\"; backend = \"sysv\"; key = 0x5e6a1d; size = \"64KiB\"; " SMALL "},\n"
    "{ name = \"desk\"; size = \"64KiB\"; " SMALL "},\n"
    "{ name = \"strand\"; backend = \"posix\"; object = \"/soak-strand\"; size = \"64KiB\"; " SMALL "},\n"
    "{ name = \"closed\"; size = \"64KiB\"; mlock = false; },\n"
    "{ name = \"locked\"; size = \"1MiB\"; mode = \"0666\"; },\n";

static const char templates[] =
    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; max_count = 100; lifetime = \"persistent\"; mlock = false; },\n"
    "{ name = \"s-\"; max_size = \"64KiB\"; max_count = 300; lifetime = \"attached\"; mlock = false; },\n"
    "{ name = \"lair-\"; max_size = \"64KiB\"; max_count = 300; lifetime = \"attached\"; mlock = false; locks = ( "
    LOCK("a", "0") " ); },\n"
    "{ name = \"hulk-\"; max_size = \"64MiB\"; max_count = 300; lifetime = \"attached\"; mlock = false; } );\n";

static const char rules[] =
    "orphans = ( { posix = \"/stray-*\"; after = \"300ms\"; action = \"remove\"; }, "
    "{ sysv = { mode = \"0600\"; }; after = \"1s\"; action = \"remove\"; } );\n";

struct plan {
	unsigned n_extra, growth;
	bool is_broken;
	bool reserves_all;		/* no memory may be promised */
	bool is_changed;		/* keys of the daemon */
};

static void
configure(struct operator *operator, const struct plan *plan)
{
	char body[8192], keys[512];
	size_t n = (size_t)snprintf(body, sizeof(body), "segments = (\n%s%s,\n%s,\n"
	    "{ name = \"file\"; backend = \"file\"; path = \"%s/data\"; size = \"64KiB\"; " SMALL "},\n"
	    "{ name = \"grow\"; size = \"%s\"; max_size = \"1MiB\"; " SMALL "}", fixed, bank_definition("bank"), vandal_definition,
	    operator->manager.daemon.dir, growths[plan->growth]);

	for (unsigned i = 0; i < plan->n_extra; i++)
		n += (size_t)snprintf(body + n, sizeof(body) - n, ",\n{ name = \"extra-%u\"; size = \"%uKiB\"; required = false; " SMALL "}", i, 64 * (i + 1));
	n += (size_t)snprintf(body + n, sizeof(body) - n, "%s );\n%s%s", plan->is_broken ? ", { name = 7; size = \"much\"; bogus = 1; }" : "",
	    templates, operator->has_own_world ? rules : "");
	harness_assert(n < sizeof(body), "the configuration is too long");
	(void)snprintf(keys, sizeof(keys), "\tmemory_reserve = \"%s\";\n\tworkers = %u;\n\tlimits = { clients = %u; attachments = %u; "
	    "bytes = \"%s\"; };", plan->reserves_all ? "64TiB" : "64MiB", plan->is_changed ? 3 : 2,
	    soak_board->has_uids ? (plan->is_changed ? 150u : 200u) : 4096u, soak_board->has_uids ? 700u : 65536u,
	    plan->is_changed ? "192MiB" : "256MiB");
	harness_daemon_configure(&operator->manager.daemon, keys, body);
}

/* In the daemon's process, before it is the daemon. */
static void
set_watchdog(void *arg)
{
	struct operator *operator = arg;
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, WATCHDOG_S * NS_PER_SEC / 1000);
	(void)setenv("WATCHDOG_USEC", text, 1);
	(void)snprintf(text, sizeof(text), "%d", (int)getpid());
	(void)setenv("WATCHDOG_PID", text, 1);
	if (operator->has_group)
		group_join(&operator->group);
}

void
operator_prepare(struct operator *operator, bool has_own_world, uint64_t seed)
{
	*operator = (struct operator) { .random = seed ^ 0x6f70, .has_own_world = has_own_world };
	operator->has_group = group_try(&operator->group, GROUP_BYTES);
	harness_manager_prepare(&operator->manager, NULL, "");
	operator->manager.daemon.before_exec = set_watchdog;
	operator->manager.daemon.before_exec_arg = operator;
}

static void
note_start(struct operator *operator)
{
	atomic_store(&soak_board->daemon_pid, (int)operator->manager.daemon.pid);
	atomic_fetch_add(&soak_board->n_starts, 1);
	operator->watchdog_ns = clock_monotonic_ns();
}

void
operator_start(struct operator *operator)
{
	struct harness_manager *manager = &operator->manager;

	configure(operator, &(struct plan) { 0 });
	harness_manager_launch(manager);
	harness_manager_await_ready(manager);
	note_start(operator);
	(void)snprintf(soak_board->socket, sizeof(soak_board->socket), "%s", manager->daemon.socket);
	harness_open(&operator->conn, manager->daemon.socket);
	operator->conn.is_lasting = true;
}

/* It may not have come to know the signal for a hand-over yet. */
static void
end_daemon(struct operator *operator, int signal)
{
	int status;

	soak_count(signal == SIGKILL ? SOAK_KILLS : SOAK_HANDOVERS);
	status = harness_manager_end(&operator->manager, signal);
	operator->drought_until_ns = 0;
	if (soak_has_trouble(SOAK_TROUBLE_FDS))
		soak_trouble_end(SOAK_TROUBLE_FDS);
	harness_assert(status == -signal || (signal == SIGUSR2 && status == 0), "%.1f s after the beginning, after signal %d the daemon "
	    "ended with %d", soak_clock(), signal, status);
}

void
operator_restart(struct operator *operator, int signal)
{
	end_daemon(operator, signal);
	harness_manager_launch(&operator->manager);
	/* Of three one is killed on its way. */
	if (soak_draw(&operator->random, 3) == 0) {
		struct timespec pause = { .tv_nsec = (long)soak_draw(&operator->random, START_MAX_US) * 1000 };

		(void)ppoll(NULL, 0, &pause, NULL);
		end_daemon(operator, SIGKILL);
		soak_count(SOAK_EARLY_KILLS);
		harness_manager_launch(&operator->manager);
	}
	harness_manager_await_ready(&operator->manager);
	note_start(operator);
}

/* Deeds */

static void
kill_it(struct operator *operator, struct crowd *crowd)
{
	(void)crowd;
	if (!operator->is_calm)
		operator_restart(operator, SIGKILL);
}

static void
hand_it_over(struct operator *operator, struct crowd *crowd)
{
	(void)crowd;
	if (!operator->is_calm)
		operator_restart(operator, SIGUSR2);
}

static void
kill_a_worker(struct operator *operator, struct crowd *crowd)
{
	pid_t children[64];
	size_t n = harness_children(operator->manager.daemon.pid, children, BASE_ARRAY_SIZE(children));

	(void)crowd;
	if (!n)
		return;
	soak_trouble_begin(SOAK_TROUBLE_WORKERS);
	if (kill(children[soak_draw(&operator->random, (uint32_t)n)], SIGKILL) == 0)
		soak_count(SOAK_WORKERS_KILLED);
	soak_trouble_end(SOAK_TROUBLE_WORKERS);
}

/* What it found is only said where it must be so. */
static void
ask_for_reload(struct operator *operator, const struct plan *plan)
{
	struct protocol_plan request = { .flags = PROTOCOL_PLAN_RELOAD };
	struct harness_reply reply;
	const struct protocol_planned *planned = (const void *)reply.bytes;
	uint64_t begun_ns = clock_monotonic_ns();
	int r;

	configure(operator, plan);
	r = harness_ask(&operator->conn, PROTOCOL_PLAN, &request.header, sizeof(request), &reply);
	soak_count(SOAK_RELOADS);
	if (soak_excuse_create(r, begun_ns))
		return;
	harness_assert(r == 0, "%.1f s after the beginning a reload was answered with %d: %s", soak_clock(), r,
	    reply.bytes + sizeof(reply.header));
	if (plan->is_broken)
		soak_count(SOAK_BROKEN);
	harness_assert((planned->counts[PROTOCOL_PLAN_PROBLEM] > 0) == plan->is_broken || soak_excuse_create(-EIO, begun_ns),
	    "%.1f s after the beginning a reload found %u problems", soak_clock(), planned->counts[PROTOCOL_PLAN_PROBLEM]);
}

static void
draw_plan(struct operator *operator, struct plan *ret_plan)
{
	*ret_plan = (struct plan) {
		.n_extra = soak_draw(&operator->random, EXTRAS),
		.growth = soak_draw(&operator->random, BASE_ARRAY_SIZE(growths)),
		.is_broken = soak_draw(&operator->random, 4) == 0,
		.is_changed = soak_draw(&operator->random, 2) == 0,
		.reserves_all = operator->shortage_until_ns && !operator->has_group,
	};
}

static void
reload(struct operator *operator, struct crowd *crowd)
{
	struct plan plan;

	(void)crowd;
	/* Without descriptors it is answered when they are there again, and who gives them waits here. */
	if (operator->drought_until_ns)
		return;
	draw_plan(operator, &plan);
	ask_for_reload(operator, &plan);
}

/* Nobody waits for that: other deeds come in between. */
static void
hang_up(struct operator *operator, struct crowd *crowd)
{
	struct plan plan;

	(void)crowd;
	draw_plan(operator, &plan);
	plan.is_broken = false;
	configure(operator, &plan);
	(void)kill(operator->manager.daemon.pid, SIGHUP);
	soak_count(SOAK_HANGUPS);
}

static void
take_descriptors(struct operator *operator, struct crowd *crowd)
{
	pid_t pid = operator->manager.daemon.pid;
	struct harness_usage usage;
	struct rlimit low;

	(void)crowd;
	/* It says then that connections would not outlive it, and means it. */
	if (!operator->is_calm || operator->drought_until_ns || prlimit(pid, RLIMIT_NOFILE, NULL, &operator->nofile) != 0)
		return;
	harness_usage_read(pid, &usage);
	low = (struct rlimit) { .rlim_cur = usage.fds + soak_draw(&operator->random, 8), .rlim_max = operator->nofile.rlim_max };
	soak_trouble_begin(SOAK_TROUBLE_FDS);
	if (prlimit(pid, RLIMIT_NOFILE, &low, NULL) != 0)
		return;
	operator->drought_until_ns = clock_monotonic_ns() + (1 + soak_draw(&operator->random, DROUGHT_MAX_MS)) * NS_PER_MS;
	soak_count(SOAK_FD_DROUGHTS);
}

static void
give_descriptors(struct operator *operator)
{
	operator->drought_until_ns = 0;
	(void)prlimit(operator->manager.daemon.pid, RLIMIT_NOFILE, &operator->nofile, NULL);
	soak_trouble_end(SOAK_TROUBLE_FDS);
}

/* By clients that take what they can, where there is a limit; by a reserve of all that there is, otherwise and now and then. */
static void
take_memory(struct operator *operator, struct crowd *crowd)
{
	struct plan plan;

	if (operator->shortage_until_ns || operator->drought_until_ns)
		return;
	soak_trouble_begin(SOAK_TROUBLE_MEMORY);
	operator->shortage_until_ns = clock_monotonic_ns() + (500 + soak_draw(&operator->random, DROUGHT_MAX_MS)) * NS_PER_MS;
	crowd->has_hogs = operator->has_group && soak_draw(&operator->random, 2);
	if (!crowd->has_hogs) {
		draw_plan(operator, &plan);
		plan.is_broken = false;
		plan.reserves_all = true;
		ask_for_reload(operator, &plan);
	}
	soak_count(SOAK_MEMORY_DROUGHTS);
}

static void
give_memory(struct operator *operator, struct crowd *crowd)
{
	operator->shortage_until_ns = 0;
	crowd->has_hogs = false;
	ask_for_reload(operator, &(struct plan) { 0 });
	soak_trouble_end(SOAK_TROUBLE_MEMORY);
}

void
operator_work(struct operator *operator, struct crowd *crowd)
{
	static void (*const deeds[])(struct operator *operator, struct crowd *crowd) = {
		kill_it, kill_it, hand_it_over, kill_a_worker, kill_a_worker, reload, reload, reload, hang_up, take_descriptors, take_memory,
	};
	uint64_t now_ns = clock_monotonic_ns();

	if (operator->drought_until_ns && operator->drought_until_ns < now_ns)
		give_descriptors(operator);
	if (operator->shortage_until_ns && operator->shortage_until_ns < now_ns && !operator->drought_until_ns)
		give_memory(operator, crowd);
	if (operator->due_ns > now_ns)
		return;
	deeds[soak_draw(&operator->random, BASE_ARRAY_SIZE(deeds))](operator, crowd);
	operator->due_ns = clock_monotonic_ns() + soak_draw(&operator->random, PAUSE_MAX_MS) * NS_PER_MS;
}

/* What a worker's death, or a want of memory, has left failed. */
static void
retry_failed(struct operator *operator)
{
	struct protocol_segment rows[512];
	size_t n = harness_list(&operator->conn, rows, BASE_ARRAY_SIZE(rows));

	for (size_t i = 0; i < n; i++) {
		struct protocol_retry request = { 0 };
		struct harness_reply reply;

		if (rows[i].state != PROTOCOL_FAILED)
			continue;
		memcpy(request.name, rows[i].name, sizeof(request.name));
		(void)harness_ask(&operator->conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
	}
}

void
operator_rest(struct operator *operator, struct crowd *crowd)
{
	if (operator->drought_until_ns)
		give_descriptors(operator);
	if (operator->shortage_until_ns)
		give_memory(operator, crowd);
	crowd->has_hogs = false;
	ask_for_reload(operator, &(struct plan) { 0 });
	retry_failed(operator);
}

static void
watch_log(struct operator *operator)
{
	static const char *const signs[] = { "AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion" };
	cleanup_fclose FILE *f = fopen(operator->manager.daemon.log, "re");
	char line[2048];

	if (!f || fseek(f, operator->log_at, SEEK_SET) != 0)
		return;
	while (fgets(line, sizeof(line), f))
		for (unsigned i = 0; i < BASE_ARRAY_SIZE(signs); i++)
			harness_assert(!strstr(line, signs[i]), "%.1f s after the beginning the daemon's log says: %s", soak_clock(), line);
	operator->log_at = ftell(f);
}

void
operator_watch(struct operator *operator)
{
	struct harness_manager *manager = &operator->manager;
	struct pollfd end = { .fd = manager->daemon.pidfd, .events = POLLIN };
	uint64_t now_ns = clock_monotonic_ns(), n;

	if (poll(&end, 1, 0) == 1)
		harness_fail("%.1f s after the beginning the daemon ended by itself with %d", soak_clock(),
		    harness_daemon_await_exit(&manager->daemon));
	watch_log(operator);
	harness_manager_lock(manager);
	n = manager->n_watchdog;
	harness_manager_unlock(manager);
	operator->longest_watchdog_ns = max_u64(operator->longest_watchdog_ns, now_ns - operator->watchdog_ns);
	if (n != operator->n_watchdog)
		operator->watchdog_ns = now_ns;
	operator->n_watchdog = n;
	harness_assert(harness_passed_ns(operator->watchdog_ns) < WATCHDOG_S * NS_PER_SEC, "%.1f s after the beginning the daemon has not told its "
	    "watchdog for %" PRIu64 " ms", soak_clock(), (now_ns - operator->watchdog_ns) / NS_PER_MS);
}

void
operator_stop(struct operator *operator)
{
	watch_log(operator);
	harness_close(&operator->conn);
	surviving_stop(&operator->manager);
	if (operator->has_group)
		(void)rmdir(operator->group.dir);
	soak_count(SOAK_STOPS);
}
