package sway

import (
	"context"

	"github.com/joshuarubin/go-sway"

	"github.com/helixml/helix-ckpt/checkpoint"
)

// Outputs reads all outputs, also those that are switched off. What they show
// stands in the tree, not here.
func (s Socket) Outputs(ctx context.Context) ([]checkpoint.Output, error) {
	var outputs []checkpoint.Output
	err := s.with(ctx, "get_outputs", func(ctx context.Context, client sway.Client) error {
		replies, err := client.GetOutputs(ctx)
		if err != nil {
			return err
		}
		for _, o := range replies {
			if o.Name == "" {
				return errSenseless
			}
			outputs = append(outputs, checkpoint.Output{
				Name: o.Name, Make: o.Make, Model: o.Model, Serial: o.Serial, Active: o.Active,
				Rect: rect(o.Rect), Scale: o.Scale, Transform: o.Transform,
			})
		}
		return nil
	})
	return outputs, err
}
