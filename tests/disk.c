/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/disk.h"

extern char **environ;

static void
make_file_system(char *image)
{
	static char mkfs[] = "mkfs.ext4", quiet[] = "-q";
	char *argv[] = { mkfs, quiet, image, NULL };
	int status = -1;
	pid_t pid;

	if (posix_spawnp(&pid, mkfs, NULL, NULL, argv, environ))
		harness_skip("there is no mkfs.ext4");
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (status)
		harness_skip("mkfs.ext4 failed");
}

/* A loop device of the image, which goes with its last user. */
static int
attach_loop(const char *image, char *ret_path, size_t size)
{
	cleanup_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	cleanup_close int file = open(image, O_RDWR | O_CLOEXEC);
	struct loop_config config = { .fd = (unsigned)file, .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };

	ck_assert_int_ge(file, 0);
	/* Another test may take it first. */
	for (unsigned i = 0; control >= 0 && i < 10; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

		(void)snprintf(ret_path, size, "/dev/loop%d", number);
		fd = open(ret_path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return fd;
		close_fd(&fd);
	}
	harness_skip("no loop device is to be had: %s", strerror(errno));
}

/* Out of the test's process group, which Check kills: it thaws the disk when the test is gone. */
static void
start_warden(int dir_fd)
{
	int test_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct pollfd test = { .fd = test_fd, .events = POLLIN };
	pid_t pid;

	ck_assert_int_ge(test_fd, 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		/* Nobody is to wait for it at our standard output. */
		for (int fd = 0; fd <= 2; fd++)
			(void)close(fd);
		(void)setsid();
		while (poll(&test, 1, -1) < 0 && errno == EINTR)
			;
		(void)ioctl(dir_fd, FITHAW, 0);
		_exit(0);
	}
	close_fd(&test_fd);
}

/* The image of a new one, at disk->dir. */
static void
mount_image(struct disk *disk, const char *dir, uint64_t bytes)
{
	char image[96], loop[32];
	cleanup_close int fd = -1;

	(void)snprintf(image, sizeof(image), "%s/image", dir);
	fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	make_file_system(image);
	close_fd(&fd);
	fd = attach_loop(image, loop, sizeof(loop));
	if (mount(loop, disk->dir, "ext4", 0, NULL))
		harness_skip("ext4 is not to be mounted: %s", strerror(errno));
	disk->dir_fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(disk->dir_fd, 0);
}

void
disk_mount(struct disk *disk, uint64_t bytes)
{
	harness_need_root();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		harness_skip("no mount namespace is to be had: %s", strerror(errno));
	(void)snprintf(disk->dir, sizeof(disk->dir), "/tmp/segmentd-disk-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(disk->dir));
	/* Nothing of it is seen outside, or stays. */
	if (mount("tmpfs", disk->dir, "tmpfs", 0, "mode=0700"))
		harness_skip("no tmpfs is to be mounted: %s", strerror(errno));
	mount_image(disk, disk->dir, bytes);
	start_warden(disk->dir_fd);
}

void
disk_mount_on(struct disk *disk, const struct disk *below, uint64_t bytes)
{
	(void)snprintf(disk->dir, sizeof(disk->dir), "%.56s/on", below->dir);
	ck_assert_int_eq(mkdir(disk->dir, 0700), 0);
	mount_image(disk, below->dir, bytes);
}

void
disk_freeze(struct disk *disk)
{
	ck_assert_int_eq(ioctl(disk->dir_fd, FIFREEZE, 0), 0);
}

void
disk_thaw(struct disk *disk)
{
	ck_assert_int_eq(ioctl(disk->dir_fd, FITHAW, 0), 0);
}

void
disk_unmount(struct disk *disk)
{
	close_fd(&disk->dir_fd);
	(void)umount2(disk->dir, MNT_DETACH);
	(void)umount2(disk->dir, MNT_DETACH);
	(void)rmdir(disk->dir);
}

static char
process_state(pid_t pid)
{
	char path[64], state = 0;
	cleanup_fclose FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		return 0;
	return state;
}

unsigned
disk_n_stuck(pid_t parent, pid_t *ret_last)
{
	pid_t children[16];
	size_t n = harness_children(parent, children, BASE_ARRAY_SIZE(children));
	unsigned n_stuck = 0;

	for (size_t i = 0; i < n; i++)
		if (process_state(children[i]) == 'D') {
			*ret_last = children[i];
			n_stuck++;
		}
	return n_stuck;
}

pid_t
disk_await_stuck(pid_t parent)
{
	uint64_t deadline = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	pid_t pid;

	while (harness_clock_ns() < deadline)
		if (disk_n_stuck(parent, &pid))
			return pid;
	harness_fail("nobody waits for the disk");
}
