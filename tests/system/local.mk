# SPDX-License-Identifier: Apache-2.0
# Tests of the real daemon, through the harness.
if HAVE_CHECK
SYSTEM_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
# What several programs have in common is compiled once, in the harness; each takes of it what it uses.
tests_libharness_la_SOURCES += tests/system/suite.c tests/system/keeper.c tests/system/opener.c tests/system/stranger.c tests/system/reloading.c \
	tests/system/telling.c tests/system/actor.c tests/system/apart.c tests/system/jail.c tests/system/world.c tests/system/lasting.c \
	tests/system/surviving.c tests/system/killing.c tests/system/tracer.c tests/system/lacking.c tests/system/outliving.c tests/system/survivor.c
SYSTEM_SUITE = tests/system/suite.h

check_PROGRAMS += tests/system/check_claims
tests_system_check_claims_SOURCES = tests/system/check_claims.c $(SYSTEM_SUITE)
tests_system_check_claims_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_claims_LDADD = $(HARNESS_LIBS)

tests_system_check_crowded_SOURCES = tests/system/check_crowded.c $(SYSTEM_SUITE)
tests_system_check_crowded_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_crowded_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_walks
tests_system_check_walks_SOURCES = tests/system/check_walks.c $(SYSTEM_SUITE)
tests_system_check_walks_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_walks_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_return
tests_system_check_return_SOURCES = tests/system/check_return.c $(SYSTEM_SUITE)
tests_system_check_return_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_return_LDADD = client/libsegment.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_privileges
tests_system_check_privileges_SOURCES = tests/system/check_privileges.c $(SYSTEM_SUITE)
tests_system_check_privileges_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_privileges_LDADD = daemon/libdaemon.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_hidden
tests_system_check_hidden_SOURCES = tests/system/check_hidden.c $(SYSTEM_SUITE)
tests_system_check_hidden_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_hidden_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_entries
tests_system_check_entries_SOURCES = tests/system/check_entries.c
tests_system_check_entries_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_entries_LDADD = daemon/libdaemon.la $(HARNESS_LIBS)

tests_system_check_hung_SOURCES = tests/system/check_hung.c tests/disk.c tests/disk.h $(SYSTEM_SUITE)
tests_system_check_hung_CPPFLAGS = $(AM_CPPFLAGS) \
	-DHARNESS_IMPATIENT_PROGRAM='"$(abs_top_builddir)/tests/system/impatient"'
tests_system_check_hung_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_hung_LDADD = $(HARNESS_LIBS) client/libsegment.la
EXTRA_tests_system_check_hung_DEPENDENCIES = tests/system/impatient$(EXEEXT)

EXTRA_PROGRAMS += tests/system/impatient
CLEANFILES += tests/system/impatient$(EXEEXT)
tests_system_impatient_SOURCES = tests/system/impatient.c daemon/main.c
tests_system_impatient_CPPFLAGS = $(daemon_segmentd_CPPFLAGS)
tests_system_impatient_CFLAGS = $(AM_CFLAGS)
tests_system_impatient_LDADD = daemon/libdaemon.la

check_PROGRAMS += tests/system/check_charges
tests_system_check_charges_SOURCES = tests/system/check_charges.c $(SYSTEM_SUITE) tests/system/apart.h
tests_system_check_charges_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_charges_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_users
tests_system_check_users_SOURCES = tests/system/check_users.c $(SYSTEM_SUITE)
tests_system_check_users_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_users_LDADD = $(HARNESS_LIBS)

tests_system_check_limits_SOURCES = tests/system/check_limits.c $(SYSTEM_SUITE) tests/system/apart.h
tests_system_check_limits_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_limits_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_told
tests_system_check_told_SOURCES = tests/system/check_told.c $(SYSTEM_SUITE)
tests_system_check_told_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_told_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_many
tests_system_check_many_SOURCES = tests/system/check_many.c $(SYSTEM_SUITE)
tests_system_check_many_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_many_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_start
tests_system_check_start_SOURCES = tests/system/check_start.c $(SYSTEM_SUITE)
tests_system_check_start_CPPFLAGS = $(AM_CPPFLAGS) \
	-DHARNESS_DAEMON_PROGRAM='"$(abs_top_builddir)/daemon/segmentd"'
tests_system_check_start_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_start_LDADD = $(HARNESS_LIBS)

SYSTEM_LOOKING = tests/system/looking.c tests/system/looking.h tests/system/keeper.h \
	tests/system/opener.h tests/system/stranger.h $(SYSTEM_SUITE)

check_PROGRAMS += tests/system/check_who
tests_system_check_who_SOURCES = tests/system/check_who.c $(SYSTEM_LOOKING)
tests_system_check_who_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_who_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_whoasked
tests_system_check_whoasked_SOURCES = tests/system/check_whoasked.c $(SYSTEM_LOOKING)
tests_system_check_whoasked_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_whoasked_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_whoturns
tests_system_check_whoturns_SOURCES = tests/system/check_whoturns.c $(SYSTEM_SUITE)
tests_system_check_whoturns_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_whoturns_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_overflow
tests_system_check_overflow_SOURCES = tests/system/check_overflow.c tests/system/keeper.h $(SYSTEM_SUITE)
tests_system_check_overflow_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_overflow_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_wire
tests_system_check_wire_SOURCES = tests/system/check_wire.c $(SYSTEM_SUITE)
tests_system_check_wire_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_wire_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_stalled
tests_system_check_stalled_SOURCES = tests/system/check_stalled.c tests/system/lacking.h $(SYSTEM_SUITE)
tests_system_check_stalled_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_stalled_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_managed
tests_system_check_managed_SOURCES = tests/system/check_managed.c
tests_system_check_managed_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_managed_LDADD = $(HARNESS_LIBS) systemd/libservice.la

LASTING_SUITE = tests/system/lasting.h tests/system/reloading.h $(SYSTEM_SUITE)

check_PROGRAMS += tests/system/check_survivalbad
tests_system_check_survivalbad_SOURCES = tests/system/check_survivalbad.c $(LASTING_SUITE)
tests_system_check_survivalbad_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalbad_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_survivalfew
tests_system_check_survivalfew_SOURCES = tests/system/check_survivalfew.c $(LASTING_SUITE) tests/system/apart.h
tests_system_check_survivalfew_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalfew_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_survivalledger
tests_system_check_survivalledger_SOURCES = tests/system/check_survivalledger.c $(LASTING_SUITE)
tests_system_check_survivalledger_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalledger_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_survivalchanged
tests_system_check_survivalchanged_SOURCES = tests/system/check_survivalchanged.c $(LASTING_SUITE)
tests_system_check_survivalchanged_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalchanged_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_survivalmidway
tests_system_check_survivalmidway_SOURCES = tests/system/check_survivalmidway.c $(SYSTEM_ACTOR) $(LASTING_SUITE)
tests_system_check_survivalmidway_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalmidway_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_survivalrest
tests_system_check_survivalrest_SOURCES = tests/system/check_survivalrest.c $(LASTING_SUITE)
tests_system_check_survivalrest_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalrest_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_survivalconf
tests_system_check_survivalconf_SOURCES = tests/system/check_survivalconf.c $(LASTING_SUITE)
tests_system_check_survivalconf_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalconf_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_harness
tests_system_check_harness_SOURCES = tests/system/check_harness.c
tests_system_check_harness_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_harness_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_readonly
tests_system_check_readonly_SOURCES = tests/system/check_readonly.c
tests_system_check_readonly_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_readonly_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_scrub
tests_system_check_scrub_SOURCES = tests/system/check_scrub.c
tests_system_check_scrub_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_scrub_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_lacking
tests_system_check_lacking_SOURCES = tests/system/check_lacking.c tests/system/lacking.h $(SYSTEM_SUITE)
tests_system_check_lacking_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lacking_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_pools
tests_system_check_pools_SOURCES = tests/system/check_pools.c tests/system/pool.c tests/system/pool.h \
	tests/system/reloading.h $(SYSTEM_SUITE)
tests_system_check_pools_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_pools_LDADD = client/libcontrol.la host/libhost.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_numa
tests_system_check_numa_SOURCES = tests/system/check_numa.c tests/system/pool.c tests/system/pool.h \
	tests/system/reloading.h $(SYSTEM_SUITE)
tests_system_check_numa_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_numa_LDADD = host/libhost.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_init
tests_system_check_init_SOURCES = tests/system/check_init.c tests/system/suite.h
tests_system_check_init_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_init_LDADD = $(HARNESS_LIBS)

FILING = tests/system/filing.c tests/system/filing.h tests/system/reloading.h \
	tests/system/telling.h $(SYSTEM_SUITE)
FILING_LIBS = daemon/worker/libworker.la client/libcontrol.la host/libhost.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_file
tests_system_check_file_SOURCES = tests/system/check_file.c $(FILING)
tests_system_check_file_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_file_LDADD = client/libsegment.la $(FILING_LIBS)

check_PROGRAMS += tests/system/check_filerefused
tests_system_check_filerefused_SOURCES = tests/system/check_filerefused.c $(FILING)
tests_system_check_filerefused_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_filerefused_LDADD = client/libsegment.la $(FILING_LIBS)

check_PROGRAMS += tests/system/check_filedisk
tests_system_check_filedisk_SOURCES = tests/system/check_filedisk.c $(FILING)
tests_system_check_filedisk_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_filedisk_LDADD = client/libsegment.la $(FILING_LIBS)

check_PROGRAMS += tests/system/check_leftfile
tests_system_check_leftfile_SOURCES = tests/system/check_leftfile.c $(FILING)
tests_system_check_leftfile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_leftfile_LDADD = $(FILING_LIBS)

check_PROGRAMS += tests/system/check_storm
tests_system_check_storm_SOURCES = tests/system/check_storm.c
tests_system_check_storm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_storm_LDADD = $(HARNESS_LIBS)

# Locks: with the library as programs have it.
SYSTEM_BANK = tests/system/bank.c tests/system/bank.h

check_PROGRAMS += tests/system/check_lockstorm
tests_system_check_lockstorm_SOURCES = tests/system/check_lockstorm.c $(SYSTEM_BANK)
tests_system_check_lockstorm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lockstorm_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_mutexstorm
tests_system_check_mutexstorm_SOURCES = tests/system/check_mutexstorm.c tests/client/locker.c tests/client/locker.h \
	tests/client/mutexstorm.c tests/client/mutexstorm.h
tests_system_check_mutexstorm_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_mutexstorm_LDADD = client/libsegment.la client/libcontrol.la $(HARNESS_LIBS)

SYSTEM_ACTOR = tests/system/actor.h tests/system/jail.h

check_PROGRAMS += tests/system/check_containers
tests_system_check_containers_SOURCES = tests/system/check_containers.c tests/system/group.c tests/system/group.h \
	$(SYSTEM_ACTOR) $(SYSTEM_SUITE)
tests_system_check_containers_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_containers_LDADD = host/libhost.la $(HARNESS_LIBS) client/libsegment.la

tests_system_check_lockdeaths_SOURCES = tests/system/check_lockdeaths.c $(SYSTEM_ACTOR)
tests_system_check_lockdeaths_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lockdeaths_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_survivalseen
tests_system_check_survivalseen_SOURCES = tests/system/check_survivalseen.c $(SYSTEM_ACTOR)
tests_system_check_survivalseen_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalseen_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_lockowners_SOURCES = tests/system/check_lockowners.c $(SYSTEM_ACTOR)
tests_system_check_lockowners_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lockowners_LDADD = client/libcontrol.la $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_lockhostile
tests_system_check_lockhostile_SOURCES = tests/system/check_lockhostile.c tests/system/vandal.c tests/system/vandal.h \
	$(SYSTEM_ACTOR) $(SYSTEM_BANK)
tests_system_check_lockhostile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lockhostile_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_boot_SOURCES = tests/system/check_boot.c tests/system/pool.c tests/system/pool.h $(SYSTEM_SUITE)
tests_system_check_boot_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_boot_LDADD = $(HARNESS_LIBS) host/libhost.la

check_PROGRAMS += tests/system/check_memory
tests_system_check_memory_SOURCES = tests/system/check_memory.c tests/system/group.c tests/system/group.h $(SYSTEM_SUITE)
tests_system_check_memory_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_memory_LDADD = $(HARNESS_LIBS) host/libhost.la

check_PROGRAMS += tests/system/check_reserve
tests_system_check_reserve_SOURCES = tests/system/check_reserve.c tests/system/group.c tests/system/group.h $(SYSTEM_SUITE)
tests_system_check_reserve_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_reserve_LDADD = $(HARNESS_LIBS) host/libhost.la

tests_system_check_quiet_SOURCES = tests/system/check_quiet.c
tests_system_check_quiet_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_quiet_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_attachments
tests_system_check_attachments_SOURCES = tests/system/check_attachments.c
tests_system_check_attachments_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_attachments_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_access
tests_system_check_access_SOURCES = tests/system/check_access.c
tests_system_check_access_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_access_LDADD = $(HARNESS_LIBS)

tests_system_check_workers_SOURCES = tests/system/check_workers.c $(SYSTEM_SUITE)
tests_system_check_workers_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_workers_LDADD = $(HARNESS_LIBS)

SYSTEM_TELLING = tests/system/telling.h

check_PROGRAMS += tests/system/check_events
tests_system_check_events_SOURCES = tests/system/check_events.c $(SYSTEM_TELLING) $(SYSTEM_SUITE)
tests_system_check_events_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_events_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_standstill
tests_system_check_standstill_SOURCES = tests/system/check_standstill.c $(SYSTEM_TELLING) $(SYSTEM_SUITE)
tests_system_check_standstill_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_standstill_LDADD = client/libsegment.la $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_eventfloods
tests_system_check_eventfloods_SOURCES = tests/system/check_eventfloods.c $(SYSTEM_TELLING) $(SYSTEM_SUITE)
tests_system_check_eventfloods_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_eventfloods_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_inflight
tests_system_check_inflight_SOURCES = tests/system/check_inflight.c $(SYSTEM_SUITE) tests/system/apart.h
tests_system_check_inflight_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_inflight_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_fair
tests_system_check_fair_SOURCES = tests/system/check_fair.c
tests_system_check_fair_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_fair_LDADD = $(HARNESS_LIBS)

tests_system_check_hostile_SOURCES = tests/system/check_hostile.c
tests_system_check_hostile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_hostile_LDADD = $(HARNESS_LIBS)

SYSTEM_SURVIVOR = tests/system/survivor.h
SYSTEM_RELOADING = tests/system/reloading.h

tests_system_check_backends_SOURCES = tests/system/check_backends.c tests/system/pool.c tests/system/pool.h $(SYSTEM_ACTOR) $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_backends_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_backends_LDADD = daemon/libdaemon.la host/libhost.la $(HARNESS_LIBS) client/libsegment.la

tests_system_check_reload_SOURCES = tests/system/check_reload.c $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_reload_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_reload_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_reloads
tests_system_check_reloads_SOURCES = tests/system/check_reloads.c $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_reloads_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_reloads_LDADD = $(HARNESS_LIBS) host/libhost.la

check_PROGRAMS += tests/system/check_rights
tests_system_check_rights_SOURCES = tests/system/check_rights.c $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_rights_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_rights_LDADD = $(HARNESS_LIBS)

SYSTEM_OPENER = tests/system/opener.h

check_PROGRAMS += tests/system/check_posix
tests_system_check_posix_SOURCES = tests/system/check_posix.c $(SYSTEM_OPENER) $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_posix_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_posix_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_posixends
tests_system_check_posixends_SOURCES = tests/system/check_posixends.c $(SYSTEM_ACTOR) $(SYSTEM_OPENER) $(SYSTEM_RELOADING) \
	$(SYSTEM_SUITE)
tests_system_check_posixends_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_posixends_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_leftfails
tests_system_check_leftfails_SOURCES = tests/system/check_leftfails.c $(SYSTEM_OPENER) $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_leftfails_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_leftfails_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_leftovers
tests_system_check_leftovers_SOURCES = tests/system/check_leftovers.c $(SYSTEM_SURVIVOR) $(SYSTEM_OPENER) $(SYSTEM_RELOADING) \
	$(SYSTEM_TELLING) $(SYSTEM_SUITE)
tests_system_check_leftovers_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_leftovers_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_subscribers
tests_system_check_subscribers_SOURCES = tests/system/check_subscribers.c $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_subscribers_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_subscribers_LDADD = $(HARNESS_LIBS)

SYSTEM_STRANGER = tests/system/stranger.h

check_PROGRAMS += tests/system/check_sysv
tests_system_check_sysv_SOURCES = tests/system/check_sysv.c $(SYSTEM_STRANGER) $(SYSTEM_SUITE) tests/system/apart.h
tests_system_check_sysv_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_sysv_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_sysvshared
tests_system_check_sysvshared_SOURCES = tests/system/check_sysvshared.c $(SYSTEM_STRANGER) $(SYSTEM_ACTOR) \
	$(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_sysvshared_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_sysvshared_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_sysvhostile
tests_system_check_sysvhostile_SOURCES = tests/system/check_sysvhostile.c $(SYSTEM_STRANGER) $(SYSTEM_ACTOR) $(SYSTEM_SUITE)
tests_system_check_sysvhostile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_sysvhostile_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_journalheld
tests_system_check_journalheld_SOURCES = tests/system/check_journalheld.c $(SYSTEM_SUITE) tests/system/reloading.h
tests_system_check_journalheld_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_journalheld_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_dirheld
tests_system_check_dirheld_SOURCES = tests/system/check_dirheld.c $(SYSTEM_SUITE) tests/system/reloading.h
tests_system_check_dirheld_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_BUILT='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_system_check_dirheld_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_dirheld_LDADD = $(AUDIT_RIG_LIBS)

tests_system_check_orphans_SOURCES = tests/system/check_orphans.c tests/system/telling.h $(SYSTEM_STRANGER) \
	$(SYSTEM_OPENER) $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_orphans_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_BUILT='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_system_check_orphans_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_orphans_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/system/check_unsettled
tests_system_check_unsettled_SOURCES = tests/system/check_unsettled.c $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_unsettled_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_BUILT='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_system_check_unsettled_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_unsettled_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/system/check_leftsysv
tests_system_check_leftsysv_SOURCES = tests/system/check_leftsysv.c $(SYSTEM_SURVIVOR) $(SYSTEM_STRANGER) $(SYSTEM_RELOADING) $(SYSTEM_SUITE)
tests_system_check_leftsysv_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_leftsysv_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_latecomers
tests_system_check_latecomers_SOURCES = tests/system/check_latecomers.c $(SYSTEM_OPENER) $(SYSTEM_SUITE)
tests_system_check_latecomers_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_latecomers_LDADD = $(HARNESS_LIBS)

SYSTEM_WORLD = tests/system/world.h $(SYSTEM_OPENER)

SYSTEM_KILLING = tests/system/killing.h tests/system/tracer.h $(SYSTEM_WORLD) \
	$(SYSTEM_TELLING) $(SYSTEM_ACTOR) $(SYSTEM_SUITE)

tests_system_check_kills_SOURCES = tests/system/check_kills.c $(SYSTEM_KILLING)
tests_system_check_kills_CFLAGS = $(SYSTEM_CFLAGS) -DKILLS_PART=KILLING_CREATE -DKILLS_N=2
tests_system_check_kills_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_killsend_SOURCES = tests/system/check_kills.c $(SYSTEM_KILLING)
tests_system_check_killsend_CFLAGS = $(SYSTEM_CFLAGS) -DKILLS_PART=KILLING_DRAIN -DKILLS_N=2
tests_system_check_killsend_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_killsnext_SOURCES = tests/system/check_kills.c $(SYSTEM_KILLING)
tests_system_check_killsnext_CFLAGS = $(SYSTEM_CFLAGS) -DKILLS_PART=KILLING_TAKE_OVER -DKILLS_N=1
tests_system_check_killsnext_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_killsclear_SOURCES = tests/system/check_kills.c $(SYSTEM_KILLING)
tests_system_check_killsclear_CFLAGS = $(SYSTEM_CFLAGS) -DKILLS_PART=KILLING_CLEAR -DKILLS_N=1
tests_system_check_killsclear_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_stops_SOURCES = tests/system/check_stops.c $(SYSTEM_KILLING)
tests_system_check_stops_CFLAGS = $(SYSTEM_CFLAGS) -DSTOPS_PART=KILLING_CREATE -DSTOPS_N=2
tests_system_check_stops_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_stopsend_SOURCES = tests/system/check_stops.c $(SYSTEM_KILLING)
tests_system_check_stopsend_CFLAGS = $(SYSTEM_CFLAGS) -DSTOPS_PART=KILLING_DRAIN -DSTOPS_N=2
tests_system_check_stopsend_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_stopsnext_SOURCES = tests/system/check_stops.c $(SYSTEM_KILLING)
tests_system_check_stopsnext_CFLAGS = $(SYSTEM_CFLAGS) -DSTOPS_PART=KILLING_TAKE_OVER -DSTOPS_N=1
tests_system_check_stopsnext_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_system_check_stopsclear_SOURCES = tests/system/check_stops.c $(SYSTEM_KILLING)
tests_system_check_stopsclear_CFLAGS = $(SYSTEM_CFLAGS) -DSTOPS_PART=KILLING_CLEAR -DSTOPS_N=1
tests_system_check_stopsclear_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_killstorm
tests_system_check_killstorm_SOURCES = tests/system/check_killstorm.c $(SYSTEM_KILLING)
tests_system_check_killstorm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_killstorm_LDADD = $(HARNESS_LIBS) client/libsegment.la

# A daemon that is killed below a service manager, and its successor.
SYSTEM_SURVIVING = tests/system/surviving.h $(SYSTEM_WORLD) $(SYSTEM_TELLING) $(SYSTEM_ACTOR) \
	$(SYSTEM_SUITE)

check_PROGRAMS += tests/system/check_survival
tests_system_check_survival_SOURCES = tests/system/check_survival.c tests/system/pool.c tests/system/pool.h $(SYSTEM_SURVIVING)
tests_system_check_survival_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survival_LDADD = host/libhost.la $(HARNESS_LIBS) client/libsegment.la

tests_system_check_survivaldeaths_SOURCES = tests/system/check_survivaldeaths.c tests/system/group.c tests/system/group.h \
	$(SYSTEM_SURVIVING)
tests_system_check_survivaldeaths_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivaldeaths_LDADD = host/libhost.la $(HARNESS_LIBS) client/libsegment.la

tests_system_check_survivalkills_SOURCES = tests/system/check_survivalkills.c tests/system/outliving.h tests/system/surviving.h $(SYSTEM_KILLING)
tests_system_check_survivalkills_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalkills_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/system/check_survivalstorm
tests_system_check_survivalstorm_SOURCES = tests/system/check_survivalstorm.c $(SYSTEM_SURVIVING)
tests_system_check_survivalstorm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_survivalstorm_LDADD = $(HARNESS_LIBS) client/libsegment.la

EXTRA_DIST += tests/system/race.py
check_PROGRAMS += tests/system/check_unaware
tests_of_sources += tests/system/check_unaware
tests_system_check_unaware_SOURCES = tests/system/check_unaware.c $(SYSTEM_WORLD)
tests_system_check_unaware_CPPFLAGS = $(AM_CPPFLAGS) -DRACE_PROGRAM='"$(abs_top_srcdir)/tests/system/race.py"'
tests_system_check_unaware_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_unaware_LDADD = $(HARNESS_LIBS)

check_PROGRAMS += tests/system/check_day
tests_system_check_day_SOURCES = tests/system/check_day.c tests/system/day_client.c tests/system/day_client.h \
	tests/system/day_crew.c tests/system/day_crew.h tests/system/day_office.c tests/system/day_office.h $(SYSTEM_SUITE)
tests_system_check_day_CPPFLAGS = $(AM_CPPFLAGS) \
	-DDAY_SEGMENTCTL='"$(abs_top_builddir)/client/segmentctl/segmentctl"'
tests_system_check_day_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_day_LDADD = $(HARNESS_LIBS) client/libsegment.la
endif
