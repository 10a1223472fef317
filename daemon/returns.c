/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/returns.h"
#include "daemon/session.h"

#define WORKERS_AT_ONCE		4
#define PATIENCE_SECONDS	2	/* of what takes no time at all, unless somebody means it to */

static void
returning_free(struct returning *returning)
{
	LIST_REMOVE(returning, entry);
	close_fd(&returning->socket_fd);
	/* Of memory: it is closed at once. */
	close_fd(&returning->fd);
	free(returning);
}

static void
returning_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct returning *returning = BASE_CONTAINER_OF(job, struct returning, job);
	const struct job_result *result = outcome->result;

	if (!returning->session) {
		returning_free(returning);
		return;
	}
	returning->is_done = true;
	returning->status = result ? result->status : -EBADF;
	if (result && result->status == 0) {
		returning->fd = *outcome->fd;
		*outcome->fd = -1;
	} else {
		(void)snprintf(returning->text, sizeof(returning->text), "%s", result ? result->text :
		    "whoever looked at its descriptor came to no end, or was killed");
	}
	returning->session->waiter.wake(&returning->session->waiter);
}

void
returns_init(struct returns *returns, struct event_base *base)
{
	workers_init(&returns->workers, base, WORKERS_AT_ONCE);
	LIST_INIT(&returns->list);
}

void
returns_deinit(struct returns *returns)
{
	struct returning *returning;

	/* It was never initialised. */
	if (!returns->workers.base)
		return;
	workers_deinit(&returns->workers);
	while ((returning = LIST_FIRST(&returns->list)))
		returning_free(returning);
}

int
returns_receive(struct returns *returns, struct session *session, uint64_t serial)
{
	struct returning *returning;
	int r;

	returns_forget(session);
	returning = malloc(sizeof(*returning));
	if (!returning)
		return -ENOMEM;
	*returning = (struct returning) { .session = session, .serial = serial, .fd = -1 };
	/* The session may end, and its number be another's, while the worker is at it. */
	returning->socket_fd = fcntl(session->fd, F_DUPFD_CLOEXEC, 3);
	if (returning->socket_fd < 0) {
		r = -errno;
		free(returning);
		return r;
	}
	returning->job = (struct workers_job) {
		.job = { .kind = JOB_RECEIVE },
		.fd = returning->socket_fd,
		.control_fd = -1,
		.third_fd = -1,
		.patience_seconds = PATIENCE_SECONDS,
		.done = returning_done,
	};
	LIST_INSERT_HEAD(&returns->list, returning, entry);
	session->returning = returning;
	workers_submit(&returns->workers, &returning->job, false);
	return 0;
}

void
returns_forget(struct session *session)
{
	struct returning *returning = take_ptr(session->returning);

	if (!returning)
		return;
	returning->session = NULL;
	if (returning->is_done || workers_cancel(&returning->job))
		returning_free(returning);
}
