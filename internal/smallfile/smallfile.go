// SPDX-License-Identifier: Apache-2.0

// Package smallfile reads files that an operator names, such as secrets: no pipes, which may block, and no devices.
package smallfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
)

// MaxSize is the maximum size of a file in bytes.
const MaxSize = 1 << 20

// Errors of Read.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("larger than 1 MiB")
)

// WithoutPath returns a file's error without its path, which may be a misplaced secret.
func WithoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Read returns the content of a regular file of at most MaxSize bytes, without a byte order mark at its start.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, ErrNotRegular
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err == nil && len(content) > MaxSize {
		return nil, ErrTooLarge
	}
	return bytes.TrimPrefix(content, []byte("\uFEFF")), err
}
