/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The asking side of segmentd-audit: how it is reached or started, and what of its answers is believed. It may have more rights
 * than we have, and reads what everybody on the host has written: an answer that breaks the contract anywhere is no answer.
 */
#include "config.h"

#include "host/audit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/allotment.h"
#include "base/base.h"

#define SLACK_SECONDS	5		/* beyond AUDIT_SECONDS: until it has started, on a host that is busy */
#define END_MS	1000		/* that a program of ours has for its end */
#define ROWS_MAX	(UINT64_C(4) << 20)	/* of one answer; no honest program gets so far in its time */

#define HOW_KNOWN	(AUDIT_MAPS_READ | AUDIT_MAPS_WRITE | AUDIT_FD_READ | AUDIT_FD_WRITE | AUDIT_FD_PATH | \
    AUDIT_IN_PID_NAMESPACE | AUDIT_IN_IPC_NAMESPACE | AUDIT_STOPPED)

static const char *const verdict_names[] = {
	[AUDIT_HELD] = "held",
	[AUDIT_UNHELD] = "unheld",
	[AUDIT_UNKNOWN] = "unknown",
	[AUDIT_CHANGED] = "changed",
	[AUDIT_GONE] = "gone",
	[AUDIT_UNFIT] = "unfit",
	[AUDIT_REMOVED] = "removed",
	[AUDIT_KEPT] = "kept",
};

const char *
audit_verdict_name(enum audit_verdict verdict)
{
	return verdict >= AUDIT_HELD && verdict <= AUDIT_KEPT ? verdict_names[verdict] : verdict_names[AUDIT_UNKNOWN];
}

/* Reaching it. */

static int
connect_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)strcpy(address.sun_path, path);
	/* Non-blocking, or a connect would wait for as long as its queue is full. */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

struct start {
	const char *program;
	char **environment;
	int end;			/* of the socket pair: its standard input */
	pid_t parent;
	volatile int error;		/* of the start: written by the child, in our memory */
};

/*
 * In the child of a vfork: our memory, but its own signals and descriptors. It inherits nothing but the end and standard error;
 * it dies with us (which the kernel forgets of a program that gains rights by being executed: that one ends by the hang-up).
 */
static void __attribute__((noreturn))
become_audit(struct start *start)
{
	char *argv[] = { (char *)(uintptr_t)"segmentd-audit", NULL };
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != start->parent)
		_exit(1);
	/* Out of the terminal's reach: who interrupts us does not end it in the middle of a removal. */
	(void)setsid();
	/* Handlers of ours must not run here; they are still blocked. What we ignore it would go on ignoring. */
	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &standard, NULL);
	/* dup2 onto itself would leave it closed on exec. */
	if (start->end == STDIN_FILENO ? fcntl(STDIN_FILENO, F_SETFD, 0) < 0 : dup2(start->end, STDIN_FILENO) < 0)
		goto fail;
	null = open("/dev/null", O_WRONLY);
	if (null < 0 || (null != STDOUT_FILENO && dup2(null, STDOUT_FILENO) < 0))
		goto fail;
	/* COMPAT(linux 5.9): without it what somebody left to us stays open there, too. Ours is all closed on exec. */
	(void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0u);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execve(start->program, argv, start->environment);
fail:
	start->error = errno;
	_exit(127);
}

/* What a service manager says in the environment is to one process, and not to what that starts. */
static bool
is_of_manager(const char *variable)
{
	static const char *const prefixes[] = { "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_" };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(prefixes); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Ours without that; the texts are ours still. NULL: no memory. Out of line: vfork's caller keeps nothing in registers. */
static char ** __attribute__((noinline))
make_environment(void)
{
	size_t n = 0, n_kept = 0;
	char **environment;

	while (environ && environ[n])
		n++;
	environment = calloc(n + 1, sizeof(*environment));
	for (size_t i = 0; environment && i < n; i++)
		if (!is_of_manager(environ[i]))
			environment[n_kept++] = environ[i];
	return environment;
}

/*
 * vfork, since a fork of who has thousands of mappings takes milliseconds, and posix_spawn cannot say that the child is to die
 * with us. All signals wait meanwhile. 0 or a negative errno.
 */
static int
start_program(const char *program, int end, pid_t *ret_pid)
{
	struct start start = { .program = program, .environment = make_environment(), .end = end, .parent = getpid() };
	sigset_t all, before;
	pid_t pid;
	int error;

	if (!start.environment)
		return -ENOMEM;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	pid = vfork();
	if (pid == 0)
		become_audit(&start);
	error = errno;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	/* It runs, or has ended: it has no use for ours any more. */
	free(start.environment);
	if (pid < 0)
		return -error;
	if (start.error) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
		return -start.error;
	}
	*ret_pid = pid;
	return 0;
}

int
audit_open(const char *socket, pid_t *ret_pid)
{
	const char *wanted = secure_getenv("SEGMENTD_AUDIT");
	cleanup_close int ours = -1, theirs = -1;
	int ends[2], fd, r;

	/* Who names a program means it. */
	fd = !wanted && socket ? connect_socket(socket) : -ENOENT;
	if (fd >= 0) {
		*ret_pid = 0;
		return fd;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = start_program(wanted ? wanted : AUDIT_PROGRAM, theirs, ret_pid);
	return r < 0 ? r : take_fd(&ours);
}

/* Whether it ended in time. */
static bool
await_end(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&pfd, 1, END_MS);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

void
audit_close(int fd, pid_t pid)
{
	cleanup_close int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	(void)close(fd);
	if (pidfd < 0)
		return;
	if (!await_end(pidfd)) {
		(void)kill(pid, SIGKILL);
		(void)await_end(pidfd);
	}
	(void)waitpid(pid, NULL, WNOHANG);
}

/* What is believed. */

static size_t
question_row_size(const struct audit_question *question)
{
	switch (question->kind) {
	case AUDIT_WHO:
		return sizeof(struct audit_object);
	case AUDIT_JUDGE:
		return sizeof(struct audit_candidate);
	default:
		return 0;
	}
}

static size_t
answer_row_size(const struct audit_question *question)
{
	return question->kind == AUDIT_WHO ? sizeof(struct audit_holder) : sizeof(struct audit_stray);
}

static bool
text_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
holder_is_sound(const struct audit_holder *row, const struct audit_question *question)
{
	return row->object < question->n_rows && row->pid > 0 && row->inner_pid >= 0 && !(row->how & ~HOW_KNOWN) &&
	    text_ends(row->command, sizeof(row->command)) && text_ends(row->cgroup, sizeof(row->cgroup)) &&
	    text_ends(row->container, sizeof(row->container));
}

/* A name that a directory can have, since it may become part of a path. */
static bool
name_is_sound(const char *name)
{
	return text_ends(name, AUDIT_NAME_SIZE) && *name && !streq(name, ".") && !streq(name, "..") && !strchr(name, '/');
}

static bool
stray_is_sound(const struct audit_stray *row)
{
	if (row->verdict < AUDIT_HELD || row->verdict > AUDIT_KEPT || row->proof > AUDIT_BY_NATTCH || row->error > 0)
		return false;
	if (row->what == AUDIT_POSIX)
		return name_is_sound(row->name);
	return row->what == AUDIT_SYSV && !*row->name && row->shm_id >= 0;
}

static bool
rows_are_sound(const char *rows, const struct audit_answer *answer, const struct audit_question *question)
{
	for (uint32_t i = 0; i < answer->n_rows; i++) {
		union {
			struct audit_holder holder;
			struct audit_stray stray;
		} row;

		memcpy(&row, rows + (size_t)i * answer->row_size, answer->row_size);
		if (question->kind == AUDIT_WHO ? !holder_is_sound(&row.holder, question) : !stray_is_sound(&row.stray))
			return false;
	}
	return true;
}

bool
audit_is_sound(const void *message, size_t size, const struct audit_question *question)
{
	struct audit_answer answer;

	if (size < sizeof(answer) || size > AUDIT_MESSAGE_BYTES)
		return false;
	memcpy(&answer, message, sizeof(answer));
	if (answer.version != AUDIT_VERSION || answer.kind != question->kind || answer.serial != question->serial ||
	    answer.flags & ~(AUDIT_MORE | AUDIT_INCOMPLETE | AUDIT_UNSETTLED) || answer.result > 0 || !text_ends(answer.text, sizeof(answer.text)))
		return false;
	/* One that failed says nothing else; and one without rows is the last, or there would be no end. */
	if ((answer.result < 0 && answer.n_rows) || (!answer.n_rows && answer.flags & AUDIT_MORE))
		return false;
	if (answer.n_rows && answer.row_size != answer_row_size(question))
		return false;
	if (answer.n_rows > size || (uint64_t)answer.n_rows * answer.row_size != size - sizeof(answer))
		return false;
	return rows_are_sound((const char *)message + sizeof(answer), &answer, question);
}

/* Asking. */

struct asking {
	int fd;
	const struct audit_question *question;
	const void *rows;		/* of the question */
	struct allotment time;
	uint64_t n_rows;		/* that came */
	_Alignas(8) char message[AUDIT_MESSAGE_BYTES];
};

/* Until the descriptor is ready, or hung up: what comes next then says so. */
static int
wait_for(struct asking *asking, short events)
{
	struct pollfd pfd = { .fd = asking->fd, .events = events };
	uint64_t left_ns;

	while ((left_ns = allotment_look(&asking->time))) {
		int n = poll(&pfd, 1, (int)(left_ns / NS_PER_MS) + 1);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	return -ETIME;
}

static int
send_question(struct asking *asking)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)(uintptr_t)asking->question, .iov_len = sizeof(*asking->question) },
		{ .iov_base = (void *)(uintptr_t)asking->rows, .iov_len = asking->question->n_rows * question_row_size(asking->question) },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = parts[1].iov_len ? 2 : 1 };

	while (sendmsg(asking->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		int r = errno == EAGAIN ? wait_for(asking, POLLOUT) : errno == EINTR ? 0 : -errno;

		if (r < 0)
			return r;
	}
	return 0;
}

/* A message; descriptors that come with it are dropped by the kernel. */
static int
receive_answer(struct asking *asking, size_t *ret_size)
{
	for (;;) {
		ssize_t n = recv(asking->fd, asking->message, sizeof(asking->message), MSG_TRUNC | MSG_DONTWAIT);
		int r = 0;

		if (n == 0)
			return -ECONNRESET;
		if (n > 0) {
			*ret_size = (size_t)n;
			return (size_t)n > sizeof(asking->message) ? -EPROTO : 0;
		}
		if (errno == EAGAIN)
			r = wait_for(asking, POLLIN);
		else if (errno != EINTR)
			r = -errno;
		if (r < 0)
			return r;
	}
}

/* Whether a row is about the candidate whose turn it is. */
static bool
is_expected(const struct asking *asking, const void *row)
{
	const struct audit_candidate *candidate = asking->rows;
	const struct audit_stray *stray = row;

	if (asking->question->kind != AUDIT_JUDGE)
		return true;
	if (asking->n_rows >= asking->question->n_rows)
		return false;
	candidate += asking->n_rows;
	return stray->what == candidate->what &&
	    (stray->what == AUDIT_SYSV ? stray->shm_id == candidate->shm_id : streq(stray->name, candidate->name));
}

static int
take_answer(struct asking *asking, int (*take)(const void *row, void *arg), void *arg, struct audit_answer *ret_answer)
{
	const struct audit_question *question = asking->question;
	size_t size;
	int r = receive_answer(asking, &size);

	if (r < 0)
		return r;
	if (!audit_is_sound(asking->message, size, question))
		return -EPROTO;
	memcpy(ret_answer, asking->message, sizeof(*ret_answer));
	for (uint32_t i = 0; r == 0 && i < ret_answer->n_rows; i++) {
		const void *row = asking->message + sizeof(*ret_answer) + (size_t)i * ret_answer->row_size;

		if (asking->n_rows >= ROWS_MAX || !is_expected(asking, row))
			return -EPROTO;
		asking->n_rows++;
		r = take(row, arg);
	}
	return r;
}

int
audit_ask(int fd, const struct audit_question *question, const void *rows, int (*take)(const void *row, void *arg), void *arg,
    struct audit_answer *ret_end)
{
	size_t room = (AUDIT_MESSAGE_BYTES - sizeof(*question)) / max_u64(question_row_size(question), 1);
	cleanup_free struct asking *asking = NULL;
	struct audit_answer answer;
	int r;

	if (question->n_rows > (question_row_size(question) ? room : 0))
		return -EMSGSIZE;
	asking = malloc(sizeof(*asking));
	if (!asking)
		return -ENOMEM;
	asking->fd = fd;
	asking->question = question;
	asking->rows = rows;
	asking->n_rows = 0;
	allotment_begin(&asking->time, (AUDIT_SECONDS + SLACK_SECONDS) * NS_PER_SEC, NS_PER_SEC);
	r = send_question(asking);
	do {
		if (r == 0)
			r = take_answer(asking, take, arg, &answer);
	} while (r == 0 && answer.flags & AUDIT_MORE);
	/* Of what was to be judged each has its verdict, unless the whole failed or the time was up. */
	if (r == 0 && question->kind == AUDIT_JUDGE && answer.result == 0 && !(answer.flags & AUDIT_INCOMPLETE) &&
	    asking->n_rows != question->n_rows)
		r = -EPROTO;
	if (r == 0)
		*ret_end = answer;
	return r;
}
