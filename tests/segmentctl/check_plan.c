/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* plan and reload of the real daemon: what the one foretells is word for word what the other says that it did. */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/harness.h"
#include "tests/segmentctl/run.h"

#define SMALL	"size = \"64KiB\"; prefault = false; mlock = false; "
#define SEGMENT(name, keys)	"{ name = \"" name "\"; " SMALL keys "}"
#define TEMPLATE(name, keys)	"{ name = \"" name "\"; prefault = false; mlock = false; lifetime = \"persistent\"; " keys "}"

static const char before[] =
    "segments = ( " SEGMENT("kept", "") ", " SEGMENT("gone", "") ", " SEGMENT("held", "") ", "
	SEGMENT("live", "mode = \"0666\"; ") ", " SEGMENT("drained", "mode = \"0666\"; ") ", " SEGMENT("free", "") ", "
	SEGMENT("never", "") ", { name = \"failed\"; size = \"10TiB\"; required = false; mlock = false; } );\n"
    "templates = ( " TEMPLATE("same-", "max_size = \"1MiB\"; ") ", " TEMPLATE("other-", "max_size = \"1MiB\"; ") ", "
	TEMPLATE("old-", "max_size = \"1MiB\"; ") " );\n";

static const char after[] =
    "segments = ( " SEGMENT("kept", "") ", " SEGMENT("live", "mode = \"0640\"; scrub = true; ") ", "
	SEGMENT("drained", "mode = \"0600\"; layout = \"drained/2\"; ") ", " SEGMENT("free", "layout = \"free/2\"; ") ", "
	SEGMENT("never", "max_size = \"1MiB\"; mode = \"0666\"; ") ", " SEGMENT("new", "") ", "
	"{ name = \"failed\"; " SMALL "required = false; }, " SEGMENT("old-1", "") " );\n"
    "templates = ( " TEMPLATE("same-", "max_size = \"1MiB\"; ") ", " TEMPLATE("other-", "max_size = \"2MiB\"; ") ", "
	TEMPLATE("fresh-%U-", "max_size = \"1MiB\"; ") " );\n";

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;
static struct harness_conn client;
static int fds[8];
static unsigned n_fds;

/* Of the daemon, with `after`. */
#define KEYS	"\tlimits = { clients = 100; };\n\tworkers = 3;"

#define RUN(...) run_segmentctl("--socket", daemon_.socket, __VA_ARGS__, NULL)

static void
hold(const char *name)
{
	ck_assert_int_eq(harness_attach(&client, name, PROTOCOL_ACCESS_READ, NULL, &fds[n_fds]), 0);
	n_fds++;
}

static void
start(void)
{
	harness_daemon_start(&daemon_, "", before);
	harness_open(&client, daemon_.socket);
	hold("held");
	hold("live");
	hold("drained");
	ck_assert_int_eq(harness_create(&client, "old-1", 4096, NULL, &fds[n_fds]), 0);
	n_fds++;
}

static void
let_go(void)
{
	while (n_fds)
		(void)close(fds[--n_fds]);
}

static void
stop(void)
{
	let_go();
	harness_close(&client);
	harness_daemon_stop(&daemon_);
}

/* Each line of it stands in the daemon's log. */
static void
assert_logged(char *lines)
{
	const char *log = harness_daemon_log(&daemon_);
	char *save = NULL, expected[4096];

	for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *rest = strchr(line, ' ');
		bool is_sum = line[0] >= '0' && line[0] <= '9';

		ck_assert_ptr_nonnull(rest);
		*rest++ = '\0';
		rest += strspn(rest, " ");
		(void)snprintf(expected, sizeof(expected), is_sum ? ": %s %s\n" : "reload: %s %s\n", line, rest);
		assert_has(log, expected);
	}
}

/* The configuration as a file of somebody's own, with the segments in its segments.d and in what that includes. */
static void
write_elsewhere(char *path, size_t size, const char *keys, const char *body)
{
	struct harness_daemon elsewhere = daemon_;
	const char *templates = strstr(body, "templates");
	char dir[128], name[192];
	FILE *f;

	(void)snprintf(dir, sizeof(dir), "%s/elsewhere", daemon_.dir);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	(void)snprintf(elsewhere.config, sizeof(elsewhere.config), "%s/elsewhere/a.conf", daemon_.dir);
	harness_daemon_configure(&elsewhere, keys, templates);
	(void)snprintf(path, size, "%s", elsewhere.config);
	(void)snprintf(name, sizeof(name), "%s/segments.d", dir);
	ck_assert_int_eq(mkdir(name, 0755), 0);
	(void)snprintf(name, sizeof(name), "%s/segments.d/all.conf", dir);
	f = fopen(name, "we");
	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "@include \"%s/segments.inc\"\n", dir);
	ck_assert_int_eq(fclose(f), 0);
	(void)snprintf(name, sizeof(name), "%s/segments.inc", dir);
	f = fopen(name, "we");
	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "%.*s", (int)(templates - body), body);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(plan_foretells_reload_word_for_word)
{
	char elsewhere[160], *planned;
	const struct run *run;

	harness_daemon_configure(&daemon_, KEYS, after);
	run = RUN("plan");
	ck_assert_str_eq(run->err, "");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);	/* something is refused */
	planned = strdup(run->out);
	ck_assert_ptr_nonnull(planned);
	assert_has(planned, "changed   daemon: workers 0 -> 3, limits.clients 4096 -> 100\n");
	assert_has(planned, "removed   gone: nobody holds it");
	assert_has(planned, "removed   held: nobody attaches it any more; it stays until 1 attachment ends: pid ");
	assert_has(planned, "changed   live: mode \"0666\" -> \"0640\", scrub false -> true; access that is taken away");
	assert_has(planned, "changed   drained: mode \"0666\" -> \"0600\"; access");
	assert_has(planned, "waits     drained: layout none -> \"drained/2\", until 1 attachment ends: pid ");
	assert_has(planned, "replaced  free: layout none -> \"free/2\"; nobody holds it");
	assert_has(planned, "replaced  failed: size \"10TiB\" -> \"64KiB\"");
	assert_has(planned, "refused   never: max_size \"64KiB\" -> \"1MiB\", mode \"0600\" -> \"0666\": nothing of this is done, "
	    "since max_size never changes while the segment is there; it stays whole");
	assert_has(planned, "`segmentctl remove never`, then `segmentctl reload`; or add a segment under another name\n");
	assert_has(planned, "refused   old-1: a client has created a segment of this name");
	assert_has(planned, "removed   template old-: nobody creates from it any more; what was created from it stays as it is, "
	    "and counts: 1\n");
	assert_has(planned, "changed   template other-: max_size \"1MiB\" -> \"2MiB\"\n");
	assert_has(planned, "added     template fresh-%U-: ");
	assert_has(planned, "added     new: ");
	assert_has(planned, "\n2 added, 2 kept, 4 changed, 2 replaced, 1 waits, 3 removed, 2 refused\n");

	/* A second time, and of files that the daemon cannot read: nothing has changed. */
	ck_assert_str_eq(RUN("plan")->out, planned);
	harness_daemon_configure(&daemon_, "", before);
	ck_assert_str_eq(RUN("plan")->out, "kept      failed: it has failed, and is not tried again: `segmentctl retry failed`\n"
	    "11 kept\n");
	write_elsewhere(elsewhere, sizeof(elsewhere), KEYS, after);
	run = RUN("plan", elsewhere);
	ck_assert_str_eq(run->err, "");
	ck_assert_str_eq(run->out, planned);

	harness_daemon_configure(&daemon_, KEYS, after);
	run = RUN("reload");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_str_eq(run->out, planned);
	assert_logged(planned);
	free(planned);

	/* What is done is done, and what waits or is refused is said again. */
	run = RUN("plan");
	assert_has(run->out, "waits     drained");
	assert_has(run->out, "removed   held: it is being removed already");
	assert_has(run->out, "\n8 kept, 1 waits, 1 removed, 2 refused\n");
	run = RUN("show", "drained");
	assert_has(run->out, "it stays until 1 attachment ends: pid ");
	assert_has(run->out, "; then it is made anew, layout none -> \"drained/2\"");
	let_go();
	harness_await_gone(&client, "held");
}
END_TEST

START_TEST(what_waits_is_made_anew_when_it_can_be)
{
	struct protocol_segment was, is;
	const struct run *run;

	ck_assert_int_eq(harness_find(&client, "drained", &was), 0);
	harness_daemon_configure(&daemon_, "", after);
	(void)RUN("reload");
	let_go();
	do {
		ck_assert_int_eq(harness_find(&client, "drained", &is), 0);
	} while (is.generation == was.generation);
	ck_assert_int_eq(harness_wait(&client, "drained"), PROTOCOL_READY);
	run = RUN("show", "drained");
	assert_has(run->out, "drained/2");
}
END_TEST

START_TEST(what_is_not_valid_is_told_with_its_place)
{
	char elsewhere[160];
	const struct run *run;
	bool known;

	harness_daemon_configure(&daemon_, "", "segments = ( { name = \"a\"; size = 5; bogus = 1; } );\n");
	run = RUN("plan");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "segmentd.conf:");
	assert_has(run->err, "bogus");
	assert_has(run->err, "nothing is changed");
	ck_assert_str_eq(run->out, "");
	run = RUN("reload");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "bogus");
	run = RUN("--json", "reload");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"valid\": false");
	assert_has(run->out, "\"action\": \"problem\"");

	write_elsewhere(elsewhere, sizeof(elsewhere), "", "segments = ( { name = \"a\"; bogus = 1; } );\ntemplates = ( );\n");
	run = RUN("plan", elsewhere);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "segments.inc:1");
	run = RUN("plan", "/nonexistent/file");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "/nonexistent/file");
	assert_has(run->err, "segmentctl: 1 problem in the configuration: nothing is changed\n");
	ck_assert_str_eq(run->out, "");
	/* As a document it has the shape of all plans. */
	run = RUN("--json", "plan", "/nonexistent/file");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"reload\": false,\n  \"valid\": false,\n  \"lines\": [");
	assert_has(run->out, "\"action\": \"problem\",\n      \"subject\": \"file\",\n      \"name\": null,\n"
	    "      \"text\": \"/nonexistent/file: ");
	assert_has(run->out, "\"problem\": 1,");
}
END_TEST

START_TEST(json_has_the_same_lines)
{
	const struct run *run;
	bool known;

	harness_daemon_configure(&daemon_, "", after);
	run = RUN("--json", "plan");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"action\": \"waits\"");
	assert_has(run->out, "\"waiting\": 1");
	assert_has(run->out, "\"refused\": 2");
}
END_TEST

START_TEST(a_failed_segment_is_tried_again)
{
	const struct run *run = RUN("retry", "failed");

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out, "'failed' is being provisioned again: `segmentctl wait failed` says when it is ready, or why it "
	    "failed\n");
	ck_assert_int_eq(harness_wait(&client, "failed"), PROTOCOL_FAILED);
	run = RUN("retry", "kept");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "has not failed: it is ready");
	ck_assert_int_eq(RUN("retry", "none")->status, SEGMENTCTL_NO_SEGMENT);
}
END_TEST

static void
ask_as_nobody(int control, void *arg)
{
	static const char *const commands[] = { "plan", "reload", "retry" };
	static const char *const deeds[] = { "may plan or reload: ", "may plan or reload: ", "may retry what failed: " };

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(commands); i++) {
		const struct run *run = run_segmentctl("--socket", arg, commands[i], i == 2 ? "kept" : NULL, NULL);

		harness_assert(run->status == SEGMENTCTL_NOT_PERMITTED && strstr(run->err, deeds[i]), "%s: %d %s", commands[i],
		    run->status, run->err);
	}
}

START_TEST(only_administrators_plan)
{
	struct harness_child child;

	harness_need_root();
	harness_child_start(&child, ask_as_nobody, daemon_.socket);
	harness_child_await_success(&child);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("plan");
	TCase *tcase = tcase_create("plan");

	tcase_add_checked_fixture(tcase, start, stop);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, plan_foretells_reload_word_for_word);
	tcase_add_test(tcase, what_waits_is_made_anew_when_it_can_be);
	tcase_add_test(tcase, what_is_not_valid_is_told_with_its_place);
	tcase_add_test(tcase, json_has_the_same_lines);
	tcase_add_test(tcase, a_failed_segment_is_tried_again);
	tcase_add_test(tcase, only_administrators_plan);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
