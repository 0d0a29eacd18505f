// Command floor answers one page of users as fast as a server written by hand for
// this one question can: net/http, a bearer token verified for every request, one
// prepared statement over pgx and appended JSON. It is what the benchmark
// measures Roster against, and not a server for anything else.
//
// It does what every answer needs and nothing more: it has no other query, no
// limits, no log and no request ids. Two things that Roster does to be quick it does
// not: it verifies the token of every request and remembers none, and its answers
// leave as net/http sends them, in two writes. As Roster may, it keeps subroles and
// authorities, which hardly ever change, in memory and reads them anew now and then.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "address to listen on")
	connections := flag.Int("connections", 16, "size of the pool")
	flag.Parse()
	debug.SetGCPercent(gcPercent)
	if err := run(context.Background(), *listen, *connections); err != nil {
		log.Fatal(err)
	}
}

// gcPercent is what Roster has too. It gives 1.13 times the pages of Go's own 100.
const gcPercent = 400

func run(ctx context.Context, listen string, connections int) error {
	config, err := pgxpool.ParseConfig(os.Getenv("BENCH_DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = int32(connections) //nolint:gosec // a small number from the command line
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := &floor{
		pool:   pool,
		secret: []byte(os.Getenv("BENCH_JWT_SECRET")),
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(os.Getenv("BENCH_JWT_ISSUER")),
			jwt.WithAudience(os.Getenv("BENCH_JWT_AUDIENCE")), jwt.WithExpirationRequired()),
	}
	if err := f.readReference(ctx); err != nil {
		return err
	}
	go f.refresh(ctx)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /customers/{id}/users", f.users)
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// floor is the whole server.
type floor struct {
	pool      *pgxpool.Pool
	secret    []byte
	parser    *jwt.Parser
	reference atomic.Pointer[reference]
}

// reference is what hardly ever changes, as JSON.
type reference struct {
	subroles    map[[16]byte][]byte
	authorities map[int64][]byte
}

const refreshInterval = 5 * time.Second

func (f *floor) refresh(ctx context.Context) {
	for range time.Tick(refreshInterval) {
		if err := f.readReference(ctx); err != nil {
			log.Print(err)
		}
	}
}

func (f *floor) readReference(ctx context.Context) error {
	read := &reference{map[[16]byte][]byte{}, map[int64][]byte{}}
	rows, err := f.pool.Query(ctx, "SELECT id, code, display_name, label, description FROM subroles")
	if err != nil {
		return err
	}
	var id [16]byte
	var code, displayName, label, description string
	_, err = pgx.ForEachRow(rows, []any{&id, &code, &displayName, &label, &description}, func() error {
		b := appendUUID([]byte(`{"id":`), id[:])
		b = appendString(append(b, `,"code":`...), []byte(code))
		b = appendString(append(b, `,"displayName":`...), []byte(displayName))
		b = appendString(append(b, `,"label":`...), []byte(label))
		b = appendString(append(b, `,"description":`...), []byte(description))
		read.subroles[id] = append(b, '}')
		return nil
	})
	if err != nil {
		return err
	}
	rows, err = f.pool.Query(ctx, "SELECT id, name, clean_name FROM authorities")
	if err != nil {
		return err
	}
	var number int64
	var name string
	var cleanName *string
	_, err = pgx.ForEachRow(rows, []any{&number, &name, &cleanName}, func() error {
		b := strconv.AppendInt([]byte(`{"id":`), number, 10)
		b = appendString(append(b, `,"name":`...), []byte(name))
		b = append(b, `,"cleanName":`...)
		if cleanName == nil {
			b = append(b, "null"...)
		} else {
			b = appendString(b, []byte(*cleanName))
		}
		read.authorities[number] = append(b, '}')
		return nil
	})
	if err != nil {
		return err
	}
	f.reference.Store(read)
	return nil
}

// claims are what the answer depends on.
type claims struct {
	jwt.RegisteredClaims
	Authorities []string `json:"authorities"`
	Customer    string   `json:"customer_id"`
}

var errRefused = errors.New("the token does not give access")

func (f *floor) authorize(r *http.Request, customer string) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return errRefused
	}
	var caller claims
	if _, err := f.parser.ParseWithClaims(token, &caller, func(*jwt.Token) (any, error) { return f.secret, nil }); err != nil {
		return err
	}
	if !slices.Contains(caller.Authorities, "ROLE_ADMIN") && caller.Customer != customer {
		return errRefused
	}
	return nil
}

// page is one statement, so that there is one round trip. The columns stand in
// the order in which appendUser reads them.
const page = `
SELECT u.id, u.number, u.username, u.first_name, u.last_name, u.email, u.mobile, u.status,
	u.is_email_verified, u.is_first_login, u.created_at, u.updated_at, u.subrole_id,
	ARRAY(SELECT ua.authority_id FROM user_authorities ua WHERE ua.user_id = u.id ORDER BY 1),
	c.name
FROM customers c JOIN users u ON u.customer_id = c.id
WHERE c.id = $1
ORDER BY u.created_at DESC, u.id DESC
LIMIT 20`

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 32<<10)) }}

// users is GET customers/{id}/users: the newest 20 users of a customer, in the
// form of GraphQL's answer to the same question.
func (f *floor) users(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := f.authorize(r, id); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	customer, err := uuid.Parse(id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	if *buffer, err = f.appendPage(r.Context(), (*buffer)[:0], customer); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(*buffer)))
	_, _ = w.Write(*buffer)
}

func (f *floor) appendPage(ctx context.Context, b []byte, customer [16]byte) ([]byte, error) {
	rows, err := f.pool.Query(ctx, page, customer)
	if err != nil {
		return b, err
	}
	defer rows.Close()
	known := f.reference.Load()
	n := 0
	for ; rows.Next(); n++ {
		values := rows.RawValues()
		if n == 0 {
			b = appendString(append(b, `{"data":{"customer":{"name":`...), values[14])
			b = append(b, `,"users":{"nodes":[`...)
		} else {
			b = append(b, ',')
		}
		b = known.appendUser(b, values)
	}
	if err := rows.Err(); err != nil {
		return b, err
	}
	if n == 0 {
		return b, fmt.Errorf("no users of %x", customer)
	}
	return append(b, "]}}}}"...), nil
}

// appendUser writes a row in PostgreSQL's binary form as JSON.
func (known *reference) appendUser(b []byte, v [][]byte) []byte {
	b = appendUUID(append(b, `{"id":`...), v[0])
	b = strconv.AppendInt(append(b, `,"number":`...), int64(binary.BigEndian.Uint64(v[1])), 10) //nolint:gosec // the wire's own form
	b = appendString(append(b, `,"username":`...), v[2])
	b = appendString(append(b, `,"firstName":`...), v[3])
	b = appendString(append(b, `,"lastName":`...), v[4])
	b = appendString(append(b, `,"email":`...), v[5])
	b = appendString(append(b, `,"mobile":`...), v[6])
	b = appendString(append(b, `,"status":`...), v[7])
	b = strconv.AppendBool(append(b, `,"isEmailVerified":`...), v[8][0] != 0)
	b = strconv.AppendBool(append(b, `,"isFirstLogin":`...), v[9][0] != 0)
	b = appendTime(append(b, `,"createdAt":`...), v[10])
	b = appendTime(append(b, `,"updatedAt":`...), v[11])
	b = append(b, `,"subrole":`...)
	if v[12] == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, known.subroles[[16]byte(v[12])]...)
	}
	b = append(b, `,"authorities":[`...)
	// An array begins with 20 bytes about itself, or 12 if it is empty; each
	// number has its length before it.
	for i := 20; i < len(v[13]); i += 12 {
		if i > 20 {
			b = append(b, ',')
		}
		b = append(b, known.authorities[int64(binary.BigEndian.Uint64(v[13][i+4:]))]...) //nolint:gosec // the wire's own form
	}
	return append(b, "]}"...)
}

func appendUUID(b, id []byte) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, digits[c>>4], digits[c&15])
	}
	return append(b, '"')
}

// appendTime writes PostgreSQL's microseconds since the year 2000.
func appendTime(b, micros []byte) []byte {
	const year2000 = 946_684_800_000_000
	t := time.UnixMicro(int64(binary.BigEndian.Uint64(micros)) + year2000).UTC() //nolint:gosec // the wire's own form
	return t.AppendFormat(b, `"2006-01-02T15:04:05.000Z"`)
}

// appendString writes text, or null for the nil that stands for SQL's NULL.
func appendString(b, text []byte) []byte {
	if text == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	from := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[from:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = fmt.Appendf(b, `\u%04x`, c)
		}
		from = i + 1
	}
	return append(append(b, text[from:]...), '"')
}
