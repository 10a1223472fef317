/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a start finds: the record, the ledger, the box and the configuration of a daemon before, damaged or made up. The whole daemon
 * starts with them, restores what is to be restored, and runs for some turns.
 *
 * Nothing in them ends a start: it begins to serve, answers a client, and gives everything back when it stops. No worker can be had
 * meanwhile, so that what cannot be restored fails, and what is asked of one is refused.
 */
#include "config.h"

#include <dirent.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/manager_parts.h"
#include "daemon/start.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/state_past.h"
#include "tests/fuzz/steps.h"

#define STEPS_MAX	40
#define TURNS		12
#define MAX_BYTES	((uint64_t)16 << 20)

enum step_kind {
	STEP_SEGMENT,
	STEP_LOCK,
	STEP_SESSION,
	STEP_ATTACHMENT,
	STEP_RECORD,
	STEP_ITEM,
	STEP_MESSAGE,
	STEP_CHANGE,
	STEP_SPOIL,
	STEP_CUT,
	STEP_KEEP,
	STEP_N
};

struct step {
	uint8_t kind;
	uint8_t flags;
	uint8_t a;
	uint8_t b;
	uint32_t x;
	uint64_t y;
};

static const char configuration[] =
    "daemon = { socket = \"%s/socket\"; state_dir = \"%s/state\"; admin_group = \"\"; workers = 1; memory_reserve = \"0\"; };\n"
    "segments = ( { name = \"s0\"; size = \"16KiB\"; mlock = false; page_size = \"base\"; },\n"
    "  { name = \"s1\"; size = \"16KiB\"; max_size = \"64KiB\"; mlock = false; mode = \"0666\"; page_size = \"base\";\n"
    "    locks = ( { name = \"l\"; length = 4096; undo = 1024; }, { name = \"m\"; at = 8192; init = true; } ); },\n"
    "  { name = \"s2\"; size = \"4KiB\"; page_size = \"base\"; prefault = false; mlock = false; } );\n";

static char socket_path[96], state_dir[96], conf_path[96];
static int notify_fd = -1;
static unsigned n_fds_before;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return steps_mutate(data, size, max_size, seed, sizeof(struct step), STEP_N);
}

/* In the place of the C library's. */
int
posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
    const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
	return EAGAIN;
}

/* The service manager's end: what it is told is read, and what it is given is closed. */
static void
hear(void)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char text[4096];

	for (;;) {
		struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
		};
		const struct cmsghdr *cmsg;

		if (recvmsg(notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
			return;
		cmsg = CMSG_FIRSTHDR(&message);
		if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			(void)close(fd);
		}
	}
}

static void
run(const struct step *step)
{
	const struct past_change change = { .at = step->x, .value = step->y };

	switch (step->kind % STEP_N) {
	case STEP_SEGMENT:
		past_add_segment(step->a, step->y & 0xff, step->b ? step->b : PROTOCOL_READY, step->flags);
		break;
	case STEP_LOCK:
		past_add_lock(step->y & 0xff, step->a, step->flags);
		break;
	case STEP_SESSION:
		past_add_session(step->y & 0xff, step->a % PROTOCOL_TYPE_N, step->flags);
		break;
	case STEP_ATTACHMENT:
		past_add_attachment(step->y & 0xff, step->a, step->x, step->flags);
		break;
	case STEP_RECORD:
		past_add_record(step->a, step->y & 0xff, step->flags);
		break;
	case STEP_ITEM:
		past_add_item(step->a, step->y, step->x);
		break;
	case STEP_MESSAGE:
		past_end_message(step->flags);
		break;
	case STEP_CHANGE:
		past_change(&change);
		break;
	case STEP_SPOIL:
		past_spoil(step->a, &change);
		break;
	case STEP_KEEP:
		past_keep(step->flags);
		break;
	default:
		past_cut(step->a, step->y);
		break;
	}
}

/* What the one before, and this one, have left in the directory. */
static void
clear_state(void)
{
	DIR *stream = opendir(state_dir);
	struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(stream), entry->d_name, 0);
	(void)closedir(stream);
}

static void
expect_served(struct manager *manager)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO, .serial = 1 },
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct protocol_list list = { .header = { .size = sizeof(list), .type = PROTOCOL_LIST, .serial = 2 } };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static char bytes[PROTOCOL_MESSAGE_MAX];
	struct protocol_header header = { 0 };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	fuzz_check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_check(send(fd, &hello, sizeof(hello), 0) == sizeof(hello) && send(fd, &list, sizeof(list), 0) == sizeof(list));
	for (unsigned i = 0; header.serial != 2; i++) {
		fuzz_check_msg(i < 1000, "a client is not served");
		fuzz_check(event_base_loop(manager->base, EVLOOP_NONBLOCK) >= 0);
		hear();
		if (recv(fd, bytes, sizeof(bytes), 0) > 0)
			memcpy(&header, bytes, sizeof(header));
	}
	fuzz_check(header.status == 0 && header.type == PROTOCOL_LIST);
}

static void
load(struct start *start)
{
	struct conf_report report = CONF_REPORT_NULL;

	*start = (struct start) START_NULL;
	start->file = conf_path;
	fuzz_check(conf_load(conf_path, &report, &start->conf) == 0);
	conf_report_deinit(&report);
}

static void
live(struct start *start)
{
	struct manager *manager = NULL;
	int r = manager_open(start, &manager);

	fuzz_check_msg(r == 0, "the daemon does not start: %s", strerror(-r));
	hear();
	for (unsigned i = 0; i < TURNS; i++) {
		fuzz_check(event_base_loop(manager->base, EVLOOP_NONBLOCK) >= 0);
		hear();
	}
	expect_served(manager);
	manager_close(manager);
	hear();
	start_deinit(start);
}

/* What was damaged may be another configuration, and a good one: none is carried out that is about anything else on this host. */
static bool
is_harmless(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_segments; i++)
		if (conf->segments[i]->backend != DEFINITION_MEMFD || conf->segments[i]->init || conf->segments[i]->size_bytes > MAX_BYTES)
			return false;
	return streq(conf->daemon.socket, socket_path) && streq(conf->daemon.state_dir, state_dir) && !conf->n_templates &&
	    !conf->n_orphans;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *dir = fuzz_dir();
	FILE *file;

	fuzz_quiet();
	(void)snprintf(conf_path, sizeof(conf_path), "%s/conf", dir);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", dir);
	(void)snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	file = fopen(conf_path, "we");
	fuzz_check(file && fprintf(file, configuration, dir, dir) > 0 && fclose(file) == 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(notify_fd >= 0 && bind(notify_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_check(setenv("NOTIFY_SOCKET", address.sun_path, 1) == 0);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size };
	struct start start;
	struct step step;
	unsigned n;

	load(&start);
	clear_state();
	if (!n_fds_before) {
		/* What stays open for the length of the process is, after the first daemon. */
		live(&start);
		n_fds_before = fuzz_count_fds(false);
		clear_state();
		load(&start);
	}
	past_begin(start.conf, state_dir);
	for (unsigned i = 0; i < STEPS_MAX && input.left; i++) {
		(void)fuzz_bytes(&input, &step, sizeof(step));
		run(&step);
	}
	past_hand_down(&start.inherited);
	if (past_take_kept(&start) == 0 && is_harmless(start.conf))
		live(&start);
	else
		start_deinit(&start);
	past_end();
	n = fuzz_count_fds(false);
	if (n > n_fds_before)
		(void)fuzz_count_fds(true);
	fuzz_check_msg(n <= n_fds_before, "%u descriptors, and there were %u", n, n_fds_before);
	return 0;
}
