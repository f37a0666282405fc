"""ImageNet classification for the backbones, without another framework."""
