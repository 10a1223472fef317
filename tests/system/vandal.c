/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Vandals and citizens: see vandal.h. */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "client/segment.h"
#include "tests/harness_locks.h"
#include "tests/system/bank.h"
#include "tests/system/vandal.h"

#define PAGE		4096
#define N_LOCKS		5
#define FLIPS		20000
#define PRIVATE_PAGES	16
#define BUFFER_PAGE	8		/* of them: what goes to the segment and comes from there */
#define PATTERN		0x5a
#define LENGTH_MAX	1500		/* of a modification: three of them are too much for an undo log */

/* A log behind whose bytes no others are mapped, and a lock that is more than the daemon repairs itself. */
const char vandal_definition[] =
    "{ name = \"arena\"; size = \"8MiB\"; mlock = false; mode = \"0666\"; locks = (\n"
    "\t{ name = \"book\"; offset = \"4KiB\"; length = \"4KiB\"; undo = \"4KiB\"; },\n"
    "\t{ name = \"keep\"; offset = \"12KiB\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"keep\"; },\n"
    "\t{ name = \"zero\"; offset = \"20KiB\"; length = \"4KiB\"; undo = \"0\"; on_death = \"zero\"; },\n"
    "\t{ name = \"wide\"; offset = \"8128KiB\"; length = \"64KiB\"; undo = \"128KiB\"; },\n"
    "\t{ name = \"vast\"; offset = \"1MiB\"; length = \"6MiB\"; undo = \"4KiB\"; on_death = \"zero\"; } ); }";

struct vandal {
	struct harness_segment segment;
	uint64_t random;
};

static uint64_t
draw64(uint64_t *random)
{
	/* splitmix64 */
	uint64_t x = *random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t
draw(uint64_t *random, uint64_t below)
{
	return draw64(random) % below;
}

/* The vandal's side. */

static struct control_lock *
some_lock(struct vandal *vandal, unsigned *ret_index)
{
	*ret_index = (unsigned)draw(&vandal->random, vandal->segment.attached.n_locks);
	return (struct control_lock *)(void *)vandal->segment.control + *ret_index;
}

/* Its own, somebody's who may live or have lived, somebody's to come, and those that are nobody's. */
static uint32_t
some_word(struct vandal *vandal)
{
	uint32_t own = vandal->segment.attached.attachment, id;

	switch (draw(&vandal->random, 8)) {
	case 0:
		id = own;
		break;
	case 1:
		id = own + 1 + (uint32_t)draw(&vandal->random, 1000);
		break;
	case 2:
		id = CONTROL_ID_POISON - (uint32_t)draw(&vandal->random, 3);
		break;
	case 3:
		id = 0;
		break;
	case 4:
		id = (uint32_t)draw64(&vandal->random);
		break;
	default:
		id = 1 + (uint32_t)draw(&vandal->random, own + 8);
		break;
	}
	return id ^ (draw(&vandal->random, 2) ? CONTROL_WAITERS : 0);
}

/* A bell that was rung, or was not, or never could be: threads that live, or have lived, of whatever pid namespace. */
static uint32_t
some_bell(struct vandal *vandal)
{
	uint32_t tid = (uint32_t)getpid();

	switch (draw(&vandal->random, 5)) {
	case 0:
		tid = 0;
		break;
	case 1:
		tid = CONTROL_DIED;
		break;
	case 2:
		tid = (uint32_t)draw64(&vandal->random);
		break;
	default:
		tid = tid - 8 + (uint32_t)draw(&vandal->random, 16);
		break;
	}
	return tid ^ (draw(&vandal->random, 2) ? CONTROL_WAITERS : 0);
}

static uint64_t
some_state(struct vandal *vandal)
{
	uint32_t word = some_word(vandal);

	return CONTROL_STATE(word, some_bell(vandal));
}

static void
scribble(struct vandal *vandal)
{
	for (int i = 0; i < 256; i++)
		vandal->segment.control[draw(&vandal->random, vandal->segment.attached.control_bytes)] =
		    (unsigned char)draw64(&vandal->random);
}

static void
flood(struct vandal *vandal)
{
	memset(vandal->segment.control, (int)draw(&vandal->random, 256), vandal->segment.attached.control_bytes);
}

static void
name_somebody(struct vandal *vandal)
{
	unsigned index;

	atomic_store(&some_lock(vandal, &index)->state, some_state(vandal));
}

static void
turn_the_sequence(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);

	atomic_store(&lock->sequence, (uint32_t)draw64(&vandal->random));
	atomic_store(&lock->marks, (uint32_t)draw64(&vandal->random));
}

static void
claim_a_long_log(struct vandal *vandal)
{
	static const uint32_t lengths[] = { UINT32_MAX, UINT32_MAX - 7, 0x7ffffff8, 0x80000000, 1, 8, 16, 24 };
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);
	uint32_t log_bytes = vandal->segment.locks[index].log_bytes;

	atomic_store(&lock->used_bytes, draw(&vandal->random, 2) ? lengths[draw(&vandal->random, BASE_ARRAY_SIZE(lengths))] :
	    log_bytes - 16 + 8 * (uint32_t)draw(&vandal->random, 5));
}

/* An entry that is right but for one thing, or quite right: an undo would write there. */
static void
forge_an_entry(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);
	const struct protocol_lock *row = &vandal->segment.locks[index];
	uint64_t end = row->offset_bytes + row->length_bytes, size = vandal->segment.attached.size_bytes;
	const uint64_t offsets[] = { 0, row->offset_bytes, row->offset_bytes - 8, end - 8, end, end + 8, size - 8, size,
		UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, -row->offset_bytes };
	uint32_t at = row->log_bytes < 16 ? 0 : 8 * (uint32_t)draw(&vandal->random, (row->log_bytes - 16) / 8 + 1);
	/* All that stands before it is the most that can be taken for its bytes. */
	const uint32_t lengths[] = { 0, 1, 16, at, at, at / 2, at + 1, UINT32_MAX, UINT32_MAX - 7, UINT32_MAX - 15,
		(uint32_t)row->length_bytes, (uint32_t)row->length_bytes + 1, 0x80000000 };
	struct control_footer footer = {
		.offset_bytes = offsets[draw(&vandal->random, BASE_ARRAY_SIZE(offsets))],
		.length_bytes = lengths[draw(&vandal->random, BASE_ARRAY_SIZE(lengths))],
		.zero = draw(&vandal->random, 8) == 0,
	};

	if (row->log_bytes < sizeof(footer))
		return;
	memcpy(vandal->segment.control + row->at_bytes + at, &footer, sizeof(footer));
	atomic_store(&lock->used_bytes, at + (uint32_t)sizeof(footer));
}

/* As many entries as there can be, of no bytes each. */
static void
forge_many_entries(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);
	const struct protocol_lock *row = &vandal->segment.locks[index];
	struct control_footer footer = { .offset_bytes = row->offset_bytes };

	for (uint32_t at = 0; at + sizeof(footer) <= row->log_bytes; at += (uint32_t)sizeof(footer))
		memcpy(vandal->segment.control + row->at_bytes + at, &footer, sizeof(footer));
	atomic_store(&lock->used_bytes, row->log_bytes / 16 * 16);
}

/* The owner may be alive or dead: whoever waits is told that it is dead. */
static void
ring_the_bell(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);

	atomic_store(&lock->state, CONTROL_STATE(control_word(atomic_load(&lock->state)), CONTROL_DIED | CONTROL_WAITERS));
	(void)syscall(SYS_futex, control_bell_futex(lock), FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* What the daemon's books rest on. */
static void
name_the_robbed(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);

	for (int i = 0; i < CONTROL_TAKEN_N; i++)
		atomic_store(&lock->taken[i], some_word(vandal));
	atomic_store(&lock->taken_n, (uint32_t)draw64(&vandal->random));
}

/* Between what others have looked at and what they do then. */
static void
flip_the_state(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);
	uint64_t states[4] = { atomic_load(&lock->state), some_state(vandal), 0, some_state(vandal) };

	for (int i = 0; i < FLIPS; i++)
		atomic_store_explicit(&lock->state, states[i % 4], memory_order_relaxed);
}

static void
flip_an_entry(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);
	const struct protocol_lock *row = &vandal->segment.locks[index];
	volatile struct control_footer *footer = (void *)(vandal->segment.control + row->at_bytes + 8);

	if (row->log_bytes < 24)
		return;
	footer->offset_bytes = row->offset_bytes;
	footer->zero = 0;
	for (int i = 0; i < FLIPS; i++) {
		footer->length_bytes = i % 3 ? 8 : UINT32_MAX - 15;
		footer->offset_bytes = row->offset_bytes + (i % 5 ? 0 : UINT64_C(1) << 40);
		atomic_store_explicit(&lock->used_bytes, i % 7 ? 24 : row->log_bytes + 4096, memory_order_relaxed);
	}
}

static void
punch_holes(struct vandal *vandal)
{
	const struct protocol_attached *attached = &vandal->segment.attached;
	off_t control_at = (off_t)(PAGE * draw(&vandal->random, attached->control_bytes / PAGE + 1));
	off_t data_at = (off_t)(PAGE * draw(&vandal->random, attached->size_bytes / PAGE));

	(void)fallocate(vandal->segment.control_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, control_at, 2 * PAGE);
	(void)fallocate(vandal->segment.data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, data_at, 512 * PAGE);
	(void)madvise(vandal->segment.control, PAGE, MADV_REMOVE);
	(void)madvise(vandal->segment.data, 32 * PAGE, MADV_REMOVE);
}

static void
wake_everybody(struct vandal *vandal)
{
	unsigned index;
	struct control_lock *lock = some_lock(vandal, &index);

	for (int i = 0; i < 100; i++)
		(void)syscall(SYS_futex, i % 2 ? control_bell_futex(lock) : control_word_futex(lock), FUTEX_WAKE, INT_MAX, NULL,
		    NULL, 0);
}

/* In the way of everybody's marks, and out of it. */
static void
disturb_marks(struct vandal *vandal)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct flock lock = {
		.l_type = types[draw(&vandal->random, BASE_ARRAY_SIZE(types))],
		.l_whence = SEEK_SET,
		.l_start = PROTOCOL_MARK_BASE + (off_t)draw(&vandal->random, 2000),
		.l_len = 1 + (off_t)draw(&vandal->random, 2000),
	};

	(void)fcntl(vandal->segment.data_fd, F_OFD_SETLK, &lock);
}

static void (*const strokes[])(struct vandal *vandal) = {
	scribble, flood, name_somebody, name_somebody, turn_the_sequence, claim_a_long_log, forge_an_entry, forge_an_entry,
	forge_many_entries, flip_the_state, flip_the_state, ring_the_bell, ring_the_bell, name_the_robbed, flip_an_entry, punch_holes, wake_everybody, disturb_marks,
};

/* What would be more than contents and locks. */
static void
try_what_is_forbidden(const struct harness_segment *segment)
{
	const int fds[] = { segment->data_fd, segment->control_fd };

	for (unsigned i = 0; i < BASE_ARRAY_SIZE(fds); i++) {
		harness_assert(ftruncate(fds[i], 0) != 0, "object %u could be shrunk", i);
		harness_assert(ftruncate(fds[i], (off_t)1 << 40) != 0, "object %u could grow", i);
		harness_assert(fcntl(fds[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0, "object %u could be sealed", i);
		harness_assert(fchmod(fds[i], 0666) != 0, "the mode of object %u could be changed", i);
	}
}

static void
run_vandal(int control, void *arg)
{
	struct vandal_scene *scene = *(struct vandal_scene **)arg;
	struct vandal vandal = { .random = scene->seed + (uint64_t)getpid() };
	struct harness_conn conn;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, scene->socket);
	harness_segment_open(&conn, scene->name, &vandal.segment);
	try_what_is_forbidden(&vandal.segment);
	harness_say(control, "here");
	for (;;) {
		strokes[draw(&vandal.random, BASE_ARRAY_SIZE(strokes))](&vandal);
		atomic_fetch_add_explicit(&scene->n_strokes, 1, memory_order_relaxed);
	}
}

/* The citizen's side. */

struct citizen {
	struct vandal_scene *scene;
	struct vandal_seat *seat;
	struct segment_client *client;
	struct segment *segment;
	unsigned char *memory;		/* PRIVATE_PAGES of it */
	uint64_t random;
};

static const struct {
	const char *name;
	size_t offset_bytes;
	size_t length_bytes;
} ranges[N_LOCKS] = {
	{ "book", 4 * KIB, 4 * KIB }, { "keep", 12 * KIB, 4 * KIB }, { "zero", 20 * KIB, 4 * KIB },
	{ "wide", 8128 * KIB, 64 * KIB }, { "vast", MIB, 6 * MIB },
};

/* Nothing but the buffer has ever been anybody's to write. */
static void
expect_intact(const struct citizen *citizen)
{
	for (size_t i = 0; i < (size_t)PRIVATE_PAGES * PAGE; i++)
		harness_assert(i / PAGE == BUFFER_PAGE || citizen->memory[i] == PATTERN,
		    "byte %zu of a citizen's own memory was changed", i);
}

static void
count(_Atomic uint64_t *figure)
{
	atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + 1, memory_order_relaxed);
}

static int
lock_somehow(struct citizen *citizen, int lock)
{
	uint64_t until_ns = clock_monotonic_ns() + draw(&citizen->random, 20 * NS_PER_MS);
	struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC) };
	int r = draw(&citizen->random, 4) ? segment_timedlock(citizen->segment, lock, &until) :
	    segment_trylock(citizen->segment, lock);

	/* -ENOLCK: attached while a vandal's lock was in the way of its mark. */
	harness_assert(r == 0 || r == -ETIMEDOUT || r == -EBUSY || r == -ENOTRECOVERABLE || r == -ENOLCK, "lock %d: %d: %s",
	    lock, r, segment_error());
	return r;
}

/* A modification of some bytes within the range, and back into the buffer. */
static bool
modify_somehow(struct citizen *citizen, int lock)
{
	unsigned char *buffer = citizen->memory + (size_t)BUFFER_PAGE * PAGE;
	size_t length = 1 + draw(&citizen->random, LENGTH_MAX);
	size_t at = ranges[lock].offset_bytes + draw(&citizen->random, ranges[lock].length_bytes - length);
	unsigned char *to = (unsigned char *)segment_data(citizen->segment) + at;
	int r = segment_set(citizen->segment, lock, to, buffer + draw(&citizen->random, PAGE - length), length);

	harness_assert(r == 0 || r == -ENOSPC, "lock %d: %d: %s", lock, r, segment_error());
	memcpy(buffer, to, length);
	return r == 0;
}

static void
leave_somehow(struct citizen *citizen, int lock)
{
	int r;

	if (draw(&citizen->random, 4) == 0) {
		r = segment_rollback(citizen->segment, lock);
		harness_assert(r == 0 || r == -ENOTRECOVERABLE || r == -EOPNOTSUPP, "lock %d: %d: %s", lock, r, segment_error());
		if (r != -EOPNOTSUPP)
			return;
	}
	r = segment_unlock(citizen->segment, lock);
	harness_assert(r == 0, "lock %d: %d: %s", lock, r, segment_error());
}

static void
live(struct citizen *citizen)
{
	int lock = (int)draw(&citizen->random, N_LOCKS);
	uint64_t begun_ns = clock_monotonic_ns(), spent_ns;
	bool is_refused = false;

	atomic_store_explicit(&citizen->seat->since_ns, begun_ns, memory_order_relaxed);
	if (lock_somehow(citizen, lock) == 0) {
		(void)segment_recovered(citizen->segment, lock);
		for (uint64_t n = draw(&citizen->random, 4); n > 0; n--)
			is_refused |= !modify_somehow(citizen, lock);
		leave_somehow(citizen, lock);
		count(&citizen->seat->n_sections);
	} else {
		is_refused = true;
	}
	spent_ns = clock_monotonic_ns() - begun_ns;
	atomic_store_explicit(&citizen->seat->since_ns, 0, memory_order_relaxed);
	if (spent_ns > atomic_load_explicit(&citizen->seat->longest_ns, memory_order_relaxed))
		atomic_store_explicit(&citizen->seat->longest_ns, spent_ns, memory_order_relaxed);
	if (is_refused)
		count(&citizen->seat->n_refused);
}

struct order {
	struct vandal_scene *scene;
	unsigned seat;
};

static void
settle(struct citizen *citizen, const struct order *order, unsigned flags)
{
	size_t size = (size_t)PRIVATE_PAGES * PAGE;

	*citizen = (struct citizen) {
		.scene = order->scene,
		.seat = &order->scene->seats[order->seat],
		.random = order->scene->seed ^ (uint64_t)getpid() << 20,
	};
	harness_assert(segment_connect(&citizen->client, order->scene->socket) == 0, "%s", segment_error());
	harness_assert(segment_attach(citizen->client, order->scene->name, NULL, flags, &citizen->segment) == 0, "%s",
	    segment_error());
	citizen->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	harness_assert(citizen->memory != MAP_FAILED, "mmap: %m");
	memset(citizen->memory, PATTERN, size);
}

static void
run_citizen(int control, void *arg)
{
	struct citizen citizen;

	(void)control;
	settle(&citizen, arg, SEGMENT_WRITE);
	for (int i = 0; i < N_LOCKS; i++)
		harness_assert(segment_find_lock(citizen.segment, ranges[i].name) == i, "the locks are in another order");
	for (uint64_t n = 0; !atomic_load_explicit(&citizen.scene->is_over, memory_order_relaxed); n++) {
		live(&citizen);
		if (n % 64 == 0)
			expect_intact(&citizen);
	}
	harness_assert(segment_detach(citizen.segment) == 0, "%s", segment_error());
	segment_disconnect(citizen.client);
	expect_intact(&citizen);
}

static void
run_onlooker(int control, void *arg)
{
	struct citizen onlooker;
	unsigned char *buffer;

	(void)control;
	settle(&onlooker, arg, SEGMENT_READ);
	buffer = onlooker.memory + (size_t)BUFFER_PAGE * PAGE;
	for (uint64_t n = 0;; n++) {
		int lock = (int)draw(&onlooker.random, N_LOCKS);
		uint32_t begun = segment_read_begin(onlooker.segment, lock);

		memcpy(buffer, (unsigned char *)segment_data(onlooker.segment) + ranges[lock].offset_bytes, PAGE);
		(void)segment_read_retry(onlooker.segment, lock, begun);
		if (n % 64 == 0)
			expect_intact(&onlooker);
	}
}

struct vandal_scene *
vandal_scene_new(const char *socket)
{
	struct vandal_scene *scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	harness_assert(scene != MAP_FAILED, "mmap: %m");
	(void)snprintf(scene->name, sizeof(scene->name), "arena");
	scene->socket = socket;
	scene->seed = bank_seed();
	return scene;
}

void
vandal_start(struct vandal_scene *scene, struct harness_child *ret_child)
{
	harness_child_start(ret_child, run_vandal, &scene);
	harness_expect(ret_child->control, "here");
}

void
citizen_start(struct vandal_scene *scene, unsigned seat, struct harness_child *ret_child)
{
	struct order order = { .scene = scene, .seat = seat };

	atomic_store(&scene->seats[seat].since_ns, 0);
	harness_child_start(ret_child, run_citizen, &order);
}

void
onlooker_start(struct vandal_scene *scene, struct harness_child *ret_child)
{
	struct order order = { .scene = scene };

	harness_child_start(ret_child, run_onlooker, &order);
}

void
vandal_watch(const struct vandal_scene *scene, uint64_t limit_ns)
{
	for (unsigned i = 0; i < VANDAL_SEATS; i++) {
		uint64_t since_ns = atomic_load_explicit(&scene->seats[i].since_ns, memory_order_relaxed);
		uint64_t passed_ns = since_ns ? harness_passed_ns(since_ns) : 0;

		harness_assert(passed_ns < limit_ns, "citizen %u has been in a section for %ju ms", i,
		    (uintmax_t)(passed_ns / NS_PER_MS));
	}
}
