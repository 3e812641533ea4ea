// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	algorithm     = "SDK-HMAC-SHA256"
	dateLayout    = "20060102T150405Z"
	dateTolerance = 15 * time.Minute // of X-Sdk-Date
)

type authorization struct {
	access        string
	signedHeaders []string
	signature     string
}

// parseAuthorization parses
//
//	SDK-HMAC-SHA256 Access=<ak>, SignedHeaders=<a;b;c>, Signature=<64 hex>
func parseAuthorization(header string) (authorization, bool) {
	fields, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return authorization{}, false
	}
	parts := strings.Split(fields, ", ")
	if len(parts) != 3 {
		return authorization{}, false
	}
	access, ok1 := strings.CutPrefix(parts[0], "Access=")
	names, ok2 := strings.CutPrefix(parts[1], "SignedHeaders=")
	signature, ok3 := strings.CutPrefix(parts[2], "Signature=")
	if !ok1 || !ok2 || !ok3 || access == "" || names == "" || len(signature) != 2*sha256.Size {
		return authorization{}, false
	}
	return authorization{access: access, signedHeaders: strings.Split(names, ";"), signature: signature}, true
}

func (a authorization) signs(name string) bool { return slices.Contains(a.signedHeaders, name) }

// canonical returns false unless signed headers are present, unique, lower-case and sorted, and the URL is valid.
func canonical(r *http.Request, body []byte, signed []string) (string, bool) {
	path, ok := canonicalPath(r.URL.EscapedPath())
	if !ok {
		return "", false
	}
	query, ok := canonicalQuery(r.URL.RawQuery)
	if !ok {
		return "", false
	}
	var headers strings.Builder
	last := ""
	for _, name := range signed {
		if name != strings.ToLower(name) || name <= last {
			return "", false
		}
		last = name
		values := r.Header.Values(name)
		if name == "host" { // not in Header
			values = []string{r.Host}
		}
		if len(values) != 1 {
			return "", false
		}
		headers.WriteString(name + ":" + strings.TrimSpace(values[0]) + "\n")
	}
	hash := sha256.Sum256(body)
	return strings.Join([]string{
		r.Method, path, query, headers.String(), strings.Join(signed, ";"), hex.EncodeToString(hash[:]),
	}, "\n"), true
}

func canonicalPath(escaped string) (string, bool) {
	var out strings.Builder
	for segment := range strings.SplitSeq(strings.Trim(escaped, "/"), "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", false
		}
		out.WriteString("/" + escape(plain))
	}
	if out.Len() > 1 {
		out.WriteByte('/')
	}
	return out.String(), true
}

func canonicalQuery(raw string) (string, bool) {
	type pair struct{ key, value string }
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		k, err1 := url.QueryUnescape(key)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return "", false
		}
		pairs = append(pairs, pair{k, v})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	out := make([]string, len(pairs))
	for i, p := range pairs {
		out[i] = escape(p.key) + "=" + escape(p.value)
	}
	return strings.Join(out, "&"), true
}

// escape keeps only unreserved characters.
func escape(s string) string {
	const upperHex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			out.WriteByte(c)
		default:
			out.WriteByte('%')
			out.WriteByte(upperHex[c>>4])
			out.WriteByte(upperHex[c&15])
		}
	}
	return out.String()
}

func sign(canonicalRequest, date, secret string) string {
	hash := sha256.Sum256([]byte(canonicalRequest))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithm + "\n" + date + "\n" + hex.EncodeToString(hash[:])))
	return hex.EncodeToString(mac.Sum(nil))
}

type caller struct {
	access     string // empty with a token
	user       userID // empty with a key
	projectIDs []string

	provider string        // of an ID token
	keyLife  time.Duration // that was asked for
}

// authorize checks the token, or else the signature, and then the project.
func (s *Simulator) authorize(r *http.Request, body []byte, projectID string) (caller, *rejection) {
	var c caller
	var rejected *rejection
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		c, rejected = s.callerByToken(token)
	} else {
		c, rejected = s.callerBySignature(r, body, projectID)
	}
	if rejected != nil {
		return caller{}, rejected
	}
	if id := r.Header.Get("X-Project-Id"); projectID != "" && id != "" && id != projectID {
		return caller{}, incorrectIAM("project id does not match")
	}
	if projectID != "" && !slices.Contains(c.projectIDs, projectID) {
		return caller{}, &rejection{http.StatusForbidden, "APIGW.0302", "The IAM user is not allowed to access the API."}
	}
	return c, nil
}

func (s *Simulator) callerBySignature(r *http.Request, body []byte, projectID string) (caller, *rejection) {
	auth, ok := parseAuthorization(r.Header.Get("Authorization"))
	if !ok {
		return caller{}, unauthorized("APIGW.0305",
			"Incorrect authentication information: authorization header missing or malformed")
	}
	key, ids, found := s.findKey(auth.access, projectID)
	if !found {
		return caller{}, unknownKey(auth.access)
	}

	date := r.Header.Get("X-Sdk-Date")
	signedAt, err := time.Parse(dateLayout, date)
	if err != nil || !auth.signs("x-sdk-date") {
		return caller{}, incorrectIAM("x-sdk-date missing, malformed or not signed")
	}
	now := s.opts.Now()
	if now.Sub(signedAt).Abs() > dateTolerance {
		return caller{}, incorrectIAM(
			"signature expired, signature time:" + date + ",server time:" + now.UTC().Format(dateLayout))
	}

	request, ok := canonical(r, body, auth.signedHeaders)
	if !ok || !hmac.Equal([]byte(sign(request, date, key.Secret)), []byte(auth.signature)) {
		// Like the gateway, this returns signed headers that are secret. Clients must not log the message.
		return caller{}, unauthorized("APIGW.0301", "Incorrect IAM authentication information: verify aksk"+
			" signature fail, canonicalRequest:"+strings.ReplaceAll(request, "\n", "|"))
	}
	invalidToken := !auth.signs("x-security-token") || r.Header.Get("X-Security-Token") != key.SecurityToken
	expired := !key.Expires.IsZero() && !now.Before(key.Expires)
	if key.SecurityToken != "" && invalidToken || expired {
		return caller{}, outdatedToken()
	}
	return caller{access: auth.access, projectIDs: ids}, nil
}

// findKey prefers the key of projectID, because projects may have different secrets for one access key.
func (s *Simulator) findKey(access, projectID string) (key Key, ids []string, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.temporary[access]; t != nil {
		return t.Key, s.projectIDsOrAll(t.projects), true
	}
	for _, p := range s.projects {
		i := slices.IndexFunc(p.Keys, func(k Key) bool { return k.Access == access })
		if i < 0 {
			continue
		}
		if !found || p.ID == projectID {
			key = p.Keys[i]
		}
		ids, found = append(ids, p.ID), true
	}
	return key, ids, found
}
