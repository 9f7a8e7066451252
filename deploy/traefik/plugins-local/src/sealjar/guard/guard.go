// Package guard has the steps before and after forwardAuth, the middleware that sends verification requests to Sealjar. Traefik's
// own middlewares cannot do these steps: remove header fields in every spelling, and remove single cookies. Traefik interprets
// this file. Nothing is compiled.
//
// Every request passes the stage "first" on the entry point. This stage adds a field whose name is invalid in HTTP, so the
// request cannot leave Traefik before another stage has removed the field. A router without such a stage answers 500.
package guard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Config is the configuration of one stage.
type Config struct {
	// Stage of a request: "first" on the entry point, "guarded" for an application after forwardAuth, "public" for a public
	// application, and "sealjar" for Sealjar itself.
	Stage string `json:"stage,omitempty"`
	// Networks of trusted proxies in front of Traefik, for the stage "first". Their X-Forwarded-For contains the client address.
	Proxies []string `json:"proxies,omitempty"`
	// Whether HTML pages get "Cache-Control: no-store" in place of the application's Cache-Control, for the stage "first".
	PrivatePages bool `json:"privatePages,omitempty"`
}

const (
	// Maximum time of a verification request. Without it, Traefik would wait for 30 seconds.
	verifyTimeout = 5 * time.Second
	// Name of the field that marks a request as not verified. No HTTP client can send it, because names must not contain spaces.
	// Traefik's log shows the name when Traefik refuses a request.
	notVerified = "Sealjar has not verified this request"
	// Key under which the context stores the original context of the request. It is a plain string, because each instance of the
	// plugin has its own types.
	originalContext = "sealjar/original-context"
)

// forbidden matches the names of fields that clients must not send. PHP and CGI read Remote.User and Remote_User as Remote-User,
// so every name with a byte other than a letter, a digit or "-" is forbidden. Go's server has normalized upper and lower case.
var forbidden = regexp.MustCompile("[^A-Za-z0-9-]|^(Remote-|X-Auth-Request-|X-Forwarded|X-Original-|Forwarded$)")

func CreateConfig() *Config { return &Config{} }

func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	var proxies []netip.Prefix
	for _, text := range config.Proxies {
		proxy, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		proxies = append(proxies, proxy)
	}
	if config.Stage == "first" {
		if config.PrivatePages {
			next = keepPagesPrivate(next)
		}
		return first(next, proxies), nil
	}
	return beforeServer(next, config.Stage), nil
}

// first returns the stage on the entry point.
func first(next http.Handler, proxies []netip.Prefix) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		// Data after a CONNECT would be forwarded unchanged. Newer versions of Traefik refuse CONNECT themselves.
		if request.Method == http.MethodConnect {
			http.Error(response, "CONNECT is not allowed", http.StatusMethodNotAllowed)
			return
		}
		limited, cancel := withVerifyTimeout(request)
		defer cancel()
		request = request.WithContext(limited)
		client := clientAddress(request, proxies)
		request.RemoteAddr = net.JoinHostPort(client, "0")
		stripHeaders(request.Header)
		// Over another protocol than WebSocket, a client could send requests that Traefik does not inspect.
		if !strings.EqualFold(request.Header.Get("Upgrade"), "websocket") {
			delete(request.Header, "Upgrade")
		}
		request.Header["X-Forwarded-Host"] = []string{request.Host}
		request.Header["X-Forwarded-Proto"] = []string{"https"}
		request.Header["X-Real-Ip"] = []string{client}
		request.Header[notVerified] = []string{""}
		next.ServeHTTP(response, request)
	})
}

// beforeServer returns the last stage of a request. An unknown stage is as strict as "guarded".
func beforeServer(next http.Handler, stage string) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		original, hasPassedFirst := request.Context().Value(originalContext).(context.Context)
		// Every positive response of Sealjar has this field, even if it is empty. The stage "first" has removed the client's field.
		_, isVerified := request.Header["Remote-User"]
		if !hasPassedFirst || !isVerified && stage != "public" && stage != "sealjar" {
			http.Error(response, notVerified, http.StatusInternalServerError)
			return
		}
		delete(request.Header, notVerified)
		// Sealjar has renewed the session. A shared cache must not store the cookie, even if the application allows it to store the
		// response.
		if len(request.Header["Set-Cookie"]) > 0 {
			response.Header().Add("Cache-Control", "private")
			delete(request.Header, "Set-Cookie")
		}
		if stage != "sealjar" {
			stripCookies(request.Header)
		}
		next.ServeHTTP(response, request.WithContext(original))
	})
}

// keepPagesPrivate prevents browsers and caches from storing HTML pages. An upgraded connection has no page, and needs the
// original response writer.
func keepPagesPrivate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if len(request.Header["Upgrade"]) == 0 {
			response = &privatePages{response, false}
		}
		next.ServeHTTP(response, request)
	})
}

// privatePages is a response writer that changes the header before it is sent.
type privatePages struct {
	http.ResponseWriter
	isSent bool
}

func (response *privatePages) WriteHeader(status int) {
	header := response.ResponseWriter.Header()
	isFinal := status < 100 || status >= 200
	if isFinal && !response.isSent && strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "text/html") {
		header.Set("Cache-Control", "no-store")
	}
	response.isSent = response.isSent || isFinal
	response.ResponseWriter.WriteHeader(status)
}

// Write sends each part immediately, because Traefik cannot flush the response writer of an interpreted plugin.
func (response *privatePages) Write(data []byte) (int, error) {
	if !response.isSent {
		response.WriteHeader(http.StatusOK)
	}
	length, err := response.ResponseWriter.Write(data)
	if flusher, can := response.ResponseWriter.(http.Flusher); can {
		flusher.Flush()
	}
	return length, err
}

// withVerifyTimeout returns a context that ends with the timeout of the verification request. It stores the original context of
// the request.
func withVerifyTimeout(request *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(request.Context(), originalContext, request.Context()), verifyTimeout)
}

// clientAddress returns the address of the client: the peer or, behind trusted proxies, the last address in X-Forwarded-For that
// is not a trusted proxy.
func clientAddress(request *http.Request, proxies []netip.Prefix) string {
	client, _, _ := net.SplitHostPort(request.RemoteAddr)
	// Traefik has removed the field, unless forwardedHeaders.trustedIPs has the network.
	hops := strings.Split(strings.Join(request.Header["X-Forwarded-For"], ","), ",")
	for index := len(hops) - 1; index >= 0 && isProxy(client, proxies); index-- {
		before, err := netip.ParseAddr(strings.TrimSpace(hops[index]))
		if err != nil {
			break
		}
		client = before.String()
	}
	return client
}

func isProxy(text string, proxies []netip.Prefix) bool {
	// If the text is not an address, the result is the zero address, which no network contains.
	address, _ := netip.ParseAddr(text)
	for _, proxy := range proxies {
		if proxy.Contains(address) {
			return true
		}
	}
	return false
}

// stripHeaders removes the fields that clients must not send.
func stripHeaders(headers http.Header) {
	for name := range headers {
		if forbidden.MatchString(name) {
			delete(headers, name)
		}
	}
}

// stripCookies removes Sealjar's cookies from all Cookie fields.
func stripCookies(headers http.Header) {
	var kept []string
	for _, field := range headers["Cookie"] {
		for _, pair := range strings.Split(field, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch strings.TrimSpace(name) {
			case "", "__Host-sealjar", "__Host-sealjar-form", "__Host-sealjar-proof", "__Secure-sealjar":
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
