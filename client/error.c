/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The sentence of a thread's last error. */
#include "config.h"

#include <stdarg.h>

#include "client/client.h"

static _Thread_local char error_text[CONNECTION_ERROR_SIZE];

int
error_set(int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error_text, sizeof(error_text), format, args);
	va_end(args);
	return r;
}

const char *
segment_error(void)
{
	return error_text;
}
