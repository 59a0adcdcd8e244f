"""Reading and writing video, and fitting pictures to a model."""
