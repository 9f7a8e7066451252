// Package strip removes from requests what an application behind Sealjar must not be sent by clients: Traefik's own middlewares
// can remove neither one cookie among others nor a header in every spelling. Traefik interprets it; nothing is to be compiled.
package strip

import (
	"context"
	"net/http"
	"strings"
)

// Config says what this instance removes.
type Config struct {
	// The identity headers, before Sealjar is asked, and facts in the fields that Traefik does not set itself.
	Headers bool `json:"headers,omitempty"`
	// Sealjar's cookies, after Sealjar was asked.
	Cookies bool `json:"cookies,omitempty"`
}

func CreateConfig() *Config { return &Config{} }

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if config.Headers {
			stripHeaders(request.Header)
		}
		if config.Cookies {
			stripCookies(request.Header)
		}
		next.ServeHTTP(response, request)
	}), nil
}

func stripHeaders(headers http.Header) {
	for name := range headers {
		// Remote_User is Remote-User to many applications, and so is every other mixture.
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		for _, prefix := range []string{"remote-", "x-auth-request-", "x-original-"} {
			if strings.HasPrefix(plain, prefix) {
				delete(headers, name)
			}
		}
	}
}

func stripCookies(headers http.Header) {
	var kept []string
	for _, field := range headers["Cookie"] {
		for _, pair := range strings.Split(field, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch strings.TrimSpace(name) {
			case "", "__Host-sealjar", "__Host-sealjar-form", "__Secure-sealjar":
			default:
				kept = append(kept, strings.TrimSpace(pair))
			}
		}
	}
	headers.Del("Cookie")
	if len(kept) > 0 {
		headers.Set("Cookie", strings.Join(kept, "; "))
	}
}
