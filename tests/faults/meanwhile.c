/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a start may find: see meanwhile.h. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/box.h"
#include "daemon/box_pair.h"
#include "daemon/ledger_rows.h"
#include "host/record.h"
#include "tests/faults/meanwhile.h"
#include "tests/harness_locks.h"
#include "tests/system/suite.h"
#include "tests/system/telling.h"

#define BYTES		4096
#define UNKNOWN		900000		/* numbers that the ledger has no row of */
#define MOMENT_MS	30		/* which the way to an exec takes */
#define N_CROWD		120
#define SOFT_FDS	90
#define HARD_FDS	100		/* fewer than that */

/* Clients, each of which makes one thing different. */
static struct harness_conn hears_all;	/* subscribes to everything */
static struct harness_conn follower, followed;	/* to what the other one is attached to */
static struct harness_conn lonely, replaced;	/* likewise: of the other one something else is kept */
static struct harness_conn leaving;	/* gives a segment back while there is no daemon */
static struct harness_segment left;
static uint64_t left_serial;		/* by which it asked for that */
static int heir_pipe[2];		/* who has a dead process's connection ends when it is closed */
static struct harness_child ancestor;
static pid_t ancestor_pid;
static struct harness_conn creator;	/* of System V memory, which is removed as the daemon is killed */
static struct protocol_attached created;
static int created_fd = -1;		/* of the page beside it */
static void *created_memory;
static int unknown_end = -1;		/* of a connection that was never one */

static void
arrive(struct harness_manager *manager, struct harness_conn *conn)
{
	*conn = (struct harness_conn) HARNESS_CONN_NULL;
	harness_open(conn, manager->daemon.socket);
	conn->is_lasting = conn->takes_farewell = true;
}

static void
subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session)
{
	int r = telling_subscribe(conn, PROTOCOL_SUBSCRIBE_ON | flags, session);

	harness_assert(r == 0, "subscribe: %s", strerror(-r));
}

/* Its child has its connection as well, and outlives it. */
static void
leave_an_heir(int control, void *arg)
{
	struct harness_manager *manager = arg;
	struct harness_conn conn = HARNESS_CONN_NULL;
	char byte;
	pid_t pid;

	(void)close(heir_pipe[1]);
	harness_open(&conn, manager->daemon.socket);
	pid = fork();
	harness_assert(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		(void)close(control);
		(void)!read(heir_pipe[0], &byte, 1);
		_exit(0);
	}
	harness_say(control, "left");
	harness_expect(control, "nothing more");
}

static void
create_memory(struct harness_manager *manager)
{
	int r;

	arrive(manager, &creator);
	r = harness_create(&creator, "ty-1", BYTES, &created, &created_fd);
	harness_assert(r == 0, "create: %s", strerror(-r));
	created_memory = shmat(created.shm_id, NULL, 0);
	harness_assert(created_memory != (void *)-1, "shmat: %s", strerror(errno));
}

void
meanwhile_gather(struct harness_manager *manager)
{
	/* Before there is more that it would have as well. */
	harness_assert(pipe2(heir_pipe, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	harness_child_start(&ancestor, leave_an_heir, manager);
	ancestor_pid = ancestor.pid;
	(void)close(heir_pipe[0]);
	harness_expect(ancestor.control, "left");
	arrive(manager, &hears_all);
	subscribe(&hears_all, PROTOCOL_SUBSCRIBE_ALL, 0);
	arrive(manager, &followed);
	arrive(manager, &follower);
	subscribe(&follower, 0, followed.session);
	arrive(manager, &replaced);
	arrive(manager, &lonely);
	subscribe(&lonely, 0, replaced.session);
	arrive(manager, &leaving);
	left_serial = leaving.serial + 1;
	harness_segment_open(&leaving, "m", &left);
	create_memory(manager);
	/* Each has been heard of. */
	suite_serves(&manager->daemon);
}

/* The newest pair's, through which what is read last is sent. */
static int
stored_end(struct harness_manager *manager)
{
	uint64_t newest = 0;
	int found = -1;

	for (unsigned i = 0; i < manager->n_stored; i++) {
		uint64_t n;
		char side;

		if (sscanf(manager->stored[i].name, "box-%" SCNu64 "-%c", &n, &side) == 2 && side == 'a' && n > newest) {
			newest = n;
			found = manager->stored[i].fd;
		}
	}
	harness_assert(found >= 0, "no box is stored");
	return found;
}

static void
put(int end, uint32_t kind, uint64_t id, int fd)
{
	const struct {
		struct box_wire_header header;
		struct box_wire_label label;
	} message = {
		.header = { .magic = BOX_WIRE_MAGIC, .version = BOX_WIRE_VERSION, .n_labels = 1 },
		.label = { .kind = kind, .id_low = (uint32_t)id, .id_high = (uint32_t)(id >> 32) },
	};
	size_t size = sizeof(message.header) + sizeof(message.label);
	ssize_t n = harness_send(end, &message, size, &fd, 1);

	harness_assert(n == (ssize_t)size, "the box: %s", strerror(n < 0 ? (int)-n : 0));
}

/* Of nobody's: memory, a connection, and something else by the name of a connection. */
static void
put_others(struct harness_manager *manager)
{
	cleanup_close int memory = memfd_create("unknown", MFD_CLOEXEC);
	int end = stored_end(manager), ends[2];

	harness_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair: %s", strerror(errno));
	put(end, BOX_SEGMENT_DATA, UNKNOWN, memory);
	put(end, BOX_SESSION, UNKNOWN + 1, ends[0]);
	put(end, BOX_SESSION, replaced.session, memory);
	(void)close(ends[0]);
	unknown_end = ends[1];
}

/* An end of a pair whose other end was closed with something in it: the kernel says so before what it has is read. */
static void
put_torn_pair(struct harness_manager *manager)
{
	int ends[2];

	harness_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair: %s", strerror(errno));
	harness_assert(send(ends[1], "none of ours", 12, 0) == 12 && send(ends[0], "nobody reads it", 15, 0) == 15, "send: %s",
	    strerror(errno));
	(void)close(ends[1]);
	harness_manager_store(manager, "box-7777-a", ends[0]);
	(void)close(ends[0]);
}

static int
open_state(const struct harness_manager *manager, const char *name, int flags)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", manager->daemon.state, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

/* The rows of those behind a header that was damaged are believed each for itself. */
static void
damage_ledger(const struct harness_manager *manager)
{
	cleanup_close int fd = open_state(manager, "ledger", O_RDWR);
	union {
		struct ledger_header header;
		struct ledger_row row;
	} at;

	for (off_t offset = 0; pread(fd, &at, sizeof(at), offset) == sizeof(at); offset += (off_t)sizeof(at)) {
		if (offset == 0) {
			at.header.pid ^= 1;
		} else if (at.row.kind == LEDGER_SESSION && at.row.body.session.pid == ancestor_pid) {
			/* Another one's by now, as it seems: a kernel that gives no number twice lets that come about in no other way. */
			at.row.body.session.process ^= 1;
			at.row.sum = ledger_sum(&at.row);
		} else {
			continue;
		}
		harness_assert(pwrite(fd, &at, sizeof(at), offset) == sizeof(at), "ledger: %s", strerror(errno));
	}
}

/* As who removes a segment has it for a moment: its key and its row are gone, and in the ledger it is still. */
static void
remove_memory(int record)
{
	struct record_row row;

	harness_assert(shmctl(created.shm_id, IPC_RMID, NULL) == 0, "shmctl: %s", strerror(errno));
	for (off_t at = sizeof(row); pread(record, &row, sizeof(row), at) == sizeof(row); at += (off_t)sizeof(row)) {
		if (!streq(row.segment, "ty-1"))
			continue;
		memset(&row, 0, sizeof(row));
		row.sum = record_sum(&row);
		harness_assert(pwrite(record, &row, sizeof(row), at) == sizeof(row), "record: %s", strerror(errno));
	}
}

static void
damage_files(const struct harness_manager *manager)
{
	cleanup_close int record = open_state(manager, "record", O_RDWR);

	damage_ledger(manager);
	remove_memory(record);
	harness_assert(lseek(record, 0, SEEK_END) > 0, "record: %s", strerror(errno));
	harness_assert(write(record, "none of ours", 12) == 12, "record: %s", strerror(errno));
}

/* By a number that it had already, as who connects anew and counts from the beginning. */
static void
detach_again(void)
{
	struct protocol_detach request = { .attachment = left.attached.attachment, .generation = left.attached.generation };

	leaving.serial = left_serial - 1;
	harness_fill(&leaving, &request.header, PROTOCOL_DETACH, sizeof(request));
	harness_segment_close(&left);
	harness_assert(harness_send(leaving.fd, &request, sizeof(request), NULL, 0) == sizeof(request), "send: %s", strerror(errno));
}

void
meanwhile_change(struct harness_manager *manager)
{
	harness_child_kill(&ancestor);
	detach_again();
	put_others(manager);
	put_torn_pair(manager);
	damage_files(manager);
}

void
meanwhile_scatter(struct harness_manager *manager)
{
	struct harness_conn *const conns[] = { &hears_all, &follower, &followed, &lonely, &replaced, &leaving, &creator };
	struct harness_conn watcher = HARNESS_CONN_NULL;

	(void)shmdt(created_memory);
	close_fd(&created_fd);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(conns); i++)
		harness_close(conns[i]);
	harness_open(&watcher, manager->daemon.socket);
	harness_await_gone(&watcher, "ty-1");
	harness_close(&watcher);
	(void)close(heir_pipe[1]);
	close_fd(&unknown_end);
}

static struct harness_conn asker;

/* The child of the daemon's that is segmentd-audit by now; 0: none. */
static pid_t
find_audit(pid_t daemon)
{
	pid_t pids[16];
	size_t n = harness_children(daemon, pids, BASE_ARRAY_SIZE(pids));

	for (size_t i = 0; i < n; i++) {
		char path[64], name[32] = "";
		cleanup_close int fd = -1;

		(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pids[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && strncmp(name, "segmentd-audit", 14) == 0)
			return pids[i];
	}
	return 0;
}

void
meanwhile_ask_audit(struct harness_manager *manager)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_who request = { .name = "m" };
	pid_t pid;

	arrive(manager, &asker);
	harness_fill(&asker, &request.header, PROTOCOL_WHO, sizeof(request));
	harness_assert(harness_send(asker.fd, &request, sizeof(request), NULL, 0) == sizeof(request), "send: %s", strerror(errno));
	while (!(pid = find_audit(manager->daemon.pid)))
		harness_assert(harness_clock_ns() < deadline_ns, "nobody is asked");
	(void)kill(pid, SIGSTOP);
}

void
meanwhile_hang_up(struct harness_manager *manager)
{
	(void)manager;
	harness_close(&asker);
}

void
meanwhile_break_files(struct harness_manager *manager)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/segments.d", manager->daemon.dir);
	harness_assert(mkdir(path, 0700) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
	(void)snprintf(path, sizeof(path), "%s/segments.d/more.conf", manager->daemon.dir);
	harness_assert(symlink("nothing", path) == 0, "%s: %s", path, strerror(errno));
}

/* The mounts are the world's own. */
void
meanwhile_forbid_state(struct harness_manager *manager)
{
	const char *path = manager->daemon.state;

	harness_assert(mount(path, path, NULL, MS_BIND, NULL) == 0 &&
	    mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0, "mount: %s", strerror(errno));
}

void
meanwhile_permit_state(struct harness_manager *manager)
{
	harness_assert(umount2(manager->daemon.state, MNT_DETACH) == 0, "umount: %s", strerror(errno));
}

static int lock_fd = -1;

static bool
has_open(pid_t pid, const char *path)
{
	char dir[64], at[400], link[256];
	struct dirent *entry;
	DIR *fds;
	bool found = false;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
	fds = opendir(dir);
	while (fds && !found && (entry = readdir(fds))) {
		ssize_t n;

		(void)snprintf(at, sizeof(at), "%s/%s", dir, entry->d_name);
		n = readlink(at, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		found = streq(link, path);
	}
	if (fds)
		(void)closedir(fds);
	return found;
}

void
meanwhile_inherit_lock(struct harness_manager *manager)
{
	lock_fd = open_state(manager, "lock", O_RDWR);
	harness_assert(flock(lock_fd, LOCK_EX | LOCK_NB) == 0, "lock: %s", strerror(errno));
}

void
meanwhile_exec(struct harness_manager *manager)
{
	struct pollfd end = { .fd = manager->daemon.pidfd, .events = POLLIN };
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/lock", manager->daemon.state);
	while (!has_open(manager->daemon.pid, path) && poll(&end, 1, 1) == 0)
		;
	(void)poll(&end, 1, MOMENT_MS);
	close_fd(&lock_fd);
}

void
meanwhile_take_lock(struct harness_manager *manager)
{
	meanwhile_inherit_lock(manager);
	harness_assert(ftruncate(lock_fd, 0) == 0 && dprintf(lock_fd, "%d\n", (int)getpid()) > 0, "lock: %s", strerror(errno));
}

void
meanwhile_give_lock(struct harness_manager *manager)
{
	(void)manager;
	close_fd(&lock_fd);
}

static int socket_fd = -1;		/* the one to serve on, meanwhile */

void
meanwhile_break_socket(struct harness_manager *manager)
{
	socket_fd = manager->listen_fd;
	manager->listen_fd = memfd_create("no socket", MFD_CLOEXEC);
}

void
meanwhile_mend_socket(struct harness_manager *manager)
{
	(void)close(manager->listen_fd);
	manager->listen_fd = take_fd(&socket_fd);
}

#define JOURNAL	"/run/systemd/journal"

static int journal_fd = -1;		/* its socket, in a /run of the world's own */

/* Who may not mount it has no journal, and a log. */
void
meanwhile_begin_journal(struct harness_manager *manager)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL "/socket" };

	meanwhile_break_socket(manager);
	if (harness_make_private("/run") || mount("tmpfs", "/run", "tmpfs", 0, "mode=755"))
		return;
	journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	harness_assert(journal_fd >= 0 && mkdir("/run/systemd", 0755) == 0 && mkdir(JOURNAL, 0755) == 0 &&
	    bind(journal_fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "%s: %s", address.sun_path, strerror(errno));
}

/* As the service manager says it, where standard error is the journal's. */
void
meanwhile_tell_journal(void *injector)
{
	char stream[64];
	struct stat status;

	if (access(JOURNAL "/socket", F_OK) == 0 && fstat(STDERR_FILENO, &status) == 0) {
		(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
		(void)setenv("JOURNAL_STREAM", stream, 1);
	}
	injector_prepare(injector);
}

/* It has room for the few entries of such a start. */
void
meanwhile_hear_journal(struct harness_manager *manager)
{
	cleanup_close int log = open(manager->daemon.log, O_WRONLY | O_APPEND | O_CLOEXEC);
	char entry[8192];
	ssize_t n;

	while (journal_fd >= 0 && (n = recv(journal_fd, entry, sizeof(entry) - 1, MSG_DONTWAIT)) > 0) {
		entry[n] = '\0';
		harness_assert(dprintf(log, "%s%s", strstr(entry, "PRIORITY=3") ? "error:\n" : "", entry) > 0, "log: %s", strerror(errno));
	}
}

void
meanwhile_end_journal(struct harness_manager *manager)
{
	if (journal_fd >= 0)
		(void)umount2("/run", MNT_DETACH);
	close_fd(&journal_fd);
	meanwhile_mend_socket(manager);
}

static struct harness_conn crowd[N_CROWD];

void
meanwhile_crowd(struct harness_manager *manager)
{
	for (size_t i = 0; i < N_CROWD; i++)
		arrive(manager, &crowd[i]);
}

void
meanwhile_disperse(struct harness_manager *manager)
{
	(void)manager;
	for (size_t i = 0; i < N_CROWD; i++)
		harness_close(&crowd[i]);
}

/* It raises the one to the other, which is not enough. */
void
meanwhile_lower_fds(void *injector)
{
	const struct rlimit limit = { SOFT_FDS, HARD_FDS };

	(void)setrlimit(RLIMIT_NOFILE, &limit);
	injector_prepare(injector);
}

/* Not that of its manager's, which it is told of. */
void
meanwhile_redirect(void *injector)
{
	(void)setenv("JOURNAL_STREAM", "0:0", 1);
	injector_prepare(injector);
}

void
meanwhile_be_a_unit(void *injector)
{
	(void)setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1);
	injector_prepare(injector);
}
