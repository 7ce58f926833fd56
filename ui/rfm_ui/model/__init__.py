"""What the viewer shows and how it changes, without a toolkit: tested headless."""
