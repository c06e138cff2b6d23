"""Arrays in, arrays out: the loops under the layers, where memory order and cache decide how fast things go."""
