# SPDX-License-Identifier: Apache-2.0
# A folder of suites each, with a fragment of its own.
TESTS += $(check_PROGRAMS) $(check_SCRIPTS)

# The harness: link $(HARNESS_LIBS), compile with $(CHECK_CFLAGS).
HARNESS_LIBS = tests/libharness.la $(CHECK_LIBS)
if HAVE_CHECK
check_LTLIBRARIES = tests/libharness.la
tests_libharness_la_SOURCES = tests/harness.c tests/harness.h tests/harness-internal.h \
	tests/harness-child.c tests/harness-proc.c tests/harness-wire.c \
	tests/harness_locks.c tests/harness_locks.h
tests_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DHARNESS_DAEMON_PROGRAM='"$(abs_top_builddir)/daemon/segmentd"'
tests_libharness_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
endif

include tests/layers/local.mk
include tests/model/local.mk
include tests/manual/local.mk
include tests/conf/local.mk
include tests/host/local.mk
include tests/service/local.mk
include tests/client/local.mk
include tests/sweep/local.mk
include tests/segmentctl/local.mk
include tests/daemon/local.mk
include tests/worker/local.mk
include tests/system/local.mk
