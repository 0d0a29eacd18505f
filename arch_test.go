package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbidden lists, for each package, the packages that it must not import. It is
// the table of docs: db runs the SQL, auth decides, graph and rest ask.
var forbidden = map[string][]string{
	"models":   {"roster/", "net/http", "github.com/uptrace/bun", "database/sql"},
	"db":       {"roster/graph", "roster/rest", "roster/auth"},
	"auth":     {"roster/db", "roster/graph", "roster/rest"},
	"graph":    {"roster/db", "roster/rest", "github.com/uptrace/bun", "database/sql"},
	"rest":     {"roster/db", "github.com/uptrace/bun", "database/sql"},
	"graphiql": {"roster/"},
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for pkg, refused := range forbidden {
		files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", pkg, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, spec := range parseFile(t, file).Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(refused, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
					t.Errorf("%s imports %s", file, path)
				}
				if path == "testing" {
					t.Errorf("%s imports testing: test helpers do not belong in the program", file)
				}
			}
		}
	}
}

// A resolver is a few lines; what takes more belongs to models, auth or db.
func TestResolversAreShort(t *testing.T) {
	const limit = 8
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "graph/schema.resolvers.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var resolvers int
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		resolvers++
		lines := fset.Position(function.Body.Rbrace).Line - fset.Position(function.Body.Lbrace).Line - 1
		if lines > limit {
			t.Errorf("%s has %d lines; at most %d are allowed", function.Name.Name, lines, limit)
		}
	}
	if resolvers == 0 {
		t.Error("no resolvers were found")
	}
}

func parseFile(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
