/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What clients and administrators do: each row is an operation in which something fails. See scene.h. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/shm.h>

#include "tests/faults/auditing.h"
#include "tests/faults/bringing.h"
#include "tests/faults/connecting.h"
#include "tests/faults/dying.h"
#include "tests/faults/files.h"
#include "tests/faults/lesser.h"
#include "tests/faults/making.h"
#include "tests/faults/many.h"
#include "tests/faults/orders.h"
#include "tests/faults/refusing.h"
#include "tests/faults/strays.h"
#include "tests/system/suite.h"

#define ROWS		32
#define LINGER_MS	3000		/* at most: it is 2 ms */

static int
connect_only(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	harness_close(&conn);
	return r;
}

static int
attach_one(struct faults_scene *scene, const char *name)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	if (r == 0)
		r = harness_segment_attach(&conn, name, SUITE_WRITE, &segment);
	if (r == 0) {
		harness_segment_close(&segment);
		r = harness_detach(&conn, &segment.attached);
		/* The kernel may have told of it before. */
		r = r == -ENOENT ? 0 : r;
	}
	harness_close(&conn);
	return r;
}

static int
attach_memfd(struct faults_scene *scene)
{
	return attach_one(scene, "m");
}

static int
attach_posix(struct faults_scene *scene)
{
	return attach_one(scene, "p");
}

static int
attach_sysv(struct faults_scene *scene)
{
	return attach_one(scene, "y");
}

static int
attach_file(struct faults_scene *scene)
{
	return attach_one(scene, "f");
}

/* Its pages are given back, and new ones made. */
static int
attach_scrubbed(struct faults_scene *scene)
{
	return attach_one(scene, "c");
}

/* What cannot be made again fails, says so, and can be asked for by hand. */
static void
settle_scrubbed(struct faults_scene *scene)
{
	struct protocol_retry request = { .name = "c" };
	struct harness_reply reply;
	int r;

	harness_await_counts(&scene->watcher, "c", 0, 0);
	if (harness_wait(&scene->watcher, "c") != PROTOCOL_FAILED)
		return;
	ck_assert_int_eq(harness_show(&scene->watcher, "c", &reply), 0);
	harness_assert(strlen(harness_reason(&reply)) > 10, "it does not say why it has failed");
	r = harness_ask(&scene->watcher, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
	harness_assert(r == 0, "retry: %s", strerror(-r));
	scene->n_failed_segments++;
}

static int
attach_many(struct faults_scene *scene)
{
	static const char *const wanted[] = { "m", "p", "y" };
	struct {
		struct protocol_attach_many many;
		struct protocol_attach_row rows[BASE_ARRAY_SIZE(wanted)];
	} request = { .many = { .n_rows = BASE_ARRAY_SIZE(wanted) } };
	struct harness_reply reply;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	for (size_t i = 0; i < BASE_ARRAY_SIZE(wanted); i++) {
		request.rows[i].access = SUITE_READ;
		(void)snprintf(request.rows[i].name, sizeof(request.rows[i].name), "%s", wanted[i]);
	}
	if (r == 0) {
		r = harness_ask(&conn, PROTOCOL_ATTACH_MANY, &request.many.header, sizeof(request), &reply);
		for (unsigned i = 0; i < reply.n_fds; i++)
			(void)close(reply.fds[i]);
	}
	harness_close(&conn);
	return r;
}

static int
create_one(struct faults_scene *scene, const char *name)
{
	struct harness_conn conn;
	int fd = -1, r = scene_dial(scene, &conn);

	if (r == 0)
		r = harness_create(&conn, name, 4096, NULL, &fd);
	if (r == 0) {
		(void)close(fd);
		r = harness_remove(&conn, name, 0);
	}
	harness_close(&conn);
	return r;
}

static int
create_memfd(struct faults_scene *scene)
{
	return create_one(scene, "t-1");
}

static int
create_sysv(struct faults_scene *scene)
{
	return create_one(scene, "ty-1");
}

/* Whoever has it yet keeps it: it drains until that one has let go, or its name goes at once. */
static int
remove_held(struct faults_scene *scene, uint32_t flags)
{
	struct protocol_attached attached;
	struct harness_conn conn;
	int fd = -1, r = scene_dial(scene, &conn);

	r = r ? r : harness_create(&conn, "t-1", 4096, &attached, &fd);
	r = r ? r : harness_remove(&conn, "t-1", flags);
	close_fd(&fd);
	r = r ? r : harness_detach(&conn, &attached);
	harness_close(&conn);
	return r == -ENOENT ? 0 : r;
}

static int
drain(struct faults_scene *scene)
{
	return remove_held(scene, 0);
}

static int
remove_now(struct faults_scene *scene)
{
	return remove_held(scene, PROTOCOL_REMOVE_NOW);
}

/* It ends with its last attachment, a moment later. */
static int
linger(struct faults_scene *scene)
{
	struct protocol_attached attached;
	struct harness_conn conn;
	struct shmid_ds status;
	uint64_t since_ns;
	int fd = -1, r = scene_dial(scene, &conn);

	r = r ? r : harness_create(&conn, "tl-1", 4096, &attached, &fd);
	close_fd(&fd);
	harness_close(&conn);
	if (r)
		return r;
	for (since_ns = harness_clock_ns(); injector_awaits(&scene->injector, since_ns, LINGER_MS); (void)poll(NULL, 0, 1))
		if (shmctl(attached.shm_id, IPC_STAT, &status))
			return 0;
	return -ETIMEDOUT;
}

static void
settle_linger(struct faults_scene *scene)
{
	harness_await_gone(&scene->watcher, "tl-1");
}

/* Whoever has work then starts one anew. */
static void
end_workers(struct faults_scene *scene)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pid = scene->manager.daemon.pid, pids[16];
	size_t n;

	while ((n = harness_children(pid, pids, BASE_ARRAY_SIZE(pids)))) {
		harness_assert(harness_clock_ns() < deadline_ns, "a worker that has died is not reaped");
		for (size_t i = 0; i < n; i++)
			(void)kill(pids[i], SIGKILL);
	}
}

static void
settle_created(struct faults_scene *scene)
{
	scene_await_gone(scene, "t-1");
	scene_await_gone(scene, "ty-1");
}

static int
ask_rows(struct harness_conn *conn)
{
	static const unsigned types[] = { PROTOCOL_LIST, PROTOCOL_CLIENTS, PROTOCOL_USERS };
	struct harness_reply reply;
	struct protocol_header metrics = { 0 };
	struct protocol_list list = { 0 };
	struct protocol_holder holders[ROWS];
	struct protocol_lock locks[ROWS];
	int r = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(types) && r == 0; i++)
		r = harness_ask(conn, types[i], &list.header, sizeof(list), &reply);
	r = r ? r : harness_show(conn, "m", &reply);
	r = r ? r : harness_show(conn, "f", &reply);
	r = r ? r : harness_holders(conn, "m", holders, ROWS);
	r = r < 0 ? r : harness_locks(conn, "m", locks, ROWS);
	return r < 0 ? r : harness_ask(conn, PROTOCOL_METRICS, &metrics, sizeof(metrics), &reply);
}

static int
look(struct faults_scene *scene)
{
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : ask_rows(&conn);
	harness_close(&conn);
	return r;
}

static int
follow(struct faults_scene *scene)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };
	struct harness_conn conn, other;
	struct harness_reply reply;
	int fd = -1, r = scene_dial(scene, &conn);

	r = r ? r : harness_ask(&conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
	if (r == 0)
		r = scene_dial(scene, &other);
	if (r == 0) {
		r = harness_attach(&other, "p", SUITE_READ, NULL, &fd);
		close_fd(&fd);
		if (r == 0) {
			ssize_t n = harness_receive(conn.fd, &reply);

			/* An event, or that there were some; or it has no place in the queue any more. */
			harness_assert(n != -ETIMEDOUT, "no event came; failed: %s", injector_describe(&scene->injector));
			r = n > 0 ? 0 : -ENOTCONN;
		}
		harness_close(&other);
	}
	harness_close(&conn);
	return r;
}

/* An attachment whose connection has gone is another one's of the same process. */
static int
return_to(struct harness_conn *conn, const struct protocol_attached *attached)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct harness_reply reply;
	int r;

	do {
		struct protocol_return request = { .generation = attached->generation, .attachment = attached->attachment };

		r = harness_ask(conn, PROTOCOL_RETURN, &request.header, sizeof(request), &reply);
		harness_assert(r != -EBUSY || harness_clock_ns() < deadline_ns, "its connection has gone, and has it still");
	} while (r == -EBUSY);
	return r;
}

static int
bring_back(struct faults_scene *scene)
{
	struct harness_segment segment;
	struct harness_conn conn;
	int r = scene_dial(scene, &conn);

	r = r ? r : harness_segment_attach(&conn, "m", SUITE_WRITE, &segment);
	harness_close(&conn);
	if (r)
		return r;
	r = scene_dial(scene, &conn);
	r = r ? r : return_to(&conn, &segment.attached);
	harness_segment_close(&segment);
	harness_close(&conn);
	return r;
}

const struct faults_operation faults_operations[] = {
	{ "connect", .run = connect_only },
	{ "refuse for want of descriptors", .run = refusing_clients, .settle = refusing_settle },
	{ "connect with groups", .run = connecting_grouped },
	{ "attach memfd", .run = attach_memfd },
	{ "attach posix", .run = attach_posix },
	{ "attach sysv", .run = attach_sysv },
	{ "attach file", .run = attach_file },
	{ "attach, and scrub", .run = attach_scrubbed, .settle = settle_scrubbed },
	{ "attach many", .run = attach_many },
	{ "create memfd", .run = create_memfd, .settle = settle_created },
	{ "create sysv", .run = create_sysv, .settle = settle_created },
	{ "create among much of sysv", .prepare = many_prepare_memories, .run = create_sysv, .settle = many_settle_memories },
	{ "create by another worker", .prepare = end_workers, .run = create_memfd, .settle = settle_created },
	{ "drain", .run = drain, .settle = settle_created },
	{ "remove at once", .run = remove_now, .settle = settle_created },
	{ "linger", .run = linger, .settle = settle_linger },
	{ "look", .run = look },
	{ "follow", .run = follow },
	{ "follow who ends", .run = connecting_follow },
	{ "return", .run = bring_back },
	{ "bring what nobody wants", .run = bringing_unwanted, .settle = bringing_settle },
	{ "bring it to who is stuck", .is_long = true, .prepare = bringing_prepare_stuck, .run = bringing_stuck,
	    .settle = bringing_settle },
	{ "connect to an older kernel's", .host = HOSTS_OLDER, .run = connect_only },
	{ "lie in its own queue", .host = HOSTS_NO_PROCESS, .run = connecting_lie, .settle = bringing_settle },
	{ "hide in its own queue", .host = HOSTS_NO_PROCESS, .run = connecting_hide, .settle = bringing_settle },
	{ "end in a crowd", .host = HOSTS_CROWDED, .is_long = true, .prepare = connecting_prepare_crowd, .gather = connecting_gather_crowd,
	    .run = connecting_end_in_crowd, .settle = bringing_settle },
	{ "have nothing to do", .is_long = true, .run = bringing_nothing },
	{ "remove what others have", .is_long = true, .run = bringing_foreign, .settle = bringing_settle_foreign },
	{ "die with memfd", .run = dying_memfd, .settle = dying_settle },
	{ "die with sysv", .run = dying_sysv, .settle = dying_settle },
	{ "hang up, and die", .run = dying_unheard, .settle = dying_settle },
	{ "die with a large log", .prepare = dying_prepare_large, .run = dying_large, .settle = dying_settle_large },
	{ "die with a mutex", .prepare = dying_prepare_mutex, .run = dying_mutex, .settle = dying_settle_mutex },
	{ "die with a mutex in a file", .prepare = dying_prepare_mutex_file, .run = dying_mutex, .settle = dying_settle_mutex_file },
	{ "recover", .prepare = dying_prepare_poison, .run = dying_recover, .settle = dying_settle_poison },
	{ "plan", .prepare = orders_configure_memfd, .run = orders_plan, .settle = orders_settle },
	{ "plan what is uploaded", .prepare = orders_configure_memfd, .run = orders_plan_uploaded, .settle = orders_settle },
	{ "plan lists", .prepare = orders_prepare_lists, .run = orders_plan_uploaded, .settle = orders_settle },
	{ "add by reload", .prepare = orders_configure_memfd, .run = orders_reload, .settle = orders_settle },
	{ "grow by reload", .prepare = orders_prepare_growth, .run = orders_reload, .settle = orders_settle },
	{ "stop a growth", .is_long = true, .prepare = orders_prepare_long_growth, .run = orders_stop_growth, .settle = orders_settle },
	{ "admit others by reload", .prepare = making_prepare_admission, .run = orders_reload, .settle = making_settle_admission },
	{ "stop a growth of sysv", .is_long = true, .prepare = orders_prepare_long_growth_sysv, .run = orders_stop_growth,
	    .settle = orders_settle },
	{ "remove by reload", .prepare = orders_prepare_removal, .run = orders_reload, .settle = orders_settle },
	{ "retry", .prepare = orders_prepare_retry, .run = orders_retry, .settle = orders_settle },
	{ "wait", .prepare = orders_configure_memfd, .run = orders_provision, .settle = orders_settle },
	{ "provision posix", .prepare = orders_configure_posix, .run = orders_provision, .settle = orders_settle },
	{ "provision file", .prepare = orders_configure_file, .run = orders_provision, .settle = orders_settle_file },
	{ "provision file that is reserved", .is_slow = true, .prepare = orders_configure_reserved, .run = orders_provision,
	    .settle = orders_settle_file },
	{ "provision with contents", .prepare = orders_configure_init, .run = orders_provision, .settle = orders_settle_init },
	{ "provision locked", .prepare = making_configure_locked, .run = orders_provision, .settle = orders_settle },
	{ "provision sysv locked", .prepare = making_configure_locked_sysv, .run = orders_provision, .settle = orders_settle },
	{ "provision on a node", .prepare = making_configure_placed, .run = orders_provision, .settle = orders_settle },
	{ "provision huge", .prepare = making_configure_huge, .run = orders_provision, .settle = orders_settle },
	{ "provision two", .prepare = making_configure_two, .run = orders_provision, .settle = making_settle_two },
	{ "find a name taken", .prepare = making_prepare_taken, .run = making_taken, .settle = making_settle_taken },
	{ "find a key taken", .prepare = making_prepare_taken_sysv, .run = making_taken, .settle = making_settle_taken },
	{ "cut short, and scrub", .prepare = making_prepare_scrubbed_posix, .run = making_cut_short, .settle = making_settle_scrubbed },
	{ "enlarge, and scrub", .prepare = making_prepare_scrubbed_posix, .run = making_enlarge, .settle = making_settle_scrubbed },
	{ "scrub sysv", .prepare = making_prepare_scrubbed_sysv, .run = making_scrub_sysv, .settle = making_settle_scrubbed },
	{ "find a file unclean", .prepare = files_prepare_unclean, .run = orders_provision, .settle = files_settle_unclean },
	{ "find a file enlarged", .prepare = files_prepare_enlarged, .run = orders_provision, .settle = files_settle_enlarged },
	{ "let an enlarged file go", .prepare = files_prepare_enlarged_use, .run = orders_reload, .settle = files_settle_enlarged },
	{ "find a file held", .prepare = files_prepare_held, .run = files_await, .settle = files_settle },
	{ "find a file by a link", .prepare = files_prepare_link, .run = orders_provision, .settle = files_settle },
	{ "find no room for a file", .prepare = files_prepare_full, .run = files_find_no_room, .settle = files_settle_full },
	{ "make a file in vain", .prepare = files_configure_hopeless, .run = files_fail, .settle = orders_settle_file },
	{ "look, of an older kernel", .host = HOSTS_OLDER, .run = look },
	{ "create, of an older kernel", .host = HOSTS_OLDER, .run = create_memfd, .settle = settle_created },
	{ "provision file, of an older kernel", .host = HOSTS_OLDER, .prepare = orders_configure_file, .run = orders_provision,
	    .settle = orders_settle_file },
	{ "provision huge, of an older kernel", .host = HOSTS_OLDER, .prepare = making_configure_huge, .run = orders_provision,
	    .settle = orders_settle },
	{ "provision file, where it is poor", .host = HOSTS_POOR, .prepare = orders_configure_file, .run = orders_provision,
	    .settle = orders_settle_file },
	{ "provision two, where it is poor", .host = HOSTS_POOR, .prepare = making_configure_two, .run = orders_provision,
	    .settle = making_settle_two },
	{ "zero a file that has no holes", .prepare = files_prepare_holeless, .run = orders_provision, .settle = files_settle_holeless },
	{ "store to a file", .prepare = orders_prepare_store, .run = orders_store, .settle = orders_settle_store },
	{ "write back", .prepare = orders_prepare_writeback, .run = orders_reload, .settle = orders_settle_writeback },
	{ "who has memfd", .asks_audit = true, .looks_at_all = true, .run = auditing_who_memfd, .settle = auditing_settle_who },
	{ "who has posix", .asks_audit = true, .looks_at_all = true, .run = auditing_who_posix, .settle = auditing_settle_who },
	{ "who has sysv", .asks_audit = true, .looks_at_all = true, .run = auditing_who_sysv, .settle = auditing_settle_who },
	{ "ask no more", .asks_audit = true, .looks_at_all = true, .is_long = true, .prepare = auditing_prepare_idle, .run = auditing_idle,
	    .settle = auditing_settle_who },
	{ "begin to look for orphans", .asks_audit = true, .is_long = true, .prepare = strays_prepare_rule, .run = strays_begin,
	    .settle = strays_settle_rule },
	{ "begin among many names", .asks_audit = true, .is_long = true, .prepare = many_prepare_names, .run = strays_begin,
	    .settle = many_settle_names },
	{ "orphans", .asks_audit = true, .prepare = strays_prepare_posix, .run = strays_sweep_posix, .settle = strays_settle_posix },
	{ "orphans, one after the other", .asks_audit = true, .is_long = true, .prepare = strays_prepare_posix, .run = strays_sweep_two,
	    .settle = strays_settle_two },
	{ "orphans of sysv", .asks_audit = true, .is_slow = true, .prepare = strays_prepare_sysv, .run = strays_sweep_sysv,
	    .settle = strays_settle_sysv },
	{ "orphans among much of sysv", .asks_audit = true, .is_long = true, .prepare = many_prepare_memories_swept,
	    .run = strays_sweep_sysv, .settle = many_settle_memories_swept },
	{ "list orphans", .asks_audit_alone = true, .prepare = strays_prepare_both, .run = strays_list, .settle = strays_settle_both },
	{ "remove orphans", .asks_audit_alone = true, .prepare = strays_prepare_both, .run = strays_remove, .settle = strays_settle_both },
	{ "remove orphans by one CPU", .asks_audit_alone = true, .is_slow = true, .prepare = strays_prepare_stopped,
	    .run = strays_remove_stopped, .settle = strays_settle_stopped },
	{ "settle what was left", .asks_audit_alone = true, .is_slow = true, .prepare = strays_prepare_left, .run = strays_list_left,
	    .settle = strays_settle_left },
	{ "list orphans of a group", .asks_audit_alone = true, .is_slow = true, .prepare = lesser_prepare_group,
	    .run = lesser_list_of_group, .settle = lesser_settle_group },
	{ "who, by text", .asks_audit_alone = true, .looks_at_all = true, .is_slow = true, .prepare = lesser_prepare_text,
	    .run = auditing_who_posix, .settle = lesser_settle_who },
	{ "who, without rights", .asks_audit_alone = true, .looks_at_all = true, .is_slow = true,
	    .prepare = lesser_prepare_rightless, .run = auditing_who_in_part, .settle = lesser_settle_who },
	{ "who of two alike", .asks_audit_alone = true, .looks_at_all = true, .is_slow = true,
	    .prepare = lesser_prepare_twin, .run = auditing_who_posix, .settle = lesser_settle_twin },
};
const size_t faults_n_operations = BASE_ARRAY_SIZE(faults_operations);
