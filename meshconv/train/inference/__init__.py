"""What predicts: a trained network with the meaning of its outputs, without Lightning."""
