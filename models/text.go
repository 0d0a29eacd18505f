package models

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold gives the key under which text is sorted, compared and searched: the
// compatibility decomposition without its marks, case-folded, with the dotless i
// as i. "Yazıcıoğlu" and "YAZICIOGLU" fold to the same key. Whoever writes a
// record and whoever searches one must use this same function; folding a key
// again gives that key.
func Fold(s string) string {
	if isFoldedASCII(s) {
		return s
	}
	// Folding can give new decomposable letters and decomposing new capitals,
	// so the steps are repeated until they change nothing. Two rounds do for
	// everything but a handful of letters. The number of rounds is bounded all the
	// same: two letters that became each other must not keep a request forever.
	for range maxFoldRounds {
		folded := foldOnce(s)
		if folded == s {
			break
		}
		s = folded
	}
	return s
}

const maxFoldRounds = 8

func foldOnce(s string) string {
	s = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(s)))
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == 'ı':
			return 'i'
		case unicode.Is(unicode.Cherokee, r):
			// This script folds to its capitals. The package cases gives the
			// small letter for a capital, and the capital for a small letter.
			return unicode.ToUpper(r)
		}
		return r
	}, s)
}

func isFoldedASCII(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// CheckText refuses text that one of the databases cannot hold: U+0000 and
// bytes that are not UTF-8. The error is CodeBadUserInput.
func CheckText(s string) error {
	if !utf8.ValidString(s) {
		return Errorf(CodeBadUserInput, "the text is not valid UTF-8")
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		return Errorf(CodeBadUserInput, "the text holds the character U+0000 at byte %d, which is not allowed", i)
	}
	return nil
}

// quoteLimit bounds how much of a caller's value comes back in a message:
// enough to recognise it, too little to make the server repeat a request.
const quoteLimit = 64

// Quote puts a value that a caller sent between quotes, shortened and with
// unprintable characters escaped, for use in a message.
func Quote(s string) string {
	if len(s) > quoteLimit {
		cut := quoteLimit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}
