/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Events in words. A daemon of a later release may know kinds that we do not: they are shown by their number. */
#include "config.h"

#include "client/segmentctl/event.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/text.h"

#define NAME_WIDTH_MIN	16
#define NAME_WIDTH_MAX	40		/* what is longer pushes only its own line's rest aside */
#define KIND_WIDTH	9		/* of "recovered" */

#define RED	"31"
#define GREEN	"32"
#define YELLOW	"33"

struct kind {
	const char *name;
	const char *color;		/* or NULL */
};

static const struct kind kinds[PROTOCOL_EVENT_N] = {
	[PROTOCOL_EVENT_LOST] = { "lost", RED },
	[PROTOCOL_EVENT_ATTACHED] = { "attached", NULL },
	[PROTOCOL_EVENT_DETACHED] = { "detached", NULL },
	[PROTOCOL_EVENT_DIED] = { "died", YELLOW },
	[PROTOCOL_EVENT_RECOVERED] = { "recovered", YELLOW },
	[PROTOCOL_EVENT_POISONED] = { "poisoned", RED },
	[PROTOCOL_EVENT_READY] = { "ready", GREEN },
	[PROTOCOL_EVENT_FAILED] = { "failed", RED },
	[PROTOCOL_EVENT_REMOVED] = { "removed", YELLOW },
	[PROTOCOL_EVENT_GROWN] = { "grown", GREEN },
	[PROTOCOL_EVENT_DRAINING] = { "draining", YELLOW },
	[PROTOCOL_EVENT_PROGRESS] = { "progress", NULL },
	[PROTOCOL_EVENT_RELOAD] = { "reload", GREEN },
	[PROTOCOL_EVENT_UNCLEAN] = { "unclean", YELLOW },
	[PROTOCOL_EVENT_UNSYNCED] = { "unsynced", RED },
	[PROTOCOL_EVENT_ORPHAN] = { "orphan", YELLOW },
	[PROTOCOL_EVENT_LEFTOVER] = { "leftover", YELLOW },
};

static const char *const orphan_names[PROTOCOL_ORPHAN_N] = {
	[PROTOCOL_ORPHAN_FOUND] = "found",
	[PROTOCOL_ORPHAN_REMOVED] = "removed",
	[PROTOCOL_ORPHAN_KEPT] = "kept",
	[PROTOCOL_ORPHAN_TAKEN] = "taken",
};

const char *
event_parse_kinds(const char *list, uint32_t *ret_kinds, size_t *ret_length)
{
	uint32_t found = 0;

	static_assert(PROTOCOL_EVENT_N <= 32, "a bit each");
	for (;;) {
		size_t length = strcspn(list, ","), i = 0;

		while (i < PROTOCOL_EVENT_N && (strlen(kinds[i].name) != length || strncmp(kinds[i].name, list, length) != 0))
			i++;
		if (i == PROTOCOL_EVENT_N) {
			*ret_length = length;
			return list;
		}
		found |= UINT32_C(1) << i;
		if (list[length] == '\0')
			break;
		list += length + 1;
	}
	*ret_kinds = found;
	return NULL;
}

const char *
event_all_kinds(char *buf, size_t size)
{
	size_t length = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < PROTOCOL_EVENT_N && length < size; i++)
		length += (size_t)snprintf(buf + length, size - length, "%s%s", i ? "," : "", kinds[i].name);
	return buf;
}

bool
event_is_sound(const struct protocol_event *event)
{
	return text_field_ends(event->segment, sizeof(event->segment)) &&
	    text_field_ends(event->lock_name, sizeof(event->lock_name));
}

static const char *
kind_name(uint32_t kind)
{
	return kind < PROTOCOL_EVENT_N ? kinds[kind].name : "unknown";
}

/* The time and what happened: what all lines begin with. */
static void
put_begin(const struct event_style *style, uint64_t time_ns, uint32_t kind)
{
	const char *color = style->has_color && kind < PROTOCOL_EVENT_N ? kinds[kind].color : NULL;
	char time[TEXT_SIZE];

	text_format_time(time_ns, false, time);
	printf("%s.%03u  ", time, (unsigned)(time_ns % NS_PER_SEC / NS_PER_MS));
	if (color)
		printf("\033[%sm%-*s\033[0m  ", color, KIND_WIDTH, kind_name(kind));
	else
		printf("%-*s  ", KIND_WIDTH, kind_name(kind));
}

/* A segment's name, and blanks up to where the rest begins. */
static int
put_name(struct event_style *style, const char *name, bool has_rest)
{
	cleanup_free char *escaped = text_escape(*name ? name : "-");
	size_t width;

	if (!escaped)
		return -ENOMEM;
	width = text_width(escaped);
	style->name_width = min_u64(max_u64(style->name_width, max_u64(width, NAME_WIDTH_MIN)), NAME_WIDTH_MAX);
	printf("%s%*s", escaped, has_rest && width < style->name_width ? (int)(style->name_width - width) : 0, "");
	return 0;
}

static void
put_sizes(const struct protocol_event *event)
{
	char value[TEXT_SIZE], total[TEXT_SIZE];

	text_format_size(event->value, value);
	text_format_size(event->total, total);
	if (event->kind == PROTOCOL_EVENT_GROWN)
		printf("  %s now", value);
	else if (event->kind == PROTOCOL_EVENT_PROGRESS)
		printf("  %u%% (%s of %s)", text_percent(event->value, event->total), value, total);
	else if (event->kind == PROTOCOL_EVENT_FAILED && event->value)
		printf("  growing to %s; it stays as it is, %s", total, value);
}

/* Whether nobody but the kernel told the daemon to reload. */
static bool
is_signal(const struct protocol_event *event)
{
	return event->kind == PROTOCOL_EVENT_RELOAD && event->uid == PROTOCOL_NOBODY;
}

static bool
has_who(const struct protocol_event *event)
{
	return event->pid > 0 || event->uid != PROTOCOL_NOBODY || is_signal(event);
}

/* Who acted or died, as far as it is known: a process of another pid namespace has a uid alone. */
static void
put_who(const struct protocol_event *event)
{
	if (is_signal(event))
		fputs("  by signal SIGHUP", stdout);
	if (event->pid > 0)
		printf("  pid %" PRId32, event->pid);
	if (event->uid != PROTOCOL_NOBODY)
		printf("%s uid %" PRIu32, event->pid > 0 ? " of" : " ", event->uid);
}

/* It is about an object, and of a segment at most by the way. */
static bool
is_object(const struct protocol_event *event)
{
	return event->kind == PROTOCOL_EVENT_ORPHAN || event->kind == PROTOCOL_EVENT_LEFTOVER;
}

static const char *
orphan_name(const struct protocol_event *event)
{
	const char *name = event->attachment < PROTOCOL_ORPHAN_N ? orphan_names[event->attachment] : NULL;

	return name ? name : "unknown";
}

/* Its name is any bytes: a stray object, and none of ours. */
static int
print_orphan_text(struct event_style *style, const struct protocol_event *event)
{
	char resident[TEXT_SIZE], size[TEXT_SIZE];

	put_begin(style, event->time_ns, event->kind);
	if (put_name(style, event->lock_name, true) < 0)
		return -ENOMEM;
	text_format_size(event->value, resident);
	text_format_size(event->total, size);
	printf("  %s", orphan_name(event));
	if (event->lock >= 0)
		printf("  id %" PRId32, event->lock);
	else
		printf("  inode %" PRIu64, event->generation);
	printf("  of uid %" PRIu32 "  %s of %s in memory", event->uid, resident, size);
	if (event->kind == PROTOCOL_EVENT_LEFTOVER) {
		fputs("  segment ", stdout);
		text_put_escaped(stdout, event->segment);
	}
	putchar('\n');
	return 0;
}

static int
print_text(struct event_style *style, const struct protocol_event *event)
{
	bool has_sizes = event->kind == PROTOCOL_EVENT_GROWN || event->kind == PROTOCOL_EVENT_PROGRESS ||
	    (event->kind == PROTOCOL_EVENT_FAILED && event->value);

	if (is_object(event))
		return print_orphan_text(style, event);
	put_begin(style, event->time_ns, event->kind);
	if (put_name(style, event->segment, has_who(event) || *event->lock_name || has_sizes ||
	    event->kind >= PROTOCOL_EVENT_N) < 0)
		return -ENOMEM;
	if (*event->lock_name) {
		fputs("  lock ", stdout);
		text_put_escaped(stdout, event->lock_name);
	}
	put_who(event);
	put_sizes(event);
	if (event->kind >= PROTOCOL_EVENT_N)
		printf("  kind %" PRIu32, event->kind);
	putchar('\n');
	return 0;
}

static void
add_begin(struct json *json, uint64_t time_ns, uint32_t kind)
{
	char time[TEXT_SIZE];

	text_format_time(time_ns, true, time);
	json_add_string(json, "time", time);
	json_add_string(json, "event", kind_name(kind));
}

static int
print_orphan_json(const struct protocol_event *event)
{
	struct json json = JSON_NULL;
	int r = json_init_line(&json);

	if (r == 0) {
		add_begin(&json, event->time_ns, event->kind);
		json_add_string(&json, "segment", event->kind == PROTOCOL_EVENT_LEFTOVER ? event->segment : NULL);
		json_add_string(&json, kind_name(event->kind), orphan_name(event));
		json_add_string(&json, "object", event->lock_name);
		if (event->lock >= 0)
			json_add_number(&json, "id", (uint64_t)event->lock);
		else
			json_add_number(&json, "inode", event->generation);
		json_add_number(&json, "uid", event->uid);
		json_add_number(&json, "creator", event->pid > 0 ? (uint64_t)event->pid : 0);
		json_add_number(&json, "resident", event->value);
		json_add_number(&json, "size", event->total);
		r = json_print(&json);
	}
	json_deinit(&json);
	return r;
}

static int
print_json(const struct protocol_event *event)
{
	struct json json = JSON_NULL;
	int r;

	if (is_object(event))
		return print_orphan_json(event);
	r = json_init_line(&json);
	if (r == 0) {
		add_begin(&json, event->time_ns, event->kind);
		if (event->kind >= PROTOCOL_EVENT_N)
			json_add_number(&json, "kind", event->kind);
		json_add_string(&json, "segment", *event->segment ? event->segment : NULL);
		json_add_number(&json, "generation", event->generation);
		json_add_number(&json, "attachment", event->attachment);
		json_add_number(&json, "pid", event->pid > 0 ? (uint64_t)event->pid : 0);
		if (event->uid == PROTOCOL_NOBODY)
			json_add_string(&json, "uid", NULL);
		else
			json_add_number(&json, "uid", event->uid);
		if (is_signal(event))
			json_add_string(&json, "signal", "SIGHUP");
		json_add_string(&json, "lock", *event->lock_name ? event->lock_name : NULL);
		if (event->value || event->total)
			json_add_number(&json, event->kind == PROTOCOL_EVENT_PROGRESS ? "progress" : "size", event->value);
		if (event->total)
			json_add_number(&json, "total", event->total);
		r = json_print(&json);
	}
	json_deinit(&json);
	return r;
}

static int
flush(int r)
{
	return r == 0 && (ferror(stdout) || fflush(stdout) != 0) ? -errno : r;
}

int
event_print(struct event_style *style, const struct protocol_event *event)
{
	return flush(style->json ? print_json(event) : print_text(style, event));
}

static int
print_lost_json(uint64_t time_ns, uint64_t lost)
{
	struct json json = JSON_NULL;
	int r = json_init_line(&json);

	if (r == 0) {
		add_begin(&json, time_ns, PROTOCOL_EVENT_LOST);
		if (lost == EVENT_LOST_UNKNOWN)
			json_add_string(&json, "lost", NULL);
		else
			json_add_number(&json, "lost", lost);
		r = json_print(&json);
	}
	json_deinit(&json);
	return r;
}

int
event_print_lost(struct event_style *style, uint64_t time_ns, uint64_t lost)
{
	if (style->json)
		return flush(print_lost_json(time_ns, lost));
	put_begin(style, time_ns, PROTOCOL_EVENT_LOST);
	if (lost == EVENT_LOST_UNKNOWN)
		puts("what happened until now is not known: segmentd was away");
	else
		printf("%" PRIu64 " event%s: they came faster than they were read\n", lost, lost == 1 ? "" : "s");
	return flush(0);
}
