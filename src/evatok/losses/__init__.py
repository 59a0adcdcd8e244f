"""Training losses. Adversarial and alignment losses of the final tokenizer get a file each beside `reconstruction`."""
