/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What others can do to a System V segment, and so to the daemon: those whom the kernel lets attach, those whom it does not,
 * and those who may do anything: root, and whoever runs as the daemon's uid. Whatever it is, nobody loses memory by it, the
 * daemon goes on, and says what was done.
 */
#include "config.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "tests/system/actor.h"
#include "tests/system/stranger.h"
#include "tests/system/suite.h"

#define KEY		0x7A2F
#define GROUP_GID	54321		/* of whom no database knows */
#define OTHER_GID	54322
#define SIZE		(64 * KIB)
#define BOOK(keys)	"segments = ( { name = \"book\"; size = \"64KiB\"; backend = \"sysv\"; key = 0x7A2F; " \
	"group = \"54321\"; mode = \"0660\"; " keys " } );"
#define LOCKED		BOOK("locks = ( { name = \"all\"; offset = \"0\"; length = \"64KiB\"; undo = \"4KiB\"; } );")

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	int id;
};

static void
begin(struct scene *scene, const char *body)
{
	stranger_enter_namespace();
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, NULL, body);
	harness_open(&scene->conn, scene->daemon.socket);
	scene->id = stranger_find(KEY);
}

static void
end(struct scene *scene)
{
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
}

/* What SHOW says was done to it; NULL: nothing. It is of use all the same. */
static void
expect_told(struct scene *scene, const char *text)
{
	struct protocol_segment row;
	struct harness_reply shown;

	ck_assert_int_eq(harness_find(&scene->conn, "book", &row), 0);
	ck_assert_int_eq(row.state, PROTOCOL_READY);
	ck_assert_int_eq(!!(row.flags & PROTOCOL_SEGMENT_DEGRADED), text != NULL);
	ck_assert_int_eq(harness_show(&scene->conn, "book", &shown), 0);
	harness_assert(strstr(harness_reason(&shown), text ? text : ""), "'%s' does not say '%s'", harness_reason(&shown), text);
}

static void
expect_removable(struct scene *scene)
{
	ck_assert_int_eq(harness_remove(&scene->conn, "book", 0), 0);
	harness_await_gone(&scene->conn, "book");
}

START_TEST(who_may_attach_it_may_nothing_else)
{
	static const gid_t gids[] = { GROUP_GID, OTHER_GID };
	struct stranger stranger;
	struct scene scene;

	begin(&scene, BOOK(""));
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(gids); i++) {
		stranger_start(&stranger, HARNESS_NOBODY, gids[i]);
		stranger_must(&stranger, -EPERM, "remove %d", scene.id);
		stranger_must(&stranger, -EPERM, "change %d %d %d 0666", scene.id, HARNESS_NOBODY, (int)gids[i]);
		stranger_must(&stranger, -EPERM, "unlock %d", scene.id);
		stranger_kill(&stranger);
	}
	expect_told(&scene, NULL);
	end(&scene);
}
END_TEST

/* The memory stays with everybody, our clients find it still, and another one with the key is not ours to remove. */
START_TEST(key_that_somebody_removed_is_told)
{
	struct stranger root, other;
	struct actor before, after;
	struct scene scene;

	begin(&scene, BOOK(""));
	actor_start(&before, scene.daemon.socket, "book");
	stranger_start(&root, 0, 0);
	stranger_must(&root, 0, "remove %d", scene.id);
	expect_told(&scene, "somebody has removed key 0x00007a2f");
	actor_start(&after, scene.daemon.socket, "book");
	stranger_start(&other, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&other, 0, "make %d 4096 0600", KEY);
	actor_kill(&before);
	actor_kill(&after);
	expect_removable(&scene);
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 1);
	ck_assert_int_ge(stranger_find(KEY), 0);
	stranger_kill(&root);
	stranger_kill(&other);
}
END_TEST

START_TEST(rights_that_somebody_changed_are_told)
{
	struct stranger root, other;
	struct actor actor;
	struct scene scene;

	begin(&scene, BOOK(""));
	stranger_start(&root, 0, 0);
	stranger_start(&other, HARNESS_NOBODY, OTHER_GID);
	/* Away from us, too: its maker keeps its rights. */
	stranger_must(&root, 0, "change %d %d %d 0606", scene.id, HARNESS_NOBODY, OTHER_GID);
	expect_told(&scene, "somebody has changed who may attach");
	stranger_must(&other, 0, "attach %d 0", KEY);
	actor_start(&actor, scene.daemon.socket, "book");
	stranger_must(&other, 0, "remove %d", scene.id);
	stranger_kill(&other);
	actor_kill(&actor);
	expect_removable(&scene);
	stranger_kill(&root);
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

START_TEST(pages_that_somebody_unlocked_are_told)
{
	struct stranger root;
	struct scene scene;

	begin(&scene, BOOK("mlock = true;"));
	stranger_start(&root, 0, 0);
	stranger_must(&root, 0, "unlock %d", scene.id);
	expect_told(&scene, "somebody has unlocked");
	stranger_kill(&root);
	end(&scene);
}
END_TEST

/* A writer can take pages away from under the recovery of a lock. Zeros are what it finds then, and no signal. */
START_TEST(pages_punched_out_harm_nobody_else)
{
	struct protocol_lock lock;
	struct stranger stranger;
	struct actor actor;
	struct scene scene;

	begin(&scene, LOCKED);
	actor_start(&actor, scene.daemon.socket, "book");
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	actor_must(&actor, 0, "lock all");
	actor_must(&actor, 0, "set all 1 99");
	stranger_must(&stranger, 0, "punch 0 %lu", SIZE);
	actor_kill(&actor);
	actor_await_recoveries(&scene.conn, "book", "all", 1, &lock);
	actor_start(&actor, scene.daemon.socket, "book");
	actor_must(&actor, 0, "lock all");
	actor_must(&actor, 1, "recovered all");
	actor_kill(&actor);
	stranger_kill(&stranger);
	expect_removable(&scene);
	end(&scene);
}
END_TEST

static void
begin_with_worker_stopped(struct scene *scene, const char *body, pid_t *ret_worker)
{
	stranger_enter_namespace();
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, "workers = 1;", body);
	harness_open(&scene->conn, scene->daemon.socket);
	suite_ready(&scene->conn, "book");
	scene->id = stranger_find(KEY);
	*ret_worker = suite_worker_stop(&scene->daemon);
}

static bool
is_provisioning(struct scene *scene)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&scene->conn, "book", &row), 0);
	return row.state == PROTOCOL_PROVISIONING;
}

/* Root is kept out by no mode. Its pages are on the list of a worker to be given up, and stay, since it was faster. */
START_TEST(who_came_before_the_worker_keeps_the_pages)
{
	struct protocol_attached attached;
	struct protocol_segment row;
	struct stranger root;
	struct scene scene;
	pid_t worker;
	int fd;

	begin_with_worker_stopped(&scene, BOOK("scrub = true;"), &worker);
	stranger_start(&root, 0, 0);
	ck_assert_int_eq(harness_attach(&scene.conn, "book", SUITE_WRITE, &attached, &fd), 0);
	close_fd(&fd);
	ck_assert_int_eq(harness_detach(&scene.conn, &attached), 0);
	while (!is_provisioning(&scene))
		;
	stranger_must(&root, 0, "attach %d 0", KEY);
	stranger_must(&root, 0, "set 9 99");
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	suite_ready(&scene.conn, "book");
	stranger_must(&root, 99, "get 9");
	expect_told(&scene, NULL);
	/* And it is scrubbed when that one has gone. */
	stranger_kill(&root);
	stranger_start(&root, 0, 0);
	do {
		(void)stranger_do(&root, "detach");
		ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
		stranger_must(&root, 0, "attach %d 0", KEY);
	} while (row.state != PROTOCOL_READY || stranger_do(&root, "get 9"));
	stranger_kill(&root);
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

/* Likewise of one that is removed: who kept its number may not attach it any more, but for root. */
START_TEST(number_of_what_was_removed_is_closed_and_takes_nothing_from_root)
{
	struct stranger root, member;
	struct scene scene;
	pid_t worker;

	begin_with_worker_stopped(&scene, "segments = ( { name = \"book\"; size = \"4MiB\"; backend = \"sysv\"; key = 0x7A2F; "
	    "mode = \"0666\"; } );", &worker);
	stranger_start(&root, 0, 0);
	stranger_start(&member, HARNESS_NOBODY, GROUP_GID);
	ck_assert_int_eq(harness_remove(&scene.conn, "book", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_find(&scene.conn, "book", &(struct protocol_segment) { 0 }), -ENOENT);
	stranger_must(&member, -EACCES, "attachid %d 0", scene.id);
	stranger_must(&root, 0, "attachid %d 0", scene.id);
	stranger_must(&root, 0, "set 9 99");
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	/* What the one worker does next comes after that. */
	harness_daemon_configure(&scene.daemon, "workers = 1;", "");
	ck_assert_int_eq(kill(scene.daemon.pid, SIGHUP), 0);
	harness_daemon_await_log(&scene.daemon, "reload, asked for by SIGHUP");
	stranger_must(&root, 99, "get 9");
	stranger_kill(&root);
	stranger_kill(&member);
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

/* A client that holds nothing of what its attachment shows, but the memory: the kernel's count is what a removal asks. */
START_TEST(memory_kept_behind_the_daemons_back_is_seen)
{
	struct protocol_attached attached;
	struct protocol_segment row;
	struct scene scene;
	void *map;
	int fd;

	begin(&scene, BOOK(""));
	ck_assert_int_eq(harness_attach(&scene.conn, "book", SUITE_WRITE, &attached, &fd), 0);
	ck_assert(attached.flags & PROTOCOL_ATTACHED_SHM);
	ck_assert_int_eq(attached.shm_id, scene.id);
	map = shmat(attached.shm_id, NULL, 0);
	ck_assert_ptr_ne(map, (void *)-1);
	close_fd(&fd);
	ck_assert_int_eq(harness_detach(&scene.conn, &attached), 0);
	harness_await_counts(&scene.conn, "book", 0, 0);
	ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
	ck_assert_uint_eq(row.others, 1);
	ck_assert_int_eq(harness_remove(&scene.conn, "book", 0), 0);
	ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
	ck_assert_int_eq(row.state, PROTOCOL_DRAINING);
	((volatile char *)map)[5] = 5;
	ck_assert_int_eq(shmdt(map), 0);
	harness_await_gone(&scene.conn, "book");
	end(&scene);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

/* And one that holds the page that stands in for the memory, and not that, is attached. It can do nothing with that page. */
START_TEST(the_page_that_stands_in_is_of_no_use)
{
	struct protocol_attached attached;
	struct scene scene;
	int fd;

	begin(&scene, BOOK(""));
	ck_assert_int_eq(harness_attach(&scene.conn, "book", SUITE_WRITE, &attached, &fd), 0);
	harness_await_counts(&scene.conn, "book", 0, 1);
	ck_assert_int_ne(ftruncate(fd, 0), 0);
	ck_assert_int_ne(ftruncate(fd, GIB), 0);
	close_fd(&fd);
	ck_assert_int_eq(harness_detach(&scene.conn, &attached), 0);
	harness_await_counts(&scene.conn, "book", 0, 0);
	expect_removable(&scene);
	end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sysvhostile");
	TCase *tcase = tcase_create("sysvhostile");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_may_attach_it_may_nothing_else);
	tcase_add_test(tcase, key_that_somebody_removed_is_told);
	tcase_add_test(tcase, rights_that_somebody_changed_are_told);
	tcase_add_test(tcase, pages_that_somebody_unlocked_are_told);
	tcase_add_test(tcase, pages_punched_out_harm_nobody_else);
	tcase_add_test(tcase, who_came_before_the_worker_keeps_the_pages);
	tcase_add_test(tcase, number_of_what_was_removed_is_closed_and_takes_nothing_from_root);
	tcase_add_test(tcase, memory_kept_behind_the_daemons_back_is_seen);
	tcase_add_test(tcase, the_page_that_stands_in_is_of_no_use);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
