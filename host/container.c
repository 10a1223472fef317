/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Each runtime names its cgroups in its own way: a rule a row. The path belongs to whoever made the cgroups, users with a part of
 * the tree of their own included: what is found is for people to read, and never a reason to do anything.
 */
#include "config.h"

#include "base/base.h"
#include "host/container.h"

enum id_kind {
	ID_HASH,			/* 64 hexadecimal digits */
	ID_NAME,
	ID_MACHINE,			/* a name as systemd escapes it */
};

/* A part of the path that is a container: PREFIX ID SUFFIX, behind a part that begins with `below`. */
struct rule {
	const char *below;		/* NULL: anywhere */
	const char *prefix;
	const char *suffix;
	enum id_kind kind;
	const char *runtime;
};

static const struct rule rules[] = {
	{ NULL, "docker-", ".scope", ID_HASH, "docker" },
	{ "docker", "", "", ID_HASH, "docker" },
	{ NULL, "libpod-", ".scope", ID_HASH, "podman" },
	{ NULL, "libpod-", "", ID_HASH, "podman" },
	{ NULL, "cri-containerd-", ".scope", ID_HASH, "containerd" },
	{ NULL, "crio-", ".scope", ID_HASH, "cri-o" },
	{ NULL, "crio-", "", ID_HASH, "cri-o" },
	{ NULL, "nerdctl-", ".scope", ID_HASH, "nerdctl" },
	{ "pod", "", "", ID_HASH, "kubernetes" },	/* /kubepods/burstable/podUID/ID: the path does not say of which runtime */
	{ NULL, "lxc.payload.", "", ID_NAME, "lxc" },
	{ "lxc.payload", "", "", ID_NAME, "lxc" },
	{ "lxc", "", "", ID_NAME, "lxc" },
	{ "machine.slice", "machine-", ".scope", ID_MACHINE, "machine" },
	{ "machine.slice", "systemd-nspawn@", ".service", ID_MACHINE, "nspawn" },
};

#define HASH_LENGTH	64

static bool
is_hash(const char *id, size_t length)
{
	if (length != HASH_LENGTH)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!strchr("0123456789abcdef", id[i]))
			return false;
	return true;
}

/* A part of a path, not ended by a NUL. */
struct part {
	const char *at;
	size_t length;
};

static bool
part_begins(const struct part *part, const char *with)
{
	size_t length = strlen(with);

	return part->length >= length && memcmp(part->at, with, length) == 0;
}

static bool
part_is_below(const struct part *above, const struct rule *rule)
{
	if (!rule->below)
		return true;
	/* Pods are podUID; the rest are whole names. */
	return part_begins(above, rule->below) && (rule->kind == ID_HASH || above->length == strlen(rule->below));
}

static bool
part_matches(const struct part *part, const struct part *above, const struct rule *rule, struct part *ret_id)
{
	size_t n_before = strlen(rule->prefix), n_after = strlen(rule->suffix);
	struct part id;

	if (part->length <= n_before + n_after || !part_begins(part, rule->prefix) || !part_is_below(above, rule) ||
	    memcmp(part->at + part->length - n_after, rule->suffix, n_after) != 0)
		return false;
	id = (struct part) { part->at + n_before, part->length - n_before - n_after };
	if (rule->kind == ID_HASH && !is_hash(id.at, id.length))
		return false;
	*ret_id = id;
	return true;
}

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\x2d" is what systemd writes for a character that means something to it. */
static char
take_character(const struct part *part, size_t *at, bool is_escaped)
{
	const char *p = part->at + *at;
	int high, low;

	if (is_escaped && part->length - *at >= 4 && p[0] == '\\' && p[1] == 'x' && (high = hex_value(p[2])) >= 0 &&
	    (low = hex_value(p[3])) >= 0) {
		*at += 4;
		return (char)(high * 16 + low);
	}
	*at += 1;
	return *p;
}

static char
printable(char c)
{
	return c < 0x20 || c > 0x7e ? '?' : c;
}

static void
write_id(const struct part *id, const struct rule *rule, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s:", rule->runtime);
	size_t len = n < 0 ? 0 : min_u64((uint64_t)n, size - 1);

	for (size_t at = 0; at < id->length && len + 1 < size;)
		buf[len++] = printable(take_character(id, &at, rule->kind == ID_MACHINE));
	buf[len] = '\0';
}

bool
container_of_cgroup(const char *path, char *buf, size_t size)
{
	struct part above = { "", 0 };

	buf[0] = '\0';
	while (*path) {
		struct part part = { path, strcspn(path, "/") }, id;

		for (size_t i = 0; i < BASE_ARRAY_SIZE(rules); i++)
			if (part_matches(&part, &above, &rules[i], &id)) {
				write_id(&id, &rules[i], buf, size);
				return true;
			}
		if (part.length)
			above = part;
		path += part.length + (path[part.length] == '/');
	}
	return false;
}

bool
container_find(char *text, char *buf, size_t size)
{
	buf[0] = '\0';
	for (char *line = text, *rest; line && *line; line = rest) {
		const char *path;

		rest = strchr(line, '\n');
		if (rest)
			*rest++ = '\0';
		path = strchr(line, '/');
		if (path && container_of_cgroup(path, buf, size))
			return true;
	}
	return false;
}

/* The path of a line "ID:CONTROLLERS:PATH", if it is better than what there is: 2 of version 2, 1 of systemd's, 0 of another. */
static int
line_rank(const char *line, const char **ret_path)
{
	const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
	bool is_root;

	if (!path)
		return -1;
	*ret_path = path + 1;
	is_root = path[1] == '/' && (path[2] == '\n' || path[2] == '\0');
	if (is_root)
		return 0;
	return strncmp(line, "0::", 3) == 0 ? 3 : strncmp(controllers, ":name=systemd:", 14) == 0 ? 2 : 1;
}

void
container_cgroup(const char *text, char *buf, size_t size)
{
	const char *best = "";
	int best_rank = -1;
	size_t length;
	int n = 0;

	for (const char *line = text; line && *line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
		const char *path;
		int rank = line_rank(line, &path);

		if (rank > best_rank) {
			best_rank = rank;
			best = path;
		}
	}
	length = strcspn(best, "\n");
	/* Its end says more than its beginning. */
	if (length >= size) {
		best += length - (size - 4);
		length = size - 4;
		n = snprintf(buf, size, "...");
	}
	for (size_t i = 0; i < length; i++)
		buf[n++] = printable(best[i]);
	buf[n] = '\0';
}
