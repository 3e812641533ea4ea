// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keyPaths returns the paths of all keys below a mapping, such as projects[].region.
func keyPaths(mapping reflect.Type, prefix string) (paths []string) {
	for f := range mapping.Fields() {
		path := prefix + f.Tag.Get("yaml")
		value, _ := f.Type.FieldByName("Value")
		content := value.Type
		if content.Kind() == reflect.Slice {
			item, _ := content.Elem().FieldByName("Value")
			if content = item.Type; content.Kind() == reflect.Struct {
				paths = append(paths, keyPaths(content, path+"[].")...)
			}
		} else if content.Kind() == reflect.Struct && content.NumField() > 0 && content.Field(0).Tag.Get("yaml") != "" {
			paths = append(paths, keyPaths(content, path+".")...)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestTheDocumentListsEveryKey(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z][a-z_.\\[\\]]*)` \\| ").FindAllSubmatch(page, -1) {
		documented = append(documented, string(row[1]))
	}
	slices.Sort(documented)
	want := keyPaths(reflect.TypeFor[fileKeys](), "")
	slices.Sort(want)
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("keys of the program (-) and of docs/configuration.md (+):\n%s", diff)
	}
}
