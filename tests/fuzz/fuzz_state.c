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

#include <spawn.h>

#include "base/base.h"
#include "client/protocol.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/state_daemon.h"
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

static const char segments[] =
    "segments = ( { name = \"s0\"; size = \"16KiB\"; mlock = false; page_size = \"base\"; },\n"
    "  { name = \"s1\"; size = \"16KiB\"; max_size = \"64KiB\"; mlock = false; mode = \"0666\"; page_size = \"base\";\n"
    "    locks = ( { name = \"l\"; length = 4096; undo = 1024; }, { name = \"m\"; at = 8192; init = true; } ); },\n"
    "  { name = \"s2\"; size = \"4KiB\"; page_size = \"base\"; prefault = false; mlock = false; } );\n";

static unsigned n_fds_before;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return steps_mutate(data, size, max_size, seed, STEP_N);
}

/* In the place of the C library's. */
int
posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
    const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
	return EAGAIN;
}

static void
run(const struct step *step)
{
	const struct past_change change = { .at = step->x, .value = step->y };

	switch (step->kind % STEP_N) {
	case STEP_SEGMENT:
		past_add_segment(step->a, step->y & 0xff, step->b ? step->b : PROTOCOL_READY, step->which);
		break;
	case STEP_LOCK:
		past_add_lock(step->y & 0xff, step->a, step->which);
		break;
	case STEP_SESSION:
		past_add_session(step->y & 0xff, step->a % PROTOCOL_TYPE_N, step->which);
		break;
	case STEP_ATTACHMENT:
		past_add_attachment(step->y & 0xff, step->a, step->x, step->which);
		break;
	case STEP_RECORD:
		past_add_record(step->a, step->y & 0xff, step->which);
		break;
	case STEP_ITEM:
		past_add_item(step->a, step->y, step->x);
		break;
	case STEP_MESSAGE:
		past_end_message(step->which);
		break;
	case STEP_CHANGE:
		past_change(&change);
		break;
	case STEP_SPOIL:
		past_spoil(step->a, &change);
		break;
	case STEP_KEEP:
		past_keep(step->which);
		break;
	default:
		past_cut(step->a, step->y);
		break;
	}
}

static void
live(struct start *start)
{
	struct manager *manager = NULL;
	int r = manager_open(start, &manager);

	fuzz_check_msg(r == 0, "the daemon does not start: %s", strerror(-r));
	state_daemon_hear();
	for (unsigned i = 0; i < TURNS; i++)
		state_daemon_turn(manager);
	state_daemon_expect_served(manager);
	manager_close(manager);
	state_daemon_hear();
	start_deinit(start);
}

/* What was damaged may be another configuration, and a good one: none is carried out that is about anything else on this host. */
static bool
is_harmless(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_segments; i++)
		if (conf->segments[i]->backend != DEFINITION_MEMFD || conf->segments[i]->init || conf->segments[i]->size_bytes > MAX_BYTES)
			return false;
	return streq(conf->daemon.socket, state_daemon_socket) && streq(conf->daemon.state_dir, state_daemon_dir) && !conf->n_templates &&
	    !conf->n_orphans;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_quiet();
	state_daemon_prepare(segments);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size };
	struct start start;
	struct step step;
	unsigned n;

	state_daemon_load(&start);
	state_daemon_clear();
	if (!n_fds_before) {
		/* What stays open for the length of the process is, after the first daemon. */
		live(&start);
		n_fds_before = fuzz_count_fds(false);
		state_daemon_clear();
		state_daemon_load(&start);
	}
	past_begin(start.conf, state_daemon_dir);
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
