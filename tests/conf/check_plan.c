/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a new configuration asks of what runs: each key's change, its words, and what it comes to. */
#include "config.h"

#include "conf/plan.h"
#include "tests/conf/suite.h"

/* What was told, a line a change. */
struct told {
	char text[4096];
	unsigned n;
	unsigned n_takes;
	enum plan_effect last;
	const struct keys_row *row;
};

static void
take(const struct plan_change *change, void *arg)
{
	struct told *told = arg;
	size_t n = strlen(told->text);

	ck_assert_ptr_nonnull(change->from);
	ck_assert_ptr_nonnull(change->to);
	ck_assert_int_eq(change->why != NULL, change->effect == PLAN_NEVER);
	(void)snprintf(told->text + n, sizeof(told->text) - n, "%s: %s%s%s%s\n", plan_effect_name(change->effect),
	    change->text, change->why ? "; " : "", change->why ? change->why : "",
	    change->takes_access ? " (takes)" : "");
	told->n++;
	told->n_takes += change->takes_access;
	told->last = change->effect;
	told->row = change->row;
}

/* Loads one segment (or template) with these keys besides name and size. */
static void
load_one(struct run *run, bool is_template, const char *keys)
{
	char text[32768];

	(void)snprintf(text, sizeof(text), "%s = ( { name = \"a\"; %s } );", is_template ? "templates" : "segments", keys);
	expect_good(run, text);
}

static void
compare_keys(bool is_template, const char *before, const char *after, struct told *told, unsigned *ret_effects)
{
	struct run a, b;
	struct definition *p, *q;

	load_one(&a, is_template, before);
	load_one(&b, is_template, after);
	p = is_template ? a.conf->templates[0] : a.conf->segments[0];
	q = is_template ? b.conf->templates[0] : b.conf->segments[0];
	memset(told, 0, sizeof(*told));
	ck_assert_int_eq(plan_compare(p, q, take, told, ret_effects), 0);
	ck_assert_int_eq(plan_equal(p, q), told->n == 0);
	run_done(&a);
	run_done(&b);
}

/* Expects exactly these lines. */
static void
expect_told(const char *before, const char *after, const char *lines)
{
	struct told told;
	unsigned effects;

	compare_keys(false, before, after, &told, &effects);
	ck_assert_str_eq(told.text, lines);
}

START_TEST(same_text_is_no_change)
{
	expect_told("size = \"4KiB\";", "size = \"4KiB\";", "");
	expect_told("size = \"4KiB\";", "size = 4096; max_size = \"4K\"; mode = \"0600\"; allow = ( ); dump = true;", "");
	expect_told("size = \"4KiB\"; owner = \"root\";", "size = \"4KiB\"; owner = \"0\";", "");
}
END_TEST

START_TEST(live_keys_act_at_once)
{
	expect_told("size = \"4KiB\";",
	    "size = \"4KiB\"; owner = \"root\"; group = \"0\"; mode = \"0640\"; required = false; "
	    "lifetime = \"attached\"; linger = \"5s\"; scrub = true; dump = false; allow = ( { user = \"root\"; access = \"r\"; } );",
	    "live: owner none -> \"root\" (takes)\n"
	    "live: group none -> \"0\"\n"
	    "live: mode \"0600\" -> \"0640\"\n"
	    "live: allow: user \"root\" (r) added\n"
	    "live: required true -> false\n"
	    "live: lifetime \"persistent\" -> \"attached\"\n"
	    "live: linger \"0s\" -> \"5s\"\n"
	    "live: scrub false -> true\n"
	    "live: dump true -> false\n");
}
END_TEST

START_TEST(drained_keys_wait)
{
	expect_told("size = \"4KiB\";",
	    "size = \"4KiB\"; page_size = \"base\"; prefault = false; placement = \"prefer\"; layout = \"x/1\"; "
	    "locks = ( { name = \"l\"; length = \"64B\"; } );",
	    "drained: page_size \"auto\" -> \"base\"\n"
	    "drained: prefault true -> false\n"
	    "drained: mlock true -> false\n"
	    "drained: placement \"require\" -> \"prefer\"\n"
	    "drained: layout none -> \"x/1\"\n"
	    "drained: locks: \"l\" added\n");
}
END_TEST

START_TEST(size_is_raised_within_max_size_only)
{
	expect_told("size = \"4KiB\"; max_size = \"16KiB\";", "size = \"8KiB\"; max_size = \"16KiB\";",
	    "grow: size \"4KiB\" -> \"8KiB\"\n");
	expect_told("size = \"4KiB\"; max_size = \"16KiB\";", "size = \"16KiB\"; max_size = \"16KiB\";",
	    "grow: size \"4KiB\" -> \"16KiB\"\n");
	expect_told("size = \"8KiB\"; max_size = \"16KiB\";", "size = \"4KiB\"; max_size = \"16KiB\";",
	    "never: size \"8KiB\" -> \"4KiB\"; size is never lowered while the segment is there\n");
	expect_told("size = \"4KiB\"; max_size = \"16KiB\";", "size = \"20KiB\"; max_size = \"32KiB\";",
	    "never: size \"4KiB\" -> \"20KiB\"; size is raised up to 16KiB at most, the max_size that the segment was made with\n"
	    "never: max_size \"16KiB\" -> \"32KiB\"; max_size never changes while the segment is there\n");
	/* a new max_size alone is refused although it would hold more */
	expect_told("size = \"4KiB\"; max_size = \"16KiB\";", "size = \"4KiB\"; max_size = \"32KiB\";",
	    "never: max_size \"16KiB\" -> \"32KiB\"; max_size never changes while the segment is there\n");
	/* where none is given, it follows size and is not told twice */
	expect_told("size = \"4KiB\";", "size = \"8KiB\";",
	    "never: size \"4KiB\" -> \"8KiB\"; size is raised up to 4KiB at most, the max_size that the segment was made with\n");
	/* and with one that was given and is taken away, the room would shrink */
	expect_told("size = \"4KiB\"; max_size = \"16KiB\";", "size = \"8KiB\";",
	    "grow: size \"4KiB\" -> \"8KiB\"\n"
	    "never: max_size \"16KiB\" -> \"8KiB\"; max_size never changes while the segment is there\n");
}
END_TEST

START_TEST(access_that_is_taken_is_said)
{
	expect_told("size = 1; mode = \"0666\";", "size = 1; mode = \"0640\";", "live: mode \"0666\" -> \"0640\" (takes)\n");
	expect_told("size = 1; mode = \"0640\";", "size = 1; mode = \"0666\";", "live: mode \"0640\" -> \"0666\"\n");
	expect_told("size = 1; owner = \"1\"; mode = \"0600\";", "size = 1; owner = \"2\"; mode = \"0600\";",
	    "live: owner \"1\" -> \"2\" (takes)\n");
	expect_told("size = 1; owner = \"1\"; mode = \"0666\";", "size = 1; owner = \"2\"; mode = \"0666\";",
	    "live: owner \"1\" -> \"2\"\n");
	/* who becomes the owner had more as one of the others */
	expect_told("size = 1; owner = \"1\"; mode = \"0444\";", "size = 1; owner = \"2\"; mode = \"0444\";",
	    "live: owner \"1\" -> \"2\"\n");
	expect_told("size = 1; owner = \"1\"; mode = \"0446\";", "size = 1; owner = \"2\"; mode = \"0446\";",
	    "live: owner \"1\" -> \"2\" (takes)\n");
	expect_told("size = 1; allow = ( { user = \"1\"; access = \"rw\"; }, { group = \"2\"; access = \"r\"; } );",
	    "size = 1; allow = ( { group = \"2\"; access = \"rw\"; }, { user = \"1\"; access = \"rw\"; } );",
	    "live: allow: group \"2\" (r) changed to group \"2\" (rw)\n");
	expect_told("size = 1; allow = ( { user = \"1\"; access = \"rw\"; }, { group = \"2\"; access = \"r\"; } );",
	    "size = 1; allow = ( { user = \"1\"; access = \"r\"; }, { user = \"3\"; access = \"r\"; } );",
	    "live: allow: user \"1\" (rw) changed to user \"1\" (r), user \"3\" (r) added, group \"2\" (r) removed (takes)\n");
}
END_TEST

START_TEST(order_of_lists_says_nothing)
{
	expect_told("size = 1; allow = ( { user = \"1\"; access = \"r\"; }, { user = \"2\"; access = \"rw\"; } );",
	    "size = 1; allow = ( { user = \"2\"; access = \"rw\"; }, { user = \"1\"; access = \"r\"; } );", "");
	/* an entry that another one of the same user contains says nothing either */
	expect_told("size = 1; allow = ( { user = \"1\"; access = \"r\"; }, { user = \"1\"; access = \"rw\"; } );",
	    "size = 1; allow = ( { user = \"1\"; access = \"rw\"; } );", "");
	expect_told("size = \"4K\"; locks = ( { name = \"a\"; length = 8; }, { name = \"b\"; offset = 8; length = 8; } );",
	    "size = \"4K\"; locks = ( { name = \"b\"; offset = 8; length = 8; }, { name = \"a\"; length = 8; } );", "");
	expect_told("size = \"4K\"; locks = ( { name = \"a\"; length = 8; }, { name = \"b\"; offset = 8; length = 8; } );",
	    "size = \"4K\"; locks = ( { name = \"b\"; offset = 8; length = 16; }, { name = \"c\"; length = 8; } );",
	    "drained: locks: \"a\" removed, \"b\" changed, \"c\" added\n");
}
END_TEST

START_TEST(long_lists_are_told_shortly)
{
	char keys[16384];
	size_t n = (size_t)snprintf(keys, sizeof(keys), "size = 1; allow = ( ");
	struct told told;
	unsigned effects;

	for (unsigned i = 0; i < 200; i++)
		n += (size_t)snprintf(keys + n, sizeof(keys) - n, "%s{ user = \"%u\"; access = \"r\"; }", i ? "," : "", i + 1);
	(void)snprintf(keys + n, sizeof(keys) - n, " );");
	compare_keys(false, "size = 1;", keys, &told, &effects);
	ck_assert_uint_eq(told.n, 1);
	ck_assert_ptr_nonnull(strstr(told.text, "user \"1\" (r) added, user \"2\" (r) added"));
	ck_assert_ptr_nonnull(strstr(told.text, "user \"8\" (r) added, and 192 more\n"));
	ck_assert_uint_eq(effects, 1u << PLAN_LIVE);
}
END_TEST

/* Of a template nothing waits and nothing is refused: what was created keeps what it was made with. */
START_TEST(templates_change_at_once)
{
	struct told told;
	unsigned effects;

	compare_keys(true, "max_size = \"1MiB\";", "max_size = \"4KiB\"; max_count = 7; page_size = \"base\";", &told,
	    &effects);
	ck_assert_str_eq(told.text, "live: max_size \"1MiB\" -> \"4KiB\"\nlive: max_count 100 -> 7\n"
	    "live: page_size \"auto\" -> \"base\"\n");
	ck_assert_uint_eq(effects, 1u << PLAN_LIVE);
}
END_TEST

START_TEST(merge_takes_what_acts_at_once)
{
	struct run a, b;
	struct definition *running, *next, *merged, *grown;
	struct told told = { 0 };
	unsigned effects;

	load_one(&a, false, "size = \"4KiB\"; max_size = \"1MiB\"; owner = \"1\"; locks = ( { name = \"l\"; length = 8; } );");
	load_one(&b, false, "\n size = \"8KiB\"; max_size = \"2MiB\"; mode = \"0640\"; layout = \"x\"; dump = false; "
	    "allow = ( { user = \"7\"; access = \"rw\"; } ); linger = \"1s\"; lifetime = \"attached\";");
	running = a.conf->segments[0];
	next = b.conf->segments[0];
	merged = plan_merge(running, next);
	ck_assert_ptr_nonnull(merged);
	ck_assert_uint_eq(merged->n_refs, 1);
	ck_assert_uint_eq(merged->size_bytes, 4096);
	ck_assert_uint_eq(merged->max_size_bytes, MIB);
	ck_assert_uint_eq(merged->mode, 0640);
	ck_assert(!merged->has_owner);
	ck_assert_ptr_null(merged->owner_name);
	ck_assert_ptr_null(merged->layout);
	ck_assert(!merged->dump);
	ck_assert_uint_eq(merged->linger_ms, 1000);
	ck_assert_uint_eq(merged->n_allow, 1);
	ck_assert_uint_eq(merged->allow[0].id, 7);
	ck_assert_str_eq(merged->allow[0].name, "7");
	ck_assert_uint_eq(merged->n_locks, 1);
	ck_assert_str_eq(merged->locks[0].name, "l");
	ck_assert_str_eq(merged->name, "a");
	/* what is left of the change is what does not act at once */
	ck_assert_int_eq(plan_compare(merged, next, take, &told, &effects), 0);
	ck_assert_uint_eq(effects, 1u << PLAN_GROW | 1u << PLAN_DRAINED | 1u << PLAN_NEVER);
	/* and to where it was, nothing was lost */
	grown = plan_grow(running, 8192);
	ck_assert_uint_eq(grown->size_bytes, 8192);
	ck_assert_uint_eq(running->size_bytes, 4096);
	ck_assert_uint_eq(grown->n_locks, 1);
	definition_unref(grown);
	definition_unref(merged);
	run_done(&a);
	run_done(&b);
}
END_TEST

/* A value for a row that is neither of the two given. False: the type has no value of its own. */
static bool
change_field(const struct keys_row *row, void *base)
{
	char *at = (char *)base + row->offset;

	if (row->flag_offset != KEYS_NO_FIELD)
		*((bool *)(void *)((char *)base + row->flag_offset)) = true;
	switch (row->type) {
	case KEYS_TYPE_BOOL:
	case KEYS_TYPE_FLAG:
		*(bool *)(void *)at = !*(bool *)(void *)at;
		return true;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		*(uint32_t *)(void *)at ^= 1;
		return true;
	case KEYS_TYPE_WORD:
		*(uint8_t *)(void *)at ^= 1;
		return true;
	case KEYS_TYPE_SIZE:
	case KEYS_TYPE_TIME:
		*(uint64_t *)(void *)at += 1;
		return true;
	case KEYS_TYPE_MODE:
		*(uint16_t *)(void *)at ^= 0444;
		return true;
	case KEYS_TYPE_NAME:
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
	case KEYS_TYPE_ADMIN_GROUP:
		free(*(char **)(void *)at);
		*(char **)(void *)at = strdup("/other");
		return true;
	case KEYS_TYPE_NUMA:
		((struct definition *)base)->numa = DEFINITION_NUMA_LOCAL;
		return true;
	case KEYS_TYPE_SYNC:
		((struct definition *)base)->sync = true;
		((struct definition *)base)->sync_ms = 5;
		return true;
	default:
		return false;
	}
}

/* No key is forgotten: each row of a segment that differs is told, with the class that its row has. */
START_TEST(every_key_is_compared)
{
	const struct keys_row *rows;
	struct run run;
	size_t n, n_seen = 0;

	load_one(&run, false, "size = \"4KiB\";");
	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		struct definition *changed = definition_copy(run.conf->segments[0]);
		struct told told = { 0 };
		unsigned effects;

		if (rows[i].scope == KEYS_DEFINITION && rows[i].where & KEYS_OF_SEGMENT &&
		    change_field(&rows[i], changed)) {
			bool is_size = streq(rows[i].key, "size");
			struct definition *merged;

			ck_assert_int_eq(plan_compare(run.conf->segments[0], changed, take, &told, &effects), 0);
			ck_assert_msg(told.n == 1 && told.row == &rows[i], "%s: %s", rows[i].key, told.text);
			ck_assert_int_eq(told.last, is_size ? PLAN_NEVER : rows[i].reload == KEYS_LIVE ? PLAN_LIVE :
			    rows[i].reload == KEYS_DRAINED ? PLAN_DRAINED : PLAN_NEVER);
			merged = plan_merge(run.conf->segments[0], changed);
			ck_assert_int_eq(plan_equal(merged, changed), rows[i].reload == KEYS_LIVE && !is_size);
			ck_assert_int_eq(plan_equal(merged, run.conf->segments[0]), rows[i].reload != KEYS_LIVE || is_size);
			definition_unref(merged);
			n_seen++;
		}
		definition_unref(changed);
	}
	ck_assert_uint_ge(n_seen, 24);
	run_done(&run);
}
END_TEST

START_TEST(daemon_keys_are_compared)
{
	struct told told = { 0 };
	struct run a, b;
	unsigned effects;

	expect_good(&a, "daemon = { workers = 1; };");
	expect_good(&b, "daemon = { workers = 2; socket = \"/tmp/other\"; state_dir = \"/tmp/x\"; memory_reserve = \"1MiB\"; "
	    "admin_group = \"root\"; audit_socket = \"/run/x.sock\"; socket_mode = \"0600\"; limits = { clients = 5; attachments = 6; subscriptions = 7; bytes = 0; }; };");
	ck_assert_int_eq(plan_compare_daemon(&a.conf->daemon, &b.conf->daemon, take, &told, &effects), 0);
	ck_assert_uint_eq(told.n, 11);
	ck_assert_uint_eq(effects, 1u << PLAN_LIVE | 1u << PLAN_NEVER);
	ck_assert_ptr_nonnull(strstr(told.text, "-> \"/tmp/other\"; socket never changes while the daemon runs\n"));
	ck_assert_ptr_nonnull(strstr(told.text, "live: admin_group \"segmentd\" -> \"root\"\n"));
	ck_assert_ptr_nonnull(strstr(told.text, "live: clients 4096 -> 5\n"));
	ck_assert_ptr_nonnull(strstr(told.text, "live: bytes \"1GiB\" -> \"0B\"\n"));
	memset(&told, 0, sizeof(told));
	ck_assert_int_eq(plan_compare_daemon(&b.conf->daemon, &b.conf->daemon, take, &told, &effects), 0);
	ck_assert_uint_eq(told.n, 0);
	/* the same name, and the group was made anew meanwhile */
	ck_assert_int_eq(plan_compare_daemon(&b.conf->daemon, &b.conf->daemon, take, &told, &effects), 0);
	run_done(&b);
	expect_good(&b, "daemon = { workers = 1; };");
	b.conf->daemon.has_admin_gid = true;
	b.conf->daemon.admin_gid = 77;
	a.conf->daemon.has_admin_gid = false;
	ck_assert_int_eq(plan_compare_daemon(&a.conf->daemon, &b.conf->daemon, take, &told, &effects), 0);
	ck_assert_str_eq(told.text, "live: admin_group \"segmentd\" (no such group) -> \"segmentd\" (gid 77)\n");
	run_done(&a);
	run_done(&b);
}
END_TEST

/* The classes that were promised to administrators. */
START_TEST(classes_are_as_promised)
{
	static const char *const live[] = { "owner", "group", "mode", "allow", "linger", "lifetime", "scrub", "required",
		"dump", "sync", "max_count" };
	static const char *const drained[] = { "page_size", "prefault", "mlock", "numa", "placement", "layout", "init",
		"locks" };
	static const char *const never[] = { "name", "max_size", "backend", "object", "key", "path" };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(live); i++)
		ck_assert_int_eq(keys_find(KEYS_DEFINITION, live[i])->reload, KEYS_LIVE);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(drained); i++)
		ck_assert_int_eq(keys_find(KEYS_DEFINITION, drained[i])->reload, KEYS_DRAINED);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(never); i++)
		ck_assert_int_eq(keys_find(KEYS_DEFINITION, never[i])->reload, KEYS_NEVER);
	ck_assert_int_eq(keys_find(KEYS_DAEMON, "socket")->reload, KEYS_NEVER);
	ck_assert_int_eq(keys_find(KEYS_DAEMON, "state_dir")->reload, KEYS_NEVER);
	ck_assert_int_eq(keys_find(KEYS_LIMITS, "clients")->reload, KEYS_LIVE);
	ck_assert_int_eq(keys_find(KEYS_LIMITS, "attachments")->reload, KEYS_LIVE);
	ck_assert_int_eq(keys_find(KEYS_LIMITS, "subscriptions")->reload, KEYS_LIVE);
	ck_assert_int_eq(keys_find(KEYS_LIMITS, "bytes")->reload, KEYS_LIVE);
}
END_TEST

START_TEST(comparing_is_cheap)
{
	char keys[] = "size = \"4KiB\"; owner = \"1\"; layout = \"x\"; allow = ( { user = \"7\"; access = \"rw\"; } );";
	struct definition *copy;
	struct run run;
	uint64_t from;

	load_one(&run, false, keys);
	copy = definition_copy(run.conf->segments[0]);
	from = clock_monotonic_ns();
	for (unsigned i = 0; i < 15000; i++)
		ck_assert(plan_equal(run.conf->segments[0], copy));
	(void)printf("15,000 definitions that are the same compared in %.2f ms\n",
	    (double)(clock_monotonic_ns() - from) / 1e6);
	definition_unref(copy);
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("plan");
	TCase *tcase = tcase_create("plan");

	tcase_add_test(tcase, same_text_is_no_change);
	tcase_add_test(tcase, live_keys_act_at_once);
	tcase_add_test(tcase, drained_keys_wait);
	tcase_add_test(tcase, size_is_raised_within_max_size_only);
	tcase_add_test(tcase, access_that_is_taken_is_said);
	tcase_add_test(tcase, order_of_lists_says_nothing);
	tcase_add_test(tcase, long_lists_are_told_shortly);
	tcase_add_test(tcase, templates_change_at_once);
	tcase_add_test(tcase, merge_takes_what_acts_at_once);
	tcase_add_test(tcase, every_key_is_compared);
	tcase_add_test(tcase, daemon_keys_are_compared);
	tcase_add_test(tcase, classes_are_as_promised);
	tcase_add_test(tcase, comparing_is_cheap);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
