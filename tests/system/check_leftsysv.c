/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a daemon that was killed leaves of System V memory, in an IPC namespace of the test's own: the next one knows it by its
 * record and the kernel's word for who made it, takes over what fits, removes what it does not want and nobody has attached, and
 * keeps the rest until it is detached.
 */
#include "config.h"

#include <sched.h>
#include <sys/shm.h>

#include "client/segment.h"
#include "tests/system/reloading.h"
#include "tests/system/stranger.h"
#include "tests/system/survivor.h"

#define KEY		0x7A2F
#define OTHER_KEY	0x7A30
#define SIZE		(2 * MIB)
#define DAEMON_KEYS	"memory_reserve = \"16MiB\"; workers = 2;"

#define SYSV(keys)	"{ name = \"s\"; size = \"2MiB\"; backend = \"sysv\"; mlock = false; " keys " }"
#define PRIVATE		"{ name = \"private\"; size = \"4KiB\"; backend = \"sysv\"; mlock = false; }"
#define OTHER		RELOADING_SEGMENT("other", "")

static const char plain[] = RELOADING_SEGMENTS(SYSV("key = 0x7A2F; ") ", " PRIVATE);
static const char without[] = RELOADING_SEGMENTS(OTHER);

static struct {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_segment row;
	int id;
} scene;

static void
begin(const char *body)
{
	stranger_enter_namespace();
	harness_daemon_start(&scene.daemon, DAEMON_KEYS, body);
	harness_open(&scene.conn, scene.daemon.socket);
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(harness_find(&scene.conn, "s", &scene.row), 0);
	scene.id = stranger_find(KEY);
}

static void
start(const char *body)
{
	harness_daemon_configure(&scene.daemon, DAEMON_KEYS, body);
	harness_daemon_launch(&scene.daemon);
	harness_daemon_await_ready(&scene.daemon);
	harness_open(&scene.conn, scene.daemon.socket);
}

static void
kill_daemon(void)
{
	harness_close(&scene.conn);
	harness_daemon_kill(&scene.daemon);
}

static void
restart(const char *body)
{
	kill_daemon();
	start(body);
}

static void
end(unsigned n_left)
{
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
	ck_assert_uint_eq(stranger_count(), n_left);
}

static void
attach_and_set(struct stranger *stranger)
{
	stranger_start(stranger, geteuid(), getegid());
	stranger_must(stranger, 0, "attach %d 0", KEY);
	stranger_must(stranger, 0, "set 1000000 6");
}

static void
expect_same(void)
{
	struct protocol_segment row;
	char *data;

	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(stranger_find(KEY), scene.id);
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_eq(row.generation, scene.row.generation);
	ck_assert_uint_eq(row.resident_bytes, SIZE);
	data = shmat(scene.id, NULL, SHM_RDONLY);
	ck_assert_ptr_ne(data, (void *)-1);
	ck_assert_int_eq(data[1000000], 6);
	ck_assert_int_eq(shmdt(data), 0);
}

START_TEST(what_fits_is_taken_over_with_what_is_in_it_and_who_has_it)
{
	struct stranger stranger;
	struct protocol_segment row;

	begin(plain);
	attach_and_set(&stranger);
	restart(plain);
	expect_same();
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_eq(row.others, 1);
	ck_assert_uint_eq(stranger_count(), 2);
	stranger_kill(&stranger);
	restart(plain);
	expect_same();
	end(0);
}
END_TEST

START_TEST(a_client_of_before_is_the_same_to_the_next_daemon)
{
	struct survivor survivor;

	begin(plain);
	survivor_start(&survivor, scene.daemon.socket, 1000000);
	restart(plain);
	expect_same();
	survivor_expect_same(&survivor);
	end(0);
}
END_TEST

START_TEST(what_is_not_wanted_and_nobody_has_is_removed)
{
	begin(plain);
	restart(without);
	harness_daemon_await_log(&scene.daemon, "the configuration has it no more, and it is removed: the kernel "
	    "counts no attachment of it but ours (nattch)");
	while (stranger_count())
		suite_serves(&scene.daemon);
	end(0);
}
END_TEST

START_TEST(what_is_not_wanted_and_somebody_has_stays_until_it_is_detached)
{
	struct stranger stranger;
	struct stranger_row row;

	begin(plain);
	attach_and_set(&stranger);
	restart(without);
	harness_daemon_await_log(&scene.daemon, "sysv 0x00007a2f of segment 's' (2 MiB, id ");
	harness_daemon_await_log(&scene.daemon, "it is kept, and removed when they are gone");
	/* Others find it by its key meanwhile, and it cannot end unseen. */
	ck_assert_int_eq(stranger_find(KEY), scene.id);
	ck_assert_int_eq(stranger_stat(scene.id, &row), 0);
	ck_assert_uint_eq(row.n_attached, 2);
	stranger_must(&stranger, 6, "get 1000000");
	stranger_must(&stranger, 0, "detach");
	while (stranger_count())
		suite_serves(&scene.daemon);
	stranger_kill(&stranger);
	end(0);
}
END_TEST

START_TEST(what_does_not_fit_waits_for_who_has_it)
{
	struct stranger stranger;
	struct protocol_segment row;

	begin(plain);
	attach_and_set(&stranger);
	restart(RELOADING_SEGMENTS(SYSV("key = 0x7A2F; max_size = \"4MiB\"; required = false; ")));
	ck_assert_int_eq(harness_wait(&scene.conn, "s"), PROTOCOL_FAILED);
	suite_expect_reason(&scene.conn, "s", "it has 2 MiB, and max_size is 4 MiB now");
	suite_expect_reason(&scene.conn, "s", "1 attached: ");
	suite_expect_reason(&scene.conn, "s", ". It is tried again when nobody has it");
	stranger_kill(&stranger);
	do
		ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	while (row.state != PROTOCOL_READY);
	ck_assert_int_ne(stranger_find(KEY), scene.id);
	end(0);
}
END_TEST

/* Somebody removed it, and made another under its key. */
START_TEST(what_has_its_key_now_is_left_alone)
{
	struct stranger stranger;
	int id;

	begin(plain);
	kill_daemon();
	ck_assert_int_eq(shmctl(scene.id, IPC_RMID, NULL), 0);
	stranger_start(&stranger, geteuid(), getegid());
	stranger_must(&stranger, 0, "make %d %d 384", KEY, (int)SIZE);
	stranger_kill(&stranger);
	id = stranger_find(KEY);
	start(RELOADING_SEGMENTS(SYSV("key = 0x7A2F; required = false; ")));
	ck_assert_int_eq(harness_wait(&scene.conn, "s"), PROTOCOL_FAILED);
	suite_expect_reason(&scene.conn, "s", "attached by 0");
	ck_assert_int_eq(stranger_find(KEY), id);
	end(1);
}
END_TEST

/* Ids are of a namespace: another one may have the same for something else. */
START_TEST(in_another_namespace_nothing_is_taken_over)
{
	struct stranger stranger;
	struct protocol_segment row;

	begin(plain);
	kill_daemon();
	ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
	stranger_start(&stranger, geteuid(), getegid());
	stranger_must(&stranger, 0, "make %d %d 384", OTHER_KEY, (int)SIZE);
	start(plain);
	suite_ready(&scene.conn, "s");
	ck_assert_int_eq(harness_find(&scene.conn, "s", &row), 0);
	ck_assert_uint_gt(row.generation, scene.row.generation);
	stranger_kill(&stranger);
	end(1);
}
END_TEST

static struct segment_client *
attach(const char *name, struct segment **ret_segment)
{
	struct segment_client *client;
	int r = segment_connect(&client, scene.daemon.socket);

	if (r == 0)
		r = segment_attach(client, name, NULL, SEGMENT_WRITE, ret_segment);
	harness_assert(r == 0, "attach '%s': %s", name, segment_error());
	return client;
}

static void
let_go(struct segment_client *client, struct segment *segment)
{
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
}

static char *
byte_of(const struct segment *segment)
{
	return (char *)segment_data(segment) + 17;
}

/* While nobody but the killed daemon had it, and while somebody has. */
START_TEST(a_private_one_is_found_again_by_the_record)
{
	struct segment_client *client;
	struct segment *before, *after;
	uint64_t generation;

	begin(plain);
	client = attach("private", &before);
	generation = segment_generation(before);
	*byte_of(before) = 9;
	let_go(client, before);
	restart(plain);
	client = attach("private", &before);
	ck_assert_int_eq(*byte_of(before), 9);
	*byte_of(before) = 10;
	restart(plain);
	ck_assert_int_eq(segment_attach(client, "private", NULL, SEGMENT_WRITE, &after), 0);
	ck_assert_int_eq(*byte_of(after), 10);
	ck_assert_uint_eq(segment_generation(before), generation);
	ck_assert_uint_eq(segment_generation(after), generation);
	ck_assert_uint_eq(stranger_count(), 2);
	ck_assert_int_eq(segment_detach(before), 0);
	let_go(client, after);
	end(0);
}
END_TEST

/* It has no key that others were to find it by, so it is in nobody's way. */
START_TEST(a_private_one_that_does_not_fit_is_left_to_who_has_it)
{
	struct segment_client *client, *other;
	struct segment *before, *after;

	begin(plain);
	client = attach("private", &before);
	*byte_of(before) = 9;
	restart(RELOADING_SEGMENTS(SYSV("key = 0x7A2F; ") ", { name = \"private\"; size = \"8KiB\"; backend = \"sysv\"; mlock = false; }"));
	other = attach("private", &after);
	ck_assert_uint_eq(segment_size(after), 8192);
	ck_assert_int_eq(*byte_of(before), 9);
	ck_assert_int_eq(*byte_of(after), 0);
	ck_assert_uint_ne(segment_generation(before), segment_generation(after));
	ck_assert_uint_eq(stranger_count(), 3);
	/* Nobody else has it attached: the kernel ends it. */
	let_go(client, before);
	ck_assert_uint_eq(stranger_count(), 2);
	let_go(other, after);
	end(0);
}
END_TEST

START_TEST(a_private_one_that_is_not_wanted_goes_when_nobody_has_it)
{
	struct segment_client *client;
	struct segment *before;

	begin(plain);
	client = attach("private", &before);
	restart(RELOADING_SEGMENTS(SYSV("key = 0x7A2F; ")));
	harness_daemon_await_log(&scene.daemon, "sysv (private) of segment 'private' (4 KiB, id ");
	harness_daemon_await_log(&scene.daemon, "it is kept, and removed when they are gone");
	ck_assert_uint_eq(stranger_count(), 2);
	let_go(client, before);
	while (stranger_count() > 1)
		suite_serves(&scene.daemon);
	end(0);
}
END_TEST

/* Who creates one of a name gets zeros, whoever had that name before the kill; and who had it keeps it. */
START_TEST(one_of_a_template_is_nobody_elses)
{
	static const char template_[] = "segments = ( " SYSV("key = 0x7A2F; ") " );\n"
	    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; backend = \"sysv\"; mode = \"0660\"; mlock = false; } );";
	struct segment_client *client, *other;
	struct segment *before, *after;

	begin(template_);
	ck_assert_int_eq(segment_connect(&client, scene.daemon.socket), 0);
	ck_assert_int_eq(segment_create(client, "t-1", 4096, 0, &before), 0);
	*byte_of(before) = 9;
	restart(template_);
	ck_assert_int_eq(segment_connect(&other, scene.daemon.socket), 0);
	ck_assert_int_eq(segment_create(other, "t-1", 4096, 0, &after), 0);
	ck_assert_int_eq(*byte_of(before), 9);
	ck_assert_int_eq(*byte_of(after), 0);
	ck_assert_uint_eq(stranger_count(), 3);
	/* Nor does a segment of the configuration get it. */
	restart(RELOADING_SEGMENTS(SYSV("key = 0x7A2F; ") ", { name = \"t-1\"; size = \"4KiB\"; backend = \"sysv\"; mlock = false; }"));
	let_go(client, before);
	let_go(other, after);
	other = attach("t-1", &after);
	ck_assert_int_eq(*byte_of(after), 0);
	while (stranger_count() > 2)
		suite_serves(&scene.daemon);
	let_go(other, after);
	end(0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("leftsysv");
	TCase *tcase = tcase_create("leftsysv");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_fits_is_taken_over_with_what_is_in_it_and_who_has_it);
	tcase_add_test(tcase, a_client_of_before_is_the_same_to_the_next_daemon);
	tcase_add_test(tcase, what_is_not_wanted_and_nobody_has_is_removed);
	tcase_add_test(tcase, what_is_not_wanted_and_somebody_has_stays_until_it_is_detached);
	tcase_add_test(tcase, what_does_not_fit_waits_for_who_has_it);
	tcase_add_test(tcase, what_has_its_key_now_is_left_alone);
	tcase_add_test(tcase, in_another_namespace_nothing_is_taken_over);
	tcase_add_test(tcase, a_private_one_is_found_again_by_the_record);
	tcase_add_test(tcase, a_private_one_that_does_not_fit_is_left_to_who_has_it);
	tcase_add_test(tcase, a_private_one_that_is_not_wanted_goes_when_nobody_has_it);
	tcase_add_test(tcase, one_of_a_template_is_nobody_elses);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
