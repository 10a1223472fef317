/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The directory of POSIX objects has a lock, as each has, which the kernel keeps while it removes a file there; and for that
 * it waits for the file's own, which somebody has who writes it. So anybody keeps the one for as long as he likes who writes
 * from memory that does not come: here of a userfaultfd, which takes a privilege; or of a file of his own FUSE, which takes
 * none. Filling a large file takes a second, which does as well. Meanwhile whoever lists the directory waits, or asks for a
 * name that is not there, or gives one, or takes it away. The loop is not to be among those: the segments whose names they are
 * wait, and no others.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "host/object.h"
#include "tests/audit/rig.h"
#include "tests/system/reloading.h"
#include "tests/system/suite.h"

#define HELD		"/dev/shm/held"
#define HELD_FD		100
#define MISSING		77		/* what the holder ends with where the host has no such memory */
#define DESK		RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", ""))
#define POSIX(name) \
	"{ name = \"" name "\"; size = \"64KiB\"; mlock = false; backend = \"posix\"; object = \"/" name "\"; required = false; }"
#define POSIX_MODE(name, mode) \
	"{ name = \"" name "\"; size = \"64KiB\"; mlock = false; backend = \"posix\"; object = \"/" name "\"; mode = \"" mode "\"; }"
#define DESK_AND(list)	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", "") ", " list)
#define RULES(pattern)	DESK "orphans = ( { posix = \"" pattern "\"; after = \"1ms\"; action = \"remove\"; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

/* A page that never comes, and what tells that somebody waits for it. Whoever has not the right ends here. */
static void *
page_that_never_comes(int *ret_fd)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range.len = size };
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	ck_assert_ptr_ne(page, MAP_FAILED);
	range.range.start = (uintptr_t)page;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		_exit(MISSING);
	*ret_fd = fd;
	return page;
}

static void *
write_held(void *page)
{
	int fd = open(HELD, O_RDWR | O_CLOEXEC);

	(void)!pwrite(fd, page, 1, 0);
	return NULL;
}

static void *
write_object(void *page)
{
	(void)!pwrite(HELD_FD, page, 1, 0);
	return NULL;
}

static _Atomic pid_t remover;

static void *
remove_held(void *arg)
{
	remover = gettid();
	(void)unlink(HELD);
	return NULL;
}

/* Whether a thread waits for what no signal ends. */
static bool
is_waiting(pid_t pid, pid_t tid)
{
	cleanup_fclose FILE *f = NULL;
	char path[64], state = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state == 'D';
}

/* Has the directory's lock until it is killed. */
static void
hold(int control, void *arg)
{
	pthread_t writer, other;
	struct uffd_msg told;
	int fd;
	void *page = page_that_never_comes(&fd);

	harness_expect(control, "hold");
	ck_assert_int_eq(close(open(HELD, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_held, page), 0);
	ck_assert_int_eq((int)read(fd, &told, sizeof(told)), (int)sizeof(told));
	ck_assert_int_eq(pthread_create(&other, NULL, remove_held, NULL), 0);
	while (!remover || !is_waiting(getpid(), remover))
		(void)sched_yield();
	harness_say(control, "held");
	for (;;)
		(void)pause();
}

/* Likewise an object's own, whose name is told: as whoever may write it. */
static void
hold_object(int control, void *arg)
{
	struct uffd_msg told;
	pthread_t writer;
	int fd, object_fd;
	void *page = page_that_never_comes(&fd);

	harness_expect(control, "hold");
	object_fd = open(arg, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(dup3(object_fd, HELD_FD, O_CLOEXEC), HELD_FD);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_object, page), 0);
	ck_assert_int_eq((int)read(fd, &told, sizeof(told)), (int)sizeof(told));
	harness_say(control, "held");
	for (;;)
		(void)pause();
}

static void
begin_with(struct harness_child *holder, void (*holds)(int control, void *arg), void *arg, const char *body)
{
	rig_enter_private_shm();
	harness_child_start(holder, holds, arg);
	(void)setenv("SEGMENTD_AUDIT", AUDIT_BUILT, 1);
	harness_daemon_start(&daemon_, NULL, body);
	if (poll(&(struct pollfd) { .fd = holder->pidfd, .events = POLLIN }, 1, 100) == 1)
		harness_skip("userfaultfd(2) is not to be had here");
}

static void
begin(struct harness_child *holder, const char *body)
{
	begin_with(holder, hold, NULL, body);
}

/* It is there: who looks for what is not there waits for the directory, and for good once that is held. */
static void
await_ready(const char *name)
{
	struct harness_conn conn;

	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, name);
	harness_close(&conn);
}

/* For a second, in which whoever waited for the directory would not. */
static void
expect_served(void)
{
	uint64_t most_ns = 0;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t begun_ns = clock_monotonic_ns();

		suite_serves(&daemon_);
		most_ns = max_u64(most_ns, clock_monotonic_ns() - begun_ns);
		ck_assert_int_eq(poll(&(struct pollfd) { .fd = daemon_.pidfd, .events = POLLIN }, 1, 100), 0);
	}
	(void)printf("served within %u us\n", (unsigned)(most_ns / 1000));
}

static void
take_lock(struct harness_child *holder)
{
	harness_say(holder->control, "hold");
	harness_expect(holder->control, "held");
}

static void
expect_state(struct harness_conn *conn, const char *name, uint32_t state)
{
	struct protocol_segment row;

	ck_assert_int_eq(harness_find(conn, name, &row), 0);
	harness_assert(row.state == state, "%s: %u", name, row.state);
}

/* Whether it is at a name: one that has just begun may wait for its own program to be read. */
static bool
is_at_name(pid_t pid)
{
	cleanup_fclose FILE *f = NULL;
	char path[64];
	long call = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	f = fopen(path, "re");
	return f && fscanf(f, "%ld", &call) == 1 && (call == SYS_linkat || call == SYS_unlinkat);
}

/* Until one of the daemon's workers waits for what no signal ends. */
static void
await_waiting_worker(void)
{
	pid_t children[16];

	for (;;) {
		size_t n = harness_children(daemon_.pid, children, BASE_ARRAY_SIZE(children));

		for (size_t i = 0; i < n; i++)
			if (is_waiting(children[i], children[i]) && is_at_name(children[i]))
				return;
		(void)sched_yield();
	}
}

static void
await_removed(const char *name)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "POSIX object \"/%s\" was an orphan, and was removed", name);
	harness_daemon_await_log(&daemon_, text);
}

START_TEST(who_holds_the_directory_holds_up_no_look_at_all)
{
	struct harness_child holder = HARNESS_CHILD_NULL;

	begin(&holder, RULES("/first*"));
	rig_make("first", 0, 0600);
	await_removed("first");
	rig_make("second", 0, 0600);
	harness_say(holder.control, "hold");
	harness_expect(holder.control, "held");
	/* What falls under other rules is looked for in the directory. */
	(void)reloading_hangup(&daemon_, NULL, RULES("/second*"));
	expect_served();
	ck_assert(rig_exists("second"));
	harness_child_kill(&holder);
	await_removed("second");
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(who_holds_the_directory_holds_up_no_look_at_a_name)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct stat status;
	int fd;

	begin(&holder, DESK);
	rig_make("there", 0, 0600);
	fd = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(symlink("there", "/dev/shm/link"), 0);
	harness_say(holder.control, "hold");
	harness_expect(holder.control, "held");
	ck_assert_int_eq(object_stat_known(fd, "gone", &status), -EAGAIN);
	ck_assert_int_eq(object_stat_known(fd, "there", &status), 0);
	ck_assert_uint_eq(status.st_ino, rig_inode("there"));
	ck_assert_int_eq(object_stat_known(fd, "link", &status), 0);
	ck_assert(S_ISLNK(status.st_mode));
	harness_child_kill(&holder);
	(void)close(fd);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* What comes is provisioned until it has its name, and what goes has it as long; what comes after that has it then. */
START_TEST(who_holds_the_directory_holds_up_no_other_segment)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	ino_t inode;

	begin(&holder, DESK_AND(POSIX("book")));
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "book");
	inode = rig_inode("book");
	take_lock(&holder);
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("late")));
	expect_served();
	harness_daemon_await_log(&daemon_, "names in /dev/shm can be neither given nor taken away at the moment");
	expect_state(&conn, "late", PROTOCOL_PROVISIONING);
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("book")));
	expect_served();
	expect_state(&conn, "book", PROTOCOL_PROVISIONING);
	ck_assert_uint_eq(rig_inode("book"), inode);
	harness_child_kill(&holder);
	suite_ready(&conn, "book");
	harness_daemon_await_log(&daemon_, "names in /dev/shm are given and taken away again");
	ck_assert_uint_ne(rig_inode("book"), inode);
	ck_assert(!rig_exists("late"));
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
	ck_assert(!rig_exists("book"));
}
END_TEST

static void
await_ms(uint64_t until_ns)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (now_ns < until_ns)
		ck_assert_int_eq(poll(&(struct pollfd) { .fd = daemon_.pidfd, .events = POLLIN }, 1, (int)((until_ns - now_ns) / NS_PER_MS)), 0);
}

/* That names wait is told of who has waited for two seconds, and not of who began just before somebody looked. */
START_TEST(who_waits_for_a_moment_is_not_told_of)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	uint64_t begun_ns;

	begin(&holder, DESK);
	harness_open(&conn, daemon_.socket);
	begun_ns = clock_monotonic_ns();
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("book")));
	suite_ready(&conn, "book");
	await_ms(begun_ns + 1300 * NS_PER_MS);
	take_lock(&holder);
	begun_ns = clock_monotonic_ns();
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("book") ", " POSIX("late")));
	await_ms(begun_ns + 1200 * NS_PER_MS);
	harness_child_kill(&holder);
	suite_ready(&conn, "late");
	/* On a machine with much load it may have been longer. */
	if (clock_monotonic_ns() < begun_ns + 2 * NS_PER_SEC)
		ck_assert_ptr_null(strstr(harness_daemon_log(&daemon_), "names in /dev/shm can be neither"));
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* What is there is taken over, and what is not there waits. */
START_TEST(who_holds_the_directory_holds_up_no_start)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct harness_conn conn;
	ino_t inode;

	begin(&holder, DESK_AND(POSIX("book") ", " POSIX("old")));
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "book");
	suite_ready(&conn, "old");
	harness_close(&conn);
	harness_daemon_kill(&daemon_);
	inode = rig_inode("book");
	harness_daemon_configure(&daemon_, NULL, DESK_AND(POSIX("book") ", " POSIX("late")));
	take_lock(&holder);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "desk");
	suite_ready(&conn, "book");
	expect_served();
	expect_state(&conn, "late", PROTOCOL_PROVISIONING);
	ck_assert(rig_exists("old"));
	harness_child_kill(&holder);
	suite_ready(&conn, "late");
	ck_assert_uint_eq(rig_inode("book"), inode);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
	ck_assert(!rig_exists("book") && !rig_exists("late") && !rig_exists("old"));
}
END_TEST

/* It may give the name when nobody thinks of it any more. */
START_TEST(who_waits_for_a_killed_daemon_is_waited_for)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct harness_conn conn;

	begin(&holder, DESK_AND(POSIX("book")));
	await_ready("book");
	take_lock(&holder);
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("book") ", " POSIX("late")));
	await_waiting_worker();
	harness_daemon_kill(&daemon_);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "desk");
	expect_served();
	expect_state(&conn, "late", PROTOCOL_DECLARED);
	harness_child_kill(&holder);
	suite_ready(&conn, "book");
	suite_ready(&conn, "late");
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
	ck_assert(!rig_exists("book") && !rig_exists("late"));
}
END_TEST

/* What it gives and what is known of it go with who comes next, however soon that ends. */
START_TEST(who_waits_for_a_killed_daemon_leaves_nothing)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	char names[256];

	begin(&holder, DESK_AND(POSIX("book")));
	await_ready("book");
	take_lock(&holder);
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX("book") ", " POSIX("late")));
	await_waiting_worker();
	harness_daemon_kill(&daemon_);
	harness_daemon_configure(&daemon_, NULL, DESK);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	harness_daemon_await_log(&daemon_, "stopping on signal");
	ck_assert(rig_exists("book"));
	harness_child_kill(&holder);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon_), 0);
	ck_assert(!rig_exists("book") && !rig_exists("late"));
	suite_list_state(&daemon_, names, sizeof(names));
	harness_assert(!strstr(names, "record"), "left: %s", names);
}
END_TEST

static mode_t
mode_of(const char *name)
{
	struct stat status;
	char path[64];

	(void)snprintf(path, sizeof(path), "/dev/shm/%s", name);
	ck_assert_int_eq(stat(path, &status), 0);
	return status.st_mode & 07777;
}

/* Who may write an object keeps for as long as he likes who else may open it; of that one alone. */
START_TEST(who_writes_an_object_holds_up_no_change_of_others)
{
	static char held[] = "/dev/shm/book";
	struct harness_child holder = HARNESS_CHILD_NULL;
	const char *text;

	begin_with(&holder, hold_object, held, DESK_AND(POSIX_MODE("book", "0644") ", " POSIX_MODE("other", "0644")));
	ck_assert_int_eq((int)mode_of("book"), 0644);
	take_lock(&holder);
	text = reloading_hangup(&daemon_, NULL, DESK_AND(POSIX_MODE("book", "0600") ", " POSIX_MODE("other", "0640")));
	reloading_expect(text, "who may open /dev/shm/book by name is changed as soon as the kernel can");
	expect_served();
	ck_assert_int_eq((int)mode_of("other"), 0640);
	ck_assert_int_eq((int)mode_of("book"), 0644);
	/* The last of what was asked for stays. */
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX_MODE("book", "0666") ", " POSIX_MODE("other", "0640")));
	(void)reloading_hangup(&daemon_, NULL, DESK_AND(POSIX_MODE("book", "0640") ", " POSIX_MODE("other", "0600")));
	expect_served();
	ck_assert_int_eq((int)mode_of("other"), 0600);
	ck_assert_int_eq((int)mode_of("book"), 0644);
	harness_child_kill(&holder);
	while (mode_of("book") != 0640)
		(void)sched_yield();
	harness_daemon_stop(&daemon_);
	ck_assert(!rig_exists("book") && !rig_exists("other"));
}
END_TEST

/* Leaves the daemon n descriptors, of those behind all that it has. */
static void
leave_descriptors(unsigned n, struct rlimit *ret_before)
{
	struct rlimit limit;
	char path[64];

	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, NULL, ret_before), 0);
	limit = *ret_before;
	for (limit.rlim_cur = 0;; limit.rlim_cur++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)daemon_.pid, (unsigned)limit.rlim_cur);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
			break;
	}
	limit.rlim_cur += n;
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

/* A host that has no process left, or here no descriptor, has one again some day: no name is left behind for that. */
START_TEST(who_has_no_worker_removes_the_name_later)
{
	static const char *const reasons[] = { "/dev/shm cannot be opened", "no worker process can be started" };
	char text[128];
	struct harness_conn conn;
	struct rlimit limit;
	pid_t child;

	rig_enter_private_shm();
	harness_daemon_start(&daemon_, NULL, DESK_AND(POSIX("book")));
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "book");
	/* Who has nothing to do ends. */
	while (harness_children(daemon_.pid, &child, 1))
		(void)poll(NULL, 0, 10);
	leave_descriptors((unsigned)_i, &limit);
	ck_assert_int_eq(harness_remove(&conn, "book", PROTOCOL_REMOVE_NOW), 0);
	(void)snprintf(text, sizeof(text), "/dev/shm/book cannot be removed yet, since %s", reasons[_i]);
	harness_daemon_await_log(&daemon_, text);
	ck_assert(rig_exists("book"));
	ck_assert_int_eq(prlimit(daemon_.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	while (rig_exists("book"))
		(void)sched_yield();
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

/* Names stay then, and the next start knows whose they are. */
START_TEST(who_holds_the_directory_holds_up_no_stop_for_ever)
{
	struct harness_child holder = HARNESS_CHILD_NULL;
	struct harness_conn conn;

	if (!harness_is_full())
		harness_skip("a stop that waits for a directory is for the full check (CHECK_FULL=1)");
	begin(&holder, DESK_AND(POSIX("book")));
	harness_open(&conn, daemon_.socket);
	suite_ready(&conn, "book");
	harness_close(&conn);
	take_lock(&holder);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon_), 0);
	ck_assert(rig_exists("book"));
	harness_child_kill(&holder);
	harness_daemon_configure(&daemon_, NULL, DESK);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	while (rig_exists("book"))
		(void)sched_yield();
	harness_daemon_stop(&daemon_);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("dirheld");
	TCase *tcase = tcase_create("dirheld");

	tcase_set_timeout(tcase, 2 * HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_holds_the_directory_holds_up_no_look_at_all);
	tcase_add_test(tcase, who_holds_the_directory_holds_up_no_look_at_a_name);
	tcase_add_test(tcase, who_holds_the_directory_holds_up_no_other_segment);
	tcase_add_test(tcase, who_waits_for_a_moment_is_not_told_of);
	tcase_add_test(tcase, who_holds_the_directory_holds_up_no_start);
	tcase_add_test(tcase, who_waits_for_a_killed_daemon_is_waited_for);
	tcase_add_test(tcase, who_waits_for_a_killed_daemon_leaves_nothing);
	tcase_add_test(tcase, who_writes_an_object_holds_up_no_change_of_others);
	tcase_add_loop_test(tcase, who_has_no_worker_removes_the_name_later, 0, 2);
	tcase_add_test(tcase, who_holds_the_directory_holds_up_no_stop_for_ever);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
