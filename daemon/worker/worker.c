/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A worker: a process that allocates for the daemon, so that it is the one that the kernel kills when memory runs short.
 * It serves one job after the other from its standard input and owns nothing between them. It has no privilege, cannot
 * gain any, and ends with the daemon.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "client/control.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/contents.h"
#include "daemon/worker/file.h"
#include "daemon/worker/job.h"
#include "daemon/worker/link.h"
#include "daemon/worker/names.h"
#include "daemon/worker/parse.h"
#include "daemon/worker/populate.h"
#include "daemon/worker/receive.h"
#include "daemon/worker/repair.h"
#include "daemon/worker/verify.h"
#include "host/memory.h"

#define WORKER_SOCKET	STDIN_FILENO
#define NICE		5
#define WORKER_FDS_MAX	(JOB_MANY_MAX + 5)	/* taken with one message to be closed again; the kernel drops the rest */

struct worker {
	struct memory *memory;
	struct verify verify;
};

/* Gives every capability up, for good. Those of the bounding set only who has CAP_SETPCAP; nobody needs more. */
static void
drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)syscall(SYS_capset, &header, none);	/* giving up needs no right */
}

/*
 * Signals act as they do on anybody, whatever the daemon had blocked or ignored, except those that a terminal or a
 * service manager sends to the whole group: the daemon hears them too, and a worker that died of one would look like one
 * that met a limit. And of SIGIO, which tells who has a lease that another one waits, and SIGXFSZ: what is too large is an error.
 * It ends at end of file.
 */
static void
reset_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGIO, SIGXFSZ };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
offer_to_oom_killer(void)
{
	cleanup_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* Without it the kernel may choose another process of the cgroup: the checks before each step remain. */
	if (fd >= 0 && write(fd, "1000", 4) < 0)
		return;
}

static void
become_worker(void)
{
	const struct rlimit no_core = { 0, 0 };

	(void)prctl(PR_SET_NAME, "segmentd-worker", 0, 0, 0);
	/*
	 * All workers together can take every CPU: the daemon and its clients come first then. But not by too much: where many
	 * others want the CPUs, the share at 10 is so small that nothing comes to an end. Measured on 2 CPUs, Linux 6.18: while
	 * 2 workers provision 4 GiB, 99 of 100 attaches take 1.15 ms at most, at 10 and at 5, and 3.1 at 0 (SCHED_BATCH: 2.75);
	 * beside 20 processes that never sleep 2 segments of 33 MiB take 8 s at 10, 2.5 s at 5, half a second at 0.
	 */
	(void)setpriority(PRIO_PROCESS, 0, NICE);
	reset_signals();
	offer_to_oom_killer();
	(void)setrlimit(RLIMIT_CORE, &no_core);		/* what it maps is its clients' */
	drop_privileges();
	/* Last, since a change of credentials clears it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/*
 * Whether who made the connection was gone before we could be told of its end. What it had asked for is in the queue still, and
 * would be done behind the back of the daemon that came after it.
 */
static bool
is_orphan(void)
{
	struct ucred maker;
	socklen_t length = sizeof(maker);

	return getsockopt(WORKER_SOCKET, SOL_SOCKET, SO_PEERCRED, &maker, &length) == 0 && maker.pid && maker.pid != getppid();
}

static void
close_fds(int *fds)
{
	for (unsigned i = 0; i < JOB_MANY_MAX; i++)
		close_fd(&fds[i]);
}

/* Takes the fds out of a message: one to JOB_MANY_MAX are returned, and of any other number all are closed. The rest is -1. */
static void
message_take_fds(struct msghdr *message, int *ret_fds)
{
	size_t n_fds = 0;

	for (unsigned i = 0; i < JOB_MANY_MAX; i++)
		ret_fds[i] = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++, n_fds++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n_fds < JOB_MANY_MAX)
				ret_fds[n_fds] = fd;
			else
				close_fd(&fd);
		}
	}
	if (n_fds > JOB_MANY_MAX || (message->msg_flags & MSG_CTRUNC))
		close_fds(ret_fds);
}

/*
 * Receives one job and its fds. 1: *ret_job and ret_fds; a message that is no job has id 0 or its own, and fds -1.
 * 0: end of file. Negative errno otherwise.
 */
static int
receive_job(struct job *ret_job, int *ret_fds)
{
	union {
		char bytes[CMSG_SPACE(WORKER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct job job = { 0 };
	struct iovec iov = { .iov_base = &job, .iov_len = sizeof(job) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(WORKER_SOCKET, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	message_take_fds(&message, ret_fds);
	if (n == 0 && ret_fds[0] < 0 && !(message.msg_flags & MSG_CTRUNC))
		return 0;
	if ((size_t)n != sizeof(job) || (message.msg_flags & MSG_TRUNC)) {
		close_fds(ret_fds);
		if ((size_t)n < sizeof(job.id))
			job.id = 0;
	}
	*ret_job = job;
	return 1;
}

static bool
job_has_range(const struct job *job)
{
	uint64_t end;

	return job->length_bytes && checked_add(job->offset_bytes, job->length_bytes, &end) &&
	    end <= INT64_MAX - GIB;
}

static int
refuse(struct job_result *result, const char *what)
{
	(void)snprintf(result->text, sizeof(result->text), "not a job: %s", what);
	return -EPROTO;
}

static unsigned
count_fds(const int *fds)
{
	unsigned n = 0;

	while (n < JOB_MANY_MAX && fds[n] >= 0)
		n++;
	return n;
}

/* What is done to a file that holds a segment. */
static int
do_file_job(const struct job *job, int *fds, struct job_result *result, int *ret_fd)
{
	if (job->limit_bytes > INT64_MAX - GIB || job->length_bytes > INT64_MAX - GIB)
		return refuse(result, "a file of a size that none can have");
	switch (job->kind) {
	case JOB_SYNC:
		return file_sync(fds[0], &fds[1], result);
	case JOB_FILE_LOOK:
		return file_look(fds[0], result, ret_fd);
	case JOB_FILE_OPEN:
		return file_open(fds[0], fds[1], job, result, ret_fd);
	case JOB_FILE_USE:
		return file_use(fds[0], fds[1], fds[2], job, result);
	default:
		return file_close(fds[0], fds[1], fds[2], job, result);
	}
}

/* Does the job. *ret_fd: what is returned with the result. */
static int
do_job(struct worker *worker, const struct job *job, int *fds, struct job_result *result, int *ret_fd)
{
	int owned = fds[0], owned_control = fds[1];
	unsigned n_fds = count_fds(fds);

	if (job->kind == JOB_EMPTY ? n_fds == 0 : n_fds != job_n_fds(job->kind))
		return refuse(result, "one message of a job's size with its descriptors is expected");
	switch (job->kind) {
	case JOB_RESERVE:
	case JOB_POPULATE:
		if (job->pages > JOB_PAGES_MOUNT)
			return refuse(result, "unknown kind of pages");
		if (job->numa > JOB_NUMA_PREFERRED || (job->numa == JOB_NUMA_ANY) != (job->nodes == 0))
			return refuse(result, "nodes that no definition can have");
		if (!job_has_range(job))
			return refuse(result, "an empty range, or one beyond any object's end");
		return populate_range(owned, job, worker->memory, &worker->verify, result);
	case JOB_RESERVE_POOL:
		if (!job_has_range(job) || !job->object.page_bytes || job->numa > JOB_NUMA_PREFERRED)
			return refuse(result, "a range of hugetlb memory is expected");
		return populate_reserve_range(owned, job, worker->memory, result);
	case JOB_FREE:
		if (!job_has_range(job))
			return refuse(result, "an empty range, or one beyond any object's end");
		return populate_free_range(owned, job, result);
	case JOB_CLOSE:
		return 0;
	case JOB_RECEIVE:
		return receive_object(owned, &job->file, result, ret_fd);
	case JOB_DISCARD:
		return receive_discard(owned);
	case JOB_EMPTY:
		return receive_empty(fds, n_fds);
	case JOB_NAMES:
		return names_list(owned, job, result, ret_fd);
	case JOB_LINK:
	case JOB_UNLINK:
		if (!link_is_name(job))
			return refuse(result, "a name in a directory is expected");
		return job->kind == JOB_LINK ? link_make(owned, owned_control, job, result, ret_fd) :
		    link_remove(owned, job, result);
	case JOB_ADMIT:
		return link_admit(owned, owned_control, job, result);
	case JOB_REPAIR:
		if (!job_has_range(job) || job->lock.on_death >= CONTROL_ON_DEATH_N ||
		    job->lock.log_offset_bytes > INT64_MAX - GIB)
			return refuse(result, "a lock that no definition can have");
		return repair_lock(owned, owned_control, job, worker->memory, result);
	case JOB_REPAIR_MUTEX:
		/* Without a range there is nothing to be zeroed. */
		if ((job->length_bytes && !job_has_range(job)) || job->lock.at_bytes > INT64_MAX - GIB)
			return refuse(result, "a mutex that no definition can have");
		return repair_mutex(owned, job, worker->memory, result);
	case JOB_INIT:
		if (!job_has_range(job) || job->offset_bytes % (uint64_t)sysconf(_SC_PAGESIZE))
			return refuse(result, "an empty range, or one beyond any object's end");
		return contents_copy(owned, owned_control, job, worker->memory, result);
	case JOB_PARSE:
	case JOB_PARSE_TEXTS:
		return parse_configuration(owned, owned_control, job, result);
	case JOB_SYNC:
	case JOB_FILE_LOOK:
	case JOB_FILE_OPEN:
	case JOB_FILE_USE:
	case JOB_FILE_CLOSE:
		return do_file_job(job, fds, result, ret_fd);
	default:
		return refuse(result, "unknown kind");
	}
}

/* Sends a result, and with it fd, if it is one. */
static int
send_result(struct job_result *result, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = result, .iov_len = sizeof(*result) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.align = (struct cmsghdr) {
			.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	do
		n = sendmsg(WORKER_SOCKET, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int
serve(struct worker *worker)
{
	for (;;) {
		struct job_result result = { 0 };
		struct job job;
		int fds[JOB_MANY_MAX], fd = -1, r;

		for (unsigned i = 0; i < JOB_MANY_MAX; i++)
			fds[i] = -1;
		r = receive_job(&job, fds);
		if (r <= 0)
			return r;
		/* Of a job that was done already when it came. */
		if (job.kind == JOB_CANCEL && fds[0] < 0)
			continue;
		cancel_begin(WORKER_SOCKET, job.id);
		result.id = job.id;
		result.status = do_job(worker, &job, fds, &result, &fd);
		/* Before the result is sent: the daemon may then rely on their being closed. */
		close_fds(fds);
		r = send_result(&result, fd);
		close_fd(&fd);
		if (r < 0)
			return r == -EPIPE || r == -ECONNRESET ? 0 : r;
	}
}

int
worker_main(void)
{
	struct worker worker = { .verify = VERIFY_NULL };
	int r;

	become_worker();
	if (is_orphan())
		return EXIT_SUCCESS;
	r = memory_new(&worker.memory);
	if (r == 0) {
		verify_init(&worker.verify);
		r = serve(&worker);
		verify_deinit(&worker.verify);
	}
	worker.memory = memory_free(worker.memory);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
