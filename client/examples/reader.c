/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Prints the lines that the writer left in segments, as in: reader order-book quotes
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
	struct segment_request *requests;
	struct segment_client *client;
	int n = argc - 1;

	if (n < 1) {
		fprintf(stderr, "usage: reader SEGMENT...\n");
		return 2;
	}

	requests = calloc((size_t)n, sizeof(*requests));
	if (!requests || segment_connect(&client, NULL) < 0)
		fail("connect");

	/* Read-only: a store through such a mapping is a fault, whatever this program does. */
	for (int i = 0; i < n; i++) {
		requests[i].name = argv[i + 1];
		requests[i].flags = SEGMENT_READ;
	}
	/* All of them, or none. */
	if (segment_attach_many(client, requests, (size_t)n) < 0)
		fail("attach");

	for (int i = 0; i < n; i++) {
		const char *text = segment_data(requests[i].segment);
		size_t size = segment_size(requests[i].segment);

		/* Others may be writing: what is read here need not end, so its length is bounded. */
		printf("%.*s\n", (int)strnlen(text, size < 4096 ? size : 4096), text);
		segment_detach(requests[i].segment);
	}
	segment_disconnect(client);
	free(requests);
	return 0;
}
