package models

import (
	"strings"
)

// ID is a UUID in its canonical form (RFC 9562, section 4): 36 characters,
// lower case, with dashes. Only [ParseID] makes one from foreign text, so an ID
// can be compared byte by byte, on both databases alike.
type ID string

// ParseID reads a UUID in canonical form; capital letters are taken and lowered.
// Anything else is CodeBadUserInput.
func ParseID(s string) (ID, error) {
	if !isUUID(s) {
		return "", Errorf(CodeBadUserInput, "%s is not an id: a UUID like 94520740-d63c-4e02-85ca-c4e138801e73 is expected", Quote(s))
	}
	return ID(strings.ToLower(s)), nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}
