/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* AUDIT_WHO: who has an object, in whatever way and wherever they run; and what is not one's own to be seen. */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/audit/holder.h"
#include "tests/audit/rig.h"

#define SIZE	8192

static int memfd = -1;

static void
setup(void)
{
	memfd = memfd_create("check-who", MFD_CLOEXEC);
	harness_assert(memfd >= 0 && ftruncate(memfd, SIZE) == 0, "memfd: %s", strerror(errno));
	rig_start();
}

static void
teardown(void)
{
	rig_stop();
	close_fd(&memfd);
}

/* What a child does with the object before it stops. */
struct deed {
	int prot;			/* a shared mapping; PROT_NONE: none */
	bool is_private;
	int open_flags;			/* a descriptor of its own; -1: none */
	uid_t uid;
	int namespaces;
	void (*act)(void);		/* or something of its own */
};

static void
map_it(const struct deed *deed)
{
	void *p = mmap(NULL, SIZE, deed->prot, deed->is_private ? MAP_PRIVATE : MAP_SHARED, memfd, 0);

	harness_assert(p != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void
open_it(const struct deed *deed)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	harness_assert(open(path, deed->open_flags | O_CLOEXEC) >= 0, "open: %s", strerror(errno));
}

static void
hold(int control, void *arg)
{
	const struct deed *deed = arg;

	if (deed->namespaces && unshare(deed->namespaces))
		harness_fail("unshare: %s", strerror(errno));
	if (deed->prot)
		map_it(deed);
	if (deed->open_flags >= 0)
		open_it(deed);
	(void)close(memfd);
	if (deed->uid)
		harness_become(deed->uid, deed->uid, NULL, 0);
	if (deed->act)
		deed->act();
	harness_say(control, "holds");
	harness_expect(control, "end");
}

static void
begin(struct harness_child *child, struct deed *deed)
{
	harness_child_start(child, hold, deed);
	harness_expect(child->control, "holds");
}

static void
finish(struct harness_child *child)
{
	harness_say(child->control, "end");
	harness_child_await_success(child);
}

static void
ask(void)
{
	struct audit_object object = rig_object(memfd);

	(void)rig_who(&object, 1);
}

/* One child's deed shows as this. */
static void
expect_how(struct deed deed, uint32_t how)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	begin(&child, &deed);
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), how);
	finish(&child);
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), 0);
}

START_TEST(mappings_and_descriptors_are_told_apart)
{
	expect_how((struct deed) { .prot = PROT_READ, .open_flags = -1 }, AUDIT_MAPS_READ);
	expect_how((struct deed) { .prot = PROT_READ | PROT_WRITE, .open_flags = -1 }, AUDIT_MAPS_READ | AUDIT_MAPS_WRITE);
	/* What is written to a private mapping nobody else sees. */
	expect_how((struct deed) { .prot = PROT_READ | PROT_WRITE, .is_private = true, .open_flags = -1 }, AUDIT_MAPS_READ);
	expect_how((struct deed) { .open_flags = O_RDONLY }, AUDIT_FD_READ);
	expect_how((struct deed) { .open_flags = O_WRONLY }, AUDIT_FD_WRITE);
	expect_how((struct deed) { .open_flags = O_RDWR }, AUDIT_FD_READ | AUDIT_FD_WRITE);
	expect_how((struct deed) { .open_flags = O_PATH }, AUDIT_FD_PATH);
	expect_how((struct deed) { .prot = PROT_READ, .open_flags = O_WRONLY }, AUDIT_MAPS_READ | AUDIT_FD_WRITE);
	expect_how((struct deed) { .open_flags = -1 }, 0);
}
END_TEST

START_TEST(counts_and_who_it_is_are_told)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct audit_holder *holder;
	uint64_t before_ns = clock_realtime_ns();

	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = O_RDONLY });
	ask();
	holder = rig_holder(0, child.pid);
	ck_assert_ptr_nonnull(holder);
	ck_assert_uint_eq(holder->n_maps, 1);
	ck_assert_uint_eq(holder->n_fds, 1);
	ck_assert_uint_eq(holder->mapped_bytes, SIZE);
	ck_assert_uint_eq(holder->uid, geteuid());
	ck_assert_uint_eq(holder->how & (AUDIT_STOPPED | AUDIT_IN_PID_NAMESPACE | AUDIT_IN_IPC_NAMESPACE), 0);
	ck_assert_str_eq(holder->command, "check_who");
	ck_assert_int_eq(holder->inner_pid, child.pid);
	/* To a tick, and what the clocks were moved by. */
	ck_assert_uint_ge(holder->started_ns, before_ns - NS_PER_SEC);
	ck_assert_uint_le(holder->started_ns, clock_realtime_ns() + NS_PER_SEC);
	/* Ourselves, who have it open, too. */
	ck_assert_uint_eq(rig_how(0, getpid()), AUDIT_FD_READ | AUDIT_FD_WRITE);
	ck_assert_uint_ge(rig.end.n_seen, 2);
	finish(&child);
}
END_TEST

START_TEST(another_user_is_seen)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1, .uid = HARNESS_NOBODY });
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_eq(rig_holder(0, child.pid)->uid, HARNESS_NOBODY);
	finish(&child);
}
END_TEST

START_TEST(stopped_one_is_seen_and_said_to_be)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1 });
	ck_assert_int_eq(kill(child.pid, SIGSTOP), 0);
	(void)harness_await_state(child.pid, WUNTRACED, "a client's stop");
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_ne(rig_holder(0, child.pid)->how & AUDIT_STOPPED, 0);
	ck_assert_int_eq(kill(child.pid, SIGCONT), 0);
	finish(&child);
}
END_TEST

START_TEST(zombie_holds_nothing)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	siginfo_t info;

	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = O_RDONLY });
	ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), 0);
	ck_assert_int_eq(harness_child_await(&child), -SIGKILL);
}
END_TEST

static int report[2] = { -1, -1 };

/* Forks a child that forks one which goes on mapping, while both of those before it end. */
static void
fork_twice(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		pid = getpid();
		(void)!write(report[1], &pid, sizeof(pid));
		(void)pause();
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
}

START_TEST(one_forked_twice_is_seen_when_its_parents_are_gone)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	pid_t grandchild;

	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1, .act = fork_twice });
	ck_assert_int_eq(read(report[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
	finish(&child);
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), 0);
	ck_assert_uint_eq(rig_how(0, grandchild), AUDIT_MAPS_READ);
	ck_assert_int_eq(kill(grandchild, SIGKILL), 0);
}
END_TEST

/* Its first child is the first process of its pid namespace, and ends with it. */
static void
fork_inside(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)pause();
		_exit(0);
	}
	(void)!write(report[1], &pid, sizeof(pid));
}

START_TEST(other_namespaces_hide_nobody)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct audit_holder *holder;
	pid_t inner;

	harness_need_root();
	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1, .act = fork_inside,
	    .namespaces = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS });
	ck_assert_int_eq(read(report[0], &inner, sizeof(inner)), sizeof(inner));
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_eq(rig_holder(0, child.pid)->how & (AUDIT_IN_PID_NAMESPACE | AUDIT_IN_IPC_NAMESPACE), AUDIT_IN_IPC_NAMESPACE);
	holder = rig_holder(0, inner);
	ck_assert_ptr_nonnull(holder);
	ck_assert_uint_ne(holder->how & AUDIT_IN_PID_NAMESPACE, 0);
	ck_assert_uint_ne(holder->how & AUDIT_IN_IPC_NAMESPACE, 0);
	ck_assert_int_eq(holder->inner_pid, 1);
	finish(&child);
}
END_TEST

/* Threads. */

static pthread_barrier_t ready;
static int table_fd;

static void *
own_table(void *arg)
{
	if (unshare(CLONE_FILES))
		abort();
	(void)close(STDIN_FILENO);
	if (dup2(table_fd, STDIN_FILENO) < 0)
		abort();
	(void)close(table_fd);
	(void)pthread_barrier_wait(&ready);
	(void)pause();
	return NULL;
}

/* The object is open in the table of a thread, and in no other. */
static void
give_thread_its_table(void)
{
	pthread_t thread;

	if (pthread_barrier_init(&ready, NULL, 2) || pthread_create(&thread, NULL, own_table, NULL))
		abort();
	(void)pthread_barrier_wait(&ready);
	(void)close(table_fd);
}

static void
hold_by_thread(int control, void *arg)
{
	table_fd = fcntl(memfd, F_DUPFD_CLOEXEC, 3);
	(void)close(memfd);
	give_thread_its_table();
	harness_say(control, "holds");
	harness_expect(control, "end");
}

START_TEST(descriptor_in_a_threads_own_table_is_seen)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, hold_by_thread, NULL);
	harness_expect(child.control, "holds");
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_FD_READ | AUDIT_FD_WRITE);
	finish(&child);
}
END_TEST

static void *
outlive(void *control)
{
	char stat[512], path[64];

	/* Until the first thread has ended: it is a zombie then, and the process lives. */
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	do {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, stat, sizeof(stat) - 1);

		(void)close(fd);
		stat[n > 0 ? n : 0] = '\0';
		(void)sched_yield();
	} while (!strstr(stat, ") Z "));
	harness_say(*(int *)control, "holds");
	harness_expect(*(int *)control, "end");
	_exit(0);
}

static void
end_first_thread(int control, void *arg)
{
	static int held;
	pthread_t thread;

	held = control;
	map_it(&(struct deed) { .prot = PROT_READ });
	if (pthread_create(&thread, NULL, outlive, &held))
		abort();
	pthread_exit(NULL);
}

START_TEST(process_whose_first_thread_ended_is_seen)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_child_start(&child, end_first_thread, NULL);
	harness_expect(child.control, "holds");
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ | AUDIT_FD_READ | AUDIT_FD_WRITE);
	finish(&child);
}
END_TEST

/* Objects of other kinds. */

static void
attach_segment(int control, void *arg)
{
	void *p = shmat(*(int *)arg, NULL, SHM_RDONLY);

	harness_assert(p != (void *)-1, "shmat: %s", strerror(errno));
	harness_say(control, "holds");
	harness_expect(control, "end");
}

START_TEST(system_v_segment_is_told_from_a_memfd_with_its_number)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	struct audit_object objects[3];
	struct stat status;

	ck_assert_int_ge(id, 0);
	harness_child_start(&child, attach_segment, &id);
	harness_expect(child.control, "holds");
	ck_assert_int_eq(fstat(memfd, &status), 0);
	objects[0] = rig_segment(id);
	/* On the same file system of the kernel's; there is no memfd of that number, but there is the segment. */
	objects[1] = (struct audit_object) { .device = status.st_dev, .inode = (uint64_t)id, .shm_id = -1 };
	objects[2] = rig_object(memfd);
	(void)rig_who(objects, 3);
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_eq(rig_how(1, child.pid), 0);
	ck_assert_uint_eq(rig_how(2, child.pid), AUDIT_FD_READ | AUDIT_FD_WRITE);
	ck_assert_uint_eq(rig_how(0, getpid()), 0);
	finish(&child);
	ck_assert_int_eq(shmctl(id, IPC_RMID, NULL), 0);
}
END_TEST

static void
attach_elsewhere(int control, void *arg)
{
	int id;
	void *p;

	harness_assert(unshare(CLONE_NEWIPC) == 0, "unshare: %s", strerror(errno));
	id = shmget(*(key_t *)arg, SIZE, IPC_CREAT | 0600);
	p = shmat(id, NULL, 0);
	harness_assert(p != (void *)-1, "shmat: %s", strerror(errno));
	harness_assert(send(control, &id, sizeof(id), 0) == sizeof(id), "send: %s", strerror(errno));
	harness_expect(control, "end");
}

/* Both namespaces are new, so that both ids are 0. */
START_TEST(segment_of_another_ipc_namespace_is_another)
{
	static key_t keys[] = { 0x5e60001, 0x5e60002 };
	struct harness_child children[2] = { HARNESS_CHILD_NULL, HARNESS_CHILD_NULL };
	int ids[2], id;
	struct audit_object object;

	harness_need_root();
	rig_stop();
	ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
	rig_start();
	id = shmget(keys[0], SIZE, IPC_CREAT | 0600);
	ck_assert_int_ge(id, 0);
	for (int i = 0; i < 2; i++) {
		harness_child_start(&children[i], attach_elsewhere, &keys[i]);
		ck_assert_int_eq(recv(children[i].control, &ids[i], sizeof(ids[i]), 0), sizeof(ids[i]));
		ck_assert_int_eq(ids[i], id);
	}
	object = rig_segment(id);
	(void)rig_who(&object, 1);
	/* Of the same key: it may be ours for all that can be seen, and is said to be of another namespace. */
	ck_assert_uint_eq(rig_how(0, children[0].pid), AUDIT_MAPS_READ | AUDIT_MAPS_WRITE);
	ck_assert_uint_ne(rig_holder(0, children[0].pid)->how & AUDIT_IN_IPC_NAMESPACE, 0);
	ck_assert_uint_eq(rig_how(0, children[1].pid), 0);
	for (int i = 0; i < 2; i++)
		finish(&children[i]);
}
END_TEST

static void
map_posix(int control, void *arg)
{
	int fd = open("/dev/shm/object", O_RDWR | O_CLOEXEC);

	harness_assert(fd >= 0 && mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, "%s", strerror(errno));
	(void)close(fd);
	harness_say(control, "holds");
	harness_expect(control, "end");
}

START_TEST(posix_object_is_seen_with_and_without_its_name)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct audit_object object;
	int fd;

	rig_stop();
	rig_enter_private_shm();
	rig_start();
	rig_make("object", geteuid(), 0600);
	fd = open("/dev/shm/object", O_PATH | O_CLOEXEC);
	object = rig_object(fd);
	(void)close(fd);
	harness_child_start(&child, map_posix, NULL);
	harness_expect(child.control, "holds");
	(void)rig_who(&object, 1);
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_eq(rig.n_rows, 1);
	ck_assert_int_eq(unlink("/dev/shm/object"), 0);
	(void)rig_who(&object, 1);
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	finish(&child);
}
END_TEST

/* A process that names itself to deceive. */
static void
lie(void)
{
	(void)prctl(PR_SET_NAME, "a) R 1\n\033[31mx");
}

START_TEST(hostile_name_deceives_nobody)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	const struct audit_holder *holder;

	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1, .act = lie });
	ask();
	holder = rig_holder(0, child.pid);
	ck_assert_ptr_nonnull(holder);
	ck_assert_str_eq(holder->command, "a) R 1??[31mx");
	ck_assert_uint_eq(holder->uid, geteuid());
	ck_assert_uint_gt(holder->started_ns, 0);
	ck_assert_uint_eq(holder->how & AUDIT_STOPPED, 0);
	finish(&child);
}
END_TEST

/* What an ordinary user's own program sees. */

static void
ask_as_nobody(int control, void *arg)
{
	struct audit_object object = rig_object(memfd);
	const pid_t *pids = arg;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	rig_start();
	(void)rig_who(&object, 1);
	harness_assert(rig_how(0, pids[0]) == AUDIT_MAPS_READ, "the own user's process is not seen");
	harness_assert(rig_how(0, pids[1]) == 0, "another user's process is seen");
	harness_assert(rig.end.n_hidden >= 1 && rig.end.n_hidden < rig.end.n_seen, "%u of %u hidden", rig.end.n_hidden,
	    rig.end.n_seen);
	harness_assert(strstr(rig.end.text, "CAP_SYS_PTRACE") && strstr(rig.end.text, "segmentd-audit.socket"),
	    "the text is '%s'", rig.end.text);
	rig_stop();
}

START_TEST(without_rights_it_says_what_it_did_not_see)
{
	struct harness_child own = HARNESS_CHILD_NULL, other = HARNESS_CHILD_NULL, asker = HARNESS_CHILD_NULL;
	pid_t pids[2];

	harness_need_root();
	begin(&own, &(struct deed) { .prot = PROT_READ, .open_flags = -1, .uid = HARNESS_NOBODY });
	begin(&other, &(struct deed) { .prot = PROT_READ, .open_flags = -1 });
	pids[0] = own.pid;
	pids[1] = other.pid;
	harness_child_start(&asker, ask_as_nobody, pids);
	harness_child_await_success(&asker);
	finish(&own);
	finish(&other);
}
END_TEST

START_TEST(root_is_told_of_no_hidden_ones)
{
	int fd = open("/proc/1/maps", O_RDONLY | O_CLOEXEC);

	harness_need_root();
	/* Of a container whose first process is the host's, or a security module's. */
	if (fd < 0)
		harness_skip("the first process is hidden from root: %s", strerror(errno));
	(void)close(fd);
	ask();
	ck_assert_uint_eq(rig.end.n_hidden, 0);
	ck_assert_str_eq(rig.end.text, "");
	ck_assert_uint_eq(rig.end.flags, 0);
}
END_TEST

/* The process that looks, and that is the program's child, from its birth on ours to hold. */
static pid_t
seize_looker(const struct audit_object *object)
{
	unsigned long child;
	int status;

	ck_assert_int_eq(ptrace(PTRACE_SEIZE, rig.pid, NULL, (void *)(PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD)), 0);
	rig_send(AUDIT_WHO, object, 1, sizeof(*object));
	status = harness_await_state(rig.pid, 0, "segmentd-audit's fork");
	/* Before it that of the question before may end, which has answered. */
	while (WIFSTOPPED(status) && status >> 16 != PTRACE_EVENT_FORK) {
		ck_assert_int_eq(ptrace(PTRACE_CONT, rig.pid, NULL, (void *)(intptr_t)WSTOPSIG(status)), 0);
		status = harness_await_state(rig.pid, 0, "segmentd-audit's fork");
	}
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(ptrace(PTRACE_GETEVENTMSG, rig.pid, NULL, &child), 0);
	status = harness_await_state((pid_t)child, __WALL, "the looker's first stop");
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(ptrace(PTRACE_DETACH, rig.pid, NULL, NULL), 0);
	return (pid_t)child;
}

/* It stands where it asks for a process's mappings, as if the kernel did not answer. */
static void
hold_looker(pid_t pid)
{
	struct __ptrace_syscall_info info = { 0 };
	int status;

	do {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		status = harness_await_state(pid, __WALL, "the looker to ask");
		ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80));
		ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), 0);
	} while (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr != SYS_ioctl);
}

START_TEST(process_that_cannot_be_looked_at_keeps_nobody_else)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct audit_object object = rig_object(memfd);
	pid_t looker;
	int status;

	begin(&child, &(struct deed) { .prot = PROT_READ, .open_flags = -1 });
	looker = seize_looker(&object);
	hold_looker(looker);
	/* Who traces it learns of its end before its parent does. */
	status = harness_await_state(looker, __WALL, "the looker's end");
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	rig_receive(AUDIT_WHO);
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	ck_assert_uint_ge(rig.end.n_hidden, 1);
	ck_assert_ptr_nonnull(strstr(rig.end.text, "could not be looked into"));
	/* It goes on answering. */
	ask();
	ck_assert_uint_eq(rig_how(0, child.pid), AUDIT_MAPS_READ);
	finish(&child);
}
END_TEST

/* Between what it maps and where it is, it ends: its System V memory may have been another one with the same id. */
START_TEST(who_has_ended_since_is_of_no_namespace)
{
	struct audit_holder holder = { .pid = 0 };
	struct holder_self self;
	pid_t pid = harness_fork();
	cleanup_close int fd = -1;
	siginfo_t info;
	char path[64];

	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	holder_self_init(&self);
	for (int i = 0; i < 2; i++) {
		holder.how = 0;
		holder_describe(&self, fd, &holder);
		ck_assert_uint_eq(holder.how & AUDIT_IN_IPC_NAMESPACE, AUDIT_IN_IPC_NAMESPACE);
		/* The second time there is not even its directory. */
		(void)waitpid(pid, NULL, 0);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("who");
	TCase *tests = tcase_create("who");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, mappings_and_descriptors_are_told_apart);
	tcase_add_test(tests, counts_and_who_it_is_are_told);
	tcase_add_test(tests, another_user_is_seen);
	tcase_add_test(tests, stopped_one_is_seen_and_said_to_be);
	tcase_add_test(tests, zombie_holds_nothing);
	tcase_add_test(tests, one_forked_twice_is_seen_when_its_parents_are_gone);
	tcase_add_test(tests, other_namespaces_hide_nobody);
	tcase_add_test(tests, descriptor_in_a_threads_own_table_is_seen);
	tcase_add_test(tests, process_whose_first_thread_ended_is_seen);
	tcase_add_test(tests, system_v_segment_is_told_from_a_memfd_with_its_number);
	tcase_add_test(tests, segment_of_another_ipc_namespace_is_another);
	tcase_add_test(tests, posix_object_is_seen_with_and_without_its_name);
	tcase_add_test(tests, hostile_name_deceives_nobody);
	tcase_add_test(tests, without_rights_it_says_what_it_did_not_see);
	tcase_add_test(tests, root_is_told_of_no_hidden_ones);
	tcase_add_test(tests, process_that_cannot_be_looked_at_keeps_nobody_else);
	tcase_add_test(tests, who_has_ended_since_is_of_no_namespace);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
