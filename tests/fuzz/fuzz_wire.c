/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The wire: messages, with descriptors, in sequences, of several connections of several uids, through a real socket into the real
 * daemon. Clients also store into the control memory and the mutexes of what they attach, die at any point, and give back what they
 * had on other connections.
 *
 * After each input a client that has been there all the time is served; nothing is left of the others: no session, no attachment, no
 * charge, no descriptor. Strangers never see the name of what they may not know.
 *
 * An input is a row of steps of a fixed size, which are inserted, left out and exchanged as wholes.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "client/mutex.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/nursery.h"
#include "tests/fuzz/steps.h"
#include "tests/fuzz/wire_auditor.h"
#include "tests/fuzz/wire_daemon.h"
#include "tests/fuzz/wire_peer.h"

#define PEERS		6
#define STEPS_MAX	48
#define PATCHES_MAX	4
#define FDS_SENT_MAX	8
#define FDS_WAIT_MS	10000

enum step_kind {
	STEP_CONNECT,			/* a: who; b % 4 != 0: says HELLO, too */
	STEP_SEND,
	STEP_ATTACH,			/* likewise, of what is there, and reads the answer */
	STEP_PATCH,			/* the next message that is sent, at x, with y */
	STEP_RAW,
	STEP_READ,
	STEP_CLOSE,			/* a & 1: what it has attached stays with it, and it connects again as the same */
	STEP_DIE,
	STEP_TURN,
	STEP_PASS,			/* time */
	STEP_AWAIT,
	STEP_STORE,			/* into control memory or data */
	STEP_SECTION,			/* a lock is taken, a log written */
	STEP_MUTEX,
	STEP_DROP,			/* closes a descriptor of an attachment */
	STEP_HANGUP,			/* a: which configuration is there by then */
	STEP_PUNCH,			/* takes pages away */
	STEP_MARK,			/* locks bytes where the daemon's own marks are */
	STEP_AUDIT,			/* whoever listens at the audit socket answers */
	STEP_N
};

struct patch {
	uint32_t at;
	uint64_t value;
};

static struct wire_daemon wire;
static struct peer honest = PEER_NULL;
static struct peer peers[PEERS];
static struct patch patches[PATCHES_MAX];
static unsigned n_patches, n_fds_before;
static int pair_fds[2];

static const char *const names[] = { "plain", WIRE_LOCKED, WIRE_HIDDEN, "read", "group", "broken", "nobody", "own-70002-a",
	"own-70002-b", "own-70003-a", "any-a", "any-b", "any-c", "own-%U-", "", "roll", "keep", "zero", "poison", "mutex", "l/1", "l/2",
	"main", "seg/ment", "scrub", "file", "posix", "sysv", "shm-a", "shm-b", "fresh" };

static const char *const texts[] = {
	"segments = ( { name = \"plain\"; size = \"16KiB\"; } );", "segments = ( ", "{ name = \"up\"; size = 1; }, ", " );\n",
	"daemon = { workers = 2; };\n", "templates = ( { name = \"any-\"; max_size = 5; } );\n", "\"", "@include \"x\"\n",
};

static const uint32_t sizes[PROTOCOL_TYPE_N] = {
	[PROTOCOL_HELLO] = sizeof(struct protocol_hello),
	[PROTOCOL_ATTACH] = sizeof(struct protocol_attach),
	[PROTOCOL_DETACH] = sizeof(struct protocol_detach),
	[PROTOCOL_CREATE] = sizeof(struct protocol_create),
	[PROTOCOL_REMOVE] = sizeof(struct protocol_remove),
	[PROTOCOL_LIST] = sizeof(struct protocol_list),
	[PROTOCOL_SHOW] = sizeof(struct protocol_show),
	[PROTOCOL_HOLDERS] = sizeof(struct protocol_holders),
	[PROTOCOL_CLIENTS] = sizeof(struct protocol_clients),
	[PROTOCOL_WAIT] = sizeof(struct protocol_wait),
	[PROTOCOL_METRICS] = sizeof(struct protocol_header),
	[PROTOCOL_SUBSCRIBE] = sizeof(struct protocol_subscribe),
	[PROTOCOL_EVENT] = sizeof(struct protocol_event),
	[PROTOCOL_LOCKS] = sizeof(struct protocol_locks),
	[PROTOCOL_RECOVER] = sizeof(struct protocol_recover),
	[PROTOCOL_PLAN] = sizeof(struct protocol_plan),
	[PROTOCOL_UPLOAD] = sizeof(struct protocol_upload),
	[PROTOCOL_PLAN_LINES] = sizeof(struct protocol_plan_lines),
	[PROTOCOL_RETRY] = sizeof(struct protocol_retry),
	[PROTOCOL_ATTACH_MANY] = sizeof(struct protocol_attach_many),
	[PROTOCOL_WHO] = sizeof(struct protocol_who),
	[PROTOCOL_WHO_ROWS] = sizeof(struct protocol_who_rows),
	[PROTOCOL_RETURN] = sizeof(struct protocol_return),
	[PROTOCOL_USERS] = sizeof(struct protocol_users),
};

/* A request under construction. */
union request {
	struct protocol_header header;
	struct protocol_hello hello;
	struct protocol_attach attach;
	struct protocol_detach detach;
	struct protocol_create create;
	struct protocol_remove remove;
	struct protocol_list list;	/* and all that has a cursor behind the header */
	struct protocol_show show;	/* and all that has a name there */
	struct protocol_holders holders;	/* and all that has a cursor and a name */
	struct protocol_locks locks;
	struct protocol_recover recover;
	struct protocol_plan plan;
	struct protocol_upload upload;
	struct protocol_subscribe subscribe;
	struct protocol_return return_;
	struct protocol_attach_many many;
	char bytes[PROTOCOL_MESSAGE_MAX];
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return steps_mutate(data, size, max_size, seed, STEP_N);
}

static void
set_name(char *field, uint32_t which)
{
	(void)snprintf(field, PROTOCOL_NAME_SIZE, "%s", names[which % BASE_ARRAY_SIZE(names)]);
}

static const struct peer_held *
held_of(const struct peer *peer, unsigned which)
{
	static const struct peer_held none = { .fds = { -1, -1 } };

	return peer->n_held ? &peer->held[which % peer->n_held] : &none;
}

/* Numbers go on from input to input, so a small one says whose. */
static uint64_t
session_of(uint64_t number)
{
	return number == 0 || number > PEERS ? number : peers[number - 1].session;
}

static uint32_t
access_of(uint8_t choice)
{
	return choice & 1 ? PROTOCOL_ACCESS_READ : PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE;
}

static void
fill_many(union request *message, const struct step *step)
{
	struct protocol_attach_row row;
	uint32_t n = 1 + step->b % 4;

	message->many.n_rows = n;
	for (uint32_t i = 0; i < n; i++) {
		memset(&row, 0, sizeof(row));
		row.access = access_of(step->b >> 4);
		set_name(row.name, (uint8_t)(step->x >> (8 * i)));
		memcpy(message->bytes + sizeof(message->many) + i * sizeof(row), &row, sizeof(row));
	}
	message->header.size += n * (uint32_t)sizeof(row);
}

static void
fill_upload(union request *message, const struct step *step)
{
	const char *text = texts[(step->x >> 8) % BASE_ARRAY_SIZE(texts)];

	message->upload.flags = step->b >> 4 & 3;
	if (message->upload.flags & PROTOCOL_UPLOAD_NAME)
		text = "main";
	message->upload.length = (uint32_t)strlen(text);
	memcpy(message->upload.bytes, text, strlen(text));
}

/* What an honest request of this type has, with the step's name and number. */
static void
fill(union request *message, const struct peer *peer, const struct step *step)
{
	const struct peer_held *held = held_of(peer, step->b >> 4);

	switch (message->header.type) {
	case PROTOCOL_HELLO:
		message->hello.magic = PROTOCOL_MAGIC;
		message->hello.version_min = message->hello.version_max = PROTOCOL_VERSION;
		break;
	case PROTOCOL_ATTACH:
		message->attach.access = access_of(step->b >> 4);
		message->attach.generation = step->y;
		set_name(message->attach.name, step->x);
		if (step->x >> 8 & 1)
			set_name(message->attach.layout, step->x >> 16);
		break;
	case PROTOCOL_DETACH:
		message->detach.attachment = held->attachment;
		message->detach.generation = held->generation;
		break;
	case PROTOCOL_RETURN:
		message->return_.attachment = held->attachment;
		message->return_.generation = held->generation;
		message->return_.flags = (uint32_t)step->y;
		break;
	case PROTOCOL_CREATE:
		message->create.size_bytes = step->y ? step->y : 4096;
		set_name(message->create.name, step->x);
		break;
	case PROTOCOL_REMOVE:
		message->remove.flags = (uint32_t)step->y;
		set_name(message->remove.name, step->x);
		break;
	case PROTOCOL_RECOVER:
		message->recover.flags = (uint32_t)step->y;
		set_name(message->recover.name, step->x);
		set_name(message->recover.lock, step->x >> 8);
		break;
	case PROTOCOL_LOCKS:
		message->locks.cursor = step->y & 0xff;
		message->locks.generation = step->y >> 8;
		set_name(message->locks.name, step->x);
		break;
	case PROTOCOL_HOLDERS:
	case PROTOCOL_WAIT:
		message->holders.cursor = step->y;
		set_name(message->holders.name, step->x);
		break;
	case PROTOCOL_SHOW:
	case PROTOCOL_WHO:
	case PROTOCOL_RETRY:
		set_name(message->show.name, step->x);
		break;
	case PROTOCOL_PLAN:
		message->plan.flags = (uint32_t)step->y;
		break;
	case PROTOCOL_SUBSCRIBE:
		message->subscribe.flags = (uint32_t)step->y;
		message->subscribe.session = session_of(step->y >> 32);
		break;
	case PROTOCOL_UPLOAD:
		fill_upload(message, step);
		break;
	case PROTOCOL_ATTACH_MANY:
		fill_many(message, step);
		break;
	case PROTOCOL_METRICS:
		break;
	default:
		message->list.cursor = step->y;
		break;
	}
}

static void
apply_patches(union request *message, uint32_t *size)
{
	for (unsigned i = 0; i < n_patches; i++) {
		uint32_t at = patches[i].at % (PROTOCOL_REQUEST_MAX + 64);
		size_t length = (size_t)1 << (patches[i].at >> 30);

		/* One of them in a while is about what the socket says of the size. */
		if (at == sizeof(struct protocol_header) - 1)
			*size = (uint32_t)min_u64(patches[i].value, sizeof(message->bytes));
		else
			memcpy(message->bytes + at, &patches[i].value, length);
	}
	n_patches = 0;
}

/* Descriptors to go along: of what it has attached, and of what holds up whoever reads them without care. */
static unsigned
gather_fds(const struct peer *peer, const struct step *step, int *fds)
{
	const struct peer_held *held = held_of(peer, step->b >> 4);
	const int choices[] = { pair_fds[0], held->fds[0], held->fds[1], peer->fd, peers[0].fd, peer->death_fd, honest.death_fd, pair_fds[1] };
	unsigned n = 0, wanted = 1 + (step->x >> 24) % FDS_SENT_MAX;

	if (!(step->b & 4))
		return 0;
	/* A RETURN has one, of the kind that it says. */
	if (step->a % PROTOCOL_TYPE_N == PROTOCOL_RETURN && held->fds[step->y >> 1 & 1] >= 0 && !(step->x >> 24)) {
		fds[0] = held->fds[step->y >> 1 & 1];
		return 1;
	}
	for (unsigned i = 0; i < wanted; i++) {
		int fd = choices[(step->x >> 16 & 0xff) + i < BASE_ARRAY_SIZE(choices) ? (step->x >> 16 & 0xff) + i : i];

		if (fd >= 0)
			fds[n++] = fd;
	}
	return n;
}

static void
send_step(struct peer *peer, const struct step *step)
{
	static union request message;
	int fds[FDS_SENT_MAX];
	unsigned n_fds = gather_fds(peer, step, fds);
	uint16_t type = step->kind == STEP_ATTACH ? PROTOCOL_ATTACH : step->a == 255 ? 1000 : step->a % PROTOCOL_TYPE_N;
	uint32_t size;

	memset(&message, 0, sizeof(message));
	message.header.type = type;
	message.header.size = sizeof(message.header);
	if (type < PROTOCOL_TYPE_N && sizes[type])
		message.header.size = sizes[type];
	if (step->b & 1 && type == PROTOCOL_DETACH)
		message.header.flags = PROTOCOL_QUIET;
	if (step->b & 1 && type == PROTOCOL_HOLDERS)
		message.header.flags = PROTOCOL_BRIEF;
	if (!(step->b & 8))
		peer->serial++;
	message.header.serial = peer->serial;
	fill(&message, peer, step);
	size = message.header.size;
	apply_patches(&message, &size);
	if (message.header.serial > peer->serial && message.header.serial < UINT64_MAX / 2)
		peer->serial = message.header.serial;
	(void)peer_send(peer, &message, size, fds, n_fds);
}

/* Reads what there is, and looks for what the peer may not know. */
static void
read_some(struct peer *peer, unsigned n)
{
	static char bytes[PROTOCOL_MESSAGE_MAX];
	struct protocol_listed listed = { 0 };
	struct protocol_header header;
	ssize_t length;

	while (n-- && (length = peer_receive(peer, bytes, sizeof(bytes))) > 0) {
		memcpy(&header, bytes, sizeof(header));
		memcpy(&listed, bytes, min_u64((uint64_t)length, sizeof(listed)));
		/* Of what is charged one's own is told, and not what others have. */
		if (header.type == PROTOCOL_USERS && header.status == 0 && peer->identity != PEER_ADMINISTRATOR)
			fuzz_check(listed.n_rows <= 1);
		/* A refusal says the name that was asked for again. */
		if (header.status == 0 && peer->identity != PEER_ADMINISTRATOR)
			fuzz_check(!memmem(bytes, (size_t)length, WIRE_HIDDEN, sizeof(WIRE_HIDDEN) - 1));
	}
}

static void
connect_step(struct peer *peer, const struct step *step)
{
	static const struct step hello = { .kind = STEP_SEND, .a = PROTOCOL_HELLO };

	if (peer->fd >= 0)
		return;
	peer_connect(peer, wire.socket, peer->death_fd >= 0 ? peer->identity : step->a % PEER_IDENTITY_N);
	if (step->b % 4)
		send_step(peer, &hello);
	wire_daemon_step(&wire, step->b % 3);
}

static void
close_step(struct peer *peer, const struct step *step)
{
	if (step->a & 1)
		close_fd(&peer->fd);
	else
		peer_close(peer);
}

static void
store(int fd, uint64_t at, const void *bytes, size_t length)
{
	/* It may be a reader's, or sealed, or nothing. */
	if (fd >= 0)
		(void)!pwrite(fd, bytes, length, (off_t)at);
}

/* As a section of an honest client leaves its lock at its death; or one of somebody else's name, or a log that lies. */
static void
section_step(const struct peer *peer, const struct step *step)
{
	const struct segment *segment = registry_find(&wire.manager->registry, WIRE_LOCKED);
	const struct peer_held *held = held_of(peer, step->b >> 4);
	struct control_lock record = { 0 };
	struct control_footer footer = { .offset_bytes = (uint32_t)step->y % 8192, .length_bytes = (uint32_t)(step->y >> 32) % 64 };
	uint32_t index = step->a % 4, id = step->b & 1 ? (uint32_t)(step->y >> 40) : held->attachment;
	uint64_t log_at;

	if (!segment || index >= segment->locks->n)
		return;
	log_at = segment->locks->list[index].log_offset_bytes;
	atomic_store(&record.state, CONTROL_STATE(id | (step->b & 2 ? CONTROL_WAITERS : 0), step->b & 4 ? 77 | CONTROL_DIED : 0));
	atomic_store(&record.sequence, 1);
	atomic_store(&record.used_bytes, step->x ? step->x : round_up(footer.length_bytes, CONTROL_ENTRY_UNIT) + sizeof(footer));
	if (step->b & 8)
		atomic_store(&record.taken[0], id);
	store(held->fds[1], index * CONTROL_RECORD_BYTES, &record, sizeof(record));
	store(held->fds[1], log_at + round_up(footer.length_bytes, CONTROL_ENTRY_UNIT), &footer, sizeof(footer));
}

static void
mutex_step(const struct peer *peer, const struct step *step)
{
	const struct peer_held *held = held_of(peer, step->b >> 4);
	uint32_t word = step->b & 1 ? step->x : (uint32_t)getpid();
	unsigned char bytes[MUTEX_BYTES];
	uint64_t at = step->a & 1 ? 20544 : 20480;

	fuzz_check(mutex_make(bytes) == 0);
	memcpy(bytes, &word, sizeof(word));
	if (step->b & 2)
		memcpy(bytes + step->y % (MUTEX_BYTES - 4), &step->x, sizeof(step->x));
	store(held->fds[0], at, bytes, sizeof(bytes));
}

static void
punch(int fd, const struct step *step)
{
	off_t at = step->b & 1 ? (off_t)(step->y % 65536) : (off_t)(step->y % 16) * 4096;

	if (fd >= 0)
		(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1 + step->x % 65536);
}

static void
mark(int fd, const struct step *step)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct flock lock = {
		.l_type = types[step->b % 3], .l_whence = SEEK_SET, .l_start = ((off_t)1 << 40) + (off_t)(step->y % 256),
		.l_len = (off_t)(step->x % 64),
	};

	if (fd >= 0)
		(void)fcntl(fd, F_OFD_SETLK, &lock);
}

static void
run(const struct step *step)
{
	struct peer *peer = &peers[step->which % PEERS];
	struct peer_held *held = peer->n_held ? &peer->held[step->b % peer->n_held] : NULL;
	char bytes[64];

	switch (step->kind % STEP_N) {
	case STEP_CONNECT:
		connect_step(peer, step);
		break;
	case STEP_SEND:
		send_step(peer, step);
		break;
	case STEP_ATTACH:
		send_step(peer, step);
		wire_daemon_step(&wire, 2);
		read_some(peer, 4);
		break;
	case STEP_PATCH:
		if (n_patches < PATCHES_MAX)
			patches[n_patches++] = (struct patch) { .at = step->x, .value = step->y };
		break;
	case STEP_RAW:
		for (size_t i = 0; i < sizeof(bytes); i += sizeof(step->y))
			memcpy(bytes + i, &step->y, sizeof(step->y));
		(void)peer_send(peer, bytes, step->a % (sizeof(bytes) + 1), &pair_fds[0], step->b & 1);
		break;
	case STEP_READ:
		wire_daemon_step(&wire, step->b % 4);
		read_some(peer, 1 + step->a % 8);
		break;
	case STEP_CLOSE:
		close_step(peer, step);
		break;
	case STEP_DIE:
		peer_die(peer);
		break;
	case STEP_TURN:
		wire_daemon_step(&wire, 1 + step->a % 8);
		break;
	case STEP_PASS:
		wire_daemon_pass(step->x % (200 * NS_PER_MS));
		break;
	case STEP_AWAIT:
		wire_daemon_await(&wire, 1 + step->a % 32);
		break;
	case STEP_STORE:
		store(held ? held->fds[step->a & 1] : -1, step->x % 65536, &step->y, sizeof(step->y));
		break;
	case STEP_SECTION:
		section_step(peer, step);
		break;
	case STEP_MUTEX:
		mutex_step(peer, step);
		break;
	case STEP_DROP:
		if (held)
			close_fd(&held->fds[step->a & 1]);
		break;
	case STEP_PUNCH:
		punch(held ? held->fds[step->a & 1] : -1, step);
		break;
	case STEP_AUDIT:
		wire_auditor_answer(step->a, step->b, step->x, step->y);
		break;
	case STEP_MARK:
		mark(held ? held->fds[step->a & 1] : -1, step);
		break;
	default:
		if (step->a <= WIRE_VARIANTS)
			wire_daemon_change(&wire, step->a);
		break;
	}
}

/* The one that was there before: attaches, sees memory, detaches. */
static void
serve_honest(void)
{
	static const struct step attach = { .kind = STEP_SEND, .a = PROTOCOL_ATTACH }, detach = { .a = PROTOCOL_DETACH };
	unsigned n_before = honest.n_replies;

	send_step(&honest, &attach);
	for (unsigned i = 0; honest.n_replies == n_before; i++) {
		fuzz_check_msg(i < 1000, "an honest client is not answered");
		wire_daemon_step(&wire, 1);
		read_some(&honest, 1);
	}
	fuzz_check_msg(honest.n_held == 1, "an honest client gets nothing");
	send_step(&honest, &detach);
	while (honest.n_replies == n_before + 1) {
		wire_daemon_step(&wire, 1);
		read_some(&honest, 1);
	}
	for (unsigned i = 0; i < PROTOCOL_ATTACH_FDS; i++)
		close_fd(&honest.held[0].fds[i]);
	honest.n_held = 0;
}

static void
check_fds(void)
{
	unsigned n = wire_daemon_count_fds(&wire);

	/* A worker that has just ended, or is about to say that it has done something, has descriptors for a moment longer. */
	for (unsigned i = 0; n > n_fds_before && i < FDS_WAIT_MS; i++) {
		(void)poll(NULL, 0, 1);
		wire_daemon_step(&wire, 1);
		n = wire_daemon_count_fds(&wire);
	}
	if (n > n_fds_before)
		(void)fuzz_count_fds(true);
	fuzz_check_msg(n <= n_fds_before, "%u descriptors, and there were %u", n, n_fds_before);
}

/* A stop gives everything back, too. */
static void
end(void)
{
	if (getpid() != wire.pid)
		return;
	peer_close(&honest);
	peer_end_all();
	wire_daemon_stop(&wire);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct step connect = { .a = PEER_ADMINISTRATOR, .b = 1 };

	nursery_open(wire_daemon_sweep);
	fuzz_quiet();
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair_fds) == 0);
	for (unsigned i = 0; i < PEERS; i++)
		peers[i] = (struct peer) PEER_NULL;
	wire_daemon_start(&wire);
	connect_step(&honest, &connect);
	while (honest.n_replies == 0) {
		wire_daemon_step(&wire, 1);
		read_some(&honest, 1);
	}
	serve_honest();
	wire_daemon_settle(&wire);
	wire_daemon_note(&wire);
	(void)atexit(end);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size };
	struct step step;

	/* Not before: libFuzzer's merge has a file of its own by then. */
	if (!n_fds_before)
		n_fds_before = wire_daemon_count_fds(&wire);
	n_patches = 0;
	for (unsigned i = 0; i < STEPS_MAX && input.left; i++) {
		(void)fuzz_bytes(&input, &step, sizeof(step));
		run(&step);
	}
	for (unsigned i = 0; i < PEERS; i++)
		peer_die(&peers[i]);
	peer_end_all();
	n_patches = 0;
	wire_daemon_settle(&wire);
	serve_honest();
	wire_daemon_settle(&wire);
	check_fds();
	return 0;
}
