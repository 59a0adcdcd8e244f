"""Videos made ready for training: scans and shards."""
