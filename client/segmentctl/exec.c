/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `exec`: becomes another program that inherits segments as descriptors, and the session that attached them. The process
 * stays the same, so the daemon supervises the program as it would supervise a client: it is shown as the holder, and its
 * death ends the attachments. Nothing else of ours is left to it: neither descriptors nor what we do to signals.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/base.h"
#include "client/client.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/report.h"

#define FOR_READING	":r"

/*
 * What is told of each segment; the second one's have _2 behind their names, and so on. All have the first. Of SEGMENT_FD and
 * SEGMENT_SHMID each has one: System V memory is attached by its id.
 */
static const char *const variables[] = {
	"SEGMENT_NAME", "SEGMENT_FD", "SEGMENT_SHMID", "SEGMENT_SIZE", "SEGMENT_ACCESS", "SEGMENT_GENERATION",
};

/* One argument, taken apart, and what came of it. */
struct inherited {
	char name[PROTOCOL_NAME_SIZE];
	bool is_for_reading;
	unsigned number;		/* from 1 on */
	struct segment *segment;
};

static int
parse_argument(const struct segmentctl *ctl, const char *text, struct inherited *one)
{
	const char *colon = strchr(text, ':');
	cleanup_free char *name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
	int r;

	if (!name)
		return report_no_memory(ctl);
	if (colon && !streq(colon, FOR_READING))
		return report_usage(ctl, "'%s': expected NAME, or NAME:r to attach it for reading only", text);
	r = ask_check_name(ctl, name);
	if (r != 0)
		return r;
	ask_set_name(one->name, name);
	one->is_for_reading = colon;
	return 0;
}

/*
 * Why a program could not be run, and the status that shells and env(1) give for that. path: the file that was found; NULL:
 * none was.
 */
static int
tell_no_program(const struct segmentctl *ctl, const char *program, const char *path, int error)
{
	struct stat st;

	if (!path && error == ENOENT)
		return report_failure(ctl, SEGMENTCTL_NO_COMMAND, "'%s' was not found: there is no such file%s", program,
		    strchr(program, '/') ? "" : " in the directories of $PATH");
	if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return report_failure(ctl, SEGMENTCTL_NOT_EXECUTABLE, "'%s' is a directory, no program", path);
	switch (error) {
	case ENOENT:
		return report_failure(ctl, SEGMENTCTL_NOT_EXECUTABLE, "'%s' is there, but what it is run by is not: the "
		    "interpreter of its first line, or its loader", path);
	case EACCES:
		return report_failure(ctl, SEGMENTCTL_NOT_EXECUTABLE, "'%s' may not be executed: it lacks the permission "
		    "(chmod +x), or a directory on the way does, or its file system is mounted noexec", path ? path : program);
	default:
		return report_failure(ctl, SEGMENTCTL_NOT_EXECUTABLE, "'%s' could not be executed: %s", path ? path : program,
		    strerror(error));
	}
}

/* 0 if it can be executed, else a negative errno as execve(2) would have. */
static int
check_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -EACCES;
	return 0;
}

/*
 * Looks for the program as execvp(3) does. 0, or a negative errno. *ret_path, which the caller frees: the file that was found,
 * though it may be one that cannot be executed.
 */
static int
find_program(const char *program, char **ret_path)
{
	cleanup_free char *found = NULL, *copy = NULL;
	const char *search = getenv("PATH");
	char *rest, *directory;
	int r;

	*ret_path = NULL;
	if (*program == '\0')
		return -ENOENT;
	if (strchr(program, '/')) {
		r = check_file(program);
		if (r != -ENOENT && r != -ENOTDIR && !(*ret_path = strdup(program)))
			return -ENOMEM;
		return r == -ENOTDIR ? -ENOENT : r;
	}
	copy = rest = strdup(search ? search : "/bin:/usr/bin");
	if (!copy)
		return -ENOMEM;
	while ((directory = strsep(&rest, ":"))) {
		char *path;

		if (asprintf(&path, "%s/%s", *directory ? directory : ".", program) < 0)
			return -ENOMEM;
		r = check_file(path);
		/* The first that can be executed; else the first that would have to be. */
		if (r == 0 || (r == -EACCES && !found)) {
			free(found);
			found = path;
		} else {
			free(path);
		}
		if (r == 0)
			break;
	}
	*ret_path = take_ptr(found);
	return *ret_path ? check_file(*ret_path) : -ENOENT;
}

/* Ahead of everything else: nobody wants to wait for memory that nothing will use. */
static int
check_program(const struct segmentctl *ctl, const char *program)
{
	cleanup_free char *path = NULL;
	int r = find_program(program, &path);

	return r < 0 ? tell_no_program(ctl, program, path, -r) : 0;
}

static int
keep_open(const struct segmentctl *ctl, int fd)
{
	if (fcntl(fd, F_SETFD, 0) == 0)
		return 0;
	return report_failure(ctl, SEGMENTCTL_FAILED, "descriptor %d cannot be handed on: %s", fd, strerror(errno));
}

/* NAME for the first segment, NAME_2 for the second. */
static void
format_variable(const char *name, unsigned number, char *buf, size_t size)
{
	if (number == 1)
		(void)snprintf(buf, size, "%s", name);
	else
		(void)snprintf(buf, size, "%s_%u", name, number);
}

/* value: NULL: there is none, whatever an `exec` around this one said. */
static int
set_variable(const struct segmentctl *ctl, const char *name, unsigned number, const char *value)
{
	char variable[64];

	format_variable(name, number, variable, sizeof(variable));
	return (value ? setenv(variable, value, 1) : unsetenv(variable)) == 0 ? 0 : report_no_memory(ctl);
}

static int
describe_segment(const struct segmentctl *ctl, const struct inherited *one)
{
	const struct segment *segment = one->segment;
	bool is_shm = segment_fd(segment) < 0;
	char fd[16], shm_id[16], size[24], generation[24];
	const char *values[] = { one->name, is_shm ? NULL : fd, is_shm ? shm_id : NULL, size,
	    one->is_for_reading ? "read" : "write", generation };
	/* Also of what stands in for System V memory: the kernel knows the program as its holder by that. */
	int r = keep_open(ctl, segment->fd);

	static_assert(BASE_ARRAY_SIZE(values) == BASE_ARRAY_SIZE(variables), "a value each");
	(void)snprintf(fd, sizeof(fd), "%d", segment_fd(segment));
	(void)snprintf(shm_id, sizeof(shm_id), "%d", segment_shm_id(segment));
	(void)snprintf(size, sizeof(size), "%zu", segment_size(segment));
	(void)snprintf(generation, sizeof(generation), "%" PRIu64, segment_generation(segment));
	for (size_t i = 0; i < BASE_ARRAY_SIZE(variables) && r == 0; i++)
		r = set_variable(ctl, variables[i], one->number, values[i]);
	return r;
}

/* What an `exec` around this one said of more segments than there are now. */
static void
forget_older(unsigned n_segments)
{
	char variable[64];

	for (unsigned number = n_segments + 1;; number++) {
		bool is_there = false;

		for (size_t i = 0; i < BASE_ARRAY_SIZE(variables); i++) {
			format_variable(variables[i], number, variable, sizeof(variable));
			is_there = is_there || getenv(variable);
			(void)unsetenv(variable);
		}
		if (!is_there)
			return;
	}
}

static int
describe_session(const struct segmentctl *ctl, struct segment_client *client, unsigned n_segments)
{
	char text[24];
	int fd = client_connection_fd(client), r;

	/* It broke after the last answer: there is nothing that would keep us attached. */
	if (fd < 0)
		return report_failure(ctl, SEGMENTCTL_NO_DAEMON, "the connection to segmentd was lost");
	r = keep_open(ctl, fd);
	(void)snprintf(text, sizeof(text), "%d", fd);
	if (r == 0)
		r = set_variable(ctl, "SEGMENT_SESSION", 1, text);
	(void)snprintf(text, sizeof(text), "%u", n_segments);
	if (r == 0)
		r = set_variable(ctl, "SEGMENT_COUNT", 1, text);
	/* The program's own calls are for the same daemon. */
	if (r == 0 && ctl->socket)
		r = set_variable(ctl, "SEGMENTD_SOCKET", 1, ctl->socket);
	forget_older(n_segments);
	return r;
}

static int
attach(const struct segmentctl *ctl, struct segment_client *client, struct inherited *one)
{
	bool is_for_reading = one->is_for_reading;
	int r = segment_attach(client, one->name, NULL, is_for_reading ? SEGMENT_READ : SEGMENT_WRITE, &one->segment);

	if (r == -EACCES && !is_for_reading)
		return report_failure(ctl, SEGMENTCTL_NOT_PERMITTED, "%s; for reading alone it is written %s%s",
		    segment_error(), one->name, FOR_READING);
	if (r < 0)
		return report_failure(ctl, report_request_status(r), "%s", segment_error());
	return describe_segment(ctl, one);
}

static int
become(const struct segmentctl *ctl, char **command)
{
	cleanup_free char *path = NULL;
	int error;

	(void)signal(SIGPIPE, ctl->sigpipe);
	(void)execvp(command[0], command);
	error = errno;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)find_program(command[0], &path);
	return tell_no_program(ctl, command[0], path, error);
}

/* Does not return where all goes well. */
static int
hand_on(const struct segmentctl *ctl, struct inherited *segments, unsigned n, char **command)
{
	struct segment_client *client;
	int r = segment_connect(&client, ctl->socket);

	if (r < 0)
		return report_failure(ctl, report_connect_status(r), "%s", segment_error());
	for (unsigned i = 0; i < n && r == 0; i++)
		r = attach(ctl, client, &segments[i]);
	if (r == 0)
		r = describe_session(ctl, client, n);
	if (r == 0)
		r = become(ctl, command);
	for (unsigned i = 0; i < n; i++)
		(void)segment_detach(segments[i].segment);
	segment_disconnect(client);
	return r;
}

int
exec_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	unsigned n = ctl->n_head;
	cleanup_free struct inherited *segments = NULL;
	int r = 0;

	if (ctl->json)
		return report_usage(ctl, "'exec' prints nothing of its own: it has no --json");
	if (!ctl->has_tail || n == 0 || n == n_args)
		return report_usage(ctl, "'exec' lacks %s", n == 0 ? "a segment's NAME ahead of `--`" :
		    "`--` and a program to run, behind the names");
	segments = calloc(n, sizeof(*segments));
	if (!segments)
		return report_no_memory(ctl);
	for (unsigned i = 0; i < n && r == 0; i++) {
		segments[i].number = i + 1;
		r = parse_argument(ctl, args[i], &segments[i]);
	}
	if (r == 0)
		r = check_program(ctl, args[n]);
	return r == 0 ? hand_on(ctl, segments, n, args + n) : r;
}
