/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "conf/origin.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/base.h"

#define TICK_NS		(NS_PER_SEC / 10)	/* times of files are no finer than the kernel's tick, */
#define COARSE_NS	(3 * NS_PER_SEC)	/* and whole seconds, or two, where nothing finer is kept */
#define DESCRIBED_SIZE	192

static const char *const reader_paths[] = { "/etc/passwd", "/etc/group", "/etc/nsswitch.conf" };
static const char *const reader_variables[] = { "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR" };

static void BASE_PRINTF(2, 3)
origin_add(struct origin *origin, const char *format, ...)
{
	cleanup_free char *line = NULL;
	char *grown;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&line, format, args);
	va_end(args);
	if (n < 0)
		line = NULL;
	grown = n < 0 ? NULL : realloc(origin->text, origin->length + (size_t)n + 1);
	if (!grown) {
		origin->is_vague = true;
		return;
	}
	memcpy(grown + origin->length, line, (size_t)n + 1);
	origin->text = grown;
	origin->length += (size_t)n;
}

static uint64_t
time_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NS_PER_SEC + (uint64_t)t->tv_nsec;
}

/* Whether one more change by now could be seen in its times. A time to come says nothing. */
static bool
is_settled(const struct timespec *changed, uint64_t now_ns)
{
	uint64_t changed_ns = time_ns(changed);

	return now_ns > changed_ns && now_ns - changed_ns > (changed->tv_nsec ? TICK_NS : COARSE_NS);
}

static void
describe(const struct stat *status, char text[DESCRIBED_SIZE])
{
	if (!status)
		(void)snprintf(text, DESCRIBED_SIZE, "none");
	else
		(void)snprintf(text, DESCRIBED_SIZE, "%ju.%ju.%o.%jd.%" PRIu64 ".%" PRIu64, (uintmax_t)status->st_dev,
		    (uintmax_t)status->st_ino, (unsigned)status->st_mode, (intmax_t)status->st_size, time_ns(&status->st_mtim),
		    time_ns(&status->st_ctim));
}

void
origin_note(struct origin *origin, const char *path, const struct stat *status)
{
	char text[DESCRIBED_SIZE];
	uint64_t now_ns;

	if (!origin)
		return;
	now_ns = clock_realtime_ns();
	if (strchr(path, '\n') || (status && (!is_settled(&status->st_mtim, now_ns) || !is_settled(&status->st_ctim, now_ns))))
		origin->is_vague = true;
	describe(status, text);
	origin_add(origin, "%s %s\n", text, path);
}

void
origin_note_path(struct origin *origin, const char *path)
{
	struct stat status;

	if (origin)
		origin_note(origin, path, stat(path, &status) ? NULL : &status);
}

/* A variable's value, for a line. */
static const char *
variable_of(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static void
describe_reader(struct origin *origin)
{
	origin_add(origin, "reader " PACKAGE_VERSION " %lu", (unsigned long)geteuid());
	for (size_t i = 0; i < BASE_ARRAY_SIZE(reader_variables); i++)
		origin_add(origin, " %s", variable_of(reader_variables[i]));
	origin_add(origin, "\n");
}

void
origin_note_reader(struct origin *origin)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(reader_variables); i++)
		origin->is_vague |= strchr(variable_of(reader_variables[i]), '\n') != NULL;
	/* Another executable may read the same files in another way. */
	origin_note_path(origin, "/proc/self/exe");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(reader_paths); i++)
		origin_note_path(origin, reader_paths[i]);
	describe_reader(origin);
}

/* Whether a line, without its end, says what is so. */
static bool
line_holds(const char *line, const char *reader)
{
	char now[DESCRIBED_SIZE];
	const char *blank = strchr(line, ' ');
	struct stat status;

	if (!blank)
		return false;
	if (strncmp(line, "reader ", 7) == 0)
		return streq(line, reader);
	describe(stat(blank + 1, &status) ? NULL : &status, now);
	return strlen(now) == (size_t)(blank - line) && strncmp(line, now, strlen(now)) == 0;
}

bool
origin_holds(const char *text)
{
	cleanup_free char *copy = strdup(text);
	struct origin reader = ORIGIN_NULL;
	bool holds, has_reader = false;
	char *rest = NULL;

	describe_reader(&reader);
	holds = copy && reader.text && !reader.is_vague;
	if (holds)
		reader.text[reader.length - 1] = '\0';
	for (char *line = holds ? strtok_r(copy, "\n", &rest) : NULL; holds && line; line = strtok_r(NULL, "\n", &rest)) {
		holds = line_holds(line, reader.text);
		has_reader |= strncmp(line, "reader ", 7) == 0;
	}
	origin_deinit(&reader);
	return holds && has_reader;
}

void
origin_deinit(struct origin *origin)
{
	free(origin->text);
	*origin = (struct origin) ORIGIN_NULL;
}
