package rest

import "roster/models"

// Patterns lists the addresses of an API.
func (a *API) Patterns() []string {
	var patterns []string
	for _, route := range a.routes {
		patterns = append(patterns, a.prefix+route.pattern)
	}
	return patterns
}

// StatusOf is the API's answer to a code.
func (a *API) StatusOf(code models.Code) (int, string) {
	answer := a.status(code)
	return answer.http, answer.name
}

// WorthParameterNames lists the parameters of Worth's list.
func WorthParameterNames() []string { return worthParameterNames() }

// Documents are the stored documents.
func Documents() []string {
	return []string{worthUsersDocument, worthUserDocument, worthSubrolesDocument, testiniumUsersDocument, testiniumCustomerDocument}
}
