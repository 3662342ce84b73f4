"""Architectures in torch: normalisers, schemes, regularisers, blocks, and one family of nets a file."""
