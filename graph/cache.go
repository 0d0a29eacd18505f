package graph

import (
	"container/list"
	"context"
	"math"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// cache keeps values by a text, the least recently used going first. It is
// bounded in bytes and not in entries, for callers decide how large an entry is.
type cache[V any] struct {
	limit int

	mu     sync.Mutex
	used   int
	recent *list.List // of *cached[V], the most recently used first
	byKey  map[string]*list.Element
}

type cached[V any] struct {
	key   string
	value V
	size  int
}

// maxCachedShare has an entry take at most this part, a tenth, of a cache.
const maxCachedShare = 10

func newCache[V any](limit int) *cache[V] {
	return &cache[V]{limit: limit, recent: list.New(), byKey: map[string]*list.Element{}}
}

func (c *cache[V]) get(key string) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.byKey[key]
	if !ok {
		return value, false
	}
	c.recent.MoveToFront(element)
	return element.Value.(*cached[V]).value, true
}

// add keeps a value that takes about size bytes, unless it would push out many others.
func (c *cache[V]) add(key string, value V, size int) {
	if size > c.limit/maxCachedShare {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	c.byKey[key] = c.recent.PushFront(&cached[V]{key, value, size})
	c.used += size
	for c.used > c.limit {
		oldest := c.recent.Remove(c.recent.Back()).(*cached[V])
		delete(c.byKey, oldest.key)
		c.used -= oldest.size
	}
}

// documentCache keeps parsed and validated documents for gqlgen, and what they select.
type documentCache struct{ *cache[parsedDocument] }

// parsedDocument is a document and what it selects, which is nil when the variables
// of a request decide that.
type parsedDocument struct {
	*ast.QueryDocument
	selections *selections
}

// About how many bytes a document takes for each byte of its text, and what it selects
// besides.
const (
	parsedFactor   = 40
	selectedFactor = 20
)

// Get gives the document with this text.
func (c documentCache) Get(_ context.Context, text string) (*ast.QueryDocument, bool) {
	document, ok := c.get(text)
	return document.QueryDocument, ok
}

// Add keeps a document.
func (c documentCache) Add(_ context.Context, text string, document *ast.QueryDocument) {
	parsed, size := parsedDocument{document, nil}, len(text)*parsedFactor
	if !conditional(document) {
		room := len(text) * selectedFactor
		parsed.selections = newSelections(room)
		size += room
	}
	c.add(text, parsed, size)
}

// selections gives what the document of an operation selects.
func (c documentCache) selections(operation *graphql.OperationContext) *selections {
	if document, _ := c.get(operation.RawQuery); document.QueryDocument == operation.Doc && document.selections != nil {
		return document.selections
	}
	return newSelections(math.MaxInt) // for this request
}
