/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Messages of rows. A full one is sent when the next row comes, so that the last one of an answer is known as such. */
#include "config.h"

#include <stdarg.h>
#include <sys/socket.h>

#include "daemon/audit/answer.h"

void
answer_begin(struct answer *answer, int fd, const struct audit_question *question, size_t row_size)
{
	answer->fd = fd;
	answer->error = 0;
	answer->row_size = row_size;
	answer->head = (struct audit_answer) {
		.version = AUDIT_VERSION,
		.kind = question->kind,
		.serial = question->serial,
		.row_size = (uint32_t)row_size,
	};
}

static int
answer_send(struct answer *answer)
{
	size_t size = sizeof(answer->head) + answer->head.n_rows * answer->row_size;
	ssize_t n;

	if (answer->error)
		return answer->error;
	memcpy(answer->message, &answer->head, sizeof(answer->head));
	do
		n = send(answer->fd, answer->message, size, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	answer->error = n < 0 ? -errno : 0;
	answer->head.n_rows = 0;
	return answer->error;
}

int
answer_add(struct answer *answer, const void *row)
{
	size_t at = sizeof(answer->head) + answer->head.n_rows * answer->row_size;

	if (at + answer->row_size > sizeof(answer->message)) {
		answer->head.flags |= AUDIT_MORE;
		if (answer_send(answer) < 0)
			return answer->error;
		answer->head.flags &= ~AUDIT_MORE;
		at = sizeof(answer->head);
	}
	memcpy(answer->message + at, row, answer->row_size);
	answer->head.n_rows++;
	return answer->error;
}

int
answer_end(struct answer *answer)
{
	return answer_send(answer);
}

int
answer_fail(struct answer *answer, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(answer->head.text, sizeof(answer->head.text), format, args);
	va_end(args);
	answer->head.result = error;
	return answer_send(answer);
}
