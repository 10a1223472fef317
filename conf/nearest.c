/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a mistyped key was probably meant to be: the one with the fewest letters to change, add, leave out or swap. Case,
 * hyphens and underscores do not count.
 */
#include "config.h"

#include "base/base.h"
#include "conf/keys.h"

#define WORD_MAX	24		/* longer words are no typo of ours */

static char
fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c == '-' ? '_' : c;
}

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

/* Edits that lead from a to b, a swap of neighbours being one; both are at most WORD_MAX long. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1] = { { 0 } };
	size_t n = strlen(a), m = strlen(b);

	for (unsigned i = 0; i <= n; i++)
		d[i][0] = i;
	for (unsigned j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			unsigned differs = fold(a[i - 1]) != fold(b[j - 1]);

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differs);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
			    fold(a[i - 2]) == fold(b[j - 1]) && d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[n][m];
}

/* Keeps the nearer of *best and candidate, when it is near enough to be meant at all. */
static void
consider(const char *text, const char *candidate, const char **best, unsigned *best_distance)
{
	size_t len = strnlen(text, WORD_MAX + 1);
	unsigned d, bound = len <= 3 ? 1 : len <= 6 ? 2 : 3;

	if (len > WORD_MAX || strlen(candidate) > WORD_MAX)
		return;
	d = distance(text, candidate);
	/* Of two that are equally near, the one that begins alike: "lock" is "locks" rather than "mlock". */
	if (d <= bound && (d < *best_distance ||
		(d == *best_distance && fold(*candidate) == fold(*text) && fold(**best) != fold(*text)))) {
		*best = candidate;
		*best_distance = d;
	}
}

const char *
keys_nearest(enum keys_scope scope, unsigned where, const char *key)
{
	unsigned best_distance = WORD_MAX;
	const struct keys_row *rows;
	const char *best = NULL;
	size_t n;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++)
		if (rows[i].scope == scope && (!where || rows[i].where & where))
			consider(key, rows[i].key, &best, &best_distance);
	return best;
}

const char *
keys_nearest_word(const char *const *words, const char *text)
{
	unsigned best_distance = WORD_MAX;
	const char *best = NULL;

	for (size_t i = 0; words[i]; i++)
		consider(text, words[i], &best, &best_distance);
	return best;
}
