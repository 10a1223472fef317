/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Attaching, creating and detaching: from a name to mapped memory and back. What the daemon says of a segment is checked
 * against the object itself before it is mapped, so that no store through the mapping can be a SIGBUS.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/client.h"
#include "client/lock.h"

#define NAME_MAX_BYTES		128	/* of a name and of a layout */
#define ALIGNMENT_MAX		GIB
#define FLAGS_ALL		(SEGMENT_READ | SEGMENT_WRITE | SEGMENT_NOWAIT | SEGMENT_POPULATE | SEGMENT_DONTFORK | \
				 SEGMENT_OWNED)
/* A segment can be gone for provisioning again (scrub) between "ready" and our request; but not for ever. */
#define WAITS_MAX		1000

/* An answer to ATTACH or CREATE, before it is believed. */
struct answer {
	struct protocol_attached attached;
	char *reply;			/* all of it */
	size_t reply_size;
	uint64_t epoch;
	int fd;
	int control_fd;
};

#define ANSWER_NULL	{ .fd = -1, .control_fd = -1 }

static void
answer_release(struct answer *answer)
{
	free(answer->reply);
	answer->reply = NULL;
	close_fd(&answer->fd);
	close_fd(&answer->control_fd);
}
#define cleanup_answer	__attribute__((cleanup(answer_release)))

static int
check_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length;

	if (!name)
		return error_set(-EINVAL, "the segment's name is missing (NULL)");
	length = strnlen(name, NAME_MAX_BYTES + 1);
	if (length == 0)
		return error_set(-EINVAL, "the segment's name is empty");
	if (length > NAME_MAX_BYTES)
		return error_set(-EINVAL, "the segment's name is longer than %d bytes: '%.40s...'", NAME_MAX_BYTES, name);
	if (strspn(name, allowed) != length || strchr("._-", name[0]))
		return error_set(-EINVAL, "a segment's name is of letters, digits, '.', '_' and '-', and begins with a letter "
		    "or a digit; the character at %zu is not", strspn(name, allowed) == length ? 1 : strspn(name, allowed) + 1);
	return 0;
}

static int
check_layout(const char *layout)
{
	if (!layout)
		return 0;
	if (*layout == '\0')
		return error_set(-EINVAL, "the layout is empty; NULL is for any");
	if (strnlen(layout, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
		return error_set(-EINVAL, "the layout is longer than %d bytes: '%.40s...'", NAME_MAX_BYTES, layout);
	return 0;
}

static int
check_flags(unsigned flags)
{
	if (flags & ~FLAGS_ALL)
		return error_set(-EINVAL, "unknown flags 0x%x; this library knows 0x%x", flags & ~FLAGS_ALL, FLAGS_ALL);
	if (!(flags & (SEGMENT_READ | SEGMENT_WRITE)))
		return error_set(-EINVAL, "the flags say neither SEGMENT_READ nor SEGMENT_WRITE");
	return 0;
}

static uint32_t
access_of(unsigned flags)
{
	return PROTOCOL_ACCESS_READ | (flags & SEGMENT_WRITE ? PROTOCOL_ACCESS_WRITE : 0);
}

/* Tells the daemon that an attachment is over. If nobody is there to be told, the kernel will. */
static void
send_detach(struct segment_client *client, uint64_t epoch, uint32_t attachment, uint64_t generation)
{
	struct protocol_detach request = { .attachment = attachment, .generation = generation };

	client_post_same(client, epoch, PROTOCOL_DETACH, &request.header, sizeof(request));
}

/* What is wrong with an answer, or NULL. */
static const char *
answer_fault(const struct answer *answer, uint32_t access)
{
	const struct protocol_attached *attached = &answer->attached;
	struct stat st;

	if (answer->fd < 0)
		return "no fd came with it";
	if (attached->size_bytes == 0 || attached->size_bytes > attached->map_bytes)
		return "its size is none, or more than what is to be mapped";
	if (attached->map_bytes > PTRDIFF_MAX - ALIGNMENT_MAX)
		return "its size is more than an address space";
	if (attached->alignment_bytes == 0 || (attached->alignment_bytes & (attached->alignment_bytes - 1)) ||
	    attached->alignment_bytes > ALIGNMENT_MAX)
		return "its alignment is no power of two up to 1 GiB";
	if (attached->access != access)
		return "its access is not the one that was asked for";
	if (fstat(answer->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "its fd is no memory object";
	if ((uint64_t)st.st_size < attached->map_bytes)
		return "its memory object is smaller than what is to be mapped";
	return NULL;
}

/* Asks for the segment. */
static int
ask(struct segment_client *client, enum protocol_type type, struct protocol_header *request, size_t request_size,
    struct answer *answer)
{
	int fds[PROTOCOL_FDS_MAX] = { -1, -1 };
	struct client_call call = {
		.type = type, .request = request, .request_size = request_size,
		.reply_size = PROTOCOL_MESSAGE_MAX, .fds = fds, .n_fds = PROTOCOL_FDS_MAX,
	};
	int r;

	if (!answer->reply)
		answer->reply = malloc(PROTOCOL_MESSAGE_MAX);
	if (!answer->reply)
		return error_set(-ENOMEM, "memory ran out");
	call.reply = answer->reply;
	r = client_call(client, &call);
	if (r < 0)
		return r;
	answer->fd = fds[0];
	answer->control_fd = fds[1];
	answer->epoch = call.epoch;
	answer->reply_size = call.reply_size;
	if (call.reply_size < sizeof(answer->attached)) {
		client_drop(client, call.epoch);
		return error_set(-EPROTO, "the daemon broke the protocol: an attachment of %zu bytes, not %zu",
		    call.reply_size, sizeof(answer->attached));
	}
	memcpy(&answer->attached, answer->reply, sizeof(answer->attached));
	return 0;
}

/* Receives nothing that takes the place of a standard stream, which the program may have closed. */
static int
move_fd(int *fd)
{
	int moved;

	if (*fd >= 3)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (moved < 0)
		return error_set(-errno, "no file descriptor above 2 is left: %s", strerrordesc_np(errno));
	(void)close(*fd);
	*fd = moved;
	return 0;
}

static struct lock_answer
locks_of(const struct answer *answer)
{
	return (struct lock_answer){
		.attached = &answer->attached, .rows = answer->reply + sizeof(answer->attached),
		.rows_bytes = answer->reply_size - sizeof(answer->attached), .fd = answer->control_fd,
	};
}

static void
segment_free(struct segment *segment)
{
	close_fd(&segment->fd);
	free(segment);
}

/* Makes a handle of a checked answer. *ret_fault: what turned out to be wrong with that, and the error is -EPROTO. */
static int
make_segment(struct segment_client *client, const char *name, struct answer *answer, unsigned flags,
    struct segment **ret_segment, const char **ret_fault)
{
	const struct protocol_attached *attached = &answer->attached;
	struct lock_answer locks = locks_of(answer);
	struct mapping mapping = {
		.map_bytes = attached->map_bytes,
		.populate_bytes = flags & SEGMENT_POPULATE ? attached->size_bytes : 0,
		.alignment_bytes = attached->alignment_bytes,
		.write = flags & SEGMENT_WRITE,
		.dontfork = flags & SEGMENT_DONTFORK,
		.dontdump = attached->flags & PROTOCOL_ATTACHED_DONTDUMP,
	};
	struct segment *segment = malloc(sizeof(*segment));
	int r;

	if (!segment)
		return error_set(-ENOMEM, "memory ran out");
	*segment = (struct segment){
		.client = client, .size_bytes = attached->size_bytes, .map_bytes = attached->map_bytes,
		.generation = attached->generation, .epoch = answer->epoch, .forks = client_forks(),
		.attachment = attached->attachment, .dontfork = mapping.dontfork, .fd = take_fd(&answer->fd),
	};
	r = move_fd(&segment->fd);
	if (r < 0)
		goto fail;
	mapping.fd = segment->fd;
	r = mapping_new(&mapping, &segment->data);
	if (r < 0)
		goto fail;
	r = lock_table_new(client, name, &locks, &mapping, segment, ret_fault);
	if (r < 0)
		goto fail_table;
	if (segment->n_locks)
		lock_list_add(segment);
	growth_add(segment);
	*ret_segment = segment;
	return 0;
fail_table:
	lock_table_free(segment, true);
	(void)munmap(segment->data, segment->map_bytes);
fail:
	segment_free(segment);
	return r;
}

/* From an answer to a handle. An attachment that comes to nothing is given back. */
static int
take_answer(struct segment_client *client, const char *name, struct answer *answer, unsigned flags,
    struct segment **ret_segment)
{
	struct lock_answer locks = locks_of(answer);
	const char *fault = answer_fault(answer, access_of(flags));
	int r = 0;

	if (!fault)
		fault = lock_answer_fault(&locks);
	if (!fault)
		r = make_segment(client, name, answer, flags, ret_segment, &fault);
	if (fault) {
		client_drop(client, answer->epoch);
		return error_set(-EPROTO, "the daemon's answer for segment '%s' cannot be right: %s; the connection was closed",
		    name, fault);
	}
	if (r < 0)
		send_detach(client, answer->epoch, answer->attached.attachment, answer->attached.generation);
	return r;
}

/*
 * Waits until the segment is no longer being provisioned, on a connection of its own: other threads go on using the
 * client's. A connection that breaks meanwhile is made anew by client_call.
 */
static int
wait_ready(const struct segment_client *client, const char *name)
{
	struct protocol_wait request = { .progress_bytes = PROTOCOL_WAIT_STATE };
	struct protocol_waited waited;
	struct segment_client *waiter = NULL;
	cleanup_free char *reply = malloc(PROTOCOL_MESSAGE_MAX);
	struct client_call call = {
		.type = PROTOCOL_WAIT, .request = &request.header, .request_size = sizeof(request),
		.reply = reply, .reply_size = PROTOCOL_MESSAGE_MAX,
	};
	int r;

	if (!reply)
		return error_set(-ENOMEM, "memory ran out");
	memcpy(request.name, name, strlen(name));
	r = client_new(client->path, &waiter);
	if (r < 0)
		return r;
	r = client_call(waiter, &call);
	client_free(waiter);
	if (r < 0)
		return r;
	if (call.reply_size < sizeof(waited))
		return error_set(-EPROTO, "the daemon broke the protocol: an answer to WAIT of %zu bytes", call.reply_size);
	memcpy(&waited, reply, sizeof(waited));
	if (waited.state == PROTOCOL_DECLARED || waited.state == PROTOCOL_PROVISIONING || waited.state >= PROTOCOL_STATE_N)
		return error_set(-EPROTO, "the daemon broke the protocol: '%s' is in state %u after the wait for it", name,
		    (unsigned)waited.state);
	return 0;
}

static int
attach(struct segment_client *client, const char *name, const char *layout, unsigned flags, struct segment **ret_segment)
{
	struct protocol_attach request = {
		.access = access_of(flags),
		.flags = flags & SEGMENT_OWNED ? PROTOCOL_ATTACH_OWNED : 0,
	};
	cleanup_answer struct answer answer = ANSWER_NULL;
	int r;

	memcpy(request.name, name, strlen(name));
	if (layout)
		memcpy(request.layout, layout, strlen(layout));
	for (unsigned waits = 0;; waits++) {
		r = ask(client, PROTOCOL_ATTACH, &request.header, sizeof(request), &answer);
		if (r != -EAGAIN || (flags & SEGMENT_NOWAIT) || waits == WAITS_MAX)
			break;
		r = wait_ready(client, name);
		if (r < 0)
			return r;
	}
	if (r == 0)
		return take_answer(client, name, &answer, flags, ret_segment);
	return r;
}

int
segment_attach(struct segment_client *client, const char *name, const char *layout, unsigned flags,
    struct segment **ret_segment)
{
	int r;

	if (!client || !ret_segment)
		return error_set(-EINVAL, "segment_attach: the %s is missing (NULL)", client ? "place for the segment" : "client");
	if ((r = check_name(name)) < 0 || (r = check_layout(layout)) < 0 || (r = check_flags(flags)) < 0)
		return r;
	return attach(client, name, layout, flags, ret_segment);
}

int
segment_create(struct segment_client *client, const char *name, size_t size, unsigned flags, struct segment **ret_segment)
{
	struct protocol_create request = { .size_bytes = size };
	cleanup_answer struct answer answer = ANSWER_NULL;
	int r;

	if (!client || !ret_segment)
		return error_set(-EINVAL, "segment_create: the %s is missing (NULL)", client ? "place for the segment" : "client");
	flags |= SEGMENT_WRITE;
	if ((r = check_name(name)) < 0 || (r = check_flags(flags)) < 0)
		return r;
	if (size == 0)
		return error_set(-EINVAL, "a segment of no bytes cannot be created");
	memcpy(request.name, name, strlen(name));
	r = ask(client, PROTOCOL_CREATE, &request.header, sizeof(request), &answer);
	/* It exists now, and is provisioned as any other. */
	if (r == -EAGAIN && !(flags & SEGMENT_NOWAIT)) {
		r = wait_ready(client, name);
		return r < 0 ? r : attach(client, name, NULL, flags, ret_segment);
	}
	if (r == 0)
		return take_answer(client, name, &answer, flags, ret_segment);
	return r;
}

/* Whether this process has the mapping: a forked child may not. */
static bool
is_mapped(const struct segment *segment)
{
	return !segment->dontfork || segment->forks == client_forks();
}

int
segment_detach(struct segment *segment)
{
	int r = 0;

	if (!segment)
		return 0;
	growth_remove(segment);
	if (segment->n_locks) {
		/* First, while the end of a thread that has one of its locks still waits for this. */
		lock_end_all(segment);
		lock_list_remove(segment);
		lock_table_free(segment, is_mapped(segment));
	}
	/* What is not ours to unmap may be somebody else's mapping by now. */
	if (is_mapped(segment) && munmap(segment->data, segment->map_bytes) < 0)
		r = error_set(-errno, "unmapping the segment failed: %s", strerrordesc_np(errno));
	close_fd(&segment->fd);
	/* Last, since the daemon asks the kernel when it hears of it. A child's attachment is its parent's. */
	if (segment->forks == client_forks())
		send_detach(segment->client, segment->epoch, segment->attachment, segment->generation);
	segment_free(segment);
	return r;
}

void *
segment_data(const struct segment *segment)
{
	return segment && is_mapped(segment) ? segment->data : NULL;
}

size_t
segment_size(const struct segment *segment)
{
	return segment ? atomic_load_explicit(&segment->size_bytes, memory_order_acquire) : 0;
}

int
segment_fd(const struct segment *segment)
{
	return segment ? segment->fd : -1;
}

uint64_t
segment_generation(const struct segment *segment)
{
	return segment ? segment->generation : 0;
}
