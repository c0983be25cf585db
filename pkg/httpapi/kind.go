package httpapi

// kind is what a JSON value is, as people read it in "must be …, not …".
type kind string

const (
	text    kind = "a string"
	number  kind = "a number"
	boolean kind = "true or false"
	object  kind = "an object"
	array   kind = "an array"
	null    kind = "null"
)

// kindOf tells from its first byte what a valid JSON value is.
func kindOf(raw []byte) kind {
	switch raw[0] {
	case '"':
		return text
	case '{':
		return object
	case '[':
		return array
	case 't', 'f':
		return boolean
	case 'n':
		return null
	default:
		return number
	}
}
