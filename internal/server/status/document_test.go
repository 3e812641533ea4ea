// SPDX-License-Identifier: Apache-2.0

package status

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// jsonFields returns a row "| `name` | type" for each field of t and of what it holds, in order. The fields of a type that
// is used twice are described once.
func jsonFields(t reflect.Type, prefix string, described map[reflect.Type]bool) (rows []string) {
	if described[t] {
		return nil
	}
	described[t] = true
	for f := range t.Fields() {
		name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			rows = append(rows, jsonFields(f.Type, prefix, described)...)
			continue
		}
		if name == "" {
			continue
		}
		fieldType := f.Type
		if fieldType.Kind() == reflect.Pointer {
			fieldType = fieldType.Elem()
		}
		kind, content := "number", []string(nil)
		switch {
		case fieldType == reflect.TypeFor[time.Time]():
			kind = "time"
		case fieldType.Kind() == reflect.String:
			kind = "text"
		case fieldType.Kind() == reflect.Bool:
			kind = "boolean"
		case fieldType.Kind() == reflect.Map:
			kind = "numbers by name"
		case fieldType.Kind() == reflect.Struct:
			kind, content = "object", jsonFields(fieldType, prefix+name+".", described)
		case fieldType.Kind() == reflect.Slice && fieldType.Elem().Kind() == reflect.Struct:
			kind, content = "list", jsonFields(fieldType.Elem(), prefix+name+"[].", described)
		case fieldType.Kind() == reflect.Slice:
			kind = "list of text"
		}
		if tagged && strings.HasPrefix(options, "omit") {
			kind += ", optional"
		}
		rows = append(rows, "| `"+prefix+name+"` | "+kind)
		rows = append(rows, content...)
	}
	return rows
}

func TestTheDocumentListsEveryFieldOfTheJSON(t *testing.T) {
	page, err := os.ReadFile("../../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The JSON of `/status`\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := regexp.MustCompile("(?m)^\\| `[^`]+` \\| [^|]+\\b").FindAllString(section, -1)
	if diff := cmp.Diff(jsonFields(reflect.TypeFor[view](), "", map[reflect.Type]bool{}), documented); diff != "" {
		t.Errorf("fields of the program (-) and of docs/http.md (+):\n%s", diff)
	}
}
