/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A worker that was killed and does not die, since it waits in the kernel for a disk: its job has failed, and its place is free. */
#include "config.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "daemon/workers.h"
#include "tests/disk.h"

#define SIZE	(1 * MIB)
#define LOST_MAX	16	/* after which none is begun for what users do */
#define AT_ONCE		20

struct errand {
	struct workers_job job;
	struct event_base *base;
	bool is_done, was_stuck, has_result;
	unsigned patience_seconds;
};

static void
on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct errand *errand = BASE_CONTAINER_OF(job, struct errand, job);

	errand->is_done = true;
	errand->was_stuck = outcome->was_stuck;
	errand->patience_seconds = outcome->patience_seconds;
	errand->has_result = outcome->result && outcome->result->status == 0;
}

static void
submit(struct event_base *base, struct workers *workers, struct errand *errand, int fd, uint32_t kind, uint32_t uid,
    unsigned patience_seconds)
{
	*errand = (struct errand) {
		.job = {
			.job = { .kind = kind, .length_bytes = SIZE, .object.kind = JOB_OBJECT_FILE },
			.fd = fd, .control_fd = -1, .third_fd = -1, .uid = uid, .patience_seconds = patience_seconds,
			.done = on_done,
		},
		.base = base,
	};
	workers_submit(workers, &errand->job, false);
}

static void
await_done(const struct errand *errand)
{
	while (!errand->is_done)
		ck_assert_int_ge(event_base_loop(errand->base, EVLOOP_ONCE), 0);
}

static void
run(struct event_base *base, struct workers *workers, struct errand *errand, int fd, uint32_t kind, unsigned patience_seconds)
{
	submit(base, workers, errand, fd, kind, 0, patience_seconds);
	await_done(errand);
}

/* A file on the disk, whose blocks are to be reserved. */
static int
make_file(struct disk *disk)
{
	int fd = openat(disk->dir_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	ck_assert_int_eq(fsync(fd), 0);
	return fd;
}

START_TEST(worker_that_cannot_die_is_not_waited_for)
{
	struct event_base *base = event_base_new();
	struct workers workers;
	struct errand errand;
	struct disk disk;
	pid_t lost;
	int fd;

	disk_mount(&disk, 16 * MIB);
	fd = make_file(&disk);
	workers_init(&workers, base, 1);
	disk_freeze(&disk);
	run(base, &workers, &errand, fd, JOB_RESERVE, 1);
	ck_assert(errand.was_stuck);
	ck_assert_uint_eq(errand.patience_seconds, 1);
	lost = disk_await_stuck(getpid());
	ck_assert_uint_eq(workers.n, 0);
	/* Its place is another one's. */
	run(base, &workers, &errand, fd, JOB_CLOSE, 0);
	ck_assert(errand.has_result);
	ck_assert_uint_eq(workers.n, 1);
	ck_assert_int_eq(kill(lost, 0), 0);
	/* It is reaped when it dies. */
	disk_thaw(&disk);
	while (kill(lost, 0) == 0)
		ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	run(base, &workers, &errand, fd, JOB_RESERVE, 0);
	ck_assert(errand.has_result);
	ck_assert_uint_eq(workers.n, 1);
	workers_deinit(&workers);
	event_base_free(base);
	(void)close(fd);
	disk_unmount(&disk);
}
END_TEST

static void
read_log(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	ck_assert_int_gt(n, 0);
	buf[n] = '\0';
}

/* Whoever the users are: each of those workers is a process, of which a service has so many. */
START_TEST(many_that_cannot_die_are_the_last_of_users)
{
	static struct errand errands[LOST_MAX], later, nobodys;
	struct event_base *base = event_base_new();
	int fd, log_fd = memfd_create("log", MFD_CLOEXEC);
	struct workers workers;
	struct disk disk;
	char log[4096];

	disk_mount(&disk, 16 * MIB);
	fd = make_file(&disk);
	workers_init(&workers, base, AT_ONCE);
	disk_freeze(&disk);
	ck_assert_int_eq(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
	for (unsigned i = 0; i < LOST_MAX; i++)
		submit(base, &workers, &errands[i], fd, JOB_RESERVE, 1000 + i, 1);
	for (unsigned i = 0; i < LOST_MAX; i++) {
		await_done(&errands[i]);
		ck_assert(errands[i].was_stuck);
	}
	ck_assert_uint_eq(workers.n_lost, LOST_MAX);
	read_log(log_fd, log, sizeof(log));
	harness_assert(strstr(log, "16 workers were killed and do not end") && strstr(log, "nothing more that is a user's doing"),
	    "it said: %s", log);
	/* First in its queue, and not begun; what is nobody's doing is done. */
	submit(base, &workers, &later, fd, JOB_CLOSE, 2000, 0);
	for (unsigned i = 0; i < 3; i++) {
		run(base, &workers, &nobodys, fd, JOB_CLOSE, 0);
		ck_assert(nobodys.has_result);
		ck_assert(later.job.is_queued);
	}
	disk_thaw(&disk);
	await_done(&later);
	ck_assert(later.has_result);
	ck_assert_uint_lt(workers.n_lost, LOST_MAX);
	while (workers.n_lost)
		ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	read_log(log_fd, log, sizeof(log));
	harness_assert(strstr(log, "have ended: what waited is begun again"), "it said: %s", log);
	workers_deinit(&workers);
	event_base_free(base);
	(void)close(fd);
	(void)close(log_fd);
	disk_unmount(&disk);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	suite = suite_create("lost");
	tcase = tcase_create("lost");
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, worker_that_cannot_die_is_not_waited_for);
	tcase_add_test(tcase, many_that_cannot_die_are_the_last_of_users);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
