/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What there is in /dev/shm and of System V memory: see world.h. */
#include "config.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "tests/system/opener.h"
#include "tests/system/world.h"

static struct world empty;

void
world_enter(void)
{
	opener_enter("mode=1777,size=64m");
	if (unshare(CLONE_NEWIPC))
		harness_skip("an IPC namespace of its own is not to be had here: %s", strerror(errno));
	harness_assert(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "prctl: %s", strerror(errno));
	world_look(&empty);
	harness_assert(!empty.n_objects && !empty.n_memories, "something is there already: %s", world_describe(&empty));
}

static void
look_at_objects(struct world *world)
{
	DIR *dir = opendir("/dev/shm");
	struct dirent *entry;

	harness_assert(dir, "/dev/shm: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		struct world_object *object = &world->objects[world->n_objects];

		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		harness_assert(world->n_objects++ < WORLD_MAX, "more than %d names are in /dev/shm", WORLD_MAX);
		(void)snprintf(object->name, sizeof(object->name), "%s", entry->d_name);
		object->inode = entry->d_ino;
	}
	(void)closedir(dir);
}

static void
look_at_memories(struct world *world)
{
	struct shmid_ds shm;
	int last = shmctl(0, SHM_INFO, &shm);

	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT, &shm);

		if (id < 0)
			continue;
		harness_assert(world->n_memories < WORLD_MAX, "more than %d System V segments are there", WORLD_MAX);
		world->memories[world->n_memories++] = (struct world_memory) { .id = id, .key = (uint32_t)shm.shm_perm.__key };
	}
}

void
world_look(struct world *ret_world)
{
	struct statvfs status;

	*ret_world = (struct world) { .n_objects = 0 };
	look_at_objects(ret_world);
	look_at_memories(ret_world);
	harness_assert(statvfs("/dev/shm", &status) == 0, "/dev/shm: %s", strerror(errno));
	ret_world->used_blocks = status.f_blocks - status.f_bfree;
	ret_world->used_inodes = status.f_files - status.f_ffree;
}

const char *
world_describe(const struct world *world)
{
	static char text[2048];
	size_t n = 0;

	for (size_t i = 0; i < world->n_objects && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "'%s' (inode %ju) ", world->objects[i].name,
		    (uintmax_t)world->objects[i].inode);
	for (size_t i = 0; i < world->n_memories && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "System V %d (key 0x%x) ", world->memories[i].id,
		    world->memories[i].key);
	if (n < sizeof(text))
		(void)snprintf(text + n, sizeof(text) - n, "%ju blocks and %ju inodes in /dev/shm", (uintmax_t)world->used_blocks,
		    (uintmax_t)world->used_inodes);
	return text;
}

const struct world_object *
world_find(const struct world *world, const char *name)
{
	for (size_t i = 0; i < world->n_objects; i++)
		if (streq(world->objects[i].name, name))
			return &world->objects[i];
	return NULL;
}

const struct world_object *
world_find_inode(const struct world *world, ino_t inode)
{
	for (size_t i = 0; i < world->n_objects; i++)
		if (world->objects[i].inode == inode)
			return &world->objects[i];
	return NULL;
}

const struct world_memory *
world_find_key(const struct world *world, uint32_t key)
{
	for (size_t i = 0; i < world->n_memories; i++)
		if (world->memories[i].key == key)
			return &world->memories[i];
	return NULL;
}

bool
world_await(const struct world *wanted, struct world *ret_world)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;

	for (;;) {
		world_look(ret_world);
		if (ret_world->n_objects == wanted->n_objects && ret_world->n_memories == wanted->n_memories &&
		    ret_world->used_blocks == wanted->used_blocks && ret_world->used_inodes == wanted->used_inodes)
			return true;
		if (harness_clock_ns() >= deadline_ns)
			return false;
		(void)poll(NULL, 0, 1);		/* nothing tells of an end that closes the last of it */
	}
}

void
world_await_empty(const char *when)
{
	struct world world;

	harness_assert(world_await(&empty, &world), "%s this is left: %s", when, world_describe(&world));
}

void
world_await_childless(const char *when)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_LEAK_TIMEOUT_MS * NS_PER_MS;

	while (waitpid(-1, NULL, __WALL | WNOHANG) >= 0) {
		harness_assert(harness_clock_ns() < deadline_ns, "%s a process is left", when);
		(void)poll(NULL, 0, 1);
	}
}

#define NO_HOST	77

/* In a process between: who has entered a pid namespace that has ended can start nothing any more. */
static void __attribute__((noreturn))
run_host(void (*body)(void))
{
	int status = 0;
	pid_t pid;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS))
		_exit(NO_HOST);
	pid = harness_fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		harness_assert(harness_make_private("/proc") == 0 &&
		    mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc: %s", strerror(errno));
		body();
		_exit(0);
	}
	(void)waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : HARNESS_EXIT_FAILED);
}

void
world_on_own_host(void (*body)(void))
{
	int status = NO_HOST << 8;
	pid_t pid = geteuid() == 0 ? harness_fork() : -1;

	if (pid == 0)
		run_host(body);
	if (pid > 0)
		harness_assert(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	if (status == NO_HOST << 8)
		body();
	else
		harness_assert(status == 0, "it ended with %x", (unsigned)status);
}
