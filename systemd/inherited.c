/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Takes over what the manager handed down. It trusts the manager's word for nothing: a socket of another kind is refused here,
 * and not found out by the first client. What is stored is told from what a socket unit made by its kind first, then by its
 * name: only one of a socket unit listens, or is called after it. Whatever else the store has in it, no start may end for it: the
 * next one would end in the same way, and so on.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <systemd/sd-daemon.h>

#include "base/base.h"
#include "systemd/inherited.h"
#include "systemd/store.h"

#define NAME_UNKNOWN	"unknown"	/* systemd's word, too, where there are no names */
#define SOCKET_UNIT	".socket"	/* what it calls a socket after whose unit does not say */

enum inherited_kind {
	INHERITED_STORED,
	INHERITED_NAMELESS,		/* nobody knows what it is for */
	INHERITED_LISTENS,		/* what could be served on */
	INHERITED_WRONG,		/* of a socket unit, and nothing to serve on */
};

static int
socket_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static bool
name_is_unit(const char *name)
{
	size_t len = strlen(name), end = strlen(SOCKET_UNIT);

	return len >= end && streq(name + len - end, SOCKET_UNIT);
}

static enum inherited_kind
entry_judge(const struct inherited_entry *entry)
{
	if (sd_is_socket(entry->fd, AF_UNSPEC, 0, 1) > 0)
		return sd_is_socket_unix(entry->fd, SOCK_SEQPACKET, 1, NULL, 0) > 0 ? INHERITED_LISTENS : INHERITED_WRONG;
	if (name_is_unit(entry->name))
		return INHERITED_WRONG;
	return streq(entry->name, NAME_UNKNOWN) ? INHERITED_NAMELESS : INHERITED_STORED;
}

/* Names that are not as many as the descriptors belong to nobody knows which. */
static void
inherited_set_names(struct inherited *inherited, const char *names)
{
	const char *at = names;
	unsigned n_names = 1;

	for (; at && *at; at++)
		n_names += *at == ':';
	for (unsigned i = 0; i < inherited->n; i++) {
		size_t len = names ? strcspn(names, ":") : 0;

		if (!names || n_names != inherited->n) {
			(void)strcpy(inherited->entries[i].name, NAME_UNKNOWN);
			continue;
		}
		memcpy(inherited->entries[i].name, names, min_u64(len, INHERITED_NAME_SIZE - 1));
		names += len + 1;
	}
}

/*
 * Of several that listen the one that is called after a socket unit, else the first: a manager hands down what its socket units
 * made before what it has stored.
 */
static void
inherited_choose(struct inherited *inherited)
{
	unsigned chosen = inherited->n;

	for (unsigned i = 0; i < inherited->n; i++) {
		const struct inherited_entry *entry = &inherited->entries[i];

		if (entry->kind != INHERITED_LISTENS)
			continue;
		if (chosen == inherited->n ||
		    (name_is_unit(entry->name) && !name_is_unit(inherited->entries[chosen].name)))
			chosen = i;
	}
	if (chosen == inherited->n)
		return;
	inherited->listen_fd = inherited->entries[chosen].fd;
	inherited->n--;
	memmove(&inherited->entries[chosen], &inherited->entries[chosen + 1],
	    (inherited->n - chosen) * sizeof(*inherited->entries));
}

/*
 * The listening socket is found first: beside it nothing that was handed down keeps us from serving. Without one, what may have been
 * meant as that is an error, rather than that clients wait at it for ever. From the store it is gone at the next attempt.
 */
static int
inherited_sort(struct inherited *inherited)
{
	int r = 0;

	for (unsigned i = 0; i < inherited->n; i++)
		inherited->entries[i].kind = entry_judge(&inherited->entries[i]);
	inherited_choose(inherited);
	if (inherited->listen_fd >= 0)
		return socket_set_nonblocking(inherited->listen_fd);
	for (unsigned i = 0; i < inherited->n; i++) {
		const struct inherited_entry *entry = &inherited->entries[i];

		if (entry->kind == INHERITED_STORED)
			continue;
		(void)store_remove(entry->name);
		r = -EINVAL;
	}
	return r;
}

int
inherited_init(struct inherited *ret_inherited)
{
	const char *names = getenv("LISTEN_FDNAMES");
	cleanup_free char *copy = names ? strdup(names) : NULL;
	struct inherited inherited = INHERITED_NULL;
	int n, r;

	*ret_inherited = inherited;
	if (names && !copy)
		return -ENOMEM;
	/* Forgotten from the environment at once. It sets CLOEXEC. */
	n = sd_listen_fds(1);
	if (n <= 0)
		return n;
	inherited.entries = calloc((size_t)n, sizeof(*inherited.entries));
	if (!inherited.entries)
		return -ENOMEM;
	for (inherited.n = 0; inherited.n < (unsigned)n; inherited.n++)
		inherited.entries[inherited.n].fd = SD_LISTEN_FDS_START + (int)inherited.n;
	inherited_set_names(&inherited, copy);
	r = inherited_sort(&inherited);
	if (r) {
		for (int i = 0; i < n; i++)
			(void)close(SD_LISTEN_FDS_START + i);	/* ours by the protocol, and of no use */
		free(inherited.entries);
		return r;
	}
	*ret_inherited = inherited;
	return 0;
}

int
inherited_take(struct inherited *inherited, const char *name)
{
	for (unsigned i = 0; i < inherited->n; i++) {
		struct inherited_entry *entry = &inherited->entries[i];

		if (entry->fd >= 0 && streq(entry->name, name))
			return take_fd(&entry->fd);
	}
	return -1;
}

/* Somebody took one of that name: removed by it, that would go, too. */
static bool
inherited_is_taken(const struct inherited *inherited, const char *name)
{
	for (unsigned i = 0; i < inherited->n; i++)
		if (inherited->entries[i].fd < 0 && streq(inherited->entries[i].name, name))
			return true;
	return false;
}

static bool
inherited_had_before(const struct inherited *inherited, unsigned end, const char *name)
{
	for (unsigned i = 0; i < end; i++)
		if (inherited->entries[i].fd >= 0 && streq(inherited->entries[i].name, name))
			return true;
	return false;
}

/* All of one name, by one message: the manager's queue has room for few. */
static void
inherited_forget(const struct inherited *inherited, const char *name, inherited_tell_fn tell, void *arg)
{
	char text[INHERITED_NAME_SIZE + 320];
	const char *what = "";
	int r;

	for (unsigned i = 0; i < inherited->n; i++)
		if (inherited->entries[i].fd >= 0 && inherited->entries[i].kind >= INHERITED_LISTENS &&
		    streq(inherited->entries[i].name, name))
			what = ", a socket that nobody serves: a socket unit is to have one ListenSequentialPacket=, and the service one "
			    "socket unit";
	if (inherited_is_taken(inherited, name)) {
		(void)snprintf(text, sizeof(text), "the service manager handed down '%s' more than once, also as something else%s: that is "
		    "let go, and removed from its store with the other", name, what);
	} else {
		r = store_remove(name);
		(void)snprintf(text, sizeof(text), "the service manager handed down '%s', which is not known%s: %s%s", name, what,
		    r ? "it could not be removed from its store: " : "removed from its store", r ? strerror(-r) : "");
	}
	tell(text, arg);
}

void
inherited_drop(struct inherited *inherited, inherited_tell_fn tell, void *arg)
{
	for (unsigned i = 0; i < inherited->n; i++)
		if (inherited->entries[i].fd >= 0 && !inherited_had_before(inherited, i, inherited->entries[i].name))
			inherited_forget(inherited, inherited->entries[i].name, tell, arg);
	/* Only now: what is closed looks as what was taken. */
	for (unsigned i = 0; i < inherited->n; i++)
		close_fd(&inherited->entries[i].fd);
}

void
inherited_deinit(struct inherited *inherited)
{
	for (unsigned i = 0; i < inherited->n; i++)
		close_fd(&inherited->entries[i].fd);
	free(inherited->entries);
	close_fd(&inherited->listen_fd);
	*inherited = (struct inherited) INHERITED_NULL;
}
