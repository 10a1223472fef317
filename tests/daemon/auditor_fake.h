/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segmentd-audit as it should be ("good", "once"), and lying, silent, dying: a test's program plays the part that the environment
 * names when it is started by that name, and answers on its standard input, which is a socket.
 */
#ifndef TESTS_DAEMON_AUDITOR_FAKE_H
#define TESTS_DAEMON_AUDITOR_FAKE_H

#define AUDITOR_FAKE_PART	"FAKE_AUDIT"	/* in the environment */
#define AUDITOR_FAKE_ROWS	100		/* of one message */
#define AUDITOR_FAKE_LIES	11

/* Until nobody asks any more: an exit status. Each object of a question is held by a process whose pid is its number + 1. */
int auditor_fake_main(void);

/* A part of a liar. */
const char *auditor_fake_lie(unsigned i);

#endif
