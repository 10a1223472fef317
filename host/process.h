/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the host says of a process. Reads only; a pid is a number to print or to ask by, never an identity. */
#ifndef HOST_PROCESS_H
#define HOST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* The command's name (/proc/PID/comm) with control characters replaced; "" when there is none. */
void process_command(pid_t pid, char *buf, size_t size);

/* Its cgroup, and the container that it runs in by that, as host/container.h has both; "" where there is none, or nobody says. */
void process_cgroup(pid_t pid, char *cgroup, size_t cgroup_size, char *container, size_t container_size);

enum process_thread {
	PROCESS_THREAD_GONE,		/* no thread of our pid namespace has this id */
	PROCESS_THREAD_ENDED,		/* one has it that will never run again: it waits to be reaped */
	PROCESS_THREAD_LIVES		/* or it cannot be told */
};

/*
 * Whether a thread, or a process, with this id exists in our own pid namespace. What is gone may come again as another
 * thread; what lives may be another than the one that was meant.
 */
enum process_thread process_tid_state(pid_t tid);

/* Whether a process runs, or lacks nothing but a CPU. False also where that cannot be told. */
bool process_is_runnable(pid_t pid);

/* Whether it waits in the kernel for what no signal ends. False also where that cannot be told. */
bool process_is_in_kernel(pid_t pid);

/* Whether as many threads of the host as it has CPUs, or more, want one besides the caller (proc_loadavg(5)); false: not, or not told. */
bool process_cpus_are_short(void);

/* The CPU time that a process has used, all its threads together; 0 where that cannot be told. */
uint64_t process_cpu_ns(pid_t pid);

/*
 * The number of a pidfd's process, that no other process has until the host restarts. COMPAT(linux 6.9): 0, where the kernel has
 * none.
 */
uint64_t process_number(int pidfd);
/* A pidfd of the process that has this pid now, if it is the one with that number, which is not 0, and has not ended; or -1. */
int process_open(pid_t pid, uint64_t number);
/*
 * Whether the process that has this pid now is the one with that number, which is not 0, and has not ended. One that there is no
 * descriptor or memory to look at may live: so it is said to.
 */
bool process_lives(pid_t pid, uint64_t number);

/* The inode of our own pid namespace; 0: not known. */
uint64_t process_own_pid_namespace(void);

/* Who has a file locked by flock(2), below another root ("" but for tests); 0: nobody, or the kernel does not say. */
pid_t process_lock_holder(const char *root, const struct stat *st);

enum process_namespace {
	PROCESS_NAMESPACE_OURS,		/* its thread ids mean to us what they mean to it */
	PROCESS_NAMESPACE_NESTED,
	PROCESS_NAMESPACE_UNKNOWN
};

/*
 * Which pid namespace a process (by its id in ours) lives in: an enum process_namespace, or a negative errno where memory or
 * descriptors were short to ask. Its id must not have been given to another meanwhile: who holds its pidfd looks afterwards whether
 * it had ended.
 */
int process_pid_namespace(pid_t pid);

#endif
