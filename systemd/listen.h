/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Socket activation: the listening socket that the service manager made for us. */
#ifndef SYSTEMD_LISTEN_H
#define SYSTEMD_LISTEN_H

/*
 * The listening AF_UNIX SOCK_SEQPACKET socket that was handed down, close-on-exec and non-blocking. 0 and *ret_fd = -1:
 * none was. -EINVAL: something was, and is of another kind; other negative errno: asking failed.
 */
int listen_inherited(int *ret_fd);

#endif
