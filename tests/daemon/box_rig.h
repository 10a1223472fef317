/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A box with what its daemon would have: descriptors that live under labels, a service manager (tests/harness_manager.h), and a
 * successor that is given what that manager has. Each item is a memory object of its own, so that whoever gets it back knows
 * which one it is.
 */
#ifndef TESTS_DAEMON_BOX_RIG_H
#define TESTS_DAEMON_BOX_RIG_H

#include <check.h>
#include <sys/stat.h>

#include "daemon/box.h"
#include "daemon/box_pair.h"
#include "tests/harness_manager.h"

#define BOX_RIG_MAX	12000
#define BOX_RIG_TOLD	8192

struct box_rig_item {
	struct box_label label;
	int fd;				/* -1: not here */
	ino_t inode;
	bool lives;
	unsigned n_taken;
};

struct box_rig {
	struct event_base *base;
	struct box box;
	struct inherited inherited;
	struct box_rig_item *items;	/* BOX_RIG_MAX */
	unsigned n;
	uint64_t n_taken;
	unsigned n_strange;		/* taken, and no item */
	unsigned n_told;
	char told[BOX_RIG_TOLD];
};

/* The manager of the test, which is prepared and at $NOTIFY_SOCKET. */
extern struct harness_manager box_rig_manager;
void box_rig_prepare_manager(void);

/* A daemon without items; its box is initialised. */
void box_rig_init(struct box_rig *rig);
/* As if it was killed: all that is its is closed, nothing is said. */
void box_rig_kill(struct box_rig *rig);

/* A memory object under a label, that lives. */
struct box_rig_item *box_rig_make(struct box_rig *rig, uint32_t kind, uint64_t id);
/* Makes n of them, as segments' data with ids from `first` on; not put. */
void box_rig_make_many(struct box_rig *rig, uint64_t first, unsigned n);
int box_rig_put(struct box_rig *rig, struct box_rig_item *item);
/* Closes it and tells the box. */
void box_rig_end(struct box_rig *rig, struct box_rig_item *item, bool soon);

/* Runs the loop and the manager until neither has anything to do. */
void box_rig_settle(struct box_rig *rig);

/* What the manager has is handed down to this daemon, as over an exec. */
void box_rig_inherit(struct box_rig *rig);
/* Reads it. What box_peek() says. */
int box_rig_peek(struct box_rig *rig);
/* What lives was taken once each, and is what it was; nothing else was, but what died and was not renewed if that is allowed. */
void box_rig_expect_all(struct box_rig *rig, bool may_have_dead);
void box_rig_expect_told(const struct box_rig *rig, const char *words);

size_t box_rig_count_fds(void);

#endif
