"""EVATok: an adaptive-length video tokenizer. Everything a user may import is here."""

__version__ = "0.1.0"
