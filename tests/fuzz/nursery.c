/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/worker/job.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/nursery.h"

#define FDS_MAX		200	/* that a worker has from the beginning: the first is its standard input */
#define FDS_LOOKED_AT	512	/* numbers of descriptors that are asked for what exec would leave open */

union fds_control {
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

static int nursery_fd = -1, input_fd = -1;
static _Atomic pid_t *born;	/* in memory of all three: whom the one in the middle has made */

/* In the worker: nobody is its parent for good until the one in the middle has gone, and it asks who that is. */
_Noreturn static void
live(const int *fds, int go)
{
	char byte;

	fuzz_check(read(go, &byte, 1) == 1);
	(void)close(go);
	fuzz_check(dup2(fds[0], STDIN_FILENO) == STDIN_FILENO);
	(void)close(fds[0]);
	/* Not exit(3): a sanitizer's search for leaks takes longer than the jobs of a worker. */
	_exit(worker_main());
}

/* An orphan of ours is the child of whoever said that it takes orphans, which is the daemon's process. */
static void
bear(int own, const int *fds, unsigned n)
{
	pid_t pid = 0, middle;
	int go[2];

	fuzz_check(pipe2(go, O_CLOEXEC) == 0);
	middle = fork();
	if (middle == 0) {
		pid = fork();
		if (pid == 0) {
			(void)close(own);
			(void)close(go[1]);
			live(fds, go[0]);
		}
		atomic_store(born, pid);
		_exit(0);
	}
	while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	pid = middle > 0 ? atomic_load(born) : -1;
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
	(void)!write(own, &pid, sizeof(pid));
	(void)!write(go[1], "", 1);
	(void)close(go[0]);
	(void)close(go[1]);
}

_Noreturn static void
serve(int own, pid_t whose, void (*sweep)(pid_t))
{
	union fds_control control;
	int fds[FDS_MAX];
	char byte;

	for (;;) {
		struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
		};
		const struct cmsghdr *cmsg;
		ssize_t n_read;
		unsigned n;

		do
			n_read = recvmsg(own, &message, 0);
		while (n_read < 0 && errno == EINTR);
		if (n_read <= 0) {
			sweep(whose);
			_exit(0);
		}
		cmsg = CMSG_FIRSTHDR(&message);
		fuzz_check(cmsg && cmsg->cmsg_type == SCM_RIGHTS);
		n = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), n * sizeof(int));
		bear(own, fds, n);
	}
}

void
nursery_open(void (*sweep)(pid_t))
{
	pid_t own = getpid(), pid;
	int pair[2];

	born = mmap(NULL, sizeof(*born), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fuzz_check(born != MAP_FAILED);
	fuzz_check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	pid = fork();
	fuzz_check(pid >= 0);
	if (pid == 0) {
		(void)close(pair[0]);
		serve(pair[1], own, sweep);
	}
	(void)close(pair[1]);
	nursery_fd = pair[0];
}

/* In the places of the C library's */

int
posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int from, int to)
{
	fuzz_check(to == STDIN_FILENO);
	input_fd = from;
	return 0;
}

int
posix_spawn(pid_t *restrict ret_pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
    const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
	union fds_control control = { 0 };
	struct iovec iov = { .iov_base = (char []) { 0 }, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	int fds[FDS_MAX] = { input_fd };
	unsigned n = 1;
	pid_t pid;
	ssize_t n_sent, n_read;

	fuzz_check(streq(argv[0], JOB_ARGV0) && nursery_fd >= 0);
	for (int fd = STDERR_FILENO + 1; fd < FDS_LOOKED_AT && n < FDS_MAX; fd++)
		if (fcntl(fd, F_GETFD) == 0)
			fds[n++] = fd;
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	message.msg_controllen = CMSG_SPACE(n * sizeof(int));
	/* libFuzzer looks at the time by a signal. */
	do
		n_sent = sendmsg(nursery_fd, &message, MSG_NOSIGNAL);
	while (n_sent < 0 && errno == EINTR);
	if (n_sent != 1)
		return errno;
	do
		n_read = read(nursery_fd, &pid, sizeof(pid));
	while (n_read < 0 && errno == EINTR);
	fuzz_check(n_read == sizeof(pid));
	if (pid <= 0)
		return EAGAIN;
	*ret_pid = pid;
	return 0;
}
