package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"roster/auth"
)

// issuers gives the issuers that the settings describe: the one of the flags, or
// those of a file.
func (s *tokenSettings) issuers() ([]auth.Issuer, error) {
	if s.IssuersFile != "" {
		return s.readIssuers()
	}
	pem, err := readPEM(s.PublicKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--jwt-public-key-file: %w", err)
	}
	keys := 0
	for _, key := range []string{s.Secret, s.PublicKeyFile, s.JWKSURL} {
		if key != "" {
			keys++
		}
	}
	if keys != 1 {
		err = fmt.Errorf("exactly one of --jwt-secret, --jwt-public-key-file and --jwt-jwks-url is needed; %d are given", keys)
	}
	if err := errors.Join(s.require(), err); err != nil {
		return nil, err
	}
	issuer := s.issuer()
	issuer.PublicKeyPEM, issuer.JWKSURL = pem, s.JWKSURL
	return []auth.Issuer{issuer}, nil
}

// keyFlag is the flag that names the key of tokens, or the file with several.
func (s *tokenSettings) keyFlag() string {
	switch {
	case s.IssuersFile != "":
		return "--jwt-issuers"
	case s.Secret != "":
		return "--jwt-secret"
	case s.PublicKeyFile != "":
		return "--jwt-public-key-file"
	}
	return "--jwt-jwks-url"
}

// require names what tokens must have and the settings do not say.
func (s *secretSettings) require() (err error) {
	if s.Issuer == "" {
		err = errors.New("--jwt-issuer (ROSTER_JWT_ISSUER) is not set: the iss that a token must have")
	}
	if s.Audience == "" {
		err = errors.Join(err, errors.New("--jwt-audience (ROSTER_JWT_AUDIENCE) is not set: the aud that a token must have"))
	}
	return err
}

// issuer gives the issuer that signs with the shared key, if there is one.
func (s *secretSettings) issuer() auth.Issuer {
	return auth.Issuer{
		Name:             s.Issuer,
		Audience:         s.Audience,
		Secret:           []byte(s.Secret),
		CustomerClaim:    string(s.CustomerClaim),
		AuthoritiesClaim: string(s.AuthoritiesClaim),
	}
}

// issuerEntry is an issuer in a file. Its fields are named like the flags without "jwt-".
type issuerEntry struct {
	Issuer           string `json:"issuer"`
	Audience         string `json:"audience"`
	Secret           string `json:"secret"`
	PublicKeyFile    string `json:"public-key-file"`
	JWKSURL          string `json:"jwks-url"`
	CustomerClaim    string `json:"customer-claim"`
	AuthoritiesClaim string `json:"authorities-claim"`
}

// readIssuers reads the file of issuers. A flag that describes one more would
// leave open which of them counts, so it is refused.
func (s *tokenSettings) readIssuers() ([]auth.Issuer, error) {
	for _, flag := range []struct{ name, value string }{
		{"--jwt-secret", s.Secret}, {"--jwt-public-key-file", s.PublicKeyFile}, {"--jwt-jwks-url", s.JWKSURL},
		{"--jwt-issuer", s.Issuer}, {"--jwt-audience", s.Audience},
	} {
		if flag.value != "" {
			return nil, fmt.Errorf("--jwt-issuers and %s are both given; only one of them can be", flag.name)
		}
	}
	data, err := os.ReadFile(s.IssuersFile)
	if err != nil {
		return nil, fmt.Errorf("--jwt-issuers: %w", err)
	}
	entries, err := parseIssuers(data)
	if err != nil {
		return nil, fmt.Errorf("--jwt-issuers: %s: %w", s.IssuersFile, err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("--jwt-issuers: %s: there is no issuer in it", s.IssuersFile)
	}
	issuers := make([]auth.Issuer, len(entries))
	for i, entry := range entries {
		pem, err := readPEM(entry.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--jwt-issuers: %s: public-key-file of issuer %d: %w", s.IssuersFile, i+1, err)
		}
		issuers[i] = auth.Issuer{
			Name:             entry.Issuer,
			Audience:         entry.Audience,
			Secret:           []byte(entry.Secret),
			PublicKeyPEM:     pem,
			JWKSURL:          entry.JWKSURL,
			CustomerClaim:    cmp.Or(entry.CustomerClaim, string(s.CustomerClaim)),
			AuthoritiesClaim: cmp.Or(entry.AuthoritiesClaim, string(s.AuthoritiesClaim)),
		}
	}
	return issuers, nil
}

// parseIssuers reads the list of issuers; the verifier checks what they say.
func parseIssuers(data []byte) (entries []issuerEntry, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&entries)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("a JSON array of issuers is expected, each an object of strings; the value at byte %d is of type %s", wrong.Offset, wrong.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("a JSON array of issuers is expected: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the array of issuers")
	}
	return entries, nil
}

// readPEM reads a file with a key; no path is no key.
func readPEM(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(pem) == 0 {
		return nil, fmt.Errorf("%s is empty; a PEM file is expected", path)
	}
	return pem, nil
}
