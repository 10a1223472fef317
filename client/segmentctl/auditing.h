/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A connection to segmentd-audit, for commands that ask it themselves. */
#ifndef CLIENT_SEGMENTCTL_AUDITING_H
#define CLIENT_SEGMENTCTL_AUDITING_H

#include "host/audit.h"

/* As audit_open() gives them. */
struct auditing {
	int fd;
	pid_t pid;			/* 0: systemd's */
};

/* Hangs up, and reaps. */
void auditing_close(struct auditing *auditing);

#endif
