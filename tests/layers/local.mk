# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += tests/layers/check-layers
EXTRA_DIST += tests/layers/check-layers
