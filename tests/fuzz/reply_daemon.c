/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The library reaches it by connect(2), which makes it one end of a pair, and by recvmsg(2), before which it is the fake's turn. What
 * the library maps is looked at here, too: nothing of an object that is not there, since a store to it would be a SIGBUS.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "client/control.h"
#include "client/protocol.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/reply_daemon.h"

#define ENDS_MAX	16
#define LIES_MAX	16
#define MAPS_MAX	512
#define FDS_MAX		(PROTOCOL_FDS_MAX + 8)
#define CONTROL_BYTES	((uint64_t)8192)
#define LOG_BYTES	512
#define OBJECT_MAX	((uint64_t)8 << 20)

struct end {
	int client_fd, fd;
};

/* An answer under construction. */
struct answer {
	union {
		struct protocol_header header;
		struct protocol_attached attached;
		struct protocol_attached_many many;
		struct protocol_welcome welcome;
		struct protocol_waited waited;
		struct protocol_listed listed;
		struct protocol_returned returned;
		struct protocol_event event;
		char bytes[2 * PROTOCOL_MESSAGE_MAX];
	};
	size_t size;
	int fds[FDS_MAX];
	unsigned n_fds;
};

static struct end ends[ENDS_MAX];
static unsigned n_ends;
static struct reply_lie lies[LIES_MAX];
static unsigned n_lies;
static int data_fd = -1, control_fd = -1;
static uint32_t last_attachment;
static struct {
	void *at;
	size_t bytes;
} maps[MAPS_MAX];
static struct answer answer;

/* In the places of the C library's */

int
connect(int fd, const struct sockaddr *address, socklen_t size)
{
	const struct sockaddr_un *at = (const void *)address;
	int pair[2];

	if (at->sun_family != AF_UNIX || strncmp(at->sun_path, REPLY_PATH, sizeof(at->sun_path)) != 0)
		return (int)syscall(SYS_connect, fd, address, size);
	if (n_ends == ENDS_MAX) {
		errno = ECONNREFUSED;
		return -1;
	}
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	fuzz_check(dup3(pair[0], fd, O_CLOEXEC) == fd);
	(void)close(pair[0]);
	ends[n_ends++] = (struct end) { .client_fd = fd, .fd = pair[1] };
	return 0;
}

void *
mmap(void *wanted, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *at = (void *)syscall(SYS_mmap, wanted, length, protection, flags, fd, offset);
	struct stat status;

	if (at == MAP_FAILED || fd < 0 || !(flags & MAP_SHARED))
		return at;
	fuzz_check(fstat(fd, &status) == 0);
	fuzz_check_msg((uint64_t)offset + length <= round_up((uint64_t)status.st_size, 4096), "%zu bytes are mapped of %jd", length,
	    (intmax_t)status.st_size);
	for (unsigned i = 0; i < MAPS_MAX; i++) {
		if (maps[i].bytes)
			continue;
		maps[i].at = at;
		maps[i].bytes = length;
		return at;
	}
	fuzz_fail(__FILE__, __LINE__, "too many mappings");
}

int
munmap(void *at, size_t length)
{
	for (unsigned i = 0; i < MAPS_MAX; i++) {
		if (!maps[i].bytes || maps[i].at < at || (char *)maps[i].at >= (char *)at + length)
			continue;
		fuzz_check_msg(maps[i].at == at && round_up(maps[i].bytes, 4096) == round_up(length, 4096), "half a mapping goes");
		maps[i].bytes = 0;
	}
	return (int)syscall(SYS_munmap, at, length);
}

/* Nobody waits here for what only time brings. */
int
nanosleep(const struct timespec *wanted, struct timespec *left)
{
	return 0;
}

uint64_t
reply_mapped_bytes(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MAPS_MAX; i++)
		n += maps[i].bytes;
	return n;
}

/* What it says */

static void
fill_row(struct protocol_lock *row, uint32_t i)
{
	*row = (struct protocol_lock) {
		.cursor = i + 1, .offset_bytes = i * 4096, .length_bytes = 4096, .kind = PROTOCOL_LOCK_OURS,
		.at_bytes = REPLY_LOCKS * CONTROL_RECORD_BYTES + i * LOG_BYTES, .log_bytes = LOG_BYTES, .on_death = (uint8_t)(i % 3),
	};
	(void)snprintf(row->name, sizeof(row->name), "lock%u", i);
	if (i == REPLY_LOCKS - 1) {
		row->kind = PROTOCOL_LOCK_MUTEX;
		row->at_bytes = i * 4096;
		row->log_bytes = 0;
		row->offset_bytes = row->length_bytes = 0;
		row->on_death = CONTROL_KEEP;
	}
}

static void
add_object(int *keep, const char *name, uint64_t bytes, bool is_reader)
{
	char path[40];
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), given;

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	given = open(path, (is_reader ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	fuzz_check(given >= 0 && answer.n_fds < FDS_MAX);
	close_fd(keep);
	*keep = fd;
	answer.fds[answer.n_fds++] = given;
}

/* A lie about the shape counts for the attachment that comes next. */
static const struct reply_lie *
find_lie(enum reply_lie_kind kind)
{
	for (unsigned i = 0; i < n_lies; i++)
		if (lies[i].kind == kind && lies[i].after == 0)
			return &lies[i];
	return NULL;
}

/* Appends what ATTACH is answered with. */
static void
add_attached(const struct protocol_header *request, uint32_t access)
{
	const struct reply_lie *shape = find_lie(REPLY_SHAPE);
	struct protocol_attached attached = {
		.header = *request, .generation = 5, .size_bytes = REPLY_BYTES, .map_bytes = REPLY_BYTES, .alignment_bytes = 4096,
		.attachment = ++last_attachment, .access = access, .n_locks = REPLY_LOCKS, .control_bytes = CONTROL_BYTES,
	};
	uint64_t bytes = REPLY_BYTES;
	size_t begun = answer.size;

	if (shape && shape->at & 1)
		attached.n_locks = 0, attached.control_bytes = 0;
	if (shape && shape->value)
		bytes = shape->value % OBJECT_MAX;
	if (shape && shape->at & 4)
		attached.map_bytes = attached.size_bytes = max_u64(bytes, 1);
	add_object(&data_fd, "fuzz-data", bytes, access == PROTOCOL_ACCESS_READ);
	attached.header.flags = PROTOCOL_REPLY;
	answer.size += sizeof(attached);
	if (attached.n_locks) {
		struct protocol_lock row;

		add_object(&control_fd, "fuzz-control", CONTROL_BYTES, access == PROTOCOL_ACCESS_READ);
		if (shape && shape->at & 2)
			attached.header.flags |= PROTOCOL_MORE;
		for (uint32_t i = 0; i < REPLY_LOCKS && !(attached.header.flags & PROTOCOL_MORE); i++) {
			fill_row(&row, i);
			memcpy(answer.bytes + answer.size, &row, sizeof(row));
			answer.size += sizeof(row);
		}
	}
	attached.header.size = (uint32_t)(answer.size - begun);
	memcpy(answer.bytes + begun, &attached, sizeof(attached));
}

static void
add_attached_many(const char *request)
{
	struct protocol_attach_many asked;
	struct protocol_attach_row row;
	struct protocol_header header;

	memcpy(&asked, request, sizeof(asked));
	answer.size = sizeof(answer.many);
	for (uint32_t i = 0; i < asked.n_rows && answer.size < PROTOCOL_MESSAGE_MAX / 2; i++) {
		memcpy(&row, request + sizeof(asked) + i * sizeof(row), sizeof(row));
		header = asked.header;
		add_attached(&header, row.access);
	}
	answer.many.n_rows = asked.n_rows;
	answer.many.n_fds = answer.n_fds;
}

static void
fill_answer(const char *bytes, const struct protocol_header *request)
{
	struct protocol_attach attach;
	struct protocol_locks locks;

	switch (request->type) {
	case PROTOCOL_HELLO:
		answer.welcome.version = PROTOCOL_VERSION;
		answer.welcome.features = PROTOCOL_FEATURE_RETURN;
		answer.welcome.session = 7;
		answer.size = sizeof(answer.welcome);
		break;
	case PROTOCOL_ATTACH:
		memcpy(&attach, bytes, sizeof(attach));
		answer.size = 0;
		add_attached(request, attach.access);
		break;
	case PROTOCOL_CREATE:
		answer.size = 0;
		add_attached(request, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE);
		break;
	case PROTOCOL_ATTACH_MANY:
		add_attached_many(bytes);
		break;
	case PROTOCOL_WAIT:
		answer.waited.state = PROTOCOL_READY;
		answer.size = sizeof(answer.waited);
		break;
	case PROTOCOL_LOCKS:
		memcpy(&locks, bytes, sizeof(locks));
		answer.size = sizeof(answer.listed);
		answer.listed.row_size = sizeof(struct protocol_lock);
		for (uint64_t i = locks.cursor; i < REPLY_LOCKS && answer.listed.n_rows < 2; i++) {
			fill_row((void *)(answer.bytes + answer.size), (uint32_t)i);
			answer.size += sizeof(struct protocol_lock);
			answer.listed.n_rows++;
		}
		if (locks.cursor + answer.listed.n_rows < REPLY_LOCKS)
			answer.header.flags |= PROTOCOL_MORE;
		break;
	case PROTOCOL_RETURN:
		answer.size = sizeof(answer.returned);
		break;
	default:
		break;
	}
}

static void
refuse(const struct reply_lie *lie)
{
	static const char sentence[] = "it cannot be\x1b had";

	answer.header.status = (int32_t)lie->value;
	answer.header.row = lie->at >> 16;
	answer.size = sizeof(answer.header) + sizeof(sentence) - (lie->at & 1);
	memcpy(answer.bytes + sizeof(answer.header), sentence, sizeof(sentence));
	answer.header.size = (uint32_t)answer.size;
}

static void
change_fds(const struct reply_lie *lie)
{
	unsigned n = lie->at % 6, wanted = lie->at >> 8 & 1 ? FDS_MAX / 2 : (lie->at >> 4) % 8;

	if (lie->at >> 9 & 1 && answer.n_fds > 1) {
		int first = answer.fds[0];

		answer.fds[0] = answer.fds[1];
		answer.fds[1] = first;
		return;
	}
	while (answer.n_fds > n)
		(void)close(answer.fds[--answer.n_fds]);
	while (answer.n_fds < wanted) {
		int fd = lie->value & 1 ? open("/dev/null", O_RDWR | O_CLOEXEC) : lie->value & 2 ? open("/", O_RDONLY | O_CLOEXEC) :
		    memfd_create("fuzz-odd", MFD_CLOEXEC);

		fuzz_check(fd >= 0);
		answer.fds[answer.n_fds++] = fd;
	}
}

static void
transmit(const struct end *end, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	(void)fuzz_send(end->fd, bytes, size, fds, n_fds);
}

static void
push_to(const struct end *end, const struct reply_lie *lie)
{
	struct protocol_event event = {
		.header = { .size = sizeof(event), .type = PROTOCOL_EVENT, .flags = PROTOCOL_REPLY | PROTOCOL_PUSHED },
		.kind = lie->at & 0x1f, .generation = 5, .value = lie->value, .total = REPLY_BYTES, .lock = (int32_t)(lie->at >> 5 & 7) - 1,
		.segment = "fuzz",
	};

	if (lie->at >> 8)
		memcpy((char *)&event + (lie->at >> 8) % (sizeof(event) - 8), &lie->value, 8);
	transmit(end, &event, sizeof(event), NULL, 0);
}

/* Those that are due, in their order; what is asked for later comes nearer. True: the connection ends. */
static bool
apply_lies(const struct end *end)
{
	unsigned n_left = 0;
	bool ends_here = false;

	for (unsigned i = 0; i < n_lies; i++) {
		struct reply_lie lie = lies[i];

		if (lie.after) {
			lie.after--;
			lies[n_left++] = lie;
			continue;
		}
		if (lie.kind == REPLY_PATCH)
			memcpy(answer.bytes + lie.at % (PROTOCOL_MESSAGE_MAX), &lie.value, (size_t)1 << (lie.at >> 30));
		else if (lie.kind == REPLY_RESIZE) {
			answer.size = (size_t)min_u64(lie.at % (PROTOCOL_MESSAGE_MAX + 64), sizeof(answer.bytes));
			if (lie.value & 1)
				answer.header.size = (uint32_t)answer.size;
		} else if (lie.kind == REPLY_STATUS)
			refuse(&lie);
		else if (lie.kind == REPLY_FDS)
			change_fds(&lie);
		else if (lie.kind == REPLY_PUSH)
			push_to(end, &lie);
		else if (lie.kind == REPLY_TWICE)
			transmit(end, answer.bytes, answer.size, answer.fds, lie.at & 1 ? answer.n_fds : 0);
		else if (lie.kind == REPLY_SILENCE)
			answer.size = 0;
		else if (lie.kind == REPLY_HANG_UP)
			ends_here = true;
	}
	n_lies = n_left;
	return ends_here;
}

/* True: it goes on. */
static bool
serve(const struct end *end, const char *bytes)
{
	struct protocol_header request;
	bool ends_here;

	memcpy(&request, bytes, sizeof(request));
	if (request.flags & PROTOCOL_QUIET)
		return true;
	memset(answer.bytes, 0, sizeof(answer.bytes));
	answer.n_fds = 0;
	answer.header = request;
	answer.header.flags = PROTOCOL_REPLY;
	answer.size = sizeof(answer.header);
	fill_answer(bytes, &request);
	answer.header.size = (uint32_t)answer.size;
	ends_here = apply_lies(end);
	if (answer.size)
		transmit(end, answer.bytes, answer.size, answer.fds, answer.n_fds);
	while (answer.n_fds)
		(void)close(answer.fds[--answer.n_fds]);
	return !ends_here;
}

/* Reads all that the library has asked, and answers. It waits for something: where there is nothing, that is the end. */
static void
take_turn(struct end *end)
{
	static _Alignas(8) char bytes[PROTOCOL_MESSAGE_MAX];
	ssize_t n;

	while (end->fd >= 0 && (n = recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		fuzz_check((size_t)n >= sizeof(struct protocol_header) && n <= PROTOCOL_REQUEST_MAX);
		fuzz_check(((struct protocol_header *)(void *)bytes)->size == (size_t)n);
		if (!serve(end, bytes))
			close_fd(&end->fd);
	}
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
	for (unsigned i = n_ends; i-- > 0;) {
		char byte;

		if (ends[i].client_fd != fd)
			continue;
		take_turn(&ends[i]);
		if (!(flags & MSG_DONTWAIT) && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
			close_fd(&ends[i].fd);
		break;
	}
	return syscall(SYS_recvmsg, fd, message, flags);
}

/* What the test says to it */

void
reply_reset(void)
{
	n_lies = 0;
	last_attachment = 0;
}

void
reply_lie(const struct reply_lie *lie)
{
	if (n_lies < LIES_MAX)
		lies[n_lies++] = *lie;
}

void
reply_store(unsigned which, uint64_t at, const void *bytes, size_t length)
{
	int fd = which ? control_fd : data_fd;

	/* Within the object, and not beyond, where nobody could. */
	if (fd >= 0 && at + length <= (which ? CONTROL_BYTES : REPLY_BYTES))
		(void)!pwrite(fd, bytes, length, (off_t)at);
}

void
reply_push(const struct reply_lie *lie)
{
	if (n_ends && ends[n_ends - 1].fd >= 0)
		push_to(&ends[n_ends - 1], lie);
}

void
reply_end(void)
{
	while (n_ends)
		close_fd(&ends[--n_ends].fd);
	close_fd(&data_fd);
	close_fd(&control_fd);
}
