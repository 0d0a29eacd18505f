package rest

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// The page for people is made from the OpenAPI document, so that the two cannot
// differ. It has no script.
var (
	//go:embed docs.html
	docsTemplate string
	//go:embed docs.css
	docsStyle string
)

// Docs serves the description of both APIs as a page for people. It belongs at
// /docs/ and is open to everybody.
func Docs() http.Handler {
	style := sha256.Sum256([]byte(docsStyle))
	header := http.Header{}
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(style[:])+
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	return page("text/html; charset=utf-8", docsPage(), header)
}

// description is the part of the OpenAPI document that the page shows.
type description struct {
	Info struct{ Title, Version, Description string }
	Tags []struct{ Name, Description string }
	// Paths holds the operations by path and method.
	Paths      map[string]map[string]*operation
	Components struct {
		Parameters map[string]*parameterDoc
		Headers    map[string]*headerDoc
		Responses  map[string]*responseDoc
	}
	Style template.CSS
}

type operation struct {
	Tags                 []string
	Summary, Description string
	OperationID          string `json:"operationId"`
	Parameters           []*parameterDoc
	Responses            map[string]*responseDoc
}

type parameterDoc struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
	Required              bool
	Schema                valueDoc
}

type valueDoc struct {
	Type    any
	Format  string
	Enum    []string
	Minimum json.Number
	Maximum json.Number
	Default any
	Items   *valueDoc
}

type headerDoc struct {
	Ref         string `json:"$ref"`
	Description string
}

type responseDoc struct {
	Ref         string `json:"$ref"`
	Description string
	Headers     map[string]*headerDoc
	Content     map[string]struct{ Example json.RawMessage }
}

// docsPage renders the page. Everything it is made from is compiled in, so a
// mistake shows at the first start.
func docsPage() []byte {
	var d description
	if err := json.Unmarshal(openAPI, &d); err != nil {
		panic(err)
	}
	d.resolve()
	d.Style = template.CSS(docsStyle) //nolint:gosec // a constant of this package
	functions := template.FuncMap{"paragraphs": paragraphs, "indent": indent, "tagged": tagged, "upper": strings.ToUpper}
	var html bytes.Buffer
	if err := template.Must(template.New("docs").Funcs(functions).Parse(docsTemplate)).Execute(&html, &d); err != nil {
		panic(err)
	}
	return html.Bytes()
}

// resolve puts what a reference names in its place.
func (d *description) resolve() {
	for _, methods := range d.Paths {
		for _, op := range methods {
			for i, parameter := range op.Parameters {
				op.Parameters[i] = follow(parameter, parameter.Ref, d.Components.Parameters)
			}
			for status, response := range op.Responses {
				response = follow(response, response.Ref, d.Components.Responses)
				op.Responses[status] = response
				for name, header := range response.Headers {
					response.Headers[name] = follow(header, header.Ref, d.Components.Headers)
				}
			}
		}
	}
}

func follow[T any](value *T, ref string, components map[string]*T) *T {
	if ref == "" {
		return value
	}
	return components[ref[strings.LastIndexByte(ref, '/')+1:]]
}

// String tells in words what values there are.
func (v valueDoc) String() string {
	switch {
	case v.Items != nil:
		return v.Items.String() + ", one or more"
	case len(v.Enum) > 0:
		return strings.Join(v.Enum, ", ")
	}
	words, _ := v.Type.(string)
	switch {
	case v.Format == "uuid":
		words = "UUID"
	case v.Format == "date-time":
		words = "time (RFC 3339)"
	case v.Minimum != "":
		words += " from " + v.Minimum.String()
		if v.Maximum != "" {
			words += " to " + v.Maximum.String()
		}
	}
	return words
}

func paragraphs(text string) []string { return strings.Split(text, "\n\n") }

func indent(raw json.RawMessage) (string, error) {
	var b bytes.Buffer
	err := json.Indent(&b, raw, "", "  ")
	return b.String(), err
}

// endpoint is an operation with its place.
type endpoint struct {
	Path, Method string
	*operation
}

// tagged lists the endpoints of one API by their path.
func tagged(d *description, tag string) []endpoint {
	var found []endpoint
	for path, methods := range d.Paths {
		for method, op := range methods {
			if slices.Contains(op.Tags, tag) {
				found = append(found, endpoint{path, method, op})
			}
		}
	}
	slices.SortFunc(found, func(a, b endpoint) int { return strings.Compare(a.Path, b.Path) })
	return found
}
