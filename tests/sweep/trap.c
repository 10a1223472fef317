/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The processor's own single step (the trap flag) stops anywhere, but is dear: in a virtual machine the hypervisor has each
 * of them first. A breakpoint is not. So an instruction is stepped by a breakpoint on each that may come next, where these
 * are known: on the one behind it, or on both ways of a branch. How long an instruction is, is not guessed: it is what its
 * first time took, which is stepped by the flag. What may go elsewhere, and what is repeated, is stepped by the flag always.
 *
 * Breakpoints are gone before anything else is called here, since they may be in what is called.
 */
#define _GNU_SOURCE	/* REG_EFL */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/sweep/common.h"
#include "tests/sweep/trap.h"

#ifdef __x86_64__
#define BREAKPOINT		0xcc
#define TRAP_FLAG		0x100	/* of the flags register: a trap after the next instruction */
#define LENGTH_MAX		15	/* of an instruction */
#define KNOWN_SLOTS		16384	/* a power of two */
#define PAGES_MAX		64

enum way {
	WAY_UNKNOWN,
	WAY_ON,			/* to the one behind it */
	WAY_BRANCH,		/* there, or to a target */
	WAY_JUMP,		/* to a target */
	WAY_RETURN,
	WAY_ANY			/* by the flag */
};

struct known {
	uintptr_t address;
	uintptr_t target;
	unsigned length;
	enum way way;
};

static struct known table[KNOWN_SLOTS];
static size_t n_known;

static struct {
	uintptr_t pages[PAGES_MAX];	/* of code that may be written */
	size_t n_pages;
	unsigned char *planted[2];
	unsigned char was[2];
	size_t n_planted;
	struct known *learning;		/* whose successor is looked at */
	void (*seen)(void *);
	void *context;
	volatile bool is_begun, is_over;
} trap;

/* A prefix that changes nothing of where a branch goes: bnd, and the hints. */
static bool
is_plain_prefix(unsigned char byte)
{
	return byte == 0xf2 || byte == 0x3e || byte == 0x2e;
}

static bool
is_prefix(unsigned char byte)
{
	return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || byte == 0x2e || byte == 0x36 ||
	    byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65;
}

/* String instructions, which a prefix repeats. */
static bool
is_string(unsigned char op)
{
	return (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf) || (op >= 0x6c && op <= 0x6f);
}

static bool
is_elsewhere(const unsigned char *op)
{
	switch (op[0]) {
	case 0x9a: case 0xc2: case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xce: case 0xcf: case 0xea: case 0xf4:
		return true;
	case 0xc7:
		return op[1] == 0xf8;	/* xbegin */
	case 0x0f:
		return op[1] == 0x07 || op[1] == 0x0b || op[1] == 0x34 || op[1] == 0x35;
	case 0xff:
		return (op[1] >> 3 & 7) >= 2 && (op[1] >> 3 & 7) <= 5;
	default:
		return false;
	}
}

static void
decode_branch(struct known *known, const unsigned char *end, unsigned size, enum way way)
{
	int32_t far;

	memcpy(&far, end, sizeof(far));
	known->way = way;
	known->length = (unsigned)((uintptr_t)end + size - known->address);
	known->target = known->address + known->length + (uintptr_t)(size == 1 ? (int8_t)*end : far);
}

/* Where it may go, but for the length of what goes on. */
static void
decode(struct known *known)
{
	const unsigned char *op = (const unsigned char *)known->address;
	bool is_repeated = false, is_plain = true;

	for (; is_prefix(*op); op++) {
		is_repeated |= *op == 0xf2 || *op == 0xf3;
		is_plain &= is_plain_prefix(*op);
	}
	if ((*op & 0xf0) == 0x40) {
		is_plain = false;
		op++;
	}
	known->way = WAY_UNKNOWN;
	if ((*op & 0xf0) == 0x70 || (*op & 0xfc) == 0xe0)
		decode_branch(known, op + 1, 1, WAY_BRANCH);
	else if (*op == 0xeb)
		decode_branch(known, op + 1, 1, WAY_JUMP);
	else if (*op == 0xe8 || *op == 0xe9)
		decode_branch(known, op + 1, 4, WAY_JUMP);
	else if (*op == 0x0f && (op[1] & 0xf0) == 0x80)
		decode_branch(known, op + 2, 4, WAY_BRANCH);
	else if (*op == 0xc3)
		known->way = WAY_RETURN;
	else if (is_elsewhere(op) || (is_repeated && is_string(*op)))
		known->way = WAY_ANY;
	else if (*op == 0x0f && op[1] == 0x05) {
		/* After a system call the flag would be one instruction late. */
		known->way = WAY_ON;
		known->length = (unsigned)((uintptr_t)op + 2 - known->address);
	}
	if (!is_plain && known->way != WAY_UNKNOWN && known->way != WAY_ON && known->way != WAY_RETURN)
		known->way = WAY_ANY;
}

static struct known *
find(uintptr_t address)
{
	size_t i = address * 0x9e3779b97f4a7c15U >> 50;

	while (table[i].address && table[i].address != address)
		i = (i + 1) % KNOWN_SLOTS;
	if (!table[i].address) {
		if (++n_known > KNOWN_SLOTS / 2)
			common_die("more instructions than there is room for");
		table[i].address = address;
		decode(&table[i]);
	}
	return &table[i];
}

static void
learn(struct known *known, uintptr_t next)
{
	if (next > known->address && next <= known->address + LENGTH_MAX) {
		known->way = WAY_ON;
		known->length = (unsigned)(next - known->address);
	} else {
		known->way = WAY_ANY;
	}
}

static bool
make_writable(uintptr_t address)
{
	uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE), page = address & ~(size - 1);

	for (size_t i = 0; i < trap.n_pages; i++)
		if (trap.pages[i] == page)
			return true;
	if (trap.n_pages == PAGES_MAX || mprotect((void *)page, size, PROT_READ | PROT_WRITE | PROT_EXEC))
		return false;
	trap.pages[trap.n_pages++] = page;
	return true;
}

static inline __attribute__((always_inline)) void
plant(size_t n, const uintptr_t *at)
{
	for (size_t i = 0; i < n; i++)
		if (!make_writable(at[i]))
			common_die("no breakpoint can be set, after %zu pages of code", trap.n_pages);
	for (size_t i = 0; i < n; i++) {
		trap.planted[i] = (unsigned char *)at[i];
		trap.was[i] = *trap.planted[i];
	}
	trap.n_planted = n;
	for (size_t i = 0; i < n; i++)
		*(volatile unsigned char *)trap.planted[i] = BREAKPOINT;
}

/* Lets the next instruction go, and no further. */
static inline __attribute__((always_inline)) void
go_on(ucontext_t *uc)
{
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	struct known *known = find(pc);
	uintptr_t at[2] = { known->address + known->length, known->target };

	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	switch (known->way) {
	case WAY_ON:
		plant(1, at);
		return;
	case WAY_BRANCH:
		plant(2, at);
		return;
	case WAY_JUMP:
		plant(1, at + 1);
		return;
	case WAY_RETURN:
		memcpy(at, (const void *)uc->uc_mcontext.gregs[REG_RSP], sizeof(at[0]));
		plant(1, at);
		return;
	case WAY_UNKNOWN:
		trap.learning = known;
		break;
	default:
		break;
	}
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void
trap_signal(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	size_t n = trap.n_planted;

	if (n > 1)
		*(volatile unsigned char *)trap.planted[1] = trap.was[1];
	if (n)
		*(volatile unsigned char *)trap.planted[0] = trap.was[0];
	trap.n_planted = 0;
	if (n) {
		pc--;
		if (pc != (uintptr_t)trap.planted[0] && (n == 1 || pc != (uintptr_t)trap.planted[1]))
			common_die("a breakpoint that is none of ours");
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
	} else if (trap.learning) {
		learn(trap.learning, pc);
		trap.learning = NULL;
	}
	if (trap.is_begun)
		trap.seen(trap.context);
	trap.is_begun = !trap.is_over;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	if (!trap.is_over)
		go_on(uc);
	(void)signo;
	(void)info;
}

int
trap_run(void (*fn)(void *), void *arg, void (*seen)(void *), void *context)
{
	struct sigaction action = { .sa_sigaction = trap_signal, .sa_flags = SA_SIGINFO }, old;

	if (!make_writable((uintptr_t)trap_run))
		return -ENOSYS;
	trap.seen = seen;
	trap.context = context;
	trap.is_begun = trap.is_over = false;
	if (sigaction(SIGTRAP, &action, &old))
		return -errno;
	__asm__ volatile("int3" ::: "memory");
	fn(arg);
	trap.is_over = true;
	return sigaction(SIGTRAP, &old, NULL) ? -errno : 0;
}
#else
int
trap_run(void (*fn)(void *), void *arg, void (*seen)(void *), void *context)
{
	return -ENOSYS;
}
#endif
