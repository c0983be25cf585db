package postgres

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout bounds how long sent bytes may stay unacknowledged: keepalive
// probes are not sent while data is in flight, so without it a COMMIT to a host
// that vanished would wait for some 15 minutes (tcp_retries2).
const userTimeout = 20 * time.Second

func setUserTimeout(_, _ string, c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	if optErr == unix.ENOPROTOOPT || optErr == unix.EOPNOTSUPP { // a Unix socket
		return nil
	}
	return optErr
}
