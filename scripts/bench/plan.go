package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// plan is what auto_explain told of a call of a function, and of the statements
// that ran inside of it.
type plan struct {
	text       string
	ms         float64 // with the cost of timing every step
	hit, read  int     // shared buffers
	partitions int     // that were read; those that rows were only inserted into are not told
}

var (
	planDuration = regexp.MustCompile(`^duration: ([0-9.]+) ms`)
	planBuffers  = regexp.MustCompile(`(?m)^ +Buffers: shared((?: [a-z]+=[0-9]+)+)`)
	// A step that was executed names its table before its figures.
	planPartition = regexp.MustCompile(`(?m) on ([a-z]+_[0-9]{8})\b.*\(actual `)
)

// parsePlan takes the plans as they are told: that of the call last, when all is
// done. Its first step has the buffers of everything: the topmost step of a
// statement inside leaves out what is changed by WITH.
func parsePlan(told []string) (plan, error) {
	if len(told) < 2 {
		return plan{}, errors.New("no plan was told")
	}
	call, inside := told[len(told)-1], strings.Join(told[:len(told)-1], "\n\n")
	p := plan{text: call + "\n\n" + inside + "\n"}
	duration, buffers := planDuration.FindStringSubmatch(call), planBuffers.FindStringSubmatch(call)
	if duration == nil || buffers == nil {
		return plan{}, fmt.Errorf("plan not understood: %s", call)
	}
	var err error
	if p.ms, err = strconv.ParseFloat(duration[1], 64); err != nil {
		return plan{}, fmt.Errorf("plan not understood: %w", err)
	}
	for figure := range strings.FieldsSeq(buffers[1]) {
		name, count, _ := strings.Cut(figure, "=")
		n, err := strconv.Atoi(count)
		if err != nil {
			return plan{}, fmt.Errorf("plan not understood: %w", err)
		}
		switch name {
		case "hit":
			p.hit = n
		case "read":
			p.read = n
		}
	}
	partitions := map[string]bool{}
	for _, found := range planPartition.FindAllStringSubmatch(inside, -1) {
		partitions[found[1]] = true
	}
	p.partitions = len(partitions)
	return p, nil
}
