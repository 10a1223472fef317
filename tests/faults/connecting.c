/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who cannot be told who it is, or what it follows, is refused or hung up on: see connecting.h. */
#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>

#include "tests/faults/bringing.h"
#include "tests/faults/connecting.h"
#include "tests/system/suite.h"

#define GROUPS		40
#define ENDED		128		/* as many as a uid may leave to workers */
#define READ_AWAY_MS	5000

/* Who is not root has those that it has. */
int
connecting_grouped(struct faults_scene *scene)
{
	gid_t groups[GROUPS], before[GROUPS];
	int n_before = getgroups(GROUPS, before), r;
	struct harness_conn conn;
	bool is_other;

	for (size_t i = 0; i < GROUPS; i++)
		groups[i] = (gid_t)(4100 + i);
	is_other = n_before >= 0 && setgroups(GROUPS, groups) == 0;
	r = scene_dial(scene, &conn);
	if (is_other)
		harness_assert(setgroups((size_t)n_before, before) == 0, "setgroups: %s", strerror(errno));
	harness_close(&conn);
	return r;
}

/* It is hung up on when it hears no more: whatever fails, it does not wait for ever. */
static int
follow(struct faults_scene *scene, struct harness_conn *follower, struct harness_conn *followed)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON, .session = followed->session };
	struct harness_reply reply;
	int r = harness_ask(follower, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
	ssize_t n;

	harness_close(followed);
	if (r)
		return r;
	do
		n = harness_receive(follower->fd, &reply);
	while (n > 0);
	harness_assert(n != -ETIMEDOUT, "who follows waits for ever; failed: %s", injector_describe(&scene->injector));
	return 0;
}

int
connecting_follow(struct faults_scene *scene)
{
	struct harness_conn follower, followed;
	int r = scene_dial(scene, &follower);

	if (r == 0) {
		r = scene_dial(scene, &followed);
		if (r == 0)
			r = follow(scene, &follower, &followed);
		else
			harness_close(&followed);
	}
	harness_close(&follower);
	return r;
}

/* A reload waits until a worker has read the configuration. Nobody has the connection then but its own queue. */
static int
lie(struct faults_scene *scene, bool hides)
{
	struct protocol_plan plan = { .header = { .size = sizeof(plan), .type = PROTOCOL_PLAN } };
	struct protocol_list list = { .header = { .size = sizeof(list), .type = PROTOCOL_LIST } };
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	if (r == 0) {
		plan.header.serial = ++conn.serial;
		list.header.serial = ++conn.serial;
		(void)harness_send(conn.fd, &plan, sizeof(plan), NULL, 0);
		if (hides)
			(void)harness_send(conn.fd, &plan, 0, NULL, 0);
		(void)harness_send(conn.fd, &list, sizeof(list), &conn.fd, 1);
	}
	close_fd(&conn.fd);
	harness_close(&conn);
	return r;
}

int
connecting_lie(struct faults_scene *scene)
{
	return lie(scene, false);
}

int
connecting_hide(struct faults_scene *scene)
{
	return lie(scene, true);
}

/* Before it has said anything; what it has with it is at its end when it is read away. */
static int
end_with(const struct faults_scene *scene, int fd)
{
	int conn_fd = harness_dial(scene->manager.daemon.socket);

	if (conn_fd < 0)
		return conn_fd;
	(void)harness_send(conn_fd, "nothing", 7, &fd, 1);
	(void)close(conn_fd);
	return 0;
}

void
connecting_prepare_crowd(struct faults_scene *scene)
{
	bringing_prepare_stuck(scene);
}

static bool is_crowded;

/* Workers see to none of them. */
void
connecting_gather_crowd(struct faults_scene *scene)
{
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS, n = 0, most = 0;

	for (size_t i = 0; i < ENDED; i++) {
		/* Those, too, that come after one that was found stuck. */
		bringing_stop_workers(scene);
		harness_assert(end_with(scene, fd) == 0, "connect: %s", strerror(errno));
	}
	/* On a machine with load one of them may have been faster. */
	while (n < ENDED && n >= most) {
		harness_assert(harness_clock_ns() < deadline_ns, "only %ju have ended", (uintmax_t)n);
		bringing_stop_workers(scene);
		most = n;
		n = scene_n_charged(scene, "ended");
	}
	is_crowded = n >= ENDED;
}

/* The one that is there besides those who were before; 0: none. */
static pid_t
find_other(pid_t parent, const pid_t *before, size_t n_before)
{
	pid_t pids[16];
	size_t n = harness_children(parent, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < n_before && before[at] != pids[i])
			at++;
		if (at == n_before)
			return pids[i];
	}
	return 0;
}

/* Whether one comes, and ends. */
static bool
await_other(const struct faults_scene *scene, const pid_t *before, size_t n_before)
{
	uint64_t since_ns = harness_clock_ns();
	bool has_come = false;

	for (;;) {
		pid_t pid = find_other(scene->manager.daemon.pid, before, n_before);

		if (!pid && has_come)
			return true;
		has_come = has_come || pid;
		if (!injector_awaits(&scene->injector, since_ns, READ_AWAY_MS))
			return false;
		(void)poll(NULL, 0, 1);
	}
}

/* What it left is for a process that has nothing else to do. */
int
connecting_end_in_crowd(struct faults_scene *scene)
{
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t before[16];
	size_t n = harness_children(scene->manager.daemon.pid, before, BASE_ARRAY_SIZE(before));
	int r = end_with(scene, fd);

	if (r == 0 && is_crowded && !await_other(scene, before, n))
		r = -ETIMEDOUT;
	bringing_continue_workers(scene);
	return r;
}
