/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a program does in a turn: when a question begins it takes some of the names, as fast as it can, for it is in the first
 * microseconds that the sweep takes names away. It has what it got until the question is over, and then looks: others must find
 * the same object by the name, unless a program has unlinked it, and its bytes are as they were.
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/audit/racing.h"

#define HELD_MAX	8
#define TAKING_NS	(2 * NS_PER_MS)	/* how long it takes names after a question has begun */
#define WAITED_NS	(30 * 1000)	/* an open that took so long has met the sweep, or another's turn on the CPU */
#define MAGIC		UINT64_C(0x7365676d656e7464)

struct held {
	unsigned name;
	int fd;				/* -1: closed, and mapped still */
	uint64_t id;			/* inode, or System V id */
	uint64_t *bytes;
	uint32_t until;			/* that turn is over when it is looked at */
	bool is_found;			/* at the last look others found it by its name or key */
	bool is_seen;			/* it was looked at once */
};

struct taker {
	struct racing *racing;
	enum racing_role role;
	bool is_sysv;
	uint64_t random;
	struct held held[HELD_MAX];
	size_t n;
};

struct racing *
racing_new(void)
{
	struct racing *racing = mmap(NULL, sizeof(*racing), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	harness_assert(racing != MAP_FAILED, "mmap: %s", strerror(errno));
	return racing;
}

/* The program's side. */

static unsigned
draw(struct taker *taker, unsigned n)
{
	taker->random = taker->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(taker->random >> 33) % n;
}

static void
await_turn(struct racing *racing, uint32_t seen)
{
	while (racing->asking == seen && !racing->is_over)
		(void)syscall(SYS_futex, &racing->asking, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void
note_gone(struct racing *racing, uint64_t id)
{
	uint32_t i = racing->n_gone++;

	harness_assert(i < RACING_GONE_MAX, "too many were unlinked");
	racing->gone[i] = id;
}

static bool
is_gone(const struct racing *racing, uint64_t id)
{
	for (uint32_t i = 0; i < racing->n_gone && i < RACING_GONE_MAX; i++)
		if (racing->gone[i] == id)
			return true;
	return false;
}

/* All who have it store the same, so it does not matter who was first; what is there must be this, or nothing yet. */
static void
store(struct held *held)
{
	for (size_t i = 1; i < RACING_SIZE / sizeof(*held->bytes); i++)
		held->bytes[i] = held->id * 31 + i;
	__atomic_store_n(&held->bytes[0], MAGIC ^ held->id, __ATOMIC_RELEASE);
}

static void
expect_bytes(const struct held *held)
{
	harness_assert(held->bytes[0] == (MAGIC ^ held->id), "object %ju of name %u begins with %#jx", (uintmax_t)held->id, held->name,
	    (uintmax_t)held->bytes[0]);
	for (size_t i = 1; i < RACING_SIZE / sizeof(*held->bytes); i++)
		harness_assert(held->bytes[i] == held->id * 31 + i, "object %ju of name %u has %#jx at %zu", (uintmax_t)held->id,
		    held->name, (uintmax_t)held->bytes[i], i);
}

static void
format_path(unsigned name, char *path, size_t size)
{
	(void)snprintf(path, size, "/dev/shm/" RACING_PREFIX "%u", name);
}

static bool
take_posix(struct taker *taker, struct held *held)
{
	static const int flags[RACING_ROLE_N] = {
		[RACING_MAKER] = O_CREAT | O_EXCL, [RACING_EITHER] = O_CREAT, [RACING_UNLINKER] = O_CREAT,
	};
	uint64_t begun_ns = clock_monotonic_ns();
	struct stat status;
	char path[64];
	void *map;

	format_path(held->name, path, sizeof(path));
	held->fd = open(path, O_RDWR | O_CLOEXEC | flags[taker->role], 0600);
	if (held->fd < 0) {
		harness_assert(errno == ENOENT || errno == EEXIST, "%s: %s", path, strerror(errno));
		return false;
	}
	taker->racing->n_waited += clock_monotonic_ns() - begun_ns > WAITED_NS;
	harness_assert(fstat(held->fd, &status) == 0, "fstat: %s", strerror(errno));
	if (status.st_size == 0 && taker->role == RACING_FINDER) {
		/* Its maker is not done with it. */
		close_fd(&held->fd);
		return false;
	}
	harness_assert(status.st_size == RACING_SIZE || ftruncate(held->fd, RACING_SIZE) == 0, "ftruncate: %s", strerror(errno));
	taker->racing->n_made += status.st_size == 0;
	map = mmap(NULL, RACING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, held->fd, 0);
	harness_assert(map != MAP_FAILED, "mmap: %s", strerror(errno));
	held->bytes = map;
	held->id = status.st_ino;
	/* Half of them only map it from now on. */
	if (draw(taker, 2))
		close_fd(&held->fd);
	return true;
}

static bool
take_sysv(struct taker *taker, struct held *held)
{
	static const int flags[RACING_ROLE_N] = {
		[RACING_MAKER] = IPC_CREAT | IPC_EXCL, [RACING_EITHER] = IPC_CREAT, [RACING_UNLINKER] = IPC_CREAT,
	};
	int id = shmget(RACING_KEY + (key_t)held->name, RACING_SIZE, 0600 | flags[taker->role]);
	void *map;

	if (id < 0) {
		harness_assert(errno == ENOENT || errno == EEXIST || errno == EIDRM, "shmget: %s", strerror(errno));
		return false;
	}
	map = shmat(id, NULL, 0);
	/* The honest words of System V: it may go while somebody attaches. */
	if (map == (void *)-1) {
		harness_assert(errno == EINVAL || errno == EIDRM, "shmat: %s", strerror(errno));
		taker->racing->n_keys_lost++;
		return false;
	}
	held->bytes = map;
	held->id = (uint64_t)id;
	held->fd = -1;
	return true;
}

static void
take(struct taker *taker)
{
	struct held *held = &taker->held[taker->n];
	uint32_t now = taker->racing->asking;

	*held = (struct held) { .name = draw(taker, RACING_NAMES), .until = (now | 1) + 1 };
	/* Each name is unlinked by one program only: that one knows what it unlinks. */
	if (taker->role == RACING_UNLINKER)
		held->name &= ~3u;
	for (size_t i = 0; i < taker->n; i++)
		if (taker->held[i].name == held->name)
			return;
	if (!(taker->is_sysv ? take_sysv : take_posix)(taker, held))
		return;
	harness_assert(held->bytes[0] == 0 || held->bytes[0] == (MAGIC ^ held->id), "object %ju of name %u begins with %#jx",
	    (uintmax_t)held->id, held->name, (uintmax_t)held->bytes[0]);
	store(held);
	taker->racing->n_had++;
	taker->n++;
}

static void
look_posix(struct taker *taker, struct held *held)
{
	struct stat named, opened = { .st_nlink = 1 };
	char path[64];

	format_path(held->name, path, sizeof(path));
	held->is_found = lstat(path, &named) == 0 && named.st_ino == held->id;
	if (held->is_found || is_gone(taker->racing, held->id))
		return;
	harness_assert(held->fd < 0 || fstat(held->fd, &opened) == 0, "fstat: %s", strerror(errno));
	/* Two came within microseconds, and the other's has the name: told by the sweep, which keeps this one aside. */
	harness_assert(opened.st_nlink == 1 && lstat(path, &named) == 0, "%s is inode %ju, which has %s: the sweep took it "
	    "from who had it", path, (uintmax_t)held->id, opened.st_nlink ? "another name" : "no name any more");
	taker->racing->n_aside++;
}

static void
look_sysv(struct taker *taker, struct held *held)
{
	struct shmid_ds shm;
	bool is_found;

	harness_assert(shmctl((int)held->id, IPC_STAT, &shm) == 0, "System V segment %ju was taken from who has it attached: %s",
	    (uintmax_t)held->id, strerror(errno));
	is_found = !(shm.shm_perm.mode & SHM_DEST);
	if (!held->is_seen)
		taker->racing->n_keys_lost += !is_found && !is_gone(taker->racing, held->id);
	else
		harness_assert(is_found || !held->is_found || is_gone(taker->racing, held->id), "key %u of System V segment %ju was removed while it was attached",
		    held->name, (uintmax_t)held->id);
	held->is_found = is_found;
}

static void
let_go(struct taker *taker, size_t i)
{
	struct held *held = &taker->held[i];
	char path[64];

	if (taker->role == RACING_UNLINKER && held->is_found && draw(taker, 2)) {
		note_gone(taker->racing, held->id);
		format_path(held->name, path, sizeof(path));
		(void)(taker->is_sysv ? shmctl((int)held->id, IPC_RMID, NULL) : unlink(path));
	}
	(void)(taker->is_sysv ? shmdt(held->bytes) : munmap(held->bytes, RACING_SIZE));
	close_fd(&held->fd);
	*held = taker->held[--taker->n];
}

/* At what is not in question any more. */
static void
look_at_all(struct taker *taker)
{
	uint32_t now = taker->racing->asking;

	for (size_t i = taker->n; i-- > 0;) {
		struct held *held = &taker->held[i];

		if ((int32_t)(now - held->until) < 0)
			continue;
		if (taker->is_sysv)
			look_sysv(taker, held);
		else
			look_posix(taker, held);
		expect_bytes(held);
		held->is_seen = true;
		held->until = (now | 1) + 1;
		if (draw(taker, 2))
			let_go(taker, i);
	}
}

static void
run_program(int control, void *arg)
{
	const struct racing_program *program = arg;
	struct taker taker = {
		.racing = program->racing, .role = program->role, .is_sysv = program->is_sysv, .random = (uint64_t)getpid(),
	};

	harness_say(control, "here");
	while (!taker.racing->is_over) {
		uint32_t turn = taker.racing->asking;
		uint64_t until_ns = clock_monotonic_ns() + TAKING_NS;

		look_at_all(&taker);
		while (turn % 2 && taker.n < HELD_MAX && taker.racing->asking == turn && clock_monotonic_ns() < until_ns)
			take(&taker);
		await_turn(taker.racing, turn);
	}
	look_at_all(&taker);
}

/* The test's side. */

void
racing_start(struct racing_program *program, struct racing *racing, enum racing_role role, bool is_sysv)
{
	*program = (struct racing_program) { .child = HARNESS_CHILD_NULL, .racing = racing, .role = role, .is_sysv = is_sysv };
	harness_child_start(&program->child, run_program, program);
	harness_expect(program->child.control, "here");
}

void
racing_turn(struct racing *racing)
{
	racing->asking++;
	(void)syscall(SYS_futex, &racing->asking, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void
racing_end(struct racing *racing, struct racing_program *programs, size_t n)
{
	racing->is_over = true;
	racing_turn(racing);
	racing_turn(racing);
	for (size_t i = 0; i < n; i++)
		harness_child_await_success(&programs[i].child);
}
