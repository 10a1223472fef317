/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every row that keeps a record promises of objects whose maker has died: the object is known again, with what is in it, by
 * all that the kernel says of it; and what differs in any of that is another one, and is not touched.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/worker/link.h"
#include "tests/daemon/conform.h"

#define GENERATION	77

static struct {
	struct record record;
	struct record_entry entries[2];
	size_t n;
	char text[512];
} left;

static int
on_row(const struct record_entry *entry, void *arg)
{
	ck_assert_uint_lt(left.n, BASE_ARRAY_SIZE(left.entries));
	left.entries[left.n++] = *entry;
	return 0;
}

static void
on_tell(const char *text, void *arg)
{
	ck_abort_msg("the record: %s", text);
}

static void
open_record(void)
{
	int r = record_open(&left.record, conform.dir, on_row, on_tell, NULL, left.text, sizeof(left.text));

	ck_assert_msg(r == 0, "%s", left.text);
}

/* What was opened of /proc/self before a fork is the parent's. */
static void
own_procfd(void)
{
	char parents[32], name[32], path[64];
	int own = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(parents, sizeof(parents), "/proc/%ld/fd", (long)getppid());
	for (int fd = 3; fd < own; fd++) {
		ssize_t n;

		(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		if (streq(path, parents))
			ck_assert_int_eq(dup3(own, fd, O_CLOEXEC), fd);
	}
}

/* What a worker would do, in this process: its loop is the parent's. */
static void
run_errand(void)
{
	struct backend_errand errand;
	struct job_result result = { 0 };
	int fd = -1;

	if (!conform.row->errand || !conform.row->errand(&conform.object, BACKEND_STAGE_OPEN, &errand))
		return;
	ck_assert_int_eq(errand.job.kind, JOB_LINK);
	ck_assert_int_eq(link_make(errand.fds[0], errand.fds[1], &errand.job, &result, &fd), 0);
	ck_assert_int_eq(conform.row->errand_done(&conform.object, &result, &fd, conform.text, sizeof(conform.text)), 0);
}

/* In a process that dies then: it makes one, with a byte in it, and lets others have it. */
static void
make_and_die(void)
{
	const struct backend_birth birth = { .record = &left.record, .generation = GENERATION };
	char *map;

	own_procfd();
	open_record();
	ck_assert_int_eq(conform.row->create(conform.definition, &birth, &conform.object, conform.text, sizeof(conform.text)), 0);
	run_errand();
	map = conform_map();
	map[12345] = 6;
	ck_assert_int_eq(conform.row->admit(&conform.object, conform.definition, conform.text, sizeof(conform.text)), 0);
	_exit(0);
}

/* False: the row has no record. Otherwise there is what a dead process left, and its entry. */
static bool
begin(int row)
{
	int status;
	pid_t pid;

	if (!conform_begin(row, DEFINITION_PAGE_AUTO))
		return false;
	/* What workers open has its own tests: tests/system/check_leftfile.c. */
	if (!conform.row->prove || conform.row->features & BACKEND_DURABLE) {
		(void)printf("SKIP: %s: what it makes has no name, or is opened by workers\n", conform.row->name);
		conform_end();
		return false;
	}
	pid = fork();
	if (pid == 0)
		make_and_die();
	ck_assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	open_record();
	ck_assert_uint_eq(left.n, 1);
	return true;
}

static int
prove(const struct record_row *row)
{
	struct record_entry entry = left.entries[0];

	entry.row = *row;
	return conform.row->prove(&entry, &conform.object, conform.text, sizeof(conform.text));
}

/* It is proved as it is, and goes with its row. */
static void
end(void)
{
	const struct record_row *row = &left.entries[0].row;
	char *map;

	ck_assert_int_eq(prove(row), 0);
	map = conform_map();
	ck_assert_int_eq(map[12345], 6);
	conform_unmap(map);
	backend_object_close(conform.row, &conform.object);
	ck_assert_uint_eq(left.record.n_taken, 0);
	ck_assert_int_eq(prove(row), BACKEND_E_GONE);
	record_close(&left.record);
	conform_end();
}

START_TEST(what_a_dead_process_made_is_known_again)
{
	const struct record_row *row = &left.entries[0].row;

	if (!begin(_i))
		return;
	ck_assert_uint_eq(row->generation, GENERATION);
	ck_assert_uint_eq(row->state, RECORD_READY);
	ck_assert_str_eq(row->segment, conform.definition->name);
	ck_assert_ptr_eq(backend_of_row(row), conform.row);
	ck_assert_int_eq(prove(row), 0);
	ck_assert(conform.object.has_contents);
	ck_assert_uint_eq(conform.object.map_bytes, CONFORM_SIZE);
	ck_assert_ptr_nonnull(conform.object.entry);
	if (conform.row->others)
		ck_assert_uint_eq(conform.row->others(&conform.object, 0), 0);
	/* Closed for its end, that is in the record before anything is done to it. */
	ck_assert_int_eq(conform.row->admit(&conform.object, NULL, conform.text, sizeof(conform.text)), 0);
	ck_assert_uint_eq(conform.object.entry->row.state, RECORD_MADE);
	if (conform.row->leave) {
		conform.row->leave(&conform.object);
	} else {
		/* As a death does it. */
		conform.row->close(&conform.object);
		close_fd(&conform.object.fd);
	}
	end();
}
END_TEST

/* What the kernel says of it differs from the row in one thing. */
static const struct {
	const char *what;
	size_t at;
	size_t length;
} identities[] = {
	{ "device", offsetof(struct record_row, device), 8 }, { "inode", offsetof(struct record_row, inode), 8 },
	{ "birth", offsetof(struct record_row, born_ns), 8 }, { "key", offsetof(struct record_row, key), 4 },
	{ "maker", offsetof(struct record_row, maker_pid), 4 }, { "size", offsetof(struct record_row, map_bytes), 8 },
	{ "namespace", offsetof(struct record_row, ipc_namespace), 8 },
};

START_TEST(what_differs_in_anything_is_another)
{
	struct record_row zeros = { .sum = 0 }, row;
	bool is_file;

	if (!begin(_i))
		return;
	is_file = left.entries[0].row.inode != 0;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(identities); i++) {
		char *field = (char *)&row + identities[i].at;

		row = left.entries[0].row;
		/* What is not of this kind; and of a file size and maker are nobody's proof. */
		if (memcmp(field, (char *)&zeros + identities[i].at, identities[i].length) == 0 || (is_file && i >= 4))
			continue;
		field[0] ^= 1;
		ck_assert_msg(prove(&row) == BACKEND_E_OTHER, "%s: %s", conform.row->name, identities[i].what);
	}
	end();
}
END_TEST

/* Killed before the kernel's number was in the row. */
START_TEST(an_intent_is_proved_by_who_made_it_and_when)
{
	struct record_row row;

	if (!begin(_i))
		return;
	row = left.entries[0].row;
	if (row.shm_id >= 0) {
		row.state = RECORD_INTENT;
		row.shm_id = -1;
		ck_assert_int_eq(prove(&row), 0);
		ck_assert_int_eq(conform.object.entry->row.shm_id, left.entries[0].row.shm_id);
		conform.row->close(&conform.object);
		close_fd(&conform.object.fd);
		/* It was there before it was meant to be. */
		row.made_ns += 3600 * NS_PER_SEC;
		ck_assert_int_eq(prove(&row), BACKEND_E_OTHER);
		/* Nothing came of it. */
		row.key ^= 0x01000000;
		ck_assert_int_eq(prove(&row), BACKEND_E_GONE);
	}
	end();
}
END_TEST

START_TEST(a_row_leads_nowhere_else)
{
	static const char *const objects[] = { "", "/", "x", "/.", "/..", "/../../etc/passwd", "/a/b", "//etc" };
	struct record_row row;

	if (!begin(_i))
		return;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(objects) && left.entries[0].row.inode; i++) {
		row = left.entries[0].row;
		(void)snprintf(row.object, sizeof(row.object), "%s", objects[i]);
		ck_assert_msg(prove(&row) == BACKEND_E_OTHER, "%s", objects[i]);
	}
	row = left.entries[0].row;
	(void)snprintf(row.backend, sizeof(row.backend), "tape");
	ck_assert_ptr_null(backend_of_row(&row));
	end();
}
END_TEST

/* Where nothing can be entered nothing is made. */
START_TEST(what_cannot_be_entered_is_not_made)
{
	struct backend_birth birth = { .record = &left.record };
	struct conform_trace before;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	if (conform.row->prove) {
		left.record = (struct record) RECORD_NULL;
		left.record.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
		ck_assert_int_ge(left.record.fd, 0);
		conform_trace(&before);
		ck_assert_int_lt(conform.row->create(conform.definition, &birth, &conform.object, conform.text,
		    sizeof(conform.text)), 0);
		ck_assert_ptr_nonnull(strstr(conform.text, "cannot be entered in the record in state_dir: "));
		conform_expect_trace(&before, "after a refusal");
		close_fd(&left.record.fd);
		free(left.record.taken);
	}
	conform_end();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("conformdeaths");
	TCase *tcase = tcase_create("conformdeaths");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, what_a_dead_process_made_is_known_again, 0, CONFORM_ROWS);
	tcase_add_loop_test(tcase, what_differs_in_anything_is_another, 0, CONFORM_ROWS);
	tcase_add_loop_test(tcase, an_intent_is_proved_by_who_made_it_and_when, 0, CONFORM_ROWS);
	tcase_add_loop_test(tcase, a_row_leads_nowhere_else, 0, CONFORM_ROWS);
	tcase_add_loop_test(tcase, what_cannot_be_entered_is_not_made, 0, CONFORM_ROWS);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	return conform_main(argc, argv, make_suite);
}
