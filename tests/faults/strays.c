/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is listed and removed is what nobody has, by the kernel's word; or it is said that not all was seen: see strays.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/shm.h>

#include "host/audit.h"
#include "tests/faults/auditing.h"
#include "tests/faults/orders.h"
#include "tests/faults/strays.h"
#include "tests/system/suite.h"

#define STRAY_MS	3000		/* longer it is looked again by the clock */
#define STRAY_SYSV_MS	5000		/* likewise: the kernel's times are whole seconds, and nothing tells of a change */
#define FIRST_KEY	0x57a1
#define NEXT_KEY	0x57a2
#define BYTES		4096

/* By rules of the daemon's: what nobody has goes, or is left to a later look. */

static const char first_path[] = "/dev/shm/stray-1", next_path[] = "/dev/shm/stray-2", before_path[] = "/dev/shm/stray-0";

static const char posix_rules[] = "orphans = ( { posix = \"/stray-*\"; after = \"1ms\"; action = \"remove\"; } );\n";

void
strays_prepare_posix(struct faults_scene *scene)
{
	scene->rules = posix_rules;
	scene_reload(scene, "");
}

static bool
is_stray_gone(const char *path, uint64_t ms)
{
	uint64_t deadline_ns = harness_clock_ns() + ms * NS_PER_MS;

	while (access(path, F_OK) == 0 && harness_clock_ns() < deadline_ns)
		(void)poll(NULL, 0, 1);
	return access(path, F_OK) != 0;
}

static void
leave_stray(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
	(void)close(fd);
}

static int
await_sweep(struct faults_scene *scene, const char *path)
{
	uint64_t since_ns = harness_clock_ns();

	while (!is_stray_gone(path, 0) && injector_awaits(&scene->injector, since_ns, STRAY_MS))
		(void)poll(NULL, 0, 1);
	return is_stray_gone(path, 0) ? 0 : -ETIMEDOUT;
}

int
strays_sweep_posix(struct faults_scene *scene)
{
	leave_stray(first_path);
	return await_sweep(scene, first_path);
}

/* The question about the second is asked when that about the first has ended. */
int
strays_sweep_two(struct faults_scene *scene)
{
	int r;

	leave_stray(before_path);
	r = await_sweep(scene, before_path);
	return r ? r : strays_sweep_posix(scene);
}

void
strays_settle_two(struct faults_scene *scene)
{
	if (!is_stray_gone(before_path, 0))
		scene_reload(scene, "");
	harness_assert(is_stray_gone(before_path, HARNESS_TIMEOUT_MS), "%s is still there; failed: %s", before_path,
	    injector_describe(&scene->injector));
	strays_settle_posix(scene);
}

/* The next one is seen all the same; with new rules the directory is looked at anew. */
void
strays_settle_posix(struct faults_scene *scene)
{
	struct world world;

	leave_stray(next_path);
	harness_assert(is_stray_gone(next_path, HARNESS_TIMEOUT_MS), "%s is not seen; failed: %s", next_path,
	    injector_describe(&scene->injector));
	if (!is_stray_gone(first_path, 0))
		scene_reload(scene, "");
	harness_assert(is_stray_gone(first_path, HARNESS_TIMEOUT_MS), "%s is still there", first_path);
	scene->rules = "";
	scene_reload(scene, "");
	harness_assert(world_await(&scene->world, &world), "there is %s; failed: %s", world_describe(&world),
	    injector_describe(&scene->injector));
	auditing_end(scene);
}

/* One is there before there are rules. */
void
strays_prepare_rule(struct faults_scene *scene)
{
	leave_stray(first_path);
	scene->rules = posix_rules;
	scene_configure(scene, "");
}

int
strays_begin(struct faults_scene *scene)
{
	int r = orders_reload(scene);

	return r ? r : await_sweep(scene, first_path);
}

void
strays_settle_rule(struct faults_scene *scene)
{
	scene_reload(scene, "");
	strays_settle_posix(scene);
}

static bool
has_memory(uint32_t key)
{
	return shmget((key_t)key, 0, 0) >= 0;
}

static bool
is_memory_gone(uint32_t key, uint64_t ms)
{
	uint64_t deadline_ns = harness_clock_ns() + ms * NS_PER_MS;

	while (has_memory(key) && harness_clock_ns() < deadline_ns)
		(void)poll(NULL, 0, 1);
	return !has_memory(key);
}

static void
make_memory(uint32_t key)
{
	harness_assert(shmget((key_t)key, BYTES, IPC_CREAT | IPC_EXCL | 0600) >= 0, "shmget: %s", strerror(errno));
}

void
strays_prepare_sysv(struct faults_scene *scene)
{
	scene->rules = "orphans = ( { sysv = { key = 0x57a1; }; after = \"1ms\"; action = \"remove\"; },\n"
	    "{ sysv = { key = 0x57a2; }; after = \"1ms\"; action = \"remove\"; } );\n";
	scene_reload(scene, "");
}

int
strays_sweep_sysv(struct faults_scene *scene)
{
	uint64_t since_ns = harness_clock_ns();

	make_memory(FIRST_KEY);
	while (has_memory(FIRST_KEY) && injector_awaits(&scene->injector, since_ns, STRAY_SYSV_MS))
		(void)poll(NULL, 0, 1);
	return has_memory(FIRST_KEY) ? -ETIMEDOUT : 0;
}

void
strays_settle_sysv(struct faults_scene *scene)
{
	struct world world;

	/* What stays is looked at again ever more seldom: with new rules at once. */
	if (has_memory(FIRST_KEY)) {
		make_memory(NEXT_KEY);
		harness_assert(is_memory_gone(NEXT_KEY, HARNESS_TIMEOUT_MS), "the next one is not seen; failed: %s",
		    injector_describe(&scene->injector));
		scene->rules = "";
		scene_reload(scene, "");
		strays_prepare_sysv(scene);
	}
	harness_assert(is_memory_gone(FIRST_KEY, HARNESS_TIMEOUT_MS), "it is still there; failed: %s",
	    injector_describe(&scene->injector));
	scene->rules = "";
	scene_reload(scene, "");
	harness_assert(world_await(&scene->world, &world), "there is %s; failed: %s", world_describe(&world),
	    injector_describe(&scene->injector));
	auditing_end(scene);
}

/* As `segmentctl orphans` does: segmentd-audit is asked, and nobody else. */

/* One of each kind. */
#define N_STRAYS	2
static const char *const stray_names[N_STRAYS] = { "the file", "System V memory" };

struct listed {
	struct audit_stray rows[N_STRAYS];	/* POSIX, System V; `what` is 0 where it has not come */
	size_t n_judged;			/* in the order of the candidates */
	struct audit_answer end;
};

static int
take_listed(const void *row, void *arg)
{
	const struct audit_stray *stray = row;
	struct listed *listed = arg;

	if (stray->what == AUDIT_POSIX ? streq(stray->name, first_path + sizeof("/dev/shm")) : stray->key == FIRST_KEY)
		listed->rows[stray->what == AUDIT_SYSV] = *stray;
	return 0;
}

static int
take_judged(const void *row, void *arg)
{
	struct listed *listed = arg;

	listed->rows[listed->n_judged++] = *(const struct audit_stray *)row;
	return 0;
}

/* What there is, or what is to become of n candidates. */
static int
ask_by(struct faults_scene *scene, int fd, const struct audit_candidate *candidates, size_t n, struct listed *ret_listed)
{
	struct audit_question question = {
		.version = AUDIT_VERSION,
		.kind = candidates ? AUDIT_JUDGE : AUDIT_LIST,
		.serial = 1,
		.flags = candidates ? 0 : AUDIT_QUESTION_POSIX | AUDIT_QUESTION_SYSV,
		.n_rows = (uint32_t)n,
	};
	int r;

	*ret_listed = (struct listed) { .n_judged = 0 };
	r = audit_ask(fd, &question, candidates, candidates ? take_judged : take_listed, ret_listed, &ret_listed->end);
	harness_assert(r || ret_listed->end.result == 0 || ret_listed->end.text[0], "it does not say why it has failed; failed: %s",
	    injector_describe(&scene->injector));
	return r ? r : ret_listed->end.result;
}

static int
open_audit(struct faults_scene *scene, pid_t *ret_pid)
{
	int fd = audit_open(scene->manager.daemon.audit, ret_pid);

	harness_assert(fd >= 0, "audit_open: %s", strerror(-fd));
	return fd;
}

static int
ask(struct faults_scene *scene, const struct audit_candidate *candidates, size_t n, struct listed *ret_listed)
{
	pid_t pid;
	int fd = open_audit(scene, &pid), r = ask_by(scene, fd, candidates, n, ret_listed);

	audit_close(fd, pid);
	return r;
}

static void
make_file(const char *path)
{
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
}

void
strays_prepare_both(struct faults_scene *scene)
{
	(void)scene;
	make_file(first_path);
	make_memory(FIRST_KEY);
}

/* Nobody is told to have them. Who lets nobody ask, for the kernel's EAGAIN, is somebody who has it. */
static void
expect_unheld(const struct faults_scene *scene, const struct audit_stray *stray)
{
	harness_assert(stray->verdict == AUDIT_UNHELD || stray->error || injector_has_failed(&scene->injector), "%s: %s",
	    stray->name, audit_verdict_name(stray->verdict));
	harness_assert(stray->verdict != AUDIT_HELD || strstr(injector_describe(&scene->injector), "EAGAIN"),
	    "'%s' is told to be held; failed: %s", stray->name, injector_describe(&scene->injector));
}

int
strays_list(struct faults_scene *scene)
{
	struct listed listed;
	int r = ask(scene, NULL, 0, &listed);

	if (r)
		return r;
	for (size_t i = 0; i < N_STRAYS; i++) {
		/* One that is about to go is not told. */
		harness_assert(listed.rows[i].what || listed.end.flags & AUDIT_INCOMPLETE ||
		    strstr(injector_describe(&scene->injector), "EIDRM"), "%s is not told, and nothing is said; failed: %s",
		    stray_names[i], injector_describe(&scene->injector));
		if (listed.rows[i].what)
			expect_unheld(scene, &listed.rows[i]);
	}
	return 0;
}

/* Those that are there still. */
static size_t
name_them(struct audit_candidate *ret_candidates)
{
	int id = shmget(FIRST_KEY, 0, 0);
	struct shmid_ds memory;
	struct stat status;
	size_t n = 0;

	if (stat(first_path, &status) == 0) {
		ret_candidates[n] = (struct audit_candidate) {
			.what = AUDIT_POSIX, .flags = AUDIT_CANDIDATE_REMOVE, .device = status.st_dev, .inode = status.st_ino, .shm_id = -1,
		};
		(void)snprintf(ret_candidates[n].name, sizeof(ret_candidates[n].name), "%s", first_path + sizeof("/dev/shm"));
		n++;
	}
	if (id >= 0 && shmctl(id, IPC_STAT, &memory) == 0)
		ret_candidates[n++] = (struct audit_candidate) {
			.what = AUDIT_SYSV, .flags = AUDIT_CANDIDATE_REMOVE, .shm_id = id, .key = FIRST_KEY, .attached_s = memory.shm_atime,
			.detached_s = memory.shm_dtime, .changed_s = memory.shm_ctime, .creator = (uint32_t)memory.shm_cpid,
		};
	return n;
}

static bool
is_gone(size_t i)
{
	return i ? !has_memory(FIRST_KEY) : is_stray_gone(first_path, 0);
}

static int
remove_by(struct faults_scene *scene, int fd)
{
	struct audit_candidate candidates[N_STRAYS];
	struct listed listed;
	size_t n = name_them(candidates);
	int r = ask_by(scene, fd, candidates, n, &listed);

	for (size_t i = 0; r == 0 && i < listed.n_judged; i++)
		harness_assert((listed.rows[i].verdict == AUDIT_REMOVED) == is_gone(i), "%s is told to be %s, and is %s; failed: %s",
		    stray_names[i], audit_verdict_name(listed.rows[i].verdict), is_gone(i) ? "gone" : "there",
		    injector_describe(&scene->injector));
	harness_assert(r || listed.n_judged == N_STRAYS || listed.end.flags & AUDIT_INCOMPLETE, "%zu verdicts, and nothing is said",
	    listed.n_judged);
	return r;
}

int
strays_remove(struct faults_scene *scene)
{
	pid_t pid;
	int fd = open_audit(scene, &pid), r = remove_by(scene, fd);

	audit_close(fd, pid);
	return r;
}

static int kept_fd;			/* a connection that is asked once more */
static pid_t kept_pid;

/* What moves from CPU to CPU for it does not come to one any more: it waits for a while, and gives that up. */
static void
stop_helpers(struct faults_scene *scene)
{
	pid_t audits[16], helpers[16];
	size_t n_audits = harness_children(scene->manager.daemon.audit_pid, audits, BASE_ARRAY_SIZE(audits)), n_stopped = 0;

	for (size_t i = 0; i < n_audits; i++) {
		size_t n_helpers = harness_children(audits[i], helpers, BASE_ARRAY_SIZE(helpers));

		for (size_t j = 0; j < n_helpers; j++)
			n_stopped += kill(helpers[j], SIGSTOP) == 0;
	}
	harness_assert(n_stopped, "what answers has no helper");
}

void
strays_prepare_stopped(struct faults_scene *scene)
{
	int r;

	strays_prepare_both(scene);
	kept_fd = open_audit(scene, &kept_pid);
	r = remove_by(scene, kept_fd);
	harness_assert(r == 0 && is_gone(0) && is_gone(1), "before anything failed: %s", strerror(-r));
	stop_helpers(scene);
	strays_prepare_both(scene);
}

int
strays_remove_stopped(struct faults_scene *scene)
{
	return remove_by(scene, kept_fd);
}

void
strays_settle_stopped(struct faults_scene *scene)
{
	audit_close(kept_fd, kept_pid);
	strays_settle_both(scene);
}

/* What a removal that failed was about has its name again, when the next one looks at the latest; and can be removed. */
void
strays_settle_both(struct faults_scene *scene)
{
	struct audit_candidate candidates[N_STRAYS];
	struct listed listed;
	size_t n;
	int r = ask(scene, NULL, 0, &listed);

	harness_assert(r == 0 && !(listed.end.flags & AUDIT_INCOMPLETE), "afterwards: %s; failed: %s", strerror(-r),
	    injector_describe(&scene->injector));
	for (size_t i = 0; i < N_STRAYS; i++)
		harness_assert(is_gone(i) ? !listed.rows[i].what : listed.rows[i].verdict == AUDIT_UNHELD, "afterwards %s is told to be %s, "
		    "and is %s; failed: %s", stray_names[i], listed.rows[i].what ? audit_verdict_name(listed.rows[i].verdict) : "gone",
		    is_gone(i) ? "gone" : "there", injector_describe(&scene->injector));
	n = name_them(candidates);
	r = n ? ask(scene, candidates, n, &listed) : 0;
	harness_assert(r == 0 && is_gone(0) && is_gone(1), "afterwards they cannot be removed; failed: %s",
	    injector_describe(&scene->injector));
}

/* What a removal that was killed has left is in a directory of its own, until the next one looks. */

static const char quarantine[] = "/dev/shm/.segmentd-quarantine-00000001";

static void
leave_in_quarantine(const char *path)
{
	char number[96], left[128];
	struct stat status;

	harness_assert(stat(path, &status) == 0 && (mkdir(quarantine, 0700) == 0 || errno == EEXIST), "%s: %s", path, strerror(errno));
	(void)snprintf(number, sizeof(number), "%s/%ju", quarantine, (uintmax_t)status.st_ino);
	(void)snprintf(left, sizeof(left), "%s/%s", number, path + sizeof("/dev/shm"));
	harness_assert(mkdir(number, 0700) == 0 && rename(path, left) == 0, "%s: %s", left, strerror(errno));
}

/* Of the one somebody else has the name by now. */
void
strays_prepare_left(struct faults_scene *scene)
{
	strays_prepare_both(scene);
	make_file(next_path);
	leave_in_quarantine(first_path);
	leave_in_quarantine(next_path);
	make_file(next_path);
}

int
strays_list_left(struct faults_scene *scene)
{
	struct listed listed;
	int r = ask(scene, NULL, 0, &listed);

	if (r == 0 && listed.rows[0].what)
		expect_unheld(scene, &listed.rows[0]);
	harness_assert(r || listed.rows[0].what || injector_has_failed(&scene->injector), "it has not its name back");
	return r;
}

/* Nothing is lost of it: by the next look it has its name, and what has lost that is gone. */
void
strays_settle_left(struct faults_scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct listed listed;
	int r;

	/* The one before may be at it still, as its last. */
	do
		r = ask(scene, NULL, 0, &listed);
	while (r == 0 && !listed.rows[0].what && harness_clock_ns() < deadline_ns);
	harness_assert(r == 0 && listed.rows[0].what && !is_gone(0), "afterwards it has not its name back: %s; failed: %s", strerror(-r),
	    injector_describe(&scene->injector));
	harness_assert(is_stray_gone(quarantine, HARNESS_TIMEOUT_MS), "afterwards something is left in quarantine; failed: %s",
	    injector_describe(&scene->injector));
	(void)unlink(next_path);
	strays_settle_both(scene);
}
