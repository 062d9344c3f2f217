package repository

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Compression decides whether a checkpoint costs time or bytes. Whatever it is,
// any reader reads the result.
type Compression int

// The compressions. Measured on databases and conversations as Zed and agents
// leave them, Fastest takes three quarters of the time and a tenth more bytes.
const (
	// DefaultCompression takes about as many bytes as zstd -3.
	DefaultCompression Compression = iota
	// FastestCompression takes about as many as zstd -1.
	FastestCompression
)

func (c Compression) String() string {
	if c == FastestCompression {
		return "fastest"
	}
	return "default"
}

// MarshalText writes default or fastest.
func (c Compression) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (c *Compression) UnmarshalText(b []byte) error {
	for _, known := range []Compression{DefaultCompression, FastestCompression} {
		if string(b) == known.String() {
			*c = known
			return nil
		}
	}
	return fmt.Errorf("compression %q: want default or fastest", b)
}

func (c Compression) level() zstd.EncoderLevel {
	if c == FastestCompression {
		return zstd.SpeedFastest
	}
	return zstd.SpeedDefault
}

// Compress makes r write its packs with that compression from now on. It is
// called before r is used.
func (r *Repository) Compress(c Compression) { r.compression = c }
