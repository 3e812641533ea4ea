// SPDX-License-Identifier: Apache-2.0

// Command manifests checks Kubernetes objects for deploy/check. It is a separate module to keep Kubernetes out of the
// exporter's dependencies.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	yamlstrict "sigs.k8s.io/yaml"
)

var errUsage = errors.New(`usage: manifests COMMAND
  decode FILE…            reject objects with unknown or repeated fields
  relations FILE          reject selectors that select nothing, and timeouts above the interval
  schemas SWAGGER DIR     write strict JSON schemas for kubeconform from Kubernetes' OpenAPI file
  data FILE KIND KEY DIR  write data[KEY] of each object of the kind to DIR/<object>; the KEY * writes all to DIR/<key>
  rules FILE RULES…       compare the PrometheusRules in FILE with Prometheus rule files`)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) > 1 && args[0] == "decode":
		return decodeAll(args[1:], out)
	case len(args) == 2 && args[0] == "relations":
		return checkRelations(args[1], out)
	case len(args) == 3 && args[0] == "schemas":
		return writeSchemas(args[1], args[2])
	case len(args) == 5 && args[0] == "data":
		return writeData(args[1], args[2], args[3], args[4])
	case len(args) > 2 && args[0] == "rules":
		return compareRules(args[1], args[2:])
	}
	return errUsage
}

// readObjects returns the objects of a file as JSON.
func readObjects(file string) ([][]byte, error) {
	content, err := os.ReadFile(file) //nolint:gosec // from the arguments
	if err != nil {
		return nil, err
	}
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var objects [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		object, err := yamlstrict.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if !bytes.Equal(object, []byte("null")) { // an empty document
			objects = append(objects, object)
		}
	}
}

// decodeFile returns the objects of a file, and the errors of all.
func decodeFile(file string) ([]runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
		monitoringv1.AddToScheme, monitoringv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents, err := readObjects(file)
	if err != nil {
		return nil, err
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("%s contains no objects", file)
	}
	var objects []runtime.Object
	var invalid []error
	for _, document := range documents {
		object, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			invalid = append(invalid, fmt.Errorf("%s: %v: %w", file, kind, err))
		}
		objects = append(objects, object)
	}
	return objects, errors.Join(invalid...)
}

// decodeAll returns the errors of all objects.
func decodeAll(files []string, out io.Writer) error {
	var invalid []error
	count := 0
	for _, file := range files {
		objects, err := decodeFile(file)
		if err != nil {
			invalid = append(invalid, err)
		}
		count += len(objects)
	}
	if len(invalid) == 0 {
		fmt.Fprintf(out, "%d objects\n", count)
	}
	return errors.Join(invalid...)
}

func writeData(file, kind, key, dir string) error {
	objects, err := readObjects(file)
	if err != nil {
		return err
	}
	for _, object := range objects {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := json.Unmarshal(object, &o); err != nil || o.Kind != kind {
			continue // an object of another kind may not decode
		}
		if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // from the arguments
			return err
		}
		files := map[string]string{}
		switch text, ok := o.Data[key]; {
		case key == "*":
			files = o.Data
		case ok:
			files[o.Metadata.Name] = text
		}
		for name, text := range files {
			if err := writeFile(dir, filepath.Base(name), []byte(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFile(dir, name string, content []byte) error {
	return os.WriteFile(filepath.Join(dir, name), content, 0o600) //nolint:gosec // from the arguments
}

var errOtherRules = errors.New("the PrometheusRules differ from the rule files; run deploy/helm/sync")

// compareRules fails unless the PrometheusRules in a file have exactly the groups of the rule files, in order.
func compareRules(file string, ruleFiles []string) error {
	type groups struct{ Groups []any }
	var want, got groups
	for _, name := range ruleFiles {
		content, err := os.ReadFile(name) //nolint:gosec // from the arguments
		if err != nil {
			return err
		}
		var g groups
		if err := yamlstrict.Unmarshal(content, &g); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		want.Groups = append(want.Groups, g.Groups...)
	}
	objects, err := readObjects(file)
	if err != nil {
		return err
	}
	for _, object := range objects {
		var o struct {
			Kind string
			Spec groups
		}
		if err := json.Unmarshal(object, &o); err == nil && o.Kind == "PrometheusRule" {
			got.Groups = append(got.Groups, o.Spec.Groups...)
		}
	}
	if len(want.Groups) == 0 || !reflect.DeepEqual(got, want) {
		return errOtherRules
	}
	return nil
}

type definition = map[string]any

// writeSchemas writes a file for each kind, with the name and the resolved references that kubeconform expects.
func writeSchemas(swagger, dir string) error {
	content, err := os.ReadFile(swagger) //nolint:gosec // from the arguments
	if err != nil {
		return err
	}
	var api struct{ Definitions map[string]definition }
	if err := json.Unmarshal(content, &api); err != nil {
		return fmt.Errorf("%s: %w", swagger, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // from the arguments
		return err
	}
	for name, d := range api.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 || strings.Contains(name, "apiextensions") { // query options; recursive schemas
			continue
		}
		kind, _ := kinds[0].(map[string]any)
		group, _, _ := strings.Cut(fmt.Sprint(kind["group"]), ".")
		file := strings.ToLower(fmt.Sprint(kind["kind"]))
		if group != "" {
			file += "-" + group
		}
		file += fmt.Sprintf("-%v.json", kind["version"])
		schema, err := json.Marshal(strictSchema(d, api.Definitions))
		if err != nil {
			return err
		}
		if err := writeFile(dir, file, schema); err != nil {
			return err
		}
	}
	return nil
}

// strictSchema resolves references and disallows unknown fields.
func strictSchema(d definition, definitions map[string]definition) definition {
	if ref, ok := d["$ref"].(string); ok {
		return strictSchema(definitions[strings.TrimPrefix(ref, "#/definitions/")], definitions)
	}
	description, _ := d["description"].(string)
	switch {
	case d["format"] == "int-or-string":
		return definition{"type": []string{"integer", "string"}}
	case strings.HasPrefix(description, "Quantity is"):
		return definition{"type": []string{"number", "string"}}
	}
	result := definition{}
	for _, key := range []string{"type", "required", "enum"} {
		if v, ok := d[key]; ok {
			result[key] = v
		}
	}
	if items, ok := d["items"].(map[string]any); ok {
		result["items"] = strictSchema(items, definitions)
	}
	if values, ok := d["additionalProperties"].(map[string]any); ok {
		result["additionalProperties"] = strictSchema(values, definitions)
	}
	if properties, ok := d["properties"].(map[string]any); ok {
		strictProperties := definition{}
		for name, p := range properties {
			property, _ := p.(map[string]any)
			strictProperties[name] = strictSchema(property, definitions)
		}
		result["properties"], result["additionalProperties"] = strictProperties, false
	}
	return result
}
