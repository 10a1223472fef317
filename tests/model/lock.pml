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
 *	- who takes a lock by its bell takes it from nobody that lives, nor from the daemon
 *	- with BELL_ALONE: whose bell is rung, others get the lock without daemon and slices, also if the next one dies as well
 *	- with BOOKS: the daemon counts a death once for a lock that the dead had, also where a waiter was first, and never else
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
 *	BELL_ALONE		clients die only while the kernel is pointed at the bell, and all hear it
 *	NO_HEAD			the first client cannot have its bell rung
 *	THREADS			the first two clients are threads of one process: each may die alone, and the other detaches
 *	BOOKS			waiters write down from whom they take a lock (taken[]). With a daemon that does not die
 *
 * Three clients are there for what they do to each other. For what the log can do two are enough: then a section changes two
 * cells, one of them twice, and can be rolled back.
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

/*
 * A lock's state is a word and a bell, which are changed in one step. The word: 0, or an id, and whether somebody may be
 * asleep. Clients are 1 to CLIENTS; the daemon takes a new id each time.
 */
#define ID_MASK		7
#define ID_POISON	7
#define WAITERS		8
#define ID(v)		((v) & ID_MASK)
#define WORD(v)		((v) & (ID_MASK | WAITERS))
/*
 * The bell: 0, or the thread that has the word; whether somebody may be asleep for it; and, instead of the thread, that it is
 * dead, which only the kernel says (CONTROL_DIED). Each client is in a pid namespace of its own, and the threads of all have
 * the same id: so a bell that is rung for the death of another thread would be believed.
 */
#define BELL_WAITERS	16
#define RUNG		32
#define BELL(v)		((v) & ~(ID_MASK | WAITERS))
#define ANNOUNCED(v)	((v) | WAITERS | (BELL(v) -> BELL_WAITERS : 0))
#ifdef THREADS
/* Clients 1 and 2 are threads of a process, which has one id in words; and it is client 3 whose thread has the first's id. */
#define NAME(id)	((id) == 2 -> 1 : (id))
#define THREAD(id)	((id) == 2 -> 128 : 64)
#else
#define NAME(id)	(id)
#define THREAD(id)	64
#endif
#ifdef NO_HEAD
#define HAS_BELL	(me != 1)		/* the kernel looks at nothing when the first one's thread ends */
#else
#define HAS_BELL	true
#endif
/* control_owned(): what a taker makes of it. */
#ifdef BROKEN_HUSHED
#define OWN(waiters)	(NAME(me) | THREAD(me) | (waiters))
#else
#define OWN(waiters)	(HAS_BELL -> NAME(me) | THREAD(me) | (waiters) | ((waiters) -> BELL_WAITERS : 0) : NAME(me) | (waiters))
#endif
#define ID_CLAIM	(CLIENTS + 1)		/* the first daemon's */
#ifdef BROKEN_COMMON_CLAIM
#define NEXT_CLAIM(id)	(id)			/* one id for every daemon: a claim that was dead may live again */
#else
#define NEXT_CLAIM(id)	(id + 1)
#endif

#define JUNK		2
#define GARBAGE		3			/* what stands in a log behind used_bytes */

/* struct control_lock, the log and the bytes that the lock protects. */
byte state;			/* word and bell */
byte sequence;
byte used;			/* used_bytes, in entries */
bool owner_died;		/* marks: CONTROL_OWNER_DIED */
byte log_cell[3] = GARBAGE;
byte log_old[3] = GARBAGE;
byte data[2];			/* 0 and 1 in turn; JUNK while a section is at it */

/* The kernel's: whose description is still open (its mark is held), and who sleeps for word and bell. */
bool held[7];
bool asleep[CLIENTS + 1];
bool pending[7];		/* whose list_op_pending points at the bell */
/* Systemd's and the daemon's record, which survive it: whose death was not dealt with yet, and how often it died itself. */
byte due[CLIENTS + 1];
#define VISIT		1
#define SWEEP		2
byte daemon_deaths;

/* What the model knows and no process does. */
byte inside;			/* the living process that has the lock */
byte committed;			/* what both cells are after the last committed section */
bool must_tell;			/* an owner died since one that was told unlocked */
#ifdef THREADS
byte begun = CLIENTS;
byte n_ended;			/* threads of the process that are dead or need no lock any more */
#else
byte begun;			/* clients that have made a step: they are alike, so they may as well begin in order */
#endif
#ifdef BOOKS
bool noted[7];			/* in the lock's taken[] */
bool died_with[CLIENTS + 1];	/* it had the lock */
#endif
byte moving = CLIENTS;		/* clients that are awake, and deaths that are due: whoever may still wake a sleeper */

/*
 * A STEP is done as a whole, or never: the process dies before it. What only the process itself can see is done along
 * with a step, so that there are no more states than matter: so are its death and the kernel's ringing, since a dead thread
 * that has not been rung for yet is to others as one that is only slow.
 */
#define STEP(x)		if :: atomic { x } :: DEATH fi
#define DEATH		atomic { MAY_DIE(me) -> goto died }
#ifdef BELL_ALONE
#define MAY_DIE(id)	pending[id]
#else
#define MAY_DIE(id)	(id <= CLIENTS || daemon_deaths < DAEMON_DEATHS)
#endif
/* Whether a death may be one that rings no bell. */
#ifdef BELL_ALONE
#define MAY_BE_DEAF	false
#elif defined(THREADS)
#define MAY_BE_DEAF	(me == 3)		/* a thread would leave the lock to its process, which lives on */
#else
#define MAY_BE_DEAF	true
#endif

#ifdef BROKEN_BELL_STAYS
#define CLAIM		state = NAME(me) | (state & WAITERS) | BELL(state)
#else
#define CLAIM		state = NAME(me) | (state & WAITERS)	/* and no bell */
#endif
#define ENTER(id)	assert(inside == 0); inside = id
#define LEAVE(id)	assert(inside == id); inside = 0
#define CONSISTENT	(used == 0 && (sequence & 1) == 0 && data[0] == committed && (data[1] == committed || CLIENTS == 3))

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
#define SLICE_HELPS	(ID(state) != v || (state & RUNG) || !held[v])
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
	STEP(assert(ID(state) == NAME(me)); pending[me] = false; state = ID_POISON; LEAVE(me));
	STEP(WAKE_ALL)
#else
	STEP(assert(ID(state) == NAME(me) && CONSISTENT); state = 0; LEAVE(me));
	STEP(WAKE_ONE)		/* whatever WAITERS said */
#endif
}

#define OWNED(v)	(ID(v) != 0 && ID(v) != ID_POISON)
/*
 * Taking it, free or from an owner that is gone; and only then lock_hold() points the kernel at the bell. Who dies between
 * the two is as one whose bell is not rung for another reason (see `died`).
 */
#define TAKE(waiters)	state = OWN(waiters); pending[me] = true; ENTER(me); v = 0
#define TAKE_RUNG	assert(ID(v) <= CLIENTS); assert(!inside); TAKE(WAITERS)
/* control_note(): before the lock is taken, and only if the word names the dead. */
#if defined(BOOKS) && defined(BROKEN_NOTE)
#define NOTE(named, id)	STEP(noted[id] = true)
#elif defined(BOOKS)
#define NOTE(named, id)	STEP( \
				if \
				:: named -> noted[id] = true \
				:: else \
				fi)
#else
#define NOTE(named, id)
#endif
#ifdef SLICES
#define SLEEP		asleep[me] = true; moving--; v = ID(v)
#else
#define SLEEP		asleep[me] = true; moving--; v = 0
#endif

#define BEGIN		begun = (begun < me -> me : begun)
#define FORGET		pending[me] = false; v = 0; i = 0; contended = 0; told = false; sections = 0
#ifdef THREADS
#define FINISH		FORGET; goto ended
#else
#define FINISH		FORGET; moving--; goto end_finished
#endif

proctype client(byte me)
{
	byte v;			/* the state as it was seen */
	byte i;
	byte sections = SECTIONS;
	byte contended;		/* WAITERS once this one has slept: another may sleep behind it */
	bool told;

again:
	begun >= me - 1;		/* not a step of the client's */
	/* control_try(): nobody has it, nobody waits for it. */
	STEP(
		BEGIN;
#ifdef BROKEN_PENDING_EARLY
		pending[me] = true;
#endif
		if
		:: state == 0 -> TAKE(0); goto taken
		:: else
		fi);
look:
	/* lock_wait() */
	STEP(
		v = state;
		if
		:: ID(v) == 0
		:: ID(v) == ID_POISON && contended -> goto poisoned
		:: ID(v) == ID_POISON && !contended -> FINISH
		:: OWNED(v) && (v & RUNG) -> goto rung
		:: OWNED(v) && !(v & RUNG) && v == ANNOUNCED(v) -> goto wait
		:: OWNED(v) && !(v & RUNG) && v != ANNOUNCED(v) -> goto announce
		fi);
	STEP(
		if
		:: state == v -> TAKE((v & WAITERS) | contended); goto taken
		:: else -> goto look
		fi);
announce:
	STEP(
		if
		:: state == v -> v = ANNOUNCED(v); state = v
		:: else -> goto look
		fi);
wait:
	/*
	 * wait_for_owner(), sleep_for(): the kernel lets it sleep only if word and bell are what they were; or the word alone,
	 * where it cannot wait for both.
	 */
	STEP(
		contended = WAITERS;
		if
		:: state == v -> SLEEP
#ifndef BELL_ALONE
		:: state != v && WORD(state) == WORD(v) -> SLEEP
#endif
		:: state != v -> goto look
		fi);
	if
	:: atomic { !asleep[me] -> goto look }
	:: atomic { !asleep[me] -> goto late }
	:: atomic { !asleep[me] && MAY_DIE(me) -> goto died }
	:: atomic { asleep[me] && SLICE_HELPS -> ROUSE(me) }
	:: atomic { asleep[me] -> WOULD_WAKE; ROUSE(me); goto look }	/* a signal's handler has run */
	:: atomic { asleep[me] -> WOULD_WAKE; ROUSE(me); goto late }
	:: atomic { asleep[me] && MAY_DIE(me) -> WOULD_WAKE; ROUSE(me); goto died }
	fi;

	/* A slice ended. look_after_owner(): is_gone() asks the kernel; */
	STEP(
		v = ID(v);
		if
		:: state & RUNG -> goto look
		:: !held[v]
		:: held[v] -> goto look
		:: held[v] -> goto late
		fi);
	/* control_take_over(), and repair() with it */
	NOTE(ID(state) == v, v);
	STEP(
		if
		:: ID(state) == v -> TAKE(WAITERS);
#ifdef BROKEN_ANONYMOUS_CLAIM
			state = ID_CLAIM | WAITERS;
#endif
			goto recover
		:: ID(state) != v -> goto look
		:: ID(state) != v -> goto late
		fi);

rung:
	/* answer(), control_take_rung(): from the state that was seen, in one. */
	NOTE(true, ID(v));
#ifdef BROKEN_HALVES
	STEP(
		if
		:: WORD(state) == WORD(v) -> TAKE_RUNG; state = NAME(me) | WAITERS | RUNG
		:: WORD(state) != WORD(v) -> goto look
		fi);
	STEP(state = OWN(WAITERS));
#else
	STEP(
		if
		:: state == v -> TAKE_RUNG
		:: state != v -> goto look
		:: state != v -> goto late
		fi);
#endif
recover:
	control_repair();
#ifdef POISON
	END_CLAIM();
	atomic { FINISH };
#endif

taken:
	/* segment_lock() returns; segment_recovered() is asked, or not. */
	STEP(
#ifdef BROKEN_ANONYMOUS_CLAIM
		state = me | (state & WAITERS);
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
#if CLIENTS == 2
	control_log(1);
	STEP(data[1] = NEW);
	control_log(0);
#endif
	STEP(data[0] = NEW);
#endif

#ifdef BROKEN_UNLOCK_BEFORE_COMMIT
	STEP(v = state; pending[me] = false; state = 0; LEAVE(me));
	control_commit(NEW);
#else
	if
	:: control_commit(NEW);		/* segment_unlock(), */
#ifdef BROKEN_NOT_TOLD
		STEP(owner_died = false)
#else
		STEP(owner_died = owner_died && !told)
#endif
#if CLIENTS == 2
	:: control_undo();				/* or segment_rollback() */
		atomic { told = false }
#endif
	fi;
	/* lock_let_go(), control_unlock() */
	STEP(
		assert(ID(state) == NAME(me));
#ifndef BROKEN_PENDING_LATE
		pending[me] = false;
#endif
		v = state; state = 0; LEAVE(me);
		must_tell = must_tell && !told; told = false);
#endif
	STEP(
		pending[me] = false;
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
		:: ID(state) == 0 -> goto look
		:: else
		fi);
pass_on:
	/*
	 * and has the others' wake or the bell's, perhaps, or has taken the owner's knowledge of them: pass_on(). From a dead
	 * owner it takes the lock.
	 */
	STEP(
		v = state;
		if
		:: ID(v) == 0
		:: ID(v) == ID_POISON -> goto poisoned
#ifdef BROKEN_DEAF
		:: OWNED(v) && (v & RUNG) -> FINISH
#else
		:: OWNED(v) && (v & RUNG) -> goto rung
#endif
		:: OWNED(v) && !(v & RUNG) && v == ANNOUNCED(v) -> FINISH
		:: OWNED(v) && !(v & RUNG) && v != ANNOUNCED(v) -> goto mark
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
		:: state == v -> state = ANNOUNCED(v); FINISH
		:: else -> goto pass_on
		fi);

died:
	/*
	 * The thread's end, before anything of its process goes. The bell is rung if the kernel is pointed at it and if what
	 * stands there is the thread's id. It is not, if list_op_pending was not set yet or is cleared already, or has been used
	 * by the C library for a mutex meanwhile.
	 */
	atomic {
		BEGIN;
		must_tell = must_tell || inside == me;
#ifdef BOOKS
		died_with[me] = inside == me;
#endif
		inside = (inside == me -> 0 : inside);
		v = 0; i = 0; contended = 0; told = false; sections = 0;
		if
		:: pending[me] && (state & THREAD(me)) ->
			pending[me] = false;
			state = WORD(state) | RUNG | (state & BELL_WAITERS);
			if
			:: state & BELL_WAITERS
			:: else -> goto torn_down
			fi
		:: MAY_BE_DEAF || !(pending[me] && (state & THREAD(me))) -> pending[me] = false; goto torn_down
		fi
	};
	/* One of those that sleep for the bell is woken. Who sleeps for the word alone does not hear it. */
	if
	:: atomic { WAKE_ONE }
#ifndef BELL_ALONE
	:: true
#endif
	fi;
torn_down:
#ifdef THREADS
	atomic {
		n_ended = (me <= 2 -> n_ended + 1 : n_ended);
		if
		:: me <= 2 && n_ended < 2 -> moving--; goto end_finished	/* the other thread has them still */
		:: else
		fi
	};
#endif
gone:
	/* Its process's memory and descriptors go, and with them the mark. */
	atomic {
		held[NAME(me)] = false;
#ifndef NO_DAEMON
		due[NAME(me)] = VISIT; moving++;
#endif
		moving--
	};
	goto end_finished;
#ifdef THREADS
ended:
	/* The thread needs its lock no more. The last one of the process detaches the segment: */
	atomic {
		if
		:: me == 3 -> moving--; goto end_finished
		:: me <= 2 && n_ended == 0 -> n_ended = 1; moving--; goto end_finished
		:: else
		fi
	};
	/* lock_end_all(): the other thread may have died with it, and others have heard the bell as well. */
	STEP(
		if
		:: ID(state) == NAME(me)
		:: else -> goto detached
		fi);
#ifdef BROKEN_END_ALL
	STEP(ENTER(me));
#else
	/* take_from_thread() */
	STEP(
		if
		:: ID(state) == NAME(me) -> CLAIM; ENTER(me)
		:: else -> goto detached
		fi);
#endif
	/* end_section() */
	control_repair();
	STEP(state = 0; LEAVE(me));
	STEP(WAKE_ONE);
detached:
	goto gone;
#endif
end_finished:
	false
}

#define SWEPT(id)	if \
			:: due[id] == SWEEP -> due[id] = 0; moving-- \
			:: else \
			fi

/* The daemon counts a death once for a lock that the dead had, and never else. */
#ifdef BOOKS
#define COUNTED(is)	assert(died_with[dead] == (is)); noted[dead] = false
#else
#define COUNTED(is)
#endif

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
		:: ID(state) > CLIENTS && ID(state) != ID_POISON -> dead = ID(state); goto visit
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
		:: ID(state) == dead
		:: else -> goto missed
		fi);
	/* recovery_one(): control_claim(), control_finish(): control_repair(), and control_release() or control_poison() */
#ifdef BROKEN_LOOKED_TWICE
	STEP(i = ID(state));
#else
	i = dead;
#endif
	STEP(
		if
		:: ID(state) == i && i != 0 -> i = 0; CLAIM; ENTER(me); COUNTED(true)
		:: else -> i = 0; goto missed		/* CONTROL_E_OTHER: a waiter took over */
		fi);
	control_repair();
	END_CLAIM();
	goto visited;
missed:
#ifdef BOOKS
	/* control_was_taken(): counted and told as a recovery of the daemon's own is */
	STEP(COUNTED(noted[dead]));
#endif
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
		:: ID(state) == ID_POISON -> WAKE_ALL
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
		assert(state == 0 && CONSISTENT || state != 0 && !held[ID(state)])
#else
#ifdef POISON
		assert(state == 0 && CONSISTENT || ID(state) == ID_POISON)
#else
		assert(state == 0 && CONSISTENT && owner_died == must_tell)
#endif
#endif
	}
}
