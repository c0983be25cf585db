package localpg

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errNoServer says that there is no guarded server to join.
var errNoServer = errors.New("no server to join")

// makeLifeline makes the FIFO and opens both of its ends: the reader for the watchdog to inherit, the writer for the
// first user. Neither open can block, and neither end leaks into other child processes.
func makeLifeline(path string, as runAs) (reader, writer *os.File, err error) {
	if err := errors.Join(unix.Mkfifo(path, 0o600), as.own(path)); err != nil {
		return nil, nil, fmt.Errorf("make the lifeline: %w", err)
	}
	// A FIFO without a writer can be opened for reading only without waiting, but sh must wait when it reads.
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open the lifeline: %w", err)
	}
	if err = unix.SetNonblock(r, false); err == nil {
		writer, err = openWriter(path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close(r))
	}
	return os.NewFile(uintptr(r), path), writer, nil
}

// openWriter fails if nobody reads.
func openWriter(path string) (*os.File, error) {
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the lifeline: %w", err)
	}
	return os.NewFile(uintptr(w), path), nil
}

// joinLifeline takes hold of a running server's lifeline. When it returns without an error, the watchdog has not closed
// the door yet or will open it again.
func joinLifeline(path string) (*os.File, error) {
	w, err := openWriter(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoServer, err)
	}
	_, err = w.WriteString("joined\n")
	if err == nil && sameFile(w, path) {
		return w, nil
	}
	return nil, errors.Join(errNoServer, err, w.Close())
}

func sameFile(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(open, named)
}
