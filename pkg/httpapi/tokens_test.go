package httpapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sonicus/webhooks/pkg/access"
)

const (
	tokenSecret = "a-secret-of-at-least-32-bytes-for-tests"
	issuerName  = "https://issuer.example"
	hsHeader    = `{"alg":"HS256","typ":"JWT"}`
)

// signer makes the third part of a token.
type signer func(t *testing.T, signed string) []byte

func hmacWith(newHash func() hash.Hash, key string) signer {
	return func(_ *testing.T, signed string) []byte {
		mac := hmac.New(newHash, []byte(key))
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	}
}

func hs(key string) signer { return hmacWith(sha256.New, key) }

func rs(key *rsa.PrivateKey) signer {
	return func(t *testing.T, signed string) []byte {
		t.Helper()
		digest := sha256.Sum256([]byte(signed))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

func es(key *ecdsa.PrivateKey) signer {
	return func(t *testing.T, signed string) []byte {
		t.Helper()
		digest := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
}

func b64[T string | []byte](v T) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }

func mint(t *testing.T, header, claims string, sign signer) string {
	t.Helper()
	signed := b64(header) + "." + b64(claims)
	return signed + "." + b64(sign(t, signed))
}

// claimsOf are good claims, with parts of them replaced by others, in pairs.
func claimsOf(t *testing.T, replace ...string) string {
	t.Helper()
	all := fmt.Sprintf(`{"iss":%q,"aud":"sonicus","sub":"ada","role":"admin","exp":%s}`, issuerName, expiry)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(all, replace[i]) {
			t.Fatalf("%s is not in %s", replace[i], all)
		}
		all = strings.Replace(all, replace[i], replace[i+1], 1)
	}
	return all
}

// expiry is the end of good tokens; tests may take half an hour.
var expiry = in(1800)

// in is an instant so many seconds from now, as tokens have it.
func in(seconds int64) string { return fmt.Sprint(time.Now().Unix() + seconds) }

func (a *api) accept(t *testing.T, o access.TokenOptions) {
	t.Helper()
	o.Issuer, o.Audience, o.RoleClaim = issuerName, "sonicus", "role"
	tokens, err := access.NewTokens(t.Context(), o, slog.New(slog.NewJSONHandler(a.logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	a.keys.Accept(tokens)
}

// refuses checks that the answers to all tokens are the same, byte for byte.
func (a *api) refuses(t *testing.T, tokens map[string]string) {
	t.Helper()
	id := uuid.NewString()
	want := `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A valid bearer token is required.",` +
		`"code":"unauthenticated","errors":[],"request_id":"` + id + `"}` + "\n"
	for name, token := range tokens {
		got := a.do(t, call{method: "GET", path: organizationsPath, key: token, header: map[string]string{"X-Request-Id": id}})
		if got.status != 401 || got.body != want || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: %d %v %s", name, got.status, got.header, got.body)
		}
	}
}

func TestBadTokensCannotBeToldApart(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.accept(t, access.TokenOptions{Algorithm: "HS256", Secret: tokenSecret})
	good := mint(t, hsHeader, claimsOf(t), hs(tokenSecret))
	if got := a.do(t, call{method: "GET", path: organizationsPath, key: good}); got.status != 200 {
		t.Fatalf("a good token: %d %s", got.status, got.body)
	}
	parts := strings.Split(good, ".")
	bad := map[string]string{
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               good + ".x",
		"five parts":               good + ".x.x",
		"dots alone":               "..",
		"empty header":             "." + parts[1] + "." + parts[2],
		"empty claims":             parts[0] + ".." + parts[2],
		"empty signature":          parts[0] + "." + parts[1] + ".",
		"dot at the end":           good + ".",
		"cut signature":            good[:len(good)-2],
		"longer signature":         good + "AAAA",
		"padded signature":         good + "=",
		"space within":             parts[0] + ". " + parts[1] + "." + parts[2],
		"another secret":           mint(t, hsHeader, claimsOf(t), hs("another-secret-of-at-least-32-bytes-for-t")),
		"the empty secret":         mint(t, hsHeader, claimsOf(t), hs("")),
		"another's claims":         parts[0] + "." + b64(claimsOf(t, "admin", "super_admin")) + "." + parts[2],
		"another's header":         b64(`{"typ":"JWT","alg":"HS256"}`) + "." + parts[1] + "." + parts[2],
		"over 8 KiB":               mint(t, hsHeader, claimsOf(t, "}", `,"x":"`+strings.Repeat("x", 8<<10)+`"}`), hs(tokenSecret)),
		"padded header":            base64.URLEncoding.EncodeToString([]byte(hsHeader+" ")) + "." + parts[1] + "." + parts[2],
		"an API key with a dot":    a.createKey(t, "crm", access.Admin) + ".",
		"bits that hold nothing":   parts[0] + "." + parts[1] + "." + loose(parts[2]),
		"header in other alphabet": strings.Replace(parts[0], "J", "+", 1) + "." + parts[1] + "." + parts[2],
	}
	for name, header := range map[string]string{
		"none": `{"alg":"none"}`, "None": `{"alg":"None"}`, "NONE": `{"alg":"NONE"}`, "nOnE": `{"alg":"nOnE"}`,
		"no alg": `{"typ":"JWT"}`, "empty alg": `{"alg":""}`, "null alg": `{"alg":null}`, "number": `{"alg":256}`, "list": `{"alg":["HS256"]}`,
		"lower case": `{"alg":"hs256"}`, "space": `{"alg":"HS256 "}`, "RS256": `{"alg":"RS256"}`, "ES256": `{"alg":"ES256"}`, "EdDSA": `{"alg":"EdDSA"}`,
		"other name": `{"ALG":"HS256"}`, "kid a path": `{"alg":"HS256","kid":"../../../../dev/null"}`, "kid a file": `{"alg":"HS256","kid":"/dev/null"}`,
		"kid SQL": `{"alg":"HS256","kid":"x' UNION SELECT 'key' --"}`, "kid a URL": `{"alg":"HS256","kid":"https://evil.example/key"}`,
		"kid a command": `{"alg":"HS256","kid":"|id"}`, "kid a number": `{"alg":"HS256","kid":1}`, "kid null": `{"alg":"HS256","kid":null}`,
		"kid empty": `{"alg":"HS256","kid":""}`, "kid huge": `{"alg":"HS256","kid":"` + strings.Repeat("k", 129) + `"}`, "kid NUL": `{"alg":"HS256","kid":"a\u0000"}`,
		"jwk": `{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, "jku": `{"alg":"HS256","jku":"https://evil.example/jwks"}`,
		"x5u": `{"alg":"HS256","x5u":"https://evil.example/cert"}`, "x5c": `{"alg":"HS256","x5c":["AAAA"]}`,
		"crit": `{"alg":"HS256","crit":["exp"],"exp":1}`, "empty crit": `{"alg":"HS256","crit":[]}`, "b64": `{"alg":"HS256","b64":false}`,
		"zip": `{"alg":"HS256","zip":"DEF"}`, "enc": `{"alg":"HS256","enc":"A128GCM"}`, "unknown name": `{"alg":"HS256","x":"y"}`,
		"other type": `{"alg":"HS256","typ":"logout+jwt"}`, "typ a number": `{"alg":"HS256","typ":1}`, "nested": `{"alg":"HS256","cty":"JWT"}`,
		"alg twice": `{"alg":"none","alg":"HS256"}`, "alg twice, escaped": `{"alg":"HS256","\u0061lg":"HS256"}`, "typ twice": `{"alg":"HS256","typ":"JWT","typ":"JWT"}`,
		"list for an object": `["HS256"]`, "text for an object": `"HS256"`, "null": `null`, "not JSON": `{"alg":"HS256"`, "more behind": `{"alg":"HS256"}{}`,
		"single quotes": `{'alg':'HS256'}`, "a comment": `{"alg":"HS256"/**/}`, "nothing": ``, "byte order mark": "\ufeff" + hsHeader,
	} {
		bad["header: "+name] = mint(t, header, claimsOf(t), hs(tokenSecret))
	}
	bad["none, unsigned"] = b64(`{"alg":"none"}`) + "." + parts[1] + "."
	bad["HS384 with the secret"] = mint(t, `{"alg":"HS384"}`, claimsOf(t), hmacWith(sha512.New384, tokenSecret))
	bad["HS512 with the secret"] = mint(t, `{"alg":"HS512"}`, claimsOf(t), hmacWith(sha512.New, tokenSecret))
	exp := expiry
	for name, change := range map[string][]string{
		"no exp": {`,"exp":` + exp, ``}, "null exp": {exp, "null"}, "exp a text": {exp, `"` + exp + `"`}, "exp a fraction": {exp, exp + ".0"},
		"exp an exponent": {exp, "1e12"}, "exp a list": {exp, "[" + exp + "]"}, "exp true": {exp, "true"}, "negative exp": {exp, "-1"}, "exp 0": {exp, "0"},
		"huge exp": {exp, strings.Repeat("9", 30)}, "exp past all years": {exp, "253402300800"}, "exp in milliseconds": {exp, exp + "000"},
		"largest exp": {exp, "9223372036854775807"}, "over": {exp, in(-3600)}, "over by more than the leeway": {exp, in(-32)}, "EXP": {`"exp"`, `"EXP"`},
		"not yet": {exp, exp + `,"nbf":` + in(60)}, "nbf a text": {exp, exp + `,"nbf":"0"`}, "nbf a fraction": {exp, exp + `,"nbf":1.5`}, "nbf null": {exp, exp + `,"nbf":null`},
		"issued later": {exp, exp + `,"iat":` + in(60)}, "iat a text": {exp, exp + `,"iat":"now"`},
		"other issuer": {issuerName, "https://evil.example"}, "longer issuer": {issuerName, issuerName + "/"}, "no issuer": {`"iss":"` + issuerName + `",`, ""},
		"issuers": {`"` + issuerName + `"`, `["` + issuerName + `"]`}, "null issuer": {`"` + issuerName + `"`, "null"},
		"other audience": {"sonicus", "others"}, "longer audience": {"sonicus", "sonicus2"}, "no audience": {`"aud":"sonicus",`, ""}, "null audience": {`"sonicus"`, "null"},
		"other audiences": {`"sonicus"`, `["a","b"]`}, "no audiences": {`"sonicus"`, `[]`}, "audience a number": {`"sonicus"`, `1`}, "audience an object": {`"sonicus"`, `{"sonicus":1}`},
		"no sub": {`"sub":"ada",`, ""}, "empty sub": {"ada", ""}, "sub a number": {`"ada"`, "1"}, "sub null": {`"ada"`, "null"}, "sub with a line break": {"ada", `a\nb`}, "sub of another": {"ada", "Bootstrap"},
		"sub with NUL": {"ada", `a\u0000`}, "sub with a colour": {"ada", `\u001b[31m`}, "sub with spaces": {"ada", " ada"}, "long sub": {"ada", strings.Repeat("a", 201)},
		"half a letter": {"ada", `\ud800`}, "not UTF-8": {"ada", "\xff"}, "named as the bootstrap key": {"ada", "bootstrap"}, "named as the command line": {"ada", "command line"},
		"no role": {`"role":"admin",`, ""}, "unknown role": {`"admin"`, `"root"`}, "role in capitals": {`"admin"`, `"ADMIN"`}, "roles": {`"admin"`, `["admin"]`},
		"role null": {`"admin"`, "null"}, "role a number": {`"admin"`, "3"}, "empty role": {`"admin"`, `""`}, "role with a space": {`"admin"`, `"admin "`}, "Role": {`"role"`, `"Role"`},
		"role twice": {exp, exp + `,"role":"super_admin"`}, "role twice, escaped": {exp, exp + `,"\u0072ole":"admin"`}, "exp twice": {exp, exp + `,"exp":` + exp},
		"twice further down": {exp, exp + `,"x":[{"a":1,"a":2}]`}, "not JSON": {"}", ""}, "more behind": {"}", "} {}"},
	} {
		bad["claims: "+name] = mint(t, hsHeader, claimsOf(t, change...), hs(tokenSecret))
	}
	for name, claims := range map[string]string{"a list": "[]", "null": "null", "a text": `"x"`, "empty": "{}", "deep": `{"x":` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + "}"} {
		bad["claims: "+name] = mint(t, hsHeader, claims, hs(tokenSecret))
	}
	if len(bad) < 60 {
		t.Errorf("only %d tokens", len(bad))
	}
	a.refuses(t, bad)
	for _, part := range parts {
		if strings.Contains(a.logs.String(), part) {
			t.Error("a part of a token is in the log")
		}
	}
}

// loose is a signature whose last character says the same with other spare bits.
func loose(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(signature) - 1
	return signature[:last] + string(alphabet[strings.IndexByte(alphabet, signature[last])+1])
}

func TestGoodTokensAreWhoTheySay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.accept(t, access.TokenOptions{Algorithm: "HS256", Secret: tokenSecret})
	exp := expiry
	for name, tt := range map[string]struct {
		header string
		change []string
	}{
		"as it should be":       {hsHeader, nil},
		"alg alone":             {`{"alg":"HS256"}`, nil},
		"an access token":       {`{"alg":"HS256","typ":"at+JWT"}`, nil},
		"with a kid":            {`{"alg":"HS256","kid":"2025-08_a.b~c="}`, nil},
		"with a digest as kid":  {`{"alg":"HS256","kid":"/abcdefghijklmnopqrstuvwxyz+ABCDEFGHIJKLM/0="}`, nil},
		"with a thumbprint":     {`{"alg":"HS256","x5t":"abc"}`, nil},
		"several audiences":     {hsHeader, []string{`"sonicus"`, `["a","sonicus"]`}},
		"over within leeway":    {hsHeader, []string{exp, in(-20)}},
		"begins within leeway":  {hsHeader, []string{exp, exp + `,"nbf":` + in(20) + `,"iat":` + in(20)}},
		"other claims":          {hsHeader, []string{exp, exp + `,"email":"ada@example.com","x":{"y":[1.5,null]}`}},
		"unusual letters":       {hsHeader, []string{`"ada"`, `"Ada Lövelace 💩"`}},
		"an address as subject": {hsHeader, []string{`"ada"`, `"auth0|ada@example.com"`}},
	} {
		got := a.do(t, call{method: "GET", path: organizationsPath, key: mint(t, tt.header, claimsOf(t, tt.change...), hs(tokenSecret))})
		if got.status != 200 {
			t.Errorf("%s: %d %s %s", name, got.status, got.body, a.logs.line(t, got.header.Get("X-Request-Id")))
		}
	}
	for role, status := range map[access.Role]int{access.Viewer: 403, access.Admin: 403, access.SuperAdmin: 422} {
		token := mint(t, hsHeader, claimsOf(t, "admin", string(role)), hs(tokenSecret))
		if got := a.do(t, call{method: "POST", path: keysPath, key: token, body: "{}"}); got.status != status {
			t.Errorf("%s: %d", role, got.status)
		}
	}
	if got := a.get(t, organizationsPath); got.status != 200 {
		t.Errorf("the bootstrap key beside tokens: %d", got.status)
	}
	if got := a.do(t, call{method: "GET", path: organizationsPath, key: a.createKey(t, "crm", access.Viewer)}); got.status != 200 {
		t.Errorf("a key beside tokens: %d", got.status)
	}
}

func TestTokensAreLoggedAndAuditedBySubject(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.accept(t, access.TokenOptions{Algorithm: "HS256", Secret: tokenSecret})
	token := mint(t, hsHeader, claimsOf(t, "admin", "super_admin"), hs(tokenSecret))
	made := a.do(t, call{method: "POST", path: keysPath, key: token, body: `{"name":"crm","role":"admin"}`})
	if line := a.logs.line(t, made.header.Get("X-Request-Id")); line["key_name"] != "ada" {
		t.Errorf("logged as %v", line)
	}
	entries := a.get(t, trailPath+"?actor=ada").json(t, 200)["data"].([]any)
	if len(entries) != 1 || entries[0].(map[string]any)["api_key_id"] != nil || entries[0].(map[string]any)["object_id"] != made.json(t, 201)["id"] {
		t.Errorf("got %v", entries)
	}
}

func TestWithoutSettingsNoTokenIsTaken(t *testing.T) {
	t.Parallel()
	newAPI(t).refuses(t, map[string]string{"good elsewhere": mint(t, hsHeader, claimsOf(t), hs(tokenSecret)), "with an empty secret": mint(t, hsHeader, claimsOf(t), hs(""))})
}

// keys are those of an issuer, good ones and others.
type keys struct {
	good, weak, encrypting, attackers *rsa.PrivateKey
	curve                             *ecdsa.PrivateKey
}

func makeKeys(t *testing.T) keys {
	t.Helper()
	var k keys
	for key, bits := range map[**rsa.PrivateKey]int{&k.good: 2048, &k.weak: 1024, &k.encrypting: 2048, &k.attackers: 2048} {
		made, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		*key = made
	}
	var err error
	if k.curve, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return k
}

func jwkOf(kid string, key *rsa.PublicKey) map[string]string {
	return map[string]string{"kty": "RSA", "kid": kid, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

func (k keys) set(t *testing.T) string {
	t.Helper()
	encrypting, other := jwkOf("encrypting", &k.encrypting.PublicKey), jwkOf("for-rs512", &k.good.PublicKey)
	encrypting["use"], other["alg"] = "enc", "RS512"
	point, err := k.curve.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{
		jwkOf("good", &k.good.PublicKey), jwkOf("weak", &k.weak.PublicKey), encrypting, other,
		{"kty": "EC", "crv": "P-256", "kid": "curve", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "oct", "kid": "shared", "k": b64(tokenSecret)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

// serve answers with text until the test ends.
func serve(t *testing.T, text string) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(web.Close)
	return web.URL
}

func TestPublicKeysCannotBeUsedAsSomethingElse(t *testing.T) {
	t.Parallel()
	a, k := newAPI(t), makeKeys(t)
	a.accept(t, access.TokenOptions{Algorithm: "RS256", JWKSURL: serve(t, k.set(t))})
	header := func(more string) string { return `{"alg":"RS256","kid":"good"` + more + `}` }
	if got := a.do(t, call{method: "GET", path: organizationsPath, key: mint(t, header(""), claimsOf(t), rs(k.good))}); got.status != 200 {
		t.Fatalf("a good token: %d %s", got.status, got.body)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.good.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	embedded, err := json.Marshal(jwkOf("good", &k.attackers.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	kid := func(name string) string { return `{"alg":"RS256","kid":"` + name + `"}` }
	a.refuses(t, map[string]string{
		"HS256 with the public key":         mint(t, `{"alg":"HS256","kid":"good"}`, claimsOf(t), hs(text)),
		"HS256 with its bytes":              mint(t, `{"alg":"HS256","kid":"good"}`, claimsOf(t), hs(string(der))),
		"HS256 with its modulus":            mint(t, `{"alg":"HS256","kid":"good"}`, claimsOf(t), hs(string(k.good.N.Bytes()))),
		"RS256 in name, a MAC in truth":     mint(t, header(""), claimsOf(t), hs(text)),
		"HS256 with a published secret":     mint(t, `{"alg":"HS256","kid":"shared"}`, claimsOf(t), hs(tokenSecret)),
		"a published secret for RS256":      mint(t, kid("shared"), claimsOf(t), hs(tokenSecret)),
		"another's key":                     mint(t, header(""), claimsOf(t), rs(k.attackers)),
		"the key in the token":              mint(t, header(`,"jwk":`+string(embedded)), claimsOf(t), rs(k.attackers)),
		"the key's address in the token":    mint(t, header(`,"jku":"`+serve(t, `{"keys":[`+string(embedded)+`]}`)+`"`), claimsOf(t), rs(k.attackers)),
		"no kid":                            mint(t, `{"alg":"RS256"}`, claimsOf(t), rs(k.good)),
		"an unknown kid":                    mint(t, kid("unknown"), claimsOf(t), rs(k.good)),
		"the kid of another key":            mint(t, kid("weak"), claimsOf(t), rs(k.good)),
		"a weak key":                        mint(t, kid("weak"), claimsOf(t), rs(k.weak)),
		"a key to encrypt with":             mint(t, kid("encrypting"), claimsOf(t), rs(k.encrypting)),
		"a key for another algorithm":       mint(t, kid("for-rs512"), claimsOf(t), rs(k.good)),
		"a curve's key for RS256":           mint(t, kid("curve"), claimsOf(t), es(k.curve)),
		"a good key of another algorithm":   mint(t, `{"alg":"ES256","kid":"curve"}`, claimsOf(t), es(k.curve)),
		"RS384":                             mint(t, `{"alg":"RS384","kid":"good"}`, claimsOf(t), rs(k.good)),
		"PS256":                             mint(t, `{"alg":"PS256","kid":"good"}`, claimsOf(t), rs(k.good)),
		"none":                              b64(`{"alg":"none","kid":"good"}`) + "." + b64(claimsOf(t)) + ".",
		"over, with a good signature":       mint(t, header(""), claimsOf(t, `"exp":`, `"exp":1,"x":`), rs(k.good)),
		"for others, with a good signature": mint(t, header(""), claimsOf(t, "sonicus", "others"), rs(k.good)),
	})
}

func TestEveryPublishedAlgorithmWorks(t *testing.T) {
	t.Parallel()
	k := makeKeys(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"` + b64([]byte(public)) + `"}]}`
	for algorithm, tt := range map[string]struct {
		kid, set string
		sign     signer
	}{
		"RS256": {"good", k.set(t), rs(k.good)},
		"ES256": {"curve", k.set(t), es(k.curve)},
		"EdDSA": {"ed", edwards, func(_ *testing.T, signed string) []byte { return ed25519.Sign(private, []byte(signed)) }},
	} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.accept(t, access.TokenOptions{Algorithm: algorithm, JWKSURL: serve(t, tt.set)})
			got := a.do(t, call{method: "GET", path: organizationsPath, key: mint(t, `{"alg":"`+algorithm+`","kid":"`+tt.kid+`"}`, claimsOf(t), tt.sign)})
			if got.status != 200 {
				t.Errorf("%d %s", got.status, a.logs.String())
			}
		})
	}
	for algorithm, newHash := range map[string]func() hash.Hash{"HS384": sha512.New384, "HS512": sha512.New} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.accept(t, access.TokenOptions{Algorithm: algorithm, Secret: tokenSecret})
			got := a.do(t, call{method: "GET", path: organizationsPath, key: mint(t, `{"alg":"`+algorithm+`"}`, claimsOf(t), hmacWith(newHash, tokenSecret))})
			if got.status != 200 {
				t.Errorf("%d %s", got.status, a.logs.String())
			}
		})
	}
}
