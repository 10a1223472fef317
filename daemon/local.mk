# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += daemon/segmentd
daemon_segmentd_SOURCES = daemon/main.c
