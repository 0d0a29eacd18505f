//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs beside this one.
type process struct {
	name string
	cmd  *exec.Cmd
	// exited is closed when the program has ended.
	exited chan struct{}
	log    string
}

// command describes a program to start.
type command struct {
	// name names the log of the program, which goes into dir.
	name, dir string
	program   string
	args      []string
	env       []string
	// credential is the user to run as, or nil for the same one.
	credential *syscall.Credential
	// stdin and stdout are the program's, where they are wanted; the log has
	// what it writes otherwise.
	stdin  io.Reader
	stdout io.Writer
}

// start starts a program that ends with this one, however this one ends.
func start(c command) (*process, error) {
	logPath := filepath.Join(c.dir, c.name+".log")
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.program, c.args...) //nolint:noctx // it is stopped on its own, after the last round
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C", "TZ=UTC"}, c.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, log, log
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	// A Ctrl-C is for this program, which then ends the others in order. All stay in
	// one session: Linux shares the processors between sessions (sched(7), autogroup),
	// and the driver is not to be one against the servers' many.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.credential}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", c.name, err)
	}
	p := &process{name: c.name, cmd: cmd, exited: make(chan struct{}), log: logPath}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop ends the program with a signal, and by force if it takes too long.
func (p *process) stop(signal syscall.Signal) {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// wait asks ready every so often until it says yes, and gives an error with the
// program's log when the program has ended or the time is over.
func (p *process) wait(ctx context.Context, interval, limit time.Duration, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for !ready(ctx) {
		var reason error
		select {
		case <-p.exited:
			reason = errors.New("the program has ended")
		case <-ctx.Done():
			reason = ctx.Err()
		case <-ticker.C:
			continue
		}
		text, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s: %w: %s", p.name, reason, text[max(0, len(text)-2000):])
	}
	return nil
}

// usage is what processes have used: CPU time, and the most memory they had resident.
type usage struct {
	cpu     time.Duration
	peakRSS int64
}

// ticksPerSecond is the unit of the kernel's CPU times, the same on every Linux
// that Go runs on.
const ticksPerSecond = 100

// used gives what a process and its descendants have used, those included that
// have ended and were waited for.
func used(pid int) usage {
	parents, times := processes()
	var u usage
	for candidate := range parents {
		for ancestor := candidate; ancestor > 1; ancestor = parents[ancestor] {
			if ancestor == pid {
				u.cpu += time.Duration(times[candidate]) * time.Second / ticksPerSecond
				u.peakRSS += memory(candidate, "VmHWM")
				break
			}
		}
	}
	return u
}

// processes gives the parent of every process, and the CPU time in ticks of
// itself and of its children that have ended.
func processes() (parents map[int]int, ticks map[int]int64) {
	parents, ticks = map[int]int{}, map[int]int64{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		line, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended since
		}
		// The name, which may hold anything, stands in brackets; the state is next.
		fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks[pid] += n
		}
	}
	return parents, ticks
}

// memory gives a value of /proc/PID/status, such as VmHWM, in bytes.
func memory(pid int, name string) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// forgetPeak has the kernel measure the peak memory of a process from now on.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
