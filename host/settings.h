/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Settings as systemd's own programs and units have them: a file, the first that is there of /etc, /run, /usr/local/lib,
 * /usr/lib and /lib, and drop-ins of all of these in the order of their names. Reads only.
 */
#ifndef HOST_SETTINGS_H
#define HOST_SETTINGS_H

#include <stddef.h>

/* Takes a line "KEY=VALUE" of a section. file: where it stands, without the root. */
typedef void (*settings_fn)(const char *section, const char *key, const char *value, const char *file, void *arg);

/*
 * Calls fn for each setting of e.g. "systemd/logind.conf", or "systemd/system/segmentd.service", in the order in which they
 * hold: a later one overrides. 0; -ENOENT: there is no such file (drop-ins alone are none of a unit's, and are not read);
 * -ENOMEM. What cannot be read otherwise is left out.
 */
int settings_read(const char *root, const char *name, settings_fn fn, void *arg);

/* The same, with drop-ins also where there is no file that they belong to: of what has defaults of its own. */
int settings_read_drop_ins(const char *root, const char *name, settings_fn fn, void *arg);

#endif
