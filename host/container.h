/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which container a process runs in, as far as the path of its cgroup says it. Pure: reads nothing. */
#ifndef HOST_CONTAINER_H
#define HOST_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * "RUNTIME:ID" by the outermost container of a cgroup's path: the one that this host's tools know by that name. Of docker, podman,
 * containerd and CRI-O below Kubernetes, nerdctl, LXC, LXD and Incus, and systemd's machines. False, and "": it is in none that is
 * known. What an id may not have (control characters, others than ASCII) becomes a question mark.
 */
bool container_of_cgroup(const char *path, char *buf, size_t size);

/* Likewise from the text of /proc/PID/cgroup, whose lines are ended: it may stand in all of them, or in one. */
bool container_find(char *text, char *buf, size_t size);

/*
 * The cgroup that is best shown of a process, from the text of /proc/PID/cgroup: of version 2 or of systemd's hierarchy, if it is
 * not the root there; cut at the front, marked with "...", where it is longer than there is room. "" where the text has none.
 */
void container_cgroup(const char *text, char *buf, size_t size);

#endif
