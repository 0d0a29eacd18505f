package models_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roster/models"
)

func TestDecodeObject(t *testing.T) {
	nested := func(levels int) string {
		return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + "}"
	}
	for _, test := range []struct {
		text string
		code models.Code
		want string
	}{
		{`{"Iss":1e2,"iss":[null,{}]}`, "", ""},
		{` null `, "", ""},
		{nested(4), "", ""},
		{`[]`, models.CodeBadRequest, "not a JSON object"},
		{`"a"`, models.CodeBadRequest, "not a JSON object"},
		{``, models.CodeBadRequest, "not valid JSON"},
		{`{} {}`, models.CodeBadRequest, "not valid JSON"},
		{`null}`, models.CodeBadRequest, "not valid JSON"},
		{`{"a":1,}`, models.CodeBadRequest, "not valid JSON"},
		{`{"a":[1 2]}`, models.CodeBadRequest, "not valid JSON"},
		{`{"a":1,"b":2,"a":1}`, models.CodeBadUserInput, `"a" is there twice`},
		{`{"a":[{"b":null,"\u0062":1}]}`, models.CodeBadUserInput, `"b" is there twice`},
		{nested(5), models.CodeBadUserInput, "nested too deep: at most 4 levels are allowed"},
	} {
		_, err := models.DecodeObject([]byte(test.text), 4)
		if test.code == "" && err == nil {
			continue
		}
		if found := models.AsError(err); err == nil || found.Code != test.code || found.Message != test.want {
			t.Errorf("%s: %v", test.text, err)
		}
	}
}

// FuzzDecodeObject holds that the same texts are JSON as for encoding/json, and mean the
// same.
func FuzzDecodeObject(f *testing.F) {
	for _, text := range []string{`{"query":"{ a }","variables":{"b":[1,2.5e3,true,null,{"c":""}]}}`, `{"a":1,"a":2}`, `[{}]`, `{"a" 1}`, `nul`, "{\"\xff\":1}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := models.DecodeObject(data, 100)
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var want map[string]any
		valid := json.Valid(data) && decoder.Decode(&want) == nil
		if malformed := err != nil && models.AsError(err).Code == models.CodeBadRequest; malformed && valid || err == nil && !valid {
			t.Fatalf("%q: %v", data, err)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatal(diff)
		}
	})
}
