"""What has no subject of ours: atomic files, ranks, package downloads, saving and loading."""
