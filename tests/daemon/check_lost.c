/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A worker that was killed and does not die, since it waits in the kernel for a disk: its job has failed, and its place is free. */
#include "config.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>

#include "daemon/workers.h"
#include "tests/disk.h"

#define SIZE	(1 * MIB)

struct errand {
	struct workers_job job;
	struct event_base *base;
	bool was_stuck, has_result;
	unsigned patience_seconds;
};

static void
on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct errand *errand = BASE_CONTAINER_OF(job, struct errand, job);

	errand->was_stuck = outcome->was_stuck;
	errand->patience_seconds = outcome->patience_seconds;
	errand->has_result = outcome->result && outcome->result->status == 0;
	(void)event_base_loopbreak(errand->base);
}

static void
run(struct event_base *base, struct workers *workers, struct errand *errand, int fd, uint32_t kind, unsigned patience_seconds)
{
	*errand = (struct errand) {
		.job = {
			.job = { .kind = kind, .length_bytes = SIZE, .object.kind = JOB_OBJECT_FILE },
			.fd = fd, .control_fd = -1, .third_fd = -1, .patience_seconds = patience_seconds, .done = on_done,
		},
		.base = base,
	};
	workers_submit(workers, &errand->job, false);
	ck_assert_int_ge(event_base_dispatch(base), 0);
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
	fd = openat(disk.dir_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	ck_assert_int_eq(fsync(fd), 0);
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
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
