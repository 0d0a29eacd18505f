package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roster/db"
	"roster/db/dbtest"
)

// writeCertificate makes a certificate for the loopback with this serial number.
// The files get a time of their own, as those of two that are made in quick
// succession may have the same.
func writeCertificate(t testing.TB, settings tlsSettings, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[file]*pem.Block{
		settings.Certificate: {Type: "CERTIFICATE", Bytes: certificate},
		settings.Key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(string(path), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(string(path), time.Time{}, time.Unix(serial, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func tlsFiles(t testing.TB) tlsSettings {
	folder := t.TempDir()
	return tlsSettings{file(filepath.Join(folder, "cert.pem")), file(filepath.Join(folder, "key.pem"))}
}

// startTLS runs "roster serve" over TLS on an empty database, and gives its address.
func startTLS(t testing.TB, files tlsSettings) string {
	t.Helper()
	env := emptyDatabase(t)
	env["ROSTER_TLS_CERT"], env["ROSTER_TLS_KEY"] = string(files.Certificate), string(files.Key)
	return strings.TrimPrefix(startServer(t, env), "http://")
}

// "roster serve" answers over HTTP/2 with TLS 1.2 or newer, and shows a new
// certificate to new connections once the files hold one.
func TestTLS(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	address := startTLS(t, files)
	// serial connects anew and gives the number of the certificate.
	serial := func() int64 {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		request, _ := http.NewRequest("GET", "https://"+address+"/readyz", nil)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, _ := io.ReadAll(response.Body); response.ProtoMajor != 2 || string(body) != "ready\n" {
			t.Errorf("%s %d %s", response.Proto, response.StatusCode, body)
		}
		return response.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	writeCertificate(t, files, 2)
	if !within(10*time.Second, func() bool { return serial() == 2 }) {
		t.Fatal("the new certificate is not shown")
	}
	if connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		connection.Close()
		t.Error("TLS 1.1 is accepted")
	}
}

// While the files do not fit together the old certificate stays in use.
func TestCertificateIsReloaded(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	var log lockedBuffer
	certificate, err := files.loadCertificate(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	certificate.now = func() time.Time { return clock }
	shown := func() int64 {
		t.Helper()
		current, err := certificate.current(nil)
		if err != nil {
			t.Fatal(err)
		}
		return current.Leaf.SerialNumber.Int64()
	}
	shown()
	writeCertificate(t, files, 2)
	if n := shown(); n != 1 {
		t.Errorf("certificate %d, though the files were looked at in this second", n)
	}
	clock = clock.Add(time.Second)
	if n := shown(); n != 2 {
		t.Errorf("certificate %d after a second", n)
	}
	if err := os.WriteFile(string(files.Key), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Second)
	shown()
	clock = clock.Add(time.Second)
	if n := shown(); n != 2 || strings.Count(log.String(), "the old one stays in use") != 1 {
		t.Errorf("certificate %d; the log: %s", n, log.String())
	}
	for serial := int64(3); serial < 5; serial++ { // the second has the times of the first
		writeCertificate(t, files, serial)
		for _, path := range []file{files.Certificate, files.Key} {
			if err := os.Chtimes(string(path), clock, time.Unix(1_700_000_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
		clock = clock.Add(time.Second)
		if n := shown(); n != serial {
			t.Errorf("certificate %d after the repair, not %d", n, serial)
		}
	}
}

// A connection of HTTP/2 says how large its frames and how much of its bodies may be, and
// neither is a megabyte, which net/http would take memory for.
func TestHTTP2TakesLittle(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	env := map[string]string{
		"DATABASE_URL": dbtest.URL(t, db.SQLite), "ROSTER_JWT_SECRET": strings.Repeat("k", 32), "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a",
		"ROSTER_TLS_CERT": string(files.Certificate), "ROSTER_TLS_KEY": string(files.Key),
	}
	address := strings.TrimPrefix(startServer(t, env), "http://")
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	// RFC 9113: the preface, an empty frame of settings, and one of a size that is not allowed.
	if _, err := io.WriteString(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x10\x00\x00\xfe\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	settings, window, ended := map[uint16]uint32{}, uint32(64<<10-1), false
	for header := make([]byte, 9); !ended; {
		if _, err := io.ReadFull(connection, header); err != nil {
			t.Fatalf("no GOAWAY but %v", err)
		}
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(connection, payload); err != nil {
			t.Fatal(err)
		}
		const kindSettings, kindGoAway, kindWindowUpdate = 4, 7, 8
		switch header[3] {
		case kindSettings:
			for ; len(payload) >= 6; payload = payload[6:] {
				settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
			}
		case kindWindowUpdate:
			window += binary.BigEndian.Uint32(payload)
		case kindGoAway:
			ended = true
		}
	}
	const initialWindowSize, maxFrameSize = 4, 5
	if size, told := settings[initialWindowSize]; !told || size > 64<<10 || settings[maxFrameSize] != 16<<10 || window > 64<<10 {
		t.Errorf("the settings are %v, and the window of the connection is %d", settings, window)
	}
}

// What is wrong with the files is said at the start.
func TestMistakesInTLSSettings(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	for _, test := range []struct {
		name             string
		certificate, key file
		wants            string
	}{
		{"no key", files.Certificate, "", "--tls-cert and --tls-key are needed both"},
		{"no certificate", "", files.Key, "--tls-cert and --tls-key are needed both"},
		{"no file", file(filepath.Join(t.TempDir(), "none.pem")), files.Key, "none.pem"},
		{"exchanged", files.Key, files.Certificate, "--tls-cert, --tls-key: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := tlsSettings{test.certificate, test.key}.loadCertificate(slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.wants) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
	if certificate, err := (tlsSettings{}).loadCertificate(nil); certificate != nil || err != nil {
		t.Errorf("without settings: %v, %v", certificate, err)
	}
}
