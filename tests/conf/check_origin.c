/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a configuration was read from: whatever has changed of it since is seen. */
#include "config.h"

#include <limits.h>
#include <sys/stat.h>

#include "conf/origin.h"
#include "tests/conf/suite.h"

static char directory[] = "/tmp/check_origin.XXXXXX";

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void
teardown(void)
{
	static const char *const names[] = { "link", "file" };
	char path[PATH_MAX];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(directory);
}

static const char *
path_of(const char *name)
{
	static char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void
point_link(const char *to)
{
	(void)unlink(path_of("link"));
	ck_assert_int_eq(symlink(to, path_of("link")), 0);
}

/* Two files that nobody has changed for long, and the link to one of them. */
START_TEST(another_file_is_seen)
{
	struct origin origin = ORIGIN_NULL;

	point_link("/proc/self/exe");
	origin_note_reader(&origin);
	origin_note_path(&origin, path_of("link"));
	ck_assert(origin_holds(origin.text));
	point_link("/dev/null");
	ck_assert(!origin_holds(origin.text));
	ck_assert_int_eq(unlink(path_of("link")), 0);
	ck_assert(!origin_holds(origin.text));
	point_link("/proc/self/exe");
	ck_assert(origin_holds(origin.text));
	origin_deinit(&origin);
}
END_TEST

START_TEST(what_comes_is_seen)
{
	struct origin origin = ORIGIN_NULL;

	origin_note_reader(&origin);
	origin_note_path(&origin, path_of("link"));
	ck_assert(!origin.is_vague || strstr(origin.text, "none /etc/"));
	ck_assert(origin_holds(origin.text));
	point_link("/dev/null");
	ck_assert(!origin_holds(origin.text));
	origin_deinit(&origin);
}
END_TEST

START_TEST(another_reader_is_seen)
{
	struct origin origin = ORIGIN_NULL;

	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/a", 1), 0);
	origin_note_reader(&origin);
	ck_assert(origin_holds(origin.text));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/b", 1), 0);
	ck_assert(!origin_holds(origin.text));
	ck_assert_int_eq(unsetenv("XDG_RUNTIME_DIR"), 0);
	ck_assert(!origin_holds(origin.text));
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/a", 1), 0);
	ck_assert(origin_holds(origin.text));
	origin_deinit(&origin);
}
END_TEST

START_TEST(what_was_changed_just_now_is_vague)
{
	struct origin origin = ORIGIN_NULL;
	FILE *f = fopen(path_of("file"), "we");
	struct stat st;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(stat(path_of("file"), &st), 0);
	/* As long as it takes to get here: so it is as if it changed in a moment. */
	st.st_ctim.tv_sec += 3600;
	origin_note(&origin, path_of("file"), &st);
	ck_assert(origin.is_vague);
	origin_deinit(&origin);
	/* Whole seconds are all that some file systems know. */
	st.st_mtim = st.st_ctim = (struct timespec){ .tv_sec = time(NULL) - 1 };
	origin_note(&origin, path_of("file"), &st);
	ck_assert(origin.is_vague);
	origin_deinit(&origin);
	st.st_mtim = st.st_ctim = (struct timespec){ .tv_sec = time(NULL) - 3600 };
	origin_note(&origin, path_of("file"), &st);
	ck_assert(!origin.is_vague);
	origin_deinit(&origin);
}
END_TEST

START_TEST(names_with_a_line_end_are_vague)
{
	struct origin origin = ORIGIN_NULL;

	origin_note(&origin, "a\nb", NULL);
	ck_assert(origin.is_vague);
	origin_deinit(&origin);
}
END_TEST

START_TEST(other_texts_are_no_origin)
{
	static const char *const texts[] = { "", "\n", "reader\n", "none\n", "none /dev/null\n", "x", "reader 0 0\n" };
	struct origin origin = ORIGIN_NULL;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(texts); i++)
		ck_assert_msg(!origin_holds(texts[i]), "'%s'", texts[i]);
	/* Without who read it nothing follows, whatever the files are. */
	origin_note_path(&origin, "/dev/null");
	ck_assert(!origin_holds(origin.text));
	origin_deinit(&origin);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/origin");
	TCase *tcase = tcase_create("origin");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, another_file_is_seen);
	tcase_add_test(tcase, what_comes_is_seen);
	tcase_add_test(tcase, another_reader_is_seen);
	tcase_add_test(tcase, what_was_changed_just_now_is_vague);
	tcase_add_test(tcase, names_with_a_line_end_are_vague);
	tcase_add_test(tcase, other_texts_are_no_origin);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
