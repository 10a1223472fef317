/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The next message is peeked at, and taken only if it is a cancel; a daemon that has hung up has no use for the job either. */
#include "config.h"

#include <sys/socket.h>

#include "base/base.h"
#include "daemon/worker/cancel.h"
#include "daemon/worker/job.h"

static struct {
	int socket;
	uint64_t id;
	bool is_asked;
} now = { .socket = -1 };

void
cancel_begin(int socket, uint64_t id)
{
	now.socket = socket;
	now.id = id;
	now.is_asked = false;
}

bool
cancel_asked(void)
{
	struct job job;
	ssize_t n;

	if (now.is_asked || now.socket < 0)
		return now.is_asked;
	do
		n = recv(now.socket, &job, sizeof(job), MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		now.is_asked = true;
	} else if (n == (ssize_t)sizeof(job) && job.kind == JOB_CANCEL) {
		(void)recv(now.socket, &job, sizeof(job), MSG_DONTWAIT);
		now.is_asked = job.id == now.id;
	}
	return now.is_asked;
}
