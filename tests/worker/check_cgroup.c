/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Workers at the limit of a real memory cgroup, of whichever version this machine has: refused by name before it is met,
 * and killed alone when it is met all the same.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/base.h"
#include "host/cgroup.h"
#include "tests/suite_run.h"
#include "tests/worker/harness.h"

#define LIMIT	(128 * MIB)

static char dir[400];			/* a cgroup of ours with the limit */
static char skip[600];			/* why there is none */
static enum cgroup_version version;

static int
write_in(const char *name, const char *value)
{
	char path[512];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static const char *
limit_name(void)
{
	return version == CGROUP_V2 ? "memory.max" : "memory.limit_in_bytes";
}

/* Makes the cgroup below the first of our own that lets us. */
static int
make_below(const char *own, enum cgroup_version v, void *arg)
{
	char bytes[32];
	int r = 0;

	version = v;
	(void)snprintf(dir, sizeof(dir), "%.300s/segmentd-check-%ld", own, (long)getpid());
	(void)snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)LIMIT);
	if (mkdir(dir, 0755) < 0)
		r = -errno;
	if (r == 0) {
		r = write_in(limit_name(), bytes);
		if (r < 0)
			(void)rmdir(dir);
	}
	if (r == 0)
		return 1;
	(void)snprintf(skip, sizeof(skip), "no memory cgroup can be made at %s: %s", dir, strerror(-r));
	return 0;
}

static void
setup(void)
{
	(void)snprintf(skip, sizeof(skip), "no memory cgroup is mounted");
	if (cgroup_walk("", 0, "memory", make_below, NULL) == 1)
		skip[0] = '\0';
	else
		printf("skipped: %s\n", skip);
}

static void
teardown(void)
{
	if (!skip[0] && rmdir(dir) < 0)
		printf("note: %s stays: %s\n", dir, strerror(errno));
}

static uint64_t
usage(void)
{
	char path[512];
	cleanup_fclose FILE *f = NULL;
	unsigned long long bytes;

	(void)snprintf(path, sizeof(path), "%s/%s", dir,
	    version == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes");
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%llu", &bytes), 1);
	return bytes;
}

static void
join(const void *arg)
{
	char pid[32];

	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	if (write_in("cgroup.procs", pid) < 0)
		_exit(97);
}

START_TEST(limit_is_named_before_it_is_met)
{
	struct harness h;
	struct job_result result;
	int fd;

	if (skip[0])
		return;
	fd = harness_memfd(GIB);
	harness_start(&h, join, NULL);
	result = harness_job(&h, JOB_POPULATE, (enum job_pages)_i, fd, 0, 32 * MIB, 0);
	ck_assert_msg(result.status == 0, "%d: %s", result.status, result.text);
	result = harness_job(&h, JOB_POPULATE, (enum job_pages)_i, fd, 32 * MIB, 256 * MIB, 0);
	ck_assert_int_eq(result.status, JOB_E_MEMORY);
	ck_assert_ptr_nonnull(strstr(result.text, dir));
	ck_assert_ptr_nonnull(strstr(result.text, limit_name()));
	ck_assert_uint_lt(usage(), LIMIT);
	ck_assert_uint_gt(usage(), 32 * MIB);
	/* Alive, and useful: what it holds is given back. */
	result = harness_job(&h, JOB_FREE, 0, fd, 0, GIB, 0);
	ck_assert_int_eq(result.status, 0);
	harness_stop(&h);
	ck_assert_uint_lt(usage(), 24 * MIB);
}
END_TEST

START_TEST(limit_met_costs_the_worker_alone)
{
	struct harness h;
	struct job job = { .id = 1, .kind = JOB_POPULATE, .pages = (uint32_t)_i, .length_bytes = 512 * MIB };
	struct job_result result;
	char pid[32];
	int fd, status;

	if (skip[0])
		return;
	/* It looks where it was born, and is moved under the limit then: its check sees as little as in a race. */
	fd = harness_memfd(512 * MIB);
	harness_start(&h, NULL, NULL);
	(void)harness_job(&h, JOB_CLOSE, 0, fd, 0, 0, 0);
	(void)snprintf(pid, sizeof(pid), "%ld", (long)h.pid);
	ck_assert_int_eq(write_in("cgroup.procs", pid), 0);
	harness_send(&h, &job, sizeof(job), &fd, 1);
	ck_assert(!harness_receive(&h, &result));
	status = harness_wait(&h);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	ck_assert_uint_gt(usage(), 64 * MIB);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_uint_lt(usage(), 24 * MIB);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/worker at a cgroup's limit");
	TCase *tcase = tcase_create("cgroup");

	tcase_set_timeout(tcase, 120);
	tcase_add_unchecked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, limit_is_named_before_it_is_met, JOB_PAGES_BASE, JOB_PAGES_AUTO + 1);
	tcase_add_loop_test(tcase, limit_met_costs_the_worker_alone, JOB_PAGES_BASE, JOB_PAGES_AUTO + 1);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
