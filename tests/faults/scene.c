/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is as before when one thing has failed: see scene.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>

#include "tests/faults/asleep.h"
#include "tests/faults/scene.h"
#include "tests/system/suite.h"

#define N_CLIENTS	4			/* besides the watcher */
#define N_ATTACHMENTS	5
#define BYTES		(64 * KIB)
#define ROWS		32

/* All that a uid may have is had once in a while: a charge that is not given back is missing then. */
static const char daemon_keys[] = "workers = 1; limits = { clients = 5; attachments = 5; bytes = \"64KiB\"; };";
static const char crowd_keys[] = "workers = 1; limits = { clients = 400; attachments = 5; bytes = \"64KiB\"; };";

static const char *const names[] = { "m", "p", "y", "f", "c" };

static const char segments[] =
    "segments = (\n"
    "{ name = \"m\"; size = \"64KiB\"; page_size = \"base\"; placement = \"prefer\"; locks = ( { name = \"all\"; length = \"4KiB\"; "
    "undo = \"4KiB\"; } ); },\n"
    "{ name = \"p\"; size = \"64KiB\"; page_size = \"base\"; backend = \"posix\"; object = \"/p\"; mlock = false; },\n"
    "{ name = \"y\"; size = \"64KiB\"; page_size = \"base\"; backend = \"sysv\"; key = 0x5e6a1d; mlock = false; locks = ( "
    "{ name = \"all\"; length = \"4KiB\"; undo = \"4KiB\"; } ); },\n"
    "{ name = \"f\"; size = \"64KiB\"; page_size = \"base\"; backend = \"file\"; path = \"%s/data\"; mlock = false; },\n"
    "{ name = \"c\"; size = \"64KiB\"; page_size = \"base\"; scrub = true; mlock = false; }%s );\n"
    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; page_size = \"base\"; lifetime = \"persistent\"; mlock = false; },\n"
    "{ name = \"ty-\"; backend = \"sysv\"; mode = \"0660\"; max_size = \"64KiB\"; page_size = \"base\"; lifetime = \"persistent\"; "
    "mlock = false; },\n"
    "{ name = \"tl-\"; backend = \"sysv\"; mode = \"0660\"; max_size = \"64KiB\"; page_size = \"base\"; linger = \"2ms\"; "
    "mlock = false; } );\n";

const char *
scene_target_name(enum faults_target target)
{
	static const char *const target_names[FAULTS_TARGET_N] = {
		[FAULTS_DAEMON] = "the daemon",
		[FAULTS_WORKER] = "its worker",
		[FAULTS_CLIENT] = "a client",
		[FAULTS_AUDIT] = "segmentd-audit",
	};

	return target_names[target];
}

static const char *
scene_keys(const struct faults_scene *scene)
{
	return scene->host == HOSTS_CROWDED ? crowd_keys : daemon_keys;
}

void
scene_configure(struct faults_scene *scene, const char *more)
{
	size_t length = (size_t)snprintf(scene->body, sizeof(scene->body), segments, scene->manager.daemon.dir, more);

	(void)snprintf(scene->body + length, sizeof(scene->body) - length, "%s", scene->rules);
	harness_daemon_configure(&scene->manager.daemon, scene_keys(scene), scene->body);
}

static int
reload(struct harness_conn *conn)
{
	struct protocol_plan request = { .flags = PROTOCOL_PLAN_RELOAD };
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_PLAN, &request.header, sizeof(request), &reply);
}

void
scene_reload(struct faults_scene *scene, const char *more)
{
	int r;

	scene_configure(scene, more);
	r = reload(&scene->watcher);
	harness_assert(r == 0, "reload: %s", strerror(-r));
}

int
scene_dial(struct faults_scene *scene, struct harness_conn *conn)
{
	struct protocol_hello hello = {
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct harness_reply reply;
	int r;

	*conn = (struct harness_conn) { .fd = harness_dial(scene->manager.daemon.socket), .takes_farewell = true, .is_lasting = true };
	if (conn->fd < 0)
		return conn->fd;
	r = harness_ask(conn, PROTOCOL_HELLO, &hello.header, sizeof(hello), &reply);
	conn->session = r ? 0 : reply.welcome.session;
	return r;
}

void
scene_await_gone(struct faults_scene *scene, const char *name)
{
	struct protocol_segment row;

	if (harness_find(&scene->watcher, name, &row) == -ENOENT)
		return;
	if (row.state != PROTOCOL_DRAINING)
		(void)harness_remove(&scene->watcher, name, 0);
	harness_await_gone(&scene->watcher, name);
}

uint64_t
scene_n_charged(struct faults_scene *scene, const char *kind)
{
	struct protocol_header request = { 0 };
	struct harness_reply reply;
	char name[64];
	int r = harness_ask(&scene->watcher, PROTOCOL_METRICS, &request, sizeof(request), &reply);

	harness_assert(r == 0, "metrics: %s", strerror(-r));
	(void)snprintf(name, sizeof(name), "segmentd_charged{kind=\"%s\"}", kind);
	return suite_figure_of(&reply, name);
}

void
scene_await_uncharged(struct faults_scene *scene, const char *kind)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (scene_n_charged(scene, kind))
		harness_assert(harness_clock_ns() < deadline_ns, "%s count still; failed: %s", kind,
		    injector_describe(&scene->injector));
}

static void
expect_rows(struct faults_scene *scene)
{
	struct protocol_segment rows[ROWS];
	size_t n = harness_list(&scene->watcher, rows, ROWS);

	harness_assert(n == BASE_ARRAY_SIZE(names), "%zu segments, '%s' is the last", n, n ? rows[n - 1].name : "");
	for (size_t i = 0; i < n; i++) {
		struct harness_reply shown;
		int r = harness_show(&scene->watcher, rows[i].name, &shown);

		harness_assert(r == 0 && streq(rows[i].name, names[i]), "'%s' instead of '%s': %s", rows[i].name, names[i], strerror(-r));
		harness_assert(rows[i].state == PROTOCOL_READY && rows[i].readers == 0 && rows[i].writers == 0 && !rows[i].others &&
		    !rows[i].differs, "'%s': state %u, %u readers, %u writers, %u others, differs %#x, '%s'", rows[i].name, rows[i].state,
		    rows[i].readers, rows[i].writers, rows[i].others, rows[i].differs, harness_reason(&shown));
	}
}

static void
await_ready(struct faults_scene *scene)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		suite_ready(&scene->watcher, names[i]);
		harness_await_counts(&scene->watcher, names[i], 0, 0);
		suite_ready(&scene->watcher, names[i]);
	}
}

/* Another client has all that a uid may have. */
static void
serve(struct faults_scene *scene)
{
	struct harness_conn conns[N_CLIENTS];
	struct harness_segment segments_had[N_ATTACHMENTS];
	struct protocol_attached attached;
	int fd, r;

	for (size_t i = 0; i < N_CLIENTS; i++) {
		conns[i] = (struct harness_conn)HARNESS_CONN_NULL;
		r = scene_dial(scene, &conns[i]);
		harness_assert(r == 0, "client %zu: %s", i, strerror(-r));
	}
	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		harness_segment_open(&conns[i % N_CLIENTS], names[i], &segments_had[i]);
	for (size_t i = 0; i < N_ATTACHMENTS; i++)
		harness_segment_close(&segments_had[i]);
	for (size_t i = 0; i < N_CLIENTS - 1; i++)
		harness_close(&conns[i]);
	await_ready(scene);
	/* What was removed at once is charged for until the kernel, which is asked ever more seldom, has said that nobody has it. */
	scene_await_uncharged(scene, "bytes");
	r = harness_create(&conns[N_CLIENTS - 1], "t-honest", BYTES, &attached, &fd);
	harness_assert(r == 0, "create: %s", strerror(-r));
	(void)close(fd);
	scene_await_gone(scene, "t-honest");
	harness_close(&conns[N_CLIENTS - 1]);
}

static void
expect_whole(struct faults_scene *scene)
{
	struct world world;

	await_ready(scene);
	serve(scene);
	expect_rows(scene);
	harness_usage_await(&scene->watcher, scene->manager.daemon.pid, &scene->usage);
	harness_assert(world_await(&scene->world, &world), "there is %s", world_describe(&world));
}

static void
note(const struct faults_scene *scene, const char *format, ...) BASE_PRINTF(2, 3);

/* Into the daemon's log, which is shown when the test fails. */
static void
note(const struct faults_scene *scene, const char *format, ...)
{
	cleanup_close int fd = open(scene->manager.daemon.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	va_list ap;

	va_start(ap, format);
	(void)vdprintf(fd, format, ap);
	va_end(ap);
}

static void
count_outcome(struct faults_scene *scene, int r)
{
	if (r == 0)
		scene->n_done++;
	else if (r == -ENOTCONN || r == -ECONNRESET)
		scene->n_hung_up++;
	else
		scene->n_refused++;
}

bool
scene_fail_at(struct faults_scene *scene, const struct faults_operation *operation, uint64_t at)
{
	bool has_failed;
	int r;

	if (ftruncate(open(scene->manager.daemon.log, O_WRONLY | O_CLOEXEC), 0))
		return false;
	note(scene, "=== %s, %s %ju of %s\n", operation->name, scene->injector.kind == FAULTS_CALLS ? "call" : "allocation", (uintmax_t)at,
	    scene_target_name(scene->target));
	if (operation->prepare)
		operation->prepare(scene);
	asleep_await(scene->manager.daemon.pid);
	if (operation->gather)
		operation->gather(scene);
	injector_arm(&scene->injector, scene->target, scene->variant, at);
	r = operation->run(scene);
	asleep_await(scene->manager.daemon.pid);
	injector_disarm(&scene->injector);
	has_failed = injector_has_failed(&scene->injector);
	note(scene, "=== it was answered with %d (%s); failed: %s\n", r, strerror(-r), has_failed ?
	    injector_describe(&scene->injector) : "nothing");
	if (operation->settle)
		operation->settle(scene);
	expect_whole(scene);
	if (has_failed)
		count_outcome(scene, r);
	else
		harness_assert(r == 0, "nothing failed, and it was answered with %d", r);
	return has_failed;
}

/* In the daemon's new process. */
static void
prepare(void *arg)
{
	struct faults_scene *scene = arg;

	hosts_lessen(scene->host);
	injector_prepare(&scene->injector);
}

void
scene_begin(struct faults_scene *scene, enum faults_kind kind, bool serves_audit)
{
	*scene = (struct faults_scene) {
		.watcher = HARNESS_CONN_NULL, .rules = "", .target = scene->target, .host = scene->host,
	};
	world_enter();
	harness_manager_prepare(&scene->manager, scene_keys(scene), "");
	scene_configure(scene, "");
	injector_init(&scene->injector, kind, scene->manager.daemon.dir);
	scene->manager.daemon.before_exec = prepare;
	scene->manager.daemon.before_exec_arg = scene;
	/* One that has all rights: with the daemon's own it sees little. */
	if (serves_audit)
		injector_serve_audit(&scene->injector, &scene->manager.daemon);
	harness_manager_launch(&scene->manager);
	injector_take(&scene->injector, scene->manager.daemon.pid);
	harness_manager_await_ready(&scene->manager);
	harness_open(&scene->watcher, scene->manager.daemon.socket);
	await_ready(scene);
	serve(scene);
	/* With its workers, which come and go, and after the first of all that is kept. */
	world_look(&scene->world);
	harness_usage_read(scene->manager.daemon.pid, &scene->usage);
}

static void
stop(void *arg)
{
	struct faults_scene *scene = arg;

	injector_end_audit(&scene->manager.daemon);
	harness_close(&scene->watcher);
	/* Names, keys, and what a file is left with are the daemon's own. */
	harness_manager_stop(&scene->manager);
}

void
scene_end(struct faults_scene *scene)
{
	injector_end(&scene->injector, stop, scene);
}
