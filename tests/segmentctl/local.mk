# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
check_PROGRAMS += \
	tests/segmentctl/check_commands \
	tests/segmentctl/check_completion \
	tests/segmentctl/check_contents \
	tests/segmentctl/check_doctor \
	tests/segmentctl/check_doctor_backends \
	tests/segmentctl/check_doctor_left \
	tests/segmentctl/check_doctor_real \
	tests/segmentctl/check_exec \
	tests/segmentctl/check_follow \
	tests/segmentctl/check_segmentctl_daemon \
	tests/segmentctl/check_lies \
	tests/segmentctl/check_orphans \
	tests/segmentctl/check_orphans_real \
	tests/segmentctl/check_plan \
	tests/segmentctl/check_restarts \
	tests/segmentctl/check_planlies \
	tests/segmentctl/check_segmentctl_manual \
	tests/segmentctl/check_show \
	tests/segmentctl/check_tables \
	tests/segmentctl/check_text \
	tests/segmentctl/check_usage \
	tests/segmentctl/check_users

segmentctl_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
segmentctl_test_libs = client/segmentctl/libsegmentctl.la $(CHECK_LIBS) -lutil
segmentctl_run = tests/segmentctl/run.c tests/segmentctl/run.h
segmentctl_follower = tests/segmentctl/follower.c tests/segmentctl/follower.h $(segmentctl_run)
segmentctl_fake = tests/segmentctl/fake.c tests/segmentctl/fake.h
segmentctl_lies = tests/segmentctl/lies.c tests/segmentctl/lies.h $(segmentctl_run) $(segmentctl_fake)

tests_segmentctl_check_commands_SOURCES = tests/segmentctl/check_commands.c $(segmentctl_run) $(segmentctl_fake)
tests_segmentctl_check_commands_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_commands_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_contents_SOURCES = tests/segmentctl/check_contents.c $(segmentctl_run) $(segmentctl_fake)
tests_segmentctl_check_contents_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_contents_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_lies_SOURCES = tests/segmentctl/check_lies.c $(segmentctl_lies)
tests_segmentctl_check_lies_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_lies_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_planlies_SOURCES = tests/segmentctl/check_planlies.c $(segmentctl_lies)
tests_segmentctl_check_planlies_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_planlies_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_segmentctl_manual_SOURCES = tests/segmentctl/check_segmentctl_manual.c
tests_segmentctl_check_segmentctl_manual_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_segmentctl_manual_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_show_SOURCES = tests/segmentctl/check_show.c $(segmentctl_run) $(segmentctl_fake)
tests_segmentctl_check_show_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_show_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_users_SOURCES = tests/segmentctl/check_users.c $(segmentctl_lies)
tests_segmentctl_check_users_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_users_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_text_SOURCES = tests/segmentctl/check_text.c
tests_segmentctl_check_text_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_text_LDADD = $(segmentctl_test_libs)

segmentctl_doctor_host = tests/segmentctl/doctor_host.c tests/segmentctl/doctor_host.h tests/host/tree.c tests/host/tree.h
segmentctl_doctor_direct = tests/segmentctl/doctor_direct.c tests/segmentctl/doctor_direct.h $(segmentctl_doctor_host)

tests_segmentctl_check_doctor_SOURCES = tests/segmentctl/check_doctor.c $(segmentctl_run) $(segmentctl_doctor_host)
tests_segmentctl_check_doctor_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_doctor_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_doctor_real_SOURCES = tests/segmentctl/check_doctor_real.c $(segmentctl_run)
tests_segmentctl_check_doctor_real_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_BUILT='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_segmentctl_check_doctor_real_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_doctor_real_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_doctor_backends_SOURCES = tests/segmentctl/check_doctor_backends.c $(segmentctl_run) $(segmentctl_doctor_direct)
tests_segmentctl_check_doctor_backends_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_doctor_backends_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_doctor_left_SOURCES = tests/segmentctl/check_doctor_left.c $(segmentctl_run) $(segmentctl_doctor_direct)
tests_segmentctl_check_doctor_left_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_doctor_left_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_usage_SOURCES = tests/segmentctl/check_usage.c $(segmentctl_run)
tests_segmentctl_check_usage_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_usage_LDADD = $(segmentctl_test_libs)

tests_segmentctl_check_segmentctl_daemon_SOURCES = tests/segmentctl/check_segmentctl_daemon.c $(segmentctl_run)
tests_segmentctl_check_segmentctl_daemon_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_segmentctl_daemon_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_orphans_SOURCES = tests/segmentctl/check_orphans.c $(segmentctl_run) \
	tests/host/auditfake.c tests/host/auditfake.h
tests_segmentctl_check_orphans_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_orphans_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_orphans_real_SOURCES = tests/segmentctl/check_orphans_real.c $(segmentctl_run)
tests_segmentctl_check_orphans_real_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_BUILT='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_segmentctl_check_orphans_real_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_orphans_real_LDADD = $(AUDIT_RIG_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_plan_SOURCES = tests/segmentctl/check_plan.c $(segmentctl_run)
tests_segmentctl_check_plan_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_plan_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_follow_SOURCES = tests/segmentctl/check_follow.c $(segmentctl_follower) $(segmentctl_fake)
tests_segmentctl_check_follow_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_follow_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_restarts_SOURCES = tests/segmentctl/check_restarts.c $(segmentctl_follower) $(segmentctl_fake)
tests_segmentctl_check_restarts_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_restarts_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_tables_SOURCES = tests/segmentctl/check_tables.c $(segmentctl_run) $(segmentctl_fake)
tests_segmentctl_check_tables_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_tables_LDADD = $(segmentctl_test_libs)

tests_of_sources += tests/segmentctl/check_completion tests/segmentctl/check_exec
tests_segmentctl_check_completion_SOURCES = tests/segmentctl/check_completion.c $(segmentctl_fake) \
	tests/host/auditfake.c tests/host/auditfake.h
tests_segmentctl_check_completion_CPPFLAGS = $(AM_CPPFLAGS) \
	-DCOMPLETION='"$(abs_top_srcdir)/client/segmentctl/completion/segmentctl"' \
	-DPROGRAM='"$(abs_top_builddir)/client/segmentctl/segmentctl"'
tests_segmentctl_check_completion_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_completion_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)

tests_segmentctl_check_exec_SOURCES = tests/segmentctl/check_exec.c $(segmentctl_run)
tests_segmentctl_check_exec_CPPFLAGS = $(AM_CPPFLAGS) -DEXAMPLES='"$(abs_top_srcdir)/client/examples"' \
	-DNOTE_PROGRAM='"$(abs_top_builddir)/client/examples/note"'
tests_segmentctl_check_exec_CFLAGS = $(segmentctl_test_cflags)
tests_segmentctl_check_exec_LDADD = $(HARNESS_LIBS) $(segmentctl_test_libs)
endif
