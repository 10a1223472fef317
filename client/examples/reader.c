/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Prints the line that the writer left in a segment, as in: reader order-book
 * Build: cc reader.c -o reader $(pkg-config --cflags --libs libsegment)
 */
#include <segment.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
fail(const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, segment_error());
	exit(1);
}

int
main(int argc, char **argv)
{
	struct segment_client *client;
	struct segment *segment;
	const char *text;

	if (argc != 2) {
		fprintf(stderr, "usage: reader SEGMENT\n");
		return 2;
	}

	if (segment_connect(&client, NULL) < 0)
		fail("connect");

	/* Read-only: a store through this mapping is a fault, whatever this program does. */
	if (segment_attach(client, argv[1], NULL, SEGMENT_READ, &segment) < 0)
		fail(argv[1]);

	/* Others may be writing: what is read here need not end, so its length is bounded. */
	text = segment_data(segment);
	printf("%.*s\n", (int)strnlen(text, segment_size(segment) < 4096 ? segment_size(segment) : 4096), text);

	segment_detach(segment);
	segment_disconnect(client);
	return 0;
}
