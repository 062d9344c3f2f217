package repository

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// nightlyEnv, when set, makes tests run in full that are scaled down otherwise.
const nightlyEnv = "HELIX_CKPT_NIGHTLY"

// TestManyGenerationsStaySmall changes 0.1 % of a state, in random pages, every
// minute of a simulated clock, and applies retention after each checkpoint.
func TestManyGenerationsStaySmall(t *testing.T) {
	t.Parallel()
	size, generations := 4<<20, 300
	if os.Getenv(nightlyEnv) != "" {
		size, generations = 100<<20, 1000
	}
	for name, page := range map[string]func(*rand.Rand, []byte){"noise": noisePage, "text": textPage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := generation{t: t, rnd: rand.New(rand.NewPCG(seedOf(t), 0)), page: page, state: make([]byte, size)}
			g.run(generations)
		})
	}
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return seed
}

const pageSize = 4 << 10

func noisePage(rnd *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
}

// textPage fills b with words, which compress to about a third.
func textPage(rnd *rand.Rand, b []byte) {
	for len(b) > 0 {
		word := rand.New(rand.NewPCG(rnd.Uint64N(2000), 0))
		for range min(2+word.IntN(9), len(b)-1) {
			b[0] = byte('a' + word.IntN(26))
			b = b[1:]
		}
		b[0] = ' '
		b = b[1:]
	}
}

// generation is a state that changes.
type generation struct {
	t     *testing.T
	rnd   *rand.Rand
	page  func(*rand.Rand, []byte)
	state []byte
	r     *Repository

	first, worst int64 // bytes on disk after the first checkpoint, and at most
	committed    int64 // bytes that checkpoints brought
	written      int64 // bytes that prunes wrote anew
	repacked     int
	packs        int           // at most
	pruning      time.Duration // in all
}

func (g *generation) run(generations int) {
	t := g.t
	var err error
	g.r, err = open(filepath.Join(t.TempDir(), "sessions", "ses_01"), lazy{})
	must(t, err)
	for b := g.state; len(b) > 0; b = b[pageSize:] {
		g.page(g.rnd, b[:pageSize])
	}
	for seq := range generations {
		g.checkpoint(uint64(seq + 1))
		for range len(g.state) / 1000 / pageSize {
			at := g.rnd.IntN(len(g.state)/pageSize) * pageSize
			g.page(g.rnd, g.state[at:at+pageSize])
		}
	}
	entries, _, err := g.r.List(t.Context())
	must(t, err)
	_, size := files(t, g.r)
	ratio := func(n int64) float64 { return float64(n) / float64(g.first) }
	t.Logf("%d generations of %d bytes, %d kept, %d packs (at most %d); %.2f times the first, at most %.2f",
		generations, len(g.state), len(entries), g.packCount(), g.packs, ratio(size), ratio(g.worst))
	t.Logf("written anew: %d packs, %.2f bytes for each that was committed; a prune took %v",
		g.repacked, float64(g.written)/float64(g.committed), (g.pruning / time.Duration(generations)).Round(10*time.Microsecond))
	t.Logf("read: %s", g.read(entries[0].ID))
	if ratio(g.worst) > 3 || g.packs > 30 {
		t.Errorf("%.2f times the first, in up to %d packs", ratio(g.worst), g.packs)
	}
	t.Logf("what is needed is %.2f times the state", float64(needed(t, g.r))/float64(len(g.state)))
	must(t, sound(g.r.Dir(), nil))
}

// needed returns the plain bytes that the checkpoints of r need, each once.
func needed(t *testing.T, r *Repository) int64 {
	t.Helper()
	must(t, r.index.scan(t.Context()))
	p := pruner{r: r, dry: true}
	live, err := p.mark(t.Context())
	must(t, err)
	total, seen := int64(0), map[checkpoint.Hash]bool{}
	r.index.places.each(func(id checkpoint.Hash, at place) {
		if live.holds(chunk{id: id}) && !seen[id] {
			seen[id] = true
			total += int64(at.size)
		}
	})
	return total
}

func (g *generation) checkpoint(seq uint64) {
	t := g.t
	// Not begin, which keeps it until the test ends: there are a thousand.
	tx, err := g.r.Begin(t.Context())
	must(t, err)
	defer tx.Abort()
	m := manifest(seq, fileOf("data", put(t, tx, g.state)))
	m.Created = m.Created.Add(time.Duration(seq) * time.Minute)
	m.ID = checkpoint.NewID(m.Created)
	g.committed += tx.NewBytes()
	_, err = tx.Commit(t.Context(), m, nil)
	must(t, err)
	entries, _, err := g.r.List(t.Context())
	must(t, err)
	start := time.Now()
	report := prune(t, g.r, checkpoint.Expired(entries, nil)...)
	g.pruning += time.Since(start)
	g.repacked, g.written = g.repacked+report.Repacked, g.written+report.WrittenBytes
	_, size := files(t, g.r)
	if g.first == 0 {
		g.first = size
	}
	g.worst, g.packs = max(g.worst, size), max(g.packs, g.packCount())
}

func (g *generation) packCount() int {
	packs, err := filepath.Glob(filepath.Join(g.r.Dir(), dirPacks, "*"))
	must(g.t, err)
	return len(packs)
}

// read reads a checkpoint as a process does that has just begun, and says what
// that takes.
func (g *generation) read(id checkpoint.ID) string {
	t := g.t
	r, err := Open(g.r.Dir())
	must(t, err)
	m, _, err := r.Load(t.Context(), id)
	must(t, err)
	c := m.Components.Files.Files[0].Content
	start := time.Now()
	var out bytes.Buffer
	must(t, r.CopyTo(t.Context(), &out, c))
	took := time.Since(start)
	frames := map[*frame]bool{}
	decoded := int64(0)
	must(t, Walk(t.Context(), r, c, func(_ int, id checkpoint.Hash, _ []byte) error {
		at, ok := r.index.find(id)
		if !ok {
			t.Fatalf("chunk %s is gone", id)
		}
		if !frames[at.frame] {
			decoded += int64(at.frame.plain)
		}
		frames[at.frame] = true
		return nil
	}))
	return fmt.Sprintf("%d bytes in %v, of %d frames with %.2f times as many", c.Size, took.Round(time.Millisecond), len(frames), float64(decoded)/float64(c.Size))
}
