"""The web demo: one's own video as tokens, and videos that a generator writes, in a browser (`evatok app`)."""
