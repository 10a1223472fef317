#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a booted systemd: the daemon as its units run it, on the configuration that is shipped. Every setting of theirs is looked
# at from inside, by what the kernel says of the process.
. "$BOOTED_SOURCE/tests/booted/payload.sh"

main_pid() { property segmentd.service MainPID; }
of_status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
limit() { awk -v name="$1" 'index($0, name) == 1 { sub(name, ""); print $1 "/" $2 }' "/proc/$pid/limits"; }
namespace() { readlink "/proc/$1/ns/$2"; }
# Whether a mount that the daemon sees is read-only there.
is_read_only() { awk -v at="$1" '$5 == at { last = $6 } END { exit last !~ /(^|,)ro(,|$)/ }' "/proc/$pid/mountinfo"; }

# --- start ------------------------------------------------------------------------------------------------------------

note "$(systemctl --version | head -n 1), Linux $(uname -r)"
check "the units are what systemd can read" systemd-analyze verify --man=no --recursive-errors=no segmentd.service segmentd.socket \
	segmentd-audit.socket segmentd-audit@.service
said=$(systemd-analyze verify --man=no --recursive-errors=no segmentd.service segmentd-audit@.service 2>&1)
is "and without a warning" "$said" ""
check "the sockets start" systemctl start segmentd.socket segmentd-audit.socket
is "nobody has asked yet" "$(systemctl is-active segmentd.service)" inactive
check "the first client starts the daemon" timeout 30 segmentctl wait market-data scoreboard
is "it is up then" "$(systemctl is-active segmentd.service)" active
pid=$(main_pid)
like "it says how it is" "$(property segmentd.service StatusText)" '3 segments ready'

# --- what it is for ---------------------------------------------------------------------------------------------------

is "root sees all segments" "$(segmentctl list | awk 'NR > 1 { print $1, $2 }' | sort | tr '\n' ';')" \
	"cache ready;market-data ready;scoreboard ready;"
is "so does who may attach" "$(as anna segmentctl list | awk 'NR > 1 { print $1 }' | sort | tr '\n' ';')" \
	"cache;market-data;scoreboard;"
check "anna writes" sh -c 'printf hello | setpriv --reuid=anna --regid=anna --init-groups segmentctl write scoreboard'
is "and bert reads it" "$(as bert segmentctl read scoreboard 0 5)" hello
if as anna segmentctl write market-data </dev/null 2>/dev/null; then failed "who may not write is refused"; else
	is "who may not write is refused" $? 5; fi
if as anna segmentctl reload 2>/dev/null; then failed "who is no administrator is refused"; else
	is "who is no administrator is refused" $? 5; fi

finish
