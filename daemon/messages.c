/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "base/base.h"
#include "daemon/messages.h"

#define ID(name, priority, id)	[MESSAGE_NUMBER_##name] = (id),

static const char *const ids[MESSAGE_NUMBER_N] = {
	MESSAGES(ID)
};

const char *
message_id(int what)
{
	unsigned number = (unsigned)what >> 3;

	return number < BASE_ARRAY_SIZE(ids) ? ids[number] : NULL;
}
