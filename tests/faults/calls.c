/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The table of system calls: see calls.h. What stands in neither of them fails with EIO, so that it is noticed. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "tests/faults/calls.h"

struct row {
	long number;
	const char *name;
	int errors[CALLS_VARIANTS];
	bool is_done;
	bool (*counts)(const uint64_t *args);	/* NULL: always */
	int otherwise;			/* what it has then, in the first variant; 0: nothing */
};

/* The others ask for, or change, what is there: they cannot fail. */
static bool
is_lock_or_duplicate(const uint64_t *args)
{
	int command = (int)args[1];

	if (command == F_SETLEASE)
		return args[2] != F_UNLCK;
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_OFD_SETLK || command == F_OFD_GETLK ||
	    command == F_SETLK || command == F_GETLK || command == F_ADD_SEALS;
}

/* Nobody waits for room who changes or takes away what is in there. */
static bool
is_addition(const uint64_t *args)
{
	return args[1] == EPOLL_CTL_ADD;
}

static bool
is_wait(const uint64_t *args)
{
	int command = (int)args[1] & FUTEX_CMD_MASK;

	return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
}

/* Of what is one's own these fail only if it is gone. */
static bool
changes_memory(const uint64_t *args)
{
	return args[1] != IPC_RMID;
}

/* By who only looks for a key it is refused by a security module alone. */
static bool
makes_memory(const uint64_t *args)
{
	return args[2] & IPC_CREAT;
}

/* A byte that wakes its own writer, as libevent's signal handler sends: the kernel refuses it only where there is one already. */
static bool
is_no_wakeup(const uint64_t *args)
{
	return args[2] > 1;
}

/* PR_SET_NAME and the like cannot; what raises or gives up rights can be forbidden. */
static bool
is_option(const uint64_t *args)
{
	return args[0] > 22;
}

/* Of a descriptor it is fstat(2). */
static bool
is_path(const uint64_t *args)
{
	return !(args[3] & AT_EMPTY_PATH);
}

static const struct row rows[] = {
	{ SYS_accept4, "accept4", { EMFILE, ECONNABORTED, ENOBUFS } },
	{ SYS_bind, "bind", { EADDRINUSE, ENOSPC } },
	{ SYS_capget, "capget", { EPERM } },
	{ SYS_capset, "capset", { EPERM } },
	{ SYS_clone, "clone", { EAGAIN, ENOMEM } },
	{ SYS_clone3, "clone3", { EAGAIN, ENOMEM } },
	{ SYS_clock_nanosleep, "clock_nanosleep", { EINTR } },
	{ SYS_close, "close", { EIO, EINTR }, .is_done = true },
	{ SYS_connect, "connect", { EAGAIN, ECONNREFUSED, EINTR } },
	{ SYS_copy_file_range, "copy_file_range", { ENOSPC, EIO, EINTR } },
	{ SYS_dup3, "dup3", { EMFILE, EINTR } },
	{ SYS_epoll_create1, "epoll_create1", { EMFILE, ENOMEM } },
	{ SYS_epoll_ctl, "epoll_ctl", { ENOMEM, ENOSPC }, .counts = is_addition },
	{ SYS_epoll_pwait, "epoll_pwait", { EINTR } },
	{ SYS_eventfd2, "eventfd2", { EMFILE, ENOMEM } },
	{ SYS_execve, "execve", { ENOMEM, ETXTBSY } },
	{ SYS_faccessat, "faccessat", { ENOMEM } },
	{ SYS_faccessat2, "faccessat2", { ENOMEM } },
	{ SYS_fallocate, "fallocate", { ENOSPC, EINTR, EOPNOTSUPP } },
	{ SYS_fchmod, "fchmod", { EPERM, EIO } },
	{ SYS_fchown, "fchown", { EPERM } },
	{ SYS_fcntl, "fcntl", { EMFILE, EAGAIN, ENOMEM }, .counts = is_lock_or_duplicate },
	{ SYS_fdatasync, "fdatasync", { EIO, ENOSPC, EINTR } },
	{ SYS_fgetxattr, "fgetxattr", { EOPNOTSUPP, ENOMEM } },
	{ SYS_flock, "flock", { EWOULDBLOCK, ENOLCK, EINTR } },
	{ SYS_fremovexattr, "fremovexattr", { EOPNOTSUPP, ENOSPC } },
	{ SYS_fsetxattr, "fsetxattr", { EOPNOTSUPP, ENOSPC, ENOMEM } },
	{ SYS_fstat, "fstat", { EIO } },
	{ SYS_fstatfs, "fstatfs", { EIO } },
	{ SYS_fsync, "fsync", { EIO, ENOSPC, EINTR } },
	{ SYS_ftruncate, "ftruncate", { ENOSPC, EINTR, EFBIG } },
	{ SYS_futex, "futex", { EINTR, EAGAIN }, .counts = is_wait },
	{ 449, "futex_waitv", { EINTR, EAGAIN, ENOSYS } },
	{ SYS_get_mempolicy, "get_mempolicy", { ENOSYS, ENOMEM } },
	{ SYS_get_robust_list, "get_robust_list", { EPERM, ENOSYS } },
	{ SYS_getdents64, "getdents64", { ENOMEM, EIO } },
	{ SYS_getpeername, "getpeername", { ENOBUFS } },
	{ SYS_getrandom, "getrandom", { EAGAIN, EINTR } },
	{ SYS_getsockname, "getsockname", { ENOBUFS } },
	{ SYS_getsockopt, "getsockopt", { ENOMEM, ESRCH } },
	{ SYS_inotify_add_watch, "inotify_add_watch", { ENOSPC, ENOMEM } },
	{ SYS_inotify_init1, "inotify_init1", { EMFILE, ENOMEM } },
	{ SYS_inotify_rm_watch, "inotify_rm_watch", { EINVAL } },
	{ SYS_ioctl, "ioctl", { ENOTTY, EIO } },
	{ SYS_linkat, "linkat", { ENOSPC, ENOENT, EEXIST } },
	{ SYS_listen, "listen", { EADDRINUSE } },
	{ SYS_lseek, "lseek", { EIO } },
	{ SYS_madvise, "madvise", { ENOMEM, EAGAIN, EBUSY } },
	{ SYS_mbind, "mbind", { ENOMEM, EIO, EPERM } },
	{ SYS_memfd_create, "memfd_create", { EMFILE, ENOMEM } },
	{ SYS_mincore, "mincore", { EAGAIN, ENOMEM } },
	{ SYS_mkdirat, "mkdirat", { ENOSPC, EROFS } },
	{ SYS_mlock, "mlock", { ENOMEM, EAGAIN, EPERM } },
	{ SYS_mlock2, "mlock2", { ENOMEM, EAGAIN, EPERM } },
	{ SYS_mmap, "mmap", { ENOMEM, EAGAIN } },
	{ SYS_move_pages, "move_pages", { ENOMEM, EPERM } },
	{ SYS_mprotect, "mprotect", { ENOMEM } },
	{ SYS_mremap, "mremap", { ENOMEM } },
	{ SYS_msync, "msync", { EIO, ENOMEM } },
	{ SYS_nanosleep, "nanosleep", { EINTR } },
	{ SYS_newfstatat, "newfstatat", { ENOMEM, EACCES }, .counts = is_path, .otherwise = EIO },
	{ SYS_openat, "openat", { EMFILE, ENOMEM, EACCES } },
	{ SYS_openat2, "openat2", { EMFILE, ENOMEM, EAGAIN } },
	{ SYS_pidfd_open, "pidfd_open", { EMFILE, ESRCH } },
	{ SYS_pidfd_send_signal, "pidfd_send_signal", { ESRCH } },
	{ SYS_pipe2, "pipe2", { EMFILE } },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
	{ SYS_prctl, "prctl", { EPERM }, .counts = is_option },
	{ SYS_pread64, "pread64", { EIO, EINTR } },
	{ SYS_prlimit64, "prlimit64", { EPERM } },
	{ SYS_process_vm_readv, "process_vm_readv", { EFAULT, ENOMEM, EPERM } },
	{ SYS_process_vm_writev, "process_vm_writev", { EFAULT, ENOMEM, EPERM } },
	{ SYS_pwrite64, "pwrite64", { ENOSPC, EIO, EINTR } },
	{ SYS_read, "read", { EIO, EINTR, EAGAIN } },
	{ SYS_readlinkat, "readlinkat", { ENOMEM, EACCES } },
	{ SYS_recvfrom, "recvfrom", { EINTR, ENOMEM, ECONNRESET } },
	{ SYS_recvmsg, "recvmsg", { EINTR, ENOMEM, ECONNRESET } },
	{ SYS_renameat, "renameat", { ENOSPC, EIO } },
	{ SYS_renameat2, "renameat2", { ENOSPC, EIO } },
	{ SYS_sched_getaffinity, "sched_getaffinity", { EINVAL } },
	{ SYS_sched_getattr, "sched_getattr", { EPERM } },
	{ SYS_sched_setattr, "sched_setattr", { EPERM } },
	{ SYS_sendfile, "sendfile", { ENOSPC, EIO, EINTR } },
	{ SYS_sendmsg, "sendmsg", { EAGAIN, ENOBUFS, ETOOMANYREFS } },
	{ SYS_sendto, "sendto", { EAGAIN, ENOBUFS, ENOMEM } },
	{ SYS_set_mempolicy, "set_mempolicy", { ENOMEM, EPERM } },
	{ SYS_setpriority, "setpriority", { EACCES } },
	{ SYS_setsockopt, "setsockopt", { ENOMEM, EPERM } },
	{ SYS_shmat, "shmat", { ENOMEM, EMFILE, EACCES } },
	{ SYS_shmctl, "shmctl", { EPERM, EIDRM }, .counts = changes_memory },
	{ SYS_shmget, "shmget", { ENOSPC, ENOMEM, EEXIST }, .counts = makes_memory, .otherwise = EACCES },
	{ SYS_shutdown, "shutdown", { ENOTCONN }, .is_done = true },
	{ SYS_signalfd4, "signalfd4", { EMFILE, ENOMEM } },
	{ SYS_socket, "socket", { EMFILE, ENOBUFS } },
	{ SYS_socketpair, "socketpair", { EMFILE, ENOBUFS } },
	{ SYS_statfs, "statfs", { ENOMEM, EIO } },
	{ SYS_statx, "statx", { ENOMEM, EACCES } },
	{ SYS_sync_file_range, "sync_file_range", { EIO, ENOSPC } },
	{ SYS_tgkill, "tgkill", { EPERM } },
	{ SYS_timerfd_create, "timerfd_create", { EMFILE, ENOMEM } },
	{ SYS_unlinkat, "unlinkat", { EIO, EACCES } },
	{ SYS_wait4, "wait4", { EINTR } },
	{ SYS_waitid, "waitid", { EINTR } },
	{ SYS_write, "write", { ENOSPC, EIO, EINTR }, .counts = is_no_wakeup },
	{ SYS_writev, "writev", { ENOSPC, EIO, EINTR } },
#ifdef SYS_open
	/* Those that other machines have no more. */
	{ SYS_access, "access", { ENOMEM } },
	{ SYS_chmod, "chmod", { EPERM, EIO } },
	{ SYS_dup2, "dup2", { EMFILE, EINTR } },
	{ SYS_epoll_wait, "epoll_wait", { EINTR } },
	{ SYS_fork, "fork", { EAGAIN, ENOMEM } },
	{ SYS_link, "link", { ENOSPC, ENOENT, EEXIST } },
	{ SYS_lstat, "lstat", { ENOMEM, EACCES } },
	{ SYS_mkdir, "mkdir", { ENOSPC, EROFS } },
	{ SYS_open, "open", { EMFILE, ENOMEM, EACCES } },
	{ SYS_pipe, "pipe", { EMFILE } },
	{ SYS_poll, "poll", { EINTR, ENOMEM } },
	{ SYS_readlink, "readlink", { ENOMEM, EACCES } },
	{ SYS_rename, "rename", { ENOSPC, EIO } },
	{ SYS_stat, "stat", { ENOMEM, EACCES } },
	{ SYS_unlink, "unlink", { EIO, EACCES } },
	{ SYS_vfork, "vfork", { EAGAIN, ENOMEM } },
#endif
};

/*
 * Those that cannot fail, or whose failure is no more than wrong arguments. munmap(2) and shmdt(2) of what was mapped whole cannot;
 * brk(2) is the allocator's, and so among the allocations. kill(2) is for one's own child.
 */
static const long left_out[] = {
	SYS_brk, SYS_munmap, SYS_munlock, SYS_shmdt, SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid,
	SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getpgid, SYS_getsid, SYS_clock_gettime, SYS_gettimeofday, SYS_times, SYS_getrusage,
	SYS_uname, SYS_sysinfo, SYS_umask, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_getcpu,
	SYS_sched_yield, SYS_timerfd_settime, SYS_kill, SYS_close_range, SYS_getpriority, SYS_getxattr,
#ifdef SYS_arch_prctl
	SYS_arch_prctl,
#endif
};

struct calls_fault
calls_judge(uint64_t number, const uint64_t *args, unsigned variant)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(left_out); i++)
		if ((uint64_t)left_out[i] == number)
			return (struct calls_fault) { .error = 0 };
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if ((uint64_t)row->number == number)
			return (struct calls_fault) { .name = row->name, .is_done = row->is_done,
			    .error = !row->counts || row->counts(args) ? row->errors[variant] : variant ? 0 : row->otherwise };
	}
	return (struct calls_fault) { .name = "one of no row", .error = variant == 0 ? EIO : 0 };
}
