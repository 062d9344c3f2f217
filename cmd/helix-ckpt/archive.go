package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/helixml/helix-ckpt/agent"
	"github.com/helixml/helix-ckpt/agent/rpc"
	"github.com/helixml/helix-ckpt/checkpoint"
	"github.com/helixml/helix-ckpt/checkpoint/discover"
	"github.com/helixml/helix-ckpt/checkpoint/repository/archive"
)

func (a *app) exportCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export [SELECTOR]",
		Short: "Write a checkpoint as one file (tar.zst) that another host imports",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "-" && a.json() {
				return usage("--file - writes the archive to standard output, where --output json would stand")
			}
			ctx := cmd.Context()
			site, err := a.site()
			if err != nil {
				return err
			}
			repo, err := openRepository(site)
			if err != nil {
				return err
			}
			_, entry, release, err := load(ctx, repo, first(args))
			defer release()
			if err != nil {
				return err
			}
			if file == "-" {
				return archive.Export(ctx, repo, entry.ID, a.stdout)
			}
			path := file
			if path == "" {
				path = string(entry.ID) + ".tar.zst"
			}
			size, sum, err := exportFile(path, func(w io.Writer) error { return archive.Export(ctx, repo, entry.ID, w) })
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"id": entry.ID, "file": path, "size": size, "sha256": sum})
			}
			_, err = fmt.Fprintf(a.stdout, "%s  %s  %s\n", path, bytes(size), entry.ID)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to write it; - is standard output (default: ID.tar.zst)")
	return cmd
}

// exportFile writes a file under another name until it is whole and synced: a
// half archive never stands at path.
func exportFile(path string, write func(io.Writer) error) (int64, checkpoint.Hash, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return 0, checkpoint.Hash{}, usage("export: %s is a directory; name a file in it", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".helix-ckpt-export-*")
	if err != nil {
		return 0, checkpoint.Hash{}, fmt.Errorf("export: %w", err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	sum := sha256.New()
	err = write(io.MultiWriter(f, sum))
	if err == nil {
		err = f.Sync()
	}
	size, seekErr := f.Seek(0, io.SeekCurrent)
	err = errors.Join(err, seekErr, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return size, checkpoint.Hash(sum.Sum(nil)), err
}

func (a *app) importCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take a checkpoint in that export wrote",
		Long: `Takes a checkpoint in, verified to its last byte, under the session that it names.
Where an agent runs for that session, it does so.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, cleanup, err := a.archiveFile(file)
			if err != nil {
				return err
			}
			defer cleanup()
			in, err := a.importFile(cmd.Context(), f)
			if errors.Is(err, checkpoint.ErrDamaged) {
				return &codeError{code: exitDamaged, err: err, remedy: "nothing of it was taken in; copy the archive once more"}
			}
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(in)
			}
			_, err = fmt.Fprintf(a.stdout, "%s  session %s  epoch %d, seq %d  %s  %s\n", in.ID, in.Session, in.Epoch, in.Seq, bytes(in.PlainBytes), states(in.Components))
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "-", "the file; - is standard input")
	return cmd
}

// archiveFile opens the archive; one on standard input is kept in a file, since
// its session must be known before it is taken in.
func (a *app) archiveFile(path string) (*os.File, func(), error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, fmt.Errorf("import: %w", err)
		}
		return f, func() { f.Close() }, nil // read only
	}
	f, err := os.CreateTemp("", "helix-ckpt-import-*")
	if err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	// Without a name from here on: nothing is left, however this ends.
	err = os.Remove(f.Name())
	if err == nil {
		_, err = io.Copy(f, os.Stdin)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("import: %w", err), f.Close())
	}
	return f, func() { f.Close() }, nil // a temporary file
}

// imported is the result of an import as it is printed.
type imported struct {
	Session string `json:"session"`
	checkpoint.Entry
}

func (a *app) importFile(ctx context.Context, f *os.File) (in imported, err error) {
	site, err := a.site()
	if err != nil {
		return in, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return in, fmt.Errorf("import: %w", err)
	}
	opened, err := archive.Open(f)
	if err != nil {
		return in, err
	}
	in.Session = opened.Manifest().Session
	opened.Close()
	if in.Session != site.ID {
		if a.find.Session != "" || site.ID != discover.DefaultSession {
			return in, fmt.Errorf("the archive is %w: of %q, not of %q", checkpoint.ErrOtherSession, in.Session, site.ID)
		}
		// Nobody named a session: it lands under its own.
		a.find.Session = in.Session
		if site, err = a.site(); err != nil {
			return in, err
		}
	}
	o, err := a.owner(ctx, site, "import")
	if err != nil {
		return in, err
	}
	defer o.close()
	if o.agent != nil {
		in.Entry, err = sendArchive(ctx, o.agent, f)
	} else {
		in.Entry, err = takeArchive(ctx, o.keeper, f)
	}
	return in, err
}

func sendArchive(ctx context.Context, c *rpc.Client, f *os.File) (checkpoint.Entry, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, io.NewSectionReader(f, 0, checkpoint.MaxSize))
	if err != nil {
		return checkpoint.Entry{}, fmt.Errorf("import: %w", err)
	}
	return c.Import(ctx, rpc.ImportHeader{Size: size, SHA256: checkpoint.Hash(sum.Sum(nil))}, f)
}

func takeArchive(ctx context.Context, k *agent.Keeper, f *os.File) (checkpoint.Entry, error) {
	return k.Import(ctx, io.NewSectionReader(f, 0, checkpoint.MaxSize))
}
