"""The video tokenizer: config, encoder, quantizer, decoder, and the model that joins them."""
