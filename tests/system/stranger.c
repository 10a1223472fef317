/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Programs that know nothing of segmentd: see stranger.h. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "tests/system/stranger.h"

#define WORD_MAX	63
#define SCAN_MAX	64

/* The stranger's side. */

struct role {
	uid_t uid;
	gid_t gid;
	char *map;
	size_t map_bytes;
};

static long
or_errno(long r)
{
	return r == -1 ? -errno : 0;
}

static long
do_make(struct role *role, const long *args)
{
	(void)role;
	return shmget((key_t)args[0], (size_t)args[1], IPC_CREAT | IPC_EXCL | (int)args[2]) < 0 ? -errno : 0;
}

static long
do_attach_id(struct role *role, const long *args)
{
	struct stranger_row row;
	void *map = shmat((int)args[0], NULL, (int)args[1]);

	if (map == (void *)-1)
		return -errno;
	role->map = map;
	role->map_bytes = stranger_stat((int)args[0], &row) == 0 ? row.size_bytes : 0;
	return 0;
}

static long
do_attach(struct role *role, const long *args)
{
	int id = shmget((key_t)args[0], 0, 0);

	return id < 0 ? -errno : do_attach_id(role, (const long[]) { id, args[1] });
}

static long
do_get(struct role *role, const long *args)
{
	return ((volatile unsigned char *)role->map)[args[0]];
}

static long
do_set(struct role *role, const long *args)
{
	((volatile unsigned char *)role->map)[args[0]] = (unsigned char)args[1];
	return 0;
}

static long
do_punch(struct role *role, const long *args)
{
	return or_errno(madvise(role->map + args[0], (size_t)args[1], MADV_REMOVE));
}

static long
do_remap(struct role *role, const long *args)
{
	(void)args;
	return mremap(role->map, 0, role->map_bytes, MREMAP_MAYMOVE) == MAP_FAILED ? -errno : 0;
}

static long
do_detach(struct role *role, const long *args)
{
	(void)args;
	return or_errno(shmdt(role->map));
}

static long
do_remove(struct role *role, const long *args)
{
	(void)role;
	return or_errno(shmctl((int)args[0], IPC_RMID, NULL));
}

static long
do_change(struct role *role, const long *args)
{
	struct shmid_ds shm = { .shm_perm = {
		.uid = (uid_t)args[1], .gid = (gid_t)args[2], .mode = (unsigned short)args[3],
	} };

	(void)role;
	return or_errno(shmctl((int)args[0], IPC_SET, &shm));
}

static long
do_unlock(struct role *role, const long *args)
{
	(void)role;
	return or_errno(shmctl((int)args[0], SHM_UNLOCK, NULL));
}

static long
do_stat(struct role *role, const long *args)
{
	struct shmid_ds shm;

	(void)role;
	return or_errno(shmctl((int)args[0], IPC_STAT, &shm));
}

static const struct {
	const char *verb;
	long (*act)(struct role *role, const long *args);
} verbs[] = {
	{ "make", do_make }, { "attach", do_attach }, { "attachid", do_attach_id }, { "get", do_get }, { "set", do_set },
	{ "punch", do_punch }, { "remap", do_remap }, { "detach", do_detach }, { "remove", do_remove },
	{ "change", do_change }, { "unlock", do_unlock }, { "stat", do_stat },
};

static long
act(struct role *role, const char *word)
{
	char verb[16] = "";
	long args[4] = { 0 };

	(void)sscanf(word, "%15s %li %li %li %li", verb, &args[0], &args[1], &args[2], &args[3]);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i].verb, verb))
			return verbs[i].act(role, args);
	harness_fail("a stranger was told '%s'", word);
}

/* Does what it is told until nobody is there to tell it. */
static void
run_stranger(int control, void *arg)
{
	struct role *role = arg;
	char word[WORD_MAX + 1], answer[32];
	ssize_t n;

	harness_become(role->uid, role->gid, NULL, 0);
	harness_say(control, "0");
	while ((n = recv(control, word, WORD_MAX, 0)) > 0) {
		word[n] = 0;
		(void)snprintf(answer, sizeof(answer), "%ld", act(role, word));
		harness_say(control, answer);
	}
}

/* The test's side. */

void
stranger_enter_namespace(void)
{
	harness_need_root();
	if (unshare(CLONE_NEWIPC))
		harness_skip("an IPC namespace of its own is not to be had here: %s", strerror(errno));
}

void
stranger_set_limit(const char *name, uint64_t value)
{
	char path[64], text[32];
	cleanup_close int fd = -1;
	int n;

	(void)snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	n = snprintf(text, sizeof(text), "%" PRIu64, value);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		harness_skip("%s cannot be set here: %s", path, strerror(errno));
}

int
stranger_find(uint32_t key)
{
	int id = shmget((key_t)key, 0, 0);

	return id < 0 ? -errno : id;
}

int
stranger_stat(int id, struct stranger_row *ret_row)
{
	struct shmid_ds shm;

	if (shmctl(id, IPC_STAT, &shm))
		return -errno;
	*ret_row = (struct stranger_row) {
		.uid = shm.shm_perm.uid, .gid = shm.shm_perm.gid, .mode = shm.shm_perm.mode, .size_bytes = shm.shm_segsz,
		.n_attached = shm.shm_nattch, .creator_pid = shm.shm_cpid,
	};
	return 0;
}

unsigned
stranger_count(void)
{
	struct shm_info info;

	harness_assert(shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info) >= 0, "SHM_INFO: %s", strerror(errno));
	return (unsigned)info.used_ids;
}

int
stranger_first(void)
{
	struct shmid_ds shm;
	int id = -1;

	for (int i = 0; id < 0 && i < SCAN_MAX; i++)
		id = shmctl(i, SHM_STAT, &shm);
	harness_assert(id >= 0, "there is no System V segment");
	return id;
}

static long
hear(struct stranger *stranger)
{
	char answer[32] = "";

	harness_await_readable(stranger->child.control, "a stranger's answer");
	harness_assert(recv(stranger->child.control, answer, sizeof(answer) - 1, 0) > 0, "a stranger ended");
	return strtol(answer, NULL, 10);
}

void
stranger_start(struct stranger *stranger, uid_t uid, gid_t gid)
{
	struct role role = { .uid = uid, .gid = gid };

	(void)fflush(NULL);
	*stranger = (struct stranger) { .child = HARNESS_CHILD_NULL, .uid = uid, .gid = gid };
	harness_child_start(&stranger->child, run_stranger, &role);
	(void)hear(stranger);
}

long
stranger_do(struct stranger *stranger, const char *format, ...)
{
	char word[WORD_MAX + 1];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(word, sizeof(word), format, ap);
	va_end(ap);
	harness_say(stranger->child.control, word);
	return hear(stranger);
}

void
stranger_kill(struct stranger *stranger)
{
	harness_child_kill(&stranger->child);
}
