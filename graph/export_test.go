package graph

import (
	"log/slog"

	"roster/models"
)

// NewPlainExecutor makes an Executor that leaves all running and encoding to gqlgen.
func NewPlainExecutor(store Store, log *slog.Logger, settings Settings) *Executor {
	return newExecutor(NewExecutableSchema(Config{Schema: servedSchema(), Resolvers: newResolver(store)}), log, settings)
}

// ReadsFor tells whether a column is read for a field of a user.
func ReadsFor(field string) bool { return userFields[field] != 0 }

// KeptSelections gives how many selection sets of a document are kept.
func KeptSelections(executor *Executor, query string) int {
	document, _ := executor.documents.get(query)
	return len(document.selections.known)
}

// Cause gives what the log has of an error.
func Cause(err *models.Error) string { return cause(err) }
