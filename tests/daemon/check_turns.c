/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Turns: however many of one uid have something to be done, another uid's one is served next. */
#include "config.h"

#include <check.h>
#include <event2/event.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/turns.h"
#include "tests/suite_run.h"

#define MANY		1000
#define TURNS_MAX	100000

struct rig {
	struct event_base *base;
	struct turns turns;
	struct turns_uid uids[3];
	char taken[TURNS_MAX];		/* whose turn it was, in order */
	unsigned n_taken;
};

static struct rig rig;

struct client {
	struct turn turn;
	char name;
	unsigned uid;
	unsigned n_left;		/* requests that it has after this one */
	struct client *victim;		/* leaves when this one has its turn */
};

static void
rig_init(void)
{
	rig = (struct rig) { .base = event_base_new() };
	ck_assert_ptr_nonnull(rig.base);
	ck_assert_int_eq(turns_init(&rig.turns, rig.base), 0);
}

static void
rig_deinit(void)
{
	turns_deinit(&rig.turns);
	event_base_free(rig.base);
}

static void
client_enter(struct client *client)
{
	turns_enter(&rig.turns, &rig.uids[client->uid], &client->turn);
}

static void
client_take(struct turn *turn)
{
	struct client *client = BASE_CONTAINER_OF(turn, struct client, turn);

	ck_assert_uint_lt(rig.n_taken, TURNS_MAX);
	rig.taken[rig.n_taken++] = client->name;
	if (client->victim)
		turns_leave(&rig.turns, &client->victim->turn);
	if (client->n_left) {
		client->n_left--;
		client_enter(client);
	}
}

static void
client_init(struct client *client, char name, unsigned uid, unsigned n_requests)
{
	*client = (struct client) { .turn.take = client_take, .name = name, .uid = uid, .n_left = n_requests - 1 };
}

static void
run(void)
{
	ck_assert_int_ge(event_base_loop(rig.base, 0), 0);
}

START_TEST(one_is_served_as_often_as_a_thousand_of_another_uid)
{
	static struct client many[MANY];
	struct client one;
	unsigned last = 0;

	rig_init();
	for (unsigned i = 0; i < MANY; i++) {
		client_init(&many[i], 'm', 0, 10);
		client_enter(&many[i]);
	}
	client_init(&one, 'o', 1, 50);
	client_enter(&one);
	run();
	ck_assert_uint_eq(rig.n_taken, 10 * MANY + 50);
	for (unsigned i = 0; i < rig.n_taken; i++)
		if (rig.taken[i] == 'o')
			last = i;
	/* Every second turn, and no later. */
	ck_assert_uint_lt(last, 2 * 50);
	rig_deinit();
}
END_TEST

START_TEST(those_of_one_uid_take_turns)
{
	struct client clients[3];

	rig_init();
	for (unsigned i = 0; i < 3; i++) {
		client_init(&clients[i], (char)('a' + i), 0, 3);
		client_enter(&clients[i]);
		client_enter(&clients[i]);
	}
	run();
	ck_assert_mem_eq(rig.taken, "abcabcabc", 9);
	ck_assert_uint_eq(rig.n_taken, 9);
	rig_deinit();
}
END_TEST

START_TEST(who_leaves_has_no_turn)
{
	struct client first, second, third;

	rig_init();
	client_init(&first, 'a', 0, 1);
	client_init(&second, 'b', 1, 1);
	client_init(&third, 'c', 2, 2);
	first.victim = &second;
	client_enter(&first);
	client_enter(&second);
	client_enter(&third);
	ck_assert(turn_waits(&second.turn));
	run();
	ck_assert_mem_eq(rig.taken, "acc", 3);
	ck_assert_uint_eq(rig.n_taken, 3);
	ck_assert(!turn_waits(&second.turn));
	/* Its uid waits for nothing, and can again. */
	client_enter(&second);
	run();
	ck_assert_int_eq(rig.taken[3], 'b');
	rig_deinit();
}
END_TEST

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *busy = arg;

	busy->n_left = 0;
}

/* One that always has more to do cannot keep the loop from hearing of others. */
START_TEST(loop_is_come_back_to)
{
	struct client busy;
	struct event event;
	int fds[2];

	rig_init();
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq((int)write(fds[1], "x", 1), 1);
	client_init(&busy, 'b', 0, TURNS_MAX);
	ck_assert_int_eq(event_assign(&event, rig.base, fds[0], EV_READ, on_readable, &busy), 0);
	client_enter(&busy);
	ck_assert_int_eq(event_add(&event, NULL), 0);
	run();
	ck_assert_uint_lt(rig.n_taken, TURNS_MAX - 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	rig_deinit();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("turns");
	TCase *tcase = tcase_create("turns");

	tcase_add_test(tcase, one_is_served_as_often_as_a_thousand_of_another_uid);
	tcase_add_test(tcase, those_of_one_uid_take_turns);
	tcase_add_test(tcase, who_leaves_has_no_turn);
	tcase_add_test(tcase, loop_is_come_back_to);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
