/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>

#include "tests/soak/board.h"
#include "tests/soak/stalls.h"

#define LONG_NS		(100 * NS_PER_MS)
#define PLACES_MAX	32

/* State, where it sleeps in the kernel, and the system call: as often as it was seen there. */
static struct {
	char text[96];
	unsigned n;
} places[PLACES_MAX];
static unsigned n_places;

static void
read_word(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, size - 1);
	text[n > 0 ? n : 0] = 0;
}

/* The state is behind the name, which may hold anything. */
static char
read_state(pid_t pid)
{
	char text[256], *end;

	read_word(pid, "stat", text, sizeof(text));
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : '?';
}

void
stalls_look(pid_t daemon)
{
	uint64_t since_ns = atomic_load(&soak_board->beats.since_ns);
	char text[96], place[32], call[32];
	unsigned i;

	if (!since_ns || clock_monotonic_ns() < since_ns + LONG_NS || daemon <= 0)
		return;
	read_word(daemon, "wchan", place, sizeof(place));
	read_word(daemon, "syscall", call, sizeof(call));
	call[strcspn(call, " \n")] = 0;
	(void)snprintf(text, sizeof(text), "state %c, in %s of system call %s", read_state(daemon), place, call);
	for (i = 0; i < n_places && !streq(places[i].text, text); i++)
		;
	if (i == PLACES_MAX)
		return;
	if (i == n_places)
		(void)snprintf(places[n_places++].text, sizeof(places[i].text), "%s", text);
	places[i].n++;
}

void
stalls_print(void)
{
	for (unsigned i = 0; i < n_places; i++)
		(void)printf("%14u  times in a long heartbeat the daemon was seen: %s\n", places[i].n, places[i].text);
}
