"""Programs for the tests that filter transcripts."""

from __future__ import annotations

from pathlib import Path

# The rules of the filter of Kaldi's WSJ recipe: what is no speech is deleted, and misspellings are corrected.
WSJ = r"""#!/usr/bin/env perl
while (my $line = <STDIN>) {
  $line =~ s/<(NOISE|SPOKEN_NOISE|UNK)>|[:*]//g;
  $line =~ s/-(HOLDER)|(APPROACHES)-/$1$2/g;
  $line =~ s/COMPAIGN/CAMPAIGN/g;
  $line =~ s/RESEACHERS/RESEARCHERS/g;
  print $line;
}
"""


def program(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def sed(path: Path, *rules: str) -> Path:
    """Write a filter that applies rules of sed to each line."""
    return program(path, "#!/bin/sh\nexec sed " + " ".join(f"-e '{rule}'" for rule in rules) + "\n")
