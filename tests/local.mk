# SPDX-License-Identifier: Apache-2.0
# A folder of suites each, with a fragment of its own.
TESTS += $(check_PROGRAMS) $(check_SCRIPTS)
include tests/layers/local.mk
include tests/manual/local.mk
include tests/conf/local.mk
include tests/host/local.mk
include tests/service/local.mk
include tests/client/local.mk
include tests/segmentctl/local.mk
include tests/daemon/local.mk
include tests/worker/local.mk
include tests/system/local.mk
