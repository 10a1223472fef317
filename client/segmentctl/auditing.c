/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The daemon has the socket's name by its configuration, which these commands do not read: it may be root's alone. */
#include "config.h"

#include "client/segmentctl/auditing.h"

#include <stdlib.h>

#include "host/audit.h"

const char *
auditing_socket(void)
{
	const char *path = secure_getenv("SEGMENTD_AUDIT_SOCKET");

	return path && *path ? path : AUDIT_SOCKET;
}
