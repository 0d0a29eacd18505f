package models_test

import (
	"encoding/json"
	"strings"
	"testing"

	"roster/models"
)

func TestLoneSurrogate(t *testing.T) {
	for _, test := range []struct {
		name, json string
		want       bool
	}{
		{"Empty", ``, false},
		{"Plain", `"Yazıcıoğlu 😀"`, false},
		{"Pair", `"\ud83d\ude00"`, false},
		{"PairInCapitals", `"\uD83D\uDE00"`, false},
		{"High", `"\ud83d"`, true},
		{"Low", `"\ude00"`, true},
		{"LowInCapitals", `"\uDE00"`, true},
		{"TheWrongWayRound", `"\ude00\ud83d"`, true},
		{"HighBeforeAPair", `"\ud83d\ud83d\ude00"`, true},
		{"LowAfterAPair", `"\ud83d\ude00\ude00"`, true},
		{"TwoPairs", `"\ud83d\ude00\ud83d\ude00"`, false},
		{"HalvesApart", `"\ud83d \ude00"`, true},
		{"HalvesInTwoTexts", `["\ud83d","\ude00"]`, true},
		{"HighBeforeALetter", `"\ud83d\u0041"`, true},
		{"HighBeforeANewline", `"\ud83d\nude00"`, true},
		{"InAKey", `{"\ud83d": 1}`, true},
		{"ReplacementCharacter", `"\ufffd` + "\uFFFD" + `"`, false},
		{"AfterAnEscapedBackslash", `"\\ud83d"`, false},
		{"AfterTwoEscapedBackslashes", `"\\\\ud83d"`, false},
		{"AfterAnEscapedBackslashAnEscape", `"\\\ud83d"`, true},
		{"ReplacementCharacterThatIsNone", `"\ud83d \\ufffd"`, true},
		{"JustOutside", `"\ud7ff\ue000"`, false},
		{"CutShort", `"\ud83`, false},
		{"CutAfterABackslash", `"\`, false},
		{"CutWithinTheOtherHalf", `"\ud83d\ude0`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := models.LoneSurrogate([]byte(test.json)); got != test.want {
				t.Errorf("LoneSurrogate(%s) = %v", test.json, got)
			}
		})
	}
}

// TestLoneSurrogateAgainstEncodingJSON puts pieces together in every order. What is
// decoded has a U+FFFD that no piece stands for exactly when a half was alone.
func TestLoneSurrogateAgainstEncodingJSON(t *testing.T) {
	pieces := []string{`\ud800`, `\uDBFF`, `\udc00`, `\uDFff`, `\ufffd`, "\uFFFD", `\\`, `\"`, `\n`, `ufffd`, `ud800`, `\u0041`}
	const most = 4
	alone := 0
	var check func(text string, replacements, length int)
	check = func(text string, replacements, length int) {
		encoded := `"` + text + `"`
		var decoded string
		if err := json.Unmarshal([]byte(encoded), &decoded); err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		want := strings.Count(decoded, "\uFFFD") > replacements
		if got := models.LoneSurrogate([]byte(encoded)); got != want {
			t.Fatalf("LoneSurrogate(%s) = %v, and it is decoded as %+q", encoded, got, decoded)
		}
		if want {
			alone++
		}
		if length == most {
			return
		}
		for _, piece := range pieces {
			also := replacements
			if piece == `\ufffd` || piece == "\uFFFD" {
				also++
			}
			check(text+piece, also, length+1)
		}
	}
	check("", 0, 0)
	if alone == 0 {
		t.Error("no half was ever alone")
	}
}
