package models_test

import (
	"testing"

	"roster/models"
)

func TestParseID(t *testing.T) {
	const id = "94520740-d63c-4e02-85ca-c4e138801e73"
	const expected = " is not an id: a UUID like " + id + " is expected"
	for _, test := range []struct{ name, text, want, refusal string }{
		{"Canonical", id, id, ""},
		{"Capitals", "94520740-D63C-4E02-85CA-C4E138801E73", id, ""},
		{"Nil", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000", ""},
		{"Max", "ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff", ""},
		{"Empty", "", "", `""` + expected},
		{"Number", "42", "", `"42"` + expected},
		{"WithoutDashes", "94520740d63c4e0285cac4e138801e73", "", `"94520740d63c4e0285cac4e138801e73"` + expected},
		{"Braces", "{" + id + "}", "", `"{` + id + `}"` + expected},
		{"URN", "urn:uuid:" + id, "", `"urn:uuid:` + id + `"` + expected},
		{"SpaceBefore", " " + id, "", `" ` + id + `"` + expected},
		{"NewlineAfter", id + "\n", "", `"` + id + `\n"` + expected},
		{"NotHexadecimal", "g4520740-d63c-4e02-85ca-c4e138801e73", "", `"g4520740-d63c-4e02-85ca-c4e138801e73"` + expected},
		{"DashMoved", "9452074-0d63c-4e02-85ca-c4e138801e73", "", `"9452074-0d63c-4e02-85ca-c4e138801e73"` + expected},
		{"DashForDigit", "94520740-d63c-4e02-85ca-c4e138801e7-", "", `"94520740-d63c-4e02-85ca-c4e138801e7-"` + expected},
		{"OtherDigits", "94520740-d63c-4e02-85ca-c4e13880１", "", `"94520740-d63c-4e02-85ca-c4e13880１"` + expected},
		{"Injected", "' OR 1=1 --", "", `"' OR 1=1 --"` + expected},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := models.ParseID(test.text)
			checkRefusal(t, err, test.refusal)
			if string(got) != test.want {
				t.Errorf("ParseID gives %q, want %q", got, test.want)
			}
		})
	}
}
