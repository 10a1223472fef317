/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Copies what SHOW brought, since the reply's buffer is used again, and cuts its text into keys. */
#include "config.h"

#include "client/segmentctl/shown.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/row.h"

/* Cuts the text at `at` of *rest and returns what stood before it; NULL: there is no `at`. */
static char *
cut(char **rest, char at)
{
	char *begin = *rest, *end = strchr(begin, at);

	if (!end)
		return NULL;
	*end = '\0';
	*rest = end + 1;
	return begin;
}

/* False: a line has not the four columns that it must have. */
static bool
cut_keys(struct shown *shown)
{
	char *rest = shown->text;

	while (*rest) {
		struct shown_key *key = &shown->keys[shown->n_keys];
		char *line = strchr(rest, '\n') ? cut(&rest, '\n') : rest;

		if (line == rest)
			rest += strlen(rest);	/* the last one may go without a newline */
		key->key = cut(&line, '\t');
		key->value = key->key ? cut(&line, '\t') : NULL;
		key->origin = key->value ? cut(&line, '\t') : NULL;
		key->reload = line;
		if (!key->origin || strchr(line, '\t'))
			return false;
		shown->n_keys++;
	}
	return true;
}

static size_t
count_lines(const char *text)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* What is on which node; an older daemon says nothing of it. */
static bool
take_nodes(struct shown *shown, const char *text)
{
	int n;

	for (; *text; text += n) {
		struct shown_node *node = &shown->nodes[shown->n_nodes];

		if (shown->n_nodes == SHOWN_NODES_MAX ||
		    sscanf(text, "%" SCNu64 "\t%" SCNu64 "\n%n", &node->node, &node->bytes, &n) != 2)
			return false;
		shown->n_nodes++;
	}
	return true;
}

int
shown_ask(struct shown *shown, struct ask *ask, const char *name)
{
	struct protocol_show request = { 0 };
	const struct protocol_shown *reply = &ask->reply.shown;
	const char *reason, *keys, *nodes;
	size_t at;
	int r;

	ask_set_name(request.name, name);
	r = ask_look(ask, PROTOCOL_SHOW, &request.header, sizeof(request), sizeof(*reply));
	r = r < 0 ? ask_report(ask, r) : 0;
	if (r != 0)
		return r;
	if (!row_is_sound(&reply->segment))
		return report_protocol(ask->ctl, "a name has no end");
	reason = ask_text(ask, sizeof(*reply), reply->reason_len);
	keys = reason ? ask_text(ask, sizeof(*reply) + reply->reason_len, reply->keys_len) : NULL;
	at = sizeof(*reply) + reply->reason_len + reply->keys_len;
	nodes = keys ? ask_text(ask, at, (uint32_t)(ask->reply_bytes - at)) : NULL;
	if (!nodes || !take_nodes(shown, nodes))
		return report_protocol(ask->ctl, "a text is not as long as it says");
	shown->segment = reply->segment;
	shown->synced_ns = reply->synced_ns;
	shown->dirty_bytes = reply->dirty_bytes;
	shown->file_flags = reply->file_flags;
	shown->reason = strdup(reason);
	shown->text = strdup(keys);
	shown->keys = calloc(count_lines(keys), sizeof(*shown->keys));
	if (!shown->reason || !shown->text || !shown->keys)
		return report_no_memory(ask->ctl);
	return cut_keys(shown) ? 0 : report_protocol(ask->ctl, "a key has not four columns");
}

void
shown_deinit(struct shown *shown)
{
	free(shown->reason);
	free(shown->text);
	free(shown->keys);
	*shown = (struct shown)SHOWN_NULL;
}

const char *
shown_find(const struct shown *shown, const char *key)
{
	for (size_t i = 0; i < shown->n_keys; i++)
		if (streq(shown->keys[i].key, key))
			return shown->keys[i].value;
	return NULL;
}
