# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += client/segmentctl/segmentctl
client_segmentctl_segmentctl_SOURCES = client/segmentctl/main.c
client_segmentctl_segmentctl_LDFLAGS = $(AM_LDFLAGS) $(PIE_LDFLAGS)
client_segmentctl_segmentctl_LDADD = client/segmentctl/libsegmentctl.la

noinst_LTLIBRARIES += client/segmentctl/libsegmentctl.la
client_segmentctl_libsegmentctl_la_SOURCES = \
	client/segmentctl/ask.c client/segmentctl/ask.h \
	client/segmentctl/auditing.c client/segmentctl/auditing.h \
	client/segmentctl/check.c \
	client/segmentctl/commands.h \
	client/segmentctl/contents.c \
	client/segmentctl/doctor.c client/segmentctl/doctor.h \
	client/segmentctl/doctor_daemon.c \
	client/segmentctl/doctor_files.c \
	client/segmentctl/doctor_limits.c \
	client/segmentctl/doctor_memory.c \
	client/segmentctl/doctor_placement.c \
	client/segmentctl/doctor_print.c \
	client/segmentctl/doctor_record.c \
	client/segmentctl/doctor_orphans.c \
	client/segmentctl/doctor_shared.c \
	client/segmentctl/doctor_system.c \
	client/segmentctl/event.c client/segmentctl/event.h \
	client/segmentctl/events.c \
	client/segmentctl/exec.c \
	client/segmentctl/holders.c client/segmentctl/holders.h \
	client/segmentctl/json.c client/segmentctl/json.h \
	client/segmentctl/lifecycle.c \
	client/segmentctl/list.c \
	client/segmentctl/locks.c client/segmentctl/locks.h \
	client/segmentctl/metrics.c \
	client/segmentctl/orphans.c client/segmentctl/orphans.h \
	client/segmentctl/orphans_print.c \
	client/segmentctl/plan.c \
	client/segmentctl/processes.c client/segmentctl/processes.h client/segmentctl/processes_own.c \
	client/segmentctl/problems.c client/segmentctl/problems.h \
	client/segmentctl/recover.c \
	client/segmentctl/report.c client/segmentctl/report.h \
	client/segmentctl/row.c client/segmentctl/row.h \
	client/segmentctl/segmentctl.c client/segmentctl/segmentctl.h \
	client/segmentctl/sessions.c \
	client/segmentctl/show.c \
	client/segmentctl/shown.c client/segmentctl/shown.h \
	client/segmentctl/table.c client/segmentctl/table.h \
	client/segmentctl/text.c client/segmentctl/text.h \
	client/segmentctl/upload.c client/segmentctl/upload.h \
	client/segmentctl/users.c \
	client/segmentctl/wait.c
client_segmentctl_libsegmentctl_la_CFLAGS = $(AM_CFLAGS) $(SMARTCOLS_CFLAGS)
client_segmentctl_libsegmentctl_la_LIBADD = client/libclient.la host/libhost.la conf/libconf.la $(SMARTCOLS_LIBS)

# Of the program's own name, as bash wants it; so it has a folder of its own.
dist_bashcompletion_DATA = client/segmentctl/completion/segmentctl
