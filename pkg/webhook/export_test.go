package webhook

import "time"

// SetClock is the clock by which s judges certificates.
func (s *Sender) SetClock(now func() time.Time) { s.transport.TLSClientConfig.Time = now }
