/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Growth in place. */
#include "config.h"

#include "base/base.h"
#include "daemon/segment.h"

int
segment_grow(struct segment *segment, struct definition *next)
{
	return -EOPNOTSUPP;
}
