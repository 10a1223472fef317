/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who may attach what: every class of people against every kind of definition. */
#include "config.h"

#include <check.h>
#include <time.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/access.h"
#include "tests/suite_run.h"

#define R	PROTOCOL_ACCESS_READ
#define RW	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)

enum {
	OWNER = 1001, MEMBER = 1002, OTHER = 1003, ALLOWED = 1004,
	GROUP = 2001, ELSEWHERE = 2002, ALLOWED_GROUP = 2003
};

static uint32_t
allowed(const struct definition *definition, uint32_t uid, uint32_t gid, uint32_t supplementary)
{
	uint32_t groups[] = { ELSEWHERE, supplementary };
	struct identity identity = { .uid = uid, .gid = gid, .groups = groups, .n_groups = 2 };

	identity_order_groups(&identity);
	return access_allowed(definition, &identity);
}

static const struct {
	uint16_t mode;
	uint32_t owner, member, other;
} modes[] = {
	{ 0000, 0, 0, 0 },
	{ 0600, RW, 0, 0 },
	{ 0640, RW, R, 0 },
	{ 0660, RW, RW, 0 },
	{ 0644, RW, R, R },
	{ 0666, RW, RW, RW },
	{ 0406, R, 0, RW },
	{ 0060, 0, RW, 0 },		/* the first class that fits decides, as on a file */
	{ 0200, 0, 0, 0 },		/* what can be written can be read: writing alone is nothing */
};

START_TEST(first_class_that_fits_decides)
{
	struct definition definition = {
		.has_owner = true, .owner = OWNER, .has_group = true, .group = GROUP, .mode = modes[_i].mode,
	};

	ck_assert_uint_eq(allowed(&definition, OWNER, GROUP, ELSEWHERE), modes[_i].owner);
	ck_assert_uint_eq(allowed(&definition, MEMBER, GROUP, ELSEWHERE), modes[_i].member);
	ck_assert_uint_eq(allowed(&definition, MEMBER, ELSEWHERE, GROUP), modes[_i].member);
	ck_assert_uint_eq(allowed(&definition, OTHER, ELSEWHERE, ELSEWHERE), modes[_i].other);
	ck_assert_uint_eq(allowed(&definition, 0, 0, ELSEWHERE), RW);
}
END_TEST

/* The kernel's number for all that have none in the daemon's user namespace: who has it is nobody in particular. */
START_TEST(who_has_no_number_is_one_of_the_others)
{
	struct definition_allow allow[] = { { .id = OTHER, .write = true }, { .is_group = true, .id = GROUP, .write = true } };
	struct definition definition = {
		.has_owner = true, .owner = OTHER, .has_group = true, .group = GROUP, .mode = 0664,
		.allow = allow, .n_allow = BASE_ARRAY_SIZE(allow),
	};
	struct identity identity = { .uid = OTHER, .gid = GROUP, .is_uid_unknown = true, .is_gid_unknown = true };

	ck_assert_uint_eq(access_allowed(&definition, &identity), R);
	definition.mode = 0660;
	ck_assert_uint_eq(access_allowed(&definition, &identity), 0);
	identity.uid = 0;
	ck_assert_uint_eq(access_allowed(&definition, &identity), 0);
	identity.is_uid_unknown = false;
	ck_assert_uint_eq(access_allowed(&definition, &identity), RW);
	identity.uid = OTHER;
	ck_assert_uint_eq(access_allowed(&definition, &identity), RW);
	definition.owner = OWNER;
	definition.n_allow = 0;
	ck_assert_uint_eq(access_allowed(&definition, &identity), 0);
	identity.is_gid_unknown = false;
	ck_assert_uint_eq(access_allowed(&definition, &identity), RW);
}
END_TEST

START_TEST(allow_adds_and_never_takes)
{
	struct definition_allow allow[] = {
		{ .id = ALLOWED },
		{ .is_group = true, .id = ALLOWED_GROUP, .write = true },
		{ .id = OWNER },
	};
	struct definition definition = {
		.has_owner = true, .owner = OWNER, .has_group = true, .group = GROUP, .mode = 0600,
		.allow = allow, .n_allow = BASE_ARRAY_SIZE(allow),
	};

	ck_assert_uint_eq(allowed(&definition, ALLOWED, ELSEWHERE, ELSEWHERE), R);
	ck_assert_uint_eq(allowed(&definition, OTHER, ALLOWED_GROUP, ELSEWHERE), RW);
	ck_assert_uint_eq(allowed(&definition, OTHER, ELSEWHERE, ALLOWED_GROUP), RW);
	ck_assert_uint_eq(allowed(&definition, ALLOWED, ALLOWED_GROUP, ELSEWHERE), RW);
	ck_assert_uint_eq(allowed(&definition, OWNER, GROUP, ELSEWHERE), RW);
	/* A uid is no gid. */
	ck_assert_uint_eq(allowed(&definition, ALLOWED_GROUP, ALLOWED, 0), 0);
}
END_TEST

START_TEST(daemon_owns_what_nobody_does)
{
	struct definition definition = { .mode = 0640 };

	ck_assert_uint_eq(access_owner(&definition), geteuid());
	ck_assert_uint_eq(access_group(&definition), getegid());
	ck_assert_uint_eq(allowed(&definition, OTHER, (uint32_t)getegid(), ELSEWHERE), R);
	ck_assert_uint_eq(allowed(&definition, OTHER, ELSEWHERE, ELSEWHERE), 0);
}
END_TEST

/* Root of a container may have as many groups as there are, and a list asks about each segment. */
START_TEST(many_groups_cost_little)
{
	enum { N_GROUPS = 65536, N_ALLOW = 256, N_SEGMENTS = 1000 };
	static uint32_t groups[N_GROUPS];
	static struct definition_allow allow[N_ALLOW];
	struct definition definition = {
		.has_owner = true, .owner = OWNER, .has_group = true, .group = 1, .mode = 0660, .allow = allow, .n_allow = N_ALLOW,
	};
	struct identity identity = { .uid = OTHER, .gid = 1u << 30, .groups = groups, .n_groups = N_GROUPS };
	uint64_t begin_ns;
	struct timespec now;

	/* All that are even, in the order that a user namespace may turn them to. */
	for (uint32_t i = 0; i < N_GROUPS; i++)
		groups[i] = 2 * ((i + N_GROUPS / 3) % N_GROUPS);
	identity_order_groups(&identity);
	for (uint32_t i = 0; i < N_GROUPS; i++) {
		ck_assert(identity_in_group(&identity, 2 * i));
		ck_assert(!identity_in_group(&identity, 2 * i + 1));
	}
	for (uint32_t i = 0; i < N_ALLOW; i++)
		allow[i] = (struct definition_allow) { .is_group = true, .id = 2 * i + 1 };
	ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	begin_ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
	for (int i = 0; i < N_SEGMENTS; i++)
		ck_assert_uint_eq(access_allowed(&definition, &identity), 0);
	ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	/* 256,000 questions; to go over all groups for each takes ten times as long, and more. */
	ck_assert_uint_lt((uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec - begin_ns, NS_PER_SEC);
	allow[N_ALLOW - 1].id = 2 * (N_GROUPS - 1);
	ck_assert_uint_eq(access_allowed(&definition, &identity), R);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("access");
	TCase *tcase = tcase_create("access");

	tcase_add_loop_test(tcase, first_class_that_fits_decides, 0, BASE_ARRAY_SIZE(modes));
	tcase_add_test(tcase, who_has_no_number_is_one_of_the_others);
	tcase_add_test(tcase, allow_adds_and_never_takes);
	tcase_add_test(tcase, daemon_owns_what_nobody_does);
	tcase_add_test(tcase, many_groups_cost_little);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
