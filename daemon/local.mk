# SPDX-License-Identifier: Apache-2.0
# The daemon: everything but main is a library that the tests link, too.
sbin_PROGRAMS += daemon/segmentd
noinst_LTLIBRARIES += daemon/libdaemon.la

daemon_libdaemon_la_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS)
daemon_libdaemon_la_CFLAGS = $(AM_CFLAGS)
daemon_libdaemon_la_SOURCES = \
	daemon/access.c daemon/access.h \
	daemon/accounts.c daemon/accounts.h \
	daemon/attachment.c daemon/attachment.h \
	daemon/auditor.c daemon/auditor.h daemon/auditor_child.c daemon/auditor_unsettled.c \
	daemon/backend/backend.c daemon/backend/backend.h daemon/backend/table.c \
	daemon/backend/file.c daemon/backend/memfd.c daemon/backend/sysv.c \
	daemon/backend/posix.c daemon/backend/posix.h \
	daemon/backend/posix_access.c daemon/backend/posix_birth.c daemon/backend/posix_change.c daemon/backend/posix_names.c daemon/backend/posix_taken.c \
	daemon/box.c daemon/box.h daemon/box_batch.c daemon/box_batch.h \
	daemon/box_pair.c daemon/box_pair.h \
	daemon/box_peek.c \
	daemon/budget.c daemon/budget.h \
	daemon/burials.c daemon/burials.h \
	daemon/flights.c daemon/flights.h \
	daemon/deaths.c daemon/deaths.h \
	daemon/ending.c daemon/ending.h \
	daemon/events.c daemon/events.h \
	daemon/graves.c daemon/graves.h \
	daemon/hash.c daemon/hash.h \
	daemon/holding.c daemon/holding.h \
	daemon/inquiry.c daemon/inquiry.h \
	daemon/kept.c daemon/kept.h \
	daemon/kernelcount.c daemon/kernelcount.h \
	daemon/leftovers.c daemon/leftovers.h daemon/leftovers_open.c daemon/leftovers_remove.c daemon/leftovers_tell.c \
	daemon/ledger.c daemon/ledger.h daemon/ledger_read.c daemon/ledger_rows.h \
	daemon/listener.c daemon/listener.h \
	daemon/locks.c daemon/locks.h \
	daemon/log.c daemon/log.h \
	daemon/messages.c daemon/messages.h \
	daemon/manager.c daemon/manager.h daemon/manager_parts.h daemon/manager_tell.c \
	daemon/milestones.c daemon/milestones.h \
	daemon/mutexes.c daemon/mutexes.h \
	daemon/names.c daemon/names.h \
	daemon/orphans.c daemon/orphans.h \
	daemon/orphans_judge.c \
	daemon/orphans_names.c daemon/orphans_names.h \
	daemon/orphans_posix.c daemon/orphans_posix.h daemon/orphans_posix_ask.c \
	daemon/orphans_rules.c daemon/orphans_rules.h \
	daemon/orphans_scan.c daemon/orphans_scan.h \
	daemon/orphans_sysv.c \
	daemon/orphans_tell.c \
	daemon/parcels.c daemon/parcels.h \
	daemon/parse.c daemon/parse.h \
	daemon/patience.c daemon/patience.h \
	daemon/privileges.c daemon/privileges.h \
	daemon/promptness.c daemon/promptness.h \
	daemon/provision.c daemon/provision.h \
	daemon/provision_adopt.c \
	daemon/provision_errand.c \
	daemon/provision_grow.c \
	daemon/provision_revive.c \
	daemon/provision_init.c \
	daemon/provision_inquire.c \
	daemon/provision_place.c \
	daemon/provision_steps.c daemon/provision_steps.h \
	daemon/record.c daemon/record.h \
	daemon/recovery.c daemon/recovery.h \
	daemon/recovery_lock.c daemon/recovery_lock.h \
	daemon/recoverylog.c daemon/recoverylog.h \
	daemon/registry.c daemon/registry.h \
	daemon/reload.c daemon/reload.h \
	daemon/reload_judge.c daemon/reload_judge.h \
	daemon/reload_lines.c daemon/reload_lines.h \
	daemon/reload_phases.c daemon/reload_phases.h \
	daemon/reload_rules.c \
	daemon/requests.c daemon/requests.h \
	daemon/requests_attach.c \
	daemon/requests_events.c \
	daemon/requests_locks.c \
	daemon/requests_metrics.c \
	daemon/requests_plan.c \
	daemon/requests_query.c daemon/requests_return.c \
	daemon/requests_segment.c \
	daemon/requests_users.c \
	daemon/requests_who.c \
	daemon/rest.c daemon/rest.h \
	daemon/rowfile.c daemon/rowfile.h \
	daemon/rounds.c daemon/rounds.h \
	daemon/segment.c daemon/segment.h \
	daemon/segment_count.c \
	daemon/segment_ends.c daemon/segment_parts.h \
	daemon/segment_file.c daemon/segment_file.h \
	daemon/segment_grow.c \
	daemon/segment_ledger.c \
	daemon/segment_revive.c \
	daemon/session.c daemon/session.h daemon/session_charges.c daemon/session_identify.c daemon/session_io.c \
	daemon/session_parts.h daemon/session_revive.c \
	daemon/slices.c daemon/slices.h daemon/timer.h \
	daemon/start.c daemon/start.h \
	daemon/survival.c daemon/survival.h \
	daemon/survival_await.c daemon/survival_await.h daemon/survival_steps.h \
	daemon/survival_past.c daemon/survival_past.h daemon/survival_room.c daemon/survival_room.h \
	daemon/survival_tell.c daemon/survival_tell.h \
	daemon/toll.c daemon/toll.h \
	daemon/turns.c daemon/turns.h \
	daemon/vigil.c daemon/vigil.h \
	daemon/who.c daemon/who.h \
	daemon/who_answer.c daemon/who_answer.h \
	daemon/worker.c daemon/worker.h daemon/worker_spawn.c \
	daemon/workers.c daemon/workers.h
daemon_libdaemon_la_LIBADD = \
	daemon/worker/libworker.la client/libcontrol.la host/libhost.la conf/libconf.la systemd/libservice.la \
	$(EVENT_LIBS) $(SYSTEMD_LIBS) $(CONFIG_LIBS)

daemon_segmentd_SOURCES = daemon/main.c
daemon_segmentd_CPPFLAGS = $(AM_CPPFLAGS) -DSEGMENTD_CONF_FILE='"$(sysconfdir)/segmentd/segmentd.conf"'
daemon_segmentd_CFLAGS = $(AM_CFLAGS)
daemon_segmentd_LDFLAGS = $(AM_LDFLAGS) $(PIE_LDFLAGS)
daemon_segmentd_LDADD = daemon/libdaemon.la
