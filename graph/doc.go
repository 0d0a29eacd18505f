// Package graph is the GraphQL side of Roster: the resolvers behind
// schema.graphqls, the limits a document must keep, and the HTTP endpoint
// /graphql. It asks a Store for data and never runs SQL itself.
package graph
