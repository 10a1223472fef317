/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What all processes of a soak share: what they are to do now, what they have done, and which troubles are being made on purpose, in
 * which an honest client may be refused by errors that are documented. Nothing here talks to the daemon.
 */
#ifndef TESTS_SOAK_BOARD_H
#define TESTS_SOAK_BOARD_H

#include <stdatomic.h>

#include "tests/harness.h"

#define SOAK_SEATS	16		/* of visitors */
#define SOAK_LOCKS	4		/* of the ledger */
#define SOAK_ERRNOS	140

enum soak_phase {
	SOAK_WORK,
	SOAK_STILL,			/* what they hold they keep, and do nothing */
	SOAK_LEAVE,
};

/* What is being done to the daemon on purpose, and may be an honest client's error. */
enum soak_trouble {
	SOAK_TROUBLE_FDS,		/* it has no descriptor left */
	SOAK_TROUBLE_MEMORY,		/* or no memory for segments */
	SOAK_TROUBLE_WORKERS,		/* or its workers are killed */
	SOAK_TROUBLE_N
};

/* A row each in the table at the end; board.c has the words. */
enum soak_figure {
	SOAK_VISITS, SOAK_SECTIONS, SOAK_CREATED, SOAK_REMOVED, SOAK_LISTS, SOAK_MANY, SOAK_NEWCOMERS, SOAK_EVENTS, SOAK_EVENTS_LOST,
	SOAK_TOOLS, SOAK_BORN, SOAK_KILLED, SOAK_MISDEEDS, SOAK_HUNG_UP, SOAK_STRAYS, SOAK_KILLS, SOAK_HANDOVERS, SOAK_EARLY_KILLS,
	SOAK_STOPS, SOAK_WORKERS_KILLED, SOAK_RELOADS, SOAK_HANGUPS, SOAK_BROKEN, SOAK_FD_DROUGHTS, SOAK_MEMORY_DROUGHTS,
	SOAK_QUIET_POINTS, SOAK_COUNTS, SOAK_HEARTBEATS, SOAK_ATTACH_BEATS,
	SOAK_FIGURE_N
};

struct soak_seat {
	_Alignas(64) _Atomic bool is_still;
	_Atomic uint64_t n_sections[SOAK_LOCKS];
};

/* Times, in buckets of a quarter of their power of two. */
#define SOAK_BUCKETS	(64 * 4)

struct soak_times {
	_Atomic uint64_t since_ns;	/* of what is under way; 0: nothing is */
	_Atomic uint64_t longest_ns, longest_at_ns;
	_Atomic uint64_t n;
	_Atomic uint64_t buckets[SOAK_BUCKETS];
};

struct soak_board {
	char socket[96];
	uint64_t seed, begun_ns;
	bool has_uids;				/* clients are of other users than the daemon */
	_Atomic unsigned phase;
	_Atomic int daemon_pid;
	_Atomic uint64_t n_starts;			/* of daemons that became ready */
	_Atomic uint64_t until_ns[SOAK_TROUBLE_N];	/* the trouble lasts until then; UINT64_MAX: it lasts */
	_Atomic uint64_t figures[SOAK_FIGURE_N];
	_Atomic uint64_t excused[SOAK_ERRNOS];		/* honest ones, in troubles, by errno */
	_Atomic uint64_t refused[SOAK_ERRNOS];		/* those who misbehave */
	struct soak_seat seats[SOAK_SEATS];
	struct soak_times beats;			/* a question each 10 ms, to one daemon */
	struct soak_times busy;				/* the daemon's own time on a CPU during each of those */
	struct soak_times unexplained;			/* and when neither it nor who asks had a CPU, or waited for one */
	struct soak_times beats_over;			/* and to two: it was killed meanwhile, or handed over */
	struct soak_times attaches;			/* an attach and a detach of the same client, each tenth time */
};

extern struct soak_board *soak_board;

/* Shared by all processes forked from here on. */
void soak_board_make(uint64_t seed);
void soak_count(enum soak_figure figure);
void soak_count_by(enum soak_figure figure, uint64_t n);
void soak_refused(int r);
/* An honest client's operation that began then was refused: true if that may be now, and is counted. */
bool soak_excuse(int r, uint64_t begun_ns);
/* The same with what only those who create may hear. */
bool soak_excuse_create(int r, uint64_t begun_ns);
void soak_trouble_begin(enum soak_trouble trouble);
void soak_trouble_end(enum soak_trouble trouble);
bool soak_has_trouble(enum soak_trouble trouble);

void soak_times_begin(struct soak_times *times);
void soak_times_end(struct soak_times *times);
void soak_times_note(struct soak_times *times, uint64_t spent_ns);
/* Another number after each daemon's end, and after each start. */
uint64_t soak_n_turns(void);
uint64_t soak_times_quantile(const struct soak_times *times, unsigned percent);

uint32_t soak_draw(uint64_t *random, uint32_t below);
/* Since the beginning. */
double soak_clock(void);
void soak_board_print(void);

#endif
