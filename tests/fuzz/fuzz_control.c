/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The algorithms on memory that others write, which daemon and library share: control memory, and applications' mutexes. The input is
 * that memory, what is called on it, and what hostile writers store in between, also in the middle of a call: whenever a recovery
 * copies something, the next of their stores is done.
 *
 * Whatever they do, nothing but the lock's own bytes is written, nothing outside the log is read, and no call says what it may not.
 * Where they do nothing meanwhile, what an undo restores is what a second implementation, in plain words, makes of the same log.
 */
#include "config.h"

#include <sys/mman.h>

#include "client/control.h"
#include "client/mutex.h"
#include "tests/fuzz/fuzz.h"

#define DATA_BYTES	8192	/* the last byte of it, and of the log, is the last of a page; what follows cannot be touched */
#define LOG_BYTES	4096
#define MUTEX_AT	512
#define OPS_MAX		32

enum op {
	OP_EXTENT,
	OP_UNDO,
	OP_REPAIR,
	OP_FINISH,
	OP_CLAIM,
	OP_TAKE_OVER,
	OP_TAKE_RUNG,
	OP_RELEASE,
	OP_POISON,
	OP_CLAIM_POISONED,
	OP_LOG,
	OP_COMMIT,
	OP_UNLOCK,
	OP_STORE,			/* a hostile writer's, now */
	OP_STORE_LATER,			/* at the next copy */
	OP_STORE_ENTRY,			/* a well formed entry at the end of the log */
	OP_MUTEX,
	OP_MUTEX_STORE,
	OP_N
};

/* What a hostile writer does when something is copied. */
struct store {
	bool is_due;
	uint16_t at;			/* in the record, the log or the mutex, one behind the other */
	uint32_t value;
};

static struct {
	unsigned char *data, *log;
	struct control_lock *lock;
	struct control_place place;
	unsigned char was[DATA_BYTES];	/* before the call */
	const unsigned char *write_from, *write_to;	/* where a copy may go */
	unsigned char *mutex;
	bool is_mutex;			/* that is called */
	struct store later;
	bool is_disturbed;		/* something was stored in the middle of the call */
	unsigned n_copies, fails_at;	/* that copy says that memory is not to be had; 0: none does */
} test;

static unsigned char *
map_before_a_wall(size_t bytes)
{
	unsigned char *at = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fuzz_check(at != MAP_FAILED && mprotect(at + bytes, 4096, PROT_NONE) == 0);
	return at;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	test.data = map_before_a_wall(DATA_BYTES);
	test.log = map_before_a_wall(LOG_BYTES);
	test.lock = (void *)(map_before_a_wall(4096) + 4096 - CONTROL_RECORD_BYTES);
	return 0;
}

static void
store(const struct store *store)
{
	size_t at = store->at % (CONTROL_RECORD_BYTES + test.place.log_bytes + MUTEX_BYTES);
	unsigned char *to;
	size_t left;

	if (at < CONTROL_RECORD_BYTES) {
		to = (unsigned char *)test.lock + at;
		left = CONTROL_RECORD_BYTES - at;
	} else if (at < CONTROL_RECORD_BYTES + test.place.log_bytes) {
		to = test.place.log + at - CONTROL_RECORD_BYTES;
		left = test.place.log_bytes - (at - CONTROL_RECORD_BYTES);
	} else {
		to = test.mutex + at - CONTROL_RECORD_BYTES - test.place.log_bytes;
		left = MUTEX_BYTES - (size_t)(to - test.mutex);
	}
	memcpy(to, &store->value, (size_t)min_u64(left, sizeof(store->value)));
	if (to >= test.mutex && to < test.mutex + MUTEX_BYTES)
		memcpy(test.was + MUTEX_AT, test.mutex, MUTEX_BYTES);
}

/* As the daemon's, which survives memory that is not there; looks where it is sent, and lets the writers in. */
static int
copy(void *to, const void *from, size_t length)
{
	const unsigned char *at = to, *source = from;
	bool is_data = at + length > test.data && at < test.data + DATA_BYTES;
	bool is_log = source >= test.place.log && source + length <= test.place.log + test.place.log_bytes;

	/* Of nothing it does not matter where it is. */
	if (length == 0)
		return 0;
	if (is_data)
		fuzz_check(at >= test.write_from && at + length <= test.write_to);
	else
		fuzz_check(length == sizeof(struct control_footer) || length == MUTEX_BYTES);
	if (source + length > test.log && source < test.log + LOG_BYTES)
		fuzz_check(is_log && !test.is_mutex);
	if (++test.n_copies == test.fails_at)
		return -EFAULT;
	memcpy(to, from, length);
	if (test.later.is_due) {
		store(&test.later);
		test.later.is_due = false;
		test.is_disturbed = true;
	}
	return 0;
}

/* An undo in plain words: on a private copy of log and data. False: the log is none. */
static bool
undo_by_hand(const struct control_place *place, unsigned char *data)
{
	uint32_t used_bytes = atomic_load(&place->lock->used_bytes);
	struct control_footer footer;

	if (place->is_copied)
		used_bytes = place->copied_bytes;
	if (used_bytes > place->log_bytes || used_bytes % 8)
		return false;
	for (int applies = 0; applies < 2; applies++) {
		int64_t end = used_bytes;

		while (end > 0) {
			uint64_t padded;

			if (end < 16)
				return false;
			memcpy(&footer, place->log + end - 16, 16);
			padded = ((uint64_t)footer.length_bytes + 7) / 8 * 8;
			if (footer.zero || padded > (uint64_t)end - 16)
				return false;
			if (footer.offset_bytes < place->offset_bytes || footer.offset_bytes > UINT64_MAX - footer.length_bytes ||
			    footer.offset_bytes + footer.length_bytes > place->offset_bytes + place->length_bytes)
				return false;
			end -= 16 + (int64_t)padded;
			if (applies)
				memcpy(data + footer.offset_bytes, place->log + end, footer.length_bytes);
		}
	}
	return true;
}

static void
begin_call(bool is_mutex)
{
	memcpy(test.was, test.data, DATA_BYTES);
	test.is_mutex = is_mutex;
	test.is_disturbed = false;
	test.n_copies = 0;
	test.write_from = test.data + test.place.offset_bytes;
	test.write_to = test.write_from + test.place.length_bytes;
}

/* Nothing but [write_from, write_to) has changed, and of a mutex its word. */
static void
end_call(void)
{
	size_t from = (size_t)(test.write_from - test.data), to = (size_t)(test.write_to - test.data);
	uint32_t word = mutex_word(test.mutex);

	if (test.is_mutex)
		memcpy(test.was + MUTEX_AT, &word, sizeof(word));
	fuzz_check(memcmp(test.was, test.data, from) == 0);
	fuzz_check(memcmp(test.was + to, test.data + to, DATA_BYTES - to) == 0);
	test.later.is_due = false;
	test.fails_at = 0;
}

static void
call_undo(enum op op, uint32_t claim_id)
{
	unsigned char expected[DATA_BYTES];
	enum control_on_death on_death = op == OP_UNDO ? CONTROL_ROLLBACK : test.place.on_death;
	uint32_t word_id = control_id(atomic_load(&test.lock->state));
	bool is_log, had_copies = test.fails_at != 0;
	int r;

	memcpy(expected, test.data, DATA_BYTES);
	is_log = undo_by_hand(&test.place, expected);
	begin_call(false);
	if (op == OP_UNDO)
		r = control_undo(&test.place, copy);
	else if (op == OP_REPAIR)
		r = control_repair(&test.place, copy);
	else
		r = control_finish(&test.place, claim_id, copy);
	fuzz_check(r == 0 || (r == -EFAULT && had_copies) || (r == -EBADMSG && op == OP_UNDO) || (r == CONTROL_E_POISONED && op != OP_UNDO) ||
	    (op == OP_FINISH && (r == CONTROL_E_OTHER || r == CONTROL_E_BUSY)));
	if (!test.is_disturbed && r != -EFAULT && on_death == CONTROL_ROLLBACK) {
		/* All of it or nothing. */
		fuzz_check(memcmp(is_log ? expected : test.was, test.data, DATA_BYTES) == 0);
		fuzz_check(op == OP_FINISH || is_log == (r == 0));
		if (op == OP_FINISH && word_id == claim_id)
			fuzz_check(r == (is_log ? 0 : CONTROL_E_POISONED));
	}
	if (!test.is_disturbed && r == 0)
		fuzz_check(atomic_load(&test.lock->used_bytes) == 0 && atomic_load(&test.lock->sequence) % 2 == 0);
	end_call();
}

static void
call_extent(void)
{
	uint64_t from = 0, to = 0;
	int r;

	begin_call(false);
	test.write_to = test.write_from;
	r = control_extent(&test.place, copy, &from, &to);
	fuzz_check(r == 0 || r == -EBADMSG || r == -EFAULT);
	if (r == 0 && to)
		fuzz_check(from >= test.place.offset_bytes && from < to && to <= test.place.offset_bytes + test.place.length_bytes);
	end_call();
}

static void
call_mutex(struct fuzz_input *input)
{
	uint32_t thread = fuzz_u32(input), before = mutex_word(test.mutex);
	struct mutex_death death = {
		.mutex = test.mutex, .thread = thread & 1 ? thread >> 1 & MUTEX_ID_MASK : before & MUTEX_ID_MASK,
		.on_death = fuzz_u8(input) & 1 ? CONTROL_ZERO : CONTROL_KEEP,
		.range = test.data + test.place.offset_bytes, .range_bytes = test.place.length_bytes, .copy = copy,
	};
	bool is_zeroed = death.on_death == CONTROL_ZERO;
	enum mutex_kind kind;
	int r;

	begin_call(true);
	if (!is_zeroed)
		test.write_to = test.write_from;
	kind = mutex_kind_of(test.mutex);
	fuzz_check(mutex_kind_text(kind));
	r = mutex_recover(&death);
	fuzz_check(r == 0 || r == -EFAULT || (r >= MUTEX_E_MARKED && r <= MUTEX_E_REFUSED));
	/* The mutex itself is no part of what it protects, however they lie. */
	fuzz_check(memcmp(test.was + MUTEX_AT + 4, test.mutex + 4, MUTEX_BYTES - 4) == 0);
	if (kind != MUTEX_GOOD && !test.is_disturbed)
		fuzz_check(mutex_word(test.mutex) == before);
	if (r == MUTEX_E_RECOVERED && !test.is_disturbed)
		fuzz_check((mutex_word(test.mutex) & ~MUTEX_WAITERS) == MUTEX_OWNER_DIED);
	end_call();
}

static void
call_log(struct fuzz_input *input)
{
	/* The caller has checked that the range is the lock's. */
	uint64_t at = fuzz_below(input, (uint32_t)test.place.length_bytes + 1);
	uint64_t length = fuzz_below(input, (uint32_t)(test.place.length_bytes - at) + 1);
	int r;

	begin_call(false);
	test.write_to = test.write_from;
	r = control_log(&test.place, test.place.offset_bytes + at, length);
	fuzz_check(r == 0 || r == -ENOSPC);
	fuzz_check(r || atomic_load(&test.lock->used_bytes) <= test.place.log_bytes);
	end_call();
	if (r == 0 && !test.place.is_copied)
		memset(test.data + test.place.offset_bytes + at, fuzz_u8(input), length);
}

/* So that logs are good more often than chance would have it. */
static void
store_entry(struct fuzz_input *input)
{
	uint32_t used_bytes = atomic_load(&test.lock->used_bytes);
	uint32_t length = fuzz_u8(input);
	struct control_footer footer = { .length_bytes = length };
	uint32_t size = (uint32_t)round_up(length, CONTROL_ENTRY_UNIT) + (uint32_t)sizeof(footer);

	footer.offset_bytes = test.place.offset_bytes + fuzz_u16(input) % (test.place.length_bytes + 16);
	if (used_bytes > test.place.log_bytes || size > test.place.log_bytes - used_bytes)
		return;
	memcpy(test.place.log + used_bytes + size - sizeof(footer), &footer, sizeof(footer));
	atomic_store(&test.lock->used_bytes, used_bytes + size);
}

static void
call_word(enum op op, struct fuzz_input *input)
{
	uint64_t state = atomic_load(&test.lock->state);
	uint8_t choice = fuzz_u8(input);
	uint32_t id = choice & 1 ? control_id(state) : choice & 2 ? 7 : fuzz_u32(input) & CONTROL_ID_MASK, own = 9 + (choice >> 6);
	int r = 0;

	begin_call(false);
	test.write_to = test.write_from;
	if (op == OP_CLAIM)
		r = control_claim(test.lock, id, own);
	else if (op == OP_TAKE_OVER)
		r = control_take_over(test.lock, id, own, choice & 4 ? 77 : 0);
	else if (op == OP_RELEASE)
		r = control_release(test.lock, id);
	else if (op == OP_POISON)
		r = control_poison(test.lock, id);
	else if (op == OP_CLAIM_POISONED)
		r = control_claim_poisoned(test.lock, own);
	else if (op == OP_UNLOCK)
		control_unlock(test.lock);
	else if (op == OP_COMMIT)
		control_commit(test.lock);
	else if (op == OP_TAKE_RUNG && control_is_rung(state))
		fuzz_check(control_take_rung(test.lock, state, own, 0) && control_id(atomic_load(&test.lock->state)) == own);
	/* Nobody is there to change a word under it. */
	fuzz_check(r == 0 || (r == CONTROL_E_OTHER && control_id(state) != (op == OP_CLAIM_POISONED ? CONTROL_ID_POISON : id)));
	if (r == 0 && (op == OP_CLAIM || op == OP_TAKE_OVER || op == OP_CLAIM_POISONED))
		fuzz_check(control_id(atomic_load(&test.lock->state)) == own);
	(void)control_was_taken(test.lock, id);
	end_call();
}

static void
run(enum op op, struct fuzz_input *input)
{
	struct store now;

	switch (op) {
	case OP_EXTENT:
		call_extent();
		break;
	case OP_UNDO:
	case OP_REPAIR:
	case OP_FINISH:
		test.fails_at = fuzz_u8(input) % 32;
		call_undo(op, fuzz_u8(input) & 1 ? 9 : control_id(atomic_load(&test.lock->state)));
		break;
	case OP_LOG:
		call_log(input);
		break;
	case OP_STORE:
	case OP_STORE_LATER:
		now = (struct store) { .is_due = true, .at = fuzz_u16(input), .value = fuzz_u32(input) };
		if (op == OP_STORE)
			store(&now);
		else
			test.later = now;
		break;
	case OP_STORE_ENTRY:
		store_entry(input);
		break;
	case OP_MUTEX:
		call_mutex(input);
		break;
	case OP_MUTEX_STORE:
		/* One that can be recovered, held by whomever. */
		fuzz_check(mutex_make(test.mutex) == 0);
		now.value = fuzz_u32(input);
		memcpy(test.mutex, &now.value, sizeof(now.value));
		break;
	default:
		call_word(op, input);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { .at = data, .left = size };

	memset(test.data, 0x5a, DATA_BYTES);
	test.mutex = test.data + MUTEX_AT;
	test.later.is_due = false;
	test.place = (struct control_place) { .lock = test.lock, .data = test.data };
	test.place.offset_bytes = fuzz_u16(&input) % DATA_BYTES;
	test.place.length_bytes = 1 + fuzz_u16(&input) % (DATA_BYTES - test.place.offset_bytes);
	test.place.on_death = fuzz_u8(&input) % CONTROL_ON_DEATH_N;
	test.place.log_bytes = fuzz_u16(&input) % (LOG_BYTES + 1) / CONTROL_ENTRY_UNIT * CONTROL_ENTRY_UNIT;
	test.place.log = test.log + LOG_BYTES - test.place.log_bytes;
	test.place.is_copied = fuzz_u8(&input) % 8 == 1;
	test.place.copied_bytes = test.place.is_copied ? fuzz_u16(&input) : 0;
	(void)fuzz_bytes(&input, test.lock, CONTROL_RECORD_BYTES);
	if (fuzz_u8(&input) & 1)
		(void)fuzz_bytes(&input, test.mutex, MUTEX_BYTES);
	(void)fuzz_bytes(&input, test.log, fuzz_below(&input, 256));
	if (test.place.log_bytes)
		memmove(test.place.log, test.log, min_u64(256, test.place.log_bytes));
	for (unsigned i = 0; i < OPS_MAX && input.left; i++)
		run(fuzz_u8(&input) % OP_N, &input);
	return 0;
}
