/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* From libconfig's tree of settings to a struct conf, a text at a time, by the table of keys. Internal to conf/. */
#ifndef CONF_READ_H
#define CONF_READ_H

#include <libconfig.h>

#include "base/base.h"
#include "conf/keys.h"
#include "conf/load.h"
#include "conf/source.h"

/* What is being filled, and where problems go. */
struct reader {
	struct conf *conf;
	struct conf_report *report;
	const struct source *source;	/* of the text that is being read */
	int error;			/* 0, or -ENOMEM: everything after it is in vain */
	char *daemon_file;		/* where the daemon group was, and */
	unsigned daemon_line;
	bool has_socket, has_state_dir;
};

/* Reads one text into reader->conf. Problems are reported; reader->error says when memory ran short. */
void read_source(struct reader *reader, const struct source *source);

/* Defaults of a scope's rows. */
void read_defaults(struct reader *reader, enum keys_scope scope, unsigned where, void *base);

/* Reports a problem of a setting, or of what is missing in it (key not NULL). */
void read_problem(struct reader *reader, const config_setting_t *setting, const char *key,
    const char *format, ...) BASE_PRINTF(4, 5);

/* Reports a problem at a place of any file. */
void read_problem_at(struct reader *reader, const char *file, unsigned line, const char *format, ...)
    BASE_PRINTF(4, 5);

#endif
