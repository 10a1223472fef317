/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Memory that was lost with a daemon, and comes back from those who have it: a ledger that says what was attached, a box without some
 * of it, and connections of this process, which had the attachments. They send RETURNs that are right, or nearly, with descriptors of
 * that memory or of something else, and hang up at any point. Workers receive what they send.
 *
 * A segment that is ready again has the memory that it had, and no other. After each input a client is served, and no descriptor is
 * left of what was sent.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/survival_await.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/nursery.h"
#include "tests/fuzz/state_daemon.h"
#include "tests/fuzz/state_past.h"
#include "tests/fuzz/steps.h"

#define STEPS_MAX	32
#define PEERS		4
#define SEGMENTS	3
#define GONE_SESSION	99	/* of which the box has nothing */
#define FIRST_ID	3
#define OTHER_ID	5
#define TURNS		4	/* in which what was sent is looked at */

enum step_kind {
	STEP_PAST,			/* the first alone: what is lost, and who had it */
	STEP_CONNECT,
	STEP_RETURN,			/* a: of which segment and attachment; b: which flags; x: what it brings */
	STEP_ASK,			/* a: the type, b: about which */
	STEP_PATCH,			/* the next message, at x, with y */
	STEP_HANG_UP,
	STEP_READ,
	STEP_TURN,
	STEP_AWAIT,			/* until no worker is at anything */
	STEP_GIVE_UP,			/* the time is up */
	STEP_N
};

static const char segments[] =
    "segments = ( { name = \"s0\"; size = \"16KiB\"; mlock = false; prefault = false; page_size = \"base\"; },\n"
    "  { name = \"s1\"; size = \"16KiB\"; max_size = \"64KiB\"; mlock = false; prefault = false; mode = \"0666\"; page_size = \"base\";\n"
    "    locks = ( { name = \"l\"; length = 4096; undo = 1024; }, { name = \"m\"; at = 8192; } ); },\n"
    "  { name = \"s2\"; size = \"16KiB\"; prefault = false; mlock = false; page_size = \"base\"; } );\n";

static struct {
	int fd;
	uint64_t serial;
} peers[PEERS];
static struct {
	bool is_set;
	uint32_t at;
	uint64_t value;
} patch;
static unsigned n_fds_before;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return steps_mutate(data, size, max_size, seed, STEP_N);
}

/* An attachment's, as the one descriptor has it that is here for all who had some. Neighbours' would become one lock. */
static void
mark(int fd, uint32_t id)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE + (off_t)id, .l_len = 1,
	};

	fuzz_check(fcntl(fd, F_OFD_SETLK, &lock) == 0);
}

/* What is attached has lost its connection, and its memory, but for that whose bits are set; b: what else is wrong. */
static void
make_past(const struct step *step)
{
	for (unsigned i = 0; i < SEGMENTS; i++) {
		unsigned has = step->a >> (2 * i), odd = step->b >> (2 * i);

		past_add_segment(i, i + 1, PROTOCOL_READY, (has & 1 ? 0 : 2) | (has & 2 ? 0 : 8) | (odd & 1 ? 4 : 0));
		past_add_attachment(i + 1, GONE_SESSION, FIRST_ID, 4 | 8);
		past_add_attachment(i + 1, GONE_SESSION, OTHER_ID, odd & 2 ? 0 : 8);
		if (!(odd & 1))
			mark(past_find_object(i + 1, false), FIRST_ID);
		mark(past_find_object(i + 1, false), OTHER_ID);
	}
}

/* Messages. */

static void
send_message(unsigned peer, void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	if (peers[peer].fd < 0)
		return;
	if (patch.is_set)
		memcpy((char *)bytes + patch.at % size, &patch.value, (size_t)min_u64((uint64_t)1 << (patch.at >> 30), size - patch.at % size));
	patch.is_set = false;
	(void)fuzz_send(peers[peer].fd, bytes, size, fds, n_fds);
}

static void
hang_up(unsigned peer)
{
	close_fd(&peers[peer].fd);
	peers[peer].serial = 0;
}

static void
connect_peer(unsigned peer)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO, .serial = 1 },
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	hang_up(peer);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", state_daemon_socket);
	peers[peer].fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(peers[peer].fd >= 0);
	if (connect(peers[peer].fd, (struct sockaddr *)&address, sizeof(address))) {
		hang_up(peer);
		return;
	}
	peers[peer].serial = 1;
	send_message(peer, &hello, sizeof(hello), NULL, 0);
}

/* Of the size and with the seals of the memory that was lost, and another object all the same. */
static int
make_alike(int lost_fd)
{
	int fd = memfd_create("segmentd:fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat status = { 0 };

	fuzz_check(lost_fd < 0 || fstat(lost_fd, &status) == 0);
	fuzz_check(fd >= 0 && ftruncate(fd, status.st_size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	return fd;
}

static int
reopen(int fd, int flags)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* What comes with it. How many; those that are to be closed here are in `own`. */
static unsigned
choose_fds(const struct step *step, uint64_t generation, int fds[2], int *own)
{
	bool is_control = step->b & 2;

	fds[0] = past_find_object(generation, is_control);
	switch (step->x % 10) {
	case 0:
		return 0;
	case 1:
	case 2:
	case 3:
		break;
	case 4:
		fds[0] = past_find_object(generation, !is_control);
		break;
	case 5:
		fds[0] = past_find_object(1 + generation % SEGMENTS, false);
		break;
	case 6:
		fds[1] = fds[0];
		return fds[0] >= 0 ? 2 : 0;
	case 7:
		fds[0] = *own = make_alike(fds[0]);
		break;
	case 8:
		fds[0] = *own = fds[0] >= 0 ? reopen(fds[0], O_RDONLY) : -1;
		break;
	default:
		fds[0] = *own = step->y & 1 ? open("/dev/null", O_RDWR | O_CLOEXEC) : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		break;
	}
	return fds[0] >= 0 ? 1 : 0;
}

static void
send_return(unsigned peer, const struct step *step)
{
	struct protocol_return request = {
		.header = { .size = sizeof(request), .type = PROTOCOL_RETURN, .serial = ++peers[peer].serial },
		.generation = 1 + step->a % 4, .attachment = FIRST_ID + (step->a >> 2) % 3, .flags = step->b % 4,
	};
	int own = -1, fds[2] = { -1, -1 };
	unsigned n_fds = choose_fds(step, request.generation, fds, &own);

	send_message(peer, &request, sizeof(request), fds, n_fds);
	close_fd(&own);
}

static void
ask(unsigned peer, const struct step *step)
{
	union {
		struct protocol_header header;
		struct protocol_attach attach;
		struct protocol_detach detach;
		struct protocol_remove remove;
		struct protocol_show show;
	} request = { .attach = { .access = PROTOCOL_ACCESS_READ } };
	static const uint16_t types[] = { PROTOCOL_ATTACH, PROTOCOL_DETACH, PROTOCOL_REMOVE, PROTOCOL_SHOW };
	static const size_t sizes[] = { sizeof(struct protocol_attach), sizeof(struct protocol_detach), sizeof(struct protocol_remove),
		sizeof(struct protocol_show) };
	unsigned which = step->a % BASE_ARRAY_SIZE(types);
	char name[8];

	(void)snprintf(name, sizeof(name), "s%u", step->b % SEGMENTS);
	switch (types[which]) {
	case PROTOCOL_ATTACH:
		memcpy(request.attach.name, name, strlen(name));
		break;
	case PROTOCOL_DETACH:
		request.detach = (struct protocol_detach) { .attachment = FIRST_ID + step->x % 2, .generation = 1 + step->b % SEGMENTS };
		break;
	case PROTOCOL_REMOVE:
		request.remove = (struct protocol_remove) { .flags = step->x & PROTOCOL_REMOVE_NOW };
		memcpy(request.remove.name, name, strlen(name));
		break;
	default:
		request.show = (struct protocol_show) { 0 };
		memcpy(request.show.name, name, strlen(name));
		break;
	}
	request.header = (struct protocol_header) {
		.size = (uint32_t)sizes[which], .type = types[which], .serial = ++peers[peer].serial,
	};
	send_message(peer, &request, sizes[which], NULL, 0);
}

static void
read_replies(unsigned peer)
{
	union {
		char bytes[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	static char bytes[PROTOCOL_MESSAGE_MAX];

	while (peers[peer].fd >= 0) {
		struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
		};
		const struct cmsghdr *cmsg;
		ssize_t n = recvmsg(peers[peer].fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return;
		fuzz_check((size_t)n >= sizeof(struct protocol_header));
		cmsg = CMSG_FIRSTHDR(&message);
		for (size_t i = 0; cmsg && i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			(void)close(fd);
		}
	}
}

/* The daemon. */

static bool
is_busy(const struct manager *manager)
{
	const struct segment *segment;

	if (!TAILQ_EMPTY(&manager->sessions.parcels.running) || !TAILQ_EMPTY(&manager->sessions.parcels.waiting))
		return true;
	TAILQ_FOREACH(segment, &manager->registry.in_order, entry)
		if (segment->locks->n_busy || (!segment->is_awaited && segment->state == PROTOCOL_PROVISIONING))
			return true;
	return false;
}

/* What is left of connections when it stops is left to the end of its process, which would be this one's. */
static bool
has_connections(const struct manager *manager)
{
	const struct parcels *parcels = &manager->sessions.parcels;

	return manager->sessions.n_sessions || manager->sessions.burials.n || !LIST_EMPTY(&manager->sessions.flights.list) ||
	    !TAILQ_EMPTY(&parcels->running) || !TAILQ_EMPTY(&parcels->waiting) || !TAILQ_EMPTY(&parcels->done) || parcels->graves.n ||
	    parcels->graves.n_graves;
}

static void
await_rest(struct manager *manager)
{
	while (has_connections(manager)) {
		fuzz_check(event_base_loop(manager->base, EVLOOP_ONCE) >= 0);
		state_daemon_hear();
	}
}

static void
await_workers(struct manager *manager)
{
	while (is_busy(manager)) {
		fuzz_check(event_base_loop(manager->base, EVLOOP_ONCE) >= 0);
		state_daemon_hear();
	}
}

static void
turn(struct manager *manager, unsigned n)
{
	while (n--)
		state_daemon_turn(manager);
}

/* What has its number again has its memory. */
static void
check_memory(struct manager *manager)
{
	const struct segment *segment;

	TAILQ_FOREACH(segment, &manager->registry.in_order, entry) {
		int fd = past_find_object(segment->generation, false);
		struct stat status, was;

		if (segment->is_awaited || segment->state != PROTOCOL_READY || fd < 0)
			continue;
		fuzz_check(fstat(fd, &was) == 0 && fstat(segment->holding.object.fd, &status) == 0);
		fuzz_check_msg(was.st_ino == status.st_ino && was.st_dev == status.st_dev, "'%s' has other memory than it had",
		    segment->definition->name);
		fd = past_find_object(segment->generation, true);
		fuzz_check((fd >= 0) == (segment->holding.control != NULL));
		if (fd < 0)
			continue;
		fuzz_check(fstat(fd, &was) == 0 && fstat(segment->holding.control->object.fd, &status) == 0);
		fuzz_check_msg(was.st_ino == status.st_ino, "the locks of '%s' are other ones", segment->definition->name);
	}
}

static void
run(struct manager *manager, const struct step *step)
{
	unsigned peer = step->which % PEERS;

	switch (step->kind % STEP_N) {
	case STEP_CONNECT:
		connect_peer(peer);
		break;
	case STEP_RETURN:
		send_return(peer, step);
		break;
	case STEP_ASK:
		ask(peer, step);
		break;
	case STEP_PATCH:
		patch.is_set = true;
		patch.at = step->x;
		patch.value = step->y;
		break;
	case STEP_HANG_UP:
		hang_up(peer);
		break;
	case STEP_READ:
		read_replies(peer);
		break;
	case STEP_AWAIT:
		turn(manager, TURNS);
		await_workers(manager);
		turn(manager, TURNS);
		break;
	case STEP_GIVE_UP:
		survival_set_await(&manager->survival, 0);
		break;
	default:
		turn(manager, 1 + step->a % 8);
		break;
	}
}

static void
live(struct start *start, struct fuzz_input *input)
{
	struct manager *manager = NULL;
	struct step step;
	int r = manager_open(start, &manager);

	fuzz_check_msg(r == 0, "the daemon does not start: %s", strerror(-r));
	state_daemon_turn(manager);
	for (unsigned i = 0; i < STEPS_MAX && input->left; i++) {
		(void)fuzz_bytes(input, &step, sizeof(step));
		run(manager, &step);
		check_memory(manager);
	}
	patch.is_set = false;
	for (unsigned i = 0; i < PEERS; i++) {
		read_replies(i);
		hang_up(i);
	}
	/* Who connected and hung up is heard of before who comes now. */
	state_daemon_expect_served(manager);
	await_rest(manager);
	await_workers(manager);
	check_memory(manager);
	manager_close(manager);
	state_daemon_hear();
	start_deinit(start);
}

static void
sweep(pid_t pid)
{
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	nursery_open(sweep);
	fuzz_quiet();
	state_daemon_prepare(segments);
	for (unsigned i = 0; i < PEERS; i++)
		peers[i].fd = -1;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size }, none = { 0 };
	struct start start;
	struct step step;
	unsigned n;

	state_daemon_load(&start);
	state_daemon_clear();
	if (!n_fds_before) {
		/* What stays open for the length of the process is, after the first daemon. */
		past_begin(start.conf, state_daemon_dir);
		live(&start, &none);
		past_end();
		n_fds_before = fuzz_count_fds(false);
		state_daemon_clear();
		state_daemon_load(&start);
	}
	past_begin(start.conf, state_daemon_dir);
	(void)fuzz_bytes(&input, &step, sizeof(step));
	make_past(&step);
	past_hand_down(&start.inherited);
	live(&start, &input);
	past_end();
	n = fuzz_count_fds(false);
	if (n > n_fds_before)
		(void)fuzz_count_fds(true);
	fuzz_check_msg(n <= n_fds_before, "%u descriptors, and there were %u", n, n_fds_before);
	return 0;
}
