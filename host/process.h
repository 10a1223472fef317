/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the host says of a process. Reads only; a pid is a number to print, never an identity. */
#ifndef HOST_PROCESS_H
#define HOST_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* The command's name (/proc/PID/comm) with control characters replaced; "" when there is none. */
void process_command(pid_t pid, char *buf, size_t size);

#endif
