package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/repository"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

// TestDamagedArchivesChangeNothing cuts an archive short, lengthens it and flips
// bits all over it.
func TestDamagedArchivesChangeNothing(t *testing.T) {
	t.Parallel()
	from, to := openTemp(t), openTemp(t)
	m, _ := saved(t, from)
	b := export(t, from, m.ID)
	cases := map[string][]byte{
		"empty": nil, "longer by a byte": append(bytes.Clone(b), 0),
		"longer by a skippable frame": append(bytes.Clone(b), 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'),
		"longer by itself":            append(bytes.Clone(b), b...),
		"after a skippable frame":     append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, b...),
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 30 {
		n := rnd.IntN(len(b))
		cases[fmt.Sprintf("cut at %d", n)] = b[:n]
		at, bit := rnd.IntN(len(b)), rnd.IntN(8)
		flipped := bytes.Clone(b)
		flipped[at] ^= 1 << bit
		cases[fmt.Sprintf("bit %d of byte %d flipped", bit, at)] = flipped
	}
	for name, b := range cases {
		if _, err := importBytes(t, to, b, archive.Options{}); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	noCheckpoint(t, to)
}

const database = "ZED_DATA/db/0-dev/db.sqlite"

// hostile are archives that only an attacker would make, out of a good one.
func hostile(tb testing.TB, good []entry) map[string][]byte {
	last := len(good) - 1
	db := slices.IndexFunc(good, func(e entry) bool { return e.Name == database })
	with := func(i int, change func(e *entry)) []entry {
		list := slices.Clone(good)
		change(&list[i])
		return list
	}
	insert := func(i int, e ...entry) []entry { return slices.Insert(slices.Clone(good), i, e...) }
	extra := func(name string, kind byte) entry {
		return entry{tar.Header{Name: name, Typeflag: kind, Mode: 0o600, Format: tar.FormatPAX}, nil}
	}
	linked := func(kind byte, name, target string) entry {
		e := extra(name, kind)
		e.Linkname = target
		return e
	}
	cases := map[string][]byte{}
	for name, list := range map[string][]entry{
		"no manifest":            good[1:],
		"manifest alone":         good[:1],
		"manifest twice":         insert(1, good[0]),
		"manifest as a link":     with(0, func(e *entry) { e.Typeflag, e.Linkname, e.body = tar.TypeSymlink, "/etc/passwd", nil }),
		"traversal":              with(db, func(e *entry) { e.Name = "../../etc/cron.d/x" }),
		"traversal within":       with(db, func(e *entry) { e.Name = "ZED_DATA/../" + database }),
		"absolute":               with(db, func(e *entry) { e.Name = "/etc/cron.d/x" }),
		"case folded":            with(db, func(e *entry) { e.Name = strings.ToLower(database) }),
		"case folded, as well":   insert(db+1, with(db, func(e *entry) { e.Name = strings.ToLower(database) })[db]),
		"a newline in a name":    with(db, func(e *entry) { e.Name += "\n" }),
		"invalid UTF-8":          with(db, func(e *entry) { e.Name += "\xff" }),
		"a name too long":        with(db, func(e *entry) { e.Name = strings.Repeat("n", 1<<16) }),
		"one file more":          insert(last+1, extra("HOME/.bashrc", tar.TypeReg)),
		"a file in between":      insert(db, extra("HOME/.bashrc", tar.TypeReg)),
		"a file twice":           insert(db, good[db]),
		"a link more":            insert(db, linked(tar.TypeSymlink, "HOME/x", "/etc")),
		"a link, then through":   insert(db, linked(tar.TypeSymlink, "ZED_DATA/db", "/etc")),
		"a link in its place":    with(db, func(e *entry) { e.Typeflag, e.Linkname, e.body = tar.TypeSymlink, "/etc/passwd", nil }),
		"another target":         with(slices.IndexFunc(good, func(e entry) bool { return e.Typeflag == tar.TypeSymlink }), func(e *entry) { e.Linkname = "/etc/passwd" }),
		"a hard link more":       insert(db, linked(tar.TypeLink, "HOME/x", "/etc/passwd")),
		"a hard link, its place": with(db, func(e *entry) { e.Typeflag, e.Linkname, e.body = tar.TypeLink, "META/x", nil }),
		"a character device":     insert(db, extra("HOME/x", tar.TypeChar)),
		"a block device":         insert(db, extra("HOME/x", tar.TypeBlock)),
		"a device in its place":  with(db, func(e *entry) { e.Typeflag, e.body = tar.TypeBlock, nil }),
		"a fifo":                 insert(db, extra("HOME/x", tar.TypeFifo)),
		"a directory":            insert(db, extra("HOME/x/", tar.TypeDir)),
		"a directory, its place": with(db, func(e *entry) { e.Typeflag, e.Name, e.body = tar.TypeDir, database+"/", nil }),
		"a file less":            good[:last],
		"another order":          append(append(slices.Clone(good[:db]), good[db+1], good[db]), good[db+2:]...),
		"a page less":            slices.Delete(slices.Clone(good), 1, 2),
		"another page":           with(1, func(e *entry) { e.body = noise(1, len(e.body)) }),
		"a page with another id": with(1, func(e *entry) { e.body = noise(1, 64); e.Name = "META/" + checkpoint.Sum(e.body).String() }),
		"a page too long":        with(1, func(e *entry) { e.body = make([]byte, checkpoint.MaxChunk+1) }),
		"an empty page":          with(1, func(e *entry) { e.body = nil }),
		"other content":          with(db, func(e *entry) { e.body = noise(1, len(e.body)) }),
		"content too short":      with(db, func(e *entry) { e.body = e.body[1:] }),
		"content too long":       with(db, func(e *entry) { e.body = append(bytes.Clone(e.body), 0) }),
		"another mode":           with(db, func(e *entry) { e.Mode = 0o4777 }),
		"another time":           with(db, func(e *entry) { e.ModTime = e.ModTime.Add(1) }),
		"a bomb for a manifest":  with(0, func(e *entry) { e.body = make([]byte, checkpoint.MaxManifest+1) }),
	} {
		cases[name] = compress(tb, window, tarOf(tb, list), tarEnd)
	}

	before, at, after := tarOf(tb, good[:db]), tarOf(tb, good[db:db+1]), tarOf(tb, good[db+1:])
	body := string(good[db].body)
	const mtime = "1763892900.123456789"
	negative := rawEntry(tar.TypeReg, database, "")
	copy(negative[124:136], bytes.Repeat([]byte{0xff}, 12))
	seal(negative)
	huge := rawEntry(tar.TypeReg, database, "")
	copy(huge[124:136], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	seal(huge)
	unsealed := bytes.Clone(at)
	unsealed[len(unsealed)-len(body)-(-len(body)&511)-512+110]++ // the digits of its owner
	bodyless := func(kind byte, size int) []byte {
		h := rawEntry(kind, "x", "")
		copy(h[124:], fmt.Sprintf("%011o\x00", size))
		seal(h)
		return h
	}
	var attributes [][]byte
	for range 9 {
		attributes = append(attributes, rawEntry(tar.TypeXHeader, "x", records("comment", strings.Repeat("x", 600_000))))
	}
	for name, raw := range map[string][]byte{
		"pax: another path":       slices.Concat(rawEntry(tar.TypeXHeader, "x", records("path", "../../x", "mtime", mtime)), rawEntry(tar.TypeReg, database, body)),
		"pax: a NUL in the path":  slices.Concat(rawEntry(tar.TypeXHeader, "x", records("path", database+"\x00x", "mtime", mtime)), rawEntry(tar.TypeReg, database, body)),
		"pax: another size":       slices.Concat(rawEntry(tar.TypeXHeader, "x", records("size", "10", "mtime", mtime)), rawEntry(tar.TypeReg, database, body)),
		"pax: a negative size":    slices.Concat(rawEntry(tar.TypeXHeader, "x", records("size", "-1", "mtime", mtime)), rawEntry(tar.TypeReg, database, body)),
		"pax: a huge size":        slices.Concat(rawEntry(tar.TypeXHeader, "x", records("size", "9223372036854775807", "mtime", mtime)), rawEntry(tar.TypeReg, database, body)),
		"pax: another link":       slices.Concat(rawEntry(tar.TypeXHeader, "x", records("linkpath", "/etc/passwd", "mtime", mtime)), rawEntry(tar.TypeSymlink, database, "")),
		"pax: a length that lies": slices.Concat(rawEntry(tar.TypeXHeader, "x", "9999 path=x\n"), rawEntry(tar.TypeReg, database, body)),
		"pax: for all":            slices.Concat(rawEntry(tar.TypeXGlobalHeader, "x", records("path", "../../x")), at),
		"pax: without end":        slices.Concat(slices.Concat(attributes...), at),
		"pax: a bomb":             bodyless(tar.TypeXHeader, 1<<30),
		"GNU: a bomb for a name":  bodyless(tar.TypeGNULongName, 1<<30),
		"GNU: a long name":        slices.Concat(rawEntry(tar.TypeGNULongName, "././@LongLink", "../../x\x00"), at),
		"GNU: a long link":        slices.Concat(rawEntry(tar.TypeGNULongLink, "././@LongLink", "/etc/passwd\x00"), rawEntry(tar.TypeSymlink, database, "")),
		"GNU: sparse":             rawEntry(tar.TypeGNUSparse, database, body),
		"GNU: sparse, by pax": slices.Concat(
			rawEntry(tar.TypeXHeader, "x", records("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", database, "GNU.sparse.realsize", fmt.Sprint(len(body)), "mtime", mtime)),
			rawEntry(tar.TypeReg, "x", fmt.Sprintf("%-512s", fmt.Sprintf("1\n0\n%d\n", len(body)))+body)),
		"contiguous":                rawEntry(tar.TypeCont, database, body),
		"a kind that nobody knows":  rawEntry('Z', database, body),
		"a negative size":           negative,
		"a huge size":               huge,
		"a checksum that is wrong":  unsealed,
		"an end in the middle":      slices.Concat(tarEnd, at),
		"half an end in the middle": slices.Concat(tarEnd[:512], at),
	} {
		cases[name] = compress(tb, window, before, raw, after, tarEnd)
	}
	cases["something after its end"] = compress(tb, window, before, at, after, tarEnd, at)
	cases["zeros after its end"] = compress(tb, window, before, at, after, make([]byte, 64<<20))
	cases["no end"] = compress(tb, window, before, at, after)
	cases["a window too large"] = compress(tb, 16<<20, before, at, after, tarEnd)
	for name, plain := range manifests(tb, string(good[0].body)) {
		cases["manifest: "+name] = compress(tb, window, tarOf(tb, with(0, func(e *entry) { e.body = []byte(plain) })), tarEnd)
	}
	return cases
}

// manifests are variants of a good one that must not be taken.
func manifests(tb testing.TB, good string) map[string]string {
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			tb.Fatalf("the manifest holds no %s", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	const path = `"path":"$ZED_DATA/db/0-dev/db.sqlite"`
	cases := map[string]string{
		"none":                 `{"format":"helix.ckpt/v1"}`,
		"no JSON":              "hello",
		"null":                 "null",
		"a list":               "[" + good + "]",
		"something behind":     good + "{}",
		"cut off":              good[:len(good)-1],
		"deep":                 change(`"reason":`, `"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`,"reason":`),
		"deep and open":        strings.Repeat(`{"components":`, 100_000),
		"an id that is a path": change(`"id":"2026`, `"id":"../2026`),
		"another session":      change(`"session":"ses_01"`, `"session":"../ses_01"`),
		"epoch 0":              change(`"epoch":3`, `"epoch":0`),
		"a negative epoch":     change(`"epoch":3`, `"epoch":-3`),
		"the last epoch":       change(`"epoch":3`, `"epoch":9007199254740991`),
		"half an epoch":        change(`"epoch":3`, `"epoch":3.5`),
		"a huge seq":           change(`"seq":118`, `"seq":1e99`),
		"seq as a text":        change(`"seq":118`, `"seq":"118"`),
		"a negative size":      change(`"size":300000`, `"size":-300000`),
		"a huge size":          change(`"size":300000`, `"size":9223372036854775807`),
		"a size beyond that":   change(`"size":300000`, `"size":9223372036854775808`),
		"another size":         change(`"size":300000`, `"size":300001`),
		"no chunk size":        change(`"chunk_size":16384`, `"chunk_size":0`),
		"a negative level":     change(`"levels":1`, `"levels":-1`),
		"a level more":         change(`"levels":1`, `"levels":2`),
		"too many levels":      change(`"levels":1`, `"levels":6`),
		"a short id":           change(`"recipe":{"sha256":"`, `"recipe":{"sha256":"00`),
		"special bits":         change(`"mode":"0640"`, `"mode":"4640"`),
		"a mode in words":      change(`"mode":"0640"`, `"mode":"rw-"`),
		"a kind of its own":    change(`"kind":"file"`, `"kind":"device"`),
		"a state of its own":   change(`"state":"ok"`, `"state":"fine"`),
		"components as a list": change(`"components":{`, `"components":[{}],"x":{`),
		"a version as a text":  change(`"v":1`, `"v":"1"`),
		"files as one":         change(`"files":[`, `"files":{"x":[`),
		"a path twice":         change(`"path":"$ZED_DATA/threads/threads.db"`, path),
		"more entries":         change(`"count":150`, `"count":151`),
		"fewer entries":        change(`"count":150`, `"count":149`),
		"a negative count":     change(`"count":150`, `"count":-150`),
	}
	for name, p := range map[string]string{
		"climbs": "$ZED_DATA/../../etc/passwd", "climbs at its end": "$ZED_DATA/x/..", "is absolute": "/etc/passwd", "has no root": "etc/passwd",
		"has an unknown root": "$ROOT/../x", "has a root like another": "$ZED_DATA2/../$ZED_DATA/x", "is a root": "$ZED_DATA", "is a root with a slash": "$ZED_DATA/",
		"is empty": "", "has an empty name": "$ZED_DATA//x", "is here": "$ZED_DATA/./x", "has a NUL": `$ZED_DATA/x\u0000`, "has a long name": "$ZED_DATA/" + strings.Repeat("n", 256),
		"is long": "$ZED_DATA/" + strings.Repeat("n/", 2048) + "n", "is of another letter case": "$zed_data/x",
	} {
		cases["a path that "+name] = change(path, `"path":"`+p+`"`)
	}
	return cases
}

// TestHostileArchivesChangeNothing imports them where another checkpoint is.
func TestHostileArchivesChangeNothing(t *testing.T) {
	t.Parallel()
	from := openTemp(t)
	m, _ := saved(t, from)
	b := export(t, from, m.ID)
	good := entries(t, b)
	for _, size := range []int{window, 8 << 20} {
		if _, err := importBytes(t, openTemp(t), compress(t, size, tarOf(t, good), tarEnd), archive.Options{}); err != nil {
			t.Fatalf("an archive put together again: %v", err)
		}
	}
	for name, b := range hostile(t, good) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			to, err := repository.Open(filepath.Join(root, "a", "sessions", "ses_01"))
			must(t, err)
			other(t, to)
			before := tree(t, root)
			if _, err := importBytes(t, to, b, archive.Options{}); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("got %v", err)
			}
			if after := tree(t, root); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// other makes a checkpoint that has nothing to do with the archives.
func other(tb testing.TB, repo *repository.Repository) {
	tb.Helper()
	tx, err := repo.Begin(tb.Context())
	must(tb, err)
	defer tx.Abort()
	c, err := tx.Put(tb.Context(), strings.NewReader("other"), checkpoint.ChunkSize)
	must(tb, err)
	at := time.Unix(1e9, 0)
	_, err = tx.Commit(tb.Context(), &checkpoint.Manifest{
		Format: checkpoint.Format, ID: "20260101T000000.000Z-00000001", Session: "ses_01", Epoch: 1, Seq: 1, Created: at,
		Components: checkpoint.Components{Files: &checkpoint.Files{Head: checkpoint.NewHead(checkpoint.OK, at), FileSet: checkpoint.FileSet{
			Files: []checkpoint.File{{Path: "$HOME/x", Kind: checkpoint.KindFile, State: checkpoint.OK, Content: c}},
		}}},
	}, nil)
	must(tb, err)
}

// TestWhatANewerProgramWroteIsNoDamage: neither exported nor imported, since
// what a component of another version needs is not known.
func TestWhatANewerProgramWroteIsNoDamage(t *testing.T) {
	t.Parallel()
	from := openTemp(t)
	m, _ := saved(t, from)
	good := entries(t, export(t, from, m.ID))
	for from, to := range map[string]string{`"helix.ckpt/v1"`: `"helix.ckpt/v2"`, `"zed":{"v":1`: `"zed":{"v":2`, `"files":{"v":1`: `"novelty":{"v":1`} {
		list := slices.Clone(good)
		list[0].body = bytes.Replace(list[0].body, []byte(from), []byte(to), 1)
		if bytes.Equal(list[0].body, good[0].body) {
			t.Fatalf("the manifest holds no %s", from)
		}
		repo := openTemp(t)
		_, err := importBytes(t, repo, compress(t, window, tarOf(t, list), tarEnd), archive.Options{})
		if !errors.Is(err, checkpoint.ErrFormat) || errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("%s: %v", to, err)
		}
		noCheckpoint(t, repo)
		tx, err := repo.Begin(t.Context())
		must(t, err)
		defer tx.Abort()
		if _, err := tx.CommitBytes(t.Context(), list[0].body, nil); err != nil {
			continue // of another format
		}
		if err := archive.Export(t.Context(), repo, m.ID, io.Discard); !errors.Is(err, checkpoint.ErrFormat) {
			t.Errorf("%s: exported: %v", to, err)
		}
	}
}

// FuzzImport: whatever the bytes, an import ends with an error or with a
// checkpoint that verifies.
func FuzzImport(f *testing.F) {
	from, err := repository.Open(filepath.Join(f.TempDir(), "from"))
	must(f, err)
	tx, err := from.Begin(f.Context())
	must(f, err)
	c, err := tx.Put(f.Context(), bytes.NewReader(noise(1, 9*64+1)), 64) // small, to be quick
	must(f, err)
	m := &checkpoint.Manifest{
		Format: checkpoint.Format, ID: "20261123T101500.123Z-3f9a1c2e", Session: "ses_01", Epoch: 1, Seq: 1, Created: time.Unix(1e9, 0),
		Components: checkpoint.Components{Files: &checkpoint.Files{Head: checkpoint.NewHead(checkpoint.OK, time.Unix(1e9, 0)), FileSet: checkpoint.FileSet{
			Files: []checkpoint.File{{Path: "$HOME/x", Kind: checkpoint.KindFile, State: checkpoint.OK, Content: c}},
		}}},
	}
	_, err = tx.Commit(f.Context(), m, nil)
	must(f, err)
	good := export(f, from, m.ID)
	z, err := zstd.NewReader(bytes.NewReader(good))
	must(f, err)
	defer z.Close()
	plain, err := io.ReadAll(z)
	must(f, err)
	f.Add(plain)
	f.Add(plain[:2048])
	// The fuzzer works on the tar inside: it would not get past the checksum of
	// the frame around it.
	f.Fuzz(func(t *testing.T, plain []byte) {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
		must(t, err)
		_, err = z.Write(plain)
		must(t, errors.Join(err, z.Close()))
		to, err := repository.Open(filepath.Join(t.TempDir(), "to"))
		must(t, err)
		if _, err := importBytes(t, to, b.Bytes(), archive.Options{}); err != nil {
			noCheckpoint(t, to)
			return
		}
		report, err := to.Verify(t.Context(), nil, nil)
		if err != nil || report.Checkpoints != 1 || len(report.Damage) > 0 {
			t.Fatalf("imported, but %+v, %v", report, err)
		}
	})
}
