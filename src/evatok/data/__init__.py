"""Reading and writing video, sources of clips, token files."""
