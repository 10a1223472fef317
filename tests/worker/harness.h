/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Real workers for the tests: forked, given jobs, waited for. Failures end the test. */
#ifndef TESTS_WORKER_HARNESS_H
#define TESTS_WORKER_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/worker/job.h"

#define HARNESS_FDS_MAX	32		/* with one message */

struct harness {
	pid_t pid;
	int pidfd;
	int socket;
};

/* Runs in the worker before it begins. */
typedef void (*harness_before_fn)(const void *arg);

void harness_start(struct harness *harness, harness_before_fn before, const void *arg);

/* Sends a message as it is, with n_fds descriptors. */
void harness_send(struct harness *harness, const void *message, size_t size, const int *fds, size_t n_fds);

/* Waits for a result. False: the worker ended instead. */
bool harness_receive(struct harness *harness, struct job_result *ret_result);

/* One job and its result, which must come and carry the job's id. */
struct job_result harness_job(struct harness *harness, enum job_kind kind, enum job_pages pages, int fd,
    uint64_t offset_bytes, uint64_t length_bytes, uint64_t reserve_bytes);

/* Waits until the worker ended; its status as waitpid says. */
int harness_wait(struct harness *harness);

/* Closes the worker's socket and asserts that it ends well. */
void harness_stop(struct harness *harness);

/* Makes one system call fail in this process, where the value of its argument arg is as given. */
void harness_deny(long number, unsigned arg, uint32_t value, int error);

/* A memfd of size_bytes. */
int harness_memfd(uint64_t size_bytes);
/* Bytes of an object that have pages. */
uint64_t harness_allocated(int fd);

#endif
