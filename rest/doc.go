// Package rest is the legacy shim: the two documented REST APIs, Worth's and
// Testinium's, as clients know them. It holds no rules of its own. A request's
// parameters become the variables of a GraphQL document that is stored in
// documents/, the document runs through the same executor as every other
// request, its error codes become HTTP statuses through one table per API, and
// its data is given the legacy shape. What a legacy developer needs to know is
// in docs/rest.md.
package rest
