/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "client/control.h"
#include "client/protocol.h"
#include "conf/pack.h"
#include "daemon/box_pair.h"
#include "daemon/kept.h"
#include "daemon/ledger_rows.h"
#include "host/mark.h"
#include "host/process.h"
#include "host/record.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/state_past.h"

#define ROWS_MAX	256
#define RECORDS_MAX	32
#define FDS_MAX		128
#define PAIRS_MAX	6
#define OBJECTS_MAX	32
#define CHANGES_MAX	8
#define N_FILES		3	/* ledger, record, configuration */
#define SEALS		(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct past_object {
	uint64_t generation;
	bool is_control;
	int fd;
};

struct message {
	struct box_wire_header header;
	struct box_wire_label labels[BOX_MESSAGE_FDS];
};

static struct {
	const struct conf *conf;
	const char *state_dir;
	struct past_change changes[CHANGES_MAX], spoils[N_FILES][CHANGES_MAX];
	unsigned n_changes, n_spoils[N_FILES];
	uint64_t cuts[N_FILES];
	bool is_kept, is_unchanged;
	struct ledger_row rows[ROWS_MAX];
	uint32_t n_rows;
	struct record_row records[RECORDS_MAX];
	unsigned n_records;
	uint64_t last_chain;
	struct message message;
	int message_fds[BOX_MESSAGE_FDS];
	unsigned n_items;
	int own[FDS_MAX];		/* the clients' ends, and copies of what was made */
	unsigned n_own;
	struct past_object objects[OBJECTS_MAX];
	unsigned n_objects;
	int pairs[PAIRS_MAX][2];
	unsigned n_pairs;
	char boot[MARK_BOOT_SIZE];
	uint64_t process;
} past;

void
past_begin(const struct conf *conf, const char *state_dir)
{
	if (!past.process) {
		cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

		past.process = process_number(pidfd);
		fuzz_check(mark_read_boot("", past.boot) == 0);
	}
	past.conf = conf;
	past.state_dir = state_dir;
	past.n_changes = 0;
	for (unsigned i = 0; i < N_FILES; i++) {
		past.n_spoils[i] = 0;
		past.cuts[i] = UINT64_MAX;
	}
	past.is_kept = past.is_unchanged = false;
	past.n_rows = 1;
	past.n_records = past.n_items = past.n_own = past.n_objects = past.n_pairs = 0;
	past.last_chain = 0;
	memset(&past.message, 0, sizeof(past.message));
}

void
past_change(const struct past_change *change)
{
	if (past.n_changes < CHANGES_MAX)
		past.changes[past.n_changes++] = *change;
}

static void
change(void *bytes, size_t size)
{
	for (unsigned i = 0; i < past.n_changes; i++) {
		size_t at = past.changes[i].at % 1024 % size, length = (size_t)1 << (past.changes[i].at >> 30);

		memcpy((char *)bytes + at, &past.changes[i].value, (size_t)min_u64(length, size - at));
	}
	past.n_changes = 0;
}

static int
own(int fd)
{
	fuzz_check(fd >= 0);
	if (past.n_own < FDS_MAX)
		past.own[past.n_own++] = fd;
	else
		(void)close(fd);
	return past.n_own < FDS_MAX ? fd : -1;
}

/* One that is odd, or cannot be put, is left out. */
static void
add_item(uint32_t kind, uint64_t id, int fd)
{
	if (past.n_items == BOX_MESSAGE_FDS || fd < 0)
		return;
	past.message.labels[past.n_items] = (struct box_wire_label) { kind, (uint32_t)id, (uint32_t)(id >> 32) };
	past.message_fds[past.n_items++] = fd;
}

static struct ledger_row *
add_row(enum ledger_kind kind)
{
	struct ledger_row *row = &past.rows[past.n_rows];

	if (past.n_rows == ROWS_MAX)
		return NULL;
	memset(row, 0, sizeof(*row));
	row->kind = kind;
	row->index = past.n_rows++;
	return row;
}

static void
finish_row(struct ledger_row *row, unsigned flags)
{
	change((char *)row + sizeof(row->sum), sizeof(*row) - sizeof(row->sum));
	row->sum = ledger_sum(row) ^ (flags & 1);
}

/* The definition's bytes and what else there is of it, in rows behind one another. */
static struct ledger_chain
add_texts(const struct definition *definition)
{
	struct ledger_texts_header header = { .n_reason = 4 };
	struct ledger_chain chain = { .number = ++past.last_chain, .first = past.n_rows };
	struct pack pack = PACK_NULL;
	unsigned char bytes[4096];
	size_t at = 0;

	fuzz_check(pack_definition(&pack, definition) == 0 && pack.length + sizeof(header) + 4 <= sizeof(bytes));
	header.n_definition = (uint32_t)pack.length;
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), pack.bytes, pack.length);
	memcpy(bytes + sizeof(header) + pack.length, "why", 4);
	chain.n_bytes = (uint32_t)(sizeof(header) + pack.length + 4);
	pack_deinit(&pack);
	for (uint32_t ordinal = 0; at < chain.n_bytes; ordinal++) {
		struct ledger_row *row = add_row(LEDGER_TEXT);
		size_t n = (size_t)min_u64(LEDGER_TEXT_BYTES, chain.n_bytes - at);

		if (!row)
			break;
		row->body.text = (struct ledger_text) {
			.number = chain.number, .ordinal = ordinal, .n_bytes = (uint32_t)n,
			.next = at + n < chain.n_bytes ? past.n_rows : 0,
		};
		memcpy(row->body.text.bytes, bytes + at, n);
		row->sum = ledger_sum(row);
		at += n;
	}
	return chain;
}

static int
make_object(const char *name, uint64_t bytes, struct stat *ret_status)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0);
	fuzz_check(fstat(fd, ret_status) == 0);
	return own(fd);
}

static void
note_object(uint64_t generation, bool is_control, int fd)
{
	if (past.n_objects < OBJECTS_MAX)
		past.objects[past.n_objects++] = (struct past_object) { generation, is_control, fd };
}

int
past_find_object(uint64_t generation, bool is_control)
{
	for (unsigned i = 0; i < past.n_objects; i++)
		if (past.objects[i].generation == generation && past.objects[i].is_control == is_control)
			return past.objects[i].fd;
	return -1;
}

void
past_add_segment(unsigned index, uint64_t generation, uint32_t state, unsigned flags)
{
	const struct definition *definition = past.conf->segments[index % past.conf->n_segments];
	struct ledger_segment body = {
		.generation = generation, .cursor = generation, .map_bytes = definition->max_size_bytes, .state = state,
		.flags = LEDGER_SEGMENT_DECLARED, .claim_id = 3, .last_id = 9, .shm_id = -1,
	};
	struct ledger_row *row;
	struct stat status;
	int fd;

	body.texts = add_texts(definition);
	fd = make_object("segmentd:fuzz", definition->max_size_bytes, &status);
	note_object(generation, false, fd);
	body.data_device = status.st_dev;
	body.data_inode = status.st_ino;
	if (!(flags & 2))
		add_item(BOX_SEGMENT_DATA, generation, fd);
	if (definition->n_locks) {
		body.control_bytes = 4096;
		fd = make_object("segmentd:fuzz-control", body.control_bytes, &status);
		note_object(generation, true, fd);
		body.control_device = status.st_dev;
		body.control_inode = status.st_ino;
		if (flags & 4)		/* a section that the daemon's end has cut short, or that lies */
			(void)!pwrite(fd, &past.changes, sizeof(past.changes), 0);
		if (!(flags & 8))
			add_item(BOX_SEGMENT_CONTROL, generation, fd);
	}
	row = add_row(LEDGER_SEGMENT);
	if (!row)
		return;
	row->body.segment = body;
	finish_row(row, flags);
}

void
past_add_lock(uint64_t generation, uint32_t index, unsigned flags)
{
	struct ledger_row *row = add_row(LEDGER_LOCK);

	if (!row)
		return;
	row->body.lock = (struct ledger_lock) { .generation = generation, .index = index, .n_recoveries = 2, .recovered_ns = 5 };
	finish_row(row, flags);
}

void
past_add_session(uint64_t id, uint16_t pending, unsigned flags)
{
	struct protocol_detach request = {
		.header = { .size = sizeof(request), .type = pending, .serial = 7 }, .attachment = 3, .generation = 1,
	};
	struct ledger_row *row = add_row(LEDGER_SESSION);
	struct stat status;
	int pair[2];

	if (!row)
		return;
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0 && fstat(pair[0], &status) == 0);
	row->body.session = (struct ledger_session) {
		.id = id, .process = past.process, .since_ns = 1, .socket_inode = status.st_ino, .serial = 6, .uid = (uint32_t)geteuid(),
		.gid = (uint32_t)getegid(), .pid = getpid(), .flags = LEDGER_SESSION_GREETED,
	};
	if (pending == PROTOCOL_RETURN || pending == PROTOCOL_DETACH || pending == PROTOCOL_SUBSCRIBE)
		(void)!send(pair[1], &request, sizeof(request), 0);
	else if (pending)
		(void)!send(pair[1], &request.header, sizeof(request.header), 0);
	finish_row(row, flags);
	if (!(flags & 2))
		add_item(BOX_SESSION, id, own(pair[0]));
	else
		(void)own(pair[0]);
	(void)own(pair[1]);
}

void
past_add_attachment(uint64_t generation, uint64_t session, uint32_t id, unsigned flags)
{
	struct ledger_row *row = add_row(LEDGER_ATTACHMENT);

	if (!row)
		return;
	row->body.attachment = (struct ledger_attachment) {
		.generation = generation, .process = past.process, .session = session, .since_ns = 1, .id = id,
		.access = PROTOCOL_ACCESS_READ | (flags & 4 ? PROTOCOL_ACCESS_WRITE : 0), .uid = (uint32_t)geteuid(), .pid = getpid(),
		.flags = flags & 8 ? LEDGER_ATTACHMENT_MARKED : 0, .serial = 5,
	};
	finish_row(row, flags);
}

void
past_add_record(unsigned backend, uint64_t generation, unsigned flags)
{
	static const char *const backends[] = { "memfd", "posix", "sysv", "file" };
	static const char *const objects[] = { "private", "/segment-fuzz-nobody", "0x7a2ffeed", "/segment-fuzz/nothing" };
	struct record_row *row = &past.records[past.n_records];

	if (past.n_records == RECORDS_MAX)
		return;
	past.n_records++;
	*row = (struct record_row) {
		.state = RECORD_READY, .maker_pid = getpid(), .generation = generation, .made_ns = 1, .device = 1, .inode = 2,
		.map_bytes = 16384, .shm_id = -1,
	};
	(void)snprintf(row->backend, sizeof(row->backend), "%s", backends[backend % 4]);
	(void)snprintf(row->segment, sizeof(row->segment), "s%u", (unsigned)(generation % 4));
	(void)snprintf(row->object, sizeof(row->object), "%s", objects[backend % 4]);
	change((char *)row + sizeof(row->sum), sizeof(*row) - sizeof(row->sum));
	row->sum = record_sum(row) ^ (flags & 1);
}

void
past_add_item(uint32_t kind, uint64_t id, unsigned what)
{
	struct stat status;

	if (what % 4 == 0 && past.n_own)
		add_item(kind, id, past.own[(what >> 2) % past.n_own]);
	else if (what % 4 == 1)
		add_item(kind, id, make_object("fuzz-odd", what, &status));
	else if (what % 4 == 2)
		add_item(kind, id, own(open("/dev/null", O_RDWR | O_CLOEXEC)));
	else
		add_item(kind, id, own(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)));
}

static int *
last_pair(bool is_new)
{
	if (past.n_pairs == 0 || (is_new && past.n_pairs < PAIRS_MAX)) {
		int size = 1 << 20;

		fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, past.pairs[past.n_pairs]) == 0);
		(void)setsockopt(past.pairs[past.n_pairs][0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		past.n_pairs++;
	}
	return past.pairs[past.n_pairs - 1];
}

void
past_end_message(unsigned flags)
{
	union {
		char bytes[CMSG_SPACE(BOX_MESSAGE_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = &past.message };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	const int *pair = last_pair(flags & 1);

	memcpy(past.message.header.magic, BOX_WIRE_MAGIC, sizeof(past.message.header.magic));
	past.message.header.version = BOX_WIRE_VERSION;
	past.message.header.n_labels = (uint16_t)past.n_items;
	past.message.header.flags = past.n_items ? 0 : BOX_WIRE_FILLED;
	iov.iov_len = sizeof(past.message.header) + past.n_items * sizeof(past.message.labels[0]);
	change(&past.message, iov.iov_len);
	if (flags & 8)
		iov.iov_len -= 5;
	if (past.n_items) {
		size_t space = CMSG_SPACE(past.n_items * sizeof(int));

		memset(&control, 0, space);
		message.msg_control = &control;
		message.msg_controllen = space;
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(past.n_items * sizeof(int));
		memcpy(CMSG_DATA(&control.align), past.message_fds, past.n_items * sizeof(int));
	}
	(void)sendmsg(pair[flags & 4 ? 1 : 0], &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	past.n_items = 0;
	if (flags & 2)
		past_end_message(0);
}

void
past_keep(unsigned flags)
{
	past.is_kept = true;
	past.is_unchanged = flags & 1;
}

void
past_spoil(unsigned which, const struct past_change *spoil)
{
	which %= N_FILES;
	if (past.n_spoils[which] < CHANGES_MAX)
		past.spoils[which][past.n_spoils[which]++] = *spoil;
}

void
past_cut(unsigned which, uint64_t size)
{
	past.cuts[which % N_FILES] = size;
}

/* size: as it is. */
static void
damage(unsigned which, int fd, size_t size)
{
	for (unsigned i = 0; i < past.n_spoils[which]; i++)
		(void)!pwrite(fd, &past.spoils[which][i].value, (size_t)1 << (past.spoils[which][i].at >> 30),
		    (off_t)(past.spoils[which][i].at % (size + 64)));
	if (past.cuts[which] != UINT64_MAX)
		(void)!ftruncate(fd, (off_t)(past.cuts[which] % (size + 600)));
}

static void
write_file(unsigned which, const char *name, const void *header, size_t header_size, const void *rows, size_t size)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", past.state_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fuzz_check(fd >= 0 && write(fd, header, header_size) == (ssize_t)header_size && write(fd, rows, size) == (ssize_t)size);
	damage(which, fd, header_size + size);
	(void)close(fd);
}

static int
open_kept(void)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" KEPT_FILE, past.state_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	fuzz_check(fd >= 0);
	return fd;
}

static void
write_kept(void)
{
	static const struct origin vague = { .is_vague = true };
	cleanup_close int fd = -1;
	struct stat status;

	fuzz_check(kept_write(past.state_dir, past.conf, &vague) == 0);
	fd = open_kept();
	fuzz_check(fstat(fd, &status) == 0);
	damage(2, fd, (size_t)status.st_size);
}

int
past_take_kept(struct start *start)
{
	const struct conf_report none = CONF_REPORT_NULL;
	cleanup_close int fd = -1;
	char why[PACK_WHY_SIZE];
	int r;

	if (!past.is_kept)
		return 0;
	start->conf = conf_free(start->conf);
	past.conf = NULL;
	if (!past.is_unchanged)
		return start_init(start, NULL, &none);
	fd = open_kept();
	r = pack_read_conf(fd, why, &start->conf, &start->known);
	start->is_unchanged = r == 0;
	return r;
}

static void
write_files(void)
{
	struct ledger_header ledger = { .magic = LEDGER_MAGIC, .version = LEDGER_VERSION, .row_bytes = LEDGER_ROW_BYTES, .pid = 1 };
	struct record_header record = { .magic = RECORD_MAGIC, .version = RECORD_VERSION, .row_bytes = RECORD_ROW_BYTES, .pid = 1 };

	memcpy(ledger.boot, past.boot, min_u64(sizeof(ledger.boot), sizeof(past.boot)));
	memcpy(record.boot, past.boot, min_u64(sizeof(record.boot), sizeof(past.boot)));
	ledger.sum = ledger_sum(&ledger);
	record.sum = record_sum(&record);
	write_file(0, LEDGER_FILE, &ledger, sizeof(ledger), past.rows + 1, (past.n_rows - 1) * sizeof(past.rows[0]));
	write_file(1, RECORD_FILE, &record, sizeof(record), past.records, past.n_records * sizeof(past.records[0]));
	if (past.is_kept)
		write_kept();
}

void
past_hand_down(struct inherited *inherited)
{
	if (past.n_items)
		past_end_message(2);
	write_files();
	*inherited = (struct inherited) INHERITED_NULL;
	inherited->entries = calloc(2 * PAIRS_MAX, sizeof(*inherited->entries));
	fuzz_check(inherited->entries);
	for (unsigned i = 0; i < past.n_pairs; i++) {
		for (unsigned side = 0; side < 2; side++) {
			struct inherited_entry *entry = &inherited->entries[inherited->n++];

			box_pair_name(i + 1, side ? BOX_B : BOX_A, entry->name);
			entry->fd = past.pairs[i][side];
		}
	}
	past.n_pairs = 0;
}

void
past_end(void)
{
	while (past.n_own)
		(void)close(past.own[--past.n_own]);
	while (past.n_pairs) {
		past.n_pairs--;
		(void)close(past.pairs[past.n_pairs][0]);
		(void)close(past.pairs[past.n_pairs][1]);
	}
}
