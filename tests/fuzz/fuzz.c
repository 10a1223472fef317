/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <dirent.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "tests/fuzz/fuzz.h"

static char dir_path[64];
static pid_t dir_owner;

void
fuzz_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	/* Not by stderr, which may be quiet. */
	(void)dprintf(STDERR_FILENO, "\n%s:%d: ", file, line);
	va_start(args, format);
	(void)vdprintf(STDERR_FILENO, format, args);
	va_end(args);
	(void)dprintf(STDERR_FILENO, "\n");
	abort();
}

void __lsan_register_root_region(const void *memory, size_t size) __attribute__((weak));

void
fuzz_keep_reachable(const void *memory, size_t size)
{
	if (__lsan_register_root_region)
		__lsan_register_root_region(memory, size);
}

void
fuzz_quiet(void)
{
	FILE *nowhere = fopen("/dev/null", "we");

	fuzz_check(nowhere);
	if (!getenv("FUZZ_LOUD"))
		stderr = nowhere;
}

size_t
fuzz_bytes(struct fuzz_input *input, void *to, size_t n)
{
	size_t length = (size_t)min_u64(n, input->left);

	if (length)
		memcpy(to, input->at, length);
	memset((char *)to + length, 0, n - length);
	input->at += length;
	input->left -= length;
	return length;
}

uint8_t
fuzz_u8(struct fuzz_input *input)
{
	uint8_t value;

	(void)fuzz_bytes(input, &value, sizeof(value));
	return value;
}

uint16_t
fuzz_u16(struct fuzz_input *input)
{
	uint16_t value;

	(void)fuzz_bytes(input, &value, sizeof(value));
	return value;
}

uint32_t
fuzz_u32(struct fuzz_input *input)
{
	uint32_t value;

	(void)fuzz_bytes(input, &value, sizeof(value));
	return value;
}

uint64_t
fuzz_u64(struct fuzz_input *input)
{
	uint64_t value;

	(void)fuzz_bytes(input, &value, sizeof(value));
	return value;
}

uint32_t
fuzz_below(struct fuzz_input *input, uint32_t n)
{
	uint32_t value = n <= 256 ? fuzz_u8(input) : fuzz_u32(input);

	return n ? value % n : 0;
}

unsigned
fuzz_count_fds(bool tells)
{
	DIR *stream = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned n = 0;

	fuzz_check(stream);
	while ((entry = readdir(stream))) {
		char target[256];
		ssize_t length = readlinkat(dirfd(stream), entry->d_name, target, sizeof(target));

		if (length <= 0 || memcmp(target, "pipe:", (size_t)min_u64((uint64_t)length, 5)) == 0)
			continue;
		n++;
		if (tells)
			(void)dprintf(STDERR_FILENO, "  %s: %.*s\n", entry->d_name, (int)length, target);
	}
	(void)closedir(stream);
	return n;
}

static int
remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
	(void)remove(path);
	return 0;
}

static void
remove_dir(void)
{
	/* Workers and other children end as well, and have not made it. */
	if (getpid() == dir_owner)
		(void)nftw(dir_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *
fuzz_dir(void)
{
	const char *above = getenv("TMPDIR");

	if (dir_owner == getpid())
		return dir_path;
	(void)snprintf(dir_path, sizeof(dir_path), "%s/segment-fuzz-XXXXXX", above && strlen(above) < 32 ? above : "/tmp");
	fuzz_check(mkdtemp(dir_path));
	dir_owner = getpid();
	(void)atexit(remove_dir);
	return dir_path;
}

ssize_t
fuzz_send(int fd, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	union {
		char bytes[CMSG_SPACE(FUZZ_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		memset(&control, 0, CMSG_SPACE(n_fds * sizeof(int)));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
