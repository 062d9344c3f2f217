package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Bytes on which SQLite's unix VFS takes its locks (sqlite3's os.h and
// os_unix.c). A writer holds RESERVED from before it creates its journal until
// after the journal is gone, and EXCLUSIVE (a write lock on the SHARED range)
// while it writes the main file or rolls a journal back.
const (
	reservedByte = 0x40000001
	sharedFirst  = 0x40000002
	sharedSize   = 510

	// shmAlive is the byte of the -shm file on which every connection to a WAL
	// database holds a read lock, also when idle.
	shmAlive = 128
)

// InUse reports whether another open file description holds a lock that says
// the database is open: on the -shm file of a WAL database, also when its owner
// is idle; on the main file, while it is read or written. It takes no lock and
// sees owners in other containers on the same kernel. An idle connection to a
// database with a rollback journal shows nothing. A database that does not
// exist is not in use.
func InUse(path string) (bool, error) {
	alive, err := locked(path+"-shm", unix.F_WRLCK, shmAlive, 1)
	if err != nil || alive {
		return alive, err
	}
	return locked(path, unix.F_WRLCK, sharedFirst, sharedSize)
}

// locked reports whether a lock of the given kind on the file at path would
// have to wait. F_RDLCK asks for writers, F_WRLCK for readers also.
func locked(path string, kind int16, start, length int64) (bool, error) {
	f, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for locks: %w", err)
	}
	defer f.Close()
	return fileLocked(f, kind, start, length)
}

// fileLocked asks by F_OFD_GETLK, which needs no more than a descriptor open
// for reading and changes nothing.
func fileLocked(f *os.File, kind int16, start, length int64) (bool, error) {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: start, Len: length}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		switch {
		case err == nil:
			return lock.Type != unix.F_UNLCK, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("ask for locks on %s: %w", f.Name(), err)
		}
	}
}
