"""The propagation engine: ensembles of random networks, layer by layer, forward and backward."""
