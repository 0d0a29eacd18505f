package graph

import (
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// tooManyErrors ends a validation early. It holds the errors found until then.
type tooManyErrors struct{ list gqlerror.List }

// boundedRules are gqlparser's rules, ended by a panic with tooManyErrors once
// there are more errors than an answer lists. Without it, 160 pairs of fields in
// conflict make 25,600 errors in half a second, of which ten are shown.
func boundedRules() *rules.Rules {
	var found gqlerror.List
	bounded := rules.NewDefaultRules()
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
