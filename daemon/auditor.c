/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One message a turn of the loop is read, and each is looked at whole before a row of it is handed on. A connection that had been
 * idle may end as it is asked: then another one is. When what listens at the socket ends before it has answered anything, a
 * process of ours is asked (auditor_child.c). A connection that is of no use any more is hung up on.
 */
#include "config.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/auditor.h"
#include "daemon/timer.h"

#define STEP_MS		1000	/* of all times here, at most, for who stood still */
#define IDLE_MS		2000	/* until a connection that nobody uses is closed */
#define CHILDREN_MAX	4	/* more that do not end, even killed, wait for what no new one would get past */
#define ROWS_MAX	(UINT64_C(4) << 20)	/* of one answer: nobody honest gets so far in the time there is */

static void auditor_on_readable(evutil_socket_t fd, short what, void *arg);

void
auditor_set_timer(struct auditor *auditor, unsigned ms)
{
	allotment_begin(&auditor->time, ms * NS_PER_MS, min_u64(STEP_MS * NS_PER_MS, ms * NS_PER_MS / 4));
	timer_add_ns(&auditor->timer, allotment_look(&auditor->time));
}

/* What is next: a question, or nothing for a while. */
static void
auditor_schedule(struct auditor *auditor)
{
	if (!TAILQ_EMPTY(&auditor->queue))
		auditor_set_timer(auditor, 0);
	else if (auditor->fd >= 0)
		auditor_set_timer(auditor, IDLE_MS);
	else
		(void)evtimer_del(&auditor->timer);
	auditor->is_crowded = false;
}

/* The connection. */

/* at_once: a process of ours is given no time to end by itself. */
static void
auditor_disconnect(struct auditor *auditor, bool at_once)
{
	struct auditor_child *child = take_ptr(auditor->child);

	if (auditor->fd < 0)
		return;
	(void)event_del(&auditor->read_event);
	close_fd(&auditor->fd);
	free(take_ptr(auditor->message));
	if (child)
		auditor_child_hang_up(child, at_once);
}

/* Who listens there has no pid for us. Of systemd's sockets that is systemd itself, in the same pid namespace as its services. */
static bool
auditor_is_hidden(int fd)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == 0;
}

static int
auditor_connect(struct auditor *auditor)
{
	cleanup_close int fd = -1;
	cleanup_free char *message = NULL;
	pid_t pid = 0;
	int r;

	message = malloc(AUDIT_MESSAGE_BYTES);
	if (!message)
		return -ENOMEM;
	fd = audit_open(auditor->avoids_socket ? NULL : auditor->socket, &pid);
	auditor->avoids_socket = false;
	if (fd < 0)
		return fd;
	r = evutil_make_socket_nonblocking(fd) ? -errno : 0;
	if (r == 0 && (event_assign(&auditor->read_event, auditor->base, fd, EV_READ | EV_PERSIST, auditor_on_readable, auditor) ||
	    event_add(&auditor->read_event, NULL)))
		r = -ENOMEM;
	if (pid && r) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	} else if (pid) {
		r = auditor_child_new(auditor, pid);
		if (r)
			(void)event_del(&auditor->read_event);
	}
	if (r)
		return r;
	auditor->is_own = pid != 0;
	auditor->has_other_pids = !pid && auditor_is_hidden(fd);
	auditor->fd = take_fd(&fd);
	auditor->message = take_ptr(message);
	return 0;
}

static size_t
auditor_row_size(uint32_t kind)
{
	switch (kind) {
	case AUDIT_WHO:
		return sizeof(struct audit_object);
	case AUDIT_JUDGE:
		return sizeof(struct audit_candidate);
	default:
		return 0;
	}
}

uint32_t
auditor_rows_max(uint32_t kind)
{
	size_t row_size = auditor_row_size(kind);

	return row_size ? (uint32_t)((AUDIT_MESSAGE_BYTES - sizeof(struct audit_question)) / row_size) : 0;
}

static struct audit_question
auditor_header(const struct auditor_question *question)
{
	return (struct audit_question) {
		.version = AUDIT_VERSION,
		.kind = question->kind,
		.serial = question->serial,
		.flags = question->flags,
		.n_rows = question->n_rows,
	};
}

/* There is room for it: whoever gets it has read all that was sent before. 0 or a negative errno. */
static int
auditor_send(const struct auditor *auditor, struct auditor_question *question)
{
	struct audit_question header = auditor_header(question);
	struct iovec io[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)(uintptr_t)question->rows, .iov_len = question->n_rows * auditor_row_size(question->kind) },
	};
	struct msghdr message = { .msg_iov = io, .msg_iovlen = io[1].iov_len ? 2 : 1 };
	ssize_t n;

	if (question->prepare)
		question->prepare(question);
	do
		n = sendmsg(auditor->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Questions. */

static const char *
auditor_explain(int r)
{
	switch (r) {
	case -ETIME:
		return "segmentd-audit did not answer in time";
	case -EPROTO:
		return "segmentd-audit answered what is no answer: it may be of another version";
	case -ECONNRESET:
		return "segmentd-audit ended before it had answered; its log may say why";
	case -EBUSY:
		return "processes of segmentd-audit that were killed do not end";
	case -ENOENT:
		return "segmentd-audit is not installed";
	case -EMSGSIZE:
		return "segmentd-audit is asked about too much at once";
	case -ENOMEM:
		return "the daemon is out of memory";
	case -EMFILE:
	case -ENFILE:
		return "there are no file descriptors left to ask segmentd-audit by";
	default:
		return NULL;
	}
}

/* The asker may free its question, ask the next one, or cancel others. */
static void
auditor_end_question(struct auditor *auditor, struct auditor_question *question, struct auditor_end *end)
{
	char text[128];

	question->auditor = NULL;
	if (end->result && !end->text)
		end->text = auditor_explain(end->result);
	if (!end->text) {
		(void)snprintf(text, sizeof(text), "segmentd-audit cannot be asked: %s", strerror(-end->result));
		end->text = text;
	}
	auditor->n_failures += end->result != 0;
	question->done(question, end);
}

/* 0 or a negative errno. */
static int
auditor_send_first(struct auditor *auditor, struct auditor_question *question)
{
	int r;

	if (question->n_rows > auditor_rows_max(question->kind))
		return -EMSGSIZE;
	question->serial = ++auditor->last_serial;
	if (auditor->fd >= 0 && auditor_send(auditor, question))
		auditor_disconnect(auditor, false);
	if (auditor->fd >= 0)
		return 0;
	/* A fresh one that ends is not asked again. */
	question->was_tried = true;
	r = auditor_connect(auditor);
	return r ? r : auditor_send(auditor, question);
}

/* Asks what is first in the queue. A failure ends that question alone, and the next one has its own turn. */
static void
auditor_go_on(struct auditor *auditor)
{
	struct auditor_question *question = TAILQ_FIRST(&auditor->queue);
	bool was_crowded = auditor->is_crowded;
	int r;

	auditor->is_crowded = auditor->fd < 0 && auditor->n_children >= CHILDREN_MAX && !was_crowded;
	if (auditor->is_crowded) {
		auditor_set_timer(auditor, auditor->limit_ms);
		return;
	}
	r = was_crowded ? -EBUSY : auditor_send_first(auditor, question);
	if (r) {
		struct auditor_end end = { .result = r };

		TAILQ_REMOVE(&auditor->queue, question, entry);
		auditor_disconnect(auditor, true);
		auditor_schedule(auditor);
		auditor_end_question(auditor, question, &end);
		return;
	}
	TAILQ_REMOVE(&auditor->queue, question, entry);
	auditor->current = question;
	auditor->n_rows = 0;
	auditor->has_answer = auditor->was_read = false;
	auditor_set_timer(auditor, auditor->limit_ms);
}

/* The connection is of no use any more, and with it the question that was asked over it. r: a negative errno. */
static void
auditor_fail(struct auditor *auditor, int r, bool at_once)
{
	struct auditor_question *question = auditor->current;
	struct auditor_end end = {
		.result = r, .is_own = auditor->is_own,
	};
	bool is_again = question && r == -ECONNRESET && !auditor->has_answer && !(question->was_tried && auditor->is_own);

	/* What one has begun to remove another, of another user, does not find; it would say that it is gone. */
	if (is_again && question->was_tried && question->kind == AUDIT_JUDGE && auditor->was_read)
		is_again = false;
	if (question && question->kind == AUDIT_JUDGE)
		auditor_unsettled_note(auditor, question);
	/* A unit that does not start answers by hanging up: then it is as if it were not there. */
	auditor->avoids_socket = is_again && question->was_tried;
	auditor->current = NULL;
	auditor_disconnect(auditor, at_once);
	if (is_again)
		TAILQ_INSERT_HEAD(&auditor->queue, question, entry);
	auditor_schedule(auditor);
	if (question && !is_again)
		auditor_end_question(auditor, question, &end);
}

/* Hands the rows of a message on. 0 or a negative errno; the question may have been cancelled meanwhile. */
static int
auditor_take_rows(struct auditor *auditor, const struct audit_answer *answer)
{
	struct auditor_question *question = auditor->current;
	const char *rows = auditor->message + sizeof(*answer);

	auditor->has_answer = true;
	auditor->n_rows += answer->n_rows;
	if (auditor->n_rows > ROWS_MAX || (question->kind == AUDIT_JUDGE && auditor->n_rows > question->n_rows))
		return -EPROTO;
	for (uint32_t i = 0; i < answer->n_rows && auditor->current == question; i++) {
		union {
			struct audit_holder holder;
			struct audit_stray stray;
		} row;
		int r;

		memcpy(&row, rows + (size_t)i * answer->row_size, answer->row_size);
		r = question->take(question, &row);
		if (r)
			return r;
	}
	return 0;
}

/* One whole message of the answer. */
static void
auditor_take(struct auditor *auditor, size_t size)
{
	struct audit_question header = auditor_header(auditor->current);
	struct auditor_question *question = auditor->current;
	struct audit_answer answer;
	struct auditor_end end;
	int r;

	if (!audit_is_sound(auditor->message, size, &header)) {
		auditor_fail(auditor, -EPROTO, true);
		return;
	}
	memcpy(&answer, auditor->message, sizeof(answer));
	r = auditor_take_rows(auditor, &answer);
	if (auditor->current != question)
		return;
	if (r) {
		auditor_fail(auditor, r, true);
		return;
	}
	if (answer.flags & AUDIT_MORE)
		return;
	if (question->kind == AUDIT_JUDGE && answer.result == 0 && !(answer.flags & AUDIT_INCOMPLETE) &&
	    auditor->n_rows != question->n_rows) {
		auditor_fail(auditor, -EPROTO, true);
		return;
	}
	end = (struct auditor_end) {
		.result = answer.result,
		.text = answer.result && !*answer.text ? NULL : answer.text,
		.n_seen = answer.n_seen,
		.n_hidden = answer.n_hidden,
		.is_incomplete = answer.flags & AUDIT_INCOMPLETE,
		.is_own = auditor->is_own,
	};
	auditor->current = NULL;
	if (question->kind == AUDIT_JUDGE && answer.result == 0)
		auditor_unsettled_hear(auditor, answer.flags & AUDIT_UNSETTLED);
	auditor_schedule(auditor);
	auditor_end_question(auditor, question, &end);
}

static void
auditor_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *auditor = arg;
	ssize_t n = recv(fd, auditor->message, AUDIT_MESSAGE_BYTES, MSG_TRUNC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* An end with something unread is an error (ECONNRESET). */
	auditor->was_read = n == 0;
	if (n <= 0)
		auditor_fail(auditor, -ECONNRESET, false);
	else if (n > AUDIT_MESSAGE_BYTES || !auditor->current)
		auditor_fail(auditor, -EPROTO, true);
	else
		auditor_take(auditor, (size_t)n);
}

/* The time of the question is up, or of the idle connection; or the next one is to be asked. */
static void
auditor_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *auditor = arg;

	if (!timer_is_over(&auditor->timer, &auditor->time))
		return;
	if (auditor->current)
		auditor_fail(auditor, -ETIME, true);
	else if (TAILQ_EMPTY(&auditor->queue))
		auditor_disconnect(auditor, false);
	else
		auditor_go_on(auditor);
}

void
auditor_ask(struct auditor *auditor, struct auditor_question *question)
{
	struct auditor_question *after = NULL;

	question->auditor = auditor;
	question->was_tried = false;
	auditor->n_questions++;
	if (!question->can_wait)
		TAILQ_FOREACH(after, &auditor->queue, entry)
			if (after->can_wait)
				break;
	if (after)
		TAILQ_INSERT_BEFORE(after, question, entry);
	else
		TAILQ_INSERT_TAIL(&auditor->queue, question, entry);
	if (!auditor->current && !auditor->is_crowded)
		auditor_set_timer(auditor, 0);
}

void
auditor_cancel(struct auditor_question *question)
{
	struct auditor *auditor = question->auditor;

	if (!auditor)
		return;
	question->auditor = NULL;
	if (auditor->current != question) {
		TAILQ_REMOVE(&auditor->queue, question, entry);
		return;
	}
	/*
	 * Whoever was asked would go on answering what nobody wants any more. But who is just removing something is not torn from it:
	 * what has no name for that moment would stay without.
	 */
	auditor->current = NULL;
	auditor_disconnect(auditor, question->kind != AUDIT_JUDGE);
	auditor_schedule(auditor);
}

int
auditor_init(struct auditor *auditor, struct event_base *base, const char *socket)
{
	*auditor = (struct auditor) { .base = base, .fd = -1, .limit_ms = AUDITOR_LIMIT_MS };
	TAILQ_INIT(&auditor->queue);
	LIST_INIT(&auditor->children);
	auditor->socket = socket ? strdup(socket) : NULL;
	if (socket && !auditor->socket)
		return -ENOMEM;
	if (evtimer_assign(&auditor->timer, base, auditor_on_timer, auditor))
		return -ENOMEM;
	return auditor_unsettled_init(auditor);
}

void
auditor_set_socket(struct auditor *auditor, const char *socket)
{
	char *copy;

	if (auditor->socket && streq(auditor->socket, socket))
		return;
	copy = strdup(socket);
	if (!copy)
		return;
	free(auditor->socket);
	auditor->socket = copy;
	/* An answer under way comes over the old one. */
	if (!auditor->current && auditor->fd >= 0) {
		auditor_disconnect(auditor, false);
		auditor_schedule(auditor);
	}
}

void
auditor_deinit(struct auditor *auditor)
{
	struct auditor_question *question;

	if (!auditor->base)
		return;
	/* As one that is cancelled. */
	auditor_disconnect(auditor, false);
	/* Who asked goes after us, and may cancel all the same. */
	if (auditor->current)
		auditor->current->auditor = NULL;
	TAILQ_FOREACH(question, &auditor->queue, entry)
		question->auditor = NULL;
	auditor_children_end(auditor);
	auditor_unsettled_deinit(auditor);
	if (event_initialized(&auditor->timer))
		(void)event_del(&auditor->timer);
	free(take_ptr(auditor->socket));
}
