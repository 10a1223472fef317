/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Definitions: their lifetime, their words, and what a template stands for. */
#include "config.h"

#include "conf/definition.h"

#include "base/base.h"

const char *const definition_backend_names[] = { "memfd", "posix", "sysv", "file", NULL };
const char *const definition_page_size_names[] = { "auto", "base", "transparent", "2MiB", "1GiB", NULL };
const char *const definition_numa_names[] = { "any", "local", "bind", "interleave", "preferred", NULL };
const char *const definition_placement_names[] = { "require", "prefer", NULL };
const char *const definition_lifetime_names[] = { "persistent", "attached", NULL };
const char *const definition_on_death_names[] = { "rollback", "keep", "zero", "poison", NULL };
const char *const definition_on_unclean_names[] = { "keep", "zero", "fail", NULL };

_Static_assert(BASE_ARRAY_SIZE(definition_backend_names) == DEFINITION_BACKEND_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_page_size_names) == DEFINITION_PAGE_SIZE_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_numa_names) == DEFINITION_NUMA_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_placement_names) == DEFINITION_PLACEMENT_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_lifetime_names) == DEFINITION_LIFETIME_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_on_death_names) == DEFINITION_ON_DEATH_N + 1, "a word each");
_Static_assert(BASE_ARRAY_SIZE(definition_on_unclean_names) == DEFINITION_ON_UNCLEAN_N + 1, "a word each");

static const unsigned backend_takes[DEFINITION_BACKEND_N] = {
	[DEFINITION_MEMFD] = 0,
	[DEFINITION_POSIX] = DEFINITION_TAKES_DEV_SHM,
	[DEFINITION_SYSV] = DEFINITION_TAKES_SHM_LIMITS,
	[DEFINITION_FILE] = DEFINITION_TAKES_DISK,
};

/* A file's name, for all the definitions that were read there. */
struct file_name {
	unsigned n_refs;
	char text[];
};

/* Most definitions are of the same file as the one before. */
static struct file_name *last_file;

static struct file_name *
file_name_of(const char *text)
{
	return BASE_CONTAINER_OF(text, struct file_name, text);
}

static void
file_name_unref(const char *text)
{
	struct file_name *name = text ? file_name_of(text) : NULL;

	if (!name || --name->n_refs)
		return;
	if (last_file == name)
		last_file = NULL;
	free(name);
}

int
definition_set_file(struct definition *definition, const char *file)
{
	struct file_name *name = last_file;
	size_t size = strlen(file) + 1;

	if (name && streq(name->text, file)) {
		name->n_refs++;
	} else {
		name = malloc(sizeof(*name) + size);
		if (!name)
			return -ENOMEM;
		name->n_refs = 1;
		memcpy(name->text, file, size);
		last_file = name;
	}
	file_name_unref(definition->file);
	definition->file = name->text;
	return 0;
}

struct definition *
definition_new(void)
{
	struct definition *definition = calloc(1, sizeof(*definition));

	if (definition)
		definition->n_refs = 1;
	return definition;
}

struct definition *
definition_ref(struct definition *definition)
{
	definition->n_refs++;
	return definition;
}

static void
definition_free(struct definition *definition)
{
	for (size_t i = 0; i < definition->n_allow; i++)
		free(definition->allow[i].name);
	for (size_t i = 0; i < definition->n_locks; i++)
		free(definition->locks[i].name);
	free(definition->allow);
	free(definition->locks);
	free(definition->name);
	file_name_unref(definition->file);
	free(definition->owner_name);
	free(definition->group_name);
	free(definition->layout);
	free(definition->init);
	free(definition->object);
	free(definition->path);
	free(definition);
}

struct definition *
definition_unref(struct definition *definition)
{
	if (definition && --definition->n_refs == 0)
		definition_free(definition);
	return NULL;
}

/* Copies a string that may be NULL; false when memory is short. */
static bool
copy_string(char *const *from, char **to)
{
	*to = NULL;
	if (!*from)
		return true;
	*to = strdup(*from);
	return *to != NULL;
}

/* Gives copy, whose scalars are from's already, strings of its own. All are set before any result counts. */
static bool
copy_strings(const struct definition *from, struct definition *copy)
{
	bool done = true;

	done &= copy_string(&from->name, &copy->name);
	done &= copy_string(&from->owner_name, &copy->owner_name);
	done &= copy_string(&from->group_name, &copy->group_name);
	done &= copy_string(&from->layout, &copy->layout);
	done &= copy_string(&from->init, &copy->init);
	done &= copy_string(&from->object, &copy->object);
	done &= copy_string(&from->path, &copy->path);
	return done;
}

static bool
copy_lists(const struct definition *from, struct definition *copy)
{
	copy->allow = calloc(from->n_allow + 1, sizeof(*copy->allow));
	copy->locks = calloc(from->n_locks + 1, sizeof(*copy->locks));
	if (!copy->allow || !copy->locks)
		return false;
	for (; copy->n_allow < from->n_allow; copy->n_allow++) {
		copy->allow[copy->n_allow] = from->allow[copy->n_allow];
		if (!copy_string(&from->allow[copy->n_allow].name, &copy->allow[copy->n_allow].name))
			return false;
	}
	for (; copy->n_locks < from->n_locks; copy->n_locks++) {
		copy->locks[copy->n_locks] = from->locks[copy->n_locks];
		if (!copy_string(&from->locks[copy->n_locks].name, &copy->locks[copy->n_locks].name))
			return false;
	}
	return true;
}

struct definition *
definition_copy(const struct definition *from)
{
	struct definition *copy = definition_new();
	bool done;

	if (!copy)
		return NULL;
	*copy = *from;
	copy->n_refs = 1;
	if (copy->file)
		file_name_of(copy->file)->n_refs++;
	copy->allow = NULL;
	copy->locks = NULL;
	copy->n_allow = 0;
	copy->n_locks = 0;
	done = copy_strings(from, copy);
	done = copy_lists(from, copy) && done;
	return done ? copy : definition_unref(copy);
}

struct definition *
definition_instantiate(const struct definition *template_, const char *name, uint64_t size_bytes,
    uint32_t uid, uint32_t gid)
{
	struct definition *definition = definition_copy(template_);

	if (!definition)
		return NULL;
	free(definition->name);
	definition->name = strdup(name);
	definition->is_template = false;
	definition->max_count = 0;
	definition->size_bytes = size_bytes;
	definition->max_size_bytes = size_bytes;	/* no reload grows it, so nobody else may either */
	definition->required = false;
	definition->creator = uid;
	if (!definition->has_owner) {
		definition->has_owner = true;
		definition->owner = uid;
	}
	if (!definition->has_group) {
		definition->has_group = true;
		definition->group = gid;
	}
	return definition->name ? definition : definition_unref(definition);
}

const struct definition_lock *
definition_lock_beyond(const struct definition *definition, uint64_t size_bytes)
{
	for (size_t i = 0; i < definition->n_locks; i++) {
		const struct definition_lock *lock = &definition->locks[i];

		if (lock->length_bytes > size_bytes || lock->offset_bytes > size_bytes - lock->length_bytes)
			return lock;
		if (lock->is_mutex &&
		    (size_bytes < DEFINITION_MUTEX_BYTES || lock->at_bytes > size_bytes - DEFINITION_MUTEX_BYTES))
			return lock;
	}
	return NULL;
}

uint64_t
definition_control_bytes(const struct definition *definition, uint64_t record_bytes, uint64_t entry_bytes)
{
	uint64_t bytes = definition->n_locks * record_bytes;
	bool has_ours = false;

	for (size_t i = 0; i < definition->n_locks; i++) {
		const struct definition_lock *lock = &definition->locks[i];

		if (lock->is_mutex)
			continue;
		has_ours = true;
		bytes += round_up(round_up(lock->undo_bytes, entry_bytes), record_bytes);
	}
	return has_ours ? bytes : 0;
}

bool
definition_name_valid(const char *name)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strnlen(name, DEFINITION_NAME_MAX + 1);

	if (len == 0 || len > DEFINITION_NAME_MAX || !strchr(first, name[0]))
		return false;
	return strspn(name, others) == len;
}

bool
definition_matches(const struct definition *template_, const char *name, uint32_t uid)
{
	const char *pattern = template_->name;

	while (*pattern) {
		if (pattern[0] == '%' && pattern[1] == 'U') {
			/* Only here: who looks for a template asks a thousand of them, and most differ before. */
			char id[16];
			size_t len = (size_t)snprintf(id, sizeof(id), "%lu", (unsigned long)uid);

			if (strncmp(name, id, len) != 0)
				return false;
			name += len;
			pattern += 2;
		} else if (*pattern++ != *name++) {
			return false;	/* also at the end of name */
		}
	}
	return *name != '\0';
}

/* The word at index of names, for a value that may come from elsewhere than from us. */
static const char *
word_of(const char *const *names, unsigned n_names, unsigned value)
{
	return value < n_names ? names[value] : "unknown";
}

bool
definition_takes(const struct definition *definition, unsigned takes)
{
	return (unsigned)definition->backend < DEFINITION_BACKEND_N && (backend_takes[definition->backend] & takes) == takes;
}

const char *
definition_backend_name(enum definition_backend backend)
{
	return word_of(definition_backend_names, DEFINITION_BACKEND_N, (unsigned)backend);
}

const char *
definition_page_size_name(enum definition_page_size page_size)
{
	return word_of(definition_page_size_names, DEFINITION_PAGE_SIZE_N, (unsigned)page_size);
}

const char *
definition_lifetime_name(enum definition_lifetime lifetime)
{
	return word_of(definition_lifetime_names, DEFINITION_LIFETIME_N, (unsigned)lifetime);
}
