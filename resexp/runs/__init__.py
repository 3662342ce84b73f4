"""From a declaration to a stored result: registry, parameters, cells, store, batches."""
