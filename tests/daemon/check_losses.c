/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Workers that were killed and do not end, by the dozen: what is not begun for them, and what administrators hear of it. They are no
 * processes: this stands in place of daemon/worker.c, and of daemon/log.c.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <stdarg.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/worker.h"
#include "daemon/workers.h"
#include "tests/suite_run.h"

#define LOST_MAX	16
#define N		64
#define USER		1000

static struct event_base *base;
static struct workers workers;
static struct worker *last;		/* that was given a job */
static struct workers_job jobs[N];
static unsigned n_jobs;
static unsigned n_lost, n_ended;	/* told */
static char told[512];			/* the last */

int
worker_new(struct event_base *with BASE_UNUSED, const struct worker_owner *owner, struct workers *its, struct worker **ret_worker)
{
	*ret_worker = calloc(1, sizeof(**ret_worker));
	ck_assert_ptr_nonnull(*ret_worker);
	**ret_worker = (struct worker) { .owner = owner, .workers = its, .pidfd = -1, .socket = -1 };
	return 0;
}

void
worker_free(struct worker *worker)
{
	free(worker);
}

int
worker_give(struct worker *worker, const struct worker_task *task)
{
	worker->job = task->job;
	last = worker;
	return 0;
}

void
worker_hurry(struct worker *worker BASE_UNUSED)
{
}

void
worker_dismiss(struct worker *worker)
{
	worker->is_retired = true;
}

void
worker_kill(struct worker *worker BASE_UNUSED)
{
}

void
worker_reap(struct worker *worker BASE_UNUSED, uint64_t until_ns BASE_UNUSED)
{
}

void
log_write(int message, const struct log_about *about BASE_UNUSED, const char *format, ...)
{
	va_list args;

	n_lost += message == MESSAGE_WORKERS_LOST;
	n_ended += message == MESSAGE_WORKERS_ENDED;
	va_start(args, format);
	(void)vsnprintf(told, sizeof(told), format, args);
	va_end(args);
}

static void
on_done(struct workers_job *job BASE_UNUSED, const struct workers_outcome *outcome)
{
	ck_assert(outcome->was_stuck);
}

static struct workers_job *
submit(uint32_t uid)
{
	struct workers_job *job = &jobs[n_jobs++ % N];

	*job = (struct workers_job) { .job = { .kind = JOB_CLOSE }, .uid = uid, .done = on_done };
	workers_submit(&workers, job, false);
	ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	return job;
}

/* So many more are lost, at what is nobody's doing. */
static void
lose(unsigned n)
{
	while (n--) {
		ck_assert_ptr_nonnull(submit(0)->worker);
		last->is_lost = last->is_retired = true;
		last->owner->lost(last, take_ptr(last->job));
	}
}

/* So many of them end. */
static void
end(unsigned n)
{
	while (n--) {
		struct worker *worker;

		LIST_FOREACH(worker, &workers.list, entry)
			if (worker->is_lost)
				break;
		ck_assert_ptr_nonnull(worker);
		worker->owner->ended(worker, NULL, SIGKILL);
	}
}

/* The time has gone by for which there were fewer. */
static void
let_time_pass(void)
{
	struct timeval at;

	ck_assert(evtimer_pending(&workers.calm_event, &at));
	(void)evtimer_del(&workers.calm_event);
	event_active(&workers.calm_event, EV_TIMEOUT, 0);
	ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
}

static void
expect_told(unsigned lost, unsigned ended, const char *text)
{
	ck_assert_msg(n_lost == lost && n_ended == ended && strstr(told, text), "told %u times that they are lost, %u times that they have ended; "
	    "the last: %s", n_lost, n_ended, told);
	ck_assert_int_eq(evtimer_pending(&workers.calm_event, NULL), 0);
}

static void
setup(void)
{
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	workers_init(&workers, base, 4);
	n_jobs = n_lost = n_ended = 0;
}

static void
teardown(void)
{
	unsigned lost = n_lost, ended = n_ended;

	/* Those that are left then have not ended. */
	workers_deinit(&workers);
	ck_assert(n_lost == lost && n_ended == ended);
	event_base_free(base);
}

START_TEST(end_of_all_is_told_at_once)
{
	struct workers_job *users;

	lose(LOST_MAX);
	expect_told(1, 0, "16 workers were killed and do not end");
	users = submit(USER);
	ck_assert(users->is_queued);
	lose(3);
	end(19);
	expect_told(1, 1, "have ended: what waited is begun again");
	ck_assert(!users->is_queued);
}
END_TEST

START_TEST(fewer_than_were_told_of_are_nothing_to_tell)
{
	lose(LOST_MAX - 1);
	end(LOST_MAX - 1);
	ck_assert_uint_eq(n_lost + n_ended, 0);
	ck_assert(!evtimer_pending(&workers.calm_event, NULL));
}
END_TEST

/* A disk that answers now and then. */
START_TEST(limit_that_is_reached_over_and_over_is_told_once)
{
	lose(LOST_MAX);
	for (unsigned i = 0; i < 100; i++) {
		struct workers_job *users = submit(USER);

		ck_assert(users->is_queued);
		end(1);
		ck_assert_ptr_nonnull(users->worker);
		last->owner->ended(last, NULL, 0);
		lose(1);
	}
	expect_told(1, 0, "");
	end(1);
	let_time_pass();
	expect_told(1, 1, "15 do not end yet, fewer than 16: what waited is begun again");
	end(LOST_MAX - 1);
	expect_told(1, 1, "");
	lose(LOST_MAX);
	expect_told(2, 1, "16 workers");
}
END_TEST

START_TEST(each_step_is_told_both_ways)
{
	struct workers_job *users, *nobodys;

	lose(2 * LOST_MAX);
	expect_told(2, 0, "32 workers");
	users = submit(USER);
	nobodys = submit(0);
	ck_assert(users->is_queued && nobodys->is_queued);
	end(1);
	ck_assert(users->is_queued && !nobodys->is_queued);
	let_time_pass();
	expect_told(2, 1, "31 do not end yet, fewer than 32: what is nobody's doing is begun again, and what users do is still not");
	lose(1);
	expect_told(3, 1, "32 workers");
	end(LOST_MAX + 1);
	ck_assert(!users->is_queued);
	let_time_pass();
	expect_told(3, 2, "15 do not end yet, fewer than 16");
	end(LOST_MAX - 1);
	expect_told(3, 2, "");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("losses");
	TCase *tcase = tcase_create("losses");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, end_of_all_is_told_at_once);
	tcase_add_test(tcase, fewer_than_were_told_of_are_nothing_to_tell);
	tcase_add_test(tcase, limit_that_is_reached_over_and_over_is_told_once);
	tcase_add_test(tcase, each_step_is_told_both_ways);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
