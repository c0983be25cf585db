package postgres

import (
	"context"
	"net"
	"time"
)

// maxSilence is longer than any statement may take, so that only a server that
// is frozen, or gone without a word, is silent for so long. The kernel of a
// frozen server still acknowledges every packet, and lib/pq looks at contexts
// only between answers: nothing else would end the wait.
//
// On COMMIT it means that the outcome is unknown, which is the truth; the server
// is not told to stop waiting for its standby.
const maxSilence = statementTimeout + 5*time.Second

// dialer makes connections that notice a server that is gone within 30 seconds.
type dialer struct {
	net.Dialer
	silence time.Duration // 0: any
}

func newDialer(silence time.Duration) *dialer {
	return &dialer{net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}, silence}
}

// Dial, DialTimeout and DialContext are lib/pq's Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout is Dial with a limit.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext is Dial with a context.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil || d.silence == 0 {
		return c, err
	}
	return impatient{c, d.silence}, nil
}

// impatient is a connection whose reads and writes may take so long and no longer.
// lib/pq reads only while it expects an answer, so an idle connection is not
// concerned.
type impatient struct {
	net.Conn
	limit time.Duration
}

// Read reads within the limit.
func (c impatient) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write writes within the limit.
func (c impatient) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
