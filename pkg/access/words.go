package access

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// words are what a token says, whether or not it is true: a JSON object each, by
// name. The checks here are those that the parser of JWTs leaves out.
type (
	words struct {
		header header
		claims claims
	}
	header map[string]json.RawMessage
	claims map[string]json.RawMessage
)

// latest is the end of the year 9999 in seconds: what is beyond is no time, or one
// in milliseconds.
const latest = 253402300799

// headerNames are all that a header may hold. Names that bring or name a key (jwk,
// jku, x5u, x5c), or change what the token means (crit, b64, zip), are not among them.
var headerNames = []string{"alg", "typ", "kid", "x5t", "x5t#S256"}

// types are what typ may be: a token made for another purpose, such as logging
// somebody out, lets nobody in (RFC 8725 §3.11).
var types = []string{"jwt", "at+jwt", "application/at+jwt"}

// kidForm is an identifier, and neither a path nor an address nor a query. Some
// issuers use a digest in plain base64, whose slashes make no path.
var kidForm = regexp.MustCompile(`^([A-Za-z0-9._~=-]{1,128}|[A-Za-z0-9+/]{43}=)$`)

func refuse(reason string) error { return fmt.Errorf("%w: %s", ErrToken, reason) }

// read splits a token into its words.
func read(token string) (words, error) {
	if len(token) > maxToken {
		return words{}, refuse("it is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return words{}, refuse("it has not three parts")
	}
	head, err := object(parts[0])
	if err != nil {
		return words{}, refuse("its header: " + err.Error())
	}
	body, err := object(parts[1])
	if err != nil {
		return words{}, refuse("its claims: " + err.Error())
	}
	return words{head, body}, nil
}

func (h header) check(algorithm string) error {
	for name, raw := range h {
		if !slices.Contains(headerNames, name) {
			return refuse("its header has more than alg, typ and kid")
		}
		if _, ok := text(raw); !ok {
			return refuse("its header has a value that is no text")
		}
	}
	if alg, _ := text(h["alg"]); alg != algorithm {
		return refuse("it has another algorithm")
	}
	if typ, given := text(h["typ"]); given && !slices.Contains(types, strings.ToLower(typ)) {
		return refuse("it is of another type")
	}
	if kid, given := text(h["kid"]); given && !kidForm.MatchString(kid) {
		return refuse("its kid is no identifier")
	}
	return nil
}

// principal is whom the claims are about, once the token is verified.
func (c claims) principal(roleClaim string) (Principal, error) {
	if _, given := c["exp"]; !given {
		return Principal{}, refuse("it has no exp")
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if raw, given := c[name]; given && !isTime(raw) {
			return Principal{}, refuse("its " + name + " is not a whole number of seconds")
		}
	}
	subject, ok := text(c["sub"])
	if !ok || !presentable(subject) || impersonates(subject) {
		return Principal{}, refuse("its sub cannot be a name in the log")
	}
	role, ok := text(c[roleClaim])
	if !ok || !slices.Contains(Roles(), Role(role)) {
		return Principal{}, refuse("its role is unknown")
	}
	return Principal{Name: subject, Role: Role(role)}, nil
}

// isTime accepts whole seconds only: a fraction or an exponent could mean another
// time to another reader.
func isTime(raw json.RawMessage) bool {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return err == nil && n >= 0 && n <= latest
}

// text returns a JSON string. One with the replacement character was, most likely,
// no UTF-8, and two of them could be taken for the same.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
		return "", false
	}
	return s, true
}

// object reads a part of a token as one JSON object, and refuses one that has a
// name twice, at any depth: two readers could take two values from it.
func object(part string) (map[string]json.RawMessage, error) {
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("not base64url")
	}
	if !json.Valid(decoded) || !bytes.HasPrefix(decoded, []byte("{")) {
		return nil, errors.New("not a JSON object")
	}
	if !unique(json.NewDecoder(bytes.NewReader(decoded))) {
		return nil, errors.New("a name is there twice")
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(decoded, &all); err != nil {
		return nil, errors.New("not a JSON object")
	}
	return all, nil
}

// unique reads one value of valid JSON and says whether all its objects name
// everything once.
func unique(dec *json.Decoder) bool {
	token, err := dec.Token()
	opened, nested := token.(json.Delim)
	if err != nil || !nested {
		return err == nil
	}
	seen := map[json.Token]bool{}
	for dec.More() {
		if opened == '{' {
			name, err := dec.Token()
			if err != nil || seen[name] {
				return false
			}
			seen[name] = true
		}
		if !unique(dec) {
			return false
		}
	}
	_, err = dec.Token() // the closing delimiter
	return err == nil
}
