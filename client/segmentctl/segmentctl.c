/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The table of commands, and the command line. Options may stand anywhere before `--`; which a command takes is in its
 * row. Nothing here knows what a command does. What follows `--` is never looked at: it may be another program's.
 */
#include "config.h"

#include "client/segmentctl/segmentctl.h"

#include <getopt.h>
#include <locale.h>
#include <signal.h>

#include "base/base.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/report.h"
#include "conf/units.h"

#define ANY	UINT32_MAX

const struct segmentctl_command segmentctl_commands[] = {
	{ "list", "", "a row a segment", 0, 0, 0, list_run },
	{ "show", "NAME", "everything about one segment", 1, 1, 0, show_run },
	{ "clients", "", "a row a client session", 0, 0, 0, clients_run },
	{ "users", "", "what each user makes the daemon hold, and may", 0, 0, 0, users_run },
	{ "check", "[FILE]", "validate a configuration, without a daemon", 0, 1, 0, check_run },
	{ "doctor", "[FILE]", "what of it will not fit this host, and what mends that", 0, 1, 0, doctor_run },
	{ "wait", "NAME... [--timeout T]", "wait until segments are ready", 1, ANY, SEGMENTCTL_OPTION_TIMEOUT, wait_run },
	{ "read", "NAME [OFFSET [LENGTH]]", "contents to standard output", 1, 3, 0, contents_run_read },
	{ "write", "NAME [OFFSET]", "standard input to contents", 1, 2, 0, contents_run_write },
	{ "exec", "NAME[:r]... -- CMD [ARG...]", "run a program with segments as descriptors", 2, ANY, 0, exec_run },
	{ "create", "NAME SIZE", "create a segment from a template", 2, 2, 0, lifecycle_run_create },
	{ "remove", "NAME [--now]", "drain and remove a segment", 1, 1, SEGMENTCTL_OPTION_NOW, lifecycle_run_remove },
	{ "recover", "NAME [LOCK] [--keep]", "free poisoned locks by hand", 1, 2, SEGMENTCTL_OPTION_KEEP, recover_run },
	{ "events", "[NAME...] [--kinds LIST]", "follow what happens", 0, ANY,
	    SEGMENTCTL_OPTION_KINDS | SEGMENTCTL_JSON_LINES, events_run },
	{ "orphans", "[--remove] [--yes] [--all] [NAME|KEY...]", "what of this host's shared memory nobody holds", 0, ANY,
	    SEGMENTCTL_OPTION_REMOVE | SEGMENTCTL_OPTION_YES | SEGMENTCTL_OPTION_ALL, orphans_run },
	{ "retry", "NAME", "provision a failed segment again", 1, 1, 0, lifecycle_run_retry },
	{ "plan", "[FILE]", "what a reload would do, a line each", 0, 1, 0, plan_run },
	{ "reload", "", "carry a changed configuration out", 0, 0, 0, plan_run_reload },
	{ "metrics", "", "the daemon's figures as OpenMetrics text", 0, 0, 0, metrics_run },
};
const size_t segmentctl_n_commands = BASE_ARRAY_SIZE(segmentctl_commands);

enum { OPTION_SOCKET = 256, OPTION_JSON, OPTION_HELP, OPTION_VERSION, OPTION_NOW, OPTION_TIMEOUT, OPTION_KEEP,
    OPTION_KINDS, OPTION_REMOVE, OPTION_YES, OPTION_ALL };

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "now", no_argument, NULL, OPTION_NOW },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "keep", no_argument, NULL, OPTION_KEEP },
	{ "kinds", required_argument, NULL, OPTION_KINDS },
	{ "remove", no_argument, NULL, OPTION_REMOVE },
	{ "yes", no_argument, NULL, OPTION_YES },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ 0 }
};

static void
print_usage(const struct segmentctl_command *command)
{
	printf("  %s%s%-*s %s\n", command->name, *command->arguments ? " " : "",
	    (int)(32 - strlen(command->name) - (*command->arguments != '\0')), command->arguments, command->help);
}

static int
print_help(const struct segmentctl *ctl)
{
	fputs("usage: segmentctl [--socket PATH] [--json] COMMAND\n\n", stdout);
	if (ctl->command) {
		print_usage(ctl->command);
	} else {
		for (size_t i = 0; i < segmentctl_n_commands; i++)
			print_usage(&segmentctl_commands[i]);
	}
	fputs("\n"
	      "  --socket PATH  the daemon's socket (default: $SEGMENTD_SOCKET, else the built-in path)\n"
	      "  --json         one JSON document on standard output; of events, one a line\n"
	      "  --help, --version\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 no such segment, 5 not permitted.\n"
	      "segmentctl(1) has the details.\n", stdout);
	return report_output(ctl, 0);
}

static int
print_version(const struct segmentctl *ctl)
{
	printf("segmentctl (segmentd) %s\n", PACKAGE_VERSION);
	return report_output(ctl, 0);
}

static const struct segmentctl_command *
find_command(const char *name)
{
	for (size_t i = 0; i < segmentctl_n_commands; i++)
		if (streq(segmentctl_commands[i].name, name))
			return &segmentctl_commands[i];
	return NULL;
}

/* Whether --json is given: asked ahead of everything else, since the first error has to know. */
static bool
wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && !streq(argv[i], "--"); i++)
		if (streq(argv[i], "--json"))
			return true;
	return false;
}

static int
parse_timeout(struct segmentctl *ctl, const char *text)
{
	char why[UNITS_WHY_SIZE];

	if (units_parse_time(text, why, &ctl->timeout_ms) != 0)
		return report_usage(ctl, "--timeout: %s", why);
	if (ctl->timeout_ms == 0)
		return report_usage(ctl, "--timeout: '%s' leaves no time for an answer; expected at least 1ms", text);
	ctl->timeout_text = text;
	ctl->options |= SEGMENTCTL_OPTION_TIMEOUT;
	return 0;
}

/*
 * Takes the options out, so that argv[0] and on are the command and its arguments, *ret_n of them, and NULL. Returns an exit
 * status, or -1: go on.
 */
static int
parse_options(struct segmentctl *ctl, int argc, char **argv, int *ret_n)
{
	bool help = false, version = false;
	const char *timeout = NULL;
	int option, n = 0;

	opterr = 0;
	optind = 0;
	/* "-": arguments come in their order, and none is moved, so that it is seen where `--` stood. */
	while ((option = getopt_long(argc, argv, "-:h", long_options, NULL)) != -1) {
		switch (option) {
		case 1:
			argv[n++] = optarg;
			break;
		case OPTION_SOCKET:
			ctl->socket = optarg;
			break;
		case OPTION_JSON:
			ctl->json = true;
			break;
		case OPTION_HELP:
		case 'h':
			help = true;
			break;
		case OPTION_VERSION:
			version = true;
			break;
		case OPTION_NOW:
			ctl->options |= SEGMENTCTL_OPTION_NOW;
			break;
		case OPTION_KEEP:
			ctl->options |= SEGMENTCTL_OPTION_KEEP;
			break;
		case OPTION_REMOVE:
			ctl->options |= SEGMENTCTL_OPTION_REMOVE;
			break;
		case OPTION_YES:
			ctl->options |= SEGMENTCTL_OPTION_YES;
			break;
		case OPTION_ALL:
			ctl->options |= SEGMENTCTL_OPTION_ALL;
			break;
		case OPTION_KINDS:
			ctl->kinds = optarg;
			ctl->options |= SEGMENTCTL_OPTION_KINDS;
			break;
		case OPTION_TIMEOUT:
			timeout = optarg;
			break;
		case ':':
			return report_usage(ctl, "the option '%s' needs an argument", argv[optind - 1]);
		default:
			if (optopt && optopt < 256)
				return report_usage(ctl, "there is no option '-%c'", optopt);
			return report_usage(ctl, "there is no option '%s', or it is not written so", argv[optind - 1]);
		}
	}
	ctl->has_tail = streq(argv[optind - 1], "--");
	ctl->n_head = n > 0 ? (unsigned)n - 1 : 0;
	while (optind < argc)
		argv[n++] = argv[optind++];
	argv[n] = NULL;
	*ret_n = n;
	if (n > 0)
		ctl->command = find_command(argv[0]);
	if (help)
		return print_help(ctl);
	if (version)
		return print_version(ctl);
	return timeout && parse_timeout(ctl, timeout) != 0 ? SEGMENTCTL_USAGE : -1;
}

/* The first option of a set, as it is written. */
static const char *
option_name(unsigned options)
{
	static const struct { unsigned option; const char *name; } names[] = {
		{ SEGMENTCTL_OPTION_NOW, "--now" },
		{ SEGMENTCTL_OPTION_TIMEOUT, "--timeout" },
		{ SEGMENTCTL_OPTION_KEEP, "--keep" },
		{ SEGMENTCTL_OPTION_KINDS, "--kinds" },
		{ SEGMENTCTL_OPTION_REMOVE, "--remove" },
		{ SEGMENTCTL_OPTION_YES, "--yes" },
		{ SEGMENTCTL_OPTION_ALL, "--all" },
	};
	size_t i = 0;

	while (i + 1 < BASE_ARRAY_SIZE(names) && !(options & names[i].option))
		i++;
	return names[i].name;
}

static int
run_command(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	const struct segmentctl_command *command = ctl->command;
	unsigned refused = ctl->options & ~command->options;

	if (refused)
		return report_usage(ctl, "'%s' takes no option '%s'", command->name, option_name(refused));
	if (n_args < command->args_min)
		return report_usage(ctl, "'%s' lacks an argument: %u given", command->name, n_args);
	if (n_args > command->args_max)
		return report_usage(ctl, "'%s' takes no argument '%s'", command->name, args[command->args_max]);
	return command->run(ctl, args, n_args);
}

int
segmentctl_main(int argc, char **argv)
{
	struct segmentctl ctl = { .json = wants_json(argc, argv) };
	int n = 0, r;

	(void)setlocale(LC_ALL, "");
	/* A reader that leaves is told from other errors by EPIPE, and no signal ends us in the middle. */
	ctl.sigpipe = signal(SIGPIPE, SIG_IGN);
	r = parse_options(&ctl, argc, argv, &n);
	if (r >= 0)
		return r;
	if (n == 0)
		return report_usage(&ctl, "a command is missing");
	if (!ctl.command)
		return report_usage(&ctl, "there is no command '%s'", argv[0]);
	return run_command(&ctl, argv + 1, (unsigned)n - 1);
}
