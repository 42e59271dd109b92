"""The smaller programs: lattices to N-best lists or to words with times, files for sclite, the progress of jobs."""
