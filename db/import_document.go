package db

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxRecord bounds the bytes of one record, and of anything else in a document
// that has to be held in memory at once.
const maxRecord = 1 << 20

// document reads a JSON document record by record, and knows on which line it is.
type document struct {
	lineReader
	json     *json.Decoder
	expected string
	// foreign names the form of a document that is not in UTF-8.
	foreign string
}

func newDocument(r io.Reader) *document {
	buffered := bufio.NewReaderSize(r, 64<<10)
	// Some editors put a byte order mark before UTF-8.
	mark, _ := buffered.Peek(3)
	if string(mark) == "\uFEFF" {
		_, _ = buffered.Discard(3)
	}
	doc := &document{lineReader: lineReader{r: buffered, line: 1}, foreign: foreignForm(mark)}
	doc.json = json.NewDecoder(&doc.lineReader)
	return doc
}

// foreignForm names the form of a document by how it starts, where it is one in which
// documents come by mistake; "" where it is not.
func foreignForm(start []byte) string {
	begins := func(with string) bool { return bytes.HasPrefix(start, []byte(with)) }
	switch {
	case begins("\x1f\x8b"):
		return "compressed with gzip"
	case begins("\xff\xfe"), begins("\xfe\xff"), begins("[\x00"), begins("{\x00"), begins("\x00["), begins("\x00{"):
		return "in UTF-16"
	}
	return ""
}

// records hands each record of the document to yield, with its line, until one
// returns an error. The bytes are good until then only.
func (d *document) records(f format, yield func(line int64, raw []byte) error) error {
	d.expected = f.expected
	if d.foreign != "" {
		return fmt.Errorf("the document is %s; expected JSON in UTF-8, not compressed", d.foreign)
	}
	start, err := d.token()
	if err != nil {
		return err
	}
	switch {
	case start == json.Delim('['):
		err = d.list(yield)
	case start == json.Delim('{') && f.envelope:
		err = d.envelope(yield)
	default:
		return d.misshapen("the document starts with something else")
	}
	if err != nil {
		return err
	}
	d.allow()
	_, err = d.json.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if _, isSyntax := errors.AsType[*json.SyntaxError](err); err == nil || isSyntax {
		return d.misshapen("more follows after the end of the document")
	}
	return d.broken(err)
}

// list reads the records of a list whose bracket has been read.
func (d *document) list(yield func(line int64, raw []byte) error) error {
	var raw json.RawMessage
	for d.json.More() {
		raw = raw[:0]
		d.allow()
		if err := d.json.Decode(&raw); err != nil {
			return d.broken(err)
		}
		value := bytes.TrimSpace(raw)
		line := d.lineAt(d.json.InputOffset() - int64(len(value)))
		if err := yield(line, value); err != nil {
			return err
		}
		d.allow() // for the white space that More passes over
	}
	_, err := d.token()
	return err
}

// envelope reads {"status","message","data":{"records":[...],"total_pages","total_items"}}
// whose first brace has been read. How many users there are in all is of no
// matter: the document may be one page of them.
func (d *document) envelope(yield func(line int64, raw []byte) error) error {
	found := false
	err := d.object("the document", map[string]func() error{
		"status":  d.status,
		"message": d.skip,
		"data": func() error {
			if start, err := d.token(); err != nil || start != json.Delim('{') {
				return cmp.Or(err, d.misshapen("data is not an object"))
			}
			return d.object("data", map[string]func() error{
				"total_pages": d.skip,
				"total_items": d.skip,
				"records": func() error {
					found = true
					if start, err := d.token(); err != nil || start != json.Delim('[') {
						return cmp.Or(err, d.misshapen("data.records is not a list"))
					}
					return d.list(yield)
				},
			})
		},
	})
	if err == nil && !found {
		return d.misshapen("there is no data.records")
	}
	return err
}

// object reads an object whose brace has been read. Each key must be one of
// keys, and none may come twice.
func (d *document) object(name string, keys map[string]func() error) error {
	for {
		token, err := d.token()
		if err != nil || token == json.Delim('}') {
			return err
		}
		key, _ := token.(string) // the decoder takes nothing else in this place
		read, ok := keys[key]
		if !ok {
			return d.misshapen("%s has a key that does not belong there, or has it twice", name)
		}
		if err := read(); err != nil {
			return err
		}
		delete(keys, key)
	}
}

// status reads the status of the answer. An answer that is not a success holds
// no users, whatever else it holds.
func (d *document) status() error {
	token, err := d.token()
	if err == nil && token != "success" {
		return d.misshapen(`status is not "success"`)
	}
	return err
}

// skip passes over a text, a number or null.
func (d *document) skip() error {
	token, err := d.token()
	if _, ok := token.(json.Delim); ok && err == nil {
		return d.misshapen("an object or a list stands where a text or a number should")
	}
	return err
}

func (d *document) token() (json.Token, error) {
	d.allow()
	token, err := d.json.Token()
	if err != nil {
		return nil, d.broken(err)
	}
	return token, nil
}

// allow lets one more record be read.
func (d *document) allow() { d.limit = d.json.InputOffset() + maxRecord }

// misshapen is the error for JSON that is not the document that was expected.
func (d *document) misshapen(format string, args ...any) error {
	return fmt.Errorf("line %d: %s; expected %s", d.lineAt(d.json.InputOffset()), fmt.Sprintf(format, args...), d.expected)
}

// broken is the error for what is not JSON. The decoder stands before what it
// could not read and has it buffered.
func (d *document) broken(err error) error {
	rest, _ := io.ReadAll(d.json.Buffered())
	value := bytes.TrimLeft(rest, ", \t\r\n:")
	start := d.json.InputOffset() + int64(len(rest)-len(value))
	line := d.lineAt(start)
	switch _, isSyntax := errors.AsType[*json.SyntaxError](err); {
	case errors.Is(err, errTooLong):
		return fmt.Errorf("line %d: what starts here is longer than %d bytes, which is not allowed", line, maxRecord)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		if len(value) == 0 {
			return fmt.Errorf("line %d: the document ends too early; expected %s", line, d.expected)
		}
		return fmt.Errorf("line %d: the document ends in the middle of what starts here; expected %s", line, d.expected)
	case !isSyntax:
		return fmt.Errorf("cannot read the document after line %d: %w", line, err)
	}
	// The offset in the decoder's error does not count what lies between records.
	var first json.RawMessage
	if again, ok := errors.AsType[*json.SyntaxError](json.NewDecoder(bytes.NewReader(value)).Decode(&first)); ok {
		at := d.lineAt(start + max(0, again.Offset-1))
		if at != line {
			return fmt.Errorf("line %d, in the record that starts on line %d: this is not JSON: %w", at, line, again)
		}
	}
	return fmt.Errorf("line %d: this is not JSON: %w", line, err)
}

var errTooLong = errors.New("too long")

// lineReader counts bytes and lines, and stops at a limit, so that the decoder
// above it cannot be made to buffer a document without end.
type lineReader struct {
	r           io.Reader
	read, limit int64
	// line is the line of the last place that was asked for. newlines are the
	// places of the line ends behind it that were read, which is not far.
	line     int64
	newlines []int64
}

// readAhead is how far beyond a record the decoder may read.
const readAhead = 64 << 10

// Read hands out bytes up to the limit.
func (l *lineReader) Read(p []byte) (int, error) {
	if l.read >= l.limit+readAhead {
		return 0, errTooLong
	}
	n, err := l.r.Read(p[:min(len(p), readAhead)])
	for i, c := range p[:n] {
		if c == '\n' {
			l.newlines = append(l.newlines, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// lineAt gives the line of a place, which must not lie before one that was asked
// for earlier.
func (l *lineReader) lineAt(offset int64) int64 {
	passed, _ := slices.BinarySearch(l.newlines, offset)
	l.line += int64(passed)
	l.newlines = slices.Delete(l.newlines, 0, passed)
	return l.line
}
