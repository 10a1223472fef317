/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients for survive.sh: a crew of processes at work while the daemon dies, and single ones that do one thing.
 *
 *   survivor crew N FIRST UID[,UID]... SEGMENT...	N clients, numbered from FIRST, of the uids in turn
 *   survivor hold LOCK SEGMENT...
 *   survivor fill SEGMENT...
 *   survivor check SEGMENT...
 *
 * A crew is told by lines on its standard input what to do, and answers each with a line: "status", its figures; "rest", once no
 * client is at work any more and each has found everything right; "work", again. At the end of the input all clients finish; then it
 * says the figures, and ends with 0. Before: a line "WRONG: ..." for whatever was wrong, and 1.
 */
#include "config.h"

#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>

#include "tests/booted/survivor.h"

#define UIDS_MAX	8

struct crew {
	struct survivor_board *board;
	unsigned n_clients, first;
	uid_t uids[UIDS_MAX];
	unsigned n_uids;
	unsigned n_segments;
	char *const *segments;
	pid_t pids[SURVIVOR_CLIENTS];
	int controls[SURVIVOR_CLIENTS];
};

static void __attribute__((noreturn))
usage(void)
{
	(void)fprintf(stderr, "usage: survivor crew N FIRST UID[,UID]... SEGMENT... | hold LOCK SEGMENT... | fill SEGMENT... | check SEGMENT...\n");
	exit(2);
}

/* Ends with all of its clients, which hear of it by PR_SET_PDEATHSIG. */
static void __attribute__((noreturn))
give_up(const char *what, unsigned number, int status)
{
	(void)printf("WRONG: client %u %s (status 0x%x%s)\n", number, what, (unsigned)status,
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": a request was not answered" : "");
	(void)fflush(stdout);
	_exit(1);
}

static void
become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid((gid_t)uid, (gid_t)uid, (gid_t)uid) < 0 || setresuid(uid, uid, uid) < 0) {
		perror("survivor: setresuid");
		_exit(1);
	}
}

static void
crew_start_client(struct crew *crew, unsigned i)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		perror("survivor: socketpair");
		exit(1);
	}
	crew->controls[i] = pair[0];
	crew->pids[i] = fork();
	if (crew->pids[i] == 0) {
		struct survivor_client client = {
			.number = crew->first + i, .uid = crew->uids[i % crew->n_uids], .control = pair[1],
			.board = crew->board, .n_segments = crew->n_segments, .segments = crew->segments,
		};

		for (unsigned j = 0; j <= i; j++)
			(void)close(crew->controls[j]);
		become(client.uid);
		/* After the change of user, which takes it back. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		survivor_work(&client);
		_exit(0);
	}
	if (crew->pids[i] < 0) {
		perror("survivor: fork");
		exit(1);
	}
	(void)close(pair[1]);
}

static void
crew_start(struct crew *crew)
{
	void *board = mmap(NULL, sizeof(*crew->board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (board == MAP_FAILED) {
		perror("survivor: mmap");
		exit(1);
	}
	crew->board = board;
	for (unsigned i = 0; i < crew->n_clients; i++)
		crew_start_client(crew, i);
}

static void
crew_say(const struct crew *crew, const char *word)
{
	uint64_t requests = 0, sections = 0, attach_ns = 0, request_ns = 0;

	for (unsigned i = 0; i < crew->n_clients; i++) {
		const struct survivor_figures *figures = &crew->board->figures[crew->first + i];

		requests += figures->requests;
		for (unsigned j = 0; j < crew->n_segments; j++)
			for (unsigned lock = 0; lock < SURVIVOR_LOCKS; lock++)
				sections += figures->sections[j][lock];
		if (figures->longest_attach_ns > attach_ns)
			attach_ns = figures->longest_attach_ns;
		if (figures->longest_request_ns > request_ns)
			request_ns = figures->longest_request_ns;
	}
	(void)printf("%s: requests %" PRIu64 " sections %" PRIu64 " longest-attach-ms %" PRIu64 " longest-request-ms %" PRIu64 "\n",
	    word, requests, sections, attach_ns / NS_PER_MS, request_ns / NS_PER_MS);
	(void)fflush(stdout);
}

/* A client's control has something to read, or its end: it ended before its time. */
static void __attribute__((noreturn))
crew_lost(const struct crew *crew, unsigned i)
{
	int status = 0;

	(void)waitpid(crew->pids[i], &status, 0);
	give_up("ended before it was told to", crew->first + i, status);
}

static void
crew_rest(struct crew *crew)
{
	char byte;

	crew->board->stage = SURVIVOR_REST;
	for (unsigned i = 0; i < crew->n_clients; i++)
		if (recv(crew->controls[i], &byte, 1, 0) != 1)
			crew_lost(crew, i);
}

static void
crew_work(struct crew *crew)
{
	crew->board->stage = SURVIVOR_WORK;
	for (unsigned i = 0; i < crew->n_clients; i++)
		if (send(crew->controls[i], "w", 1, MSG_NOSIGNAL) != 1)
			crew_lost(crew, i);
}

static void
crew_end(struct crew *crew)
{
	int status;

	if (crew->board->stage == SURVIVOR_WORK)
		crew_rest(crew);
	for (unsigned i = 0; i < crew->n_clients; i++)
		(void)send(crew->controls[i], "e", 1, MSG_NOSIGNAL);
	for (unsigned i = 0; i < crew->n_clients; i++)
		if (waitpid(crew->pids[i], &status, 0) < 0 || status != 0)
			give_up("did not end well", crew->first + i, status);
	crew_say(crew, "ended");
}

/* Waits for a line, and looks after the clients meanwhile; which say nothing but when they rest. False: there is no more. */
static bool
crew_read_line(struct crew *crew, char *line, size_t size)
{
	struct pollfd polled[SURVIVOR_CLIENTS + 1] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	bool is_resting = crew->board->stage == SURVIVOR_REST;
	size_t n = 0;

	for (unsigned i = 0; i < crew->n_clients; i++)
		polled[i + 1] = (struct pollfd){ .fd = is_resting ? -1 : crew->controls[i], .events = POLLIN };
	for (;;) {
		if (poll(polled, crew->n_clients + 1, -1) < 0)
			continue;
		for (unsigned i = 0; i < crew->n_clients; i++)
			if (polled[i + 1].revents)
				crew_lost(crew, i);
		if (!polled[0].revents)
			continue;
		if (n == size - 1 || read(STDIN_FILENO, line + n, 1) != 1)
			return false;
		if (line[n++] != '\n')
			continue;
		line[n - 1] = '\0';
		return true;
	}
}

static int
crew_run(struct crew *crew)
{
	char line[32];

	crew_start(crew);
	while (crew_read_line(crew, line, sizeof(line))) {
		if (strcmp(line, "rest") == 0)
			crew_rest(crew);
		else if (strcmp(line, "work") == 0)
			crew_work(crew);
		crew_say(crew, line);
	}
	crew_end(crew);
	return 0;
}

static int
crew_main(int argc, char **argv)
{
	struct crew crew = { 0 };

	if (argc < 6 || argc - 5 > SURVIVOR_SEGMENTS)
		usage();
	crew.n_clients = (unsigned)strtoul(argv[2], NULL, 10);
	crew.first = (unsigned)strtoul(argv[3], NULL, 10);
	if (crew.n_clients + crew.first > SURVIVOR_CLIENTS)
		usage();
	for (char *uid = strtok(argv[4], ","); uid && crew.n_uids < UIDS_MAX; uid = strtok(NULL, ","))
		crew.uids[crew.n_uids++] = (uid_t)strtoul(uid, NULL, 10);
	if (!crew.n_uids)
		usage();
	crew.n_segments = (unsigned)argc - 5;
	crew.segments = argv + 5;
	return crew_run(&crew);
}

int
main(int argc, char **argv)
{
	if (argc >= 3 && argc - 2 <= SURVIVOR_SEGMENTS && strcmp(argv[1], "fill") == 0)
		survivor_fill((unsigned)argc - 2, argv + 2);
	else if (argc >= 3 && argc - 2 <= SURVIVOR_SEGMENTS && strcmp(argv[1], "check") == 0)
		survivor_check((unsigned)argc - 2, argv + 2);
	else if (argc >= 4 && argc - 3 <= SURVIVOR_SEGMENTS && strcmp(argv[1], "hold") == 0)
		survivor_hold(argv[2], (unsigned)argc - 3, argv + 3);
	else if (argc >= 2 && strcmp(argv[1], "crew") == 0)
		return crew_main(argc, argv);
	else
		usage();
	return 0;
}
