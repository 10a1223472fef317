/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The fake's side of the connection, which is its standard input. */
#include "config.h"

#include "tests/host/auditfake.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "base/base.h"

#define PART_VARIABLE	"AUDITFAKE"

void
auditfake_choose(const char *name)
{
	static char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	(void)setenv("SEGMENTD_AUDIT", self, 1);
	(void)setenv(PART_VARIABLE, name, 1);
}

void
auditfake_begin(char **argv, const struct auditfake_part *parts)
{
	static struct auditfake fake;
	const char *name = getenv(PART_VARIABLE);
	ssize_t n;

	if (!name || !streq(argv[0], "segmentd-audit"))
		return;
	while (parts->name && !streq(parts->name, name))
		parts++;
	if (!parts->name)
		_exit(1);
	while ((n = recv(STDIN_FILENO, fake.bytes, sizeof(fake.bytes), 0)) > 0) {
		fake.fd = STDIN_FILENO;
		fake.size = (size_t)n;
		parts->answer(&fake);
	}
	_exit(0);
}

const void *
auditfake_rows(const struct auditfake *fake)
{
	return fake->bytes + sizeof(fake->question);
}

struct audit_answer
auditfake_header(const struct auditfake *fake, unsigned n_rows)
{
	return (struct audit_answer){
		.version = AUDIT_VERSION,
		.kind = fake->question.kind,
		.serial = fake->question.serial,
		.n_rows = n_rows,
		.row_size = fake->question.kind == AUDIT_WHO ? sizeof(struct audit_holder) : sizeof(struct audit_stray),
	};
}

void
auditfake_send(const struct auditfake *fake, const struct audit_answer *answer, const void *rows, size_t size)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof(*answer) },
		{ .iov_base = (void *)(uintptr_t)rows, .iov_len = size },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = size ? 2 : 1 };

	(void)sendmsg(fake->fd, &message, MSG_NOSIGNAL);
}

void
auditfake_answer(const struct auditfake *fake, const void *rows, unsigned n_rows, unsigned flags)
{
	struct audit_answer answer = auditfake_header(fake, n_rows);

	answer.flags = flags;
	auditfake_send(fake, &answer, rows, (size_t)n_rows * answer.row_size);
}

struct audit_holder
auditfake_holder(unsigned object, int pid)
{
	return (struct audit_holder){
		.object = object,
		.pid = pid,
		.how = AUDIT_MAPS_READ | AUDIT_FD_WRITE,
		.n_maps = 1,
		.n_fds = 1,
		.command = "worker",
		.cgroup = "/system.slice/a.service",
	};
}

struct audit_stray
auditfake_posix(const char *name, enum audit_verdict verdict)
{
	struct audit_stray row = {
		.what = AUDIT_POSIX,
		.verdict = verdict,
		.proof = AUDIT_BY_LEASE,
		.device = 5,
		.inode = 1000,
		.shm_id = -1,
		.size_bytes = 2 * MIB,
		.resident_bytes = MIB,
		.mode = S_IFREG | 0600,
		.detached_s = 1700000000,
	};

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	return row;
}

struct audit_stray
auditfake_sysv(int id, enum audit_verdict verdict)
{
	return (struct audit_stray){
		.what = AUDIT_SYSV,
		.verdict = verdict,
		.proof = AUDIT_BY_NATTCH,
		.shm_id = id,
		.key = 0x7a2f,
		.size_bytes = 3 * MIB,
		.resident_bytes = 4 * KIB,
		.mode = 0600,
		.attached_s = 1700000000,
		.detached_s = 1700000100,
		.changed_s = 1699999999,
		.creator = 4242,
		.last = 4243,
	};
}
