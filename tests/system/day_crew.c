/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The client processes of a day of operation: see day_crew.h. */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>

#include "tests/system/day_crew.h"

#define WORD_MAX	63

/* What a member says next; one that has ended says nothing. */
static void
hear(const struct crew_member *member, char answer[WORD_MAX + 1])
{
	ssize_t n;

	harness_await_readable(member->child.control, "a client's answer");
	n = recv(member->child.control, answer, WORD_MAX, 0);
	harness_assert(n > 0, "client %u, pid %d, in '%s', has ended: see above why", member->self.number,
	    (int)member->child.pid, member->self.segment);
	answer[n] = 0;
}

static void
expect(const struct crew_member *member, const char *expected)
{
	char answer[WORD_MAX + 1];

	hear(member, answer);
	harness_assert(streq(answer, expected), "client %u says '%s', and not '%s'", member->self.number, answer, expected);
}

/* Hears a count of rounds, which is more than the last one. */
static void
expect_count(struct crew_member *member, const char *verb)
{
	char answer[WORD_MAX + 1], got[16] = "";
	uint64_t n_rounds = 0;

	hear(member, answer);
	harness_assert(sscanf(answer, "%15s %" SCNu64, got, &n_rounds) == 2 && streq(got, verb), "client %u says '%s'",
	    member->self.number, answer);
	harness_assert(n_rounds >= member->n_rounds && (member->is_away || n_rounds > member->n_rounds),
	    "client %u has come from %ju rounds to %ju", member->self.number, (uintmax_t)member->n_rounds, (uintmax_t)n_rounds);
	member->n_rounds = n_rounds;
}

void
crew_start(struct crew *crew, enum day_role role, const char *segment, unsigned n)
{
	unsigned first = crew->n_members;

	(void)fflush(NULL);
	for (unsigned i = 0; i < n; i++) {
		struct crew_member *member = &crew->members[crew->n_members++];

		harness_assert(crew->n_members <= CREW_MAX, "too many clients");
		*member = (struct crew_member) {
			.self = { .role = role, .number = crew->n_members, .segment = segment, .socket = crew->socket },
			.child = HARNESS_CHILD_NULL,
		};
		harness_child_start(&member->child, day_client_main, &member->self);
	}
	for (unsigned i = first; i < crew->n_members; i++)
		expect(&crew->members[i], "came");
}

void
crew_tell(struct crew *crew, const char *segment, const char *word, const char *answer)
{
	for (unsigned i = 0; i < crew->n_members; i++)
		if (streq(crew->members[i].self.segment, segment))
			harness_say(crew->members[i].child.control, word);
	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[i];

		if (!streq(member->self.segment, segment))
			continue;
		expect(member, answer);
		member->is_away = streq(word, "leave") || (member->is_away && !streq(word, "come"));
	}
}

void
crew_expect(struct crew *crew, const char *segment, bool guests_only, int expected)
{
	for (unsigned i = 0; i < crew->n_members; i++) {
		struct crew_member *member = &crew->members[i];

		if (streq(member->self.segment, segment) && (!guests_only || member->self.role == DAY_GUEST))
			member->expected = expected;
	}
}

void
crew_look(struct crew *crew)
{
	char word[32];

	for (unsigned i = 0; i < crew->n_members; i++) {
		(void)snprintf(word, sizeof(word), "look %d", crew->members[i].expected);
		if (!crew->members[i].is_away)
			harness_say(crew->members[i].child.control, word);
	}
	for (unsigned i = 0; i < crew->n_members; i++)
		if (!crew->members[i].is_away)
			expect_count(&crew->members[i], "looked");
}

static bool
is_reader(const struct crew_member *member)
{
	return member->self.role == DAY_READER || member->self.role == DAY_EXECUTED_READER;
}

/* Of one segment, whose first member this is. */
static void
settle(const struct crew *crew, struct harness_conn *conn, unsigned first)
{
	const char *segment = crew->members[first].self.segment;
	unsigned readers = 0, writers = 0;

	for (unsigned i = first; i < crew->n_members; i++) {
		const struct crew_member *member = &crew->members[i];

		if (!streq(member->self.segment, segment) || member->is_away)
			continue;
		readers += is_reader(member);
		writers += !is_reader(member);
	}
	if (readers || writers)
		harness_await_counts(conn, segment, readers, writers);
}

void
crew_settle(const struct crew *crew, struct harness_conn *conn)
{
	for (unsigned i = 0; i < crew->n_members; i++) {
		unsigned first = 0;

		while (!streq(crew->members[first].self.segment, crew->members[i].self.segment))
			first++;
		if (first == i)
			settle(crew, conn, i);
	}
}

uint64_t
crew_end(struct crew *crew)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < crew->n_members; i++)
		harness_say(crew->members[i].child.control, "end");
	for (unsigned i = 0; i < crew->n_members; i++) {
		expect_count(&crew->members[i], "ended");
		sum += crew->members[i].n_rounds;
	}
	for (unsigned i = 0; i < crew->n_members; i++)
		harness_child_await_success(&crew->members[i].child);
	return sum;
}
