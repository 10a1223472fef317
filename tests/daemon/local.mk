# SPDX-License-Identifier: Apache-2.0
# The daemon's modules, each for itself.
if HAVE_CHECK
DAEMON_TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(EVENT_CFLAGS)
DAEMON_TEST_LIBS = daemon/libdaemon.la $(CHECK_LIBS)

check_PROGRAMS += tests/daemon/check_access
tests_daemon_check_access_SOURCES = tests/daemon/check_access.c
tests_daemon_check_access_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_access_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_accounts
tests_daemon_check_accounts_SOURCES = tests/daemon/check_accounts.c
tests_daemon_check_accounts_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_accounts_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_auditor
tests_daemon_check_auditor_SOURCES = tests/daemon/check_auditor.c tests/daemon/auditor_fake.c tests/daemon/auditor_fake.h
tests_daemon_check_auditor_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_auditor_LDADD = $(DAEMON_TEST_LIBS)

BOX_RIG = tests/daemon/box_rig.c tests/daemon/box_rig.h

check_PROGRAMS += tests/daemon/check_box
tests_daemon_check_box_SOURCES = tests/daemon/check_box.c $(BOX_RIG)
tests_daemon_check_box_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_box_LDADD = $(HARNESS_LIBS) $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_boxkills
tests_daemon_check_boxkills_SOURCES = tests/daemon/check_boxkills.c $(BOX_RIG)
tests_daemon_check_boxkills_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_boxkills_LDADD = $(HARNESS_LIBS) $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_boxpeek
tests_daemon_check_boxpeek_SOURCES = tests/daemon/check_boxpeek.c tests/system/lacking.c tests/system/lacking.h $(BOX_RIG)
tests_daemon_check_boxpeek_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_boxpeek_LDADD = $(HARNESS_LIBS) $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_guard
tests_daemon_check_guard_SOURCES = tests/daemon/check_guard.c
tests_daemon_check_guard_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_guard_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_hash
tests_daemon_check_hash_SOURCES = tests/daemon/check_hash.c
tests_daemon_check_hash_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_hash_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_lines
tests_daemon_check_lines_SOURCES = tests/daemon/check_lines.c
tests_daemon_check_lines_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_lines_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_kernelcount
tests_daemon_check_kernelcount_SOURCES = tests/daemon/check_kernelcount.c
tests_daemon_check_kernelcount_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_kernelcount_LDADD = $(DAEMON_TEST_LIBS)

ORPHANS_RIG = tests/daemon/orphans_rig.c tests/daemon/orphans_rig.h

check_PROGRAMS += tests/daemon/check_orphannames
tests_daemon_check_orphannames_SOURCES = tests/daemon/check_orphannames.c $(ORPHANS_RIG)
tests_daemon_check_orphannames_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_orphannames_LDADD = $(HARNESS_LIBS) $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_orphans
tests_daemon_check_orphans_SOURCES = tests/daemon/check_orphans.c $(ORPHANS_RIG)
tests_daemon_check_orphans_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_orphans_LDADD = $(DAEMON_TEST_LIBS)

tests_daemon_check_orphansysv_SOURCES = tests/daemon/check_orphansysv.c
tests_daemon_check_orphansysv_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_orphansysv_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_parse
tests_daemon_check_parse_SOURCES = tests/daemon/check_parse.c
tests_daemon_check_parse_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_parse_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_patience
tests_daemon_check_patience_SOURCES = tests/daemon/check_patience.c
tests_daemon_check_patience_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_patience_LDADD = $(DAEMON_TEST_LIBS)

SPOIL = tests/daemon/spoil.c tests/daemon/spoil.h

check_PROGRAMS += tests/daemon/check_record
tests_daemon_check_record_SOURCES = tests/daemon/check_record.c $(SPOIL)
tests_daemon_check_record_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_record_LDADD = $(DAEMON_TEST_LIBS)

LEDGER_RIG = tests/daemon/ledger_rig.c tests/daemon/ledger_rig.h $(SPOIL)

check_PROGRAMS += tests/daemon/check_ledger
tests_daemon_check_ledger_SOURCES = tests/daemon/check_ledger.c $(LEDGER_RIG)
tests_daemon_check_ledger_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_ledger_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_ledgerkills
tests_daemon_check_ledgerkills_SOURCES = tests/daemon/check_ledgerkills.c $(LEDGER_RIG)
tests_daemon_check_ledgerkills_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_ledgerkills_LDADD = tests/libharness.la $(DAEMON_TEST_LIBS)

NULL_BACKEND = tests/daemon/null.c tests/daemon/null.h

CONFORM = tests/daemon/conform.c tests/daemon/conform.h $(NULL_BACKEND)

check_PROGRAMS += tests/daemon/check_conformance
tests_daemon_check_conformance_SOURCES = tests/daemon/check_conformance.c $(CONFORM)
tests_daemon_check_conformance_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_conformance_LDADD = $(DAEMON_TEST_LIBS) $(HARNESS_LIBS)

check_PROGRAMS += tests/daemon/check_conformlimits
tests_daemon_check_conformlimits_SOURCES = tests/daemon/check_conformlimits.c tests/system/pool.c tests/system/pool.h $(CONFORM)
tests_daemon_check_conformlimits_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_conformlimits_LDADD = $(DAEMON_TEST_LIBS) $(HARNESS_LIBS)

check_PROGRAMS += tests/daemon/check_conformdeaths
tests_daemon_check_conformdeaths_SOURCES = tests/daemon/check_conformdeaths.c $(CONFORM)
tests_daemon_check_conformdeaths_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_conformdeaths_LDADD = $(DAEMON_TEST_LIBS) $(HARNESS_LIBS)

check_PROGRAMS += tests/daemon/check_deaths
tests_daemon_check_deaths_SOURCES = tests/daemon/check_deaths.c
tests_daemon_check_deaths_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_deaths_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)

check_PROGRAMS += tests/daemon/check_listener
tests_daemon_check_listener_SOURCES = tests/daemon/check_listener.c
tests_daemon_check_listener_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_listener_LDADD = $(DAEMON_TEST_LIBS)

tests_daemon_check_lost_SOURCES = tests/daemon/check_lost.c tests/disk.c tests/disk.h
tests_daemon_check_lost_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_lost_LDADD = daemon/libdaemon.la $(HARNESS_LIBS)

check_PROGRAMS += tests/daemon/check_losses
tests_daemon_check_losses_SOURCES = tests/daemon/check_losses.c
tests_daemon_check_losses_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_losses_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)

tests_daemon_check_parcels_SOURCES = tests/daemon/check_parcels.c tests/disk.c tests/disk.h
tests_daemon_check_parcels_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_parcels_LDADD = daemon/libdaemon.la $(HARNESS_LIBS)

RECOVERY_RIG = tests/daemon/recovery_rig.c tests/daemon/recovery_rig.h

check_PROGRAMS += tests/daemon/check_recovery
tests_daemon_check_recovery_SOURCES = tests/daemon/check_recovery.c $(RECOVERY_RIG)
tests_daemon_check_recovery_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_recovery_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_mutexes
tests_daemon_check_mutexes_SOURCES = tests/daemon/check_mutexes.c $(RECOVERY_RIG)
tests_daemon_check_mutexes_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_mutexes_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_posix_access
tests_daemon_check_posix_access_SOURCES = tests/daemon/check_posix_access.c
tests_daemon_check_posix_access_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_posix_access_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_segments
tests_daemon_check_segments_SOURCES = tests/daemon/check_segments.c
tests_daemon_check_segments_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_segments_LDADD = $(DAEMON_TEST_LIBS)

GROW_RIG = tests/daemon/grow_rig.c tests/daemon/grow_rig.h

check_PROGRAMS += tests/daemon/check_grow
tests_daemon_check_grow_SOURCES = tests/daemon/check_grow.c $(GROW_RIG)
tests_daemon_check_grow_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_grow_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_growfail
tests_daemon_check_growfail_SOURCES = tests/daemon/check_growfail.c $(GROW_RIG)
tests_daemon_check_growfail_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_growfail_LDADD = $(DAEMON_TEST_LIBS)

# With a table of backends of its own, which the linker takes instead of the library's.
check_PROGRAMS += tests/daemon/check_null
tests_daemon_check_null_SOURCES = tests/daemon/check_null.c tests/daemon/null_table.c $(NULL_BACKEND) $(GROW_RIG)
tests_daemon_check_null_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_null_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_rounds
tests_daemon_check_rounds_SOURCES = tests/daemon/check_rounds.c
tests_daemon_check_rounds_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_rounds_LDADD = $(DAEMON_TEST_LIBS)

check_PROGRAMS += tests/daemon/check_toll
tests_daemon_check_toll_SOURCES = tests/daemon/check_toll.c
tests_daemon_check_toll_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_toll_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)

check_PROGRAMS += tests/daemon/check_turns
tests_daemon_check_turns_SOURCES = tests/daemon/check_turns.c
tests_daemon_check_turns_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_turns_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)

check_PROGRAMS += tests/daemon/check_refresh
tests_daemon_check_refresh_SOURCES = tests/daemon/check_refresh.c
tests_daemon_check_refresh_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_refresh_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)

check_PROGRAMS += tests/daemon/check_shut
tests_daemon_check_shut_SOURCES = tests/daemon/check_shut.c
tests_daemon_check_shut_CFLAGS = $(DAEMON_TEST_CFLAGS)
tests_daemon_check_shut_LDADD = $(DAEMON_TEST_LIBS) $(EVENT_LIBS)
endif
