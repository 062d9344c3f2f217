package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Repaired says what became of one damaged file.
type Repaired struct {
	// File is what it was, Quarantine what it is now, relative to the
	// repository's directory.
	File, Quarantine string
	// Chunks is how many a damaged pack's table names, Kept how many of them
	// stand in another pack now. Both are 0 for a manifest, and for a pack of
	// which nothing could be read.
	Chunks, Kept int
	// Rewritten: a manifest whose content is proven stands in its place again.
	Rewritten bool
}

// quarantineKeep is how long the content of a manifest in quarantine is kept, in
// case somebody mends it by hand: as long as what a restore moves aside.
const quarantineKeep = 7 * 24 * time.Hour

// Repair takes damaged files out of use, those that a Verify has named: they are
// moved to quarantine, never deleted. Before that what is good in them is made
// durable elsewhere, so that a crash at any point leaves no less to be read than
// there was.
//
//	pack      copy in quarantine, synced ─▶ good chunks in a new pack, synced ─▶ removed
//	manifest  copy in quarantine, synced ─▶ written anew where one of its digests
//	          proves it, else removed: see Prune about what it names
//
// A file that is not damaged any more, or not ErrDamaged (a newer format, a
// failing disk), stays. The caller holds the session's lock; guard is called
// before anything is changed. On an error some may be done; the next Repair goes
// on.
func (r *Repository) Repair(ctx context.Context, damage []Damage, guard func() error) ([]Repaired, error) {
	packs, manifests := damagedFiles(damage)
	if len(packs)+len(manifests) == 0 {
		return nil, nil
	}
	t, err := r.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer t.Abort()
	if guard != nil {
		if err := guard(); err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
	}
	done, err := t.repairPacks(ctx, packs)
	for _, name := range manifests {
		var one Repaired
		if err == nil {
			one, err = r.repairManifest(name)
		}
		if err == nil && one.Quarantine != "" {
			done = append(done, one)
		}
	}
	if err == nil {
		err = r.index.scan(ctx)
	}
	return done, wrap("repair", err)
}

// damagedFiles returns the packs and manifests that are damaged, each once.
func damagedFiles(damage []Damage) (packs, manifests []string) {
	for _, d := range damage {
		if !errors.Is(d.Err, checkpoint.ErrDamaged) {
			continue
		}
		switch filepath.Dir(d.File) {
		case dirPacks:
			packs = append(packs, filepath.Base(d.File))
		case dirCheckpoints:
			manifests = append(manifests, filepath.Base(d.File))
		}
	}
	for _, names := range []*[]string{&packs, &manifests} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return packs, manifests
}

// repairPacks copies damaged packs to quarantine and stores what is good in them
// anew; only when both are durable the packs go.
func (t *Tx) repairPacks(ctx context.Context, names []string) ([]Repaired, error) {
	r := t.r
	var bad []Repaired
	for _, name := range names {
		// Under the lock a look once more: it may have gone, or been put back.
		damaged, err := r.condemn(ctx, name)
		if err != nil {
			return nil, err
		}
		if !damaged {
			continue
		}
		one := Repaired{File: filepath.Join(dirPacks, name)}
		if one.Quarantine, err = r.quarantine(one.File); err != nil {
			return nil, err
		}
		one.Kept, one.Chunks, err = salvage(r.decoder, filepath.Join(r.dir, one.File), func(b []byte) error {
			_, err := t.add(ctx, b, t.data)
			return err
		})
		if err != nil {
			return nil, err
		}
		bad = append(bad, one)
	}
	t.mu.Lock()
	written, err := t.finishPacks(ctx)
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, one := range bad {
		// Where all of it was good, the new pack has its very name.
		if path := filepath.Join(r.dir, one.File); !slices.Contains(written, path) {
			err = errors.Join(err, r.disk.remove(path))
			r.index.forget(&pack{path: path})
		}
	}
	if len(bad) > 0 {
		err = errors.Join(err, r.disk.syncDir(filepath.Join(r.dir, dirPacks)))
	}
	return bad, err
}

// condemn reads a pack again and reports whether it is damaged.
func (r *Repository) condemn(ctx context.Context, name string) (bool, error) {
	v := verifier{r: r, progress: func(Progress) {}}
	if _, err := v.pack(ctx, name); !errors.Is(err, checkpoint.ErrDamaged) {
		return false, ctx.Err()
	}
	r.index.distrust(filepath.Join(r.index.dir, name))
	return true, nil
}

// repairManifest moves a damaged manifest to quarantine, and writes it anew where
// its content is proven.
func (r *Repository) repairManifest(name string) (Repaired, error) {
	one := Repaired{File: filepath.Join(dirCheckpoints, name)}
	id := checkpoint.ID(strings.TrimSuffix(name, manifestSuffix))
	if _, _, err := r.load(id); !errors.Is(err, checkpoint.ErrDamaged) {
		return one, nil
	}
	path := filepath.Join(r.dir, one.File)
	b, err := readFile(path, maxManifestFile)
	if err != nil && !errors.Is(err, checkpoint.ErrDamaged) {
		return one, err
	}
	if one.Quarantine, err = r.quarantine(one.File); err != nil {
		return one, err
	}
	if plain, proven := provenManifest(r, id, b); proven {
		err = r.rewrite(id, plain)
		one.Rewritten = true
	} else {
		err = r.disk.remove(path)
	}
	if err == nil {
		err = r.disk.syncDir(filepath.Dir(path))
	}
	return one, err
}

// rewrite replaces a damaged manifest by one with that content. The directory is
// yet to be synced.
func (r *Repository) rewrite(id checkpoint.ID, plain []byte) error {
	sealed, err := seal(plain)
	if err != nil {
		return err
	}
	path := filepath.Join(r.dir, manifestName(id))
	temp := tempName(filepath.Dir(path))
	if err := writeFile(r.disk, temp, sealed); err != nil {
		return err
	}
	return r.disk.rename(temp, path)
}

// provenManifest returns the plain JSON of a damaged manifest where one of the
// two digests of its seal proves it: only the seal, or a checksum, is damaged.
func provenManifest(r *Repository, id checkpoint.ID, b []byte) ([]byte, bool) {
	if len(b) < sealLen {
		return nil, false
	}
	packed, sums := b[:len(b)-sealLen], b[len(b)-sealLen+skipHead:]
	plain, err := inflate(r.decoder, packed)
	if err != nil {
		return nil, false
	}
	if m, err := checkpoint.Decode(plain); err != nil || m.ID != id {
		return nil, false
	}
	for i, part := range [][]byte{plain, packed} {
		sum := checkpoint.Sum(part)
		if bytes.Equal(sum[:], sums[i*len(sum):(i+1)*len(sum)]) {
			return plain, true
		}
	}
	return nil, false
}

// quarantine copies a file of the repository there, durably, and returns the name
// of the copy. The file itself is the caller's to remove or replace: so it is in
// one place at least, whenever the power fails.
func (r *Repository) quarantine(name string) (string, error) {
	from, _, err := openFile(filepath.Join(r.dir, name))
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, there, err := r.quarantineName(from.Name())
	if err != nil {
		return "", err
	}
	dir := filepath.Join(r.dir, dirQuarantine)
	if !there {
		temp := tempName(dir)
		if err := copyFile(r.disk, temp, from); err != nil {
			return "", err
		}
		if err := r.disk.rename(temp, filepath.Join(r.dir, to)); err != nil {
			return "", err
		}
	}
	return to, r.disk.syncDir(dir)
}

// quarantineTime is how the name of a file in quarantine starts: when it came.
const quarantineTime = "20060102T150405.000Z"

// quarantineName returns a free name for a copy of a file in quarantine, where
// nothing is ever replaced; or that of the copy which a repair that was cut off
// has left there.
func (r *Repository) quarantineName(path string) (name string, there bool, err error) {
	names, err := readDir(filepath.Join(r.dir, dirQuarantine))
	if err != nil {
		return "", false, err
	}
	sum := sumFile(path)
	for _, name := range names {
		name = filepath.Join(dirQuarantine, name)
		if strings.HasSuffix(name, "-"+filepath.Base(path)) && sumFile(filepath.Join(r.dir, name)) == sum {
			return name, true, nil
		}
	}
	for now := time.Now().UTC(); ; now = now.Add(time.Millisecond) {
		if name = now.Format(quarantineTime) + "-" + filepath.Base(path); !slices.Contains(names, name) {
			return filepath.Join(dirQuarantine, name), false, nil
		}
	}
}

// quarantined returns the manifests in quarantine that came there less than
// quarantineKeep ago, as damage: what they need is not known.
func (r *Repository) quarantined(now time.Time) ([]Damage, error) {
	names, err := readDir(filepath.Join(r.dir, dirQuarantine))
	if err != nil {
		return nil, err
	}
	var kept []Damage
	for _, name := range names {
		if len(name) <= len(quarantineTime) || !strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		since, err := time.Parse(quarantineTime, name[:len(quarantineTime)])
		id, idErr := checkpoint.ParseID(strings.TrimSuffix(name[len(quarantineTime)+1:], manifestSuffix))
		if err != nil || idErr != nil || now.Sub(since) >= quarantineKeep {
			continue
		}
		if _, _, err := r.load(id); err == nil {
			continue // it was written anew, and says what it needs
		}
		file := filepath.Join(dirQuarantine, name)
		kept = append(kept, Damage{File: file, Checkpoint: id, Err: damaged(
			"what it names is kept until %s in case somebody mends it; delete the file to give it up", since.Add(quarantineKeep).Format(time.RFC3339))})
	}
	return kept, nil
}
