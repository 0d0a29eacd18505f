package graph

import "log/slog"

// NewPlainExecutor makes an Executor that leaves all encoding to gqlgen.
func NewPlainExecutor(store Store, log *slog.Logger, settings Settings) *Executor {
	return newExecutor(newResolver(store), log, settings)
}

// ReadsFor tells whether a column is read for a field of a user.
func ReadsFor(field string) bool { return userFields[field] != 0 }
