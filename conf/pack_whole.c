/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Items put together to the configuration that they were. */
#include "config.h"

#include <sys/stat.h>

#include "base/base.h"
#include "conf/pack.h"
#include "conf/pack_known.h"

/* Room for everything that the header announces, which is bounded. */
int
pack_whole_begin(const struct pack_summary *summary, struct conf **ret_conf, struct conf_report *report)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (!conf)
		return -ENOMEM;
	*ret_conf = conf;
	report->n_left_out = summary->n_left_out;
	report->problems = calloc(summary->n_problems + 1, sizeof(*report->problems));
	conf->segments = calloc(summary->n_segments + 1, sizeof(*conf->segments));
	conf->templates = calloc(summary->n_templates + 1, sizeof(*conf->templates));
	conf->orphans = calloc(summary->n_orphans + 1, sizeof(*conf->orphans));
	return report->problems && conf->segments && conf->templates && conf->orphans ? 0 : -ENOMEM;
}

void
pack_whole_take(struct pack_item *item, struct conf *conf, struct conf_report *report)
{
	switch (item->kind) {
	case PACK_PROBLEM:
		report->problems[report->n_problems++] = item->problem;
		break;
	case PACK_DAEMON:
		conf->daemon = item->daemon;
		break;
	case PACK_SEGMENT:
		conf->segments[conf->n_segments++] = item->definition;
		break;
	case PACK_TEMPLATE:
		conf->templates[conf->n_templates++] = item->definition;
		break;
	case PACK_ORPHAN:
		conf->orphans[conf->n_orphans++] = item->orphan;
		break;
	default:
		break;
	}
	*item = (struct pack_item) PACK_ITEM_NULL;
}

static int
read_items(struct pack_reader *reader, struct conf **ret_conf, struct conf_report *report, struct pack_known *known)
{
	struct pack_item item = PACK_ITEM_NULL;
	int r = pack_whole_begin(&reader->summary, ret_conf, report);

	while (r == 0) {
		r = pack_reader_next(reader, &item);
		if (r == 0 && item.kind == PACK_END)
			return 0;
		if (r == 0 && known && item.definition)
			pack_known_add(known, item.bytes, item.length, item.definition);
		if (r == 0)
			pack_whole_take(&item, *ret_conf, report);
	}
	return r;
}

int
pack_read_conf(int fd, char *why, struct conf **ret_conf, struct pack_known **ret_known)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_known *known = NULL;
	struct conf *conf = NULL;
	struct stat st;
	int r = fstat(fd, &st) ? -errno : pack_reader_init_whole(&reader, fd, (uint64_t)st.st_size);

	if (r == 0 && ret_known) {
		known = pack_known_new(reader.summary.n_segments + reader.summary.n_templates);
		r = known ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = read_items(&reader, &conf, &report, known);
	if (r == PACK_E_INVALID)
		(void)snprintf(why, PACK_WHY_SIZE, "%s", reader.why);
	else if (r == 0 && reader.summary.result) {
		(void)snprintf(why, PACK_WHY_SIZE, "what was packed was not valid");
		r = PACK_E_INVALID;
	}
	if (r == 0 && known) {
		known->window = take_ptr(reader.window);
		*ret_known = take_ptr(known);
	}
	(void)pack_known_free(known);
	pack_reader_deinit(&reader);
	conf_report_deinit(&report);
	if (r == 0)
		*ret_conf = take_ptr(conf);
	(void)conf_free(conf);
	return r;
}
