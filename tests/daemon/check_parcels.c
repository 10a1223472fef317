/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What clients send along is charged to their uid as long as it lies there, whatever becomes of the session, or of the worker that is
 * at it; and who has workers that do not end gets no more of them, while others do. The workers are this program itself, of one kind or
 * another.
 */
#include "config.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/session.h"
#include "tests/disk.h"

#define UID		1000
#define OTHER		1001
#define PART		"CHECK_PARCELS_WORKER"	/* in the environment: what the next worker does */
#define STUCK_AT	"CHECK_PARCELS_FILE"	/* likewise: on a disk that does not answer */
#define N_FLIGHT	3
#define MANY		(3 * JOB_MANY_MAX)
#define LOST_MAX	2	/* workers of a uid that do not end */

static struct event_base *base;
static struct accounts accounts;
static struct flights flights;
static struct parcels parcels;
static unsigned n_woken;

/* Workers. */

/* It has the job, and has read nothing. */
static void
take_job(void)
{
	struct job job;

	if (recv(STDIN_FILENO, &job, sizeof(job), 0) != (ssize_t)sizeof(job))
		_exit(EXIT_SUCCESS);
}

/* It waits in the kernel, where no signal reaches it. */
static void
get_stuck(void)
{
	int fd = open(getenv(STUCK_AT), O_WRONLY | O_CLOEXEC);

	(void)!write(fd, "x", 1);
	_exit(EXIT_SUCCESS);
}

static int
play(const char *part)
{
	if (streq(part, "works"))
		return worker_main();
	take_job();
	if (streq(part, "sticks"))
		get_stuck();
	raise(SIGKILL);
	return EXIT_FAILURE;
}

static void
cast(const char *part)
{
	ck_assert_int_eq(setenv(PART, part, 1), 0);
}

/* Clients. */

struct client {
	struct session session;
	int fd;				/* its own end */
};

static void
on_wake(struct segment_waiter *waiter BASE_UNUSED)
{
	n_woken++;
}

/* Has sent a descriptor, which is no memory. */
static void
arrive(struct client *client, uint32_t uid)
{
	int fds[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(null, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(harness_send(fds[1], "request", 7, &null, 1), 7);
	(void)close(null);
	*client = (struct client) {
		.session = { .fd = fds[0], .identity.uid = uid, .waiter.wake = on_wake }, .fd = fds[1],
	};
}

/* Its session's. */
static const struct parcel *
receive(struct client *client)
{
	const struct parcels_proof proof = { .inode = 1 };

	ck_assert_int_eq(parcels_receive(&parcels, &client->session, 1, &proof), 0);
	ck_assert_ptr_nonnull(client->session.parcel);
	return client->session.parcel;
}

static void
leave(struct client *client)
{
	ck_assert_ptr_null(client->session.parcel);
	close_fd(&client->session.fd);
	close_fd(&client->fd);
}

/* Whether something is first in its queue. */
static bool
lies(const struct client *client)
{
	char byte;

	return recv(client->session.fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* The daemon. */

static void
setup(void)
{
	const struct conf_limits limits = { .clients = 16, .attachments = 16 };

	base = event_base_new();
	accounts_init(&accounts, &limits);
	flights_init(&flights, base, &accounts);
	parcels_init(&parcels, base, &accounts, &flights);
	n_woken = 0;
	cast("works");
}

/* Asserts that no account is left. */
static void
teardown(void)
{
	parcels_deinit(&parcels);
	flights_deinit(&flights);
	accounts_deinit(&accounts);
	event_base_free(base);
}

static void
turn(void)
{
	ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* A worker has it; what it does is not heard of before the next turn. */
static void
await_given(const struct parcel *parcel)
{
	while (!parcel->is_running || parcel->job.is_queued)
		turn();
}

static uint64_t
used(uint32_t uid, enum accounts_kind kind)
{
	return accounts_used(&accounts, uid, kind);
}

START_TEST(what_lies_there_is_charged)
{
	const struct parcel *first, *second;
	struct client clients[2];

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(clients); i++)
		arrive(&clients[i], UID);
	first = receive(&clients[0]);
	second = receive(&clients[1]);
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 2);
	await_given(first);
	/* A uid has one worker: the other waits for it, and counts as well. */
	ck_assert(second->is_waiting);
	while (!first->is_done || !second->is_done)
		turn();
	ck_assert_uint_eq(n_woken, 2);
	ck_assert_int_eq(second->status, -EBADF);
	/* Whoever asked has not looked at it yet. */
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 2);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(clients); i++) {
		ck_assert(!parcels_forget(&clients[i].session));
		ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 1 - i);
		leave(&clients[i]);
	}
	ck_assert_uint_eq(used(OTHER, ACCOUNTS_DESCRIPTORS), 0);
}
END_TEST

/* Its worker dies, or does what it should. */
START_TEST(who_has_gone_pays_until_the_worker_is_done)
{
	struct client client, waiting;

	cast(_i ? "dies" : "works");
	arrive(&client, UID);
	arrive(&waiting, UID);
	await_given(receive(&client));
	(void)receive(&waiting);
	ck_assert(parcels_forget(&client.session));
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 2);
	/* Nobody is at that one. */
	ck_assert(!parcels_forget(&waiting.session));
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 1);
	while (used(UID, ACCOUNTS_DESCRIPTORS))
		turn();
	ck_assert_uint_eq(parcels.workers.n_deaths, (unsigned)_i);
	ck_assert_uint_eq(n_woken, 0);
	leave(&client);
	leave(&waiting);
}
END_TEST

START_TEST(worker_that_dies_leaves_the_charge_to_who_asked)
{
	const struct parcel *parcel;
	struct client client;

	cast("dies");
	arrive(&client, UID);
	parcel = receive(&client);
	while (!parcel->is_done)
		turn();
	ck_assert_int_eq(parcel->status, -EAGAIN);
	ck_assert_uint_eq(parcels.workers.n_deaths, 1);
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 1);
	ck_assert(!parcels_forget(&client.session));
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 0);
	/* The message is first in the queue, to be read away. */
	ck_assert(lies(&client));
	cast("works");
	ck_assert_int_eq(parcels_discard(&parcels, &client.session), 0);
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 1);
	while (parcels_discards(&client.session))
		turn();
	ck_assert(!lies(&client));
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 0);
	leave(&client);
}
END_TEST

/* A connection that has ended counts until all of it is read away, and what was sent over it until that is read. */
START_TEST(what_has_ended_is_charged_until_it_is_read)
{
	struct charge charge = CHARGE_NULL;
	uint32_t uid = geteuid();
	struct client client;
	char text[16];

	cast("dies");
	arrive(&client, uid);
	ck_assert_int_eq(accounts_charge(&accounts, uid, ACCOUNTS_IN_FLIGHT, N_FLIGHT, &charge), 0);
	ck_assert_int_eq(send(client.session.fd, "reply", 5, 0), 5);
	ck_assert_int_eq(shutdown(client.session.fd, SHUT_RDWR), 0);
	parcels_end(&parcels, &client.session.fd, &charge);
	ck_assert_int_lt(client.session.fd, 0);
	ck_assert_ptr_null(charge.account);
	/* Before a worker has it, and when one has died at it. */
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(used(uid, ACCOUNTS_CLIENTS), 1);
		ck_assert_uint_eq(used(uid, ACCOUNTS_DESCRIPTORS), 1);
		ck_assert_uint_eq(used(uid, ACCOUNTS_ENDED), 1);
		ck_assert_uint_eq(used(uid, ACCOUNTS_IN_FLIGHT), N_FLIGHT);
		while (!parcels.workers.n_deaths)
			turn();
	}
	cast("works");
	while (used(uid, ACCOUNTS_ENDED))
		turn();
	ck_assert_uint_eq(used(uid, ACCOUNTS_CLIENTS), 0);
	ck_assert_uint_eq(used(uid, ACCOUNTS_IN_FLIGHT), N_FLIGHT);
	ck_assert_uint_eq(used(uid, ACCOUNTS_DESCRIPTORS), 1);
	ck_assert_int_eq(recv(client.fd, text, sizeof(text), 0), 5);
	while (used(uid, ACCOUNTS_IN_FLIGHT))
		turn();
	ck_assert_uint_eq(used(uid, ACCOUNTS_DESCRIPTORS), 0);
	leave(&client);
}
END_TEST

static void
end_many(struct client *clients, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		arrive(&clients[i], geteuid());
		ck_assert_int_eq(shutdown(clients[i].session.fd, SHUT_RDWR), 0);
		parcels_end(&parcels, &clients[i].session.fd, NULL);
	}
}

/* A worker takes as many as wait for it when it comes: the loop has little to do for each of them. One may die at it. */
START_TEST(many_that_have_ended_go_together)
{
	struct client clients[MANY];
	uint32_t uid = geteuid();

	cast(_i ? "dies" : "works");
	end_many(clients, MANY);
	ck_assert_uint_eq(used(uid, ACCOUNTS_ENDED), MANY);
	while (_i && !parcels.workers.n_deaths)
		turn();
	ck_assert(!_i || used(uid, ACCOUNTS_ENDED) == MANY);
	cast("works");
	while (used(uid, ACCOUNTS_ENDED))
		turn();
	/* One that got no CPU for long has left the rest to another. */
	ck_assert_uint_le(parcels.workers.n_jobs, parcels.workers.n_deaths + 2 * MANY / JOB_MANY_MAX);
	ck_assert_uint_eq(used(uid, ACCOUNTS_CLIENTS), 0);
	ck_assert_uint_eq(used(uid, ACCOUNTS_DESCRIPTORS), 0);
	for (unsigned i = 0; i < MANY; i++)
		leave(&clients[i]);
}
END_TEST

/* In a worker, with another one's, and waiting. */
START_TEST(stop_gives_back_what_has_ended)
{
	struct client clients[MANY];

	end_many(clients, MANY);
	await_given(TAILQ_FIRST(&parcels.running));
	ck_assert(!TAILQ_EMPTY(&TAILQ_FIRST(&parcels.running)->others));
	ck_assert(!TAILQ_EMPTY(&parcels.waiting));
	ck_assert_uint_eq(used(geteuid(), ACCOUNTS_ENDED), MANY);
}
END_TEST

START_TEST(stop_gives_all_back)
{
	const struct parcel *done;
	struct client clients[3];

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(clients); i++)
		arrive(&clients[i], UID);
	done = receive(&clients[0]);
	while (!done->is_done)
		turn();
	await_given(receive(&clients[1]));
	ck_assert(receive(&clients[2])->is_waiting);
	ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), 3);
}
END_TEST

static struct disk disk;
static int log_fd;

/* From here on workers that are to stick do so, and what is said is looked at. */
static void
begin_to_stick(void)
{
	char path[128];
	int fd;

	disk_mount(&disk, 16 * MIB);
	(void)snprintf(path, sizeof(path), "%s/file", disk.dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	disk_freeze(&disk);
	ck_assert_int_eq(setenv(STUCK_AT, path, 1), 0);
	cast("sticks");
	log_fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_eq(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
}

/* How often it was said. */
static unsigned
n_said(const char *text)
{
	static char log[65536];
	ssize_t n = pread(log_fd, log, sizeof(log) - 1, 0);
	unsigned n_found = 0;

	ck_assert_int_ge(n, 0);
	log[n] = '\0';
	for (const char *at = strstr(log, text); at; at = strstr(at + 1, text))
		n_found++;
	return n_found;
}

/* What it has sent is looked at. */
static void
expect_served(uint32_t uid)
{
	const struct parcel *parcel;
	struct client client;

	arrive(&client, uid);
	parcel = receive(&client);
	while (!parcel->is_done)
		turn();
	ck_assert_int_eq(parcel->status, -EBADF);
	ck_assert(!parcels_forget(&client.session));
	leave(&client);
}

START_TEST(who_has_workers_that_do_not_end_gets_no_more)
{
	const struct parcel *parcels_[LOST_MAX + 1];
	struct client clients[LOST_MAX + 1];

	begin_to_stick();
	for (unsigned i = 0; i <= LOST_MAX; i++) {
		arrive(&clients[i], UID);
		parcels_[i] = receive(&clients[i]);
	}
	for (unsigned i = 0; i < LOST_MAX; i++) {
		ck_assert_uint_eq(n_said("uid 1000 had sent along"), 0);
		while (!parcels_[i]->is_done)
			turn();
		ck_assert_uint_eq(workers_n_lost(&parcels.workers, UID), i + 1);
		/* Its own is charged like any that was looked at. */
		ck_assert_uint_eq(used(UID, ACCOUNTS_DESCRIPTORS), LOST_MAX + 1);
	}
	ck_assert_uint_eq(n_said("2 workers that let go of descriptors which uid 1000 had sent along were killed and do not end"), 1);
	cast("works");
	for (unsigned i = 0; i < 3; i++)
		expect_served(i % 2 ? 0 : OTHER);
	ck_assert(parcels_[LOST_MAX]->is_waiting);
	ck_assert_uint_eq(parcels.workers.n_lost, LOST_MAX);
	/* Who waits for that may go. */
	for (unsigned i = 0; i < LOST_MAX; i++) {
		ck_assert(!parcels_forget(&clients[i].session));
		leave(&clients[i]);
	}
	disk_thaw(&disk);
	while (!parcels_[LOST_MAX]->is_done)
		turn();
	ck_assert_int_eq(parcels_[LOST_MAX]->status, -EBADF);
	ck_assert_uint_lt(parcels.workers.n_lost, LOST_MAX);
	ck_assert(!parcels_forget(&clients[LOST_MAX].session));
	leave(&clients[LOST_MAX]);
	while (parcels.workers.n_lost)
		turn();
	expect_served(UID);
	disk_unmount(&disk);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return play(getenv(PART));
	suite = suite_create("parcels");
	tcase = tcase_create("parcels");
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_lies_there_is_charged);
	tcase_add_loop_test(tcase, who_has_gone_pays_until_the_worker_is_done, 0, 2);
	tcase_add_test(tcase, worker_that_dies_leaves_the_charge_to_who_asked);
	tcase_add_test(tcase, what_has_ended_is_charged_until_it_is_read);
	tcase_add_loop_test(tcase, many_that_have_ended_go_together, 0, 2);
	tcase_add_test(tcase, stop_gives_back_what_has_ended);
	tcase_add_test(tcase, stop_gives_all_back);
	tcase_add_test(tcase, who_has_workers_that_do_not_end_gets_no_more);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
