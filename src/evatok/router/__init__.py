"""Routers: a clip in, its quality under every assignment out, and so the best assignment (paper, section 4)."""
