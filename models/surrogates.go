package models

import (
	"bytes"
	"strconv"
	"unicode/utf16"
)

// LoneSurrogate reports whether JSON text has an escape of half a surrogate pair
// without its other half. encoding/json reads that as U+FFFD without a word, and so
// different texts as the same one. The text should be valid JSON, a string or
// anything that holds strings: only there can a backslash be.
func LoneSurrogate(json []byte) bool {
	for {
		start := bytes.IndexByte(json, '\\')
		if start < 0 {
			return false
		}
		json = json[start:]
		unit, ok := escapedUnit(json)
		switch {
		case !ok:
			json = json[min(2, len(json)):] // such as \\ before a u, which is no escape then
			continue
		case utf16.IsSurrogate(unit):
			low, _ := escapedUnit(json[escapeSize:])
			if utf16.DecodeRune(unit, low) == replacement {
				return true
			}
			json = json[escapeSize:]
		}
		json = json[escapeSize:]
	}
}

const (
	escapeSize  = len(`\u0000`)
	replacement = '\uFFFD'
)

// escapedUnit gives the UTF-16 code unit that an escape at the start of text stands for.
func escapedUnit(text []byte) (unit rune, ok bool) {
	if len(text) < escapeSize || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:escapeSize]), 16, 16)
	return rune(n), err == nil
}
