// SPDX-License-Identifier: Apache-2.0

// Command notice prints the file NOTICE: the modules that the released binaries contain, with their licenses and
// notices. Run it at the root of the repository: go run ./test/notice >NOTICE
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	notice, err := generate(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(notice)
}

// platforms returns those of .goreleaser.yaml, because each has its own modules.
func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}
}

const (
	apache = "Apache-2.0"
	// standardLibrary is listed with golang.org/x/sys, which has the same license, because some packages of Go come
	// without that file.
	standardLibrary     = "Go standard library"
	likeStandardLibrary = "golang.org/x/sys"

	endOfTerms = "END OF TERMS AND CONDITIONS"
	separator  = "\n--------------------------------------------------------------------------------\n\n"
	header     = `css_vpcep_exporter is licensed under the Apache License, Version 2.0; its text is
in the file LICENSE. The binaries contain the following software of others, each
under its own license. To generate this file: go run ./test/notice >NOTICE
`
)

// text is the content of a license or notice file.
type text struct{ license, content string }

// generate returns the content of NOTICE for the program in root.
func generate(root string) (string, error) {
	own, err := fs.ReadFile(os.DirFS(root), "LICENSE")
	if err != nil {
		return "", err
	}
	owners := make(map[text][]string)
	files := make(map[string]bool)
	for _, platform := range platforms() {
		dirs, err := packageDirs(root, platform)
		if err != nil {
			return "", err
		}
		for _, dir := range dirs {
			if err := dir.addTexts(string(own), files, owners); err != nil {
				return "", err
			}
		}
	}
	return format(owners), nil
}

// packageDir is the directory of a package, and the one of its module.
type packageDir struct{ dir, moduleDir, module string }

// packageDirs lists the packages of other modules that the program has on a platform.
func packageDirs(root, platform string) ([]packageDir, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{$.Dir}}\t{{.Dir}}\t{{.Path}}{{end}}{{end}}", ".")
	list.Dir = root
	list.Stderr = os.Stderr
	goos, goarch, _ := strings.Cut(platform, "/")
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", platform, err)
	}
	var dirs []packageDir
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 3 {
			dirs = append(dirs, packageDir{dir: fields[0], moduleDir: fields[1], module: fields[2]})
		}
	}
	return dirs, nil
}

// textFile matches the names of files that have to be distributed with a program.
var textFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// addTexts adds the texts that apply to a package: those in its directory and the ones above, up to its module's.
func (p packageDir) addTexts(own string, files map[string]bool, owners map[text][]string) error {
	licensed := false
	for dir := p.dir; ; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			file := filepath.Join(dir, entry.Name())
			if !textFile.MatchString(entry.Name()) || strings.HasSuffix(file, ".go") || !entry.Type().IsRegular() {
				continue
			}
			licensed = true
			if files[file] {
				continue
			}
			files[file] = true
			content, err := fs.ReadFile(os.DirFS(dir), entry.Name())
			if err != nil {
				return err
			}
			found, err := classify(entry.Name(), string(content), own)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			owner := p.module + strings.TrimPrefix(filepath.ToSlash(dir), filepath.ToSlash(p.moduleDir))
			owners[found] = append(owners[found], owner)
			if owner == likeStandardLibrary {
				owners[found] = append(owners[found], standardLibrary)
			}
		}
		if dir == p.moduleDir {
			break
		}
	}
	if !licensed {
		return fmt.Errorf("%s has no license file", p.module)
	}
	return nil
}

// classify returns the license of a text, and what of the text has to be repeated in NOTICE. It fails for a license
// that nobody has decided about yet.
func classify(name, content, own string) (text, error) {
	content = strings.Trim(strings.ReplaceAll(content, "\r\n", "\n"), "\n")
	words := strings.Join(strings.Fields(content), " ")
	bsd := strings.Contains(words, "Redistribution and use in source and binary forms")
	switch {
	case strings.HasPrefix(strings.ToLower(name), "notice"):
		return text{"Notice", content}, nil
	case strings.HasPrefix(strings.ToLower(name), "patents"):
		return text{"Patent grant", content}, nil
	case apacheTerms(content) == apacheTerms(own):
		return text{apache, apacheCopyright(content)}, nil
	case bsd && strings.Contains(words, "Apache License Version 2.0"):
		return text{"BSD-3-Clause and, for parts, Apache-2.0 or MIT", content}, nil
	case bsd && strings.Contains(words, "Neither the name"):
		return text{"BSD-3-Clause", content}, nil
	case strings.Contains(words, "Permission is hereby granted, free of charge, to any person obtaining a copy"):
		return text{"MIT", content}, nil
	}
	return text{}, errors.New("unknown license")
}

// apacheTerms returns the terms of the Apache License without line breaks and the letters of its list, which some files
// lack. For other licenses it returns "".
func apacheTerms(content string) string {
	terms, _, found := strings.Cut(content, endOfTerms)
	words := strings.Join(slices.DeleteFunc(strings.Fields(terms), listLetter.MatchString), " ")
	if !found || !strings.HasPrefix(words, "Apache License Version 2.0") {
		return ""
	}
	return words
}

var listLetter = regexp.MustCompile(`^\([a-d]\)$`)

var copyrightLine = regexp.MustCompile(`(?m)^ *(Copyright \d.*)$`)

// apacheCopyright returns the copyright lines of the appendix. In most files they are placeholders.
func apacheCopyright(content string) string {
	_, appendix, _ := strings.Cut(content, endOfTerms)
	var lines []string
	for _, match := range copyrightLine.FindAllStringSubmatch(appendix, -1) {
		lines = append(lines, match[1])
	}
	return strings.Join(lines, "\n")
}

// format writes a section for each text, in the order of the licenses. Texts of the Apache License have no sections of
// their own, because LICENSE has the terms.
func format(owners map[text][]string) string {
	for t := range owners {
		slices.Sort(owners[t])
	}
	texts := slices.SortedFunc(maps.Keys(owners), func(a, b text) int {
		return cmp.Or(cmp.Compare(a.license, b.license), slices.Compare(owners[a], owners[b]))
	})
	var out strings.Builder
	out.WriteString(header)
	for _, t := range texts {
		license := t.license
		if license == apache {
			license += ", the terms of which are in the file LICENSE"
		}
		fmt.Fprintf(&out, "%s%s\n\n  %s\n", separator, license, strings.Join(owners[t], "\n  "))
		if t.content != "" {
			fmt.Fprintf(&out, "\n%s\n", t.content)
		}
	}
	return out.String()
}
