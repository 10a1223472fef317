/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentd.service and its manager, as the manager or their files say. */
#include "config.h"

#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/base.h"
#include "host/file.h"
#include "host/service.h"
#include "host/settings.h"

/* systemd's own defaults, where neither the unit nor system.conf says anything. */
#define DEFAULT_MEMLOCK	(8 * MIB)
#define DEFAULT_NOFILE	524288

#define SHOW_PROPERTIES	"--property=LoadState,MainPID,User,LimitMEMLOCKSoft,LimitNOFILE,MemoryMax,MemoryHigh," \
	"CapabilityBoundingSet,AmbientCapabilities"

struct reading {
	struct service service;
	uint64_t max_bytes, high_bytes;
	bool is_bounded;		/* by CapabilityBoundingSet= without CAP_IPC_LOCK */
	bool is_ambient;		/* CAP_IPC_LOCK */
	bool is_found;
};

bool
service_parse_limit(const char *text, bool hard, uint64_t *ret_value)
{
	static const char units[] = "KMGTPE";
	const char *colon = strchr(text, ':'), *unit;
	uint64_t value;
	char *end;

	if (colon && hard)
		text = colon + 1;
	if (strncmp(text, "infinity", strlen("infinity")) == 0) {
		*ret_value = SERVICE_UNLIMITED;
		return true;
	}
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		return false;
	unit = *end ? strchr(units, *end) : NULL;
	if (*end && *end != ':' && *end != 'B' && !unit)
		return false;
	if (unit && !checked_mul(value, UINT64_C(1) << (10 * (unit - units + 1)), &value))
		value = SERVICE_UNLIMITED;
	*ret_value = value;
	return true;
}

/* "CAP_A CAP_B", or "~CAP_A", which is all others; systemctl writes them in small letters. */
static bool
has_capability(const char *list)
{
	bool is_inverse = *list == '~';

	return (strcasestr(list, "CAP_IPC_LOCK") != NULL) != is_inverse;
}

static void
take_setting(const char *section, const char *key, const char *value, const char *file, void *arg)
{
	struct reading *reading = arg;
	struct service *service = &reading->service;

	if (!streq(section, "Service"))
		return;
	if (streq(key, "LimitMEMLOCK") || streq(key, "LimitMEMLOCKSoft"))
		(void)service_parse_limit(value, false, &service->memlock_bytes);
	else if (streq(key, "LimitNOFILE"))
		(void)service_parse_limit(value, true, &service->nofile);
	else if (streq(key, "MemoryMax"))
		(void)service_parse_limit(value, false, &reading->max_bytes);
	else if (streq(key, "MemoryHigh"))
		(void)service_parse_limit(value, false, &reading->high_bytes);
	else if (streq(key, "User"))
		(void)snprintf(service->user, sizeof(service->user), "%s", value);
	else if (streq(key, "CapabilityBoundingSet"))
		reading->is_bounded = !has_capability(value);
	else if (streq(key, "AmbientCapabilities"))
		reading->is_ambient = *value && has_capability(value);
	else if (streq(key, "MainPID"))
		service->main_pid = (pid_t)strtol(value, NULL, 10);
	else if (streq(key, "LoadState"))
		reading->is_found = streq(value, "loaded");
}

static void
take_default(const char *section, const char *key, const char *value, const char *file, void *arg)
{
	struct reading *reading = arg;

	if (!streq(section, "Manager"))
		return;
	if (streq(key, "DefaultLimitMEMLOCK"))
		(void)service_parse_limit(value, false, &reading->service.memlock_bytes);
	else if (streq(key, "DefaultLimitNOFILE"))
		(void)service_parse_limit(value, true, &reading->service.nofile);
}

static void
reading_settle(struct reading *reading, struct service *ret_service)
{
	struct service *service = &reading->service;
	bool is_root = !*service->user || streq(service->user, "root") || streq(service->user, "0");

	service->has_ipc_lock = !reading->is_bounded && (is_root || reading->is_ambient);
	service->memory_max_bytes = min_u64(reading->max_bytes, reading->high_bytes);
	service->is_high = reading->high_bytes < reading->max_bytes;
	*ret_service = *service;
}

/* What `systemctl show` prints, a line each; NULL: it cannot be asked. */
static FILE *
ask_systemctl(pid_t *ret_pid)
{
	static char name[] = "systemctl", show[] = "show", unit[] = SERVICE_UNIT, properties[] = SHOW_PROPERTIES;
	char *argv[] = { name, show, unit, properties, NULL };
	posix_spawn_file_actions_t actions;
	FILE *out = NULL;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	if (posix_spawn_file_actions_init(&actions) == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
		if (r == 0)
			r = posix_spawnp(ret_pid, name, &actions, NULL, argv, environ);
		if (r == 0)
			out = fdopen(ends[0], "r");
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	if (!out)
		close_fd(&ends[0]);
	close_fd(&ends[1]);
	return out;
}

/* 0, -ENOENT, or -EIO: it did not answer. */
static int
service_ask(struct reading *reading)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	pid_t pid = 0;
	FILE *out = ask_systemctl(&pid);
	bool has_answered = false;
	char *value;

	while (out && getline(&line, &size, out) > 0) {
		line[strcspn(line, "\n")] = '\0';
		value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		has_answered = true;
		take_setting("Service", line, value, "", reading);
	}
	if (out)
		(void)fclose(out);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	if (!has_answered)
		return -EIO;
	return reading->is_found ? 0 : -ENOENT;
}

static void
reading_init(struct reading *reading)
{
	*reading = (struct reading) {
		.service = { .memlock_bytes = DEFAULT_MEMLOCK, .nofile = DEFAULT_NOFILE },
		.max_bytes = SERVICE_UNLIMITED, .high_bytes = SERVICE_UNLIMITED,
	};
}

int
service_read(const char *root, struct service *ret_service)
{
	struct reading reading;
	int r = -EIO;

	reading_init(&reading);
	if (!*root && service_has_systemd(root))
		r = service_ask(&reading);
	if (r == -EIO) {
		reading_init(&reading);
		r = settings_read_drop_ins(root, "systemd/system.conf", take_default, &reading);
		if (r == 0)
			r = settings_read(root, "systemd/system/" SERVICE_UNIT, take_setting, &reading);
	}
	if (r == 0)
		reading_settle(&reading, ret_service);
	return r;
}

bool
service_find_user(const struct service *service, uint32_t *ret_uid, uint32_t *ret_gid)
{
	const struct passwd *user;
	unsigned long number;
	char *end;

	if (!*service->user) {
		*ret_uid = *ret_gid = 0;
		return true;
	}
	user = getpwnam(service->user);
	number = strtoul(service->user, &end, 10);
	if (!user && *end)
		return false;
	*ret_uid = user ? user->pw_uid : (uint32_t)number;
	*ret_gid = user ? user->pw_gid : (uint32_t)number;
	return true;
}

bool
service_has_systemd(const char *root)
{
	return file_exists(root, "/run/systemd/system");
}

/* The library of its own programs carries the version in its name. */
unsigned
service_systemd_version(const char *root)
{
	static const char *const patterns[] = {
		"/usr/lib/systemd/libsystemd-shared-[0-9]*.so", "/usr/lib/*/systemd/libsystemd-shared-[0-9]*.so",
		"/usr/lib64/systemd/libsystemd-shared-[0-9]*.so", "/lib/systemd/libsystemd-shared-[0-9]*.so",
	};
	unsigned version = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(patterns) && !version; i++) {
		cleanup_free char *pattern = NULL;
		glob_t found;

		if (asprintf(&pattern, "%s%s", root, patterns[i]) < 0) {
			pattern = NULL;
			return 0;
		}
		if (glob(pattern, GLOB_NOSORT, NULL, &found))
			continue;
		version = (unsigned)strtoul(strstr(strrchr(found.gl_pathv[0], '/'), "-shared-") + strlen("-shared-"), NULL, 10);
		globfree(&found);
	}
	return version;
}

struct remove_ipc {
	bool remove;
	char *where;
	size_t size;
};

static void
take_remove_ipc(const char *section, const char *key, const char *value, const char *file, void *arg)
{
	static const char *const no[] = { "no", "n", "false", "f", "0", "off" };
	struct remove_ipc *found = arg;

	if (!streq(section, "Login") || !streq(key, "RemoveIPC"))
		return;
	found->remove = true;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(no); i++)
		if (strcasecmp(value, no[i]) == 0)
			found->remove = false;
	(void)snprintf(found->where, found->size, "%s", *value ? file : "");
}

int
service_remove_ipc(const char *root, bool *ret_remove, char *ret_where, size_t size)
{
	struct remove_ipc found = { .remove = true, .where = ret_where, .size = size };
	int r;

	*ret_where = '\0';
	if (!file_exists(root, "/usr/lib/systemd/systemd-logind") && !file_exists(root, "/lib/systemd/systemd-logind"))
		return -ENOENT;
	r = settings_read_drop_ins(root, "systemd/logind.conf", take_remove_ipc, &found);
	if (r == 0)
		*ret_remove = found.remove;
	return r;
}
