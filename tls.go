package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// tlsSettings name the server's certificate.
type tlsSettings struct {
	Certificate file `name:"tls-cert" env:"ROSTER_TLS_CERT" placeholder:"FILE" help:"Serve over TLS with the certificate chain of this PEM file. It is read again when it changes."`
	Key         file `name:"tls-key" env:"ROSTER_TLS_KEY" placeholder:"FILE" help:"PEM file with the private key of the certificate."`
}

// certificate is a certificate in two files that somebody else renews. They are
// looked at when a client connects, at most once in a second, so nothing has to
// run or be told.
type certificate struct {
	tlsSettings
	log *slog.Logger
	now func() time.Time

	mu          sync.Mutex
	loaded      *tls.Certificate
	content     [sha256.Size]byte // hash of what it was loaded from
	checked     time.Time
	lastWarning string // what the log was last told of the files
}

// loadCertificate reads the certificate that the settings name; nil is for serving without TLS.
func (s tlsSettings) loadCertificate(log *slog.Logger) (*certificate, error) {
	if s.Certificate == "" && s.Key == "" {
		return nil, nil
	}
	if s.Certificate == "" || s.Key == "" {
		return nil, errors.New("--tls-cert and --tls-key are needed both, or none of them")
	}
	c := &certificate{tlsSettings: s, log: log, now: time.Now}
	if err := c.reload(); err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return c, nil
}

// config is for a server that shows the certificate of the moment.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current}
}

// current gives the certificate, loaded anew if the files have changed. While they
// cannot be used, as when only one of the two has been replaced so far, the one
// that was loaded before is good enough.
func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= time.Second {
		c.checked = now
		err := c.reload()
		if err == nil {
			c.lastWarning = ""
		} else if c.lastWarning != err.Error() {
			c.lastWarning = err.Error()
			c.log.Warn("the certificate cannot be loaded again; the old one stays in use", "error", err)
		}
	}
	return c.loaded, nil
}

// reload reads the files, and loads them if they are not what was loaded before. Their
// times and sizes do not tell: a renewed certificate can have those of the old one.
func (c *certificate) reload() error {
	chain, err1 := os.ReadFile(string(c.Certificate))
	key, err2 := os.ReadFile(string(c.Key))
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	content := sha256.Sum256(slices.Concat(chain, []byte{0}, key))
	if content == c.content {
		return nil
	}
	loaded, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return err
	}
	if c.loaded != nil {
		c.log.Info("the certificate was loaded again")
	}
	c.loaded, c.content = &loaded, content
	return nil
}
