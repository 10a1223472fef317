/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * O/...: segmentd-audit among 100,000 objects that nobody holds: judging them all, and removing them all, each against the calls
 * that any program needs for it; and what a client of the daemon notices of its removing them by a rule. They lie in a /dev/shm
 * that is the bench's alone, for as long.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/private.h"
#include "bench/wire.h"
#include "host/audit.h"

#define SWEEP_OBJECTS	100000
#define SWEEP_ROUNDS	3		/* of removing: each takes its time */
#define SWEEP_BATCH	((AUDIT_MESSAGE_BYTES - sizeof(struct audit_question)) / sizeof(struct audit_candidate))
#define SWEEP_ANSWERS	2000			/* in a round: about a hundredth of the sweep */
#define SWEEP_RULE	"orphans = ( { posix = \"/psm_*\"; after = \"100ms\"; action = \"remove\"; } );\n"
#define SWEEP_FLAGS	(O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC)

struct sweep {
	struct bench *bench;
	struct private_shm shm;
	int fd;				/* segmentd-audit */
	pid_t pid;
	int dir_fd;
	uint64_t serial;
	ino_t *inodes;
	dev_t device;
	unsigned n_taken;
	unsigned n_removed;
};

static void
sweep_name(char name[AUDIT_NAME_SIZE], unsigned i)
{
	(void)snprintf(name, AUDIT_NAME_SIZE, "psm_%06u", i);
}

/* Makes those that are not there. */
static void
sweep_fill(struct sweep *self)
{
	char name[AUDIT_NAME_SIZE];
	struct stat status;

	for (unsigned i = 0; i < SWEEP_OBJECTS; i++) {
		cleanup_close int fd = -1;

		sweep_name(name, i);
		fd = openat(self->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, 4096) != 0 || fstat(fd, &status) != 0)
			bench_fail("object %u cannot be made: %s", i, strerror(errno));
		self->inodes[i] = status.st_ino;
		self->device = status.st_dev;
	}
}

/* NULL, or why it cannot be measured. */
static const char *
sweep_begin(struct bench *bench, struct sweep *self)
{
	const char *why;

	*self = (struct sweep){ .bench = bench, .fd = -1, .dir_fd = -1 };
	why = private_shm_enter(&self->shm);
	if (why)
		return why;
	self->dir_fd = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	self->fd = audit_open(NULL, &self->pid);
	self->inodes = calloc(SWEEP_OBJECTS, sizeof(*self->inodes));
	if (self->dir_fd < 0 || self->fd < 0 || !self->inodes)
		bench_fail("segmentd-audit cannot be started, or there is no memory");
	bench_own(bench, self->pid);
	(void)signal(SIGIO, SIG_IGN);	/* of our own leases */
	return NULL;
}

static void
sweep_end(struct sweep *self)
{
	close_fd(&self->fd);
	bench_disown(self->bench, self->pid);
	(void)waitpid(self->pid, NULL, 0);
	close_fd(&self->dir_fd);
	free(self->inodes);
	private_shm_leave(&self->shm);
}

static int
take_row(const void *row, void *arg)
{
	const struct audit_stray *stray = row;
	struct sweep *self = arg;

	self->n_taken += stray->verdict == AUDIT_UNHELD || stray->verdict == AUDIT_REMOVED;
	self->n_removed += stray->verdict == AUDIT_REMOVED;
	return 0;
}

static void
sweep_ask(struct sweep *self, struct audit_question *question, const struct audit_candidate *candidates)
{
	struct audit_answer end;
	int r;

	question->version = AUDIT_VERSION;
	question->serial = ++self->serial;
	r = audit_ask(self->fd, question, candidates, take_row, self, &end);
	if (r < 0 || end.result < 0 || end.flags & AUDIT_INCOMPLETE)
		bench_fail("segmentd-audit: %s", r < 0 ? strerror(-r) : end.result < 0 ? end.text : "the time was up");
}

/* Opens, asks by a lease, and unlinks where that is wanted. */
static void
bare_sweep(const struct sweep *self, bool unlinks, struct bench_round *round)
{
	uint64_t start_ns = clock_monotonic_ns();
	char name[AUDIT_NAME_SIZE];

	for (unsigned i = 0; i < SWEEP_OBJECTS; i++) {
		int fd;

		sweep_name(name, i);
		fd = openat(self->dir_fd, name, SWEEP_FLAGS);
		if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) != 0 || (unlinks && unlinkat(self->dir_fd, name, 0) != 0))
			bench_fail("object %u: %s", i, strerror(errno));
		if (!unlinks)
			(void)fcntl(fd, F_SETLEASE, F_UNLCK);
		(void)close(fd);
	}
	round->figure = (double)(clock_monotonic_ns() - start_ns) / SWEEP_OBJECTS / 1000.0;
}

static void
bare_judge_run(void *arg, struct bench_round *round)
{
	bare_sweep(arg, false, round);
}

static void
judge_run(void *arg, struct bench_round *round)
{
	struct audit_question question = { .kind = AUDIT_LIST, .flags = AUDIT_QUESTION_POSIX };
	uint64_t start_ns = clock_monotonic_ns();
	struct sweep *self = arg;

	self->n_taken = 0;
	sweep_ask(self, &question, NULL);
	round->figure = (double)(clock_monotonic_ns() - start_ns) / SWEEP_OBJECTS / 1000.0;
	if (self->n_taken != SWEEP_OBJECTS)
		bench_fail("segmentd-audit found %u of %d objects", self->n_taken, SWEEP_OBJECTS);
}

static void
bare_remove_run(void *arg, struct bench_round *round)
{
	sweep_fill(arg);
	bare_sweep(arg, true, round);
}

static void
remove_run(void *arg, struct bench_round *round)
{
	static struct audit_candidate candidates[SWEEP_BATCH];
	struct sweep *self = arg;
	uint64_t start_ns;

	sweep_fill(self);
	self->n_removed = 0;
	start_ns = clock_monotonic_ns();
	for (unsigned first = 0; first < SWEEP_OBJECTS; first += SWEEP_BATCH) {
		struct audit_question question = { .kind = AUDIT_JUDGE, .n_rows = (uint32_t)min_u64(SWEEP_BATCH, SWEEP_OBJECTS - first) };

		for (unsigned i = 0; i < question.n_rows; i++) {
			candidates[i] = (struct audit_candidate){ .what = AUDIT_POSIX, .flags = AUDIT_CANDIDATE_REMOVE,
				.device = self->device, .inode = self->inodes[first + i], .shm_id = -1 };
			sweep_name(candidates[i].name, first + i);
		}
		sweep_ask(self, &question, candidates);
	}
	round->figure = (double)(clock_monotonic_ns() - start_ns) / SWEEP_OBJECTS / 1000.0;
	if (self->n_removed != SWEEP_OBJECTS)
		bench_fail("segmentd-audit removed %u of %d objects", self->n_removed, SWEEP_OBJECTS);
}

void
sweep_judged(struct bench *bench, const struct bench_goal *goal)
{
	struct sweep self;
	const struct bench_side sides[] = {
		{ "open, lease, release, close", bare_judge_run, &self },
		{ "segmentd-audit, the whole of /dev/shm", judge_run, &self },
	};
	const char *why = sweep_begin(bench, &self);

	if (why) {
		bench_skip(bench, goal, why);
		return;
	}
	sweep_fill(&self);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	sweep_end(&self);
}

void
sweep_removed(struct bench *bench, const struct bench_goal *goal)
{
	struct sweep self;
	const struct bench_side sides[] = {
		{ "open, lease, unlink, close", bare_remove_run, &self },
		{ "segmentd-audit, by way of quarantine", remove_run, &self },
	};
	const char *why = sweep_begin(bench, &self);
	unsigned n_rounds = bench->n_rounds;

	if (why) {
		bench_skip(bench, goal, why);
		return;
	}
	bench->n_rounds = (unsigned)min_u64(n_rounds, SWEEP_ROUNDS);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench->n_rounds = n_rounds;
	sweep_end(&self);
}

/* O/ask */

struct asked {
	struct daemon daemon;
	struct protocol_attach attach;
	int fd;
	uint64_t serial;
};

static void
asked_start(struct bench *bench, struct asked *self, const char *rule)
{
	struct daemon_config config = { .rest = rule };

	*self = (struct asked){ .serial = 1 };
	wire_attach_init(&self->attach, DAEMON_SEGMENT);
	daemon_init(&self->daemon, &config);
	daemon_start(bench, &self->daemon);
	self->fd = wire_connect(self->daemon.socket);
	wire_hello(self->fd);
	wire_welcome(self->fd);
}

static void
asked_stop(struct bench *bench, struct asked *self)
{
	close_fd(&self->fd);
	daemon_stop(bench, &self->daemon);
	daemon_deinit(&self->daemon);
}

static void
asked_run(void *arg, struct bench_round *round)
{
	struct asked *self = arg;

	for (unsigned i = 0; i < SWEEP_ANSWERS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		wire_send(self->fd, &self->attach.header, ++self->serial);
		(void)close(wire_attached(self->fd));
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* Whether one of the first or of the last is still there: which it begins with is the file system's matter. */
static bool
sweep_goes_on(const struct sweep *self)
{
	char name[AUDIT_NAME_SIZE];

	sweep_name(name, 0);
	if (faccessat(self->dir_fd, name, F_OK, 0) == 0)
		return true;
	sweep_name(name, SWEEP_OBJECTS - 1);
	return faccessat(self->dir_fd, name, F_OK, 0) == 0;
}

void
sweep_answered(struct bench *bench, const struct bench_goal *goal)
{
	struct sweep self;
	struct asked idle, sweeping;
	const struct bench_side sides[] = {
		{ "segmentd without rules", asked_run, &idle },
		{ "segmentd that removes 100,000 objects meanwhile", asked_run, &sweeping },
	};
	const char *why = sweep_begin(bench, &self);

	if (why) {
		bench_skip(bench, goal, why);
		return;
	}
	sweep_fill(&self);
	asked_start(bench, &idle, NULL);
	asked_start(bench, &sweeping, SWEEP_RULE);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	if (!sweep_goes_on(&self))
		bench_note("the sweep was over before the last round");
	asked_stop(bench, &sweeping);
	asked_stop(bench, &idle);
	sweep_end(&self);
}
