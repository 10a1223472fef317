/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The parts of the POSIX backend, for one another. Nobody else includes it. */
#ifndef DAEMON_BACKEND_POSIX_H
#define DAEMON_BACKEND_POSIX_H

#include <stddef.h>

#include "daemon/backend/backend.h"

#define POSIX_DIR		BACKEND_SHM_DIR
#define POSIX_PATH_SIZE		(sizeof(POSIX_DIR) + 256)

/*
 * Has the object's access control list say what the definition says, or with NULL that only its owner, the daemon's uid, may
 * open it: in one step. 0, or a negative errno with a sentence, and nothing has changed.
 */
int posix_access_set(int fd, const char *path, const struct definition *definition, char *text, size_t text_size);

/* A sentence about what stands at the object's name already: whose it is, who has it (NULL: not known), what to do. */
void posix_taken_explain(const char *object, const char *who, char *text, size_t text_size);

/* As backend's inquire(). */
bool posix_taken_inquire(const char *object, struct backend_errand *ret_errand);

#endif
