/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Client processes that do what they are told: see actor.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/segment.h"
#include "tests/system/actor.h"

#define WORD_MAX	63
#define FDS_MAX		256

/* The actor's side. */

struct role {
	int control;
	const char *socket;
	const struct jail *jail;	/* or NULL */
	struct segment_client *client;
	struct segment *segment;
	bool is_inherited[FDS_MAX];	/* fds */
};

struct line {
	char verb[16];
	char lock[32];			/* or a segment */
	int index;
	long a, b;
};

static long
do_attach(struct role *role, const struct line *line)
{
	int r = role->client ? 0 : segment_connect(&role->client, role->socket);

	return r ? r : segment_attach(role->client, line->lock, NULL, (unsigned)line->a, &role->segment);
}

static long
do_time(struct role *role, const struct line *line)
{
	uint64_t begun_ns = clock_monotonic_ns();
	int r = role->client ? 0 : segment_connect(&role->client, role->socket);

	for (long i = 0; r == 0 && i < line->a; i++) {
		struct segment *segment;

		r = segment_attach(role->client, line->lock, NULL, SEGMENT_WRITE, &segment);
		if (r == 0)
			r = segment_detach(segment);
	}
	return r ? r : (long)((clock_monotonic_ns() - begun_ns) / (uint64_t)line->a);
}

static long
do_create(struct role *role, const struct line *line)
{
	int r = role->client ? 0 : segment_connect(&role->client, role->socket);

	return r ? r : segment_create(role->client, line->lock, (size_t)line->a, 0, &role->segment);
}

static unsigned char
filled_byte(size_t at, long seed)
{
	return (unsigned char)(seed ? (size_t)seed + at * 7 + at / 4096 * 13 : 0);
}

static long
do_fill(struct role *role, const struct line *line)
{
	volatile unsigned char *bytes = segment_data(role->segment);

	for (size_t i = 0; i < segment_size(role->segment); i++)
		bytes[i] = filled_byte(i, strtol(line->lock, NULL, 10));
	return 0;
}

static long
do_differs(struct role *role, const struct line *line)
{
	const volatile unsigned char *bytes = segment_data(role->segment);

	for (size_t i = 0; i < segment_size(role->segment); i++)
		if (bytes[i] != filled_byte(i, strtol(line->lock, NULL, 10)))
			return (long)i + 1;
	return 0;
}

static long
do_generation(struct role *role, const struct line *line)
{
	(void)line;
	return (long)segment_generation(role->segment);
}

static long
do_lock(struct role *role, const struct line *line)
{
	return segment_lock(role->segment, line->index);
}

static long
do_trylock(struct role *role, const struct line *line)
{
	return segment_trylock(role->segment, line->index);
}

static long
do_timedlock(struct role *role, const struct line *line)
{
	uint64_t until_ns = clock_monotonic_ns() + (uint64_t)line->a * NS_PER_MS;
	struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC) };

	return segment_timedlock(role->segment, line->index, &until);
}

static long
do_recovered(struct role *role, const struct line *line)
{
	return segment_recovered(role->segment, line->index);
}

static long
do_set(struct role *role, const struct line *line)
{
	int64_t *cells = segment_data(role->segment), value = line->b;

	return segment_set(role->segment, line->index, &cells[line->a], &value, sizeof(value));
}

static long
do_get(struct role *role, const struct line *line)
{
	return ((const volatile int64_t *)segment_data(role->segment))[line->a];
}

static long
do_unlock(struct role *role, const struct line *line)
{
	return segment_unlock(role->segment, line->index);
}

static long
do_rollback(struct role *role, const struct line *line)
{
	return segment_rollback(role->segment, line->index);
}

static long
do_reading(struct role *role, const struct line *line)
{
	return !segment_read_retry(role->segment, line->index, segment_read_begin(role->segment, line->index));
}

static long
do_disconnect(struct role *role, const struct line *line)
{
	(void)line;
	segment_disconnect(role->client);
	role->client = NULL;
	return 0;
}

static long
do_detach(struct role *role, const struct line *line)
{
	(void)line;
	return segment_detach(take_ptr(role->segment));
}

static long
do_shutdown(struct role *role, const struct line *line)
{
	/* Of what the process has opened itself only this is a socket. */
	(void)line;
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (!role->is_inherited[fd])
			(void)shutdown(fd, SHUT_RDWR);
	return 0;
}

static long
do_fork(struct role *role, const struct line *line)
{
	pid_t pid = harness_fork();

	(void)line;
	while (pid == 0)
		(void)pause();
	(void)role;
	return pid;
}

static long
do_forked(struct role *role, const struct line *line)
{
	pid_t pid = harness_fork();
	int status = 0;

	if (pid == 0)
		_exit(-segment_lock(role->segment, line->index));
	harness_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "a forked child ended with %#x",
	    (unsigned)status);
	return -WEXITSTATUS(status);
}

static long
do_namesake(struct role *role, const struct line *line)
{
	pid_t own = (pid_t)syscall(SYS_gettid), pid;
	int ends[2], status = 0;
	char c = 0;

	(void)role, (void)line;
	harness_assert(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	harness_assert(pipe2(ends, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	pid = harness_fork();
	if (pid == 0) {
		c = syscall(SYS_gettid) == own;
		(void)!write(ends[1], &c, 1);
		for (;;)
			(void)pause();
	}
	harness_assert(read(ends[0], &c, 1) == 1 && c, "the child's thread id is not its parent's: the test shows nothing");
	harness_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "a child ended with %#x",
	    (unsigned)status);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return 0;
}

struct thread_part {
	struct role *role;
	const struct line *line;
	long r;
};

static void *
thread_main(void *arg)
{
	struct thread_part *part = arg;

	part->r = do_lock(part->role, part->line);
	if (part->r == 0)
		part->r = do_set(part->role, part->line);
	return NULL;
}

static long
do_thread(struct role *role, const struct line *line)
{
	struct thread_part part = { .role = role, .line = line };
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, &part) || pthread_join(thread, NULL))
		return -EAGAIN;
	return part.r;
}

static long
do_exec(struct role *role, const struct line *line)
{
	/* It reads what it is never told, and so lives until it is killed. */
	(void)line;
	(void)dup2(role->control, STDIN_FILENO);
	(void)execl("/bin/cat", "cat", (char *)NULL);
	return -errno;
}

static long
do_exit(struct role *role, const struct line *line)
{
	(void)role, (void)line;
	exit(0);
}

static const struct {
	const char *verb;
	long (*act)(struct role *role, const struct line *line);
} verbs[] = {
	{ "attach", do_attach }, { "create", do_create }, { "fill", do_fill }, { "differs", do_differs },
	{ "generation", do_generation }, { "lock", do_lock }, { "trylock", do_trylock }, { "timedlock", do_timedlock },
	{ "recovered", do_recovered }, { "set", do_set }, { "get", do_get }, { "unlock", do_unlock },
	{ "rollback", do_rollback }, { "reading", do_reading }, { "disconnect", do_disconnect }, { "detach", do_detach },
	{ "shutdown", do_shutdown }, { "fork", do_fork }, { "forked", do_forked }, { "thread", do_thread },
	{ "namesake", do_namesake },	{ "time", do_time }, { "exec", do_exec }, { "exit", do_exit },
};

static long
act(struct role *role, const char *word)
{
	struct line line = { .index = -1 };

	(void)sscanf(word, "%15s %31s %ld %ld", line.verb, line.lock, &line.a, &line.b);
	if (role->segment && line.lock[0])
		line.index = segment_find_lock(role->segment, line.lock);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(verbs); i++)
		if (streq(verbs[i].verb, line.verb))
			return verbs[i].act(role, &line);
	harness_fail("an actor was told '%s'", word);
}

/* Does what it is told until nobody is there to tell it. */
static void
run_actor(int control, void *arg)
{
	struct role *role = arg;
	char word[WORD_MAX + 1], answer[32];
	ssize_t n;

	role->control = control;
	for (int fd = 0; fd < FDS_MAX; fd++)
		role->is_inherited[fd] = fcntl(fd, F_GETFD) >= 0;
	while ((n = recv(control, word, WORD_MAX, 0)) > 0) {
		word[n] = 0;
		(void)snprintf(answer, sizeof(answer), "%ld", act(role, word));
		harness_say(control, answer);
	}
}

static void
run_in_namespace(int control, void *arg)
{
	struct role *role = arg;
	char answer[32];
	pid_t pid;

	if (role->jail)
		jail_unshare(role->jail);
	else
		harness_assert(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
	pid = harness_fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (role->jail)
			jail_enter(role->jail, role->socket);
		role->socket = role->jail ? JAIL_SOCKET : role->socket;
		run_actor(control, role);
		_exit(0);
	}
	(void)snprintf(answer, sizeof(answer), "%d", (int)pid);
	harness_say(control, answer);
	(void)waitpid(pid, NULL, 0);
}

/* The test's side. */

void
actor_start_idle(struct actor *actor, const char *socket)
{
	struct role role = { .socket = socket };

	(void)fflush(NULL);
	*actor = (struct actor) { .child = HARNESS_CHILD_NULL };
	harness_child_start(&actor->child, run_actor, &role);
	actor->pid = actor->child.pid;
}

static void
start(struct actor *actor, const char *socket, const char *segment, unsigned flags)
{
	actor_start_idle(actor, socket);
	actor_must(actor, 0, "attach %s %u", segment, flags);
}

void
actor_start(struct actor *actor, const char *socket, const char *segment)
{
	start(actor, socket, segment, SEGMENT_WRITE);
}

void
actor_start_reading(struct actor *actor, const char *socket, const char *segment)
{
	start(actor, socket, segment, SEGMENT_READ);
}

void
actor_start_in_namespace(struct actor *actor, const char *socket, const char *segment)
{
	struct role role = { .socket = socket };

	(void)fflush(NULL);
	*actor = (struct actor) { .child = HARNESS_CHILD_NULL };
	harness_child_start(&actor->child, run_in_namespace, &role);
	actor->pid = (pid_t)actor_hear(actor);
	actor_must(actor, 0, "attach %s %u", segment, SEGMENT_WRITE);
}

void
actor_start_in_jail(struct actor *actor, const struct jail *jail, const char *socket)
{
	struct role role = { .socket = socket, .jail = jail };

	(void)fflush(NULL);
	*actor = (struct actor) { .child = HARNESS_CHILD_NULL };
	harness_child_start(&actor->child, run_in_namespace, &role);
	actor->pid = (pid_t)actor_hear(actor);
}

static void
tell(struct actor *actor, const char *format, va_list ap)
{
	char word[WORD_MAX + 1];

	(void)vsnprintf(word, sizeof(word), format, ap);
	harness_say(actor->child.control, word);
}

void
actor_tell(struct actor *actor, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	tell(actor, format, ap);
	va_end(ap);
}

long
actor_hear(struct actor *actor)
{
	char word[WORD_MAX + 1];
	ssize_t n;

	harness_await_readable(actor->child.control, "an actor's answer");
	n = recv(actor->child.control, word, WORD_MAX, 0);
	harness_assert(n > 0, "an actor ended where an answer was expected");
	word[n] = 0;
	return strtol(word, NULL, 10);
}

bool
actor_has_answered(const struct actor *actor)
{
	struct pollfd fd = { .fd = actor->child.control, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

long
actor_do(struct actor *actor, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	tell(actor, format, ap);
	va_end(ap);
	return actor_hear(actor);
}

/* Looks again and again until what /proc says of the actor is so: it gives no event. */
static void
await_proc(const struct actor *actor, const char *file, const char *begin, const char *or_begin, const char *what)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	char path[64], text[4096];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)actor->pid, file);
	for (;;) {
		cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text + 1, sizeof(text) - 2);

		/* So that every line begins with a newline. */
		text[0] = '\n';
		text[n > 0 ? n + 1 : 1] = 0;
		if (strstr(text, begin) || strstr(text, or_begin))
			return;
		harness_assert(harness_clock_ns() < deadline_ns, "actor %d does not %s: '%s'", (int)actor->pid, what, text);
		(void)poll(NULL, 0, 1);
	}
}

void
actor_await_state(const struct actor *actor, char state)
{
	char line[16];

	(void)snprintf(line, sizeof(line), "\nState:\t%c", state);
	await_proc(actor, "status", line, line, "come to rest");
}

void
actor_await_sleep(const struct actor *actor)
{
	char one[16], both[16];

	(void)snprintf(one, sizeof(one), "\n%d 0x", (int)SYS_futex);
	(void)snprintf(both, sizeof(both), "\n%d 0x", ACTOR_FUTEX_WAITV);
	await_proc(actor, "syscall", both, one, "sleep for a lock");
}

void
actor_tell_to_sleep(struct actor *actor, const char *lock, unsigned n)
{
	static const char key[] = "voluntary_ctxt_switches:";
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS, before;

	/* It waits for words, and so its next sleep is the first for the lock. */
	before = harness_status_figure(actor->pid, key);
	actor_tell(actor, "lock %s", lock);
	while (harness_status_figure(actor->pid, key) < before + n) {
		harness_assert(harness_clock_ns() < deadline_ns, "actor %d does not sleep again and again", (int)actor->pid);
		harness_assert(!actor_has_answered(actor), "actor %d had not to wait for the lock", (int)actor->pid);
		(void)poll(NULL, 0, 1);
	}
	actor_await_sleep(actor);
}

void
actor_stop(const struct actor *actor)
{
	harness_assert(kill(actor->pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	actor_await_state(actor, 'T');
}

void
actor_go_on(const struct actor *actor)
{
	harness_assert(kill(actor->pid, SIGCONT) == 0, "kill: %s", strerror(errno));
}

void
actor_kill(struct actor *actor)
{
	if (actor->pid == actor->child.pid) {
		harness_child_kill(&actor->child);
		return;
	}
	harness_assert(kill(actor->pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	harness_child_await_success(&actor->child);
}

void
actor_await_exit(struct actor *actor)
{
	harness_child_await_success(&actor->child);
}

void
actor_look(struct harness_conn *conn, const char *segment, const char *lock, struct protocol_lock *ret_row)
{
	struct protocol_locks request = { 0 };
	struct harness_reply reply;
	int r;

	(void)snprintf(request.name, sizeof(request.name), "%s", segment);
	r = harness_ask(conn, PROTOCOL_LOCKS, &request.header, sizeof(request), &reply);
	harness_assert(r == 0, "the locks of '%s': %s", segment, strerror(-r));
	for (uint32_t i = 0; i < reply.listed.n_rows; i++) {
		memcpy(ret_row, reply.bytes + sizeof(reply.listed) + (size_t)i * reply.listed.row_size, sizeof(*ret_row));
		if (streq(ret_row->name, lock))
			return;
	}
	harness_fail("segment '%s' has no lock '%s'", segment, lock);
}

void
actor_await_recoveries(struct harness_conn *conn, const char *segment, const char *lock, uint64_t n,
    struct protocol_lock *ret_row)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	for (;;) {
		actor_look(conn, segment, lock, ret_row);
		if (ret_row->n_recoveries == n)
			return;
		harness_assert(harness_clock_ns() < deadline_ns, "lock '%s' was recovered %ju times, and not %ju", lock,
		    (uintmax_t)ret_row->n_recoveries, (uintmax_t)n);
	}
}
