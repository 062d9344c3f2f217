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

// Config reads the text of the configuration file that Sway has loaded, without
// the files that it includes.
func (s Socket) Config(ctx context.Context) (string, error) {
	var text string
	err := s.with(ctx, "get_config", func(ctx context.Context, client sway.Client) error {
		c, err := client.GetConfig(ctx)
		if err == nil {
			text = c.Config
		}
		return err
	})
	return text, err
}
