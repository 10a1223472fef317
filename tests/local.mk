# SPDX-License-Identifier: Apache-2.0
# A folder of suites each, with a fragment of its own. What takes longest is begun first, so that nothing is left to be waited for
# alone at the end: the scripts (sweeps, the model, booted systems), the suites that are named here and not in their folder's fragment,
# those that wait among those that compute, and all others in the order of the folders below.
if HAVE_CHECK
check_PROGRAMS += \
	tests/system/check_stopsnext tests/system/check_stopsclear tests/system/check_stops tests/system/check_stopsend \
	tests/system/check_hung tests/system/check_killsend tests/system/check_orphans tests/system/check_killsnext \
	tests/system/check_kills tests/faults/check_calls tests/system/check_reload tests/soak/check_soak tests/system/check_lockowners \
	tests/system/check_killsclear tests/system/check_survivaldeaths tests/system/check_quiet tests/daemon/check_parcels \
	tests/system/check_boot tests/daemon/check_lost tests/faults/check_allocations tests/system/check_backends \
	tests/system/check_lockdeaths tests/audit/check_races tests/client/check_lockdeath tests/system/check_hostile \
	tests/faults/check_startcalls tests/daemon/check_orphansysv tests/system/check_survivalkills tests/system/check_workers \
	tests/system/check_crowded tests/faults/check_returncalls tests/faults/check_leftcalls tests/host/check_audit \
	tests/audit/check_removalstorm tests/system/check_limits
endif
TESTS += $(check_SCRIPTS) $(check_PROGRAMS)

# Check's own limits are for an idle machine that never stands still. A test that hangs still fails, in four minutes at most unless it may
# take long.
AM_TESTS_ENVIRONMENT = \
	CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT-120}; export CK_DEFAULT_TIMEOUT; \
	CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER-$${CHECK_FULL:+4}}; \
	CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER:-2}; export CK_TIMEOUT_MULTIPLIER;

check-local:
	@test -n "$(CHECK_FULL)" || echo "What takes long is left out of this check, see LEFT OUT and SKIP in tests/*/*.log; CHECK_FULL=1 has it all."

noinst_HEADERS += tests/suite_run.h

# The harness: link $(HARNESS_LIBS), compile with $(CHECK_CFLAGS).
HARNESS_LIBS = tests/libharness.la $(CHECK_LIBS)
if HAVE_CHECK
check_LTLIBRARIES = tests/libharness.la
tests_libharness_la_SOURCES = tests/harness.c tests/harness.h tests/harness-internal.h \
	tests/harness-child.c tests/harness-clock.c tests/harness-clock.h tests/harness-proc.c tests/harness-wire.c \
	tests/harness_locks.c tests/harness_locks.h \
	tests/harness_manager.c tests/harness_manager.h
tests_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) \
	-DHARNESS_DAEMON_PROGRAM='"$(abs_top_builddir)/daemon/segmentd"' \
	-DHARNESS_AUDIT_PROGRAM='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_libharness_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
endif

include tests/system/local.mk
include tests/soak/local.mk
include tests/faults/local.mk
include tests/segmentctl/local.mk
include tests/daemon/local.mk
include tests/sweep/local.mk
include tests/model/local.mk
include tests/booted/local.mk
include tests/audit/local.mk
include tests/worker/local.mk
include tests/client/local.mk
include tests/conf/local.mk
include tests/hardening/local.mk
include tests/fuzz/local.mk
include tests/layers/local.mk
include tests/manual/local.mk
include tests/host/local.mk
include tests/service/local.mk
include tests/static/local.mk
