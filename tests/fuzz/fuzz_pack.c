/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The configuration as bytes: what a worker that read hostile files, or a daemon before, may hand over. It is refused with a
 * sentence, or what comes of it is whole: it packs, and reads as the same again.
 *
 * An input's first byte says what the others are: one definition, or a whole file, and how that is read.
 */
#include "config.h"

#include <sys/mman.h>

#include "conf/pack.h"
#include "conf/plan.h"
#include "tests/fuzz/fuzz.h"

enum form {
	FORM_DEFINITION,
	FORM_FILE,			/* an item at a time, through a window */
	FORM_WHOLE,			/* the whole file in the window */
	FORM_CONF,			/* what a successor goes by */
	FORM_N
};

static int file_fd = -1;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	file_fd = memfd_create("fuzz_pack", MFD_CLOEXEC);
	fuzz_check(file_fd >= 0);
	return 0;
}

static void
fuzz_definition(const uint8_t *data, size_t size)
{
	struct definition *definition = NULL, *back = NULL;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE] = "";
	int r = pack_read_definition(data, size, why, &definition);

	fuzz_check(r == 0 || (r == PACK_E_INVALID && why[0]));
	if (r)
		return;
	fuzz_check(pack_definition(&pack, definition) == 0);
	fuzz_check_msg(pack_read_definition(pack.bytes, pack.length, why, &back) == 0, "%s", why);
	fuzz_check(plan_equal(definition, back));
	definition_unref(back);
	definition_unref(definition);
	pack_deinit(&pack);
}

static void
fuzz_file(size_t size, bool is_whole)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item = PACK_ITEM_NULL;
	int r;

	r = is_whole ? pack_reader_init_whole(&reader, file_fd, size) : pack_reader_init(&reader, file_fd, size);
	while (r == 0) {
		r = pack_reader_next(&reader, &item);
		if (r || item.kind == PACK_END)
			break;
		pack_item_deinit(&item);
	}
	fuzz_check(item.kind == PACK_END);
	fuzz_check_msg(r == 0 || (r == PACK_E_INVALID && reader.why[0]), "%d", r);
	fuzz_check(is_whole || reader.room <= PACK_ITEM_MAX_BYTES);
	pack_reader_deinit(&reader);
}

static void
fuzz_conf(void)
{
	struct conf *conf = NULL, *back = NULL;
	struct pack_known *known = NULL;
	struct conf_report report = CONF_REPORT_NULL;
	char why[PACK_WHY_SIZE] = "";
	const void *bytes;
	int r = pack_read_conf(file_fd, why, &conf, &known);

	fuzz_check_msg(r == 0 || (r == PACK_E_INVALID && why[0]), "%d", r);
	if (r) {
		fuzz_check(!conf && !known);
		return;
	}
	for (size_t i = 0; i < conf->n_segments; i++) {
		struct pack pack = PACK_NULL;
		struct definition *found;

		fuzz_check(pack_definition(&pack, conf->segments[i]) == 0);
		found = pack_known_find(known, pack.bytes, pack.length, &bytes);
		fuzz_check(!found || plan_equal(found, conf->segments[i]));
		pack_deinit(&pack);
	}
	fuzz_check(ftruncate(file_fd, 0) == 0);
	fuzz_check(pack_write(file_fd, 0, conf, &report) == 0);
	fuzz_check_msg(pack_read_conf(file_fd, why, &back, NULL) == 0, "%s", why);
	fuzz_check(back->n_segments == conf->n_segments && back->n_templates == conf->n_templates && back->n_orphans == conf->n_orphans);
	conf_free(back);
	pack_known_free(known);
	conf_free(conf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum form form;

	if (size == 0)
		return 0;
	form = data[0] % FORM_N;
	data++;
	size--;
	if (form == FORM_DEFINITION) {
		fuzz_definition(data, size);
		return 0;
	}
	fuzz_check(ftruncate(file_fd, 0) == 0 && pwrite(file_fd, data, size, 0) == (ssize_t)size);
	if (form == FORM_CONF)
		fuzz_conf();
	else
		fuzz_file(size, form == FORM_WHOLE);
	return 0;
}
