/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "client/mutex.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire_auditor.h"
#include "tests/fuzz/wire_daemon.h"
#include "tests/fuzz/wire_peer.h"

#define SETTLE_SECONDS	30	/* of real time: a worker that is started on a machine with load */
#define PASS_NS		NS_PER_MS	/* at first; then twice as much each time */
#define PASS_MAX_NS	(64 * NS_PER_MS)

static uint64_t passed_ns;

/* What a reload may find: the first is what is there in the beginning, and after each input. */
static const struct variant {
	const char *clients, *plain_mode, *read_bytes, *group_name, *more;
} variants[WIRE_VARIANTS] = {
	{ "5", "0666", "4KiB", "group", "" },
	{ "5", "0666", "64KiB", "group", "" },
	{ "5", "0600", "4KiB", "group", "" },
	{ "3", "0666", "2MiB", "group", "" },
	{ "5", "0666", "16KiB", "fresh", "orphans = ( { posix = \"/segment-fuzz-*\"; after = \"1s\"; action = \"report\"; } );\n" },
	{ "5", "0640", "4KiB", "group", "segments = (" },
};

static const char configuration[] =
    "daemon = { socket = \"%s/socket\"; socket_mode = \"0666\"; state_dir = \"%s/state\"; admin_group = \"\"; workers = 1;\n"
    "  audit_socket = \"%s/audit\"; memory_reserve = \"0\"; limits = { clients = %s; attachments = 40; bytes = \"1MiB\"; }; };\n"
    "segments = (\n"
    "  { name = \"plain\"; size = \"16KiB\"; mlock = false; mode = \"%s\"; page_size = \"base\"; },\n"
    "  { name = \"" WIRE_LOCKED "\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; page_size = \"base\"; layout = \"l/1\";\n"
    "    locks = ( { name = \"roll\"; length = 4096; undo = 1024; }, { name = \"keep\"; offset = 4096; length = 4096; on_death = \"keep\"; },\n"
    "      { name = \"zero\"; offset = 8192; length = 5000; undo = 0; on_death = \"zero\"; },\n"
    "      { name = \"poison\"; offset = 16384; length = 100; undo = 64; on_death = \"poison\"; },\n"
    "      { name = \"mutex\"; at = 20480; init = true; on_death = \"keep\"; },\n"
    "      { name = \"mutex-zero\"; at = 20544; init = true; on_death = \"zero\"; offset = 24576; length = 4096; } ); },\n"
    "  { name = \"" WIRE_HIDDEN "\"; size = \"4KiB\"; mlock = false; page_size = \"base\"; },\n"
    "  { name = \"read\"; size = \"%s\"; max_size = \"1MiB\"; mlock = false; mode = \"0644\"; page_size = \"base\"; },\n"
    "  { name = \"%s\"; size = \"4KiB\"; mlock = false; group = \"4242\"; mode = \"0660\"; page_size = \"base\"; },\n"
    "  { name = \"broken\"; size = \"4KiB\"; mlock = false; mode = \"0666\"; init = \"%s/nothing\"; required = false; },\n"
    "  { name = \"scrub\"; size = \"8KiB\"; mlock = false; mode = \"0666\"; page_size = \"base\"; scrub = true; },\n"
    "  { name = \"file\"; size = \"16KiB\"; mlock = false; mode = \"0666\"; backend = \"file\"; path = \"%s/data\"; sync = \"5s\";\n"
    "    required = false; },\n"
    "  { name = \"posix\"; size = \"16KiB\"; mlock = false; mode = \"0666\"; backend = \"posix\"; object = \"/segment-fuzz-%d\"; required = false; },\n"
    "  { name = \"sysv\"; size = \"16KiB\"; mlock = false; mode = \"0666\"; backend = \"sysv\"; key = %d; required = false; } );\n"
    "templates = ( { name = \"own-%%U-\"; max_size = \"256KiB\"; max_count = 8; mlock = false; lifetime = \"attached\"; page_size = \"base\"; },\n"
    "  { name = \"any-\"; max_size = \"64KiB\"; max_count = 4; mlock = false; mode = \"0666\"; page_size = \"base\";\n"
    "    locks = ( { name = \"l\"; length = 64; } ); },\n"
    "  { name = \"shm-\"; max_size = \"64KiB\"; max_count = 2; mlock = false; mode = \"0660\"; backend = \"sysv\"; lifetime = \"attached\";\n"
    "    linger = \"5ms\"; } );\n%s";

/* In the place of the C library's, for the daemon and libevent: time passes faster where nothing else would. */
int
clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret_time);

	if (r == 0 && passed_ns && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE)) {
		uint64_t ns = (uint64_t)ret_time->tv_nsec + passed_ns;

		ret_time->tv_sec += (time_t)(ns / NS_PER_SEC);
		ret_time->tv_nsec = (long)(ns % NS_PER_SEC);
	}
	return r;
}

void
wire_daemon_pass(uint64_t ns)
{
	passed_ns += ns;
}

void
wire_daemon_step(struct wire_daemon *daemon, unsigned n)
{
	while (n--)
		fuzz_check(event_base_loop(daemon->manager->base, EVLOOP_NONBLOCK) >= 0);
}

/* What a worker, or another process, is at. */
static const char *
busy(const struct wire_daemon *daemon)
{
	const struct manager *manager = daemon->manager;
	const struct segment *segment;

	if (!TAILQ_EMPTY(&manager->sessions.parcels.running) || !TAILQ_EMPTY(&manager->sessions.parcels.waiting))
		return "descriptors that were sent along";
	if (manager->reload.current || !TAILQ_EMPTY(&manager->reload.queue) || !LIST_EMPTY(&manager->parser.parses))
		return "a reload";
	if (!LIST_EMPTY(&manager->provisioner.releases.list))
		return "memory on its way back";
	TAILQ_FOREACH(segment, &manager->registry.in_order, entry) {
		if (segment->state == PROTOCOL_DECLARED || segment->state == PROTOCOL_PROVISIONING)
			return "provisioning";
		if (segment->locks->n_busy)
			return "the repair of a lock";
	}
	return NULL;
}

void
wire_daemon_await(struct wire_daemon *daemon, unsigned n_turns)
{
	for (; n_turns && busy(daemon); n_turns--)
		fuzz_check(event_base_loop(daemon->manager->base, EVLOOP_ONCE) >= 0);
	wire_daemon_step(daemon, 2);
}

static key_t
shm_key(pid_t pid)
{
	return 0x7a000000 | (pid & 0xffffff);
}

void
wire_daemon_sweep(pid_t pid)
{
	int id = shmget(shm_key(pid), 0, 0);
	char name[32];

	if (id >= 0)
		(void)shmctl(id, IPC_RMID, NULL);
	(void)snprintf(name, sizeof(name), "/segment-fuzz-%d", (int)pid);
	(void)shm_unlink(name);
}

/* Where it is. */
static const char *
write_configuration(const struct variant *variant)
{
	const char *dir = fuzz_dir();
	static char path[96];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/segmentd.conf", dir);
	file = fopen(path, "we");
	fuzz_check(file);
	(void)fprintf(file, configuration, dir, dir, dir, variant->clients, variant->plain_mode, variant->read_bytes, variant->group_name,
	    dir, dir, (int)getpid(), shm_key(getpid()), variant->more);
	fuzz_check(fclose(file) == 0);
	return path;
}

void
wire_daemon_change(struct wire_daemon *daemon, unsigned variant)
{
	daemon->variant = variant % WIRE_VARIANTS;
	(void)write_configuration(&variants[daemon->variant]);
	fuzz_check(reload_hangup(&daemon->manager->reload) == 0);
}

/* A declared segment that is not there, or on its way out, comes back by a reload; what was created goes. Whether all is as it was. */
static bool
restore_segments(struct wire_daemon *daemon)
{
	static const char *const declared[] = { "plain", WIRE_LOCKED, WIRE_HIDDEN, "read", "group", "broken", "scrub", "file", "posix",
		"sysv" };
	struct registry *registry = &daemon->manager->registry;
	struct segment *segment, *next;
	bool is_whole = true;

	if (daemon->variant)
		wire_daemon_change(daemon, 0);
	for (segment = TAILQ_FIRST(&registry->in_order); segment; segment = next) {
		next = TAILQ_NEXT(segment, entry);
		if (!segment->is_declared) {
			segment_remove(segment, true);
			is_whole = false;
			break;
		}
	}
	for (size_t i = 0; i < BASE_ARRAY_SIZE(declared); i++) {
		segment = registry_find(registry, declared[i]);
		/* Nothing that has grown becomes small again. */
		if (segment && streq(declared[i], "read") && segment->definition->size_bytes != 4096 && !daemon->manager->reload.current)
			segment_remove(segment, true);
		else if (segment && (segment->state == PROTOCOL_READY || segment->state == PROTOCOL_FAILED))
			continue;
		if (!segment && !daemon->manager->reload.current)
			fuzz_check(reload_hangup(&daemon->manager->reload) == 0);
		is_whole = false;
	}
	return is_whole;
}

/* What the daemon holds for clients that are gone; NULL: nothing. */
static const char *
held(const struct wire_daemon *daemon)
{
	const struct manager *manager = daemon->manager;
	const struct segment *segment;

	if (manager->sessions.n_sessions > 1)
		return "sessions";
	if (!TAILQ_EMPTY(&manager->sessions.parcels.done))
		return "connections that have ended, for what was sent along";
	if (!LIST_EMPTY(&manager->sessions.flights.list))
		return "connections that have ended, for what was sent";
	if (manager->sessions.burials.n)
		return "connections of the dead";
	if (recovery_n_waiting(&manager->recovery))
		return "recoveries";
	for (int kind = 0; kind < ACCOUNTS_KIND_N; kind++)
		if (manager->accounts.used[kind] > daemon->used[kind])
			return accounts_rows[kind].what;
	TAILQ_FOREACH(segment, &manager->registry.in_order, entry) {
		if (!TAILQ_EMPTY(&segment->attachments) || segment->n_readers || segment->n_writers || segment->n_unsupervised)
			return "attachments";
		if (segment->successor)
			return "a successor";
	}
	return NULL;
}

/* Memory as it was made, so that the next input finds what this one found. */
static void
clean_memory(struct wire_daemon *daemon)
{
	struct segment *segment = registry_find(&daemon->manager->registry, WIRE_LOCKED);

	memset(segment->holding.map, 0, segment->definition->size_bytes);
	for (uint32_t i = 0; i < segment->locks->n; i++) {
		struct lock *lock = &segment->locks->list[i];

		if (lock_is_mutex(lock))
			fuzz_check(mutex_make((unsigned char *)segment->holding.map + lock->definition->at_bytes) == 0);
		else
			memset(lock->place.lock, 0, sizeof(*lock->place.lock));
		lock_note(lock);
	}
}

void
wire_daemon_settle(struct wire_daemon *daemon)
{
	struct timespec real;
	const char *what = NULL;
	uint64_t pass_ns = PASS_NS;
	time_t end = 0;

	for (unsigned i = 0;; i++) {
		wire_auditor_hang_up();
		wire_daemon_step(daemon, 1);
		what = busy(daemon);
		if (what) {
			fuzz_check(event_base_loop(daemon->manager->base, EVLOOP_ONCE) >= 0);
		} else {
			what = restore_segments(daemon) ? held(daemon) : "segments";
			if (!what)
				break;
			/* What is under way ends without it; timers that come again do so after ten times as long. */
			if (i > 4) {
				wire_daemon_pass(pass_ns);
				pass_ns = min_u64(2 * pass_ns, PASS_MAX_NS);
			}
		}
		if (i % 64 != 63)
			continue;
		(void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &real);
		if (!end)
			end = real.tv_sec + SETTLE_SECONDS;
		fuzz_check_msg(real.tv_sec < end, "the daemon does not come to rest: %s", what);
	}
	clean_memory(daemon);
}

void
wire_daemon_note(struct wire_daemon *daemon)
{
	memcpy(daemon->used, daemon->manager->accounts.used, sizeof(daemon->used));
}

unsigned
wire_daemon_count_fds(const struct wire_daemon *daemon)
{
	const struct manager *manager = daemon->manager;

	return fuzz_count_fds(false) - 2 * (manager->workers.n + manager->io_workers.n + manager->sessions.parcels.workers.n);
}

void
wire_daemon_start(struct wire_daemon *daemon)
{
	struct conf_report report = CONF_REPORT_NULL;
	const char *dir = fuzz_dir();
	char audit[96];

	(void)snprintf(audit, sizeof(audit), "%s/audit", dir);
	wire_auditor_open(audit);

	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", dir);
	daemon->start = (struct start) START_NULL;
	daemon->start.file = write_configuration(&variants[0]);
	fuzz_check(conf_load(daemon->start.file, &report, &daemon->start.conf) == 0);
	conf_report_deinit(&report);
	daemon->pid = getpid();
	memset(daemon->used, 0xff, sizeof(daemon->used));
	fuzz_check(manager_open(&daemon->start, &daemon->manager) == 0);
	/* SIGTERM and SIGINT end whoever drives, and not the daemon in the middle of an input. */
	fuzz_check(event_del(daemon->manager->signals[0]) == 0 && event_del(daemon->manager->signals[1]) == 0);
	fuzz_keep_reachable(daemon->manager, sizeof(*daemon->manager));
	do
		fuzz_check(event_base_loop(daemon->manager->base, EVLOOP_ONCE) >= 0);
	while (busy(daemon) || !restore_segments(daemon));
}

void
wire_daemon_stop(struct wire_daemon *daemon)
{
	manager_close(daemon->manager);
	start_deinit(&daemon->start);
}
