"""The smaller jobs: lattices to N-best lists, lattices to words with times."""
