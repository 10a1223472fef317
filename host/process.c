/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the host says of a process. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "host/process.h"

/*
 * A process names itself as it likes. The name goes to terminals, logs and JSON, so that whatever is not printable ASCII
 * becomes a question mark: escape sequences, and pieces of characters that the kernel cut at 15 bytes.
 */
void
process_command(pid_t pid, char *buf, size_t size)
{
	cleanup_close int fd = -1;
	char path[64];
	ssize_t n = -1;

	if (size == 0)
		return;
	if (pid > 0) {
		(void)snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd >= 0)
		n = read(fd, buf, size - 1);
	if (n < 0)
		n = 0;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	for (char *p = buf; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
}
