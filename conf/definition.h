/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the configuration says of a segment. A definition is data: checked, with all defaults filled in, and never
 * changed afterwards. It knows no kernel object; whoever needs to keep one takes a reference.
 */
#ifndef CONF_DEFINITION_H
#define CONF_DEFINITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEFINITION_NAME_MAX	128	/* bytes of a segment's name, without the NUL */
#define DEFINITION_LAYOUT_MAX	128
#define DEFINITION_ALLOW_MAX	256	/* entries of `allow` */
#define DEFINITION_LOCKS_MAX	1024
#define DEFINITION_UNDO_MIN	64	/* bytes of a lock's undo, where it has one */
#define DEFINITION_UNDO_TOTAL_MAX	((uint64_t)16 << 30)	/* of all of a segment's */
#define DEFINITION_MUTEX_BYTES	40	/* what a pthread_mutex_t takes in data, and */
#define DEFINITION_MUTEX_ALIGNMENT	8

/* A byte each, since there may be thousands of definitions: what keys.c's rows of words store. */
#define DEFINITION_WORD	__attribute__((packed))

enum definition_backend {
	DEFINITION_MEMFD,
	DEFINITION_POSIX,
	DEFINITION_SYSV,
	DEFINITION_FILE,
	DEFINITION_BACKEND_N
} DEFINITION_WORD;

enum definition_page_size {
	DEFINITION_PAGE_AUTO,		/* huge where the host lets us, base otherwise */
	DEFINITION_PAGE_BASE,
	DEFINITION_PAGE_TRANSPARENT,
	DEFINITION_PAGE_2MIB,
	DEFINITION_PAGE_1GIB,
	DEFINITION_PAGE_SIZE_N
} DEFINITION_WORD;

enum definition_numa {
	DEFINITION_NUMA_ANY,
	DEFINITION_NUMA_LOCAL,
	DEFINITION_NUMA_BIND,
	DEFINITION_NUMA_INTERLEAVE,
	DEFINITION_NUMA_PREFERRED,
	DEFINITION_NUMA_N
} DEFINITION_WORD;

enum definition_placement {
	DEFINITION_REQUIRE,		/* had as asked, or the segment fails */
	DEFINITION_PREFER,		/* go on, and say so */
	DEFINITION_PLACEMENT_N
} DEFINITION_WORD;

enum definition_lifetime {
	DEFINITION_PERSISTENT,
	DEFINITION_ATTACHED,		/* ends with its last attachment, after linger */
	DEFINITION_LIFETIME_N
} DEFINITION_WORD;

enum definition_on_death {
	DEFINITION_ROLLBACK,
	DEFINITION_KEEP,
	DEFINITION_ZERO,
	DEFINITION_POISON,
	DEFINITION_ON_DEATH_N
} DEFINITION_WORD;

enum definition_on_unclean {
	DEFINITION_UNCLEAN_KEEP,
	DEFINITION_UNCLEAN_ZERO,
	DEFINITION_UNCLEAN_FAIL,
	DEFINITION_ON_UNCLEAN_N
} DEFINITION_WORD;

/* One entry of `allow`: access beyond owner, group and others. */
struct definition_allow {
	bool is_group;
	bool write;			/* "rw"; else "r" */
	uint32_t id;			/* uid or gid, looked up when the file was read */
	char *name;			/* as written */
};

/*
 * One entry of `locks`: a lock of ours, or an application's mutex. Ranges and mutexes are in the segment (a template's: in
 * max_size), and no byte is in two of them.
 */
struct definition_lock {
	char *name;
	bool is_mutex;
	uint64_t offset_bytes;		/* what it protects; of a mutex: what is zeroed at a death, if anything */
	uint64_t length_bytes;		/* 0 only of a mutex that zeroes nothing */
	uint64_t undo_bytes;		/* 0: nothing is logged, and on_death is not rollback; a mutex has none */
	uint64_t at_bytes;		/* of a mutex: where it is, DEFINITION_MUTEX_BYTES from there */
	bool init;			/* of a mutex: the daemon makes it, and prefault is true */
	enum definition_on_death on_death;
};

/* In the order of sizes, without holes. */
struct definition {
	char *name;			/* of a template: with its %U, and matched as a prefix */
	const char *file;		/* where it was read, and; kept once for all of its definitions: definition_set_file() */
	uint64_t size_bytes;		/* a template's: 0, the creator says */
	uint64_t max_size_bytes;
	uint64_t numa_nodes;		/* bit N: node N, for bind, interleave, preferred */
	uint64_t linger_ms;
	uint64_t sync_ms;
	char *owner_name;		/* as written, or NULL */
	char *group_name;
	char *layout;			/* or NULL */
	char *init;			/* or NULL */
	char *object;			/* posix, or NULL */
	char *path;			/* file, or NULL */
	struct definition_allow *allow;
	struct definition_lock *locks;

	unsigned n_refs;
	unsigned line;
	uint32_t max_count;		/* templates only */
	uint32_t owner;
	uint32_t group;
	uint32_t key;
	uint32_t creator;		/* whose doing it is, by uid; 0: the configuration's */
	uint16_t n_allow;
	uint16_t n_locks;
	uint16_t mode;			/* permission bits, 0777 at most */

	enum definition_backend backend;
	enum definition_page_size page_size;
	enum definition_numa numa;
	enum definition_placement placement;
	enum definition_lifetime lifetime;
	enum definition_on_unclean on_unclean;
	bool is_template;
	bool prefault;
	bool mlock;
	bool required;
	bool scrub;
	bool dump;
	bool has_owner;			/* false: the daemon's uid (of a template: the creator's) */
	bool has_group;
	bool has_key;			/* sysv */
	bool sync;			/* file: false is "none" */
};

/* A new definition with one reference and nothing filled in, or NULL when memory is short. */
struct definition *definition_new(void);
struct definition *definition_ref(struct definition *definition);
/* Gives a reference back; the last one frees. Accepts NULL; returns NULL. */
struct definition *definition_unref(struct definition *definition);

/* Where it was read. 0 or -ENOMEM. */
int definition_set_file(struct definition *definition, const char *file);

/* A definition of its own with the same contents and one reference. NULL when memory is short. */
struct definition *definition_copy(const struct definition *from);

/*
 * A definition made from a template for one created segment: name and size are the creator's, everything else is the
 * template's. uid and gid own it unless the template says who does. NULL when memory is short.
 */
struct definition *definition_instantiate(const struct definition *template_, const char *name,
    uint64_t size_bytes, uint32_t uid, uint32_t gid);

/* Whether a creator with this uid may make `name` from the template: its prefix, %U replaced by the uid, and more. */
bool definition_matches(const struct definition *template_, const char *name, uint32_t uid);

/* The first lock of which a byte is not in data of so many bytes, or NULL: a template's creator chose the size. */
const struct definition_lock *definition_lock_beyond(const struct definition *definition, uint64_t size_bytes);

/*
 * Bytes of control memory that its locks need, where a record takes record_bytes and a log's entries are of multiples of
 * entry_bytes, both powers of two. 0: it has no locks of ours.
 */
uint64_t definition_control_bytes(const struct definition *definition, uint64_t record_bytes, uint64_t entry_bytes);

/* Whether a string is a segment's name: [A-Za-z0-9][A-Za-z0-9._-]*, at most DEFINITION_NAME_MAX bytes. */
bool definition_name_valid(const char *name);

/* The words of the configuration, in the order of their enums; NULL ends each. */
extern const char *const definition_backend_names[];
extern const char *const definition_page_size_names[];
extern const char *const definition_numa_names[];
extern const char *const definition_placement_names[];
extern const char *const definition_lifetime_names[];
extern const char *const definition_on_death_names[];
extern const char *const definition_on_unclean_names[];

/* What a backend takes of its host, for who judges a configuration without a daemon. */
#define DEFINITION_TAKES_SHM_LIMITS	0x01u	/* of what kernel.shmmax and its kin allow, all of max_size at once; SHM_LOCK locks it */
#define DEFINITION_TAKES_DEV_SHM	0x02u	/* room in /dev/shm */
#define DEFINITION_TAKES_DISK		0x04u	/* a file at path, its blocks, and its mark beside it */

/* Whether it takes all of these. */
bool definition_takes(const struct definition *definition, unsigned takes);

/* Words of the configuration for a value, as in "memfd", "2MiB", "bind". */
const char *definition_backend_name(enum definition_backend backend);
const char *definition_page_size_name(enum definition_page_size page_size);
const char *definition_lifetime_name(enum definition_lifetime lifetime);

/* The size of the huge pages that page_size asks a hugetlb pool for; 0: it does not. */
static inline uint64_t
definition_huge_bytes(const struct definition *definition)
{
	switch (definition->page_size) {
	case DEFINITION_PAGE_2MIB:
		return (uint64_t)2 << 20;
	case DEFINITION_PAGE_1GIB:
		return (uint64_t)1 << 30;
	default:
		return 0;
	}
}

#endif
