/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is left to others they see to, or see to later: see bringing.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "tests/faults/bringing.h"
#include "tests/system/suite.h"

#define IDLE_MS		8000		/* at most, of a worker that has two seconds */
#define FOREIGN_MS	400		/* in which the daemon looks whether it is gone, several times */
#define REMOVED_MS	5000
#define BYTES		4096

int
bringing_unwanted(struct faults_scene *scene)
{
	struct protocol_clients request = { .header = { .size = sizeof(request), .type = PROTOCOL_CLIENTS, .serial = 7 } };
	struct pollfd end = { .events = POLLIN };
	struct harness_conn conn;
	int fds[2], r = scene_dial(scene, &conn);
	char reply[PROTOCOL_MESSAGE_MAX];

	if (r == 0) {
		end.fd = conn.fd;
		fds[0] = fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		/* The second one comes too late, or is read away with the first. */
		(void)harness_send(conn.fd, &request, sizeof(request), fds, 2);
		(void)harness_send(conn.fd, &request, sizeof(request), fds, 1);
		(void)close(fds[0]);
		do
			harness_assert(harness_poll(&end, 1, HARNESS_TIMEOUT_MS) > 0, "it is not hung up on; failed: %s",
			    injector_describe(&scene->injector));
		while (recv(conn.fd, reply, sizeof(reply), 0) > 0);
	}
	harness_close(&conn);
	return r;
}

/* It counts until it is read away: later, where there was no worker. */
void
bringing_settle(struct faults_scene *scene)
{
	scene_await_uncharged(scene, "ended");
}

/* It is refused when a worker has read it away: that is the only answer, and 0 then. */
static int
bring_to(struct faults_scene *scene, const struct harness_conn *conn)
{
	struct protocol_return request = {
		.header = { .size = sizeof(request), .type = PROTOCOL_RETURN, .serial = 7 },
		.generation = 7, .attachment = 7, .flags = PROTOCOL_RETURN_DATA,
	};
	int fds[2], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct harness_reply reply;
	ssize_t n;

	fds[0] = fds[1] = fd;
	n = harness_send(conn->fd, &request, sizeof(request), fds, 2);
	(void)close(fd);
	n = n < 0 ? -ENOTCONN : harness_receive(conn->fd, &reply);
	harness_assert(n != -ETIMEDOUT, "what was brought is not refused; failed: %s", injector_describe(&scene->injector));
	if (n <= 0)
		return -ENOTCONN;
	return reply.header.status == -ESTALE ? 0 : reply.header.status ? reply.header.status : -EPROTO;
}

static int
bring(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : bring_to(scene, &conn);
	harness_close(&conn);
	return r;
}

/* A worker that has been given something once, and has time for more. */
void
bringing_prepare_stuck(struct faults_scene *scene)
{
	int r = bring(scene);

	harness_assert(r == 0, "what was brought is refused with %d: %s", r, strerror(-r));
}

static void
tell_workers(const struct faults_scene *scene, int signal)
{
	pid_t pids[16];
	size_t n = harness_children(scene->manager.daemon.pid, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++)
		(void)kill(pids[i], signal);
}

void
bringing_stop_workers(const struct faults_scene *scene)
{
	tell_workers(scene, SIGSTOP);
}

void
bringing_continue_workers(const struct faults_scene *scene)
{
	tell_workers(scene, SIGCONT);
}

/* It goes no further than a signal lets it: the one that has something to do is killed for that, and another one does it. */
int
bringing_stuck(struct faults_scene *scene)
{
	int r;

	bringing_stop_workers(scene);
	r = bring(scene);
	bringing_continue_workers(scene);
	return r;
}

int
bringing_nothing(struct faults_scene *scene)
{
	uint64_t since_ns = harness_clock_ns();
	pid_t pids[16];

	while (harness_children(scene->manager.daemon.pid, pids, BASE_ARRAY_SIZE(pids))) {
		if (!injector_awaits(&scene->injector, since_ns, IDLE_MS))
			return -ETIMEDOUT;
		(void)poll(NULL, 0, 10);
	}
	return 0;
}

static bool
is_memory(int id)
{
	struct shmid_ds status;

	return shmctl(id, IPC_STAT, &status) == 0;
}

static bool
await_removed(int id, uint64_t ms)
{
	uint64_t deadline_ns = harness_clock_ns() + ms * NS_PER_MS;

	while (is_memory(id) && harness_clock_ns() < deadline_ns)
		(void)poll(NULL, 0, 10);
	return !is_memory(id);
}

int
bringing_foreign(struct faults_scene *scene)
{
	struct protocol_attached attached;
	struct harness_conn conn;
	void *memory;
	uint64_t since_ns;
	int fd = -1, r = scene_dial(scene, &conn);

	r = r ? r : harness_create(&conn, "ty-1", BYTES, &attached, &fd);
	if (r) {
		harness_close(&conn);
		return r;
	}
	memory = shmat(attached.shm_id, NULL, 0);
	harness_assert(memory != (void *)-1, "shmat: %s", strerror(errno));
	r = harness_remove(&conn, "ty-1", 0);
	close_fd(&fd);
	harness_close(&conn);
	/* Nobody attaches it any more, and it is there as long as somebody has it. */
	harness_assert(!await_removed(attached.shm_id, FOREIGN_MS), "it was removed while somebody had it; failed: %s",
	    injector_describe(&scene->injector));
	(void)shmdt(memory);
	since_ns = harness_clock_ns();
	while (r == 0 && is_memory(attached.shm_id)) {
		if (!injector_awaits(&scene->injector, since_ns, REMOVED_MS))
			r = -ETIMEDOUT;
		(void)poll(NULL, 0, 10);
	}
	return r;
}

void
bringing_settle_foreign(struct faults_scene *scene)
{
	/* The kernel said that somebody had it: it is asked again by who wants it gone. */
	if (strstr(injector_describe(&scene->injector), "EAGAIN"))
		(void)harness_remove(&scene->watcher, "ty-1", 0);
	scene_await_gone(scene, "ty-1");
}
