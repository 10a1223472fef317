/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients in containers that have nothing of the host but the daemon's socket: they get their segments, at the same speed; they
 * are shown as the host knows them; locks and deaths go across pid namespaces, whatever the pids in them. And what root of a
 * container can do without a user namespace, and not with one.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/base.h"
#include "client/segment.h"
#include "tests/harness_locks.h"
#include "tests/system/actor.h"
#include "tests/system/group.h"
#include "tests/system/suite.h"

#define USER		4001u
#define N_TIMES		200L
#define ROUNDS		40
#define SLOWER		4		/* at most: others are at work, too */

static const char body[] =
    "segments = ( { name = \"book\"; size = \"1MiB\"; mode = \"0666\"; mlock = false;"
    "               locks = ( { name = \"l\"; offset = \"0\"; length = \"4KiB\"; undo = \"8KiB\"; } ); } );";

static const struct jail jails[] = {
	{ .who = "root's container" },
	{ .who = "a user's container", .uid = USER, .has_user_namespace = true },
};

static const struct jail *
need(const struct jail *jail)
{
	static struct jail own;
	const char *why_not;

	own = *jail;
	if (geteuid() != 0)
		own.uid = geteuid();
	why_not = jail_why_not(&own);
	if (why_not)
		harness_skip("%s: %s", own.who, why_not);
	return &own;
}

static void
begin_attached(struct actor *actor, const struct jail *jail, const char *socket)
{
	actor_start_in_jail(actor, jail, socket);
	actor_must(actor, 0, "attach book %u", SEGMENT_WRITE);
}

/* What it stores is seen outside, and the host knows who it is. */
START_TEST(a_socket_is_enough)
{
	const struct jail *jail = need(&jails[_i]);
	struct protocol_client clients[4];
	struct protocol_holder holders[4];
	struct suite_scene scene;
	struct actor in, out;

	suite_begin(&scene, NULL, body);
	begin_attached(&in, jail, scene.daemon.socket);
	actor_start(&out, scene.daemon.socket, "book");
	actor_must(&in, 0, "lock l");
	actor_must(&in, 0, "set l 3 4711");
	actor_must(&in, 0, "unlock l");
	actor_must(&out, 4711, "get l 3");
	ck_assert_int_eq(harness_holders(&scene.watcher, "book", holders, 4), 2);
	ck_assert_int_eq(holders[0].pid, in.pid);
	ck_assert_uint_eq(holders[0].uid, jail->uid);
	ck_assert_uint_eq(holders[0].flags, PROTOCOL_HOLDER_LIVES);
	ck_assert_int_eq(harness_clients(&scene.watcher, clients, 4), 3);
	ck_assert_int_eq(clients[1].pid, in.pid);
	ck_assert_uint_eq(clients[1].uid, jail->uid);
	ck_assert_str_eq(clients[1].command, holders[0].command);
	actor_kill(&in);
	harness_await_counts(&scene.watcher, "book", 0, 1);
	actor_kill(&out);
	harness_await_counts(&scene.watcher, "book", 0, 0);
	suite_end(&scene);
}
END_TEST

#define HASH	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A cgroup such as a runtime makes, and who is in it. */
START_TEST(its_cgroup_is_shown)
{
	struct protocol_client clients[4];
	struct protocol_holder holders[4];
	struct group group, inner;
	struct suite_scene scene;
	struct actor in;

	harness_need_root();
	group_make(&group, TIB);
	inner = group;
	(void)snprintf(inner.dir, sizeof(inner.dir), "%.400s/libpod-" HASH ".scope", group.dir);
	ck_assert_int_eq(mkdir(inner.dir, 0755), 0);
	suite_begin(&scene, NULL, body);
	actor_start_in_jail(&in, need(&jails[0]), scene.daemon.socket);
	group_add(&inner, in.pid);
	actor_must(&in, 0, "attach book %u", SEGMENT_READ);
	ck_assert_int_eq(harness_holders(&scene.watcher, "book", holders, 4), 1);
	ck_assert_int_eq(harness_clients(&scene.watcher, clients, 4), 2);
	ck_assert_str_eq(holders[0].container, "podman:" HASH);
	ck_assert_str_eq(clients[1].container, "podman:" HASH);
	ck_assert_str_eq(holders[0].cgroup, clients[1].cgroup);
	ck_assert_msg(strstr(holders[0].cgroup, "/libpod-" HASH ".scope"), "cgroup '%s'", holders[0].cgroup);
	ck_assert_str_eq(clients[0].container, "");
	actor_kill(&in);
	harness_await_counts(&scene.watcher, "book", 0, 0);
	(void)rmdir(inner.dir);
	(void)rmdir(group.dir);
	suite_end(&scene);
}
END_TEST

/* Locks. */

static void
die_in_a_section(struct actor *actor, long value)
{
	actor_must(actor, 0, "lock l");
	actor_must(actor, 0, "set l 1 %ld", value);
	actor_kill(actor);
}

/* Who dies, and who waits: one is in a container, or both are, each in its own, where both are process 1. */
struct death {
	bool owner_is_in;
	bool waiter_is_in;
};

static const struct death deaths[] = { { true, false }, { false, true }, { true, true } };

static void
begin_either(struct actor *actor, bool is_in, const struct jail *jail, const char *socket)
{
	if (is_in)
		begin_attached(actor, jail, socket);
	else
		actor_start(actor, socket, "book");
}

START_TEST(a_lock_comes_back_across_pid_namespaces)
{
	const struct death *death = &deaths[_i % 3];
	const struct jail *jail = need(&jails[_i / 3]);
	struct protocol_lock row;
	struct suite_scene scene;
	struct actor owner, waiter;

	suite_begin(&scene, NULL, body);
	begin_either(&owner, death->owner_is_in, jail, scene.daemon.socket);
	begin_either(&waiter, death->waiter_is_in, jail, scene.daemon.socket);
	actor_must(&owner, 0, "lock l");
	actor_must(&owner, 0, "set l 1 77");
	actor_must(&owner, 0, "unlock l");
	actor_must(&owner, 0, "lock l");
	actor_must(&owner, 0, "set l 1 78");
	actor_tell(&waiter, "lock l");
	actor_await_sleep(&waiter);
	actor_kill(&owner);
	ck_assert_int_eq(actor_hear(&waiter), 0);
	actor_must(&waiter, 1, "recovered l");
	actor_must(&waiter, 77, "get l 1");
	actor_must(&waiter, 0, "unlock l");
	actor_await_recoveries(&scene.watcher, "book", "l", 1, &row);
	/* Nobody waits: that is the daemon's. */
	die_in_a_section(&waiter, 79);
	actor_await_recoveries(&scene.watcher, "book", "l", 2, &row);
	harness_await_counts(&scene.watcher, "book", 0, 0);
	suite_end(&scene);
}
END_TEST

/* A robust mutex would be taken for its owner's, whose thread id the waiter has: its death would let others in. */
START_TEST(the_death_of_a_namesake_lets_nobody_in)
{
	const struct jail *jail = need(&jails[_i]);
	struct suite_scene scene;
	struct actor owner, waiter, other;

	suite_begin(&scene, NULL, body);
	begin_attached(&owner, jail, scene.daemon.socket);
	begin_attached(&waiter, jail, scene.daemon.socket);
	begin_attached(&other, jail, scene.daemon.socket);
	actor_must(&owner, 0, "lock l");
	actor_must(&owner, 0, "set l 1 77");
	actor_tell(&waiter, "lock l");
	actor_await_sleep(&waiter);
	actor_kill(&waiter);
	harness_await_counts(&scene.watcher, "book", 0, 2);
	actor_must(&other, -EBUSY, "trylock l");
	actor_must(&owner, 0, "unlock l");
	actor_must(&other, 0, "lock l");
	actor_must(&other, 0, "recovered l");
	actor_must(&other, 77, "get l 1");
	actor_must(&other, 0, "unlock l");
	actor_kill(&owner);
	actor_kill(&other);
	harness_await_counts(&scene.watcher, "book", 0, 0);
	suite_end(&scene);
}
END_TEST

/* Speed. */

START_TEST(attaching_takes_no_longer)
{
	const struct jail *jail = need(&jails[_i]);
	long inside = INT32_MAX, outside = INT32_MAX;
	struct suite_scene scene;
	struct actor in, out;

	suite_begin(&scene, NULL, body);
	actor_start_in_jail(&in, jail, scene.daemon.socket);
	actor_start_idle(&out, scene.daemon.socket);
	/* By turns; the best, since others are at work. */
	for (int i = 0; i < ROUNDS; i++) {
		long in_ns = actor_do(&in, "time book %ld", N_TIMES), out_ns = actor_do(&out, "time book %ld", N_TIMES);

		ck_assert_int_gt(in_ns, 0);
		ck_assert_int_gt(out_ns, 0);
		inside = in_ns < inside ? in_ns : inside;
		outside = out_ns < outside ? out_ns : outside;
	}
	printf("attach, map 1 MiB, unmap and detach: %ld ns in %s, %ld ns outside\n", inside, jail->who, outside);
	(void)fflush(stdout);
	ck_assert_int_lt(inside, SLOWER * outside);
	actor_kill(&in);
	actor_kill(&out);
	suite_end(&scene);
}
END_TEST

/* System V memory. */

/* By its id alone nobody could tell: where there is no /proc, the kernel is asked in another way, or it is refused. */
START_TEST(system_v_memory_is_for_the_same_ipc_namespace)
{
	const struct jail *jail = need(&jails[0]);
	struct jail keeping = *jail, proc = *jail;
	struct suite_scene scene;
	struct actor in;
	long r;

	keeping.keeps_ipc = true;
	proc.keeps_ipc = proc.has_proc = true;
	suite_begin(&scene, NULL, "segments = ( { name = \"book\"; backend = \"sysv\"; size = \"64KiB\"; mode = \"0666\"; mlock = false; } );");
	actor_start_in_jail(&in, jail, scene.daemon.socket);
	actor_must(&in, -EXDEV, "attach book %u", SEGMENT_WRITE);
	actor_kill(&in);
	actor_start_in_jail(&in, &keeping, scene.daemon.socket);
	r = actor_do(&in, "attach book %u", SEGMENT_WRITE);
	printf("System V memory in the same IPC namespace, without /proc: %s\n", r ? "refused" : "attached");
	(void)fflush(stdout);
	ck_assert(r == 0 || r == -EXDEV);
	actor_kill(&in);
	actor_start_in_jail(&in, &proc, scene.daemon.socket);
	actor_must(&in, 0, "attach book %u", SEGMENT_WRITE);
	actor_kill(&in);
	harness_await_counts(&scene.watcher, "book", 0, 0);
	suite_end(&scene);
}
END_TEST

/* The daemon's own container. */

static pid_t inner_daemon;

static void
pass_on(int sig)
{
	(void)kill(inner_daemon, sig);
}

/* The daemon is process 1 of a pid namespace, with a /proc of its own; what the harness knows of passes signals on. */
static void
contain_daemon(void *arg BASE_UNUSED)
{
	int status = 0;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET) || harness_make_private("/proc"))
		_exit(HARNESS_EXIT_FAILED);
	inner_daemon = fork();
	if (inner_daemon == 0) {
		if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
			_exit(HARNESS_EXIT_FAILED);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	(void)signal(SIGTERM, pass_on);
	(void)signal(SIGHUP, pass_on);
	while (waitpid(inner_daemon, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : HARNESS_EXIT_FAILED);
}

START_TEST(a_daemon_in_a_container_serves_the_host)
{
	struct harness_daemon daemon;
	struct protocol_holder holders[4];
	struct harness_conn conn;
	struct protocol_lock row;
	struct actor out, waiter, in;

	harness_need_root();
	(void)need(&jails[0]);
	harness_daemon_prepare(&daemon, NULL, body);
	daemon.before_exec = contain_daemon;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_open(&conn, daemon.socket);
	actor_start(&out, daemon.socket, "book");
	actor_start(&waiter, daemon.socket, "book");
	begin_attached(&in, &jails[0], daemon.socket);
	/* Its pid namespace hides them. */
	ck_assert_int_eq(harness_holders(&conn, "book", holders, 4), 3);
	ck_assert_int_eq(holders[0].pid, 0);
	ck_assert_str_eq(holders[0].command, "");
	actor_must(&out, 0, "lock l");
	actor_must(&out, 0, "set l 1 77");
	actor_tell(&waiter, "lock l");
	actor_await_sleep(&waiter);
	actor_kill(&out);
	ck_assert_int_eq(actor_hear(&waiter), 0);
	actor_must(&waiter, 0, "get l 1");
	actor_must(&waiter, 0, "unlock l");
	die_in_a_section(&in, 78);
	actor_await_recoveries(&conn, "book", "l", 2, &row);
	harness_await_counts(&conn, "book", 0, 1);
	actor_must(&waiter, 0, "lock l");
	actor_must(&waiter, 0, "get l 1");
	actor_must(&waiter, 0, "unlock l");
	actor_kill(&waiter);
	harness_await_counts(&conn, "book", 0, 0);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

static void
contain_uids(void *arg BASE_UNUSED)
{
	if (jail_enter_user_namespace())
		_exit(HARNESS_EXIT_FAILED);
}

static void
attach_as_nobody(int control, void *arg)
{
	struct harness_conn conn, other;
	struct protocol_client clients[4];

	harness_become(USER, USER, NULL, 0);
	harness_open(&other, arg);
	harness_open(&conn, arg);
	/* Even of its own kind it sees itself alone. */
	harness_assert(harness_clients(&conn, clients, 4) == 1 && clients[0].cursor == conn.session, "others' sessions");
	harness_close(&other);
	harness_assert(harness_attach(&conn, "nobodys", SUITE_READ, NULL, NULL) == -ENOENT, "as the owner");
	harness_assert(harness_attach(&conn, "groups", SUITE_READ, NULL, NULL) == -ENOENT, "as the group");
	harness_assert(harness_attach(&conn, "allowed", SUITE_READ, NULL, NULL) == -ENOENT, "by allow");
	harness_assert(harness_attach(&conn, "others", SUITE_READ, NULL, NULL) == 0, "not even as others");
	harness_assert(harness_create(&conn, "t-x", 4096, NULL, NULL) == -EPERM, "created what would be anybody's");
	harness_close(&conn);
}

/* Whose uid has no number in the daemon's user namespace has what others have, and is nobody who has the kernel's number for that. */
START_TEST(a_daemon_in_a_user_namespace_takes_nobody_for_another)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct harness_daemon daemon;

	harness_need_root();
	if (jail_why_not(&jails[1]))
		harness_skip("%s", jail_why_not(&jails[1]));
	harness_daemon_prepare(&daemon, NULL, "segments = ( { name = \"nobodys\"; size = \"4KiB\"; owner = \"65534\"; mode = \"0600\"; mlock = false; },"
	    "{ name = \"groups\"; size = \"4KiB\"; group = \"65534\"; mode = \"0660\"; mlock = false; },"
	    "{ name = \"allowed\"; size = \"4KiB\"; mode = \"0600\"; mlock = false; allow = ( { user = \"65534\"; access = \"r\"; },"
	    " { group = \"65534\"; access = \"r\"; } ); },"
	    "{ name = \"others\"; size = \"4KiB\"; owner = \"65534\"; mode = \"0604\"; mlock = false; } );"
	    "templates = ( { name = \"t-\"; max_size = \"1MiB\"; max_count = 3; } );");
	daemon.before_exec = contain_uids;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_child_start(&child, attach_as_nobody, daemon.socket);
	harness_child_await_success(&child);
	harness_daemon_stop(&daemon);
}
END_TEST

/* What was handed out for reading. */

#define SERVICE		4100u		/* the daemon's uid */

static void
become_service(void *arg)
{
	const struct harness_daemon *daemon = arg;

	if (chown(daemon->dir, SERVICE, SERVICE) || chown(daemon->state, SERVICE, SERVICE))
		_exit(HARNESS_EXIT_FAILED);
	harness_become(SERVICE, SERVICE, NULL, 0);
}

static void
drop_override(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	harness_assert(syscall(SYS_capget, &header, data) == 0, "capget: %s", strerror(errno));
	data[0].effective &= ~(1u << CAP_DAC_OVERRIDE);
	data[0].permitted &= ~(1u << CAP_DAC_OVERRIDE);
	data[0].inheritable &= ~(1u << CAP_DAC_OVERRIDE);
	harness_assert(syscall(SYS_capset, &header, data) == 0, "capset: %s", strerror(errno));
}

struct reopening {
	const char *socket;
	struct jail jail;
	bool drops_override;
	int answer;			/* of opening it anew for writing */
};

static void
reopen_in_jail(const struct reopening *reopening)
{
	struct harness_conn conn;
	char path[64];
	int fd, again;

	jail_enter(&reopening->jail, reopening->socket);
	if (reopening->drops_override)
		drop_override();
	harness_open(&conn, JAIL_SOCKET);
	harness_assert(harness_attach(&conn, "book", SUITE_READ, NULL, &fd) == 0, "attach");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	again = again < 0 ? -errno : 0;
	harness_assert(again == reopening->answer, "%s%s opens it for writing: %s", reopening->jail.who,
	    reopening->drops_override ? " without CAP_DAC_OVERRIDE" : "", strerror(-again));
	_exit(0);
}

static void
reopen(int control, void *arg)
{
	const struct reopening *reopening = arg;
	pid_t pid;

	jail_unshare(&reopening->jail);
	pid = harness_fork();
	if (pid == 0)
		reopen_in_jail(reopening);
	harness_assert(harness_await_state(pid, 0, "the container") == 0, "it failed");
}

/*
 * CAP_DAC_OVERRIDE over the daemon's uid opens anew for writing what was handed out for reading: a container's root has it unless it
 * is in a user namespace of its own, or has lost it.
 */
START_TEST(reading_holds_but_against_override_over_the_daemon)
{
	struct reopening reopenings[] = {
		{ .jail = { .who = "root's container", .has_proc = true }, .answer = 0 },
		{ .jail = { .who = "root's container", .has_proc = true }, .drops_override = true, .answer = -EACCES },
		{ .jail = { .who = "a user's container", .uid = USER, .has_user_namespace = true, .has_proc = true }, .answer = -EACCES },
	};
	struct harness_daemon daemon;

	harness_need_root();
	harness_daemon_prepare(&daemon, NULL, "segments = ( { name = \"book\"; size = \"4KiB\"; mode = \"0644\"; mlock = false; } );");
	daemon.before_exec = become_service;
	daemon.before_exec_arg = &daemon;
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(reopenings); i++) {
		struct harness_child child = HARNESS_CHILD_NULL;

		if (jail_why_not(&reopenings[i].jail)) {
			printf("LEFT OUT: %s: %s\n", reopenings[i].jail.who, jail_why_not(&reopenings[i].jail));
			continue;
		}
		reopenings[i].socket = daemon.socket;
		harness_child_start(&child, reopen, &reopenings[i]);
		harness_child_await_success(&child);
	}
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("containers");
	TCase *tcase = tcase_create("containers");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, a_socket_is_enough, 0, BASE_ARRAY_SIZE(jails));
	tcase_add_test(tcase, its_cgroup_is_shown);
	tcase_add_loop_test(tcase, a_lock_comes_back_across_pid_namespaces, 0, BASE_ARRAY_SIZE(jails) * BASE_ARRAY_SIZE(deaths));
	tcase_add_loop_test(tcase, the_death_of_a_namesake_lets_nobody_in, 0, BASE_ARRAY_SIZE(jails));
	tcase_add_loop_test(tcase, attaching_takes_no_longer, 0, BASE_ARRAY_SIZE(jails));
	tcase_add_test(tcase, system_v_memory_is_for_the_same_ipc_namespace);
	tcase_add_test(tcase, a_daemon_in_a_container_serves_the_host);
	tcase_add_test(tcase, a_daemon_in_a_user_namespace_takes_nobody_for_another);
	tcase_add_test(tcase, reading_holds_but_against_override_over_the_daemon);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
