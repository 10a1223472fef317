# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += tests/manual/check-manual tests/manual/check-security tests/manual/check-words
EXTRA_DIST += tests/manual/check-manual tests/manual/check-security tests/manual/check-words
