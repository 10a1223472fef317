/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A configuration with all that one can have, files of bytes, and numbers that come alike each time. */
#include "config.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/conf/packing.h"

static uint64_t state = 88172645463325252u;

uint64_t
packing_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

uint64_t
packing_random_between(uint64_t min, uint64_t max)
{
	return min + packing_random() % (max - min + 1);
}

const char packing_text[] =
    "daemon = { workers = 3; admin_group = \"root\"; limits = { clients = 77; }; };\n"
    "segments = (\n"
    "  { name = \"plain\"; size = \"4KiB\"; },\n"
    "  { name = \"rich\"; size = \"1MiB\"; max_size = \"2MiB\"; owner = \"root\"; group = \"7\"; mode = \"0640\"; dump = false;\n"
    "    layout = \"rich/1\"; lifetime = \"attached\"; linger = \"5s\"; scrub = true; required = false;\n"
    "    allow = ( { user = \"root\"; access = \"r\"; }, { group = \"0\"; access = \"rw\"; } );\n"
    "    locks = ( { name = \"a\"; length = \"64B\"; }, { name = \"b\"; offset = 64; length = 64; undo = 0; on_death = \"poison\"; },\n"
    "              { name = \"m\"; at = 128; }, { name = \"z\"; at = 168; init = true; on_death = \"zero\"; offset = 208; length = 8; } ); },\n"
    "  { name = \"lazy\"; size = 1; prefault = false; page_size = \"base\"; placement = \"prefer\"; } );\n"
    "templates = ( { name = \"job-%U-\"; max_size = \"1GiB\"; max_count = 5; mode = \"0666\"; },\n"
    "  { name = \"tmp.\"; max_size = \"8KiB\"; owner = \"1\"; locks = ( { name = \"l\"; length = 8; } ); } );\n"
    "orphans = ( { posix = \"/psm_*\"; after = \"45s\"; action = \"remove\"; },\n"
    "  { sysv = { user = \"17\"; mode = \"0660\"; }; } );\n";

int
packing_file(void)
{
	int fd = memfd_create("check_pack", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

uint64_t
packing_length(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}
