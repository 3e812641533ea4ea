// SPDX-License-Identifier: Apache-2.0

package smallfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"css_vpcep_exporter/internal/smallfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(write("largest", smallfile.MaxSize), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		size int
		err  error
	}{
		write("empty", 0):                       {0, nil},
		link:                                    {smallfile.MaxSize, nil},
		write("too large", smallfile.MaxSize+1): {0, smallfile.ErrTooLarge},
		dir:                                     {0, smallfile.ErrNotRegular},
		os.DevNull:                              {0, smallfile.ErrNotRegular},
		filepath.Join(dir, "missing"):           {0, fs.ErrNotExist},
	} {
		content, err := smallfile.Read(path)
		if len(content) != want.size || !errors.Is(err, want.err) {
			t.Errorf("%s: got %d bytes, %v, want %d, %v", filepath.Base(path), len(content), err, want.size, want.err)
		}
	}
}

func TestReadByteOrderMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("\uFEFF\uFEFFtext"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := smallfile.Read(path); err != nil || string(got) != "\uFEFFtext" {
		t.Errorf("got %q, %v, want one mark removed", got, err)
	}
}
