"""Stage 2: every clip under every assignment."""
