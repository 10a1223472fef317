/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between a session's own files. */
#ifndef DAEMON_SESSION_PARTS_H
#define DAEMON_SESSION_PARTS_H

#include "daemon/session.h"

/* One that is nowhere yet; consumes fd. NULL when memory is short. */
struct session *session_make(struct session_host *host, int fd);

/* Its peer, with its pidfd, if the kernel has one. 0 or a negative errno. */
int session_identify(struct session *session);

/*
 * Charges it for as long as it is there. 0, -ENOMEM, or ACCOUNTS_E_LIMIT: text, of ACCOUNTS_TEXT_SIZE, says why to the peer; NULL: it is
 * not told, since it is tried again. Again: to one that an earlier daemon had.
 */
int session_charge(struct session *session, char *text);
int session_charge_again(struct session *session);
void session_discharge(struct session *session);
/*
 * Charges a message that is about to be sent. 0; SESSION_E_FULL: the uid has as much unread as it may, and this session some of it;
 * SESSION_E_AGAIN: the same, but only others of its sessions, and text, of ACCOUNTS_TEXT_SIZE, says so. SESSION_E_LATER: it is not
 * known yet which of those have read.
 */
int session_charge_unread(struct session *session, size_t size, char *text);

/* As recvmsg(2), at once; and what is in the queue also where the peer has gone with something unread, which is told once before it. */
ssize_t session_receive(int fd, struct msghdr *message, int flags);
/* Peeks one message. 0: a whole one is in *ret_n. SESSION_E_VIOLATION; -EAGAIN: none; -EPIPE: the peer is gone. */
int session_peek(struct session *session, void *buf, size_t size, size_t *ret_n);
void session_consume(struct session *session);
/*
 * A request that waits is first in the queue: looks at what else has come. False: there are descriptors, or too much; violation says
 * which.
 */
bool session_look_behind(struct session *session);

/* Tells the peer why it is being disconnected, as well as can be. */
void session_farewell(struct session *session, int status, const char *format, ...) BASE_PRINTF(3, 4);

/*
 * Ends a connection for both sides, and reads away what the peer has sent: as nothing can come any more, and unread it would be
 * ECONNRESET to the peer before the farewell that it has not read yet. False: descriptors are with what is first in the queue now,
 * or there is more of it than a turn has time for, which is no matter of the loop's: parcels_end().
 */
bool session_shut(int fd);

#endif
