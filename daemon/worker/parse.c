/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reading a configuration, from the daemon's own files or from texts that an administrator sent. The daemon gets the
 * outcome as bytes (conf/pack.h), which it does not believe either: libconfig has read what anybody may have written.
 */
#include "config.h"

#include <malloc.h>

#include "base/base.h"
#include "conf/load.h"
#include "conf/pack.h"
#include "daemon/worker/parse.h"

/* Texts as the loader takes them; names and bytes are in storage, each name with a NUL behind it. */
struct texts {
	struct conf_text *list;
	size_t n;
	char *storage;
};

static void
texts_deinit(struct texts *texts)
{
	free(texts->list);
	free(texts->storage);
}

static int
say(struct job_result *result, int r, const char *what)
{
	(void)snprintf(result->text, sizeof(result->text), "%s: %s", what, strerror(-r));
	return r;
}

static int
refuse(struct job_result *result, const char *what)
{
	(void)snprintf(result->text, sizeof(result->text), "not a job: %s", what);
	return -EPROTO;
}

/* Reads all of the job's input; one byte more is there, and is 0. */
static int
read_input(int fd, uint64_t length, char **ret_bytes)
{
	cleanup_free char *bytes = malloc((size_t)length + 1);
	size_t done = 0;

	if (!bytes)
		return -ENOMEM;
	while (done < length) {
		ssize_t n = pread(fd, bytes + done, (size_t)length - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		done += (size_t)n;
	}
	bytes[length] = '\0';
	*ret_bytes = take_ptr(bytes);
	return 0;
}

/* One piece of the input, which *at is moved behind. False: there is none, or not all of it. */
static bool
take_piece(const char **at, const char *end, struct job_text_piece *ret_piece, const char **ret_bytes)
{
	if ((size_t)(end - *at) < sizeof(*ret_piece))
		return false;
	memcpy(ret_piece, *at, sizeof(*ret_piece));
	*at += sizeof(*ret_piece);
	if (ret_piece->length_bytes > (size_t)(end - *at))
		return false;
	*ret_bytes = *at;
	*at += ret_piece->length_bytes;
	return true;
}

/* Puts the pieces of each text together. False: the input is no row of pieces. */
static bool
texts_gather(struct texts *texts, const char *input, uint64_t length)
{
	const char *at = input, *end = input + length, *bytes;
	char *to = texts->storage;
	struct job_text_piece piece;

	while (at < end) {
		if (!take_piece(&at, end, &piece, &bytes))
			return false;
		if (piece.kind == JOB_TEXT_NAME) {
			texts->list[texts->n].name = to;
			memcpy(to, bytes, piece.length_bytes);
			to += piece.length_bytes;
			*to++ = '\0';
			texts->list[texts->n++].bytes = to;
		} else if (piece.kind == JOB_TEXT_BYTES && texts->n > 0) {
			memcpy(to, bytes, piece.length_bytes);
			to += piece.length_bytes;
			texts->list[texts->n - 1].length += piece.length_bytes;
		} else {
			return false;
		}
	}
	return true;
}

static int
parse_texts(const char *input, uint64_t length, struct job_result *result, struct conf_report *report,
    struct conf **ret_conf)
{
	/* a piece is at least as large as what is stored of it, and as a name's entry in the list needs */
	__attribute__((cleanup(texts_deinit))) struct texts texts = {
		.list = calloc((size_t)length / sizeof(struct job_text_piece) + 1, sizeof(*texts.list)),
		.storage = malloc((size_t)length + 1),
	};

	if (!texts.list || !texts.storage)
		return say(result, -ENOMEM, "the texts cannot be put together");
	if (!texts_gather(&texts, input, length))
		return refuse(result, "texts with their names before them are expected");
	return conf_load_texts(texts.list, texts.n, report, ret_conf);
}

static int
pack(int fd, int r, const struct conf *conf, const struct conf_report *report, struct job_result *result)
{
	r = pack_write(fd, r, conf, report);
	if (r > 0) {
		(void)snprintf(result->text, sizeof(result->text),
		    "the configuration is too large: with everything in it, it has more than %llu MiB, or one definition "
		    "more than %u MiB", (unsigned long long)(PACK_MAX_BYTES / MIB), (unsigned)(PACK_ITEM_MAX_BYTES / MIB));
		return -EFBIG;
	}
	return r < 0 ? say(result, r, "the configuration cannot be handed over") : 0;
}

int
parse_configuration(int out_fd, int in_fd, const struct job *job, struct job_result *result)
{
	struct conf_report report = CONF_REPORT_NULL;
	cleanup_free char *input = NULL;
	struct conf *conf = NULL;
	int r;

	if (job->length_bytes > PARSE_INPUT_MAX)
		return refuse(result, "more texts than anybody may send");
	r = read_input(in_fd, job->length_bytes, &input);
	if (r)
		return say(result, r, "the job's texts cannot be read");
	if (job->kind == JOB_PARSE)
		r = conf_load(input, &report, &conf);
	else
		r = parse_texts(input, job->length_bytes, result, &report, &conf);
	if (r < 0 && !result->text[0])
		(void)say(result, r, "the configuration cannot be read");
	if (r >= 0)
		r = pack(out_fd, r, conf, &report, result);
	(void)conf_free(conf);
	conf_report_deinit(&report);
	free(take_ptr(input));
	(void)malloc_trim(0);	/* the next job may be to populate: what this one took is the host's again */
	return r;
}
