/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's side of reading a configuration. Bytes go back and forth in memfds of ours. What the worker wrote is read
 * once, copied before it is looked at, and checked as it is unpacked (conf/pack.c): a worker that would go on writing, or
 * cut the file, changes what it says, which it could have said in the first place. What is large is given back by a worker,
 * too: to free 16 MiB of pages takes longer than the loop may wait.
 */
#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/parse.h"

#define PATIENCE_SECONDS	60	/* a large configuration, a slow disk, a directory service that does not answer */
#define UPLOAD_MAX_BYTES	(2 * (uint64_t)CONF_FILE_MAX_BYTES)	/* with names, and what stands before each piece */
#define SMALL_BYTES		(2 * MIB)	/* closed at once: some 0.1 ms */

/* A memfd whose pages a worker gives back before it is closed. */
struct parse_release {
	struct workers_job job;
	LIST_ENTRY(parse_release) entry;
};

void
parser_init(struct parser *parser, struct workers *workers)
{
	*parser = (struct parser) { .workers = workers, .patience_seconds = PATIENCE_SECONDS };
	LIST_INIT(&parser->parses);
	LIST_INIT(&parser->releases);
}

static int
file_new(int *ret_fd)
{
	int fd = memfd_create("segmentd:configuration", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* 0777 at birth: nobody else opens it through /proc. */
	if (fchmod(fd, 0600)) {
		int r = -errno;

		close_fd(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int
file_append(int fd, uint64_t *at, const void *bytes, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = pwrite(fd, (const char *)bytes + done, length - done, (off_t)(*at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	*at += done;
	return 0;
}

static uint64_t
file_length(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static void
release_end(struct parse_release *release)
{
	LIST_REMOVE(release, entry);
	close_fd(&release->job.fd);
	free(release);
}

static void
release_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	/* Whatever came of it: closing frees what is left, in a longer moment. */
	release_end(BASE_CONTAINER_OF(job, struct parse_release, job));
}

/* Consumes a memfd. */
static void
file_release(struct parser *parser, int fd)
{
	uint64_t length = fd >= 0 ? file_length(fd) : 0;
	struct parse_release *release = length > SMALL_BYTES ? calloc(1, sizeof(*release)) : NULL;

	if (!release) {
		close_fd(&fd);
		return;
	}
	release->job = (struct workers_job) {
		.job = { .kind = JOB_FREE, .length_bytes = length },
		.fd = fd,
		.control_fd = -1,
		.done = release_done,
	};
	LIST_INSERT_HEAD(&parser->releases, release, entry);
	workers_submit(parser->workers, &release->job, false);
}

static int
upload_put(struct parse_upload *upload, enum job_text kind, const void *bytes, size_t length)
{
	struct job_text_piece piece = { .kind = kind, .length_bytes = (uint32_t)length };
	uint64_t at = upload->length_bytes;
	int r;

	if (at + sizeof(piece) + length > UPLOAD_MAX_BYTES)
		return PARSE_E_TOO_LARGE;
	if (upload->charge.account && charge_resize(&upload->charge, at + sizeof(piece) + length))
		return PARSE_E_LIMIT;
	r = file_append(upload->fd, &at, &piece, sizeof(piece));
	if (r == 0)
		r = file_append(upload->fd, &at, bytes, length);
	if (r == 0)
		upload->length_bytes = at;
	return r;
}

/* Names are shown, in sentences and logs. */
static bool
name_is_good(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < 0x20 || (unsigned char)name[i] == 0x7f)
			return false;
	return length > 0;
}

int
parse_upload_begin(struct parse_upload *upload, const char *name, size_t length)
{
	int r;

	if (length > PARSE_NAME_MAX || upload->n_texts == PARSE_TEXTS_MAX)
		return PARSE_E_TOO_LARGE;
	if (!name_is_good(name, length))
		return PARSE_E_INVALID;
	if (upload->fd < 0) {
		r = file_new(&upload->fd);
		if (r)
			return r;
	}
	r = upload_put(upload, JOB_TEXT_NAME, name, length);
	if (r == 0)
		upload->n_texts++;
	return r;
}

int
parse_upload_append(struct parse_upload *upload, const void *bytes, size_t length)
{
	int r;

	if (!upload->n_texts)
		return PARSE_E_INVALID;
	if (length > CONF_FILE_MAX_BYTES - upload->text_bytes)
		return PARSE_E_TOO_LARGE;
	if (length == 0)
		return 0;
	r = upload_put(upload, JOB_TEXT_BYTES, bytes, length);
	if (r == 0)
		upload->text_bytes += length;
	return r;
}

void
parse_upload_deinit(struct parse_upload *upload, struct parser *parser)
{
	if (upload->fd >= 0)
		file_release(parser, upload->fd);
	charge_deinit(&upload->charge);
	*upload = (struct parse_upload) PARSE_UPLOAD_NULL;
}

static void
parse_end(struct parse *parse)
{
	LIST_REMOVE(parse, entry);
	pack_reader_deinit(&parse->reader);
	conf_report_deinit(&parse->report);
	(void)conf_free(parse->conf);
	file_release(parse->parser, parse->job.fd);
	close_fd(&parse->job.control_fd);	/* an upload's is another description, or not the last */
	free(parse);
}

static int BASE_PRINTF(2, 3)
parse_fail(struct parse *parse, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(parse->text, sizeof(parse->text), format, args);
	va_end(args);
	parse->has_failed = true;
	return PARSE_E_FAILED;
}

/* Why there is no outcome. */
static void
parse_judge_worker(struct parse *parse, const struct workers_outcome *outcome)
{
	if (outcome->error)
		(void)parse_fail(parse, "no worker process can be started to read the configuration: %s",
		    strerror(-outcome->error));
	else if (outcome->was_stuck)
		(void)parse_fail(parse, "the worker process that read the configuration did not come to an end within %u seconds "
		    "and was killed; see whether a file or a directory service does not answer, then try again",
		    parse->job.patience_seconds);
	else if (!outcome->result)
		(void)parse_fail(parse, "the worker process that read the configuration was killed by signal %d (%s); if "
		    "memory is short, free some, then try again", outcome->signal, strsignal(outcome->signal));
	else if (outcome->result->status)
		(void)parse_fail(parse, "%s", outcome->result->text);
}

static void
parse_on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct parse *parse = BASE_CONTAINER_OF(job, struct parse, job);
	int r;

	if (!parse->done) {
		parse_end(parse);
		return;
	}
	parse->is_done = true;
	parse_judge_worker(parse, outcome);
	if (!parse->has_failed) {
		r = pack_reader_init(&parse->reader, parse->job.fd, file_length(parse->job.fd));
		if (r > 0)
			(void)parse_fail(parse, "the worker process answered with no configuration: %s", parse->reader.why);
		else if (r < 0)
			(void)parse_fail(parse, "what the worker process answered cannot be read: %s", strerror(-r));
	}
	parse->done(parse, parse->arg);
}

/* Consumes in_fd, which holds what the job reads. */
static int
parse_submit(struct parser *parser, enum job_kind kind, int in_fd, uint64_t length_bytes, parse_done_fn done, void *arg,
    struct parse **ret_parse)
{
	struct parse *parse = calloc(1, sizeof(*parse));
	int out_fd = -1, r = parse ? file_new(&out_fd) : -ENOMEM;

	if (r) {
		free(parse);
		close_fd(&in_fd);
		return r;
	}
	*parse = (struct parse) {
		.parser = parser,
		.done = done,
		.arg = arg,
		.reader = PACK_READER_NULL,
		.job = {
			.job = { .kind = kind, .length_bytes = length_bytes },
			.fd = out_fd,
			.control_fd = in_fd,
			.patience_seconds = parser->patience_seconds,
			.done = parse_on_done,
		},
	};
	LIST_INSERT_HEAD(&parser->parses, parse, entry);
	/* Who waits for it is an administrator: before the pieces of what is being provisioned. */
	workers_submit(parser->workers, &parse->job, true);
	*ret_parse = parse;
	return 0;
}

int
parse_start(struct parser *parser, const char *path, parse_done_fn done, void *arg, struct parse **ret_parse)
{
	cleanup_close int fd = -1;
	uint64_t length = 0;
	int r = file_new(&fd);

	if (r == 0)
		r = file_append(fd, &length, path, strlen(path));
	return r ? r : parse_submit(parser, JOB_PARSE, take_fd(&fd), length, done, arg, ret_parse);
}

int
parse_start_upload(struct parser *parser, const struct parse_upload *upload, parse_done_fn done, void *arg,
    struct parse **ret_parse)
{
	cleanup_close int fd = -1;
	int r;

	if (upload->fd < 0) {
		r = file_new(&fd);	/* no text at all: a configuration of defaults */
		if (r)
			return r;
	} else {
		fd = fcntl(upload->fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return -errno;
	}
	return parse_submit(parser, JOB_PARSE_TEXTS, take_fd(&fd), upload->length_bytes, done, arg, ret_parse);
}

int
parse_next(struct parse *parse, struct pack_item *ret_item)
{
	int r;

	*ret_item = (struct pack_item) PACK_ITEM_NULL;
	if (parse->has_failed)
		return PARSE_E_FAILED;
	r = pack_reader_next(&parse->reader, ret_item);
	if (r > 0)
		return parse_fail(parse, "the worker process answered with no configuration: %s", parse->reader.why);
	return r;
}

/* What the whole comes to. */
static int
collect_end(struct parse *parse, struct conf **ret_conf)
{
	int r = parse->reader.summary.result;

	if (r < 0)
		return parse_fail(parse, "the worker process could not read the configuration: %s", strerror(-r));
	if (r > 0)
		return PARSE_E_REFUSED;
	*ret_conf = take_ptr(parse->conf);
	return 0;
}

int
parse_collect(struct parse *parse, uint64_t until_ns, struct conf **ret_conf)
{
	struct pack_item item;
	int r = 0;

	if (!parse->has_failed && !parse->conf)
		r = pack_whole_begin(&parse->reader.summary, &parse->conf, &parse->report);
	if (r)
		return r;
	do {
		r = parse_next(parse, &item);
		if (r)
			return r;
		if (item.kind == PACK_END)
			return collect_end(parse, ret_conf);
		pack_whole_take(&item, parse->conf, &parse->report);
	} while (clock_monotonic_ns() < until_ns);
	return PARSE_E_MORE;
}

struct parse *
parse_free(struct parse *parse)
{
	if (!parse)
		return NULL;
	if (parse->is_done || workers_cancel(&parse->job))
		parse_end(parse);
	else
		parse->done = NULL;	/* a worker is at it: freed when that is over */
	return NULL;
}

void
parser_deinit(struct parser *parser)
{
	struct parse_release *release;
	struct parse *parse;

	while ((parse = LIST_FIRST(&parser->parses))) {
		LIST_REMOVE(parse, entry);
		pack_reader_deinit(&parse->reader);
		conf_report_deinit(&parse->report);
		(void)conf_free(parse->conf);
		close_fd(&parse->job.fd);
		close_fd(&parse->job.control_fd);
		free(parse);
	}
	while ((release = LIST_FIRST(&parser->releases)))
		release_end(release);
}
