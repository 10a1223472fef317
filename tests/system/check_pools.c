/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Segments of huge pages out of the kernel's pools: taken and given back to the page, refused with the command that mends it
 * where there are none, and never a SIGBUS for anybody. What the daemon says of them is held against the kernel.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "host/cgroup.h"
#include "tests/harness_locks.h"
#include "tests/system/pool.h"
#include "tests/system/reloading.h"

#define N_MANY		64
#define HUGE		(2 * MIB)
#define DESK(keys)	"segments = ( { name = \"desk\"; page_size = \"2MiB\"; required = false; " keys " } );"

static struct harness_daemon daemon_;
static struct harness_conn conn;

static void
start(const char *body)
{
	harness_daemon_start(&daemon_, NULL, body);
	harness_open(&conn, daemon_.socket);
}

static void
stop(void)
{
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}

/* Does what a reason says between backquotes, as its reader would. */
static void
obey(const char *name)
{
	struct harness_reply shown;
	const char *begin, *end;
	char command[512];

	ck_assert_int_eq(harness_show(&conn, name, &shown), 0);
	begin = strchr(harness_reason(&shown), '`');
	end = begin ? strchr(begin + 1, '`') : NULL;
	harness_assert(end, "no command in '%s'", harness_reason(&shown));
	(void)snprintf(command, sizeof(command), "{ %.*s; } >/dev/null", (int)(end - begin - 1), begin + 1);
	harness_assert(system(command) == 0, "`%s` failed", command);
}

static void
retry(const char *name)
{
	struct protocol_retry request = { 0 };
	struct harness_reply reply;

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_RETRY, &request.header, sizeof(request), &reply), 0);
}

/* Bytes of the mapping at address that the kernel maps by pages of this size: of a pool all or nothing. */
static uint64_t
mapped_by(const void *address, uint64_t page_bytes)
{
	cleanup_fclose FILE *f = fopen("/proc/self/smaps", "re");
	uint64_t start, end, kib, bytes = 0;
	char line[512];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			bytes = start == (uintptr_t)address ? end - start : 0;
		else if (bytes && sscanf(line, "KernelPageSize: %" SCNu64, &kib) == 1)
			return kib * KIB == page_bytes ? bytes : 0;
	}
	return 0;
}

START_TEST(memfd_is_of_the_pool_and_gives_it_back)
{
	struct harness_segment segment;
	struct protocol_segment row;

	pool_set_free(HUGE, -1, 8);
	start(DESK("size = \"8MiB\"; max_size = \"12MiB\"; locks = ( { name = \"all\"; offset = \"0\"; length = \"8MiB\"; "
	    "undo = \"4KiB\"; } );"));
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_eq(row.resident_bytes, 8 * MIB);
	ck_assert_uint_eq(row.huge_bytes, 8 * MIB);
	ck_assert_uint_ge(row.locked_bytes, 8 * MIB);
	ck_assert_uint_eq(row.page_shift, 21);
	ck_assert_uint_eq(row.differs, 0);
	ck_assert_uint_eq(row.flags & PROTOCOL_SEGMENT_DEGRADED, 0);
	/* What it may become is not taken, nor reserved by anybody's mapping. */
	ck_assert_uint_eq(pool_free(HUGE), 4);
	harness_segment_open(&conn, "desk", &segment);
	ck_assert_uint_eq(pool_free(HUGE), 4);
	ck_assert_uint_eq(segment.attached.alignment_bytes, HUGE);
	memset(segment.data, 0x5a, 8 * MIB);
	ck_assert_uint_eq(mapped_by(segment.data, HUGE), 12 * MIB);
	harness_segment_close(&segment);
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 8);
}
END_TEST

START_TEST(sysv_is_of_the_pool_and_gives_it_back)
{
	struct protocol_attached attached;
	struct protocol_segment row;
	char *data;
	int fd;

	pool_set_free(HUGE, -1, 6);
	start(DESK("size = \"8MiB\"; backend = \"sysv\";"));
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_eq(row.resident_bytes, 8 * MIB);
	ck_assert_uint_eq(row.locked_bytes, 8 * MIB);
	ck_assert_uint_eq(row.huge_bytes, 8 * MIB);
	ck_assert_uint_eq(row.page_shift, 21);
	ck_assert_uint_eq(row.differs, 0);
	ck_assert_uint_eq(pool_free(HUGE), 2);
	ck_assert_int_eq(harness_attach(&conn, "desk", SUITE_WRITE, &attached, &fd), 0);
	data = shmat(attached.shm_id, NULL, 0);
	ck_assert_ptr_ne(data, (void *)-1);
	memset(data, 1, 8 * MIB);
	ck_assert_uint_eq(mapped_by(data, HUGE), 8 * MIB);
	(void)shmdt(data);
	(void)close(fd);
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 6);
}
END_TEST

/* The kernel reserves all that it may become when it is made: for itself, and from nobody else. */
START_TEST(sysv_takes_all_of_max_size_at_once_and_grows_into_it)
{
	static const char both[] = "segments = ( { name = \"other\"; page_size = \"2MiB\"; size = \"4MiB\"; backend = \"sysv\"; }, "
	    "{ name = \"desk\"; page_size = \"2MiB\"; size = \"%s\"; max_size = \"12MiB\"; backend = \"sysv\"; } );";
	struct protocol_segment row;
	char body[512];

	pool_set_free(HUGE, -1, 8);
	(void)snprintf(body, sizeof(body), both, "8MiB");
	start(body);
	(void)suite_row(&conn, "other", PROTOCOL_READY);
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_eq(row.resident_bytes, 8 * MIB);
	ck_assert_uint_eq(pool_free(HUGE), 0);
	(void)snprintf(body, sizeof(body), both, "12MiB");
	(void)reloading_hangup(&daemon_, NULL, body);
	harness_daemon_await_log(&daemon_, "has grown from 8 MiB to 12 MiB");
	/* What is in memory was counted some milliseconds ago. */
	while (suite_row(&conn, "desk", PROTOCOL_READY).resident_bytes != 12 * MIB)
		;
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 8);
}
END_TEST

static const char *const backends[] = { "backend = \"memfd\";", "backend = \"sysv\";" };

START_TEST(empty_pool_is_a_sentence_whose_command_helps)
{
	char body[512];

	pool_set_free(HUGE, -1, 1);
	(void)snprintf(body, sizeof(body), DESK("size = \"8MiB\"; %s"), backends[_i]);
	start(body);
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "8 MiB of 2 MiB pages are needed, but the pool has 2 MiB");
	suite_expect_reason(&conn, "desk", "vm.nr_hugepages=");
	ck_assert_uint_eq(pool_free(HUGE), 1);
	obey("desk");
	retry("desk");
	ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
	ck_assert_uint_eq(pool_free(HUGE), 0);
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 4);
}
END_TEST

START_TEST(what_others_reserved_is_not_counted_on)
{
	void *map;

	pool_set_free(HUGE, -1, 6);
	map = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	start(DESK("size = \"8MiB\";"));
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "the pool has 4 MiB");
	suite_expect_reason(&conn, "desk", "reserved for others");
	/* They have them still: this is no SIGBUS. */
	memset(map, 1, 4 * HUGE);
	stop();
}
END_TEST

/* Several are judged before any has taken anything: whose reservation comes last is told so, and the others are whole. */
START_TEST(of_several_at_once_the_last_is_told)
{
	struct protocol_segment rows[8];
	char body[2048];
	int n_ready = 0, len;

	pool_set_free(HUGE, -1, 5);
	len = snprintf(body, sizeof(body), "segments = (");
	for (int i = 0; i < 4; i++)
		len += snprintf(body + len, sizeof(body) - (size_t)len, "%s { name = \"s%d\"; size = \"4MiB\"; page_size = \"2MiB\"; "
		    "required = false; }", i ? "," : "", i);
	(void)snprintf(body + len, sizeof(body) - (size_t)len, " );");
	start(body);
	ck_assert_int_eq(harness_list(&conn, rows, 8), 4);
	for (int i = 0; i < 4; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "s%d", i);
		if (harness_wait(&conn, name) == PROTOCOL_READY)
			n_ready++;
		else
			suite_expect_reason(&conn, name, "reserved for others");
	}
	ck_assert_int_eq(n_ready, 2);
	ck_assert_uint_eq(pool_free(HUGE), 1);
	stop();
}
END_TEST

/* No page is counted twice while it is being reserved. */
START_TEST(what_just_fits_fits)
{
	char body[16 * KIB];
	int len;

	pool_set_free(HUGE, -1, N_MANY);
	len = snprintf(body, sizeof(body), "segments = (");
	for (int i = 0; i < N_MANY; i++)
		len += snprintf(body + len, sizeof(body) - (size_t)len, "%s { name = \"s%d\"; size = \"2MiB\"; page_size = \"2MiB\"; "
		    "required = false; }", i ? "," : "", i);
	(void)snprintf(body + len, sizeof(body) - (size_t)len, " );");
	start(body);
	for (int i = 0; i < N_MANY; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "s%d", i);
		ck_assert_int_eq(harness_wait(&conn, name), PROTOCOL_READY);
	}
	ck_assert_uint_eq(pool_free(HUGE), 0);
	stop();
}
END_TEST

START_TEST(prefer_does_without_and_says_so)
{
	struct protocol_segment row;
	char body[512];

	pool_set_free(HUGE, -1, 2);
	(void)snprintf(body, sizeof(body), DESK("size = \"8MiB\"; placement = \"prefer\"; %s"), backends[_i]);
	start(body);
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_ne(row.flags & PROTOCOL_SEGMENT_DEGRADED, 0);
	ck_assert_uint_eq(row.differs, PROTOCOL_DIFFERS_PAGES);
	ck_assert_uint_eq(row.page_shift, 0);
	ck_assert_uint_eq(row.resident_bytes, 8 * MIB);
	suite_expect_reason(&conn, "desk", "the pool has 4 MiB");
	ck_assert_uint_eq(pool_free(HUGE), 2);
	stop();
}
END_TEST

START_TEST(growth_takes_of_the_pool_or_says_what_it_lacks)
{
	struct harness_segment segment;
	struct protocol_segment row;

	pool_set_free(HUGE, -1, 6);
	start(DESK("size = \"4MiB\"; max_size = \"16MiB\";"));
	(void)suite_row(&conn, "desk", PROTOCOL_READY);
	harness_segment_open(&conn, "desk", &segment);
	memset(segment.data, 7, 4 * MIB);
	(void)reloading_hangup(&daemon_, NULL, DESK("size = \"16MiB\"; max_size = \"16MiB\";"));
	harness_daemon_await_log(&daemon_, "the pool has 8 MiB");
	ck_assert_uint_eq(pool_free(HUGE), 4);
	ck_assert_uint_eq(suite_row(&conn, "desk", PROTOCOL_READY).resident_bytes, 4 * MIB);
	(void)reloading_hangup(&daemon_, NULL, DESK("size = \"10MiB\"; max_size = \"16MiB\";"));
	do
		row = suite_row(&conn, "desk", PROTOCOL_READY);
	while (row.resident_bytes < 10 * MIB || row.size_bytes < 10 * MIB);
	ck_assert_uint_eq(pool_free(HUGE), 1);
	ck_assert_uint_eq(row.differs, 0);
	memset(segment.data + 4 * MIB, 8, 6 * MIB);
	ck_assert_int_eq(segment.data[4 * MIB - 1], 7);
	harness_segment_close(&segment);
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 6);
}
END_TEST

/* A scrub gives the pages to the pool and takes others; in between they are still ours. */
START_TEST(scrub_takes_its_pages_again)
{
	struct harness_segment segment;

	pool_set_free(HUGE, -1, 4);
	start(DESK("size = \"8MiB\"; scrub = true;"));
	(void)suite_row(&conn, "desk", PROTOCOL_READY);
	for (int i = 0; i < 3; i++) {
		harness_segment_open(&conn, "desk", &segment);
		ck_assert_int_eq(segment.data[8 * MIB - 1], 0);
		memset(segment.data, 1, 8 * MIB);
		harness_segment_close(&segment);
		ck_assert_int_eq(harness_detach(&conn, &segment.attached), 0);
		harness_await_counts(&conn, "desk", 0, 0);
		ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
		ck_assert_uint_eq(pool_free(HUGE), 0);
	}
	stop();
	ck_assert_uint_eq(pool_free(HUGE), 4);
}
END_TEST

START_TEST(page_of_1gib)
{
	struct harness_segment segment;
	struct protocol_segment row;

	pool_set_free(GIB, -1, 1);
	start("segments = ( { name = \"desk\"; page_size = \"1GiB\"; size = \"1GiB\"; required = false; } );");
	row = suite_row(&conn, "desk", PROTOCOL_READY);
	ck_assert_uint_eq(row.resident_bytes, GIB);
	ck_assert_uint_eq(row.huge_bytes, GIB);
	ck_assert_uint_eq(row.page_shift, 30);
	ck_assert_uint_eq(row.differs, 0);
	ck_assert_uint_eq(pool_free(GIB), 0);
	harness_segment_open(&conn, "desk", &segment);
	segment.data[GIB - 1] = 1;
	ck_assert_uint_eq(mapped_by(segment.data, GIB), GIB);
	harness_segment_close(&segment);
	stop();
	ck_assert_uint_eq(pool_free(GIB), 1);
}
END_TEST

/* A hugetlb cgroup, of which the root may have to let the controller in. Kept by the parent: it puts things back. */
static struct {
	char dir[512];
	char enabled[600];		/* the file that the controller was let in by */
	enum cgroup_version version;
	char why_not[700];
} group = { .why_not = "no hugetlb cgroup is mounted" };

static int
write_text(const char *dir, const char *name, const char *text)
{
	char path[1200];
	cleanup_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int
make_group_below(const char *parent, enum cgroup_version version, void *arg)
{
	char path[600];
	bool is_let_in;

	group.version = version;
	(void)snprintf(group.dir, sizeof(group.dir), "%.400s/segmentd-pools-%ld", parent, (long)getpid());
	if (mkdir(group.dir, 0755) < 0) {
		(void)snprintf(group.why_not, sizeof(group.why_not), "%s: %s", group.dir, strerror(errno));
		group.dir[0] = '\0';
		return 0;
	}
	(void)snprintf(path, sizeof(path), "%s/hugetlb.2MB.%s", group.dir, version == CGROUP_V2 ? "max" : "limit_in_bytes");
	is_let_in = access(path, W_OK) == 0;
	if (!is_let_in && version == CGROUP_V2 && write_text(parent, "cgroup.subtree_control", "+hugetlb") == 0) {
		(void)snprintf(group.enabled, sizeof(group.enabled), "%s", parent);
		is_let_in = access(path, W_OK) == 0;
	}
	if (is_let_in)
		return 1;
	(void)rmdir(group.dir);
	(void)snprintf(group.why_not, sizeof(group.why_not), "%.500s has no hugetlb controller to give", parent);
	group.dir[0] = '\0';
	return 0;
}

static void
borrow_all(void)
{
	pool_borrow();
	(void)cgroup_walk("", 0, "hugetlb", make_group_below, NULL);
}

static void
give_all_back(void)
{
	if (group.dir[0])
		(void)rmdir(group.dir);
	if (group.enabled[0])
		(void)write_text(group.enabled, "cgroup.subtree_control", "-hugetlb");
	pool_give_back();
}

static void
join_group(void *arg)
{
	char pid[32];

	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	harness_assert(write_text(group.dir, "cgroup.procs", pid) == 0, "joining %s: %m", group.dir);
}

START_TEST(cgroup_limit_is_named_with_its_file)
{
	const char *names[CGROUP_VERSION_N][2] = {
		[CGROUP_V1] = { "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes" },
		[CGROUP_V2] = { "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max" },
	};
	const char *limit = names[group.version][_i], *other = names[group.version][!_i];

	if (!group.dir[0])
		harness_skip("no hugetlb cgroup can be made here: %s", group.why_not);
	ck_assert_int_eq(write_text(group.dir, other, group.version == CGROUP_V2 ? "max" : "-1"), 0);
	if (write_text(group.dir, limit, "4194304") < 0)
		harness_skip("%s: %m", limit);
	pool_set_free(HUGE, -1, 8);
	harness_daemon_prepare(&daemon_, NULL, DESK("size = \"8MiB\";"));
	daemon_.before_exec = join_group;
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	(void)suite_row(&conn, "desk", PROTOCOL_FAILED);
	suite_expect_reason(&conn, "desk", "the hugetlb cgroup leaves 4 MiB");
	suite_expect_reason(&conn, "desk", limit);
	obey("desk");
	retry("desk");
	ck_assert_int_eq(harness_wait(&conn, "desk"), PROTOCOL_READY);
	ck_assert_uint_eq(pool_free(HUGE), 4);
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pools");
	TCase *tcase = tcase_create("pools");

	tcase_add_unchecked_fixture(tcase, borrow_all, give_all_back);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, memfd_is_of_the_pool_and_gives_it_back);
	tcase_add_test(tcase, sysv_is_of_the_pool_and_gives_it_back);
	tcase_add_test(tcase, sysv_takes_all_of_max_size_at_once_and_grows_into_it);
	tcase_add_loop_test(tcase, empty_pool_is_a_sentence_whose_command_helps, 0, BASE_ARRAY_SIZE(backends));
	tcase_add_test(tcase, what_others_reserved_is_not_counted_on);
	tcase_add_test(tcase, of_several_at_once_the_last_is_told);
	tcase_add_test(tcase, what_just_fits_fits);
	tcase_add_loop_test(tcase, prefer_does_without_and_says_so, 0, BASE_ARRAY_SIZE(backends));
	tcase_add_test(tcase, growth_takes_of_the_pool_or_says_what_it_lacks);
	tcase_add_test(tcase, scrub_takes_its_pages_again);
	tcase_add_test(tcase, page_of_1gib);
	tcase_add_loop_test(tcase, cgroup_limit_is_named_with_its_file, 0, 2);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
