/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Writes a line into a segment, as in: writer order-book "hello, reader"
 * Build: cc writer.c -o writer $(pkg-config --cflags --libs libsegment)
 */
#include <segment.h>
#include <stdio.h>
#include <stdlib.h>

static void
fail(const char *what)
{
	fprintf(stderr, "writer: %s: %s\n", what, segment_error());
	exit(1);
}

int
main(int argc, char **argv)
{
	struct segment_client *client;
	struct segment *segment;

	if (argc != 3) {
		fprintf(stderr, "usage: writer SEGMENT TEXT\n");
		return 2;
	}

	/* NULL: the daemon of this host, or the one that $SEGMENTD_SOCKET names. */
	if (segment_connect(&client, NULL) < 0)
		fail("connect");

	/* The daemon has made the segment, sized it and filled it; all that is left is to ask for it by name. */
	if (segment_attach(client, argv[1], NULL, SEGMENT_WRITE, &segment) < 0)
		fail(argv[1]);

	/* Plain memory from here on. */
	snprintf(segment_data(segment), segment_size(segment), "%s", argv[2]);
	printf("wrote to %s, %zu bytes large\n", argv[1], segment_size(segment));

	/* The contents stay when the writer is gone. */
	segment_detach(segment);
	segment_disconnect(client);
	return 0;
}
