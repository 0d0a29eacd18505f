package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// tlsSettings name the server's certificate.
type tlsSettings struct {
	Certificate string `name:"tls-cert" env:"ROSTER_TLS_CERT" placeholder:"FILE" help:"Serve over TLS with the certificate chain of this PEM file. It is read again when it changes."`
	Key         string `name:"tls-key" env:"ROSTER_TLS_KEY" placeholder:"FILE" help:"PEM file with the private key of the certificate."`
}

// certificate is a certificate in two files that somebody else renews. They are
// looked at when a client connects, at most once in a second, so nothing has to
// run or be told.
type certificate struct {
	tlsSettings
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	loaded  *tls.Certificate
	version string // of the files that it was loaded from
	checked time.Time
}

// load reads the certificate that the settings name; nil is for serving without TLS.
func (s tlsSettings) load(log *slog.Logger) (*certificate, error) {
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
		if err := c.reload(); err != nil {
			c.log.Warn("the certificate cannot be loaded again; the old one stays in use", "error", err)
		}
	}
	return c.loaded, nil
}

// reload reads the files if they are not those that were loaded.
func (c *certificate) reload() error {
	certificateVersion, err1 := fileVersion(c.Certificate)
	keyVersion, err2 := fileVersion(c.Key)
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	version := certificateVersion + " " + keyVersion
	if version == c.version {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return err
	}
	if c.version != "" {
		c.log.Info("the certificate was loaded again")
	}
	c.loaded, c.version = &loaded, version
	return nil
}

// fileVersion changes whenever a file does.
func fileVersion(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size()), nil
}
