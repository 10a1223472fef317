/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What was in the file is in it, or zeros where that was asked for; and nothing lies beside it in the end: see files.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/mark.h"
#include "tests/faults/files.h"
#include "tests/faults/orders.h"
#include "tests/system/suite.h"

#define PROVISION_TRIES	3
#define BYTES		(64 * KIB)
#define LARGER_BYTES	(96 * KIB)
#define HELD_MS		60
#define OTHER_BOOT	"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

static const char *where = "";		/* below the daemon's directory */

static const char *
path_of(const struct faults_scene *scene, const char *name)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s%s/%s", scene->manager.daemon.dir, where, name);
	return path;
}

/* dir: what leads there. */
static void
configure(struct faults_scene *scene, const char *dir, const char *keys)
{
	char more[512];

	(void)snprintf(more, sizeof(more), ", { name = \"g\"; size = \"64KiB\"; page_size = \"base\"; backend = \"file\"; "
	    "path = \"%s%s/more\"; sync = \"1h\"; mlock = false; %s }", scene->manager.daemon.dir, dir, keys);
	scene_configure(scene, more);
}

static void
put(const struct faults_scene *scene, const char *name, const void *bytes, size_t length)
{
	cleanup_close int fd = open(path_of(scene, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	harness_assert(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "%s: %s", name, strerror(errno));
}

/* A file with something in it, and the mark of who used it. boot: NULL: this one. */
static void
leave_file(struct faults_scene *scene, size_t length, const char *boot, pid_t pid)
{
	struct mark mark = { .state = MARK_USED, .generation = 7, .size_bytes = BYTES, .pid = pid };
	char bytes[MARK_BYTES + 1];
	static char contents[LARGER_BYTES];

	harness_assert(mark_read_boot("", mark.boot) == 0, "no boot id");
	if (boot)
		(void)snprintf(mark.boot, sizeof(mark.boot), "%s", boot);
	mark_format(&mark, bytes);
	memset(contents, 'o', sizeof(contents));
	put(scene, "more", contents, length);
	put(scene, "more.segmentd", bytes, MARK_BYTES);
}

/* By a worker, when the segment is gone. */
static void
await_removed(const struct faults_scene *scene, const char *name)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (access(path_of(scene, name), F_OK) == 0)
		harness_assert(harness_clock_ns() < deadline_ns, "'%s' lies beside it; failed: %s", name,
		    injector_describe(&scene->injector));
}

/* It can be had, and its first byte is that; and when it is gone nothing lies beside it. */
static void
settle_with(struct faults_scene *scene, char byte)
{
	struct harness_segment segment;
	int r = -EAGAIN;

	/* What closes the file still has it for a moment, which is told as somebody else's. */
	for (unsigned n = 0; r && n < PROVISION_TRIES; n++) {
		orders_settle(scene);
		configure(scene, where, "");
		r = orders_provision(scene);
	}
	harness_assert(r == 0, "afterwards it is refused: %s; failed: %s", strerror(-r), injector_describe(&scene->injector));
	harness_segment_open(&scene->watcher, "g", &segment);
	harness_assert(segment.data[0] == byte && segment.data[BYTES - 1] == byte, "%d and %d are in it instead of %d; failed: %s",
	    segment.data[0], segment.data[BYTES - 1], byte, injector_describe(&scene->injector));
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
	harness_await_counts(&scene->watcher, "g", 0, 0);
	orders_settle(scene);
	await_removed(scene, "more.segmentd");
	await_removed(scene, "more.segmentd.new");
	(void)unlink(path_of(scene, "more"));
}

void
files_prepare_unclean(struct faults_scene *scene)
{
	leave_file(scene, BYTES, OTHER_BOOT, 1);
	configure(scene, where, "on_unclean = \"zero\";");
}

/* Where it could not be zeroed, it is asked for once more. */
void
files_settle_unclean(struct faults_scene *scene)
{
	if (harness_wait(&scene->watcher, "g") != PROTOCOL_READY) {
		orders_settle(scene);
		configure(scene, where, "on_unclean = \"zero\";");
		harness_assert(orders_provision(scene) == 0, "afterwards it is refused; failed: %s",
		    injector_describe(&scene->injector));
	}
	settle_with(scene, '\0');
}

#define RAM	"/ram"

/* On a file system that knows of none. Who may not mount it has a directory there. */
void
files_prepare_holeless(struct faults_scene *scene)
{
	where = RAM;
	harness_assert(mkdir(path_of(scene, ""), 0700) == 0, "mkdir: %s", strerror(errno));
	(void)mount("ramfs", path_of(scene, ""), "ramfs", 0, "mode=0700");
	files_prepare_unclean(scene);
}

void
files_settle_holeless(struct faults_scene *scene)
{
	files_settle_unclean(scene);
	(void)umount2(path_of(scene, ""), MNT_DETACH);
	harness_assert(rmdir(path_of(scene, "")) == 0, "rmdir: %s", strerror(errno));
	where = "";
}

int
files_fail(struct faults_scene *scene)
{
	int r = orders_provision(scene);

	harness_assert(r, "nothing is to be had of it, and it is ready; failed: %s", injector_describe(&scene->injector));
	return r == -ECANCELED ? 0 : r;
}

static bool is_full;

/* On a file system that is smaller. Who may not mount it has a directory there, and room. */
void
files_prepare_full(struct faults_scene *scene)
{
	where = RAM;
	harness_assert(mkdir(path_of(scene, ""), 0700) == 0, "mkdir: %s", strerror(errno));
	is_full = mount("tmpfs", path_of(scene, ""), "tmpfs", 0, "mode=0700,size=32k") == 0;
	configure(scene, where, "");
}

int
files_find_no_room(struct faults_scene *scene)
{
	return is_full ? files_fail(scene) : orders_provision(scene);
}

/* Nothing lies there then; what could not be taken away, and says nothing of anything, the next one takes away. */
void
files_settle_full(struct faults_scene *scene)
{
	orders_settle(scene);
	configure(scene, where, "");
	harness_assert(files_find_no_room(scene) == 0, "afterwards it is refused");
	orders_settle(scene);
	await_removed(scene, "more.segmentd");
	await_removed(scene, "more.segmentd.new");
	(void)unlink(path_of(scene, "more"));
	(void)umount2(path_of(scene, ""), MNT_DETACH);
	harness_assert(rmdir(path_of(scene, "")) == 0, "rmdir: %s", strerror(errno));
	where = "";
}

void
files_prepare_enlarged(struct faults_scene *scene)
{
	leave_file(scene, LARGER_BYTES, NULL, 1);
	configure(scene, where, "");
}

void
files_prepare_enlarged_use(struct faults_scene *scene)
{
	struct harness_segment segment;

	configure(scene, where, "");
	harness_assert(orders_provision(scene) == 0, "it was refused, and nothing failed");
	harness_segment_open(&scene->watcher, "g", &segment);
	memset(segment.data, 'o', BYTES);
	harness_assert(ftruncate(segment.data_fd, LARGER_BYTES) == 0, "ftruncate: %s", strerror(errno));
	harness_segment_close(&segment);
	(void)harness_detach(&scene->watcher, &segment.attached);
	harness_await_counts(&scene->watcher, "g", 0, 0);
	scene_configure(scene, "");
}

/* Where it could not be cut back the next start says so, and it is cut by hand. */
void
files_settle_enlarged(struct faults_scene *scene)
{
	struct stat status;

	orders_settle(scene);
	configure(scene, where, "");
	if (orders_provision(scene)) {
		harness_assert(injector_has_failed(&scene->injector) && stat(path_of(scene, "more"), &status) == 0 &&
		    status.st_size == LARGER_BYTES, "afterwards it is refused, and was cut back; failed: %s",
		    injector_describe(&scene->injector));
		harness_assert(truncate(path_of(scene, "more"), BYTES) == 0, "truncate: %s", strerror(errno));
	}
	settle_with(scene, 'o');
}

/* One more has the lock, of whom nobody knows: the one who took it is gone. */
static void
hold(int control, void *arg)
{
	struct faults_scene *scene = arg;
	int fd = open(path_of(scene, "more.segmentd"), O_RDWR | O_CLOEXEC);

	(void)control;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		_exit(1);
	if (fork() == 0) {
		(void)poll(NULL, 0, HELD_MS);
		_exit(0);
	}
	_exit(0);
}

void
files_prepare_held(struct faults_scene *scene)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	(void)waitpid(pid, NULL, 0);
	leave_file(scene, BYTES, NULL, pid);
	configure(scene, where, "");
}

int
files_await(struct faults_scene *scene)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, hold, scene);
	harness_child_await_success(&child);
	return orders_provision(scene);
}

void
files_prepare_link(struct faults_scene *scene)
{
	harness_assert(symlink(scene->manager.daemon.dir, path_of(scene, "link")) == 0 || errno == EEXIST, "symlink: %s", strerror(errno));
	leave_file(scene, BYTES, NULL, 1);
	configure(scene, "/link", "");
}

void
files_settle(struct faults_scene *scene)
{
	settle_with(scene, 'o');
	(void)unlink(path_of(scene, "link"));
}

void
files_configure_hopeless(struct faults_scene *scene)
{
	char keys[256];

	(void)snprintf(keys, sizeof(keys), "init = \"%s\";", path_of(scene, "nothing"));
	configure(scene, where, keys);
}
