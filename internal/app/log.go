// SPDX-License-Identifier: Apache-2.0

package app

import (
	"io"
	"log/slog"
	"strings"

	"css_vpcep_exporter/internal/clean"

	"github.com/go-kit/log"
	sloggokit "github.com/tjhop/slog-gokit"
)

func newLogger(w io.Writer, level, format string) *slog.Logger {
	w = log.NewSyncWriter(printableLines{w})
	writer := log.NewLogfmtLogger(w)
	if format == "json" {
		writer = log.NewJSONLogger(w)
	}
	var threshold slog.Level
	_ = threshold.UnmarshalText([]byte(level)) // the flag is an enum
	return slog.New(sloggokit.NewGoKitHandler(writer, threshold))
}

// printableLines escapes text of the API and the file, so that it cannot control a terminal.
type printableLines struct{ io.Writer }

func (w printableLines) Write(line []byte) (int, error) {
	_, err := io.WriteString(w.Writer, clean.Escape(strings.TrimSuffix(string(line), "\n"))+"\n")
	return len(line), err
}
