/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Daemons that are killed: see killing.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/segment.h"
#include "tests/system/killing.h"
#include "tests/system/suite.h"
#include "tests/system/telling.h"

#define DAEMON_KEYS	"\tmemory_reserve = \"16MiB\";\n\tworkers = 1;\n"

const struct killing_kind killing_kinds[KILLING_N] = {
	{ "posix", "backend = \"posix\"; object = \"/s\"; mlock = false;", KILLING_BY_NAME, .is_quick = true },
	{ "posix, locked", "backend = \"posix\"; object = \"/s\"; mode = \"0660\";", KILLING_BY_NAME, .is_only_made = true },
	{ "posix, with locks", "backend = \"posix\"; object = \"/s\"; mlock = false; "
	    "locks = ( { name = \"all\"; length = \"4KiB\"; undo = \"4KiB\"; } );", KILLING_BY_NAME, .has_locks = true },
	{ "sysv by key", "backend = \"sysv\"; key = 0x5e6a1d; mlock = false;", KILLING_BY_KEY, .is_quick = true },
	{ "sysv by key, locked", "backend = \"sysv\"; key = 0x5e6a1d; mode = \"0660\";", KILLING_BY_KEY, .is_only_made = true },
	{ "sysv, private", "backend = \"sysv\"; mlock = false;", KILLING_BY_RECORD },
	{ "file", "backend = \"file\"; mlock = false;", KILLING_BY_PATH },
	{ "file, locked", "backend = \"file\";", KILLING_BY_PATH, .is_only_made = true },
	{ "memfd", "", KILLING_BY_NOTHING },
	{ "memfd of a template", "mlock = false;", KILLING_BY_NOTHING, .is_template = true, .is_only_made = true },
	{ "sysv of a template", "backend = \"sysv\"; mode = \"0660\"; mlock = false;", KILLING_BY_NOTHING, .is_template = true,
	    .is_only_made = true },
};

const char *const killing_phase_names[KILLING_PHASE_N] = { "create", "hand out", "drain", "remove", "take over", "clear" };

struct tracer killing_tracer;

static char state_names[512];		/* what is in a state_dir that nothing is the matter with */

const char *
killing_describe(const struct killing *killing)
{
	static char text[256];
	size_t n = killing_tracer.n_stops;

	(void)snprintf(text, sizeof(text), "'%s', %s at stop %zu of %s (%s); %s it%s", killing->kind->name,
	    killing->is_orderly ? "told to end" : "killed", n, killing_phase_names[killing->phase],
	    n ? tracer_describe(&killing_tracer.stops[n - 1]) : "before the first", killing->is_orderly ? "nobody wants" :
	    killing->is_wanted ? "the next one wants" : "the next one does not want", killing->is_mapping ? ", which the guest maps" : "");
	return text;
}

const struct world_memory *
killing_find_memory(const struct killing *killing, const struct world *world)
{
	if (killing->kind->by == KILLING_BY_KEY)
		return world_find_key(world, KILLING_KEY);
	for (size_t i = 0; killing->kind->by == KILLING_BY_RECORD && i < world->n_memories; i++)
		if (world->memories[i].key)
			return &world->memories[i];
	return NULL;
}

void
killing_note(const struct harness_daemon *daemon, const char *text)
{
	cleanup_close int fd = open(daemon->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	(void)dprintf(fd, "=== %s\n", text);
}

static void
configure(struct killing *killing, bool is_wanted, bool is_required)
{
	char path[128] = "", body[1024] = "";

	if (killing->kind->by == KILLING_BY_PATH)
		(void)snprintf(path, sizeof(path), "path = \"%s/data\";", killing->daemon.dir);
	if (killing->kind->is_template)
		(void)snprintf(body, sizeof(body), "templates = ( { name = \"%s-\"; max_size = \"64KiB\"; page_size = \"base\"; %s } );",
		    is_wanted ? "s" : "other", killing->kind->keys);
	else if (is_wanted)
		(void)snprintf(body, sizeof(body), "segments = ( { name = \"s\"; size = \"64KiB\"; page_size = \"base\"; "
		    "required = %s; %s %s } );", is_required ? "true" : "false", path, killing->kind->keys);
	harness_daemon_configure(&killing->daemon, DAEMON_KEYS, body);
}

void
killing_launch(struct killing *killing, bool is_wanted, bool is_required)
{
	configure(killing, is_wanted, is_required);
	harness_daemon_launch(&killing->daemon);
	harness_daemon_await_ready(&killing->daemon);
}

void
killing_launch_only(struct killing *killing, bool is_wanted)
{
	configure(killing, is_wanted, true);
	harness_daemon_launch(&killing->daemon);
}

void
killing_end_guest(struct killing *killing)
{
	if (killing->has_guest)
		actor_kill(&killing->guest);
	killing->has_guest = killing->is_mapping = false;
}

void
killing_await_end(struct killing *killing)
{
	uint64_t begun_ns = harness_clock_ns();
	int r = harness_daemon_await_exit(&killing->daemon);

	killing->end_ns = harness_clock_ns() - begun_ns;
	killing_expect(killing, r == 0, "after SIGTERM it ended with %d", r);
}

/* The daemon's, from wherever it stands. */
static void
end(struct killing *killing)
{
	if (!killing->is_orderly) {
		harness_daemon_kill(&killing->daemon);
	} else if (killing->daemon.pid > 0) {
		tracer_let_go(&killing_tracer, SIGTERM);
		killing_await_end(killing);
	}
}

/* How a phase ends. */

/* Or it cannot be made as long as somebody has what was there before. */
static bool
is_settled(void *arg)
{
	struct killing *killing = arg;

	return harness_daemon_hear(&killing->daemon) || strstr(killing->daemon.status, "failed");
}

/* What is found by its name or key. */
static bool
is_found(const struct killing *killing)
{
	struct world world;

	world_look(&world);
	return world_find(&world, "s") || killing_find_memory(killing, &world);
}

/* A quarantine is a name, too. */
bool
killing_is_cleared(void *arg)
{
	struct killing *killing = arg;
	struct world world;

	killing->is_ready = killing->is_ready || harness_daemon_hear(&killing->daemon);
	world_look(&world);
	return killing->is_ready && !world.n_objects && !world.n_memories;
}

static bool
is_answered(void *arg)
{
	(void)arg;
	return true;
}

static bool
is_told_removed(void *arg)
{
	struct killing *killing = arg;
	struct protocol_event event;

	telling_next(&killing->events, &event);
	return event.kind == PROTOCOL_EVENT_REMOVED;
}

static bool
is_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLIN;
}

/* How it begins: a daemon that is ready, and a guest that has stored to all of the segment. */
static void
begin(struct killing *killing)
{
	killing_launch(killing, true, true);
	harness_open(&killing->conn, killing->daemon.socket);
	actor_start(&killing->guest, killing->daemon.socket, "s");
	actor_must(&killing->guest, 0, "fill %d", KILLING_SEED);
	killing->has_guest = killing->is_mapping = killing->is_filled = true;
	killing->generation = actor_do(&killing->guest, "generation");
	world_look(&killing->before);
}

static void
let_go(struct killing *killing)
{
	killing_end_guest(killing);
	harness_await_counts(&killing->conn, "s", 0, 0);
}

/* The phases: each returns whether the daemon stands at the stop, or was killed there. */

static void
launch_traced(struct killing *killing, bool is_wanted)
{
	configure(killing, is_wanted, true);
	tracer_launch(&killing_tracer, &killing->daemon, SYS_flock);
}

bool
killing_start(struct killing *killing, bool is_wanted)
{
	launch_traced(killing, is_wanted);
	return tracer_run(&killing_tracer, killing->at, killing->daemon.notify_fd, is_settled, killing);
}

static bool
create(struct killing *killing)
{
	bool is_stopped;

	if (!killing->kind->is_template)
		return killing_start(killing, true);
	killing_launch(killing, true, true);
	actor_start_idle(&killing->guest, killing->daemon.socket);
	killing->has_guest = true;
	tracer_seize(&killing_tracer, &killing->daemon);
	actor_tell(&killing->guest, "create s-1 %d", KILLING_SIZE);
	is_stopped = tracer_run(&killing_tracer, killing->at, killing->guest.child.control, is_answered, NULL);
	end(killing);
	killing->is_mapping = actor_hear(&killing->guest) == 0;
	if (killing->is_mapping) {
		actor_must(&killing->guest, 0, "differs 0");
		actor_must(&killing->guest, 0, "fill %d", KILLING_SEED);
	}
	return is_stopped;
}

static bool
hand_out(struct killing *killing)
{
	bool is_stopped;
	long r;

	begin(killing);
	let_go(killing);
	actor_start_idle(&killing->guest, killing->daemon.socket);
	killing->has_guest = true;
	tracer_seize(&killing_tracer, &killing->daemon);
	actor_tell(&killing->guest, "attach s %u", SEGMENT_WRITE);
	is_stopped = tracer_run(&killing_tracer, killing->at, killing->guest.child.control, is_answered, NULL);
	end(killing);
	r = actor_hear(&killing->guest);
	/*
	 * -ESTALE: it was answered, and what has no name went with the daemon before it could be mapped; in good order all goes, the
	 * socket as well.
	 */
	killing_expect(killing, r == 0 || r == -ENOTCONN || r == -ECONNREFUSED ||
	    (r == -ESTALE && (killing->is_orderly || killing->kind->by == KILLING_BY_NOTHING)) || (r == -ENOENT && killing->is_orderly),
	    "the guest's attach said %ld", r);
	killing->is_mapping = r == 0;
	return is_stopped;
}

static void
ask_removal(struct killing *killing, uint32_t flags)
{
	struct protocol_remove request = { .flags = flags };

	killing->is_filled = false;
	harness_fill(&killing->conn, &request.header, PROTOCOL_REMOVE, sizeof(request));
	(void)snprintf(request.name, sizeof(request.name), "s");
	harness_assert(harness_send(killing->conn.fd, &request, sizeof(request), NULL, 0) == sizeof(request), "send failed");
}

static void
take_reply(struct killing *killing)
{
	struct harness_reply reply;
	ssize_t n = harness_receive(killing->conn.fd, &reply);

	killing_expect(killing, n > 0 && reply.header.status == 0, "the removal was answered with %d",
	    n > 0 ? reply.header.status : (int)n);
}

static bool
drain(struct killing *killing)
{
	bool is_stopped;

	begin(killing);
	harness_open(&killing->events, killing->daemon.socket);
	ck_assert_int_eq(telling_subscribe(&killing->events, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	tracer_seize(&killing_tracer, &killing->daemon);
	ask_removal(killing, 0);
	if (tracer_run(&killing_tracer, killing->at, killing->conn.fd, is_answered, NULL))
		return true;
	take_reply(killing);
	killing->is_mapping = false;
	actor_tell(&killing->guest, "detach");
	is_stopped = tracer_run(&killing_tracer, killing->at, killing->events.fd, is_told_removed, killing);
	killing->is_removed = !is_stopped;
	end(killing);
	(void)actor_hear(&killing->guest);
	return is_stopped;
}

static bool
remove_now(struct killing *killing)
{
	bool is_stopped;

	begin(killing);
	tracer_seize(&killing_tracer, &killing->daemon);
	ask_removal(killing, PROTOCOL_REMOVE_NOW);
	is_stopped = tracer_run(&killing_tracer, killing->at, killing->conn.fd, is_answered, NULL);
	if (is_readable(killing->conn.fd)) {
		take_reply(killing);
		killing->is_removed = true;
	}
	return is_stopped;
}

void
killing_leave_behind(struct killing *killing)
{
	begin(killing);
	if (!killing->is_held)
		let_go(killing);
	harness_close(&killing->conn);
	harness_daemon_kill(&killing->daemon);
	killing_note(&killing->daemon, "killed first when it was ready");
}

static bool
take_over(struct killing *killing)
{
	killing_leave_behind(killing);
	return killing_start(killing, true);
}

/*
 * Whether segmentd-audit was in the middle of a removal when the daemon was killed: it finishes that, and has a quarantine by then.
 * All else that the daemon had started dies with it.
 */
static bool
is_removal_left(void)
{
	struct world world;
	pid_t pid;

	for (;;) {
		do
			pid = waitpid(-1, NULL, __WALL | WNOHANG);
		while (pid > 0);
		if (pid < 0)
			return false;
		world_look(&world);
		if (world.n_objects > (world_find(&world, "s") ? 1 : 0))
			return true;
		(void)poll(NULL, 0, 1);
	}
}

/* What nobody has the daemon removes as soon as it runs: it may have done so, or have asked for it, when it is killed. */
static bool
clear(struct killing *killing)
{
	bool is_stopped;

	killing_leave_behind(killing);
	if (killing->is_held)
		return killing_start(killing, false);
	launch_traced(killing, false);
	is_stopped = tracer_run(&killing_tracer, killing->at, -1, killing_is_cleared, killing);
	end(killing);
	if (killing->is_orderly)
		return is_stopped;
	killing->is_undecided = is_removal_left();
	killing->is_filled = killing->is_undecided || is_found(killing);
	return is_stopped;
}

static bool (*const phases[KILLING_PHASE_N])(struct killing *killing) = { create, hand_out, drain, remove_now, take_over, clear };

bool
killing_do(struct killing *killing)
{
	struct world world;
	bool is_stopped;

	harness_daemon_prepare(&killing->daemon, DAEMON_KEYS, "");
	is_stopped = phases[killing->phase](killing);
	end(killing);
	harness_close(&killing->conn);
	harness_close(&killing->events);
	killing_note(&killing->daemon, killing_describe(killing));
	world_look(&world);
	killing_note(&killing->daemon, world_describe(&world));
	return is_stopped;
}

/* What is to be so at the end. */

void
killing_expect_guest_whole(struct killing *killing)
{
	long differs = killing->is_mapping ? actor_do(&killing->guest, "differs %d", KILLING_SEED) : 0;

	killing_expect(killing, differs == 0, "what the guest maps has changed at byte %ld", differs - 1);
}

bool
killing_has_mark(const struct killing *killing)
{
	char mark[128];

	(void)snprintf(mark, sizeof(mark), "%s/data.segmentd", killing->daemon.dir);
	return access(mark, F_OK) == 0;
}

void
killing_await_cleared(struct killing *killing)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;

	world_await_empty(killing_describe(killing));
	while (killing_has_mark(killing)) {
		killing_expect(killing, harness_clock_ns() < deadline_ns, "the file's mark is left");
		(void)poll(NULL, 0, 1);
	}
}

void
killing_ask_end(struct killing *killing)
{
	harness_close(&killing->conn);
	harness_assert(kill(killing->daemon.pid, SIGTERM) == 0, "kill: %s", strerror(errno));
	harness_daemon_await_log(&killing->daemon, "stopping on signal");
}

void
killing_stop(struct killing *killing)
{
	killing_ask_end(killing);
	killing_await_end(killing);
}

void
killing_expect_no_trace(struct killing *killing)
{
	char names[sizeof(state_names)];

	world_await_childless(killing_describe(killing));
	suite_list_state(&killing->daemon, names, sizeof(names));
	if (!state_names[0])
		(void)snprintf(state_names, sizeof(state_names), "%s", names);
	killing_expect(killing, streq(names, state_names), "in its state_dir there are %s instead of %s", names, state_names);
	harness_daemon_remove(&killing->daemon);
}

void
killing_prepare(void)
{
	struct killing killing = {
		.kind = &killing_kinds[0], .is_wanted = true, .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL,
	};

	world_enter();
	tracer_prepare(&killing_tracer);
	harness_daemon_prepare(&killing.daemon, NULL, "");
	killing_launch(&killing, true, true);
	killing_stop(&killing);
	killing_expect_no_trace(&killing);
}
