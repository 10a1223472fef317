/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The process of a worker: this same executable under another name, with nothing of ours but one socket. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "base/base.h"
#include "daemon/worker.h"

extern char **environ;

/* The environment without what the service manager said to us alone. The array is new, the strings are not. */
static char **
worker_environment(void)
{
	static const char *const ours[] = { "NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_" };
	size_t n = 0, n_kept = 0;
	char **kept;

	while (environ[n])
		n++;
	kept = calloc(n + 1, sizeof(*kept));
	if (!kept)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		bool is_ours = false;

		for (size_t j = 0; j < BASE_ARRAY_SIZE(ours); j++)
			is_ours = is_ours || strncmp(environ[i], ours[j], strlen(ours[j])) == 0;
		if (!is_ours)
			kept[n_kept++] = environ[i];
	}
	return kept;
}

int
worker_spawn(int socket, pid_t *ret_pid)
{
	static char argv0[] = JOB_ARGV0;
	char *argv[] = { argv0, NULL };
	cleanup_free char **environment = worker_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	if (!environment)
		return -ENOMEM;
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	(void)sigemptyset(&none);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
	if (!r)
		r = posix_spawn(ret_pid, "/proc/self/exe", &actions, &attributes, argv, environment);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}
