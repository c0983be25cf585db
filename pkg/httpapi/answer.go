package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/sonicus/webhooks/pkg/idempotency"
)

// tagged is an answer that shows one version of something.
type tagged interface{ etag() string }

// render is an answer of JSON, with the location of what was made, if anything was.
func render(status int, location string, body any) (idempotency.Answer, error) {
	b, err := encode(body)
	if err != nil {
		return idempotency.Answer{}, err
	}
	header := map[string]string{}
	if location != "" {
		header[echo.HeaderLocation] = location
	}
	if t, ok := body.(tagged); ok {
		header["ETag"] = t.etag()
	}
	return idempotency.Answer{Status: status, Header: header, Body: b}, nil
}

func reply(c echo.Context, a idempotency.Answer) error {
	for name, value := range a.Header {
		c.Response().Header().Set(name, value)
	}
	return send(c, a.Status, echo.MIMEApplicationJSON, a.Body)
}

// sendJSON answers with the status 200.
func sendJSON(c echo.Context, body any) error {
	a, err := render(http.StatusOK, "", body)
	if err != nil {
		return err
	}
	return reply(c, a)
}

// encode comes before anything is sent, so that a failure can still become a problem.
func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // nosniff and the media type keep browsers from reading it as HTML
	if err := enc.Encode(body); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return b.Bytes(), nil
}

func send(c echo.Context, status int, mediaType string, body []byte) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	return c.Blob(status, mediaType, body)
}
