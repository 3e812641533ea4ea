// SPDX-License-Identifier: Apache-2.0

// Command manifests checks Kubernetes objects for deploy/check. It is a module of its own to keep Kubernetes out of the
// exporter's dependencies.
//
//	manifests decode FILE…           decodes every object strictly: an unknown or repeated field is an error
//	manifests schemas SWAGGER DIR    writes strict JSON schemas for kubeconform from Kubernetes' OpenAPI file
//	manifests data FILE KIND KEY DIR writes data[KEY] of every object of the kind to DIR/<name>; the KEY * writes
//	                                 every key to a file of that name
//	manifests rules FILE RULES…      compares the groups of the PrometheusRules in FILE with those in Prometheus rule files
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

var errUsage = errors.New("usage: manifests decode FILE… | schemas SWAGGER DIR | data FILE KIND KEY DIR | rules FILE RULES…")

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
	case len(args) == 3 && args[0] == "schemas":
		return schemas(args[1], args[2])
	case len(args) == 5 && args[0] == "data":
		return data(args[1], args[2], args[3], args[4])
	case len(args) > 2 && args[0] == "rules":
		return rules(args[1], args[2:])
	}
	return errUsage
}

// documents returns the objects of a file as JSON, without empty documents.
func documents(file string) ([][]byte, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the caller names the files
	if err != nil {
		return nil, err
	}
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var list [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		object, err := yamlstrict.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if !bytes.Equal(object, []byte("null")) {
			list = append(list, object)
		}
	}
}

// decodeAll decodes every object of the files and returns all errors.
func decodeAll(files []string, out io.Writer) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
		monitoringv1.AddToScheme, monitoringv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var invalid []error
	count := 0
	for _, file := range files {
		objects, err := documents(file)
		if err != nil {
			return err
		}
		if len(objects) == 0 {
			invalid = append(invalid, fmt.Errorf("%s contains no objects", file))
		}
		for _, object := range objects {
			count++
			if _, kind, err := decoder.Decode(object, nil, nil); err != nil {
				invalid = append(invalid, fmt.Errorf("%s: %v: %w", file, kind, err))
			}
		}
	}
	if len(invalid) == 0 {
		fmt.Fprintf(out, "%d objects\n", count)
	}
	return errors.Join(invalid...)
}

// data writes values of ConfigMaps or Secrets to files.
func data(file, kind, key, dir string) error {
	objects, err := documents(file)
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
		if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // the caller names the files
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
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o600); err != nil { //nolint:gosec // the caller names the files
				return err
			}
		}
	}
	return nil
}

var errOtherRules = errors.New("the PrometheusRules differ from the rule files; run deploy/helm/sync")

// rules fails unless the PrometheusRules in a file have exactly the groups of the rule files, in order.
func rules(file string, files []string) error {
	type groups struct{ Groups []any }
	var want, got groups
	for _, name := range files {
		content, err := os.ReadFile(name) //nolint:gosec // the caller names the files
		if err != nil {
			return err
		}
		var g groups
		if err := yamlstrict.Unmarshal(content, &g); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		want.Groups = append(want.Groups, g.Groups...)
	}
	objects, err := documents(file)
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

// definition is a schema or a part of one.
type definition = map[string]any

// schemas writes DIR/<kind>-<group>-<version>.json for every kind, with references resolved, as kubeconform expects.
func schemas(swagger, dir string) error {
	content, err := os.ReadFile(swagger) //nolint:gosec // the caller names the files
	if err != nil {
		return err
	}
	var api struct{ Definitions map[string]definition }
	if err := json.Unmarshal(content, &api); err != nil {
		return fmt.Errorf("%s: %w", swagger, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // the caller names the files
		return err
	}
	for name, d := range api.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 || strings.Contains(name, "apiextensions") { // query options, and recursive schemas
			continue
		}
		kind, _ := kinds[0].(map[string]any)
		group, _, _ := strings.Cut(fmt.Sprint(kind["group"]), ".")
		file := strings.ToLower(fmt.Sprint(kind["kind"]))
		if group != "" {
			file += "-" + group
		}
		file += fmt.Sprintf("-%v.json", kind["version"])
		schema, err := json.Marshal(strict(d, api.Definitions))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), schema, 0o600); err != nil { //nolint:gosec // the caller names the files
			return err
		}
	}
	return nil
}

// strict returns the definition with references resolved and unknown fields disallowed.
func strict(d definition, all map[string]definition) definition {
	if ref, ok := d["$ref"].(string); ok {
		return strict(all[strings.TrimPrefix(ref, "#/definitions/")], all)
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
		result["items"] = strict(items, all)
	}
	if values, ok := d["additionalProperties"].(map[string]any); ok {
		result["additionalProperties"] = strict(values, all)
	}
	if properties, ok := d["properties"].(map[string]any); ok {
		closed := definition{}
		for name, p := range properties {
			part, _ := p.(map[string]any)
			closed[name] = strict(part, all)
		}
		result["properties"], result["additionalProperties"] = closed, false
	}
	return result
}
