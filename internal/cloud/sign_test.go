// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// verify checks a signature as a server does. It was written from the description of SDK-HMAC-SHA256, and shares no code
// with this package.
func verify(r *http.Request, body []byte, accessKey, secretKey, authToken string, now time.Time) error {
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		switch {
		case token != authToken:
			return errors.New("another token")
		case r.Header.Get("Authorization") != "":
			return errors.New("a token and a signature")
		}
		return nil
	}
	form := regexp.MustCompile(`^SDK-HMAC-SHA256 Access=([^,\s]+), SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`)
	authorization := r.Header.Values("Authorization")
	if len(authorization) != 1 {
		return fmt.Errorf("%d Authorization headers", len(authorization))
	}
	m := form.FindStringSubmatch(authorization[0])
	if len(m) != 4 || m[1] != accessKey {
		return fmt.Errorf("malformed Authorization %q", authorization[0])
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Sdk-Date"))
	if err != nil || now.Sub(at).Abs() > 15*time.Minute {
		return fmt.Errorf("malformed or old X-Sdk-Date %q", r.Header.Get("X-Sdk-Date"))
	}
	canonical, err := canonicalForm(r, body, m[2])
	if err != nil {
		return err
	}
	toSign := fmt.Sprintf("SDK-HMAC-SHA256\n%s\n%x", r.Header.Get("X-Sdk-Date"), sha256.Sum256([]byte(canonical)))
	mac := hmac.New(sha256.New, []byte(secretKey))
	fmt.Fprint(mac, toSign)
	if want := fmt.Sprintf("%x", mac.Sum(nil)); want != m[3] {
		return fmt.Errorf("signature is %s, want %s for\n%s", m[3], want, canonical)
	}
	return nil
}

func canonicalForm(r *http.Request, body []byte, signed string) (string, error) {
	names := strings.Split(signed, ";")
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		return "", fmt.Errorf("signed headers %q are out of order or repeated", signed)
	}
	for _, must := range []string{"x-sdk-date", "x-project-id", "x-security-token"} {
		if r.Header.Get(must) != "" && !slices.Contains(names, must) {
			return "", fmt.Errorf("%s is sent but not signed", must)
		}
	}
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	path, query, _ := strings.Cut(uri, "?")
	if strings.ContainsAny(uri, "+#") {
		return "", fmt.Errorf("the request line has a plus or a hash: %q", uri)
	}

	lines := []string{r.Method}
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", err
		}
		segments = append(segments, escapeReserved(plain))
	}
	path = strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	lines = append(lines, path)

	type pair struct{ key, value string }
	var pairs []pair
	for _, part := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' }) {
		key, value, _ := strings.Cut(part, "=")
		plainKey, err1 := url.PathUnescape(key)
		plainValue, err2 := url.PathUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		pairs = append(pairs, pair{plainKey, plainValue})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if a.key != b.key {
			return strings.Compare(a.key, b.key)
		}
		return strings.Compare(a.value, b.value)
	})
	var texts []string
	for _, p := range pairs {
		texts = append(texts, escapeReserved(p.key)+"="+escapeReserved(p.value))
	}
	lines = append(lines, strings.Join(texts, "&"))

	block := ""
	for _, name := range names {
		values := r.Header.Values(name)
		if len(values) != 1 {
			return "", fmt.Errorf("signed header %s is there %d times", name, len(values))
		}
		block += name + ":" + strings.Trim(values[0], " \t") + "\n"
	}
	lines = append(lines, block, signed, fmt.Sprintf("%x", sha256.Sum256(body)))
	return strings.Join(lines, "\n"), nil
}

func escapeReserved(s string) string {
	const kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
	out := ""
	for _, c := range []byte(s) {
		if strings.Contains(kept, string(rune(c))) {
			out += string(rune(c))
		} else {
			out += fmt.Sprintf("%%%02X", c)
		}
	}
	return out
}

// Keys to sign with.
const (
	testAK = "AKTESTTESTTESTTEST00"
	testSK = "sk-0123456789abcdefghijklmnopqrstuvwxyzAB"
)

// The known answer was checked against the vendor's SDK and openssl.
const (
	knownHash      = "02fc9a2511086569e9f677dc74c451eacceb773af447d4133f82483a88fe37f8"
	knownSignature = "6ca77edf4db499c5b4eb1778d47c877436a1f0e3e8e3aa4a9eae52929cc76dea"
)

func knownRequest(t *testing.T) (*http.Request, time.Time) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1.0/proj1/clusters/c1/vpcepservice/connections?limit=100&offset=0", nil)
	req.Header.Set("User-Agent", "ua/1")
	req.Header.Set("X-Project-Id", "proj1")
	return req, time.Date(2026, 1, 2, 4, 4, 5, 999, time.FixedZone("", 3600)) // 03:04:05 UTC
}

func TestSignKnownAnswer(t *testing.T) {
	req, now := knownRequest(t)
	sign(req, nil, "AKEXAMPLE", "secret-example-0123456789", now, "X-Project-Id", "User-Agent")

	if got := req.Header.Get("X-Sdk-Date"); got != "20260102T030405Z" {
		t.Errorf("X-Sdk-Date is %q", got)
	}
	canonical := canonicalRequest(req, nil, []string{"user-agent", "x-project-id", "x-sdk-date"})
	if got := hexSHA256([]byte(canonical)); got != knownHash {
		t.Errorf("hash of the canonical request is %s, want %s:\n%s", got, knownHash, canonical)
	}
	want := "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=user-agent;x-project-id;x-sdk-date, Signature=" + knownSignature
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("Authorization is\n%s, want\n%s", got, want)
	}
}

// TestVerifierKnownAnswer checks the tests' own verifier.
func TestVerifierKnownAnswer(t *testing.T) {
	req, now := knownRequest(t)
	req.Header.Set("X-Sdk-Date", "20260102T030405Z")
	const names = "user-agent;x-project-id;x-sdk-date"
	canonical, err := canonicalForm(req, nil, names)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(canonical))); got != knownHash {
		t.Errorf("hash is %s, want %s:\n%s", got, knownHash, canonical)
	}
	check := func(at time.Time, sk string) error {
		return verify(req, nil, "AKEXAMPLE", sk, "", at)
	}
	req.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders="+names+", Signature="+knownSignature)
	if err := check(now, "secret-example-0123456789"); err != nil {
		t.Errorf("the known answer is rejected: %v", err)
	}
	if err := check(now, "secret-example-0123456788"); err == nil {
		t.Error("a signature of another key is accepted")
	}
	if err := check(now.Add(16*time.Minute), "secret-example-0123456789"); err == nil {
		t.Error("an old signature is accepted")
	}
	req.URL.RawQuery = "limit=100&offset=1"
	req.RequestURI = ""
	if err := check(now, "secret-example-0123456789"); err == nil {
		t.Error("the signature of another query is accepted")
	}
	req.Header.Set("X-Security-Token", "t")
	if err := check(now, "secret-example-0123456789"); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("an unsigned security token is accepted: %v", err)
	}
}

func TestEscape(t *testing.T) {
	const kept = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
	var got strings.Builder
	for b := range 256 {
		escaped := escape(string([]byte{byte(b)}))
		if len(escaped) == 1 {
			got.WriteString(escaped)
			continue
		}
		if want := fmt.Sprintf("%%%02X", b); escaped != want {
			t.Errorf("escape(%#x) = %q, want %q", b, escaped, want)
		}
	}
	if got.String() != kept {
		t.Errorf("kept are %q, want %q", got.String(), kept)
	}
	for in, want := range map[string]string{
		"":          "",
		"a b+c":     "a%20b%2Bc",
		"é":         "%C3%A9",
		"%2F":       "%252F",
		"\xff":      "%FF",
		"a=b&c;d":   "a%3Db%26c%3Bd",
		"!'()*":     "%21%27%28%29%2A",
		"\x00\n\r":  "%00%0A%0D",
		"index.js~": "index.js~",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCanonicalQuery(t *testing.T) {
	for _, test := range []struct {
		name  string
		query url.Values
		want  string
	}{
		{"none", nil, ""},
		{"empty value", url.Values{"a": {""}}, "a="},
		{"no value", url.Values{"a": nil}, ""},
		{"by key, then by value", url.Values{"b": {"2", "1"}, "a": {"x"}, "B": {"0"}}, "B=0&a=x&b=1&b=2"},
		{"escaped", url.Values{"k y": {"v+&=/é"}}, "k%20y=v%2B%26%3D%2F%C3%A9"},
		{"value that begins another", url.Values{"a": {"10", "1", "1-"}}, "a=1&a=1-&a=10"},
		// "=" sorts after "-", "." and the digits, so that sorting whole pairs is not sorting by key.
		{"key that begins another, digit", url.Values{"limit": {"1"}, "limit2": {"0"}}, "limit=1&limit2=0"},
		{"key that begins another, dash", url.Values{"a": {"1"}, "a-b": {"0"}, "a.b": {"2"}}, "a=1&a-b=0&a.b=2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := canonicalQuery(test.query); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSignUnusualRequests(t *testing.T) {
	for _, target := range []string{
		"/", "/a", "/a/", "/a//b", "/v1.0/p%20q/c%2Bd", "/v1.0/%C3%BC", "/a?x=%20y&x=%2B", "/a?z=1&a=2&z=0", "/a?q",
		"/a?q=%3B%26%3D", "/~user/a!b", "/a?limit=1&limit2=2",
	} {
		t.Run(target, func(t *testing.T) {
			for _, body := range []string{"", "{}", strings.Repeat("x", 1<<16)} {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, nil)
				req.Header.Set("X-Project-Id", "  proj 1\t")
				req.Header.Set("X-Security-Token", "a  b=/+")
				now := time.Now()
				sign(req, []byte(body), testAK, testSK, now, "X-Project-Id", "X-Security-Token", "X-Not-There")
				if err := verify(req, []byte(body), testAK, testSK, "", now); err != nil {
					t.Errorf("body of %d bytes: %v", len(body), err)
				}
			}
		})
	}
}

func TestSignatureDependsOnTheBody(t *testing.T) {
	signature := func(body string) string {
		req, now := knownRequest(t)
		sign(req, []byte(body), testAK, testSK, now)
		return req.Header.Get("Authorization")
	}
	if signature("{}") == signature("[]") {
		t.Error("two bodies have one signature")
	}
	if first, second := signature("{}"), signature("{}"); first != second {
		t.Error("one request has two signatures")
	}
}
