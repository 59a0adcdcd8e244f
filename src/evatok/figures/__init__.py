"""Pictures of what a tokenizer does: frames side by side, sheets of reconstructions, token bars."""
