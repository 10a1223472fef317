/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "base/base.h"
#include "conf/check_unique.h"
#include "conf/units.h"

#define QUOTE_SIZE	96
#define KEY_SIZE	16

/* What a definition has that no other one may have, as text. NULL: nothing, or it is wrong, which was said. */
struct claim {
	const struct definition *definition;
	const char *text;
	size_t rank;			/* in the order of reading */
	char key[KEY_SIZE];
};

static const struct {
	const char *name;
	const char *expected;
} words[DEFINITION_BACKEND_N] = {
	[DEFINITION_POSIX] = { "object", "an object" },
	[DEFINITION_SYSV] = { "key", "a key" },
	[DEFINITION_FILE] = { "path", "a file" },
};

static const char *
claim_text(struct claim *claim)
{
	const struct definition *definition = claim->definition;

	switch (definition->backend) {
	case DEFINITION_POSIX:
		return definition->object;
	case DEFINITION_FILE:
		return definition->path;
	case DEFINITION_SYSV:
		if (!definition->has_key)
			return NULL;
		(void)snprintf(claim->key, sizeof(claim->key), "0x%08x", definition->key);
		return claim->key;
	default:
		return NULL;
	}
}

static int
by_claim(const void *a, const void *b)
{
	const struct claim *x = *(const struct claim *const *)a, *y = *(const struct claim *const *)b;
	int order;

	if (x->definition->backend != y->definition->backend)
		return x->definition->backend > y->definition->backend ? 1 : -1;
	order = strcmp(x->text, y->text);
	return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static void
check_pair(struct reader *reader, const struct claim *first, const struct claim *second)
{
	enum definition_backend backend = second->definition->backend;
	char quoted[QUOTE_SIZE];

	if (first->definition->backend != backend || !streq(first->text, second->text))
		return;
	read_problem_at(reader, second->definition->file, second->definition->line,
	    "%s %s is that of segment \"%s\" of %s:%u already; expected %s for each segment", words[backend].name,
	    second->text == second->key ? second->text : units_quote(quoted, sizeof(quoted), second->text),
	    first->definition->name ? first->definition->name : "", first->definition->file, first->definition->line,
	    words[backend].expected);
}

void
check_unique(struct reader *reader)
{
	const struct conf *conf = reader->conf;
	cleanup_free struct claim *claims = calloc(conf->n_segments + 1, sizeof(*claims));
	cleanup_free struct claim **sorted = calloc(conf->n_segments + 1, sizeof(*sorted));
	size_t n = 0;

	if (!claims || !sorted) {
		reader->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < conf->n_segments; i++) {
		claims[n] = (struct claim){ .definition = conf->segments[i], .rank = i };
		claims[n].text = claim_text(&claims[n]);
		if (claims[n].text) {
			sorted[n] = &claims[n];
			n++;
		}
	}
	qsort(sorted, n, sizeof(*sorted), by_claim);
	for (size_t i = 1; i < n; i++)
		check_pair(reader, sorted[i - 1], sorted[i]);
}
