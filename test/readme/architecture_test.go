// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "css_vpcep_exporter/"

// TestArchitecture compares the table of packages in docs/architecture.md with the imports of the code.
func TestArchitecture(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| .* \\| ?(.*?) ?\\|$").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = strings.ReplaceAll(row[2], "`", "")
	}
	if diff := cmp.Diff(documented, packages(t)); diff != "" {
		t.Errorf("docs/architecture.md (-) and the code (+) differ:\n%s", diff)
	}
}

// packages returns the project's imports of each package below collector, config and internal.
func packages(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	root := os.DirFS("../..")
	for _, dir := range []string{"collector", "config", "internal"} {
		err := fs.WalkDir(root, dir, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			imports := strings.Split(found[path.Dir(name)], ", ")
			file, err := parser.ParseFile(token.NewFileSet(), "../../"+name, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range file.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				if local, ok := strings.CutPrefix(imported, module); ok {
					imports = append(imports, local)
				}
			}
			slices.Sort(imports)
			found[path.Dir(name)] = strings.TrimPrefix(strings.Join(slices.Compact(imports), ", "), ", ")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
