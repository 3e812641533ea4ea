// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"bytes"
	"strings"
	"testing"
)

func TestManPage(t *testing.T) {
	t.Parallel()
	var f Flags
	var out bytes.Buffer
	app := New(&f).UsageWriter(&out)
	context, err := app.ParseContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.UsageForContextWithTemplate(context, 2, ManPage); err != nil {
		t.Fatal(err)
	}
	page := out.String()

	lines := strings.Split(page, "\n")
	for _, flag := range app.Model().Flags {
		option := `.B \-\-` + roff(flag.Name)
		switch {
		case flag.Name == "help":
			option = `.B \-h, \-\-[no\-]help`
		case flag.IsBoolFlag():
			option = `.B \-\-[no\-]` + roff(flag.Name)
		}
		found := strings.Contains(page, "\n"+option+"\n") || strings.Contains(page, "\n"+option+"=")
		if found == flag.Hidden {
			t.Errorf("--%s: found %t, hidden %t", flag.Name, found, flag.Hidden)
		}
		if flag.Envar != "" && !flag.Hidden && !strings.Contains(page, "\n.B "+flag.Envar+"\n") {
			t.Errorf("--%s: the variable %s is missing", flag.Name, flag.Envar)
		}
	}
	for i, line := range lines[1:] {
		if strings.TrimSpace(line) == "" && i < len(lines)-2 {
			t.Errorf("line %d is empty, which a man page shows as a gap", i+2)
		}
		if strings.HasPrefix(line, "'") {
			t.Errorf("line %d is an unknown request: %s", i+2, line)
		}
	}
}

func TestRoff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"--config.file":   `\-\-config.file`,
		".TH\n.SH 'x'":    `\&.TH` + "\n" + `\&.SH \(aqx\(aq`,
		"`:9100` C:\\x ~": `\(ga:9100\(ga C:\ex \(ti`,
	} {
		if got := roff(text); got != want {
			t.Errorf("roff(%q) = %q, want %q", text, got, want)
		}
	}
}
