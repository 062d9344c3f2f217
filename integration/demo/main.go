// Command demo shows what helix-ckpt is for, with real programs and in places
// that share nothing:
//
//	desktop A   Sway with windows in nested containers, a writer of Zed's
//	            databases, an agent's conversations, helix-ckpt run
//	            → checkpoints by themselves → one exported file
//	            → kill -9, and A's tree is deleted
//	desktop B   new processes, another directory mounted at /workspace,
//	            helix-ckpt run --restore wait; import and restore by gRPC
//	desktop C   once more, by helix-ckpt import and helix-ckpt restore
//
// Each desktop lives in namespaces and on a root of its own (box). What came
// back is compared with what was lost by independent readers (evidence), and
// any difference makes the demo fail. Screenshots are left in the folder that
// it names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/helixml/helix-ckpt/integration/zedwriter"
)

func main() {
	// bwrap's --die-with-parent means the thread that started it; the main
	// thread lives as long as the demo.
	runtime.LockOSThread()
	shots := flag.String("out", "demo-out", "where the screenshots go")
	binary := flag.String("binary", "bin/helix-ckpt", "the program that is shown")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tell := narrator{start: time.Now()}
	if err := run(ctx, tell, *binary, *shots); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: FAILED: %v\n", err)
		os.Exit(1)
	}
	tell.step("PASSED: everything came back, twice, in places that never saw it; screenshots before and after: %s", *shots)
}

// narrator prints one line per step.
type narrator struct{ start time.Time }

func (n narrator) step(format string, args ...any) {
	fmt.Printf("%5.1f s  %s\n", time.Since(n.start).Seconds(), fmt.Sprintf(format, args...))
}

func (n narrator) line(format string, args ...any) {
	fmt.Printf("         · %s\n", fmt.Sprintf(format, args...))
}

func (n narrator) quote(output string) {
	for line := range strings.Lines(output) {
		fmt.Printf("         | %s", line)
	}
}

// demo is what its acts share.
type demo struct {
	sandbox
	tell     narrator
	dir      string // the desktops' directories
	programs string // helix-ckpt and zedwriter, seen inside at /opt/demo
	shots    string
}

func run(ctx context.Context, tell narrator, binary, shots string) (err error) {
	s, err := findSandbox(ctx)
	if err != nil {
		return err
	}
	// Not os.TempDir: the path of a unix socket has at most 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "helix-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := demo{sandbox: s, tell: tell, dir: dir, programs: filepath.Join(dir, "programs")}
	if d.shots, err = filepath.Abs(shots); err != nil {
		return err
	}
	if err := d.prepare(ctx, binary); err != nil {
		return err
	}
	lost, archive, err := d.loseA(ctx)
	if err != nil {
		return err
	}
	if err := d.bringBackB(ctx, lost, archive); err != nil {
		return err
	}
	return d.bringBackC(ctx, lost, archive)
}

// prepare puts the programs where the boxes see them.
func (d demo) prepare(ctx context.Context, binary string) error {
	if err := os.MkdirAll(d.shots, 0o755); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(d.programs, 0o755), os.Chmod(d.dir, 0o755)); err != nil {
		return err
	}
	inside := filepath.Join(d.programs, "helix-ckpt")
	if err := errors.Join(copyFile(binary, inside), os.Chmod(inside, 0o755)); err != nil {
		return fmt.Errorf("%w; build it with: make build", err)
	}
	if _, err := zedwriter.Build(ctx, d.programs); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, inside, "version").Output()
	if err != nil {
		return fmt.Errorf("helix-ckpt version: %w", err)
	}
	how := "a user namespace"
	if d.uid == nobody {
		how = "root, dropped to nobody inside"
	}
	d.tell.step("built: %.60q; each desktop gets a tmpfs root and namespaces of its own, made by %s", version, how)
	return nil
}

// loseA is desktop A's life. It returns what was lost, and the one file that
// was carried out.
func (d demo) loseA(ctx context.Context) (lost evidence, archive string, err error) {
	a, err := d.newBox("A", d.dir)
	if err != nil {
		return lost, "", err
	}
	defer func() { err = errors.Join(err, a.destroy()) }()
	if err := a.boot(ctx, d.sandbox, d.programs); err != nil {
		return lost, "", err
	}
	if _, err := a.run(ctx, d.sandbox, project+"\n"+conversations); err != nil {
		return lost, "", err
	}
	writer := fmt.Sprintf("zedwriter --data ~/%s --log ~/zedwriter.log --db-size %d --threads-size %d --burst %s --rest 1h", zedData, zedBytes, zedBytes, zedBurst)
	if err := a.spawn(ctx, d.sandbox, "zedwriter", writer); err != nil {
		return lost, "", err
	}
	if err := a.furnish(ctx); err != nil {
		return lost, "", err
	}
	d.tell.step("desktop A: %d windows on two workspaces, Zed's databases being written, a conversation going on", len(windows))

	last, err := d.checkpointA(ctx, a)
	if err != nil {
		return lost, "", err
	}
	if err := lost.lookAtDesk(ctx, a); err != nil {
		return lost, "", err
	}
	if err := d.photograph(ctx, a, "before", ""); err != nil {
		return lost, "", err
	}
	if out, err := a.run(ctx, d.sandbox, "helix-ckpt export "+last.ID+" -f /workspace/session.tar.zst"); err != nil {
		return lost, "", fmt.Errorf("%w: %s", err, out)
	}
	archive = filepath.Join(d.dir, "session.tar.zst")
	if err := copyFile(filepath.Join(a.workspace(), "session.tar.zst"), archive); err != nil {
		return lost, "", err
	}
	size, err := os.Stat(archive)
	if err != nil {
		return lost, "", err
	}
	d.tell.step("exported to one file of %.1f MB, which is carried out", float64(size.Size())/1e6)

	if err := a.kill(); err != nil {
		return lost, "", err
	}
	if err := lost.lookAtFiles(ctx, a.home()); err != nil {
		return lost, "", err
	}
	if err := d.judgeWriter(a, lost, last); err != nil {
		return lost, "", err
	}
	if err := a.destroy(); err != nil {
		return lost, "", err
	}
	d.tell.step("desktop A: kill -9 of everything, and %s is deleted", a.dir)
	return lost, archive, nil
}

// checkpointA lets the agent work by itself and returns the checkpoint of the
// desktop as it stands at the end.
func (d demo) checkpointA(ctx context.Context, a *box) (last record, err error) {
	agent := fmt.Sprintf("helix-ckpt run --interval %s --quiet %s", interval, quiet)
	if err := a.spawn(ctx, d.sandbox, "agent", agent); err != nil {
		return last, err
	}
	d.tell.step("desktop A: %s; from here on nobody asks for a checkpoint", agent)
	byTimer, err := a.awaitRecord(ctx, "a checkpoint by the timer", func(r record) bool { return r.Reason == "interval" })
	if err != nil {
		return last, err
	}
	d.tell.step("a checkpoint by the timer: %s", byTimer)
	if err := a.awaitRest(ctx); err != nil {
		return last, err
	}
	if _, err := a.run(ctx, d.sandbox, "touch $XDG_RUNTIME_DIR/rest; sleep 0.3"); err != nil {
		return last, err
	}
	if last, err = d.changeUntilCaptured(ctx, a); err != nil {
		return last, err
	}
	d.tell.step("a checkpoint by a change: %s", last)
	records, err := a.records(ctx)
	if err != nil {
		return last, err
	}
	var reasons []string
	for _, r := range records {
		reasons = append(reasons, r.Reason)
		if r.Reason != "start" && r.Reason != "interval" && r.Reason != "change" {
			return last, fmt.Errorf("%s was taken for %q, though nobody asked", r.ID, r.Reason)
		}
	}
	d.tell.line("the reasons in A's manifests, read with zstd and jq: %s", strings.Join(reasons, ", "))
	return last, nil
}

// changeUntilCaptured changes the layout and waits for the checkpoint that is
// taken for it. The timer may be first; then the desktop is changed again.
func (d demo) changeUntilCaptured(ctx context.Context, a *box) (last record, err error) {
	for range 5 {
		if _, err := a.swaymsg(ctx, arrange["last"]); err != nil {
			return last, err
		}
		changed := time.Now()
		last, err = a.awaitRecord(ctx, "a checkpoint of the last change", func(r record) bool { return r.Created.After(changed) })
		if err != nil || last.Reason == "change" {
			return last, err
		}
	}
	return last, errors.New("the timer was first five times")
}

// awaitRest returns when the writer's burst is over: its log stands still.
func (b *box) awaitRest(ctx context.Context) error {
	log := filepath.Join(b.home(), "zedwriter.log")
	return await(ctx, "Zed to rest", func() bool {
		info, err := os.Stat(log)
		return err == nil && time.Since(info.ModTime()) > time.Second
	})
}

// judgeWriter checks what was lost against what the writer says it committed,
// and that no save of it failed.
func (d demo) judgeWriter(a *box, lost evidence, last record) error {
	f, err := os.Open(filepath.Join(a.home(), "zedwriter.log"))
	if err != nil {
		return err
	}
	defer f.Close()
	log, err := zedwriter.ReadLog(f)
	if err != nil {
		return err
	}
	for _, kind := range zedwriter.Kinds {
		if want := log.Committed(kind, last.Created); lost.last[kind] != want {
			return fmt.Errorf("%s holds %d transactions, the writer committed %d before the checkpoint", kind, lost.last[kind], want)
		}
		if n := log.Failed(kind); n > 0 {
			return fmt.Errorf("%d saves of %s failed while checkpoints were taken", n, kind)
		}
	}
	d.tell.line("Zed committed %d transactions on db.sqlite and %d on threads.db; no save failed", lost.last[zedwriter.DB], lost.last[zedwriter.Threads])
	return nil
}

// bringBackB restores by gRPC, as an orchestrator does.
func (d demo) bringBackB(ctx context.Context, lost evidence, archive string) (err error) {
	b, err := d.fresh(ctx, "B")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.destroy()) }()
	if err := b.spawn(ctx, d.sandbox, "agent", "helix-ckpt run --restore wait --start-timeout 60s"); err != nil {
		return err
	}
	conn, err := b.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := awaitAgent(ctx, conn); err != nil {
		return fmt.Errorf("%w\n%s", err, b.agentLog())
	}
	if records, err := b.records(ctx); err != nil || len(records) > 0 {
		return fmt.Errorf("while the agent waits for a restore there should be no checkpoint: %v %w", records, err)
	}
	d.tell.step("desktop B: helix-ckpt run --restore wait; it answers, and has captured nothing")
	id, err := importArchive(ctx, conn, archive)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.agentLog())
	}
	d.tell.step("desktop B: imported %s by gRPC", id)
	if err := restore(ctx, conn, id, d.tell); err != nil {
		return fmt.Errorf("%w\n%s", err, b.agentLog())
	}
	d.tell.step("desktop B: restored by gRPC")
	return d.compare(ctx, b, lost)
}

// bringBackC restores by hand: no agent runs.
func (d demo) bringBackC(ctx context.Context, lost evidence, archive string) (err error) {
	c, err := d.fresh(ctx, "C")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.destroy()) }()
	carried := filepath.Join(c.workspace(), "session.tar.zst")
	if err := errors.Join(copyFile(archive, carried), os.Chown(carried, d.uid, d.gid())); err != nil {
		return err
	}
	for _, command := range []string{"helix-ckpt -q import -f session.tar.zst", "helix-ckpt -q restore latest"} {
		out, err := c.run(ctx, d.sandbox, command)
		if err != nil {
			return err
		}
		d.tell.step("desktop C: %s", command)
		d.tell.quote(out)
	}
	return d.compare(ctx, c, lost)
}

// fresh is a desktop that has never seen the session, with a fresh clone of
// the project, and proves that nothing of A can be read in it.
func (d demo) fresh(ctx context.Context, name string) (*box, error) {
	b, err := d.newBox(name, d.dir)
	if err != nil {
		return nil, err
	}
	if err := b.boot(ctx, d.sandbox, d.programs); err != nil {
		return nil, errors.Join(err, b.destroy())
	}
	if err := d.isolated(ctx, b); err != nil {
		return nil, errors.Join(err, b.destroy())
	}
	d.tell.step("desktop %s: a new Sway, another directory at /workspace, nothing of A in sight", name)
	return b, nil
}

func (d demo) isolated(ctx context.Context, b *box) error {
	a := filepath.Join(d.dir, "a")
	if _, err := os.Stat(a); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s should be gone: %w", a, err)
	}
	// What it can see of the host is what is mounted.
	_, err := b.run(ctx, d.sandbox, fmt.Sprintf(
		"! grep -F ' %s/' /proc/self/mountinfo && [ ! -e %s ] && [ ! -e ~/.claude ] && [ ! -e ~/%s ] && [ -z \"$(ls -A)\" ] && %s",
		a, d.dir, zedData, project))
	return err
}

// compare fails if the desktop is not the one that was lost.
func (d demo) compare(ctx context.Context, b *box, lost evidence) error {
	var found evidence
	if err := found.lookAtDesk(ctx, b); err != nil {
		return err
	}
	if err := found.lookAtFiles(ctx, b.home()); err != nil {
		return err
	}
	if wrong := differences(lost, found); len(wrong) > 0 {
		for _, line := range wrong {
			d.tell.line("DIFFERENT: %s", line)
		}
		return fmt.Errorf("desktop %s is not what desktop A was: %d differences", b.name, len(wrong))
	}
	if err := d.photograph(ctx, b, "after-"+b.name, "before"); err != nil {
		return err
	}
	d.tell.step("desktop %s equals A: the tree with its focus (swaymsg), every pixel of both workspaces (grim), %d files (sqlite3 .dump, sha256sum), new processes", b.name, len(lost.files))
	return nil
}
