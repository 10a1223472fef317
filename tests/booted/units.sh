#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a booted systemd: the daemon as its units run it, on the configuration that is shipped. Every setting of theirs is looked
# at from inside, by what the kernel says of the process.
. "$BOOTED_SOURCE/tests/booted/payload.sh"

conf=$(dirname "$(find /etc /usr/local/etc -name segments.d)")
keeps_store() { [ "$(property segmentd.service FileDescriptorStorePreserve)" = yes ]; }
main_pid() { property segmentd.service MainPID; }
verify() { systemd-analyze verify --man=no --recursive-errors=no "$@" 2>&1; }

start() {
	note "$(systemctl --version | head -n 1), Linux $(uname -r)"
	is "systemd can read the units, without a warning" \
		"$(verify segmentd.service segmentd.socket segmentd-audit.socket segmentd-audit@.service && echo yes)" yes
	check "the sockets start" systemctl start segmentd.socket segmentd-audit.socket
	is "nobody has asked yet" "$(systemctl is-active segmentd.service)" inactive
	check "the first client starts the daemon" timeout 120 segmentctl wait market-data scoreboard cache
	is "it is up then" "$(systemctl is-active segmentd.service)" active
	check "it says how it is" await 5 says_status '3 segments ready'
	pid=$(main_pid)
}
says_status() { case $(property segmentd.service StatusText) in *"$1"*) ;; *) return 1 ;; esac; }

# --- what it is for ---------------------------------------------------------------------------------------------------

names() { "$@" segmentctl list | awk 'NR > 1 { print $1 }' | sort | tr '\n' ' '; }
# refused NAME COMMAND...: with the status for what is not permitted.
refused() {
	name=$1
	shift
	"$@" >/dev/null 2>&1 </dev/null
	is "$name" $? 5
}

service() {
	is "root sees all segments" "$(names env)" "cache market-data scoreboard "
	is "so does who may attach them" "$(names as anna)" "cache market-data scoreboard "
	printf hello | as anna segmentctl write scoreboard
	is "anna writes, and bert reads it" "$(as bert segmentctl read scoreboard 0 5)" hello
	refused "who may only read does not write" as anna segmentctl write market-data
	refused "who is no administrator does not reload" as anna segmentctl reload
	check "the daemon's own user does" as segmentd segmentctl reload
}

# --- every setting, from inside ---------------------------------------------------------------------------------------

of_status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
limit() { awk -v name="$1" 'index($0, name) == 1 { sub(name, ""); print $1 "/" $2 }' "/proc/$pid/limits"; }
# The options of the last mount at or above a path, as the daemon sees it: ro or rw.
mounted() {
	awk -v path="$1" '
		{ at = $5 == "/" ? "" : $5 }
		at == "" || path == at || index(path, at "/") == 1 {
			if (length(at) >= best) { best = length(at); options = $6 }
		}
		END { print options ~ /(^|,)ro(,|$)/ ? "ro" : "rw" }' "/proc/$pid/mountinfo"
}
same_namespace() { [ "$(readlink "/proc/$pid/ns/$1")" = "$(readlink "/proc/1/ns/$1")" ] && echo same || echo own; }
device() { stat -c %d "$1"; }

identity() {
	user=$(id -u segmentd)
	is "its user" "$(of_status Uid)" "$(printf '%s\t%s\t%s\t%s' "$user" "$user" "$user" "$user")"
	is "its group" "$(of_status Gid | cut -f1)" "$(getent group segmentd | cut -d: -f3)"
	for set in CapEff CapPrm CapBnd; do
		is "its one capability is to lock memory: $set" "$(of_status $set)" 0000000000004000
	done
	is "no new privileges" "$(of_status NoNewPrivs)" 1
	is "a filter of system calls" "$(of_status Seccomp)" 2
	is "its umask" "$(of_status Umask)" 0077
	slice=$(awk '$1 == "se.slice" { print $3 }' "/proc/$pid/sched" 2>/dev/null)
	if [ -n "$slice" ] && printf '6.12\n%s\n' "$(uname -r)" | sort -VC; then
		is "its turns on a CPU are short" "$slice" 100000
	else
		skipped "whether its turns on a CPU are short: the kernel has one length for all, or does not tell"
	fi
	is "what a core dump has of it" "$(cat "/proc/$pid/coredump_filter")" 00000011
	is "locked memory stays so" "$(segmentctl --json list | tr -d ' \n' | grep -o '"name":"market-data"[^}]*' |
		grep -o '"locked":[0-9]*')" '"locked":16777216'
	if prlimit --memlock=unlimited:unlimited true 2>/dev/null; then
		is "how much memory it may lock" "$(limit "Max locked memory")" unlimited/unlimited
	else
		skipped "whether LimitMEMLOCK is effective: limits cannot be raised here (CAP_SYS_RESOURCE)"
	fi
	if prlimit --nofile=1048576:1048576 true 2>/dev/null; then
		is "how many descriptors it may have" "$(limit "Max open files")" 1048576/1048576
	else
		is "how many descriptors it may have: as many as can be had here" "$(limit "Max open files" | cut -d/ -f2)" \
			"$(prlimit --nofile -o HARD --noheadings --raw)"
	fi
	if sh -c 'echo -1000 >/proc/self/oom_score_adj' 2>/dev/null; then
		is "it is the last to be killed for want of memory" "$(cat "/proc/$pid/oom_score_adj")" -1000
	else
		skipped "whether OOMScoreAdjust is effective: it cannot be lowered here (CAP_SYS_RESOURCE)"
	fi
}

surroundings() {
	for namespace in mnt net uts; do
		is "a namespace of its own: $namespace" "$(same_namespace $namespace)" own
	done
	for namespace in ipc user pid; do
		is "the host's namespace: $namespace" "$(same_namespace $namespace)" same
	done
	is "the host's /dev/shm" "$(device "/proc/$pid/root/dev/shm")" "$(device /dev/shm)"
	for path in / /usr /etc /var/lib /sys /proc/sys /sys/fs/cgroup; do
		is "not to be written: $path" "$(mounted $path)" ro
	done
	for path in /run/segmentd /var/lib/segmentd /dev/shm; do
		is "to be written: $path" "$(mounted $path)" rw
	done
	is "no homes" "$(ls -A "/proc/$pid/root/root" 2>/dev/null | wc -l)" 0
	[ "$(device "/proc/$pid/root/tmp"):$(stat -c %i "/proc/$pid/root/tmp")" != "$(device /tmp):$(stat -c %i /tmp)" ]
	is "a /tmp of its own" $? 0
	is "no devices" "$(find "/proc/$pid/root/dev" -maxdepth 1 -type b -o -maxdepth 1 -type c -name '[mk]*' | wc -l)" 0
	is "its runtime folder" "$(stat -c '%a %U' /run/segmentd)" "755 segmentd"
	is "its socket" "$(stat -c '%a' /run/segmentd/segmentd.sock)" 666
	is "its folder for files" "$(stat -c '%a %U' /var/lib/segmentd)" "750 segmentd"
}

# What systemd has to be asked, since no process shows it.
manager() {
	while read -r name wanted; do
		is "$name" "$(property segmentd.service "$name")" "$wanted"
	done <<-END
	NotifyAccess main
	Restart always
	RestartUSec 0
	StartLimitIntervalUSec 0
	OOMPolicy continue
	ManagedOOMPreference omit
	KillMode mixed
	WatchdogUSec 20s
	TimeoutStartUSec 1min 30s
	TimeoutStopUSec 1min 30s
	FileDescriptorStoreMax 64
	RuntimeDirectoryPreserve yes
	TasksMax 256
	KeyringMode private
	SystemCallArchitectures native
	RestrictAddressFamilies AF_UNIX
	END
	is "IPAddressDeny" "$(property segmentd.service IPAddressDeny | tr ' ' '\n' | sort | tr '\n' ' ')" "0.0.0.0/0 ::/0 "
	is "TriggerLimitIntervalUSec of the socket" "$(property segmentd.socket TriggerLimitIntervalUSec)" 0
	if keeps_store; then
		is "Type" "$(property segmentd.service Type)" notify-reload
		is "FileDescriptorStorePreserve" "$(property segmentd.service FileDescriptorStorePreserve)" yes
		is "KillSignal" "$(property segmentd.service KillSignal)" "$(kill -l USR2 2>/dev/null || echo 12)"
	else
		is "Type" "$(property segmentd.service Type)" notify
		is "KillSignal" "$(property segmentd.service KillSignal)" 15
		is "RestartKillSignal" "$(property segmentd.service RestartKillSignal)" 12
	fi
}

# What is refused, tried by a program under the same settings: a copy of the unit with another thing to do.
confinement() {
	unit=$(property segmentd.service FragmentPath)
	sed -e '/^Exec/d' -e '/^Type=/d' -e '/^Restart/d' -e '/^WatchdogSec/d' -e '/^\(Requires\|After\)=/d' \
		-e 's/^\[Service\]/&\nType=oneshot\nExecStart=\/usr\/bin\/perl \/run\/confined.pl\nStandardOutput=file:\/run\/confined/' \
		-e '/^RuntimeDirectory/d' -e '/^StateDirectory/d' "$unit" >/run/systemd/system/confined.service
	cat >/run/confined.pl <<-'END'
	use strict; use Socket; use POSIX ();
	my ($mmap, $unshare, $add_key, $personality, $mbind, $new_user) = (9, 272, 248, 135, 237, 0x10000000);
	my ($type, $key, $value) = ("user", "confined", "x");
	sub told { my ($name, $ok) = @_; printf "%s: %s\n", $name, $ok ? "allowed" : "refused ($!)"; }
	told("an internet socket", socket(my $i, AF_INET, SOCK_STREAM, 0));
	told("a Unix socket", socket(my $u, AF_UNIX, SOCK_STREAM, 0));
	open(my $f, ">", "/dev/shm/confined") or told("a file in /dev/shm", 0);
	told("giving a file away", chown($<, -1, "/dev/shm/confined"));
	told("a program with another's rights", chmod(04755, "/dev/shm/confined"));
	unlink("/dev/shm/confined");
	told("a lower nice value", defined POSIX::nice(-1));
	my ($machine) = (POSIX::uname())[4];
	exit 0 if $machine ne "x86_64";
	told("memory that is written and run", syscall($mmap, 0, 4096, 7, 0x22, -1, 0) != -1);
	told("a namespace", syscall($unshare, $new_user) != -1);
	told("a key", syscall($add_key, $type, $key, $value, 1, -2) != -1);
	told("another personality", syscall($personality, 0x0040000) != -1);
	told("placing its memory", syscall($mbind, 0, 0, 0, 0, 0, 0) != -1);
	END
	systemctl daemon-reload
	check "the confined program ends" systemctl start confined.service
	while IFS=: read -r name what; do
		case $name in
		"a Unix socket" | "placing its memory" | "a file in /dev/shm") like "$name" "$what" ' allowed' ;;
		*) like "$name" "$what" ' refused*' ;;
		esac
	done </run/confined
	rm /run/systemd/system/confined.service
	systemctl daemon-reload
}

exposure() {
	for unit in segmentd.service segmentd-audit@.service; do
		said=$(systemd-analyze security --no-pager "$unit" 2>&1 | tail -n 1)
		note "$said"
		level=$(echo "$said" | sed -n 's/.*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p')
		[ $unit != segmentd.service ] || check "the daemon's exposure is at most 1.0" test "${level:-99}" -le 10
	done
}

# --- segmentd-audit ---------------------------------------------------------------------------------------------------

is_held_by() { as segmentd segmentctl show "$1" | grep -q "$2"; }
is_asked() { [ "$(cat "/proc/$(pgrep -o segmentd-audit)/comm" 2>/dev/null)" = segmentd-audit ]; }
is_gone() { [ ! -e "$1" ]; }
has_watchdog() { [ "$(ls "/proc/$pid/task" | wc -l)" -eq 2 ]; }

audit() {
	is "who may ask" "$(stat -c '%a %U %G' /run/segmentd-audit.sock)" "660 root segmentd"
	# A question about nothing: version, kind, serial, flags, rows.
	perl -e 'use Socket; socket(S, AF_UNIX, SOCK_SEQPACKET, 0) && connect(S, pack_sockaddr_un($ARGV[0])) &&
		send(S, pack("LLQLL", 1, 3, 1, 0, 0), 0) or die; sleep 1000' /run/segmentd-audit.sock &
	check "a connection has a unit of its own" await 10 is_asked
	pid=$(pgrep -o segmentd-audit)
	like "which is the template's" "$(cat "/proc/$pid/cgroup")" '*/segmentd-audit@*.service'
	is "its capabilities" "$(of_status CapEff) $(of_status CapBnd)" "000000001028000c 000000001028000c"
	is "no new privileges, and a filter" "$(of_status NoNewPrivs) $(of_status Seccomp)" "1 2"
	check "its filter lets it have the thread that is its watchdog" await 10 has_watchdog
	is "its network and its mounts are its own, and System V is the host's" \
		"$(same_namespace net) $(same_namespace mnt) $(same_namespace ipc)" "own own same"
	is "it writes /dev/shm only" "$(mounted /) $(mounted /etc) $(mounted /dev/shm)" "ro ro rw"
	is "how many descriptors it may have" "$(limit "Max open files")" 1024/1024
	pkill -x perl
	wait
	pid=$(main_pid)
	# A child of a client that is gone: who that is says nobody but /proc, in which the daemon may not look.
	as bert segmentctl exec scoreboard -- sh -c 'exec sleep 1000 >/dev/null 2>&1 &'
	check "the daemon's user is told who holds a segment" await 10 is_held_by scoreboard sleep
	is "by a unit of its own for each question" "$(systemctl list-sockets --no-legend segmentd-audit.socket | wc -l)" 1
	as segmentd segmentctl show scoreboard | sed -n '/sleep/s/^/# /p'
	pkill -x -u bert sleep
	echo 'orphans = ( { posix = "/left-*"; after = "0s"; action = "remove"; } );' >"$conf/segments.d/orphans.conf"
	as cleo sh -c 'echo left >/dev/shm/left-alone'
	as cleo sh -c 'echo left >/dev/shm/left-held; exec sleep 1000 </dev/shm/left-held' &
	check "somebody has one open" await 10 pgrep -x -u cleo sleep
	check "a rule of orphans is taken" systemctl reload segmentd.service
	check "another user's orphan is removed" await 20 is_gone /dev/shm/left-alone
	check "what somebody has open is not" test -e /dev/shm/left-held
	pkill -x -u cleo sleep
	wait
	check "until that is gone, too" await 20 is_gone /dev/shm/left-held
	rm "$conf/segments.d/orphans.conf"
	check "without rules nothing is left to ask" systemctl reload segmentd.service
	is "nothing has failed" "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ')" ""
}

# --- reload -----------------------------------------------------------------------------------------------------------

reload() {
	echo 'segments = ( { name = "bad"; size = "1MiB"; colour = "red"; } );' >"$conf/segments.d/bad.conf"
	if said=$(systemctl reload segmentd.service 2>&1); then
		failed "systemctl reload fails on files that are not valid"
	else
		passed "systemctl reload fails on files that are not valid"
		note "$said"
	fi
	check "the status has file, line and key" says_status "segments.d/bad.conf:1"
	check "so has what systemctl status shows of the reload" sh -c "systemctl status --no-pager segmentd.service |
		grep -q 'segmentctl.*bad.conf:1:.*colour\|colour.*bad.conf:1'"
	is "the daemon is up as before" "$(systemctl is-active segmentd.service) $(main_pid)" "active $pid"
	echo 'segments = ( { name = "good"; size = "1MiB"; placement = "prefer"; mode = "0666"; } );' >"$conf/segments.d/bad.conf"
	check "systemctl reload does what is said now" systemctl reload segmentd.service
	check "and the segment is there" timeout 120 segmentctl wait good
	rm "$conf/segments.d/bad.conf"
	check "and takes it away again" systemctl reload segmentd.service
	is "as it was" "$(names env)" "cache market-data scoreboard "
}

# --- segments of all kinds, under these settings ------------------------------------------------------------------------

states() { segmentctl list | awk '$1 ~ /^kind-/ { print $1, $2 }' | sort | tr '\n' ' '; }
has_states() { [ "$(states)" = "$1" ]; }

kinds() {
	install -d -o segmentd -m 700 /srv/kinds
	cat >"$conf/segments.d/kinds.conf" <<-'END'
	segments = (
		{ name = "kind-file"; size = "1MiB"; backend = "file"; path = "/var/lib/segmentd/kind"; },
		{ name = "kind-elsewhere"; size = "1MiB"; backend = "file"; path = "/srv/kinds/kind"; required = false; },
		{ name = "kind-posix"; size = "1MiB"; backend = "posix"; object = "/kind"; allow = ( { user = "anna"; access = "r"; } ); },
		{ name = "kind-sysv"; size = "1MiB"; backend = "sysv"; key = 0x6b696e64; mode = "0660"; },
		{ name = "kind-numa"; size = "2MiB"; numa = "bind:0"; },
		{ name = "kind-locked"; size = "1MiB"; page_size = "base"; }
	);
	END
	check "segments of all kinds are asked for" systemctl reload segmentd.service
	wanted="kind-elsewhere failed kind-file ready kind-locked ready kind-numa ready kind-posix ready kind-sysv ready "
	await 20 has_states "$wanted"
	is "they are ready, but for the one that needs a drop-in" "$(states)" "$wanted"
	like "which is said" "$(segmentctl show kind-elsewhere)" '*Read-only file system. Remedy: ReadWritePaths=*'
	like "whom a POSIX object lets in" "$(as anna head -c 3 /dev/shm/kind | tr '\0' 0)" 000
	if as bert head -c 3 /dev/shm/kind >/dev/null 2>&1; then failed "and whom not"; else passed "and whom not"; fi
	mkdir -p /run/systemd/system/segmentd.service.d
	printf '[Service]\nReadWritePaths=/srv/kinds\n' >/run/systemd/system/segmentd.service.d/kinds.conf
	systemctl daemon-reload
	check "the daemon restarts" systemctl restart segmentd.service
	segmentctl retry kind-elsewhere >/dev/null 2>&1
	check "with that it is ready, too" timeout 120 segmentctl wait kind-elsewhere
	is "and so are the others" "$(states)" "kind-elsewhere ready ${wanted#*failed }"
	rm "$conf/segments.d/kinds.conf"
	check "nothing of them is declared any more" systemctl reload segmentd.service
	check "the objects are gone" await 10 test ! -e /dev/shm/kind -a -z "$(ipcs -m | grep 0x6b696e64)"
	rm -r /run/systemd/system/segmentd.service.d
	systemctl daemon-reload
	systemctl restart segmentd.service
	pid=$(main_pid)
}

# --- messages ---------------------------------------------------------------------------------------------------------

message_id() { sed -n "s/.*X($1, [^\"]*\"\([0-9a-f]*\)\".*/\1/p" "$BOOTED_SOURCE/daemon/messages.h"; }
# entries NAME [FIELD=VALUE]...: of that message, as JSON, a line each.
entries() {
	id=$(message_id "$1")
	shift
	journalctl -q -b -o json _SYSTEMD_UNIT=segmentd.service MESSAGE_ID="${id:-none}" "$@"
}
has_entry() { entries "$@" | grep -q '"MESSAGE_ID"'; }

messages() {
	journalctl --sync
	check "by its id: ready" has_entry READY PRIORITY=6
	check "a segment's" has_entry SEGMENT_READY SEGMENT=market-data
	check "a reload's" has_entry RELOAD PRIORITY=5
	check "of files that are not valid" has_entry RELOAD_PROBLEM PRIORITY=3
	check "an orphan's, with what was removed and by which rule" has_entry ORPHAN_REMOVED OBJECT=/left-alone OBJECT_UID=1003 \
		"OBJECT_RULE=$conf/segments.d/orphans.conf:1"
	check "what they say is to be done" sh -c "journalctl --update-catalog &&
		journalctl -q -b -x MESSAGE_ID=$(message_id RELOAD_PROBLEM) | grep -q 'see with .segmentctl plan. what would become'"
	is "all from priority notice on have an id" "$(journalctl -q -b -p notice -o json _SYSTEMD_UNIT=segmentd.service _COMM=segmentd |
		grep -vc '"MESSAGE_ID"')" 0
}

# --- a client's unit ----------------------------------------------------------------------------------------------------

client() {
	cp "$BOOTED_SOURCE/client/examples/scoreboard.service" /run/systemd/system/
	systemctl daemon-reload
	is "systemd can read the example of a client's unit, without a warning" "$(verify scoreboard.service && echo yes)" yes
	check "it stops" systemctl stop segmentd.service
	check "the client starts, and the daemon before it" timeout 120 systemctl start scoreboard.service
	check "it is attached" await 10 has_writers scoreboard 1
	client=$(property scoreboard.service MainPID)
	check "the daemon restarts" systemctl restart segmentd.service
	is "the client is the same" "$(property scoreboard.service MainPID) $(systemctl is-active scoreboard.service)" "$client active"
	check "and attached as before" await 10 has_writers scoreboard 1
	check "it stops" systemctl stop scoreboard.service
	check "and is not attached any more" await 10 has_writers scoreboard 0
	pid=$(main_pid)
}

# --- files that are not valid at the start -------------------------------------------------------------------------------

is_another() { p=$(main_pid); [ "$p" != "$1" ] && [ "$p" != 0 ] && [ "$(systemctl is-active segmentd.service)" = active ]; }
n_starts() { property segmentd.service NRestarts; }

invalid() {
	check "it stops" systemctl stop segmentd.service
	echo 'segments = ( { name = "bad"; size = "1MiB"; colour = "red"; } );' >"$conf/segments.d/bad.conf"
	if systemctl start segmentd.service 2>/dev/null; then
		failed "a start on files that are not valid fails"
	else
		passed "a start on files that are not valid fails"
	fi
	before=$(n_starts)
	sleep 1
	check "it is tried again, but not without end" test "$(($(n_starts) - before))" -le 2
	rm "$conf/segments.d/bad.conf"
	check "and by itself it runs when they are mended" await 20 is_another 0
	check "as ever" timeout 120 segmentctl wait market-data
	pid=$(main_pid)
}

# --- deaths -----------------------------------------------------------------------------------------------------------

# When the watchdog was fed last, in microseconds since the machine's start.
fed() { systemctl show -P WatchdogTimestampMonotonic segmentd.service; }
is_fed() { [ "$(fed)" -ge "$1" ]; }

deaths() {
	printf again | as anna segmentctl write scoreboard
	kill -9 "$pid"
	check "one that was killed comes back" await 20 is_another "$pid"
	check "and serves" timeout 120 segmentctl wait market-data
	is "what was written before" "$(as bert segmentctl read scoreboard 0 5)" again
	pid=$(main_pid)
	mkdir -p /run/systemd/system/segmentd.service.d
	printf '[Service]\nWatchdogSec=1s\n' >/run/systemd/system/segmentd.service.d/watchdog.conf
	systemctl daemon-reload
	systemctl restart segmentd.service
	is "a restart takes nothing" "$(as bert segmentctl read scoreboard 0 5)" again
	pid=$(main_pid)
	check "one that works feeds it, for longer than it waits" await 20 is_fed "$(($(fed) + 1500000))"
	is "the watchdog leaves that alone" "$(main_pid)" "$pid"
	kill -STOP "$pid"
	check "one that hangs is ended by the watchdog, and comes back" await 20 is_another "$pid"
	is "nor does that" "$(as bert segmentctl read scoreboard 0 5)" again
	is "by the watchdog" "$(journalctl -q -b -u segmentd.service -o cat | grep -c 'Watchdog timeout')" 1
	rm -r /run/systemd/system/segmentd.service.d
	systemctl daemon-reload
	check "it stops" systemctl stop segmentd.service
	is "its folder stays" "$(stat -c '%a %U' /run/segmentd)" "755 segmentd"
	# Before 257 systemd starts nothing by its socket that was stopped with a store that it keeps (systemd#33874).
	if keeps_store; then
		check "it starts again" systemctl start segmentd.service
		is "with what the store has kept" "$(as bert segmentctl read scoreboard 0 5)" again
		check "as when the machine goes down" systemctl stop segmentd.service segmentd-shutdown.service
		check "it has given all back" has_entry STOPPING
		check "it starts" systemctl start segmentd.service
		is "with nothing in it" "$(as bert segmentctl read scoreboard 0 5 | tr '\0' 0)" 00000
	else
		check "a client starts it again" timeout 120 segmentctl wait market-data
	fi
	check "all of it stops" systemctl stop segmentd.socket segmentd.service segmentd-audit.socket
	check "no socket is left" test ! -e /run/segmentd/segmentd.sock -a ! -e /run/segmentd-audit.sock
}

start
service
identity
surroundings
manager
confinement
exposure
reload
kinds
audit
messages
client
invalid
deaths
finish
