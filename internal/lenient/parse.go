// SPDX-License-Identifier: Apache-2.0

package lenient

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"time"

	"css_vpcep_exporter/internal/clean"
)

// ParseNumber parses a decimal number, but not 1_000, 0x1F, Inf and NaN as strconv does.
func ParseNumber(content []byte) (float64, bool) {
	value, err := strconv.ParseFloat(string(content), 64)
	if err != nil || bytes.ContainsAny(content, "_xXnN") {
		return 0, false
	}
	return value, true
}

// ParseCount parses a whole number of at least 0, of any size.
func ParseCount(content []byte) (float64, bool) {
	value, ok := ParseNumber(content)
	return math.Abs(value), ok && value >= 0 && value == math.Trunc(value) // not -0
}

const maxExact = 1 << 53

// ParseExactCount parses a whole number from 0 to 2^53.
func ParseExactCount(content []byte) (float64, bool) {
	if n, err := strconv.ParseUint(string(content), 10, 64); err == nil {
		return float64(n), n <= maxExact
	}
	value, ok := ParseCount(content)
	if !ok || len(content) > clean.MaxLength { // big.ParseFloat takes quadratic time
		return 0, false
	}
	// ParseCount has rounded 3000.0000000000000001 and 2^53 + 1.
	exact, _, err := big.ParseFloat(string(content), 10, 256, big.ToNearestEven)
	return value, err == nil && exact.IsInt() && exact.Cmp(big.NewFloat(maxExact)) <= 0
}

// ParseBool parses true and false, also as strings, which an older example has.
func ParseBool(content []byte) (value, ok bool) {
	lower := string(bytes.ToLower(content))
	return lower == "true", lower == "true" || lower == "false"
}

// ParseTime parses the forms of ISO 8601 that the APIs have shown. Without a zone, it is UTC.
func ParseTime(content []byte) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(layout, string(content)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
