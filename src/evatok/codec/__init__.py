"""What a user does with files: encode, decode, reconstruct, see a demo, check a setup."""
