/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reads what earlier daemons have put aside, and leaves it where it is: SO_PEEK_OFF walks over a queue, and the kernel gives a
 * copy of each descriptor. So whoever is killed while reading has taken nothing from the next one.
 *
 * What is read was written by a segmentd, but perhaps by another version, or by nobody knows whom under our names: nothing of it
 * is believed but what fits the form, and each descriptor that comes is taken or closed.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/box.h"
#include "daemon/box_pair.h"

#define MESSAGES_MAX	(1 << 20)	/* of one queue */
#define SPARE_FDS	64		/* that the daemon needs to work, when there are not enough for all */

struct box_item {
	struct box_label label;
	uint64_t n;			/* of its pair */
	uint64_t place;			/* in the pair, as it was put */
	int fd;
};

struct box_message {
	union {
		struct {
			struct box_wire_header header;
			struct box_wire_label labels[BOX_MESSAGE_FDS];
		};
		char bytes[sizeof(struct box_wire_header) + BOX_MESSAGE_FDS * sizeof(struct box_wire_label)];
	};
	size_t size;			/* as it was sent */
	bool is_cut;			/* descriptors of it did not come */
	bool is_known;			/* newer pairs have all that is in it: its descriptors were left out */
	unsigned n_fds;
	int fds[BOX_MESSAGE_FDS];
};

struct box_peek {
	struct box_item *items;
	size_t n, size;
	uint64_t n_missing;		/* descriptors that could not be had */
	bool is_limited;		/* since too many are open */
	size_t n_known;			/* of newer pairs than that which is being read, sorted, one of each label */
	box_tell_fn tell;
	void *arg;
};

/* What was wrong with one queue. */
struct box_faults {
	uint64_t n_foreign;		/* messages that are none of ours */
	uint64_t n_uneven;		/* with other descriptors than labels */
	uint64_t n_missing;
	uint32_t newer;			/* a newer version's number */
};

static void
peek_tell(struct box_peek *peek, const char *format, ...) BASE_PRINTF(2, 3);

static void
peek_tell(struct box_peek *peek, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	peek->tell(text, peek->arg);
}

static void
message_close(struct box_message *message)
{
	for (unsigned i = 0; i < message->n_fds; i++)
		close_fd(&message->fds[i]);
	message->n_fds = 0;
}

static void
message_take_fds(struct box_message *message, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > BOX_MESSAGE_FDS - message->n_fds)
			continue;
		memcpy(message->fds + message->n_fds, CMSG_DATA(c), n * sizeof(int));
		message->n_fds += (unsigned)n;
	}
}

static bool
end_is_alone(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

/* The next message at offset, with its descriptors if they are wanted: 1; 0: there is none; or a negative errno. */
static int
message_peek(int fd, bool wants_fds, uint64_t *offset, struct box_message *ret_message)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(BOX_MESSAGE_FDS * sizeof(int))];
	} control;
	struct iovec part = { ret_message->bytes, sizeof(ret_message->bytes) };
	struct msghdr msg = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = wants_fds ? &control : NULL, .msg_controllen = wants_fds ? sizeof(control) : 0,
	};
	int at = (int)*offset;
	ssize_t n;

	/* Set each time: of a message that is too long for us the kernel would give the rest next. */
	if (*offset > INT32_MAX || setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at)))
		return *offset > INT32_MAX ? -EOVERFLOW : -errno;
	n = recvmsg(fd, &msg, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* What a peer's end has left as an error is said once, before what is in the queue. */
	if (n < 0 && (errno == ECONNRESET || errno == EINTR))
		n = recvmsg(fd, &msg, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	/* Of nothing, or the end: of a message the other end is there still, as a rule. */
	if (n == 0 && end_is_alone(fd))
		return 0;
	*offset += (uint64_t)n;
	ret_message->size = (size_t)n;
	ret_message->is_cut = (msg.msg_flags & MSG_CTRUNC) != 0;
	ret_message->n_fds = 0;
	message_take_fds(ret_message, &msg);
	return 1;
}

/* Whether its form is ours; counts what is wrong with it. */
static bool
message_is_ours(const struct box_message *message, struct box_faults *faults)
{
	const struct box_wire_header *header = &message->header;

	if (message->size < sizeof(*header) || memcmp(header->magic, BOX_WIRE_MAGIC, sizeof(header->magic)) != 0 ||
	    header->version == 0) {
		faults->n_foreign++;
		return false;
	}
	if (header->version > BOX_WIRE_VERSION) {
		faults->newer = header->version;
		return false;
	}
	if ((header->n_labels == 0) != (header->flags == BOX_WIRE_FILLED) || header->n_labels > BOX_MESSAGE_FDS ||
	    message->size != sizeof(*header) + header->n_labels * sizeof(message->labels[0])) {
		faults->n_foreign++;
		return false;
	}
	return true;
}

static int
compare_labels(const struct box_label *x, const struct box_label *y)
{
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->id != y->id ? (x->id < y->id ? -1 : 1) : 0;
}

/* By kind and id; of one label what was put last comes first. */
static int
compare_items(const void *a, const void *b)
{
	const struct box_item *x = a, *y = b;
	int r = compare_labels(&x->label, &y->label);

	if (r)
		return r;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->place > y->place ? -1 : x->place < y->place;
}

static void
peek_close(struct box_peek *peek, size_t from)
{
	for (size_t i = from; i < peek->n; i++)
		close_fd(&peek->items[i].fd);
}

/* As a filling is that nobody has put into since. */
static bool
peek_is_sorted(const struct box_peek *peek)
{
	for (size_t i = 1; i < peek->n; i++) {
		if (compare_items(&peek->items[i - 1], &peek->items[i]) > 0)
			return false;
	}
	return true;
}

/* Leaves one item of each label. */
static void
peek_sort(struct box_peek *peek)
{
	size_t n = 0;

	if (!peek_is_sorted(peek))
		qsort(peek->items, peek->n, sizeof(*peek->items), compare_items);
	for (size_t i = 0; i < peek->n; i++) {
		struct box_item *item = &peek->items[i];

		if (n && compare_labels(&peek->items[n - 1].label, &item->label) == 0)
			close_fd(&item->fd);
		else
			peek->items[n++] = *item;
	}
	peek->n = n;
}

static struct box_label
message_label(const struct box_message *message, unsigned i)
{
	const struct box_wire_label *wire = &message->labels[i];

	return (struct box_label) { .kind = wire->kind, .id = (uint64_t)wire->id_high << 32 | wire->id_low };
}

static int
compare_label(const void *key, const void *element)
{
	const struct box_label *label = key;
	const struct box_item *item = element;

	return compare_labels(label, &item->label);
}

static bool
peek_knows(const struct box_peek *peek, const struct box_label *label)
{
	return peek->n_known && bsearch(label, peek->items, peek->n_known, sizeof(*peek->items), compare_label);
}

static bool
peek_knows_all(const struct box_peek *peek, const struct box_message *message)
{
	for (unsigned i = 0; i < message->header.n_labels; i++) {
		const struct box_label label = message_label(message, i);

		if (!peek_knows(peek, &label))
			return false;
	}
	return true;
}

/* As message_peek(); without its descriptors where each would be a second one of its item. */
static int
peek_message(const struct box_peek *peek, int fd, uint64_t *offset, struct box_message *ret_message)
{
	struct box_faults faults = { 0 };
	uint64_t at = *offset;
	int r;

	if (peek->n_known) {
		r = message_peek(fd, false, offset, ret_message);
		ret_message->is_known = r > 0 && message_is_ours(ret_message, &faults) && peek_knows_all(peek, ret_message);
		if (r <= 0 || ret_message->is_known)
			return r;
		*offset = at;
	}
	ret_message->is_known = false;
	return message_peek(fd, true, offset, ret_message);
}

static int
peek_reserve(struct box_peek *peek, size_t n)
{
	size_t size = peek->size ? peek->size : 1024;
	struct box_item *items;

	while (size < peek->n + n)
		size *= 2;
	if (size == peek->size)
		return 0;
	items = realloc(peek->items, size * sizeof(*items));
	if (!items)
		return -ENOMEM;
	peek->items = items;
	peek->size = size;
	return 0;
}

/*
 * Takes its descriptors, which are in the order of its labels: those that did not come are the last. What newer pairs have is left to
 * message_close(), at once: beside something that has ended since there may be all that lives.
 */
static int
peek_take_message(struct box_peek *peek, uint64_t n, uint64_t place, struct box_message *message, struct box_faults *faults)
{
	unsigned n_labels = message->header.n_labels, n_items = (unsigned)min_u64(n_labels, message->n_fds);

	if (!message->is_cut && n_labels != message->n_fds)
		faults->n_uneven++;
	if (peek_reserve(peek, n_items))
		return -ENOMEM;
	for (unsigned i = 0; i < n_labels; i++) {
		const struct box_label label = message_label(message, i);

		if (peek_knows(peek, &label))
			continue;
		if (i < n_items)
			peek->items[peek->n++] = (struct box_item) {
				.label = label, .n = n, .place = place + i, .fd = take_fd(&message->fds[i]),
			};
		else if (message->is_cut)
			faults->n_missing++;
	}
	return 0;
}

/* Whether the process may have one more. */
static bool
fds_are_left(int fd)
{
	cleanup_close int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy >= 0 || (errno != EMFILE && errno != ENFILE);
}

static void
peek_tell_faults(struct box_peek *peek, const char *name, const struct box_faults *faults)
{
	if (faults->newer)
		peek_tell(peek, "'%s' is of a newer segmentd (version %" PRIu32 ", this one reads up to %u): it stays in the service "
		    "manager's store for that; what only it has is not taken over", name, faults->newer, BOX_WIRE_VERSION);
	if (faults->n_foreign)
		peek_tell(peek, "'%s' has %" PRIu64 " messages that no segmentd has written: they are left out", name,
		    faults->n_foreign);
	if (faults->n_uneven)
		peek_tell(peek, "'%s' has %" PRIu64 " messages with other descriptors than labels: what has both is taken over", name,
		    faults->n_uneven);
	if (faults->n_missing && !peek->is_limited)
		peek_tell(peek, "of '%s' the kernel did not hand over %" PRIu64 " descriptors; a security module may forbid it: see "
		    "its log; they stay in the service manager's store", name, faults->n_missing);
}

static bool
peek_is_forbidden(int r)
{
	return r == -EACCES || r == -EPERM;
}

/* Reads one queue into what is known of the pair. 0 or a negative errno. */
static int
peek_end(struct box_peek *peek, struct box_pair *pair, enum box_side side, int fd)
{
	struct box_faults faults = { 0 };
	struct box_message message;
	char name[BOX_PAIR_NAME_SIZE];
	uint64_t offset = 0, place = side == BOX_A ? 0 : (uint64_t)MESSAGES_MAX * BOX_MESSAGE_FDS;
	int r = 1;

	box_pair_name(pair->n, side, name);
	for (unsigned i = 0; i < MESSAGES_MAX; i++, place += BOX_MESSAGE_FDS) {
		bool is_ours;

		r = peek_message(peek, fd, &offset, &message);
		if (r <= 0)
			break;
		pair->is_used = true;
		is_ours = message_is_ours(&message, &faults);
		pair->is_filled |= is_ours && message.header.flags == BOX_WIRE_FILLED;
		r = is_ours && !message.is_known ? peek_take_message(peek, pair->n, place, &message, &faults) : 0;
		message_close(&message);
		if (r)
			return r;
	}
	/* What the kernel has no room for now, or lets nobody read, the next start may find; what is not read goes from the store. */
	if (r == -ENOMEM || r == -ENOBUFS || r == -EINTR)
		return r;
	if (r < 0)
		peek_tell(peek, "'%s' cannot be read: %s%s", name, strerror(-r), peek_is_forbidden(r) ? "; a security module or a "
		    "filter of system calls may forbid it" : "");
	if (peek_is_forbidden(r))
		return r;
	if (faults.n_missing && !fds_are_left(fd))
		peek->is_limited = true;
	peek->n_missing += faults.n_missing;
	peek_tell_faults(peek, name, &faults);
	pair->stays |= faults.newer || faults.n_missing || pair->box->spares_past;
	return 0;
}

/* The pair of that number, in the order of numbers. */
static struct box_pair *
box_find_pair(struct box *box, uint64_t n)
{
	struct box_pair *pair, *after = NULL;

	TAILQ_FOREACH(pair, &box->pairs, entry) {
		if (pair->n == n)
			return pair;
		if (pair->n < n)
			after = pair;
	}
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		return NULL;
	pair->box = box;
	pair->n = n;
	pair->ends[BOX_A] = pair->ends[BOX_B] = -1;
	pair->n_said = BOX_SIDE_N;
	pair->is_kept = pair->is_inherited = true;
	if (after)
		TAILQ_INSERT_AFTER(&box->pairs, after, pair, entry);
	else
		TAILQ_INSERT_HEAD(&box->pairs, pair, entry);
	return pair;
}

/* 1; 0: it is none; or a negative errno. */
static int
is_end(int fd)
{
	int domain = -1, type = -1, listens = 1;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len))
		return errno == ENOMEM || errno == ENOBUFS ? -errno : 0;
	return domain == AF_UNIX && type == SOCK_SEQPACKET && !listens;
}

/* Consumes *fd. A second end of the same name is read as the first is. */
static int
peek_entry(struct box *box, struct box_peek *peek, uint64_t n, enum box_side side, int *fd)
{
	struct box_pair *pair = box_find_pair(box, n);
	int r;

	if (!pair)
		return -ENOMEM;
	box->last_n = max_u64(box->last_n, n);
	r = peek_end(peek, pair, side, *fd);
	if (r)
		return r;
	if (pair->ends[side] < 0)
		pair->ends[side] = take_fd(fd);
	return 0;
}

/* Both its ends, or what there is of it; none of these is ours: 0. */
static int
peek_pair(struct box *box, struct box_peek *peek, struct inherited *inherited, uint64_t pair_n)
{
	for (unsigned i = 0; i < inherited->n; i++) {
		struct inherited_entry *entry = &inherited->entries[i];
		cleanup_close int fd = -1;
		enum box_side side;
		uint64_t n;
		int r;

		if (entry->fd < 0 || !box_pair_parse_name(entry->name, &n, &side) || n != pair_n)
			continue;
		r = is_end(entry->fd);
		if (r < 0)
			return r;
		/* Left to whoever removes what is not known. */
		if (r == 0) {
			peek_tell(peek, "'%s' is no end of a box", entry->name);
			continue;
		}
		fd = take_fd(&entry->fd);
		r = peek_entry(box, peek, n, side, &fd);
		if (r)
			return r;
	}
	return 0;
}

/* The highest number of a pair below that one. 0: there is none. */
static uint64_t
pair_number_below(const struct inherited *inherited, uint64_t below)
{
	uint64_t highest = 0, n;
	enum box_side side;

	for (unsigned i = 0; i < inherited->n; i++) {
		if (inherited->entries[i].fd >= 0 && box_pair_parse_name(inherited->entries[i].name, &n, &side) && n < below)
			highest = max_u64(highest, n);
	}
	return highest;
}

/*
 * The newest first. A daemon that was killed before it had removed those that its own makes needless leaves most items more than
 * once: who takes them over needs hardly more descriptors for that than it would without.
 */
static int
peek_inherited(struct box *box, struct box_peek *peek, struct inherited *inherited)
{
	for (uint64_t n = UINT64_MAX; (n = pair_number_below(inherited, n)) != 0;) {
		int r = peek_pair(box, peek, inherited, n);

		if (r)
			return r;
		peek_sort(peek);
		peek->n_known = peek->n;
	}
	return 0;
}

/* With none to spare nothing at all could be served: the last ones, of sessions first, are let go. They stay where they are. */
static void
peek_spare(struct box_peek *peek)
{
	size_t n = (size_t)min_u64(SPARE_FDS, peek->n);
	struct rlimit limit = { 0 };

	if (!peek->is_limited)
		return;
	peek_close(peek, peek->n - n);
	peek->n -= n;
	peek->n_missing += n;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	peek_tell(peek, "%" PRIu64 " descriptors of earlier daemons could not be taken over, since this one may have no more than %ju "
	    "open: LimitNOFILE= of the service is to be raised; they stay in the service manager's store", peek->n_missing,
	    (uintmax_t)limit.rlim_cur);
}

/*
 * What has to stay in the store is none of ours to put into or remove: only its number is not used again. And of a filled pair
 * there have to be both ends, or it makes nothing needless.
 */
static void
box_leave_staying(struct box *box)
{
	struct box_pair *pair, *next;

	for (pair = TAILQ_FIRST(&box->pairs); pair; pair = next) {
		next = TAILQ_NEXT(pair, entry);
		pair->is_filled &= pair->ends[BOX_A] >= 0 && pair->ends[BOX_B] >= 0;
		if (!pair->stays)
			continue;
		TAILQ_REMOVE(&box->pairs, pair, entry);
		(void)box_pair_free(pair);
	}
}

int
box_peek(struct box *box, struct inherited *inherited, box_take_fn take, box_tell_fn tell, void *arg)
{
	struct box_peek peek = { .tell = tell, .arg = arg };
	size_t i = 0;
	int r;

	if (!box->base)
		return 0;
	r = peek_inherited(box, &peek, inherited);
	if (r == 0)
		peek_spare(&peek);
	box->is_limited = peek.is_limited;
	box->n_missing = peek.n_missing;
	box_leave_staying(box);
	box_pairs_leave_empty(&box->pairs);
	box_pairs_leave_older(&box->pairs);
	for (; r == 0 && i < peek.n; i++)
		r = take(&peek.items[i].label, take_fd(&peek.items[i].fd), arg);
	peek_close(&peek, i);
	free(peek.items);
	return r;
}
