package rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// A page of a list.
const (
	defaultPage = 100
	maxPage     = 1000
	// A page ends early so that its message stays below maxMessage: a list of
	// checkpoints has it to itself, files and threads share it with the rest of
	// their checkpoint.
	maxListBytes = 768 << 10
	maxPageBytes = 256 << 10
)

// page says what still fits a page, by count and by encoded bytes. The first
// item always fits: a page that is not the last is never empty.
type page struct {
	limit int
	bytes int
	count int
}

// newPage checks a caller's page_size.
func newPage(size int32, bytes int) (page, error) {
	switch {
	case size < 0:
		return page{}, fmt.Errorf("%w: page_size %d is negative", checkpoint.ErrInvalid, size)
	case size == 0:
		size = defaultPage
	case size > maxPage:
		size = maxPage
	}
	return page{limit: int(size), bytes: bytes}, nil
}

// take reports whether m fits, and counts it if it does.
func (p *page) take(m proto.Message) bool {
	size := proto.Size(m)
	if p.count > 0 && (p.count >= p.limit || size > p.bytes) {
		return false
	}
	p.count++
	p.bytes -= size
	return true
}

// A token says where a page starts. It is opaque to callers only by its
// encoding: it is checked, not trusted.

// after is the token of a list of checkpoints: the last one of the page before.
// A checkpoint that comes or goes moves no other one past it.
type after struct {
	Epoch uint64        `json:"e"`
	Seq   uint64        `json:"s"`
	ID    checkpoint.ID `json:"i"`
}

// offset is the token of a list inside one checkpoint, which never changes.
type offset struct {
	ID checkpoint.ID `json:"i"`
	N  int           `json:"n"`
}

// maxToken bounds a token in bytes; ours have about 100.
const maxToken = 512

func encodeToken(v any) (string, error) {
	b, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b), err
}

// decodeToken reads a token into v and reports whether there is one.
func decodeToken(token string, v any) (bool, error) {
	if token == "" {
		return false, nil
	}
	if len(token) > maxToken {
		return false, fmt.Errorf("%w: page_token of %d bytes is none of ours", checkpoint.ErrInvalid, len(token))
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("%w: page_token is none of ours: %w", checkpoint.ErrInvalid, err)
	}
	return true, nil
}
