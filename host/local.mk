# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += host/libhost.la
host_libhost_la_SOURCES = \
	host/cgroup.c host/cgroup.h \
	host/file.c host/file.h \
	host/findings.c host/findings.h host/findings_shm.c \
	host/limits.c host/limits.h \
	host/memory.c host/memory-huge.c host/memory.h \
	host/process.c host/process.h \
	host/shm.c host/shm.h
