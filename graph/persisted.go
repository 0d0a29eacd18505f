package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"

	"roster/models"
)

// TrustedDocuments are the only documents that callers may run, by the id that a
// client sends in their place. It is the manifest that graphql-codegen's client
// preset writes.
type TrustedDocuments map[string]string

// ParseTrustedDocuments reads a manifest: a JSON object from id to document.
// Every document must fit the schema and have no more tokens than that, so that a
// manifest of another version is noticed at start and not by a caller.
func ParseTrustedDocuments(manifest []byte, tokens int) (TrustedDocuments, error) {
	var documents TrustedDocuments
	if err := json.Unmarshal(manifest, &documents); err != nil {
		return nil, fmt.Errorf("the manifest of trusted documents must be a JSON object from id to document: %w", err)
	}
	if len(documents) == 0 {
		return nil, errors.New("the manifest of trusted documents is empty: nothing could be run")
	}
	schema := servedSchema()
	for id, text := range documents {
		document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, tokens)
		if err != nil {
			return nil, fmt.Errorf("the trusted document %s cannot be read: %w", models.Quote(id), err)
		}
		if len(document.Operations) == 0 {
			return nil, fmt.Errorf("the trusted document %s has no operation", models.Quote(id))
		}
		if list := validator.ValidateWithRules(schema, document, validationRules()); len(list) > 0 {
			return nil, fmt.Errorf("the trusted document %s does not fit the schema: %w", models.Quote(id), list)
		}
	}
	return documents, nil
}

// hashPrefix may stand before a hash.
const hashPrefix = "sha256:"

// maxPersistedBytes is the largest document that is kept under its hash.
const maxPersistedBytes = 16 << 10

// document finds the text that a request asks to run: the one it carries, or one
// that it names by a hash or an id.
func (x *Executor) document(request Request) (string, error) {
	if x.settings.Trusted != nil {
		return x.trusted(request)
	}
	if request.DocumentID != "" {
		return "", models.Errorf(models.CodePersistedQueryNotSupported, "documentId is not supported: this server has no trusted documents")
	}
	if request.Hash == "" {
		if request.Query == "" {
			return "", models.Errorf(models.CodeBadRequest, "query is missing: it must hold a GraphQL document")
		}
		return request.Query, nil
	}
	if request.Query == "" {
		if text, ok := x.persisted.get(request.Hash); ok {
			return text, nil
		}
		return "", models.Errorf(models.CodePersistedQueryNotFound, "PersistedQueryNotFound")
	}
	sum := sha256.Sum256([]byte(request.Query))
	if hex.EncodeToString(sum[:]) != request.Hash {
		return "", models.Errorf(models.CodeBadRequest, "extensions.persistedQuery.sha256Hash is not the hash of query")
	}
	if len(request.Query) <= maxPersistedBytes {
		x.persisted.add(request.Hash, request.Query, len(request.Query)+persistedBytes)
	}
	return request.Query, nil
}

// persistedBytes is about what it takes to keep a text under its hash, besides the text.
const persistedBytes = 400

// trusted finds a document of the manifest by its id, its hash or its own text.
func (x *Executor) trusted(request Request) (string, error) {
	// Some tools put the name of the hash before it, and some do not.
	for _, id := range []string{request.DocumentID, request.Hash} {
		bare := strings.TrimPrefix(id, hashPrefix)
		for _, spelling := range []string{id, bare, hashPrefix + bare} {
			if text, ok := x.settings.Trusted[spelling]; ok && id != "" {
				return text, nil
			}
		}
	}
	if x.trustedTexts[request.Query] {
		return request.Query, nil
	}
	return "", models.Errorf(models.CodePersistedQueryNotSupported, "only trusted documents run here, and this is not one of them")
}

// persistedQuery reads the extension of Apollo's automatic persisted queries.
func persistedQuery(extensions map[string]any) (hash string, err error) {
	extension, ok := extensions["persistedQuery"]
	if !ok || extension == nil {
		return "", nil
	}
	fields, _ := extension.(map[string]any)
	version, _ := fields["version"].(json.Number)
	hash, _ = fields["sha256Hash"].(string)
	hash = strings.TrimPrefix(hash, hashPrefix)
	if raw, err := hex.DecodeString(hash); version != "1" || err != nil || len(raw) == 0 || len(raw) > sha256.Size || hash != strings.ToLower(hash) {
		return "", badRequest("extensions.persistedQuery must hold version 1 and sha256Hash, a hash in lower-case hexadecimal digits")
	}
	return hash, nil
}
