/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor on this machine, made small for it: limits of processes, a memory cgroup, namespaces with bounds of their own, a daemon
 * that runs. Where a finding prints a command that can be run there, it is run, and the finding is gone.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "host/cgroup.h"
#include "tests/harness.h"
#include "tests/segmentctl/run.h"

#define GROUP_BYTES	"134217728"

static char dir[] = "/tmp/segmentd-doctor.XXXXXX", conf[64], socket_path[64];

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	(void)snprintf(conf, sizeof(conf), "%s/conf", dir);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/none", dir);
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", AUDIT_BUILT, 1), 0);
}

static void
teardown(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/systemctl", dir);
	(void)unlink(path);
	(void)unlink(conf);
	(void)rmdir(dir);
}

/* Runs with a configuration of these segments, and without a daemon. */
static const struct run *
doctor(const char *segments)
{
	FILE *f = fopen(conf, "we");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "segments = ( %s );\n", segments);
	ck_assert_int_eq(fclose(f), 0);
	return run_segmentctl("--socket", socket_path, "doctor", conf, NULL);
}

/* It does not fit, for this reason. */
static const char *
assert_refused(const char *segments, const char *words)
{
	const struct run *run = doctor(segments);

	ck_assert_msg(run->status == SEGMENTCTL_FAILED, "%d: %s%s", run->status, run->out, run->err);
	assert_has(run->out, words);
	return run->out;
}

static void
assert_fits(const char *segments)
{
	const struct run *run = doctor(segments);

	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%d: %s%s", run->status, run->out, run->err);
}

/* Runs the command between backticks that begins so. */
static void
run_command(const char *out, const char *begin)
{
	const char *from = strstr(out, begin);
	char command[512];

	ck_assert_msg(from, "no %s in %s", begin, out);
	(void)snprintf(command, sizeof(command), "%.*s", (int)strcspn(from, "`"), from);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* Somebody without the capability that lifts limits. */
static void
become_nobody(void)
{
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(dir, HARNESS_NOBODY, HARNESS_NOBODY), 0);
		ck_assert_int_eq(setresuid(HARNESS_NOBODY, HARNESS_NOBODY, HARNESS_NOBODY), 0);
	}
	(void)prctl(PR_SET_DUMPABLE, 1);
}

START_TEST(a_small_limit_of_locked_memory)
{
	const struct rlimit limit = { 65536, 65536 };

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	become_nobody();
	(void)assert_refused("{ name = \"a\"; size = \"40KiB\"; }, { name = \"b\"; size = \"40KiB\"; }",
	    "80 KiB are to be locked in memory, but 64 KiB are left of what this process may lock: RLIMIT_MEMLOCK is 64 KiB");
	assert_fits("{ name = \"a\"; size = \"40KiB\"; }");
	assert_fits("{ name = \"a\"; size = \"1MiB\"; mlock = false; }");
}
END_TEST

START_TEST(few_descriptors)
{
	const struct rlimit limit = { 40, 40 };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	(void)assert_refused("{ name = \"a\"; size = \"4KiB\"; mlock = false; }", "but this process may have 40");
}
END_TEST

static char group[512];
static enum cgroup_version group_version;

static int
group_write(const char *name, const char *value)
{
	cleanup_close int fd = -1;
	char path[600];

	(void)snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int
group_make(const char *own, enum cgroup_version version, void *arg)
{
	(void)snprintf(group, sizeof(group), "%.300s/segmentd-doctor-%ld", own, (long)getpid());
	group_version = version;
	if (mkdir(group, 0755) < 0)
		return 0;
	if (group_write(version == CGROUP_V2 ? "memory.max" : "memory.limit_in_bytes", GROUP_BYTES) == 0)
		return 1;
	(void)rmdir(group);
	return 0;
}

START_TEST(a_small_memory_cgroup)
{
	int status;
	pid_t pid;

	if (cgroup_walk("", 0, "memory", group_make, NULL) != 1)
		harness_skip("no memory cgroup can be made");
	pid = fork();
	if (pid == 0) {
		if (group_write("cgroup.procs", "0") < 0)
			_exit(1);
		assert_has(assert_refused("{ name = \"a\"; size = \"512MiB\"; }", "the memory cgroup leaves"), group);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(rmdir(group), 0);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void
write_number(const char *path, const char *number)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_msg(fd >= 0 && write(fd, number, strlen(number)) > 0, "%s: %s", path, strerror(errno));
}

#define SYSV	"{ name = \"v\"; size = \"4MiB\"; backend = \"sysv\"; key = 0x7A2F; }"

START_TEST(an_ipc_namespace_with_small_limits)
{
	const char *out;
	char words[64];
	int id;

	if (unshare(CLONE_NEWIPC) < 0)
		harness_skip("no IPC namespace can be made: %s", strerror(errno));
	write_number("/proc/sys/kernel/shmmax", "1048576");
	out = assert_refused(SYSV, "kernel.shmmax allows 1 MiB");
	if (system("sysctl -V >/dev/null 2>&1") == 0) {
		run_command(out, "sysctl -w kernel.shmmax=");
		assert_fits(SYSV);
	}
	write_number("/proc/sys/kernel/shmmax", "4194304");
	assert_fits(SYSV);
	write_number("/proc/sys/kernel/shmmni", "0");
	(void)assert_refused(SYSV, "kernel.shmmni allows 0");
	write_number("/proc/sys/kernel/shmmni", "10");
	id = shmget(0x7a2f, 4096, IPC_CREAT | IPC_EXCL | 0600);
	ck_assert_int_ge(id, 0);
	(void)snprintf(words, sizeof(words), "was made by process %d and is attached by 0", (int)getpid());
	assert_has(assert_refused(SYSV, "key 0x00007a2f is taken"), words);
	ck_assert_int_eq(shmctl(id, IPC_RMID, NULL), 0);
	assert_fits(SYSV);
}
END_TEST

static void
mount_tmpfs(const char *at)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", at, "tmpfs", 0, "size=1m,mode=1777") < 0)
		harness_skip("no tmpfs can be mounted: %s", strerror(errno));
}

#define POSIX	"{ name = \"p\"; size = \"4MiB\"; backend = \"posix\"; object = \"/segmentd-doctor\"; }"

START_TEST(a_tiny_dev_shm)
{
	const char *out;
	char words[64];
	void *map;
	int fd;

	mount_tmpfs("/dev/shm");
	out = assert_refused(POSIX, "4 MiB are needed in /dev/shm, but 1 MiB of its 1 MiB are free");
	run_command(out, "mount -o remount,size=");
	assert_fits(POSIX);
	fd = shm_open("/segmentd-doctor", O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	(void)snprintf(words, sizeof(words), "mode 0600; %d (check_doctor_re)", (int)getpid());
	out = assert_refused(POSIX, "an object /segmentd-doctor is there already");
	assert_has(out, words);
	(void)munmap(map, 4096);
	out = assert_refused(POSIX, "an object /segmentd-doctor is there already");
	assert_has(out, words);
	(void)close(fd);
	out = assert_refused(POSIX, "of our own uid 0, and nobody has it open or mapped, as a daemon leaves it that was killed");
	run_command(out, "rm /dev/shm/");
	assert_fits(POSIX);
}
END_TEST

START_TEST(a_tiny_disk)
{
	char segments[256];

	mount_tmpfs("/mnt");
	(void)snprintf(segments, sizeof(segments), "{ name = \"a\"; size = \"600KiB\"; backend = \"file\"; path = \"/mnt/a\"; },"
	    "{ name = \"b\"; size = \"600KiB\"; backend = \"file\"; path = \"/mnt/b\"; }");
	assert_has(assert_refused(segments, "1.2 MiB more are needed on the file system of '/mnt/b', where 1 MiB are free"),
	    "The start will fail: 1 finding about b.");
	assert_fits("{ name = \"a\"; size = \"600KiB\"; backend = \"file\"; path = \"/mnt/a\"; }");
	(void)assert_refused("{ name = \"a\"; size = \"4KiB\"; backend = \"file\"; path = \"/mnt/none/a\"; }",
	    "there is no directory '/mnt/none'");
}
END_TEST

/* As systemctl answers of a unit that is there, and of none. */
static void
put_systemctl(const char *answer)
{
	char path[64], var[512];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/systemctl", dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "#!/bin/sh\ncat <<'END'\n%sEND\n", answer);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	(void)snprintf(var, sizeof(var), "%s:%.400s", dir, getenv("PATH"));
	(void)setenv("PATH", var, 1);
}

START_TEST(limits_of_the_unit_by_systemd)
{
	const char *segments = "{ name = \"a\"; size = \"40KiB\"; }, { name = \"b\"; size = \"40KiB\"; }", *out;

	mount_tmpfs("/run");
	ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
	ck_assert_int_eq(mkdir("/run/systemd/system", 0755), 0);
	put_systemctl("LoadState=loaded\nMainPID=0\nUser=daemon\nLimitMEMLOCKSoft=65536\nLimitNOFILE=524288\n"
	    "MemoryMax=infinity\nMemoryHigh=18446744073709551615\nCapabilityBoundingSet=cap_chown cap_ipc_lock\n"
	    "AmbientCapabilities=\n");
	out = assert_refused(segments, "80 KiB are to be locked in memory, but 64 KiB are left of what segmentd.service may lock");
	assert_has(out, "the limits of segmentd.service count");
	assert_has(out, "segmentd.service sets no memory limit");
	assert_has(out, "'daemon'");
	put_systemctl("LoadState=loaded\nMainPID=0\nUser=daemon\nLimitMEMLOCKSoft=65536\nLimitNOFILE=524288\n"
	    "MemoryMax=1048576\nCapabilityBoundingSet=cap_ipc_lock\nAmbientCapabilities=cap_ipc_lock\n");
	out = assert_refused(segments, "80 KiB of memory are needed, but segmentd.service has MemoryMax=1 MiB");
	assert_has(out, "segmentd.service may lock any amount");
	put_systemctl("LoadState=not-found\nLimitMEMLOCKSoft=65536\n");
	assert_has(doctor(segments)->out, "there is no segmentd.service");
	/* One that says nothing: the files are read, and there are none of the unit. */
	put_systemctl("");
	assert_has(doctor(segments)->out, "there is no segmentd.service");
}
END_TEST

START_TEST(pages_and_nodes_that_nobody_has)
{
	(void)assert_refused("{ name = \"a\"; size = \"1TiB\"; page_size = \"2MiB\"; }", "2 MiB");
	assert_has(doctor("{ name = \"a\"; size = \"1TiB\"; page_size = \"2MiB\"; }")->out, "required  hugetlb");
	(void)assert_refused("{ name = \"a\"; size = \"4KiB\"; numa = \"bind:63\"; mlock = false; }", "numa names node 63");
}
END_TEST

/* What it has fits, whatever is left; and names and keys that are its own are not taken. */
START_TEST(beside_a_daemon_that_runs)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	const struct run *run;
	char words[256];
	int status;
	pid_t pid, killed;

	/* All names are its own then. */
	if (geteuid() != 0 || unshare(CLONE_NEWIPC) < 0)
		harness_skip("a namespace of keys needs root");
	mount_tmpfs("/dev/shm");
	harness_daemon_start(&daemon, "", "segments = ( { name = \"m\"; size = \"1MiB\"; placement = \"prefer\"; },\n"
	    "{ name = \"v\"; size = \"1MiB\"; backend = \"sysv\"; key = 0x7A2F; placement = \"prefer\"; },\n"
	    "{ name = \"p\"; size = \"1000KiB\"; backend = \"posix\"; object = \"/segmentd-doctor\"; placement = \"prefer\"; }\n );");
	run = run_segmentctl("doctor", daemon.config, NULL);
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%d: %s%s", run->status, run->out, run->err);
	(void)snprintf(words, sizeof(words), "segmentd runs (pid %d); its own limits count; it has all 3", (int)daemon.pid);
	assert_has(run->out, words);
	assert_has(run->out, "0 B more of memory are needed");
	ck_assert_ptr_null(strstr(run->out, "is taken"));
	ck_assert_ptr_null(strstr(run->out, "there already"));
	/* Who may not attach them is not shown them, and is not told to remove what is the daemon's. */
	pid = fork();
	if (pid == 0) {
		become_nobody();
		run = run_segmentctl("doctor", daemon.config, NULL);
		ck_assert_msg(run->status == SEGMENTCTL_DONE, "%d: %s%s", run->status, run->out, run->err);
		assert_has(run->out, "of 3 segments it has 2 already, as far as you may see");
		ck_assert_ptr_null(strstr(run->out, "rm /dev/shm"));
		ck_assert_ptr_null(strstr(run->out, "is taken"));
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	killed = daemon.pid;
	harness_daemon_kill(&daemon);
	/* Its key and its name are left: what is said of them is what the next start does. */
	run = run_segmentctl("doctor", daemon.config, NULL);
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%d: %s%s", run->status, run->out, run->err);
	assert_has(run->out, "no segmentd runs");
	(void)snprintf(words, sizeof(words), "sysv 0x00007a2f, which segmentd %d left, that was killed, will be taken over by the next start",
	    (int)killed);
	assert_has(run->out, words);
	(void)snprintf(words, sizeof(words), "posix /segmentd-doctor, which segmentd %d left, that was killed, will be taken over", (int)killed);
	assert_has(run->out, words);
	ck_assert_ptr_null(strstr(run->out, "is taken:"));
	ck_assert_ptr_null(strstr(run->out, "there already"));
	harness_daemon_launch(&daemon);
	harness_daemon_await_ready(&daemon);
	harness_daemon_await_log(&daemon, "posix /segmentd-doctor of segment 'p'");
	harness_daemon_await_log(&daemon, "is taken over with what is in it");
	harness_daemon_kill(&daemon);
	/* Without its record nothing is known of them but that they are in the way. */
	(void)snprintf(words, sizeof(words), "%s/record", daemon.state);
	ck_assert_int_eq(unlink(words), 0);
	run = run_segmentctl("doctor", daemon.config, NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->out, "key 0x00007a2f is taken");
	assert_has(run->out, "an object /segmentd-doctor is there already: 1000 KiB");
	harness_daemon_remove(&daemon);
}
END_TEST

/* A member of a finding that is a string, after from; with what JSON escapes as it was. */
static const char *
take_string(const char *from, const char *member, char *buf, size_t size)
{
	size_t n = 0;

	from = strstr(from, member);
	ck_assert_ptr_nonnull(from);
	from = strchr(from + strlen(member), '"') + 1;
	for (; *from != '"' && n < size - 1; from++) {
		from += *from == '\\';
		buf[n++] = *from;
	}
	buf[n] = '\0';
	return from;
}

/* What doctor says beforehand of each segment that will fail is, word by word, what the daemon says of it afterwards. */
START_TEST(the_daemon_says_the_same)
{
	static const char segments[] = "{ name = \"v\"; size = \"4MiB\"; backend = \"sysv\"; required = false; },\n"
	    "{ name = \"p\"; size = \"4MiB\"; backend = \"posix\"; object = \"/segmentd-doctor\"; required = false; },\n"
	    "{ name = \"n\"; size = \"4KiB\"; numa = \"bind:63\"; required = false; },\n"
	    "{ name = \"f\"; size = \"4KiB\"; backend = \"file\"; path = \"/mnt/none/f\"; required = false; },\n"
	    "{ name = \"g\"; size = \"8KiB\"; backend = \"file\"; path = \"/mnt/g\"; required = false; }";
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	char body[2048], finding[800], remedy[800], sentence[1700];
	const struct run *run;
	const char *at;
	unsigned n = 0;
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWIPC) < 0)
		harness_skip("a namespace of keys needs root");
	write_number("/proc/sys/kernel/shmmax", "1048576");
	mount_tmpfs("/dev/shm");
	mount_tmpfs("/mnt");
	fd = open("/mnt/g", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && ftruncate(fd, 4096) == 0);
	(void)close(fd);
	(void)snprintf(body, sizeof(body), "segments = ( %s );", segments);
	(void)doctor(segments);
	run = run_segmentctl("--socket", socket_path, "--json", "doctor", conf, NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	harness_daemon_start(&daemon, "", body);
	for (at = run->out; (at = strstr(at, "\"level\": \"problem\"")); n++) {
		at = take_string(at, "\"finding\": ", finding, sizeof(finding));
		at = take_string(at, "\"remedy\": ", remedy, sizeof(remedy));
		(void)snprintf(sentence, sizeof(sentence), "could not be provisioned: %s. Remedy: %s\n", finding, remedy);
		harness_daemon_await_log(&daemon, sentence);
	}
	ck_assert_uint_eq(n, 5);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Its socket takes connections, and that is all. */
START_TEST(a_daemon_that_does_not_answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char words[64];
	const struct run *run;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	run = doctor("{ name = \"a\"; size = \"4KiB\"; mlock = false; }");
	(void)unlink(socket_path);
	(void)close(fd);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "what segmentd has already is not known, and counts as not there: it has not answered for 2 seconds");
	(void)snprintf(words, sizeof(words), "segmentd (pid %d) may have", (int)getpid());
	assert_has(run->out, words);
	ck_assert_str_eq(run->err, "");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor-real");
	TCase *tcase = tcase_create("doctor");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_unchecked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_small_limit_of_locked_memory);
	tcase_add_test(tcase, few_descriptors);
	tcase_add_test(tcase, a_small_memory_cgroup);
	tcase_add_test(tcase, an_ipc_namespace_with_small_limits);
	tcase_add_test(tcase, a_tiny_dev_shm);
	tcase_add_test(tcase, a_tiny_disk);
	tcase_add_test(tcase, limits_of_the_unit_by_systemd);
	tcase_add_test(tcase, pages_and_nodes_that_nobody_has);
	tcase_add_test(tcase, the_daemon_says_the_same);
	tcase_add_test(tcase, a_daemon_that_does_not_answer);
	tcase_add_test(tcase, beside_a_daemon_that_runs);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
