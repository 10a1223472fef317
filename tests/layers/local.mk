# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += tests/layers/check-layers tests/layers/check-backends
EXTRA_DIST += tests/layers/check-layers tests/layers/check-backends
