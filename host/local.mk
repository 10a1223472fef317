# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += host/libhost.la
host_libhost_la_CPPFLAGS = $(AM_CPPFLAGS) -DAUDIT_PROGRAM='"$(libexecdir)/segmentd-audit"'
host_libhost_la_SOURCES = \
	host/audit.c host/audit.h \
	host/audit_brief.c host/audit_brief.h \
	host/cgroup.c host/cgroup.h \
	host/container.c host/container.h \
	host/file.c host/file.h \
	host/findings.c host/findings.h \
	host/findings_file.c host/findings_placement.c host/findings_shm.c host/findings_system.c \
	host/kernel.c host/kernel.h \
	host/limits.c host/limits.h \
	host/lease.c host/lease.h \
	host/mark.c host/mark.h \
	host/memory.c host/memory-huge.c host/memory.h \
	host/nodes.c host/nodes.h \
	host/object.c host/object.h \
	host/pools.c host/pools.h \
	host/process.c host/process.h \
	host/record.c host/record.h \
	host/service.c host/service.h \
	host/rows.c host/rows.h \
	host/settings.c host/settings.h \
	host/shm.c host/shm.h \
	host/sysv.c host/sysv.h
