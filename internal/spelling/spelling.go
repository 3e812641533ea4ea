// SPDX-License-Identifier: Apache-2.0

// Package spelling finds what a misspelled word may mean.
package spelling

// Nearest returns the candidate with the smallest edit distance up to 2, or "".
func Nearest(s string, candidates []string) string {
	found, least := "", 3
	for _, c := range candidates {
		if abs := max(len(c)-len(s), len(s)-len(c)); abs >= least {
			continue // the distance is at least abs
		}
		if n := distance(s, c); n < least && n < len(c) {
			found, least = c, n
		}
	}
	return found
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
