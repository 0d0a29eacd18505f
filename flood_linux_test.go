package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roster/auth"
	"roster/db"
	"roster/db/dbtest"
)

// maxMemory is what the program may have had in memory at its peak, in KiB.
const maxMemory = 128 << 10

// What anybody can send, at its worst and all at once, takes the server neither
// its memory nor its descriptors nor the time of those who behave.
func TestEverybodyAtOnce(t *testing.T) {
	if testing.Short() { // CI runs it without -short, before the race detector
		t.Skip("10,000 connections and eight abusers keep the machine busy for a minute")
	}
	admin := freeAddress(t)
	server, facts := startProgram(t, "--users", "200", "--admin-listen", admin)
	requests := hostile(facts)
	delete(requests, "endless body") // a client's affair: it sends until it is hung up on
	polite := &dashboard{request: usersRequest(facts)}

	// The pool and the caches are filled first: they stay.
	var group sync.WaitGroup
	for range 16 { // connections to the database
		group.Go(func() { (&dashboard{request: polite.request}).call(t, 20) })
	}
	group.Wait()
	abuse(t, requests, facts.Tokens.Admin, 1, 1)
	fillCaches(t, facts)
	before := used(t, server, admin)
	polite.call(t, 300)
	t.Logf("alone: p99 %s", polite.p99())

	idle := openIdle(t, facts)
	polite.call(t, 300)
	t.Logf("beside %d idle connections, of which the server keeps %d: p99 %s", len(idle), used(t, server, admin).descriptors-before.descriptors, polite.p99())

	rounds := 5
	if raceDetector() {
		rounds = 1 // each takes ten times as long
	}
	stop := make(chan bool)
	called := make(chan bool)
	go func() {
		defer close(called)
		for {
			select {
			case <-stop:
				return
			default:
				polite.call(t, 10)
			}
		}
	}()
	refusals := abuse(t, requests, facts.Tokens.Admin, 8, rounds)
	close(stop)
	<-called
	t.Logf("beside 8 abusers: p99 %s of %d", polite.p99(), polite.calls)
	t.Logf("%d refusals: p99 %s, the slowest: %s", len(refusals.took), percentile(refusals.took, 99), refusals.slowest)

	for _, connection := range idle {
		connection.Close()
	}
	settle(t, server, admin, before)
}

// settle holds that a program soon uses no more than it did before, that it
// never took too much memory, and that it ends well.
func settle(t *testing.T, p *program, admin string, before usage) {
	t.Helper()
	var after usage
	if !within(20*time.Second, func() bool { after = used(t, p, admin); return after.within(before) }) {
		t.Errorf("%+v are in use, and were %+v before", after, before)
	}
	t.Logf("at its peak %d MiB; %+v before, %+v after", after.peak>>10, before, after)
	if !raceDetector() && after.peak > maxMemory {
		t.Errorf("the server took %d KiB", after.peak)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// fillCaches sends more documents than are remembered, each with its hash.
func fillCaches(t *testing.T, facts demoFacts) {
	t.Helper()
	for i := range 1_200 {
		query := fmt.Sprintf("{ viewer { subject } } #%d %s", i, strings.Repeat("#", 15_000))
		hash := sha256.Sum256([]byte(query))
		status, _, body := ask(t, "POST", facts.GraphQL, facts.Tokens.Admin, string(mustJSON(map[string]any{
			"query": query, "extensions": map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hex.EncodeToString(hash[:])}},
		})))
		if status != http.StatusOK || !strings.Contains(body, `"subject":"admin"`) {
			t.Fatalf("%d %s", status, body)
		}
	}
}

// dashboard makes a request again and again over connections of its own, and is
// entitled to an answer each time.
type dashboard struct {
	request   func() *http.Request
	transport http.Transport
	took      []time.Duration
	calls     int
}

func (c *dashboard) call(t *testing.T, times int) {
	defer c.transport.CloseIdleConnections()
	for range times {
		began := time.Now()
		response, err := c.transport.RoundTrip(c.request())
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "@") {
			t.Errorf("one who behaves: %d %v %.200s", response.StatusCode, err, body)
		}
		c.took = append(c.took, time.Since(began))
		c.calls++
	}
}

// p99 is the time that all but the slowest hundredth took since it was asked last.
func (c *dashboard) p99() time.Duration {
	p99 := percentile(c.took, 99)
	c.took = nil
	return p99
}

// refusals are the times that they took.
type refusals struct {
	mu      sync.Mutex
	took    []time.Duration
	slowest string
}

// abuse has so many abusers send every hostile request so many times. None may
// be answered at length or with a failure of the server.
func abuse(t *testing.T, requests map[string]func() *http.Request, token string, abusers, times int) *refusals {
	t.Helper()
	result := &refusals{}
	var group sync.WaitGroup
	for range abusers {
		group.Go(func() {
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			for range times {
				for name, request := range requests {
					request := request()
					request.RequestURI = ""
					request.Header.Set("Authorization", "Bearer "+token)
					began := time.Now()
					response, err := transport.RoundTrip(request)
					if err != nil {
						continue // hung up on while it was sending
					}
					size, _ := io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if response.StatusCode >= 500 || size > maxRefusal {
						t.Errorf("%s: answered with %d and %d bytes", name, response.StatusCode, size)
					}
					result.add(name, time.Since(began))
				}
			}
		})
	}
	group.Wait()
	return result
}

func (r *refusals) add(name string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.took) == 0 || took > slices.Max(r.took) {
		r.slowest = fmt.Sprintf("%s, %s", name, took.Round(time.Microsecond))
	}
	r.took = append(r.took, took)
}

// openIdle opens 10,000 connections, or as many as the system allows
// this process, makes a request on each and leaves them open.
func openIdle(t *testing.T, facts demoFacts) []net.Conn {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	most := min(10_000, int(limit.Max)-500)
	if most < 10_000 {
		t.Logf("the system allows %d descriptors only", limit.Max)
	}
	connections := make([]net.Conn, 0, most)
	t.Cleanup(func() {
		for _, connection := range connections {
			connection.Close()
		}
	})
	for range most {
		connection, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		connections = append(connections, connection)
		fmt.Fprintf(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReaderSize(connection, 512), nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %v %v", len(connections), response, err)
		}
		response.Body.Close()
	}
	return connections
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startServeProgram starts "roster serve" in a process of its own and gives its
// addresses once it serves. What it logs is thrown away.
func startServeProgram(t *testing.T, env map[string]string) (p *program, address, admin string) {
	t.Helper()
	admin = freeAddress(t)
	p = &program{Cmd: exec.Command(os.Args[0], "serve", "--listen", "127.0.0.1:0", "--admin-listen", admin)}
	p.Env = append(os.Environ(), "ROSTER_TEST_PROGRAM=1")
	for name, value := range env {
		p.Env = append(p.Env, name+"="+value)
	}
	serving := make(chan string, 1)
	p.Stderr = writerFunc(func(line []byte) (int, error) {
		if _, rest, ok := strings.Cut(string(line), "msg=serving address="); ok {
			serving <- strings.Fields(rest)[0]
		}
		return len(line), nil
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	select {
	case address = <-serving:
	case <-time.After(time.Minute):
		t.Fatal("the program does not serve")
	}
	return p, address, admin
}

// startFilledProgram starts "roster serve" on a database of its own with this many
// generated users, and gives the operator's address and what callers need.
func startFilledProgram(t *testing.T, engine db.Engine, users int, settings map[string]string) (p *program, admin string, facts demoFacts) {
	t.Helper()
	secret := strings.Repeat("k", 32)
	env := map[string]string{"DATABASE_URL": dbtest.URL(t, engine), "ROSTER_JWT_SECRET": secret, "ROSTER_JWT_ISSUER": "i", "ROSTER_JWT_AUDIENCE": "a"}
	maps.Copy(env, settings)
	customers, err := dbtest.OpenURL(t, env["DATABASE_URL"]).FillDemo(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	token, err := auth.Sign([]byte(secret), "i", "a", auth.Principal{Subject: "admin", Authorities: []string{auth.RoleAdmin}, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	p, address, admin := startServeProgram(t, env)
	facts.URL = "http://" + address
	if env["ROSTER_TLS_CERT"] != "" {
		facts.URL = "https://" + address
	}
	facts.GraphQL = facts.URL + "/graphql"
	facts.Customers = []demoCustomer{generated: {Number: customers[generated].Number}}
	facts.Tokens.Admin = token
	return p, admin, facts
}

// usage is what a process uses.
type usage struct{ descriptors, goroutines, peak int }

// within reports whether no more is in use than was before. The database's pool
// may have opened a connection more, with up to three files each.
func (u usage) within(before usage) bool {
	return u.descriptors <= before.descriptors+3 && u.goroutines <= before.goroutines+1
}

// used gives what the program uses. Its goroutines stand in its metrics, its
// peak, in KiB, in /proc.
func used(t *testing.T, p *program, admin string) usage {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", p.Process.Pid)
	files, err := os.ReadDir(folder + "fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(folder + "status")
	if err != nil {
		t.Fatal(err)
	}
	_, _, metrics := ask(t, "GET", "http://"+admin+"/metrics", "", "")
	number := func(pattern, text string) int {
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("%s is not in %s", pattern, text)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usage{len(files), number(`(?m)^go_goroutines (\d+)$`, metrics), number(`VmHWM:\s+(\d+) kB`, string(status))}
}

// raceDetector reports whether this is a build with the race detector, which
// takes several times the memory.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Lists that nobody reads take little memory, however many they are and however they are
// compressed. The database is PostgreSQL's, as the file of SQLite, which is mapped, counts
// as memory though the system can take it back.
func TestStreamsThatNobodyReads(t *testing.T) {
	if testing.Short() { // CI runs it without -short, before the race detector
		t.Skip("450 lists take minutes with the race detector")
	}
	server, admin, facts := startFilledProgram(t, db.Postgres, 5_000, nil)
	var group sync.WaitGroup
	for range 16 { // connections to the database, which stay
		group.Go(func() { (&dashboard{request: usersRequest(facts)}).call(t, 20) })
	}
	group.Wait()
	before := used(t, server, admin)
	var begun int
	var connections []net.Conn
	for i := range 450 {
		connection, err := net.Dial("tcp", strings.TrimPrefix(facts.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		connections = append(connections, connection)
		if err := connection.(*net.TCPConn).SetReadBuffer(2 << 10); err != nil {
			t.Fatal(err)
		}
		coding := []string{"zstd", "gzip", "identity"}[i%3]
		if _, err := fmt.Fprintf(connection, "GET /account/api/v1/customers/%d/users/ HTTP/1.1\r\nHost: x\r\ncurrent-company-id: 1\r\nAccept-Encoding: %s\r\nAuthorization: Bearer %s\r\n\r\n",
			facts.Customers[generated].Number, coding, facts.Tokens.Admin); err != nil {
			t.Fatal(err)
		}
		// What is too much is cut, before or after its first byte.
		if status, err := bufio.NewReaderSize(connection, 16).ReadString(' '); err == nil && status == "HTTP/1.1 " {
			begun++
		}
	}
	if begun < 30 {
		t.Errorf("only %d lists have begun", begun)
	}
	t.Logf("%d of %d lists have begun", begun, len(connections))
	for _, connection := range connections {
		connection.Close()
	}
	settle(t, server, admin, before)
}

// Over HTTP/2 one connection can begin and give up requests faster than any of
// them can be worked on. That takes processor time, no more memory than other
// requests, and ends the connection.
func TestRapidReset(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	server, admin, facts := startFilledProgram(t, db.SQLite, 200, map[string]string{"ROSTER_TLS_CERT": string(files.Certificate), "ROSTER_TLS_KEY": string(files.Key)})
	polite := &dashboard{
		request:   usersRequest(facts),
		transport: http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	polite.call(t, 100)
	t.Logf("alone: p99 %s", polite.p99())
	before := used(t, server, admin)

	// The abusers are a program of their own, as in life: in this one, those who
	// behave would wait for them and not for the server.
	abusers := exec.Command(os.Args[0], strings.TrimPrefix(facts.URL, "https://"))
	abusers.Env = append(os.Environ(), "ROSTER_TEST_PROGRAM=resets")
	stop, err := abusers.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var done bytes.Buffer
	abusers.Stdout, abusers.Stderr = &done, os.Stderr
	if err := abusers.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = abusers.Process.Kill() })
	polite.call(t, 300)
	stop.Close()
	if err := abusers.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("beside 8 abusers: p99 %s; %s", polite.p99(), done.String())
	settle(t, server, admin, before)
}

func init() { programs["resets"] = resetter }

// resetter is the program that resets requests over eight connections at a time,
// until it has nothing to read any more.
func resetter() {
	const most = 5_000
	var begun, connections, closed atomic.Int64
	stop := make(chan bool)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, err := rapidReset(os.Args[1], most)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				begun.Add(n)
				connections.Add(1)
				if n < most {
					closed.Add(1)
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	group.Wait()
	fmt.Printf("they began and gave up %d requests on %d connections, of which the server closed %d", begun.Load(), connections.Load(), closed.Load())
}

// rapidReset begins requests on one connection and gives each up at once, until
// the server hangs up or there were so many. It gives their number.
func rapidReset(address string, most int64) (begun int64, err error) {
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	go func() { _, _ = io.Copy(io.Discard, connection) }()
	frame := func(kind, flags byte, stream int64, payload string) string {
		header := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		header = append(header, flags)
		return string(binary.BigEndian.AppendUint32(header, uint32(stream))) + payload
	}
	// GET, https, and the path and the host as they are (RFC 7541, section 6).
	const path = "/graphql?query=%7Bviewer%7Bsubject%7D%7D"
	headers := "\x82\x87\x04" + string(rune(len(path))) + path + "\x01\x01x"
	if _, err := io.WriteString(connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(4, 0, 0, "")); err != nil {
		return 0, nil
	}
	for stream := int64(1); begun < most; stream += 2 {
		// HEADERS that end the request, and RST_STREAM with CANCEL (RFC 9113, section 6).
		if _, err := io.WriteString(connection, frame(1, 0x5, stream, headers)+frame(3, 0, stream, "\x00\x00\x00\x08")); err != nil {
			return begun, nil
		}
		begun++
	}
	return begun, nil
}
