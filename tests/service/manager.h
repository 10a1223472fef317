/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A service manager's ear: a socket of the test's own that $NOTIFY_SOCKET names. Fixtures, of a test each. */
#ifndef TESTS_SERVICE_MANAGER_H
#define TESTS_SERVICE_MANAGER_H

extern int manager;			/* what it hears comes from here */
extern char manager_path[];

void manager_start(void);
void manager_stop(void);

#endif
