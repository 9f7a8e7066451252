// Package guard does what Traefik's own middlewares cannot do around forwardAuth, which asks Sealjar about a request: it removes
// header fields in every spelling, and one cookie among others. Traefik interprets this file. Nothing is compiled.
//
// Every request comes to the stage "first", on the entry point. That stage adds a field whose name no HTTP client sends, so the
// request cannot leave Traefik before another stage has removed the field: a router without such a stage answers 500.
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
	// "first": on the entry point. "guarded": before an application, after forwardAuth. "public": before an application that
	// everybody may see. "sealjar": before Sealjar itself.
	Stage string `json:"stage,omitempty"`
	// Networks of proxies in front of Traefik, for the stage "first". They say in X-Forwarded-For who the client is.
	Proxies []string `json:"proxies,omitempty"`
	// Whether HTML pages get "Cache-Control: no-store" in place of the application's Cache-Control, for the stage "first".
	PrivatePages bool `json:"privatePages,omitempty"`
}

const (
	// How long Sealjar may take to answer the question. Traefik itself waits for 30 seconds.
	questionTimeout = 5 * time.Second
	// The field that no HTTP client sends, since a name cannot have spaces. Traefik's log shows it when it refuses a request.
	notAsked = "Sealjar was not asked"
	// The key of the request's context as it came. Each instance has types of its own, so this is a plain string.
	asItCame = "sealjar/as-it-came"
)

// Names of fields that clients must not send. PHP and CGI take Remote.User and Remote_User for Remote-User, so that is every name
// with a byte other than a letter, a digit or "-". The others are spelt as Go's server spells them.
var claim = regexp.MustCompile("[^A-Za-z0-9-]|^(Remote-|X-Auth-Request-|X-Forwarded|X-Original-|Forwarded$)")

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

func first(next http.Handler, proxies []netip.Prefix) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		// What follows a CONNECT would go on as it comes. Newer versions of Traefik refuse it by themselves.
		if request.Method == http.MethodConnect {
			http.Error(response, "CONNECT is not allowed", http.StatusMethodNotAllowed)
			return
		}
		question, cancel := questionContext(request)
		defer cancel()
		request = request.WithContext(question)
		client := clientAddress(request, proxies)
		request.RemoteAddr = net.JoinHostPort(client, "0")
		stripHeaders(request.Header)
		// Over another protocol than WebSocket, a client could send requests that Traefik does not see.
		if !strings.EqualFold(request.Header.Get("Upgrade"), "websocket") {
			delete(request.Header, "Upgrade")
		}
		request.Header["X-Forwarded-Host"] = []string{request.Host}
		request.Header["X-Forwarded-Proto"] = []string{"https"}
		request.Header["X-Real-Ip"] = []string{client}
		request.Header[notAsked] = []string{""}
		next.ServeHTTP(response, request)
	})
}

// beforeServer returns the last stage on a request's way. A name that is no stage's is as strict as "guarded".
func beforeServer(next http.Handler, stage string) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		original, isFirst := request.Context().Value(asItCame).(context.Context)
		// Sealjar's yes has this field, even where it is empty. The stage "first" has removed the client's.
		_, isAsked := request.Header["Remote-User"]
		if !isFirst || !isAsked && stage != "public" && stage != "sealjar" {
			http.Error(response, notAsked, http.StatusInternalServerError)
			return
		}
		delete(request.Header, notAsked)
		// Sealjar's answer has renewed the session. A cache that others use must not store the cookie, whatever the application says
		// of its answer.
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

// keepPagesPrivate lets no browser or cache store an HTML page. An upgraded connection has no page, and needs the response as it is.
func keepPagesPrivate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if len(request.Header["Upgrade"]) == 0 {
			response = &privatePages{response, false}
		}
		next.ServeHTTP(response, request)
	})
}

// privatePages is a response whose header is changed before it is sent.
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

// Write sends each part at once, because Traefik cannot flush a response that is interpreted.
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

// questionContext returns a context that ends with the time for the question. It holds the request's own context.
func questionContext(request *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(request.Context(), asItCame, request.Context()), questionTimeout)
}

// clientAddress returns the last address on the way to Traefik that is not a proxy's.
func clientAddress(request *http.Request, proxies []netip.Prefix) string {
	client, _, _ := net.SplitHostPort(request.RemoteAddr)
	// Traefik has removed the field, unless forwardedHeaders.trustedIPs has the network.
	way := strings.Split(strings.Join(request.Header["X-Forwarded-For"], ","), ",")
	for index := len(way) - 1; index >= 0 && isProxy(client, proxies); index-- {
		before, err := netip.ParseAddr(strings.TrimSpace(way[index]))
		if err != nil {
			break
		}
		client = before.String()
	}
	return client
}

func isProxy(text string, proxies []netip.Prefix) bool {
	// The address of a text that is none is in no network.
	address, _ := netip.ParseAddr(text)
	for _, proxy := range proxies {
		if proxy.Contains(address) {
			return true
		}
	}
	return false
}

// stripHeaders removes what clients must not say.
func stripHeaders(headers http.Header) {
	for name := range headers {
		if claim.MatchString(name) {
			delete(headers, name)
		}
	}
}

// stripCookies removes Sealjar's cookies, in however many fields.
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
