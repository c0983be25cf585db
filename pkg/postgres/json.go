package postgres

import (
	"database/sql/driver"
	"fmt"
)

// JSON is a JSON document as a column value. It is bound as text: with
// binary_parameters lib/pq sends []byte in the binary format, which jsonb
// refuses. Empty stands for NULL.
type JSON string

// Value implements driver.Valuer.
func (j JSON) Value() (driver.Value, error) {
	if j == "" {
		return nil, nil
	}
	return string(j), nil
}

// Scan implements sql.Scanner.
func (j *JSON) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*j = ""
	case []byte:
		*j = JSON(v)
	case string:
		*j = JSON(v)
	default:
		return fmt.Errorf("scan %T into JSON", src)
	}
	return nil
}

// MarshalJSON writes the document as it is, null when empty.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}
