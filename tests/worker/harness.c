/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Real workers for the tests. */
#include "config.h"

#include <check.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "tests/worker/harness.h"

void
harness_start(struct harness *harness, harness_before_fn before, const void *arg)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	harness->pid = fork();
	ck_assert_int_ge(harness->pid, 0);
	if (harness->pid == 0) {
		if (dup2(pair[1], STDIN_FILENO) < 0)
			_exit(99);
		(void)close(pair[0]);
		(void)close(pair[1]);
		if (before)
			before(arg);
		_exit(worker_main());
	}
	(void)close(pair[1]);
	harness->socket = pair[0];
	harness->pidfd = (int)syscall(SYS_pidfd_open, harness->pid, 0);
	ck_assert_int_ge(harness->pidfd, 0);
}

void
harness_send(struct harness *harness, const void *message, size_t size, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(HARNESS_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)message, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(harness->socket, &msg, MSG_NOSIGNAL), (ssize_t)size);
}

bool
harness_receive(struct harness *harness, struct job_result *ret_result)
{
	ssize_t n = recv(harness->socket, ret_result, sizeof(*ret_result), 0);

	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return false;
	ck_assert_int_eq(n, (ssize_t)sizeof(*ret_result));
	ck_assert_ptr_nonnull(memchr(ret_result->text, '\0', sizeof(ret_result->text)));
	return true;
}

struct job_result
harness_job(struct harness *harness, enum job_kind kind, enum job_pages pages, int fd,
    uint64_t offset_bytes, uint64_t length_bytes, uint64_t reserve_bytes)
{
	static uint64_t id;
	struct job job = { .id = ++id, .kind = kind, .pages = pages, .offset_bytes = offset_bytes,
		.length_bytes = length_bytes, .reserve_bytes = reserve_bytes };
	struct job_result result;

	harness_send(harness, &job, sizeof(job), &fd, 1);
	ck_assert(harness_receive(harness, &result));
	ck_assert_uint_eq(result.id, job.id);
	return result;
}

int
harness_wait(struct harness *harness)
{
	int status;

	ck_assert_int_eq(waitpid(harness->pid, &status, 0), harness->pid);
	close_fd(&harness->pidfd);
	close_fd(&harness->socket);
	return status;
}

void
harness_stop(struct harness *harness)
{
	int status;

	close_fd(&harness->socket);
	status = harness_wait(harness);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

void
harness_deny(long number, unsigned arg, uint32_t value, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
		/* The low half of the argument, on a little-endian machine. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    (uint32_t)(offsetof(struct seccomp_data, args) + 8 * arg)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(98);
}

int
harness_memfd(uint64_t size_bytes)
{
	int fd = memfd_create("check", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size_bytes), 0);
	return fd;
}

uint64_t
harness_allocated(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}
