/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A segment's row in words. Enumerations come from the daemon: what lies outside of those we know is "unknown". */
#include "config.h"

#include "client/segmentctl/row.h"

#include "base/base.h"
#include "conf/definition.h"

bool
row_is_sound(const struct protocol_segment *row)
{
	return text_field_ends(row->name, sizeof(row->name));
}

const char *
row_state_name(unsigned state)
{
	static const char *const names[PROTOCOL_STATE_N] = {
		[PROTOCOL_DECLARED] = "declared",
		[PROTOCOL_PROVISIONING] = "provisioning",
		[PROTOCOL_READY] = "ready",
		[PROTOCOL_DRAINING] = "draining",
		[PROTOCOL_GONE] = "gone",
		[PROTOCOL_FAILED] = "failed",
	};

	return state < PROTOCOL_STATE_N ? names[state] : "unknown";
}

const char *
row_state_color(const struct protocol_segment *row)
{
	if (row->flags & PROTOCOL_SEGMENT_POISONED)
		return "red";
	switch (row->state) {
	case PROTOCOL_READY:
		return "green";
	case PROTOCOL_DECLARED:
	case PROTOCOL_PROVISIONING:
	case PROTOCOL_DRAINING:
		return "yellow";
	case PROTOCOL_FAILED:
		return "red";
	default:
		return NULL;
	}
}

void
row_format_state(const struct protocol_segment *row, char buf[ROW_STATE_SIZE])
{
	const char *name = row_state_name(row->state);

	if (row->state == PROTOCOL_PROVISIONING)
		(void)snprintf(buf, ROW_STATE_SIZE, "%s %u%%", name, text_percent(row->progress_bytes, row->total_bytes));
	else
		(void)snprintf(buf, ROW_STATE_SIZE, "%s%s", name,
		    row->flags & PROTOCOL_SEGMENT_POISONED ? " (poisoned)" : "");
}

void
row_format_owner(const struct protocol_segment *row, char buf[ROW_OWNER_SIZE])
{
	char user[TEXT_USER_SIZE], group[TEXT_USER_SIZE];

	text_format_user(row->owner, user);
	text_format_group(row->group, group);
	(void)snprintf(buf, ROW_OWNER_SIZE, "%s:%s", user, group);
}

void
row_format_mode(const struct protocol_segment *row, char buf[ROW_MODE_SIZE])
{
	(void)snprintf(buf, ROW_MODE_SIZE, "%04o", row->mode & 07777u);
}

const char *
row_backend_name(unsigned backend)
{
	return backend < DEFINITION_BACKEND_N ? definition_backend_name(backend) : "unknown";
}

const char *
row_page_size_name(unsigned page_size)
{
	return page_size < DEFINITION_PAGE_SIZE_N ? definition_page_size_name(page_size) : "unknown";
}

const char *
row_lifetime_name(unsigned lifetime)
{
	return lifetime < DEFINITION_LIFETIME_N ? definition_lifetime_name(lifetime) : "unknown";
}

const char *
row_numa_name(unsigned numa)
{
	static const char *const names[DEFINITION_NUMA_N] = {
		[DEFINITION_NUMA_ANY] = "any",
		[DEFINITION_NUMA_LOCAL] = "local",
		[DEFINITION_NUMA_BIND] = "bind",
		[DEFINITION_NUMA_INTERLEAVE] = "interleave",
		[DEFINITION_NUMA_PREFERRED] = "preferred",
	};

	return numa < DEFINITION_NUMA_N ? names[numa] : "unknown";
}

const char *
row_page_size_had(const struct protocol_segment *row)
{
	if (row->resident_bytes == 0)
		return NULL;
	if (row->huge_bytes == 0)
		return sysconf(_SC_PAGESIZE) == 4096 ? "4KiB" : "base";
	if (row->huge_bytes < row->resident_bytes)
		return "mixed";
	return row->page_shift == 30 ? "1GiB" : "2MiB";
}

/* Names of what differs, of which a script may ask for one. */
static void
add_differences(struct json *json, const struct protocol_segment *row)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} names[] = {
		{ PROTOCOL_DIFFERS_RESIDENT, "resident" }, { PROTOCOL_DIFFERS_LOCKED, "locked" },
		{ PROTOCOL_DIFFERS_PAGES, "page_size" }, { PROTOCOL_DIFFERS_NODES, "numa" },
	};

	json_open_array(json, "differs");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		if (row->differs & names[i].bit)
			json_add_string(json, NULL, names[i].name);
	json_close_array(json);
}

static void
add_owner(struct json *json, const struct protocol_segment *row)
{
	char name[TEXT_USER_SIZE], mode[ROW_MODE_SIZE];

	text_format_user(row->owner, name);
	json_add_string(json, "owner", name);
	json_add_number(json, "owner_uid", row->owner);
	text_format_group(row->group, name);
	json_add_string(json, "group", name);
	json_add_number(json, "group_gid", row->group);
	row_format_mode(row, mode);
	json_add_string(json, "mode", mode);
}

void
row_add_members(struct json *json, const struct protocol_segment *row)
{
	json_add_string(json, "name", row->name);
	json_add_string(json, "state", row_state_name(row->state));
	json_add_string(json, "backend", row_backend_name(row->backend));
	json_add_number(json, "size", row->size_bytes);
	json_add_number(json, "max_size", row->max_size_bytes);
	json_add_number(json, "resident", row->resident_bytes);
	json_add_number(json, "locked", row->locked_bytes);
	json_add_number(json, "huge", row->huge_bytes);
	json_add_string(json, "page_size", row_page_size_had(row));
	json_add_string(json, "page_size_asked", row_page_size_name(row->page_size_asked));
	json_add_string(json, "numa", row_numa_name(row->numa));
	json_add_string(json, "lifetime", row_lifetime_name(row->lifetime));
	json_add_number(json, "attachments", (uint64_t)row->readers + row->writers);
	json_add_number(json, "readers", row->readers);
	json_add_number(json, "writers", row->writers);
	json_add_number(json, "unsupervised", row->unsupervised);
	json_add_number(json, "others", row->others);
	json_add_number(json, "recoveries", row->recoveries);
	json_add_number(json, "generation", row->generation);
	add_owner(json, row);
	json_add_number(json, "progress", row->progress_bytes);
	json_add_number(json, "total", row->total_bytes);
	json_add_bool(json, "created", row->flags & PROTOCOL_SEGMENT_CREATED);
	json_add_bool(json, "required", row->flags & PROTOCOL_SEGMENT_REQUIRED);
	json_add_bool(json, "hugetlb", row->page_shift != 0);
	add_differences(json, row);
	json_add_bool(json, "degraded", row->flags & PROTOCOL_SEGMENT_DEGRADED);
	json_add_bool(json, "poisoned", row->flags & PROTOCOL_SEGMENT_POISONED);
	json_add_bool(json, "to_be_made_anew", row->flags & PROTOCOL_SEGMENT_FOLLOWED);
	json_add_bool(json, "writers_can_truncate", row->flags & PROTOCOL_SEGMENT_UNSEALED);
	json_add_bool(json, "others_counted", row->flags & PROTOCOL_SEGMENT_COUNTED);
}
