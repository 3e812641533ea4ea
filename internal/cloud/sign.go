// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	algorithm  = "SDK-HMAC-SHA256"
	dateFormat = "20060102T150405Z"

	headerDate          = "X-Sdk-Date"
	headerProjectID     = "X-Project-Id"
	headerSecurityToken = "X-Security-Token"
	headerAuthToken     = "X-Auth-Token" //nolint:gosec // the name of a header
)

// sign sets X-Sdk-Date and Authorization (SDK-HMAC-SHA256). It signs the named headers, if present, and X-Sdk-Date.
func sign(req *http.Request, body []byte, accessKey, secretKey string, now time.Time, signed ...string) {
	date := now.UTC().Format(dateFormat)
	req.Header.Set(headerDate, date)

	names := []string{strings.ToLower(headerDate)}
	for _, name := range signed {
		if req.Header.Get(name) != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)

	toSign := algorithm + "\n" + date + "\n" + hexSHA256([]byte(canonicalRequest(req, body, names)))
	mac := hmac.New(sha256.New, []byte(secretKey))
	mac.Write([]byte(toSign))

	req.Header.Set("Authorization", algorithm+
		" Access="+accessKey+
		", SignedHeaders="+strings.Join(names, ";")+
		", Signature="+hex.EncodeToString(mac.Sum(nil)))
}

// canonicalRequest returns the text to be signed; names are lower-case and sorted.
func canonicalRequest(req *http.Request, body []byte, names []string) string {
	var b strings.Builder
	b.Grow(512) // enough for most requests: it is written in many small pieces
	b.WriteString(req.Method)
	b.WriteByte('\n')
	for segment := range strings.SplitSeq(strings.Trim(req.URL.Path, "/"), "/") {
		b.WriteByte('/')
		b.WriteString(escape(segment))
	}
	if strings.Trim(req.URL.Path, "/") != "" {
		b.WriteByte('/')
	}
	b.WriteByte('\n')
	b.WriteString(canonicalQuery(req.URL.Query()))
	b.WriteByte('\n')
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(strings.TrimSpace(req.Header.Get(name)))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(names, ";"))
	b.WriteByte('\n')
	b.WriteString(hexSHA256(body))
	return b.String()
}

// canonicalQuery sorts by key and value. The same text is sent and signed.
func canonicalQuery(query url.Values) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&")
}

// escape percent-encodes all but letters, digits and "-_.~". The standard library keeps others, or writes a space as
// "+".
func escape(s string) string {
	const upperHex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&0xf])
		}
	}
	return b.String()
}

func hexSHA256(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
