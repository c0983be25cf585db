package postgres

import (
	"time"

	"github.com/lib/pq"
)

// A Listener holds one connection that hears the notifications of one channel
// and comes back by itself when it is lost.
type Listener struct{ l *pq.Listener }

// NewListener listens on channel. changed is called when the connection is
// there (nil), and when it is lost or cannot be made (the error); it must not block.
func NewListener(directURL, channel string, changed func(error)) (*Listener, error) {
	dsn, err := withDefaults(directURL, "sonicus-listen")
	if err != nil {
		return nil, err
	}
	l := pq.NewDialListener(newDialer(maxSilence), dsn, 200*time.Millisecond, 5*time.Second,
		func(_ pq.ListenerEventType, err error) { changed(err) })
	go func() { _ = l.Listen(channel) }() // returns when the connection is there, or closed
	return &Listener{l}, nil
}

// Notifications says that something was notified, or may have been.
func (l *Listener) Notifications() <-chan *pq.Notification { return l.l.Notify }

// Ping makes a dead connection notice that it is dead. It does not wait. The
// connection counts as dead when it has heard nothing for twenty seconds: ping
// more often than that.
func (l *Listener) Ping() { go func() { _ = l.l.Ping() }() }

// Close ends the listening. It does not wait for a connection that hangs.
func (l *Listener) Close() {
	go func() { _ = l.l.Close() }()
	go func() {
		for range l.l.Notify { // let the library's goroutine out
		}
	}()
}
