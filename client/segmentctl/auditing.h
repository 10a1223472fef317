/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Where commands that ask segmentd-audit themselves, without a configuration, find it. */
#ifndef CLIENT_SEGMENTCTL_AUDITING_H
#define CLIENT_SEGMENTCTL_AUDITING_H

/* $SEGMENTD_AUDIT_SOCKET, else the built-in one. For audit_open(). */
const char *auditing_socket(void);

#endif
