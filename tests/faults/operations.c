/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What clients and administrators do: each row is an operation in which something fails. See scene.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/faults/auditing.h"
#include "tests/system/suite.h"

#define ROWS		32

static int
connect_only(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	harness_close(&conn);
	return r;
}

static int
attach_one(struct faults_scene *scene, const char *name)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	if (r == 0)
		r = harness_segment_attach(&conn, name, SUITE_WRITE, &segment);
	if (r == 0) {
		harness_segment_close(&segment);
		r = harness_detach(&conn, &segment.attached);
		/* The kernel may have told of it before. */
		r = r == -ENOENT ? 0 : r;
	}
	harness_close(&conn);
	return r;
}

static int
attach_memfd(struct faults_scene *scene)
{
	return attach_one(scene, "m");
}

static int
attach_posix(struct faults_scene *scene)
{
	return attach_one(scene, "p");
}

static int
attach_sysv(struct faults_scene *scene)
{
	return attach_one(scene, "y");
}

static int
attach_file(struct faults_scene *scene)
{
	return attach_one(scene, "f");
}

/* Its pages are given back, and new ones made. */
static int
attach_scrubbed(struct faults_scene *scene)
{
	return attach_one(scene, "c");
}

/* What cannot be made again fails, says so, and can be asked for by hand. */
static void
settle_scrubbed(struct faults_scene *scene)
{
	struct protocol_retry request = { .name = "c" };
	struct harness_reply reply;
	int r;

	harness_await_counts(&scene->watcher, "c", 0, 0);
	if (harness_wait(&scene->watcher, "c") != PROTOCOL_FAILED)
		return;
	ck_assert_int_eq(harness_show(&scene->watcher, "c", &reply), 0);
	harness_assert(strlen(harness_reason(&reply)) > 10, "it does not say why it has failed");
	r = harness_ask(&scene->watcher, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
	harness_assert(r == 0, "retry: %s", strerror(-r));
	scene->n_failed_segments++;
}

static int
attach_many(struct faults_scene *scene)
{
	static const char *const wanted[] = { "m", "p", "y" };
	struct {
		struct protocol_attach_many many;
		struct protocol_attach_row rows[BASE_ARRAY_SIZE(wanted)];
	} request = { .many = { .n_rows = BASE_ARRAY_SIZE(wanted) } };
	struct harness_reply reply;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	for (size_t i = 0; i < BASE_ARRAY_SIZE(wanted); i++) {
		request.rows[i].access = SUITE_READ;
		(void)snprintf(request.rows[i].name, sizeof(request.rows[i].name), "%s", wanted[i]);
	}
	if (r == 0) {
		r = harness_ask(&conn, PROTOCOL_ATTACH_MANY, &request.many.header, sizeof(request), &reply);
		for (unsigned i = 0; i < reply.n_fds; i++)
			(void)close(reply.fds[i]);
	}
	harness_close(&conn);
	return r;
}

static int
create_one(struct faults_scene *scene, const char *name)
{
	struct harness_conn conn;
	int fd = -1, r = scene_dial(scene, &conn);

	if (r == 0)
		r = harness_create(&conn, name, 4096, NULL, &fd);
	if (r == 0) {
		(void)close(fd);
		r = harness_remove(&conn, name, 0);
	}
	harness_close(&conn);
	return r;
}

static int
create_memfd(struct faults_scene *scene)
{
	return create_one(scene, "t-1");
}

static int
create_sysv(struct faults_scene *scene)
{
	return create_one(scene, "ty-1");
}

/* Whoever has work then starts one anew. */
static void
end_workers(struct faults_scene *scene)
{
	uint64_t deadline_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pid = scene->manager.daemon.pid, pids[16];
	size_t n;

	while ((n = harness_children(pid, pids, BASE_ARRAY_SIZE(pids)))) {
		harness_assert(clock_monotonic_ns() < deadline_ns, "a worker that has died is not reaped");
		for (size_t i = 0; i < n; i++)
			(void)kill(pids[i], SIGKILL);
	}
}

static void
settle_created(struct faults_scene *scene)
{
	scene_await_gone(scene, "t-1");
	scene_await_gone(scene, "ty-1");
}

static int
ask_rows(struct harness_conn *conn)
{
	static const unsigned types[] = { PROTOCOL_LIST, PROTOCOL_CLIENTS };
	struct harness_reply reply;
	struct protocol_header metrics = { 0 };
	struct protocol_list list = { 0 };
	struct protocol_holder holders[ROWS];
	struct protocol_lock locks[ROWS];
	int r = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(types) && r == 0; i++)
		r = harness_ask(conn, types[i], &list.header, sizeof(list), &reply);
	r = r ? r : harness_show(conn, "m", &reply);
	r = r ? r : harness_show(conn, "f", &reply);
	r = r ? r : harness_holders(conn, "m", holders, ROWS);
	r = r < 0 ? r : harness_locks(conn, "m", locks, ROWS);
	return r < 0 ? r : harness_ask(conn, PROTOCOL_METRICS, &metrics, sizeof(metrics), &reply);
}

static int
look(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : ask_rows(&conn);
	harness_close(&conn);
	return r;
}

static int
follow(struct faults_scene *scene)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };
	struct harness_conn conn, other;
	struct harness_reply reply;
	int fd = -1, r = scene_dial(scene, &conn);

	r = r ? r : harness_ask(&conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
	if (r == 0)
		r = scene_dial(scene, &other);
	if (r == 0) {
		r = harness_attach(&other, "p", SUITE_READ, NULL, &fd);
		close_fd(&fd);
		if (r == 0) {
			ssize_t n = harness_receive(conn.fd, &reply);

			/* An event, or that there were some; or it has no place in the queue any more. */
			harness_assert(n != -ETIMEDOUT, "no event came; failed: %s", injector_describe(&scene->injector));
			r = n > 0 ? 0 : -ENOTCONN;
		}
		harness_close(&other);
	}
	harness_close(&conn);
	return r;
}

/* A process that dies in a section. */
struct victim {
	struct faults_scene *scene;
	const char *name;
};

static void
die_in_section(int control, void *arg)
{
	struct victim *victim = arg;
	struct harness_segment segment;
	struct control_place place;
	struct harness_conn conn;
	int r = scene_dial(victim->scene, &conn);

	(void)control;
	r = r ? r : harness_segment_attach(&conn, victim->name, SUITE_WRITE, &segment);
	if (r)
		_exit(r == -ENOTCONN || r == -ECONNRESET ? 2 : 1);
	place = harness_segment_place(&segment, 0);
	if (!control_try(place.lock, segment.attached.attachment, 0) || control_log(&place, 0, 64))
		_exit(1);
	segment.data[0]++;
	(void)kill(getpid(), SIGKILL);
}

static int
die_with(struct faults_scene *scene, const char *name)
{
	struct victim victim = { .scene = scene, .name = name };
	struct harness_child child = HARNESS_CHILD_NULL;
	int status;

	harness_child_start(&child, die_in_section, &victim);
	status = harness_child_await(&child);
	return status == -SIGKILL ? 0 : status == 2 ? -ENOTCONN : -ECANCELED;
}

static int
die_memfd(struct faults_scene *scene)
{
	return die_with(scene, "m");
}

static int
die_sysv(struct faults_scene *scene)
{
	return die_with(scene, "y");
}

/* Its lock is free without anybody asking for it. */
static void
expect_free(struct faults_scene *scene, const char *name)
{
	struct harness_segment segment;

	harness_segment_open(&scene->watcher, name, &segment);
	harness_segment_await_owner(&segment, 0, 0);
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
}

static void
settle_death(struct faults_scene *scene)
{
	harness_await_counts(&scene->watcher, "m", 0, 0);
	harness_await_counts(&scene->watcher, "y", 0, 0);
	expect_free(scene, "m");
	expect_free(scene, "y");
}

static int
ask_plan(struct faults_scene *scene, uint32_t flags)
{
	struct protocol_plan request = { .flags = flags };
	struct harness_reply reply;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_ask(&conn, PROTOCOL_PLAN, &request.header, sizeof(request), &reply);
	harness_close(&conn);
	return r;
}

#define MORE(size)	", { name = \"g\"; size = \"" size "\"; max_size = \"1MiB\"; page_size = \"base\"; placement = \"prefer\"; }"

static void
configure_more(struct faults_scene *scene)
{
	scene_configure(scene, MORE("64KiB"));
}

static int
plan(struct faults_scene *scene)
{
	return ask_plan(scene, 0);
}

static int
add(struct faults_scene *scene)
{
	return ask_plan(scene, PROTOCOL_PLAN_RELOAD);
}

static void
prepare_growth(struct faults_scene *scene)
{
	scene_reload(scene, MORE("64KiB"));
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, MORE("128KiB"));
}

static void
prepare_removal(struct faults_scene *scene)
{
	scene_reload(scene, MORE("64KiB"));
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, "");
}

static void
settle_reload(struct faults_scene *scene)
{
	scene_reload(scene, "");
	harness_await_gone(&scene->watcher, "g");
}

/* A segment whose name another object has, until just now. */
#define TAKEN	", { name = \"g\"; size = \"64KiB\"; backend = \"posix\"; object = \"/taken\"; page_size = \"base\"; mlock = false; }"

static void
prepare_retry(struct faults_scene *scene)
{
	int fd = shm_open("/taken", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), state;

	harness_assert(fd >= 0, "shm_open: %s", strerror(errno));
	(void)close(fd);
	scene_reload(scene, TAKEN);
	state = harness_wait(&scene->watcher, "g");
	harness_assert(state == PROTOCOL_FAILED, "its name is another's, and it is in state %d", state);
	(void)shm_unlink("/taken");
}

/* Until it is ready, or has failed. */
static int
wait_for(struct harness_conn *conn, const char *name)
{
	int state = harness_wait(conn, name);

	return state < 0 ? state : state == PROTOCOL_READY ? 0 : -ECANCELED;
}

static int
retry(struct faults_scene *scene)
{
	struct protocol_retry request = { .name = "g" };
	struct harness_reply reply;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_ask(&conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
	r = r ? r : wait_for(&conn, "g");
	harness_close(&conn);
	return r;
}

/* It is asked for while it is being made. */
static int
await_new(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = ask_plan(scene, PROTOCOL_PLAN_RELOAD);

	r = r ? r : scene_dial(scene, &conn);
	if (r)
		return r;
	r = wait_for(&conn, "g");
	harness_close(&conn);
	return r;
}

/* An attachment whose connection has gone is another one's of the same process. */
static int
return_to(struct harness_conn *conn, const struct protocol_attached *attached)
{
	uint64_t deadline_ns = clock_monotonic_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct harness_reply reply;
	int r;

	do {
		struct protocol_return request = { .generation = attached->generation, .attachment = attached->attachment };

		r = harness_ask(conn, PROTOCOL_RETURN, &request.header, sizeof(request), &reply);
		harness_assert(r != -EBUSY || clock_monotonic_ns() < deadline_ns, "its connection has gone, and has it still");
	} while (r == -EBUSY);
	return r;
}

static int
bring_back(struct faults_scene *scene)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_segment_attach(&conn, "m", SUITE_WRITE, &segment);
	harness_close(&conn);
	if (r)
		return r;
	r = scene_dial(scene, &conn);
	r = r ? r : return_to(&conn, &segment.attached);
	harness_segment_close(&segment);
	harness_close(&conn);
	return r;
}

/* A file is written back before its segment goes. */
static void
prepare_writeback(struct faults_scene *scene)
{
	struct harness_segment segment;
	char more[256];

	(void)snprintf(more, sizeof(more), ", { name = \"g\"; size = \"64KiB\"; backend = \"file\"; path = \"%s/more\"; "
	    "sync = \"1h\"; page_size = \"base\"; mlock = false; }", scene->manager.daemon.dir);
	scene_reload(scene, more);
	suite_ready(&scene->watcher, "g");
	harness_segment_open(&scene->watcher, "g", &segment);
	memset(segment.data, 'w', segment.attached.map_bytes);
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
	harness_await_counts(&scene->watcher, "g", 0, 0);
	scene_configure(scene, "");
}

static void
settle_writeback(struct faults_scene *scene)
{
	char path[128], bytes[4] = "";
	int fd;

	settle_reload(scene);
	(void)snprintf(path, sizeof(path), "%s/more", scene->manager.daemon.dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	harness_assert(fd >= 0 && read(fd, bytes, sizeof(bytes)) == sizeof(bytes) && memcmp(bytes, "wwww", 4) == 0,
	    "the file has lost what was in it");
	(void)close(fd);
	(void)unlink(path);
}

const struct faults_operation faults_operations[] = {
	{ "connect", .run = connect_only },
	{ "attach memfd", .run = attach_memfd },
	{ "attach posix", .run = attach_posix },
	{ "attach sysv", .run = attach_sysv },
	{ "attach file", .run = attach_file },
	{ "attach, and scrub", .run = attach_scrubbed, .settle = settle_scrubbed },
	{ "attach many", .run = attach_many },
	{ "create memfd", .run = create_memfd, .settle = settle_created },
	{ "create sysv", .run = create_sysv, .settle = settle_created },
	{ "create by another worker", .prepare = end_workers, .run = create_memfd, .settle = settle_created },
	{ "look", .run = look },
	{ "follow", .run = follow },
	{ "die with memfd", .run = die_memfd, .settle = settle_death },
	{ "die with sysv", .run = die_sysv, .settle = settle_death },
	{ "plan", .prepare = configure_more, .run = plan, .settle = settle_reload },
	{ "add by reload", .prepare = configure_more, .run = add, .settle = settle_reload },
	{ "grow by reload", .prepare = prepare_growth, .run = add, .settle = settle_reload },
	{ "remove by reload", .prepare = prepare_removal, .run = add, .settle = settle_reload },
	{ "retry", .prepare = prepare_retry, .run = retry, .settle = settle_reload },
	{ "wait", .prepare = configure_more, .run = await_new, .settle = settle_reload },
	{ "who has memfd", .asks_audit = true, .run = auditing_who_memfd, .settle = auditing_settle_who },
	{ "who has posix", .asks_audit = true, .run = auditing_who_posix, .settle = auditing_settle_who },
	{ "orphans", .asks_audit = true, .prepare = auditing_prepare_posix, .run = auditing_sweep_posix, .settle = auditing_settle_posix },
	{ "return", .run = bring_back },
	{ "write back", .prepare = prepare_writeback, .run = add, .settle = settle_writeback },
};
const size_t faults_n_operations = BASE_ARRAY_SIZE(faults_operations);
