/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * S3: who has a segment, with 500 clients that are attached and mapped: by one question to the daemon, and by looking at all
 * processes. Who looks, who asks and who answers run on one CPU: how long an idle one takes to wake, twice a question, is the
 * machine's, and more than the question; the same on two CPUs stands beside, and what it takes there to send as many bytes. A/...: what segmentd-audit takes, which looks at descriptors, too, and says more of those that have it; of an object
 * that one process has, and of one that all 500 have. With 200 mappings more in each client the scans have more to look at, and
 * the daemon has not.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/scan.h"
#include "bench/wire.h"
#include "host/audit.h"

#define WHO_CLIENTS	500
#define WHO_MAPS	200
#define WHO_SCANS	10		/* in a round */
#define WHO_QUESTIONS	500

struct who {
	struct bench *bench;
	struct daemon daemon;
	struct stat object;
	unsigned n_maps;		/* that each client has more */
	unsigned n_least;		/* processes that have the object */
	void *own;			/* the bench's mapping of an object of its own; NULL: it is the segment */
	struct child clients[WHO_CLIENTS];
	struct child echo;		/* answers with as many bytes, and knows nothing */
	int fd;				/* the asker's connection */
	uint64_t serial;
	int audit_fd;
	pid_t audit_pid;
};

static void
who_check(const struct who *self, unsigned n, const char *how)
{
	if (n < self->n_least)
		bench_fail("%s: %u of %u processes were found", how, n, self->n_least);
}

/* The clients. */

/* Of a file, and no two of them to be merged. */
static void
map_more(unsigned n)
{
	cleanup_close int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < n; i++)
		if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			child_fail("mapping %u: %s", i, strerror(errno));
}

static void
who_client(int fd, void *arg)
{
	const struct who *self = arg;
	struct segment *segment;

	child_attach(self->daemon.socket, DAEMON_SEGMENT, 0, &segment);
	map_more(self->n_maps);
	child_rest(fd);
}

#define WHO_ECHO_BYTES	(sizeof(struct protocol_listed) + WHO_CLIENTS * PROTOCOL_BRIEF_SIZE)

static void
who_echo(int fd, void *arg)
{
	static const char bytes[WHO_ECHO_BYTES];

	(void)arg;
	while (child_hear(fd))
		if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes))
			break;
	_exit(0);
}

/* Which object it is: of an attachment that is given up again. */
static void
who_identify(struct who *self)
{
	cleanup_close int fd = wire_connect(self->daemon.socket);
	cleanup_close int segment_fd = -1;
	struct protocol_attach attach;

	wire_hello(fd);
	wire_welcome(fd);
	wire_attach_init(&attach, DAEMON_SEGMENT);
	wire_send(fd, &attach.header, 2);
	segment_fd = wire_attached(fd);
	if (fstat(segment_fd, &self->object) != 0)
		bench_fail("fstat: %s", strerror(errno));
}

static void
who_start(struct bench *bench, struct who *self, unsigned n_maps)
{
	struct daemon_config config = { 0 };

	*self = (struct who){ .bench = bench, .n_maps = n_maps, .n_least = WHO_CLIENTS, .audit_fd = -1 };
	daemon_init(&self->daemon, &config);
	daemon_start(bench, &self->daemon);
	who_identify(self);
	for (unsigned i = 0; i < WHO_CLIENTS; i++)
		child_start(bench, -1, -1, who_client, self, &self->clients[i]);
	for (unsigned i = 0; i < WHO_CLIENTS; i++) {
		child_await(&self->clients[i]);
		close_fd(&self->clients[i].fd);
	}
	child_start(bench, bench->server_cpu, -1, who_echo, NULL, &self->echo);
	self->fd = wire_connect(self->daemon.socket);
	wire_hello(self->fd);
	wire_welcome(self->fd);
	self->serial = 1;
	bench_pin(bench, 0, bench->client_cpu);
	bench_pin(bench, self->daemon.pid, bench->client_cpu);
}

static void
who_stop(struct who *self)
{
	bench_pin(self->bench, 0, -1);
	child_end(&self->echo);
	for (unsigned i = 0; i < WHO_CLIENTS; i++)
		(void)kill(self->clients[i].pid, SIGKILL);
	for (unsigned i = 0; i < WHO_CLIENTS; i++)
		child_end(&self->clients[i]);
	close_fd(&self->fd);
	daemon_stop(self->bench, &self->daemon);
	daemon_deinit(&self->daemon);
}

/* The scans. */

static void
texts_run(void *arg, struct bench_round *round)
{
	const struct who *self = arg;

	for (unsigned i = 0; i < WHO_SCANS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		who_check(self, scan_texts(&self->object), "reading maps");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

static void
queries_run(void *arg, struct bench_round *round)
{
	const struct who *self = arg;

	for (unsigned i = 0; i < WHO_SCANS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		who_check(self, scan_queries(&self->object), "PROCMAP_QUERY");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* S3. */

/* As many round trips as it has pages. Its rows. */
static unsigned
ask_holders(struct who *self, uint16_t flags, unsigned *ret_n_pages)
{
	struct protocol_holders request = { .header = { .size = sizeof(request), .type = PROTOCOL_HOLDERS, .flags = flags },
		.name = DAEMON_SEGMENT };
	static union {
		struct protocol_listed listed;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;
	unsigned n = 0;

	*ret_n_pages = 0;
	do {
		if (wire_request(self->fd, &request.header, ++self->serial, &reply, sizeof(reply)) != 0 || !reply.listed.n_rows)
			bench_fail("the daemon does not say who holds '%s'", DAEMON_SEGMENT);
		n += reply.listed.n_rows;
		memcpy(&request.cursor, reply.bytes + sizeof(reply.listed) + (size_t)(reply.listed.n_rows - 1) * reply.listed.row_size,
		    sizeof(request.cursor));
		++*ret_n_pages;
	} while (reply.listed.header.flags & PROTOCOL_MORE);
	return n;
}

static void
named_run(void *arg, struct bench_round *round)
{
	unsigned n_pages;

	for (unsigned i = 0; i < WHO_SCANS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		who_check(arg, ask_holders(arg, 0, &n_pages), "the daemon");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

static void
brief_run(void *arg, struct bench_round *round)
{
	unsigned n_pages;

	for (unsigned i = 0; i < WHO_QUESTIONS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		who_check(arg, ask_holders(arg, PROTOCOL_BRIEF, &n_pages), "the daemon");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
	if (n_pages != 1)
		bench_fail("the daemon's answer has %u pages", n_pages);
}

static void
apart_run(void *arg, struct bench_round *round)
{
	struct who *self = arg;

	bench_pin(self->bench, self->daemon.pid, self->bench->server_cpu);
	brief_run(self, round);
	bench_pin(self->bench, self->daemon.pid, self->bench->client_cpu);
}

static void
echo_run(void *arg, struct bench_round *round)
{
	static char bytes[WHO_ECHO_BYTES];
	struct who *self = arg;

	for (unsigned i = 0; i < WHO_QUESTIONS; i++) {
		uint64_t start_ns = clock_monotonic_ns();

		child_tell(&self->echo);
		if (recv(self->echo.fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
			bench_fail("a child sends no bytes back");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* Root is not limited. */
static bool
may_fork_all(void)
{
	struct rlimit limit;

	return geteuid() == 0 || getrlimit(RLIMIT_NPROC, &limit) != 0 || limit.rlim_cur >= 2 * WHO_CLIENTS;
}

/* The scans that this kernel has, and what is judged behind them. */
static unsigned
add_scans(struct bench_side *sides, struct who *self)
{
	unsigned n = 0;

	sides[n++] = (struct bench_side){ "the text of /proc/PID/maps, all processes", texts_run, self };
	if (scan_can_query())
		sides[n++] = (struct bench_side){ "PROCMAP_QUERY, all processes", queries_run, self };
	return n;
}

static void
who_compare(struct bench *bench, const struct bench_goal *goal, unsigned n_maps)
{
	static struct who self;
	struct bench_side sides[BENCH_SIDES_MAX];
	unsigned n = add_scans(sides, &self);

	if (!may_fork_all()) {
		bench_skip(bench, goal, "500 processes more are not allowed to this user (ulimit -u)");
		return;
	}
	sides[n++] = (struct bench_side){ "segmentd with commands' names, from /proc: no baseline", named_run, &self, true };
	sides[n++] = (struct bench_side){ "as many bytes from a bare child, two CPUs: no baseline", echo_run, &self, true };
	sides[n++] = (struct bench_side){ "segmentd, one round trip, two CPUs: no baseline", apart_run, &self, true };
	sides[n++] = (struct bench_side){ "segmentd, one round trip, one CPU", brief_run, &self };
	who_start(bench, &self, n_maps);
	bench_measure(bench, goal, sides, n);
	who_stop(&self);
}

void
who_held(struct bench *bench, const struct bench_goal *goal)
{
	who_compare(bench, goal, 0);
}

void
who_held_maps(struct bench *bench, const struct bench_goal *goal)
{
	who_compare(bench, goal, WHO_MAPS);
}

/* A/... */

static int
count_row(const void *row, void *arg)
{
	unsigned *n = arg;

	(void)row;
	(*n)++;
	return 0;
}

static void
audit_run(void *arg, struct bench_round *round)
{
	struct who *self = arg;
	struct audit_object object = { .device = self->object.st_dev, .inode = self->object.st_ino, .shm_id = -1 };
	struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_WHO, .n_rows = 1 };
	struct audit_answer end;

	for (unsigned i = 0; i < WHO_SCANS; i++) {
		uint64_t start_ns = clock_monotonic_ns();
		unsigned n = 0;
		int r;

		question.serial = ++self->serial;
		r = audit_ask(self->audit_fd, &question, &object, count_row, &n, &end);
		if (r < 0 || end.result < 0)
			bench_fail("segmentd-audit: %s", r < 0 ? strerror(-r) : end.text);
		who_check(self, n, "segmentd-audit");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* Another object: of the bench alone, made when all clients are forked. */
static void
take_own_object(struct who *self)
{
	cleanup_close int fd = memfd_create("bench", MFD_CLOEXEC);

	self->own = fd < 0 || ftruncate(fd, 4096) != 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (self->own == MAP_FAILED || fstat(fd, &self->object) != 0)
		bench_fail("no memory: %s", strerror(errno));
	self->n_least = 1;
}

static void
audit_compare(struct bench *bench, const struct bench_goal *goal, unsigned n_maps, bool of_one)
{
	static struct who self;
	struct bench_side sides[BENCH_SIDES_MAX];
	unsigned n = add_scans(sides, &self);

	if (!may_fork_all()) {
		bench_skip(bench, goal, "500 processes more are not allowed to this user (ulimit -u)");
		return;
	}
	sides[n++] = (struct bench_side){ "segmentd-audit: mappings and descriptors", audit_run, &self };
	who_start(bench, &self, n_maps);
	if (of_one)
		take_own_object(&self);
	self.audit_fd = audit_open(NULL, &self.audit_pid);
	if (self.audit_fd < 0)
		bench_fail("segmentd-audit: %s", strerror(-self.audit_fd));
	bench_own(bench, self.audit_pid);
	bench_measure(bench, goal, sides, n);
	close_fd(&self.audit_fd);
	bench_disown(bench, self.audit_pid);
	(void)waitpid(self.audit_pid, NULL, 0);
	if (of_one)
		(void)munmap(self.own, 4096);
	who_stop(&self);
}

void
who_audited(struct bench *bench, const struct bench_goal *goal)
{
	audit_compare(bench, goal, 0, true);
}

void
who_audited_maps(struct bench *bench, const struct bench_goal *goal)
{
	audit_compare(bench, goal, WHO_MAPS, true);
}

void
who_audited_all(struct bench *bench, const struct bench_goal *goal)
{
	audit_compare(bench, goal, 0, false);
}
