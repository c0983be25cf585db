package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/problem"
)

const (
	maxBody  = 1 << 20 // bytes
	maxDepth = 32      // objects and arrays within each other
)

// decode reads the body as one JSON object and lets shape take its fields.
// Nothing is guessed, repaired or ignored: what shape does not take is unknown. All
// that is wrong with the form is reported at once. Values are the matter of those who do
// the work, who see them only when the form is right, unless shape judges them as well.
func decode[T any](w http.ResponseWriter, r *http.Request, shape func(*fields) T) (T, error) {
	var none T
	body, err := readBody(w, r)
	if err != nil {
		return none, err
	}
	root, err := parseObject(body)
	if err != nil {
		return none, err
	}
	in := shape(root)
	if wrong := root.finish(); len(wrong) > 0 {
		return none, problem.Invalid(wrong...)
	}
	return in, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := checkMedia(r); err != nil {
		return nil, err
	}
	return readAll(w, r)
}

func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, problem.TooLarge("The body is over 1 MiB.")
	}
	if err != nil {
		p := problem.Malformed("incomplete_body", "The body did not arrive completely, or not in time.")
		p.Err = err
		return nil, p
	}
	return body, nil
}

// mergePatch is the media type of RFC 7396, which a PATCH may have.
const mergePatch = "application/merge-patch+json"

func checkMedia(r *http.Request) error {
	if len(r.Header.Values(echo.HeaderContentEncoding)) > 0 {
		return problem.UnsupportedMedia("Send the body without Content-Encoding.")
	}
	taken := []string{echo.MIMEApplicationJSON}
	if r.Method == http.MethodPatch {
		taken = []string{mergePatch, echo.MIMEApplicationJSON}
	}
	given := r.Header.Values(echo.HeaderContentType)
	if len(given) != 1 || !isJSON(given[0], taken) {
		return problem.UnsupportedMedia("Send the body as " + strings.Join(taken, " or ") + ".")
	}
	return nil
}

// isJSON accepts one of the media types, alone or with the only charset that JSON
// has (RFC 8259 §8.1).
func isJSON(contentType string, taken []string) bool {
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || !slices.Contains(taken, mediaType) {
		return false
	}
	charset, given := params["charset"]
	return len(params) == 0 || (len(params) == 1 && given && strings.EqualFold(charset, "utf-8"))
}

// parseObject checks what concerns the body as a whole.
func parseObject(body []byte) (*fields, error) {
	if depth(body) > maxDepth {
		return nil, &problem.Error{
			Kind: problem.KindInvalid, Code: "too_deep",
			Detail: fmt.Sprintf("The body is nested more than %d levels deep.", maxDepth),
		}
	}
	if !json.Valid(body) {
		return nil, problem.Malformed("invalid_json", "The body is not one JSON document.")
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	if k := kindOf(body); k != object {
		return nil, &problem.Error{
			Kind: problem.KindInvalid, Code: codeWrongType,
			Detail: fmt.Sprintf("The body must be %s, not %s.", object, k),
		}
	}
	return openObject(body, "", new(report))
}

// depth is how deep objects and arrays are nested. It looks at the bytes alone,
// so that no parser has to follow an attacker down.
func depth(body []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
