// Package auth decides who is calling and what that caller may read: a bearer
// token becomes a [Principal], and a Principal becomes a scope. Every surface
// of the server uses this one set of rules, so that no two of them can differ.
//
// A token is a signed JSON Web Token (RFC 7519, RFC 7515) of one of the
// configured issuers. The checks follow the current practice of RFC 8725.
package auth
