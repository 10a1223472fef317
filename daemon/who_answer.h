/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What came of a look for who has a segment: a row a process, as it is sent, shared by all who asked. While rows are gathered one who
 * asked is charged for them; of what came each who keeps it is, for all of it.
 */
#ifndef DAEMON_WHO_ANSWER_H
#define DAEMON_WHO_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "client/protocol.h"
#include "daemon/accounts.h"
#include "host/audit.h"

#define WHO_OBJECTS	3		/* of one segment: data, the page that stands in for it, control memory */

struct who_answer {
	unsigned n_users;
	struct charge charge;		/* for rows_size, while they are gathered; of no account: they are not charged */
	struct protocol_told told;	/* without header and lengths */
	char text[AUDIT_TEXT_SIZE];
	struct protocol_object objects[WHO_OBJECTS];	/* told.n_objects of them */
	struct protocol_process *rows;
	size_t n_rows;
	size_t rows_size;
};

/* One of a user. NULL: memory is short. */
struct who_answer *who_answer_new(void);
/* One user less. NULL is none. */
void who_answer_unref(struct who_answer *answer);
/* Gives rows and text back. */
void who_answer_clear(struct who_answer *answer);

/*
 * A process and one of the objects; what it has of the others comes right before or after it. 0; ACCOUNTS_E_LIMIT: whoever is charged
 * may not have so many; -ENOMEM: there is no room for it.
 */
int who_answer_take(struct who_answer *answer, enum protocol_object_kind kind, const struct audit_holder *holder);

/* What it takes; what the next row may. */
static inline size_t
who_answer_bytes(const struct who_answer *answer)
{
	return answer->rows_size * sizeof(*answer->rows);
}
size_t who_answer_next_bytes(const struct who_answer *answer);

/* Whether a process was seen that holds it: a path alone does not. */
bool who_answer_has_holder(const struct who_answer *answer);

/* All that the kernel counts was seen with certainty: what another IPC namespace has by the same id is other memory. */
void who_answer_drop_doubtful(struct who_answer *answer);

#endif
