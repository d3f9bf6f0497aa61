"""Networks with fewer fields and with integers for weights, described by plain values that a checkpoint holds."""
