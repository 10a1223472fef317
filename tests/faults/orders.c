/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is ordered is done, or it is said why not; and then it can be ordered again: see orders.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "tests/faults/orders.h"
#include "tests/system/suite.h"

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

#define SYNCED_MS	3000		/* at most; what failed is tried again after 100 */

static uint64_t stored_ns;		/* since 1970; 0: nobody came so far */

#define OWN(keys)	", { name = \"g\"; page_size = \"base\"; " keys " }"
#define MEMFD(size)	OWN("size = \"" size "\"; max_size = \"1MiB\"; placement = \"prefer\";")

void
orders_configure_memfd(struct faults_scene *scene)
{
	scene_configure(scene, MEMFD("64KiB"));
}

/* With an access list, and room for more. */
void
orders_configure_posix(struct faults_scene *scene)
{
	scene_configure(scene, OWN("size = \"64KiB\"; max_size = \"1MiB\"; backend = \"posix\"; object = \"/g\"; mode = \"0640\"; "
	    "allow = ( { user = \"4003\"; access = \"r\"; } ); mlock = false;"));
}

/* A name in the daemon's directory. */
static const char *
path_of(const struct faults_scene *scene, const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", scene->manager.daemon.dir, name);
	return path;
}

static void
configure_file(struct faults_scene *scene, const char *keys)
{
	char more[256];

	(void)snprintf(more, sizeof(more), OWN("size = \"64KiB\"; backend = \"file\"; path = \"%s\"; mlock = false; %s"),
	    path_of(scene, "more"), keys);
	scene_configure(scene, more);
}

void
orders_configure_file(struct faults_scene *scene)
{
	configure_file(scene, "sync = \"1h\";");
}

void
orders_configure_reserved(struct faults_scene *scene)
{
	configure_file(scene, "prefault = false;");
}

void
orders_configure_init(struct faults_scene *scene)
{
	cleanup_close int fd = open(path_of(scene, "init"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char bytes[4096], more[256];

	memset(bytes, 'i', sizeof(bytes));
	harness_assert(fd >= 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes), "init: %s", strerror(errno));
	(void)snprintf(more, sizeof(more), OWN("size = \"64KiB\"; init = \"%s\"; mlock = false;"), path_of(scene, "init"));
	scene_configure(scene, more);
}

int
orders_plan(struct faults_scene *scene)
{
	return ask_plan(scene, 0);
}

int
orders_reload(struct faults_scene *scene)
{
	return ask_plan(scene, PROTOCOL_PLAN_RELOAD);
}

/* A file that the daemon does not have: what it would come to is told a line each. */
static int
upload(struct harness_conn *conn, const struct faults_scene *scene)
{
	static const char name[] = "uploaded.conf";
	struct protocol_upload request = { .flags = PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME, .length = sizeof(name) - 1 };
	struct harness_reply reply;
	size_t length = strlen(scene->body);
	int r;

	memcpy(request.bytes, name, request.length);
	r = harness_ask(conn, PROTOCOL_UPLOAD, &request.header, sizeof(request), &reply);
	for (size_t at = 0; r == 0 && at < length; at += request.length) {
		request = (struct protocol_upload) { .length = (uint32_t)min_u64(length - at, PROTOCOL_UPLOAD_BYTES) };
		memcpy(request.bytes, scene->body + at, request.length);
		r = harness_ask(conn, PROTOCOL_UPLOAD, &request.header, sizeof(request), &reply);
	}
	return r;
}

static int
plan_uploaded(struct harness_conn *conn)
{
	struct protocol_plan request = { .flags = PROTOCOL_PLAN_UPLOADED };
	struct protocol_plan_lines lines = { .cursor = 0 };
	struct protocol_planned planned;
	struct harness_reply reply;
	int r = harness_ask(conn, PROTOCOL_PLAN, &request.header, sizeof(request), &reply);

	if (r)
		return r;
	memcpy(&planned, reply.bytes, sizeof(planned));
	harness_assert(planned.n_lines > 0, "there is one more segment, and it has no line");
	r = harness_ask(conn, PROTOCOL_PLAN_LINES, &lines.header, sizeof(lines), &reply);
	harness_assert(r || reply.listed.n_rows == planned.n_lines, "%u lines instead of %u", reply.listed.n_rows, planned.n_lines);
	return r;
}

int
orders_plan_uploaded(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : upload(&conn, scene);
	r = r ? r : plan_uploaded(&conn);
	harness_close(&conn);
	return r;
}

void
orders_prepare_growth(struct faults_scene *scene)
{
	scene_reload(scene, MEMFD("64KiB"));
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, MEMFD("128KiB"));
}

/* It takes a worker a while. */
#define LARGE(size, keys)	OWN("size = \"" size "\"; max_size = \"512MiB\"; mlock = false; " keys)
#define SYSV			"backend = \"sysv\"; key = 0x5e6a1e;"

static const char *stopped_text;	/* what is asked for in the end */

static void
prepare_long_growth(struct faults_scene *scene, const char *small, const char *large)
{
	stopped_text = small;
	scene_reload(scene, small);
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, large);
}

void
orders_prepare_long_growth(struct faults_scene *scene)
{
	prepare_long_growth(scene, LARGE("64KiB", ""), LARGE("512MiB", ""));
}

void
orders_prepare_long_growth_sysv(struct faults_scene *scene)
{
	prepare_long_growth(scene, LARGE("64KiB", SYSV), LARGE("512MiB", SYSV));
}

/* Before it is through it is not asked for any more. */
int
orders_stop_growth(struct faults_scene *scene)
{
	int r = orders_reload(scene);

	scene_configure(scene, stopped_text);
	return r ? r : orders_reload(scene);
}

void
orders_prepare_removal(struct faults_scene *scene)
{
	scene_reload(scene, MEMFD("64KiB"));
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, "");
}

/* Lists of who may have it, and of its locks, of which all is different: there are entries more, fewer, and others. */
void
orders_prepare_lists(struct faults_scene *scene)
{
	scene_reload(scene, OWN("size = \"64KiB\"; mlock = false; allow = ( { user = \"4003\"; access = \"r\"; }, { group = \"4004\"; "
	    "access = \"rw\"; } ); locks = ( { name = \"a\"; length = \"4KiB\"; undo = \"4KiB\"; }, { name = \"b\"; offset = \"4KiB\"; "
	    "length = \"4KiB\"; undo = \"4KiB\"; } );"));
	suite_ready(&scene->watcher, "g");
	scene_configure(scene, OWN("size = \"64KiB\"; mlock = false; allow = ( { user = \"4003\"; access = \"rw\"; }, { group = \"4005\"; "
	    "access = \"rw\"; } ); locks = ( { name = \"a\"; length = \"8KiB\"; undo = \"4KiB\"; }, { name = \"c\"; offset = \"8KiB\"; "
	    "length = \"4KiB\"; undo = \"4KiB\"; } );"));
}

void
orders_settle(struct faults_scene *scene)
{
	scene_reload(scene, "");
	harness_await_gone(&scene->watcher, "g");
}

/* A segment whose name another object has, until just now. */
#define TAKEN	OWN("size = \"64KiB\"; backend = \"posix\"; object = \"/taken\"; mlock = false;")

void
orders_prepare_retry(struct faults_scene *scene)
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

int
orders_retry(struct faults_scene *scene)
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
int
orders_provision(struct faults_scene *scene)
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

/* A file is written back before its segment goes. */
void
orders_prepare_writeback(struct faults_scene *scene)
{
	struct harness_segment segment;

	orders_configure_file(scene);
	harness_assert(orders_provision(scene) == 0, "it was refused, and nothing failed");
	harness_segment_open(&scene->watcher, "g", &segment);
	memset(segment.data, 'w', segment.attached.map_bytes);
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
	harness_await_counts(&scene->watcher, "g", 0, 0);
	scene_configure(scene, "");
}

/* The next one is a new one. */
void
orders_settle_file(struct faults_scene *scene)
{
	orders_settle(scene);
	(void)unlink(path_of(scene, "more"));
}

void
orders_settle_writeback(struct faults_scene *scene)
{
	cleanup_close int fd = -1;
	char bytes[4] = "";

	orders_settle(scene);
	fd = open(path_of(scene, "more"), O_RDONLY | O_CLOEXEC);
	harness_assert(fd >= 0 && read(fd, bytes, sizeof(bytes)) == sizeof(bytes) && memcmp(bytes, "wwww", 4) == 0,
	    "the file has lost what was in it");
	(void)unlink(path_of(scene, "more"));
}

/* Where it is ready, it has what it was to begin with. */
void
orders_settle_init(struct faults_scene *scene)
{
	struct harness_segment segment;

	if (harness_wait(&scene->watcher, "g") == PROTOCOL_READY) {
		harness_segment_open(&scene->watcher, "g", &segment);
		harness_assert(segment.data[0] == 'i' && segment.data[4095] == 'i', "it is ready without its contents; failed: %s",
		    injector_describe(&scene->injector));
		harness_segment_close(&segment);
		(void)harness_detach(&scene->watcher, &segment.attached);
	}
	orders_settle(scene);
	(void)unlink(path_of(scene, "init"));
}

/* What fails is tried again soon. */
void
orders_prepare_store(struct faults_scene *scene)
{
	char more[256];

	(void)snprintf(more, sizeof(more), OWN("size = \"64KiB\"; backend = \"file\"; path = \"%s\"; sync = \"100ms\"; mlock = false;"),
	    path_of(scene, "more"));
	scene_reload(scene, more);
	suite_ready(&scene->watcher, "g");
}

/* Whether what was stored before that time is on the disk; or a negative errno. */
static int
is_synced(struct harness_conn *conn, uint64_t since_ns)
{
	struct harness_reply reply;
	int r = harness_show(conn, "g", &reply);

	return r ? r : reply.shown.synced_ns >= since_ns;
}

static int
await_synced(struct faults_scene *scene, struct harness_conn *conn, uint64_t ms)
{
	uint64_t begun_ns = harness_clock_ns();
	int r;

	while ((r = is_synced(conn, stored_ns)) == 0 && injector_awaits(&scene->injector, begun_ns, ms))
		(void)poll(NULL, 0, 1);
	return r > 0 ? 0 : r ? r : -ETIMEDOUT;
}

int
orders_store(struct faults_scene *scene)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_segment_attach(&conn, "g", SUITE_WRITE, &segment);
	if (r == 0) {
		memset(segment.data, 's', segment.attached.map_bytes);
		stored_ns = clock_realtime_ns();
		harness_segment_close(&segment);
		r = harness_detach(&conn, &segment.attached);
		r = r && r != -ENOENT ? r : await_synced(scene, &conn, SYNCED_MS);
	}
	harness_close(&conn);
	return r;
}

void
orders_settle_store(struct faults_scene *scene)
{
	int r;

	harness_await_counts(&scene->watcher, "g", 0, 0);
	r = await_synced(scene, &scene->watcher, HARNESS_TIMEOUT_MS);
	harness_assert(r == 0, "what was stored is not on the disk, and it is not tried again: %s; failed: %s", strerror(-r),
	    injector_describe(&scene->injector));
	stored_ns = 0;
	orders_settle_file(scene);
}
