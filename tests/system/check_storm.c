/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A storm of clients that attach, map, close, fork, pass descriptors on, exec, detach, reconnect and are killed at random.
 * At quiet points, when every process of it stands still, the daemon's counts must equal what /proc shows, exactly.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/harness.h"

#define N_CLIENTS	200
#define N_SEGMENTS	4
#define N_HELD		8
#define N_OPS		6		/* of a client in a round */
#define N_ROUNDS	4
#define PAGE		4096
#define LABELS		65536		/* a description's label is its attachment's id: a page of the segment each */

static const char *const segments[N_SEGMENTS] = { "alpha", "beta", "gamma", "delta" };

/* What all processes of the storm share, from before they were made. */
static struct {
	const char *socket;
	int bus[2];			/* descriptors that are passed on lie here until somebody takes them */
	int leash[2];			/* who holds something without a client lives until this closes */
	uint64_t seed;
} storm;

struct held {
	bool is_used;
	int fd;
	void *map;
	off_t label;
	bool has_attachment;
	struct protocol_attached attached;
};

struct client {
	struct harness_conn conn;
	struct held held[N_HELD];
	uint64_t random;
};

static uint32_t
draw(uint64_t *random, uint32_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*random >> 33) % below;
}

/* A held thing that is (or, with is_used false, a place that is not) in use, from a random start on. */
static struct held *
pick(struct client *client, bool is_used)
{
	uint32_t start = draw(&client->random, N_HELD);

	for (uint32_t i = 0; i < N_HELD; i++) {
		struct held *held = &client->held[(start + i) % N_HELD];

		if (held->is_used == is_used)
			return held;
	}
	return NULL;
}

static void
settle(struct held *held)
{
	if (held->fd < 0 && !held->map)
		held->is_used = false;
}

static void
unmap(struct held *held)
{
	if (held->map)
		(void)munmap(held->map, PAGE);
	held->map = NULL;
}

/* As writable as the description is: /proc shows that of a mapping, and not what its description could do. */
static void
map_page(struct held *held, bool writes)
{
	held->map = mmap(NULL, PAGE, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, held->fd, held->label);
	harness_assert(held->map != MAP_FAILED, "mmap: %m");
}

static void
op_attach(struct client *client)
{
	struct held *held = pick(client, false);
	bool writes = draw(&client->random, 2);
	uint32_t access = PROTOCOL_ACCESS_READ | (writes ? PROTOCOL_ACCESS_WRITE : 0);
	int r;

	if (!held)
		return;
	*held = (struct held) { .is_used = true, .has_attachment = true, .fd = -1 };
	r = harness_attach(&client->conn, segments[draw(&client->random, N_SEGMENTS)], access, &held->attached,
	    &held->fd);
	harness_assert(r == 0, "attach: %d", r);
	held->label = (off_t)held->attached.attachment * PAGE;
	harness_assert(lseek(held->fd, held->label, SEEK_SET) == held->label, "lseek: %m");
	if (draw(&client->random, 2))
		map_page(held, writes);
}

static void
op_close(struct client *client)
{
	struct held *held = pick(client, true);

	if (!held)
		return;
	close_fd(&held->fd);
	settle(held);
}

static void
op_unmap(struct client *client)
{
	struct held *held = pick(client, true);

	if (!held)
		return;
	unmap(held);
	settle(held);
}

/* With everything given back first, as the library does it, or while it is still in use. */
static void
op_detach(struct client *client)
{
	struct held *held = pick(client, true);
	bool is_clean = draw(&client->random, 2);

	if (!held || !held->has_attachment)
		return;
	if (is_clean) {
		unmap(held);
		close_fd(&held->fd);
		settle(held);
	}
	harness_assert(harness_detach(&client->conn, &held->attached) == 0, "detach");
	held->has_attachment = false;
}

/*
 * Holds what was inherited until the leash is let go of; but not the client's connection, in which a reply that a killed
 * client never read would keep a description that no process shows.
 */
static void
hold_on(struct client *client)
{
	char byte;

	harness_close(&client->conn);
	(void)!read(storm.leash[0], &byte, 1);
	_exit(0);
}

static void
op_fork(struct client *client)
{
	pid_t pid = fork();

	harness_assert(pid >= 0, "fork: %m");
	if (pid == 0)
		hold_on(client);
}

/* A program that knows nothing of all this inherits a descriptor. */
static void
become_cat(struct client *client)
{
	struct held *held = pick(client, true);

	if (held && held->fd >= 0)
		(void)fcntl(held->fd, F_SETFD, 0);
	(void)dup2(storm.leash[0], STDIN_FILENO);
	(void)execl("/bin/cat", "cat", (char *)NULL);
	_exit(127);
}

static void
op_exec(struct client *client)
{
	pid_t pid = fork();

	harness_assert(pid >= 0, "fork: %m");
	if (pid == 0)
		become_cat(client);
}

static void
op_pass(struct client *client)
{
	struct held *held = pick(client, true);
	ssize_t n;

	if (!held || held->fd < 0)
		return;
	n = harness_send(storm.bus[0], &held->label, sizeof(held->label), &held->fd, 1);
	harness_assert(n > 0 || n == -EAGAIN || n == -EWOULDBLOCK || n == -ETOOMANYREFS, "bus: %zd", n);
}

/* One descriptor from the bus, or -1. */
static int
take_from_bus(off_t *ret_label)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec io = { .iov_base = ret_label, .iov_len = sizeof(*ret_label) };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(storm.bus[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (!header)
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static void
op_take(struct client *client)
{
	struct held *held = pick(client, false);
	off_t label;
	int fd;

	if (!held)
		return;
	fd = take_from_bus(&label);
	if (fd < 0)
		return;
	*held = (struct held) { .is_used = true, .fd = fd, .label = label };
	if (draw(&client->random, 2))
		map_page(held, (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
}

static void
op_copy(struct client *client)
{
	struct held *held = pick(client, true);
	struct held *place = pick(client, false);

	if (!held || !place || held->fd < 0)
		return;
	*place = (struct held) { .is_used = true, .label = held->label };
	place->fd = fcntl(held->fd, F_DUPFD_CLOEXEC, 3);
}

static void
op_reconnect(struct client *client)
{
	harness_close(&client->conn);
	for (size_t i = 0; i < N_HELD; i++)
		client->held[i].has_attachment = false;
	harness_open(&client->conn, storm.socket);
}

/* Attaching is drawn as often as all that ends something. */
static void (*const ops[])(struct client *client) = {
	op_attach, op_attach, op_attach, op_attach, op_attach, op_attach,
	op_close, op_unmap, op_detach, op_detach, op_fork, op_exec, op_pass, op_take, op_copy, op_reconnect,
};

static void
run_client(int control, void *arg)
{
	struct client client = { .conn = HARNESS_CONN_NULL, .random = storm.seed + (uint64_t)(uintptr_t)arg };

	close_fd(&storm.leash[1]);
	harness_open(&client.conn, storm.socket);
	harness_say(control, "here");
	for (;;) {
		harness_expect(control, "go");
		for (int i = 0; i < N_OPS; i++)
			ops[draw(&client.random, BASE_ARRAY_SIZE(ops))](&client);
		harness_say(control, "done");
	}
}

/* The test's side. */

struct world {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct harness_child clients[N_CLIENTS];
	struct stat objects[N_SEGMENTS];
	uint64_t random;
	uintptr_t n_started;
	unsigned n_killed;
	size_t most_attached;
};

static void
start_client(struct world *world, size_t i)
{
	harness_child_start(&world->clients[i], run_client, (void *)++world->n_started);
	harness_expect(world->clients[i].control, "here");
}

/* In flight a description is held, and no process shows it: at a quiet point there are none. */
static void
drain_bus(void)
{
	off_t label;
	int fd;

	while ((fd = take_from_bus(&label)) >= 0)
		(void)close(fd);
}

/* What died with the storm's processes, clients' children too: this process is their reaper. */
static void
reap(void)
{
	siginfo_t info;

	for (;;) {
		info.si_pid = 0;
		/* The harness waits for its own children by their pidfds; WNOWAIT leaves them to it. */
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
			return;
		(void)waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void
compare_segment(struct world *world, size_t i, const struct harness_scan *scan)
{
	uint64_t until_ns = harness_clock_ns() + 10 * NS_PER_SEC;
	struct protocol_segment row;

	do
		harness_assert(harness_find(&world->conn, segments[i], &row) == 0, "segment '%s' is lost", segments[i]);
	while ((row.readers != scan->readers || row.writers != scan->writers) && harness_clock_ns() < until_ns);
	harness_assert(row.readers == scan->readers && row.writers == scan->writers,
	    "segment '%s': the daemon counts %u readers and %u writers, /proc shows %zu and %zu (%zu fds, %zu maps)",
	    segments[i], row.readers, row.writers, scan->readers, scan->writers, scan->fds, scan->maps);
	world->most_attached = max_u64(world->most_attached, row.readers + row.writers);
}

/* Nothing moves: the kernel's answer stands, and the daemon has to arrive at it by what was told to it already. */
static void
compare_all(struct world *world)
{
	struct harness_scan scans[N_SEGMENTS];

	harness_scan_all(world->objects, N_SEGMENTS, world->daemon.pid, scans);
	for (size_t i = 0; i < N_SEGMENTS; i++)
		compare_segment(world, i, &scans[i]);
}

static void
play_round(struct world *world)
{
	bool is_to_die[N_CLIENTS];

	for (size_t i = 0; i < N_CLIENTS; i++) {
		is_to_die[i] = draw(&world->random, 8) == 0;
		harness_say(world->clients[i].control, "go");
	}
	/* While all are at it. */
	for (size_t i = 0; i < N_CLIENTS; i++) {
		if (!is_to_die[i])
			continue;
		harness_child_kill(&world->clients[i]);
		world->n_killed++;
	}
	for (size_t i = 0; i < N_CLIENTS; i++)
		if (!is_to_die[i])
			harness_expect(world->clients[i].control, "done");
	for (size_t i = 0; i < N_CLIENTS; i++)
		if (is_to_die[i])
			start_client(world, i);
	drain_bus();
}

static void
set_up(struct world *world)
{
	char body[1024] = "segments = (";
	uint64_t size = (uint64_t)LABELS * PAGE;

	for (size_t i = 0; i < N_SEGMENTS; i++)
		(void)snprintf(body + strlen(body), sizeof(body) - strlen(body),
		    "%s{ name = \"%s\"; size = \"%" PRIu64 "B\"; prefault = false; mlock = false; mode = \"0666\"; }",
		    i ? "," : "", segments[i], size);
	(void)snprintf(body + strlen(body), sizeof(body) - strlen(body), ");");
	harness_daemon_start(&world->daemon, "limits = { clients = 4096; attachments = 65536; bytes = \"1GiB\"; };", body);
	harness_open(&world->conn, world->daemon.socket);
	for (size_t i = 0; i < N_SEGMENTS; i++) {
		struct protocol_attached attached;
		int fd = -1;

		ck_assert_int_eq(harness_attach(&world->conn, segments[i], PROTOCOL_ACCESS_READ, &attached, &fd), 0);
		ck_assert_int_eq(fstat(fd, &world->objects[i]), 0);
		close_fd(&fd);
		harness_await_counts(&world->conn, segments[i], 0, 0);
	}
}

START_TEST(counts_equal_what_proc_shows_at_every_quiet_point)
{
	struct world *world = calloc(1, sizeof(*world));
	unsigned n_rounds = N_ROUNDS * harness_scale();
	struct harness_usage before;

	harness_need_root();
	ck_assert_ptr_nonnull(world);
	*world = (struct world) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	storm.seed = getenv("SEGMENTD_TEST_SEED") ? strtoull(getenv("SEGMENTD_TEST_SEED"), NULL, 0) : 20261121;
	world->random = storm.seed;
	set_up(world);
	storm.socket = world->daemon.socket;
	harness_usage_read(world->daemon.pid, &before);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, storm.bus), 0);
	ck_assert_int_eq(pipe2(storm.leash, O_CLOEXEC), 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);

	for (size_t i = 0; i < N_CLIENTS; i++)
		start_client(world, i);
	for (unsigned round = 0; round < n_rounds; round++) {
		play_round(world);
		compare_all(world);
	}

	/* The end: nobody is left, and so is nothing. */
	for (size_t i = 0; i < N_CLIENTS; i++)
		harness_child_kill(&world->clients[i]);
	close_fd(&storm.leash[1]);
	for (size_t i = 0; i < N_SEGMENTS; i++)
		harness_await_counts(&world->conn, segments[i], 0, 0);
	reap();
	harness_usage_await(&world->conn, world->daemon.pid, &before);
	printf("seed %" PRIu64 ": %u rounds, %" PRIuPTR " clients, %u of them killed at work, up to %zu attachments of one "
	    "segment; all counts equal to /proc\n", storm.seed, n_rounds, world->n_started, world->n_killed,
	    world->most_attached);
	harness_close(&world->conn);
	harness_daemon_stop(&world->daemon);
	free(world);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("storm");
	TCase *tcase = tcase_create("storm");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S * (double)harness_scale());
	tcase_add_test(tcase, counts_equal_what_proc_shows_at_every_quiet_point);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
