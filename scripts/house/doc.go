// Package house owns the rules of this repository that no compiler checks. They
// are its tests: who may import what (scripts/imports.allow), and that the
// deployment files name only settings that exist.
package house
