// Package db owns the schema: it embeds the goose migrations and nothing else.
// README.md beside it explains the tables to the people who query them.
package db

import "embed"

// Migrations holds migrations/NNNNN_name.sql. They only ever grow: a released
// file is never edited.
//
//go:embed migrations/*.sql
var Migrations embed.FS
