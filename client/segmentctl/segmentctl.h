/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segmentctl: the one table of commands, the options, and what every command is given. A new command is a row in
 * segmentctl.c, a handler declared in commands.h, and a section of the manual page.
 */
#ifndef CLIENT_SEGMENTCTL_SEGMENTCTL_H
#define CLIENT_SEGMENTCTL_SEGMENTCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses: scripts rely on them, so a number keeps its meaning for ever. */
enum segmentctl_status {
	SEGMENTCTL_DONE = 0,
	SEGMENTCTL_FAILED = 1,
	SEGMENTCTL_USAGE = 2,
	SEGMENTCTL_NO_DAEMON = 3,
	SEGMENTCTL_NO_SEGMENT = 4,
	SEGMENTCTL_NOT_PERMITTED = 5,
	/* Of `exec` alone, as shells and env(1) have them. */
	SEGMENTCTL_NOT_EXECUTABLE = 126,
	SEGMENTCTL_NO_COMMAND = 127,
};

/* Options that only some commands take; a bit each. */
#define SEGMENTCTL_OPTION_NOW		0x1u
#define SEGMENTCTL_OPTION_TIMEOUT	0x2u
#define SEGMENTCTL_OPTION_KEEP		0x4u
#define SEGMENTCTL_OPTION_KINDS		0x8u
#define SEGMENTCTL_OPTION_REMOVE	0x10u
#define SEGMENTCTL_OPTION_YES		0x20u
#define SEGMENTCTL_OPTION_ALL		0x40u
/* In a row's options: with --json it prints not one document, but many, each in a line. */
#define SEGMENTCTL_JSON_LINES		0x80000000u

/* What the command line said. */
struct segmentctl {
	const char *socket;		/* NULL: the environment's or the built-in one */
	bool json;
	unsigned options;		/* SEGMENTCTL_OPTION_* that were given */
	uint64_t timeout_ms;
	const char *timeout_text;	/* as written */
	const char *kinds;		/* as written; NULL: all */
	unsigned n_head;		/* arguments ahead of `--`, or of them all */
	bool has_tail;			/* there was a `--` */
	void (*sigpipe)(int);		/* what became of SIGPIPE before we ignored it */
	char *failure;			/* a failure's sentence goes here and is not told: to who goes on without; or NULL */
	size_t failure_size;
	const struct segmentctl_command *command;
};

/* Runs a command with its arguments, as many as its row allows, ended by NULL. Returns the exit status. */
typedef int (*segmentctl_run_fn)(const struct segmentctl *ctl, char **args, unsigned n_args);

struct segmentctl_command {
	const char *name;
	const char *arguments;		/* as the usage line and the manual page write them */
	const char *help;
	unsigned args_min;
	unsigned args_max;
	unsigned options;
	segmentctl_run_fn run;
};

extern const struct segmentctl_command segmentctl_commands[];
extern const size_t segmentctl_n_commands;

/* The program: parses, runs, and returns the exit status. */
int segmentctl_main(int argc, char **argv);

#endif
