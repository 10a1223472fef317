/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A System V segment between our clients and programs that know nothing of us: who may attach it, who is counted, and what
 * waits for whom. In an IPC namespace of the test's own, with programs of other users.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sys/shm.h>

#include "client/segment.h"
#include "tests/system/actor.h"
#include "tests/system/reloading.h"
#include "tests/system/stranger.h"

#define KEY		0x7A2F
#define OTHER_GID	54322		/* of whom no database knows, as of the group of BOOK */
#define GROUP_GID	54321
#define SIZE		(64 * KIB)
#define BOOK(keys)	"segments = ( { name = \"book\"; size = \"64KiB\"; backend = \"sysv\"; key = 0x7A2F; " \
	"group = \"54321\"; " keys " } );"

#define LOCKED		BOOK("mode = \"0660\"; locks = ( { name = \"all\"; offset = \"0\"; length = \"64KiB\"; undo = \"4KiB\"; } );")

struct scene {
	struct harness_daemon daemon;
	struct harness_conn conn;
	int id;
};

static void
begin(struct scene *scene, const char *daemon_keys, const char *body)
{
	stranger_enter_namespace();
	*scene = (struct scene) { .daemon = HARNESS_DAEMON_NULL, .conn = HARNESS_CONN_NULL };
	harness_daemon_start(&scene->daemon, daemon_keys, body);
	harness_open(&scene->conn, scene->daemon.socket);
	scene->id = stranger_find(KEY);
}

/* Nothing is left in the namespace that the daemon made. */
static void
end(struct scene *scene)
{
	harness_close(&scene->conn);
	harness_daemon_stop(&scene->daemon);
	ck_assert_uint_eq(stranger_count(), 0);
}

static void
expect_counts(struct scene *scene, unsigned readers, unsigned writers, unsigned others)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&scene->conn, "book", &row), 0);
	harness_assert(row.readers == readers && row.writers == writers && row.others == others,
	    "%u reading, %u writing, %u others; expected %u, %u, %u", row.readers, row.writers, row.others, readers, writers,
	    others);
}

static enum protocol_state
state_of(struct scene *scene)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(&scene->conn, "book", &row), 0);
	return row.state;
}

START_TEST(it_is_made_as_declared)
{
	struct stranger_row row;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0640\"; max_size = \"128KiB\";"));
	suite_ready(&scene.conn, "book");
	ck_assert_int_eq(stranger_stat(stranger_find(KEY), &row), 0);
	ck_assert_uint_eq(row.uid, geteuid());
	ck_assert_uint_eq(row.gid, GROUP_GID);
	ck_assert_uint_eq(row.mode & 0777, 0640);
	ck_assert(row.mode & SHM_LOCKED);
	ck_assert_uint_eq(row.size_bytes, 2 * SIZE);
	ck_assert_int_eq(row.creator_pid, scene.daemon.pid);
	end(&scene);
}
END_TEST

START_TEST(the_kernel_lets_in_whom_group_and_mode_name)
{
	struct stranger member, other;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0640\";"));
	stranger_start(&member, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&other, HARNESS_NOBODY, OTHER_GID);
	stranger_must(&other, -EACCES, "attach %d %d", KEY, SHM_RDONLY);
	stranger_must(&other, -EACCES, "stat %d", scene.id);
	stranger_must(&member, -EACCES, "attach %d 0", KEY);
	stranger_must(&member, 0, "attach %d %d", KEY, SHM_RDONLY);
	stranger_must(&member, 0, "get 0");
	expect_counts(&scene, 0, 0, 1);
	stranger_kill(&member);
	stranger_kill(&other);
	expect_counts(&scene, 0, 0, 0);
	end(&scene);
}
END_TEST

/* Also for who came by the key: a reload acts at once, and takes nothing from who has it. */
START_TEST(reload_changes_group_and_mode_at_once)
{
	struct stranger member, other;
	struct stranger_row row;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0640\";"));
	stranger_start(&member, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&other, HARNESS_NOBODY, OTHER_GID);
	(void)reloading_hangup(&scene.daemon, NULL, BOOK("mode = \"0660\";"));
	stranger_must(&member, 0, "attach %d 0", KEY);
	stranger_must(&other, -EACCES, "attach %d 0", KEY);
	(void)reloading_hangup(&scene.daemon, NULL, "segments = ( { name = \"book\"; size = \"64KiB\"; backend = \"sysv\"; "
	    "key = 0x7A2F; group = \"54322\"; mode = \"0660\"; } );");
	ck_assert_int_eq(stranger_stat(scene.id, &row), 0);
	ck_assert_uint_eq(row.gid, OTHER_GID);
	stranger_must(&other, 0, "attach %d 0", KEY);
	stranger_must(&member, 0, "set 5 55");
	stranger_must(&other, 55, "get 5");
	stranger_must(&member, -EACCES, "attach %d 0", KEY);
	stranger_kill(&member);
	stranger_kill(&other);
	end(&scene);
}
END_TEST

START_TEST(nobody_gets_in_before_it_is_ready)
{
	static const char body[] = "segments = ( { name = \"warm\"; size = \"64KiB\"; mlock = false; } );\n"
	    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; max_count = 1; backend = \"sysv\"; mode = \"0666\"; } );";
	struct protocol_create request = { .size_bytes = SIZE, .name = "t-book" };
	struct harness_conn creator = HARNESS_CONN_NULL;
	struct harness_reply reply;
	struct stranger stranger;
	struct scene scene;
	pid_t worker;
	int id;

	begin(&scene, "workers = 1;", body);
	stranger_start(&stranger, HARNESS_NOBODY, OTHER_GID);
	worker = suite_worker_stop(&scene.daemon);
	harness_open(&creator, scene.daemon.socket);
	harness_fill(&creator, &request.header, PROTOCOL_CREATE, sizeof(request));
	ck_assert_int_eq(harness_send(creator.fd, &request, sizeof(request), NULL, 0), sizeof(request));
	while (stranger_count() == 0)
		ck_assert_int_eq(harness_find(&scene.conn, "warm", &(struct protocol_segment) { 0 }), 0);
	/* It has no key; whoever knows its number attaches by that. */
	id = stranger_first();
	stranger_must(&stranger, -EACCES, "attachid %d %d", id, SHM_RDONLY);
	ck_assert_int_eq(kill(worker, SIGCONT), 0);
	ck_assert_int_gt(harness_receive(creator.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	stranger_must(&stranger, 0, "attachid %d 0", id);
	stranger_kill(&stranger);
	harness_close(&creator);
	end(&scene);
}
END_TEST

/* Attached twice it counts twice, as the kernel has it; and a client of ours is counted once, as that. */
START_TEST(the_kernels_count_is_shown)
{
	struct stranger first, second;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	stranger_start(&first, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&second, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&first, 0, "attach %d 0", KEY);
	expect_counts(&scene, 0, 0, 1);
	actor_start(&actor, scene.daemon.socket, "book");
	expect_counts(&scene, 0, 1, 1);
	stranger_must(&second, 0, "attach %d %d", KEY, SHM_RDONLY);
	stranger_must(&second, 0, "remap");
	expect_counts(&scene, 0, 1, 3);
	stranger_kill(&second);
	expect_counts(&scene, 0, 1, 1);
	stranger_must(&first, 0, "detach");
	expect_counts(&scene, 0, 1, 0);
	stranger_kill(&first);
	actor_kill(&actor);
	harness_await_counts(&scene.conn, "book", 0, 0);
	expect_counts(&scene, 0, 0, 0);
	end(&scene);
}
END_TEST

/* What one wrote is what the other reads: it is one memory, whoever came which way. */
START_TEST(clients_and_strangers_share_it)
{
	struct stranger stranger;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, LOCKED);
	actor_start(&actor, scene.daemon.socket, "book");
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	actor_must(&actor, 0, "lock all");
	actor_must(&actor, 0, "set all 1 99");
	actor_must(&actor, 0, "unlock all");
	stranger_must(&stranger, 99, "get 8");
	stranger_must(&stranger, 0, "set 16 44");
	actor_must(&actor, 44, "get all 2");
	stranger_kill(&stranger);
	actor_kill(&actor);
	end(&scene);
}
END_TEST

START_TEST(a_client_killed_in_a_section_is_rolled_back)
{
	struct protocol_lock lock;
	struct stranger stranger;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, LOCKED);
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 8 11");
	actor_start(&actor, scene.daemon.socket, "book");
	actor_must(&actor, 0, "lock all");
	actor_must(&actor, 0, "set all 1 99");
	stranger_must(&stranger, 99, "get 8");
	actor_kill(&actor);
	actor_await_recoveries(&scene.conn, "book", "all", 1, &lock);
	stranger_must(&stranger, 11, "get 8");
	stranger_kill(&stranger);
	end(&scene);
}
END_TEST

/* By the stand-in's mark: forks, exec and deaths count as they do of a memfd. */
START_TEST(a_child_that_inherited_it_holds_it)
{
	struct actor actor;
	struct scene scene;
	pid_t child;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	actor_start(&actor, scene.daemon.socket, "book");
	child = (pid_t)actor_do(&actor, "fork");
	ck_assert_int_gt(child, 0);
	actor_kill(&actor);
	expect_counts(&scene, 0, 1, 0);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	harness_await_counts(&scene.conn, "book", 0, 0);
	end(&scene);
}
END_TEST

START_TEST(exec_ends_an_attachment)
{
	struct stranger_row row;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	actor_start(&actor, scene.daemon.socket, "book");
	ck_assert_int_eq(stranger_stat(scene.id, &row), 0);
	ck_assert_uint_eq(row.n_attached, 2);
	actor_tell(&actor, "exec");
	harness_await_counts(&scene.conn, "book", 0, 0);
	ck_assert_int_eq(stranger_stat(scene.id, &row), 0);
	ck_assert_uint_eq(row.n_attached, 1);
	actor_kill(&actor);
	end(&scene);
}
END_TEST

/* And nobody else comes by it meanwhile: it would never end. */
START_TEST(removal_waits_for_who_came_by_the_key)
{
	struct stranger stranger, late;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&late, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	ck_assert_int_eq(harness_remove(&scene.conn, "book", 0), 0);
	ck_assert_int_eq(state_of(&scene), PROTOCOL_DRAINING);
	stranger_must(&late, -EACCES, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 0 7");
	stranger_kill(&stranger);
	harness_await_gone(&scene.conn, "book");
	ck_assert_int_eq(stranger_find(KEY), -ENOENT);
	stranger_kill(&late);
	end(&scene);
}
END_TEST

START_TEST(removal_that_is_taken_back_lets_others_in_again)
{
	struct stranger stranger, late;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&late, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	(void)reloading_hangup(&scene.daemon, NULL, "");
	ck_assert_int_eq(state_of(&scene), PROTOCOL_DRAINING);
	stranger_must(&late, -EACCES, "attach %d 0", KEY);
	(void)reloading_hangup(&scene.daemon, NULL, BOOK("mode = \"0660\";"));
	ck_assert_int_eq(state_of(&scene), PROTOCOL_READY);
	stranger_must(&late, 0, "attach %d 0", KEY);
	expect_counts(&scene, 0, 0, 2);
	stranger_kill(&stranger);
	stranger_kill(&late);
	end(&scene);
}
END_TEST

/* The key at once, the memory never. */
START_TEST(removal_now_leaves_the_memory_with_who_has_it)
{
	struct stranger stranger;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 9 99");
	ck_assert_int_eq(harness_remove(&scene.conn, "book", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_find(&scene.conn, "book", &(struct protocol_segment) { 0 }), -ENOENT);
	ck_assert_int_eq(stranger_find(KEY), -ENOENT);
	stranger_must(&stranger, 99, "get 9");
	/* It is declared still: a reload makes another one. */
	(void)reloading_hangup(&scene.daemon, NULL, BOOK("mode = \"0660\";"));
	suite_ready(&scene.conn, "book");
	ck_assert_int_ge(stranger_find(KEY), 0);
	ck_assert_int_ne(stranger_find(KEY), scene.id);
	stranger_must(&stranger, 99, "get 9");
	stranger_kill(&stranger);
	end(&scene);
}
END_TEST

START_TEST(an_orderly_stop_removes_it_and_leaves_it_with_who_has_it)
{
	struct stranger_row row;
	struct stranger stranger;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 9 99");
	harness_close(&scene.conn);
	harness_daemon_stop(&scene.daemon);
	ck_assert_int_eq(stranger_find(KEY), -ENOENT);
	ck_assert_int_eq(stranger_stat(scene.id, &row), 0);
	ck_assert(row.mode & SHM_DEST);
	stranger_must(&stranger, 99, "get 9");
	stranger_kill(&stranger);
	ck_assert_uint_eq(stranger_count(), 0);
}
END_TEST

START_TEST(one_that_ends_unattached_waits_for_who_came_by_the_key)
{
	struct stranger stranger;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\"; lifetime = \"attached\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	actor_start(&actor, scene.daemon.socket, "book");
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	actor_kill(&actor);
	harness_await_counts(&scene.conn, "book", 0, 0);
	ck_assert_int_eq(state_of(&scene), PROTOCOL_READY);
	stranger_kill(&stranger);
	harness_await_gone(&scene.conn, "book");
	ck_assert_int_eq(stranger_find(KEY), -ENOENT);
	end(&scene);
}
END_TEST

START_TEST(scrub_waits_for_who_came_by_the_key_and_leaves_nothing)
{
	struct stranger stranger;
	struct actor actor;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\"; scrub = true;"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	actor_start(&actor, scene.daemon.socket, "book");
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 9 99");
	actor_kill(&actor);
	harness_await_counts(&scene.conn, "book", 0, 0);
	stranger_must(&stranger, 99, "get 9");
	stranger_kill(&stranger);
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	/* It is closed while it gets new pages. */
	while (stranger_do(&stranger, "attach %d 0", KEY) || stranger_do(&stranger, "get 9")) {
		(void)stranger_do(&stranger, "detach");
		ck_assert_int_eq(harness_find(&scene.conn, "book", &(struct protocol_segment) { 0 }), 0);
	}
	ck_assert_int_eq(stranger_find(KEY), scene.id);
	stranger_kill(&stranger);
	end(&scene);
}
END_TEST

START_TEST(it_grows_under_who_has_it)
{
	struct protocol_segment row;
	struct stranger stranger;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\"; max_size = \"256KiB\"; page_size = \"base\";"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 9 99");
	ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
	ck_assert_uint_eq(row.resident_bytes, SIZE);
	(void)reloading_hangup(&scene.daemon, NULL, "segments = ( { name = \"book\"; size = \"256KiB\"; backend = \"sysv\"; "
	    "key = 0x7A2F; group = \"54321\"; mode = \"0660\"; max_size = \"256KiB\"; page_size = \"base\"; } );");
	do
		ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
	while (row.size_bytes != 4 * SIZE);
	while (row.resident_bytes != 4 * SIZE)
		ck_assert_int_eq(harness_find(&scene.conn, "book", &row), 0);
	ck_assert_uint_eq(row.locked_bytes, 4 * SIZE);
	stranger_must(&stranger, 99, "get 9");
	stranger_must(&stranger, 0, "set %lu 1", 4 * SIZE - 1);
	ck_assert_int_eq(stranger_find(KEY), scene.id);
	stranger_kill(&stranger);
	end(&scene);
}
END_TEST

/* Creates and attaches with the library, as a user and group. */
struct creator {
	const char *socket;
	gid_t gid;
	int r;
};

static void
create(int control, void *arg)
{
	const struct creator *creator = arg;
	struct segment_client *client;
	struct segment *segment;
	int r;

	harness_become(HARNESS_NOBODY, creator->gid, NULL, 0);
	harness_assert(segment_connect(&client, creator->socket) == 0, "%s", segment_error());
	r = segment_create(client, "t-mine", SIZE, 0, &segment);
	harness_assert(r == creator->r, "create: %d, %s", r, segment_error());
	if (r == 0) {
		((volatile char *)segment_data(segment))[SIZE - 1] = 1;
		ck_assert_int_eq(segment_fd(segment), -1);
	} else {
		harness_assert(strstr(segment_error(), "not in group 54321 of template 't-'"), "'%s'", segment_error());
	}
	harness_say(control, "done");
	harness_expect(control, "end");
	segment_disconnect(client);
}

static void
expect_creation(struct scene *scene, gid_t gid, int r)
{
	struct creator creator = { .socket = scene->daemon.socket, .gid = gid, .r = r };
	struct harness_child child = HARNESS_CHILD_NULL;
	struct stranger_row row;

	harness_child_start(&child, create, &creator);
	harness_expect(child.control, "done");
	ck_assert_uint_eq(stranger_count(), r == 0);
	if (r == 0) {
		ck_assert_int_eq(stranger_stat(stranger_first(), &row), 0);
		ck_assert_uint_eq(row.uid, geteuid());
		ck_assert_uint_eq(row.gid, GROUP_GID);
		ck_assert_uint_eq(row.mode & 0777, 0660);
	}
	harness_say(child.control, "end");
	harness_child_await_success(&child);
	harness_await_gone(&scene->conn, "t-mine");
}

/* It belongs to the daemon's user, whoever creates it: the group lets them have it. */
START_TEST(only_who_could_attach_it_creates_it)
{
	struct scene scene;

	begin(&scene, NULL, "templates = ( { name = \"t-\"; max_size = \"64KiB\"; max_count = 1; backend = \"sysv\"; "
	    "group = \"54321\"; mode = \"0660\"; } );");
	expect_creation(&scene, OTHER_GID, -EACCES);
	expect_creation(&scene, GROUP_GID, 0);
	expect_creation(&scene, OTHER_GID, -EACCES);
	expect_creation(&scene, GROUP_GID, 0);
	end(&scene);
}
END_TEST

/* The same key, and another memory: nobody has both. */
START_TEST(one_that_is_made_anew_waits_for_who_came_by_the_key)
{
	struct stranger stranger, late;
	struct stranger_row row;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\"; mlock = true;"));
	stranger_start(&stranger, HARNESS_NOBODY, GROUP_GID);
	stranger_start(&late, HARNESS_NOBODY, GROUP_GID);
	stranger_must(&stranger, 0, "attach %d 0", KEY);
	stranger_must(&stranger, 0, "set 9 99");
	(void)reloading_hangup(&scene.daemon, NULL, BOOK("mode = \"0660\"; mlock = false;"));
	ck_assert_int_eq(state_of(&scene), PROTOCOL_READY);
	ck_assert_int_eq(stranger_find(KEY), scene.id);
	stranger_must(&stranger, 99, "get 9");
	stranger_kill(&stranger);
	do
		ck_assert_int_eq(harness_find(&scene.conn, "book", &(struct protocol_segment) { 0 }), 0);
	while (stranger_find(KEY) == scene.id || state_of(&scene) != PROTOCOL_READY);
	ck_assert_int_eq(stranger_stat(stranger_find(KEY), &row), 0);
	ck_assert(!(row.mode & SHM_LOCKED));
	stranger_must(&late, 0, "attach %d 0", KEY);
	stranger_must(&late, 0, "get 9");
	stranger_kill(&late);
	end(&scene);
}
END_TEST

/* A number of one namespace is another memory in the next one, or none. */
static void
attach_elsewhere(int control, void *arg)
{
	struct segment_client *client;
	struct segment *segment;
	int r;

	(void)control;
	harness_assert(unshare(CLONE_NEWIPC) == 0, "unshare: %s", strerror(errno));
	harness_assert(segment_connect(&client, arg) == 0, "%s", segment_error());
	r = segment_attach(client, "book", NULL, SEGMENT_WRITE, &segment);
	harness_assert(r == -EXDEV, "attach: %d, %s", r, segment_error());
	harness_assert(strstr(segment_error(), "namespace"), "'%s' does not say why", segment_error());
	segment_disconnect(client);
}

START_TEST(a_client_of_another_ipc_namespace_is_told_so)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct scene scene;

	begin(&scene, NULL, BOOK("mode = \"0660\";"));
	harness_child_start(&child, attach_elsewhere, scene.daemon.socket);
	harness_child_await_success(&child);
	harness_await_counts(&scene.conn, "book", 0, 0);
	end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sysvshared");
	TCase *tcase = tcase_create("sysvshared");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, it_is_made_as_declared);
	tcase_add_test(tcase, the_kernel_lets_in_whom_group_and_mode_name);
	tcase_add_test(tcase, reload_changes_group_and_mode_at_once);
	tcase_add_test(tcase, nobody_gets_in_before_it_is_ready);
	tcase_add_test(tcase, the_kernels_count_is_shown);
	tcase_add_test(tcase, clients_and_strangers_share_it);
	tcase_add_test(tcase, a_client_killed_in_a_section_is_rolled_back);
	tcase_add_test(tcase, a_child_that_inherited_it_holds_it);
	tcase_add_test(tcase, exec_ends_an_attachment);
	tcase_add_test(tcase, removal_waits_for_who_came_by_the_key);
	tcase_add_test(tcase, removal_that_is_taken_back_lets_others_in_again);
	tcase_add_test(tcase, removal_now_leaves_the_memory_with_who_has_it);
	tcase_add_test(tcase, an_orderly_stop_removes_it_and_leaves_it_with_who_has_it);
	tcase_add_test(tcase, one_that_ends_unattached_waits_for_who_came_by_the_key);
	tcase_add_test(tcase, scrub_waits_for_who_came_by_the_key_and_leaves_nothing);
	tcase_add_test(tcase, it_grows_under_who_has_it);
	tcase_add_test(tcase, one_that_is_made_anew_waits_for_who_came_by_the_key);
	tcase_add_test(tcase, only_who_could_attach_it_creates_it);
	tcase_add_test(tcase, a_client_of_another_ipc_namespace_is_told_so);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
