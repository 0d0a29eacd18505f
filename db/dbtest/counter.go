package dbtest

import (
	"context"
	"slices"
	"sync"

	"github.com/uptrace/bun"

	"roster/db"
)

// Counter counts the statements that run on a database and keeps their text.
type Counter struct {
	mu   sync.Mutex
	seen []Statement
}

// Statement is a statement that ran, with the arguments of its placeholders.
type Statement struct {
	Text string
	Args []any
}

// Count has every statement of the database counted from now on. It must not be
// called while statements run.
func Count(counted *db.DB) *Counter {
	c := &Counter{}
	counted.AddQueryHook(c)
	return c
}

// N gives the number of statements since the last [Counter.Reset].
func (c *Counter) N() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// Statements gives the text of the statements since the last [Counter.Reset], in
// the order in which they began.
func (c *Counter) Statements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	texts := make([]string, len(c.seen))
	for i, statement := range c.seen {
		texts[i] = statement.Text
	}
	return texts
}

// Seen gives the statements since the last [Counter.Reset] with their arguments,
// in the order in which they began.
func (c *Counter) Seen() []Statement {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// Reset forgets all statements.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = nil
}

// BeforeQuery records a statement. It is called by bun.
func (c *Counter) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, Statement{event.Query, event.QueryArgs})
	return ctx
}

// AfterQuery does nothing. It is called by bun.
func (c *Counter) AfterQuery(context.Context, *bun.QueryEvent) {}
