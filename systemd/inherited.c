/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Takes over what the manager handed down. It trusts the manager's word for nothing: a socket of another kind is refused here,
 * and not found out by the first client. What is stored is told from what a socket unit made by its kind first, then by its
 * name: only one of a socket unit listens, or is called after it.
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
	INHERITED_LISTENS,		/* what we serve on */
	INHERITED_WRONG,		/* of a socket unit, and nothing to serve on */
	INHERITED_NAMELESS,		/* nobody knows what it is for */
	INHERITED_STORED,
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

/* A negative errno, or what it is. */
static int
entry_judge(const struct inherited_entry *entry)
{
	int r = sd_is_socket(entry->fd, AF_UNSPEC, 0, 1);

	if (r > 0) {
		r = sd_is_socket_unix(entry->fd, SOCK_SEQPACKET, 1, NULL, 0);
		return r < 0 ? r : r ? INHERITED_LISTENS : INHERITED_WRONG;
	}
	if (r < 0)
		return r;
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

/* Keeps the entries but the listening socket, which becomes listen_fd. */
static int
inherited_sort(struct inherited *inherited)
{
	unsigned n = inherited->n, n_nameless = 0;

	inherited->n = 0;
	for (unsigned i = 0; i < n; i++) {
		struct inherited_entry *entry = &inherited->entries[i];
		int kind = entry_judge(entry);

		if (kind < 0)
			return kind;
		/* Serving one of several would leave the clients of the others waiting for ever. */
		if (kind == INHERITED_WRONG || (kind == INHERITED_LISTENS && inherited->listen_fd >= 0))
			return -EINVAL;
		n_nameless += kind == INHERITED_NAMELESS;
		if (kind == INHERITED_LISTENS)
			inherited->listen_fd = entry->fd;
		else
			inherited->entries[inherited->n++] = *entry;
	}
	/* Without a socket to serve on it may have been meant as one; beside that it is only unknown. */
	if (inherited->listen_fd < 0)
		return n_nameless ? -EINVAL : 0;
	return socket_set_nonblocking(inherited->listen_fd);
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

void
inherited_drop(struct inherited *inherited, inherited_tell_fn tell, void *arg)
{
	char text[INHERITED_NAME_SIZE + 160];

	for (unsigned i = 0; i < inherited->n; i++) {
		struct inherited_entry *entry = &inherited->entries[i];
		int r;

		if (entry->fd < 0)
			continue;
		r = store_remove(entry->name);
		if (r)
			(void)snprintf(text, sizeof(text), "the service manager handed down '%s', which is not known, and it could "
			    "not be removed from its store: %s", entry->name, strerror(-r));
		else
			(void)snprintf(text, sizeof(text), "the service manager handed down '%s', which is not known: removed "
			    "from its store", entry->name);
		tell(text, arg);
		close_fd(&entry->fd);
	}
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
