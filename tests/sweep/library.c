/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "client/lock.h"
#include "tests/sweep/common.h"
#include "tests/sweep/library.h"

#define CLIENTS	(FIELD_FRESH + 1)

struct client {
	struct segment_lock locks[FIELD_LOCKS];
	char name[1];			/* of each lock: empty */
	struct segment segment;
};

static struct client *clients;	/* by id; shared, so that it is made anew for a stepped child, too */
static int data_fd = -1, live_fd = -1;

/* What lock.c wants of the rest of the library. Nothing is forked, and nobody reads the sentences. */
struct control_lock lock_none = { .state = CONTROL_STATE(CONTROL_ID_POISON, 0), .sequence = 1 };

uint64_t
client_forks(void)
{
	return 0;
}

int
error_set(int r, const char *format, ...)
{
	(void)format;
	return r;
}

int
library_init(void)
{
	struct flock mark = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE + FIELD_LIVE, .l_len = 1,
	};
	char path[40];

	clients = mmap(NULL, CLIENTS * sizeof(*clients), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (clients == MAP_FAILED)
		return -errno;
	data_fd = memfd_create("sweep", MFD_CLOEXEC);
	if (data_fd < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", data_fd);
	live_fd = open(path, O_RDWR | O_CLOEXEC);
	if (live_fd < 0 || fcntl(live_fd, F_OFD_SETLK, &mark))
		return -errno;
	/* What is found once is found here: or the first of several runs of the same would have more positions. */
	(void)lock_spins();
	return lock_thread_register();
}

void
library_prepare(struct field *field, enum control_on_death on_death)
{
	struct control_place places[FIELD_LOCKS];

	field_places(field, on_death, places);
	for (uint32_t id = 0; id < CLIENTS; id++) {
		struct client *client = &clients[id];

		memset(client, 0, sizeof(*client));
		for (int i = 0; i < FIELD_LOCKS; i++)
			memcpy(&client->locks[i].place, &places[i], sizeof(places[i]));
		client->segment = (struct segment){
			.locks = client->locks, .lock_names = client->name, .attachment = id,
			.n_locks = FIELD_LOCKS, .n_lockable = FIELD_LOCKS, .n_readable = FIELD_LOCKS,
			.control = field->locks, .data = field->data, .size_bytes = FIELD_DATA_BYTES, .fd = data_fd,
		};
	}
}

struct segment *
library_segment(uint32_t id)
{
	return &clients[id].segment;
}

void
library_child(void)
{
	lock_thread.is_registered = false;
	if (lock_thread_register() < 0)
		abort();
}

uintptr_t
library_pending_address(void)
{
	return (uintptr_t)&lock_thread.head->list_op_pending;
}

uintptr_t
library_pending(void)
{
	return (uintptr_t)__atomic_load_n(&lock_thread.head->list_op_pending, __ATOMIC_RELAXED);
}

uint32_t
library_tid(void)
{
	return lock_thread.tid;
}

bool
library_ring(struct field *left, uintptr_t pending, uint32_t tid)
{
	for (int i = 0; i < FIELD_LOCKS; i++) {
		uint64_t state = atomic_load(&left->locks[i].state);
		uint32_t bell = control_bell(state);

		if (pending + (uintptr_t)lock_thread.head->futex_offset !=
		    (uintptr_t)control_bell_futex(&common->field->locks[i]) || (bell & CONTROL_ID_MASK) != tid)
			continue;
		atomic_store(&left->locks[i].state, CONTROL_STATE(control_word(state), (bell & CONTROL_WAITERS) | CONTROL_DIED));
		return true;
	}
	return false;
}

void
library_hide_tid(struct field *left, uint32_t tid)
{
	for (int i = 0; i < FIELD_LOCKS; i++) {
		uint64_t state = atomic_load(&left->locks[i].state);
		uint32_t bell = control_bell(state);

		if (tid && (bell & CONTROL_ID_MASK) == tid)
			atomic_store(&left->locks[i].state, CONTROL_STATE(control_word(state), (bell & ~CONTROL_ID_MASK) | FIELD_TID));
	}
}

/* The child dies of it, and the sweep says where. */
static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* As PIECE_SECTION, A held. */
static void
change(struct segment *segment, unsigned char *data)
{
	const struct piece_book *want = (const void *)field_bytes(FIELD_A, FIELD_NEW);
	struct piece_book *book = (void *)(data + FIELD_A_OFFSET);

	must(segment_modify(segment, FIELD_A, &book->total, sizeof(book->total)) == 0);
	book->total = want->total ^ 0x5555;
	must(segment_modify(segment, FIELD_A, (char *)&book->total + 4, 28) == 0);
	book->halves[0] = want->halves[0];
	book->halves[1] = want->halves[1];
	book->halves[2] = want->halves[2];
	must(segment_set(segment, FIELD_A, &book->total, &want->total, sizeof(book->total)) == 0);
	must(segment_lock(segment, FIELD_B) == 0);
	(void)segment_recovered(segment, FIELD_B);
	must(segment_set(segment, FIELD_B, data + FIELD_B_OFFSET, field_bytes(FIELD_B, FIELD_NEW), 16) == 0);
	must(segment_unlock(segment, FIELD_B) == 0);
}

/* What is refused changes nothing. */
static void
be_refused(struct segment *segment, unsigned char *data)
{
	must(segment_modify(segment, FIELD_A, data + FIELD_A_OFFSET, FIELD_A_BYTES) == -ENOSPC);
	must(segment_modify(segment, FIELD_A, data + FIELD_B_OFFSET, 8) == -ERANGE);
	must(segment_modify(segment, FIELD_B, data + FIELD_B_OFFSET, 8) == -EPERM);
	must(segment_lock(segment, FIELD_A) == -EDEADLK);
	must(segment_trylock(segment, FIELD_C) == -EBUSY);
}

/* What the handlers do around a fork: in between nothing points to the bell, of which a child would get a copy. */
static void
fork_in(struct segment *segment)
{
	uintptr_t pending = library_pending();

	must(pending && lock_is_held(&segment->locks[FIELD_A]));
	lock_fork_prepare();
	must(!library_pending());
	lock_fork_parent();
	must(library_pending() == pending);
}

static void
section(enum piece piece)
{
	struct segment *segment = library_segment(FIELD_DEAD);
	unsigned char *data = segment->data;

	if (piece == PIECE_LIBRARY_FORK)
		lock_list_add(segment);
	must(segment_lock(segment, FIELD_A) == 0);
	(void)segment_recovered(segment, FIELD_A);
	change(segment, data);
	switch (piece) {
	case PIECE_LIBRARY_SECTION:
		must(segment_unlock(segment, FIELD_A) == 0);
		break;
	case PIECE_LIBRARY_FORK:
		fork_in(segment);
		must(segment_unlock(segment, FIELD_A) == 0);
		lock_list_remove(segment);
		break;
	case PIECE_LIBRARY_ROLLBACK:
		be_refused(segment, data);
		must(segment_rollback(segment, FIELD_A) == 0);
		break;
	default:
		lock_end_all(segment);
		break;
	}
}

/* Somebody who wants a lock, finds its owner dead, and has it then: who does so twice takes it from itself. */
static void
take_over(const struct field *field, int lock, bool is_trying)
{
	uint32_t word = control_word(atomic_load(&field->locks[lock].state));
	uint32_t id = (word & CONTROL_ID_MASK) == FIELD_WAITER ? FIELD_WAITER2 : FIELD_WAITER;
	struct segment *segment = library_segment(id);
	int r;

	if (!piece_is_dead(word) || (is_trying && !control_is_rung(atomic_load(&field->locks[lock].state))))
		return;
	r = is_trying ? segment_trylock(segment, lock) : segment_lock(segment, lock);
	if (r == -ENOTRECOVERABLE)
		return;
	must(r == 0 && segment_recovered(segment, lock));
	if (id == FIELD_WAITER && lock == FIELD_B) {
		*piece_is_inside = 1;
		must(segment_set(segment, lock, (unsigned char *)segment->data + FIELD_B_OFFSET,
			field_bytes(FIELD_B, FIELD_OTHERS), 16) == 0);
	}
	must(segment_unlock(segment, lock) == 0);
}

void
library_run(enum piece piece, const struct field *field)
{
	struct segment *segment = library_segment(FIELD_WAITER);

	switch (piece) {
	case PIECE_LIBRARY_WAITER:
	case PIECE_LIBRARY_TRY:
		take_over(field, FIELD_A, piece == PIECE_LIBRARY_TRY);
		take_over(field, FIELD_B, piece == PIECE_LIBRARY_TRY);
		break;
	case PIECE_LIBRARY_LOCK:
		must(segment_lock(segment, FIELD_A) == 0);
		must(segment_unlock(segment, FIELD_A) == 0);
		break;
	default:
		section(piece);
		break;
	}
}
