/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a definition says of access, as the kernel understands the list that is made of it: asked of it by opening, as many users
 * in many groups. By its name nobody gets more than by us; and no less, but where the manual says so.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/access.h"
#include "daemon/backend/posix.h"
#include "tests/suite_run.h"

#define N_DEFINITIONS	3000
#define N_ALLOW		4
#define PATH		"/dev/shm/object"

static char text[768];

static void
setup(const char *type)
{
	if (geteuid() != 0) {
		printf("SKIP: this test mounts, and takes other uids: it needs root\n");
		fflush(stdout);
		exit(EXIT_SUCCESS);
	}
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(type, "/dev/shm", type, MS_NOSUID | MS_NODEV, "mode=1777")) {
		printf("SKIP: a %s on /dev/shm: %s\n", type, strerror(errno));
		fflush(stdout);
		exit(EXIT_SUCCESS);
	}
}

static int
make_object(void)
{
	int fd = open(PATH, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static uint32_t
pick(uint32_t n)
{
	static uint64_t state = 42;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

/* Bits of a class as configurations have them: writing goes with reading. */
static uint16_t
pick_bits(void)
{
	static const uint16_t bits[] = { 0, 4, 6 };

	return bits[pick(3)];
}

static void
pick_definition(struct definition *definition, struct definition_allow *allow)
{
	*definition = (struct definition) {
		.has_owner = pick(2), .owner = 4000 + pick(3), .has_group = pick(2), .group = 5000 + pick(3),
		.mode = (uint16_t)(pick_bits() << 6 | pick_bits() << 3 | pick_bits()),
		.allow = allow, .n_allow = (uint16_t)pick(N_ALLOW + 1), .backend = DEFINITION_POSIX,
	};
	for (unsigned i = 0; i < definition->n_allow; i++) {
		allow[i] = (struct definition_allow) { .is_group = pick(2), .write = pick(2) };
		allow[i].id = (allow[i].is_group ? 5000 : 4000) + pick(4);
		/* The daemon's own, too. */
		if (pick(8) == 0)
			allow[i].id = 0;
	}
}

/* What the kernel lets somebody do, who becomes it for that. */
static uint32_t
open_as(const struct identity *identity)
{
	uint32_t access = 0;
	int fd;

	ck_assert(setgroups(identity->n_groups, identity->groups) == 0 && setegid(identity->gid) == 0 && seteuid(identity->uid) == 0);
	fd = open(PATH, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		access = PROTOCOL_ACCESS_READ;
	close_fd(&fd);
	fd = open(PATH, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		access |= PROTOCOL_ACCESS_WRITE;
	close_fd(&fd);
	/* A right to write that is none to read is none of ours. */
	fd = open(PATH, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(fd >= 0, !!(access & PROTOCOL_ACCESS_WRITE));
	close_fd(&fd);
	ck_assert(seteuid(0) == 0 && setegid(0) == 0);
	return access;
}

/*
 * Whether one entry of the list alone speaks of them, so that nothing adds up. Where others may more than the group, those whom
 * allow names may be in the group, for all that a list can say.
 */
static bool
is_plain(const struct definition *definition, const struct identity *identity)
{
	unsigned n = (identity->uid == access_owner(definition)) + identity_in_group(identity, access_group(definition));

	for (unsigned i = 0; i < definition->n_allow; i++)
		n += definition->allow[i].is_group ? identity_in_group(identity, definition->allow[i].id) :
		    identity->uid == definition->allow[i].id;
	if (definition->mode & 7 & ~(definition->mode >> 3))
		return false;
	/* The object's own group is the daemon's, and an entry, too. */
	return n + identity_in_group(identity, 0) <= 1;
}

START_TEST(nobody_gets_more_by_the_name_than_by_us)
{
	struct definition_allow allow[N_ALLOW];
	struct definition definition;
	unsigned n_plain = 0, n_had = 0;
	int fd;

	setup("tmpfs");
	fd = make_object();
	for (unsigned i = 0; i < N_DEFINITIONS; i++) {
		uint32_t group = 5000 + pick(4);
		struct identity identity = { .uid = 4000 + pick(5), .gid = pick(6) ? 5000 + pick(5) : 0, .groups = &group,
		    .n_groups = pick(2) };
		uint32_t by_us, by_name;

		pick_definition(&definition, allow);
		ck_assert_msg(posix_access_set(fd, PATH, &definition, text, sizeof(text)) == 0, "%s", text);
		by_us = access_allowed(&definition, &identity);
		by_name = open_as(&identity);
		ck_assert_msg(!(by_name & ~by_us), "definition %u: by name %u, by us %u", i, by_name, by_us);
		if (is_plain(&definition, &identity)) {
			ck_assert_msg(by_name == by_us, "definition %u: by name %u, by us %u", i, by_name, by_us);
			n_plain++;
		}
		n_had += by_name != 0;
	}
	/* It is about something. */
	ck_assert_uint_gt(n_plain, N_DEFINITIONS / 4);
	ck_assert_uint_gt(n_had, N_DEFINITIONS / 8);
}
END_TEST

START_TEST(closed_it_is_nobodys)
{
	struct definition_allow allow = { .id = 4001, .write = true };
	struct definition definition = { .has_owner = true, .owner = 4000, .mode = 0666, .allow = &allow, .n_allow = 1 };
	struct identity owner = { .uid = 4000, .gid = 5000 }, allowed = { .uid = 4001, .gid = 5000 };
	struct stat status;
	int fd;

	setup("tmpfs");
	fd = make_object();
	ck_assert_int_eq(posix_access_set(fd, PATH, &definition, text, sizeof(text)), 0);
	ck_assert_uint_ne(open_as(&owner), 0);
	ck_assert_int_eq(posix_access_set(fd, PATH, NULL, text, sizeof(text)), 0);
	ck_assert_uint_eq(open_as(&owner), 0);
	ck_assert_uint_eq(open_as(&allowed), 0);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
	ck_assert_int_lt(fgetxattr(fd, "system.posix_acl_access", NULL, 0), 0);
}
END_TEST

/* A mode says what a mode can; what it cannot is refused, and nothing has changed. */
START_TEST(without_lists_there_are_modes)
{
	struct definition definition = { .mode = 0664 };
	struct identity member = { .uid = 4000, .gid = 0 }, stranger = { .uid = 4000, .gid = 5000 };
	struct stat status;
	int fd;

	setup("ramfs");
	fd = make_object();
	ck_assert_msg(posix_access_set(fd, PATH, &definition, text, sizeof(text)) == 0, "%s", text);
	ck_assert_uint_eq(open_as(&member), PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE);
	ck_assert_uint_eq(open_as(&stranger), PROTOCOL_ACCESS_READ);
	definition.has_owner = true;
	definition.owner = 4000;
	ck_assert_int_eq(posix_access_set(fd, PATH, &definition, text, sizeof(text)), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(text, "needs access control lists"));
	ck_assert_ptr_nonnull(strstr(text, "Remedy: leave owner, group and allow out"));
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0664);
	ck_assert_int_eq(posix_access_set(fd, PATH, NULL, text, sizeof(text)), 0);
	ck_assert_uint_eq(open_as(&member), 0);
}
END_TEST

/* What a writer writes with: a page that never comes. */
static struct {
	int fd;
	void *page;
} writing;

static void *
write_object(void *arg)
{
	(void)!pwrite(writing.fd, writing.page, 1, 0);
	return NULL;
}

/* Has the lock of fd's object for five seconds, and says so; or says that there are no such pages here. */
static void
keep_lock(int fd, int told_fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffd_msg message;
	pthread_t thread;
	char said = 'n';

	range.range.len = (uint64_t)sysconf(_SC_PAGESIZE);
	writing.page = mmap(NULL, range.range.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (uintptr_t)writing.page;
	writing.fd = fd;
	if (fault_fd >= 0 && ioctl(fault_fd, UFFDIO_API, &api) == 0 && ioctl(fault_fd, UFFDIO_REGISTER, &range) == 0 &&
	    pthread_create(&thread, NULL, write_object, NULL) == 0 && read(fault_fd, &message, sizeof(message)) == sizeof(message))
		said = 'y';
	(void)!write(told_fd, &said, 1);
	(void)poll(NULL, 0, 5000);
	_exit(0);
}

/* Who has come by the name while it was cut short, and writes, would have the loop wait for him where it is made whole again. */
START_TEST(who_writes_holds_up_no_reset)
{
	struct definition definition = {
		.name = (char[]) { "book" }, .object = (char[]) { "/object" }, .size_bytes = 1 << 20, .max_size_bytes = 1 << 20, .mode = 0600,
		.backend = DEFINITION_POSIX,
	};
	const struct backend *backend = backend_find(DEFINITION_POSIX);
	struct backend_object object = BACKEND_OBJECT_NULL;
	struct backend_birth birth = { 0 };
	struct stat status;
	uint64_t begun_ns;
	char said = 0, path[64];
	int told[2], fd;
	pid_t pid;

	setup("tmpfs");
	ck_assert_msg(backend->create(&definition, &birth, &object, text, sizeof(text)) == 0, "%s", text);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", object.fd);
	ck_assert(ftruncate(object.fd, 4096) == 0 && pipe(told) == 0);
	pid = fork();
	if (pid == 0) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		keep_lock(fd, told[1]);
	}
	ck_assert_int_eq((int)read(told[0], &said, 1), 1);
	begun_ns = clock_monotonic_ns();
	backend->reset(&object);
	begun_ns = clock_monotonic_ns() - begun_ns;
	ck_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	if (said == 'n') {
		printf("SKIP: userfaultfd(2) is not to be had here\n");
		return;
	}
	ck_assert_msg(begun_ns < 2 * NS_PER_SEC, "the reset took %llu ns", (unsigned long long)begun_ns);
	/* Alone it is made whole. */
	backend->reset(&object);
	ck_assert(fstat(object.fd, &status) == 0 && status.st_size == 1 << 20);
	backend_object_close(backend, &object);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("posix_access");
	TCase *tcase = tcase_create("posix_access");

	tcase_add_test(tcase, nobody_gets_more_by_the_name_than_by_us);
	tcase_add_test(tcase, closed_it_is_nobodys);
	tcase_add_test(tcase, without_lists_there_are_modes);
	tcase_add_test(tcase, who_writes_holds_up_no_reset);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return suite_run(make_suite());
}
