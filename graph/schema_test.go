package graph_test

import (
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	"roster/graph"
)

// The descriptions are part of the product: every type, field, argument and enum
// value has one.
func TestEverythingIsDescribed(t *testing.T) {
	schema := graph.NewExecutableSchema(graph.Config{}).Schema()
	var described int
	check := func(name, description string) {
		described++
		if strings.TrimSpace(description) == "" {
			t.Errorf("%s has no description", name)
		}
	}
	for name, definition := range schema.Types {
		if definition.BuiltIn {
			continue
		}
		check(name, definition.Description)
		for _, field := range definition.Fields {
			if strings.HasPrefix(field.Name, "__") {
				continue
			}
			check(name+"."+field.Name, field.Description)
			for _, argument := range field.Arguments {
				check(name+"."+field.Name+"("+argument.Name+")", argument.Description)
			}
		}
		for _, value := range definition.EnumValues {
			check(name+"."+value.Name, value.Description)
		}
	}
	if described < 100 {
		t.Errorf("only %d descriptions were looked at", described)
	}
}

// What GraphQL clients' caches need: an id on every type that is a node, and
// none of our types without a way to tell two of its kind apart.
func TestEntitiesHaveKeys(t *testing.T) {
	schema := graph.NewExecutableSchema(graph.Config{}).Schema()
	for _, name := range []string{"Customer", "User", "Subrole", "Authority"} {
		field := schema.Types[name].Fields.ForName("id")
		if field == nil || !field.Type.NonNull {
			t.Errorf("%s has no id: ID!", name)
		}
	}
	for _, name := range []string{"UserConnection", "UserEdge", "PageInfo", "Viewer"} {
		if schema.Types[name].Fields.ForName("id") != nil {
			t.Errorf("%s has an id, which caches would take for a key", name)
		}
	}
	if schema.Types["Node"].Kind != ast.Interface || len(schema.GetPossibleTypes(schema.Types["Node"])) != 3 {
		t.Error("Node is not the interface of three types")
	}
}
