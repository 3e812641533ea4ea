// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNoticeIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	// go test does not see what go list reads, and would not run this test again after an update of the modules.
	if _, err := os.ReadFile("../../go.sum"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("NOTICE (+) is not current; run go run ./test/notice >NOTICE:\n%s", diff)
	}
}

// TestPlatforms compares platforms with .goreleaser.yaml.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list := func(key string) []string {
		match := regexp.MustCompile(`(?m)^    ` + key + `: \[(.*)\]$`).FindSubmatch(file)
		if match == nil {
			t.Fatalf(".goreleaser.yaml has no list %s", key)
		}
		return strings.Split(string(match[1]), ", ")
	}
	var want []string
	for _, goos := range list("goos") {
		for _, goarch := range list("goarch") {
			if !strings.Contains(string(file), "- {goos: "+goos+", goarch: "+goarch+"}") {
				want = append(want, goos+"/"+goarch)
			}
		}
	}
	if diff := cmp.Diff(want, platforms()); diff != "" {
		t.Errorf("platforms (-.goreleaser.yaml +platforms):\n%s", diff)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	own := "Apache License\nVersion 2.0\nthe terms\n" + endOfTerms + "\nCopyright [yyyy] [name]\n"
	const (
		bsd = "Copyright (c) Someone\n\nRedistribution and use in source and binary\nforms\n"
		mit = "Permission is hereby granted, free of charge, to any\nperson obtaining a copy\n"
	)
	for _, test := range []struct {
		name, file, content string
		want                text
		wantErr             bool
	}{
		{name: "Apache", file: "LICENSE", content: own, want: text{"Apache-2.0", ""}},
		{
			name:    "Apache with a copyright",
			file:    "LICENSE",
			content: "Apache License Version 2.0\n  the terms " + endOfTerms + "\n   Copyright 2025 Someone\n",
			want:    text{"Apache-2.0", "Copyright 2025 Someone"},
		},
		{
			name:    "Apache with other terms",
			file:    "LICENSE",
			content: strings.Replace(own, "the terms", "my terms", 1),
			wantErr: true,
		},
		{
			name:    "BSD",
			file:    "LICENSE.md",
			content: bsd + "Neither the name",
			want:    text{"BSD-3-Clause", bsd + "Neither the name"},
		},
		{name: "BSD without the third clause", file: "LICENSE", content: bsd, wantErr: true},
		{name: "MIT", file: "COPYING", content: "\n" + mit, want: text{"MIT", strings.TrimSuffix(mit, "\n")}},
		{name: "notice", file: "NOTICE", content: "By Someone\r\nin 2025\n", want: text{"Notice", "By Someone\nin 2025"}},
		{name: "unknown", file: "LICENSE", content: "GNU GENERAL PUBLIC LICENSE", wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := classify(test.file, test.content, own)
			if (err != nil) != test.wantErr {
				t.Errorf("error %v, want an error: %t", err, test.wantErr)
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestTextFile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"LICENSE": true, "LICENSE.txt": true, "license.md": true, "LICENCE": true, "LICENSE-MIT": true,
		"LICENSE.libyaml": true, "COPYING": true, "NOTICE": true, "PATENTS": true, "README.md": false, "notices_test": false,
	} {
		if got := textFile.MatchString(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}
