/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether anybody has a file, as the kernel says it by a lease: of all processes, whoever's they are, and within microseconds. */
#ifndef HOST_LEASE_H
#define HOST_LEASE_H

#include <sys/stat.h>

enum lease {
	LEASE_UNKNOWN,			/* it is not ours to open, or has no leases, or is another one by now */
	LEASE_HELD,			/* somebody has it open or mapped */
	LEASE_FREE,			/* nobody has */
};

/* Asks of the regular file that a stat of the path has shown. Opens it for a moment, and stores nothing. */
enum lease lease_ask(const char *path, const struct stat *st);

#endif
