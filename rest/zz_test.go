package rest_test

import (
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"
	"fmt"
	"os"
	"strings"

	"roster/db"
	"roster/db/dbtest"
	"roster/models"
)

func TestZZ(t *testing.T) {
	url := dbtest.URL(t, db.Postgres)
	conn := dbtest.ConnectURL(t, url)
	data := dbtest.Users(1000, 3)
	dbtest.Write(t, conn, data)
	id := string(data.Customers[2].ID)
	for _, q := range []string{
		`insert into users select md5(g::text)::uuid::text::uuid, 1000000+g, '` + id + `', username, first_name,last_name,email,mobile,user_type,status,is_email_verified,is_first_login,account_non_expired,account_non_locked,credentials_non_expired,created_at,created_by,updated_at,updated_by,last_password_reset_at,ext_auth_ref_id,null,username_key,first_name_key,last_name_key,email_key,mobile_key,search_key from generate_series(1,500000) g, (select * from users limit 1) u`,
		`insert into user_authorities select id, a from users, (values (1),(2)) v(a) where customer_id='` + id + `'`,
		`analyze`,
	} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil { t.Fatal(err) }
	}
	database, err := db.Open(t.Context(), url, db.Options{MaxConnections: 2})
	if err != nil { t.Fatal(err) }
	defer database.Close()
	c := configFor(database)
	s := serve(t, c)
	rss := func() string { b, _ := os.ReadFile("/proc/self/status"); for _, l := range strings.Split(string(b), "\n") { if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "VmHWM") { fmt.Print(strings.Join(strings.Fields(l)," "), "; ") } }; return "" }
	for _, coding := range []string{"identity", "gzip", "zstd"} {
		runtime.GC()
		begin := time.Now()
		a, err := s.Client().Do(s.request(t, http.MethodGet, testiniumUsers(3), accepting(coding)))
		if err != nil { t.Fatal(err) }
		one := make([]byte, 1)
		a.Body.Read(one)
		fmt.Println(coding, "first byte", time.Since(begin))
		var n int64
		buf := make([]byte, 64<<10)
		var peak uint64
		paused := coding != "identity"
		for {
			k, err := a.Body.Read(buf)
			n += int64(k)
			if !paused && n > 100<<20 {
				paused = true
				p := time.Now()
				time.Sleep(10*time.Second)
				got := s.get(t, worthUsers(models.ID(id), ""))
				fmt.Println("paused; another request meanwhile:", got.status, time.Since(p))
			}
			if n % 50 == 0 { var m runtime.MemStats; runtime.ReadMemStats(&m); peak = max(peak, m.HeapInuse) }
			if err == io.EOF { break }
			if err != nil { t.Fatal(err) }
		}
		a.Body.Close()
		fmt.Println(coding, "bytes", n, "in", time.Since(begin), "peak heap MB", peak>>20); rss(); fmt.Println()
	}
}
