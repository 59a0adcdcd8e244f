"""Data that anyone can make: games, Doom, a film, photographs, camera footage."""
