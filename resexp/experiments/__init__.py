"""One file, one experiment. A new file here is found by itself; runs/registry.py does the finding."""
