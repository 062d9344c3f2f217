package rpc

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/helixml/helix-ckpt/checkpoint"
	ckptv1 "github.com/helixml/helix-ckpt/proto/helix/ckpt/v1"
)

// transferChunk is how many bytes of an archive a message carries: below
// maxMessage, and enough that the message costs nothing beside the bytes.
const transferChunk = 256 << 10

// ExportCheckpoint sends the header, then the bytes from the offset. An archive
// that ends early is an error, never a short success.
func (s *checkpointService) ExportCheckpoint(in *ckptv1.ExportCheckpointRequest, stream grpc.ServerStreamingServer[ckptv1.ExportCheckpointResponse]) error {
	if err := validSelector(in.GetSelector()); err != nil {
		return err
	}
	if in.GetOffset() < 0 {
		return fmt.Errorf("%w: offset %d is negative", checkpoint.ErrInvalid, in.GetOffset())
	}
	a, err := s.backend.Export(stream.Context(), in.GetSelector(), in.GetOffset())
	if err != nil {
		return err
	}
	defer a.Body.Close()
	header := &ckptv1.ExportHeader{Id: string(a.ID), Size: a.Size, Sha256: a.SHA256.String()}
	if err := stream.Send(&ckptv1.ExportCheckpointResponse{Part: &ckptv1.ExportCheckpointResponse_Header{Header: header}}); err != nil {
		return err
	}
	buf := make([]byte, transferChunk)
	for sent := in.GetOffset(); ; {
		n, err := io.ReadFull(a.Body, buf)
		if n > 0 {
			// Send has encoded the message when it returns: buf can be used again.
			if err := stream.Send(&ckptv1.ExportCheckpointResponse{Part: &ckptv1.ExportCheckpointResponse_Data{Data: buf[:n]}}); err != nil {
				return err
			}
			sent += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if sent != a.Size {
				return fmt.Errorf("%w: archive of %s ended at byte %d of %d", checkpoint.ErrDamaged, a.ID, sent, a.Size)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// ImportCheckpoint takes the header, says from where to send, takes the bytes,
// and answers with the checkpoint when that is durable.
func (s *checkpointService) ImportCheckpoint(stream importStream) error {
	h, err := receiveHeader(stream)
	if err != nil {
		return err
	}
	upload, err := s.backend.Import(stream.Context(), h)
	if err != nil {
		return err
	}
	defer upload.Close()
	resume := &ckptv1.ImportCheckpointResponse{Answer: &ckptv1.ImportCheckpointResponse_ResumeOffset{ResumeOffset: upload.Offset()}}
	if err := stream.Send(resume); err != nil {
		return err
	}
	if err := receiveData(stream, upload, h.Size); err != nil {
		return err
	}
	e, err := upload.Commit(stream.Context())
	if err != nil {
		return err
	}
	return stream.Send(&ckptv1.ImportCheckpointResponse{Answer: &ckptv1.ImportCheckpointResponse_Checkpoint{Checkpoint: basic(s.session, e)}})
}

type importStream = grpc.BidiStreamingServer[ckptv1.ImportCheckpointRequest, ckptv1.ImportCheckpointResponse]

// receiveHeader reads the first message of an import.
func receiveHeader(stream importStream) (ImportHeader, error) {
	in, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return ImportHeader{}, fmt.Errorf("%w: no header", checkpoint.ErrInvalid)
	}
	if err != nil {
		return ImportHeader{}, err
	}
	h := in.GetHeader()
	if h == nil {
		return ImportHeader{}, fmt.Errorf("%w: the first message must be the header", checkpoint.ErrInvalid)
	}
	if h.GetSize() <= 0 || h.GetSize() > checkpoint.MaxSize {
		return ImportHeader{}, fmt.Errorf("%w: header.size %d: want 1 to %d", checkpoint.ErrInvalid, h.GetSize(), int64(checkpoint.MaxSize))
	}
	sum, err := checkpoint.ParseHash(h.GetSha256())
	if err != nil {
		return ImportHeader{}, fmt.Errorf("%w: header.sha256: %w", checkpoint.ErrInvalid, err)
	}
	return ImportHeader{Size: h.GetSize(), SHA256: sum}, nil
}

// receiveData writes what comes to u until the caller closes its side, which it
// does when all size bytes were sent.
func receiveData(stream importStream, u Upload, size int64) error {
	at := u.Offset()
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if at != size {
				return fmt.Errorf("%w: the archive ended at byte %d of %d; import it again to resume", checkpoint.ErrInvalid, at, size)
			}
			return nil
		}
		if err != nil {
			return err
		}
		data, ok := in.GetPart().(*ckptv1.ImportCheckpointRequest_Data)
		if !ok {
			return fmt.Errorf("%w: want data after the header", checkpoint.ErrInvalid)
		}
		if int64(len(data.Data)) > size-at {
			return fmt.Errorf("%w: more data than the %d bytes of the header", checkpoint.ErrInvalid, size)
		}
		n, err := u.Write(data.Data)
		at += int64(n)
		if err != nil {
			return fmt.Errorf("import, at byte %d: %w", at, err)
		}
	}
}
