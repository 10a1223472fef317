/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* It is as it was asked for, or has failed and says why; and what it had then is given back: see making.h. */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/faults/making.h"
#include "tests/faults/orders.h"
#include "tests/system/suite.h"

#define BYTES		(64 * KIB)
#define LARGER_BYTES	(4 * MIB)
#define OWN(keys)	", { name = \"g\"; size = \"64KiB\"; placement = \"prefer\"; " keys " }"
#define BASE(keys)	OWN("page_size = \"base\"; " keys)
#define SYSV		"backend = \"sysv\"; key = 0x5e6a1e; "
#define POSIX		"backend = \"posix\"; object = \"/g\"; mlock = false; "
#define KEY		0x5e6a1e

#define LOCKS		"locks = ( { name = \"all\"; length = \"4KiB\"; undo = \"4KiB\"; }, " \
			"{ name = \"mutex\"; at = \"8192\"; init = true; on_death = \"keep\"; } ); "

void
making_configure_locked(struct faults_scene *scene)
{
	scene_configure(scene, BASE("mlock = true; " LOCKS));
}

void
making_configure_locked_sysv(struct faults_scene *scene)
{
	scene_configure(scene, BASE(SYSV "mlock = true; " LOCKS));
}

/* A kernel without nodes has no place to ask for. */
void
making_configure_placed(struct faults_scene *scene)
{
	scene_configure(scene, syscall(SYS_set_mempolicy, 0, NULL, 0) ? BASE("mlock = false;") :
	    BASE("numa = \"bind:0\"; mlock = false;"));
}

void
making_configure_huge(struct faults_scene *scene)
{
	scene_configure(scene, ", { name = \"g\"; size = \"5MiB\"; page_size = \"transparent\"; placement = \"prefer\"; mlock = false; }");
}

void
making_configure_two(struct faults_scene *scene)
{
	scene_configure(scene, BASE(POSIX) ", { name = \"h\"; size = \"64KiB\"; page_size = \"base\"; backend = \"posix\"; "
	    "object = \"/h\"; mlock = false; }");
}

void
making_settle_two(struct faults_scene *scene)
{
	orders_settle(scene);
	harness_await_gone(&scene->watcher, "h");
}

static void
have_ready(struct faults_scene *scene, const char *more)
{
	scene_reload(scene, more);
	suite_ready(&scene->watcher, "g");
}

void
making_prepare_taken(struct faults_scene *scene)
{
	int fd = shm_open("/g", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	harness_assert(fd >= 0, "shm_open: %s", strerror(errno));
	(void)close(fd);
	scene_configure(scene, BASE(POSIX));
}

void
making_prepare_taken_sysv(struct faults_scene *scene)
{
	harness_assert(shmget(KEY, BYTES, IPC_CREAT | IPC_EXCL | 0600) >= 0, "shmget: %s", strerror(errno));
	scene_configure(scene, BASE(SYSV "mlock = false;"));
}

int
making_taken(struct faults_scene *scene)
{
	int r = orders_provision(scene);

	harness_assert(r, "its name is another's, and it is ready; failed: %s", injector_describe(&scene->injector));
	return r == -ECANCELED ? 0 : r;
}

/* It is another's still. */
void
making_settle_taken(struct faults_scene *scene)
{
	struct protocol_segment row;
	struct harness_reply reply;
	int id = shmget(KEY, 0, 0), state;

	if (harness_find(&scene->watcher, "g", &row) == 0) {
		state = harness_wait(&scene->watcher, "g");
		harness_assert(state == PROTOCOL_FAILED && harness_show(&scene->watcher, "g", &reply) == 0 &&
		    strlen(harness_reason(&reply)) > 10, "in state %d, '%s'; failed: %s", state, harness_reason(&reply),
		    injector_describe(&scene->injector));
	}
	orders_settle(scene);
	if (id < 0)
		harness_assert(shm_unlink("/g") == 0, "it has removed what is another's; failed: %s", injector_describe(&scene->injector));
	else
		harness_assert(shmctl(id, IPC_RMID, NULL) == 0, "shmctl: %s", strerror(errno));
}

void
making_prepare_scrubbed_posix(struct faults_scene *scene)
{
	have_ready(scene, BASE(POSIX "scrub = true;"));
}

void
making_prepare_scrubbed_sysv(struct faults_scene *scene)
{
	have_ready(scene, BASE(SYSV "mlock = false; scrub = true;"));
}

/* Of System V memory the harness has but a page beside it. */
static void
store(struct harness_segment *segment)
{
	bool is_shm = segment->attached.flags & PROTOCOL_ATTACHED_SHM;
	unsigned char *data = is_shm ? shmat(segment->attached.shm_id, NULL, 0) : segment->data;

	harness_assert(data != (void *)-1, "shmat: %s", strerror(errno));
	memset(data, 's', BYTES);
	if (is_shm)
		(void)shmdt(data);
}

/* size_bytes: 0: as it is. */
static int
have(struct faults_scene *scene, uint64_t size_bytes)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_segment_attach(&conn, "g", SUITE_WRITE, &segment);
	if (r == 0) {
		if (size_bytes)
			harness_assert(ftruncate(segment.data_fd, (off_t)size_bytes) == 0, "ftruncate: %s", strerror(errno));
		if (size_bytes > BYTES)
			harness_assert(pwrite(segment.data_fd, "s", 1, (off_t)(size_bytes - 1)) == 1, "pwrite: %s", strerror(errno));
		if (!size_bytes || size_bytes >= BYTES)
			store(&segment);
		harness_segment_close(&segment);
		r = harness_detach(&conn, &segment.attached);
		r = r == -ENOENT ? 0 : r;
	}
	harness_close(&conn);
	return r;
}

int
making_cut_short(struct faults_scene *scene)
{
	return have(scene, 4096);
}

int
making_enlarge(struct faults_scene *scene)
{
	return have(scene, LARGER_BYTES);
}

int
making_scrub_sysv(struct faults_scene *scene)
{
	return have(scene, 0);
}

/* Whoever comes next finds nothing of it; or it has failed, and says why. */
void
making_settle_scrubbed(struct faults_scene *scene)
{
	int id = shmget(KEY, 0, 0), r;
	struct harness_segment segment;
	struct harness_reply reply;
	unsigned char *data;

	harness_await_counts(&scene->watcher, "g", 0, 0);
	/* Where the kernel could not say that nobody has it, it is scrubbed when the next one asks for it. */
	do
		r = harness_wait(&scene->watcher, "g") == PROTOCOL_READY ?
		    harness_segment_attach(&scene->watcher, "g", SUITE_WRITE, &segment) : -ECANCELED;
	while (r == -EAGAIN);
	if (r == 0) {
		data = id < 0 ? segment.data : shmat(id, NULL, SHM_RDONLY);
		harness_assert(data != (void *)-1, "shmat: %s", strerror(errno));
		for (size_t i = 0; i < BYTES; i++)
			harness_assert(data[i] == 0, "byte %zu is %d for the next one; failed: %s", i, data[i],
			    injector_describe(&scene->injector));
		if (id >= 0)
			(void)shmdt(data);
		harness_segment_close(&segment);
		(void)harness_detach(&scene->watcher, &segment.attached);
		harness_await_counts(&scene->watcher, "g", 0, 0);
	} else {
		harness_assert(harness_show(&scene->watcher, "g", &reply) == 0 && strlen(harness_reason(&reply)) > 10,
		    "it does not say why it has failed; failed: %s", injector_describe(&scene->injector));
		scene->n_failed_segments++;
	}
	orders_settle(scene);
}

static int guest_fd = -1;

void
making_prepare_admission(struct faults_scene *scene)
{
	have_ready(scene, BASE(POSIX));
	guest_fd = shm_open("/g", O_RDWR | O_CLOEXEC, 0);
	harness_assert(guest_fd >= 0, "shm_open: %s", strerror(errno));
	scene_configure(scene, BASE(POSIX "mode = \"0644\";"));
}

/* A worker is at it perhaps, or is tried again. */
static bool
await_admission(struct faults_scene *scene)
{
	struct harness_reply reply;
	struct stat status;

	do {
		harness_assert(harness_show(&scene->watcher, "g", &reply) == 0, "it is gone");
		if (*harness_reason(&reply))
			return false;
		harness_assert(fstat(guest_fd, &status) == 0, "fstat: %s", strerror(errno));
	} while ((status.st_mode & 07777) != 0644);
	return true;
}

void
making_settle_admission(struct faults_scene *scene)
{
	scene_reload(scene, BASE(POSIX "mode = \"0644\";"));
	harness_assert(await_admission(scene), "the reload has not mended it; failed: %s", injector_describe(&scene->injector));
	(void)close(guest_fd);
	orders_settle(scene);
}
