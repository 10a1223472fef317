/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A day of operation: fifty clients are at work in all kinds of ways, while the configuration is reloaded in all kinds of ways.
 * Each reload does what its plan foretold, and no client is disturbed.
 */
#include "config.h"

#include <grp.h>

#include "tests/system/day_crew.h"
#include "tests/system/day_office.h"

#define SMALL		"size = \"64KiB\"; page_size = \"base\"; mlock = false; "
#define LEDGER(size)	"size = \"" size "\"; page_size = \"base\"; mlock = false; locks = ( { name = \"book\"; offset = \"0\"; " \
			"length = \"32KiB\"; undo = \"8KiB\"; } ); "
#define GROW(size)	"size = \"" size "\"; max_size = \"1MiB\"; page_size = \"base\"; mlock = false; "
#define TEMPLATE	"max_size = \"1MiB\"; page_size = \"base\"; mlock = false; lifetime = \"persistent\"; "
#define PIECE(name, keys)	"segments = ( { name = \"" name "\"; " SMALL keys "} );\n"

struct day {
	struct office office;
	struct crew crew;
	char group[64];			/* the guests', by name; empty: it has none */
};

/* An hour of it. */
struct step {
	const char *what;
	struct {
		const char *name, *keys;
	} sets[6];
	void (*before)(struct day *day);
	int status;			/* of segmentctl */
	const char *says[6];		/* parts of what is foretold and done */
	void (*after)(struct day *day);
};

static bool
is_root(void)
{
	return geteuid() == 0;
}

/* What is to be seen when a reload is done. */

static void
await_new_ones(struct day *day)
{
	suite_ready(&day->office.conn, "extra");
	suite_ready(&day->office.conn, "spare");
}

static void
expect_no_extra(struct day *day)
{
	int r = harness_find(&day->office.conn, "extra", &(struct protocol_segment){ 0 });

	harness_assert(r == -ENOENT, "'extra' is there: %d", r);
}

static void
refuse_leave(struct day *day)
{
	crew_expect(&day->crew, "leave", false, -ESHUTDOWN);
}

static void
admit_leave(struct day *day)
{
	crew_expect(&day->crew, "leave", false, 0);
}

static void
refuse_guests(struct day *day)
{
	if (is_root())
		crew_expect(&day->crew, "desk", true, -ENOENT);
}

static void
admit_guests(struct day *day)
{
	crew_expect(&day->crew, "desk", true, 0);
}

static void
await_256_kib(struct day *day)
{
	crew_tell(&day->crew, "grow", "size 262144", "sized");
}

static void
await_1_mib(struct day *day)
{
	crew_tell(&day->crew, "grow", "size 1048576", "sized");
}

static void
await_spare(struct day *day)
{
	suite_ready(&day->office.conn, "spare");
}

/* Those who hold it go, and it is another; then they come to that. */
static void
renew_held(struct day *day)
{
	struct protocol_segment was, is;

	harness_assert(harness_find(&day->office.conn, "held", &was) == 0, "'held' is not there");
	crew_tell(&day->crew, "held", "leave", "left");
	do
		harness_assert(harness_find(&day->office.conn, "held", &is) == 0, "'held' is not there");
	while (is.generation == was.generation);
	suite_ready(&day->office.conn, "held");
	crew_tell(&day->crew, "held", "come", "came");
}

static void
set_pieces(struct day *day)
{
	char name[32], text[256];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "file %d.conf", i);
		(void)snprintf(text, sizeof(text), "segments = ( { name = \"piece-%d\"; " SMALL "} );\n", i);
		office_set(&day->office, name, text);
	}
}

static void
await_pieces(struct day *day)
{
	char name[16];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "piece-%d", i);
		suite_ready(&day->office.conn, name);
	}
}

/* Of the ten files none was taken in. */
static void
expect_old_pieces(struct day *day)
{
	struct protocol_segment row;

	await_pieces(day);
	harness_assert(harness_find(&day->office.conn, "piece-3", &row) == 0 && row.mode == 0600, "'piece-3' has changed");
	harness_assert(harness_find(&day->office.conn, "new", &row) == -ENOENT, "'new' is there");
}

/* Nobody creates from it; those who have go on. */
static void
expect_no_scratch(struct day *day)
{
	int fd = -1, r = harness_create(&day->office.conn, "scratch-c", 4096, NULL, &fd);

	harness_assert(r < 0, "'scratch-c' could be created");
}

static void
expect_scratch(struct day *day)
{
	struct protocol_attached attached;
	int fd = -1, r = harness_create(&day->office.conn, "scratch-c", 4096, &attached, &fd);

	harness_assert(r == 0, "'scratch-c' could not be created: %s", strerror(-r));
	(void)close(fd);
	harness_assert(harness_remove(&day->office.conn, "scratch-c", 0) == 0, "it cannot be removed");
	harness_await_gone(&day->office.conn, "scratch-c");
}

static void
await_no_leave(struct day *day)
{
	crew_expect(&day->crew, "leave", false, -ESHUTDOWN);
	crew_look(&day->crew);
	crew_tell(&day->crew, "leave", "leave", "left");
	harness_await_gone(&day->office.conn, "leave");
}

static void
come_to_leave(struct day *day)
{
	suite_ready(&day->office.conn, "leave");
	crew_tell(&day->crew, "leave", "come", "came");
	crew_expect(&day->crew, "leave", false, 0);
}

/* The administrators' group is that of the guests: one of them asks for a plan. */
struct question {
	const char *socket;
	int expected;
};

static void
ask_as_guest(int control, void *arg)
{
	const struct question *question = arg;
	struct protocol_plan plan = { 0 };
	struct harness_reply reply;
	struct harness_conn conn;
	int r;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, question->socket);
	r = harness_ask(&conn, PROTOCOL_PLAN, &plan.header, sizeof(plan), &reply);
	harness_assert(r == question->expected, "a guest's plan came to %d, and not %d", r, question->expected);
	harness_close(&conn);
	(void)control;
}

static void
ask_as_guest_for(struct day *day, int expected)
{
	struct question question = { .socket = day->office.daemon.socket, .expected = expected };
	struct harness_child child = HARNESS_CHILD_NULL;

	if (!is_root() || !day->group[0])
		return;
	harness_child_start(&child, ask_as_guest, &question);
	harness_child_await_success(&child);
}

static void
set_group(struct day *day)
{
	char keys[256];

	ask_as_guest_for(day, -EPERM);
	(void)snprintf(keys, sizeof(keys), "workers = 3; admin_group = \"%s\";", day->group);
	office_set(&day->office, "daemon", keys);
}

static void
expect_guest_may_plan(struct day *day)
{
	ask_as_guest_for(day, 0);
}

static void
expect_guest_may_not_plan(struct day *day)
{
	ask_as_guest_for(day, -EPERM);
}

static const struct step steps[] = {
	{ "nothing changed", .says = { "8 kept\n" } },
	{ "added", .sets = { { "extra", SMALL }, { "spare", SMALL } },
	  .says = { "added extra: size \"64KiB\", backend \"memfd\"\n", "added spare: ", "\n2 added, 8 kept\n" },
	  .after = await_new_ones },
	{ "removed, nobody holds it", .sets = { { "extra", NULL } },
	  .says = { "removed extra: nobody holds it, its contents go\n", "\n9 kept, 1 removed\n" }, .after = expect_no_extra },
	{ "removed, and held", .sets = { { "leave", NULL } },
	  .says = { "removed leave: nobody attaches it any more; it stays until 4 attachments end: pid " }, .after = refuse_leave },
	{ "its removal taken back", .sets = { { "leave", SMALL } }, .says = { "kept leave: its removal is taken back\n" },
	  .after = admit_leave },
	{ "who may attach", .sets = { { "ledger", LEDGER("64KiB") "mode = \"0660\"; " },
	    { "grow", GROW("64KiB") "allow = ( { user = \"65534\"; access = \"r\"; } ); " } },
	  .says = { "changed ledger: mode \"0600\" -> \"0660\"", "changed grow: allow: user " } },
	{ "access taken away", .sets = { { "desk", SMALL "mode = \"0660\"; " } },
	  .says = { "changed desk: mode \"0666\" -> \"0660\"; access that is taken away ends new attachments, not mappings: " },
	  .after = refuse_guests },
	{ "and given to another owner and group",
	  .sets = { { "desk", SMALL "mode = \"0666\"; owner = \"65534\"; group = \"65534\"; " } },
	  .says = { "changed desk: owner ", "group ", "mode \"0660\" -> \"0666\"" }, .after = admit_guests },
	{ "keys that act at once", .sets = { { "board", SMALL "dump = false; " }, { "held", SMALL "scrub = true; " },
	    { "leave", SMALL "lifetime = \"attached\"; linger = \"2s\"; " }, { "spare", SMALL "required = false; " } },
	  .says = { "changed board: dump true -> false", "changed held: scrub false -> true", "linger \"0s\" -> \"2s\"",
	    "changed spare: required true -> false", "\n5 kept, 4 changed\n" } },
	{ "grown", .sets = { { "grow", GROW("256KiB") } },
	  .says = { "changed grow: allow: user ", "grown grow: size \"64KiB\" -> \"256KiB\", in place\n" },
	  .after = await_256_kib },
	{ "grown to its max_size", .sets = { { "grow", GROW("1MiB") } },
	  .says = { "grown grow: size \"256KiB\" -> \"1MiB\", in place\n", "\n8 kept, 1 grown\n" }, .after = await_1_mib },
	{ "laid out anew, nobody holds it", .sets = { { "spare", SMALL "layout = \"spare/2\"; " } },
	  .says = { "replaced spare: layout none -> \"spare/2\"", "nobody holds it: it is made anew" }, .after = await_spare },
	{ "laid out anew, and held", .sets = { { "held", SMALL "layout = \"held/2\"; " } },
	  .says = { "changed held: scrub true -> false\n", "waits held: layout none -> \"held/2\", until 5 attachments end: pid " } },
	{ "and that taken back", .sets = { { "held", SMALL } },
	  .says = { "kept held: the change that it waited for is taken back\n" } },
	{ "and wanted after all", .sets = { { "held", SMALL "layout = \"held/3\"; " } },
	  .says = { "waits held: layout none -> \"held/3\", until 5 attachments end: pid " }, .after = renew_held },
	{ "what never changes", .status = 1,
	  .sets = { { "ledger", LEDGER("32KiB") }, { "grow", "size = \"2MiB\"; page_size = \"base\"; mlock = false; " },
	    { "board", SMALL "max_size = \"128KiB\"; dump = false; " }, { "daemon", "state_dir = \"/nonexistent\"; " } },
	  .says = { "refused daemon: state_dir ", "refused ledger: size \"64KiB\" -> \"32KiB\"", "refused board: max_size ",
	    "since size is raised up to 1MiB at most, the max_size that the segment was made with", "\n6 kept, 4 refused\n" } },
	{ "ten more files", .before = set_pieces, .sets = { { "ledger", LEDGER("64KiB") }, { "grow", GROW("1MiB") }, { "board", SMALL "dump = false; " },
	    { "daemon", "" } },
	  .says = { "changed ledger: mode \"0660\" -> \"0600\"", "10 added, " }, .after = await_pieces },
	{ "a bad file among ten", .status = 1, .sets = { { "file 3.conf", PIECE("piece-3", "mode = \"0666\"; ") },
	    { "file 5.conf", "segments = ( { name = \"piece-5\"; " SMALL "bogus = 1; } );\n" }, { "new", SMALL }, { "desk", NULL } },
	  .says = { "/segments.d/5.conf:1", "bogus", "1 problem in the configuration: nothing is changed\n" },
	  .after = expect_old_pieces },
	{ "and mended, one changed, one gone", .sets = { { "file 5.conf", PIECE("piece-5", "") }, { "file 7.conf", NULL },
	    { "desk", SMALL "mode = \"0666\"; owner = \"65534\"; group = \"65534\"; " }, { "new", NULL } },
	  .says = { "changed piece-3: mode \"0600\" -> \"0666\"", "removed piece-7: nobody holds it", "1 changed, 1 removed\n" } },
	{ "limits and workers", .sets = { { "daemon", "workers = 3; memory_reserve = \"256MiB\"; limits = { clients = 300; "
	    "attachments = 900; bytes = \"64MiB\"; }; " } },
	  .says = { "changed daemon: workers 0 -> 3", "memory_reserve ", "limits.clients 4096 -> 300", "limits.attachments ",
	    "limits.bytes " } },
	{ "templates", .sets = { { "template scratch-", NULL }, { "template paper-%U-", TEMPLATE "max_count = 7; " },
	    { "template slate-", TEMPLATE } },
	  .says = { "removed template scratch-: nobody creates from it any more; what was created from it stays as it is, and "
	    "counts: 2\n", "changed template paper-%U-: max_count ", "added template slate-: " },
	  .after = expect_no_scratch },
	{ "another group of administrators", .before = set_group, .says = { "changed daemon: ", "limits.clients 300 -> 4096" },
	  .after = expect_guest_may_plan },
	{ "much at once", .sets = { { "leave", NULL }, { "extra", SMALL }, { "held", SMALL "layout = \"held/3\"; mode = \"0660\"; " },
	    { "template scratch-", TEMPLATE }, { "file 0.conf", PIECE("piece-0", "layout = \"piece/2\"; ") }, { "daemon", "" } },
	  .says = { "removed leave: nobody attaches it any more; it stays until 4", "added extra: ", "changed held: mode ",
	    "added template scratch-: ", "replaced piece-0: layout ", "workers 3 -> 0" },
	  .after = await_no_leave },
	{ "as in the morning", .sets = { { "leave", SMALL }, { "extra", NULL }, { "template slate-", NULL } },
	  .says = { "added leave: ", "removed extra: ", "removed template slate-: ", "1 added, " }, .after = come_to_leave },
	{ "nothing changed", .before = expect_guest_may_not_plan, .says = { "18 kept\n" }, .after = expect_scratch },
};

static void
open_office(struct day *day)
{
	static const char *const segments[][2] = {
		{ "ledger", LEDGER("64KiB") }, { "grow", GROW("64KiB") }, { "board", SMALL }, { "desk", SMALL "mode = \"0666\"; " },
		{ "held", SMALL }, { "leave", SMALL }, { "template scratch-", TEMPLATE }, { "template paper-%U-", TEMPLATE },
	};
	const struct group *group = getgrgid(HARNESS_NOBODY);

	(void)snprintf(day->group, sizeof(day->group), "%s", group ? group->gr_name : "");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(segments); i++)
		office_set(&day->office, segments[i][0], segments[i][1]);
	office_open(&day->office);
}

static void
start_crew(struct day *day)
{
	struct crew *crew = &day->crew;

	crew->socket = day->office.daemon.socket;
	crew_start(crew, DAY_TELLER, "ledger", 12);
	crew_start(crew, DAY_READER, "ledger", 8);
	crew_start(crew, DAY_LISTENER, "grow", 8);
	crew_start(crew, DAY_EXECUTED, "board", 4);
	crew_start(crew, DAY_EXECUTED_READER, "board", 2);
	crew_start(crew, DAY_PLAIN, "desk", 3);
	crew_start(crew, DAY_GUEST, "desk", 2);
	crew_start(crew, DAY_PLAIN, "held", 5);
	crew_start(crew, DAY_PLAIN, "leave", 4);
	crew_start(crew, DAY_CREATOR, "scratch-a", 1);
	crew_start(crew, DAY_CREATOR, "scratch-b", 1);
	crew_look(crew);
	crew_settle(crew, &day->office.conn);
}

static void
take_step(struct day *day, const struct step *step)
{
	const char *done;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(step->sets) && step->sets[i].name; i++)
		office_set(&day->office, step->sets[i].name, step->sets[i].keys);
	if (step->before)
		step->before(day);
	done = office_reload(&day->office, step->status);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(step->says) && step->says[i]; i++)
		harness_assert(strstr(done, step->says[i]), "%s: there is no '%s' in:\n%s", step->what, step->says[i], done);
	if (step->after)
		step->after(day);
	crew_look(&day->crew);
	crew_settle(&day->crew, &day->office.conn);
}

START_TEST(nobody_is_disturbed_and_all_is_foretold)
{
	static struct day day;
	uint64_t began_ns = clock_monotonic_ns(), n_rounds;

	open_office(&day);
	start_crew(&day);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(steps); i++)
		take_step(&day, &steps[i]);
	n_rounds = crew_end(&day.crew);
	(void)printf("%u clients were at work in %ju rounds, all verified; %u reloads were as foretold, %u of them by SIGHUP, in %ju ms\n",
	    day.crew.n_members, (uintmax_t)n_rounds, day.office.n_reloads, day.office.n_hangups,
	    (uintmax_t)((clock_monotonic_ns() - began_ns) / NS_PER_MS));
	office_close(&day.office);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("day");
	TCase *tcase = tcase_create("day");

	if (argc == 3 && streq(argv[1], DAY_PROGRAM))
		return day_client_program(argv + 2);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, nobody_is_disturbed_and_all_is_foretold);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
