/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "host/audit.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire_auditor.h"

#define ROWS_MAX	16

static int listening = -1, asked_by = -1;

/* What was asked: an answer is of the same serial and kind, and to so many rows. */
static struct {
	struct audit_question header;
	struct audit_candidate candidate;	/* the first, of those that are to be judged */
} asked;

static union {
	struct audit_answer header;
	char bytes[sizeof(struct audit_answer) + ROWS_MAX * sizeof(struct audit_stray)];
} answer;

void
wire_auditor_open(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	fuzz_check(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(listening >= 0 && bind(listening, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listening, 8) == 0);
}

/* The newest connection's last question. */
static bool
hear(void)
{
	static union {
		struct audit_question header;
		char bytes[AUDIT_MESSAGE_BYTES];
	} message;
	ssize_t n;
	int fd;

	while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		close_fd(&asked_by);
		asked_by = fd;
	}
	while (asked_by >= 0 && (n = recv(asked_by, &message, sizeof(message), 0)) >= (ssize_t)sizeof(message.header)) {
		asked.header = message.header;
		fuzz_check(message.header.version == AUDIT_VERSION);
		if (message.header.kind == AUDIT_JUDGE && message.header.n_rows)
			memcpy(&asked.candidate, message.bytes + sizeof(message.header), sizeof(asked.candidate));
	}
	return asked_by >= 0 && asked.header.kind;
}

static void
fill_holder(struct audit_holder *row, uint32_t i, bool is_strange)
{
	*row = (struct audit_holder) {
		.object = asked.header.n_rows ? i % asked.header.n_rows : 0, .pid = is_strange ? 4000000 + (int32_t)i : (int32_t)getpid(),
		.uid = 70002, .how = i & 1 ? AUDIT_MAPS_READ | AUDIT_MAPS_WRITE : AUDIT_FD_READ, .n_maps = 1, .n_fds = i, .mapped_bytes = 4096,
		.started_ns = 1, .inner_pid = is_strange ? 7 : 0, .command = "fuzz", .cgroup = "/fuzz",
	};
}

static void
fill_stray(struct audit_stray *row, uint32_t i)
{
	bool is_posix = asked.header.kind == AUDIT_JUDGE ? asked.candidate.what == AUDIT_POSIX : i % 2 == 0;

	*row = (struct audit_stray) {
		.what = is_posix ? AUDIT_POSIX : AUDIT_SYSV, .verdict = AUDIT_UNHELD, .proof = is_posix ? AUDIT_BY_LEASE : AUDIT_BY_NATTCH,
		.device = is_posix ? 1 : 0, .inode = is_posix ? i + 1 : 0, .shm_id = is_posix ? -1 : (int32_t)i, .size_bytes = 4096, .uid = 70002,
		.mode = is_posix ? 0100600 : 0600,
	};
	if (is_posix)
		(void)snprintf(row->name, sizeof(row->name), "segment-fuzz-stray-%u", i);
}

/* Its bytes. */
static size_t
compose(unsigned n_rows, unsigned flags)
{
	uint32_t kind = flags & WIRE_AUDITOR_OTHER ? 1 + asked.header.kind % 3 : asked.header.kind;
	size_t row_size = kind == AUDIT_WHO ? sizeof(struct audit_holder) : sizeof(struct audit_stray);

	memset(&answer, 0, sizeof(answer));
	answer.header = (struct audit_answer) {
		.version = AUDIT_VERSION, .kind = kind, .serial = asked.header.serial, .n_rows = n_rows, .row_size = (uint32_t)row_size,
		.flags = flags & (AUDIT_MORE | AUDIT_INCOMPLETE), .n_seen = 5, .n_hidden = flags & WIRE_AUDITOR_STRANGE ? 2 : 0,
		.result = flags & WIRE_AUDITOR_FAILS ? -EPERM : 0, .text = "as it is",
	};
	for (uint32_t i = 0; i < n_rows; i++) {
		char *row = answer.bytes + sizeof(answer.header) + i * row_size;

		if (kind == AUDIT_WHO)
			fill_holder((void *)row, i, flags & WIRE_AUDITOR_STRANGE);
		else
			fill_stray((void *)row, i);
	}
	return sizeof(answer.header) + n_rows * row_size;
}

void
wire_auditor_answer(unsigned n_rows, unsigned flags, uint32_t at, uint64_t value)
{
	size_t size;

	if (!hear())
		return;
	size = compose(n_rows % ROWS_MAX, flags);
	if (flags & WIRE_AUDITOR_CHANGED)
		memcpy(answer.bytes + at % (size - sizeof(value)), &value, (size_t)1 << (at >> 30));
	(void)send(asked_by, &answer, flags & WIRE_AUDITOR_SHORT ? at % size : size, MSG_NOSIGNAL);
	if (flags & WIRE_AUDITOR_ENDS)
		close_fd(&asked_by);
}

void
wire_auditor_hang_up(void)
{
	(void)hear();
	close_fd(&asked_by);
	memset(&asked, 0, sizeof(asked));
}
