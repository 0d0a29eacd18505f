package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// DecodeObject reads JSON text that is an object, or null, which gives nil. Numbers stay as
// they were written, and names are those of the text, where decoding into a struct would
// take "ISS" for "iss".
//
// The error is CodeBadRequest for any other text. It is CodeBadUserInput for an object that
// has a name twice, at any level, as readers disagree on which of the two counts (RFC 8259,
// section 4), and for objects and lists in more levels than this, of which the object itself
// is the first.
func DecodeObject(data []byte, levels int) (map[string]any, error) {
	d := objectDecoder{json.NewDecoder(bytes.NewReader(data)), levels}
	d.UseNumber()
	value, err := d.value(1)
	if err == nil {
		if _, end := d.Decoder.Token(); !errors.Is(end, io.EOF) {
			err = errNotJSON
		}
	}
	if err != nil || value == nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, Errorf(CodeBadRequest, "not a JSON object")
	}
	return object, nil
}

var errNotJSON = Errorf(CodeBadRequest, "not valid JSON")

type objectDecoder struct {
	*json.Decoder
	levels int
}

// Token gives the next token. Its errors are errNotJSON.
func (d objectDecoder) Token() (json.Token, error) {
	token, err := d.Decoder.Token()
	if err != nil {
		return nil, errNotJSON
	}
	return token, nil
}

func (d objectDecoder) value(level int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delimiter, opens := token.(json.Delim)
	if !opens {
		return token, nil
	}
	if level > d.levels {
		return nil, Errorf(CodeBadUserInput, "nested too deep: at most %d levels are allowed", d.levels)
	}
	if delimiter == '{' {
		return d.members(level)
	}
	return d.elements(level)
}

func (d objectDecoder) members(level int) (any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, has := object[name]; has {
			return nil, Errorf(CodeBadUserInput, "%s is there twice", Quote(name))
		}
		if object[name], err = d.value(level + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

func (d objectDecoder) elements(level int) (any, error) {
	list := []any{}
	for d.More() {
		element, err := d.value(level + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	_, err := d.Token()
	return list, err
}
