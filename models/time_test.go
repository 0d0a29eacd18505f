package models_test

import (
	"testing"
	"time"

	"roster/models"
)

func TestParseTime(t *testing.T) {
	expected := func(quoted string) string {
		return quoted + " is not a time: RFC 3339 with a zone is expected, such as " + models.ExampleTime
	}
	for _, test := range []struct {
		name, text string
		want       time.Time
		refusal    string
	}{
		{"Example", models.ExampleTime, time.Date(2024, 2, 12, 14, 16, 49, 53e6, time.UTC), ""},
		{"Seconds", "2024-02-12T14:16:49Z", time.Date(2024, 2, 12, 14, 16, 49, 0, time.UTC), ""},
		{"Microseconds", "2024-02-12T14:16:49.053007Z", time.Date(2024, 2, 12, 14, 16, 49, 53_007_000, time.UTC), ""},
		{"TrailingZeros", "2024-02-12T14:16:49.053007000Z", time.Date(2024, 2, 12, 14, 16, 49, 53_007_000, time.UTC), ""},
		{"Zone", "2024-02-12T17:16:49.053+03:00", time.Date(2024, 2, 12, 14, 16, 49, 53e6, time.UTC), ""},
		{"ZoneAcrossTheYear", "2024-01-01T00:30:00+01:00", time.Date(2023, 12, 31, 23, 30, 0, 0, time.UTC), ""},
		{"LeapDay", "2024-02-29T00:00:00Z", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), ""},
		{"First", "0001-01-01T00:00:00Z", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		{"Last", "9999-12-31T23:59:59.999999Z", time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), ""},
		{"Empty", "", time.Time{}, expected(`""`)},
		{"Date", "2024-02-12", time.Time{}, expected(`"2024-02-12"`)},
		{"WithoutZone", "2024-02-12T14:16:49", time.Time{}, expected(`"2024-02-12T14:16:49"`)},
		{"OneDigitHour", "2024-02-12T4:16:49Z", time.Time{}, expected(`"2024-02-12T4:16:49Z"`)},
		{"Comma", "2024-02-12T14:16:49,053Z", time.Time{}, expected(`"2024-02-12T14:16:49,053Z"`)},
		{"SpaceForT", "2024-02-12 14:16:49Z", time.Time{}, expected(`"2024-02-12 14:16:49Z"`)},
		{"ZoneOfTheLargest", "2024-02-12T14:16:49-23:59", time.Date(2024, 2, 13, 14, 15, 49, 0, time.UTC), ""},
		{"ZoneOf24Hours", "2024-02-12T14:16:49+24:00", time.Time{}, expected(`"2024-02-12T14:16:49+24:00"`)},
		{"ZoneOf60Minutes", "2024-02-12T14:16:49.053-00:60", time.Time{}, expected(`"2024-02-12T14:16:49.053-00:60"`)},
		{"NoSuchDay", "2023-02-29T00:00:00Z", time.Time{}, expected(`"2023-02-29T00:00:00Z"`)},
		{"NoSuchHour", "2024-02-12T24:00:00Z", time.Time{}, expected(`"2024-02-12T24:00:00Z"`)},
		{"LeapSecond", "2016-12-31T23:59:60Z", time.Time{}, expected(`"2016-12-31T23:59:60Z"`)},
		{"Epoch", "1707747409053", time.Time{}, expected(`"1707747409053"`)},
		{"LongYear", "12024-02-12T14:16:49Z", time.Time{}, expected(`"12024-02-12T14:16:49Z"`)},
		{"SpaceAfter", "2024-02-12T14:16:49Z ", time.Time{}, expected(`"2024-02-12T14:16:49Z "`)},
		{"TooFine", "2024-02-12T14:16:49.0530071Z", time.Time{}, `"2024-02-12T14:16:49.0530071Z" is too fine: at most six fractional digits are allowed`},
		{"YearZero", "0000-12-31T23:59:59Z", time.Time{}, `"0000-12-31T23:59:59Z" is out of range: the years 0001 to 9999 are allowed`},
		{"BeforeTheFirstInUTC", "0001-01-01T00:00:00+00:01", time.Time{}, `"0001-01-01T00:00:00+00:01" is out of range: the years 0001 to 9999 are allowed`},
		{"AfterTheLastInUTC", "9999-12-31T23:59:59-00:01", time.Time{}, `"9999-12-31T23:59:59-00:01" is out of range: the years 0001 to 9999 are allowed`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := models.ParseTime(test.text)
			checkRefusal(t, err, test.refusal)
			if got != test.want {
				t.Errorf("ParseTime gives %v, want %v", got, test.want)
			}
		})
	}
}

func TestTimeLayout(t *testing.T) {
	parsed, err := models.ParseTime(models.ExampleTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.Format(models.TimeLayout); got != models.ExampleTime {
		t.Errorf("the example is written as %q", got)
	}
	if got, want := time.Date(2024, 2, 12, 14, 16, 49, 0, time.UTC).Format(models.TimeLayout), "2024-02-12T14:16:49.000Z"; got != want {
		t.Errorf("a whole second is written as %q, want %q", got, want)
	}
}
