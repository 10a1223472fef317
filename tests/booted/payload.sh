# SPDX-License-Identifier: Apache-2.0
# What payloads tell their results with, sourced by them; the last of it is finish.
n_checks=0
n_failures=0

# Results are counted by the name of what was looked at; a failure does not end the payload.
passed() { n_checks=$((n_checks + 1)); echo "ok: $*"; }
failed() { n_checks=$((n_checks + 1)); n_failures=$((n_failures + 1)); echo "FAILED: $*"; }
skipped() { n_checks=$((n_checks + 1)); echo "SKIP: $*"; }
note() { echo "# $*"; }

# check NAME COMMAND...: it succeeds.
check() {
	name=$1
	shift
	if said=$("$@" 2>&1); then passed "$name"; else failed "$name: '$*' failed ($?): $said"; fi
}

# is NAME HAD WANTED
is() { if [ "$2" = "$3" ]; then passed "$1 ($2)"; else failed "$1: '$2', expected '$3'"; fi; }

# like NAME HAD PATTERN: a pattern of case
like() { case $2 in $3) passed "$1" ;; *) failed "$1: '$2', expected something like '$3'" ;; esac; }

# await SECONDS COMMAND...: until it succeeds, which is looked at 50 times a second.
await() {
	tries=$(($1 * 50))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.02
	done
}

# as USER COMMAND...: with that user's groups, and nothing of root's.
as() {
	user=$1
	shift
	setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all --reset-env -- env PATH="$PATH" "$@"
}

# property UNIT NAME
property() { systemctl show -P "$2" "$1"; }

# writers NAME: how many have a segment for writing.
writers() {
	segmentctl --json list | tr -d ' \n' | grep -o "\"name\":\"$1\"[^}]*" | sed -n 's/.*"writers":\([0-9]*\).*/\1/p'
}
has_writers() { [ "$(writers "$1")" = "$2" ]; }

finish() {
	echo "100%: Checks: $n_checks, Failures: $n_failures, Errors: 0"
	[ "$n_failures" = 0 ]
	exit
}
