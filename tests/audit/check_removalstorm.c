/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Removal against programs that open, map, create, replace and unlink the same objects all the time: no program ever ends with an
 * object that has no name, unless a program took the name away. Who changes names does so under a lock and says before which
 * objects lose theirs; who only opens knows of no lock, and segmentd-audit of neither.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/audit/rig.h"

#define N_NAMES		3
#define N_OPENERS	3
#define N_CHANGERS	2
#define MARKS		(1u << 22)	/* bits for inodes; what is marked by chance is not looked at */
#define PAUSE_MAX	4096		/* times round an empty loop between two opens */

struct shared {
	pthread_mutex_t lock;		/* over what name is whose, but for segmentd-audit */
	bool stop;
	unsigned n_opened;
	unsigned n_created;
	unsigned n_lost;		/* opened without a name that nobody took away */
	unsigned n_refused;		/* to who would not wait */
	unsigned n_mistaken;		/* without it for a moment */
	char lost[256];			/* the last of them, as the kernel names it */
	uint32_t marks[MARKS / 32];
};

static struct shared *shared;

static void
mark(ino_t inode)
{
	(void)__atomic_or_fetch(&shared->marks[inode % MARKS / 32], 1u << inode % 32, __ATOMIC_SEQ_CST);
}

static bool
is_marked(ino_t inode)
{
	return __atomic_load_n(&shared->marks[inode % MARKS / 32], __ATOMIC_SEQ_CST) & 1u << inode % 32;
}

static void
count(unsigned *what)
{
	(void)__atomic_add_fetch(what, 1, __ATOMIC_RELAXED);
}

static bool
is_over(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED);
}

static void
pause_a_little(unsigned *seed)
{
	for (volatile int i = rand_r(seed) % PAUSE_MAX; i > 0; i--)
		continue;
}

static void
format_name(char *buf, size_t size, unsigned number)
{
	(void)snprintf(buf, size, "/dev/shm/object-%u", number % N_NAMES);
}

/* Where the kernel says that it is. */
static void
read_path(int fd, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

/*
 * What was just opened has the name that it was opened by. While it is open nobody takes it away unsaid; but for the moment in
 * which it is found to have been taken for the one that it has just replaced.
 */
static void
check(int fd, const char *name)
{
	uint64_t until_ns = 0;
	struct stat status;
	char path[256];

	harness_assert(fstat(fd, &status) == 0, "fstat: %s", strerror(errno));
	count(&shared->n_opened);
	for (read_path(fd, path, sizeof(path)); !streq(path, name) && !is_marked(status.st_ino); read_path(fd, path, sizeof(path))) {
		if (!until_ns) {
			count(&shared->n_mistaken);
			until_ns = harness_clock_ns() + NS_PER_SEC * HARNESS_TIMEOUT_MS / 1000 / 10;
		}
		if (!strstr(path, "quarantine") || harness_clock_ns() > until_ns) {
			count(&shared->n_lost);
			memcpy(shared->lost, path, sizeof(path));
			return;
		}
		(void)sched_yield();
	}
}

static void
use(int fd, const char *name)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	harness_assert(p != MAP_FAILED, "mmap: %s", strerror(errno));
	check(fd, name);
	(void)close(fd);
	(void)munmap(p, 4096);
}

static void
open_all_the_time(unsigned seed)
{
	/* Most programs wait; some do not. */
	int flags = O_RDWR | O_CLOEXEC | (seed % N_OPENERS == 0 ? O_NONBLOCK : 0);
	char name[64];

	while (!is_over()) {
		int fd;

		pause_a_little(&seed);
		format_name(name, sizeof(name), (unsigned)rand_r(&seed));
		fd = open(name, flags);
		if (fd >= 0)
			use(fd, name);
		else if (errno == EWOULDBLOCK)
			count(&shared->n_refused);
		else
			harness_assert(errno == ENOENT, "open: %s", strerror(errno));
	}
}

static void
lock_names(void)
{
	harness_assert(pthread_mutex_lock(&shared->lock) == 0, "lock");
}

static void
unlock_names(void)
{
	harness_assert(pthread_mutex_unlock(&shared->lock) == 0, "unlock");
}

/*
 * What has the name is about to lose it by us. False: nothing has it. It may be in quarantine, and have it back in a moment: then
 * it must not lose it unmarked.
 */
static bool
mark_named(const char *name)
{
	struct stat status;

	if (lstat(name, &status))
		return false;
	mark(status.st_ino);
	return true;
}

static void
create(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	harness_assert(fd >= 0, "create: %s", strerror(errno));
	count(&shared->n_created);
	use(fd, name);
}

/* As sem_open(3) and others do. */
static void
replace(const char *name, unsigned seed)
{
	char path[80];
	int fd;

	(void)snprintf(path, sizeof(path), "/dev/shm/new-%d-%u", (int)getpid(), seed);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	harness_assert(fd >= 0, "create: %s", strerror(errno));
	(void)close(fd);
	while (renameat2(AT_FDCWD, path, AT_FDCWD, name, mark_named(name) ? 0 : RENAME_NOREPLACE))
		harness_assert(errno == EEXIST, "rename: %s", strerror(errno));
}

static void
change_all_the_time(unsigned seed)
{
	char name[64];

	while (!is_over()) {
		unsigned what = (unsigned)rand_r(&seed) % 16;

		pause_a_little(&seed);
		format_name(name, sizeof(name), (unsigned)rand_r(&seed));
		lock_names();
		if (what == 0) {
			if (mark_named(name))
				(void)unlink(name);
		} else if (what == 1) {
			replace(name, seed);
		} else {
			create(name);
		}
		unlock_names();
	}
}

static pid_t
start(void (*fn)(unsigned seed), unsigned seed)
{
	pid_t pid = harness_fork();

	if (pid == 0) {
		close_fd(&rig.fd);
		fn(seed);
		_exit(0);
	}
	return pid;
}

static void
set_up(void)
{
	pthread_mutexattr_t attr;

	rig_enter_private_shm();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	ck_assert_int_eq(pthread_mutexattr_init(&attr), 0);
	ck_assert_int_eq(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
	ck_assert_int_eq(pthread_mutex_init(&shared->lock, &attr), 0);
}

/* All that have a name now. */
static size_t
candidates_now(struct audit_candidate *candidates)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_NAMES; i++) {
		struct stat status;
		char name[64];

		format_name(name, sizeof(name), i);
		if (lstat(name, &status))
			continue;
		candidates[n] = (struct audit_candidate) {
			.what = AUDIT_POSIX, .flags = AUDIT_CANDIDATE_REMOVE, .shm_id = -1,
			.device = status.st_dev, .inode = status.st_ino,
		};
		(void)snprintf(candidates[n++].name, sizeof(candidates[0].name), "%s", name + strlen("/dev/shm/"));
	}
	return n;
}

/* A round is one in which nobody had at least one of the objects at first. */
static void
race(unsigned n_rounds, unsigned *n_verdicts, unsigned *n_waiting)
{
	for (unsigned round = 0; round < n_rounds;) {
		struct audit_candidate candidates[N_NAMES];
		size_t n = rig_judge(candidates, candidates_now(candidates));
		bool is_round = false;

		for (size_t i = 0; i < n; i++) {
			const struct audit_stray *stray = &rig.strays[i];

			n_verdicts[stray->verdict]++;
			ck_assert_msg(stray->verdict != AUDIT_REMOVED || stray->error == 0, "removed from under an opener");
			if (stray->verdict == AUDIT_KEPT) {
				ck_assert_int_eq(stray->error, -EEXIST);
				*n_waiting += 1;
			}
			is_round = is_round || stray->verdict == AUDIT_REMOVED || stray->verdict == AUDIT_CHANGED;
		}
		round += is_round;
	}
}

START_TEST(no_opener_ends_with_an_object_without_a_name)
{
	unsigned n_verdicts[AUDIT_KEPT + 1] = { 0 }, n_waiting = 0, n_rounds = harness_is_full() ? 250 : 20;
	pid_t pids[N_OPENERS + N_CHANGERS];

	set_up();
	rig_start();
	for (unsigned i = 0; i < N_OPENERS + N_CHANGERS; i++)
		pids[i] = start(i < N_OPENERS ? open_all_the_time : change_all_the_time, i);
	race(n_rounds, n_verdicts, &n_waiting);
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < N_OPENERS + N_CHANGERS; i++) {
		int status;

		status = harness_await_state(pids[i], 0, "an opener's end");
		ck_assert_int_eq(status, 0);
	}
	rig_stop();
	printf("%u rounds: %u held, %u removed, %u given back or replaced, %u gone, %u waited for their names; %u opened, %u created, "
	    "%u not waited, %u mistaken, %u lost%s%s\n", n_rounds, n_verdicts[AUDIT_HELD], n_verdicts[AUDIT_REMOVED], n_verdicts[AUDIT_CHANGED],
	    n_verdicts[AUDIT_GONE], n_waiting, shared->n_opened, shared->n_created, shared->n_refused, shared->n_mistaken, shared->n_lost,
	    shared->n_lost ? ": " : "", shared->lost);
	(void)fflush(stdout);
	ck_assert_uint_eq(shared->n_lost, 0);
	ck_assert_uint_gt(n_verdicts[AUDIT_REMOVED] + n_verdicts[AUDIT_CHANGED], 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("removalstorm");
	TCase *tests = tcase_create("removalstorm");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tests, no_opener_ends_with_an_object_without_a_name);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
