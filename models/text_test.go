package models_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"roster/models"
)

func TestFold(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"Empty", "", ""},
		{"FoldedAlready", "yazicioglu 1%_!", "yazicioglu 1%_!"},
		{"Capitals", "AbC", "abc"},
		{"Turkish", "Yazıcıoğlu", "yazicioglu"},
		{"TurkishCapitals", "YAZICIOĞLU", "yazicioglu"},
		{"DottedCapitalI", "İSTANBUL", "istanbul"},
		{"DottedCapitalIComposed", "I\u0307stanbul", "istanbul"},
		{"DotlessI", "ışık", "isik"},
		{"SharpS", "straße", "strasse"},
		{"CapitalSharpS", "STRAẞE", "strasse"},
		{"FinalSigma", "ΣΊΣΥΦΟΣ", "σισυφοσ"},
		{"FinalSigmaSmall", "Σίσυφος", "σισυφοσ"},
		{"Composed", "José Núñez Ångström", "jose nunez angstrom"},
		{"Decomposed", "Jose\u0301", "jose"},
		{"MarksInAnyOrder", "e\u0327\u0301 e\u0301\u0327", "e e"},
		{"Ligature", "ﬁona", "fiona"},
		{"FullWidth", "Ａｋｉ１", "aki1"},
		{"Superscript", "x²", "x2"},
		{"StrokeIsNoMark", "Łukasz Ørsted", "łukasz ørsted"},
		{"Han", "陳大文", "陳大文"},
		{"KanaVoiced", "ガ", "カ"},
		{"Hangul", "한", "\u1112\u1161\u11ab"},
		{"Arabic", "مُحَمَّد", "محمد"},
		{"Hebrew", "שָׁלוֹם", "שלום"},
		{"Cherokee", "ꭰᎠᏸᏰ", "ᎠᎠᏰᏰ"},
		{"Emoji", "👩🏽\u200d💻", "👩🏽\u200d💻"},
		{"Spaces", " A\tB\n", " a\tb\n"},
		{"NoBreakSpace", "a\u00a0b", "a b"},
		{"LikeSigns", `%_!\'`, `%_!\'`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, models.Fold(test.text)); diff != "" {
				t.Errorf("Fold(%q) (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

// TestFoldEveryLetter holds that a letter is found by its other case, and by its
// composed and decomposed forms.
func TestFoldEveryLetter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsLetter(r) {
			continue
		}
		letter := string(r)
		want := models.Fold(letter)
		for _, other := range []string{
			string(unicode.ToUpper(r)), string(unicode.ToLower(r)), string(unicode.ToTitle(r)),
			strings.ToUpper(letter), norm.NFC.String(letter), norm.NFD.String(letter), norm.NFKC.String(letter), want,
		} {
			if got := models.Fold(other); got != want {
				t.Errorf("Fold(%q) = %+q, and Fold(%q) = %+q", letter, want, other, got)
			}
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, text := range []string{"", "Yazıcıoğlu", "İ", "STRAẞE", "ǰ", "ΐ", "\u03f4\u0345", "\xff", "a\x00b", "ﷺ", "𝕬", "ꭰᏰ", "\u1e9e\u0323\u0307"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		folded := models.Fold(text)
		if again := models.Fold(folded); again != folded {
			t.Errorf("Fold(%+q) = %+q, and folding that gives %+q", text, folded, again)
		}
		if utf8.ValidString(text) && !utf8.ValidString(folded) {
			t.Errorf("Fold(%+q) = %+q, which is not UTF-8", text, folded)
		}
		if composed := models.Fold(norm.NFC.String(text)); utf8.ValidString(text) && composed != folded {
			t.Errorf("Fold(%+q) = %+q, and composed first it gives %+q", text, folded, composed)
		}
		if strings.IndexByte(text, 0) < 0 && strings.IndexByte(folded, 0) >= 0 {
			t.Errorf("Fold(%+q) = %+q holds U+0000", text, folded)
		}
	})
}

func TestCheckText(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"Empty", "", ""},
		{"Plain", "Yazıcıoğlu 😀\t\n\u0001", ""},
		{"ReplacementCharacter", "\ufffd", ""},
		{"NUL", "ab\x00", "the text holds the character U+0000 at byte 2, which is not allowed"},
		{"NotUTF8", "a\xff", "the text is not valid UTF-8"},
		{"Surrogate", "\xed\xa0\x80", "the text is not valid UTF-8"},
		{"Overlong", "\xc0\x80", "the text is not valid UTF-8"},
		{"Both", "\x00\xff", "the text is not valid UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkRefusal(t, models.CheckText(test.text), test.want)
		})
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"Empty", "", `""`},
		{"Plain", "abc", `"abc"`},
		{"Quotes", "a\"b\\\n\x00", `"a\"b\\\n\x00"`},
		{"NotUTF8", "\xff", `"\xff"`},
		{"Direction", "a\u202eb", `"a\u202eb"`},
		{"AtTheLimit", strings.Repeat("a", 64), `"` + strings.Repeat("a", 64) + `"`},
		{"OverTheLimit", strings.Repeat("a", 65), `"` + strings.Repeat("a", 64) + `"…`},
		{"CutBeforeACharacter", strings.Repeat("a", 63) + "ğ", `"` + strings.Repeat("a", 63) + `"…`},
		{"CutBeforeALongCharacter", strings.Repeat("a", 61) + "😀", `"` + strings.Repeat("a", 61) + `"…`},
		{"NoCharacterBegins", strings.Repeat("\x80", 65), `""…`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, models.Quote(test.text)); diff != "" {
				t.Errorf("Quote(%q) (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

// checkRefusal compares an error with the message of the CodeBadUserInput that
// is wanted; the empty message stands for no error.
func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("refused with %q", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("not refused, want %q", want)
	}
	got := models.AsError(err)
	if diff := cmp.Diff(&models.Error{Code: models.CodeBadUserInput, Message: want}, got, cmp.Comparer(sameError)); diff != "" {
		t.Errorf("the error (-want +got):\n%s", diff)
	}
}

func sameError(a, b *models.Error) bool {
	return a.Code == b.Code && a.Message == b.Message && errors.Is(a.Err, b.Err)
}
