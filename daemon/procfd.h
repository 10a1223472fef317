/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Opens what one of our descriptors refers to anew: a description of its own, through /proc/self/fd. */
#ifndef DAEMON_PROCFD_H
#define DAEMON_PROCFD_H

/* Opens the directory, which the first call of the other one would do else. 0 or a negative errno. */
int procfd_prepare(void);

/* A new, close-on-exec description of fd's file. 0 or a negative errno. */
int procfd_reopen(int fd, int flags, int *ret_fd);

/* A name in dir_fd for a file that has none, or another one. 0 or a negative errno. */
int procfd_link(int fd, int dir_fd, const char *name);

#endif
