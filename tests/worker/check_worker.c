/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A real worker: what it makes of what is no job, what it is allowed to, and of ends. What it does with jobs is check_populate. */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "tests/harness-clock.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#define SIZE		(6 * MIB + 12345)
#define N_LINGERING	200		/* messages of each of two, for a millisecond each: more than a turn's quarter of a second */

static unsigned
count_fds(pid_t pid)
{
	char path[64];
	DIR *dir;
	unsigned n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

START_TEST(every_descriptor_is_closed)
{
	struct harness h;
	int fd = harness_memfd(SIZE), other;
	unsigned n;
	struct job garbage = { .id = 7, .kind = JOB_CLOSE };
	struct job_result result;

	harness_start(&h, NULL, NULL);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	n = count_fds(h.pid);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	(void)harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, 0);
	(void)harness_job(&h, JOB_POPULATE, JOB_PAGES_AUTO, fd, 0, SIZE, UINT64_MAX);
	(void)harness_job(&h, JOB_FREE, 0, fd, 0, SIZE, 0);
	other = harness_memfd(1);
	for (size_t n_fds = 0; n_fds <= HARNESS_FDS_MAX; n_fds++) {
		int fds[HARNESS_FDS_MAX];

		if (n_fds == 1)
			continue;
		for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
			fds[i] = other;
		harness_send(&h, &garbage, sizeof(garbage), fds, n_fds);
		ck_assert(harness_receive(&h, &result));
		ck_assert_uint_eq(result.id, 7);
		ck_assert_int_eq(result.status, -EPROTO);
	}
	ck_assert_uint_eq(count_fds(h.pid), n);
	harness_stop(&h);
}
END_TEST

/* With messages of several descriptors and of none, and with empty ones; and of some the peer has gone, with a reply unread. */
static void
fill_queue(int socket_fd, int sent_fd)
{
	const int fds[] = { sent_fd, sent_fd };
	struct harness peer = { .socket = socket_fd };

	for (unsigned i = 0; i <= BASE_ARRAY_SIZE(fds); i++) {
		harness_send(&peer, "message", 7, fds, i);
		harness_send(&peer, "", 0, fds, i);
	}
	ck_assert_int_eq(shutdown(socket_fd, SHUT_RDWR), 0);
}

static bool
has_message(int fd)
{
	char byte;

	return recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

START_TEST(connections_are_emptied_as_many_as_come)
{
	struct job job = { .id = 9, .kind = JOB_EMPTY };
	int fd = harness_memfd(1), pairs[JOB_MANY_MAX + 1][2], fds[JOB_MANY_MAX + 1];
	struct job_result result;
	struct harness h;
	unsigned n_fds;
	char byte;

	harness_start(&h, NULL, NULL);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	n_fds = count_fds(h.pid);
	for (unsigned n = 0; n <= JOB_MANY_MAX + 1; n++) {
		bool is_job = n > 0 && n <= JOB_MANY_MAX;

		for (unsigned i = 0; i < n; i++) {
			ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]), 0);
			fds[i] = pairs[i][0];
			if (i % 2)
				ck_assert_int_eq(send(pairs[i][0], "reply", 5, 0), 5);
			fill_queue(pairs[i][1], fd);
			if (is_job && i % 2)
				(void)close(pairs[i][1]);
		}
		/* Once, unless it gets no CPU. */
		do {
			harness_send(&h, &job, sizeof(job), fds, n);
			ck_assert(harness_receive(&h, &result));
			ck_assert_uint_eq(result.id, 9);
			ck_assert_int_eq(result.status, is_job ? 0 : -EPROTO);
		} while (is_job && has_message(fds[n - 1]));
		for (unsigned i = 0; i < n; i++) {
			ck_assert_int_eq(recv(pairs[i][0], &byte, 1, MSG_DONTWAIT), is_job ? 0 : 1);
			(void)close(pairs[i][0]);
			if (!is_job || i % 2 == 0)
				(void)close(pairs[i][1]);
		}
	}
	ck_assert_uint_eq(count_fds(h.pid), n_fds);
	harness_stop(&h);
}
END_TEST

/* To nobody who reads: its close waits, as long as a worker lets it. */
static int
open_lingering(const struct sockaddr_in *address)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int size = 1;
	char page[4096] = { 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
	while (send(fd, page, sizeof(page), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

static void
send_lingering(int to, const struct sockaddr_in *address)
{
	struct harness peer = { .socket = to };

	for (unsigned i = 0; i < N_LINGERING; i++) {
		int fd = open_lingering(address);

		harness_send(&peer, "message", 7, &fd, 1);
		(void)close(fd);
	}
}

START_TEST(what_takes_long_is_left_for_another_turn)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pairs[3][2];
	socklen_t length = sizeof(address);
	struct job job = { .id = 9, .kind = JOB_EMPTY };
	struct job_result result;
	const int size = 1;
	unsigned n_jobs = 0;
	struct harness h;

	(void)setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 2 * N_LINGERING), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[i]), 0);
	send_lingering(pairs[0][1], &address);
	send_lingering(pairs[1][1], &address);
	fill_queue(pairs[2][1], listener);
	harness_start(&h, NULL, NULL);
	do {
		harness_send(&h, &job, sizeof(job), (const int[]) { pairs[0][0], pairs[1][0], pairs[2][0] }, 3);
		ck_assert(harness_receive(&h, &result));
		ck_assert_int_eq(result.status, 0);
		ck_assert(n_jobs++ || has_message(pairs[2][0]));
	} while (has_message(pairs[2][0]));
	ck_assert(!has_message(pairs[0][0]) && !has_message(pairs[1][0]));
	harness_stop(&h);
	for (unsigned i = 0; i < 6; i++)
		(void)close(pairs[i / 2][i % 2]);
	(void)close(listener);
}
END_TEST

START_TEST(messages_of_another_size_are_refused)
{
	static const size_t sizes[] = { 1, 7, 8, sizeof(struct job) - 1, sizeof(struct job) + 1, 4096 };
	struct harness h;
	struct job_result result;
	uint64_t message[512] = { 77 };
	int fd = harness_memfd(1);

	harness_start(&h, NULL, NULL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(sizes); i++) {
		harness_send(&h, message, sizes[i], &fd, 1);
		ck_assert(harness_receive(&h, &result));
		ck_assert_int_eq(result.status, -EPROTO);
		ck_assert_uint_eq(result.id, sizes[i] < 8 ? 0 : 77);
	}
	harness_send(&h, message, 0, &fd, 1);		/* no end of file: it brings a descriptor */
	ck_assert(harness_receive(&h, &result));
	result = harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	ck_assert_int_eq(result.status, 0);
	harness_stop(&h);
}
END_TEST

START_TEST(jobs_that_make_no_sense_are_refused)
{
	static const struct {
		uint32_t kind, pages;
		uint64_t offset, length;
		int status;
	} rows[] = {
		{ 0, 0, 0, 4096, -EPROTO }, { 4, 0, 0, 4096, -EPROTO }, { UINT32_MAX, 0, 0, 4096, -EPROTO },
		{ JOB_POPULATE, JOB_PAGES_MOUNT + 1, 0, 4096, -EPROTO },
		{ JOB_POPULATE, 0, 0, 0, -EPROTO }, { JOB_FREE, 0, 0, 0, -EPROTO },
		{ JOB_POPULATE, 0, UINT64_MAX, 2, -EPROTO }, { JOB_POPULATE, 0, 0, UINT64_MAX, -EPROTO },
		{ JOB_POPULATE, 0, 0, INT64_MAX, -EPROTO }, { JOB_FREE, 0, INT64_MAX, 1, -EPROTO },
		{ JOB_POPULATE, 0, 4096, 4096, -EINVAL },
		{ JOB_POPULATE, 0, 0, SIZE + 4096, -EINVAL }, { JOB_POPULATE, 0, 1024 * GIB, 4096, -EINVAL },
	};
	struct harness h;
	int fd = harness_memfd(SIZE);

	harness_start(&h, NULL, NULL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		struct job_result result = harness_job(&h, (enum job_kind)rows[i].kind,
		    (enum job_pages)rows[i].pages, fd, rows[i].offset, rows[i].length, 0);

		ck_assert_int_eq(result.status, rows[i].status);
		ck_assert_str_ne(result.text, "");
	}
	ck_assert_uint_eq(harness_allocated(fd), 0);
	harness_stop(&h);
}
END_TEST

/* A line's value of a file of a process; "" when there is none. */
static const char *
proc_value(pid_t pid, const char *file, const char *key)
{
	static char line[256];
	char path[64];
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0) {
			line[strcspn(line, "\n")] = '\0';
			return line + strlen(key) + strspn(line + strlen(key), "\t ");
		}
	return "";
}

static void
block_and_ignore(const void *arg)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)signal(SIGUSR1, SIG_IGN);
}

START_TEST(worker_has_no_privilege_and_is_the_first_to_be_killed)
{
	struct harness h;
	int fd = harness_memfd(1);

	harness_start(&h, block_and_ignore, NULL);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	ck_assert_str_eq(proc_value(h.pid, "status", "Name:"), "segmentd-worker");
	ck_assert_str_eq(proc_value(h.pid, "status", "CapEff:"), "0000000000000000");
	ck_assert_str_eq(proc_value(h.pid, "status", "CapPrm:"), "0000000000000000");
	ck_assert_str_eq(proc_value(h.pid, "status", "CapInh:"), "0000000000000000");
	ck_assert_str_eq(proc_value(h.pid, "status", "CapAmb:"), "0000000000000000");
	if (geteuid() == 0)
		ck_assert_str_eq(proc_value(h.pid, "status", "CapBnd:"), "0000000000000000");
	ck_assert_str_eq(proc_value(h.pid, "status", "NoNewPrivs:"), "1");
	ck_assert_str_eq(proc_value(h.pid, "status", "SigBlk:"), "0000000000000000");
	ck_assert_str_eq(proc_value(h.pid, "oom_score_adj", ""), "1000");
	/* What a terminal or a service manager sends to all does not end it; the socket does. */
	ck_assert_int_eq(kill(h.pid, SIGINT), 0);
	ck_assert_int_eq(kill(h.pid, SIGTERM), 0);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	harness_stop(&h);
}
END_TEST

START_TEST(end_of_file_during_a_job_ends_it)
{
	struct harness h;
	struct job job = { .id = 1, .kind = JOB_POPULATE, .length_bytes = SIZE };
	int fd = harness_memfd(SIZE);

	harness_start(&h, NULL, NULL);
	harness_send(&h, &job, sizeof(job), &fd, 1);
	harness_stop(&h);
}
END_TEST

/* A daemon whose worker's socket is held open by somebody else, too: only its death can end the worker. */
static void
be_a_daemon(int told, int keep)
{
	struct harness h;
	int fd = harness_memfd(1);

	harness_start(&h, NULL, NULL);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	harness_send(&(struct harness) { .socket = keep }, &h.pid, sizeof(h.pid), &h.socket, 1);
	(void)close(told);
	for (;;)
		(void)pause();
}

START_TEST(worker_ends_with_the_daemon)
{
	int pair[2], status;
	struct pollfd p = { .events = POLLIN };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	pid_t daemon, worker;
	struct iovec iov = { .iov_base = &worker, .iov_len = sizeof(worker) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control) };

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	daemon = fork();
	ck_assert_int_ge(daemon, 0);
	if (daemon == 0)
		be_a_daemon(pair[0], pair[1]);
	/* The worker's socket comes along, and stays open here. */
	ck_assert_int_eq(recvmsg(pair[0], &msg, MSG_CMSG_CLOEXEC), sizeof(worker));
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&msg));
	p.fd = (int)syscall(SYS_pidfd_open, worker, 0);
	ck_assert_int_ge(p.fd, 0);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_assert_int_eq(kill(daemon, SIGKILL), 0);
	ck_assert_int_eq(harness_poll(&p, 1, 30000), 1);
	ck_assert_int_eq(waitpid(daemon, &status, 0), daemon);
	ck_assert_int_eq(waitpid(worker, &status, 0), worker);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

static void
await_end(const void *arg)
{
	struct pollfd p = { .fd = *(const int *)arg, .events = POLLIN };

	(void)poll(&p, 1, -1);
}

/* The worker begins after the daemon's death, with a job in the queue. */
START_TEST(what_a_dead_daemon_asked_for_is_not_done)
{
	struct job job = { .id = 1, .kind = JOB_POPULATE, .length_bytes = SIZE };
	int fd = harness_memfd(SIZE), told[2], status, self;
	struct harness h;
	struct stat st;
	pid_t daemon;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	ck_assert_int_eq(pipe(told), 0);
	daemon = fork();
	ck_assert_int_ge(daemon, 0);
	if (daemon == 0) {
		self = (int)syscall(SYS_pidfd_open, getpid(), 0);
		harness_start(&h, await_end, &self);
		harness_send(&h, &job, sizeof(job), &fd, 1);
		_exit(write(told[1], &h.pid, sizeof(h.pid)) != sizeof(h.pid));
	}
	ck_assert_int_eq(waitpid(daemon, &status, 0), daemon);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(read(told[0], &h.pid, sizeof(h.pid)), sizeof(h.pid));
	ck_assert_int_eq(waitpid(h.pid, &status, 0), h.pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_blocks, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/worker");
	TCase *tcase = tcase_create("worker");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, every_descriptor_is_closed);
	tcase_add_test(tcase, connections_are_emptied_as_many_as_come);
	tcase_add_test(tcase, what_takes_long_is_left_for_another_turn);
	tcase_add_test(tcase, messages_of_another_size_are_refused);
	tcase_add_test(tcase, jobs_that_make_no_sense_are_refused);
	tcase_add_test(tcase, worker_has_no_privilege_and_is_the_first_to_be_killed);
	tcase_add_test(tcase, end_of_file_during_a_job_ends_it);
	tcase_add_test(tcase, worker_ends_with_the_daemon);
	tcase_add_test(tcase, what_a_dead_daemon_asked_for_is_not_done);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
