/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "base/base.h"
#include "tests/daemon/null.h"

struct null_notes null_notes;

static int
note(enum null_operation operation, char *text, size_t text_size)
{
	static const char *const names[NULL_OPERATION_N] = {
		[NULL_PROBE] = "probe", [NULL_CREATE] = "create", [NULL_ROOM] = "room", [NULL_ADMIT] = "admit",
		[NULL_SHUT] = "shut", [NULL_RESET] = "reset", [NULL_OPEN] = "open", [NULL_MAP] = "map", [NULL_LOCK] = "lock",
		[NULL_UNNAME] = "unname", [NULL_CLOSE] = "close",
	};
	size_t used = strlen(null_notes.order), length = strlen(names[operation]);
	const char *last = used > length ? null_notes.order + used - length : null_notes.order;

	null_notes.n[operation]++;
	if (!streq(last, names[operation]))
		(void)snprintf(null_notes.order + used, sizeof(null_notes.order) - used, "%s%s", used ? " " : "",
		    names[operation]);
	if (null_notes.refuses[operation] && text)
		(void)snprintf(text, text_size, NULL_REFUSAL);
	return null_notes.refuses[operation];
}

static int
null_probe(const struct definition *definition, char *text, size_t text_size)
{
	return note(NULL_PROBE, text, text_size);
}

static int
null_create(const struct definition *definition, const struct backend_birth *birth, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	int r = note(NULL_CREATE, text, text_size);

	if (r == 0)
		r = memfd_object_new(definition->name, definition->max_size_bytes, ret_object, text, text_size);
	if (r == 0) {
		ret_object->own = &null_notes;
		null_notes.n_objects++;
	}
	return r;
}

static int
null_room(const struct backend_object *object, uint64_t wanted_bytes, char *text, size_t text_size)
{
	return note(NULL_ROOM, text, text_size);
}

static int
null_admit(const struct backend_object *object, const struct definition *definition, char *text, size_t text_size)
{
	return note(definition ? NULL_ADMIT : NULL_SHUT, text, text_size);
}

static void
null_reset(const struct backend_object *object)
{
	(void)note(NULL_RESET, NULL, 0);
}

static int
null_open(const struct backend_object *object, bool write, int *ret_fd)
{
	int r = note(NULL_OPEN, NULL, 0);

	return r ? r : backend_open_fd(object, write, ret_fd);
}

static int
null_map(const struct backend_object *object, void *at)
{
	int r = note(NULL_MAP, NULL, 0);

	return r ? r : backend_map_fd(object, at);
}

uint64_t
null_others(const struct backend_object *object, unsigned n_maps)
{
	return null_notes.others;
}

static int
null_lock(const struct backend_object *object)
{
	return note(NULL_LOCK, NULL, 0);
}

static void
null_unname(struct backend_object *object)
{
	(void)note(NULL_UNNAME, NULL, 0);
}

static void
null_close(struct backend_object *object)
{
	(void)note(NULL_CLOSE, NULL, 0);
	object->own = NULL;
	null_notes.n_objects--;
}

struct backend null_backend = {
	.name = "null",
	.features = BACKEND_FD | BACKEND_SEALED | BACKEND_MARKS | BACKEND_HUGE,
	.probe = null_probe,
	.create = null_create,
	.room = null_room,
	.admit = null_admit,
	.reset = null_reset,
	.open = null_open,
	.map = null_map,
	.resident_bytes = backend_blocks,
	.lock = null_lock,
	.unname = null_unname,
	.close = null_close,
};
