/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A client process at work: see day_client.h. */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "client/segment.h"
#include "tests/harness-internal.h"
#include "tests/system/day_client.h"

#define SLOT_WORDS	64
#define SLOT_BYTES	(SLOT_WORDS * sizeof(uint64_t))
#define SLOTS_AT	4096		/* what is before them is everybody's, or nobody's */
#define SLOTS_MAX	4		/* of one client, whose segment grew */
#define CREATED_BYTES	(64 * KIB)
#define ROUNDS		4		/* at a beat */
#define WORD_MAX	63

/* A part of the segment that this client alone writes. */
struct slot {
	size_t offset;
	uint64_t round;			/* what it was written in; 0: it has its first bytes, zeros */
};

struct work {
	const struct day_client *self;
	int control;
	struct segment_client *client;
	struct segment *segment;	/* NULL: it rests, or was executed */
	unsigned char *data;
	size_t size;
	uint64_t generation;
	int lock;
	int event_fd;			/* -1: it hears of nothing */
	struct slot slots[SLOTS_MAX];
	unsigned n_slots;
	uint64_t last_turn;		/* of the tellers' page */
	uint64_t n_rounds;
	char mapping[256];		/* as /proc/self/maps has it */
};

static bool
writes(const struct work *work)
{
	return work->self->role != DAY_READER && work->self->role != DAY_EXECUTED_READER;
}

/* What is written is different for each client, round and place; before the first round it is zeros. */
static uint64_t
pattern(uint64_t number, uint64_t round, uint64_t i)
{
	uint64_t x = (number << 48 ^ round << 12 ^ i) * UINT64_C(0x9e3779b97f4a7c15);

	return round ? x ^ x >> 29 : 0;
}

static void
fill(uint64_t words[SLOT_WORDS], uint64_t number, uint64_t round)
{
	for (unsigned i = 0; i < SLOT_WORDS; i++)
		words[i] = pattern(number, round, i);
}

static void
verify(const struct work *work, const void *at, uint64_t number, uint64_t round, const char *what)
{
	const volatile uint64_t *words = at;

	for (unsigned i = 0; i < SLOT_WORDS; i++) {
		uint64_t word = words[i];

		harness_assert(word == pattern(number, round, i), "%s of '%s': word %u of client %u is %#jx, and not %#jx of round %ju",
		    what, work->self->segment, i, work->self->number, (uintmax_t)word,
		    (uintmax_t)pattern(number, round, i), (uintmax_t)round);
	}
}

static void
add_slot(struct work *work, size_t offset)
{
	harness_assert(work->n_slots < SLOTS_MAX && offset + SLOT_BYTES <= work->size, "'%s' has %zu bytes, and no slot at %zu",
	    work->self->segment, work->size, offset);
	work->slots[work->n_slots++] = (struct slot) { .offset = offset };
}

/* Its line of the table of mappings: another one would be another mapping. */
static void
find_mapping(const struct work *work, char line[256])
{
	FILE *f = fopen("/proc/self/maps", "re");
	bool is_found = false;

	harness_assert(f, "/proc/self/maps: %s", strerror(errno));
	while (!is_found && fgets(line, 256, f))
		is_found = strtoull(line, NULL, 16) == (uintptr_t)work->data;
	(void)fclose(f);
	harness_assert(is_found, "nothing is mapped any more where '%s' was", work->self->segment);
}

/* The rounds of each role. */

static void
write_slots(struct work *work)
{
	for (unsigned i = 0; i < work->n_slots; i++) {
		struct slot *slot = &work->slots[i];
		void *at = work->data + slot->offset;
		uint64_t words[SLOT_WORDS];

		verify(work, at, work->self->number, slot->round, "a slot");
		fill(words, work->self->number, ++slot->round);
		memcpy(at, words, sizeof(words));
		verify(work, at, work->self->number, slot->round, "a slot just written");
	}
}

static void
must(const struct work *work, int r, const char *what)
{
	harness_assert(r == 0, "client %u: %s in '%s': %s", work->self->number, what, work->self->segment, segment_error());
}

/* The page: how often it was written, and a pattern of that. */
static uint64_t
page_turn(const void *page)
{
	return *(const volatile uint64_t *)page;
}

static void
verify_page(struct work *work, const void *page)
{
	uint64_t turn = page_turn(page);

	verify(work, (const char *)page + SLOT_BYTES, 0, turn, "the tellers' page");
	harness_assert(turn >= work->last_turn, "the tellers' page went back from turn %ju to %ju", (uintmax_t)work->last_turn,
	    (uintmax_t)turn);
	work->last_turn = turn;
}

/* Every eighth section is taken back, and leaves nothing. */
static void
keep_books(struct work *work)
{
	struct slot *slot = &work->slots[0];
	unsigned char *mine = work->data + slot->offset;
	bool is_undone = work->n_rounds % 8 == 7;
	uint64_t words[SLOT_WORDS], turn;

	must(work, segment_lock(work->segment, work->lock), "segment_lock");
	harness_assert(!segment_recovered(work->segment, work->lock), "an owner has died in '%s'", work->self->segment);
	verify_page(work, work->data);
	turn = work->last_turn + 1;
	must(work, segment_set(work->segment, work->lock, work->data, &turn, sizeof(turn)), "segment_set");
	fill(words, 0, turn);
	must(work, segment_set(work->segment, work->lock, work->data + SLOT_BYTES, words, sizeof(words)), "segment_set");
	fill(words, work->self->number, slot->round + 1);
	must(work, segment_modify(work->segment, work->lock, mine, sizeof(words)), "segment_modify");
	memcpy(mine, words, sizeof(words));
	if (is_undone) {
		must(work, segment_rollback(work->segment, work->lock), "segment_rollback");
	} else {
		must(work, segment_unlock(work->segment, work->lock), "segment_unlock");
		slot->round++;
		work->last_turn = turn;
	}
	/* Nobody else writes it, so no lock is needed to look at it: as often as there are readers in want of a turn. */
	for (int i = 0; i < 16; i++)
		verify(work, mine, work->self->number, slot->round, is_undone ? "a slot rolled back" : "a slot after its section");
}

static void
read_books(struct work *work)
{
	unsigned char copy[2 * SLOT_BYTES];
	uint32_t begun;

	do {
		begun = segment_read_begin(work->segment, work->lock);
		harness_assert(begun % 2 == 0, "'%s' cannot be read: %s", work->self->segment, segment_error());
		memcpy(copy, work->data, sizeof(copy));
	} while (segment_read_retry(work->segment, work->lock, begun));
	verify_page(work, copy);
}

/* A program that reads has the page that nobody writes: zeros. */
static void
read_nothing(struct work *work)
{
	verify(work, work->data, 0, 0, "a page that nobody writes");
}

static void
do_round(struct work *work)
{
	switch (work->self->role) {
	case DAY_TELLER:
		keep_books(work);
		break;
	case DAY_READER:
		read_books(work);
		break;
	case DAY_EXECUTED_READER:
		read_nothing(work);
		break;
	default:
		write_slots(work);
	}
	work->n_rounds++;
}

/* Events. */

static void
on_event(const struct segment_event *event, void *arg)
{
	struct work *work = arg;

	harness_assert(event->lost == 0, "%ju events were lost to client %u", (uintmax_t)event->lost, work->self->number);
	harness_assert(event->what != SEGMENT_EVENT_DIED && event->what != SEGMENT_EVENT_FAILED,
	    "client %u heard that event %d came over '%s'", work->self->number, event->what, event->segment);
}

static void
hear_events(struct work *work)
{
	struct pollfd fd = { .fd = work->event_fd, .events = POLLIN };

	while (work->event_fd >= 0 && poll(&fd, 1, 0) == 1) {
		int n = segment_dispatch(work->client, on_event, work);

		harness_assert(n >= 0, "segment_dispatch: %s", segment_error());
		if (n == 0)
			return;
	}
}

/* The new part is zeros, and then has a slot, too. */
static void
await_size(struct work *work, size_t size)
{
	while (segment_size(work->segment) < size) {
		harness_await_readable(work->event_fd, "the event of a segment that has grown");
		hear_events(work);
	}
	work->size = segment_size(work->segment);
	harness_assert(work->size == size, "'%s' has %zu bytes, and not %zu", work->self->segment, work->size, size);
	add_slot(work, size - (work->self->number + 1) * SLOT_BYTES);
}

/* Coming and going. */

static unsigned
flags_of(const struct work *work)
{
	return (writes(work) ? SEGMENT_WRITE : SEGMENT_READ) | (work->self->role == DAY_LISTENER ? SEGMENT_NOWAIT : 0);
}

static void
begin(struct work *work)
{
	work->n_slots = 0;
	if (writes(work))
		add_slot(work, SLOTS_AT + work->self->number * SLOT_BYTES);
	find_mapping(work, work->mapping);
}

static void
come(struct work *work)
{
	const struct day_client *self = work->self;
	int r;

	if (self->role == DAY_CREATOR)
		r = segment_create(work->client, self->segment, CREATED_BYTES, 0, &work->segment);
	else
		r = segment_attach(work->client, self->segment, NULL, flags_of(work), &work->segment);
	must(work, r, "attaching");
	harness_assert(segment_generation(work->segment) != work->generation, "'%s' is the same again", self->segment);
	work->generation = segment_generation(work->segment);
	work->data = segment_data(work->segment);
	work->size = segment_size(work->segment);
	if (self->role == DAY_TELLER || self->role == DAY_READER) {
		work->lock = segment_find_lock(work->segment, "book");
		harness_assert(work->lock >= 0, "%s", segment_error());
	}
	begin(work);
}

static void
leave(struct work *work)
{
	must(work, segment_detach(work->segment), "segment_detach");
	work->segment = NULL;
	work->data = NULL;
}

/* Another attachment of the same client, of the same memory; or the refusal that is due. */
static void
attach_again(struct work *work, int expected)
{
	struct segment *again;
	int r = segment_attach(work->client, work->self->segment, NULL, flags_of(work), &again);

	harness_assert(r == expected, "client %u attached '%s' again with %d (%s), and not %d", work->self->number,
	    work->self->segment, r, r ? segment_error() : "", expected);
	if (r)
		return;
	harness_assert(segment_generation(again) == work->generation, "'%s' is another", work->self->segment);
	for (unsigned i = 0; i < work->n_slots; i++)
		verify(work, (char *)segment_data(again) + work->slots[i].offset, work->self->number, work->slots[i].round,
		    "a slot seen again");
	must(work, segment_detach(again), "segment_detach");
}

static void
look(struct work *work, int expected)
{
	char mapping[256];

	hear_events(work);
	do_round(work);
	find_mapping(work, mapping);
	harness_assert(streq(mapping, work->mapping), "'%s' was mapped as %s, and is as %s", work->self->segment, work->mapping,
	    mapping);
	if (work->segment) {
		harness_assert(segment_data(work->segment) == work->data && segment_size(work->segment) == work->size &&
		    segment_generation(work->segment) == work->generation, "'%s' is another", work->self->segment);
	}
	attach_again(work, expected);
}

/* What it is told. False: the day is over. */
static bool
obey(struct work *work)
{
	char word[WORD_MAX + 1] = "", verb[16] = "", answer[48];
	ssize_t n = recv(work->control, word, WORD_MAX, 0);
	long number = 0;

	harness_assert(n > 0 && sscanf(word, "%15s %ld", verb, &number) >= 1, "client %u was told nothing", work->self->number);
	if (streq(verb, "look")) {
		look(work, (int)number);
		(void)snprintf(answer, sizeof(answer), "looked %" PRIu64, work->n_rounds);
	} else if (streq(verb, "size")) {
		await_size(work, (size_t)number);
		(void)snprintf(answer, sizeof(answer), "sized");
	} else if (streq(verb, "leave")) {
		leave(work);
		(void)snprintf(answer, sizeof(answer), "left");
	} else if (streq(verb, "come")) {
		come(work);
		(void)snprintf(answer, sizeof(answer), "came");
	} else {
		harness_assert(streq(verb, "end"), "client %u was told '%s'", work->self->number, word);
		if (work->data)
			do_round(work);
		(void)snprintf(answer, sizeof(answer), "ended %" PRIu64, work->n_rounds);
	}
	harness_say(work->control, answer);
	return !streq(verb, "end");
}

/* Fifty of these do not leave two processors to nobody else: each works at beats, some apart from the others' beats. */
static int
make_beat(const struct work *work)
{
	long ns = harness_has_sanitizers() ? 10 * (long)NS_PER_MS : (long)NS_PER_MS;
	struct itimerspec beat = {
		.it_value.tv_nsec = ns + (long)work->self->number * 20000, .it_interval.tv_nsec = ns,
	};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	harness_assert(fd >= 0 && timerfd_settime(fd, 0, &beat, NULL) == 0, "timerfd: %s", strerror(errno));
	return fd;
}

static void
run(struct work *work)
{
	cleanup_close int beat = make_beat(work);
	struct pollfd fds[] = {
		{ .fd = work->control, .events = POLLIN }, { .fd = beat, .events = POLLIN },
		{ .fd = work->event_fd, .events = POLLIN },
	};
	bool is_over = false;
	uint64_t n_beats;

	harness_say(work->control, "came");
	while (!is_over) {
		/* At rest it has nothing to do but to listen. */
		fds[1].fd = work->data ? beat : -1;
		harness_assert(poll(fds, BASE_ARRAY_SIZE(fds), -1) > 0, "poll: %s", strerror(errno));
		if (fds[2].revents)
			hear_events(work);
		if (fds[1].revents && read(beat, &n_beats, sizeof(n_beats)) > 0)
			for (int i = 0; i < ROUNDS; i++)
				do_round(work);
		if (fds[0].revents)
			is_over = !obey(work);
	}
}

static void
become_program(int control, const struct day_client *self)
{
	char name[64], number[16], path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	harness_assert(n > 0 && dup2(control, STDIN_FILENO) == STDIN_FILENO, "%s", strerror(errno));
	path[n] = 0;
	(void)snprintf(name, sizeof(name), "%s%s", self->segment, self->role == DAY_EXECUTED_READER ? ":r" : "");
	(void)snprintf(number, sizeof(number), "%u", self->number);
	(void)execl(DAY_SEGMENTCTL, "segmentctl", "--socket", self->socket, "exec", name, "--", path, DAY_PROGRAM, number,
	    (char *)NULL);
	harness_fail("%s: %s", DAY_SEGMENTCTL, strerror(errno));
}

void
day_client_main(int control, void *arg)
{
	const struct day_client *self = arg;
	struct work work = { .self = self, .control = control, .event_fd = -1, .lock = -1 };

	if (self->role == DAY_EXECUTED || self->role == DAY_EXECUTED_READER)
		become_program(control, self);
	if (self->role == DAY_GUEST && geteuid() == 0)
		harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	must(&work, segment_connect(&work.client, self->socket), "connecting");
	if (self->role == DAY_LISTENER) {
		work.event_fd = segment_event_fd(work.client);
		harness_assert(work.event_fd >= 0, "segment_event_fd: %s", segment_error());
	}
	come(&work);
	run(&work);
	if (work.segment)
		leave(&work);
	segment_disconnect(work.client);
}

static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	harness_assert(value, "there is no $%s", name);
	return value;
}

int
day_client_program(char **args)
{
	bool is_writer = streq(variable("SEGMENT_ACCESS"), "write");
	struct day_client self = {
		.role = is_writer ? DAY_EXECUTED : DAY_EXECUTED_READER,
		.number = (unsigned)strtoul(args[0], NULL, 10),
		.segment = variable("SEGMENT_NAME"),
	};
	struct work work = {
		.self = &self, .control = STDIN_FILENO, .event_fd = -1, .lock = -1,
		.size = strtoull(variable("SEGMENT_SIZE"), NULL, 10),
		.generation = strtoull(variable("SEGMENT_GENERATION"), NULL, 10),
	};
	int fd = (int)strtol(variable("SEGMENT_FD"), NULL, 10);

	harness_in_child = true;
	work.data = mmap(NULL, work.size, PROT_READ | (is_writer ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	harness_assert(work.data != MAP_FAILED, "mmap: %s", strerror(errno));
	must(&work, segment_connect(&work.client, NULL), "connecting");
	begin(&work);
	run(&work);
	segment_disconnect(work.client);
	(void)munmap(work.data, work.size);
	return 0;
}
