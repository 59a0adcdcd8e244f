"""What is judged and shown: evaluation of a tokenizer, curve, router report, model card."""
