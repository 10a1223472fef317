/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "client/control.c"

#include "daemon/guard.h"
#include "tests/sweep/pieces.h"

const char *const piece_names[PIECE_N] = {
	[PIECE_SECTION] = "section",
	[PIECE_ROLLED_BACK] = "section rolled back",
	[PIECE_BROKEN_UNLOCK] = "section that unlocks before it commits",
	[PIECE_BROKEN_PUBLISH] = "section that publishes before the entry's bytes",
	[PIECE_BROKEN_STORE] = "section that changes bytes before it logs them",
	[PIECE_DAEMON] = "daemon",
	[PIECE_AGAIN] = "daemon, again",
	[PIECE_HAND] = "by hand",
	[PIECE_LIBRARY_SECTION] = "libsegment's section",
	[PIECE_LIBRARY_ROLLBACK] = "libsegment's section, rolled back",
	[PIECE_LIBRARY_DETACH] = "libsegment's section, detached in it",
	[PIECE_LIBRARY_FORK] = "libsegment's section, a fork in it",
	[PIECE_LIBRARY_WAITER] = "libsegment's waiter",
	[PIECE_LIBRARY_TRY] = "libsegment's trylock",
	[PIECE_LIBRARY_LOCK] = "libsegment's lock",
	[PIECE_BROKEN_RECOVERY] = "daemon that empties the log before it restores",
	[PIECE_BROKEN_SECOND] = "the same, only after a dead recovery",
	[PIECE_BROKEN_THIRD] = "the same, only after two dead recoveries",
};

volatile uint32_t *piece_is_inside;

#define BOOK_OFFSET(field)	(FIELD_A_OFFSET + offsetof(struct piece_book, field))

/* An entry that is published before it is there. */
static void
log_too_early(const struct control_place *place, uint64_t offset_bytes, uint64_t length_bytes)
{
	uint32_t used_bytes = atomic_load(&place->lock->used_bytes);
	uint32_t size = (uint32_t)(round_up(length_bytes, CONTROL_ENTRY_UNIT) + sizeof(struct control_footer));

	atomic_store(&place->lock->used_bytes, used_bytes + size);
	KEEP_ORDER();
	memcpy(place->log + used_bytes, place->data + offset_bytes, length_bytes);
	memcpy(place->log + used_bytes + size - sizeof(struct control_footer),
	    &(struct control_footer){ .offset_bytes = offset_bytes, .length_bytes = (uint32_t)length_bytes },
	    sizeof(struct control_footer));
	KEEP_ORDER();
	control_open(place->lock);
}

/* The changes of a section, A held: overlapping ranges, the same bytes twice, B's section within. */
static inline __attribute__((always_inline)) void
change(const struct control_place places[FIELD_LOCKS], uint32_t id, enum field_contents to, enum piece piece)
{
	const struct control_place *a = &places[FIELD_A], *b = &places[FIELD_B];
	const struct piece_book *want = (const void *)field_bytes(FIELD_A, to);
	const struct piece_page *want_page = (const void *)field_bytes(FIELD_B, to);
	struct piece_book *book = (void *)(a->data + FIELD_A_OFFSET);
	struct piece_page *page = (void *)(b->data + FIELD_B_OFFSET);

	(void)control_log(a, BOOK_OFFSET(total), sizeof(book->total));
	book->total = want->total ^ 0x5555;
	if (piece == PIECE_BROKEN_STORE) {
		book->halves[0] = want->halves[0];
		KEEP_ORDER();
	}
	/* From the middle of what was just changed. */
	if (piece == PIECE_BROKEN_PUBLISH)
		log_too_early(a, BOOK_OFFSET(total) + 4, 28);
	else
		(void)control_log(a, BOOK_OFFSET(total) + 4, 28);
	book->halves[0] = want->halves[0];
	book->halves[1] = want->halves[1];
	book->halves[2] = want->halves[2];
	/* The same bytes again. */
	(void)control_log(a, BOOK_OFFSET(total), sizeof(book->total));
	book->total = want->total;
	if (control_try(b->lock, id, 0)) {
		(void)control_log(b, FIELD_B_OFFSET, 16);
		page->from = want_page->from;
		page->to = want_page->to;
		control_commit(b->lock);
		control_unlock(b->lock);
	}
}

/* What is undone by its owner: an odd length, the last bytes of the range, and more than the log has room for. */
static void
change_more(const struct control_place *a)
{
	struct piece_book *book = (void *)(a->data + FIELD_A_OFFSET);

	(void)control_log(a, BOOK_OFFSET(text), sizeof(book->text));
	memset(book->text, 'x', sizeof(book->text));
	if (control_log(a, FIELD_A_OFFSET, FIELD_A_BYTES) != -ENOSPC)
		abort();
	(void)control_log(a, BOOK_OFFSET(last), sizeof(book->last));
	book->last = 1;
}

void
piece_section(const struct control_place places[FIELD_LOCKS], uint32_t id, enum field_contents to)
{
	if (!control_try(places[FIELD_A].lock, id, 0))
		return;
	change(places, id, to, PIECE_SECTION);
	control_commit(places[FIELD_A].lock);
	control_unlock(places[FIELD_A].lock);
}

static void
section_of(const struct control_place places[FIELD_LOCKS], enum piece piece)
{
	struct control_lock *lock = places[FIELD_A].lock;

	if (!control_try(lock, FIELD_DEAD, 0))
		return;
	switch (piece) {
	case PIECE_ROLLED_BACK:
		change(places, FIELD_DEAD, FIELD_NEW, piece);
		change_more(&places[FIELD_A]);
		(void)control_undo(&places[FIELD_A], control_copy);
		break;
	case PIECE_BROKEN_UNLOCK:
		change(places, FIELD_DEAD, FIELD_NEW, piece);
		control_unlock(lock);
		control_commit(lock);
		return;
	case PIECE_BROKEN_PUBLISH:
		change(places, FIELD_DEAD, FIELD_NEW, PIECE_BROKEN_PUBLISH);
		control_commit(lock);
		break;
	default:
		change(places, FIELD_DEAD, FIELD_NEW, PIECE_BROKEN_STORE);
		control_commit(lock);
		break;
	}
	control_unlock(lock);
}

bool
piece_is_dead(uint32_t word)
{
	uint32_t id = word & CONTROL_ID_MASK;

	return id == FIELD_DEAD || id == FIELD_WAITER || id == FIELD_WAITER2 || id == FIELD_CLAIM || id == FIELD_CLAIM2;
}

static void
recover_by_daemon(const struct control_place *place)
{
	uint32_t word = control_word(atomic_load(&place->lock->state));
	uint32_t claim_id = (word & CONTROL_ID_MASK) == FIELD_CLAIM ? FIELD_CLAIM2 : FIELD_CLAIM;

	/* On the loop, what is undone is a copy of the log. */
	static _Alignas(CONTROL_ENTRY_UNIT) unsigned char log[FIELD_LOG_BYTES];
	struct control_place copied = *place;

	if (!piece_is_dead(word) || control_claim(place->lock, word & CONTROL_ID_MASK, claim_id))
		return;
	copied.is_copied = true;
	copied.copied_bytes = atomic_load_explicit(&place->lock->used_bytes, memory_order_acquire);
	if (copied.copied_bytes <= sizeof(log) && guard_copy(log, place->log, copied.copied_bytes) == 0)
		copied.log = log;
	(void)control_finish(&copied, claim_id, guard_copy);
}

static void
recover_again(const struct control_place *place)
{
	uint32_t id = control_word(atomic_load(&place->lock->state)) & CONTROL_ID_MASK;

	/* As a worker does it, where the log lies. */
	if (id == FIELD_CLAIM || id == FIELD_CLAIM2)
		(void)control_finish(place, id, guard_copy);
}

static void
recover_by_hand(const struct control_place *place)
{
	struct control_place by_hand = *place;

	by_hand.on_death = CONTROL_ROLLBACK;
	if (control_claim_poisoned(place->lock, FIELD_CLAIM))
		return;
	if (control_repair(&by_hand, guard_copy) == 0)
		(void)control_release(place->lock, FIELD_CLAIM);
	else
		(void)control_poison(place->lock, FIELD_CLAIM);
}

/* Is right but for the deaths of one: what it holds is emptied, and restored then. */
static void
recover_broken(const struct control_place *place, uint32_t of_id)
{
	uint32_t id = control_id(atomic_load(&place->lock->state));
	uint32_t claim_id = id == FIELD_CLAIM ? FIELD_CLAIM2 : FIELD_CLAIM;
	struct control_lock lock = { .used_bytes = atomic_load(&place->lock->used_bytes) };
	unsigned char log[FIELD_LOG_BYTES];
	struct control_place aside = *place;

	if (id != of_id) {
		recover_by_daemon(place);
		return;
	}
	if (control_claim(place->lock, id, claim_id))
		return;
	memcpy(log, place->log, sizeof(log));
	aside.lock = &lock;
	aside.log = log;
	control_commit(place->lock);
	(void)control_undo(&aside, control_copy);
	(void)atomic_fetch_or(&place->lock->marks, CONTROL_OWNER_DIED);
	(void)control_release(place->lock, claim_id);
}

static void
recover_broken_first(const struct control_place *place)
{
	recover_broken(place, FIELD_DEAD);
}

static void
recover_broken_second(const struct control_place *place)
{
	recover_broken(place, FIELD_CLAIM);
}

static void
recover_broken_third(const struct control_place *place)
{
	recover_broken(place, FIELD_CLAIM2);
}

void
piece_run(enum piece piece, const struct control_place places[FIELD_LOCKS])
{
	static void (*const recover[PIECE_N])(const struct control_place *) = {
		[PIECE_DAEMON] = recover_by_daemon,
		[PIECE_AGAIN] = recover_again,
		[PIECE_BROKEN_RECOVERY] = recover_broken_first,
		[PIECE_BROKEN_SECOND] = recover_broken_second,
		[PIECE_BROKEN_THIRD] = recover_broken_third,
		[PIECE_HAND] = recover_by_hand,
	};

	if (piece == PIECE_SECTION)
		piece_section(places, FIELD_DEAD, FIELD_NEW);
	else if (!recover[piece])
		section_of(places, piece);
	else
		for (int i = FIELD_A; i <= FIELD_B; i++)
			recover[piece](&places[i]);
}
