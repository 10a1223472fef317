/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a killed daemon was asked for, and the next one answers: see outliving.h. */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/system/outliving.h"
#include "tests/system/suite.h"

const char *
outliving_describe(const struct outliving *scene)
{
	static char text[256];
	size_t n = killing_tracer.n_stops;

	(void)snprintf(text, sizeof(text), "'%s', killed at stop %zu of '%s' (%s)", scene->kind->name, n, scene->phase->name,
	    n ? tracer_describe(&killing_tracer.stops[n - 1]) : "before the first");
	return text;
}

static void
map_and(const struct outliving *scene, bool fills)
{
	unsigned char *bytes = mmap(NULL, SURVIVING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, scene->fd, 0);

	outliving_expect(scene, bytes != MAP_FAILED, "what was handed out cannot be mapped: %s", strerror(errno));
	for (size_t i = 0; i < SURVIVING_BYTES; i += 64) {
		if (fills)
			bytes[i] = (unsigned char)(OUTLIVING_SEED + i);
		outliving_expect(scene, bytes[i] == (fills ? (unsigned char)(OUTLIVING_SEED + i) : 0), "byte %zu is %u", i, bytes[i]);
	}
	(void)munmap(bytes, SURVIVING_BYTES);
}

/*
 * The reply to what was asked before the kill. It may come twice, from the killed daemon and from the next; but what is handed out
 * is handed out once. What is asked behind it is answered behind it.
 */
static int
hear_once(struct outliving *scene, struct harness_reply *ret_reply)
{
	struct protocol_list request = { 0 };
	uint64_t serial = scene->conn.serial;
	struct harness_reply reply;
	int status = surviving_hear(&scene->conn, ret_reply);

	surviving_send(&scene->conn, PROTOCOL_LIST, &request.header, sizeof(request));
	for (;;) {
		ssize_t n = harness_receive(scene->conn.fd, &reply);

		outliving_expect(scene, n >= (ssize_t)sizeof(reply.header), "no reply came: %zd", n);
		if (reply.header.serial == scene->conn.serial)
			return status;
		outliving_expect(scene, reply.header.serial == serial && reply.header.status == status, "request %ju was answered "
		    "with %d, and then %ju with %d", (uintmax_t)serial, status, (uintmax_t)reply.header.serial, reply.header.status);
		outliving_expect(scene, reply.n_fds == 0, "it was handed out twice");
	}
}

void
outliving_ask_for_segment(struct harness_conn *conn, uint32_t access)
{
	struct protocol_attach request = { .access = access };

	(void)snprintf(request.name, sizeof(request.name), "s");
	surviving_send(conn, PROTOCOL_ATTACH, &request.header, sizeof(request));
}

static void
hear_attached(struct outliving *scene)
{
	struct harness_reply reply;
	int r = hear_once(scene, &reply);

	outliving_expect(scene, r == 0 && reply.n_fds > 0, "the reply is %d, with %u descriptors", r, reply.n_fds);
	scene->attached = reply.attached;
	scene->fd = reply.fds[0];
	for (unsigned i = 1; i < reply.n_fds; i++)
		(void)close(reply.fds[i]);
}

static void
hear_done(struct outliving *scene)
{
	struct harness_reply reply;
	int r = hear_once(scene, &reply);

	outliving_expect(scene, r == 0, "the reply is %d", r);
}

static void
give_back(struct outliving *scene)
{
	int r = harness_detach(&scene->conn, &scene->attached);

	outliving_expect(scene, r == 0, "what was handed out cannot be given back: %d", r);
	close_fd(&scene->fd);
}

static bool
is_answered(void *arg)
{
	const struct outliving *scene = arg;
	struct pollfd fd = { .fd = scene->conn.fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

/* A pair was stored in another's place. */
static bool
is_renewed(const struct outliving *scene)
{
	bool is_tidy;

	harness_manager_lock(scene->manager);
	is_tidy = scene->manager->n_removed > scene->n_removed && scene->manager->n_stored == SURVIVING_STORED;
	harness_manager_unlock(scene->manager);
	return is_tidy;
}

/* The start, with nothing there or with what another one left. */

static bool
is_ready(void *arg)
{
	const struct outliving *scene = arg;
	bool is_tidy;

	harness_manager_lock(scene->manager);
	is_tidy = scene->manager->n_ready > scene->n_ready && scene->manager->n_stored == SURVIVING_STORED;
	harness_manager_unlock(scene->manager);
	return is_tidy;
}

static void
launch_traced(struct outliving *scene)
{
	tracer_arm(&scene->manager->daemon);
	harness_manager_launch(scene->manager);
	tracer_take(&killing_tracer, &scene->manager->daemon, SYS_flock);
}

/* Somebody has come before it. */
static void
prepare_start(struct outliving *scene)
{
	union suite_request hello;

	scene->conn = (struct harness_conn) { .fd = harness_dial(scene->manager->daemon.socket), .serial = 1 };
	harness_assert(scene->conn.fd >= 0, "nobody listens: %s", strerror(-scene->conn.fd));
	ck_assert_int_gt(harness_send(scene->conn.fd, &hello, suite_fill_hello(&hello, 1), NULL, 0), 0);
}

/* Between accept(2) and the box a connection is nobody's but the daemon's. */
static bool
was_in_hands(void)
{
	bool is_accepted = false;

	for (size_t i = 0; i < killing_tracer.n_stops; i++) {
		const struct tracer_stop *stop = &killing_tracer.stops[i];

		is_accepted |= stop->is_end && stop->call == SYS_accept4;
		if (is_accepted && stop->is_end && stop->call == SYS_sendmsg)
			return false;
	}
	return is_accepted;
}

/* Who is hung up on before there was any answer tries again, as the library does. */
static void
hear_welcome(struct outliving *scene)
{
	char byte;

	if (was_in_hands() && recv(scene->conn.fd, &byte, 1, MSG_PEEK) <= 0) {
		harness_close(&scene->conn);
		prepare_start(scene);
	}
	scene->conn.is_lasting = true;
	hear_done(scene);
}

static void
settle_start(struct outliving *scene)
{
	hear_welcome(scene);
	actor_start(&scene->guest, scene->manager->daemon.socket, "s");
	actor_must(&scene->guest, 0, "differs 0");
	actor_must(&scene->guest, 0, "fill %d", OUTLIVING_SEED);
	actor_must(&scene->guest, 0, "lock all");
	actor_must(&scene->guest, 0, "unlock all");
	actor_kill(&scene->guest);
	harness_await_counts(&scene->conn, "s", 0, 0);
	harness_close(&scene->conn);
}

static void
end_first(struct outliving *scene)
{
	ck_assert_int_eq(harness_manager_end(scene->manager, SIGKILL), -SIGKILL);
}

static void
settle_nothing(struct outliving *scene)
{
	(void)scene;
}

/* A client that connects. */

static void
dial(struct outliving *scene)
{
	tracer_seize(&killing_tracer, &scene->manager->daemon);
	harness_close(&scene->conn);
	prepare_start(scene);
}

/* An attachment. */

static void
ask_attach(struct outliving *scene)
{
	tracer_seize(&killing_tracer, &scene->manager->daemon);
	outliving_ask_for_segment(&scene->conn, SUITE_WRITE);
}

static void
settle_attach(struct outliving *scene)
{
	struct stat status;

	hear_attached(scene);
	harness_await_counts(&scene->watch, "s", scene->view.row.readers, scene->view.row.writers + 1);
	ck_assert_int_eq(fstat(scene->fd, &status), 0);
	outliving_expect(scene, status.st_ino == scene->view.object.st_ino, "another object was handed out");
	give_back(scene);
}

static void
prepare_detach(struct outliving *scene)
{
	outliving_ask_for_segment(&scene->conn, SUITE_WRITE);
	hear_attached(scene);
}

static void
ask_detach(struct outliving *scene)
{
	struct protocol_detach request = { .attachment = scene->attached.attachment, .generation = scene->attached.generation };

	tracer_seize(&killing_tracer, &scene->manager->daemon);
	close_fd(&scene->fd);
	surviving_send(&scene->conn, PROTOCOL_DETACH, &request.header, sizeof(request));
}

/* A segment of the template. */

static void
ask_create(struct outliving *scene)
{
	tracer_seize(&killing_tracer, &scene->manager->daemon);
	suite_send_create(&scene->conn, OUTLIVING_EXTRA, SURVIVING_BYTES);
}

static void
settle_create(struct outliving *scene)
{
	hear_attached(scene);
	map_and(scene, false);
	map_and(scene, true);
	harness_await_counts(&scene->watch, OUTLIVING_EXTRA, 0, 1);
	ck_assert_int_eq(harness_remove(&scene->watch, OUTLIVING_EXTRA, 0), 0);
	give_back(scene);
	harness_await_gone(&scene->watch, OUTLIVING_EXTRA);
}

static void
prepare_removal(struct outliving *scene)
{
	ck_assert_int_eq(harness_create(&scene->conn, OUTLIVING_EXTRA, SURVIVING_BYTES, &scene->attached, &scene->fd), 0);
	map_and(scene, true);
}

static void
ask_removal(struct outliving *scene)
{
	struct protocol_remove request = { .flags = PROTOCOL_REMOVE_NOW };

	tracer_seize(&killing_tracer, &scene->manager->daemon);
	(void)snprintf(request.name, sizeof(request.name), OUTLIVING_EXTRA);
	surviving_send(&scene->conn, PROTOCOL_REMOVE, &request.header, sizeof(request));
}

static void
settle_removal(struct outliving *scene)
{
	hear_done(scene);
	give_back(scene);
	harness_await_gone(&scene->watch, OUTLIVING_EXTRA);
}

static void
prepare_drain(struct outliving *scene)
{
	prepare_removal(scene);
	ck_assert_int_eq(harness_remove(&scene->watch, OUTLIVING_EXTRA, 0), 0);
}

/* Its memory is in the box, which is renewed for that. */
static bool
is_drained(void *arg)
{
	return is_answered(arg) && is_renewed(arg);
}

static void
settle_drain(struct outliving *scene)
{
	hear_done(scene);
	harness_await_gone(&scene->watch, OUTLIVING_EXTRA);
}

/* Of a segment that others find by its name it says whether anybody has it, for which it asks the kernel. */
static void
ask_list(struct outliving *scene)
{
	struct protocol_list request = { 0 };

	tracer_seize(&killing_tracer, &scene->manager->daemon);
	surviving_send(&scene->conn, PROTOCOL_LIST, &request.header, sizeof(request));
}

const struct outliving_phase outliving_phases[OUTLIVING_PHASE_N] = {
	[OUTLIVING_START] = { "start", prepare_start, launch_traced, is_ready, settle_start },
	[OUTLIVING_RESTART] = { "restart", end_first, launch_traced, is_ready, settle_nothing },
	[OUTLIVING_ACCEPT] = { "accept", NULL, dial, is_answered, hear_welcome },
	[OUTLIVING_ATTACH] = { "attach", NULL, ask_attach, is_answered, settle_attach },
	[OUTLIVING_DETACH] = { "detach", prepare_detach, ask_detach, is_answered, hear_done },
	[OUTLIVING_CREATE] = { "create", NULL, ask_create, is_answered, settle_create },
	[OUTLIVING_REMOVE] = { "remove", prepare_removal, ask_removal, is_answered, settle_removal },
	[OUTLIVING_LIST] = { "list", NULL, ask_list, is_answered, hear_done },
	[OUTLIVING_DRAIN] = { "drain, and renewal of the box", prepare_drain, ask_detach, is_drained, settle_drain },
};
