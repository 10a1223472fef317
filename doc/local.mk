# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += doc/segmentd.8 doc/segmentd-audit.8 doc/segmentd-containers.7 doc/segmentd-security.7
EXTRA_DIST += doc/architecture.md
dist_man_MANS += doc/segmentctl.1
dist_man_MANS += doc/libsegment.3
