/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The bytes of a peer that may be hostile. Nothing here can be made to wait, to grow, or to end the daemon: a message is
 * peeked into a buffer of the request's bound, without room for fds (the kernel drops those and says so), and a rule that is
 * broken ends this session alone.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "host/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD	77		/* COMPAT(linux 6.5): glibc 2.36 does not name it */
#endif

#define RETRY_MS	10
#define GROUPS_MAX	65536
#define SENTENCE_SIZE	1024

/* A connection's requests in one turn of the loop: a pipelined HELLO and one more. */
#define TURN_REQUESTS	2

static void session_on_event(evutil_socket_t fd, short what, void *arg);

static void
session_end(struct session *session)
{
	session->host->on_end(session, session->host->arg);
	(void)session_free(session);
}

static short
session_events(const struct session *session)
{
	static const short events[] = {
		[SESSION_READING] = EV_READ | EV_PERSIST,
		/* Not for what it sends: the request that waits is still in the queue. Its end is heard all the same. */
		[SESSION_WAITING] = EV_CLOSED | EV_PERSIST,
		/* Edges: the socket is writable long before the peer has read what it was sent. */
		[SESSION_FULL] = EV_WRITE | EV_CLOSED | EV_PERSIST | EV_ET,
	};
	short what = events[session->mode];

	/* A level serves where no fd is awaited: it is writable again when three quarters of what it can hold were read. */
	return session->awaits_room ? (short)((what & ~EV_ET) | EV_WRITE) : what;
}

static int
session_hear(struct session *session)
{
	if (event_assign(&session->event, session->host->base, session->fd, session_events(session), session_on_event,
	    session) || event_add(&session->event, NULL)) {
		session->mode = SESSION_OFF;
		return -ENOMEM;
	}
	return 0;
}

static int
session_set_mode(struct session *session, enum session_mode mode)
{
	if (session->mode == mode)
		return 0;
	if (session->mode != SESSION_OFF)
		(void)event_del(&session->event);
	session->mode = mode;
	return mode == SESSION_OFF ? 0 : session_hear(session);
}

static int
session_send(struct session *session, const void *message, size_t size, const int *fds, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec io = { .iov_base = (void *)(uintptr_t)message, .iov_len = size };
	struct msghdr header = { .msg_iov = &io, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *rights;

		header.msg_control = control.buf;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(session->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? SESSION_E_FULL : -errno;
}

bool
session_may_send_fds(struct session *session)
{
	if (session->n_fds_in_flight && !flights_is_unread(session->fd))
		session->n_fds_in_flight = 0;
	return !session->n_fds_in_flight;
}

bool
session_has_room(const struct session *session)
{
	struct pollfd poll_fd = { .fd = session->fd, .events = POLLOUT };

	/* One that has hung up finds out when it is sent to. */
	return poll(&poll_fd, 1, 0) != 0;
}

int
session_push(struct session *session, const struct protocol_header *message)
{
	return session_send(session, message, message->size, NULL, 0);
}

int
session_reply(struct session *session, const struct protocol_header *request, struct protocol_header *reply,
    size_t size, uint16_t flags, const int *fds, unsigned n_fds)
{
	int r;

	*reply = (struct protocol_header) {
		.size = (uint32_t)size,
		.type = request->type,
		.flags = (uint16_t)(PROTOCOL_REPLY | flags),
		.serial = request->serial,
	};
	r = session_send(session, reply, size, fds, n_fds);
	if (r == 0) {
		session->status = 0;
		session->n_fds_in_flight += n_fds;
	}
	return r;
}

static int BASE_PRINTF(4, 0)
session_refuse_va(struct session *session, const struct protocol_header *about, int status, const char *format, va_list args)
{
	struct {
		struct protocol_header header;
		char text[SENTENCE_SIZE];
	} reply;
	int n = vsnprintf(reply.text, sizeof(reply.text), format, args);
	size_t len = n < 0 ? 0 : min_u64((uint64_t)n, sizeof(reply.text) - 1);
	int r;

	reply.text[len] = '\0';
	reply.header = (struct protocol_header) {
		.size = (uint32_t)(sizeof(reply.header) + len + 1),
		.type = about->type,
		.flags = PROTOCOL_REPLY,
		.serial = about->serial,
		.status = status,
		.row = about->row,
	};
	r = session_send(session, &reply, reply.header.size, NULL, 0);
	if (r == 0)
		session->status = status;
	return r;
}

int
session_refuse(struct session *session, const struct protocol_header *request, int status, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = session_refuse_va(session, request, status, format, args);
	va_end(args);
	return r;
}

/* Tells the peer why it is being disconnected, as well as can be. */
static void BASE_PRINTF(3, 4)
session_farewell(struct session *session, int status, const char *format, ...)
{
	static const struct protocol_header none = { 0 };
	va_list args;

	va_start(args, format);
	(void)session_refuse_va(session, &none, status, format, args);
	va_end(args);
}

static void
session_violated(struct session *session, const char *how)
{
	static struct log_limit limit = LOG_LIMIT(10);
	struct log_about about = {
		.client_pid = session->identity.pid,
		.has_client_uid = true,
		.client_uid = session->identity.uid,
	};

	session->host->n_violations++;
	if (log_allowed(&limit))
		log_write(MESSAGE_PROTOCOL, &about, "client %d of uid %u broke the protocol (%s) and was disconnected",
		    session->identity.pid, session->identity.uid, how);
	session_farewell(session, -EPROTO, "the protocol was broken: %s", how);
	session_end(session);
}

/* Peeks one message. 0: a whole one is in *ret_n. SESSION_E_VIOLATION; -EAGAIN: none; -EPIPE: the peer is gone. */
static int
session_peek(struct session *session, void *buf, size_t size, size_t *ret_n)
{
	struct iovec io = { .iov_base = buf, .iov_len = size };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
	ssize_t n;

	do
		n = recvmsg(session->fd, &message, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -EPIPE;
	if (n == 0)
		return -EPIPE;
	session->violation = NULL;
	if (message.msg_flags & MSG_CTRUNC)
		session->violation = "file descriptors were sent along";
	else if (message.msg_flags & MSG_TRUNC)
		session->violation = "the message is longer than any request";
	else if ((size_t)n < sizeof(struct protocol_header))
		session->violation = "the message is shorter than its header";
	else if (((const struct protocol_header *)buf)->size != (size_t)n)
		session->violation = "the message has not the size that its header says";
	if (session->violation)
		return SESSION_E_VIOLATION;
	*ret_n = (size_t)n;
	return 0;
}

static void
session_consume(struct session *session)
{
	(void)recv(session->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC);
}

static void
session_shut(int fd)
{
	(void)shutdown(fd, SHUT_RDWR);
	while (recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
}

void
session_hang_up(int *fd)
{
	if (*fd < 0)
		return;
	session_shut(*fd);
	close_fd(fd);
}

static int
session_retry_soon(struct session *session)
{
	static const struct timeval soon = { .tv_usec = RETRY_MS * 1000 };

	if (!event_initialized(&session->retry_event))
		return -ENOMEM;
	return evtimer_add(&session->retry_event, &soon) ? -ENOMEM : 0;
}

void
session_await_room(struct session *session, bool awaits_room)
{
	if (session->awaits_room == awaits_room)
		return;
	session->awaits_room = awaits_room;
	if (session->mode == SESSION_OFF)
		return;
	(void)event_del(&session->event);
	if (session_hear(session))
		(void)session_retry_soon(session);
}

/* One request from the queue. 0: it was consumed, and more may be handled; 1: nothing more now; the session may be freed. */
static int
session_serve_one(struct session *session)
{
	union {
		struct protocol_header header;
		uint64_t align;
		char bytes[PROTOCOL_REQUEST_MAX];
	} request;
	size_t n;
	int r;

	r = session_peek(session, &request, sizeof(request), &n);
	if (r == 0)
		r = session->host->dispatch(session, &request.header, session->host->arg);
	switch (r) {
	case 0:
		session->serial = request.header.serial;
		session->n_requests++;
		session->host->n_requests++;
		session_consume(session);
		r = session_set_mode(session, SESSION_READING);
		if (r == 0)
			return 0;
		break;
	case -EAGAIN:
	case SESSION_E_AGAIN:
		r = session_set_mode(session, SESSION_READING);
		break;
	case SESSION_E_WAIT:
		r = session_set_mode(session, SESSION_WAITING);
		break;
	case SESSION_E_FULL:
		r = session_set_mode(session, SESSION_FULL);
		break;
	case -ETOOMANYREFS:
		/* Too many fds of ours are in flight, because of others who do not read: no fault of this one's. */
		r = session_set_mode(session, SESSION_WAITING);
		if (r == 0)
			r = session_retry_soon(session);
		break;
	case SESSION_E_VIOLATION:
		session_violated(session, session->violation);
		return 1;
	default:
		break;
	}
	if (r)
		session_end(session);
	return 1;
}

static void
session_serve(struct session *session)
{
	for (int i = 0; i < TURN_REQUESTS; i++) {
		bool was_greeted = session->is_greeted;

		if (session_serve_one(session) || was_greeted)
			return;
	}
}

static void
session_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	if ((what & EV_CLOSED) && !(what & EV_READ)) {
		session_end(session);
		return;
	}
	if (what & EV_WRITE && session->awaits_room) {
		session_await_room(session, false);
		session->host->on_room(session, session->host->arg);
		if (!(what & EV_READ) && session->mode != SESSION_FULL)
			return;
	}
	session_serve(session);
}

static void
session_on_death(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	session->has_ended = true;
	session_end(session);
}

static int session_admit(struct session *session, bool is_last_word);

static void
session_on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct session *session = arg;

	if (session->charge.account)
		session_serve(session);
	else if (session_admit(session, true))
		(void)session_free(session);
}

/* What it waited for may have come: the request is looked at again from the loop, not from here. */
static void
session_on_wake(struct segment_waiter *waiter)
{
	struct session *session = BASE_CONTAINER_OF(waiter, struct session, waiter);

	if (session->mode == SESSION_WAITING && session_set_mode(session, SESSION_READING))
		(void)session_retry_soon(session);
}

static int
session_identify_groups(struct session *session)
{
	struct identity *identity = &session->identity;
	socklen_t size = 0;

	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE || size == 0)
		return 0;
	if (size > GROUPS_MAX * sizeof(gid_t))
		return -E2BIG;
	identity->groups = malloc(size);
	if (!identity->groups)
		return -ENOMEM;
	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERGROUPS, identity->groups, &size))
		return -errno;
	identity->n_groups = size / sizeof(gid_t);
	return 0;
}

/*
 * COMPAT(linux 6.5): without SO_PEERPIDFD the pid is looked up, and could be another process's by then. It is not while the
 * one that connected keeps the socket open: if that is so after the look-up, the pidfd is its. Who has passed the socket
 * on and died can still be mistaken for a stranger, whose death then ends the session early, and recovers the locks of
 * whoever has the socket now.
 */
static int
session_open_pidfd(int fd, pid_t pid)
{
	struct pollfd peer = { .fd = fd, .events = POLLRDHUP };
	int pidfd = -1;

	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0 && (poll(&peer, 1, 0) < 0 || peer.revents & (POLLHUP | POLLRDHUP)))
		close_fd(&pidfd);
	return pidfd;
}

bool
session_peer_has_ended(struct session *session)
{
	struct pollfd pidfd = { .fd = session->pidfd, .events = POLLIN };

	if (!session->has_ended)
		session->has_ended = session->pidfd >= 0 && poll(&pidfd, 1, 0) == 1;
	return session->has_ended;
}

/* A pid is not enough where it is 0: all whom their pid namespace hides have that one. */
bool
session_is_sibling(const struct session *session, const struct session *other)
{
	const struct identity *one = &session->identity, *another = &other->identity;

	if (one->uid != another->uid || one->pid != another->pid)
		return false;
	if (!one->process || !another->process)
		return one->pid != 0;
	return one->process == another->process;
}

static int
session_identify(struct session *session)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	session->identity = (struct identity) { .uid = peer.uid, .gid = peer.gid, .pid = peer.pid };
	size = sizeof(session->pidfd);
	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERPIDFD, &session->pidfd, &size)) {
		session->pidfd = -1;
		if (errno == ENOPROTOOPT)
			session->pidfd = session_open_pidfd(session->fd, peer.pid);
		else if (errno != EINVAL && errno != ENODATA && errno != ESRCH)
			return -errno;
	}
	session->identity.process = process_number(session->pidfd);
	return session_identify_groups(session);
}

static int
session_listen(struct session *session)
{
	struct event_base *base = session->host->base;

	if (session->pidfd >= 0) {
		if (event_assign(&session->pidfd_event, base, session->pidfd, EV_READ, session_on_death, session) ||
		    event_add(&session->pidfd_event, NULL))
			return -ENOMEM;
	}
	return session_set_mode(session, SESSION_READING);
}

/*
 * Charges the session and begins to serve it. A uid that has enough is asked once more in the next turn, unless this is the
 * last word: what it closed a moment ago is heard of by then. 0: it is served, or waits, or has ended already.
 */
static int
session_admit(struct session *session, bool is_last_word)
{
	static const struct timeval next_turn = { 0 };
	struct accounts *accounts = session->host->accounts;
	uint32_t uid = session->identity.uid;
	int r = accounts_charge(accounts, uid, ACCOUNTS_CLIENTS, 1, &session->charge);

	if (r == ACCOUNTS_E_LIMIT && !is_last_word)
		return evtimer_add(&session->retry_event, &next_turn) ? -ENOMEM : 0;
	if (r == ACCOUNTS_E_LIMIT)
		session_farewell(session, -EDQUOT,
		    "uid %u has %" PRIu64 " connections already, as many as limits.clients allows each uid; "
		    "close some, or have the administrator raise it", uid, accounts->limits[ACCOUNTS_CLIENTS]);
	if (r == 0)
		r = session_listen(session);
	if (r)
		return r;
	session_write_row(session);
	if (session->host->keeps)
		session_box(session);
	/* What it said right after connecting is here already, most often. The session may end in it. */
	session_serve(session);
	return 0;
}

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
	char text[SENTENCE_SIZE];

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

/* One that is nowhere yet; consumes fd. NULL when memory is short. */
static struct session *
session_make(struct session_host *host, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session) {
		(void)close(fd);
		return NULL;
	}
	session->host = host;
	session->fd = fd;
	session->pidfd = -1;
	session->upload = (struct parse_upload) PARSE_UPLOAD_NULL;
	session->since_ns = clock_realtime_ns();
	session->waiter.wake = session_on_wake;
	LIST_INIT(&session->attachments);
	TAILQ_INIT(&session->ends);
	TAILQ_INSERT_TAIL(&host->sessions, session, entry);
	host->n_sessions++;
	return session;
}

int
session_new(struct session_host *host, int fd)
{
	struct session *session = session_make(host, fd);
	int r;

	if (!session)
		return -ENOMEM;
	session->id = ++host->last_id;
	r = session_identify(session);
	if (r == 0 && evtimer_assign(&session->retry_event, host->base, session_on_retry, session))
		r = -ENOMEM;
	/* It was accepted with the last descriptor, and has none for its pidfd. */
	if (r == -EMFILE || r == -ENFILE)
		session_farewell(session, -ENFILE, "%s", SESSION_OUT_OF_FDS);
	if (r == 0)
		r = session_admit(session, false);
	if (r)
		(void)session_free(session);
	return r;
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
	session->has_ended = true;
	identity->process = process;
	close_fd(&session->pidfd);
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
	session->redone_serial = past->doing_serial;
	session->is_greeted = past->is_greeted;
	host->last_id = max_u64(host->last_id, past->id);
	/* How many it has not read is not known, and no matter: whether there are any is. */
	session->n_fds_in_flight = flights_is_unread(fd) ? PROTOCOL_FDS_MAX : 0;
	r = session_identify(session);
	if (r == 0)
		session_compare_process(session, past->process);
	if (r == 0 && evtimer_assign(&session->retry_event, host->base, session_on_retry, session))
		r = -ENOMEM;
	if (r == 0)
		r = accounts_charge_again(host->accounts, session->identity.uid, ACCOUNTS_CLIENTS, 1, &session->charge);
	if (r) {
		(void)session_free(session);
		return r;
	}
	session_write_row(session);
	*ret_session = session;
	return 0;
}

void
session_box(struct session *session)
{
	static struct log_limit limit = LOG_LIMIT(10);
	const struct box_label label = { .kind = BOX_SESSION, .id = session->id };
	int r = box_put(session->host->box, &label, session->fd);

	/* Where there is no store, that was told once. */
	if (r && r != -ENOENT && log_allowed(&limit))
		log_write(MESSAGE_UNSAVED, NULL, "connections do not outlive this process, if it is killed before the next attempt: the "
		    "service manager cannot keep them: %s", strerror(-r));
}

void
session_resume(struct session *session)
{
	if (session->has_ended || session_listen(session))
		session_end(session);
}

struct session *
session_free(struct session *session)
{
	struct session_host *host;

	if (!session)
		return NULL;
	host = session->host;
	segment_waiter_cancel(&session->waiter);
	(void)session_set_mode(session, SESSION_OFF);
	if (event_initialized(&session->pidfd_event))
		(void)event_del(&session->pidfd_event);
	if (event_initialized(&session->retry_event))
		(void)event_del(&session->retry_event);
	if (session->fd >= 0 && !session_may_send_fds(session)) {
		session_shut(session->fd);
		flights_add(&host->flights, &session->fd, session->identity.uid, session->n_fds_in_flight);
	}
	if (session->fd < 0 || !session->has_ended || !burials_add(&host->burials, &session->fd, &session->pidfd)) {
		session_hang_up(&session->fd);
		close_fd(&session->pidfd);
	}
	ledger_drop(host->ledger, &session->row);
	TAILQ_REMOVE(&host->sessions, session, entry);
	host->n_sessions--;
	box_dead(host->box, false);
	identity_deinit(&session->identity);
	charge_deinit(&session->charge);
	free(session);
	return NULL;
}
