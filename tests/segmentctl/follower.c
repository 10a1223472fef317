/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A segmentctl that runs beside the test: see follower.h. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/follower.h"
#include "tests/segmentctl/run.h"

static void
follow(int control, void *arg)
{
	struct follower *follower = arg;

	(void)dup2(follower->out[1], STDOUT_FILENO);
	(void)dup2(follower->err[1], STDERR_FILENO);
	(void)close(follower->out[0]);
	(void)close(follower->out[1]);
	exit(segmentctl_main(follower->n_args, follower->args));
}

void
follower_await_subscribers(const char *socket, unsigned n)
{
	char line[64];

	(void)snprintf(line, sizeof(line), "\nsegmentd_event_subscribers %u\n", n);
	while (!strstr(run_segmentctl("--socket", socket, "metrics", NULL)->out, line))
		;
}

void
follower_start(struct follower *follower, const char *socket, const char *const *args)
{
	*follower = (struct follower){ .child = HARNESS_CHILD_NULL };
	follower->args[follower->n_args++] = (char *)(uintptr_t)"segmentctl";
	follower->args[follower->n_args++] = (char *)(uintptr_t)"--socket";
	follower->args[follower->n_args++] = (char *)(uintptr_t)socket;
	follower->args[follower->n_args++] = (char *)(uintptr_t)"events";
	for (; *args; args++)
		follower->args[follower->n_args++] = (char *)(uintptr_t)*args;
	ck_assert_int_eq(pipe2(follower->out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(follower->err, O_CLOEXEC), 0);
	harness_child_start(&follower->child, follow, follower);
	(void)close(follower->out[1]);
	(void)close(follower->err[1]);
	follower_await_subscribers(socket, 1);
}

const char *
follower_next_line(struct follower *follower)
{
	for (;;) {
		char *begin = follower->lines + follower->taken;
		char *end = memchr(begin, '\n', follower->n_bytes - follower->taken);
		ssize_t n;

		if (end) {
			*end = '\0';
			follower->taken += (size_t)(end - begin) + 1;
			return begin;
		}
		memmove(follower->lines, begin, follower->n_bytes - follower->taken);
		follower->n_bytes -= follower->taken;
		follower->taken = 0;
		harness_await_readable(follower->out[0], "a line");
		n = read(follower->out[0], follower->lines + follower->n_bytes,
		    sizeof(follower->lines) - follower->n_bytes);
		harness_assert(n > 0, "the follower ended where a line was expected");
		follower->n_bytes += (size_t)n;
	}
}

const char *
follower_expect(struct follower *follower, const char *kind, const char *a, const char *b)
{
	const char *line = follower_next_line(follower);

	assert_has(line, kind);
	assert_has(line, a);
	assert_has(line, b);
	return line;
}

void
follower_stop(struct follower *follower, int sig)
{
	ck_assert_int_eq(kill(follower->child.pid, sig), 0);
	harness_child_await_success(&follower->child);
	(void)close(follower->out[0]);
	(void)close(follower->err[0]);
}

/* What a child is to run; it has a copy. */
struct command {
	const char *socket;
	const char *const *args;
};

static void
run_command(int control, void *arg)
{
	const struct command *command = arg;
	char *args[16] = { (char *)(uintptr_t)"segmentctl", (char *)(uintptr_t)"--socket", (char *)(uintptr_t)command->socket };
	int n = 3;

	for (size_t i = 0; command->args[i]; i++)
		args[n++] = (char *)(uintptr_t)command->args[i];
	(void)dup2(control, STDIN_FILENO);
	(void)dup2(control, STDOUT_FILENO);
	exit(segmentctl_main(n, args));
}

void
follower_run(struct harness_child *child, const char *socket, const char *const *args)
{
	struct command command = { socket, args };

	harness_child_start(child, run_command, &command);
}
