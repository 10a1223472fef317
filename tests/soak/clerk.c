/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who runs segmentctl all the time: its exit status is 0, or what is documented, and what it prints as JSON is whole. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/soak/board.h"
#include "tests/soak/honest.h"

#define PAUSE_MS	30
#define FOLLOW_MS	200		/* events are followed for so long */
#define OUTPUT_MAX	(1 << 20)

struct command {
	const char *words[5];
	bool is_endless;		/* until it is told to end */
	bool is_for_root;
};

static const struct command commands[] = {
	{ { "--json", "list" }, false, false },
	{ { "list" }, false, false },
	{ { "--json", "show", "ledger" }, false, false },
	{ { "show", "posix" }, false, false },
	{ { "--json", "clients" }, false, false },
	{ { "--json", "events" }, true, false },
	{ { "--json", "list" }, false, true },
	{ { "--json", "clients" }, false, true },
	{ { "metrics" }, false, true },
	{ { "--json", "plan" }, false, true },
	{ { "--json", "show", "desk" }, false, true },
};

static char output[OUTPUT_MAX + 1];

static void __attribute__((noreturn))
run_command(const struct command *command, int out)
{
	const char *argv[3 + BASE_ARRAY_SIZE(command->words) + 1] = { "segmentctl", "--socket", soak_board->socket };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(command->words); i++)
		argv[3 + i] = command->words[i];
	if (!command->is_for_root && soak_board->has_uids)
		harness_become(HONEST_UID, HONEST_UID, NULL, 0);
	(void)dup2(out, STDOUT_FILENO);
	(void)execv(SOAK_SEGMENTCTL, (char **)(uintptr_t)argv);
	harness_fail("%s: %s", SOAK_SEGMENTCTL, strerror(errno));
}

/* What it printed; it has ended, or has been told to. What follows events has no end: some of that is kept, and all is read. */
static size_t
read_output(const struct command *command, pid_t pid, int in)
{
	uint64_t end_ns = harness_clock_ns() + 2 * HARNESS_TIMEOUT_MS * NS_PER_MS;
	uint64_t until_ns = command->is_endless ? harness_clock_ns() + FOLLOW_MS * NS_PER_MS : end_ns;
	size_t len = 0;

	for (;;) {
		struct pollfd poll_fd = { .fd = in, .events = POLLIN };
		uint64_t now_ns = harness_clock_ns();
		ssize_t n;

		if (now_ns >= until_ns) {
			harness_assert(now_ns < end_ns, "segmentctl %s hangs", command->words[0]);
			(void)kill(pid, SIGTERM);
			until_ns = now_ns + FOLLOW_MS * NS_PER_MS;
		}
		if (harness_poll(&poll_fd, 1, (int)((until_ns - now_ns) / NS_PER_MS) + 1) <= 0)
			continue;
		if (command->is_endless && len == OUTPUT_MAX)
			len = 0;
		n = read(in, output + len, OUTPUT_MAX - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	output[len] = 0;
	return len;
}

static void
run(const struct command *command)
{
	uint64_t begun_ns = clock_monotonic_ns();
	int pair[2], status, code;
	const char *what = streq(command->words[0], "--json") ? command->words[1] : command->words[0];
	size_t len;
	pid_t pid;

	harness_assert(pipe2(pair, O_CLOEXEC) == 0, "pipe: %m");
	pid = harness_fork();
	if (pid == 0)
		run_command(command, pair[1]);
	(void)close(pair[1]);
	len = read_output(command, pid, pair[0]);
	(void)close(pair[0]);
	harness_assert(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	soak_count(SOAK_TOOLS);
	if (command->is_endless && (code == -SIGTERM || code == 0))
		return;
	/* Refused for want of descriptors; a plan whose worker was killed, or that has found a problem. */
	if (code == 1 && (soak_excuse(-ENFILE, begun_ns) || streq(what, "plan")))
		return;
	harness_assert(code == 0, "segmentctl %s ended with %d, %.1f s after the beginning, having printed %zu bytes", what, code,
	    soak_clock(), len);
	harness_assert(!streq(command->words[0], "--json") || (len > 2 && output[0] == '{' && output[len - 2] == '}'),
	    "segmentctl %s has printed: %s", what, output);
}

static void
run_clerk(int control, void *arg)
{
	uint64_t random = soak_board->seed ^ (uint64_t)getpid();

	(void)control, (void)arg;
	while (atomic_load(&soak_board->phase) == SOAK_WORK) {
		run(&commands[soak_draw(&random, BASE_ARRAY_SIZE(commands))]);
		(void)poll(NULL, 0, PAUSE_MS);
	}
}

void
honest_start_clerk(struct harness_child *ret_child)
{
	harness_child_start(ret_child, run_clerk, NULL);
}
