/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What was in a section is as before it, and its lock is free, without anybody asking for that: see dying.h. Whoever dies is a
 * process of the test's own, which tells with its exit status where it was refused instead.
 */
#include "config.h"

#include <pthread.h>
#include <signal.h>

#include "tests/faults/asleep.h"
#include "tests/faults/dying.h"
#include "tests/system/suite.h"

#define STATUS_REFUSED	1
#define STATUS_HUNG_UP	2

#define SMALL_BYTES	64
#define LARGE_BYTES	(96 * KIB)		/* more than the loop rolls back by itself */
#define MUTEX_AT	128
#define MUTEX_ZEROED	4096

#define OWN(size, locks)	", { name = \"g\"; size = \"" size "\"; page_size = \"base\"; mlock = false; locks = ( { name = \"all\"; " \
	locks " } ); }"

struct victim {
	struct faults_scene *scene;
	const char *name;
	uint64_t logged_bytes;
	bool hangs_up;
};

static void
refuse(int r)
{
	if (r)
		_exit(r == -ENOTCONN || r == -ECONNRESET ? STATUS_HUNG_UP : STATUS_REFUSED);
}

static void
attach(const struct victim *victim, struct harness_conn *conn, struct harness_segment *segment)
{
	refuse(scene_dial(victim->scene, conn));
	refuse(harness_segment_attach(conn, victim->name, SUITE_WRITE, segment));
}

static void
die_in_section(int control, void *arg)
{
	const struct victim *victim = arg;
	struct harness_segment segment;
	struct control_place place;
	struct harness_conn conn;

	(void)control;
	attach(victim, &conn, &segment);
	place = harness_segment_place(&segment, 0);
	if (!control_try(place.lock, segment.attached.attachment, 0) || control_log(&place, 0, victim->logged_bytes))
		_exit(STATUS_REFUSED);
	memset(segment.data, 'x', victim->logged_bytes);
	if (victim->hangs_up) {
		harness_close(&conn);
		asleep_await(victim->scene->manager.daemon.pid);
	}
	(void)kill(getpid(), SIGKILL);
}

static void
die_with_mutex(int control, void *arg)
{
	const struct victim *victim = arg;
	struct harness_segment segment;
	struct harness_conn conn;

	(void)control;
	attach(victim, &conn, &segment);
	if (pthread_mutex_lock((pthread_mutex_t *)(void *)(segment.data + MUTEX_AT)))
		_exit(STATUS_REFUSED);
	segment.data[MUTEX_ZEROED]++;
	(void)kill(getpid(), SIGKILL);
}

static int
await_death(harness_child_fn die, struct victim *victim)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	int status;

	harness_child_start(&child, die, victim);
	status = harness_child_await(&child);
	return status == -SIGKILL ? 0 : status == STATUS_HUNG_UP ? -ENOTCONN : -ECANCELED;
}

int
dying_memfd(struct faults_scene *scene)
{
	return await_death(die_in_section, &(struct victim) { .scene = scene, .name = "m", .logged_bytes = SMALL_BYTES });
}

int
dying_sysv(struct faults_scene *scene)
{
	return await_death(die_in_section, &(struct victim) { .scene = scene, .name = "y", .logged_bytes = SMALL_BYTES });
}

int
dying_unheard(struct faults_scene *scene)
{
	return await_death(die_in_section, &(struct victim) {
		.scene = scene, .name = "m", .logged_bytes = SMALL_BYTES, .hangs_up = true,
	});
}

int
dying_large(struct faults_scene *scene)
{
	return await_death(die_in_section, &(struct victim) { .scene = scene, .name = "g", .logged_bytes = LARGE_BYTES });
}

int
dying_mutex(struct faults_scene *scene)
{
	return await_death(die_with_mutex, &(struct victim) { .scene = scene, .name = "g" });
}

/* Its lock is free, and its bytes are as they were; of System V memory they are not looked at: the harness has but a page beside it. */
static void
expect_recovered(struct faults_scene *scene, const char *name, size_t n)
{
	struct harness_segment segment;

	harness_await_counts(&scene->watcher, name, 0, 0);
	harness_segment_open(&scene->watcher, name, &segment);
	harness_segment_await_owner(&segment, 0, 0);
	for (size_t i = 0; i < n; i++)
		harness_assert(segment.data[i] == 0, "byte %zu of '%s' is not as it was; failed: %s", i, name,
		    injector_describe(&scene->injector));
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
}

void
dying_settle(struct faults_scene *scene)
{
	expect_recovered(scene, "m", SMALL_BYTES);
	expect_recovered(scene, "y", 0);
}

static void
make_own(struct faults_scene *scene, const char *more)
{
	scene_reload(scene, more);
	suite_ready(&scene->watcher, "g");
}

static void
remove_own(struct faults_scene *scene)
{
	harness_await_counts(&scene->watcher, "g", 0, 0);
	scene_reload(scene, "");
	harness_await_gone(&scene->watcher, "g");
}

void
dying_prepare_large(struct faults_scene *scene)
{
	make_own(scene, OWN("128KiB", "length = \"128KiB\"; undo = \"128KiB\";"));
}

void
dying_settle_large(struct faults_scene *scene)
{
	expect_recovered(scene, "g", LARGE_BYTES);
	remove_own(scene);
}

void
dying_prepare_mutex(struct faults_scene *scene)
{
	make_own(scene, OWN("64KiB", "at = \"128\"; init = true; on_death = \"zero\"; offset = \"4KiB\"; length = \"4KiB\";"));
}

static const char *
path_of(const struct faults_scene *scene)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s/mutex", scene->manager.daemon.dir);
	return path;
}

/* Whoever touches one may wait for a disk: others do it. */
void
dying_prepare_mutex_file(struct faults_scene *scene)
{
	char more[512];

	(void)snprintf(more, sizeof(more), ", { name = \"g\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; backend = \"file\"; "
	    "path = \"%s\"; sync = \"1h\"; locks = ( { name = \"all\"; at = \"128\"; init = true; on_death = \"zero\"; "
	    "offset = \"4KiB\"; length = \"4KiB\"; } ); }", path_of(scene));
	make_own(scene, more);
}

void
dying_settle_mutex_file(struct faults_scene *scene)
{
	dying_settle_mutex(scene);
	(void)unlink(path_of(scene));
}

/*
 * The kernel tells the next owner; what it protects is the daemon's to put right. Where that may not see of which pid namespace
 * the dead were, it lets be what they had.
 */
void
dying_settle_mutex(struct faults_scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	bool may_stay = injector_is_lasting(&scene->injector);
	struct harness_segment segment;
	pthread_mutex_t *mutex;
	int r;

	harness_await_counts(&scene->watcher, "g", 0, 0);
	harness_segment_open(&scene->watcher, "g", &segment);
	mutex = (pthread_mutex_t *)(void *)(segment.data + MUTEX_AT);
	while ((*(volatile unsigned char *)&segment.data[MUTEX_ZEROED] && !may_stay) || (r = pthread_mutex_trylock(mutex)) == EBUSY)
		harness_assert(harness_clock_ns() < deadline_ns, "its bytes are not zeroed, or it has its mutex still; failed: %s",
		    injector_describe(&scene->injector));
	if (r == EOWNERDEAD)
		r = pthread_mutex_consistent(mutex);
	harness_assert(r == 0 && pthread_mutex_unlock(mutex) == 0, "the mutex: %s; failed: %s", strerror(r),
	    injector_describe(&scene->injector));
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
	remove_own(scene);
}

void
dying_prepare_poison(struct faults_scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct victim victim = { .scene = scene, .name = "g", .logged_bytes = SMALL_BYTES };
	struct protocol_lock row = { 0 };

	make_own(scene, OWN("64KiB", "length = \"4KiB\"; undo = \"4KiB\"; on_death = \"poison\";"));
	harness_assert(await_death(die_in_section, &victim) == 0, "it was refused, and nothing failed");
	while (!(row.flags & PROTOCOL_LOCK_POISONED)) {
		int n = harness_locks(&scene->watcher, "g", &row, 1);

		harness_assert(n == 1 && harness_clock_ns() < deadline_ns, "%d locks, flags %#x", n, row.flags);
	}
}

int
dying_recover(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_recover(&conn, "g", "", 0);
	harness_close(&conn);
	return r < 0 ? r : 0;
}

/* Where it was not done it can be asked for again. */
void
dying_settle_poison(struct faults_scene *scene)
{
	int r = harness_recover(&scene->watcher, "g", "all", 0);

	harness_assert(r == 1 || r == -EALREADY, "again: %d; failed: %s", r, injector_describe(&scene->injector));
	expect_recovered(scene, "g", SMALL_BYTES);
	remove_own(scene);
}
