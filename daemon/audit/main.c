/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segmentd-audit: answers questions from its standard input, one after the other, until the connection ends. Whoever it
 * answers has been let in by the socket's mode, or has started it and thereby given it no more rights than its own; who asks is
 * looked at nevertheless, since one wrong line in a unit would be enough to let everybody in.
 */
#include "config.h"

#include <grp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/audit/answer.h"
#include "daemon/audit/minder.h"
#include "daemon/audit/question.h"
#include "daemon/audit/removal.h"
#include "daemon/audit/watchdog.h"

#define EXIT_USAGE	2
#define GROUPS_MAX	1024		/* of a peer: beyond that the kernel's answer is not asked for */

/*
 * Signals act as on anybody, whatever was left to us, but for those that a terminal sends to all of its group, who asked
 * included: that one's end we see from the connection, and a removal is not left half done. SIGIO, by which the kernel says
 * that somebody opens what we have a lease of, waits to be fetched. SIGALRM kills: a handler would not run while the kernel waits
 * for something that never comes.
 */
static void
reset_signals(void)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGQUIT, SIGPIPE };
	sigset_t blocked;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGIO);
	(void)sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void
become_audit(void)
{
	const struct rlimit no_core = { 0, 0 };

	(void)prctl(PR_SET_NAME, "segmentd-audit", 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &no_core);		/* it has seen what is others' */
	(void)umask(077);
	reset_signals();
}

/*
 * Whether it has, or may have, rights that who started it has not (setuid or setcap of its file, which nobody should do): whoever
 * that is has chosen both ends of the connection, and could ask as our own user.
 */
static bool
has_more_than_its_starter(void)
{
	return getauxval(AT_SECURE) != 0;
}

/*
 * Whether the socket in the file system that a peer came by is of one of the peer's groups, and is meant for that group, by root or
 * our own user: others make sockets for their own groups.
 */
static bool
peer_has_group(int fd, const struct ucred *peer)
{
	struct sockaddr_un address = { 0 };
	socklen_t length = sizeof(address) - 1, groups_length;
	static gid_t groups[GROUPS_MAX];
	struct stat status;

	if (getsockname(fd, (struct sockaddr *)&address, &length) || address.sun_family != AF_UNIX || address.sun_path[0] != '/' ||
	    lstat(address.sun_path, &status) || !S_ISSOCK(status.st_mode) || !(status.st_mode & S_IWGRP) ||
	    (status.st_uid != 0 && (status.st_uid != geteuid() || has_more_than_its_starter())))
		return false;
	if (peer->gid == status.st_gid)
		return true;
	groups_length = sizeof(groups);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_length))
		return false;
	for (size_t i = 0; i < groups_length / sizeof(groups[0]); i++)
		if (groups[i] == status.st_gid)
			return true;
	return false;
}

static bool
peer_is_welcome(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
		return false;
	return peer.uid == 0 || (peer.uid == geteuid() && !has_more_than_its_starter()) || peer_has_group(fd, &peer);
}

static bool
is_connection(int fd)
{
	int domain, type;
	socklen_t length = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX &&
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

/* Descriptors that come along are dropped by the kernel: there is no room for them. */
static int
serve_questions(int fd)
{
	static _Alignas(8) char message[AUDIT_MESSAGE_BYTES];
	struct answer *answer = minder_share(sizeof(*answer));

	if (!answer)
		return EXIT_FAILURE;
	for (;;) {
		ssize_t n = recv(fd, message, sizeof(message), MSG_TRUNC);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno != ECONNRESET ? EXIT_FAILURE : EXIT_SUCCESS;
		watchdog_begin();
		r = question_serve(answer, fd, message, (size_t)n);
		watchdog_end();
		if (r == -EPIPE || r == -ECONNRESET)
			return EXIT_SUCCESS;
		if (r < 0)
			return EXIT_FAILURE;
	}
}

static int
serve(int fd)
{
	int status = serve_questions(fd);

	watchdog_begin();
	removal_settle_last();
	return status;
}

static int
say_usage(FILE *where, int status)
{
	(void)fprintf(where,
	    "Usage: segmentd-audit [--version] [--help]\n"
	    "Answers segmentd and segmentctl who holds an object of shared memory and what nobody holds. They start it, or\n"
	    "segmentd-audit.socket does: its standard input is a connection. See segmentd-audit(8).\n");
	return status;
}

int
main(int argc, char **argv)
{
	if (argc == 2 && streq(argv[1], "--version"))
		return printf("segmentd-audit " PACKAGE_VERSION "\n") < 0;
	if (argc == 2 && streq(argv[1], "--help"))
		return say_usage(stdout, EXIT_SUCCESS);
	if (argc > 1)
		return say_usage(stderr, EXIT_USAGE);
	if (!is_connection(STDIN_FILENO)) {
		(void)fprintf(stderr, "segmentd-audit: standard input is no connection (a Unix socket of type SOCK_SEQPACKET); "
		    "it is started by segmentd, segmentctl or segmentd-audit.socket\n");
		return EXIT_USAGE;
	}
	if (!peer_is_welcome(STDIN_FILENO)) {
		(void)fprintf(stderr, "segmentd-audit: refused who is neither root, nor of our own user, nor of the socket's group\n");
		return EXIT_FAILURE;
	}
	become_audit();
	return serve(STDIN_FILENO);
}
