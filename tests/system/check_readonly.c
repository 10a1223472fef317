/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client of another uid that may only read tries everything it can think of to write, to resize and to disturb the
 * object. A row of the table is one way; each must fail, and the contents stay. What a row returns: -1 and errno when the
 * kernel refused, 0 or more when it was let through.
 */
#include "config.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "tests/harness_locks.h"

#define SIZE	(64 * 4096)
#define PATTERN	0xA5

struct target {
	int fd;
	char *map;			/* read-only, shared */
	pid_t daemon;
};

static long
reopen(const struct target *target, int flags)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target->fd);
	return open(path, flags | O_CLOEXEC);
}

static long
reopen_writable(const struct target *target)
{
	return reopen(target, O_RDWR);
}

static long
reopen_write_only(const struct target *target)
{
	return reopen(target, O_WRONLY);
}

static long
reopen_truncating(const struct target *target)
{
	return reopen(target, O_RDONLY | O_TRUNC);
}

static long
reopen_through_thread(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", target->fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static long
reopen_through_dev_fd(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/dev/fd/%d", target->fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static long
open_daemon_fds(const struct target *target)
{
	char path[64];
	long got = -1;

	for (int fd = 0; fd < 64 && got < 0; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)target->daemon, fd);
		got = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	}
	return got;
}

static long
take_daemon_fds(const struct target *target)
{
	int pidfd = (int)syscall(SYS_pidfd_open, target->daemon, 0);
	long got = -1;

	for (int fd = 0; fd < 64 && got < 0 && pidfd >= 0; fd++)
		got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	return got;
}

static long
map_writable(const struct target *target)
{
	return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, target->fd, 0) == MAP_FAILED ? -1 : 0;
}

static long
map_write_only(const struct target *target)
{
	return mmap(NULL, SIZE, PROT_WRITE, MAP_SHARED_VALIDATE, target->fd, 0) == MAP_FAILED ? -1 : 0;
}

static long
protect_writable(const struct target *target)
{
	return mprotect(target->map, SIZE, PROT_READ | PROT_WRITE);
}

static long
protect_a_duplicate(const struct target *target)
{
	char *copy = mremap(target->map, 0, SIZE, MREMAP_MAYMOVE);

	if (copy == MAP_FAILED)
		return -1;
	return mprotect(copy, SIZE, PROT_READ | PROT_WRITE);
}

static long
protect_after_remap_file_pages(const struct target *target)
{
	char *copy = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, target->fd, 0);

	if (copy == MAP_FAILED)
		return -1;
	(void)syscall(SYS_remap_file_pages, copy, 4096, 0, 1, 0);
	return mprotect(copy, 4096, PROT_READ | PROT_WRITE);
}

static long
open_map_file(const struct target *target)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)target->map,
	    (unsigned long)target->map + SIZE);
	return open(path, O_RDWR | O_CLOEXEC);
}

static long
truncate_smaller(const struct target *target)
{
	return ftruncate(target->fd, 0);
}

static long
truncate_larger(const struct target *target)
{
	return ftruncate(target->fd, (off_t)1 << 40);
}

static long
truncate_by_path(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target->fd);
	return truncate(path, 0);
}

static long
punch_a_hole(const struct target *target)
{
	return fallocate(target->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE);
}

static long
allocate_beyond(const struct target *target)
{
	return fallocate(target->fd, 0, SIZE, SIZE);
}

static long
remove_pages(const struct target *target)
{
	return madvise(target->map, SIZE, MADV_REMOVE);
}

static long
populate_writable(const struct target *target)
{
	return madvise(target->map, SIZE, 23 /* MADV_POPULATE_WRITE */);
}

static long
add_seals(const struct target *target)
{
	return fcntl(target->fd, F_ADD_SEALS, F_SEAL_WRITE);
}

static long
change_mode(const struct target *target)
{
	return fchmod(target->fd, 0777);
}

static long
change_mode_by_path(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target->fd);
	return chmod(path, 0777);
}

static long
change_owner(const struct target *target)
{
	return fchown(target->fd, getuid(), getgid());
}

static long
change_times(const struct target *target)
{
	return futimens(target->fd, NULL);
}

static long
set_attribute(const struct target *target)
{
	return fsetxattr(target->fd, "user.segmentd", "x", 1, 0);
}

static long
set_inode_flags(const struct target *target)
{
	int flags = FS_IMMUTABLE_FL;

	return ioctl(target->fd, FS_IOC_SETFLAGS, &flags);
}

static long
write_at(const struct target *target)
{
	return pwrite(target->fd, "x", 1, 0);
}

static long
write_after_setfl(const struct target *target)
{
	(void)fcntl(target->fd, F_SETFL, O_RDWR | O_APPEND);
	return write(target->fd, "x", 1);
}

static long
send_file_into(const struct target *target)
{
	int source = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	return sendfile(target->fd, source, NULL, 4096);
}

static long
copy_range_into(const struct target *target)
{
	int source = memfd_create("source", MFD_CLOEXEC);

	if (source < 0 || write(source, "x", 1) != 1)
		return -1;
	return copy_file_range(source, &(off_t){ 0 }, target->fd, &(off_t){ 0 }, 1, 0);
}

static long
splice_into(const struct target *target)
{
	int ends[2];
	loff_t at = 0;

	if (pipe2(ends, O_CLOEXEC) != 0 || write(ends[1], "x", 1) != 1)
		return -1;
	return splice(ends[0], NULL, target->fd, &at, 1, SPLICE_F_MOVE);
}

static long
vmsplice_into_mapping(const struct target *target)
{
	struct iovec part = { .iov_base = target->map, .iov_len = 1 };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0 || write(ends[1], "x", 1) != 1)
		return -1;
	return vmsplice(ends[0], &part, 1, 0);
}

static long
read_into_mapping(const struct target *target)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0 || write(ends[1], "x", 1) != 1)
		return -1;
	return read(ends[0], target->map, 1);
}

static long
read_direct_into_mapping(const struct target *target)
{
	int source = open("/proc/self/exe", O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (source < 0)
		return -1;
	return read(source, target->map, 4096);
}

static long
write_own_memory(const struct target *target)
{
	char byte = 'x';
	struct iovec from = { .iov_base = &byte, .iov_len = 1 };
	struct iovec to = { .iov_base = target->map, .iov_len = 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0);
}

static long
write_proc_mem(const struct target *target)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return pwrite(fd, "x", 1, (off_t)(uintptr_t)target->map);
}

static long
write_daemon_memory(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)target->daemon);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* A registered buffer is pinned for writing, whatever it is used for. */
static long
register_with_io_uring(const struct target *target)
{
	struct iovec part = { .iov_base = target->map, .iov_len = 4096 };
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (ring < 0)
		return -1;
	return syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &part, 1);
}

static long
take_write_lease(const struct target *target)
{
	return fcntl(target->fd, F_SETLEASE, F_WRLCK);
}

static long
take_read_lease(const struct target *target)
{
	return fcntl(target->fd, F_SETLEASE, F_RDLCK);
}

static long
set_write_lock(const struct target *target)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0 };

	return fcntl(target->fd, F_OFD_SETLK, &lock);
}

static long
link_by_fd(const struct target *target)
{
	return linkat(target->fd, "", AT_FDCWD, "/tmp/segmentd-test-link", AT_EMPTY_PATH);
}

static long
link_by_path(const struct target *target)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target->fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, "/dev/shm/segmentd-test-link", AT_SYMLINK_FOLLOW);
}

static long
open_by_handle(const struct target *target)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} file = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int mount_id;

	if (name_to_handle_at(target->fd, "", &file.handle, &mount_id, AT_EMPTY_PATH) != 0)
		return -1;
	return open_by_handle_at(target->fd, &file.handle, O_RDWR);
}

/* A thread of the same process that still has the fd of a peer: an exec'd set-uid program would be one; here none is. */
static long
reopen_path_only(const struct target *target)
{
	int path_only = (int)reopen(target, O_PATH);
	char path[64];

	if (path_only < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", path_only);
	return open(path, O_RDWR | O_CLOEXEC);
}

#define WAY(function)	{ #function, function }

static const struct {
	const char *name;
	long (*try)(const struct target *target);
} ways[] = {
	WAY(reopen_writable), WAY(reopen_write_only), WAY(reopen_truncating), WAY(reopen_through_thread),
	WAY(reopen_through_dev_fd), WAY(reopen_path_only), WAY(open_daemon_fds), WAY(take_daemon_fds),
	WAY(map_writable), WAY(map_write_only), WAY(protect_writable), WAY(protect_a_duplicate),
	WAY(protect_after_remap_file_pages), WAY(open_map_file), WAY(truncate_smaller), WAY(truncate_larger),
	WAY(truncate_by_path), WAY(punch_a_hole), WAY(allocate_beyond), WAY(remove_pages), WAY(populate_writable),
	WAY(add_seals), WAY(change_mode), WAY(change_mode_by_path), WAY(change_owner), WAY(change_times),
	WAY(set_attribute), WAY(set_inode_flags), WAY(write_at), WAY(write_after_setfl), WAY(send_file_into),
	WAY(copy_range_into), WAY(splice_into), WAY(vmsplice_into_mapping), WAY(read_into_mapping),
	WAY(read_direct_into_mapping), WAY(write_own_memory), WAY(write_proc_mem), WAY(write_daemon_memory),
	WAY(register_with_io_uring), WAY(take_write_lease), WAY(take_read_lease), WAY(set_write_lock),
	WAY(link_by_fd), WAY(link_by_path), WAY(open_by_handle),
};

static bool
is_intact(const char *map)
{
	for (size_t i = 0; i < SIZE; i++) {
		if ((unsigned char)map[i] != PATTERN)
			return false;
	}
	return true;
}

/* Whose object, and which: the bytes themselves, or those of their locks. */
struct order {
	const struct harness_daemon *daemon;
	bool is_control;
};

static void
try_every_way(int control, void *arg)
{
	const struct order *order = arg;
	const struct harness_daemon *daemon = order->daemon;
	struct target target = { .daemon = daemon->pid };
	struct harness_segment segment;
	struct harness_conn conn;
	unsigned n_open = 0;
	int r;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, daemon->socket);
	r = harness_segment_attach(&conn, "prices", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, &segment);
	harness_assert(r == -EACCES, "attached for writing: %d", r);
	r = harness_segment_attach(&conn, "prices", PROTOCOL_ACCESS_READ, &segment);
	harness_assert(r == 0, "attach: %s", strerror(-r));
	target.fd = order->is_control ? segment.control_fd : segment.data_fd;
	target.map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, target.fd, 0);
	harness_assert(target.map != MAP_FAILED, "mmap: %s", strerror(errno));
	harness_assert(is_intact(target.map), "the contents are not what was written");
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(ways); i++) {
		long got = ways[i].try(&target);

		if (got < 0 && is_intact(target.map))
			continue;
		n_open++;
		(void)fprintf(stderr, "%s was let through: %ld\n", ways[i].name, got);
	}
	harness_assert(n_open == 0, "%u ways are open", n_open);
	harness_say(control, "refused");
	harness_expect(control, "end");
}

START_TEST(reader_of_another_uid_cannot_write_in_any_way)
{
	struct harness_daemon daemon;
	struct harness_child reader = HARNESS_CHILD_NULL;
	struct order order = { .daemon = &daemon, .is_control = _i == 1 };
	struct harness_segment segment;
	struct harness_conn conn;
	struct stat before, after;
	char *map;
	int fd, seals;

	harness_need_root();
	/* A log of this size makes control memory larger than what is tried. */
	harness_daemon_start(&daemon, NULL,
	    "segments = ( { name = \"prices\"; size = \"256KiB\"; mode = \"0644\"; locks = (\n"
	    "\t{ name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"256KiB\"; } ); } );");
	harness_open(&conn, daemon.socket);
	harness_segment_open(&conn, "prices", &segment);
	fd = order.is_control ? segment.control_fd : segment.data_fd;
	map = (char *)(order.is_control ? segment.control : segment.data);
	memset(map, PATTERN, SIZE);
	seals = fcntl(fd, F_GET_SEALS);
	ck_assert_int_eq(fstat(fd, &before), 0);

	harness_child_start(&reader, try_every_way, &order);
	harness_expect(reader.control, "refused");

	harness_assert(is_intact(map), "the contents changed");
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS), seals);
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq(after.st_blocks, before.st_blocks);
	ck_assert_int_eq(after.st_mode, before.st_mode);
	ck_assert_int_eq(after.st_uid, before.st_uid);
	harness_say(reader.control, "end");
	harness_child_await_success(&reader);
	harness_await_counts(&conn, "prices", 0, 1);
	harness_daemon_stop(&daemon);
}
END_TEST

/* A writer has the contents, and nothing else of the object: not its size, nor its seals. */
START_TEST(writer_cannot_resize_or_seal)
{
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct stat status;
	int fd;

	harness_daemon_start(&daemon, NULL,
	    "segments = ( { name = \"prices\"; size = \"256KiB\"; max_size = \"512KiB\"; } );");
	harness_open(&conn, daemon.socket);
	ck_assert_int_eq(harness_attach(&conn, "prices", PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE, NULL, &fd), 0);
	ck_assert_int_ne(ftruncate(fd, 0), 0);
	ck_assert_int_ne(ftruncate(fd, (off_t)1 << 40), 0);
	ck_assert_int_ne(fallocate(fd, 0, 512 << 10, 4096), 0);
	ck_assert_int_ne(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(pwrite(fd, "x", 1, 512 << 10), -1);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_eq(status.st_size, 512 << 10);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("readonly");
	TCase *tcase = tcase_create("readonly");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, reader_of_another_uid_cannot_write_in_any_way, 0, 2);
	tcase_add_test(tcase, writer_cannot_resize_or_seal);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
