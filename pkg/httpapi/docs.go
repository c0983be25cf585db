package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// What the page at /docs may do: everything comes from this server, and data:
// pictures from Swagger UI's own style sheet. Nothing inline runs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed openapi.yaml
var openAPI string

// docs/README.md says where these come from.
var (
	//go:embed docs/index.html
	docsIndex []byte
	//go:embed docs/init.js
	docsInit []byte
	//go:embed docs/swagger-ui-bundle.js.gz
	swaggerBundle []byte
	//go:embed docs/swagger-ui.css.gz
	swaggerStyle []byte
	//go:embed docs/favicon-32x32.png
	swaggerIcon []byte
	//go:embed docs/LICENSE
	swaggerLicense []byte
	//go:embed docs/NOTICE
	swaggerNotice []byte
	//go:embed docs/swagger-ui-bundle.js.LICENSE.txt
	swaggerBundleLicense []byte
)

// OpenAPI is the description of the API, in YAML.
func OpenAPI() string { return openAPI }

// documents are what everyone may read, without a key: the description of the
// API and the page that shows it, offline.
var documents = []file{
	plain("/openapi.yaml", "application/yaml", []byte(openAPI)),
	plain("/docs", echo.MIMETextHTMLCharsetUTF8, docsIndex),
	plain("/docs/", echo.MIMETextHTMLCharsetUTF8, docsIndex),
	plain("/docs/init.js", "text/javascript; charset=utf-8", docsInit),
	gzipped("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", swaggerBundle),
	gzipped("/docs/swagger-ui.css", "text/css; charset=utf-8", swaggerStyle),
	plain("/docs/favicon-32x32.png", "image/png", swaggerIcon),
	plain("/docs/LICENSE", echo.MIMETextPlainCharsetUTF8, swaggerLicense),
	plain("/docs/NOTICE", echo.MIMETextPlainCharsetUTF8, swaggerNotice),
	plain("/docs/swagger-ui-bundle.js.LICENSE.txt", echo.MIMETextPlainCharsetUTF8, swaggerBundleLicense),
}

// file is a document in the binary.
type file struct {
	path, mediaType string
	body            []byte
	gzipped         bool   // how body is stored
	etag            string // weak: the same for both encodings
}

func plain(path, mediaType string, body []byte) file {
	sum := sha256.Sum256(body)
	return file{path: path, mediaType: mediaType, body: body, etag: `W/"` + hex.EncodeToString(sum[:8]) + `"`}
}

func gzipped(path, mediaType string, body []byte) file {
	f := plain(path, mediaType, body)
	f.gzipped = true
	return f
}

func (s *Server) mountDocuments() {
	for _, f := range documents {
		s.echo.Match([]string{http.MethodGet, http.MethodHead}, f.path, f.serve)
	}
}

// serve lets clients keep the document, but ask each time whether it is still the
// one: after an upgrade the page fits the API.
func (f file) serve(c echo.Context) error {
	h := c.Response().Header()
	h.Set(echo.HeaderContentSecurityPolicy, docsPolicy)
	h.Set(echo.HeaderReferrerPolicy, "no-referrer")
	h.Set(echo.HeaderCacheControl, "no-cache")
	h.Set("ETag", f.etag)
	if f.gzipped {
		h.Set(echo.HeaderVary, echo.HeaderAcceptEncoding)
	}
	if strings.Contains(c.Request().Header.Get("If-None-Match"), f.etag) {
		return c.NoContent(http.StatusNotModified)
	}
	body, err := f.encoded(h, c.Request().Header)
	if err != nil {
		return err
	}
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(http.StatusOK, f.mediaType, body)
}

// encoded is the body as the caller can read it.
func (f file) encoded(answer, request http.Header) ([]byte, error) {
	switch {
	case !f.gzipped:
		return f.body, nil
	case acceptsGzip(request):
		answer.Set(echo.HeaderContentEncoding, "gzip")
		return f.body, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(f.body))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.path, err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", f.path, err)
	}
	return body, nil
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values(echo.HeaderAcceptEncoding), ","), ",") {
		name, weight, weighted := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";q=")
		if strings.EqualFold(name, "gzip") {
			q, err := strconv.ParseFloat(weight, 64)
			return !weighted || (err == nil && q > 0)
		}
	}
	return false
}
