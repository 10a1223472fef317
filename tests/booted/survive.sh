#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a booted systemd: the daemon is killed, restarted, upgraded, stopped and hung, while clients of three users are at work that
# must not notice. With a folder as its argument the packages in it are installed, and those in higher/ below it are the upgrade.
. "$BOOTED_SOURCE/tests/booted/payload.sh"

folder=${1:-}
n_times=3
[ -z "${CHECK_FULL:-}" ] || n_times=100
n_times=${BOOTED_TIMES:-$n_times}
[ "$n_times" -ge 100 ] || echo "LEFT OUT: $((100 - n_times)) of 100 kills and restarts; CHECK_FULL=1 BOOTED_TIMES=100 has them all"
survivor=$BOOTED_BUILD/tests/booted/survivor
users='anna bert cleo'
uids=1001,1002,1003
segments='s-memfd s-posix s-sysv s-file'
held='h-memfd h-posix h-sysv h-file'
n_crew=20
dropin=/run/systemd/system/segmentd.service.d

main_pid() { property segmentd.service MainPID; }
is_active() { [ "$(systemctl is-active segmentd.service)" = active ]; }
is_another() { p=$(main_pid); [ "$p" != "$1" ] && [ "$p" != 0 ]; }
kill_daemon() { systemctl kill --kill-who=main -s "$1" segmentd.service; }
# Until all is there: who asks while there is no daemon is answered by the next.
served() { segmentctl wait --timeout 120s $segments $held; }
random() { od -An -N2 -tu2 /dev/urandom | awk -v below="$1" '{ print $1 % below }'; }
# A moment of no meaning, up to 0.2 s: what is killed then is in the middle of whatever.
moment() { sleep "0.$(printf %03d "$(random 200)")"; }
# figure NAME SEGMENT: of list.
figure() {
	segmentctl --json list | tr -d ' \n' | sed 's/{"name":/\n&/g' | sed -n "s/^{\"name\":\"$2\".*\"$1\":\([0-9]*\).*/\1/p"
}
is_figure() { [ "$(figure "$1" "$2")" = "$3" ]; }

# --- before -----------------------------------------------------------------------------------------------------------

# definition NAME KEYS
definition() {
	cat <<-END
	{ name = "$1"; size = "1MiB"; mode = "0666"; page_size = "base"; placement = "prefer"; $2
	  locks = ( { name = "lock0"; offset = "0"; length = "16KiB"; undo = "4KiB"; },
	            { name = "lock1"; offset = "16KiB"; length = "16KiB"; undo = "4KiB"; },
	            { name = "lock2"; offset = "32KiB"; length = "16KiB"; undo = "4KiB"; },
	            { name = "lock3"; offset = "48KiB"; length = "16KiB"; undo = "4KiB"; } ); }
	END
}

# definitions PREFIX KEY: of all backends.
definitions() {
	definition "$1-memfd" 'mlock = true;'
	echo ,
	definition "$1-posix" "backend = \"posix\"; object = \"/survive-$1\";"
	echo ,
	definition "$1-sysv" "backend = \"sysv\"; key = $2;"
	echo ,
	definition "$1-file" "backend = \"file\"; path = \"/var/lib/segmentd/survive-$1\"; sync = \"1s\";"
}

start() {
	note "$(systemctl --version | head -n 1), Linux $(uname -r); $n_times times each"
	if [ -n "$folder" ]; then
		check "the packages install" dpkg -i "$folder"/*.deb
	else
		check "the socket starts" systemctl start segmentd.socket
	fi
	{
		echo 'segments = ('
		definitions s 0x5e610001
		echo ,
		definitions h 0x5e610002
		echo ');'
		echo 'templates = ( { name = "survive-%U-"; max_size = "1MiB"; max_count = 1000; placement = "prefer"; } );'
	} >"$(dirname "$(find /etc /usr/local/etc -name segments.d)")/segments.d/survive.conf"
	check "the daemon starts" systemctl start segmentd.service
	[ -z "$folder" ] || check "the configuration is taken" systemctl reload segmentd.service
	check "all segments are there" served
	check "they have their first bytes" "$survivor" fill $segments $held
	[ "$n_failures" = 0 ] || finish
}

# --- clients ----------------------------------------------------------------------------------------------------------

# hold NAME USER LOCK: a client that never calls again, of all backends; its process is $pid.
hold() {
	mkfifo "/run/$1"
	setpriv --reuid="$2" --regid="$2" --init-groups "$survivor" hold "$3" $held >"/run/$1" &
	pid=$!
	read -r said <"/run/$1"
	is "a client that never calls again has its locks: $2" "$said" held
}

# Tells the crew on descriptors 8 and 7, or the one that is traced on 6 and 5, and has its answer in $said.
tell_crew() {
	(trap '' PIPE; echo "$1" >&8) 2>/dev/null
	read -r said <&7 || { said='no answer'; false; }
}
tell_traced() {
	(trap '' PIPE; echo "$1" >&6) 2>/dev/null
	read -r said <&5 || { said='no answer'; false; }
}
# tell NAME WORD: a line comes back that begins with it; all else is what is wrong, and the crew's last.
tell() {
	tell_crew "$2"
	like "$1" "$said" "$2: *"
	if [ -n "$traced" ]; then
		tell_traced "$2"
		like "$1, of one that is traced" "$said" "$2: *"
	fi
	[ "$n_failures" = 0 ] || finish
}

start_crew() {
	hold first anna lock0
	first=$pid
	hold second bert lock1
	second=$pid
	mkfifo /run/crew.in /run/crew.out /run/traced.in /run/traced.out
	nice -n 10 "$survivor" crew $n_crew 0 $uids $segments </run/crew.in >/run/crew.out &
	crew=$!
	exec 8>/run/crew.in 7</run/crew.out
	n_clients=$n_crew traced=
	if command -v strace >/dev/null; then
		strace -f -qq -e trace=network -o /root/trace "$survivor" crew 1 $((n_crew + 1)) 1001 $segments </run/traced.in >/run/traced.out &
		traced=$!
		exec 6>/run/traced.in 5</run/traced.out
		n_clients=$((n_crew + 1))
	else
		skipped "whether one that is traced sees an end of its connection: there is no strace"
	fi
	for user in $users; do
		start_lister "$user" &
		listers="${listers:-} $!"
	done
	for segment in $segments; do
		check "all clients have attached: $segment" await 60 has_writers "$segment" "$n_clients"
	done
}
has_writers() { [ "$(figure writers "$1")" -ge "$2" ]; }

# One connection after the other, each with a request.
start_lister() {
	n=0
	while [ ! -e /run/enough ]; do
		if ! timeout 120 setpriv --reuid="$1" --regid="$1" --init-groups nice -n 10 segmentctl list >/dev/null 2>"/run/list.$1"; then
			mv "/run/list.$1" "/run/list-failed.$1"
			break
		fi
		n=$((n + 1))
	done
	echo $n >"/run/listed.$1"
}

# --- deaths -----------------------------------------------------------------------------------------------------------

# Clients in sections do not wait for a daemon that does not answer; the others do.
sections() { tell_crew status && said=${said#*sections } && said=${said%% *}; }
has_gone_on() { sections && [ "$said" -ge "$(($1 + 100))" ]; }
hang() {
	pid=$(main_pid)
	check "the daemon hangs" kill_daemon STOP
	sections
	check "sections go on" await 60 has_gone_on "$said"
	kill -9 "$first"
	wait "$first" 2>/dev/null
	check "the daemon is killed, after one of those that never call" kill_daemon KILL
	check "another serves" served
	is_another "$pid"
	is "which is another" $? 0
	recovered 1 "died while there was no daemon"
	kill -9 "$second"
	wait "$second" 2>/dev/null
	recovered 2 "died when it was back"
	check "what they had changed is undone" "$survivor" check $held
}
recovered() {
	for segment in $held; do
		check "the lock of one that $2 is recovered: $segment" await 20 is_figure recoveries "$segment" "$1"
		check "and it is not counted any more: $segment" await 20 is_figure writers "$segment" "$((2 - $1))"
	done
}

# Every fifth time the next one is killed as soon as it is there, before it serves.
die_once() {
	pid=$(main_pid)
	moment
	kill_daemon KILL || return 1
	if [ $(($1 % 5)) = 2 ]; then
		await 60 is_another "$pid" && kill -9 "$(main_pid)"
	fi
	served >/dev/null && is_another "$pid"
}
kills() {
	n=0 good=0
	while [ $((n += 1)) -le "$n_times" ]; do
		if die_once "$n"; then good=$((good + 1)); fi
		[ "$n" != $((n_times / 3)) ] || check "systemd reads its units again" systemctl daemon-reload
		[ "$n" != $((n_times / 3 * 2)) ] || check "systemd executes itself again" systemctl daemon-reexec
	done
	is "it was killed, and the next one served" "$good" "$n_times"
}
restarts() {
	n=0 good=0
	while [ $((n += 1)) -le "$n_times" ]; do
		pid=$(main_pid)
		moment
		if systemctl restart segmentd.service && is_another "$pid"; then good=$((good + 1)); fi
		[ "$n" != $((n_times / 3)) ] || check "systemd executes itself again" systemctl daemon-reexec
	done
	is "it was restarted, and is another" "$good" "$n_times"
	check "which serves" served
}

inode() { stat -c %i "$1"; }
upgrade() {
	if [ -z "$folder" ]; then
		skipped "an upgrade: packages are built for CHECK_FULL=1 only"
		return
	fi
	pid=$(main_pid) socket=$(inode /run/segmentd/segmentd.sock)
	check "a higher version installs" dpkg -i "$folder"/higher/*.deb
	like "it is there" "$(dpkg-query -W -f='${db:Status-Abbrev}${Version}' segmentd)" 'ii *+1'
	is_another "$pid"
	is "the daemon is another" $? 0
	is "its socket is the same" "$(inode /run/segmentd/segmentd.sock)" "$socket"
	check "it serves" served
}

# --- counts -----------------------------------------------------------------------------------------------------------

# counted N: so many hold each segment, and each has created one.
counted() {
	for segment in $segments; do
		check "$1 writers: $segment" await 20 is_figure writers "$segment" "$1"
		is "and no reader: $segment" "$(figure readers "$segment")" 0
		is "whose locks needed no recovery: $segment" "$(figure recoveries "$segment")" 0
	done
	check "and $1 segments that they created" await 20 n_created "$1"
	n_created "$1" || segmentctl list | grep '^survive-'
}
n_created() { [ "$(segmentctl list | grep -c '^survive-')" = "$1" ]; }

watchdog() {
	mkdir -p $dropin
	printf '[Service]\nWatchdogSec=1s\n' >$dropin/watchdog.conf
	systemctl daemon-reload
	check "it is restarted, under a watchdog of 1 s" systemctl restart segmentd.service
	pid=$(main_pid)
	check "it hangs" kill_daemon STOP
	check "the watchdog ends it" await 30 is_another "$pid"
	check "another serves" served
	is "which was the watchdog's doing" "$(journalctl -q -b -u segmentd.service -o cat | grep -c 'Watchdog timeout')" 1
	rm -r $dropin
	systemctl daemon-reload
	check "it is restarted without" systemctl restart segmentd.service
}

finish_crew() {
	tell "all is right, and comes to rest" rest
	counted "$n_clients"
	watchdog
	counted "$n_clients"
	tell "they go on" work
	: >/run/enough
	wait $listers
	for user in $users; do
		is "every list was answered, of $user" "$(cat "/run/list-failed.$user" 2>&1)" \
			"$(cat "/run/list-failed.$user" 2>&1 | grep 'No such file')"
		note "$user listed $(cat "/run/listed.$user") times"
	done
	exec 8>&- 6>&-
	read -r said <&7
	like "all clients end well" "$said" 'ended: *'
	note "$n_crew clients: ${said#ended: }"
	wait "$crew"
	is "and say so" $? 0
	[ -z "$traced" ] || finish_traced
	counted 0
	check "every byte is right" "$survivor" check $segments $held
}

finish_traced() {
	read -r said <&5
	like "so does the one that is traced" "$said" 'ended: *'
	note "one that is traced: ${said#ended: }"
	wait "$traced"
	is "and says so, too" $? 0
	check "the trace has it all" test "$(grep -c 'send' /root/trace)" -ge 100
	is "no end of a connection was seen" "$(grep -c 'recv.* = 0$' /root/trace)" 0
	is "nor an error of one" "$(grep -c 'ECONN\|EPIPE\|ENOTCONN' /root/trace)" 0
	is "it connected at its start only: requests, events, lists" "$(grep -c 'connect(' /root/trace)" 3
}

# --- a stop -----------------------------------------------------------------------------------------------------------

n_objects() { { ls /dev/shm; ipcs -m; } | grep -c '^survive-\|^0x5e61000'; }
stop() {
	is "what has a name has it" "$(n_objects)" 4
	check "it stops" systemctl stop segmentd.service
	if [ -n "$(property segmentd.service FileDescriptorStorePreserve)" ]; then
		is "it keeps it" "$(n_objects)" 4
		check "it starts" systemctl start segmentd.service
		check "and serves" served
		check "nothing is lost" "$survivor" check $segments $held
		return
	fi
	is "then none has one any more" "$(n_objects)" 0
	check "it starts" systemctl start segmentd.service
	check "and serves" served
	check "what is in a file is as it was" "$survivor" check s-file h-file
	lost=
	for segment in $segments $held; do
		case $segment in
		*-file) ;;
		*)	is "what is memory was given back: $segment" "$(segmentctl read $segment | tr -d '\0' | wc -c)" 0
			lost="$lost $segment" ;;
		esac
	done
	note "a stop before systemd 254 takes what is memory:$lost"
}

start
start_crew
hang
kills
restarts
upgrade
finish_crew
stop
is "nothing has failed" "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ')" ""
finish
