/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * SipHash-1-3, as in many languages' own tables: fast for short keys, and without the key nobody can say which of them meet. The
 * key is drawn once in each process, when it is needed first.
 */
#include "config.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "base/base.h"
#include "daemon/hash.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t
rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void
sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
	sip->v0 = rotate(sip->v0, 32);
	sip->v2 += sip->v3;
	sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
	sip->v0 += sip->v3;
	sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
	sip->v2 += sip->v1;
	sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
	sip->v2 = rotate(sip->v2, 32);
}

static void
sip_add(struct sip *sip, uint64_t word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip->v0 ^= word;
}

uint64_t
hash_keyed(const uint64_t key[2], const void *bytes, size_t size)
{
	struct sip sip = {
		key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573),
	};
	const char *at = bytes;
	uint64_t word, last = (uint64_t)size << 56;

	for (size_t left = size; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sip_add(&sip, le64toh(word));
	}
	for (size_t i = 0; i < size % sizeof(word); i++)
		last |= (uint64_t)(unsigned char)at[i] << (8 * i);
	sip_add(&sip, last);
	sip.v2 ^= 0xff;
	for (unsigned i = 0; i < 3; i++)
		sip_round(&sip);
	return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

uint32_t
hash_bytes(const void *bytes, size_t size)
{
	static uint64_t key[2];
	static bool is_keyed;

	if (!is_keyed) {
		is_keyed = true;
		/* So early that there is no chance yet: what nobody was told is better than nothing. */
		if (getrandom(key, sizeof(key), GRND_NONBLOCK) != sizeof(key)) {
			key[0] = clock_realtime_ns();
			key[1] = clock_monotonic_ns() ^ (uintptr_t)&key;
		}
	}
	return (uint32_t)hash_keyed(key, bytes, size);
}
