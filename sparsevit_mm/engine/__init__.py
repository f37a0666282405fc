"""What plugs into mmengine: hooks, and how to find the backbone they act on."""
