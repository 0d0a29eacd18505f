// Package models is the vocabulary of Roster: the records it serves, what a
// caller may ask of them, and the one error type that every other package
// speaks. It knows nothing of databases, GraphQL or HTTP, so that all of them
// can share it.
package models
