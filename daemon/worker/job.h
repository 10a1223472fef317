/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the daemon and its worker processes say to each other: one job, one result, over a SOCK_SEQPACKET pair that the
 * worker finds as its standard input. The fds that a job is about come with it; the worker closes them. The worker ends at
 * end of file. Both ends are the same executable, so the layout needs no version.
 */
#ifndef DAEMON_WORKER_JOB_H
#define DAEMON_WORKER_JOB_H

#include <stdint.h>

#include "host/nodes.h"

#define JOB_ARGV0	"segmentd-worker"	/* argv[0] that makes the executable a worker */
#define JOB_TEXT_SIZE	768
#define JOB_FDS_MAX	3
#define JOB_NAME_SIZE	256
#define JOB_MANY_MAX	16		/* of a kind that takes any number; a worker soon has nothing to do, and others the CPU */

enum job_kind {
	JOB_POPULATE = 1,		/* make a range resident, of the pages asked for; verify it */
	JOB_FREE = 2,			/* give a range's pages back by punching holes */
	JOB_CLOSE = 3,			/* close the fd, whose last reference may take long */
	JOB_REPAIR = 4,			/* put a claimed lock's bytes right; the second fd is control memory */
	JOB_REPAIR_MUTEX = 5,		/* recover an application's mutex, and zero its range, if there is one */
	JOB_INIT = 6,			/* copy a file's part of the range into data; the second fd holds its path */
	JOB_PARSE = 7,			/* read a configuration: into the fd, packed; the second fd holds its path, */
	JOB_PARSE_TEXTS = 8,		/* or its texts: see enum job_text */
	JOB_RESERVE = 9,		/* a file's range: its blocks, and nothing in memory */
	JOB_SYNC = 10,			/* write what is dirty of a file to the disk; the second fd is its mark */
	JOB_FILE_LOOK = 11,		/* the fd holds a path: look at the file there, open or make its mark, which is returned */
	JOB_FILE_OPEN = 12,		/* the second fd is the mark, locked: open or make the file, which is returned */
	JOB_FILE_USE = 13,		/* path and mark, the third is the file: it is in use from now on, and the mark says so */
	JOB_FILE_CLOSE = 14,		/* the same three: written back, and the mark goes if it may */
	JOB_RESERVE_POOL = 15,		/* of hugetlb memory: make a range's pages its own, without taking them yet */
	JOB_RECEIVE = 16,		/* look at a connection's next message: the fd that came with it is returned, if it is of job.file */
	JOB_DISCARD = 17,		/* read a connection's next message away, with what came along */
	JOB_EMPTY = 18,			/* likewise those of connections that were shut down, JOB_MANY_MAX at most, until it takes long */
	JOB_NAMES = 19,			/* list the names of the fd's directory, into memory that is returned */
	JOB_UNLINK = 20,		/* take job.name away in the fd's directory, if it is of job.file; the second fd: a lock, kept until then */
	JOB_LINK = 21,			/* give the fd's object job.name in the second's directory, and return it by that; the third: a lock */
	JOB_ADMIT = 22,			/* who may open the fd's object: the first length_bytes of the second's, or the mode limit_bytes */
	JOB_CANCEL = 32,		/* the job of this id, while it is being done, is of no use any more: no fds, no result */
};

/* How a job's data is reached; a kind of 0, as in what is not filled in, is the common one. */
enum job_object_kind {
	JOB_OBJECT_FD = 0,		/* by the job's first fd */
	JOB_OBJECT_SHM = 1,		/* by a System V id; the fd stands in for it */
	JOB_OBJECT_FILE = 2,		/* by the fd, and it is a file: its blocks are reserved before its pages are used */
};

struct job_object {
	uint32_t kind;			/* enum job_object_kind */
	int32_t shm_id;
	uint64_t page_bytes;		/* of the hugetlb pool that its pages are of; 0: none */
	uint32_t n_ours;		/* FREE: what others have is left alone. Of SHM: how often the daemon has it; else 1. 0: never asked */
	uint32_t zero;
};

/* Which nodes a range's pages are to be on. */
enum job_numa {
	JOB_NUMA_ANY = 0,
	JOB_NUMA_BIND,
	JOB_NUMA_INTERLEAVE,
	JOB_NUMA_PREFERRED,
};

enum job_pages {
	JOB_PAGES_BASE,			/* base pages, even where the host would give huge ones */
	JOB_PAGES_AUTO,			/* huge ones by advice or collapse where the host lets us; base pages else */
	JOB_PAGES_TOGETHER,		/* as AUTO, where some base pages are there already: they become part of huge ones */
	JOB_PAGES_MOUNT,		/* likewise, where a mount's option says what advice does, and not the host's file */
};

/*
 * What JOB_PARSE_TEXTS reads, from the beginning of its second fd to the job's length_bytes: pieces, each with its kind and
 * its length in bytes before it. A name begins a text, which is the bytes of all pieces up to the next name.
 */
enum job_text {
	JOB_TEXT_NAME = 1,
	JOB_TEXT_BYTES = 2,
};

struct job_text_piece {
	uint32_t kind;			/* enum job_text */
	uint32_t length_bytes;
};

/* Of JOB_REPAIR and JOB_REPAIR_MUTEX: which lock. Its bytes are the job's range. */
struct job_lock {
	uint64_t log_offset_bytes;	/* in control memory */
	uint64_t at_bytes;		/* a mutex: where it is in data */
	uint32_t log_bytes;
	uint32_t index;
	uint32_t on_death;		/* enum control_on_death */
	uint32_t thread;		/* a mutex: its dead owner, or 0 */
};

/* Of JOB_INIT: a file as it was when its first piece was copied. Of JOB_RECEIVE, JOB_UNLINK: what memory it has to be. */
struct job_file {
	uint64_t device;
	uint64_t inode;			/* 0: this is the first piece */
	uint64_t size_bytes;
	int64_t changed_ns;		/* since 1970; JOB_UNLINK: when it was born, or 0 */
};

/* Of the JOB_FILE_ kinds. */
#define JOB_FILE_NEW		0x1u	/* it was made, and waits under another name; or is zeroed: it has no contents */
#define JOB_FILE_RENAME		0x2u	/* the former */
#define JOB_FILE_UNCLEAN	0x4u	/* result: it was in use when the machine went down; the text says what becomes of it */
#define JOB_FILE_USED		0x8u	/* JOB_FILE_USE was done */
#define JOB_FILE_ALONE		0x10u	/* nobody else has it */

/* Of JOB_POPULATE: the object is in use, and stays whatever becomes of this range. Else it ends with a failure. */
#define JOB_GROWTH		0x20u

/* Of a result of JOB_NAMES: there are more than job.limit_bytes had room for. */
#define JOB_NAMES_MORE		0x40u

/* Of a result of JOB_UNLINK: nothing has the name, or another object, which was left alone. */
#define JOB_NAME_OTHER		0x80u

struct job {
	uint64_t id;
	uint32_t kind;			/* enum job_kind */
	uint32_t pages;			/* enum job_pages */
	uint64_t offset_bytes;		/* of the range; a multiple of the huge page size for populate */
	uint64_t length_bytes;
	uint64_t reserve_bytes;		/* of available memory that must stay free */
	uint64_t limit_bytes;		/* JOB_INIT: how large the file may be; JOB_FILE_OPEN, JOB_FREE (or 0): how large it is; JOB_NAMES */
	uint32_t flags;			/* JOB_FILE_*, JOB_GROWTH */
	uint32_t on_unclean;		/* JOB_FILE_OPEN: enum definition_on_unclean */
	uint64_t counted_bytes;		/* of the range's start, that was there and counted before: not in node_bytes */
	uint32_t numa;			/* enum job_numa */
	uint32_t zero;
	uint64_t nodes;			/* bit N: node N; none with JOB_NUMA_ANY */
	struct job_object object;	/* what the range is one of */
	struct job_file file;		/* JOB_INIT: what is copied */
	struct job_lock lock;		/* JOB_REPAIR, JOB_REPAIR_MUTEX */
	char name[JOB_NAME_SIZE];	/* JOB_LINK, JOB_UNLINK: ends with a NUL */
};

/* status of a result that is no errno */
#define JOB_E_MEMORY	1		/* refused by our own check before a limit was met; the text says which */
#define JOB_E_POISONED	2		/* the lock is to be poisoned, as on_death says or since its log is none */

struct job_result {
	uint64_t id;
	int32_t status;			/* 0, JOB_E_*, or a negative errno */
	uint32_t flags;			/* JOB_FILE_*, JOB_NAMES_MORE, JOB_NAME_OTHER */
	uint64_t resident_bytes;	/* populated, status 0: of the range, by the kernel's count */
	uint64_t huge_bytes;		/* of them mapped by huge pages, likewise */
	uint64_t node_bytes[NODES_MAX];	/* likewise: on which nodes; modulo 2^64, since what was counted may have moved */
	struct job_file file;		/* JOB_INIT, status 0 */
	char text[JOB_TEXT_SIZE];	/* why not, or what is to be told; ends with a NUL */
};

/* How many fds go with a kind of job; JOB_EMPTY has any number. */
static inline unsigned
job_n_fds(uint32_t kind)
{
	switch (kind) {
	case JOB_FILE_USE:
	case JOB_FILE_CLOSE:
	case JOB_LINK:
		return 3;
	case JOB_REPAIR:
	case JOB_INIT:
	case JOB_PARSE:
	case JOB_PARSE_TEXTS:
	case JOB_SYNC:
	case JOB_FILE_OPEN:
	case JOB_UNLINK:
	case JOB_ADMIT:
		return 2;
	default:
		return 1;
	}
}

/* The worker's main: serves jobs from standard input until end of file. Returns the process's exit status. */
int worker_main(void);

#endif
