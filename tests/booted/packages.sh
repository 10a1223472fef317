#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a booted systemd: the life of the Debian packages in a folder, and in higher/ below it, from installation to purge.
. "$BOOTED_SOURCE/tests/booted/payload.sh"

folder=$1
log=/root/dpkg.log
# Recommended by none of them; what dpkg wants is there, since they were built here.
quiet_dpkg() { dpkg --force-confold "$@" >"$log" 2>&1 </dev/null || { tail -n 5 "$log"; false; }; }
main_pid() { property segmentd.service MainPID; }
version() { dpkg-query -W -f='${db:Status-Abbrev}${Version}' "$1" 2>/dev/null; }
enabled() { systemctl is-enabled "$1" 2>/dev/null; }
inode() { stat -c %i "$1"; }
# All files but those of dpkg, of the journal and of programs that looked at what was installed.
files() {
	find / -xdev \( -path /usr -prune -false -o -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root -o \
	    -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /var/lib/systemd/deb-systemd-helper-enabled -o \
	    -path /var/lib/systemd/deb-systemd-helper-masked -o -path /etc/ld.so.cache -o -path '/etc/*-' -o -path /var/lib/systemd/catalog \) -prune -o -print | sort
	find /usr -xdev | sort
	find /run/segmentd* /run/systemd/system 2>/dev/null | sort
}

install() {
	files >/root/before
	check "they install" quiet_dpkg -i "$folder"/*.deb
	is "the daemon runs" "$(systemctl is-active segmentd.service)" active
	is "it is as it was started: Result" "$(property segmentd.service Result)" success
	is "at the next boot, too" "$(enabled segmentd.service) $(enabled segmentd.socket)" "enabled enabled"
	is "segmentd-audit waits for its administrator" "$(enabled segmentd-audit.socket)" disabled
	check "clients are served" timeout 120 segmentctl wait market-data scoreboard cache
	is "the daemon's user has no shell and no home" "$(getent passwd segmentd | cut -d: -f6,7)" "/:/usr/sbin/nologin"
	is "no file of theirs is of another user" \
		"$(dpkg -L segmentd segmentctl libsegment1 libsegment-dev | sort -u | xargs -d '\n' stat -c %U 2>/dev/null | sort -u)" root
	ldconfig -p | grep -q 'libsegment.so.1 '
	is "the library is found" $? 0
	check "the journal's catalog has the messages" sh -c "journalctl --list-catalog | grep -q 'segmentd is ready'"
	check "its symbols are what is listed" test -s /var/lib/dpkg/info/libsegment1:amd64.symbols -o \
		-s /var/lib/dpkg/info/libsegment1.symbols -o "$(dpkg --print-architecture)" != amd64
}

upgrade() {
	printf 'as it was' | segmentctl write scoreboard
	as anna segmentctl exec scoreboard -- sleep 1000 &
	check "somebody is attached" await 10 has_writers scoreboard 1
	client=$(pgrep -x -u anna sleep)
	pid=$(main_pid) socket=$(inode /run/segmentd/segmentd.sock)
	check "the audit's socket starts" systemctl start segmentd-audit.socket
	echo '# of the administrator' >>/etc/segmentd/segmentd.conf
	check "a higher version installs over them" quiet_dpkg -i "$folder"/higher/*.deb
	like "it is there" "$(version segmentd)" 'ii *+1'
	is "the daemon runs" "$(systemctl is-active segmentd.service)" active
	if [ "$(main_pid)" != "$pid" ]; then passed "it is another"; else failed "it is another: $pid"; fi
	is "its socket is the same" "$(inode /run/segmentd/segmentd.sock)" "$socket"
	check "clients are served" timeout 120 segmentctl wait market-data scoreboard cache
	is "with what was written before" "$(segmentctl read scoreboard 0 9)" 'as it was'
	is "and those who were attached still are" "$(writers scoreboard) $(pgrep -x -u anna sleep)" "1 $client"
	is "the configuration is its administrator's" "$(tail -n 1 /etc/segmentd/segmentd.conf)" '# of the administrator'
	is "the audit's socket is up" "$(systemctl is-active segmentd-audit.socket)" active
	pid=$(main_pid)
	check "the same again" quiet_dpkg -i "$folder"/higher/segmentd_*.deb
	is "nothing has failed" "$(systemctl list-units --failed --no-legend --plain | cut -d' ' -f1 | tr '\n' ' ')" ""
	is "it was never stopped but to be started" "$(journalctl -q -b -u segmentd.socket -o cat | grep -c '^Closed')" 0
	systemctl disable --quiet segmentd.service
	check "and again, of one that its administrator has disabled" quiet_dpkg -i "$folder"/segmentd_*.deb "$folder"/segmentctl_*.deb
	is "which it still is" "$(enabled segmentd.service)" disabled
	systemctl enable --quiet segmentd.service
	check "back to the higher version" quiet_dpkg -i "$folder"/higher/*.deb
	is "they are attached after all that" "$(writers scoreboard) $(pgrep -x -u anna sleep)" "1 $client"
	pkill -x -u anna sleep
	wait
	check "until they end" await 10 has_writers scoreboard 0
}

remove() {
	echo contents >/var/lib/segmentd/ledger
	check "they are removed" quiet_dpkg -r segmentd segmentctl libsegment-dev libsegment1
	for unit in segmentd.service segmentd.socket segmentd-audit.socket; do
		is "gone: $unit" "$(systemctl is-active $unit)" inactive
	done
	check "no socket is left" test ! -e /run/segmentd/segmentd.sock -a ! -e /run/segmentd-audit.sock
	check "the configuration is" test -s /etc/segmentd/segmentd.conf
	check "they install again" quiet_dpkg -i "$folder"/higher/*.deb
	is "the daemon runs" "$(systemctl is-active segmentd.service)" active
	is "on that configuration" "$(tail -n 1 /etc/segmentd/segmentd.conf)" '# of the administrator'
}

purge() {
	check "they are purged" quiet_dpkg -P segmentd segmentctl libsegment-dev libsegment1
	check "what is kept is said" grep -q '/var/lib/segmentd has contents of segments, and stays' "$log"
	is "it is kept" "$(cat /var/lib/segmentd/ledger)" contents
	rm -r /var/lib/segmentd
	is "nothing runs as their user" "$(pgrep -u segmentd | wc -l)" 0
	systemctl daemon-reload
	files >/root/after
	is "nothing else is left" "$(diff /root/before /root/after | grep '^[<>]' | tr '\n' ' ')" ""
}

install
upgrade
remove
purge
finish
