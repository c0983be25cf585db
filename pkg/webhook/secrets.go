package webhook

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// leastSecret is how many bytes of a header's value are taken for a secret: shorter
// ones, such as a version or a flag, occur in answers by chance.
const leastSecret = 6

// open are headers, in lower case, that say which answers are wanted. Their values are
// no secrets, and appear in what is answered: Accept in Content-Type.
var open = map[string]bool{"accept": true, "accept-charset": true, "accept-language": true}

// secrets are what only this service and the receiver know. A receiver that repeats
// the request in its answer, as some do in their error pages, must not put them where
// everybody reads who may see answers. Signatures are none: they are of no use for
// another body or at another time.
type secrets []string

// secretsOf are the values of headers; of an Authorization also what is within:
// receivers show that as they took it apart.
func secretsOf(custom http.Header) secrets {
	var s secrets
	for name, values := range custom {
		if open[strings.ToLower(name)] {
			continue
		}
		for _, value := range values {
			s = s.with(strings.Trim(value, " \t")) // as it is sent
		}
	}
	return s
}

func (s secrets) with(value string) secrets {
	s = s.add(value)
	scheme, credentials, _ := strings.Cut(value, " ") // Bearer, Basic, Token and the like
	credentials = strings.Trim(credentials, " \t")
	s = s.add(credentials)
	if !strings.EqualFold(scheme, "basic") {
		return s
	}
	bare := strings.TrimRight(credentials, "=")
	pair, err := base64.RawStdEncoding.DecodeString(bare)
	if err != nil {
		return s
	}
	_, password, _ := strings.Cut(string(pair), ":")
	return s.add(bare).add(string(pair)).add(password)
}

func (s secrets) add(value string) secrets {
	if len(value) < leastSecret {
		return s
	}
	return append(s, value)
}

// mask puts [Mask] in the place of every secret in text, whether it is there as it is
// or as JSON, HTML or a query string write it. When the text is cut, that includes
// the beginning of a secret at its end, however short.
func (s secrets) mask(text string, cut bool) string {
	if len(s) == 0 || text == "" {
		return text
	}
	hidden := cover{text: text}
	s.find(text, cut, func(from, to int) { hidden.add(from, to) })
	for _, e := range escapes {
		if !strings.ContainsAny(text, e.marks) {
			continue
		}
		plain, at := e.decode(text)
		s.find(plain, cut, func(from, to int) { hidden.add(at[from], at[to]) })
	}
	return hidden.masked()
}

// find tells where secrets are.
func (s secrets) find(text string, cut bool, found func(from, to int)) {
	for _, secret := range s {
		told := 0
		for from := 0; ; from++ { // occurrences may overlap, and each byte is told once
			next := strings.Index(text[from:], secret)
			if next < 0 {
				break
			}
			from += next
			end := from + len(secret)
			found(max(from, told), end)
			told = end
		}
		if n := beginning(text, secret); cut && n > 0 {
			found(len(text)-n, len(text))
		}
	}
}

// beginning is how many bytes at the end of text a secret may begin with.
func beginning(text, secret string) int {
	for n := min(len(text), len(secret)-1); n > 0; n-- {
		if strings.HasSuffix(text, secret[:n]) {
			return n
		}
	}
	return 0
}

// cover is a text of which parts are hidden.
type cover struct {
	text   string
	hidden []bool // for each byte; nil: nothing is
}

func (c *cover) add(from, to int) {
	if c.hidden == nil {
		c.hidden = make([]bool, len(c.text))
	}
	for i := from; i < to; i++ {
		c.hidden[i] = true
	}
}

// masked has one mask for each hidden part.
func (c *cover) masked() string {
	if c.hidden == nil {
		return c.text
	}
	var b strings.Builder
	for i := range len(c.text) {
		switch {
		case !c.hidden[i]:
			b.WriteByte(c.text[i])
		case i == 0 || !c.hidden[i-1]:
			b.WriteString(Mask)
		}
	}
	return b.String()
}
