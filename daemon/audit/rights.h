/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What this process may do, for saying what it could not. */
#ifndef DAEMON_AUDIT_RIGHTS_H
#define DAEMON_AUDIT_RIGHTS_H

#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>

#define RIGHTS_BIT(cap)	(UINT64_C(1) << (cap))

#define RIGHTS_LOOK	(RIGHTS_BIT(CAP_SYS_PTRACE) | RIGHTS_BIT(CAP_DAC_READ_SEARCH))	/* into others' processes */
#define RIGHTS_JUDGE	(RIGHTS_BIT(CAP_LEASE) | RIGHTS_BIT(CAP_DAC_READ_SEARCH))	/* whether others' objects are held */
#define RIGHTS_REMOVE	(RIGHTS_BIT(CAP_FOWNER) | RIGHTS_BIT(CAP_SYS_ADMIN))		/* removing those */

/*
 * Which of the capabilities are not in force, as "CAP_SYS_PTRACE and CAP_LEASE"; "" where none is missing. Those of a user
 * namespace count for nothing here where the kernel asks for the host's: then what was refused was refused for that.
 */
const char *rights_missing(uint64_t wanted, char *buf, size_t size);

#endif
