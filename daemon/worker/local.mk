# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += daemon/worker/libworker.la
daemon_worker_libworker_la_SOURCES = \
	daemon/worker/job.h \
	daemon/guard.c daemon/guard.h \
	daemon/procfd.c daemon/procfd.h \
	daemon/worker/cancel.c daemon/worker/cancel.h \
	daemon/worker/contents.c daemon/worker/contents.h \
	daemon/worker/file.c daemon/worker/file.h daemon/worker/file_reserve.c \
	daemon/worker/link.c daemon/worker/link.h \
	daemon/worker/mark.c daemon/worker/mark.h \
	daemon/worker/names.c daemon/worker/names.h \
	daemon/worker/object.c daemon/worker/object.h \
	daemon/worker/parse.c daemon/worker/parse.h \
	daemon/worker/placement.c daemon/worker/placement.h \
	daemon/worker/populate.c daemon/worker/populate.h \
	daemon/worker/receive.c daemon/worker/receive.h \
	daemon/worker/repair.c daemon/worker/repair.h \
	daemon/worker/verify.c daemon/worker/verify.h \
	daemon/worker/walk.c daemon/worker/walk.h \
	daemon/worker/worker.c
