/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A lock of ours, and everybody who may die over it: clients anywhere, the daemon anywhere in a recovery. Each STEP is
 * one access to shared memory, one system call or one thing that the kernel does, and the name of the function that it
 * stands for is beside it; check-model sees to it that the code still has these names. Between any two steps of a process
 * all others may go on, and it may die.
 *
 * What is claimed, for every order of the steps:
 *
 *	- at most one living process has the lock, also while it repairs; who lives, stopped or not, is never robbed
 *	- who gets the lock finds the log empty, readers let in, and both cells as the last section that was committed left
 *	  them: so both old or both new, whoever died between
 *	- who gets it is told that an owner died until one that was told has unlocked, and never otherwise
 *	- nobody who lives is left asleep for a lock, and the lock of a dead owner becomes free: at the end, when nothing can
 *	  move any more, everybody has had the lock or given up or died, and the lock is free
 *	- a reader that read_retry lets go has seen both cells of one committed section
 *
 * Stores are seen in the order of the code. The compiler is held to it by the fences in client/control.c, and a dead
 * thread's stores are ordered before the news of its death by the kernel; what the machine may reorder between two that
 * live is a matter of acquire and release on the word, and not modelled.
 *
 * check-model runs it in these forms:
 *
 *	CLIENTS=n SECTIONS=n	how many there are, and how often each takes the lock (each may die once, at any step)
 *	DAEMON_DEATHS=n		how often the daemon dies and is started again; NO_DAEMON: there is none
 *	SLICES			sleeps end by themselves, and the waiter asks the kernel whether the owner is gone. Without it
 *				wakes alone must do: a sleeper that nobody would ever wake is an error, though it may yet be
 *				killed, or run into its time limit
 *	READER			with one reader
 *	POISON			on_death = "poison"
 *	BROKEN_...		known mistakes, which must be found
 */
#ifndef CLIENTS
#define CLIENTS		3
#endif
#ifndef SECTIONS
#define SECTIONS	1
#endif
#ifndef DAEMON_DEATHS
#define DAEMON_DEATHS	1
#endif

/* A word: 0, or an id, and whether somebody may be asleep. Clients are 1 to CLIENTS; the daemon takes a new id each time. */
#define ID_MASK		7
#define ID_POISON	7
#define WAITERS		8
#define ID(v)		((v) & ID_MASK)
#define ID_CLAIM	(CLIENTS + 1)		/* the first daemon's */
#ifdef BROKEN_COMMON_CLAIM
#define NEXT_CLAIM(id)	(id)			/* one id for every daemon: a claim that was dead may live again */
#else
#define NEXT_CLAIM(id)	(id + 1)
#endif

#define JUNK		2
#define GARBAGE		3			/* what stands in a log behind used_bytes */

/* struct control_lock, the log and the bytes that the lock protects. */
byte word;
byte sequence;
byte used;			/* used_bytes, in entries */
bool owner_died;		/* marks: CONTROL_OWNER_DIED */
byte log_cell[3] = GARBAGE;
byte log_old[3] = GARBAGE;
byte data[2];			/* 0 and 1 in turn; JUNK while a section is at it */

/* The kernel's: whose description is still open (its mark is held), and who sleeps in FUTEX_WAIT. */
bool held[7];
bool asleep[CLIENTS + 1];
/* Systemd's and the daemon's record, which survive it: whose death was not dealt with yet, and how often it died itself. */
byte due[CLIENTS + 1];
#define VISIT		1
#define SWEEP		2
byte daemon_deaths;

/* What the model knows and no process does. */
byte inside;			/* the living process that has the lock */
byte committed;			/* what both cells are after the last committed section */
bool must_tell;			/* an owner died since one that was told unlocked */
byte begun;			/* clients that have made a step: they are alike, so they may as well begin in order */
byte moving = CLIENTS;		/* clients that are awake, and deaths that are due: whoever may still wake a sleeper */

/*
 * A STEP is done as a whole, or never: the process dies before it. What only the process itself can see is done along
 * with a step, so that there are no more states than matter.
 */
#define STEP(x)		if :: atomic { x } :: DEATH fi
#define DEATH		atomic { MAY_DIE(me) -> goto died }
#define MAY_DIE(id)	(id <= CLIENTS || daemon_deaths < DAEMON_DEATHS)

#define ENTER(id)	assert(inside == 0); inside = id
#define LEAVE(id)	assert(inside == id); inside = 0
#define CONSISTENT	(used == 0 && (sequence & 1) == 0 && data[0] == committed && data[1] == committed)

/* Entries that are not published are never read: they may as well hold garbage again, and there are fewer states. */
#define EMPTY_LOG	used = 0; \
			log_old[0] = GARBAGE; log_old[1] = GARBAGE; log_old[2] = GARBAGE; \
			log_cell[0] = GARBAGE; log_cell[1] = GARBAGE; log_cell[2] = GARBAGE
#ifdef READER
#define CLOSE		sequence = sequence + (sequence & 1)
#else
#define CLOSE		sequence = 0		/* where nobody reads there need not be a number for each section */
#endif

#define ROUSE(id)	asleep[id] = false; moving++
/* control_wake(lock, 1): the kernel picks one of those that sleep. */
#define WAKE_ONE	if \
			:: asleep[1] -> ROUSE(1) \
			:: asleep[2] -> ROUSE(2) \
			:: CLIENTS == 3 && asleep[CLIENTS] -> ROUSE(CLIENTS) \
			:: else \
			fi
/* control_wake(lock, INT_MAX) */
#define WAKE_ALL	do \
			:: asleep[1] -> ROUSE(1) \
			:: asleep[2] -> ROUSE(2) \
			:: CLIENTS == 3 && asleep[CLIENTS] -> ROUSE(CLIENTS) \
			:: else -> break \
			od

/*
 * A slice that ends while the owner lives and the word is the same changes nothing, since the waiter sleeps on; and of a
 * sleep that ends by a time limit or a death it is asked whether it would have ended without.
 */
#ifdef SLICES
#define SLICE_HELPS	(word != v || !held[ID(word)])
#else
#define SLICE_HELPS	false
#endif
#define WOULD_WAKE	assert(moving > 0 || SLICE_HELPS)

/* control_commit() */
inline control_commit(value)
{
	STEP(EMPTY_LOG; committed = value);
	STEP(CLOSE)
}

/* control_log(): the entry, what publishes it, and by control_open() the news for readers that bytes will change. */
inline control_log(cell)
{
	STEP(log_old[used] = data[cell]; log_cell[used] = cell);
	STEP(used++);
#ifndef BROKEN_NOT_ODD
	STEP(sequence = sequence | 1)		/* the first time, that is */
#endif
}

/* control_undo(): all entries, newest first, without shortening the log before the last is done. */
inline control_undo()
{
	STEP(
		if
		:: used > 0 -> sequence = sequence | 1
		:: else
		fi;
		i = 0);
	do
	:: atomic { i < used ->
#ifdef BROKEN_OLDEST_FIRST
		data[log_cell[i]] = log_old[i];
#else
		data[log_cell[used - 1 - i]] = log_old[used - 1 - i];
#endif
		i++ }
	:: atomic { i == used -> i = 0; EMPTY_LOG; break }		/* control_commit() */
	:: DEATH
	od;
	STEP(CLOSE)
}

/* control_repair(): the mark, then the bytes. */
inline control_repair()
{
	STEP(owner_died = true);
#ifndef POISON
	control_undo()
#endif
}

/* control_poison() or control_release() of a word that names me. */
inline END_CLAIM()
{
#ifdef POISON
	STEP(assert(ID(word) == me); word = ID_POISON; LEAVE(me));
	STEP(WAKE_ALL)
#else
	STEP(assert(ID(word) == me && CONSISTENT); word = 0; LEAVE(me));
	STEP(WAKE_ONE)		/* whatever WAITERS said */
#endif
}

#define BEGIN		begun = (begun < me -> me : begun)
#define FINISH		moving--; v = 0; i = 0; contended = 0; told = false; sections = 0; goto end_finished

proctype client(byte me)
{
	byte v;			/* the word as it was seen */
	byte i;
	byte sections = SECTIONS;
	byte contended;		/* WAITERS once this one has slept: another may sleep behind it */
	bool told;

again:
	begun >= me - 1;		/* not a step of the client's */
	/* control_try(): nobody has it, nobody waits for it. */
	STEP(
		BEGIN;
		if
		:: word == 0 -> word = me; ENTER(me); goto taken
		:: else
		fi);
look:
	/* lock_wait() */
	STEP(
		v = word;
		if
		:: ID(v) == 0
		:: ID(v) == ID_POISON && contended -> goto poisoned
		:: ID(v) == ID_POISON && !contended -> FINISH
		:: ID(v) != 0 && ID(v) != ID_POISON && (v & WAITERS) -> goto wait
		:: ID(v) != 0 && ID(v) != ID_POISON && !(v & WAITERS) -> goto announce
		fi);
	STEP(
		if
		:: word == v -> word = me | (v & WAITERS) | contended; ENTER(me); goto taken
		:: else -> goto look
		fi);
announce:
	STEP(
		if
		:: word == v -> v = v | WAITERS; word = v
		:: else -> goto look
		fi);
wait:
	/* wait_for_owner(), sleep_for(): the kernel lets it sleep only if the word is what it was. */
	STEP(
		contended = WAITERS;
		if
		:: word == v -> asleep[me] = true; moving--
		:: else -> goto look
		fi);
	if
	:: atomic { !asleep[me] -> goto look }
	:: atomic { !asleep[me] -> goto late }
	:: atomic { !asleep[me] -> goto died }
	:: atomic { asleep[me] && SLICE_HELPS -> ROUSE(me) }
	:: atomic { asleep[me] -> WOULD_WAKE; ROUSE(me); goto look }	/* a signal's handler has run */
	:: atomic { asleep[me] -> WOULD_WAKE; ROUSE(me); goto late }
	:: atomic { asleep[me] -> WOULD_WAKE; ROUSE(me); goto died }
	fi;

	/* A slice ended. look_after_owner(): is_gone() asks the kernel; */
	STEP(
		v = ID(v);
		if
		:: !held[v]
		:: held[v] -> goto look
		:: held[v] -> goto late
		fi);
	/* control_take_over(), and repair() with it */
	STEP(
		if
		:: ID(word) == v ->
#ifdef BROKEN_ANONYMOUS_CLAIM
			word = ID_CLAIM | WAITERS;
#else
			word = me | WAITERS;
#endif
			ENTER(me); v = 0
		:: ID(word) != v -> goto look
		:: ID(word) != v -> goto late
		fi);
	control_repair();
#ifdef POISON
	END_CLAIM();
	atomic { FINISH };
#endif

taken:
	/* segment_lock() returns; segment_recovered() is asked, or not. */
	STEP(
#ifdef BROKEN_ANONYMOUS_CLAIM
		word = me | (word & WAITERS);
#endif
		v = 0; contended = 0;
		assert(CONSISTENT && owner_died == must_tell);
		if
		:: told = owner_died
		:: told = false
		fi);

	/* segment_modify() of cells 0, 1 and 0 again, each with the caller's store behind it. */
#ifdef POISON
#define NEW	committed		/* nobody repairs what it changes: it might as well change nothing */
#else
#define NEW	(1 - committed)
	control_log(0);
	STEP(data[0] = JUNK);
	control_log(1);
	STEP(data[1] = NEW);
	control_log(0);
	STEP(data[0] = NEW);
#endif

#ifdef BROKEN_UNLOCK_BEFORE_COMMIT
	STEP(v = word; word = 0; LEAVE(me));
	control_commit(NEW);
#else
	if
	:: control_commit(NEW);		/* segment_unlock(), */
#ifdef BROKEN_NOT_TOLD
		STEP(owner_died = false)
#else
		STEP(owner_died = owner_died && !told)
#endif
	:: control_undo();				/* or segment_rollback() */
		atomic { told = false }
	fi;
	/* control_unlock() */
	STEP(
		assert(ID(word) == me);
		v = word; word = 0; LEAVE(me);
		must_tell = must_tell && !told; told = false);
#endif
	STEP(
		if
		:: v & WAITERS -> WAKE_ONE
		:: else
		fi;
		v = 0; sections--;
		if
		:: sections > 0 -> goto again
		:: else -> FINISH
		fi);

late:
	/* The time limit of segment_timedlock() is over: it looks once more, */
	STEP(
		if
		:: ID(word) == 0 -> goto look
		:: else
		fi);
pass_on:
	/* and has the others' wake, perhaps, or has taken the owner's knowledge of them: pass_on(). */
	STEP(
		v = word;
		if
		:: ID(v) == 0
		:: ID(v) == ID_POISON -> goto poisoned
		:: ID(v) != 0 && ID(v) != ID_POISON && (v & WAITERS) -> FINISH
		:: ID(v) != 0 && ID(v) != ID_POISON && !(v & WAITERS) -> goto mark
		fi);
	STEP(WAKE_ONE; FINISH);
poisoned:
	/* Who poisoned it may have died before it had woken all: each wakes the next, should there be no daemon. */
#ifdef BROKEN_POISON
	atomic { FINISH };
#else
	STEP(WAKE_ONE; FINISH);
#endif
mark:
	STEP(
		if
		:: word == v -> word = v | WAITERS; FINISH
		:: else -> goto pass_on
		fi);

died:
	atomic {
		BEGIN;
		held[me] = false;
		must_tell = must_tell || ID(word) == me;
		inside = (inside == me -> 0 : inside);
#ifndef NO_DAEMON
		due[me] = VISIT; moving++;
#endif
		FINISH
	};
end_finished:
	false
}

#define SWEPT(id)	if \
			:: due[id] == SWEEP -> due[id] = 0; moving-- \
			:: else \
			fi

#ifndef NO_DAEMON
active proctype daemon()
{
	byte me = ID_CLAIM;
	byte dead;
	byte i;

started:
	/* Adoption: the word may name a claim of the one before. */
	atomic {
		held[me] = true;
		if
		:: ID(word) > CLIENTS && ID(word) != ID_POISON -> dead = ID(word); goto visit
		:: else
		fi
	};
end_idle:
	atomic {
		if
		:: due[1] == VISIT -> dead = 1
		:: due[2] == VISIT -> dead = 2
		:: CLIENTS == 3 && due[CLIENTS] == VISIT -> dead = CLIENTS
		:: due[1] == SWEEP || due[2] == SWEEP || due[CLIENTS] == SWEEP -> goto sweep
		fi
	};
visit:
	/* recovery_visit(): does the word name the dead? */
	STEP(
		if
		:: ID(word) == dead
		:: else -> goto visited
		fi);
	/* recovery_one(): control_claim(), control_finish(): control_repair(), and control_release() or control_poison() */
#ifdef BROKEN_LOOKED_TWICE
	STEP(i = ID(word));
#else
	i = dead;
#endif
	STEP(
		if
		:: ID(word) == i && i != 0 -> i = 0; word = me | (word & WAITERS); ENTER(me)
		:: else -> i = 0; goto visited		/* CONTROL_E_OTHER: a waiter took over */
		fi);
	control_repair();
	END_CLAIM();
visited:
	/* recovery_request_sweep(): one that has not begun serves for many deaths. */
	STEP(
		if
		:: dead <= CLIENTS -> due[dead] = SWEEP
		:: else
		fi;
		dead = 0);
	goto end_idle;
sweep:
	/* recovery_sweep(): the dead may have been about to wake, or have been woken; or have poisoned, and woken nobody. */
	STEP(
#ifndef BROKEN_NO_WAKE
		if
#ifndef BROKEN_POISON
		:: ID(word) == ID_POISON -> WAKE_ALL
#endif
		:: else -> WAKE_ONE
		fi;
#endif
		SWEPT(1); SWEPT(2); SWEPT(CLIENTS));
	goto end_idle;

died:
	/* Until systemd has started the next, there is none. */
	atomic {
		held[me] = false; daemon_deaths++; dead = 0; i = 0;
		inside = (inside == me -> 0 : inside);
		me = NEXT_CLAIM(me);
	};
	goto started
}
#endif

#ifdef READER
active proctype reader()
{
	byte seen, a;

	do
	:: atomic { (sequence & 1) == 0 -> seen = sequence };		/* segment_read_begin() */
		a = data[0];
		atomic { a = (a == data[1] -> a : JUNK) };
		atomic {
			if
			:: seen == sequence -> assert(a != JUNK); a = 0; seen = 0; break	/* segment_read_retry() */
			:: else -> a = 0; seen = 0
			fi
		}
	od
}
#endif

init {
	byte i = 1;

	atomic {
		do
		:: i <= CLIENTS -> held[i] = true; run client(i); i++
		:: else -> i = 0; break
		od
	};
	/* When nothing moves any more. */
	atomic { timeout ->
#ifdef NO_DAEMON
		/* A dead owner that nobody waits for may still have it. */
		assert(word == 0 && CONSISTENT || word != 0 && !held[ID(word)])
#else
#ifdef POISON
		assert(word == 0 && CONSISTENT || ID(word) == ID_POISON)
#else
		assert(word == 0 && CONSISTENT && owner_died == must_tell)
#endif
#endif
	}
}
