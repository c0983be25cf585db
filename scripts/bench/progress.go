package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress tells people what is going on: on a terminal the current step stands
// on one line that changes, elsewhere every step has its own.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
	shown    int // columns of the line that changes
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, began: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// say prints a line that stays.
func (p *progress) say(format string, args ...any) {
	p.wipe()
	fmt.Fprintf(p.w, "%s%s\n", p.clock(), fmt.Sprintf(format, args...))
}

// step prints what is being done.
func (p *progress) step(format string, args ...any) {
	if !p.terminal {
		p.say(format, args...)
		return
	}
	p.wipe()
	line := p.clock() + fmt.Sprintf(format, args...)
	fmt.Fprint(p.w, line)
	p.shown = len(line)
}

func (p *progress) wipe() {
	if p.shown > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.shown))
		p.shown = 0
	}
}

func (p *progress) clock() string {
	gone := time.Since(p.began).Round(time.Second)
	return fmt.Sprintf("%2d:%02d  ", int(gone.Minutes()), int(gone.Seconds())%60)
}
