/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* All segments, by name and in the order of their making; and the templates that more can be made from. */
#ifndef DAEMON_REGISTRY_H
#define DAEMON_REGISTRY_H

#include "conf/load.h"
#include "daemon/milestones.h"
#include "daemon/names.h"
#include "daemon/segment.h"

struct registry_template {
	struct definition *definition;
	uint32_t n_segments;
	bool is_removed;		/* from the configuration: stays for the count, in case that it comes again */
	uint32_t seen;			/* as a segment's */
	TAILQ_ENTRY(registry_template) entry;
};

/* Hears of a segment's new state; the segment is still there, also when it is gone. */
typedef void (*registry_change_fn)(struct segment *segment, void *arg);

struct registry {
	struct segment_host host;
	struct accounts *accounts;
	registry_change_fn on_change;
	void *on_change_arg;
	struct names by_name;
	TAILQ_HEAD(, segment) in_order;
	struct milestones milestones;	/* in that order */
	struct event start_event;	/* starts what is declared, some a turn */
	struct segment *start_first;	/* where the second pass begins */
	struct segment *start_next;	/* in the order of making; NULL: the pass is over */
	bool starts_required;		/* the first pass: what startup waits for */
	uint64_t last_cursor;
	uint64_t last_generation;
	uint64_t n_count_refused;	/* for metrics: beyond a template's max_count */
	uint64_t past_generation;	/* the highest that an earlier daemon can have given */
	struct segment *walk_next;	/* of the one who walks over all of them in several turns; or NULL */
	TAILQ_HEAD(registry_templates, registry_template) templates;
};

enum {
	REGISTRY_E_EXISTS = 1,
	REGISTRY_E_NO_TEMPLATE = 2,	/* none lets this uid make that name */
	REGISTRY_E_SIZE = 3,		/* 0, or more than the template's max_size */
	REGISTRY_E_COUNT = 4,		/* the template's max_count is reached */
	REGISTRY_E_LIMIT = 5,		/* the uid's limit of bytes is reached */
	REGISTRY_E_LOCKS = 6,		/* smaller than what the template's locks protect */
	REGISTRY_E_ACCESS = 7,		/* the kernel would not let the uid have what it created */
	REGISTRY_E_SEGMENTS = 8,	/* the uid's limit of segments is reached */
};

int registry_init(struct registry *registry, struct event_base *base, struct kernelcount *kernelcount,
    struct provisioner *provisioner, struct recovery *recovery, struct accounts *accounts,
    registry_change_fn on_change, void *on_change_arg);
void registry_deinit(struct registry *registry);

/*
 * Takes in what the configuration declares, and starts it from the loop: required ones first. A name that is taken stays with who
 * has it. 0 or -ENOMEM.
 */
int registry_declare(struct registry *registry, const struct conf *conf);

/*
 * Takes in a segment that an earlier daemon had, of that number, whose name is free: segment_revive() follows. What a client created is charged to
 * its creator again. 0 or -ENOMEM.
 */
struct registry_past {
	uint64_t generation;
	uint64_t cursor;		/* who is in the middle of a list goes on behind it; in their order */
	bool is_declared;
	const char *template_name;	/* or NULL */
	uint64_t session, serial;	/* of its creator */
	uint32_t charged_uid;
	uint64_t charged_bytes;
};
int registry_revive(struct registry *registry, struct definition *definition, const struct registry_past *past,
    struct segment **ret_segment);

/* Takes in one definition whose name is free, and starts it as at the daemon's own start. 0 or -ENOMEM. */
int registry_declare_one(struct registry *registry, struct definition *definition);

/*
 * Has a segment of this definition take the segment's place, name and all, when nobody holds it any more: segment_succeed().
 * The segment may be freed. 0 or -ENOMEM.
 */
int registry_replace(struct registry *registry, struct segment *segment, struct definition *definition);

/* The template of a name, also one that was removed; or NULL. */
struct registry_template *registry_template(struct registry *registry, const char *name);
/* The one that lets this uid create a segment of that name, or NULL. */
struct registry_template *registry_template_for(struct registry *registry, const char *name, uint32_t uid);
/* Adds a template, or has the one of its name be so from now on; what was created stays, and counts. 0 or -ENOMEM. */
int registry_set_template(struct registry *registry, struct definition *definition);
/* Nobody creates from it any more. The template may be freed. */
void registry_remove_template(struct registry *registry, struct registry_template *template_);

/* Makes a segment from a template for its creator, and starts it. 0, REGISTRY_E_*, or -ENOMEM. */
int registry_create(struct registry *registry, const char *name, uint64_t size_bytes,
    const struct identity *identity, uint64_t session, uint64_t serial, struct segment **ret_segment);

struct segment *registry_find(const struct registry *registry, const char *name);

/* For a segment that is made: higher than all before. */
uint64_t registry_next_generation(struct registry *registry);
/* The first segment after a cursor, in the order of making, or NULL. */
struct segment *registry_after(const struct registry *registry, uint64_t cursor);

#endif
