package e2e_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// hostileTexts are JSON strings, as they are sent.
var hostileTexts = []string{
	`""`, `" "`, `"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\udc00x"`, `"\ud83d\ude00"`, `"😀"`, `"\u202eabc"`, `"e\u0301"`, `"\u200b"`, `"\ufeff"`, `"\uffff"`, `"\ufffd"`,
	`"\u2028\u2029"`, `"\u007f\u0085\u001b[31mred"`, `"a\r\nlevel=ERROR msg=forged"`, `"\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\n"`,
	`"'; DROP TABLE sonicus.organizations; --"`, `"' OR '1'='1"`, `"1; SELECT pg_sleep(10)"`, `"\\'; SELECT pg_sleep(10)--"`, `"%' OR 1=1 --"`, `"$1"`, `"%s%n%x"`, `"{{7*7}}"`,
	`"${jndi:ldap://127.0.0.1/x}"`, `"<script>alert(1)</script>"`, `"../../../etc/passwd"`, `"/dev/null"`, `"NULL"`, `"null"`, `"true"`, `"0"`, `"-1"`, `"1e308"`, `"NaN"`,
	`"\\u0000"`, `"\\x00"`, `"__proto__"`, `"00000000-0000-0000-0000-000000000000"`, `"ffffffff-ffff-ffff-ffff-ffffffffffff"`, `"urn:uuid:6f2c1b4e-0f57-4c53-9d3c-3a5f1f6f0c11"`,
	`"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"9999-12-31T23:59:59-23:59"`, `"0001-01-01T00:00:00+23:59"`, `"2025-02-30T00:00:00Z"`, `"2025-08-07T16:20:52+24:00"`, `"2016-12-31T23:59:60Z"`, `"infinity"`, `"-infinity"`,
	`"http://127.0.0.1:1/"`, `"http://10.0.0.1/"`, `"http://169.254.169.254/latest/meta-data"`, `"http://[::1]/"`, `"http://[fe80::1%25eth0]/"`, `"http://0x7f.1/"`, `"http://localhost/"`,
	`"http://user:pw@127.0.0.1/"`, `"http://127.0.0.1/#x"`, `"file:///etc/passwd"`, `"gopher://127.0.0.1:70/"`, `"http://127.0.0.1:99999/"`, `"http://127.0.0.1:22/"`, `"javascript:alert(1)"`, `"//127.0.0.1/"`,
	`"*"`, `"organization.*"`, `"webhook.*"`, `"organization.created"`, `"ORGANIZATION.CREATED"`, `"super_admin"`, `"a@b@c"`, `"a\r\nBcc: x@example.com"`, `"********"`, `"whsec_"`, `"whsec_!!!!"`,
}

var hostileNumbers = []string{
	"0", "-0", "1", "-1", "0.5", "-0.0", "1e0", "1E400", "-1e400", "1e-400", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808",
	"-9223372036854775809", "18446744073709551616", "123456789012345678901234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890",
}

// hostile is a value of any kind that a field may not be ready for.
func hostile(r *rand.Rand) json.RawMessage {
	switch r.IntN(12) {
	case 0, 1, 2, 3, 4, 5:
		return json.RawMessage(pick(r, hostileTexts))
	case 6, 7:
		return json.RawMessage(pick(r, hostileNumbers))
	case 8:
		return json.RawMessage(pick(r, []string{"null", "true", "false", "[]", "{}", "[null]", "[[]]", `[{}]`, `{"":""}`, `[1,"a",null,{}]`, `{"a":{"b":[{"c":null}]}}`, `["*","*"]`}))
	case 9:
		return json.RawMessage(`"` + strings.Repeat(pick(r, []string{"a", "é", "😀", `\n`, `\u0000`, "'", `\"`}), 1<<r.IntN(14)) + `"`)
	case 10:
		depth := 1 << r.IntN(8)
		return json.RawMessage(strings.Repeat(pick(r, []string{`[`, `[1,`}), depth) + "0" + strings.Repeat("]", depth))
	}
	depth := 1 << r.IntN(6)
	return json.RawMessage(strings.Repeat(`{"a":`, depth) + pick(r, hostileTexts) + strings.Repeat("}", depth))
}

// spoilValue changes one thing in a body that is a tree: a value, a field that is
// missing or unknown, or an element too many.
func spoilValue(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return spoilObject(r, v)
	case []any:
		switch {
		case len(v) > 0 && r.IntN(3) > 0:
			v[r.IntN(len(v))] = spoilValue(r, pick(r, v))
			return v
		case r.IntN(6) == 0:
			return slices.Repeat([]any{hostile(r)}, 1+r.IntN(300))
		}
		return append(v, hostile(r))
	}
	return hostile(r)
}

func spoilObject(r *rand.Rand, v map[string]any) any {
	names := slices.Sorted(maps.Keys(v))
	if len(names) == 0 || r.IntN(15) == 0 {
		v[unquoted(hostile(r))] = hostile(r)
		return v
	}
	name := pick(r, names)
	switch r.IntN(8) {
	case 0:
		delete(v, name)
	case 1:
		value := v[name]
		delete(v, name)
		v[pick(r, []string{strings.ToUpper(name), name + ".", unquoted(json.RawMessage(pick(r, hostileTexts)))})] = value
	case 2:
		v[name] = nil
	case 3:
		v[name] = []any{v[name]}
	case 4:
		v[name] = hostile(r)
	default:
		v[name] = spoilValue(r, v[name])
	}
	return v
}

// unquoted is the text of a JSON string, or the JSON itself.
func unquoted(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw[:min(len(raw), 300)])
	}
	return s[:min(len(s), 3000)]
}

// spoilBytes breaks a body as text.
func spoilBytes(r *rand.Rand, b []byte) []byte {
	at := 0
	if len(b) > 0 {
		at = r.IntN(len(b))
	}
	switch r.IntN(14) {
	case 0:
		return b[:at]
	case 1:
		return slices.Insert(slices.Clone(b), at, pick(r, []byte("\x00\xff\xc0\xed\x80\"{}[]:,\\\n\x1b")))
	case 2:
		return append(slices.Clone(b), pick(r, []string{"x", "{}", " null", "\x00", "]", "\n\n", "/* */", "\xff"})...)
	case 3:
		return append([]byte("\xef\xbb\xbf"), b...)
	case 4:
		return nil
	case 5:
		return []byte(pick(r, []string{"null", "[]", "true", "1", `"x"`, "{", "}", " ", "[{}]", "{}{}", "NaN", "undefined", "{'a':1}", `{"a":1,}`, `{a:1}`, "<x/>", "a=b&c=d"}))
	case 6:
		return bytes.Repeat([]byte("["), 1<<r.IntN(18))
	case 7:
		return bytes.Repeat([]byte(`{"a":`), 1<<r.IntN(16))
	case 8:
		return append(slices.Clone(b), bytes.Repeat([]byte(" "), 1<<20)...)
	case 9:
		return []byte(`{"name":"` + strings.Repeat("a", 1<<r.IntN(21)) + `"}`)
	case 10:
		return doubled(r, b)
	case 11:
		return bytes.ReplaceAll(b, []byte(`"`), []byte("'"))
	case 12:
		return bytes.Replace(b, []byte(`":"`), []byte("\":\"\xff\xfe\xed\xa0\x80"), 1)
	}
	return doubled(r, doubled(r, b))
}

// doubled repeats a name of the outermost object.
func doubled(r *rand.Rand, b []byte) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil || len(object) == 0 {
		return b
	}
	name := pick(r, slices.Sorted(maps.Keys(object)))
	again, err := json.Marshal(map[string]json.RawMessage{name: object[name]})
	if err != nil {
		return b
	}
	return slices.Concat(again[:len(again)-1], []byte(","), b[bytes.IndexByte(b, '{')+1:])
}
