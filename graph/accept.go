package graph

import (
	"cmp"
	"mime"
	"slices"
	"strconv"
	"strings"
)

// negotiate picks the media type of the answer: the one that the client likes
// best, the specification's own among equals that it names, and plain JSON for a
// client that does not care. It gives "" when neither will do.
func negotiate(accept []string) string {
	header := strings.Join(accept, ",")
	if strings.TrimSpace(header) == "" {
		return jsonType
	}
	type offer struct {
		contentType string
		quality     float64
		specificity int
	}
	offers := []offer{{contentType: responseType}, {contentType: jsonType}}
	for entry := range strings.SplitSeq(header, ",") {
		mediaType, options, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		if charset := options["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			continue
		}
		quality := 1.0
		if q, ok := options["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		for i := range offers {
			specificity := matches(mediaType, offers[i].contentType)
			// The most specific entry decides, wherever it stands (RFC 9110, section 12.5.1).
			if specificity > offers[i].specificity {
				offers[i].quality, offers[i].specificity = quality, specificity
			}
		}
	}
	best := slices.MaxFunc(offers, func(a, b offer) int {
		return cmp.Or(cmp.Compare(a.quality, b.quality), cmp.Compare(a.specificity, b.specificity))
	})
	if best.quality <= 0 {
		return ""
	}
	if best.specificity < exactMatch && offers[1].quality == best.quality {
		return jsonType // a wildcard: what every client can read
	}
	return best.contentType
}

const exactMatch = 3

// matches tells how closely an entry of Accept names a media type; 0 is not at all.
func matches(entry, contentType string) int {
	switch entry {
	case contentType:
		return exactMatch
	case "application/*":
		return 2
	case "*/*":
		return 1
	}
	return 0
}
