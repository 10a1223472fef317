/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A session that outlives its daemon: what is written of it, what lies in the box, and how a successor makes it of both. Requests
 * and replies stay in the socket's queues meanwhile, which are the same.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/session_parts.h"

#define REASON_SIZE	1024
#define PENDING_MAX	64		/* requests of a queue that are looked at ahead of their time */

static int
session_enter_row(struct session *session)
{
	struct ledger_session body = {
		.id = session->id,
		.process = session->identity.process,
		.since_ns = session->since_ns,
		.serial = session->serial,
		.n_requests = session->n_requests,
		.doing_serial = session->doing_serial,
		.watched_session = session->watched_session,
		.uid = session->identity.uid,
		.gid = session->identity.gid,
		.pid = session->identity.pid,
		.status = session->status,
		.flags = (session->is_greeted ? LEDGER_SESSION_GREETED : 0) |
		    (session->subscription ? LEDGER_SESSION_SUBSCRIBED : 0) |
		    (session->sees_all ? LEDGER_SESSION_SUBSCRIBED_ALL : 0),
	};
	struct stat st;

	if (fstat(session->fd, &st) == 0)
		body.socket_inode = st.st_ino;
	return ledger_put_session(session->host->ledger, &session->row, &body);
}

void
session_write_row(struct session *session)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct identity *identity = &session->identity;
	const struct ledger *ledger = session->host->ledger;
	char text[REASON_SIZE];

	if (!ledger || session_enter_row(session) == 0 || !log_allowed(&limit))
		return;
	log_write(MESSAGE_UNSAVED, &(struct log_about) { .client_pid = identity->pid, .has_client_uid = true,
	    .client_uid = identity->uid }, "the connection of pid %d of uid %u is served, but would not survive a restart: %s",
	    identity->pid, identity->uid, ledger_describe_error(ledger, text, sizeof(text)));
}

void
session_set_doing(struct session *session, uint64_t serial)
{
	if (session->doing_serial == serial)
		return;
	session->doing_serial = serial;
	session_write_row(session);
}

static bool
is_socket_of(int fd, const struct session_past *past)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && (!past->socket_inode || st.st_ino == past->socket_inode);
}

/*
 * Who died while there was no daemon, and left the connection to somebody, has no process any more that the kernel would name; or
 * another has its pid by now.
 */
static void
session_compare_process(struct session *session, uint64_t process)
{
	struct identity *identity = &session->identity;

	if (!process || identity->process == process)
		return;
	identity->process = process;
	close_fd(&session->pidfd);
	/* Always readable, as the pidfd of one that has ended is. */
	session->pidfd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	session->has_ended = session->pidfd < 0;
}

int
session_revive(struct session_host *host, const struct session_past *past, int fd, struct session **ret_session)
{
	struct session *session;
	int r;

	if (!is_socket_of(fd, past)) {
		(void)close(fd);
		return -ESTALE;
	}
	session = session_make(host, fd);
	if (!session)
		return -ENOMEM;
	session->id = past->id;
	session->since_ns = past->since_ns;
	session->n_requests = past->n_requests;
	session->serial = past->serial;
	session->status = past->status;
	session->doing_serial = session->redone_serial = past->doing_serial;
	session->is_greeted = past->is_greeted;
	host->last_id = max_u64(host->last_id, past->id);
	/* How many it has not read is not known: whether there are any is. Charged as the most they may be they would leave others none. */
	session->n_fds_in_flight = flights_is_unread(fd) ? PROTOCOL_ATTACH_FDS : 0;
	r = session_identify(session);
	if (r == 0)
		session_compare_process(session, past->process);
	if (r == 0)
		r = session_charge_again(session);
	if (r) {
		/* The next start may have what this one lacks: its peer is to notice nothing, and is not hung up. */
		if (error_is_passing(-r))
			close_fd(&session->fd);
		(void)session_free(session);
		return r;
	}
	session_write_row(session);
	*ret_session = session;
	return 0;
}

uint64_t
session_pending_serial(const struct session *session)
{
	struct protocol_header header;
	struct iovec io = { .iov_base = &header, .iov_len = sizeof(header) };
	ssize_t n = session_receive(session->fd, &(struct msghdr) { .msg_iov = &io, .msg_iovlen = 1 }, MSG_PEEK);

	return n == (ssize_t)sizeof(header) ? header.serial : 0;
}

bool
session_has_pending_detach(const struct session *session, uint32_t attachment, uint64_t generation)
{
	struct protocol_detach detach;
	struct iovec io = { .iov_base = &detach, .iov_len = sizeof(detach) };
	bool is_found = false;
	int offset = 0, off = -1;

	for (int i = 0; i < PENDING_MAX && !is_found; i++) {
		ssize_t n;

		if (setsockopt(session->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)))
			break;
		/* Its whole length, however much of it is taken. */
		n = session_receive(session->fd, &(struct msghdr) { .msg_iov = &io, .msg_iovlen = 1 }, MSG_PEEK | MSG_TRUNC);
		if (n <= 0)
			break;
		offset += (int)n;
		is_found = n == (ssize_t)sizeof(detach) && detach.header.type == PROTOCOL_DETACH &&
		    detach.attachment == attachment && detach.generation == generation;
	}
	(void)setsockopt(session->fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	return is_found;
}

void
session_take_answered(struct session *session, uint64_t serial)
{
	if (session->answered_serial == serial)
		return;
	session->answered_serial = serial;
	session_consume(session);
}

void
session_box(struct session *session)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct box_label label = { .kind = BOX_SESSION, .id = session->id };
	int r = box_put(session->host->box, &label, session->fd);

	session->is_boxed |= r == 0;
	/* Where there is no store, that was told once. */
	if (r && r != -ENOENT && log_allowed(&limit))
		log_write(MESSAGE_UNSAVED, NULL, "connections do not outlive this process, if it is killed before the next attempt: the "
		    "service manager cannot keep them: %s", strerror(-r));
}
