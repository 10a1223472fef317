/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Questions to segmentd-audit, of which this program plays the part under that name: as it should be, and lying, silent, dying,
 * missing. Whatever it does, its question ends with a sentence, the next one is answered, and no process is left.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/auditor.h"
#include "tests/daemon/auditor_fake.h"
#include "tests/suite_run.h"

#define FAR_MS		60000

struct asked {
	struct auditor_question question;
	struct event_base *base;
	union {
		struct audit_object objects[1000];
		struct audit_candidate candidate;
	};
	uint32_t n_rows;
	uint32_t wanted_rows;		/* after which it is cancelled, from within; 0: never */
	bool is_done;
	unsigned place;			/* as the nth it was done */
	struct auditor_end end;
	char text[AUDIT_TEXT_SIZE];
};

static struct event_base *base;
static struct auditor auditor;
static unsigned n_done;

static int
take(struct auditor_question *question, const void *row)
{
	const struct audit_holder *holder = row;
	struct asked *asked = BASE_CONTAINER_OF(question, struct asked, question);

	ck_assert(!asked->is_done);
	ck_assert_uint_eq(holder->object, asked->n_rows % AUDITOR_FAKE_ROWS + asked->n_rows / AUDITOR_FAKE_ROWS * AUDITOR_FAKE_ROWS);
	ck_assert_int_eq(holder->pid, (int)holder->object + 1);
	ck_assert_str_eq(holder->command, "fake");
	asked->n_rows++;
	if (asked->n_rows == asked->wanted_rows) {
		auditor_cancel(question);
		(void)event_base_loopbreak(base);
	}
	return 0;
}

static int
take_anything(struct auditor_question *question, const void *row)
{
	BASE_CONTAINER_OF(question, struct asked, question)->n_rows++;
	return 0;
}

static void
done(struct auditor_question *question, const struct auditor_end *end)
{
	struct asked *asked = BASE_CONTAINER_OF(question, struct asked, question);

	ck_assert(!asked->is_done);
	ck_assert_ptr_nonnull(end->text);
	asked->is_done = true;
	asked->place = ++n_done;
	asked->end = *end;
	(void)snprintf(asked->text, sizeof(asked->text), "%s", end->text);
	(void)event_base_loopbreak(base);
}

static struct asked *
ask(uint32_t n_rows, bool can_wait)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	ck_assert_ptr_nonnull(asked);
	asked->question = (struct auditor_question) {
		.kind = AUDIT_WHO, .n_rows = n_rows, .rows = asked->objects, .can_wait = can_wait, .take = take, .done = done,
	};
	auditor_ask(&auditor, &asked->question);
	return asked;
}

static struct asked *
ask_removal(uint32_t flags)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	ck_assert_ptr_nonnull(asked);
	asked->candidate = (struct audit_candidate) { .what = AUDIT_POSIX, .flags = flags, .inode = 5, .shm_id = -1, .name = "x\ny" };
	asked->question = (struct auditor_question) {
		.kind = AUDIT_JUDGE, .n_rows = 1, .rows = &asked->candidate, .can_wait = true, .take = take_anything, .done = done,
	};
	auditor_ask(&auditor, &asked->question);
	return asked;
}

static void
await(const struct asked *asked)
{
	while (!asked->is_done)
		ck_assert_int_eq(event_base_dispatch(base), 0);
}

static void
expect(struct asked *asked, int result, const char *text)
{
	await(asked);
	ck_assert_msg(asked->end.result == result, "%s: %d, not %d: %s", getenv(AUDITOR_FAKE_PART), asked->end.result, result, asked->text);
	ck_assert_msg(strstr(asked->text, text) != NULL, "%s: %s", getenv(AUDITOR_FAKE_PART), asked->text);
	free(asked);
}

static void
play(const char *part)
{
	ck_assert_int_eq(setenv(AUDITOR_FAKE_PART, part, 1), 0);
}

/* What is answered as it should be, by a process of its own. */
static void
expect_served(void)
{
	struct asked *asked = ask(3, false);

	await(asked);
	ck_assert_int_eq(asked->end.result, 0);
	ck_assert_uint_eq(asked->n_rows, 3);
	ck_assert_uint_eq(asked->end.n_seen, 7);
	ck_assert_uint_eq(asked->end.n_hidden, 2);
	ck_assert(!asked->end.is_incomplete);
	ck_assert_str_eq(asked->text, "more rights");
	free(asked);
}

static void
setup(void)
{
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/proc/self/exe", 1), 0);
	play("good");
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	ck_assert_int_eq(auditor_init(&auditor, base, NULL), 0);
	auditor.limit_ms = FAR_MS;
}

static void
teardown(void)
{
	auditor_deinit(&auditor);
	/* All were killed; on a busy host one may have outlived the time that deinit has for it. */
	while (waitpid(-1, NULL, 0) > 0)
		;
	event_base_free(base);
}

START_TEST(questions_are_answered_in_order_by_one_process)
{
	struct asked *asked[] = { ask(3, true), ask(950, false), ask(0, false), ask(1, true) };
	static const unsigned places[] = { 3, 1, 2, 4 };
	static const uint32_t n_rows[] = { 3, 950, 0, 1 };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(asked); i++) {
		await(asked[i]);
		ck_assert_int_eq(asked[i]->end.result, 0);
		ck_assert(asked[i]->end.is_own);
		ck_assert_uint_eq(asked[i]->place, places[i]);
		ck_assert_uint_eq(asked[i]->n_rows, n_rows[i]);
		ck_assert_uint_eq(auditor.n_children, 1);
		free(asked[i]);
	}
}
END_TEST

/* The loop ends when there is nothing that it could ever wake up for. */
START_TEST(nothing_runs_while_nobody_asks)
{
	ck_assert_int_eq(event_base_dispatch(base), 1);
	expect_served();
	ck_assert_uint_eq(auditor.n_children, 1);
	ck_assert_int_eq(event_base_dispatch(base), 1);
	ck_assert_uint_eq(auditor.n_children, 0);
	ck_assert_int_eq(auditor.fd, -1);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	expect_served();
}
END_TEST

START_TEST(liar_fails_its_question_and_no_other)
{
	play(auditor_fake_lie((unsigned)_i));
	expect(ask(3, false), -EPROTO, "no answer");
	play("good");
	expect_served();
}
END_TEST

START_TEST(too_long_a_message_is_no_answer)
{
	play("long");
	expect(ask(3, false), -EPROTO, "no answer");
	play("good");
	expect_served();
}
END_TEST

/* It is met by the question, or found before it: whichever, it ends in an answer or a sentence. */
START_TEST(answer_that_nobody_asked_for_is_none)
{
	struct asked *asked;

	play("early");
	asked = ask(3, false);
	await(asked);
	ck_assert_int_eq(asked->end.result, -EPROTO);
	free(asked);
	play("good");
	expect_served();
}
END_TEST

START_TEST(silence_ends_at_the_limit)
{
	auditor.limit_ms = 50;
	play("silent");
	expect(ask(3, false), -ETIME, "in time");
	auditor.limit_ms = FAR_MS;
	play("good");
	expect_served();
	ck_assert_uint_eq(auditor.n_failures, 1);
}
END_TEST

/* The clock goes on, and nobody looks: what had no chance to answer is not late. */
START_TEST(standstill_is_no_silence)
{
	const struct timespec standstill = { .tv_sec = 1 };
	struct asked *asked;
	uint64_t begun_ns;

	auditor.limit_ms = 400;
	play("silent");
	asked = ask(3, false);
	while (!auditor.current)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	(void)nanosleep(&standstill, NULL);
	begun_ns = clock_monotonic_ns();
	expect(asked, -ETIME, "in time");
	ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, 200 * NS_PER_MS);
	auditor.limit_ms = FAR_MS;
	play("good");
	expect_served();
}
END_TEST

static void
on_far(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void *
realloc_nothing(void *memory, size_t size)
{
	(void)memory;
	(void)size;
	return NULL;
}

/* Nor does the loop turn on the spot until the limit is over: what had room among the timers lost it to others, and there is no more. */
START_TEST(without_memory_for_a_timer_nobody_waits)
{
	const struct timeval far = { .tv_sec = FAR_MS };
	struct event timers[64];
	struct asked *asked;
	uint64_t begun_ns;
	unsigned n = 0;

	auditor.limit_ms = 3000;
	play("silent");
	asked = ask(3, false);
	while (!auditor.current)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert_int_eq(evtimer_del(&auditor.timer), 0);
	event_set_mem_functions(malloc, realloc_nothing, free);
	do
		ck_assert_int_eq(evtimer_assign(&timers[n], base, on_far, NULL), 0);
	while (evtimer_add(&timers[n], &far) == 0 && ++n < BASE_ARRAY_SIZE(timers));
	ck_assert_uint_lt(n, BASE_ARRAY_SIZE(timers));
	event_active(&auditor.timer, EV_TIMEOUT, 1);
	begun_ns = clock_monotonic_ns();
	expect(asked, -ETIME, "in time");
	ck_assert_uint_lt(clock_monotonic_ns() - begun_ns, 2 * NS_PER_SEC);
	event_set_mem_functions(malloc, realloc, free);
	while (n--)
		ck_assert_int_eq(evtimer_del(&timers[n]), 0);
	auditor.limit_ms = FAR_MS;
	play("good");
	expect_served();
}
END_TEST

/* As long as rows come they are taken, but not for longer than the limit. */
START_TEST(endless_rows_end_at_the_limit)
{
	struct asked *asked;

	auditor.limit_ms = 50;
	play("pour");
	asked = ask(3, false);
	asked->question.take = take_anything;
	expect(asked, -ETIME, "in time");
	auditor.limit_ms = FAR_MS;
	play("good");
	expect_served();
}
END_TEST

START_TEST(death_fails_its_question_and_no_other)
{
	static const char *const parts[] = { "dying", "halfway" };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(parts); i++) {
		play(parts[i]);
		expect(ask(3, false), -ECONNRESET, "ended before");
	}
	play("good");
	expect_served();
}
END_TEST

START_TEST(who_ended_while_nobody_asked_is_started_again)
{
	play("once");
	for (int i = 0; i < 5; i++)
		expect_served();
	ck_assert_uint_eq(auditor.n_failures, 0);
}
END_TEST

/* Who asked is told that it failed, and what is in quarantine since is not left there. */
START_TEST(removal_that_is_cut_off_is_settled_at_once)
{
	play("torn");
	expect(ask_removal(AUDIT_CANDIDATE_REMOVE), -ECONNRESET, "ended before");
	ck_assert(auditor.unsettled.is_any);
	while (auditor.unsettled.is_any)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert(!auditor.unsettled.is_told);
	ck_assert_uint_eq(auditor.n_questions, 2);
	ck_assert_uint_eq(auditor.n_failures, 1);
	/* Who only looked took no name. */
	expect(ask_removal(0), -ECONNRESET, "ended before");
	ck_assert(!auditor.unsettled.is_any);
	ck_assert_uint_eq(auditor.n_questions, 3);
}
END_TEST

START_TEST(what_is_not_settled_is_told_and_asked_about_again)
{
	struct auditor_unsettled *unsettled = &auditor.unsettled;

	play("torn");
	expect(ask_removal(AUDIT_CANDIDATE_REMOVE), -ECONNRESET, "ended before");
	if (_i)
		play("unsettled");
	else
		ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/nonexistent/segmentd-audit", 1), 0);
	for (uint64_t seconds = 10; seconds <= 20; seconds *= 2) {
		while (unsettled->retry_ns != seconds * NS_PER_SEC)
			ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
		ck_assert(unsettled->is_any && unsettled->is_told && evtimer_pending(&unsettled->timer, NULL));
		event_active(&unsettled->timer, EV_TIMEOUT, 1);
	}
	play("torn");
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/proc/self/exe", 1), 0);
	while (unsettled->is_any) {
		if (!unsettled->question.auditor)
			event_active(&unsettled->timer, EV_TIMEOUT, 1);
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	}
	ck_assert(!unsettled->is_told && !evtimer_pending(&unsettled->timer, NULL));
}
END_TEST

START_TEST(missing_program_is_told)
{
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/nonexistent/segmentd-audit", 1), 0);
	expect(ask(3, false), -ENOENT, "not installed");
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/dev/null", 1), 0);
	expect(ask(3, false), -EACCES, "cannot be asked");
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/proc/self/exe", 1), 0);
	expect_served();
}
END_TEST

START_TEST(failure_is_told_in_its_own_words)
{
	play("fail");
	expect(ask(3, false), -EACCES, "nobody lets us");
}
END_TEST

START_TEST(too_large_a_question_is_refused)
{
	struct asked *asked = ask(auditor_rows_max(AUDIT_WHO) + 1, false);

	expect(asked, -EMSGSIZE, "too much");
	expect_served();
}
END_TEST

START_TEST(what_is_cancelled_is_never_done)
{
	struct asked *current = ask(3, false), *queued = ask(3, false), *within = ask(3, false);

	within->wanted_rows = 2;
	auditor_cancel(&queued->question);
	auditor_cancel(&queued->question);
	play("silent");
	/* The loop's first turn sends it. */
	while (auditor.current != &current->question)
		ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	auditor_cancel(&current->question);
	play("good");
	while (within->question.auditor)
		ck_assert_int_eq(event_base_dispatch(base), 0);
	expect_served();
	ck_assert(!current->is_done && !queued->is_done && !within->is_done);
	ck_assert_uint_eq(current->n_rows, 0);
	ck_assert_uint_eq(within->n_rows, 2);
	free(current);
	free(queued);
	free(within);
}
END_TEST

/* Killed faster than they are reaped, and there are still never more than a few. */
START_TEST(cancelling_does_not_pile_up_processes)
{
	play("silent");
	for (int i = 0; i < 50; i++) {
		struct asked *asked = ask(3, false);

		while (auditor.current != &asked->question) {
			ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
			ck_assert_msg(!asked->is_done, "%s", asked->text);
		}
		ck_assert_uint_le(auditor.n_children, 4);
		auditor_cancel(&asked->question);
		free(asked);
	}
	play("good");
	expect_served();
}
END_TEST

/* As systemd does: a process for each connection. */
static pid_t
serve(const char *path, char *arg0)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t pid;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int peer = accept(fd, NULL, NULL);

			if (peer < 0)
				_exit(1);
			if (fork() == 0) {
				(void)dup2(peer, STDIN_FILENO);
				_exit(auditor_fake_main());
			}
			(void)close(peer);
		}
	}
	(void)close(fd);
	return pid;
}

START_TEST(socket_is_asked_where_there_is_one)
{
	char dir[] = "/tmp/segmentd-auditor-XXXXXX", path[64], arg0[] = "segmentd-audit";
	struct asked *asked;
	pid_t server;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	auditor_deinit(&auditor);
	ck_assert_int_eq(auditor_init(&auditor, base, path), 0);
	auditor.limit_ms = FAR_MS;
	ck_assert_int_eq(unsetenv("SEGMENTD_AUDIT"), 0);
	server = serve(path, arg0);
	asked = ask(5, false);
	await(asked);
	ck_assert_int_eq(asked->end.result, 0);
	ck_assert_uint_eq(asked->n_rows, 5);
	ck_assert(!asked->end.is_own);
	ck_assert_uint_eq(auditor.n_children, 0);
	free(asked);
	expect_served();
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	/* That process of its goes on serving us. */
	expect_served();
	(void)unlink(path);
	(void)rmdir(dir);
}
END_TEST

/* Another one, of another user perhaps, does not find what the service's has begun to remove: that one is asked again. */
START_TEST(removal_that_the_service_has_begun_is_no_other_process_s)
{
	char dir[] = "/tmp/segmentd-auditor-XXXXXX", path[64], arg0[] = "segmentd-audit";
	pid_t server;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	auditor_set_socket(&auditor, path);
	ck_assert_int_eq(unsetenv("SEGMENTD_AUDIT"), 0);
	play("torn");
	server = serve(path, arg0);
	expect(ask_removal(AUDIT_CANDIDATE_REMOVE), -ECONNRESET, "ended before");
	while (auditor.unsettled.is_any)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert(!auditor.is_own);
	ck_assert_uint_eq(auditor.n_questions, 2);
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, NULL, 0), server);
	(void)unlink(path);
	(void)rmdir(dir);
}
END_TEST

/* As a unit that does not start: whoever connects is hung up on. The program is asked, and the socket again the next time. */
START_TEST(socket_that_hangs_up_is_none)
{
	char dir[] = "/tmp/segmentd-auditor-XXXXXX", path[64];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct asked *asked;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	auditor_set_socket(&auditor, path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(unsetenv("SEGMENTD_AUDIT"), 0);
	asked = ask(3, false);
	while (auditor.current != &asked->question)
		ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert(!auditor.is_own);
	(void)close(fd);
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/proc/self/exe", 1), 0);
	await(asked);
	ck_assert_int_eq(asked->end.result, 0);
	ck_assert(asked->end.is_own);
	ck_assert(!auditor.avoids_socket);
	free(asked);
	(void)unlink(path);
	(void)rmdir(dir);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], "segmentd-audit"))
		return auditor_fake_main();
	suite = suite_create("auditor");
	tcase = tcase_create("auditor");
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, questions_are_answered_in_order_by_one_process);
	tcase_add_test(tcase, nothing_runs_while_nobody_asks);
	tcase_add_loop_test(tcase, liar_fails_its_question_and_no_other, 0, AUDITOR_FAKE_LIES);
	tcase_add_test(tcase, too_long_a_message_is_no_answer);
	tcase_add_test(tcase, answer_that_nobody_asked_for_is_none);
	tcase_add_test(tcase, silence_ends_at_the_limit);
	tcase_add_test(tcase, standstill_is_no_silence);
	tcase_add_test(tcase, without_memory_for_a_timer_nobody_waits);
	tcase_add_test(tcase, endless_rows_end_at_the_limit);
	tcase_add_test(tcase, death_fails_its_question_and_no_other);
	tcase_add_test(tcase, who_ended_while_nobody_asked_is_started_again);
	tcase_add_test(tcase, missing_program_is_told);
	tcase_add_test(tcase, failure_is_told_in_its_own_words);
	tcase_add_test(tcase, too_large_a_question_is_refused);
	tcase_add_test(tcase, what_is_cancelled_is_never_done);
	tcase_add_test(tcase, cancelling_does_not_pile_up_processes);
	tcase_add_test(tcase, socket_is_asked_where_there_is_one);
	tcase_add_test(tcase, socket_that_hangs_up_is_none);
	tcase_add_test(tcase, removal_that_is_cut_off_is_settled_at_once);
	tcase_add_loop_test(tcase, what_is_not_settled_is_told_and_asked_about_again, 0, 2);
	tcase_add_test(tcase, removal_that_the_service_has_begun_is_no_other_process_s);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
