# SPDX-License-Identifier: Apache-2.0
# SEGMENT_HARDENING
# -----------------
# What makes a mistake of ours harder to use: each flag that this compiler and this linker take. Sets hardening_cppflags,
# hardening_cflags and hardening_ldflags, which come before the user's own flags, so that those have the last word; and
# hardening_kinds, what tests/hardening/check-hardening is to find in the built files. With --disable-hardening all are empty.
AC_DEFUN([SEGMENT_HARDENING], [
hardening_cppflags=
hardening_cflags=
hardening_ldflags=
hardening_kinds=
AS_IF([test "x$enable_hardening" = xyes], [
	# A canary between a function's arrays and its return address; no step of the stack beyond a guard page; jumps and returns
	# only to where the processor is told they may go; no variable with what the stack had before.
	SEGMENT_TRY_CFLAG([-fstack-protector-strong], [protector])
	SEGMENT_TRY_CFLAG([-fstack-clash-protection], [clash])
	SEGMENT_TRY_CFLAG([-fcf-protection], [branches])
	SEGMENT_TRY_CFLAG([-ftrivial-auto-var-init=zero], [init])
	# What the linker relocates is read-only before main() runs, all of it; the stack is not run; code has pages of its own.
	SEGMENT_TRY_LDFLAG([-Wl,-z,relro], [relro])
	SEGMENT_TRY_LDFLAG([-Wl,-z,now], [now])
	SEGMENT_TRY_LDFLAG([-Wl,-z,noexecstack], [stack])
	SEGMENT_TRY_LDFLAG([-Wl,-z,separate-code], [code])
	SEGMENT_FORTIFY
])])

# SEGMENT_TRY_CFLAG(FLAG, KIND), SEGMENT_TRY_LDFLAG(FLAG, KIND)
# Linked, too: a compiler may take a flag whose library is missing.
AC_DEFUN([SEGMENT_TRY_CFLAG], [SEGMENT_TRY_FLAG([$1], [$2], [CFLAGS], [hardening_cflags])])
AC_DEFUN([SEGMENT_TRY_LDFLAG], [SEGMENT_TRY_FLAG([$1], [$2], [LDFLAGS], [hardening_ldflags])])
AC_DEFUN([SEGMENT_TRY_FLAG], [
	AC_MSG_CHECKING([whether $CC takes $1])
	save_$3=$$3
	$3="-Werror $1 $$3"
	AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
		[AC_MSG_RESULT([yes]); $4="$$4 $1"; hardening_kinds="$hardening_kinds $2"], [AC_MSG_RESULT([no])])
	$3=$save_$3
])

# SEGMENT_FORTIFY
# glibc's checks of lengths want optimisation, and not the sanitizers, which bring checks of their own. A level that the user has
# chosen stays; else it is the highest of which neither the compiler nor glibc says that it is none.
AC_DEFUN([SEGMENT_FORTIFY], [
	AC_MSG_CHECKING([for a level of _FORTIFY_SOURCE])
	fortify=no
	AS_CASE([" $CPPFLAGS $CFLAGS $CC "],
		[*_FORTIFY_SOURCE*], [fortify="the user's"],
		[AS_IF([test "x$enable_sanitizers" = xno], [
			save_CPPFLAGS=$CPPFLAGS
			for level in 2 3; do
				CPPFLAGS="-Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$level $save_CPPFLAGS"
				AC_COMPILE_IFELSE([AC_LANG_PROGRAM([#include <string.h>
@%:@ifndef __OPTIMIZE__
@%:@error it wants optimisation
@%:@endif
@%:@if __USE_FORTIFY_LEVEL < $level
@%:@error it is none
@%:@endif], [])], [fortify=$level])
			done
			CPPFLAGS=$save_CPPFLAGS
		])])
	AC_MSG_RESULT([$fortify])
	AS_CASE([$fortify], [@<:@23@:>@], [
		hardening_cppflags="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$fortify"
		hardening_kinds="$hardening_kinds fortify"
	])
])
