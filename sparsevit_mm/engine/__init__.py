"""What plugs into mmengine: hooks, the search loop, held-out images, classification."""
