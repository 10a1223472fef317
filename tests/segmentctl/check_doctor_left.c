/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of what is there already, one by one, against a host of files: objects, keys and files that bear the names
 * of segments; what an earlier daemon's record and marks prove of them, and what a start is foretold to do with them.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "host/mark.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/doctor_direct.h"
#include "tests/segmentctl/doctor_host.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

/* Whether the kernel says of files in the tree who has them. */
static bool
has_leases(void)
{
	char path[512];
	cleanup_close int fd = -1;
	bool has;

	(void)snprintf(path, sizeof(path), "%s/leased", tree_root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	has = fcntl(fd, F_SETLEASE, F_WRLCK) == 0 && fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
	if (!has)
		printf("skipped: the file system of %s gives no leases\n", tree_root);
	return has;
}

/* What the second row is of, an object that was there. */
static const struct doctor_row *
taken_object(void)
{
	direct_run(doctor_check_shm, 2);
	return &direct.rows[1];
}

START_TEST(objects_that_are_there)
{
	char one[] = "/a", path[512];
	const struct doctor_row *row;
	cleanup_close int fd = -1;
	struct stat st;
	void *data;

	direct_define(0, "a", DEFINITION_POSIX, MIB, true);
	direct_definitions[0].object = one;
	tree_put("/dev/shm/a", "123");
	(void)snprintf(path, sizeof(path), "%s/dev/shm/a", tree_root);
	row = taken_object();
	ck_assert(row->level == DOCTOR_REQUIRED);
	assert_has(row->what, "an object /a is there already: 3 B, of ");
	assert_has(row->remedy, "`rm /dev/shm/a`");
	if (has_leases()) {
		assert_has(row->what, "nobody has it open or mapped, as a daemon leaves it that was killed");
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		row = taken_object();
		assert_has(row->what, "somebody has it open or mapped: who has it cannot be told");
		assert_has(row->what, "It may have been left behind by a segmentd that was killed");
		/* A mapping that no descriptor is left of, too. */
		data = mmap(NULL, 3, PROT_READ, MAP_SHARED, fd, 0);
		ck_assert_ptr_ne(data, MAP_FAILED);
		close_fd(&fd);
		assert_has(taken_object()->what, "somebody has it open or mapped");
		ck_assert_int_eq(munmap(data, 3), 0);
		assert_has(taken_object()->what, "nobody has it open or mapped");
		/* What is no file is not opened. */
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		assert_has(taken_object()->what, "is a fifo of uid");
		ck_assert_int_eq(unlink(path), 0);
		tree_put("/dev/shm/a", "123");
	}
	/* Of somebody else it is not said that it is ours, and it is not asked for. */
	direct.limits.uid++;
	row = taken_object();
	direct.limits.uid--;
	assert_has(row->what, "an object /a is there already, and not ours: 3 B, of uid ");
	assert_has(row->what, "; who has it cannot be told");
	assert_lacks(row->what, "left behind");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 3);
}
END_TEST

/* What an earlier daemon left of a record below the root: rows as it would write them. */
static char state_dir[] = "/state";

static void
put_record(const struct record_row *rows, size_t n)
{
	struct record_header header = { .magic = RECORD_MAGIC, .version = RECORD_VERSION, .row_bytes = RECORD_ROW_BYTES,
		.pid = 77, .boot = "this-boot" };
	char path[512];
	int fd;

	tree_put("/proc/sys/kernel/random/boot_id", "this-boot\n");
	tree_make_dir(state_dir);
	(void)snprintf(path, sizeof(path), "%s%s/" RECORD_FILE, tree_root, state_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	header.sum = record_sum(&header);
	ck_assert_int_eq(write(fd, &header, sizeof(header)), (ssize_t)sizeof(header));
	for (size_t i = 0; i < n; i++) {
		struct record_row row = rows[i];

		row.sum = record_sum(&row);
		ck_assert_int_eq(write(fd, &row, sizeof(row)), (ssize_t)sizeof(row));
	}
	(void)close(fd);
}

static struct record_row
row_of(const char *backend, const char *segment, const char *object)
{
	struct record_row row = { .state = RECORD_READY, .maker_pid = 77, .generation = 5, .map_bytes = MIB, .shm_id = -1 };
	char path[512];
	struct stat st;

	(void)snprintf(row.backend, sizeof(row.backend), "%s", backend);
	(void)snprintf(row.segment, sizeof(row.segment), "%s", segment);
	(void)snprintf(row.object, sizeof(row.object), "%s", object);
	if (streq(backend, "posix")) {
		(void)snprintf(path, sizeof(path), "%s/dev/shm%s", tree_root, object);
		ck_assert_int_eq(stat(path, &st), 0);
		row.device = st.st_dev;
		row.inode = st.st_ino;
		ck_assert_int_eq(record_born_ns(AT_FDCWD, path, &row.born_ns), 0);
	}
	return row;
}

/* A run of the checks that are about what is there already. Its row of this number, from 0. */
static const struct doctor_row *
left_row(size_t i)
{
	doctor_drop_rows(&direct);
	doctor_leave_daemon(&direct);
	direct_conf.daemon.state_dir = state_dir;
	doctor_check_record(&direct);
	if (direct_definitions[0].backend == DEFINITION_SYSV)
		doctor_check_sysv(&direct);
	else if (direct_definitions[0].backend == DEFINITION_POSIX)
		doctor_check_shm(&direct);
	ck_assert_uint_gt(direct.n_rows, i);
	return &direct.rows[i];
}

START_TEST(objects_that_the_record_proves)
{
	char one[] = "/a", path[512];
	struct definition_lock lock = { .name = one };
	const struct doctor_row *row;
	struct record_row left;
	cleanup_close int fd = -1;

	direct_define(0, "a", DEFINITION_POSIX, MIB, true);
	direct_definitions[0].object = one;
	tree_put("/dev/shm/a", "123");
	(void)snprintf(path, sizeof(path), "%s/dev/shm/a", tree_root);
	left = row_of("posix", "a", "/a");
	put_record(&left, 1);
	if (!has_leases())
		return;
	row = left_row(0);
	ck_assert(row->level == DOCTOR_NOTE);
	assert_has(row->what, "posix /a, which segmentd 77 left, that was killed, will be taken over by the next start");
	assert_has(row->what, "nobody has it");
	/* What it does not fit is made anew, unless somebody has it. */
	direct_definitions[0].max_size_bytes = 2 * MIB;
	row = left_row(0);
	ck_assert(row->level == DOCTOR_NOTE);
	assert_has(row->what, "will be removed by the next start, and made anew: it has 1 MiB, and max_size is 2 MiB now; nobody has it");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	row = left_row(0);
	ck_assert(row->level == DOCTOR_REQUIRED);
	assert_has(row->what, "will be kept by the next start: it cannot be taken over (it has 1 MiB, and max_size is 2 MiB now), nor "
	    "removed while somebody has it");
	assert_has(row->remedy, "end the programs that have it");
	direct_definitions[0].max_size_bytes = MIB;
	assert_has(left_row(0)->what, "taken over by the next start, with what is in it; somebody has it");
	direct_definitions[0].locks = &lock;
	direct_definitions[0].n_locks = 1;
	assert_has(left_row(0)->what, "its locks ended with that segmentd");
	direct_definitions[0].n_locks = 0;
	close_fd(&fd);
	/* Another object of the name, another boot's record, and a damaged one prove nothing. */
	left.inode++;
	put_record(&left, 1);
	row = left_row(2);
	ck_assert(row->level == DOCTOR_REQUIRED);
	assert_has(row->what, "an object /a is there already");
	left.inode--;
	put_record(&left, 1);
	tree_put("/proc/sys/kernel/random/boot_id", "another\n");
	assert_has(left_row(2)->what, "an object /a is there already");
	tree_put("/state/record", "none of ours");
	(void)snprintf(path, sizeof(path), "%s/state/record", tree_root);
	ck_assert_int_eq(chmod(path, 0600), 0);
	assert_has(left_row(0)->what, "it is none that segmentd writes");
	assert_has(left_row(2)->what, "an object /a is there already");
}
END_TEST

START_TEST(keys_that_the_record_proves)
{
	struct record_row left = row_of("sysv", "a", "0x00007a2f");
	const struct doctor_row *row;

	direct_define(0, "a", DEFINITION_SYSV, MIB, true);
	direct_definitions[0].has_key = true;
	direct_definitions[0].key = left.key = 0x7a2f;
	left.shm_id = 3;
	left.ipc_namespace = sysv_namespace();
	put_record(&left, 1);
	for (unsigned n = 0; n < 2; n++) {
		tree_put("/proc/sysvipc/shm", "heading\n%10d          3   600              1048576    77     0      %u  %u     0     %u     0          0 "
		    "         0          0                     0                     0\n", 0x7a2f, n, (unsigned)geteuid(), (unsigned)geteuid());
		row = left_row(0);
		ck_assert(row->level == DOCTOR_NOTE);
		assert_has(row->what, "will be taken over by the next start");
		assert_has(row->what, n ? "somebody has it" : "nobody has it");
	}
	left.maker_pid++;
	put_record(&left, 1);
	row = left_row(2);
	ck_assert(row->level == DOCTOR_REQUIRED);
	assert_has(row->what, "is taken");
}
END_TEST

/* Whose key nobody knows but the record. */
START_TEST(a_private_one_that_the_record_proves)
{
	static const char table[] = "heading\n%10d          3   600              1048576    77     0      %u  %u     0     %u     0          0 "
	    "         0          0                     0                     0\n";
	struct record_row left = row_of("sysv", "a", RECORD_PRIVATE " a");

	direct_define(0, "a", DEFINITION_SYSV, MIB, true);
	left.key = 0x12345678;
	left.shm_id = 3;
	left.ipc_namespace = sysv_namespace();
	put_record(&left, 1);
	tree_put("/proc/sysvipc/shm", table, 0x12345678, 1u, (unsigned)geteuid(), (unsigned)geteuid());
	assert_has(left_row(0)->what, "sysv (private), which segmentd 77 left, that was killed, will be taken over by the next start");
	/* It is in nobody's way. */
	direct_definitions[0].max_size_bytes = 2 * MIB;
	ck_assert(left_row(0)->level == DOCTOR_NOTE);
	assert_has(left_row(0)->what, "will be left to who has it by the next start, and another one made: it cannot be taken over "
	    "(it has 1 MiB, and max_size is 2 MiB now)");
	/* That of another segment, and one of a template, are nobody's. */
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(left.object, sizeof(left.object), i ? RECORD_PRIVATE : RECORD_PRIVATE " b");
		put_record(&left, 1);
		assert_has(left_row(0)->what, "will be kept by the next start, because somebody has it, and removed when they are gone");
	}
}
END_TEST

START_TEST(what_was_left_and_no_segment_wants)
{
	struct record_row left[2];
	char path[512];
	int fd;

	direct_define(0, "a", DEFINITION_MEMFD, MIB, true);
	put_record(NULL, 0);
	assert_has(left_row(0)->what, "no earlier segmentd has left");
	tree_put("/dev/shm/x", "123");
	left[0] = row_of("posix", "old", "/x");
	/* A row is only a reason to look, and not anywhere. */
	left[1] = left[0];
	(void)strcpy(left[1].object, "/../dev/shm/x");
	put_record(left, 2);
	assert_has(left_row(0)->what, "posix /x, which segmentd 77 left, that was killed, will be removed by the next start");
	ck_assert_uint_eq(direct.n_rows, 1);
	if (has_leases()) {
		(void)snprintf(path, sizeof(path), "%s/dev/shm/x", tree_root);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(fd, 0);
		assert_has(left_row(0)->what, "will be kept by the next start, because somebody has it, and removed when");
		(void)close(fd);
	}
	direct.has_daemon = true;
	assert_has(left_row(0)->what, "segmentd runs");
	direct.has_daemon = false;
}
END_TEST

static const struct passwd *
nobody(void)
{
	const struct passwd *nobody = getpwnam("nobody");

	return geteuid() == 0 ? nobody : NULL;
}

/* The daemon's user may read it, and root; who else asks is told so. */
START_TEST(record_that_may_not_be_read_is_said)
{
	const struct passwd *user = nobody();
	char one[] = "/a", path[512];
	const struct doctor_row *row;
	struct record_row left;

	if (!user) {
		printf("skipped: an ordinary user cannot become another one\n");
		return;
	}
	direct_define(0, "a", DEFINITION_POSIX, MIB, true);
	direct_definitions[0].object = one;
	tree_put("/dev/shm/a", "123");
	left = row_of("posix", "a", "/a");
	put_record(&left, 1);
	(void)snprintf(path, sizeof(path), "%s%s", tree_root, state_dir);
	ck_assert_int_eq(chmod(path, 0700), 0);
	ck_assert_int_eq(seteuid(user->pw_uid), 0);
	row = left_row(0);
	ck_assert(row->level == DOCTOR_NOTE);
	assert_has(row->what, "what an earlier segmentd left cannot be told: its record '/state/record' cannot be read: Permission denied");
	assert_has(row->remedy, "`segmentctl doctor`");
	row = &direct.rows[1];
	ck_assert(row->level == DOCTOR_NOTE);
	assert_has(row->what, "/a is taken by what belongs to segmentd's own user");
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

/* A file of so many bytes, without blocks, that its owner alone may open. */
static void
put_file(const char *path, off_t size_bytes)
{
	char full[512];

	tree_put(path, "%s", "");
	(void)snprintf(full, sizeof(full), "%s%s", tree_root, path);
	ck_assert_int_eq(chmod(full, 0600), 0);
	ck_assert_int_eq(truncate(full, size_bytes), 0);
}

START_TEST(files_that_are_there)
{
	char path[] = "/data/book", second[] = "/data/prices", full[512], other[512];
	const struct passwd *user = nobody();

	direct_define(0, "a", DEFINITION_FILE, MIB, true);
	direct_definitions[0].path = path;
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "there is no directory '/data'. `install -d -o ", 1);
	/* One finding for all that it stands in the way of. */
	direct_define(1, "b", DEFINITION_FILE, MIB, true);
	direct_definitions[0].path = path;
	direct_definitions[1].path = second;
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "there is no directory '/data'. `install -d -o ", 2);
	direct_define(0, "a", DEFINITION_FILE, MIB, true);
	direct_definitions[0].path = path;
	tree_make_dir("/data");
	direct_assert(doctor_check_files, DOCTOR_OK, "1 file on the file system of '/data/book': 1 MiB more are needed", 0);
	put_file("/data/book", 17);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 17 bytes, and max_size is 1048576", 1);
	put_file("/data/book", MIB);
	direct_assert(doctor_check_files, DOCTOR_OK, "1 MiB more are needed", 0);
	(void)snprintf(full, sizeof(full), "%s/data/book", tree_root);
	(void)snprintf(other, sizeof(other), "%s/data/other", tree_root);
	ck_assert_int_eq(link(full, other), 0);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 2 hard links", 1);
	ck_assert_int_eq(unlink(other), 0);
	ck_assert_int_eq(chmod(full, 0640), 0);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book`", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(symlink("/etc/passwd", full), 0);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "is a symbolic link; a regular file is expected", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(mkfifo(full, 0600), 0);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "is a fifo", 1);
	ck_assert_int_eq(unlink(full), 0);
	direct.limits.uid = geteuid() + 1;
	put_file("/data/book", MIB);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, geteuid() == 0 ? "its directory: Permission denied" : "uid", 1);
	if (!user) {
		printf("skipped: another owner's files are root's to make\n");
		return;
	}
	ck_assert_int_eq(chown(full, user->pw_uid, (gid_t)-1), 0);
	direct.limits.uid = 0;
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "one of the daemon's own uid, 0, is expected. `chown 0 /data/book`", 1);
}
END_TEST

#define BOOT	"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

/* A mark as a daemon writes it, of a file of 1 MiB. */
static void
put_mark(enum mark_state state, const char *boot)
{
	struct mark mark = { .state = state, .generation = 7, .size_bytes = MIB, .pid = 1 };
	char bytes[MARK_BYTES + 1];

	(void)snprintf(mark.boot, sizeof(mark.boot), "%s", boot);
	mark_format(&mark, bytes);
	put_file("/data/book.segmentd", 0);
	tree_put("/data/book.segmentd", "%s", bytes);
	tree_put("/proc/sys/kernel/random/boot_id", BOOT "\n");
}

START_TEST(a_file_that_another_daemon_has)
{
	char path[] = "/data/book", full[512];
	struct stat st;

	direct_define(0, "a", DEFINITION_FILE, MIB, true);
	direct_definitions[0].path = path;
	put_file("/data/book", MIB);
	put_mark(MARK_USED, BOOT);
	(void)snprintf(full, sizeof(full), "%s/data/book.segmentd", tree_root);
	ck_assert_int_eq(stat(full, &st), 0);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "'/data/book' is in use by pid ", 1);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino + 1);
	direct_assert(doctor_check_files, DOCTOR_OK, "1 file", 0);
	ck_assert_int_eq(chmod(full, 0644), 0);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book.segmentd`", 1);
}
END_TEST

/* The rows are a note with these words, and that there is room. */
static void
assert_noted(const char *words, size_t n_segments)
{
	direct_run(doctor_check_files, 2);
	ck_assert(direct.rows[0].level == DOCTOR_NOTE && direct.rows[1].level == DOCTOR_OK);
	assert_has(direct.rows[0].what, words);
	ck_assert_uint_eq(direct.rows[0].n_segments, n_segments);
}

static void
define_book(enum definition_on_unclean on_unclean)
{
	static char path[] = "/data/book";

	direct_define(0, "a", DEFINITION_FILE, MIB, true);
	direct_definitions[0].path = path;
	direct_definitions[0].on_unclean = on_unclean;
}

START_TEST(a_file_whose_last_use_did_not_end_well)
{
	define_book(DEFINITION_UNCLEAN_FAIL);
	put_file("/data/book", MIB);
	/* A daemon that was killed in this boot has lost nothing. */
	put_mark(MARK_USED, BOOT);
	direct_assert(doctor_check_files, DOCTOR_OK, "1 file", 0);
	put_mark(MARK_FREE, "another");
	direct_assert(doctor_check_files, DOCTOR_OK, "1 file", 0);
	put_mark(MARK_USED, "another");
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "says that it was in use when the machine went down, and no stop of "
	    "segmentd was before that. look its contents over, then `rm /data/book.segmentd`", 1);
	put_mark(MARK_SPOILED, BOOT);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "not all that was stored reached the disk", 1);
	tree_put("/data/book.segmentd", "segmentd mark 1\n");
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "is none that segmentd writes", 1);
	define_book(DEFINITION_UNCLEAN_KEEP);
	assert_noted("its contents are kept (on_unclean = \"keep\")", 1);
	define_book(DEFINITION_UNCLEAN_ZERO);
	assert_noted("its contents are zeroed (on_unclean = \"zero\")", 1);
	/* One that is to be made has no last use. */
	define_book(DEFINITION_UNCLEAN_FAIL);
	tree_remove("/data/book");
	direct_assert(doctor_check_files, DOCTOR_OK, "1 file", 0);
}
END_TEST

START_TEST(a_file_that_a_writer_has_enlarged)
{
	char mark[512];

	define_book(DEFINITION_UNCLEAN_FAIL);
	put_file("/data/book", MIB + 1);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 1048577 bytes, and max_size is 1048576", 1);
	put_mark(MARK_USED, BOOT);
	assert_noted("a writer has made it larger while it was in use", 1);
	ck_assert_str_eq(direct.rows[0].means, "will be ready with what it had before");
	put_mark(MARK_FREE, BOOT);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 1048577 bytes, and max_size is 1048576", 1);
	put_mark(MARK_USED, BOOT);
	put_file("/data/book", MIB - 1);
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 1048575 bytes, and max_size is 1048576", 1);
	/* Of another size than this one, in its last use. */
	direct_definitions[0].max_size_bytes = MIB / 2;
	direct_assert(doctor_check_files, DOCTOR_REQUIRED, "has 1048575 bytes, and max_size is 524288", 1);
	direct_definitions[0].max_size_bytes = MIB;
	if (geteuid() == 0) {
		printf("skipped: no mark is unreadable to root\n");
		return;
	}
	put_file("/data/book", MIB + 1);
	(void)snprintf(mark, sizeof(mark), "%s/data/book.segmentd", tree_root);
	ck_assert_int_eq(chmod(mark, 0), 0);
	assert_noted("/data/book.segmentd", 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor-left");
	TCase *tcase = tcase_create("left");

	tcase_set_timeout(tcase, 120);
	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, doctor_put_host, direct_drop_rows);
	tcase_add_test(tcase, objects_that_are_there);
	tcase_add_test(tcase, objects_that_the_record_proves);
	tcase_add_test(tcase, keys_that_the_record_proves);
	tcase_add_test(tcase, a_private_one_that_the_record_proves);
	tcase_add_test(tcase, what_was_left_and_no_segment_wants);
	tcase_add_test(tcase, record_that_may_not_be_read_is_said);
	tcase_add_test(tcase, files_that_are_there);
	tcase_add_test(tcase, a_file_that_another_daemon_has);
	tcase_add_test(tcase, a_file_whose_last_use_did_not_end_well);
	tcase_add_test(tcase, a_file_that_a_writer_has_enlarged);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
