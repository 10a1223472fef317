/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Sizes, times and modes as people write them. Whole numbers only: what cannot be read exactly is refused with a sentence
 * that quotes what was found and says what is expected.
 */
#ifndef CONF_UNITS_H
#define CONF_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_WHY_SIZE		512
#define UNITS_SIZE_MAX		((uint64_t)1 << 62)	/* leaves room to round up within off_t */
#define UNITS_TIME_MAX_MS	((uint64_t)87600 * 3600 * 1000)	/* ten years */

/* Positive results. */
enum {
	UNITS_E_INVALID = 1		/* why says what is wrong; why holds UNITS_WHY_SIZE bytes */
};

/* "512MiB", "1G", "4096" (bytes): a whole number and B, KiB, MiB, GiB, TiB or K, M, G, T. */
int units_parse_size(const char *text, char *why, uint64_t *ret_bytes);

/* "100ms", "5s", "1min", "2h"; only zero goes without a unit. */
int units_parse_time(const char *text, char *why, uint64_t *ret_ms);

/* "0640": permission bits in octal. */
int units_parse_mode(const char *text, char *why, uint16_t *ret_mode);

/* The shortest exact form, as it can be read again: "512MiB", "4097B". Returns buf. */
const char *units_format_size(char *buf, size_t size, uint64_t bytes);
const char *units_format_time(char *buf, size_t size, uint64_t ms);

/*
 * A string from outside between double quotes, for a sentence: what is not printable ASCII is escaped, and what is long is
 * cut. Returns buf.
 */
const char *units_quote(char *buf, size_t size, const char *text);

#endif
