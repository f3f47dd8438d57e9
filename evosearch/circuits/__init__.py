"""Learning circuits: how a forward pass and a target become teaching signals for a local rule."""
