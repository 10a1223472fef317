/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Of others on the real host it may be hidden what they have, whoever asks: so that nothing is certain there. */
#include "config.h"

#include "tests/system/looking.h"

const char looking_book[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; } );\n";
const char looking_key[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; "
    "backend = \"sysv\"; key = 0x5e67d6; } );\n";
const char looking_object[] = "segments = ( { name = \"book\"; size = \"64KiB\"; mlock = false; mode = \"0666\"; "
    "backend = \"posix\"; object = \"/book\"; } );\n";

struct looking looking;

void
looking_begin(const char *body, bool is_served)
{
	harness_daemon_prepare(&looking.daemon, "memory_reserve = \"16MiB\"; workers = 1;", body);
	if (is_served)
		harness_daemon_serve_audit(&looking.daemon);
	harness_daemon_launch(&looking.daemon);
	harness_daemon_await_ready(&looking.daemon);
	harness_open(&looking.conn, looking.daemon.socket);
}

void
looking_end(void)
{
	harness_close(&looking.conn);
	harness_daemon_stop(&looking.daemon);
}

int
looking_who(void)
{
	return keeper_who(&looking.conn, "book", &looking.told, looking.text, sizeof(looking.text), looking.rows, LOOKING_ROWS);
}

void
looking_expect(int n)
{
	int got = looking_who();

	for (int i = 0; i < got && i < LOOKING_ROWS && got != n; i++)
		(void)fprintf(stderr, "pid %d (%s): how %x, %u maps, %u fds\n", looking.rows[i].pid, looking.rows[i].command,
		    looking.rows[i].how, looking.rows[i].n_maps, looking.rows[i].n_fds);
	harness_assert(got == n, "%d have it, not %d: %s", got, n, looking.text);
	harness_assert(!(looking.told.flags & (PROTOCOL_TOLD_FAILED | PROTOCOL_TOLD_INCOMPLETE)), "%s", looking.text);
}

void
looking_expect_unseen(uint32_t n)
{
	if (looking.told.n_hidden && getpid() != 1)
		return;
	harness_assert(looking.told.n_hidden == 0, "%u are hidden: %s", looking.told.n_hidden, looking.text);
	harness_assert(looking.told.n_unseen == n, "%u are unseen, not %u", looking.told.n_unseen, n);
}

const struct protocol_process *
looking_row(pid_t pid)
{
	for (int i = 0; i < LOOKING_ROWS; i++)
		if (looking.rows[i].pid == pid)
			return &looking.rows[i];
	harness_fail("pid %d is not among them", (int)pid);
}

void
looking_expect_row(pid_t pid, uint32_t how, uint32_t n_maps, uint32_t n_fds)
{
	const struct protocol_process *row = looking_row(pid);

	harness_assert(LOOKING_HELD(row->how) == how, "pid %d has it as %x, not %x", (int)pid, LOOKING_HELD(row->how), how);
	ck_assert_uint_eq(row->n_maps, n_maps);
	ck_assert_uint_eq(row->n_fds, n_fds);
	ck_assert_uint_eq(row->mapped_bytes, n_maps * LOOKING_SIZE);
	ck_assert_str_ne(row->command, "");
	ck_assert_uint_le(row->started_ns, clock_realtime_ns());
}

struct protocol_holder
looking_holder(void)
{
	struct protocol_holder holder;

	ck_assert_int_eq(harness_holders(&looking.conn, "book", &holder, 1), 1);
	return holder;
}

struct protocol_holder
looking_unsupervised(void)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct protocol_holder holder;

	do
		holder = looking_holder();
	while (holder.session && harness_clock_ns() < until_ns);
	ck_assert(holder.flags & PROTOCOL_HOLDER_UNSUPERVISED);
	return holder;
}
