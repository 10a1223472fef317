/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentctl_main() in a forked child, its standard streams in memory files or on a pseudo terminal. */
#include "config.h"

#include "tests/segmentctl/run.h"

#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"

#define ARGS_MAX	32
#define FDS_MAX		1024		/* of a test process */

static struct run run;
static const void *input;
static size_t input_bytes;
static unsigned terminal_columns;
static const char *typed;

void
run_set_input(const void *data, size_t size)
{
	input = data;
	input_bytes = size;
}

void
run_set_terminal(unsigned columns)
{
	terminal_columns = columns;
}

void
run_set_typed(const char *text)
{
	typed = text;
}

static int
memory_file(const void *data, size_t size)
{
	int fd = memfd_create("segmentctl-test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static size_t
read_back(int fd, char *buf)
{
	ssize_t n = pread(fd, buf, RUN_OUTPUT_SIZE - 1, 0);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	(void)close(fd);
	return (size_t)n;
}

/* Until the child has closed the terminal, which is an EIO. */
static size_t
read_terminal(int fd)
{
	size_t got = 0;
	ssize_t n;

	while (got < RUN_OUTPUT_SIZE - 1 && (n = read(fd, run.out + got, RUN_OUTPUT_SIZE - 1 - got)) > 0)
		got += (size_t)n;
	run.out[got] = '\0';
	(void)close(fd);
	return got;
}

/* What exec would close, had it been a program of its own: numbers are as low as its users see them. */
static void
close_others(void)
{
	long max = sysconf(_SC_OPEN_MAX);
	int flags;

	for (int fd = STDERR_FILENO + 1; fd < max && fd < FDS_MAX; fd++)
		if ((flags = fcntl(fd, F_GETFD)) >= 0 && (flags & FD_CLOEXEC))
			(void)close(fd);
}

static void __attribute__((noreturn))
run_child(int argc, char **argv, int in, int out, int err)
{
	int r;

	(void)dup2(in, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(err, STDERR_FILENO);
	close_others();
	r = segmentctl_main(argc, argv);
	exit(r);
}

static void
run_args(int argc, char **argv)
{
	struct winsize window = { .ws_row = 25, .ws_col = (unsigned short)terminal_columns };
	int in = memory_file(input, input_bytes), out, err, master = -1, status;
	pid_t pid;

	if (terminal_columns) {
		ck_assert_int_eq(openpty(&master, &out, NULL, NULL, &window), 0);
		err = dup(out);
		if (typed) {
			(void)close(in);
			in = dup(out);
			ck_assert_int_eq(write(master, typed, strlen(typed)), (ssize_t)strlen(typed));
		}
	} else {
		out = memory_file("", 0);
		err = memory_file("", 0);
	}
	(void)fflush(NULL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (master >= 0)
			(void)close(master);
		run_child(argc, argv, in, out, err);
	}
	(void)close(in);
	if (terminal_columns) {
		(void)close(out);
		(void)close(err);
		run.out_bytes = read_terminal(master);
		run.err[0] = '\0';
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (!terminal_columns) {
		run.out_bytes = read_back(out, run.out);
		(void)read_back(err, run.err);
	}
	input_bytes = 0;
	terminal_columns = 0;
	typed = NULL;
}

const struct run *
run_segmentctl(const char *first, ...)
{
	char *argv[ARGS_MAX + 2] = { (char *)(uintptr_t)"segmentctl" };
	int argc = 1;
	va_list args;

	va_start(args, first);
	for (const char *arg = first; arg; arg = va_arg(args, const char *)) {
		ck_assert_int_lt(argc, ARGS_MAX);
		argv[argc++] = (char *)(uintptr_t)arg;
	}
	va_end(args);
	run_args(argc, argv);
	return &run;
}

/* Feeds text to a shell command; its exit status. */
static int
feed(const char *command, const char *text)
{
	FILE *pipe = popen(command, "w");
	int status;

	ck_assert_ptr_nonnull(pipe);
	(void)signal(SIGPIPE, SIG_IGN);
	fputs(text, pipe);
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Without what python3 loads for others (-IS): that would take most of its time. A judge that is not there says neither. */
bool
run_is_json(const char *text, bool *ret_known)
{
	static const struct {
		const char *command;
		int no[2];		/* its exit status for what is none */
	} judges[] = {
		{ "python3 -ISc 'import json, sys\ntry: json.load(sys.stdin)\nexcept ValueError: sys.exit(2)' >/dev/null 2>&1", { 2, 2 } },
		{ "jq -se 'length == 1' >/dev/null 2>&1", { 1, 2 } },
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(judges); i++) {
		int status = feed(judges[i].command, text);

		*ret_known = status == 0 || status == judges[i].no[0] || status == judges[i].no[1];
		if (*ret_known)
			return status == 0;
	}
	return true;
}

void
assert_json(const char *text)
{
	bool known;

	ck_assert_msg(run_is_json(text, &known), "no JSON document: %s", text);
	if (!known)
		puts("skipped: neither python3 nor jq is here to judge JSON");
}

void
assert_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "'%s' lacks '%s'", text, part);
}

void
assert_lacks(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) == NULL, "'%s' has '%s'", text, part);
}

const char *
run_line_of(const char *text, const char *begin)
{
	static char line[512];
	const char *found = strstr(text, begin);

	ck_assert_msg(found != NULL, "'%s' lacks '%s'", text, begin);
	(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(found, "\n"), found);
	return line;
}
