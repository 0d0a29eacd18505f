package graph

import (
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"roster/models"
)

// tooManyErrors ends a validation early. It holds the errors found until then.
type tooManyErrors struct{ list gqlerror.List }

// validationRules are gqlparser's rules, and what they leave out.
func validationRules() *rules.Rules {
	list := rules.NewDefaultRules()
	list.AddRule("EmptyObjects", refuseEmptyObjects)
	list.AddRule("FragmentVariables", refuseFragmentVariables)
	list.AddRule("TypeName", typeNameIsNeverNull)
	return list
}

// boundedRules are the rules, ended by a panic with tooManyErrors once
// there are more errors than an answer lists. Without it, 160 pairs of fields in
// conflict make 25,600 errors in half a second, of which ten are shown.
func boundedRules() *rules.Rules {
	var found gqlerror.List
	bounded := validationRules()
	for name, rule := range bounded.GetInner() {
		bounded.ReplaceRule(name, func(observers *core.Events, report core.AddErrFunc) {
			rule(observers, func(options ...core.ErrorOption) {
				err := &gqlerror.Error{Rule: name}
				for _, option := range options {
					option(err)
				}
				found = append(found, err)
				if len(found) > maxErrors {
					panic(tooManyErrors{found})
				}
				report(options...)
			})
		})
	}
	return bounded
}

// refuseEmptyObjects refuses {} for what is no input object. gqlparser's own rule looks
// at the fields of an object, of which this one has none (GraphQL, 5.6.1).
func refuseEmptyObjects(observers *core.Events, report core.AddErrFunc) {
	observers.OnValue(func(_ *core.Walker, value *ast.Value) {
		wanted := value.Definition
		if value.Kind == ast.ObjectValue && len(value.Children) == 0 && wanted != nil && wanted.Kind != ast.InputObject {
			report(core.Message("Expected value of type %q, found {}.", wanted.Name), core.At(value.Position))
		}
	})
}

// refuseFragmentVariables refuses variables that a fragment defines, which gqlparser reads
// and nobody heeds (GraphQL, 2.8).
func refuseFragmentVariables(observers *core.Events, report core.AddErrFunc) {
	observers.OnFragment(func(_ *core.Walker, fragment *ast.FragmentDefinition) {
		for _, variable := range fragment.VariableDefinition {
			report(core.Message("Fragment %q cannot define the variable \"$%s\".", fragment.Name, variable.Variable), core.At(variable.Position))
		}
	})
}

// typeNameIsNeverNull has __typename be a String! (GraphQL, 4.2.1). gqlparser takes it for a
// String, which is in conflict with a String! of another type.
func typeNameIsNeverNull(observers *core.Events, _ core.AddErrFunc) {
	observers.OnField(func(_ *core.Walker, field *ast.Field) {
		if field.Name == "__typename" && field.Definition != nil {
			field.Definition.Type = ast.NonNullNamedType("String", nil)
		}
	})
}

// checkValues refuses what validation lets through and what gqlgen would take
// for impossible: an argument that cannot be read, such as a Long of 30 digits,
// and a condition of @skip or @include that a variable makes null. Fragments that
// were seen are not looked into again.
func checkValues(set ast.SelectionSet, variables map[string]any, seen map[string]bool) error {
	for _, selection := range set {
		var (
			directives ast.DirectiveList
			children   ast.SelectionSet
		)
		switch selection := selection.(type) {
		case *ast.Field:
			for _, argument := range selection.Arguments {
				if _, err := argument.Value.Value(variables); err != nil {
					return models.Errorf(models.CodeBadUserInput, "%s: a number is out of range: it takes more than 64 bits", argument.Name)
				}
			}
			directives, children = selection.Directives, selection.SelectionSet
		case *ast.InlineFragment:
			directives, children = selection.Directives, selection.SelectionSet
		case *ast.FragmentSpread:
			directives = selection.Directives
			if !seen[selection.Name] {
				seen[selection.Name] = true
				children = selection.Definition.SelectionSet
			}
		}
		if err := checkConditions(directives, variables); err != nil {
			return err
		}
		if err := checkValues(children, variables, seen); err != nil {
			return err
		}
	}
	return nil
}

func checkConditions(directives ast.DirectiveList, variables map[string]any) error {
	for _, directive := range directives {
		for _, argument := range directive.Arguments {
			value, err := argument.Value.Value(variables)
			if _, ok := value.(bool); err != nil || !ok {
				return models.Errorf(models.CodeBadUserInput, "@%s(%s:) needs true or false", directive.Name, argument.Name)
			}
		}
	}
	return nil
}
