/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs that everybody has and that never heard of us, under rules that remove what nobody holds: Python's shared memory, and
 * PostgreSQL, killed with -9 again and again. What they use is never touched; what they leave is removed.
 */
#include "config.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/system/world.h"

#define N_ROUNDS	1000
#define N_QUICK		150
#define N_KILLS		3		/* of PostgreSQL */

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

/* A program with its standard input and output here; what it says beside goes to the daemon's log. */
struct program {
	pid_t pid;
	int to;
	FILE *from;
};

static void
start(struct program *program, uid_t uid, gid_t gid, const char *const *argv)
{
	int log_fd = open(daemon_.log, O_WRONLY | O_APPEND | O_CLOEXEC), in[2], out[2];

	harness_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	program->pid = harness_fork();
	if (program->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)dup2(log_fd, STDERR_FILENO);
		if (uid != geteuid())
			harness_become(uid, gid, NULL, 0);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	(void)close(log_fd);
	program->to = in[1];
	program->from = fdopen(out[0], "re");
}

static int
end(struct program *program)
{
	int status;

	close_fd(&program->to);
	(void)fclose(program->from);
	harness_assert(waitpid(program->pid, &status, 0) == program->pid, "waitpid: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* One line; "" at the end. */
static const char *
hear(struct program *program)
{
	static char line[512];

	harness_await_readable(fileno(program->from), "a line");
	if (!fgets(line, sizeof(line), program->from))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void
begin(const char *rules)
{
	world_enter();
	(void)unsetenv("SEGMENTD_AUDIT");
	harness_daemon_prepare(&daemon_, NULL, rules);
	harness_daemon_serve_audit(&daemon_);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
}

/* A name of others that begins so; the number of them. */
static size_t
count(const char *prefix, char *ret_name, size_t size)
{
	struct world world;
	size_t n = 0;

	world_look(&world);
	for (size_t i = 0; i < world.n_objects; i++) {
		if (strncmp(world.objects[i].name, prefix, strlen(prefix)))
			continue;
		if (ret_name)
			(void)snprintf(ret_name, size, "%s", world.objects[i].name);
		n++;
	}
	return n;
}

static void
await_count(const char *prefix, size_t n)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct world world;

	while (count(prefix, NULL, 0) != n) {
		world_look(&world);
		harness_assert(harness_clock_ns() < deadline_ns, "there are not %zu of %s*: %s", n, prefix, world_describe(&world));
		(void)poll(NULL, 0, 1);
	}
}

START_TEST(python_races_the_sweep)
{
	unsigned n = harness_is_full() ? N_ROUNDS : N_QUICK, there, gone;
	struct program python;
	char rounds[16], name[64];
	pid_t trackers[4];

	if (system("python3 -c 'from multiprocessing import shared_memory' 2>/dev/null") != 0)
		harness_skip("no python3 with shared memory");
	if (n < N_ROUNDS)
		printf("LEFT OUT: %u rounds instead of %d; CHECK_FULL=1 has them all\n", n, N_ROUNDS);
	begin("orphans = ( { posix = \"/psm_*\"; after = \"1ms\"; action = \"remove\"; } );");
	(void)snprintf(rounds, sizeof(rounds), "%u", n);
	start(&python, geteuid(), getegid(), (const char *const[]){ "python3", RACE_PROGRAM, rounds, NULL });
	harness_assert(sscanf(hear(&python), "%63s %u %u", name, &there, &gone) == 3, "race.py ended with %d", end(&python));
	printf("%u rounds: %u were there, %u were gone\n", n, there, gone);
	/* What was left last is removed, and what is held is not. */
	await_count("psm_", 1);
	harness_assert(write(python.to, "\n", 1) == 1, "write: %s", strerror(errno));
	ck_assert_str_eq(hear(&python), "whole");
	/* With its tracker, which would remove what it made. */
	for (size_t i = harness_children(python.pid, trackers, BASE_ARRAY_SIZE(trackers)); i-- > 0;)
		(void)kill(trackers[i], SIGKILL);
	harness_assert(kill(python.pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	ck_assert_int_eq(end(&python), -SIGKILL);
	world_await_empty("after python3 was killed");
	harness_daemon_stop(&daemon_);
}
END_TEST

/* PostgreSQL. */

static struct postgres {
	char bin[256];
	char dir[96];			/* of its data, and its socket */
	uid_t uid;
	gid_t gid;
	struct program server;
} postgres;

/* Runs it and waits for its end. */
static int
run(const char *program, const char *const *args)
{
	const char *argv[16] = { NULL };
	char path[320];
	struct program child;

	(void)snprintf(path, sizeof(path), "%s/%s", postgres.bin, program);
	argv[0] = path;
	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	start(&child, postgres.uid, postgres.gid, argv);
	while (*hear(&child))
		continue;
	return end(&child);
}

/* It refuses to be root's. */
static void
find_postgres(void)
{
	const struct passwd *user = geteuid() ? getpwuid(geteuid()) : getpwnam("postgres");
	glob_t found = { 0 };

	if (geteuid() == 0 && !user)
		user = getpwuid(HARNESS_NOBODY);
	if (!user || glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) || !found.gl_pathc)
		harness_skip("PostgreSQL is not installed below /usr/lib/postgresql, or there is no user for it");
	(void)snprintf(postgres.bin, sizeof(postgres.bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
	*strrchr(postgres.bin, '/') = '\0';
	globfree(&found);
	postgres.uid = user->pw_uid;
	postgres.gid = user->pw_gid;
}

static void
init_postgres(void)
{
	int r;

	(void)snprintf(postgres.dir, sizeof(postgres.dir), "%s/pg", daemon_.dir);
	harness_assert(mkdir(postgres.dir, 0700) == 0 && chown(postgres.dir, postgres.uid, postgres.gid) == 0, "%s: %s",
	    postgres.dir, strerror(errno));
	r = run("initdb", (const char *const[]){ "-D", postgres.dir, "-U", "test", "-A", "trust", "--no-sync", "--no-locale", NULL });
	harness_assert(r == 0, "initdb ended with %d", r);
}

static int
ask_postgres(const char *sql)
{
	return run("psql", (const char *const[]){ "-h", postgres.dir, "-U", "test", "-d", "postgres", "-qAtX", "-v",
	    "ON_ERROR_STOP=1", "-c", sql, NULL });
}

static void
start_postgres(void)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	char path[320];
	const char *const argv[] = {
		path, "-D", postgres.dir, "-k", postgres.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "dynamic_shared_memory_type=posix", "-c", "shared_memory_type=sysv", "-c", "shared_buffers=1MB",
		"-c", "min_dynamic_shared_memory=1MB", "-c", "logging_collector=off", NULL,
	};

	(void)snprintf(path, sizeof(path), "%s/postgres", postgres.bin);
	start(&postgres.server, postgres.uid, postgres.gid, argv);
	while (run("pg_isready", (const char *const[]){ "-q", "-h", postgres.dir, "-U", "test", "-d", "postgres", NULL }) != 0) {
		harness_assert(harness_clock_ns() < deadline_ns, "PostgreSQL does not start");
		(void)poll(NULL, 0, 20);
	}
}

/* Parallel workers share memory that is made, and let go of, for each query. */
static void
work(unsigned round)
{
	char sql[512];
	int r;

	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(sql, sizeof(sql), "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; "
		    "set min_parallel_table_scan_size = 0; select 1 / (count(*) = %u)::int from t;",
		    10000 * (round + 1));
		r = ask_postgres(sql);
		harness_assert(r == 0, "a query ended with %d", r);
	}
}

START_TEST(postgresql_is_killed_and_comes_back)
{
	char rules[512], control[256];
	struct world before, after;

	if (!harness_is_full()) {
		printf("LEFT OUT: PostgreSQL; CHECK_FULL=1 has it\n");
		return;
	}
	find_postgres();
	(void)snprintf(rules, sizeof(rules), "orphans = ( { posix = \"/PostgreSQL.*\"; after = \"1ms\"; action = \"remove\"; },"
	    "{ sysv = { user = \"%u\"; }; after = \"0s\"; action = \"remove\"; },"
	    "{ posix = \"/fence\"; after = \"1ms\"; action = \"remove\"; } );", (unsigned)postgres.uid);
	begin(rules);
	init_postgres();
	for (unsigned round = 0; round < N_KILLS; round++) {
		start_postgres();
		ck_assert_uint_ge(count("PostgreSQL.", control, sizeof(control)), 1);
		world_look(&before);
		harness_assert(before.n_memories == 1, "it has no System V memory: %s", world_describe(&before));
		ck_assert_int_eq(ask_postgres("create table if not exists t (n int);"
		    "insert into t select generate_series(1, 10000); analyze t;"), 0);
		work(round);
		/* What is let go of later is removed, and what it has is there. */
		(void)close(shm_open("/fence", O_RDWR | O_CREAT, 0600));
		await_count("fence", 0);
		world_look(&after);
		harness_assert(world_find(&after, control) && after.n_memories == 1 &&
		    after.memories[0].id == before.memories[0].id, "something was taken from it: %s", world_describe(&after));
		ck_assert_int_eq(kill(postgres.server.pid, SIGKILL), 0);
		ck_assert_int_eq(end(&postgres.server), -SIGKILL);
		/* Its other processes end by themselves, and then nobody has any of it. */
		world_await_empty("after PostgreSQL was killed");
		(void)printf("killed for the %u. time: all was removed\n", round + 1);
	}
	harness_daemon_stop(&daemon_);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("unaware");
	TCase *tcase = tcase_create("unaware");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, python_races_the_sweep);
	tcase_add_test(tcase, postgresql_is_killed_and_comes_back);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
