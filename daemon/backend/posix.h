/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The parts of the POSIX backend, for one another. Nobody else includes it. */
#ifndef DAEMON_BACKEND_POSIX_H
#define DAEMON_BACKEND_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "daemon/backend/backend.h"
#include "daemon/workers.h"

#define POSIX_DIR		BACKEND_SHM_DIR
#define POSIX_PATH_SIZE		(sizeof(POSIX_DIR) + 256)

#define POSIX_ACCESS_ENTRIES_MAX	(DEFINITION_ALLOW_MAX + 8)

/* Who may open an object: as the kernel has it, in bytes of its own order. */
struct posix_access {
	mode_t mode;			/* that says the same; or 0 */
	size_t size;
	unsigned char list[4 + 8 * POSIX_ACCESS_ENTRIES_MAX];
};

/*
 * What the definition says, or with NULL that only its owner, the daemon's uid, may open it. 0 or a negative errno with a sentence.
 */
int posix_access_make(int fd, const char *path, const struct definition *definition, struct posix_access *ret_access, char *text,
    size_t text_size);
/* Has the object have that, in one step; waits for who writes there. 0, or a negative errno with a sentence, and nothing has changed. */
int posix_access_store(int fd, const char *path, const struct posix_access *access, char *text, size_t text_size);
/* The sentence about such a result. Returns it. */
int posix_access_tell(int r, const char *path, char *text, size_t text_size);
/* Both of them. */
int posix_access_set(int fd, const char *path, const struct definition *definition, char *text, size_t text_size);

/* Of an object: who may open it, as far as that is not what it should be. */
struct posix_admission {
	const char *segment, *path;	/* the object's own */
	struct posix_change *change;	/* a worker is at it; or NULL */
	char *reason;			/* why it cannot be; or NULL */
};

/*
 * As posix_access_set(), but where somebody else has the object a worker does it, as soon as it can be, and if it cannot be there is a
 * reason. Of several that were asked for the last one stays. 0: it is so, or a worker is at it.
 */
int posix_admission_change(struct posix_admission *admission, int fd, const struct definition *definition, char *text, size_t text_size);
/* Whether that takes longer than nobody would notice. */
bool posix_admission_is_late(const struct posix_admission *admission);
/* What was to be after it is another's to say: who takes the object over, whose own would come before. */
void posix_admission_drop_next(struct posix_admission *admission);
/* The object goes: nobody is told of it any more. */
void posix_admission_deinit(struct posix_admission *admission);

/* Makes the object that nobody can find, nor find anything wrong with: of its size, and ours alone. Waits for no lock. */
int posix_make(const char *path, uint64_t map_bytes, int dir_fd, int *ret_fd, char *text, size_t text_size);

/* Whether a row's object is one name below /dev/shm: a row is only a reason to look, and not anywhere. */
bool posix_is_object(const char *object);

/* *ret_fd: opened, it is what the row is about. Results as prove's. */
int posix_find_proved(const struct record_row *row, const char *path, int *ret_fd, char *text, size_t text_size);

/* The directory's descriptor, one for all, or a negative errno; whoever had it says when it is of no use any more. */
int posix_names_enter_dir(void);
void posix_names_leave_dir(void);
/* One has been given: whoever keeps the lock does so no longer. */
void posix_names_get_on(void);

/* What is to be known of a path's name when it is taken away, had by whoever has the name: there is memory for it then. NULL: none. */
struct leaving *posix_names_reserve(const char *path);
/*
 * Has the name taken away that leads to the object of the row; that is taken over then, and what was reserved. False: it is to be done
 * at once, since there are no workers. was_named: it had it; else that was only asked for.
 */
bool posix_names_leave(struct leaving **reserved, struct record_entry *entry, bool was_named);
/* Whether that is asked for, and has not been told as done. */
bool posix_names_are_leaving(const char *path);
/* What a worker is to keep open while it is at a name; dir_fd: where there is no such thing. */
int posix_names_lock(int dir_fd);
void posix_tell_replaced(const char *path);
void posix_tell_not_removed(const char *path, int r);

/*
 * What has the path's name, as far as the kernel knows without waiting for the directory's lock: of memory's own file system it knows
 * all there is. 0 or a negative errno.
 */
int posix_look(const char *path, struct stat *ret_status);

/* A sentence about a step that failed with errno. Its negative. */
int posix_fail(const char *step, const char *path, char *text, size_t text_size);

/* A sentence about what stands at the object's name already: whose it is, who has it (NULL: not known), what to do. */
void posix_taken_explain(const char *object, const char *who, char *text, size_t text_size);

/* As backend's inquire(). */
bool posix_taken_inquire(const char *object, struct audit_object *ret_object);

#endif
