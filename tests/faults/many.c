/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* All of it is the test's, is nobody's business here, and goes before it is looked at what there is: see many.h. */
#include "config.h"

#include <fcntl.h>
#include <sys/shm.h>

#include "tests/faults/many.h"
#include "tests/faults/strays.h"

#define NAMES		1300		/* of which so many make more than 256 KiB */
#define NAME_LENGTH	240
#define MEMORIES	70		/* of which a page of text tells 30 */

static void
name_at(unsigned i, char *path, size_t size)
{
	(void)snprintf(path, size, "/dev/shm/%0*u", NAME_LENGTH, i);
}

void
many_prepare_names(struct faults_scene *scene)
{
	char path[NAME_LENGTH + 16];

	for (unsigned i = 0; i < NAMES; i++) {
		cleanup_close int fd = -1;

		name_at(i, path, sizeof(path));
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
	}
	strays_prepare_rule(scene);
}

void
many_settle_names(struct faults_scene *scene)
{
	char path[NAME_LENGTH + 16];

	for (unsigned i = 0; i < NAMES; i++) {
		name_at(i, path, sizeof(path));
		harness_assert(unlink(path) == 0, "%s: %s; failed: %s", path, strerror(errno), injector_describe(&scene->injector));
	}
	strays_settle_rule(scene);
}

static int memories[MEMORIES];

void
many_prepare_memories(struct faults_scene *scene)
{
	(void)scene;
	for (size_t i = 0; i < MEMORIES; i++) {
		memories[i] = shmget(IPC_PRIVATE, 1, 0600);
		harness_assert(memories[i] >= 0, "shmget: %s", strerror(errno));
	}
}

void
many_settle_memories(struct faults_scene *scene)
{
	for (size_t i = 0; i < MEMORIES; i++)
		harness_assert(shmctl(memories[i], IPC_RMID, NULL) == 0, "shmctl: %s; failed: %s", strerror(errno),
		    injector_describe(&scene->injector));
	scene_await_gone(scene, "ty-1");
}

void
many_prepare_memories_swept(struct faults_scene *scene)
{
	many_prepare_memories(scene);
	strays_prepare_sysv(scene);
}

void
many_settle_memories_swept(struct faults_scene *scene)
{
	many_settle_memories(scene);
	strays_settle_sysv(scene);
}
