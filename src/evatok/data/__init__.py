"""Sources of clips, the clips themselves, manifests, shards."""
