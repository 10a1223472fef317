/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of what only some backends and placements need, one by one, against a host of files. Definitions are made
 * here, whatever the configuration's grammar takes.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "host/mark.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/doctor_host.h"
#include "tests/segmentctl/run.h"

static struct doctor direct;
static struct conf direct_conf;
static struct definition definitions[3], *list[3] = { &definitions[0], &definitions[1], &definitions[2] };

static void
define(size_t i, const char *name, enum definition_backend backend, uint64_t size_bytes, bool required)
{
	static char names[BASE_ARRAY_SIZE(definitions)][16];

	(void)snprintf(names[i], sizeof(names[i]), "%s", name);
	doctor_drop_rows(&direct);
	definitions[i] = (struct definition) { .name = names[i], .backend = backend, .size_bytes = size_bytes,
		.max_size_bytes = size_bytes, .required = required, .prefault = true };
	direct_conf = (struct conf) { .segments = list, .n_segments = i + 1 };
	direct = (struct doctor) { .root = tree_root, .conf = &direct_conf, .service_error = -ENOENT, .check = "x",
		.limits.uid = geteuid() };
}

/* Runs one check; its only row has the level, says the words, and is about so many segments. */
static const struct doctor_row *
assert_check(doctor_check_fn check, enum doctor_level level, const char *words, size_t n_segments)
{
	const struct doctor_row *row = direct.rows;
	char copy[FINDINGS_TEXT_SIZE];

	doctor_drop_rows(&direct);
	check(&direct);
	row = direct.rows;
	ck_assert_uint_eq(direct.n_rows, 1);
	ck_assert_msg(row->level == level, "%s: %s", doctor_level_name(row->level), row->what);
	(void)snprintf(copy, sizeof(copy), "%s. %s", row->what, row->remedy ? row->remedy : "");
	assert_has(copy, words);
	ck_assert_uint_eq(row->n_segments, n_segments);
	for (char *p = strchr(copy, '`'); p; p = strchr(p + 1, '`')) {
		char *command = p + 1;

		p = strchr(command, '`');
		*p = '\0';
		doctor_try_command(command);
	}
	return row;
}

START_TEST(limits_of_system_v)
{
	define(0, "a", DEFINITION_SYSV, 64 * MIB, false);
	define(1, "b", DEFINITION_SYSV, 32 * MIB, false);
	define(2, "c", DEFINITION_SYSV, 16 * MIB, true);
	(void)assert_check(doctor_check_sysv, DOCTOR_OK, "3 System V segments to be made: kernel.shmmax is unlimited", 0);
	tree_put("/proc/sys/kernel/shmmax", "33554432\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_PROBLEM, "`sysctl -w kernel.shmmax=67108864`", 1);
	tree_put("/proc/sys/kernel/shmmax", "1048576\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmax=67108864`", 3);
	tree_put("/proc/sys/kernel/shmmax", "1073741824\n");
	tree_put("/proc/sys/kernel/shmall", "%lu\n", (unsigned long)(100 * MIB) / (unsigned long)sysconf(_SC_PAGESIZE));
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "kernel.shmall", 1);
	tree_put("/proc/sys/kernel/shmall", "18446744073692774399\n");
	tree_put("/proc/sys/kernel/shmmni", "2\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmni=3`", 1);
}
END_TEST

START_TEST(room_in_dev_shm)
{
	char one[] = "/a", two[] = "/b";

	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
	(void)assert_check(doctor_check_shm, DOCTOR_OK, "1 POSIX object: 1 MiB more are needed in /dev/shm", 0);
	define(1, "b", DEFINITION_POSIX, UINT64_C(1) << 60, true);
	definitions[0].object = one;
	definitions[1].object = two;
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "`mount -o remount,size=", 1);
	tree_put("/proc/self/mountinfo", "31 23 0:27 / /dev/shm rw,nosuid - ext4 /dev/sda1 rw\n");
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm is no tmpfs", 2);
	tree_remove("/dev/shm");
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm cannot be reached: No such file", 2);
}
END_TEST

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
	doctor_drop_rows(&direct);
	doctor_check_shm(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	return &direct.rows[1];
}

START_TEST(objects_that_are_there)
{
	char one[] = "/a", path[512];
	const struct doctor_row *row;
	cleanup_close int fd = -1;
	struct stat st;
	void *data;

	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
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
		row.born_ns = record_born_ns(AT_FDCWD, path);
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
	if (definitions[0].backend == DEFINITION_SYSV)
		doctor_check_sysv(&direct);
	else if (definitions[0].backend == DEFINITION_POSIX)
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

	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
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
	definitions[0].max_size_bytes = 2 * MIB;
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
	definitions[0].max_size_bytes = MIB;
	assert_has(left_row(0)->what, "taken over by the next start, with what is in it; somebody has it");
	definitions[0].locks = &lock;
	definitions[0].n_locks = 1;
	assert_has(left_row(0)->what, "its locks ended with that segmentd");
	definitions[0].n_locks = 0;
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

	define(0, "a", DEFINITION_SYSV, MIB, true);
	definitions[0].has_key = true;
	definitions[0].key = left.key = 0x7a2f;
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

START_TEST(what_was_left_and_no_segment_wants)
{
	struct record_row left[2];
	char path[512];
	int fd;

	define(0, "a", DEFINITION_MEMFD, MIB, true);
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
	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
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

	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "there is no directory '/data'. `install -d -o ", 1);
	/* One finding for all that it stands in the way of. */
	define(1, "b", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	definitions[1].path = second;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "there is no directory '/data'. `install -d -o ", 2);
	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	tree_make_dir("/data");
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file on the file system of '/data/book': 1 MiB more are needed", 0);
	put_file("/data/book", 17);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 17 bytes, and max_size is 1048576", 1);
	put_file("/data/book", MIB);
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 MiB more are needed", 0);
	(void)snprintf(full, sizeof(full), "%s/data/book", tree_root);
	(void)snprintf(other, sizeof(other), "%s/data/other", tree_root);
	ck_assert_int_eq(link(full, other), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 2 hard links", 1);
	ck_assert_int_eq(unlink(other), 0);
	ck_assert_int_eq(chmod(full, 0640), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book`", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(symlink("/etc/passwd", full), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "is a symbolic link; a regular file is expected", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(mkfifo(full, 0600), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "is a fifo", 1);
	ck_assert_int_eq(unlink(full), 0);
	direct.limits.uid = geteuid() + 1;
	put_file("/data/book", MIB);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, geteuid() == 0 ? "its directory: Permission denied" : "uid", 1);
	if (!user) {
		printf("skipped: another owner's files are root's to make\n");
		return;
	}
	ck_assert_int_eq(chown(full, user->pw_uid, (gid_t)-1), 0);
	direct.limits.uid = 0;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "one of the daemon's own uid, 0, is expected. `chown 0 /data/book`", 1);
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

	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	put_file("/data/book", MIB);
	put_mark(MARK_USED, BOOT);
	(void)snprintf(full, sizeof(full), "%s/data/book.segmentd", tree_root);
	ck_assert_int_eq(stat(full, &st), 0);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "'/data/book' is in use by pid ", 1);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino + 1);
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file", 0);
	ck_assert_int_eq(chmod(full, 0644), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book.segmentd`", 1);
}
END_TEST

/* The rows are a note with these words, and that there is room. */
static void
assert_noted(const char *words, size_t n_segments)
{
	doctor_drop_rows(&direct);
	doctor_check_files(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[0].level == DOCTOR_NOTE && direct.rows[1].level == DOCTOR_OK);
	assert_has(direct.rows[0].what, words);
	ck_assert_uint_eq(direct.rows[0].n_segments, n_segments);
}

static void
define_book(enum definition_on_unclean on_unclean)
{
	static char path[] = "/data/book";

	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	definitions[0].on_unclean = on_unclean;
}

START_TEST(a_file_whose_last_use_did_not_end_well)
{
	define_book(DEFINITION_UNCLEAN_FAIL);
	put_file("/data/book", MIB);
	/* A daemon that was killed in this boot has lost nothing. */
	put_mark(MARK_USED, BOOT);
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file", 0);
	put_mark(MARK_FREE, "another");
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file", 0);
	put_mark(MARK_USED, "another");
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "says that it was in use when the machine went down, and no stop of "
	    "segmentd was before that. look its contents over, then `rm /data/book.segmentd`", 1);
	put_mark(MARK_SPOILED, BOOT);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "not all that was stored reached the disk", 1);
	tree_put("/data/book.segmentd", "segmentd mark 1\n");
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "is none that segmentd writes", 1);
	define_book(DEFINITION_UNCLEAN_KEEP);
	assert_noted("its contents are kept (on_unclean = \"keep\")", 1);
	define_book(DEFINITION_UNCLEAN_ZERO);
	assert_noted("its contents are zeroed (on_unclean = \"zero\")", 1);
	/* One that is to be made has no last use. */
	define_book(DEFINITION_UNCLEAN_FAIL);
	tree_remove("/data/book");
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file", 0);
}
END_TEST

START_TEST(a_file_that_a_writer_has_enlarged)
{
	char mark[512];

	define_book(DEFINITION_UNCLEAN_FAIL);
	put_file("/data/book", MIB + 1);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 1048577 bytes, and max_size is 1048576", 1);
	put_mark(MARK_USED, BOOT);
	assert_noted("a writer has made it larger while it was in use", 1);
	ck_assert_str_eq(direct.rows[0].means, "will be ready with what it had before");
	put_mark(MARK_FREE, BOOT);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 1048577 bytes, and max_size is 1048576", 1);
	put_mark(MARK_USED, BOOT);
	put_file("/data/book", MIB - 1);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 1048575 bytes, and max_size is 1048576", 1);
	/* Of another size than this one, in its last use. */
	definitions[0].max_size_bytes = MIB / 2;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 1048575 bytes, and max_size is 524288", 1);
	definitions[0].max_size_bytes = MIB;
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

/* Files of one file system share what is free there. */
START_TEST(room_on_disks)
{
	char one[] = "/data/book", two[] = "/data/prices";
	struct statvfs fs;

	tree_make_dir("/data");
	ck_assert_int_eq(statvfs(tree_root, &fs), 0);
	define(0, "a", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, false);
	define(1, "b", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, true);
	definitions[0].path = one;
	definitions[1].path = two;
	(void)assert_check(doctor_check_files, DOCTOR_PROBLEM, "more are needed on the file system of '/data/book', where", 1);
	ck_assert_str_eq(direct.rows[0].segments[0], "a");
}
END_TEST

/* A key that somebody has; what the uid has locked by SHM_LOCK already. */
START_TEST(keys_and_locks_of_system_v)
{
	const char *heading = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime "
	    "     dtime      ctime                   rss                  swap\n";

	define(0, "a", DEFINITION_SYSV, 64 * MIB, true);
	definitions[0].has_key = true;
	definitions[0].key = 0x7a2f;
	tree_put("/proc/sysvipc/shm", "%s%10d          3   600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 0x7a2f, 0);
	doctor_drop_rows(&direct);
	doctor_check_sysv(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "key 0x00007a2f is taken: a System V segment of 1 MiB has it, which belongs to uid 4242");
	assert_has(direct.rows[1].remedy, "`ipcrm -M 0x00007a2f`");
	definitions[0].key = 0x7a30;
	(void)assert_check(doctor_check_sysv, DOCTOR_OK, "1 System V segment to be made", 0);

	definitions[0].mlock = true;
	direct.limits = (struct limits) { .memlock_bytes = 64 * MIB, .uid = 4242 };
	(void)assert_check(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
	tree_put("/proc/sysvipc/shm", "%s%10d          3  2600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 1, 0);
	doctor_drop_rows(&direct);
	doctor_check_memlock(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "all that uid 4242 has locked so");
	direct.limits.uid = 4243;
	(void)assert_check(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
}
END_TEST

START_TEST(objects_that_logind_removes)
{
	define(0, "a", DEFINITION_SYSV, MIB, true);
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "there is no logind", 0);
	tree_put("/usr/lib/systemd/systemd-logind", "x");
	direct.limits.uid = 0;
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "system users, as 'root'", 0);
	direct.service_error = 0;
	(void)strcpy(direct.service.user, "no-such-user-there-is");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "`useradd --system no-such-user-there-is`", 0);
	(void)strcpy(direct.service.user, "4242");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (the default)", 1);
	tree_put("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\nRemoveIPC=yes\n");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (/etc/systemd/logind.conf)", 1);
	tree_put("/usr/lib/systemd/logind.conf.d/10.conf", "[Login]\nRemoveIPC = No\n");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "RemoveIPC=no", 0);
	/* One of the same name in /etc stands in its place. */
	tree_put("/etc/systemd/logind.conf.d/10.conf", "[Login]\n");
	definitions[0].backend = DEFINITION_MEMFD;
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_NOTE, "logind.conf", 0);
}
END_TEST

START_TEST(rules_of_orphans_need_who_may)
{
	struct conf_orphan rules[] = { { .is_sysv = true, .has_user = true, .user = 4242 }, { .is_sysv = true } };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char path[] = "/audit.sock";

	define(0, "a", DEFINITION_MEMFD, MIB, true);
	direct.limits.uid = 4242;
	direct_conf.daemon.audit_socket = path;
	(void)assert_check(doctor_check_orphans, DOCTOR_OK, "there is no rule of orphans", 0);
	direct_conf.orphans = rules;
	direct_conf.n_orphans = 1;
	(void)assert_check(doctor_check_orphans, DOCTOR_OK, "1 rule of orphans, about objects of the daemon's own user alone", 0);
	direct_conf.n_orphans = 2;
	(void)assert_check(doctor_check_orphans, DOCTOR_PROBLEM, "nobody listens at /audit.sock, so that segmentd starts segmentd-audit "
	    "itself, and has of it no more rights than its own: 1 of 2 rules", 0);
	tree_put(path, "no socket\n");
	(void)assert_check(doctor_check_orphans, DOCTOR_PROBLEM, "`systemctl enable --now segmentd-audit.socket`", 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", tree_root, path);
	ck_assert_int_eq(unlink(address.sun_path), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(address.sun_path, 0600), 0);
	(void)assert_check(doctor_check_orphans, DOCTOR_PROBLEM, "/audit.sock does not let ", 0);
	ck_assert_int_eq(chmod(address.sun_path, 0666), 0);
	(void)assert_check(doctor_check_orphans, DOCTOR_OK, "2 rules of orphans: segmentd-audit listens at /audit.sock", 0);
	(void)close(fd);
}
END_TEST

static void
put_pool(const char *dir, unsigned kib, unsigned n_pages, unsigned n_free, unsigned n_reserved)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/nr_hugepages", dir, kib);
	tree_put(path, "%u\n", n_pages);
	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/free_hugepages", dir, kib);
	tree_put(path, "%u\n", n_free);
	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/resv_hugepages", dir, kib);
	tree_put(path, "%u\n", n_reserved);
}

#define POOLS	"/sys/kernel/mm/hugepages"

/* The kernel commits its objects whole, and refuses what memory and swap together could never be. */
START_TEST(system_v_memory_is_committed_whole)
{
	define(0, "a", DEFINITION_SYSV, 64 * MIB, true);
	(void)assert_check(doctor_check_overcommit, DOCTOR_OK, "bounds nothing here", 0);
	definitions[0].max_size_bytes = 17 * GIB;
	(void)assert_check(doctor_check_overcommit, DOCTOR_REQUIRED, "17 GiB are needed at once, as System V memory of that max_size is, "
	    "but memory and swap together are 16 GiB", 1);
	tree_put("/proc/sys/vm/overcommit_memory", "1\n");
	(void)assert_check(doctor_check_overcommit, DOCTOR_OK, "bounds nothing here", 0);
	tree_put("/proc/sys/vm/overcommit_memory", "2\n");
	(void)assert_check(doctor_check_overcommit, DOCTOR_REQUIRED, "17 GiB of memory are needed, but 8.0 GiB may be committed", 1);
}
END_TEST

START_TEST(huge_pages_of_dev_shm)
{
	char object[] = "/a";

	define(0, "a", DEFINITION_POSIX, 4 * MIB, true);
	definitions[0].object = object;
	definitions[0].page_size = DEFINITION_PAGE_TRANSPARENT;
	(void)assert_check(doctor_check_huge, DOCTOR_OK, "by advice", 0);
	tree_put("/proc/sys/kernel/osrelease", "5.15.0\n");
	doctor_drop_rows(&direct);
	doctor_check_huge(&direct);
	ck_assert(direct.rows[0].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[0].remedy, "`mount -o remount,huge=advise /dev/shm`");
	tree_put("/proc/self/mountinfo", "31 23 0:27 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=1g,huge=advise\n");
	(void)assert_check(doctor_check_huge, DOCTOR_OK, "by advice", 0);
}
END_TEST

START_TEST(pools_of_huge_pages)
{
	define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	(void)assert_check(doctor_check_pools, DOCTOR_OK, "no segment asks for pages of the hugetlb pools; they have 0 of 2 MiB", 0);
	definitions[0].page_size = DEFINITION_PAGE_2MIB;
	(void)assert_check(doctor_check_pools, DOCTOR_REQUIRED, "no huge pages of 2 MiB", 1);
	put_pool(POOLS, 2048, 8, 6, 2);
	(void)assert_check(doctor_check_pools, DOCTOR_OK, "8 MiB more of 2 MiB pages are needed, and 8 MiB are to be had", 0);
	put_pool(POOLS, 2048, 8, 6, 3);
	(void)assert_check(doctor_check_pools, DOCTOR_REQUIRED, "`sysctl -w vm.nr_hugepages=9`", 1);
	tree_put(POOLS "/hugepages-2048kB/surplus_hugepages", "0\n");
	tree_put(POOLS "/hugepages-2048kB/nr_overcommit_hugepages", "1\n");
	(void)assert_check(doctor_check_pools, DOCTOR_OK, "2 MiB of them by overcommitting", 0);
	define(1, "b", DEFINITION_MEMFD, GIB, true);
	definitions[1].page_size = DEFINITION_PAGE_1GIB;
	definitions[1].placement = DEFINITION_PREFER;
	definitions[0].page_size = DEFINITION_PAGE_BASE;
	(void)assert_check(doctor_check_pools, DOCTOR_PROBLEM, "no huge pages of 1 GiB", 1);
	/* It is of common memory then, and there is that much of it. */
	ck_assert_uint_eq(direct.fallen_back.n, 1);
	(void)assert_check(doctor_check_memory, DOCTOR_OK, "1.0 GiB more of memory are needed", 0);
	doctor_set_deinit(&direct.fallen_back);
	(void)assert_check(doctor_check_memory, DOCTOR_OK, "8 MiB more of memory are needed", 0);
}
END_TEST

START_TEST(cgroups_of_huge_pages)
{
	define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	definitions[0].page_size = DEFINITION_PAGE_2MIB;
	put_pool(POOLS, 2048, 8, 8, 0);
	tree_put("/proc/self/cgroup", "0::/a\n");
	tree_put("/sys/fs/cgroup/a/hugetlb.2MB.max", "4194304\n");
	tree_put("/sys/fs/cgroup/a/hugetlb.2MB.current", "0\n");
	(void)assert_check(doctor_check_pools, DOCTOR_REQUIRED, "the hugetlb cgroup leaves 4 MiB", 1);
	/* The daemon is in another one. */
	tree_put("/proc/17/cgroup", "0::/b\n");
	direct.place_pid = 17;
	(void)assert_check(doctor_check_pools, DOCTOR_OK, "16 MiB are to be had", 0);
}
END_TEST

START_TEST(huge_pages_of_system_v)
{
	define(0, "a", DEFINITION_SYSV, 8 * MIB, true);
	definitions[0].page_size = DEFINITION_PAGE_2MIB;
	put_pool(POOLS, 2048, 8, 8, 0);
	tree_put("/proc/sys/vm/hugetlb_shm_group", "0\n");
	direct.limits.gid = 4242;
	doctor_drop_rows(&direct);
	doctor_check_pools(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	assert_has(direct.rows[1].remedy, "`sysctl -w vm.hugetlb_shm_group=4242`");
	direct.limits.has_ipc_lock = true;
	(void)assert_check(doctor_check_pools, DOCTOR_OK, "8 MiB more of 2 MiB pages are needed, and 16 MiB are to be had", 0);
	/* All of it is reserved when it is made. */
	definitions[0].max_size_bytes = 18 * MIB;
	(void)assert_check(doctor_check_pools, DOCTOR_REQUIRED, "18 MiB of 2 MiB pages are needed", 1);
}
END_TEST

START_TEST(nodes_and_their_memory)
{
	define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	(void)assert_check(doctor_check_nodes, DOCTOR_OK, "no segment asks for nodes; the nodes with memory are 0", 0);
	tree_put("/sys/devices/system/node/has_memory", "0-1\n");
	tree_put("/sys/devices/system/node/node0/meminfo", "Node 0 MemFree: 16384 kB\n");
	tree_put("/sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 4096 kB\n");
	definitions[0].numa = DEFINITION_NUMA_BIND;
	definitions[0].numa_nodes = 1;
	doctor_drop_rows(&direct);
	doctor_check_nodes(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	assert_has(direct.rows[0].what, "1 segment asks for nodes; those with memory are 0-1");
	assert_has(direct.rows[1].what, "8 MiB more are needed on node 0, and 16 MiB are left there");
	/* All that is bound to a node together. */
	define(1, "b", DEFINITION_MEMFD, 12 * MIB, false);
	definitions[1].numa = DEFINITION_NUMA_BIND;
	definitions[1].numa_nodes = 1;
	doctor_check_nodes(&direct);
	ck_assert(direct.rows[1].level == DOCTOR_PROBLEM);
	assert_has(direct.rows[1].what, "20 MiB of memory are needed on node 0, but 16 MiB are left there");
	ck_assert_str_eq(direct.rows[1].segments[0], "b");
	ck_assert_uint_eq(direct.rows[1].n_segments, 1);
	/* Another node is judged by itself, and one that is not there is not judged twice. */
	definitions[1].numa_nodes = 2;
	doctor_check_nodes(&direct);
	assert_has(direct.rows[4].what, "12 MiB of memory are needed on node 1, but 4 MiB are left there");
	definitions[1].numa_nodes = 4;
	doctor_drop_rows(&direct);
	doctor_check_nodes(&direct);
	ck_assert_uint_eq(direct.n_rows, 3);
	assert_has(direct.rows[1].what, "numa names node 2, which is not there for segmentd: the nodes with memory that it may use are "
	    "0-1");
	/* Kept away from it. */
	tree_put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t1\n");
	definitions[1].numa_nodes = 2;
	doctor_drop_rows(&direct);
	doctor_check_nodes(&direct);
	assert_has(direct.rows[1].what, "numa names node 0");
}
END_TEST

START_TEST(parts_of_pools_on_nodes)
{
	define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	definitions[0].page_size = DEFINITION_PAGE_2MIB;
	definitions[0].numa = DEFINITION_NUMA_BIND;
	definitions[0].numa_nodes = 2;
	put_pool(POOLS, 2048, 8, 8, 0);
	put_pool("/sys/devices/system/node/node1/hugepages", 2048, 2, 2, 0);
	doctor_drop_rows(&direct);
	doctor_check_pools(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[0].level == DOCTOR_OK && direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "8 MiB of 2 MiB pages are needed on node 1");
}
END_TEST

/* What a daemon has already is not needed once more; nor what it has of another backend. */
START_TEST(what_a_daemon_has_is_not_needed_again)
{
	char name[] = "a";
	struct doctor_held held = { .name = name, .backend = DEFINITION_MEMFD, .resident_bytes = 6 * GIB, .locked_bytes = 6 * GIB };

	define(0, "a", DEFINITION_MEMFD, 12 * GIB, true);
	definitions[0].mlock = true;
	direct.limits = (struct limits) { .memlock_bytes = 12 * GIB, .locked_bytes = 6 * GIB };
	(void)assert_check(doctor_check_memory, DOCTOR_REQUIRED, "12 GiB of memory are needed", 1);
	(void)assert_check(doctor_check_memlock, DOCTOR_REQUIRED, "12 GiB are to be locked in memory, but 6 GiB are left", 1);
	direct.held = &held;
	direct.n_held = 1;
	(void)assert_check(doctor_check_memory, DOCTOR_OK, "6 GiB more of memory are needed", 0);
	(void)assert_check(doctor_check_memlock, DOCTOR_OK, "6 GiB are to be locked", 0);
	held.backend = DEFINITION_SYSV;
	(void)assert_check(doctor_check_memory, DOCTOR_REQUIRED, "12 GiB of memory are needed", 1);
	held.backend = DEFINITION_MEMFD;
	held.resident_bytes = 12 * GIB;
	doctor_put_meminfo(1, 0, 1);
	(void)assert_check(doctor_check_memory, DOCTOR_OK, "0 B more of memory are needed", 0);
}
END_TEST

static void
drop_rows(void)
{
	doctor_drop_rows(&direct);
}

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor-backends");
	TCase *tcase = tcase_create("backends");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, doctor_put_host, drop_rows);
	tcase_add_test(tcase, limits_of_system_v);
	tcase_add_test(tcase, room_in_dev_shm);
	tcase_add_test(tcase, objects_that_are_there);
	tcase_add_test(tcase, objects_that_the_record_proves);
	tcase_add_test(tcase, keys_that_the_record_proves);
	tcase_add_test(tcase, what_was_left_and_no_segment_wants);
	tcase_add_test(tcase, record_that_may_not_be_read_is_said);
	tcase_add_test(tcase, files_that_are_there);
	tcase_add_test(tcase, a_file_that_another_daemon_has);
	tcase_add_test(tcase, a_file_whose_last_use_did_not_end_well);
	tcase_add_test(tcase, a_file_that_a_writer_has_enlarged);
	tcase_add_test(tcase, room_on_disks);
	tcase_add_test(tcase, keys_and_locks_of_system_v);
	tcase_add_test(tcase, objects_that_logind_removes);
	tcase_add_test(tcase, rules_of_orphans_need_who_may);
	tcase_add_test(tcase, system_v_memory_is_committed_whole);
	tcase_add_test(tcase, huge_pages_of_dev_shm);
	tcase_add_test(tcase, pools_of_huge_pages);
	tcase_add_test(tcase, cgroups_of_huge_pages);
	tcase_add_test(tcase, huge_pages_of_system_v);
	tcase_add_test(tcase, nodes_and_their_memory);
	tcase_add_test(tcase, parts_of_pools_on_nodes);
	tcase_add_test(tcase, what_a_daemon_has_is_not_needed_again);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
