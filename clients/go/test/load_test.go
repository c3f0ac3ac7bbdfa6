package test

import (
	"bufio"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/veza/veza-ledger-metrics/clients/go/ledgermetrics"
)

// What takes minutes, with the real limits of time, each in a database of its own. It prints what it measures:
//
//	LOAD=1 DATABASE_URL=… go test -run TestLoad -v -timeout 30m .
func load(t *testing.T) (db *sql.DB, url string) {
	t.Helper()
	if os.Getenv("LOAD") == "" {
		t.Skip("LOAD is not set; it takes 6 minutes")
	}
	t.Parallel()
	url, drop, err := newDatabase(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(drop)
	db, err = sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, url
}

// hangOr answers, but for the rows that hang for the 20 s of a request.
func hangOr(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(idOf(r), "hangs") {
		hang(r)
		return
	}
	recorded(w)
}

// waits measures how long rows wait that are inserted with such an id.
type waits struct {
	mutex    sync.Mutex
	inserted map[string]time.Time
	took     []time.Duration
}

// insert puts a row into the outbox that has failed so many times.
func (m *waits) insert(t *testing.T, db *sql.DB, id string, attempts int) {
	t.Helper()
	m.mutex.Lock()
	if m.inserted == nil {
		m.inserted = map[string]time.Time{}
	}
	m.inserted[id] = time.Now()
	m.mutex.Unlock()
	run(t, db, "insert into ledger_metrics_outbox (id, body, attempts) values ($1, '[]', $2)", id, attempts)
}

func (m *waits) sent(id string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if at, isMine := m.inserted[id]; isMine {
		m.took = append(m.took, time.Since(at))
	}
}

// expect waits until so many are sent, and checks how long they took.
func (m *waits) expect(t *testing.T, count int, median, worst time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		m.mutex.Lock()
		isDone := len(m.took) >= count
		m.mutex.Unlock()
		if isDone {
			break
		}
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.took) < count {
		t.Fatalf("%d of %d are sent", len(m.took), count)
	}
	slices.Sort(m.took)
	gotMedian, gotWorst := m.took[count/2], m.took[count-1]
	t.Logf("%d rows: median %.1f s, worst %.1f s", count, gotMedian.Seconds(), gotWorst.Seconds())
	if gotMedian > median || gotWorst > worst {
		t.Errorf("more than %s and %s", median, worst)
	}
}

func TestLoadNewRowsBehindRowsThatHang(t *testing.T) {
	for _, count := range []int{10, 100, 1000} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			db, _ := load(t)
			run(t, db, "insert into ledger_metrics_outbox (id, body) select 'hangs-' || n, '[]' from generate_series(1, $1::int) n", count)
			outbox := ledgermetrics.NewOutbox(db, answering(t, hangOr))
			var waits waits
			outbox.Hooks.Sent = waits.sent
			running(t, outbox)
			for number := range 120 {
				waits.insert(t, db, fmt.Sprint("new-", number), 0)
				time.Sleep(time.Second)
			}
			waits.expect(t, 120, 10*time.Second, 25*time.Second)
		})
	}
}

func TestLoadEveryTenthRowHangs(t *testing.T) {
	db, _ := load(t)
	outbox := ledgermetrics.NewOutbox(db, answering(t, hangOr))
	var waits waits
	outbox.Hooks.Sent = waits.sent
	running(t, outbox)
	for number := range 300 {
		if number%10 == 0 {
			insert(t, db, fmt.Sprint("hangs-", number), "[]")
		} else {
			waits.insert(t, db, fmt.Sprint("new-", number), 0)
		}
		time.Sleep(time.Second)
	}
	waits.expect(t, 270, 10*time.Second, 10*time.Second)
}

func TestLoadRowsThatFailedOnceBehindRowsThatHang(t *testing.T) {
	db, _ := load(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body, attempts) select 'hangs-' || n, '[]', 5 from generate_series(1, 30) n")
	outbox := ledgermetrics.NewOutbox(db, answering(t, hangOr))
	var waits waits
	outbox.Hooks.Sent = waits.sent
	running(t, outbox)
	for number := range 60 {
		waits.insert(t, db, fmt.Sprint("once-", number), 1)
		time.Sleep(2 * time.Second)
	}
	waits.expect(t, 60, 25*time.Second, 25*time.Second)
}

func TestLoadRowsWithALongRetryAfter(t *testing.T) {
	db, _ := load(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'later-' || n, '[]' from generate_series(1, 10) n")
	outbox := ledgermetrics.NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(idOf(r), "later") {
			w.Header().Set("Retry-After", "3600")
			answer(w, 503, `{"error":"later"}`)
			return
		}
		recorded(w)
	}))
	var waits waits
	outbox.Hooks.Sent = waits.sent
	running(t, outbox)
	for number := range 60 {
		waits.insert(t, db, fmt.Sprint("new-", number), 0)
		time.Sleep(time.Second)
	}
	waits.expect(t, 60, 10*time.Second, 25*time.Second)
}

// start runs a process that drains this outbox to this receiver.
func start(t *testing.T, url string, receiver http.HandlerFunc) *exec.Cmd {
	t.Helper()
	program := filepath.Join(t.TempDir(), "reconciler")
	if printed, err := exec.Command("go", "build", "-o", program, "./reconciler").CombinedOutput(); err != nil {
		t.Fatalf("%s", printed)
	}
	process := exec.Command(program)
	process.Env = append(os.Environ(), "DATABASE_URL="+url, "RECEIVER_URL="+serve(t, receiver),
		"WEBHOOK_SECRET="+testSecret)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Process.Kill() })
	return process
}

func TestLoadTwentyThousandRowsAfterAnOutage(t *testing.T) {
	db, url := load(t)
	run(t, db, `insert into ledger_metrics_outbox (id, body) select 'row-' || n,
		'[{"type":"reconciler.action","timestamp":"2026-01-31T12:00:00Z","data":{"phase":"stuck_orders"}}]'
		from generate_series(1, 20000) n`)
	startedAt := time.Now()
	process := start(t, url, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	for rows(t, db, "select from ledger_metrics_outbox where sent_at is null limit 1") != "" {
		time.Sleep(100 * time.Millisecond)
	}
	perSecond := 20_000 / time.Since(startedAt).Seconds()
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	kib := 0
	for lines := bufio.NewScanner(status); lines.Scan(); {
		fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib)
	}
	t.Logf("%.0f rows/s, %d MiB at most", perSecond, kib/1024)
	if perSecond < 300 || kib == 0 || kib > 64*1024 {
		t.Error("less than 300 rows/s, or more than 64 MiB")
	}
}

func TestLoadADeadProcess(t *testing.T) {
	db, url := load(t)
	insert(t, db, "a", "[]")
	asked := make(chan bool, 1)
	dead := start(t, url, func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		hang(r)
	})
	within(t, time.Minute, "a request", asked)
	dead.Process.Kill()
	startedAt := time.Now()
	start(t, url, func(w http.ResponseWriter, r *http.Request) { recorded(w) })
	for rows(t, db, "select from ledger_metrics_outbox where sent_at is null") != "" {
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(startedAt)
	t.Logf("sent %.1f s after the process died", took.Seconds())
	if took > 75*time.Second {
		t.Error("more than 75 s")
	}
}

func TestLoadSIGTERMWhileRowsHang(t *testing.T) {
	db, url := load(t)
	worst := time.Duration(0)
	for range 20 {
		run(t, db, "delete from ledger_metrics_outbox")
		run(t, db, "insert into ledger_metrics_outbox (id, body) select 'hangs-' || n, '[]' from generate_series(1, 10) n")
		asked := make(chan bool, 100)
		process := start(t, url, func(w http.ResponseWriter, r *http.Request) {
			asked <- true
			hang(r)
		})
		for range workers {
			within(t, time.Minute, "a request of each worker", asked)
		}
		startedAt := time.Now()
		process.Process.Signal(syscall.SIGTERM)
		if err := process.Wait(); err != nil {
			t.Error(err)
		}
		worst = max(worst, time.Since(startedAt))
		expect(t, db, "select count(*), count(claimed_until), max(attempts) from ledger_metrics_outbox", "(10,0,0)")
	}
	t.Logf("ends within %s", worst.Round(time.Millisecond))
	if worst > time.Second {
		t.Error("more than a second")
	}
}

func TestLoadAPoolOfTwoConnections(t *testing.T) {
	db, _ := load(t)
	db.SetMaxOpenConns(2)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'hangs-' || n, '[]' from generate_series(1, 100) n")
	running(t, ledgermetrics.NewOutbox(db, answering(t, hangOr)))
	worst := time.Duration(0)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		startedAt := time.Now()
		run(t, db, "select 1")
		worst = max(worst, time.Since(startedAt))
	}
	t.Logf("the application's query takes %s at most", worst.Round(time.Millisecond))
	if worst > 5*time.Second {
		t.Error("it waits for a request")
	}
}

func TestLoadAReceiverThatIsAway(t *testing.T) {
	db, _ := load(t)
	run(t, db, "insert into ledger_metrics_outbox (id, body) select 'row-' || n, '[]' from generate_series(1, 1000) n")
	var waits waits
	var mutex sync.Mutex
	requests, startedAt := 0, time.Now()
	outbox := ledgermetrics.NewOutbox(db, answering(t, func(w http.ResponseWriter, r *http.Request) {
		if time.Since(startedAt) > 15*time.Second {
			recorded(w)
			return
		}
		mutex.Lock()
		defer mutex.Unlock()
		requests++
		answer(w, []int{200, 400, 404, 409, 413, 502}[requests%6], "<html></html>")
	}))
	outbox.Hooks.Sent = waits.sent
	running(t, outbox)
	for rows(t, db, "select from ledger_metrics_outbox where sent_at is null limit 1") != "" {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d requests in 15 s; all are sent after %.1f s", requests, time.Since(startedAt).Seconds())
	expect(t, db, "select count(parked_at) from ledger_metrics_outbox", "(0)")
}
