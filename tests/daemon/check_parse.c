/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration that a worker process reads: what comes back is what was written or what is wrong with it, and a worker
 * that dies, hangs or talks nonsense is a sentence. The workers are this program itself, and one of several kinds.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/base.h"
#include "conf/plan.h"
#include "daemon/parse.h"
#include "tests/suite_run.h"

#define UID		1000
#define KIND_VARIABLE	"CHECK_PARSE_WORKER"
#define SLICE_NS	(NS_PER_MS / 2)

static char top[] = "/tmp/check_parse.XXXXXX";
static struct event_base *base;
static struct workers workers;
static struct parser parser;
static unsigned n_done;

/* Receives one job and its two descriptors. */
static void
take_job(struct job *ret_job, int *ret_fds)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = ret_job, .iov_len = sizeof(*ret_job) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	if (recvmsg(STDIN_FILENO, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret_job))
		_exit(EXIT_SUCCESS);
	memcpy(ret_fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
}

/* A worker that is not one of ours: it ends at end of file, as all do. */
static void __attribute__((noreturn))
rogue_main(const char *kind)
{
	struct job_result result = { 0 };
	struct job job;
	int fds[2];

	take_job(&job, fds);
	if (streq(kind, "dies"))
		raise(SIGKILL);
	if (streq(kind, "hangs"))
		for (;;)
			(void)pause();
	if (streq(kind, "garbage"))
		(void)!write(fds[0], "rubbish that is longer than a header has bytes, and then some", 60);
	if (streq(kind, "large"))	/* longer than anything may be, without a page in it */
		(void)!ftruncate(fds[0], (off_t)1 << 40);
	result.id = job.id;
	if (streq(kind, "cuts")) {	/* a good one, of which the end goes while it is read */
		struct conf_report report = CONF_REPORT_NULL;
		struct conf *conf;
		struct stat st;

		(void)conf_new_default(&conf);
		(void)pack_write(fds[0], 0, conf, &report);
		(void)!fstat(fds[0], &st);
		(void)!ftruncate(fds[0], st.st_size - 1);
	}
	if (streq(kind, "status"))
		result.status = -EIO;
	memset(result.text, 'x', sizeof(result.text));	/* without an end */
	(void)send(STDIN_FILENO, &result, sizeof(result), MSG_NOSIGNAL);
	for (;;)
		take_job(&job, fds);
}

static const char *
path_of(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
	return path;
}

static void
write_text(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(mkdir(path_of("segments.d"), 0755), 0);
	write_text("segmentd.conf", "segments = ( { name = \"main\"; size = \"4KiB\"; } );\n");
	base = event_base_new();
	workers_init(&workers, base, 2);
	parser_init(&parser, &workers);
	n_done = 0;
}

static void
teardown(void)
{
	char command[128];

	workers_deinit(&workers);
	parser_deinit(&parser);
	event_base_free(base);
	libevent_global_shutdown();
	(void)snprintf(command, sizeof(command), "rm -rf -- '%s'", top);
	ck_assert_int_eq(system(command), 0);	/* one of mkdtemp's names */
}

static void
on_done(struct parse *parse, void *arg)
{
	*(struct parse **)arg = parse;
	n_done++;
}

/* Runs the loop until there was one more. */
static void
wait_done(void)
{
	unsigned before = n_done;

	while (n_done == before)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

static struct parse *
parse_path(const char *path)
{
	struct parse *parse, *done = NULL;

	ck_assert_int_eq(parse_start(&parser, path, on_done, &done, &parse), 0);
	ck_assert_uint_eq(n_done, 0);	/* never before it has returned */
	wait_done();
	ck_assert_ptr_eq(done, parse);
	n_done = 0;
	return parse;
}

/* What a parse comes to, in words: names of segments and templates, or its problems, or its failure. */
static const char *
outcome_of(struct parse *parse)
{
	static char text[16384];
	struct pack_item item;
	size_t n = 0;
	int r;

	text[0] = '\0';
	for (;;) {
		r = parse_next(parse, &item);
		if (r || item.kind == PACK_END)
			break;
		if (item.kind == PACK_PROBLEM) {
			n += (size_t)conf_problem_format(&item.problem, text + n, sizeof(text) - n);
			n += (size_t)snprintf(text + n, sizeof(text) - n, "\n");
		} else if (item.definition) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s (%s)\n",
			    item.definition->is_template ? "template" : "segment", item.definition->name,
			    strrchr(item.definition->file, '/') ? strrchr(item.definition->file, '/') + 1 : item.definition->file);
		}
		pack_item_deinit(&item);
		ck_assert_uint_lt(n, sizeof(text) - 1024);
	}
	ck_assert_int_ge(r, 0);
	if (r > 0)
		(void)snprintf(text + n, sizeof(text) - n, "failed: %s\n", parse->text);
	return text;
}

static void
expect_outcome(const char *path, const char *expected)
{
	struct parse *parse = parse_path(path);
	const char *found = outcome_of(parse);

	ck_assert_msg(streq(found, expected), "found:\n%s\nexpected:\n%s", found, expected);
	(void)parse_free(parse);
}

START_TEST(own_files_are_read_in_order)
{
	write_text("segments.d/20-b.conf", "@include \"../more.inc\"\ntemplates = ( { name = \"t-\"; max_size = 1; } );\n");
	write_text("segments.d/10-a.conf", "segments = ( { name = \"a\"; size = \"4KiB\"; } );\n");
	write_text("more.inc", "segments = ( { name = \"included\"; size = 1; } );\n");
	expect_outcome(path_of("segmentd.conf"), "segment main (segmentd.conf)\nsegment a (10-a.conf)\n"
	    "segment included (more.inc)\ntemplate t- (20-b.conf)\n");
}
END_TEST

START_TEST(one_bad_file_among_ten)
{
	char name[64], text[256], expected[512];

	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "segments.d/%u.conf", i);
		(void)snprintf(text, sizeof(text), "\nsegments = ( { name = \"s%u\"; size = %s; } );\n", i, i == 6 ? "0" : "1");
		write_text(name, text);
	}
	(void)snprintf(expected, sizeof(expected), "%s:2: segments[0].size: 0B is out of range; expected 1B to 4194304TiB\n",
	    path_of("segments.d/6.conf"));
	expect_outcome(path_of("segmentd.conf"), expected);
}
END_TEST

/* What is there, and is no file, is a problem and does not block; what is gone is gone. */
START_TEST(strange_files_do_not_block)
{
	char expected[1024];

	ck_assert_int_eq(mkfifo(path_of("segments.d/1-fifo.conf"), 0600), 0);
	ck_assert_int_eq(mkdir(path_of("segments.d/2-directory.conf"), 0755), 0);
	ck_assert_int_eq(symlink("nowhere", path_of("segments.d/3-dangling.conf")), 0);
	ck_assert_int_eq(symlink("/dev/zero", path_of("segments.d/4-endless.conf")), 0);
	(void)snprintf(expected, sizeof(expected), "%s/segments.d/1-fifo.conf: is a FIFO; expected a regular file\n"
	    "%s/segments.d/2-directory.conf: is a directory; expected a regular file\n"
	    "%s/segments.d/3-dangling.conf: is a link to nothing; remove it, or restore what it named\n"
	    "%s/segments.d/4-endless.conf: is a device; expected a regular file\n", top, top, top, top);
	expect_outcome(path_of("segmentd.conf"), expected);
}
END_TEST

START_TEST(main_file_that_is_gone_is_a_problem)
{
	char expected[256];

	ck_assert_int_eq(unlink(path_of("segmentd.conf")), 0);
	(void)snprintf(expected, sizeof(expected), "%s: cannot be read: No such file or directory; expected a configuration file\n",
	    path_of("segmentd.conf"));
	expect_outcome(path_of("segmentd.conf"), expected);
}
END_TEST

static void
upload_put_text(struct parse_upload *upload, const char *name, const char *text, size_t piece)
{
	size_t length = strlen(text);

	ck_assert_int_eq(parse_upload_begin(upload, name, strlen(name)), 0);
	for (size_t at = 0; at < length; at += piece)
		ck_assert_int_eq(parse_upload_append(upload, text + at, min_u64(piece, length - at)), 0);
}

static struct parse *
parse_uploaded(const struct parse_upload *upload)
{
	struct parse *parse, *done = NULL;

	ck_assert_int_eq(parse_start_upload(&parser, upload, on_done, &done, &parse), 0);
	wait_done();
	ck_assert_ptr_eq(done, parse);
	return parse;
}

START_TEST(uploaded_texts_are_read)
{
	struct parse_upload upload = PARSE_UPLOAD_NULL;
	struct parse *parse;

	for (unsigned piece = 1; piece < 1000; piece *= 7) {
		upload_put_text(&upload, "/there/main.conf", "segments = ( { name = \"a\"; size = 1; } );", piece);
		upload_put_text(&upload, "/there/empty.conf", "", piece);
		upload_put_text(&upload, "/there/b.conf", "templates = ( { name = \"t\"; max_size = 1; } );", piece);
		for (unsigned i = 0; i < 2; i++) {	/* as often as anybody likes */
			parse = parse_uploaded(&upload);
			ck_assert_str_eq(outcome_of(parse), "segment a (main.conf)\ntemplate t (b.conf)\n");
			(void)parse_free(parse);
		}
		parse_upload_deinit(&upload, &parser);
		ck_assert_int_eq(upload.fd, -1);
	}
	upload_put_text(&upload, "x.conf", "@include \"/etc/passwd\"\n", 700);
	parse = parse_uploaded(&upload);
	ck_assert_str_eq(outcome_of(parse), "x.conf:1: @include is not taken in a configuration that is sent; put the contents "
	    "in its place\n");
	(void)parse_free(parse);
	parse_upload_deinit(&upload, &parser);
	parse = parse_uploaded(&upload);		/* none was sent: all defaults */
	ck_assert_str_eq(outcome_of(parse), "");
	ck_assert_int_eq(parse->reader.summary.result, 0);
	(void)parse_free(parse);
}
END_TEST

START_TEST(uploads_are_charged)
{
	static char bytes[64 * 1024];
	const struct conf_limits limits = { .clients = 1 };
	struct parse_upload upload = PARSE_UPLOAD_NULL, second = PARSE_UPLOAD_NULL;
	struct accounts accounts;
	uint64_t length;
	int r;

	accounts_init(&accounts, &limits);
	ck_assert_int_eq(accounts_charge_again(&accounts, UID, ACCOUNTS_MEMORY, 0, &upload.charge), 0);
	ck_assert_int_eq(accounts_charge_again(&accounts, UID, ACCOUNTS_MEMORY, 0, &second.charge), 0);
	ck_assert_int_eq(parse_upload_begin(&upload, "a.conf", 6), 0);
	ck_assert_int_eq(parse_upload_begin(&second, "a.conf", 6), 0);
	while ((r = parse_upload_append(&upload, bytes, sizeof(bytes))) == 0)
		ck_assert_uint_eq(upload.charge.amount, upload.length_bytes);
	ck_assert_int_eq(r, PARSE_E_TOO_LARGE);
	/* All that one may be is beyond the limit of a uid twice. What was refused has not been kept. */
	while ((r = parse_upload_append(&second, bytes, sizeof(bytes))) == 0)
		length = second.length_bytes;
	ck_assert_int_eq(r, PARSE_E_LIMIT);
	ck_assert_uint_eq(second.length_bytes, length);
	ck_assert_uint_eq(second.charge.amount, length);
	parse_upload_deinit(&upload, &parser);
	ck_assert_int_eq(parse_upload_append(&second, bytes, sizeof(bytes)), 0);
	parse_upload_deinit(&second, &parser);
	ck_assert_uint_eq(accounts_used(&accounts, UID, ACCOUNTS_MEMORY), 0);
	accounts_deinit(&accounts);
}
END_TEST

START_TEST(uploads_are_bounded)
{
	static char bytes[64 * 1024], name[PARSE_NAME_MAX + 1];
	struct parse_upload upload = PARSE_UPLOAD_NULL;
	struct parse *parse;
	uint64_t total = 0;

	ck_assert_int_eq(parse_upload_append(&upload, "x", 1), PARSE_E_INVALID);	/* of no text */
	ck_assert_int_eq(parse_upload_begin(&upload, "", 0), PARSE_E_INVALID);
	ck_assert_int_eq(parse_upload_begin(&upload, "a\nb", 3), PARSE_E_INVALID);
	memset(name, 'n', sizeof(name));
	ck_assert_int_eq(parse_upload_begin(&upload, name, sizeof(name)), PARSE_E_TOO_LARGE);
	ck_assert_int_eq(upload.fd, -1);
	ck_assert_int_eq(parse_upload_begin(&upload, name, PARSE_NAME_MAX), 0);
	memset(bytes, '\n', sizeof(bytes));
	for (;;) {
		int r = parse_upload_append(&upload, bytes, sizeof(bytes));

		if (r) {
			ck_assert_int_eq(r, PARSE_E_TOO_LARGE);
			break;
		}
		total += sizeof(bytes);
	}
	ck_assert_uint_eq(total, CONF_FILE_MAX_BYTES);
	parse = parse_uploaded(&upload);	/* and as much as that is read */
	ck_assert_str_eq(outcome_of(parse), "");
	ck_assert(!parse->has_failed);
	(void)parse_free(parse);
	parse_upload_deinit(&upload, &parser);
	/* many names are bounded, too, and so are many bytes that come one by one */
	for (unsigned n = 0;; n++) {
		int r = parse_upload_begin(&upload, name, PARSE_NAME_MAX);

		if (r) {
			ck_assert_int_eq(r, PARSE_E_TOO_LARGE);
			ck_assert_uint_gt(n, 1000);
			break;
		}
	}
	ck_assert_uint_le(upload.length_bytes, 2 * (uint64_t)CONF_FILE_MAX_BYTES);
	parse_upload_deinit(&upload, &parser);
}
END_TEST

#ifdef WITH_SANITIZERS
#define N_MANY	6500u			/* all is ten times slower */
#else
#define N_MANY	65000u
#endif

/* 10 MiB of text: the loop is never held up. */
START_TEST(ten_mib_are_read_in_slices)
{
	uint64_t begun = clock_monotonic_ns(), took, spent = 0, worst = 0, slice = 0, worst_slice = 0;
	struct parse_upload upload = PARSE_UPLOAD_NULL;
	unsigned n = 0, n_slices = 1;
	struct pack_item item;
	struct parse *parse;
	char text[256];
	int length;

	ck_assert_int_eq(parse_upload_begin(&upload, "large.conf", 10), 0);
	ck_assert_int_eq(parse_upload_append(&upload, "segments = (\n", 13), 0);
	for (unsigned i = 0; i < N_MANY; i++) {
		length = snprintf(text, sizeof(text), "%s { name = \"segment-number-%u\"; size = \"4KiB\"; mode = \"0640\"; "
		    "layout = \"a-layout/%u\"; allow = ( { user = \"%u\"; access = \"r\"; } ); # a remark of forty bytes......\n }\n",
		    i ? "," : "", i, i, i);
		ck_assert_int_eq(parse_upload_append(&upload, text, (size_t)length), 0);
	}
	ck_assert_int_eq(parse_upload_append(&upload, ");\n", 3), 0);
	ck_assert_uint_ge(upload.text_bytes, N_MANY * (10 * MIB) / 65000);
	took = clock_monotonic_ns() - begun;
	(void)printf("%.1f MiB: taken in %.0f ms", (double)upload.text_bytes / (double)MIB, (double)took / 1e6);
	begun = clock_monotonic_ns();
	parse = parse_uploaded(&upload);
	ck_assert_msg(!parse->has_failed, "%s", parse->text);
	(void)printf(", read by a worker in %.0f ms", (double)(clock_monotonic_ns() - begun) / 1e6);
	begun = clock_monotonic_ns();
	do {
		ck_assert_int_eq(parse_next(parse, &item), 0);
		n += item.kind == PACK_SEGMENT;
		took = item.kind == PACK_END;
		pack_item_deinit(&item);
		if (took)
			break;
		took = clock_monotonic_ns() - begun;
		begun += took;
		spent += took;
		slice += took;
		worst = max_u64(worst, took);
		worst_slice = max_u64(worst_slice, slice);
		if (slice >= SLICE_NS) {
			slice = 0;
			n_slices++;
		}
	} while (true);
	ck_assert_uint_eq(n, N_MANY);
	begun = clock_monotonic_ns();
	(void)parse_free(parse);
	parse_upload_deinit(&upload, &parser);
	took = clock_monotonic_ns() - begun;
	(void)printf(", %u definitions unpacked in %.0f ms of %u slices, the longest %.2f ms, one definition %.2f us and %.0f at most; "
	    "given back in %.2f ms\n", n, (double)spent / 1e6, n_slices, (double)worst_slice / 1e6,
	    (double)spent / n / 1e3, (double)worst / 1e3, (double)took / 1e6);
	while (LIST_FIRST(&parser.releases))
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}
END_TEST

/* All of it, a turn at a time. */
static int
collect(struct parse *parse, struct conf **ret_conf, unsigned *ret_n)
{
	int r;

	*ret_n = 0;
	do {
		r = parse_collect(parse, 0, ret_conf);	/* one item each */
		(*ret_n)++;
	} while (r == PARSE_E_MORE);
	return r;
}

START_TEST(items_are_put_together)
{
	struct conf *conf = NULL, *loaded = NULL;
	struct conf_report report = CONF_REPORT_NULL;
	struct parse *parse;
	unsigned n;

	write_text("segments.d/a.conf", "daemon = { workers = 3; };\nsegments = ( { name = \"a\"; size = 1; }, { name = \"b\"; size = 1; } );\n"
	    "templates = ( { name = \"t\"; max_size = 1; } );\n");
	parse = parse_path(path_of("segmentd.conf"));
	ck_assert_int_eq(collect(parse, &conf, &n), 0);
	ck_assert_uint_eq(n, 6);
	(void)parse_free(parse);
	ck_assert_int_eq(conf_load(path_of("segmentd.conf"), &report, &loaded), 0);
	ck_assert_uint_eq(conf->n_segments, loaded->n_segments);
	for (size_t i = 0; i < conf->n_segments; i++) {
		ck_assert(plan_equal(conf->segments[i], loaded->segments[i]));
		ck_assert_str_eq(conf->segments[i]->file, loaded->segments[i]->file);
		ck_assert_uint_eq(conf->segments[i]->line, loaded->segments[i]->line);
	}
	ck_assert_uint_eq(conf->n_templates, 1);
	ck_assert(plan_equal(conf->templates[0], loaded->templates[0]));
	ck_assert_int_eq(plan_compare_daemon(&conf->daemon, &loaded->daemon, NULL, NULL, &n), 0);
	ck_assert_uint_eq(n, 0);
	conf_free(conf);
	conf_free(loaded);
	write_text("segments.d/b.conf", "segments = 1;\nx = 2;\n");
	parse = parse_path(path_of("segmentd.conf"));
	ck_assert_int_eq(collect(parse, &conf, &n), PARSE_E_REFUSED);
	ck_assert_uint_eq(parse->report.n_problems, 2);
	ck_assert_uint_eq(parse->report.problems[1].line, 2);
	(void)parse_free(parse);
	parse = parse_path(path_of("segmentd.conf"));
	ck_assert_int_eq(parse_collect(parse, 0, &conf), PARSE_E_MORE);
	(void)parse_free(parse);	/* in the middle of it */
	ck_assert_int_eq(setenv(KIND_VARIABLE, "dies", 1), 0);
	while (workers.n)		/* no honest one is left */
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	parse = parse_path(path_of("segmentd.conf"));
	ck_assert_int_eq(collect(parse, &conf, &n), PARSE_E_FAILED);
	(void)parse_free(parse);
	ck_assert_int_eq(unsetenv(KIND_VARIABLE), 0);
}
END_TEST

static void
expect_failure(const char *kind, const char *words)
{
	struct parse *parse;
	const char *found;

	ck_assert_int_eq(setenv(KIND_VARIABLE, kind, 1), 0);
	parse = parse_path(path_of("segmentd.conf"));
	found = outcome_of(parse);
	ck_assert_msg(strncmp(found, "failed: ", 8) == 0 && strstr(found, words), "%s: '%s', expected '%s'", kind, found, words);
	(void)parse_free(parse);
	ck_assert_int_eq(unsetenv(KIND_VARIABLE), 0);
}

START_TEST(worker_that_dies_is_a_sentence)
{
	expect_failure("dies", "was killed by signal 9 (Killed)");
}
END_TEST

START_TEST(worker_that_hangs_is_a_sentence)
{
	parser.patience_seconds = 1;
	expect_failure("hangs", "did not come to an end within 1 seconds and was killed");
}
END_TEST

START_TEST(worker_that_says_nothing_is_a_sentence)
{
	expect_failure("nothing", "answered with no configuration: the file ends before what is in it does");
}
END_TEST

START_TEST(worker_that_talks_nonsense_is_a_sentence)
{
	expect_failure("garbage", "answered with no configuration: the file is no packed configuration");
}
END_TEST

START_TEST(worker_that_never_ends_is_a_sentence)
{
	expect_failure("large", "answered with no configuration: the file has 1099511627776 bytes; expected 134217728 at most");
}
END_TEST

START_TEST(worker_that_cuts_its_answer_is_a_sentence)
{
	expect_failure("cuts", "answered with no configuration: the file ends before what is in it does");
}
END_TEST

START_TEST(worker_that_gives_up_is_a_sentence)
{
	expect_failure("status", "xxxx");
}
END_TEST

static unsigned
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* Nobody waits any more: queued, or at work, or with workers that are ended at the daemon's end. */
START_TEST(given_up_parses_leave_nothing)
{
	struct parse *parse[5], *done = NULL, *last;
	unsigned n_fds = count_fds();

	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(parse_start(&parser, path_of("segmentd.conf"), on_done, &done, &parse[i]), 0);
	ck_assert_ptr_null(parse_free(parse[0]));	/* queued */
	ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	for (unsigned i = 1; i < 5; i++)		/* some at work */
		ck_assert_ptr_null(parse_free(parse[i]));
	ck_assert_int_eq(parse_start(&parser, path_of("segmentd.conf"), on_done, &done, &last), 0);
	while (LIST_NEXT(LIST_FIRST(&parser.parses), entry) || !n_done)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert_uint_eq(n_done, 1);
	ck_assert_ptr_eq(done, last);
	(void)parse_free(last);
	while (workers.n)	/* idle ones go by themselves */
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	ck_assert_int_eq(parse_start(&parser, path_of("segmentd.conf"), on_done, &done, &last), 0);
}
END_TEST

int
main(int argc, char **argv)
{
	const char *kind = getenv(KIND_VARIABLE);
	Suite *suite;
	TCase *tcase;

	if (argc > 0 && streq(argv[0], JOB_ARGV0)) {
		if (kind)
			rogue_main(kind);
		return worker_main();
	}
	suite = suite_create("parse");
	tcase = tcase_create("parse");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, own_files_are_read_in_order);
	tcase_add_test(tcase, one_bad_file_among_ten);
	tcase_add_test(tcase, strange_files_do_not_block);
	tcase_add_test(tcase, main_file_that_is_gone_is_a_problem);
	tcase_add_test(tcase, uploaded_texts_are_read);
	tcase_add_test(tcase, uploads_are_charged);
	tcase_add_test(tcase, uploads_are_bounded);
	tcase_add_test(tcase, ten_mib_are_read_in_slices);
	tcase_add_test(tcase, items_are_put_together);
	tcase_add_test(tcase, worker_that_dies_is_a_sentence);
	tcase_add_test(tcase, worker_that_hangs_is_a_sentence);
	tcase_add_test(tcase, worker_that_says_nothing_is_a_sentence);
	tcase_add_test(tcase, worker_that_talks_nonsense_is_a_sentence);
	tcase_add_test(tcase, worker_that_never_ends_is_a_sentence);
	tcase_add_test(tcase, worker_that_cuts_its_answer_is_a_sentence);
	tcase_add_test(tcase, worker_that_gives_up_is_a_sentence);
	tcase_add_test(tcase, given_up_parses_leave_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
