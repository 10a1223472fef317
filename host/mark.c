/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Text, so that an administrator can read it; of a fixed size, so that it is written by one call. What is read is taken for a
 * mark only if writing it again would give the same bytes: nothing that is not understood is passed over.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "host/file.h"
#include "host/mark.h"

static const char *const state_names[] = { [MARK_FREE] = "free", [MARK_USED] = "used", [MARK_SPOILED] = "spoiled" };

/* FNV-1a: against accidents, not against anybody. */
static uint64_t
checksum(const char *bytes, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

void
mark_format(const struct mark *mark, char bytes[MARK_BYTES + 1])
{
	int n = snprintf(bytes, MARK_BYTES, "segmentd mark 1\nstate %s\nboot %s\ngeneration %" PRIu64 "\nsize %" PRIu64
	    "\npid %" PRId32 "\n", state_names[mark->state], mark->boot, mark->generation, mark->size_bytes, mark->pid);

	n += snprintf(bytes + n, MARK_BYTES - (size_t)n, "sum %016" PRIx64 "\n", checksum(bytes, (size_t)n));
	memset(bytes + n, '\n', MARK_BYTES - (size_t)n);
	bytes[MARK_BYTES] = '\0';
}

static bool
parse(const char *bytes, struct mark *ret_mark)
{
	struct mark mark = { 0 };
	char state[16], again[MARK_BYTES + 1];

	if (sscanf(bytes, "segmentd mark 1 state %15s boot %39s generation %" SCNu64 " size %" SCNu64 " pid %" SCNd32, state,
	    mark.boot, &mark.generation, &mark.size_bytes, &mark.pid) != 5)
		return false;
	for (mark.state = 0; mark.state < MARK_INVALID; mark.state++)
		if (streq(state_names[mark.state], state))
			break;
	if (mark.state == MARK_INVALID)
		return false;
	mark_format(&mark, again);
	*ret_mark = mark;
	return memcmp(bytes, again, MARK_BYTES) == 0;
}

int
mark_read(int fd, struct mark *ret_mark)
{
	char bytes[MARK_BYTES + 2];
	ssize_t n;

	do
		n = pread(fd, bytes, sizeof(bytes) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	bytes[n] = '\0';
	if (n != MARK_BYTES || !parse(bytes, ret_mark))
		*ret_mark = (struct mark) { .state = MARK_INVALID };
	return 0;
}

int
mark_read_boot(const char *root, char boot[MARK_BOOT_SIZE])
{
	int r = file_read_text(root, "/proc/sys/kernel/random/boot_id", boot, MARK_BOOT_SIZE);

	if (r)
		return r;
	boot[strcspn(boot, "\n ")] = '\0';
	return *boot ? 0 : -EIO;
}

/* Killed in this boot of the machine, a daemon leaves all in the kernel's page cache. */
bool
mark_is_clean(const struct mark *mark, const char *boot)
{
	return mark->state == MARK_FREE || (mark->state == MARK_USED && streq(mark->boot, boot));
}

bool
mark_was_enlarged(const struct mark *mark, uint64_t has_bytes, uint64_t max_bytes)
{
	return has_bytes > max_bytes && (mark->state == MARK_USED || mark->state == MARK_SPOILED) && mark->size_bytes == max_bytes;
}
