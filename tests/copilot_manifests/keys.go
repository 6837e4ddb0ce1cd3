package main

import (
	"encoding/json"
	"io"
	"reflect"
	"strings"

	"github.com/aws/copilot-cli/internal/pkg/manifest"
	"gopkg.in/yaml.v3"
)

// keys maps a key to those below it; "*" stands for any key, "**" for anything whatever. A leaf
// has none.
type keys map[string]keys

var (
	unmarshaler = reflect.TypeOf((*yaml.Unmarshaler)(nil)).Elem()
	node        = reflect.TypeOf(yaml.Node{})
)

// printKeys writes the keys of each kind of manifest, as the structs that Copilot reads them into
// have them.
func printKeys(out io.Writer) error {
	kinds := map[string]any{
		"Load Balanced Web Service": manifest.LoadBalancedWebService{},
		"Backend Service":           manifest.BackendService{},
		"Environment":               manifest.Environment{},
	}
	known := map[string]keys{}
	for kind, value := range kinds {
		known[kind] = keysOf(reflect.TypeOf(value))
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", " ")
	return encoder.Encode(known)
}

func keysOf(t reflect.Type) keys {
	if t == node {
		return keys{"**": {}}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keysOf(t.Elem())
	case reflect.Map:
		return keys{"*": keysOf(t.Elem())}
	case reflect.Struct:
		return keysOfStruct(t)
	}
	return keys{}
}

func keysOfStruct(t reflect.Type) keys {
	found := keys{}
	for i := range t.NumField() {
		field := t.Field(i)
		tag, tagged := field.Tag.Lookup("yaml")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case !field.IsExported() || name == "-":
		// Without a tag it is one of the shapes that a type with a reader of its own can have.
		case strings.Contains(options, "inline") || !tagged && reflect.PointerTo(t).Implements(unmarshaler):
			merge(found, keysOf(field.Type))
		case name == "":
			merge(found, keys{strings.ToLower(field.Name): keysOf(field.Type)})
		default:
			merge(found, keys{name: keysOf(field.Type)})
		}
	}
	return found
}

func merge(into, from keys) {
	for name, below := range from {
		if into[name] == nil {
			into[name] = keys{}
		}
		merge(into[name], below)
	}
}
