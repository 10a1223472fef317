/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Reloads of a real daemon, by signal and over the wire, and their lines. */
#ifndef TESTS_SYSTEM_RELOADING_H
#define TESTS_SYSTEM_RELOADING_H

#include "tests/system/suite.h"

/* A segment "NAME" that costs no pages, with more keys; for a list of them. */
#define RELOADING_SEGMENT(name, keys) \
	"{ name = \"" name "\"; size = \"64KiB\"; prefault = false; mlock = false; " keys " }"
#define RELOADING_SEGMENTS(list)	"segments = ( " list " );\n"

#define RELOADING_TEXT_SIZE	(1024 * 1024)

/* Writes another configuration, sends SIGHUP and waits until it was carried out. Returns what was logged from there on. */
const char *reloading_hangup(struct harness_daemon *daemon, const char *daemon_keys, const char *body);

void reloading_expect(const char *text, const char *expected);
void reloading_expect_not(const char *text, const char *unexpected);

#endif
