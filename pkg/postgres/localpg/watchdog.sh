# Runs a Postgres server for as long as somebody holds its lifeline.
#   $1 the lifeline, a FIFO: users hold its write end and write a line when they join. Its read end is descriptor 3.
#   $2 seconds that the server outlives its last user
#   …  the server's command line
lifeline=$1 linger=$2
shift 2

# Returns when the last user is gone. Moving the lifeline away is what closes the door: a user who came through it just
# before has left a line, and the door is opened again; one who comes later finds no door, and starts a server anew.
watch() {
	while :; do
		while read -r line <&3; do :; done
		sleep "$linger"
		mv "$lifeline" "$lifeline.closed"
		read -r line <&3 || return 0
		mv "$lifeline.closed" "$lifeline"
	done
}

# Stops the server, and hard if that takes longer than five seconds. (The caller is killed when the server has ended.)
stop() {
	kill -INT "$1"
	tenths=0
	while [ "$tenths" -lt 50 ]; do
		sleep 0.1
		tenths=$((tenths + 1))
	done
	kill -QUIT "$1"
}

supervise() {
	"$@" 3<&- &
	server=$!
	{ watch; stop "$server"; } &
	watcher=$!
	exec 3<&-
	wait "$server"
	kill "$watcher"
	rm -f "$lifeline" "$lifeline.closed"
}

supervise "$@" &
