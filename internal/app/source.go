// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"

	"css_vpcep_exporter/config"
	"css_vpcep_exporter/internal/commandline"
	"css_vpcep_exporter/internal/yamlfile"
)

// source is where the configuration comes from. Both functions give up when the program is told to exit.
type source struct {
	read  func() snapshot
	parse func(snapshot) (*config.Config, error)
}

// snapshot is what reading the configuration file returned.
type snapshot struct {
	content []byte
	err     error
}

// id differs if the content or the error does.
func (s snapshot) id() string {
	if s.err != nil {
		return s.err.Error()
	}
	hash := sha256.Sum256(s.content)
	return string(hash[:])
}

// newSource returns the configuration file.
func newSource(ctx context.Context, f *commandline.Flags, env config.Environment) source {
	parse := config.Parse
	if f.SyntaxOnly {
		parse = config.ParseSyntax
	}
	return source{
		read: func() snapshot {
			content, err := interruptible(ctx, func() ([]byte, error) { return readFile(f) })
			return snapshot{content, err}
		},
		parse: func(s snapshot) (*config.Config, error) {
			if s.err != nil {
				return nil, s.err
			}
			return interruptible(ctx, func() (*config.Config, error) { return parse(f.ConfigFile, s.content, env) })
		},
	}
}

func readFile(f *commandline.Flags) ([]byte, error) {
	if info, err := os.Stat(f.ConfigFile); err == nil && f.WatchesFile() && !info.Mode().IsRegular() {
		// A pipe, for example, can be read only once.
		return nil, yamlfile.Errors{{File: f.ConfigFile, Message: "cannot watch the file: it is not a regular file"}}
	}
	return config.Read(f.ConfigFile)
}

var errInterrupted = errors.New("interrupted while loading the configuration")

// interruptible calls f, but gives up when ctx ends: a pipe or a network file system may block forever.
func interruptible[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = f()
	}()
	select {
	case <-done:
		return result, err
	case <-ctx.Done():
		return *new(T), errInterrupted
	}
}
