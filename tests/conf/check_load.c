/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Files: what is read, in which order, what cannot be read, and that problems name the file that they are in. */
#include "config.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/conf/suite.h"

static char top[] = "/tmp/check_load.XXXXXX";
static char main_path[64];

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
write_bytes(const char *name, const char *bytes, size_t length)
{
	FILE *file = fopen(path_of(name), "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
	ck_assert_int_eq(fclose(file), 0);
}

static void
write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(mkdir(path_of("segments.d"), 0755), 0);
	(void)snprintf(main_path, sizeof(main_path), "%s/segmentd.conf", top);
}

static void
teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf -- '%s'", top);
	ck_assert_int_eq(system(command), 0);	/* one of mkdtemp's names */
}

/* Loads the main file, and expects it to be refused for one reason, in this file. */
static void
expect_refused(const char *name, unsigned line, const char *words)
{
	const struct conf_problem *problem;
	struct run run;

	run_file(&run, main_path);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	problem = run_find(&run, line, NULL, words);
	ck_assert_msg(problem != NULL, "expected '%s', got:\n%s", words, run_problems(&run));
	ck_assert_str_eq(problem->file, path_of(name));
	ck_assert_uint_eq(problem->line, line);
	ck_assert_msg(run.report.n_problems == 1, "%s", run_problems(&run));
	run_done(&run);
}

START_TEST(empty_file_is_all_defaults)
{
	struct run run;

	write_text("segmentd.conf", "");
	run_file(&run, main_path);
	ck_assert_msg(run.result == 0, "%s", run_problems(&run));
	ck_assert_uint_eq(run.conf->n_segments, 0);
	ck_assert_uint_eq(run.conf->daemon.socket_mode, 0666);
	ck_assert_str_eq(run.conf->daemon.admin_group, "segmentd");
	ck_assert_str_eq(run.conf->daemon.audit_socket, "/run/segmentd-audit.sock");
	ck_assert_uint_eq(run.conf->daemon.workers, 0);
	ck_assert_uint_eq(run.conf->daemon.memory_reserve_bytes, 512 * MIB);
	ck_assert_uint_eq(run.conf->daemon.limits.clients, 4096);
	ck_assert_uint_eq(run.conf->daemon.limits.attachments, 1024);
	ck_assert_uint_eq(run.conf->daemon.limits.subscriptions, 2048);
	ck_assert_uint_eq(run.conf->daemon.limits.bytes, GIB);
	run_done(&run);
}
END_TEST

START_TEST(files_are_read_in_order_of_their_names)
{
	struct run run;

	write_text("segmentd.conf", "segments = ( { name = \"main\"; size = \"4KiB\"; } );");
	write_text("segments.d/20-b.conf", "segments = ( { name = \"b\"; size = \"4KiB\"; } );");
	write_text("segments.d/10-a.conf", "segments = ( { name = \"a\"; size = \"4KiB\"; } );");
	write_text("segments.d/.hidden.conf", "rubbish");
	write_text("segments.d/README", "rubbish");
	write_text("segments.d/30.conf~", "rubbish");
	run_file(&run, main_path);
	ck_assert_msg(run.result == 0, "%s", run_problems(&run));
	ck_assert_uint_eq(run.conf->n_segments, 3);
	ck_assert_str_eq(run.conf->segments[0]->name, "main");
	ck_assert_str_eq(run.conf->segments[1]->name, "a");
	ck_assert_str_eq(run.conf->segments[2]->name, "b");
	ck_assert_str_eq(run.conf->segments[2]->file, path_of("segments.d/20-b.conf"));
	ck_assert_uint_eq(run.conf->segments[2]->line, 1);
	run_done(&run);
}
END_TEST

START_TEST(missing_segments_d_is_none)
{
	struct run run;

	write_text("segmentd.conf", "");
	ck_assert_int_eq(rmdir(path_of("segments.d")), 0);
	run_file(&run, main_path);
	ck_assert_int_eq(run.result, 0);
	run_done(&run);
}
END_TEST

START_TEST(missing_main_file_is_refused)
{
	expect_refused("segmentd.conf", 0, "No such file or directory");
}
END_TEST

START_TEST(directory_is_refused)
{
	ck_assert_int_eq(mkdir(main_path, 0755), 0);
	expect_refused("segmentd.conf", 0, "is a directory; expected a regular file");
}
END_TEST

START_TEST(fifo_is_refused_and_does_not_block)
{
	ck_assert_int_eq(mkfifo(main_path, 0600), 0);
	expect_refused("segmentd.conf", 0, "is a FIFO");
}
END_TEST

START_TEST(endless_device_is_refused)
{
	ck_assert_int_eq(symlink("/dev/zero", main_path), 0);
	expect_refused("segmentd.conf", 0, "is a device");
}
END_TEST

START_TEST(dev_null_is_an_empty_file)
{
	struct run run;

	ck_assert_int_eq(symlink("/dev/null", main_path), 0);
	run_file(&run, main_path);
	ck_assert_msg(run.result == 0, "%s", run_problems(&run));
	run_done(&run);
}
END_TEST

START_TEST(symlink_loop_is_refused)
{
	write_text("segmentd.conf", "");
	ck_assert_int_eq(symlink("a.conf", path_of("segments.d/a.conf")), 0);
	expect_refused("segments.d/a.conf", 0, "Too many levels of symbolic links");
}
END_TEST

START_TEST(dangling_symlink_is_refused)
{
	write_text("segmentd.conf", "");
	ck_assert_int_eq(symlink("/nonexistent/x", path_of("segments.d/a.conf")), 0);
	expect_refused("segments.d/a.conf", 0, "is a link to nothing");
}
END_TEST

START_TEST(huge_file_is_refused_unread)
{
	int fd = open(main_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)TIB), 0);
	(void)close(fd);
	expect_refused("segmentd.conf", 0, "1099511627776 bytes; a configuration file has at most 16777216");
}
END_TEST

START_TEST(binary_file_is_refused_at_its_line)
{
	write_bytes("segmentd.conf", "# a\n# b\0c\n", 10);
	expect_refused("segmentd.conf", 2, "holds a byte 0");
}
END_TEST

START_TEST(byte_order_mark_and_dos_lines_are_taken)
{
	struct run run;

	write_text("segmentd.conf", "\xef\xbb\xbfsegments = (\r\n { name = \"a\"; size = \"4KiB\"; }\r\n);\r\n");
	run_file(&run, main_path);
	ck_assert_msg(run.result == 0, "%s", run_problems(&run));
	ck_assert_uint_eq(run.conf->segments[0]->line, 2);
	run_done(&run);
}
END_TEST

START_TEST(last_line_need_not_end)
{
	static const char *const texts[] = { "# a", "// a", "daemon = { };", "daemon = { }; // a", "/* a */" };
	struct run run;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(texts); i++) {
		expect_good(&run, texts[i]);
		run_done(&run);
	}
}
END_TEST

START_TEST(unreadable_file_is_refused)
{
	int status;
	pid_t pid;

	write_text("segmentd.conf", "");
	ck_assert_int_eq(chmod(main_path, 0), 0);
	ck_assert_int_eq(chmod(top, 0755), 0);
	pid = fork();
	if (pid == 0) {
		struct run run;

		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(2);
		run_file(&run, main_path);
		_exit(run.result == CONF_E_INVALID && run_find(&run, 0, NULL, "Permission denied") ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* As root alone both sides can be seen: an ordinary user's own places, and what was written over them. */
START_TEST(ordinary_user_has_own_places)
{
	int status;
	pid_t pid;

	write_text("segmentd.conf", "");
	ck_assert_int_eq(chmod(top, 0755), 0);
	pid = fork();
	if (pid == 0) {
		struct run run;

		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(2);
		(void)unsetenv("RUNTIME_DIRECTORY");
		(void)setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
		run_file(&run, main_path);
		if (run.result != 0 || !streq(run.conf->daemon.socket, "/run/user/7/segmentd/segmentd.sock") ||
		    !streq(run.conf->daemon.state_dir, "/run/user/7/segmentd"))
			_exit(1);
		run_done(&run);
		/* A service has what its manager made, and of two none is it. */
		(void)setenv("RUNTIME_DIRECTORY", "/run/segmentd", 1);
		run_file(&run, main_path);
		if (run.result != 0 || !streq(run.conf->daemon.socket, "/run/segmentd/segmentd.sock") ||
		    !streq(run.conf->daemon.state_dir, "/run/segmentd"))
			_exit(4);
		run_done(&run);
		(void)setenv("RUNTIME_DIRECTORY", "/run/segmentd:/run/other", 1);
		(void)setenv("XDG_RUNTIME_DIR", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
		run_file(&run, main_path);
		if (run.result != CONF_E_INVALID || !run_find(&run, 0, NULL, "expected 107 at most"))
			_exit(3);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(all_errors_of_all_files_are_reported_at_once)
{
	struct run run;

	write_text("segmentd.conf", "daemon = {\n workers = -1;\n sokcet = \"/a\";\n};\n"
	    "segments = (\n { name = \"a\"; size = 0; },\n { name = \"dup\"; size = 1; } );\n");
	write_text("segments.d/a.conf", "daemon = { };\nsegments = (\n { name = \"dup\"; size = 1; } );\n");
	write_text("segments.d/b.conf", "segments = (\n");
	write_text("segments.d/c.conf", "segments = ( { name = \"c\"; size = \"1\"; mode = \"0620\"; } );");
	ck_assert_int_eq(mkdir(path_of("segments.d/d.conf"), 0755), 0);
	run_file(&run, main_path);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_msg(run.report.n_problems == 8, "%s", run_problems(&run));
	ck_assert_ptr_nonnull(run_find(&run, 2, "daemon.workers", "out of range"));
	ck_assert_ptr_nonnull(run_find(&run, 3, "daemon.sokcet", "did you mean"));
	ck_assert_ptr_nonnull(run_find(&run, 6, "segments[0].size", "out of range"));
	ck_assert_ptr_nonnull(run_find(&run, 1, "daemon", "segmentd.conf:1 already; expected one daemon group"));
	ck_assert_ptr_nonnull(run_find(&run, 3, NULL, "segmentd.conf:7 already"));
	ck_assert_str_eq(run_find(&run, 3, NULL, "\"dup\" is defined in")->file, path_of("segments.d/a.conf"));
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "syntax error"));
	ck_assert_ptr_nonnull(run_find(&run, 1, "segments[0].mode", "lets group write"));
	ck_assert_ptr_nonnull(run_find(&run, 0, NULL, "is a directory"));
	run_done(&run);
}
END_TEST

START_TEST(included_files_keep_their_names_and_lines)
{
	struct run run;

	write_text("segmentd.conf", "# one\nsegments = (\n  @include \"sub.inc\"\n"
	    "  , { name = \"c\"; size = 1;\n mode = \"0620\"; } );\n");
	write_text("sub.inc", "{ name = \"a\"; size = 1; },\n{ name = \"b\"; size = 0; }");
	run_file(&run, main_path);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_msg(run.report.n_problems == 2, "%s", run_problems(&run));
	ck_assert_str_eq(run_find(&run, 2, "segments[1].size", "range")->file, path_of("sub.inc"));
	ck_assert_str_eq(run_find(&run, 5, "segments[2].mode", "group")->file, main_path);
	run_done(&run);
}
END_TEST

START_TEST(file_that_includes_itself_is_refused)
{
	write_text("segmentd.conf", "\n@include \"segmentd.conf\"\n");
	expect_refused("segmentd.conf", 2, "more than 10 deep; does one include itself?");
}
END_TEST

START_TEST(missing_and_malformed_includes_are_refused)
{
	write_text("segmentd.conf", "# x\n@include \"none.inc\"\n");
	expect_refused("segmentd.conf", 2, "none.inc\" cannot be read: No such file");
	write_text("segmentd.conf", "# x\n@include none\n");
	expect_refused("segmentd.conf", 2, "expected @include \"FILE\"");
	write_text("segmentd.conf", "# x\n@include \"segments.d\"\n");
	expect_refused("segmentd.conf", 2, "is a directory");
}
END_TEST

START_TEST(texts_name_each_other_in_problems)
{
	struct conf_text texts[2] = {
		{ "a.conf", "segments = ( { name = \"a\"; size = 1; } );", 41 },
		{ "b.conf", "segments = ( { name = \"a\"; size = 1; } );", 41 },
	};
	struct conf_report report = CONF_REPORT_NULL;
	struct conf *conf = NULL;

	ck_assert_int_eq(conf_load_texts(texts, 2, &report, &conf), CONF_E_INVALID);
	ck_assert_ptr_null(conf);
	ck_assert_uint_eq(report.n_problems, 1);
	ck_assert_str_eq(report.problems[0].file, "b.conf");
	ck_assert_ptr_nonnull(strstr(report.problems[0].text, "a.conf:1"));
	conf_report_deinit(&report);
	ck_assert_int_eq(conf_load_texts(texts, 1, &report, &conf), 0);
	ck_assert_uint_eq(conf->n_segments, 1);
	conf_free(conf);
	conf_report_deinit(&report);
}
END_TEST

START_TEST(rubbish_is_bounded_in_what_it_costs)
{
	size_t size = (size_t)4 << 20, n = 0;
	char *text = malloc(size + 64);
	struct run run;

	ck_assert_ptr_nonnull(text);
	n += (size_t)sprintf(text, "segments = ( ");
	while (n < size)
		n += (size_t)sprintf(text + n, "{ },");
	(void)sprintf(text + n, "{ } );");
	run_text(&run, text);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_uint_le(run.report.n_problems, CONF_REPORT_MAX);
	run_done(&run);

	n = 0;	/* as many entries as are taken, and three problems each */
	n += (size_t)sprintf(text, "segments = ( ");
	for (int i = 0; i < 65535; i++)
		n += (size_t)sprintf(text + n, "{ mode = 1; },");
	(void)sprintf(text + n, "{ } );");
	run_text(&run, text);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_uint_eq(run.report.n_problems, CONF_REPORT_MAX);
	ck_assert_uint_gt(run.report.n_left_out, 100000);
	run_done(&run);

	for (n = 0; n < size; n++)
		text[n] = "([{"[n % 3];
	text[n] = '\0';
	run_text(&run, text);
	ck_assert_ptr_nonnull(run_find(&run, 1, NULL, "nested more than"));
	run_done(&run);

	for (n = 0; n < 2000000;)
		n += (size_t)sprintf(text + n, "k%zu=1;", n);
	run_text(&run, text);
	ck_assert_ptr_nonnull(run_find(&run, 1, NULL, "more than 256 keys"));
	run_done(&run);
	free(text);
}
END_TEST

START_TEST(shipped_configuration_is_good)
{
	struct run run;
	uint64_t total = 0;

	run_file(&run, SHIPPED_CONF);
	ck_assert_msg(run.result == 0, "%s", run_problems(&run));
	ck_assert_uint_ge(run.conf->n_segments, 2);
	ck_assert_uint_eq(run.conf->n_templates, 1);
	for (size_t i = 0; i < run.conf->n_segments; i++) {
		total += run.conf->segments[i]->size_bytes;
		ck_assert_int_eq(run.conf->segments[i]->placement, DEFINITION_PREFER);
	}
	ck_assert_uint_lt(total, 100 * MIB);
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/load");
	TCase *tc = tcase_create("files");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, empty_file_is_all_defaults);
	tcase_add_test(tc, files_are_read_in_order_of_their_names);
	tcase_add_test(tc, missing_segments_d_is_none);
	tcase_add_test(tc, missing_main_file_is_refused);
	tcase_add_test(tc, directory_is_refused);
	tcase_add_test(tc, fifo_is_refused_and_does_not_block);
	tcase_add_test(tc, endless_device_is_refused);
	tcase_add_test(tc, dev_null_is_an_empty_file);
	tcase_add_test(tc, symlink_loop_is_refused);
	tcase_add_test(tc, dangling_symlink_is_refused);
	tcase_add_test(tc, huge_file_is_refused_unread);
	tcase_add_test(tc, binary_file_is_refused_at_its_line);
	tcase_add_test(tc, byte_order_mark_and_dos_lines_are_taken);
	tcase_add_test(tc, last_line_need_not_end);
	tcase_add_test(tc, unreadable_file_is_refused);
	tcase_add_test(tc, ordinary_user_has_own_places);
	tcase_add_test(tc, all_errors_of_all_files_are_reported_at_once);
	tcase_add_test(tc, included_files_keep_their_names_and_lines);
	tcase_add_test(tc, file_that_includes_itself_is_refused);
	tcase_add_test(tc, missing_and_malformed_includes_are_refused);
	tcase_add_test(tc, texts_name_each_other_in_problems);
	tcase_add_test(tc, rubbish_is_bounded_in_what_it_costs);
	tcase_add_test(tc, shipped_configuration_is_good);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
