/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Leaves a line in a segment, or prints the one that is there. It needs no library: segmentctl attaches for it, and it
 * inherits a descriptor, or is told the number of System V memory, as in:
 *     segmentctl exec board -- note 'back at noon'
 *     segmentctl exec board:r -- note
 * note.py and note.sh do the same in other languages. Build: cc note.c -o note
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

/* What `segmentctl exec` says of the segment. */
static const char *
need(const char *variable)
{
	const char *value = getenv(variable);

	if (!value) {
		fprintf(stderr, "note: no $%s: run it as segmentctl exec NAME -- note [TEXT]\n", variable);
		exit(2);
	}
	return value;
}

/* MAP_FAILED, with errno. */
static void *
map(size_t size, int writes)
{
	const char *shm_id = getenv("SEGMENT_SHMID");

	if (shm_id)
		return shmat(atoi(shm_id), NULL, writes ? 0 : SHM_RDONLY);
	return mmap(NULL, size, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, atoi(need("SEGMENT_FD")), 0);
}

int
main(int argc, char **argv)
{
	size_t size = strtoull(need("SEGMENT_SIZE"), NULL, 10);
	/* A read-only descriptor cannot be mapped for writing, whatever this program does. */
	int writes = strcmp(need("SEGMENT_ACCESS"), "write") == 0;
	char *data = map(size, writes);

	if (data == MAP_FAILED) {
		fprintf(stderr, "note: its memory cannot be had: %s\n", strerror(errno));
		return 1;
	}
	if (argc < 2) {
		/* Others may be writing: what is read here need not end. */
		printf("%.*s\n", (int)strnlen(data, size < 4096 ? size : 4096), data);
		return 0;
	}
	if (!writes) {
		fprintf(stderr, "note: '%s' is attached for reading\n", need("SEGMENT_NAME"));
		return 1;
	}
	snprintf(data, size, "%s", argv[1]);
	return 0;
}
