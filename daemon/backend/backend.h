/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What holds a segment's pages. A backend is a row of the table: its operations and feature bits. Callers ask for a bit,
 * never for a name.
 */
#ifndef DAEMON_BACKEND_BACKEND_H
#define DAEMON_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/definition.h"
#include "daemon/record.h"
#include "daemon/worker/job.h"
#include "daemon/workers.h"
#include "host/audit.h"

#define BACKEND_FD		0x01u	/* clients map the data by their descriptor */
#define BACKEND_SEALED		0x02u	/* its size can never change; else a writer can cut it short */
#define BACKEND_MARKS		0x04u	/* marks, inotify and leases see everybody who has the data */
#define BACKEND_COUNTED		0x08u	/* the kernel keeps a count of its own of who has it: others() */
#define BACKEND_NAMED		0x10u	/* programs that know nothing of us reach it by a name or a key */
#define BACKEND_HUGE		0x20u	/* transparent huge pages are to be had */
#define BACKEND_HUGETLB		0x40u	/* pages of the hugetlb pools are */
#define BACKEND_DURABLE		0x80u	/* its contents outlive the machine's restart, and are not ours to punch out */
#define BACKEND_JUDGED		0x100u	/* the kernel judges who has it: by group and mode, and we are its owner */
#define BACKEND_MOUNT		0x200u	/* its pages follow a mount's options, and not what the host says of shared memory */
#define BACKEND_LINKED		0x800u	/* its name is in a directory whose lock others may keep: it is not taken away at once */
#define BACKEND_WHOLE		0x400u	/* of a hugetlb pool it takes all of max_size when it is made, and nothing later */

/* A segment's memory object, as the daemon holds it. */
struct backend_object {
	int fd;				/* what marks, watches and leases are asked of; -1: there is no object */
	int shm_id;			/* System V: the data, for which fd stands in; else -1 */
	bool is_born;			/* fd came with the object, was never opened, and is not counted by leases */
	uint64_t map_bytes;		/* its size: max_size in whole pages */
	uint64_t page_bytes;		/* of the hugetlb pool that its pages are of; 0: none */
	bool is_file;			/* workers reserve its blocks, and populate it for reading */
	bool has_contents;		/* they were there before it: nothing is copied in at its start */
	void *own;			/* the backend's, which close() frees; NULL: nothing */
	struct record_entry *entry;	/* its row, in own; NULL: it has none */
};

#define BACKEND_OBJECT_NULL	{ .fd = -1, .shm_id = -1 }

/*
 * What may wait for a disk, or for the lock of a directory, is done by a worker, on the way to an object that is ready, and on its
 * way out.
 */
enum backend_stage {
	BACKEND_STAGE_OPEN,		/* before there is an object, or before it has its name */
	BACKEND_STAGE_USE,		/* before anybody has it */
	BACKEND_STAGE_SYNC,		/* now and then */
	BACKEND_STAGE_CLOSE,		/* nobody comes any more */
	BACKEND_STAGE_CLOSE_ALONE,	/* and nobody has it */
};

struct backend_errand {
	struct job job;
	bool is_name;			/* for the workers of names, in the order in which they are asked for, however long it takes */
	int fds[JOB_FDS_MAX];		/* as many as the job's kind has: the object's */
};

/* What an object is made for, besides its definition. */
struct backend_birth {
	struct record *record;		/* where it is entered before others can find it; NULL: nowhere */
	uint64_t generation;		/* of its segment */
	struct record_entry *left;	/* what an earlier daemon left in its place, whose row it takes; or NULL */
};

#define BACKEND_KEPT_MAX	2	/* descriptors of an object that outlive the daemon with it */

/* prove()'s: what the row is about is not there any more; or another is in its place, which is none of ours. */
#define BACKEND_E_GONE		1
#define BACKEND_E_OTHER		2

/* check()'s: it can be used, but others changed something of it, or it is not as it was asked for. */
#define BACKEND_E_CHANGED	1

/* What is left of an object that an earlier daemon had ready, with who has it: the definition is the one that it was made by. */
struct backend_remains {
	const struct definition *definition;
	const struct record_entry *entry;	/* its row; NULL: it had none */
	int fds[BACKEND_KEPT_MAX];	/* what kept() said, in that order, -1 where it is lost; revive() takes those that it sets to -1 */
	uint64_t map_bytes, page_bytes;
	int shm_id;			/* or -1 */
};

struct backend {
	const char *name;
	unsigned features;		/* BACKEND_* */

	/*
	 * Whether this host has what the definition needs of it, before anything is made. 0, or a negative errno with a
	 * sentence: what is missing, which limit says so, what mends it. NULL: nothing can be missing.
	 */
	int (*probe)(const struct definition *definition, char *text, size_t text_size);

	/*
	 * Makes the object: sized for max_size, sealed where that is to be had, without a page. 0, or a negative errno with
	 * a sentence; nothing is left behind then. -EMFILE and -ENFILE need no sentence.
	 */
	int (*create)(const struct definition *definition, const struct backend_birth *birth,
	    struct backend_object *ret_object, char *text, size_t text_size);

	/*
	 * By what a start knows what was made of a definition, if the record has it: as others find it without us, or
	 * RECORD_PRIVATE and its segment's name. "": by nothing. What has a row has it from before it is there until after it is
	 * gone, as long as the process lives. NULL: it has none.
	 */
	void (*name_of)(const struct definition *definition, char *name, size_t name_size);

	/*
	 * The object of an earlier daemon's row, if the kernel says that it is that: as create() would have made it, with what is
	 * in it and who has it, and the row is its own from then on. Nothing else is touched. Where there are errands, those of
	 * OPEN are still to be run, and all that is to be done then is to close it. 0; BACKEND_E_GONE, BACKEND_E_OTHER, or a
	 * negative errno with a sentence: it could not be looked at. NULL: it has no rows.
	 */
	int (*prove)(const struct record_entry *entry, struct backend_object *ret_object, char *text, size_t text_size);

	/*
	 * The same object again, in a daemon that takes another one's place: marks, locks and who has it are as they were, and its row
	 * is its own. Waits for nothing. 0; BACKEND_E_GONE, BACKEND_E_OTHER, or a negative errno with a sentence; nothing was taken
	 * then.
	 */
	int (*revive)(struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size);

	/* The descriptors that have to outlive us for that. Returns how many; the first is fd. */
	unsigned (*kept)(const struct backend_object *object, int fds[BACKEND_KEPT_MAX]);

	/*
	 * After create() has failed with -EEXIST: the object that is in the way, where it helps to know who has it. False: it does
	 * not. NULL: never. inquired() says the sentence anew, with who that is, as a clause.
	 */
	bool (*inquire)(const struct definition *definition, struct audit_object *ret_object);
	void (*inquired)(const struct definition *definition, const char *found, char *text, size_t text_size);

	/*
	 * Whether there is room for wanted_bytes of it, what is there already included, besides memory: where its file system
	 * has a size. What is granted is kept for it; less may be asked for later, and the same again: others may have taken it
	 * all the same. 0, or a negative errno with a sentence. NULL: memory is all that bounds it. create() asks by itself.
	 */
	int (*room)(const struct backend_object *object, uint64_t wanted_bytes, char *text, size_t text_size);

	/*
	 * Lets those have it by its name or key whom the definition does, and nobody else; NULL: nobody but us. What is made is
	 * closed like that, until it is ready; and again before it gets new pages, and on its way out. 0, or a negative errno
	 * with a sentence: it is as it was then. NULL: who has it is a matter of what we hand out.
	 */
	int (*admit)(const struct backend_object *object, const struct definition *definition, char *text,
	    size_t text_size);
	/* Whether that is so, or a worker is at it. NULL where admit is. */
	bool (*is_admitted)(const struct backend_object *object);

	/*
	 * What others did to it, behind our back. 0; BACKEND_E_CHANGED, or a negative errno: it cannot be used any more; both
	 * with a sentence. NULL: nobody can.
	 */
	int (*check)(const struct backend_object *object, char *text, size_t text_size);

	/* Nobody else has it, and it gets new pages: what others changed of it is put right. NULL: nothing can be. */
	void (*reset)(const struct backend_object *object);

	/* A description of its own for one attachment, read-only or not. 0 or a negative errno. */
	int (*open)(const struct backend_object *object, bool write, int *ret_fd);

	/* Maps all of it for reading and writing at an address that is reserved for it. 0 or a negative errno. */
	int (*map)(const struct backend_object *object, void *at);

	/* Bytes of it that are in memory now, by the kernel's count. */
	uint64_t (*resident_bytes)(const struct backend_object *object);

	/* Of them: not on a disk yet; UINT64_MAX: the kernel does not tell. NULL: there is no disk. */
	uint64_t (*dirty_bytes)(const struct backend_object *object);

	/* How many mappings of it there are by the kernel's own count, without n_maps of ours. NULL: there is no such count. */
	uint64_t (*others)(const struct backend_object *object, unsigned n_maps);

	/* Locks all of its pages without a mapping. 0 or a negative errno. NULL: by mlock of a mapping. */
	int (*lock)(const struct backend_object *object);

	/*
	 * Takes the name away, so that nobody finds it any more: who has it keeps it. Where a worker does that, it is done in a
	 * moment, or later. May be called again. NULL: it has none, or keeps it.
	 */
	void (*unname)(struct backend_object *object);

	/*
	 * What a worker has to do next in a stage. False: nothing, or nothing more; the object is open when OPEN comes to that.
	 * One of OPEN that ends with -EEXIST is as create() that does. NULL: create makes the object, and there are no errands.
	 */
	bool (*errand)(struct backend_object *object, enum backend_stage stage, struct backend_errand *ret_errand);

	/*
	 * A worker has done so, with 0 as result; *fd is what it returned, which may be taken. 0, where text may hold what is to
	 * be told, or a negative errno with a sentence.
	 */
	int (*errand_done)(struct backend_object *object, const struct job_result *result, int *fd, char *text,
	    size_t text_size);

	/* Forgets it as it is, with its name and its row: as if we had been killed. *object is nothing then. NULL: it cannot be left. */
	void (*leave)(struct backend_object *object);

	/* Beyond closing fd: what else there is in it. NULL: nothing. */
	void (*close)(struct backend_object *object);
};

/*
 * Before anybody else gets a description, or a lease is asked for: fd is one that counts from now on, and another number. What
 * was done to the description before is lost. Of thousands that nobody ever attaches that would be half the work of making
 * them. 0 or a negative errno.
 */
int backend_object_settle(struct backend_object *object);

/* How a worker's job reaches the data. */
struct job_object backend_object_of_job(const struct backend_object *object);
/* All of it, which nobody has but us, with n_maps mappings. Where others can come without us, a worker looks again. */
struct job_object backend_object_to_free(const struct backend *backend, const struct backend_object *object,
    unsigned n_maps);

/* The row of an object that is about to be made, as far as all backends have it alike. */
void backend_describe(const struct backend *backend, const struct definition *definition, const struct backend_birth *birth,
    struct record_row *ret_row);
/* The row that names one of the table; NULL: there is none in this version. */
const struct backend *backend_of_row(const struct record_row *row);

/* Gives the name and the daemon's descriptor up, and what else there is of it. Accepts one that holds nothing. */
void backend_object_close(const struct backend *backend, struct backend_object *object);

/* The patience with a worker that waits for a lock: given up, it would do the job all the same, at a time that nobody knows. */
#define BACKEND_LOCK_SECONDS	(365 * 24 * 3600)

/*
 * Has these workers, of whom there may be any number, change who may open an object that others have. Without them that is done at
 * once, and waits for who writes there.
 */
void backend_access_begin(struct workers *workers);
/* Whether some are at that, and may be done in a moment. Those that are not are told in the log. */
bool backend_access_changes(void);
/* After those have ended. What was not done is done by the next start, where there is one. */
void backend_access_end(void);

/* Whether an object of this directory is one of ours. */
#define BACKEND_SHM_DIR	"/dev/shm"
bool backend_has_object(const char *name);

/*
 * Has these workers, of whom there is one, take names of this directory away from now on; on_gone is called after each. Without them
 * that is done at once, and waits for whoever keeps the directory's lock. lock_fd, which is taken: of a file that all daemons of this
 * record have for it; or -1.
 */
void backend_names_begin(struct workers *workers, int lock_fd, void (*on_gone)(void *arg), void *arg);
/* Whether some are on their way out. */
bool backend_names_leave(void);
/* Likewise, or in. */
bool backend_names_wait(void);
/* Whether no worker of an earlier daemon's is at a name any more: until then nothing is begun here, and nothing is what it seems. */
bool backend_names_are_settled(void);
/* After the workers have ended: what was not done is left to the record, and so is then what else has a name. */
void backend_names_end(void);

/* What several backends have in common: maps fd's object; opens it anew; counts its blocks. */
unsigned backend_kept_fd(const struct backend_object *object, int fds[BACKEND_KEPT_MAX]);
/* Puts the descriptor that was kept in the place of the object's own, if it is of the same inode. */
bool backend_take_kept(struct backend_remains *remains, struct backend_object *object);
int backend_map_fd(const struct backend_object *object, void *at);
int backend_open_fd(const struct backend_object *object, bool write, int *ret_fd);
uint64_t backend_blocks(const struct backend_object *object);

/* A memfd of its own: what memfd segments are made of, and every segment's control memory. Results as create's. */
int memfd_object_new(const char *name, uint64_t size_bytes, struct backend_object *ret_object, char *text, size_t text_size);

/* One that an earlier daemon made so: by a descriptor that counts, which is taken. Results as revive's. */
int memfd_object_revive(int *fd, uint64_t map_bytes, uint64_t page_bytes, struct backend_object *ret_object, char *text,
    size_t text_size);

/* The row for a definition's backend; NULL: there is none in this version. */
const struct backend *backend_find(enum definition_backend backend);

/* Whether a definition's backend has all of the features; one that there is not has none. */
bool backend_has(enum definition_backend backend, unsigned features);

/* What control memory is of, whatever holds the data. */
#define backend_of_control	backend_memfd

extern const struct backend backend_memfd;
extern const struct backend backend_posix;
extern const struct backend backend_sysv;
extern const struct backend backend_file;

#endif
