"""Whether differences are more than chance: bootstrap, matched pairs, and pairs of trainings with the same seed."""
