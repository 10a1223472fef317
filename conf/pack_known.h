/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Definitions by the bytes that they were unpacked from. How it is filled: internal to conf/; the rest is in conf/pack.h. */
#ifndef CONF_PACK_KNOWN_H
#define CONF_PACK_KNOWN_H

#include "conf/pack.h"

struct pack_known_place {
	const unsigned char *bytes;	/* in the window */
	size_t length;
	struct definition *definition;	/* the configuration's; NULL: the place is free */
};

struct pack_known {
	unsigned char *window;
	struct pack_known_place *places;
	size_t mask;
};

/* For so many. NULL when memory is short. */
struct pack_known *pack_known_new(size_t n_max);
void pack_known_add(struct pack_known *known, const unsigned char *bytes, size_t length, struct definition *definition);

#endif
