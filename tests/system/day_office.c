/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The administrator of a day of operation: see day_office.h. */
#include "config.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/system/day_office.h"

#define RELOAD		"reload: "
#define RELOAD_SUM	"reload, asked for by "

/* A text in the making. */
struct text {
	char bytes[OFFICE_TEXT_SIZE];
	size_t len;
};

static void BASE_PRINTF(2, 3)
text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->bytes + text->len, sizeof(text->bytes) - text->len, format, args);
	va_end(args);
	harness_assert(n >= 0 && text->len + (size_t)n < sizeof(text->bytes), "a text is too long");
	text->len += (size_t)n;
}

/* The configuration. */

static struct office_entry *
find(struct office *office, const char *name)
{
	for (unsigned i = 0; i < office->n_entries; i++)
		if (streq(office->entries[i].name, name))
			return &office->entries[i];
	harness_assert(office->n_entries < OFFICE_ENTRIES_MAX, "too many entries");
	(void)snprintf(office->entries[office->n_entries].name, sizeof(office->entries[0].name), "%s", name);
	return &office->entries[office->n_entries++];
}

void
office_set(struct office *office, const char *name, const char *keys)
{
	struct office_entry *entry = find(office, name);

	entry->is_there = keys;
	(void)snprintf(entry->keys, sizeof(entry->keys), "%s", keys ? keys : "");
}

/* The rest of an entry's name of that kind, or NULL; kind "": a segment. */
static const char *
name_of(const struct office_entry *entry, const char *kind)
{
	size_t n = strlen(kind);

	if (n)
		return strncmp(entry->name, kind, n) == 0 ? entry->name + n : NULL;
	return strchr(entry->name, ' ') || streq(entry->name, "daemon") ? NULL : entry->name;
}

static void
add_list(const struct office *office, const char *list, const char *kind, struct text *text)
{
	const char *comma = "", *name;

	text_add(text, "%s = (", list);
	for (unsigned i = 0; i < office->n_entries; i++) {
		const struct office_entry *entry = &office->entries[i];

		if (!entry->is_there || !(name = name_of(entry, kind)))
			continue;
		text_add(text, "%s\n\t{ name = \"%s\"; %s }", comma, name, entry->keys);
		comma = ",";
	}
	text_add(text, " );\n");
}

static void
write_file(const char *path, const char *bytes)
{
	FILE *f = fopen(path, "we");

	harness_assert(f && fputs(bytes, f) >= 0 && fclose(f) == 0, "%s: %s", path, strerror(errno));
}

static void
write_pieces(const struct office *office)
{
	char path[192];
	const char *name;

	(void)snprintf(path, sizeof(path), "%s/segments.d", office->daemon.dir);
	harness_assert(mkdir(path, 0755) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < office->n_entries; i++) {
		if (!(name = name_of(&office->entries[i], "file ")))
			continue;
		(void)snprintf(path, sizeof(path), "%s/segments.d/%s", office->daemon.dir, name);
		if (office->entries[i].is_there)
			write_file(path, office->entries[i].keys);
		else
			harness_assert(unlink(path) == 0 || errno == ENOENT, "%s: %s", path, strerror(errno));
	}
}

static void
write_all(struct office *office)
{
	static struct text text;
	const char *keys = find(office, "daemon")->keys;

	text.len = 0;
	text_add(&text, "daemon = {\n\tsocket = \"%s\";\n\t%s\n", office->daemon.socket, keys);
	if (!strstr(keys, "state_dir"))
		text_add(&text, "\tstate_dir = \"%s\";\n", office->daemon.state);
	if (!strstr(keys, "admin_group"))
		text_add(&text, "\tadmin_group = \"\";\n");
	text_add(&text, "};\n");
	add_list(office, "segments", "", &text);
	add_list(office, "templates", "template ", &text);
	write_file(office->daemon.config, text.bytes);
	write_pieces(office);
}

/* What is said. */

/* Runs segmentctl, and adds what it says: lines without the padding behind the first word, or problems. Its exit status. */
static int
run(const struct office *office, const char *command, struct text *said)
{
	cleanup_close int fd = memfd_create("segmentctl", MFD_CLOEXEC);
	struct stat status;
	const char *bytes;
	int code;
	pid_t pid;

	(void)fflush(NULL);
	pid = harness_fork();
	if (pid == 0) {
		(void)dup2(fd, STDOUT_FILENO);
		(void)dup2(fd, STDERR_FILENO);
		(void)execl(DAY_SEGMENTCTL, "segmentctl", "--socket", office->daemon.socket, command, (char *)NULL);
		_exit(127);
	}
	harness_assert(waitpid(pid, &code, 0) == pid && WIFEXITED(code), "segmentctl %s ended with %#x", command, (unsigned)code);
	harness_assert(fstat(fd, &status) == 0 && status.st_size > 0, "segmentctl %s said nothing", command);
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	harness_assert(bytes != MAP_FAILED, "mmap: %s", strerror(errno));
	text_add(said, "%.*s", (int)status.st_size, bytes);
	(void)munmap((void *)(uintptr_t)bytes, (size_t)status.st_size);
	return WEXITSTATUS(code);
}

/* segmentctl's words without what is only there for the eye: the padding of the first column, and its own name. */
static void
strip(const struct text *said, struct text *plain)
{
	static const char own_name[] = "segmentctl: ";
	const char *end;

	plain->len = 0;
	for (const char *at = said->bytes; *at; at = end + 1) {
		size_t word = strcspn(at, " \n");

		end = strchr(at, '\n');
		harness_assert(end, "a line has no end: %s", at);
		if (strncmp(at, own_name, strlen(own_name)) == 0) {
			at += strlen(own_name);
			word = strcspn(at, " \n");
		}
		text_add(plain, "%.*s", (int)word, at);
		at += word;
		while (*at == ' ' && at[1] == ' ')
			at++;
		text_add(plain, "%.*s\n", (int)(end - at), at);
	}
}

/* The same of the daemon's log: what it says of reloads. */
static void
strip_log(const char *log, struct text *plain)
{
	const char *end, *at, *told;

	plain->len = 0;
	plain->bytes[0] = 0;
	for (at = log; (end = strchr(at, '\n')); at = end + 1) {
		size_t n = (size_t)(end - at);

		told = memmem(at, n, RELOAD_SUM, strlen(RELOAD_SUM));
		if (told)
			told = memmem(told, (size_t)(end - told), ": ", 2) ? (char *)memmem(told, (size_t)(end - told), ": ", 2) + 2 : NULL;
		else if ((told = memmem(at, n, RELOAD, strlen(RELOAD))))
			told += strlen(RELOAD);
		if (told)
			text_add(plain, "%.*s\n", (int)(end - told), told);
	}
}

static void
expect_same(const struct text *foretold, const struct text *told, const char *whose)
{
	harness_assert(streq(foretold->bytes, told->bytes), "%s are not the plan's words, but:\n%s--- and those were:\n%s", whose,
	    told->bytes, foretold->bytes);
}

const char *
office_reload(struct office *office, int status)
{
	static struct text said, foretold, told;
	bool by_signal = office->n_reloads++ % 2;
	size_t logged;
	int r;

	write_all(office);
	said.len = 0;
	r = run(office, "plan", &said);
	harness_assert(r == status, "plan ended with %d, and not %d: %s", r, status, said.bytes);
	strip(&said, &foretold);
	logged = strlen(harness_daemon_log(&office->daemon));
	if (by_signal) {
		office->n_hangups++;
		harness_daemon_hangup(&office->daemon);
	} else {
		said.len = 0;
		r = run(office, "reload", &said);
		harness_assert(r == status, "reload ended with %d, and not %d: %s", r, status, said.bytes);
		strip(&said, &told);
		expect_same(&foretold, &told, "segmentctl reload's words");
	}
	/* It says that it is ready at other times, too; of a reload after what the log has of it. */
	while (!strstr(harness_daemon_log(&office->daemon) + logged, RELOAD_SUM))
		harness_daemon_await_ready(&office->daemon);
	strip_log(harness_daemon_log(&office->daemon) + logged, &told);
	expect_same(&foretold, &told, "the log's words");
	return foretold.bytes;
}

void
office_open(struct office *office)
{
	harness_daemon_prepare(&office->daemon, NULL, NULL);
	write_all(office);
	harness_daemon_launch(&office->daemon);
	harness_daemon_await_ready(&office->daemon);
	harness_open(&office->conn, office->daemon.socket);
}

void
office_close(struct office *office)
{
	harness_close(&office->conn);
	harness_daemon_stop(&office->daemon);
}
