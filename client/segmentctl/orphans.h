/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Objects of this host that nobody holds, as segmentd-audit tells of them: how they are named, and shown. */
#ifndef CLIENT_SEGMENTCTL_ORPHANS_H
#define CLIENT_SEGMENTCTL_ORPHANS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/segmentctl/segmentctl.h"
#include "host/audit.h"

#define ORPHANS_OBJECT_SIZE	(AUDIT_NAME_SIZE + 1)

struct orphan {
	struct audit_stray stray;
	bool is_meant;			/* the command line names it */
	bool is_tried;			/* its removal, of which the following say what came */
	enum audit_verdict result;
	int error;
	uint32_t n_attached;
};

/* What the command line names. */
struct orphans_wanted {
	const char *text;		/* as written */
	const char *name;		/* of a POSIX object, without the slash; NULL: a System V segment */
	bool is_id;			/* by its id, else by its key */
	uint32_t number;
	bool is_found;
};

struct orphans {
	const struct segmentctl *ctl;
	struct orphans_wanted *wanted;	/* n_wanted of them; 0: all */
	unsigned n_wanted;
	struct orphan *rows;		/* those that are shown */
	size_t n;
	size_t size;			/* room for rows */
	size_t n_unheld;		/* of those that are shown, which are the first */
	uint64_t resident_bytes;	/* of the unheld */
	size_t n_kept;			/* of those that are shown, which wait in quarantine */
	size_t n_unknown;		/* that could not be judged, shown or not */
	struct audit_answer end;	/* of the answer */
	bool is_cut_off;		/* a removal, by the end of who was asked, or an answer that is none */
};

/* As a command line names it: "/NAME", "0xKEY", or "id:N" of a private segment. Not escaped. */
void orphans_format_object(const struct audit_stray *stray, char buf[ORPHANS_OBJECT_SIZE]);

/* The table and what is to be said of it. 0 or a negative errno. */
int orphans_print(const struct orphans *orphans);
/* What came of the removal of rows from first on. */
void orphans_print_results(const struct orphans *orphans, size_t first, size_t n);
void orphans_print_sum(const struct orphans *orphans);
/* All of it as one document. 0 or a negative errno. */
int orphans_print_json(const struct orphans *orphans);

#endif
