package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
	"time"
)

// Signer is for a sender that signs many bodies with one key: it prepares the key
// once and keeps what it worked with. What it appends is what [Sonicus] and
// [Standard] return. It is safe for concurrent use.
type Signer struct {
	idle sync.Pool // of *state, keyed and clean
}

// NewSigner makes a Signer. key is what [DecodeSecret] returned.
func NewSigner(key []byte) *Signer {
	key = bytes.Clone(key)
	return &Signer{idle: sync.Pool{New: func() any { return newState(key) }}}
}

// AppendSonicus appends the value of X-Sonicus-Signature to dst; see [Sonicus].
func (s *Signer) AppendSonicus(dst, body []byte) []byte {
	st := s.take()
	defer s.giveBack(st)
	return st.sonicus(dst, body)
}

// AppendStandard appends one entry of webhook-signature to dst; see [Standard].
func (s *Signer) AppendStandard(dst []byte, id string, at time.Time, body []byte) []byte {
	st := s.take()
	defer s.giveBack(st)
	var digits [20]byte
	return st.standard(dst, id, strconv.AppendInt(digits[:0], at.Unix(), 10), body)
}

func (s *Signer) take() *state {
	st, _ := s.idle.Get().(*state) // the pool holds nothing else
	return st
}

// giveBack forgets the message. From the second Reset on, package hmac has kept
// the state after the key and restores it, which is cheaper than hashing the key.
func (s *Signer) giveBack(st *state) {
	st.mac.Reset()
	s.idle.Put(st)
}

// state is one HMAC at work, and memory for what has no place on the stack
// because it is handed to an interface.
type state struct {
	mac    hash.Hash
	sum    [sha256.Size]byte
	prefix []byte
}

func newState(key []byte) *state { return &state{mac: hmac.New(sha256.New, key)} }

func (s *state) sonicus(dst, body []byte) []byte {
	s.mac.Write(body)
	return hex.AppendEncode(append(dst, sonicusPrefix...), s.mac.Sum(s.sum[:0]))
}

func (s *state) standard(dst []byte, id string, timestamp, body []byte) []byte {
	s.prefix = append(append(s.prefix[:0], id...), '.')
	s.prefix = append(append(s.prefix, timestamp...), '.')
	s.mac.Write(s.prefix)
	s.mac.Write(body)
	return base64.StdEncoding.AppendEncode(append(dst, standardPrefix...), s.mac.Sum(s.sum[:0]))
}
