package repository

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// TestManyGenerationsStaySmall changes a state a little every 45 minutes of a
// simulated clock and applies retention after each checkpoint: what lies on the
// disk stays below twice what the checkpoints that are kept need.
func TestManyGenerationsStaySmall(t *testing.T) {
	t.Parallel()
	const (
		generations = 80
		page        = 4 << 10
		pages       = 1 << 20 / page
	)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	r, err := open(filepath.Join(t.TempDir(), "sessions", "ses_01"), lazy{})
	must(t, err)
	state := noise(seed, pages*page)
	worst, repacked := 0.0, 0
	for g := range uint64(generations) {
		for i := range uint64(8) {
			copy(state[rnd.IntN(pages)*page:], noise(seed+8*g+i+1, page))
		}
		tx := begin(t, r)
		m := manifest(g+1, fileOf("data", put(t, tx, state)))
		m.Created = m.Created.Add(time.Duration(g) * 45 * time.Minute)
		m.ID = checkpoint.NewID(m.Created)
		_, err := tx.Commit(t.Context(), m, nil)
		must(t, err)
		entries, _, err := r.List(t.Context())
		must(t, err)
		repacked += prune(t, r, checkpoint.Expired(entries, nil)...).Repacked
		_, size := files(t, r)
		worst = max(worst, float64(size)/float64(needed(t, r)))
	}
	entries, _, err := r.List(t.Context())
	must(t, err)
	names, size := files(t, r)
	t.Logf("seed %d: %d generations, %d kept in %d files of %d bytes, at most %.2f times what they need; %d packs written anew",
		seed, generations, len(entries), len(names), size, worst, repacked)
	if worst > 2 || repacked == 0 {
		t.Errorf("%.2f times what is needed, %d packs written anew", worst, repacked)
	}
	must(t, sound(r.Dir(), nil))
}

// needed returns the plain bytes that the checkpoints of r need, each once.
func needed(t *testing.T, r *Repository) int64 {
	t.Helper()
	must(t, r.index.scan(t.Context()))
	p := pruner{r: r, dry: true}
	live, err := p.mark(t.Context())
	must(t, err)
	total := int64(0)
	for id := range live.chunks {
		at, ok := r.index.find(id)
		if !ok {
			t.Fatalf("chunk %s is gone", id)
		}
		total += int64(at.size)
	}
	return total
}
