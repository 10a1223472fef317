/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What systemd says of segmentd.service, of itself, and of users who log out. root: "" but for tests. Reads only. */
#ifndef HOST_SERVICE_H
#define HOST_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVICE_UNIT	"segmentd.service"
#define SERVICE_UNLIMITED	UINT64_MAX
#define SERVICE_VERSION_PRESERVE	254	/* of systemd: stored descriptors can outlive a stop */

/* The limits under which the unit runs the daemon. */
struct service {
	uint64_t memlock_bytes;
	uint64_t nofile;		/* the hard limit, to which the daemon raises its own */
	uint64_t memory_max_bytes;	/* the lesser of MemoryMax= and MemoryHigh= */
	bool is_high;			/* it is MemoryHigh= */
	bool has_ipc_lock;		/* CAP_IPC_LOCK is left to it, so that its memlock limit does not hold */
	char user[64];			/* "": root */
	pid_t main_pid;			/* 0: it does not run, or that is not known */
};

/*
 * Asks `systemctl show`, where systemd runs and there is no root directory of a test, else the unit's files. 0, -ENOENT:
 * there is no such unit; or another negative errno.
 */
int service_read(const char *root, struct service *ret_service);

/* Its user, by name or by number, and that one's group. False: there is none of that name. */
bool service_find_user(const struct service *service, uint32_t *ret_uid, uint32_t *ret_gid);

/* A limit as units write it: "infinity", "64M", "1024:524288", of which the soft or the hard one is taken. False: it is none. */
bool service_parse_limit(const char *text, bool hard, uint64_t *ret_value);

/* Whether systemd is what runs this host's services. */
bool service_has_systemd(const char *root);

/* Its version as it is installed; 0: that cannot be told. */
unsigned service_systemd_version(const char *root);

/*
 * RemoveIPC= of logind.conf, and where it stands ("" for the default, which is yes). 0; -ENOENT: logind is not installed.
 */
int service_remove_ipc(const char *root, bool *ret_remove, char *ret_where, size_t size);

#endif
