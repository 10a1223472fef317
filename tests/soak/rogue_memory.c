/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Misdeeds with what one is given: memory that is punched, cut short or sealed, marks that are disturbed, control memory that lies,
 * holders that the session says nothing of, segments that fill all that one may have.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "client/control.h"
#include "client/segment.h"
#include "tests/soak/board.h"
#include "tests/soak/rogue.h"

#define READ		PROTOCOL_ACCESS_READ
#define WRITE		(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)
#define LAIR_BYTES	(64 * 1024)
#define LIES		300
#define MARKS		4096

static void
name_own(struct rogue *rogue, const char *prefix, char *name, size_t size)
{
	(void)snprintf(name, size, "%s%d-%u", prefix, (int)getpid(), soak_draw(&rogue->random, 1000000));
}

/* Over all marks, or some; also its own. */
static void
disturb_marks(struct rogue *rogue)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct harness_conn conn;
	struct harness_reply reply;

	if (rogue_open(&conn))
		return;
	if (rogue_attach(&conn, "desk", soak_draw(&rogue->random, 2) ? WRITE : READ, &reply) == 0) {
		for (int i = 0; i < 20; i++) {
			struct flock lock = {
				.l_type = types[soak_draw(&rogue->random, BASE_ARRAY_SIZE(types))], .l_whence = SEEK_SET,
				.l_start = PROTOCOL_MARK_BASE + (off_t)soak_draw(&rogue->random, MARKS),
				.l_len = (off_t)soak_draw(&rogue->random, MARKS),
			};

			(void)fcntl(reply.fds[0], F_OFD_SETLK, &lock);
		}
		(void)fcntl(reply.fds[0], F_SETLEASE, F_RDLCK);
		rogue_pause(rogue, 500);
		rogue_drop(&reply);
	}
	harness_close(&conn);
}

/* What it writes, it may spoil; others' sizes it may not. */
static void
punch_and_cut(struct rogue *rogue)
{
	static const char *const names[] = { "desk", "strand" };
	const char *name = names[soak_draw(&rogue->random, 2)];
	struct harness_conn conn;
	struct harness_reply reply;

	if (rogue_open(&conn))
		return;
	if (rogue_attach(&conn, name, WRITE, &reply) == 0) {
		(void)fallocate(reply.fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192);
		if (streq(name, "desk")) {
			harness_assert(ftruncate(reply.fds[0], 0) != 0, "a sealed object could be shrunk");
			harness_assert(ftruncate(reply.fds[0], (off_t)1 << 40) != 0, "a sealed object could be grown");
		} else {
			(void)!ftruncate(reply.fds[0], (off_t)soak_draw(&rogue->random, LAIR_BYTES));
		}
		harness_assert(!soak_board->has_uids || fchmod(reply.fds[0], 0666) != 0, "the object's mode could be changed");
		rogue_pause(rogue, 100);
		rogue_drop(&reply);
	}
	harness_close(&conn);
}

/* Control memory of its own segment: anything may stand there, in sections and out of them. */
static void
lie_in_control(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;
	char name[64];

	if (rogue_open(&conn))
		return;
	name_own(rogue, "lair-", name, sizeof(name));
	if (rogue_create(&conn, name, LAIR_BYTES, &reply) == 0 && reply.n_fds == 2) {
		size_t size = reply.attached.control_bytes;
		unsigned char *control = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds[1], 0);

		for (int i = 0; i < LIES && control != MAP_FAILED; i++) {
			size_t at = soak_draw(&rogue->random, 2) ? soak_draw(&rogue->random, 64) : soak_draw(&rogue->random, (uint32_t)size);
			uint32_t word = soak_draw(&rogue->random, 2) ? reply.attached.attachment : soak_draw(&rogue->random, UINT32_MAX);

			if (at + sizeof(word) <= size)
				memcpy(control + at, &word, sizeof(word));
			if (i % 32 == 0)
				(void)fallocate(reply.fds[i % 64 == 0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
		}
		rogue_pause(rogue, 100);
		if (control != MAP_FAILED)
			(void)munmap(control, size);
	}
	rogue_drop(&reply);
	harness_close(&conn);
}

/* With the library: locks of its own, some of them held when it is killed, since that may be at any time. */
static void
lock_and_die(struct rogue *rogue)
{
	struct segment_client *client;
	struct segment *segment;
	char name[64];

	if (segment_connect(&client, soak_board->socket))
		return;
	name_own(rogue, "lair-", name, sizeof(name));
	if (segment_create(client, name, LAIR_BYTES, 0, &segment) == 0) {
		char *data = segment_data(segment);

		for (int i = 0; i < 1000; i++) {
			if (segment_lock(segment, 0))
				break;
			if (segment_modify(segment, 0, data, 64) == 0)
				memset(data, i, 64);
			if (i == 999)
				raise(SIGKILL);
			(void)segment_unlock(segment, 0);
		}
		(void)segment_detach(segment);
	}
	segment_disconnect(client);
}

/* The session is gone, and somebody maps on. */
static void
leave_a_child(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;

	if (rogue_open(&conn))
		return;
	if (rogue_attach(&conn, "desk", READ, &reply) == 0) {
		pid_t pid;

		(void)signal(SIGCHLD, SIG_IGN);
		pid = fork();
		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			harness_close(&conn);
			rogue_pause(rogue, 500);
			_exit(0);
		}
		rogue_drop(&reply);
	}
	harness_close(&conn);
	rogue_pause(rogue, 50);
}

/* All names and bytes that it may have. */
static void
create_all(struct rogue *rogue)
{
	struct harness_conn conn;
	struct harness_reply reply;

	if (rogue_open(&conn))
		return;
	for (int i = 0; i < 100; i++) {
		char name[64];

		name_own(rogue, "s-", name, sizeof(name));
		if (rogue_create(&conn, name, 4096 * (1 + soak_draw(&rogue->random, 15)), &reply)) {
			rogue_drop(&reply);
			break;
		}
		rogue_drop(&reply);
	}
	harness_close(&conn);
	rogue_pause(rogue, 20);
}

/* Names and modes that are not for it. */
static void
try_doors(struct rogue *rogue)
{
	static const struct {
		unsigned type;
		size_t size;
	} doors[] = {
		{ PROTOCOL_PLAN, sizeof(struct protocol_plan) }, { PROTOCOL_RETRY, sizeof(struct protocol_retry) },
		{ PROTOCOL_REMOVE, sizeof(struct protocol_remove) }, { PROTOCOL_RECOVER, sizeof(struct protocol_recover) },
		{ PROTOCOL_UPLOAD, sizeof(struct protocol_upload) }, { PROTOCOL_METRICS, sizeof(struct protocol_header) },
	};
	union {
		struct protocol_header header;
		struct protocol_retry retry;
		struct protocol_remove remove;
		struct protocol_recover recover;
		struct protocol_upload upload;
	} request = { 0 };
	uint32_t i = soak_draw(&rogue->random, BASE_ARRAY_SIZE(doors));
	struct harness_conn conn;
	struct harness_reply reply;
	int r;

	/* Without other uids it is its own daemon's administrator. */
	if (!soak_board->has_uids || rogue_open(&conn))
		return;
	if (rogue_attach(&conn, "closed", READ, &reply) == 0)
		harness_fail("a segment of mode 0600 was handed out to uid %u", rogue->uid);
	if (doors[i].type == PROTOCOL_RETRY || doors[i].type == PROTOCOL_REMOVE || doors[i].type == PROTOCOL_RECOVER)
		(void)snprintf(doors[i].type == PROTOCOL_RETRY ? request.retry.name : request.remove.name, PROTOCOL_NAME_SIZE, "closed");
	r = rogue_ask(&conn, doors[i].type, &request.header, doors[i].size, &reply);
	harness_assert(r < 0, "request %u was carried out for uid %u", doors[i].type, rogue->uid);
	harness_close(&conn);
	rogue_pause(rogue, 20);
}

const struct rogue_misdeed rogue_memory[] = {
	{ "marks", disturb_marks },
	{ "holes and cuts", punch_and_cut },
	{ "lies", lie_in_control },
	{ "dies in a section", lock_and_die },
	{ "leaves a child", leave_a_child },
	{ "creates all", create_all },
	{ "closed doors", try_doors },
	{ NULL, NULL },
};
